//! A Kubernetes cluster as a source.
#![allow(dead_code, reason = "the source is not complete yet")]

mod access;
mod client;
mod decode;
mod error;
mod kubeconfig;
mod settings;
mod stream;

pub use error::KubernetesError;
pub use settings::{Access, KubernetesSettings, Watched, WatchedEndpoints};

use stream::KIND_NAMES;
