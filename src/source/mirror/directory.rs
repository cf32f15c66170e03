//! Directories of a store that are gone with all that was below them.

use super::Mirror;
use crate::service::{Key, KeyTarget};
use crate::source::id::SourceId;
use crate::source::served_key::{ServedKey, Spelling};
use std::ops::ControlFlow;
use std::time::Instant;

impl Mirror {
    /// Deletes all keys of a source below a directory, `directory` being its key: each of them as if the store had told so.
    pub(super) fn delete_below(&mut self, id: SourceId, directory: &[u8], now: Instant) {
        let root = self.keyspace.root().as_bytes().to_vec();
        let below = [directory.strip_suffix(b"/").unwrap_or(directory), b"/"].concat();
        // The directory that has the whole store, or one above it.
        let is_all = root.starts_with(&below);
        self.writer.refusals().retain(id, |key| !is_all && !key.starts_with(&below));
        if is_all {
            self.set_config(id, None, now);
        }
        let top = if is_all { Some(Key::from_labels([].into_iter())) } else { self.key_of(directory) };
        for served in top.map_or_else(Vec::new, |top| self.served_below(id, &top)) {
            self.beat();
            let is_below = match &served.spelling {
                _ if is_all => true,
                Spelling::AsName => self.keyspace.path(&served.key).as_bytes().starts_with(&below),
                Spelling::Other(raw) => raw.starts_with(&below),
            };
            if is_below && self.is_shown(&served, if is_all { &root } else { &below }) {
                self.delete(id, served, now);
            }
        }
    }

    /// Whether a key is no hidden one below a directory: what becomes of those is told to who watches them.
    fn is_shown(&self, served: &ServedKey, directory: &[u8]) -> bool {
        let as_name = || self.keyspace.path(&served.key).into_bytes();
        let raw = match &served.spelling {
            Spelling::AsName => as_name(),
            Spelling::Other(raw) => raw.clone(),
        };
        let rest = raw.get(directory.len()..).unwrap_or_default();
        !rest.split(|octet| *octet == b'/').any(|segment| segment.starts_with(b"_"))
    }

    /// The key in the tree of a key of the store; `None` if no name can be made of it, nor of those below.
    fn key_of(&self, raw: &[u8]) -> Option<Key> {
        match self.keyspace.target_of(raw).ok()? {
            KeyTarget::Service { key, .. } => Some(key),
            KeyTarget::Config | KeyTarget::Accept => None,
        }
    }

    /// What a source has on a key and below it, in every spelling.
    fn served_below(&self, id: SourceId, top: &Key) -> Vec<ServedKey> {
        let Some(source) = self.sources.get(&id) else { return Vec::new() };
        let mut served = Vec::new();
        self.tree.entries_from(top, id.layer(), |key, _| {
            let spellings = source.spellings.of(&key);
            served.extend(spellings.into_iter().map(|spelling| ServedKey { key: key.clone(), spelling }));
            ControlFlow::Continue(())
        });
        served
    }
}
