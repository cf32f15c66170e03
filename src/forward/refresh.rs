//! Questions to upstreams that nobody waits for: replies are fetched anew ahead of their end, and stale ones after it.

use crate::lock::lock;
use crate::wire::Reply;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Exchanges that may wait to be begun; of more, none is lost but the refreshing.
const MAX_QUEUED_REFRESHES: usize = 256;

/// Exchanges under way at once.
const MAX_REFRESHES: usize = 256;

type RefreshTask = BoxFuture<'static, ()>;

/// Where such exchanges are handed in, from any thread.
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
    /// Sees to it that an exchange is finished though nobody waits for it, if there is room.
    pub(super) fn finish(&self, exchange: impl Future<Output = Reply> + Send + 'static) {
        // The reply is in the cache; one that failed comes again with the next who asks.
        let _ = self.tasks.try_send(exchange.map(drop).boxed());
    }

    /// Drives what is handed in, for ever. Only the first call does.
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
