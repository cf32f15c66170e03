//! Keys that take the place of others: a name whose keys only change is not lost.
//!
//! Writers give the keys of a name random labels, and change a name by deleting one and putting another, in either order; a
//! pool of services is replaced in the same way.

use super::Mirror;
use super::losses::{LostKey, WINDOW};
use crate::service::Key;
use crate::source::id::SourceId;
use crate::tree::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::ControlFlow;
use std::time::Instant;

/// Maximum number of new keys that are known. The place of others is not taken by any more: memory is bounded.
const MAX_NEW: usize = 1_000_000;

/// Keys of a name that are looked at to find one that is not lost.
const MAX_SEARCHED: usize = 256;

/// Lost and new keys by the name whose data they are.
#[derive(Debug, Default)]
pub(super) struct Replacements {
    /// By the number of the loss, so that the oldest one is the first.
    lost: HashMap<Key, BTreeMap<u64, LostKey>>,
    name_of: HashMap<LostKey, (Key, u64)>,
    count: u64,
    new: HashMap<LostKey, NewKey>,
    /// Those of each name that took no other's place, in their order, among others that are not new any more.
    places: HashMap<Key, VecDeque<(Instant, LostKey)>>,
    new_by_time: VecDeque<(Instant, Key, LostKey)>,
}

/// When a new key came, and whether it took no other's place.
#[derive(Clone, Copy, Debug)]
struct NewKey {
    at: Instant,
    is_free: bool,
}

impl Replacements {
    /// Notes that a name has lost a key.
    pub(super) fn lose(&mut self, lost: &LostKey, name: &Key) {
        if self.name_of.contains_key(lost) {
            return;
        }
        self.count += 1;
        self.lost.entry(name.clone()).or_default().insert(self.count, lost.clone());
        self.name_of.insert(lost.clone(), (name.clone(), self.count));
    }

    /// Forgets a loss.
    pub(super) fn forget(&mut self, lost: &LostKey) {
        let Some((name, number)) = self.name_of.remove(lost) else { return };
        if let Some(keys) = self.lost.get_mut(&name) {
            keys.remove(&number);
            if keys.is_empty() {
                self.lost.remove(&name);
            }
        }
    }

    /// The key that a name has lost first, and whether it lost no other.
    pub(super) fn oldest(&self, name: &Key) -> Option<(LostKey, bool)> {
        let lost = self.lost.get(name)?;
        Some((lost.values().next()?.clone(), lost.len() == 1))
    }

    /// Notes a new key of a name; `is_free` if it took no other's place.
    fn add(&mut self, name: Key, key: LostKey, is_free: bool, now: Instant) {
        self.forget_old(now);
        if self.new_by_time.len() >= MAX_NEW {
            return;
        }
        self.new.insert(key.clone(), NewKey { at: now, is_free });
        self.new_by_time.push_back((now, name.clone(), key.clone()));
        if is_free {
            self.places.entry(name).or_default().push_back((now, key));
        }
    }

    /// Forgets the keys that are not new any more.
    pub(super) fn forget_old(&mut self, now: Instant) {
        while self.new_by_time.front().is_some_and(|(at, ..)| *at + WINDOW <= now) {
            let Some((at, name, key)) = self.new_by_time.pop_front() else { break };
            if self.new.get(&key).is_some_and(|new| new.at == at) {
                self.new.remove(&key);
            }
            self.has_new(&name, now);
        }
    }

    /// When the first of them is not new any more.
    pub(super) fn next(&self) -> Option<Instant> {
        self.new_by_time.front().map(|(at, ..)| *at + WINDOW)
    }

    /// Whether a name has a new key that took no other's place.
    fn has_new(&mut self, name: &Key, now: Instant) -> bool {
        let Some(keys) = self.places.get_mut(name) else { return false };
        while let Some((at, key)) = keys.front() {
            if self.new.get(key).is_some_and(|new| new.at == *at) && *at + WINDOW > now {
                return true;
            }
            keys.pop_front();
        }
        self.places.remove(name);
        false
    }

