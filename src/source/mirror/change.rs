//! Single changes of a store that is in sync.

use super::held::HeldKey;
use super::{Mirror, serial_now};
use crate::source::event::{Change, News, Put};
use crate::source::id::SourceId;
use crate::source::served_key::{ServedKey, Spelling};
use crate::tree::Entry;
use std::time::Instant;

impl Mirror {
    /// Applies one change to the tree; those that come together have one time.
    pub(super) fn apply(&mut self, id: SourceId, change: Change, now: Instant) {
        let Change { key: raw, news } = change;
        match news {
            News::Put(Put { served, service, lease, warning }) => {
                self.note_warning(id, &raw, &served.key, warning);
                let held = HeldKey { id, key: served.key.clone(), spelling: served.spelling.clone() };
                self.held.forget(&held);
                let (key, entry) = (served.key.clone(), Entry { service, lease });
                self.note_new(id, &key, &entry, now);
                self.take_back(&key);
                self.set(id, served, Some(entry));
                self.delete_after_put(&key);
            }
            News::Gone(served) => {
                self.forget_refusal(id, &raw);
                if let Some(served) = served {
                    self.delete(id, served, now);
                }
            }
            News::BelowGone => self.delete_below(id, &raw, now),
            News::Config(config) => self.set_config(id, config, now),
            // A watch brings the changes of the listed revision once more.
            News::Accepted(revision) if revision.is_some() && revision <= self.listed_revision(id) => {}
            News::Accepted(_) => self.accept(now, "the store's key \"accept\""),
            News::Refused { served, reason } => {
                self.refuse(id, &raw, &reason, false);
                // The value before was overwritten with one that cannot be served.
                if let Some(served) = served
                    && !self.hold_last(id, &served, now)
                {
                    self.set(id, served, None);
                }
            }
        }
    }

    /// Sets the service of a key, or removes it.
    pub(super) fn set(&mut self, id: SourceId, served: ServedKey, entry: Option<Entry>) {
        let ServedKey { key, spelling } = served;
        let Some(source) = self.sources.get_mut(&id) else { return };
        let layer = id.layer();
        let entries = if spelling == Spelling::AsName && !source.spellings.contains(&key) {
            entry.into_iter().collect()
        } else {
            let present = self.tree.entries_at(&key, layer).first().map(|present| present.entry.clone());
            source.spellings.set(&key, spelling, entry, present)
        };
        let is_put = !entries.is_empty();
        if self.tree.set(&key, layer, entries) {
            self.tree.set_serial_of(&key, serial_now());
        }
        if is_put {
            self.replace_left_over_at(&key, id);
        }
    }
}
