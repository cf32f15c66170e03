//! The leases of copies: how long each was granted for, and how long it is left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// Seconds of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseTime {
    /// Those that it was granted.
    pub(super) granted: u32,
    /// Those that are left.
    pub(super) left: u32,
}

/// The leases that are known.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// Those that copies of this pass get, by the seconds that they were granted.
    of_pass: BTreeMap<u32, i64>,
    /// The seconds that each was granted, and when it ends.
    known: HashMap<i64, (u32, Instant)>,
}

impl Leases {
    /// Begins a pass: leases of the pass before may have ended since.
    pub(super) fn begin_pass(&mut self) {
        self.of_pass.clear();
    }

    /// Forgets all but these; returns those of them that are not known.
    pub(super) fn unknown(&mut self, used: &HashSet<i64>) -> Vec<i64> {
        self.known.retain(|lease, _| used.contains(lease));
        used.iter().copied().filter(|lease| !self.known.contains_key(lease)).collect()
    }

    /// Notes what is known of a lease.
    pub(super) fn note(&mut self, lease: i64, time: LeaseTime) {
        let ends = Instant::now() + Duration::from_secs(time.left.into());
        self.known.insert(lease, (time.granted, ends));
    }

    /// Notes a new lease, for copies of this pass.
    pub(super) fn grant(&mut self, lease: i64, seconds: u32) {
        self.of_pass.insert(seconds, lease);
        self.note(lease, LeaseTime { granted: seconds, left: seconds });
    }

    /// Notes that a lease has all its seconds again.
    pub(super) fn renew(&mut self, lease: i64) {
        if let Some((granted, ends)) = self.known.get_mut(&lease) {
            *ends = Instant::now() + Duration::from_secs((*granted).into());
        }
    }

    pub(super) fn forget(&mut self, lease: i64) {
        self.known.remove(&lease);
        self.of_pass.retain(|_, id| *id != lease);
    }

    /// The lease that copies of this pass with so many seconds get.
    pub(super) fn of_seconds(&self, seconds: u32) -> Option<i64> {
        self.of_pass.get(&seconds).copied()
    }

    /// Those that copies of this pass got.
    pub(super) fn of_pass(&self) -> Vec<i64> {
        self.of_pass.values().copied().collect()
    }

    /// Those of which fewer seconds than these are left.
    pub(super) fn ending_within(&self, seconds: u32) -> Vec<i64> {
        let ends = Instant::now() + Duration::from_secs(seconds.into());
        self.known.iter().filter(|(_, known)| known.1 < ends).map(|(lease, _)| *lease).collect()
    }

    /// All that are known.
    pub(super) fn all(&self) -> Vec<i64> {
        self.known.keys().copied().collect()
    }

    /// The seconds of all that are known.
    pub(super) fn times(&self) -> HashMap<i64, LeaseTime> {
        let now = Instant::now();
        let time = |(granted, ends): &(u32, Instant)| LeaseTime {
            granted: *granted,
            left: u32::try_from(ends.saturating_duration_since(now).as_secs()).unwrap_or(*granted),
        };
        self.known.iter().map(|(lease, known)| (*lease, time(known))).collect()
    }
}