    /// Has the first new key of a name take the place of another; see [`has_new`](Self::has_new).
    fn take_new(&mut self, name: &Key) {
        let taken = self.places.get_mut(name).and_then(VecDeque::pop_front);
        if let Some(new) = taken.and_then(|(_, key)| self.new.get_mut(&key)) {
            new.is_free = false;
        }
    }

    /// Notes that a key is lost; returns whether it was new itself, and took no other's place.
    fn lose_new(&mut self, key: &LostKey, now: Instant) -> bool {
        self.new.remove(key).is_some_and(|new| new.is_free && new.at + WINDOW > now)
    }

    /// Forgets the new keys.
    pub(super) fn forget_new(&mut self) {
        self.new.clear();
        self.places.clear();
        self.new_by_time.clear();
    }
}

impl Mirror {
    /// Notes that a source is about to have a new key, which takes the place of one that the name has lost.
    ///
    /// What is served on goes only if it is clear that this is the key that took its place: siblings may be names of their own.
    pub(super) fn note_new(&mut self, id: SourceId, key: &Key, entry: &Entry, now: Instant) {
        // The deletion of one that another took the place of may wait still.
        let is_there =
            !self.tree.entries_at(key, id.layer()).is_empty() && !self.losses.is_replaced(&(id, key.clone()));
        if !self.holds_losses || is_there || self.losses.is_lost_anywhere(key) {
            return;
        }
        let Some(name) = self.name_with(key, entry) else { return };
        let oldest = self.losses.new_keys().oldest(&name);
        let replaced = oldest.filter(|(lost, is_only)| {
            let is_clear = || entry.service.target_strip > 0 || *is_only && !self.has_another(lost, &name);
            !self.losses.is_held(lost.0, &lost.1) || is_clear()
        });
        self.losses.new_keys().add(name, (id, key.clone()), replaced.is_none(), now);
        if let Some((lost, _)) = replaced {
            let taken = self.losses.replace(&lost);
            self.taken_back(lost, taken);
        }
    }

    /// Whether a key that is lost had its place taken before. One that was new itself, and took no place, had not: what was put
    /// and is deleted a moment later replaced nothing.
    ///
    /// Of a name that loses all keys the new ones replaced nothing; those of a listing are about to be there.
    pub(super) fn is_replaced(&mut self, lost: &LostKey, name: Option<&Key>, now: Instant) -> bool {
        let new_keys = self.losses.new_keys();
        let was_free = new_keys.lose_new(lost, now);
        let Some(name) = name.filter(|name| !was_free && new_keys.has_new(name, now)) else { return false };
        let is_replaced = self.is_listing || self.has_another(lost, name);
        if is_replaced {
            self.losses.new_keys().take_new(name);
        }
        is_replaced
    }

    /// The name that has the data of a key together with those of other keys: that which `targetstrip` leads to, or the one
    /// above the key. A key right below an apex has a name of its own.
    pub(super) fn name_with(&self, key: &Key, entry: &Entry) -> Option<Key> {
        let zone = self.site.as_ref()?.zones.of(&key.name());
        if entry.service.target_strip > 0 {
            return Some(super::hold::owner_of(key, entry, zone));
        }
        let labels: Vec<_> = key.labels().collect();
        let apex = zone.map_or(1, |zone| zone.extent().apex_labels);
        let above = labels.len().checked_sub(1).filter(|above| *above > apex)?;
        Some(Key::from_labels(labels[..above].iter().copied()))
    }

    /// Whether a name has a key of a source beside one that is lost.
    fn has_another(&self, (id, key): &LostKey, name: &Key) -> bool {
        let Some(node) = self.tree.node(name.labels()) else { return false };
        let labels: Vec<_> = name.labels().collect();
        let is_there = |other: &Key| {
            other != key
                && !self.tree.entries_at(other, id.layer()).is_empty()
                && !self.losses.is_lost(&(*id, other.clone()))
        };
        // Among many that are lost a search for one that is not would take too long.
        let mut left = MAX_SEARCHED;
        let found = node.for_each_child(&mut |child| {
            left -= 1;
            if left == 0 {
                return ControlFlow::Break(());
            }
            let other = Key::from_labels(labels.iter().copied().chain([child.label()]));
            if is_there(&other) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        left > 0 && (found.is_break() || is_there(name))
    }
}
