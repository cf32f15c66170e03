//! The open TCP connections: how many there may be, which one is closed for a new one, and how much memory their replies
//! may take. Clients have shares of both, so that one cannot take the places of others.

use super::origin::ClientId;
use crate::lock::lock;
use nix::sys::resource::{Resource, getrlimit};
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
    open: Mutex<Table>,
    max_open: usize,
    /// Permits for the octets of replies until these are written, for all connections together.
    budget: Arc<Semaphore>,
    /// Permits for replies that are larger than usual and wait for more octets.
    large: Semaphore,
}

/// Maximum octets of replies that wait to be written, for all connections together: 64 MiB. Clients that do not read their
/// replies can take no more, but for the first usual reply of each connection.
const MAX_UNWRITTEN: usize = 64 << 20;

/// The part of these that one client may hold: eight clients that do not read are as many as it takes to need more.
const MAX_UNWRITTEN_OF_CLIENT: usize = 8 << 20;

/// The part of these that one connection may hold: twice what the queries that may be pending on it reserve.
const MAX_UNWRITTEN_OF_CONNECTION: usize = 512 << 10;

/// Octets that a query reserves before it is answered. Most replies are smaller; a larger reply reserves more once it is
/// there, so that queries which wait for upstreams do not take the memory that other replies need.
const USUAL_REPLY: usize = 4 << 10;

/// Maximum number of larger replies that wait for more octets at once. They hold at most 32 MiB beside the 64 of all others.
const MAX_LARGE_REPLIES: usize = 512;

/// The part of these that are of one client.
const MAX_LARGE_REPLIES_OF_CLIENT: usize = 64;

/// How long a query or a reply waits for memory before its connection is closed: so long clients have to read replies.
const READ_REPLIES_TIMEOUT: Duration = Duration::from_secs(5);

/// How long octets of other clients are waited for until the client that holds the most loses a connection.
const EVICTION_PAUSE: Duration = Duration::from_millis(20);

/// After how many milliseconds a client that takes no octet of its replies counts as one that does not read.
const STALLED_AFTER: u64 = 1_000;

/// The octets that one reply may take, held until the reply is written.
#[derive(Debug)]
pub(super) struct ReplyPermit {
    of_connection: OwnedSemaphorePermit,
    /// The part that other connections could have; none for the first usual reply of a connection, which is free to all.
    shared: Option<SharedPermit>,
}

/// Octets of what clients share.
#[derive(Debug)]
struct SharedPermit {
    of_client: OwnedSemaphorePermit,
    of_table: OwnedSemaphorePermit,
}

/// One open connection; it leaves the table when this is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    table: Arc<Connections>,
    number: u64,
    connection: Arc<Connection>,
    share: Arc<ClientShare>,
}

#[derive(Debug, Default)]
struct Table {
    connections: HashMap<u64, Arc<Connection>>,
    clients: HashMap<ClientId, ClientConnections>,
    /// Connections of clients that are not ours.
    of_strangers: usize,
    next: u64,
}

/// The connections of one client.
#[derive(Debug)]
struct ClientConnections {
    count: usize,
    share: Arc<ClientShare>,
}

/// What one client may hold of replies that are not written.
#[derive(Debug)]
struct ClientShare {
    octets: Arc<Semaphore>,
    large: Semaphore,
}

#[derive(Debug)]
struct Connection {
    client: ClientId,
    is_ours: bool,
    /// When the last query came in, in milliseconds since the table was made.
    last: AtomicU64,
    /// Queries that are not answered yet.
    pending: AtomicUsize,
    /// Since when a write of replies has been under way, in milliseconds since the table was made; `u64::MAX` if none is.
    writing_since: AtomicU64,
    budget: Arc<Semaphore>,
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
            max_open,
            budget: Arc::new(Semaphore::new(MAX_UNWRITTEN)),
            large: Semaphore::new(MAX_LARGE_REPLIES),
        })
    }

    /// Adds a connection of a client, which may be one of ours. If there are too many, another one is closed: see
    /// [`Table::make_room`].
    pub(super) fn open(self: &Arc<Self>, peer: IpAddr, is_ours: bool) -> OpenConnection {
        let now = self.now();
        let connection = Arc::new(Connection {
            client: ClientId::of(peer),
            is_ours,
            last: AtomicU64::new(now),
            pending: AtomicUsize::new(0),
            writing_since: AtomicU64::new(u64::MAX),
            budget: Arc::new(Semaphore::new(MAX_UNWRITTEN_OF_CONNECTION)),
            evicted: Notify::new(),
        });
        let mut open = self.lock();
        if open.connections.len() >= self.max_open {
            open.make_room(connection.client, now);
        }
        let (number, share) = open.insert(&connection);
        OpenConnection { table: Arc::clone(self), number, connection, share }
    }

    /// Whether all octets for replies are taken, so that a query has to wait.
    pub fn is_full(&self) -> bool {
        self.budget.available_permits() < USUAL_REPLY
    }

    /// Closes the connection that holds the most, of the client that holds the most.
    fn close_largest_holder(&self) {
        let mut open = self.lock();
        let left_to = |client: &ClientConnections| client.share.octets.available_permits();
        let holder = open.clients.iter().min_by_key(|(_, client)| left_to(client));
        let Some(holder) = holder.map(|(client, _)| *client) else { return };
        let of_holder = open.connections.iter().filter(|(_, connection)| connection.client == holder);
        let largest = of_holder.min_by_key(|(_, connection)| connection.budget.available_permits());
        if let Some(number) = largest.map(|(number, _)| *number) {
            open.close(number);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.open)
    }
}

