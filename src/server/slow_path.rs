//! The slow path: pending queries of UDP clients. Each worker hands them over by the batch to a task of its own on the
//! runtime, and replies that are ready together are sent together.

use super::datagrams::{self, BATCH, ReplyTo};
use super::handler::{Handler, PendingQuery};
use crate::metrics::SocketWork;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use tokio::sync::mpsc;
use tokio::task::{unconstrained, yield_now};

/// Maximum number of pending queries of UDP clients, of all workers together; more get SERVFAIL.
const MAX_PENDING: usize = 4_096;

/// Pending queries, and where their replies go.
pub(super) type PendingQueries = Vec<(PendingQuery, ReplyTo)>;

/// One UDP worker's way to hand queries over.
#[derive(Debug)]
pub struct SlowPath {
    queries: mpsc::Sender<PendingQueries>,
    waiting: Arc<AtomicUsize>,
}

impl SlowPath {
    /// Hands queries over; those that are left in `queries` are too many.
    pub(super) fn take(&self, queries: &mut PendingQueries) {
        let free = MAX_PENDING.saturating_sub(self.waiting.load(Ordering::Relaxed));
        let taken: PendingQueries = queries.drain(..queries.len().min(free)).collect();
        let count = taken.len();
        if count == 0 {
            return;
        }
        self.waiting.fetch_add(count, Ordering::Relaxed);
        if let Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) =
            self.queries.try_send(taken)
        {
            self.waiting.fetch_sub(count, Ordering::Relaxed);
            queries.extend(back);
        }
    }
}

/// `count` slow paths, each with the task that serves it until the [`SlowPath`] is dropped; queries that are pending then are
/// finished.
pub fn slow_paths(
    handler: &Arc<Handler>,
    count: usize,
) -> Vec<(SlowPath, impl Future<Output = ()> + Send + use<>)> {
    let waiting = Arc::new(AtomicUsize::new(0));
    let path = || {
        // As many as may be pending, so it is never full.
        let (queries, queue) = mpsc::channel(MAX_PENDING);
        (
            SlowPath { queries, waiting: Arc::clone(&waiting) },
            serve(Arc::clone(handler), queue, Arc::clone(&waiting)),
        )
    };
    std::iter::repeat_with(path).take(count).collect()
}

async fn serve(handler: Arc<Handler>, mut queue: mpsc::Receiver<PendingQueries>, waiting: Arc<AtomicUsize>) {
    let mut running = FuturesUnordered::new();
    let (mut open, mut finished) = (true, Vec::with_capacity(BATCH));
    while open || !running.is_empty() {
        tokio::select! {
            queries = queue.recv(), if open => match queries {
                Some(queries) => running.extend(queries.into_iter().map(|(query, reply_to)| {
                    let handler = &handler;
                    async move { (reply_to, handler.finish(query).await) }
                })),
                None => open = false,
            },
            // Not within tokio's cooperative budget: once it is used up, each of thousands of futures would be polled in vain.
            () = unconstrained(poll_fn(|cx| {
                while finished.len() < BATCH
                    && let Poll::Ready(Some(one)) = running.poll_next_unpin(cx)
                {
                    finished.push(one);
                }
                if finished.is_empty() { Poll::Pending } else { Poll::Ready(()) }
            })), if !running.is_empty() => {
                waiting.fetch_sub(finished.len(), Ordering::Relaxed);
                let failed = datagrams::send_all(&finished);
                handler.metrics().socket_failed(SocketWork::Send, failed);
                finished.clear();
                yield_now().await;
            }
        }
    }
}
