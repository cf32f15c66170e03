//! All upstreams by endpoint, so that the state of a server is known once, however many zones and settings name it.

use super::context::UpstreamContext;
use super::endpoint::Endpoint;
use super::probe::is_probe;
use super::upstream::Upstream;
use super::upstream_state::ProbeKind;
use crate::lock::lock;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_proto::rr::Name;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// All upstreams by endpoint, those of stub zones as well.
#[derive(Debug)]
pub(super) struct Pool {
    context: Arc<UpstreamContext>,
    /// Upstreams that settings, stub zones or exchanges under way hold; others are forgotten.
    upstreams: Mutex<HashMap<Endpoint, Weak<Upstream>>>,
}

/// Pause between two rounds over all upstreams: what is due is done then. A probe that is due at once does not wait.
const PROBE_PERIOD: Duration = Duration::from_millis(500);

impl Pool {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { context: UpstreamContext::new(timeout), upstreams: Mutex::default() }
    }

    pub(super) fn set_timeout(&self, timeout: Duration) {
        self.context.set_timeout(timeout);
        // Open connections keep the timeout that they were made with.
        self.all().iter().for_each(|upstream| upstream.disconnect());
    }

    /// The upstream at an endpoint, with the state that is known of it.
    pub(super) fn upstream(&self, endpoint: Endpoint) -> Arc<Upstream> {
        let mut upstreams = lock(&self.upstreams);
        if let Some(upstream) = upstreams.get(&endpoint).and_then(Weak::upgrade) {
            return upstream;
        }
        let upstream = Arc::new(Upstream::new(endpoint, Arc::clone(&self.context)));
        upstreams.insert(endpoint, Arc::downgrade(&upstream));
        upstream
    }

    /// Waits until an upstream goes up or down.
    pub(super) async fn upstream_change(&self) {
        self.context.changed.notified().await;
    }

    /// Whether something is known of an upstream.
    #[cfg(test)]
    pub(super) fn knows(&self, endpoint: Endpoint) -> bool {
        lock(&self.upstreams).get(&endpoint).is_some_and(|upstream| upstream.strong_count() > 0)
    }

    /// Probes upstreams whose replies are missing or that may forward to us, for ever, each on its own: one that does not
    /// reply holds up no other. Calls `after_round` every half a second.
    pub(super) async fn probe_upstreams(&self, mut after_round: impl FnMut()) {
        let (mut probes, mut under_way) = (FuturesUnordered::new(), HashSet::new());
        let mut next_round = Instant::now() + PROBE_PERIOD;
        loop {
            tokio::select! {
                Some(endpoint) = probes.next(), if !probes.is_empty() => {
                    under_way.remove(&endpoint);
                }
                () = self.context.probe_due.notified() => {}
                () = sleep_until(next_round) => {
                    next_round = Instant::now() + PROBE_PERIOD;
                    lock(&self.upstreams).retain(|_, upstream| upstream.strong_count() > 0);
                    self.all().iter().for_each(|upstream| upstream.maintain());
                    after_round();
                }
            }
            for (upstream, probe) in self.due_probes(&under_way) {
                let endpoint = upstream.endpoint();
                under_way.insert(endpoint);
                probes.push(async move {
                    upstream.run_probe(probe).await;
                    endpoint
                });
            }
        }
    }

    /// The probes that are due, but of upstreams whose last probe is under way.
    fn due_probes(&self, under_way: &HashSet<Endpoint>) -> Vec<(Arc<Upstream>, ProbeKind)> {
        let idle = self.all().into_iter().filter(|upstream| !under_way.contains(&upstream.endpoint()));
        idle.filter_map(|upstream| upstream.take_probe().map(|probe| (upstream, probe))).collect()
    }

    /// Whether a name is one that an upstream is probed with; if so, notes that the upstream forwards to us.
    pub(super) fn probe_came_back(&self, name: &Name) -> bool {
        is_probe(name) && self.all().iter().any(|upstream| upstream.probe_came_back(name))
    }

    fn all(&self) -> Vec<Arc<Upstream>> {
        lock(&self.upstreams).values().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_is_under_way_holds_up_no_other() {
        let pool = Pool::new(Duration::from_secs(1));
        let upstreams =
            [1, 2, 3].map(|last| pool.upstream(Endpoint::classic(([192, 0, 2, last], 53).into())));
        upstreams[0].suspect_loop();
        let due = |under_way: &HashSet<Endpoint>| {
            let mut due: Vec<_> = pool
                .due_probes(under_way)
                .iter()
                .map(|(upstream, _)| upstream.endpoint().to_string())
                .collect();
            due.sort();
            due
        };
        let mut under_way = HashSet::new();
        assert_eq!(due(&under_way), ["192.0.2.1:53"]);
        under_way.insert(upstreams[0].endpoint());
        upstreams.iter().for_each(|upstream| upstream.suspect_loop());
        assert_eq!(due(&under_way), ["192.0.2.2:53", "192.0.2.3:53"]);
        assert_eq!(due(&HashSet::new()), ["192.0.2.1:53"], "the others' were taken");
    }
}
