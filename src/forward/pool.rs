//! All upstreams, by endpoint.

use super::context::UpstreamContext;
use super::endpoint::Endpoint;
use super::probe::is_probe;
use super::upstream::Upstream;
use crate::lock::lock;
use hickory_proto::rr::Name;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// All upstreams by endpoint, those of stub zones as well, as long as anyone uses them.
#[derive(Debug)]
pub(super) struct Pool {
    context: Arc<UpstreamContext>,
    upstreams: Mutex<HashMap<Endpoint, Weak<Upstream>>>,
    /// Stub zones name their upstreams question by question; this keeps what is known of them.
    remembered: Mutex<HashMap<Endpoint, Arc<Upstream>>>,
}

/// Most upstreams of stub zones that are remembered.
const MAX_REMEMBERED: usize = 1_000;

impl Pool {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            context: UpstreamContext::new(timeout),
            upstreams: Mutex::default(),
            remembered: Mutex::default(),
        }
    }

    pub(super) fn set_timeout(&self, timeout: Duration) {
        self.context.set_timeout(timeout);
        // Connections have the old time built in.
        self.all().iter().for_each(|upstream| upstream.disconnect());
    }

    /// The upstream at an endpoint.
    pub(super) fn upstream(&self, endpoint: Endpoint) -> Arc<Upstream> {
        let mut upstreams = lock(&self.upstreams);
        if let Some(upstream) = upstreams.get(&endpoint).and_then(Weak::upgrade) {
            return upstream;
        }
        let upstream = Arc::new(Upstream::new(endpoint, Arc::clone(&self.context)));
        upstreams.insert(endpoint, Arc::downgrade(&upstream));
        let mut remembered = lock(&self.remembered);
        if remembered.len() < MAX_REMEMBERED {
            remembered.insert(endpoint, Arc::clone(&upstream));
        }
        upstream
    }

    /// Waits until an upstream is in order, or not any more.
    pub(super) async fn news(&self) {
        self.context.news.notified().await;
    }

    /// Forgets upstreams that nobody uses any more.
    pub(super) fn sweep(&self) {
        lock(&self.remembered).retain(|_, upstream| Arc::strong_count(upstream) > 1);
        lock(&self.upstreams).retain(|_, upstream| upstream.strong_count() > 0);
    }

    /// Probes the upstreams in doubt.
    pub(super) async fn probe(&self) {
        let all = self.all();
        futures_util::future::join_all(all.iter().map(|upstream| upstream.tend())).await;
    }

    /// Whether a name is one that we probe with; notes the loop that it shows.
    pub(super) fn probe_came_back(&self, name: &Name) -> bool {
        is_probe(name) && self.all().iter().any(|upstream| upstream.probe_came_back(name))
    }

    fn all(&self) -> Vec<Arc<Upstream>> {
        lock(&self.upstreams).values().filter_map(Weak::upgrade).collect()
    }
}
