//! The TCP connections that are open: how many there may be, and which has to go for a new one.

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
    /// Replies larger than usual that may wait for more room.
    large: Semaphore,
}

/// Octets of replies that wait to be written, for all connections together: 64 MiB. Clients that do not read
/// can take no more.
const UNWRITTEN: usize = 64 << 20;

/// The part of it that one connection may hold: as much as all that may wait at once reserve, and as much again.
const UNWRITTEN_OF_ONE: usize = 512 << 10;

/// Octets that a query reserves before it is answered. Most replies are smaller; more is asked for when it is needed, so
/// that queries which wait for upstreams do not take the room of others.
const USUAL: usize = 4 << 10;

/// Replies larger than that which wait for more room at once: 32 MiB beside the 64.
const LARGE: usize = 512;

/// Time for a client to make room by reading.
const SLOW: Duration = Duration::from_secs(5);

/// Room for one reply, held until it is written.
#[derive(Debug)]
pub(super) struct Room {
    of_all: OwnedSemaphorePermit,
    of_one: OwnedSemaphorePermit,
}

/// One open connection; it is closed in the table when this is dropped.
#[derive(Debug)]
pub(super) struct Open {
    table: Arc<Connections>,
    number: u64,
    connection: Arc<Connection>,
    budget: Arc<Semaphore>,
}

#[derive(Debug)]
struct Connection {
    peer: IpAddr,
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
            large: Semaphore::new(LARGE),
        })
    }

    /// Adds a connection; if there are too many, another has to go: one without a query under way, of the client that
    /// has the most of these, the one idle for the longest.
    pub(super) fn open(self: &Arc<Self>, peer: IpAddr) -> Open {
        let connection = Arc::new(Connection {
            peer,
            last: AtomicU64::new(self.now()),
            busy: AtomicUsize::new(0),
            evicted: Notify::new(),
        });
        let number = self.next.fetch_add(1, Relaxed);
        let mut open = self.lock();
        if open.len() >= self.most {
            let is_busy = |c: &Connection| c.busy.load(Relaxed) > 0;
            let mut idle: HashMap<IpAddr, usize> = HashMap::new();
            open.values().filter(|c| !is_busy(c)).for_each(|c| *idle.entry(c.peer).or_default() += 1);
            let badness = |c: &Connection| {
                let of_client = idle.get(&c.peer).copied().unwrap_or(0);
                (is_busy(c), Reverse(of_client), c.last.load(Relaxed))
            };
            let worst = open.iter().min_by_key(|(_, connection)| badness(connection));
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
        self.budget.available_permits() < USUAL
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        lock(&self.open)
    }
}

/// A quarter of the files the process may open, and [`MOST`] at most: upstreams and sources need theirs.
fn most() -> usize {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
    usize::try_from(files / 4).unwrap_or(MOST).clamp(1, MOST)
}

impl Open {
    /// Reserves room for the reply to the next query; `None` if the client does not read the replies it has.
    pub(super) async fn room(&self) -> Option<Room> {
        timeout(SLOW, self.reserve(USUAL)).await.ok()?
    }

    /// Fits the room to a reply; `false` if there is no more, because the client does not read.
    pub(super) async fn fit(&self, room: &mut Room, octets: usize) -> bool {
        let Some(more) = octets.checked_sub(USUAL).filter(|more| *more > 0) else {
            let surplus = USUAL.saturating_sub(octets);
            drop((room.of_all.split(surplus), room.of_one.split(surplus)));
            return true;
        };
        let more = match self.try_reserve(more) {
            Some(more) => more,
            None => {
                // It takes its memory while it waits.
                let Ok(_place) = self.table.large.try_acquire() else { return false };
                let Ok(Some(more)) = timeout(SLOW, self.reserve(more)).await else { return false };
                more
            }
        };
        room.of_all.merge(more.of_all);
        room.of_one.merge(more.of_one);
        true
    }

    /// The room, if it is there now.
    fn try_reserve(&self, octets: usize) -> Option<Room> {
        let octets = u32::try_from(octets).ok()?;
        let of_one = Arc::clone(&self.budget).try_acquire_many_owned(octets).ok()?;
        let of_all = Arc::clone(&self.table.budget).try_acquire_many_owned(octets).ok()?;
        Some(Room { of_all, of_one })
    }

    async fn reserve(&self, octets: usize) -> Option<Room> {
        let octets = u32::try_from(octets).ok()?;
        let of_one = Arc::clone(&self.budget).acquire_many_owned(octets).await.ok()?;
        let of_all = Arc::clone(&self.table.budget).acquire_many_owned(octets).await.ok()?;
        Some(Room { of_all, of_one })
    }

    /// Closes the connection.
    pub(super) fn cut(&self) {
        self.connection.evicted.notify_one();
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

    /// Completes when the connection has to go: a new one took its place, or it was cut.
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

    const US: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test(start_paused = true)]
    async fn the_one_idle_for_the_longest_goes_first_and_busy_ones_last() {
        let table = Connections::with_most(3);
        let mut open = Vec::new();
        for _ in 0..3 {
            open.push(table.open(US));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        open[0].query();
        let fourth = table.open(US);
        let gone = |open: &Open| !table.lock().contains_key(&open.number);
        assert_eq!(open.iter().map(gone).collect::<Vec<_>>(), [false, true, false]);
        open[1].evicted().await;
        drop(fourth);
        assert_eq!(table.lock().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_the_most_makes_room() {
        let table = Connections::with_most(4);
        let mut open = Vec::new();
        for last in [1, 2, 2, 2] {
            open.push(table.open([192, 0, 2, last].into()));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let _fifth = table.open([192, 0, 2, 3].into());
        let gone = |open: &Open| !table.lock().contains_key(&open.number);
        assert_eq!(open.iter().map(gone).collect::<Vec<_>>(), [false, true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_bounded_for_each_and_for_all() {
        let table = Connections::with_most(3);
        let open = table.open(US);
        let free = || (table.budget.available_permits(), open.budget.available_permits());
        let before = free();
        let mut usual = open.room().await.expect("room");
        assert!(open.fit(&mut usual, 100).await);
        assert_eq!(before.0 - free().0, 100);
        let mut large = open.room().await.expect("room");
        assert!(open.fit(&mut large, 65_535).await);
        assert_eq!(before.1 - free().1, 100 + 65_535);
        let mut held = Vec::new();
        while let Some(room) = open.room().await {
            held.push(room);
        }
        assert_eq!(held.len(), (UNWRITTEN_OF_ONE - 65_635) / USUAL, "until the client is too slow");
        let mut last = held.pop().expect("room");
        assert!(!open.fit(&mut last, 65_535).await);
        drop((usual, large, held, last));
        assert_eq!(free(), before, "all is given back");
        assert_eq!(table.large.available_permits(), LARGE);
    }
}
