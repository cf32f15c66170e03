//! The leases that keys are attached to: when they end, as far as it is known.
//!
//! etcd's watch reports a lease only when it ends, so the time that is left has to be asked for: again each time half of
//! what was left is over.

use crate::clock::steady_time;
use crate::tree::Lease;
use etcd_client::{Error, LeaseClient};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Maximum number of requests that are under way at once.
const MAX_REQUESTS: usize = 16;

/// Minimum time between two requests about one lease; also the pause after a request that failed.
const LEASE_PAUSE: Duration = Duration::from_secs(1);

/// Minimum time between two rounds of requests: bounds what leases cost the store to 640 requests a second.
const ROUND_PAUSE: Duration = Duration::from_millis(25);

/// Time for the answer to one request.
const LEASE_TIMEOUT: Duration = Duration::from_secs(5);

/// All leases that services in the tree are attached to.
#[derive(Default)]
pub(super) struct LeaseTracker {
    /// The leases by id; the tree owns them.
    known: HashMap<i64, Weak<Lease>>,
    /// When to ask for each lease next.
    due: BinaryHeap<Reverse<(Instant, i64)>>,
    /// The requests that are under way.
    requests: FuturesUnordered<BoxFuture<'static, (i64, TimeLeft)>>,
    /// When requests may be sent again.
    next_round: Option<Instant>,
}

impl LeaseTracker {
    /// Forgets the requests on a connection that is gone; all leases are asked for anew.
    ///
    /// The leases themselves stay, as the services that are attached to them do.
    pub(super) fn reconnected(&mut self) {
        self.requests = FuturesUnordered::new();
        self.known.retain(|_, lease| lease.strong_count() > 0);
        let now = Instant::now();
        self.due = self.known.keys().map(|id| Reverse((now, *id))).collect();
    }

    /// The lease with an id, new or known; `None` for id 0, which etcd gives to keys without a lease.
    pub(super) fn lease(&mut self, id: i64) -> Option<Arc<Lease>> {
        if id == 0 {
            return None;
        }
        if let Some(lease) = self.known.get(&id).and_then(Weak::upgrade) {
            return Some(lease);
        }
        let lease = Arc::new(Lease::new(id));
        if self.known.insert(id, Arc::downgrade(&lease)).is_none() {
            self.due.push(Reverse((Instant::now(), id)));
        }
        Some(lease)
    }

    /// Asks for leases that are due and notes the answers. Ends when etcd refuses the connection's login: a new
    /// connection has to log in.
    ///
    /// Cancel safe: a request whose answer was not noted stays under way.
    pub(super) async fn follow(&mut self, client: &LeaseClient) -> Error {
        loop {
            self.ask_for_due(client);
            let due = self.due.peek().map(|Reverse((at, _))| (*at).max(self.next_round.unwrap_or(*at)));
            let wait = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            if self.requests.is_empty() {
                wait.await;
            } else if let Some((id, left)) = self.requests.next().await {
                match left {
                    // The next session asks for all leases anew.
                    TimeLeft::LoginRefused(error) => return error,
                    TimeLeft::Seconds(left) => self.note(id, Some(left)),
                    TimeLeft::Unknown => self.note(id, None),
                }
            }
        }
    }

    /// Sends requests for the leases that are due, if the next round may begin.
    fn ask_for_due(&mut self, client: &LeaseClient) {
        let now = Instant::now();
        if self.next_round.is_some_and(|at| now < at) {
            return;
        }
        while self.requests.len() < MAX_REQUESTS {
            match self.due.peek() {
                Some(Reverse((at, id))) if *at <= now => {
                    let id = *id;
                    self.due.pop();
                    if self.known.get(&id).and_then(Weak::upgrade).is_none() {
                        self.known.remove(&id);
                        continue;
                    }
                    self.requests.push(time_left(client.clone(), id).map(move |left| (id, left)).boxed());
                    self.next_round = Some(now + ROUND_PAUSE);
                }
                _ => return,
            }
        }
    }

    /// Notes the seconds that are left of a lease, if they could be found out.
    fn note(&mut self, id: i64, left: Option<i64>) {
        let Some(lease) = self.known.get(&id).and_then(Weak::upgrade) else {
            self.known.remove(&id);
            return;
        };
        let next = match left.map(u64::try_from) {
            Some(Ok(left)) => {
                lease.set_end(steady_time().saturating_add(left));
                (Duration::from_secs(left) / 2).max(LEASE_PAUSE)
            }
            // The lease is gone (-1): the watch reports the deletion of its keys.
            Some(Err(_)) => {
                self.known.remove(&id);
                return;
            }
            None => LEASE_PAUSE,
        };
        self.due.push(Reverse((Instant::now() + next, id)));
    }
}

/// The time that is left of a lease.
enum TimeLeft {
    /// Whole seconds; -1 when it is gone.
    Seconds(i64),
    /// The request failed.
    Unknown,
    /// etcd refuses the connection's login, for example because the password changed.
    LoginRefused(Error),
}

/// Asks for the time that is left of a lease.
async fn time_left(mut client: LeaseClient, id: i64) -> TimeLeft {
    match timeout(LEASE_TIMEOUT, client.time_to_live(id, None)).await {
        // Never more than was granted, whatever the store's clocks say.
        Ok(Ok(answer)) => TimeLeft::Seconds(answer.ttl().min(answer.granted_ttl().max(0))),
        Ok(Err(error)) if is_about_login(&error) => TimeLeft::LoginRefused(error),
        Ok(Err(_)) | Err(_) => TimeLeft::Unknown,
    }
}

/// Whether a request failed because the connection is not logged in as etcd wants it now.
fn is_about_login(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else { return false };
    let text = status.message();
    // Some of these errors have the code of an invalid argument: "revision of auth store is old", "user name is empty".
    ["auth token", "auth store", "user name is empty"].iter().any(|of_login| text.contains(of_login))
}
