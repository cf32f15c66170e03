//! How many pieces of work are under way at once, and whose: each client has a share, and what waited longest makes room.
//!
//! Work that waits for upstreams takes a place for as long as upstreams are silent, so a client that asks for names that
//! never resolve could take all places. A client that has its share of places loses the place that it has had for the
//! longest time for each new one; when all places are taken, so does the client with most of them. What waited for less
//! than [`MIN_AGE`] is not displaced: most answers come sooner.

use crate::client_id::ClientId;
use crate::lock::lock;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long work waited at least before it is displaced.
const MIN_AGE: Duration = Duration::from_millis(200);

/// The work of one kind that is under way.
#[derive(Debug)]
pub(super) struct Admission {
    /// Maximum number of places.
    places: usize,
    /// Maximum number of places of one client.
    share: usize,
    table: Mutex<PlaceTable>,
}

/// The places that are taken, by a number that counts up.
#[derive(Debug, Default)]
struct PlaceTable {
    taken: BTreeMap<u64, Place>,
    /// The numbers of each client's places.
    clients: HashMap<ClientId, BTreeSet<u64>>,
    next: u64,
}

#[derive(Debug)]
struct Place {
    client: ClientId,
    since: Instant,
    /// Dropped when the place is taken away.
    _held: oneshot::Sender<()>,
}

/// A place that work has, until this is dropped or the work is displaced.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    number: u64,
    displaced: oneshot::Receiver<()>,
}

/// Why work ends without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAdmitted {
    /// There is no place, and none can be taken away.
    #[error("too many questions wait for upstreams")]
    Full,
    /// The place was taken away.
    #[error("upstreams took too long while too many questions waited for them")]
    Displaced,
}

impl Admission {
    /// So many places, of which one client has at most three quarters.
    ///
    /// All programs of this host are one client as a rule, so that one has most of the places; what is left is enough for
    /// others, whose questions are answered in milliseconds.
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places, share: places / 4 * 3, table: Mutex::default() })
    }

    /// Does work for a client if there is a place for it; displaces other work where needed.
    ///
    /// # Errors
    /// There is no place, or the place was taken away.
    pub(super) async fn run<T>(
        self: &Arc<Self>,
        client: ClientId,
        work: impl Future<Output = T>,
    ) -> Result<T, NotAdmitted> {
        let mut admitted = self.admit(client, Instant::now()).ok_or(NotAdmitted::Full)?;
        tokio::select! {
            biased;
            result = work => Ok(result),
            _ = &mut admitted.displaced => Err(NotAdmitted::Displaced),
        }
    }

    fn admit(self: &Arc<Self>, client: ClientId, now: Instant) -> Option<Admitted> {
        let mut table = lock(&self.table);
        let own = table.clients.get(&client).map_or(0, BTreeSet::len);
        let displaced = if own >= self.share {
            Some(table.oldest_of(client, now)?)
        } else if table.taken.len() >= self.places {
            Some(table.oldest_of_all(now)?)
        } else {
            None
        };
        if let Some(number) = displaced {
            table.remove(number);
        }
        let (held, displaced) = oneshot::channel();
        let number = table.next;
        table.next += 1;
        table.taken.insert(number, Place { client, since: now, _held: held });
        table.clients.entry(client).or_default().insert(number);
        Some(Admitted { admission: Arc::clone(self), number, displaced })
    }
}

impl PlaceTable {
    /// The place that a client has had for the longest time, if that is long enough.
    fn oldest_of(&self, client: ClientId, now: Instant) -> Option<u64> {
        let oldest = *self.clients.get(&client)?.first()?;
        self.is_old(oldest, now).then_some(oldest)
    }

    /// The same of the client that has most places; else of whoever has had one for the longest time.
    fn oldest_of_all(&self, now: Instant) -> Option<u64> {
        let (largest, _) = self.clients.iter().max_by_key(|(_, places)| places.len())?;
        let (oldest, _) = self.taken.first_key_value()?;
        self.oldest_of(*largest, now).or_else(|| self.is_old(*oldest, now).then_some(*oldest))
    }