/// A quarter of the files that the process may open, at most [`MAX_CONNECTIONS`]: upstreams and sources need files as well.
fn max_open() -> usize {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
    usize::try_from(files / 4).unwrap_or(MAX_CONNECTIONS).clamp(1, MAX_CONNECTIONS)
}

impl Table {
    /// Adds a connection; returns its number, and its client's share.
    fn insert(&mut self, connection: &Arc<Connection>) -> (u64, Arc<ClientShare>) {
        let number = self.next;
        self.next += 1;
        self.connections.insert(number, Arc::clone(connection));
        self.of_strangers += usize::from(!connection.is_ours);
        let client = self.clients.entry(connection.client).or_insert_with(|| ClientConnections {
            count: 0,
            share: Arc::new(ClientShare {
                octets: Arc::new(Semaphore::new(MAX_UNWRITTEN_OF_CLIENT)),
                large: Semaphore::new(MAX_LARGE_REPLIES_OF_CLIENT),
            }),
        });
        client.count += 1;
        (number, Arc::clone(&client.share))
    }

    /// Removes a connection, if it is there.
    fn remove(&mut self, number: u64) -> Option<Arc<Connection>> {
        let connection = self.connections.remove(&number)?;
        self.of_strangers -= usize::from(!connection.is_ours);
        if let Some(client) = self.clients.get_mut(&connection.client) {
            client.count -= 1;
            if client.count == 0 {
                self.clients.remove(&connection.client);
            }
        }
        Some(connection)
    }

    /// Removes a connection, and has it closed.
    fn close(&mut self, number: u64) {
        if let Some(connection) = self.remove(number) {
            connection.evicted.notify_one();
        }
    }

    /// Closes a connection for a new one of a client. It is one of the client that has the most, the new one included: one
    /// whose replies are not read, else the one without a pending query that is idle for the longest, else that with the
    /// oldest query. If clients that are not ours have more than half, who may be one with many addresses, it is one of theirs.
    fn make_room(&mut self, newcomer: ClientId, now: u64) {
        let count = |connection: &Connection| {
            let count = self.clients.get(&connection.client).map_or(0, |client| client.count);
            count + usize::from(connection.client == newcomer)
        };
        let ours_stay = 2 * self.of_strangers > self.connections.len();
        let candidates = self.connections.iter().filter(|(_, connection)| !(ours_stay && connection.is_ours));
        let most = candidates.clone().map(|(_, connection)| count(connection)).max().unwrap_or(0);
        let of_most = candidates.filter(|(_, connection)| count(connection) == most);
        // Of those of the same millisecond the oldest.
        let first = of_most.min_by_key(|(number, connection)| (connection.closing_order(now), **number));
        if let Some(number) = first.map(|(number, _)| *number) {
            self.close(number);
        }
    }
}

impl Connection {
    /// Of connections of clients with equally many, the one with the least order is closed first.
    fn closing_order(&self, now: u64) -> (bool, bool, u64) {
        let is_stalled = now.saturating_sub(self.writing_since.load(Relaxed)) >= STALLED_AFTER;
        (!is_stalled, self.pending.load(Relaxed) > 0, self.last.load(Relaxed))
    }
}

impl OpenConnection {
    /// Reserves octets for the reply to the next query; `None` if the client does not read its replies.
    pub(super) async fn reserve_usual(&self) -> Option<ReplyPermit> {
        timeout(READ_REPLIES_TIMEOUT, async {
            let budget = &self.connection.budget;
            let is_first = budget.available_permits() == MAX_UNWRITTEN_OF_CONNECTION;
            let of_connection = acquire(budget, USUAL_REPLY).await?;
            let shared = if is_first { None } else { Some(self.reserve_shared(USUAL_REPLY).await?) };
            Some(ReplyPermit { of_connection, shared })
        })
        .await
        .ok()?
    }

