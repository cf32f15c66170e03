//! The leases that keys live on: when they end, as far as it is known.
//!
//! etcd's watch tells of a lease only at its end, so the time left has to be asked for, again and
//! again: at half of what was left the last time.

use crate::clock::unix_time;
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

/// Questions under way at once.
const PARALLEL: usize = 16;

/// Least time between two questions about one lease, and the wait after one that failed.
const REST: Duration = Duration::from_secs(1);

/// Least time between two rounds of questions: bounds what leases cost the store to 640 a second.
const ROUND: Duration = Duration::from_millis(25);

/// Time for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// All leases that keys live on.
#[derive(Default)]
pub(super) struct Leases {
    known: HashMap<i64, Weak<Lease>>,
    due: BinaryHeap<Reverse<(Instant, i64)>>,
    asked: FuturesUnordered<BoxFuture<'static, (i64, Left)>>,
    next_round: Option<Instant>,
}

impl Leases {
    /// Forgets what was asked of a connection that is gone; all leases are asked for anew.
    ///
    /// The leases themselves stay, for the records that hang on them do.
    pub(super) fn reconnected(&mut self) {
        self.asked = FuturesUnordered::new();
        self.known.retain(|_, lease| lease.strong_count() > 0);
        let now = Instant::now();
        self.due = self.known.keys().map(|id| Reverse((now, *id))).collect();
    }

    /// The lease with an id; 0 is none.
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

    /// Asks what is due and takes answers, until etcd does not know us any more: then a new connection has to log in.
    ///
    /// Cancel safe: an answer that is not taken stays under way.
    pub(super) async fn tend(&mut self, client: &LeaseClient) -> Error {
        loop {
            self.ask(client);
            let due = self.due.peek().map(|Reverse((at, _))| (*at).max(self.next_round.unwrap_or(*at)));
            let wait = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            if self.asked.is_empty() {
                wait.await;
            } else if let Some((id, left)) = self.asked.next().await {
                match left {
                    // The next session asks for all leases anew.
                    Left::Strangers(error) => return error,
                    Left::Seconds(left) => self.note(id, Some(left)),
                    Left::Unknown => self.note(id, None),
                }
            }
        }
    }

    fn ask(&mut self, client: &LeaseClient) {
        let now = Instant::now();
        if self.next_round.is_some_and(|at| now < at) {
            return;
        }
        while self.asked.len() < PARALLEL {
            match self.due.peek() {
                Some(Reverse((at, id))) if *at <= now => {
                    let id = *id;
                    self.due.pop();
                    if self.known.get(&id).and_then(Weak::upgrade).is_none() {
                        self.known.remove(&id);
                        continue;
                    }
                    self.asked.push(time_left(client.clone(), id).map(move |left| (id, left)).boxed());
                    self.next_round = Some(now + ROUND);
                }
                _ => return,
            }
        }
    }

    fn note(&mut self, id: i64, left: Option<i64>) {
        let Some(lease) = self.known.get(&id).and_then(Weak::upgrade) else {
            self.known.remove(&id);
            return;
        };
        let next = match left.map(u64::try_from) {
            Some(Ok(left)) => {
                let now = unix_time();
                lease.set_end(now.saturating_add(left));
                (Duration::from_secs(left) / 2).max(REST)
            }
            // Gone (-1): the watch will tell of its keys.
            Some(Err(_)) => {
                self.known.remove(&id);
                return;
            }
            None => REST,
        };
        self.due.push(Reverse((Instant::now() + next, id)));
    }
}

/// What is left of a lease.
enum Left {
    /// Whole seconds; -1 when it is gone.
    Seconds(i64),
    /// It could not be found out.
    Unknown,
    /// etcd does not know who asks: the password changed, say.
    Strangers(Error),
}

async fn time_left(mut client: LeaseClient, id: i64) -> Left {
    match timeout(TIMEOUT, client.time_to_live(id, None)).await {
        Ok(Ok(answer)) => Left::Seconds(answer.ttl()),
        Ok(Err(error)) if is_about_login(&error) => Left::Strangers(error),
        Ok(Err(_)) | Err(_) => Left::Unknown,
    }
}

/// Whether a request failed because the connection is not logged in as etcd wants it now.
fn is_about_login(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else { return false };
    let text = status.message();
    // etcd says some of it as an invalid argument: "revision of auth store is old", "user name is empty".
    ["auth token", "auth store", "user name is empty"].iter().any(|of_login| text.contains(of_login))
}
