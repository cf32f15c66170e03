//! Sources that are not used, or not any more: what was read of them is served on until another source has it.
//!
//! A server can be told to have etcd's v2 API no more. What is served of it must not go with it: nobody said that the
//! services are gone.

use super::{Mirror, serial_now};
use crate::service::Key;
use crate::source::id::SourceId;
use std::ops::ControlFlow;

impl Mirror {
    /// Notes that a source is not used (any more); returns how many of its names other sources have already.
    pub(super) fn end_use(&mut self, id: SourceId, reason: String, is_refused: bool) -> usize {
        let Some(source) = self.sources.get_mut(&id) else { return 0 };
        if !source.state.is_served() {
            source.unused(id, reason, is_refused);
            return 0;
        }
        source.is_left_over = true;
        source.unreachable(id, reason);
        self.replace_left_over()
    }

    /// Removes what is left over of sources wherever a source of higher precedence has the key; returns how many keys that are.
    pub(super) fn replace_left_over(&mut self) -> usize {
        let mut replaced = 0;
        for id in self.left_over() {
            let mut keys = Vec::new();
            self.tree.entries(id.layer(), |key, _| {
                self.beat();
                if self.has_above(&key, id) {
                    keys.push(key);
                }
                ControlFlow::Continue(())
            });
            replaced += keys.len();
            keys.iter().for_each(|key| self.remove_left_over(id, key));
            self.end_left_over(id);
        }
        replaced
    }

    /// Removes what is left over on one key that a source has, or had until now.
    pub(super) fn replace_left_over_at(&mut self, key: &Key, by: SourceId) {
        let below: Vec<_> = self.left_over().into_iter().filter(|id| *id < by).collect();
        for id in below {
            if !self.tree.entries_at(key, id.layer()).is_empty() {
                self.remove_left_over(id, key);
                self.end_left_over(id);
            }
        }
    }

    /// The sources of which something is left over.
    fn left_over(&self) -> Vec<SourceId> {
        self.sources.iter().filter(|(_, source)| source.is_left_over).map(|(id, _)| *id).collect()
    }

    fn has_above(&self, key: &Key, id: SourceId) -> bool {
        self.sources.keys().any(|other| *other > id && !self.tree.entries_at(key, other.layer()).is_empty())
    }

    fn remove_left_over(&mut self, id: SourceId, key: &Key) {
        self.source(id, |source| source.spellings.forget(key));
        if self.tree.set(key, id.layer(), Vec::new()) {
            self.tree.set_serial_of(key, serial_now());
        }
    }

    /// Ends a source of which nothing is left.
    fn end_left_over(&mut self, id: SourceId) {
        if !self.tree.has_entries(id.layer()) {
            log::info!("{}: other stores have all names that were left of it", id.name());
            let reason = "nothing is left of it".to_owned();
            self.source(id, |source| source.unused(id, reason, false));
        }
    }
}
