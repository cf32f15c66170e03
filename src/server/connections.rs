//! The open TCP connections: how many there may be, which one is closed for a new one, and how much memory their replies
//! may take.

use crate::lock::lock;
use nix::sys::resource::{Resource, getrlimit};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Maximum number of open connections of all listeners. Each holds a buffer and a descriptor.
const MAX_CONNECTIONS: usize = 1_000;

/// All open connections.
#[derive(Debug)]
pub struct Connections {
    began: Instant,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    max_open: usize,
    /// Permits for the octets of replies until these are written, for all connections together.
    budget: Arc<Semaphore>,
    /// Permits for replies that are larger than usual and wait for more octets.
    large: Semaphore,
}

/// Maximum octets of replies that wait to be written, for all connections together: 64 MiB. Clients that do not read their
/// replies can take no more.
const MAX_UNWRITTEN: usize = 64 << 20;

/// The part of these that one connection may hold: twice what the queries that may be pending on it reserve.
const MAX_UNWRITTEN_OF_CONNECTION: usize = 512 << 10;

/// Octets that a query reserves before it is answered. Most replies are smaller; a larger reply reserves more once it is
/// there, so that queries which wait for upstreams do not take the memory that other replies need.
const USUAL_REPLY: usize = 4 << 10;

/// Maximum number of larger replies that wait for more octets at once. They hold at most 32 MiB beside the 64 of all others.
const MAX_LARGE_REPLIES: usize = 512;

/// How long a query or a reply waits for memory before its connection is closed: so long clients have to read replies.
const READ_REPLIES_TIMEOUT: Duration = Duration::from_secs(5);

/// The octets that one reply may take, held until the reply is written.
#[derive(Debug)]
pub(super) struct ReplyPermit {
    of_table: OwnedSemaphorePermit,
    of_connection: OwnedSemaphorePermit,
}

/// One open connection; it leaves the table when this is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    table: Arc<Connections>,
    number: u64,
    connection: Arc<Connection>,
    budget: Arc<Semaphore>,
}

#[derive(Debug)]
struct Connection {
    peer: IpAddr,
    /// When the last query came in, in milliseconds since the table was made.
    last: AtomicU64,
    /// Queries that are not answered yet.
    pending: AtomicUsize,
    evicted: Notify,
}

impl Connections {
    /// An empty table.
    pub fn new() -> Arc<Self> {
        Self::with_max(max_open())
    }

    fn with_max(max_open: usize) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            max_open,
            budget: Arc::new(Semaphore::new(MAX_UNWRITTEN)),
            large: Semaphore::new(MAX_LARGE_REPLIES),
        })
    }

    /// Adds a connection. If there are too many, another one is closed: preferably one without a pending query, then one of the
    /// client with the most such connections, then the one idle for the longest.
    pub(super) fn open(self: &Arc<Self>, peer: IpAddr) -> OpenConnection {
        let connection = Arc::new(Connection {
            peer,
            last: AtomicU64::new(self.now()),
            pending: AtomicUsize::new(0),
            evicted: Notify::new(),
        });
        let number = self.next.fetch_add(1, Relaxed);
        let mut open = self.lock();
        if open.len() >= self.max_open {
            let is_busy = |c: &Connection| c.pending.load(Relaxed) > 0;
            let mut idle: HashMap<IpAddr, usize> = HashMap::new();
            open.values().filter(|c| !is_busy(c)).for_each(|c| *idle.entry(c.peer).or_default() += 1);
            let closing_order = |c: &Connection| {
                let of_client = idle.get(&c.peer).copied().unwrap_or(0);
                (is_busy(c), Reverse(of_client), c.last.load(Relaxed))
            };
            let first = open.iter().min_by_key(|(_, connection)| closing_order(connection));
            if let Some(first) = first.map(|(number, _)| *number)
                && let Some(gone) = open.remove(&first)
            {
                gone.evicted.notify_one();
            }
        }
        open.insert(number, Arc::clone(&connection));
        let budget = Arc::new(Semaphore::new(MAX_UNWRITTEN_OF_CONNECTION));
        OpenConnection { table: Arc::clone(self), number, connection, budget }
    }

    /// Whether all octets for replies are taken, so that a query has to wait.
    pub fn is_full(&self) -> bool {
        self.budget.available_permits() < USUAL_REPLY
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        lock(&self.open)
    }
}

/// A quarter of the files that the process may open, at most [`MAX_CONNECTIONS`]: upstreams and sources need files as well.
fn max_open() -> usize {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
    usize::try_from(files / 4).unwrap_or(MAX_CONNECTIONS).clamp(1, MAX_CONNECTIONS)
}

impl OpenConnection {
    /// Reserves octets for the reply to the next query; `None` if the client does not read its replies.
    pub(super) async fn reserve_usual(&self) -> Option<ReplyPermit> {
        timeout(READ_REPLIES_TIMEOUT, self.reserve(USUAL_REPLY)).await.ok()?
    }

