//! A listing on its way in, and its difference from what the tree has of the source.

use super::case_folded::CaseFolded;
use super::parse::ParsedEntry;
use super::{Mirror, serial_now};
use crate::service::Key;
use crate::source::event::Change;
use crate::source::id::SourceId;
use crate::tree::{Entry, Layer};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// A listing on its way in. No reader sees any of it before it is complete.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Entries that the tree does not have, or has with another value.
    changed: Vec<(Key, Entry)>,
    /// All keys in the tree of services whose key in the store is in lower case.
    exact: HashSet<Key>,
    /// The entries whose keys have upper-case letters.
    case_folded: CaseFolded,
    /// All keys of the store.
    raw_keys: HashSet<Vec<u8>>,
    /// The value of the key `config`.
    config: Option<Vec<u8>>,
}

impl Mirror {
    /// Begins a listing; one that did not end is void.
    pub(super) fn begin_listing(&mut self, id: SourceId) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.listing = Some(Listing::default());
        }
    }

    /// Adds one key to a listing.
    pub(super) fn add_to_listing(&mut self, id: SourceId, change: Change) {
        let Some(value) = &change.value else { return };
        let parsed = self.parse(id, &change.key, value);
        let Some(listing) = self.sources.get_mut(&id).and_then(|source| source.listing.as_mut()) else {
            return;
        };
        match parsed {
            Some(ParsedEntry::Config) => listing.config = change.value,
            Some(ParsedEntry::Service { served, service, .. }) => {
                let entry = Entry { service, lease: change.lease };
                if served.case_folded {
                    listing.case_folded.insert(served.key, change.key.clone(), entry);
                } else {
                    if !self.tree.has(&served.key, id.layers().exact, &entry) {
                        listing.changed.push((served.key.clone(), entry));
                    }
                    listing.exact.insert(served.key);
                }
            }
            None => {}
        }
        listing.raw_keys.insert(change.key);
    }

    /// Puts the services of a complete listing in the place of those that the tree has of the source.
    ///
    /// Only the difference changes the tree: a source that is listed again after it was unreachable costs readers no
    /// version of a name that stayed as it was. Returns the number of changes.
    pub(super) fn end_listing(&mut self, id: SourceId, revision: Option<i64>) -> usize {
        let Some(listing) = self.sources.get_mut(&id).and_then(|source| source.listing.take()) else {
            return 0;
        };
        let layers = id.layers();
        let mut changes = self.remove_missing(id, &listing) + listing.changed.len();
        for (key, entry) in listing.changed {
            self.beat();
            self.tree.put(&key, layers.exact, entry);
        }
        for (key, entry) in listing.case_folded.served() {
            self.beat();
            changes += usize::from(self.tree.put(key, layers.case_folded, entry.clone()));
        }
        if changes > 0 || self.tree.serial() == 0 {
            self.tree.set_serial(serial_now());
        }
        match listing.config {
            Some(config) => self.configs.insert(id, config),
            None => self.configs.remove(&id),
        };
        self.writer.refusals().retain(id, |key| listing.raw_keys.contains(key));
        if let Some(source) = self.sources.get_mut(&id) {
            source.listed(listing.case_folded, revision);
        }
        log::info!("{}: in sync, {changes} changes, {} names in all", id.name(), self.tree.names());
        changes
    }

    /// Removes from the tree what it has of the source and the listing has not; returns the number of services.
    fn remove_missing(&mut self, id: SourceId, listing: &Listing) -> usize {
        let layers = id.layers();
        let mut missing = self.keys_unless(layers.exact, |key| listing.exact.contains(key));
        missing.extend(self.keys_unless(layers.case_folded, |key| listing.case_folded.contains(key)));
        for (key, layer) in &missing {
            self.beat();
            self.tree.remove(key, *layer);
        }
        missing.len()
    }

    /// The keys of a layer that are not listed.
    fn keys_unless(&self, layer: Layer, is_listed: impl Fn(&Key) -> bool) -> Vec<(Key, Layer)> {
        let mut missing = Vec::new();
        self.tree.entries(layer, |key, _| {
            self.beat();
            if !is_listed(&key) {
                missing.push((key, layer));
            }
            ControlFlow::Continue(())
        });
        missing
    }
}