    /// Fits a permit to the size of its reply; `false` if there are not enough octets, because clients do not read.
    pub(super) async fn fit(&self, permit: &mut ReplyPermit, octets: usize) -> bool {
        let Some(more) = octets.checked_sub(USUAL_REPLY).filter(|more| *more > 0) else {
            permit.give_back(USUAL_REPLY.saturating_sub(octets));
            return true;
        };
        if let Some(more) = self.try_reserve(more) {
            permit.merge(more);
            return true;
        }
        // The reply takes its memory while it waits.
        let (Ok(_place), Ok(_of_client)) = (self.table.large.try_acquire(), self.share.large.try_acquire())
        else {
            return false;
        };
        match timeout(READ_REPLIES_TIMEOUT, self.reserve(more)).await {
            Ok(Some(more)) => {
                permit.merge(more);
                true
            }
            _ => false,
        }
    }

    /// A permit for so many octets, if they are free now.
    fn try_reserve(&self, octets: usize) -> Option<ReplyPermit> {
        let octets = u32::try_from(octets).ok()?;
        let take = |budget: &Arc<Semaphore>| Arc::clone(budget).try_acquire_many_owned(octets).ok();
        let of_connection = take(&self.connection.budget)?;
        let (of_client, of_table) = (take(&self.share.octets)?, take(&self.table.budget)?);
        Some(ReplyPermit { of_connection, shared: Some(SharedPermit { of_client, of_table }) })
    }

    async fn reserve(&self, octets: usize) -> Option<ReplyPermit> {
        let of_connection = acquire(&self.connection.budget, octets).await?;
        Some(ReplyPermit { of_connection, shared: Some(self.reserve_shared(octets).await?) })
    }

    /// Waits for octets of what clients share. Those of other clients are waited for only shortly.
    async fn reserve_shared(&self, octets: usize) -> Option<SharedPermit> {
        let of_client = acquire(&self.share.octets, octets).await?;
        loop {
            if let Ok(of_table) = timeout(EVICTION_PAUSE, acquire(&self.table.budget, octets)).await {
                return Some(SharedPermit { of_client, of_table: of_table? });
            }
            self.table.close_largest_holder();
        }
    }

    /// Notes that a write of replies begins, or that none is under way any more.
    pub(super) fn note_write(&self, is_under_way: bool) {
        let since = if is_under_way { self.table.now() } else { u64::MAX };
        self.connection.writing_since.store(since, Relaxed);
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
        self.table.lock().remove(self.number);
    }
}

impl ReplyPermit {
    /// Gives back octets that the reply does not take.
    fn give_back(&mut self, octets: usize) {
        drop(self.of_connection.split(octets));
        if let Some(shared) = &mut self.shared {
            drop((shared.of_client.split(octets), shared.of_table.split(octets)));
        }
    }

    fn merge(&mut self, more: Self) {
        self.of_connection.merge(more.of_connection);
        match (&mut self.shared, more.shared) {
            (Some(shared), Some(more)) => {
                shared.of_client.merge(more.of_client);
                shared.of_table.merge(more.of_table);
            }
            (shared, more) => *shared = more,
        }
    }
}

