//! What hangs in the tree: a service, the layer that it comes from, and the lease that it lives on.

use crate::service::Service;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A service as it hangs in the tree.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What the value announces.
    pub service: Service,
    /// The lease that the key lives on, if any.
    pub lease: Option<Arc<Lease>>,
}

impl Entry {
    /// An entry without a lease.
    pub fn new(service: Service) -> Self {
        Self { service, lease: None }
    }

    /// Whether replacing one by the other would change nothing.
    pub(super) fn same(&self, other: &Self) -> bool {
        let same_lease = match (&self.lease, &other.lease) {
            // Another object with the same id is not the one whose end is kept up to date.
            (Some(own), Some(others)) => Arc::ptr_eq(own, others),
            (None, None) => true,
            _ => false,
        };
        self.service == other.service && same_lease
    }
}

/// The lease of a store, shared by all entries that live on it.
///
/// The end moves whenever the owner keeps the lease alive, which no watch tells, so it is the one
/// thing below a tree that changes in place.
#[derive(Debug)]
pub struct Lease {
    /// The store's id of the lease.
    pub id: i64,
    /// Unix time of its end in seconds; 0 while it is not known.
    end: AtomicU64,
}

impl Lease {
    /// A lease whose end is not known yet.
    pub fn new(id: i64) -> Self {
        Self { id, end: AtomicU64::new(0) }
    }

    /// The end in seconds of Unix time; 0 while it is not known.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    /// Sets the end, in seconds of Unix time.
    pub fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Relaxed);
    }

    /// Whole seconds left at `now` (Unix time), at least 1: a lease that ran out while its store was
    /// out of reach still holds, and one whose end is not known yet may be about to.
    pub fn left(&self, now: u64) -> u32 {
        let left = self.end().saturating_sub(now);
        u32::try_from(left).unwrap_or(u32::MAX).max(1)
    }
}

/// Where an entry comes from, as a rank: of two entries on one key the one of the higher layer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer(pub u8);
