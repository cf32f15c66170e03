//! The DNS agent that runs on every host of a site, and the parts to build another.
#![forbid(unsafe_code)]

pub mod answer;
pub mod config;
pub mod dnssec;
pub mod forward;
pub mod logging;
pub mod metrics;
pub mod pulse;
pub mod server;
pub mod service;
pub mod source;
pub mod tree;
pub mod wire;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
