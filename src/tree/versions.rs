//! Versions of names: for each name the number of the last change at or below it, in memory of a fixed size.

use crate::service::Key;
use hickory_proto::rr::Name;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of slots. Names whose hashes share a slot share its version: such a name may look changed when it is not, which
/// costs a cached reply, but it never looks unchanged when it has changed.
const SLOTS: usize = 1 << 14;

/// The versions of all names of a tree and of the trees made from it; one writer, any number of readers.
///
/// A version is the number of changes so far. The slot of a name is found by a hash of its labels, so a name that does not
/// exist has one as well: an answer that denies the name stays valid until something appears there.
#[derive(Debug)]
pub struct Versions {
    slots: Box<[AtomicU64]>,
    latest: AtomicU64,
}

/// The slot that holds the version of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionSlot(u16);

/// A hash over labels, root first (FNV-1a): equal names give equal slots. It need not resist collisions.
#[derive(Clone, Copy)]
struct PathHash(u64);

impl PathHash {
    const ROOT: Self = Self(0xcbf2_9ce4_8422_2325);

    /// The hash of a name one label further down.
    fn child(self, label: &[u8]) -> Self {
        let octets = label.iter().map(u8::to_ascii_lowercase).chain([b'.']);
        Self(octets.fold(self.0, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)))
    }

    fn slot(self) -> VersionSlot {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
        // The 14 bits that are left lie in the low two octets.
        let [.., high, low] = mixed.to_be_bytes();
        VersionSlot(u16::from_be_bytes([high, low]))
    }
}

impl VersionSlot {
    /// The slot of labels, root first.
    pub fn of<'l>(labels: impl Iterator<Item = &'l [u8]>) -> Self {
        labels.fold(PathHash::ROOT, PathHash::child).slot()
    }

    /// The slot of a name.
    pub fn of_name(name: &Name) -> Self {
        Self::of(name.iter().rev())
    }
}

impl Default for Versions {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), latest: AtomicU64::new(0) }
    }
}

impl Versions {
    /// Begins a new version without a change of services.
    pub(super) fn tick(&self) -> u64 {
        self.latest.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Notes a change of a key, for the key and for every name above it; returns the new version.
    ///
    /// The tree with the change is published afterwards, so a reader of that tree sees this version in the slots.
    pub(super) fn note_change(&self, key: &Key) -> u64 {
        let now = self.tick();
        let mut path = PathHash::ROOT;
        self.set(path.slot(), now);
        for label in key.labels() {
            path = path.child(label);
            self.set(path.slot(), now);
        }
        now
    }

    /// Whether nothing changed at or below a name after a version.
    pub fn unchanged(&self, slot: VersionSlot, since: u64) -> bool {
        self.slots[usize::from(slot.0)].load(Ordering::Acquire) <= since
    }

    fn set(&self, slot: VersionSlot, version: u64) {
        self.slots[usize::from(slot.0)].store(version, Ordering::Release);
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
        let versions = Versions::default();
        let before = versions.tick();
        let at = versions.note_change(&Key::from_name(&name("a.b.skydns.local.")));
        for changed in ["a.b.skydns.local.", "A.B.SkyDNS.Local.", "b.skydns.local.", "local.", "."] {
            let slot = VersionSlot::of_name(&name(changed));
            assert!(!versions.unchanged(slot, before), "{changed}");
            assert!(versions.unchanged(slot, at), "{changed}");
        }
        for other in ["c.b.skydns.local.", "x.a.b.skydns.local.", "ab.skydns.local.", "skydns.", "a."] {
            assert!(versions.unchanged(VersionSlot::of_name(&name(other)), before), "{other}");
        }
    }

    #[test]
    fn names_spread_over_the_slots() {
        let slots: std::collections::HashSet<u16> = (0..SLOTS)
            .map(|n| VersionSlot::of_name(&name(&format!("s{n}.rails.east.skydns.local."))).0)
            .collect();
        // Random hashes would take 63 % of the slots.
        assert!(slots.len() > SLOTS * 6 / 10, "{}", slots.len());
        assert!(slots.iter().any(|slot| usize::from(*slot) > SLOTS * 9 / 10));
    }
}