    fn is_old(&self, number: u64, now: Instant) -> bool {
        self.taken.get(&number).is_some_and(|place| now - place.since >= MIN_AGE)
    }

    fn remove(&mut self, number: u64) {
        let Some(place) = self.taken.remove(&number) else { return };
        if let Some(places) = self.clients.get_mut(&place.client) {
            places.remove(&number);
            if places.is_empty() {
                self.clients.remove(&place.client);
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        lock(&self.admission.table).remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(n: u8) -> ClientId {
        ClientId::of([192, 0, 2, n].into())
    }

    fn is_displaced(admitted: &mut Admitted) -> bool {
        admitted.displaced.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn a_client_has_a_share_of_the_places_and_loses_the_oldest_for_a_new_one() {
        let admission = Admission::new(8);
        let start = Instant::now();
        let admit = |n, after| admission.admit(client(n), start + after);
        let mut first: Vec<_> = (0..6).map(|_| admit(1, Duration::ZERO).expect("a place")).collect();
        assert!(admit(1, MIN_AGE / 2).is_none(), "none of them waited for long");
        let fifth = admit(1, MIN_AGE).expect("the place of the first one");
        let displaced = [true, false, false, false, false, false];
        assert_eq!(first.iter_mut().map(is_displaced).collect::<Vec<_>>(), displaced);
        let others: Vec<_> = (2..4).map(|n| admit(n, MIN_AGE).expect("a place for another one")).collect();
        drop((first, fifth, others));
        assert!(lock(&admission.table).taken.is_empty() && lock(&admission.table).clients.is_empty());
    }

    #[test]
    fn when_all_places_are_taken_the_client_with_most_loses_its_oldest() {
        let admission = Admission::new(6);
        let start = Instant::now();
        let admit = |n, after| admission.admit(client(n), start + after);
        let mut single = admit(9, Duration::ZERO).expect("a place");
        let mut many: Vec<_> = (0..3).map(|_| admit(1, MIN_AGE / 4).expect("a place")).collect();
        let mut few: Vec<_> = (0..2).map(|_| admit(2, MIN_AGE / 4).expect("a place")).collect();
        assert!(admit(3, MIN_AGE / 2).is_none());
        let third = admit(3, MIN_AGE).expect("the place of the one that waits for the longest time");
        assert!(is_displaced(&mut single), "those with more places came later");
        let fourth = admit(4, 2 * MIN_AGE).expect("a place");
        assert_eq!(many.iter_mut().map(is_displaced).collect::<Vec<_>>(), [true, false, false]);
        assert!(!few.iter_mut().any(is_displaced));
        drop((third, fourth));
        assert!(admit(5, MIN_AGE).is_some(), "places that are given back");
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_is_displaced_ends() {
        let admission = Admission::new(4);
        let never = || admission.run(client(1), std::future::pending::<()>());
        let soon = async {
            tokio::time::sleep(MIN_AGE).await;
            admission.run(client(1), async { 7 }).await
        };
        let late = || tokio::time::timeout(2 * MIN_AGE, never());
        let (first, .., last) = tokio::join!(late(), late(), late(), soon);
        assert_eq!((first, last), (Ok(Err(NotAdmitted::Displaced)), Ok(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn questions_of_others_get_through_a_flood() {
        let admission = Admission::new(2_048);
        let flood = futures_util::future::join_all((0..12_000_u64).map(|n| {
            let admission = &admission;
            async move {
                tokio::time::sleep(Duration::from_micros(n * 333)).await;
                let silent = tokio::time::sleep(Duration::from_secs(2));
                let _ = admission.run(client(1), silent).await;
            }
        }));
        let others = futures_util::future::join_all((0..200_u64).map(|n| {
            let admission = &admission;
            async move {
                tokio::time::sleep(Duration::from_millis(n * 20)).await;
                let answered = tokio::time::sleep(Duration::from_millis(5));
                admission.run(client(2), answered).await.is_ok()
            }
        }));
        let (_, others) = tokio::join!(flood, others);
        assert_eq!(others.iter().filter(|is_answered| **is_answered).count(), 200);
    }
}
