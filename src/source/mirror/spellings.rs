//! Entries whose keys the store spells otherwise than their names: with capital letters, or with labels beyond ASCII.

use crate::service::Key;
use crate::source::served_key::Spelling;
use crate::tree::Entry;
use std::collections::BTreeMap;

/// The entries of each key that the store spells otherwise: by the key in the tree, then by the spelling.
///
/// All spellings of a key are served, in one order: that in which the store spells the key as the name first, then the
/// others in the order of the store's keys. A key with the name's own spelling alone is not in here: the tree has its
/// entry.
#[derive(Debug, Default)]
pub(super) struct Spellings(BTreeMap<Key, EntriesBySpelling>);

type EntriesBySpelling = BTreeMap<Spelling, Entry>;

impl Spellings {
    /// Whether the store spells a key otherwise.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    /// Whether a key has entries of other spellings than one. What is served on has no spelling.
    pub(super) fn has_others(&self, key: &Key, spelling: &Spelling) -> bool {
        match self.0.get(key) {
            Some(entries) => entries.keys().any(|other| other != spelling),
            None => *spelling != Spelling::AsName,
        }
    }

    /// Forgets the spellings of a key.
    pub(super) fn forget(&mut self, key: &Key) {
        self.0.remove(key);
    }

    /// Adds an entry.
    pub(super) fn insert(&mut self, key: Key, spelling: Spelling, entry: Entry) {
        self.0.entry(key).or_default().insert(spelling, entry);
    }

    /// Sets or removes the entry of a spelling; returns all entries that are served on the key from now on.
    ///
    /// `present` is the entry of the name's own spelling, which the tree has while there is no other.
    pub(super) fn set(
        &mut self,
        key: &Key,
        spelling: Spelling,
        entry: Option<Entry>,
        present: Option<Entry>,
    ) -> Vec<Entry> {
        let entries = self
            .0
            .entry(key.clone())
            .or_insert_with(|| present.map(|present| (Spelling::AsName, present)).into_iter().collect());
        match entry {
            Some(entry) => drop(entries.insert(spelling, entry)),
            None => drop(entries.remove(&spelling)),
        }
        let served = entries.values().cloned().collect();
        if entries.keys().all(|spelling| *spelling == Spelling::AsName) {
            self.0.remove(key);
        }
        served
    }

    /// The entries that are served on a key without that of a spelling, and the entry of the spelling.
    pub(super) fn without(
        &self,
        key: &Key,
        spelling: &Spelling,
        present: Option<Entry>,
    ) -> (Vec<Entry>, Option<Entry>) {
        let Some(entries) = self.0.get(key) else {
            return match spelling {
                Spelling::AsName => (Vec::new(), present),
                Spelling::Other(_) => (present.into_iter().collect(), None),
            };
        };
        let others = entries.iter().filter(|(other, _)| *other != spelling);
        (others.map(|(_, entry)| entry.clone()).collect(), entries.get(spelling).cloned())
    }

    /// All keys, each with its entries in the order in which they are served.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, Vec<Entry>)> {
        self.0.iter().map(|(key, entries)| (key, entries.values().cloned().collect()))
    }

    /// The spellings of a key; that of the name alone if the key is not in here.
    pub(super) fn of(&self, key: &Key) -> Vec<Spelling> {
        self.0.get(key).map_or_else(|| vec![Spelling::AsName], |entries| entries.keys().cloned().collect())
    }

    /// The keys that have no entry of the name's own spelling.
    pub(super) fn without_own(&self) -> Vec<Key> {
        let without = self.0.iter().filter(|(_, entries)| !entries.contains_key(&Spelling::AsName));
        without.map(|(key, _)| key.clone()).collect()
    }
}