/// Waits for octets of a budget; `None` if there are never so many.
async fn acquire(budget: &Arc<Semaphore>, octets: usize) -> Option<OwnedSemaphorePermit> {
    Arc::clone(budget).acquire_many_owned(u32::try_from(octets).ok()?).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn client(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// Opens connections of these clients, one a second.
    async fn opened(table: &Arc<Connections>, clients: &[u8]) -> Vec<OpenConnection> {
        let mut open = Vec::new();
        for last in clients {
            open.push(table.open(client(*last), true));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        open
    }

    fn are_gone(open: &[OpenConnection]) -> Vec<bool> {
        open.iter().map(|open| !open.table.lock().connections.contains_key(&open.number)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_idle_for_the_longest_goes_first_and_busy_ones_last() {
        let table = Connections::with_max(3);
        let open = opened(&table, &[1, 1, 1]).await;
        open[0].query_received();
        let fourth = table.open(client(1), true);
        assert_eq!(are_gone(&open), [false, true, false]);
        open[1].evicted().await;
        drop(fourth);
        assert_eq!(table.lock().connections.len(), 2);
        drop(open);
        assert!(table.lock().clients.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_the_most_makes_room() {
        let table = Connections::with_max(4);
        let open = opened(&table, &[1, 2, 2, 2]).await;
        // Its queries do not help it.
        for connection in &open[1..] {
            connection.query_received();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let _fifth = table.open(client(3), true);
        assert_eq!(are_gone(&open), [false, true, false, false]);
        let _sixth = table.open(client(2), true);
        assert_eq!(are_gone(&open), [false, true, true, false], "its own, not that of an idle innocent");
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_last_of_many_takes_the_place_of_the_one_idle_for_the_longest() {
        let table = Connections::with_max(3);
        let open = opened(&table, &[1, 2, 3]).await;
        let _fourth = table.open(client(4), true);
        assert_eq!(are_gone(&open), [true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_of_many_addresses_leave_half_to_ours() {
        let table = Connections::with_max(4);
        let ours = opened(&table, &[1, 1]).await;
        let stranger = |last: u8| table.open([198, 51, 100, last].into(), false);
        let first = stranger(1);
        tokio::time::advance(Duration::from_secs(1)).await;
        let strangers = [first, stranger(2)];
        let _third = stranger(3);
        assert_eq!(are_gone(&ours), [true, false], "half is free to all");
        let _fourth = stranger(4);
        assert_eq!((are_gone(&ours), are_gone(&strangers)), (vec![true, false], vec![true, false]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_replies_are_not_read_goes_before_idle_ones() {
        let table = Connections::with_max(3);
        let open = opened(&table, &[1, 1, 1]).await;
        open[2].query_received();
        open[2].note_write(true);
        open[1].note_write(true);
        open[1].note_write(false);
        tokio::time::advance(Duration::from_secs(1)).await;
        let _fourth = table.open(client(1), true);
        assert_eq!(are_gone(&open), [false, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn all_addresses_of_a_v6_network_are_one_client() {
        let table = Connections::with_max(3);
        let v6 = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        let open = [table.open(client(1), true), table.open(v6(1), true), table.open(v6(2), true)];
        let _fourth = table.open(client(2), true);
        assert_eq!(are_gone(&open), [false, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_bounded_for_each_and_for_all() {
        let table = Connections::with_max(3);
        let open = table.open(US, true);
        let free = || (table.budget.available_permits(), open.connection.budget.available_permits());
        let before = free();
        let mut usual = open.reserve_usual().await.expect("a permit");
        assert!(open.fit(&mut usual, 100).await);
        assert_eq!((before.0 - free().0, before.1 - free().1), (0, 100), "the first is free to all");
        let mut large = open.reserve_usual().await.expect("a permit");
        assert!(open.fit(&mut large, 65_535).await);
        assert_eq!((before.0 - free().0, before.1 - free().1), (65_535, 100 + 65_535));
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

    /// Takes all that a connection may hold, and fails if it has to wait.
    async fn fill(open: &OpenConnection) -> Vec<ReplyPermit> {
        let mut held = Vec::new();
        let before = Instant::now();
        while open.connection.budget.available_permits() >= USUAL_REPLY {
            let Some(permit) = open.reserve_usual().await else { break };
            held.push(permit);
        }
        assert!(before.elapsed() < READ_REPLIES_TIMEOUT || held.len() < 128, "{} permits", held.len());
        held
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_leaves_others_their_room() {
        let table = Connections::with_max(200);
        let mut held = Vec::new();
        for _ in 0..20 {
            let open = table.open(client(1), true);
            held.push((fill(&open).await, open));
        }
        let begun = Instant::now();
        // Its own connections have their first reply, others all they need.
        let same = table.open(client(1), true);
        let _first = same.reserve_usual().await.expect("a permit");
        let innocent = table.open(client(2), true);
        let mut permits = fill(&innocent).await;
        assert!(innocent.fit(&mut permits.pop().expect("a permit"), 4_000).await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_is_taken_who_holds_the_most_makes_room() {
        let table = Connections::with_max(200);
        let mut held = Vec::new();
        for last in 1..=8 {
            for _ in 0..17 {
                let open = table.open(client(last), true);
                held.push((fill(&open).await, open));
            }
        }
        assert!(table.is_full());
        let innocent = table.open(client(100), true);
        let _first = innocent.reserve_usual().await.expect("a permit");
        let waiting = innocent.reserve_usual();
        let evicted = async {
            // The task of a connection that is evicted drops all it holds.
            let is_gone = |open: &OpenConnection| !table.lock().connections.contains_key(&open.number);
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                held.retain(|(_, open)| !is_gone(open));
            }
        };
        let begun = Instant::now();
        let permit = tokio::select! {
            permit = waiting => permit,
            () = evicted => None,
        };
        assert!(permit.is_some() && begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
}
