//! Exchanges with upstreams that no client waits for: they refresh popular replies before their TTLs end, and stale
//! answers after that.

use super::flight::Flight;
use crate::lock::lock;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Maximum number of exchanges that wait to begin. Further ones are dropped: only a refresh is lost.
const MAX_QUEUED_REFRESHES: usize = 256;

/// Maximum number of such exchanges under way at once.
const MAX_REFRESHES: usize = 256;

type RefreshTask = BoxFuture<'static, ()>;

/// Takes such exchanges, from any thread, and runs them.
#[derive(Debug)]
pub(super) struct Refresher {
    tasks: mpsc::Sender<RefreshTask>,
    queue: Mutex<Option<mpsc::Receiver<RefreshTask>>>,
}

impl Default for Refresher {
    fn default() -> Self {
        let (tasks, queue) = mpsc::channel(MAX_QUEUED_REFRESHES);
        Self { tasks, queue: Mutex::new(Some(queue)) }
    }
}

impl Refresher {
    /// Finishes an exchange in the background; drops it if too many wait.
    pub(super) fn finish(&self, exchange: Flight) {
        // The exchange itself caches its reply. If it is dropped here, the next question begins it again.
        let _ = self.tasks.try_send(exchange.into_future().map(drop).boxed());
    }

    /// Runs the exchanges, for ever. Only the first call does; others return at once.
    pub(super) async fn run(&self) {
        let queue = lock(&self.queue).take();
        let Some(mut queue) = queue else { return };
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                Some(task) = queue.recv(), if under_way.len() < MAX_REFRESHES => drop(under_way.spawn(task)),
                Some(_) = under_way.join_next() => {}
                else => return,
            }
        }
    }
}
