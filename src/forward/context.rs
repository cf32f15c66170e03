//! What all upstreams share.

use crate::lock::lock;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// What all upstreams share.
pub(super) struct UpstreamContext {
    /// Owns the tasks behind all connections: they end when it is dropped.
    pub(super) provider: TokioRuntimeProvider,
    timeout: Mutex<Duration>,
    /// Marks the probes of this process.
    pub(super) nonce: u64,
    /// Told when an upstream is in order, or not any more.
    pub(super) news: Notify,
}

impl fmt::Debug for UpstreamContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamContext({:?})", self.timeout())
    }
}

impl UpstreamContext {
    pub(super) fn new(timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            provider: TokioRuntimeProvider::default(),
            timeout: Mutex::new(timeout),
            nonce: rand::random(),
            news: Notify::new(),
        })
    }

    pub(super) fn set_timeout(&self, timeout: Duration) {
        *lock(&self.timeout) = timeout;
    }

    pub(super) fn timeout(&self) -> Duration {
        *lock(&self.timeout)
    }
}
