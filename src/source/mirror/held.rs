//! Deletions that are held back for a moment.
//!
//! Some programs change a name by deleting its key and putting another one. A deletion that leaves a name, or a type of it,
//! empty waits for such a put: resolvers would keep the denial for as long as the SOA says. Puts never wait.

use crate::answer::Zone;
use crate::service::Key;
use crate::source::id::SourceId;
use crate::source::served_key::Spelling;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

/// How many times its wait a deletion waits at most, whatever else happens at the name.
const MAX_WAITS: u32 = 10;

/// Maximum number of places noted at which keys came and went unseen.
const MAX_UNSEEN: usize = 20_000;

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
    keys: HashMap<HeldKey, Hold>,
    /// The same by time.
    by_time: BTreeMap<Due, HeldKey>,
    /// The same by the name.
    by_name: HashMap<Key, HashSet<HeldKey>>,
    /// Where keys came and went unseen, and when last: such keys and those above them.
    unseen: HashMap<Key, Instant>,
    /// When those were forgotten last that are too old to count.
    swept: Option<Instant>,
    /// The longest of the times for which deletions wait.
    longest: Duration,
    count: u64,
}

/// How one deletion waits.
#[derive(Debug)]
pub(super) struct Hold {
    due: Due,
    /// The name that the deletion would leave empty.
    name: Key,
    /// The key above, unless that is an apex: keys right below one have names of their own.
    above: Option<Key>,
    begin: Instant,
    wait: Duration,
}

impl Hold {
    /// A deletion that waits from now on; [`HeldDeletions::hold`] sets when it takes place.
    pub(super) fn new(key: &Key, name: Key, zone: Option<&Zone>, (now, wait): (Instant, Duration)) -> Self {
        let above = above(key);
        let above = Some(above).filter(|above| zone.is_none_or(|zone| zone.apex() != above));
        Self { due: (now + wait, 0), name, above, begin: now, wait }
    }
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

    /// Holds a deletion back, because it would leave a name empty. One that is held already keeps its time.
    pub(super) fn hold(&mut self, held: HeldKey, hold: Hold) {
        if self.keys.contains_key(&held) {
            return;
        }
        self.longest = if self.is_empty() { hold.wait } else { hold.wait.max(self.longest) };
        let due = self.next_due(hold.begin + hold.wait);
        self.by_time.insert(due, held.clone());
        self.by_name.entry(hold.name.clone()).or_default().insert(held.clone());
        self.keys.insert(held, Hold { due, ..hold });
    }

    /// Notes that a key came and went between two looks at its store: whoever writes there has not ended, so deletions that
    /// are held at the key, beside it and above it wait anew from now on, within their limit.
    pub(super) fn note_unseen(&mut self, key: &Key, now: Instant) {
        if self.is_empty() {
            return;
        }
        let longest = self.longest;
        // Not each time: what is left may be as many.
        if self.unseen.len() >= MAX_UNSEEN && self.swept.is_none_or(|swept| swept + longest / 4 <= now) {
            self.unseen.retain(|_, last| *last + longest > now);
            self.swept = Some(now);
        }
        for place in [key.clone(), above(key)] {
            if self.unseen.len() < MAX_UNSEEN || self.unseen.contains_key(&place) {
                self.unseen.insert(place, now);
            }
        }
    }

    /// When a deletion takes place after all that was noted since it is held.
    fn prolonged(&self, held: &HeldKey, hold: &Hold) -> Option<Instant> {
        let places = [Some(&held.key), hold.above.as_ref(), Some(&hold.name)];
        let last = places.into_iter().flatten().filter_map(|place| self.unseen.get(place)).max()?;
        Some((*last + hold.wait).min(hold.begin + hold.wait * MAX_WAITS))
    }

    fn next_due(&mut self, time: Instant) -> Due {
        self.count += 1;
        (time, self.count)
    }

    /// Whether a deletion is held.
    pub(super) fn contains(&self, held: &HeldKey) -> bool {
        !self.is_empty() && self.keys.contains_key(held)
    }

    /// Gives a deletion up; `false` if it is not held.
    pub(super) fn forget(&mut self, held: &HeldKey) -> bool {
        let Some(Hold { due, name, .. }) = self.keys.remove(held) else { return false };
        self.by_time.remove(&due);
        if let Some(keys) = self.by_name.get_mut(&name) {
            keys.remove(held);
            if keys.is_empty() {
                self.by_name.remove(&name);
            }
        }
        if self.keys.is_empty() {
            self.unseen.clear();
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
        loop {
            let (due, held) = self.by_time.first_key_value().filter(|((due, _), _)| *due <= now)?;
            let (due, held) = (*due, held.clone());
            let until = self.keys.get(&held).and_then(|hold| self.prolonged(&held, hold));
            let Some(until) = until.filter(|until| *until > now) else {
                self.forget(&held);
                return Some(held);
            };
            self.by_time.remove(&due);
            let due = self.next_due(until);
            self.keys.get_mut(&held).into_iter().for_each(|hold| hold.due = due);
            self.by_time.insert(due, held);
        }
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

/// The key above a key; the root is above itself.
fn above(key: &Key) -> Key {
    let labels: Vec<_> = key.labels().collect();
    Key::from_labels(labels[..labels.len().saturating_sub(1)].iter().copied())
}
