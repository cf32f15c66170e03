//! Single changes of a store that is in sync.

use super::held::HeldKey;
use super::{Mirror, serial_now};
use crate::source::event::Change;
use crate::source::id::SourceId;
use crate::source::layout::{ParsedEntry, ParsedKey, parse_key};
use crate::source::served_key::{ServedKey, Spelling};
use crate::tree::Entry;
use std::time::Instant;

impl Mirror {
    /// Applies one change to the tree.
    pub(super) fn apply(&mut self, id: SourceId, change: Change) {
        let Change { key: raw, value, lease } = change;
        match value {
            Some(value) => match self.parse(id, &raw, &value) {
                Some(ParsedEntry::Config) => {
                    self.configs.insert(id, value);
                }
                Some(ParsedEntry::Service { served, service, .. }) => {
                    let held = HeldKey { id, key: served.key.clone(), spelling: served.spelling.clone() };
                    self.held.forget(&held);
                    let key = served.key.clone();
                    self.set(id, served, Some(Entry { service, lease }));
                    self.delete_after_put(&key);
                }
                // The value before was overwritten with one that cannot be served.
                None => self.remove(id, &raw),
            },
            None => {
                self.forget_refusal(id, &raw);
                match parse_key(&self.keyspace, &raw) {
                    Ok(ParsedKey::Service(served, _)) => self.delete(id, served, Instant::now()),
                    _ => self.remove(id, &raw),
                }
            }
        }
    }

    /// Removes what is served of a raw key.
    fn remove(&mut self, id: SourceId, raw: &[u8]) {
        match parse_key(&self.keyspace, raw) {
            Ok(ParsedKey::Config) => {
                self.configs.remove(&id);
            }
            Ok(ParsedKey::Service(served, _)) => self.set(id, served, None),
            Err(_) => {}
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
            let present = self.tree.entries_at(&key, layer).first().map(|present| (*present.entry).clone());
            source.spellings.set(&key, spelling, entry, present)
        };
        if self.tree.set(&key, layer, entries) {
            self.tree.set_serial_of(&key, serial_now());
        }
    }
}
