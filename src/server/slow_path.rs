//! The slow path: pending queries of UDP clients. Each worker hands them over by the batch to a task of its own on the
//! runtime, and replies that are ready together are sent together.

use super::datagrams::{self, BATCH, ReplyTo};
use super::handler::{Handler, PendingQuery};
use crate::client_id::ClientId;
use crate::lock::lock;
use crate::metrics::SocketWork;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::sync::mpsc;
use tokio::task::{unconstrained, yield_now};

/// Maximum number of pending queries of UDP clients, of all workers together; more get SERVFAIL.
const MAX_PENDING: usize = 4_096;

/// The same for one client, so that there is room for others.
const MAX_PENDING_OF_CLIENT: usize = MAX_PENDING / 4 * 3;

/// Pending queries, and where their replies go.
pub(super) type PendingQueries = Vec<(PendingQuery, ReplyTo)>;

/// One UDP worker's way to hand queries over.
#[derive(Debug)]
pub struct SlowPath {
    queries: mpsc::Sender<PendingQueries>,
    waiting: Arc<Mutex<WaitingQueries>>,
}

/// How many queries are pending.
#[derive(Debug, Default)]
struct WaitingQueries {
    all: usize,
    by_client: HashMap<ClientId, usize>,
}

impl WaitingQueries {
    /// Counts a query of a client; `false` if it is too many.
    fn add(&mut self, client: ClientId) -> bool {
        if self.all >= MAX_PENDING {
            return false;
        }
        let own = self.by_client.entry(client).or_default();
        if *own >= MAX_PENDING_OF_CLIENT {
            return false;
        }
        *own += 1;
        self.all += 1;
        true
    }

    fn remove(&mut self, client: ClientId) {
        if let Entry::Occupied(mut own) = self.by_client.entry(client) {
            *own.get_mut() -= 1;
            self.all -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

impl SlowPath {
    /// Hands queries over; those that are left in `queries` are too many.
    pub(super) fn take(&self, queries: &mut PendingQueries) {
        let taken: PendingQueries = {
            let mut waiting = lock(&self.waiting);
            queries.extract_if(.., |(query, _)| waiting.add(query.client())).collect()
        };
        if taken.is_empty() {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back)) =
            self.queries.try_send(taken)
        {
            let mut waiting = lock(&self.waiting);
            back.iter().for_each(|(query, _)| waiting.remove(query.client()));
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
    let waiting = Arc::<Mutex<WaitingQueries>>::default();
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

async fn serve(
    handler: Arc<Handler>,
    mut queue: mpsc::Receiver<PendingQueries>,
    waiting: Arc<Mutex<WaitingQueries>>,
) {
    let mut running = FuturesUnordered::new();
    let (mut open, mut finished, mut clients) = (true, Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    while open || !running.is_empty() {
        tokio::select! {
            queries = queue.recv(), if open => match queries {
                Some(queries) => running.extend(queries.into_iter().map(|(query, reply_to)| {
                    let (handler, client) = (&handler, query.client());
                    async move { (client, reply_to, handler.finish(query).await) }
                })),
                None => open = false,
            },
            // Not within tokio's cooperative budget: once it is used up, each of thousands of futures would be polled in vain.
            () = unconstrained(poll_fn(|cx| {
                while finished.len() < BATCH
                    && let Poll::Ready(Some((client, reply_to, reply))) = running.poll_next_unpin(cx)
                {
                    clients.push(client);
                    finished.push((reply_to, reply));
                }
                if finished.is_empty() { Poll::Pending } else { Poll::Ready(()) }
            })), if !running.is_empty() => {
                {
                    let mut waiting = lock(&waiting);
                    clients.drain(..).for_each(|client| waiting.remove(client));
                }
                let failed = datagrams::send_all(&finished);
                handler.metrics().socket_failed(SocketWork::Send, failed);
                finished.clear();
                yield_now().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_leaves_room_for_others() {
        let mut waiting = WaitingQueries::default();
        let client = |n: u8| ClientId::of([192, 0, 2, n].into());
        let added = (0..MAX_PENDING).filter(|_| waiting.add(client(1))).count();
        assert_eq!(added, MAX_PENDING_OF_CLIENT);
        assert!((0..MAX_PENDING / 8).all(|_| waiting.add(client(2))));
        waiting.remove(client(1));
        assert!(waiting.add(client(1)) && !waiting.add(client(1)));
        for _ in 0..MAX_PENDING {
            waiting.add(client(3));
        }
        assert!(waiting.all == MAX_PENDING && !waiting.add(client(4)));
        (0..MAX_PENDING).for_each(|_| (1..=3).for_each(|n| waiting.remove(client(n))));
        assert_eq!((waiting.all, waiting.by_client.len()), (0, 0));
    }
}
