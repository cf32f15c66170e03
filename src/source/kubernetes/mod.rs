//! A Kubernetes cluster as a source.
#![allow(dead_code, reason = "the source is not complete yet")]

mod decode;
mod settings;

pub use settings::{Access, KubernetesSettings, Watched, WatchedEndpoints};
