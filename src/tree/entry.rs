//! The entries of the tree: a service, the layer that it comes from, and its lease.

use crate::service::Service;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A service on its key in the tree.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What the value announces.
    pub service: Service,
    /// The lease that the store bound the key to, if any.
    pub lease: Option<Arc<Lease>>,
}

impl Entry {
    /// An entry without a lease.
    pub fn new(service: Service) -> Self {
        Self { service, lease: None }
    }

    /// The same entry as one whose deletion is [held back](Lease::held).
    pub fn held(&self, lease: &Arc<Lease>) -> Self {
        Self { service: self.service.clone(), lease: Some(Arc::clone(lease)) }
    }

    /// Whether the store has the entry no more, and its deletion is held back.
    pub fn is_held(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.is_held())
    }

    /// Whether no answer would change if one replaced the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same_lease = match (&self.lease, &other.lease) {
            // Two leases with one id are still two: the source moves the end of only one of them.
            (Some(own), Some(others)) => Arc::ptr_eq(own, others) || own.is_of_key() && others.is_of_key(),
            (None, None) => true,
            _ => false,
        };
        self.service == other.service && same_lease
    }

    /// Takes over the end of the lease of an entry that is the [same](Self::is_same), and newer.
    pub(crate) fn renew(&self, newer: &Self) {
        if let (Some(lease), Some(newer)) = (&self.lease, &newer.lease)
            && lease.is_of_key()
        {
            lease.set_end(newer.end());
            lease.granted.store(newer.granted.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// A lease of a store, shared by all entries that are bound to it.
///
/// Its end moves whenever the owner renews the lease. A watch on the keys does not report that, so the end is the one thing
/// in a published tree that changes in place.
#[derive(Debug)]
pub struct Lease {
    /// The store's id of the lease.
    pub id: i64,
    /// When it ends, in seconds of the source's clock; 0 while it is not known.
    end: AtomicU64,
    /// How many seconds it had when its end was set, if it is [that of one key](Self::of_key); else 0.
    granted: AtomicU32,
    is_held: bool,
}

/// TTL of an entry whose deletion is held back, at most, in seconds.
const HELD_TTL: u32 = 30;

impl Lease {
    /// A lease whose end is not known yet.
    pub fn new(id: i64) -> Self {
        Self { id, end: AtomicU64::new(0), granted: AtomicU32::new(0), is_held: false }
    }

    /// The lease of a single key, as etcd's v2 API has it: a time to live. Each report of the key brings another one, so two of
    /// them are as [equal](Entry) as their entries are.
    ///
    /// It ends at `end`, in seconds of the source's clock, and had `granted` seconds when the key was read.
    pub fn of_key(end: u64, granted: u32) -> Self {
        Self { end: AtomicU64::new(end), granted: AtomicU32::new(granted.max(1)), ..Self::new(0) }
    }

    /// Whether it is that [of a single key](Self::of_key).
    pub fn is_of_key(&self) -> bool {
        self.granted() > 0
    }

    /// How many seconds it had when its end was set; 0 unless it is [of a single key](Self::of_key).
    pub fn granted(&self) -> u32 {
        self.granted.load(Ordering::Relaxed)
    }

    /// What entries have in the place of a lease whose deletion is held back: it never ends, and nobody may keep them for
    /// long.
    pub fn held() -> Self {
        Self { is_held: true, ..Self::new(0) }
    }

    /// Whether it is [no lease of the store](Self::held).
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// The end in seconds of the source's clock, which no change of the date moves; 0 while it is not known.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    /// Sets the end, in seconds of the source's clock.
    pub fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Relaxed);
    }

    /// Whole seconds left at `now` by the source's clock, at least 1: an entry is served until the store says that it is gone, also if
    /// its lease ended while the store was out of reach, or if the end is not known yet. After its end, the lease of a
    /// [single key](Self::of_key) has as many seconds as it had at first.
    pub fn left(&self, now: u64) -> u32 {
        if self.is_held {
            return HELD_TTL;
        }
        let left = u32::try_from(self.end().saturating_sub(now)).unwrap_or(u32::MAX);
        // A key that outlives its time was renewed, which nobody is told.
        if left == 0 { self.granted().max(1) } else { left }
    }
}

/// The source of entries as a rank: of the entries on one key, those of the highest layer are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer(pub u8);

impl Layer {
    /// The layer whose data are to move to others: answers that nobody else could give are counted. On a key that another layer
    /// has, its entries are not served.
    pub const LEAVING: Self = Self(0);

    /// The layer of the objects of a cluster, which are no entries: of a name that a cluster has, entries of layers below it are
    /// not served.
    pub const CLUSTER: Self = Self(2);
}