    /// Fits a permit to the size of its reply; `false` if there are not enough octets, because clients do not read.
    pub(super) async fn fit(&self, permit: &mut ReplyPermit, octets: usize) -> bool {
        let Some(more) = octets.checked_sub(USUAL_REPLY).filter(|more| *more > 0) else {
            let surplus = USUAL_REPLY.saturating_sub(octets);
            drop((permit.of_table.split(surplus), permit.of_connection.split(surplus)));
            return true;
        };
        let more = match self.try_reserve(more) {
            Some(more) => more,
            None => {
                // The reply takes its memory while it waits.
                let Ok(_place) = self.table.large.try_acquire() else { return false };
                let Ok(Some(more)) = timeout(READ_REPLIES_TIMEOUT, self.reserve(more)).await else {
                    return false;
                };
                more
            }
        };
        permit.of_table.merge(more.of_table);
        permit.of_connection.merge(more.of_connection);
        true
    }

    /// A permit for so many octets, if they are free now.
    fn try_reserve(&self, octets: usize) -> Option<ReplyPermit> {
        let octets = u32::try_from(octets).ok()?;
        let of_connection = Arc::clone(&self.budget).try_acquire_many_owned(octets).ok()?;
        let of_table = Arc::clone(&self.table.budget).try_acquire_many_owned(octets).ok()?;
        Some(ReplyPermit { of_table, of_connection })
    }

    async fn reserve(&self, octets: usize) -> Option<ReplyPermit> {
        let octets = u32::try_from(octets).ok()?;
        let of_connection = Arc::clone(&self.budget).acquire_many_owned(octets).await.ok()?;
        let of_table = Arc::clone(&self.table.budget).acquire_many_owned(octets).await.ok()?;
        Some(ReplyPermit { of_table, of_connection })
    }

    /// Has the connection closed.
    pub(super) fn close(&self) {
        self.connection.evicted.notify_one();
    }

    /// Counts a query that came in.
    pub(super) fn query_received(&self) {
        self.connection.last.store(self.table.now(), Relaxed);
        self.connection.pending.fetch_add(1, Relaxed);
    }

    /// Counts a query that was answered.
    pub(super) fn query_answered(&self) {
        self.connection.pending.fetch_sub(1, Relaxed);
    }

    /// Whether queries are pending.
    pub(super) fn is_busy(&self) -> bool {
        self.connection.pending.load(Relaxed) > 0
    }

    /// Completes when the connection has to be closed: a new one took its place, or [`close`](Self::close) was called.
    pub(super) async fn evicted(&self) {
        self.connection.evicted.notified().await;
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.table.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test(start_paused = true)]
    async fn the_one_idle_for_the_longest_goes_first_and_busy_ones_last() {
        let table = Connections::with_max(3);
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(table.open(US));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        open[0].query_received();
        let fourth = table.open(US);
        let gone = |open: &OpenConnection| !table.lock().contains_key(&open.number);
        assert_eq!(open.iter().map(gone).collect::<Vec<_>>(), [false, true, false]);
        open[1].evicted().await;
        drop(fourth);
        assert_eq!(table.lock().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_the_most_makes_room() {
        let table = Connections::with_max(4);
        let mut open = Vec::new();
        for last in [1, 2, 2, 2] {
            open.push(table.open([192, 0, 2, last].into()));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let _fifth = table.open([192, 0, 2, 3].into());
        let gone = |open: &OpenConnection| !table.lock().contains_key(&open.number);
        assert_eq!(open.iter().map(gone).collect::<Vec<_>>(), [false, true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_bounded_for_each_and_for_all() {
        let table = Connections::with_max(3);
        let open = table.open(US);
        let free = || (table.budget.available_permits(), open.budget.available_permits());
        let before = free();
        let mut usual = open.reserve_usual().await.expect("a permit");
        assert!(open.fit(&mut usual, 100).await);
        assert_eq!(before.0 - free().0, 100);
        let mut large = open.reserve_usual().await.expect("a permit");
        assert!(open.fit(&mut large, 65_535).await);
        assert_eq!(before.1 - free().1, 100 + 65_535);
        let mut held = Vec::new();
        while let Some(permit) = open.reserve_usual().await {
            held.push(permit);
        }
        assert_eq!(
            held.len(),
            (MAX_UNWRITTEN_OF_CONNECTION - 65_635) / USUAL_REPLY,
            "until the client is too slow"
        );
        let mut last = held.pop().expect("a permit");
        assert!(!open.fit(&mut last, 65_535).await);
        drop((usual, large, held, last));
        assert_eq!(free(), before, "all is given back");
        assert_eq!(table.large.available_permits(), MAX_LARGE_REPLIES);
    }
}
