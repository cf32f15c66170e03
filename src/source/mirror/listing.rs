//! A listing on its way in, and its difference from what the tree has of the source.

use super::held::HeldKey;
use super::spellings::Spellings;
use super::{Mirror, serial_now};
use crate::counted::counted;
use crate::service::Key;
use crate::source::event::{Change, News, Put};
use crate::source::id::SourceId;
use crate::source::served_key::{ServedKey, Spelling};
use crate::source::state::ServedFrom;
use crate::tree::{Entry, Layer};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::Instant;

/// A listing on its way in. No reader sees any of it before it is complete.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Entries that the tree does not have, or has with another value.
    changed: Vec<(Key, Entry)>,
    /// All keys that the store spells as the tree does.
    exact: HashSet<Key>,
    /// The entries of keys that the store spells otherwise.
    spellings: Spellings,
    /// The keys of the store that are not served, or not as they are written.
    refused: HashSet<Vec<u8>>,
    /// The value of the key `config`.
    config: Option<Vec<u8>>,
    /// The store's revision when losses were accepted last.
    accepted: Option<i64>,
}

impl Mirror {
    /// Begins a listing; one that did not end is void.
    pub(super) fn begin_listing(&mut self, id: SourceId) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.listing = Some(Listing::default());
        }
    }

    /// Adds one entry to a listing.
    pub(super) fn add_to_listing(&mut self, id: SourceId, change: Change) {
        let Change { key: raw, news } = change;
        let is_refused = match &news {
            News::Put(put) => self.note_warning(id, &raw, &put.served.key, put.warning),
            News::Refused { reason, .. } => {
                self.refuse(id, &raw, reason, false);
                true
            }
            News::Config(_) | News::Gone(_) | News::BelowGone | News::Accepted(_) => false,
        };
        let Some(listing) = self.sources.get_mut(&id).and_then(|source| source.listing.as_mut()) else {
            return;
        };
        match news {
            News::Config(config) => listing.config = config,
            News::Accepted(revision) => listing.accepted = revision,
            News::Put(Put { served: ServedKey { key, spelling }, service, lease, .. }) => {
                let entry = Entry { service, lease };
                if spelling == Spelling::AsName {
                    let held = HeldKey { id, key: key.clone(), spelling };
                    // A deletion that waits may take place before the listing is complete.
                    if !self.tree.has(&key, id.layer(), &entry) || self.held.contains(&held) {
                        listing.changed.push((key.clone(), entry));
                    } else {
                        self.tree.renew(&key, id.layer(), std::slice::from_ref(&entry));
                    }
                    listing.exact.insert(key);
                } else {
                    listing.spellings.insert(key, spelling, entry);
                }
            }
            News::Gone(_) | News::BelowGone | News::Refused { .. } => {}
        }
        if is_refused {
            listing.refused.insert(raw);
        }
    }

    /// Puts the services of a complete listing in the place of those that the tree has of the source.
    ///
    /// Only the difference changes the tree: a source that is listed again after it was unreachable costs readers no
    /// version of a name that stayed as it was. Returns the number of changes.
    pub(super) fn end_listing(&mut self, id: SourceId, revision: Option<i64>) -> usize {
        let Some(changes) = self.take_listing(id) else { return 0 };
        self.source(id, |source| {
            source.listed_revision = revision;
            source.synced(revision);
        });
        // Who reads the line may ask at once.
        self.publish();
        let (changed, names) = (counted(changes, "change"), counted(self.tree.names(), "name"));
        log::info!("{}: in sync, {changed}, {names} in all", id.name());
        changes
    }

    /// Brings a complete listing into the tree; returns the number of changes, or `None` if there is no listing.
    fn take_listing(&mut self, id: SourceId) -> Option<usize> {
        let mut listing = self.sources.get_mut(&id)?.listing.take()?;
        // What the listing has and has not decides.
        self.held.forget_all(id);
        let layer = id.layer();
        // Zones without names have a serial as well.
        if self.tree.serial() == 0 {
            self.tree.set_serial(serial_now());
        }
        let now = Instant::now();
        if listing.accepted.zip(self.known_revision(id)).is_some_and(|(accepted, known)| accepted > known) {
            self.accept(now, "the store's key \"accept\"");
        }
        let mut changes = self.remove_missing(id, &listing, now);
        for (key, entry) in std::mem::take(&mut listing.changed) {
            self.beat();
            self.take_back(&key);
            if listing.spellings.contains(&key) {
                listing.spellings.insert(key, Spelling::AsName, entry);
            } else {
                changes += usize::from(self.set_listed(&key, layer, vec![entry]));
            }
        }
        self.add_unchanged(layer, &mut listing);
        for (key, entries) in listing.spellings.all() {
            self.beat();
            self.take_back(key);
            changes += usize::from(self.set_listed(key, layer, entries));
        }
        self.set_config(id, listing.config, now);
        self.writer.refusals().retain(id, |key| listing.refused.contains(key));
        self.source(id, |source| source.listed(listing.spellings));
        self.replace_left_over();
        Some(changes)
    }

    /// Sets the entries of a key; returns whether the tree changed.
    fn set_listed(&mut self, key: &Key, layer: Layer, entries: Vec<Entry>) -> bool {
        let changed = self.tree.set(key, layer, entries);
        if changed {
            self.tree.set_serial_of(key, serial_now());
        }
        changed
    }

    /// Puts the services of a complete listing that may be old into the tree, unless a newer snapshot is served.
    pub(super) fn end_stale_listing(&mut self, id: SourceId, revision: Option<i64>, reason: String) -> usize {
        let restored = self.sources.get(&id).and_then(|source| source.restored_revision);
        let is_older = restored.zip(revision).is_some_and(|(restored, listed)| listed < restored);
        let taken = if is_older { None } else { self.take_listing(id) };
        let Some(changes) = taken else {
            self.source(id, |source| source.unreachable(id, reason));
            return 0;
        };
        let (changed, names) = (counted(changes, "change"), counted(self.tree.names(), "name"));
        let line = format!("{}: not in sync, {changed}, {names} in all: {reason}", id.name());
        self.source(id, |source| source.listed_stale(revision, reason));
        self.publish();
        log::warn!("{line}");
        changes
    }

    /// Adds to the spellings the entries that were listed and are in the tree already.
    fn add_unchanged(&self, layer: Layer, listing: &mut Listing) {
        for key in listing.spellings.without_own() {
            if let ([present], true) = (self.tree.entries_at(&key, layer), listing.exact.contains(&key)) {
                let entry = present.entry.clone();
                listing.spellings.insert(key, Spelling::AsName, entry);
            }
        }
    }

    /// Removes from the tree what it has of a source and the listing has not, unless that is too much at once; returns the
    /// number of names that are gone.
    fn remove_missing(&mut self, id: SourceId, listing: &Listing, now: Instant) -> usize {
        let is_listed = |key: &Key| listing.exact.contains(key) || listing.spellings.contains(key);
        // What was lost a moment ago, and is listed, has come back.
        for key in self.losses.recent_of(id).into_iter().filter(|key| is_listed(key)) {
            self.take_back(&key);
        }
        let mut missing = self.keys_unless(id.layer(), is_listed);
        if missing.is_empty() && self.losses.are_none() {
            return 0;
        }
        for (key, entry) in &listing.changed {
            self.note_new(id, key, entry, now);
        }
        for (key, entries) in listing.spellings.all() {
            entries.first().into_iter().for_each(|entry| self.note_new(id, key, entry, now));
        }
        self.is_listing = true;
        for key in &missing {
            self.beat();
            self.hold_loss(id, key, now);
        }
        self.is_listing = false;
        self.losses.new_keys().forget_new();
        missing.retain(|key| !self.losses.is_held(id, key));
        // Of very many losses the first ones may not have been kept.
        if self.losses.holds().next().is_some() {
            missing.retain(|key| !self.hold_loss(id, key, now));
        }
        for key in &missing {
            self.beat();
            self.set_listed(key, id.layer(), Vec::new());
        }
        missing.len()
    }

    /// The revision of the last listing.
    pub(super) fn listed_revision(&self, id: SourceId) -> Option<i64> {
        self.sources.get(&id)?.listed_revision
    }

    /// The revision of what the tree has of a source, if that is known.
    fn known_revision(&self, id: SourceId) -> Option<i64> {
        let source = self.sources.get(&id)?;
        match source.state.served_from() {
            ServedFrom::Listing { revision } => revision,
            ServedFrom::Snapshot(_) => source.restored_revision,
            ServedFrom::Nothing => None,
        }
    }

    /// The keys of a layer that are not listed.
    fn keys_unless(&self, layer: Layer, is_listed: impl Fn(&Key) -> bool) -> Vec<Key> {
        let mut missing = Vec::new();
        self.tree.entries(layer, |key, _| {
            self.beat();
            if !is_listed(&key) {
                missing.push(key);
            }
            ControlFlow::Continue(())
        });
        missing
    }
}
