//! What all upstreams share: the runtime of connections, the timeout, the mark of probes, and who is woken by changes.

use crate::lock::lock;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// What all upstreams share; one for the forwarder.
pub(super) struct UpstreamContext {
    /// Makes TCP connections.
    pub(super) provider: TokioRuntimeProvider,
    /// Time for the reply to a question, by one upstream.
    timeout: Mutex<Duration>,
    /// Part of the names that upstreams are probed with, so that no other process uses them.
    pub(super) nonce: u64,
    /// Notified when an upstream goes up or down.
    pub(super) changed: Notify,
    /// Notified when an upstream is to be probed at once.
    pub(super) probe_due: Notify,
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
            changed: Notify::new(),
            probe_due: Notify::new(),
        })
    }

    pub(super) fn set_timeout(&self, timeout: Duration) {
        *lock(&self.timeout) = timeout;
    }

    pub(super) fn timeout(&self) -> Duration {
        *lock(&self.timeout)
    }
}
