//! The entries of the tree: a service, the layer that it comes from, and its lease.

use crate::service::Service;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
            (Some(own), Some(others)) => Arc::ptr_eq(own, others),
            (None, None) => true,
            _ => false,
        };
        self.service == other.service && same_lease
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
    is_held: bool,
}

/// TTL of an entry whose deletion is held back, at most, in seconds.
const HELD_TTL: u32 = 30;

impl Lease {
    /// A lease whose end is not known yet.
    pub fn new(id: i64) -> Self {
        Self { id, end: AtomicU64::new(0), is_held: false }
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
    /// its lease ended while the store was out of reach, or if the end is not known yet.
    pub fn left(&self, now: u64) -> u32 {
        if self.is_held {
            return HELD_TTL;
        }
        let left = self.end().saturating_sub(now);
        u32::try_from(left).unwrap_or(u32::MAX).max(1)
    }
}

/// The source of entries as a rank: of the entries on one key, those of the highest layer are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer(pub u8);
