//! When what changed: for each name the last change at or below it, in memory that does not grow.

use crate::service::Key;
use hickory_proto::rr::Name;
use std::sync::atomic::{AtomicU64, Ordering};

/// Places for the times of changes. Names that share one only look changed more often than they are.
const SLOTS: usize = 1 << 14;

/// The times of the last changes of a tree and its descendants; one writer, any number of readers.
///
/// Time is counted in changes. A name's slot is found by a hash of its labels, so a name that does not exist has one as
/// well: what was made from its absence holds until something appears there.
#[derive(Debug)]
pub struct Epochs {
    slots: Box<[AtomicU64]>,
    latest: AtomicU64,
}

/// Where the last change at or below a name is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u16);

/// A hash over labels, root first (FNV-1a); equal names give equal slots, and that is all it is for.
#[derive(Clone, Copy)]
struct Walk(u64);

impl Walk {
    const ROOT: Self = Self(0xcbf2_9ce4_8422_2325);

    fn down(self, label: &[u8]) -> Self {
        let octets = label.iter().map(u8::to_ascii_lowercase).chain([b'.']);
        Self(octets.fold(self.0, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)))
    }

    fn slot(self) -> Slot {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
        Slot(u16::try_from(mixed).unwrap_or(0))
    }
}

impl Slot {
    /// The slot of labels, root first.
    pub(super) fn of<'l>(labels: impl Iterator<Item = &'l [u8]>) -> Self {
        labels.fold(Walk::ROOT, Walk::down).slot()
    }

    /// The slot of a name.
    pub fn of_name(name: &Name) -> Self {
        Self::of(name.iter().rev())
    }
}

impl Default for Epochs {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), latest: AtomicU64::new(0) }
    }
}

impl Epochs {
    /// Begins a new time without a change of services.
    pub(super) fn tick(&self) -> u64 {
        self.latest.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Notes a change on a key, and so below every name above it; gives its time.
    ///
    /// The tree that has the change is published afterwards: who sees that tree sees the note.
    pub(super) fn note(&self, key: &Key) -> u64 {
        let now = self.tick();
        let mut walk = Walk::ROOT;
        self.set(walk.slot(), now);
        for label in key.labels() {
            walk = walk.down(label);
            self.set(walk.slot(), now);
        }
        now
    }

    /// Whether nothing changed at or below a name after a time.
    pub fn unchanged(&self, slot: Slot, since: u64) -> bool {
        self.slots[usize::from(slot.0)].load(Ordering::Acquire) <= since
    }

    fn set(&self, slot: Slot, time: u64) {
        self.slots[usize::from(slot.0)].store(time, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    #[test]
    fn a_change_shows_at_its_name_and_above() {
        let epochs = Epochs::default();
        let before = epochs.tick();
        let at = epochs.note(&Key::from_name(&name("a.b.skydns.local.")));
        for changed in ["a.b.skydns.local.", "A.B.SkyDNS.Local.", "b.skydns.local.", "local.", "."] {
            let slot = Slot::of_name(&name(changed));
            assert!(!epochs.unchanged(slot, before), "{changed}");
            assert!(epochs.unchanged(slot, at), "{changed}");
        }
        for other in ["c.b.skydns.local.", "x.a.b.skydns.local.", "ab.skydns.local.", "skydns.", "a."] {
            assert!(epochs.unchanged(Slot::of_name(&name(other)), before), "{other}");
        }
    }

    #[test]
    fn names_spread_over_the_slots() {
        let slots: std::collections::HashSet<u16> =
            (0..SLOTS).map(|n| Slot::of_name(&name(&format!("s{n}.rails.east.skydns.local."))).0).collect();
        // By pure chance 63 % would be taken.
        assert!(slots.len() > SLOTS * 6 / 10, "{}", slots.len());
        assert!(slots.iter().any(|slot| usize::from(*slot) > SLOTS * 9 / 10));
    }
}
