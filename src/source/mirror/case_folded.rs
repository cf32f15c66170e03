//! Entries whose keys in the store have upper-case letters.

use crate::service::Key;
use crate::tree::Entry;
use std::collections::BTreeMap;

/// Entries by the key in the tree, which is in lower case, then by the key in the store.
///
/// Of the entries that differ in letter case alone, the first in the order of the store's keys is served: the same one
/// after each listing. When it goes, the next one takes its place, so all of them are kept.
#[derive(Debug, Default)]
pub(super) struct CaseFolded(BTreeMap<Key, BTreeMap<Vec<u8>, Entry>>);

impl CaseFolded {
    /// Adds an entry.
    pub(super) fn insert(&mut self, key: Key, raw: Vec<u8>, entry: Entry) {
        self.0.entry(key).or_default().insert(raw, entry);
    }

    /// Sets or removes the entry of a key in the store; returns the entry that is served from now on.
    pub(super) fn set(&mut self, key: &Key, raw: &[u8], entry: Option<Entry>) -> Option<Entry> {
        let entries = self.0.entry(key.clone()).or_default();
        match entry {
            Some(entry) => drop(entries.insert(raw.to_vec(), entry)),
            None => drop(entries.remove(raw)),
        }
        let served = entries.values().next().cloned();
        if served.is_none() {
            self.0.remove(key);
        }
        served
    }

    /// Whether an entry is served on a key.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    /// The entries that are served.
    pub(super) fn served(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.0.iter().filter_map(|(key, entries)| Some((key, entries.values().next()?)))
    }
}
