//! Which deletions are held back, and when they take place after all.

use super::Mirror;
use super::held::{HeldKey, Hold};
use crate::answer::{Mode, WORK_OF_ANSWER, Zone};
use crate::service::Key;
use crate::source::id::SourceId;
use crate::source::served_key::ServedKey;
use crate::tree::{DataKinds, Entry, Extent, Tree, Work};
use std::time::{Duration, Instant};

/// Maximum number of deletions that are held. Further ones take place at once: memory is bounded.
const MAX_HELD: usize = 1_000_000;

impl Mirror {
    /// Deletes a key of a source, at once or after a while.
    pub(super) fn delete(&mut self, id: SourceId, served: ServedKey, now: Instant) {
        let ServedKey { key, spelling } = &served;
        let held = HeldKey { id, key: key.clone(), spelling: spelling.clone() };
        // What is deleted though it is not known, or is deleted already, came and went unseen.
        let is_unknown = || !self.held.is_empty() && self.tree.entries_at(key, id.layer()).is_empty();
        if self.held.contains(&held) || is_unknown() {
            return self.held.note_unseen(key, now);
        }
        if self.hold_last(id, &served, now) {
            return;
        }
        match self.left_empty(&held) {
            Some((name, wait)) if self.held.len() < MAX_HELD => {
                let zone = self.site.as_ref().and_then(|site| site.zones.of(&key.name()));
                let hold = Hold::new(key, name, zone, (now, wait));
                self.held.hold(held, hold);
            }
            _ => self.set(id, served, None),
        }
    }

    /// Has the deletions take place that are due at a time.
    pub(super) fn delete_due(&mut self, now: Instant) {
        while let Some(HeldKey { id, key, spelling }) = self.held.take_due(now) {
            self.beat();
            let served = ServedKey { key, spelling };
            // Others may have gone since then.
            if !self.hold_last(id, &served, now) {
                self.set(id, served, None);
            }
        }
    }

    /// Has the deletions take place that leave no name empty any more, now that a key was put.
    pub(super) fn delete_after_put(&mut self, key: &Key) {
        for held in self.held.at_or_above(key) {
            if !self.losses.is_held(held.id, &held.key) && self.left_empty(&held).is_none() {
                self.held.forget(&held);
                let HeldKey { id, key, spelling } = held;
                self.set(id, ServedKey { key, spelling }, None);
            }
        }
    }

    /// The name that a deletion would leave without data, or without data of a kind, and how long it waits for that; `None`
    /// if there is no such name, or if deletions do not wait.
    fn left_empty(&self, held: &HeldKey) -> Option<(Key, Duration)> {
        let HeldKey { id, key, spelling } = held;
        let source = self.sources.get(id)?;
        let layer = id.layer();
        let present = self.tree.entries_at(key, layer).first().map(|present| present.entry.clone());
        let (left, deleted) = source.spellings.without(key, spelling, present);
        let deleted = deleted?;
        // Names outside of all zones are held as those of the first: reverse names are among them.
        let site = self.site.as_ref()?;
        let zone = site.zones.of(&key.name());
        let wait = zone.unwrap_or(site.zones.first()).hold_deletions;
        if wait.is_zero() {
            return None;
        }
        let name = owner_of(key, &deleted, zone);
        let kinds = |tree: &Tree| kinds_at(tree, &name, zone);
        let after = self.tree.with(key, layer, left);
        kinds(&self.tree).exceeds(kinds(&after)).then_some((name, wait))
    }
}

/// The name that an entry on a key belongs to: `targetstrip` never leads above the zone.
pub(super) fn owner_of(key: &Key, entry: &Entry, zone: Option<&Zone>) -> Key {
    let labels: Vec<_> = key.labels().collect();
    let least = zone.map_or(1, |zone| zone.extent().apex_labels);
    let left = labels.len().checked_sub(entry.service.target_strip.into()).filter(|left| *left >= least);
    Key::from_labels(labels[..left.unwrap_or(labels.len())].iter().copied())
}

fn kinds_at(tree: &Tree, name: &Key, zone: Option<&Zone>) -> DataKinds {
    let extent = zone.map_or_else(Extent::default, Zone::extent);
    let is_exact = zone.is_some_and(|zone| zone.mode == Mode::Exact);
    tree.kinds_at(name, extent, is_exact, &Work::new(WORK_OF_ANSWER))
}
