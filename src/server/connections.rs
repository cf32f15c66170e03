//! The TCP connections that are open: how many there may be, and which has to go for a new one.

use nix::sys::resource::{Resource, getrlimit};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Connections open at once, of all listeners. Each holds a buffer and a descriptor.
const MOST: usize = 1_000;

/// See the module's text.
#[derive(Debug)]
pub struct Connections {
    began: Instant,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    most: usize,
    /// Octets that replies of all connections may take until they are written.
    budget: Arc<Semaphore>,
}

/// Octets of replies that wait to be written, for all connections together: 64 MiB. Clients that do not read
/// can take no more.
const UNWRITTEN: usize = 64 << 20;

/// The part of it that one connection may hold.
const UNWRITTEN_OF_ONE: usize = 256 << 10;

/// The most octets of one reply: what a query reserves before it is answered.
const REPLY: u32 = 65_535;

/// Room for one reply, held until it is written.
#[derive(Debug)]
pub(super) struct Room {
    of_all: OwnedSemaphorePermit,
    of_one: OwnedSemaphorePermit,
}

impl Room {
    /// Gives back what a reply does not need.
    pub(super) fn shrink(&mut self, octets: usize) {
        let surplus = usize::try_from(REPLY).unwrap_or(0).saturating_sub(octets);
        drop(self.of_all.split(surplus));
        drop(self.of_one.split(surplus));
    }
}

/// One open connection; it is closed in the table when this is dropped.
#[derive(Debug)]
pub(super) struct Open {
    table: Arc<Connections>,
    number: u64,
    connection: Arc<Connection>,
    budget: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Connection {
    /// Milliseconds from the table's beginning to the last query.
    last: AtomicU64,
    /// Queries under way.
    busy: AtomicUsize,
    evicted: Notify,
}

impl Connections {
    /// An empty table.
    pub fn new() -> Arc<Self> {
        Self::with_most(most())
    }

    fn with_most(most: usize) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            most,
            budget: Arc::new(Semaphore::new(UNWRITTEN)),
        })
    }

    /// Adds a connection; if there are too many, the one idle for the longest has to go.
    pub(super) fn open(self: &Arc<Self>) -> Open {
        let connection = Arc::new(Connection { last: AtomicU64::new(self.now()), ..Connection::default() });
        let number = self.next.fetch_add(1, Relaxed);
        let mut open = self.lock();
        if open.len() >= self.most {
            let worst = open.iter().min_by_key(|(_, c)| (c.busy.load(Relaxed) > 0, c.last.load(Relaxed)));
            if let Some(worst) = worst.map(|(number, _)| *number)
                && let Some(gone) = open.remove(&worst)
            {
                gone.evicted.notify_one();
            }
        }
        open.insert(number, Arc::clone(&connection));
        let budget = Arc::new(Semaphore::new(UNWRITTEN_OF_ONE));
        Open { table: Arc::clone(self), number, connection, budget }
    }

    /// Whether all room for replies is taken, so that a query has to wait.
    pub fn is_full(&self) -> bool {
        self.budget.available_permits() < usize::try_from(REPLY).unwrap_or(0)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A quarter of the files the process may open, and [`MOST`] at most: upstreams and sources need theirs.
fn most() -> usize {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
    usize::try_from(files / 4).unwrap_or(MOST).clamp(1, MOST)
}

impl Open {
    /// Reserves room for the reply to the next query; waits until there is some.
    pub(super) async fn room(&self) -> Option<Room> {
        let of_one = Arc::clone(&self.budget).acquire_many_owned(REPLY).await.ok()?;
        let of_all = Arc::clone(&self.table.budget).acquire_many_owned(REPLY).await.ok()?;
        Some(Room { of_all, of_one })
    }

    /// Notes a query that came in.
    pub(super) fn query(&self) {
        self.connection.last.store(self.table.now(), Relaxed);
        self.connection.busy.fetch_add(1, Relaxed);
    }

    /// Notes that a query was answered.
    pub(super) fn answered(&self) {
        self.connection.busy.fetch_sub(1, Relaxed);
    }

    /// Whether queries are under way.
    pub(super) fn is_busy(&self) -> bool {
        self.connection.busy.load(Relaxed) > 0
    }

    /// Completes when the connection has to go.
    pub(super) async fn evicted(&self) {
        self.connection.evicted.notified().await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.table.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_one_idle_for_the_longest_goes_first_and_busy_ones_last() {
        let table = Connections::with_most(3);
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(table.open());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        open[0].query();
        let fourth = table.open();
        let gone = |open: &Open| !table.lock().contains_key(&open.number);
        assert_eq!(open.iter().map(gone).collect::<Vec<_>>(), [false, true, false]);
        open[1].evicted().await;
        drop(fourth);
        assert_eq!(table.lock().len(), 2);
    }
}
