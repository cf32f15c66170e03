//! Deletions that are held back for a moment.
//!
//! Some programs change a name by deleting its key and putting another one. A deletion that leaves a name, or a type of it,
//! empty waits for such a put: resolvers would keep the denial for as long as the SOA says. Puts never wait.

use crate::service::Key;
use crate::source::id::SourceId;
use crate::source::served_key::Spelling;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

/// A key of a source, as the source spells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct HeldKey {
    pub(super) id: SourceId,
    pub(super) key: Key,
    pub(super) spelling: Spelling,
}

/// The deletions that wait.
#[derive(Debug, Default)]
pub(super) struct HeldDeletions {
    /// When each ends, and the name that it would leave empty.
    keys: HashMap<HeldKey, (Due, Key)>,
    /// The same by time.
    by_time: BTreeMap<Due, HeldKey>,
    /// The same by the name.
    by_name: HashMap<Key, HashSet<HeldKey>>,
    count: u64,
}

/// When a deletion takes place; the number tells those of one moment apart.
type Due = (Instant, u64);

impl HeldDeletions {
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// When the next one takes place.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((due, _), _)| *due)
    }

    /// Holds a deletion back until a time, because it would leave a name empty. One that is held already keeps its time.
    pub(super) fn hold(&mut self, held: HeldKey, name: Key, until: Instant) {
        if self.keys.contains_key(&held) {
            return;
        }
        self.count += 1;
        let due = (until, self.count);
        self.by_time.insert(due, held.clone());
        self.by_name.entry(name.clone()).or_default().insert(held.clone());
        self.keys.insert(held, (due, name));
    }

    /// Whether a deletion is held.
    pub(super) fn contains(&self, held: &HeldKey) -> bool {
        !self.is_empty() && self.keys.contains_key(held)
    }

    /// Gives a deletion up; `false` if it is not held.
    pub(super) fn forget(&mut self, held: &HeldKey) -> bool {
        let Some((due, name)) = self.keys.remove(held) else { return false };
        self.by_time.remove(&due);
        if let Some(keys) = self.by_name.get_mut(&name) {
            keys.remove(held);
            if keys.is_empty() {
                self.by_name.remove(&name);
            }
        }
        true
    }

    /// Gives all deletions of a source up.
    pub(super) fn forget_all(&mut self, id: SourceId) {
        let of_source: Vec<_> = self.keys.keys().filter(|held| held.id == id).cloned().collect();
        for held in &of_source {
            self.forget(held);
        }
    }

    /// The next deletion that is due at a time, which is held no more.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<HeldKey> {
        let ((due, _), held) = self.by_time.first_key_value()?;
        let held = (*due <= now).then(|| held.clone())?;
        self.forget(&held);
        Some(held)
    }

    /// The deletions that would leave a name, or one above it, empty.
    pub(super) fn at_or_above(&self, name: &Key) -> Vec<HeldKey> {
        if self.is_empty() {
            return Vec::new();
        }
        let labels: Vec<_> = name.labels().collect();
        let above = (0..=labels.len()).rev().map(|depth| Key::from_labels(labels[..depth].iter().copied()));
        above.filter_map(|name| self.by_name.get(&name)).flatten().cloned().collect()
    }
}
