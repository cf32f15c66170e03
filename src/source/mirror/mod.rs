//! The one writer of the tree: takes what the sources push, and publishes whole states.

use super::event::{Change, Event};
use super::id::SourceId;
use super::publisher::{MirrorHandle, MirrorWriter, Publisher};
use super::snapshot::{RestoredService, RestoredSnapshot};
use super::state::{Published, ServedFrom, SourceState, Status};
use crate::answer::Freshness;
use crate::clock::unix_time;
use crate::heartbeat::Heartbeat;
use crate::service::{Key, KeyTarget, Keyspace, Service};
use crate::tree::{Entry, Tree};
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// Most changes that one published state takes together. Bounds how late the first of a burst shows.
const BURST: usize = 4096;

/// Least time between two published states: what changes faster shows together, and costs readers less.
const PACE: Duration = Duration::from_millis(2);

/// Reasons for one loss that are logged.
const MOST_REASONS: usize = 16;

/// Refused records told one by one in the log, for each batch of changes.
const TOLD: usize = 20;

/// The writer; runs on a thread of its own until all feeds are closed.
#[derive(Debug)]
pub struct Mirror {
    keyspace: Keyspace,
    tree: Tree,
    sources: BTreeMap<SourceId, Source>,
    configs: BTreeMap<SourceId, Vec<u8>>,
    writer: MirrorWriter,
    told: usize,
    heartbeat: Option<Heartbeat>,
}

/// Entries by the key they are served under and the key of the store, which differ in letter case; the first is served.
type CaseFolded = BTreeMap<Key, BTreeMap<Vec<u8>, Entry>>;

/// What the mirror keeps of one source.
#[derive(Debug)]
struct Source {
    /// Whether the tree is incomplete without it.
    required: bool,
    state: SourceState,
    /// How often it came to each state.
    changes: [u64; SourceState::NAMES.len()],
    /// Reasons for a loss that were logged since it was in step.
    reasons: HashSet<String>,
    listing: Option<Listing>,
    /// A snapshot on its way in.
    restored: Vec<RestoredService>,
    /// Keys that are the same only in lower case: which of them there are.
    case_folded: CaseFolded,
}

/// A listing on its way in.
#[derive(Debug, Default)]
struct Listing {
    /// What is new or different.
    fresh: Vec<(Key, Entry)>,
    seen: HashSet<Key>,
    case_folded: CaseFolded,
    raw: HashSet<Vec<u8>>,
    config: Option<Vec<u8>>,
}

impl Mirror {
    /// A mirror of sources; without one that is `required`, names are never denied.
    pub fn new(keyspace: Keyspace, sources: &[(SourceId, bool)], publisher: &Arc<Publisher>) -> Self {
        let mirror = Self {
            keyspace,
            tree: Tree::tracked(),
            sources: sources
                .iter()
                .map(|(id, required)| {
                    let source = Source {
                        required: *required,
                        state: SourceState::Waiting,
                        changes: [0; SourceState::NAMES.len()],
                        reasons: HashSet::new(),
                        listing: None,
                        restored: Vec::new(),
                        case_folded: CaseFolded::new(),
                    };
                    (*id, source)
                })
                .collect(),
            configs: BTreeMap::new(),
            writer: publisher.writer(),
            told: 0,
            heartbeat: None,
        };
        mirror.publish();
        mirror
    }

    /// What others may know of it.
    pub fn handle(&self) -> MirrorHandle {
        self.writer.handle()
    }

    /// Takes events until every feed is closed.
    pub fn run(mut self, mut events: mpsc::Receiver<(SourceId, Event)>, heartbeat: Heartbeat) {
        self.heartbeat = Some(heartbeat);
        let mut published = Instant::now();
        while let Some((id, event)) = events.blocking_recv() {
            self.moves();
            if matches!(event, Event::Wake) {
                continue;
            }
            self.told = 0;
            let mut changes = self.take(id, event);
            // The first change after a rest shows at once.
            if let Some(rest) = PACE.checked_sub(published.elapsed()) {
                thread::sleep(rest);
            }
            while changes < BURST {
                let Ok((id, event)) = events.try_recv() else { break };
                self.moves();
                changes += self.take(id, event);
            }
            if self.told > TOLD {
                log::warn!("{} more records are refused; skydns check lists all", self.told - TOLD);
            }
            self.publish();
            published = Instant::now();
        }
    }

    /// Notes that it moves: a large listing takes a while.
    fn moves(&self) {
        self.heartbeat.iter().for_each(Heartbeat::beat);
    }

    /// Takes one event; says how many changes it held.
    fn take(&mut self, id: SourceId, event: Event) -> usize {
        match event {
            Event::ListBegin => {
                if let Some(source) = self.sources.get_mut(&id) {
                    source.listing = Some(Listing::default());
                }
                0
            }
            Event::Listed(changes) => {
                let count = changes.len();
                changes.into_iter().for_each(|change| self.list(id, change));
                count
            }
            Event::ListEnd(revision) => self.end_listing(id, revision),
            Event::Changed(changes, revision) => {
                let count = changes.len();
                changes.into_iter().for_each(|change| self.change(id, change));
                self.touch(id, revision);
                count
            }
            Event::Restored(entries) => {
                let count = entries.len();
                self.restore(id, entries);
                count
            }
            Event::RestoreEnd { snapshot, visible } => {
                self.end_restoring(id, snapshot);
                // Who waits for it begins to answer.
                self.publish();
                drop(visible);
                0
            }
            Event::Wake => 0,
            Event::Unreachable(reason) => {
                self.lose(id, reason);
                0
            }
            Event::Refused { key, reason } => {
                self.refuse(id, &key, &reason, false);
                1
            }
        }
    }

    /// Stages one key of a listing.
    fn list(&mut self, id: SourceId, change: Change) {
        let Some(value) = &change.value else { return };
        let parsed = self.read(id, &change.key, value);
        let Some(listing) = self.sources.get_mut(&id).and_then(|source| source.listing.as_mut()) else {
            return;
        };
        match parsed {
            Read::Config => listing.config = change.value,
            Read::Service { key, service } => {
                let entry = Entry { service, lease: change.lease };
                if is_case_folded(&self.keyspace, &change.key) {
                    listing.case_folded.entry(key).or_default().insert(change.key.clone(), entry);
                } else {
                    if !self.tree.has(&key, id.layers().exact, &entry) {
                        listing.fresh.push((key.clone(), entry));
                    }
                    listing.seen.insert(key);
                }
            }
            Read::Nothing => {}
        }
        listing.raw.insert(change.key);
    }

    /// Makes a complete listing the state of its source.
    fn end_listing(&mut self, id: SourceId, revision: Option<i64>) -> usize {
        let Some(source) = self.sources.get_mut(&id) else { return 0 };
        let Some(listing) = source.listing.take() else { return 0 };
        let layers = id.layers();
        let mut gone = Vec::new();
        for (layer, exact) in [(layers.exact, true), (layers.case_folded, false)] {
            self.tree.entries(layer, |key, _| {
                self.heartbeat.iter().for_each(Heartbeat::beat);
                let stays =
                    if exact { listing.seen.contains(&key) } else { listing.case_folded.contains_key(&key) };
                if !stays {
                    gone.push((key, layer));
                }
                ControlFlow::Continue(())
            });
        }
        let mut changes = gone.len() + listing.fresh.len();
        for (key, layer) in gone {
            self.heartbeat.iter().for_each(Heartbeat::beat);
            self.tree.remove(&key, layer);
        }
        for (key, entry) in listing.fresh {
            self.heartbeat.iter().for_each(Heartbeat::beat);
            self.tree.put(&key, layers.exact, entry);
        }
        source.case_folded = listing.case_folded;
        source.restored = Vec::new();
        for (key, entries) in &source.case_folded {
            self.heartbeat.iter().for_each(Heartbeat::beat);
            if let Some(entry) = entries.values().next() {
                changes += usize::from(self.tree.put(key, layers.case_folded, entry.clone()));
            }
        }
        if changes > 0 || self.tree.serial() == 0 {
            self.tree.set_serial(serial_now());
        }
        match listing.config {
            Some(config) => self.configs.insert(id, config),
            None => self.configs.remove(&id),
        };
        self.writer.refusals().retain(id, |key| listing.raw.contains(key));
        if let Some(source) = self.sources.get_mut(&id) {
            source.reasons.clear();
        }
        self.set_state(id, SourceState::Synced { revision, changed: SystemTime::now() });
        log::info!("{}: in sync, {changes} changes, {} names in all", id.name(), self.tree.names());
        changes
    }

    /// Stages a part of a snapshot, unless the store itself has told what it holds. Nobody sees a part.
    fn restore(&mut self, id: SourceId, entries: Vec<RestoredService>) {
        if let Some(source) = self.sources.get_mut(&id).filter(|source| !source.state.is_served()) {
            source.restored.extend(entries);
        }
    }

    /// Makes a complete snapshot the state of its source, unless the store itself has told what it holds.
    fn end_restoring(&mut self, id: SourceId, snapshot: RestoredSnapshot) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        let restored = std::mem::take(&mut source.restored);
        let as_of = snapshot.as_of;
        let state = match &source.state {
            SourceState::Waiting => SourceState::Snapshot { as_of },
            SourceState::Unreachable { reason, served_from: ServedFrom::Nothing, since } => {
                SourceState::Unreachable {
                    reason: reason.clone(),
                    served_from: ServedFrom::Snapshot(as_of),
                    since: *since,
                }
            }
            _ => return,
        };
        let layers = id.layers();
        for RestoredService { case_folded, key, entry } in restored {
            self.moves();
            self.tree.put(&key, if case_folded { layers.case_folded } else { layers.exact }, entry);
        }
        self.set_state(id, state);
        // What the store says of its configuration comes ahead of its listing.
        if let Some(config) = snapshot.header.config {
            self.configs.entry(id).or_insert(config);
        }
        self.tree.set_serial(snapshot.header.serial);
        let age = as_of.elapsed().unwrap_or_default().as_secs();
        log::info!("{}: {} names of a snapshot, {age} s old", id.name(), snapshot.services);
    }

    /// Applies one change.
    fn change(&mut self, id: SourceId, change: Change) {
        let changed = match &change.value {
            Some(value) => match self.read(id, &change.key, value) {
                Read::Config => {
                    self.configs.insert(id, change.value.unwrap_or_default());
                    false
                }
                Read::Service { key, service } => {
                    let entry = Entry { service, lease: change.lease };
                    self.set(id, &change.key, &key, Some(entry))
                }
                // What was there before was overwritten with something that cannot be served.
                Read::Nothing => self.remove(id, &change.key),
            },
            None => {
                self.writer.refusals().forget(id, &change.key);
                self.remove(id, &change.key)
            }
        };
        if changed {
            self.tree.set_serial(serial_now());
        }
    }

    fn remove(&mut self, id: SourceId, raw: &[u8]) -> bool {
        match self.keyspace.target_of(raw) {
            Ok(KeyTarget::Config) => {
                self.configs.remove(&id);
                false
            }
            Ok(KeyTarget::Service { key, .. }) => self.set(id, raw, &key, None),
            Err(_) => false,
        }
    }

    /// Sets what stands on a raw key, or takes it off; `true` if the tree changed.
    fn set(&mut self, id: SourceId, raw: &[u8], key: &Key, entry: Option<Entry>) -> bool {
        let layers = id.layers();
        let (layer, shown) = if is_case_folded(&self.keyspace, raw) {
            let Some(source) = self.sources.get_mut(&id) else { return false };
            let entries = source.case_folded.entry(key.clone()).or_default();
            match entry {
                Some(entry) => drop(entries.insert(raw.to_vec(), entry)),
                None => drop(entries.remove(raw)),
            }
            let first = entries.values().next().cloned();
            if first.is_none() {
                source.case_folded.remove(key);
            }
            (layers.case_folded, first)
        } else {
            (layers.exact, entry)
        };
        match shown {
            Some(entry) => self.tree.put(key, layer, entry),
            None => self.tree.remove(key, layer),
        }
    }

    /// Reads a key and its value, and notes what is wrong with them.
    ///
    /// A fault of this program in one record costs that record, and not the program at each start.
    fn read(&mut self, id: SourceId, raw: &[u8], value: &[u8]) -> Read {
        catch_unwind(AssertUnwindSafe(|| self.try_read(id, raw, value))).unwrap_or_else(|_| {
            self.refuse(id, raw, "a fault of this program in reading it; please report it", false);
            Read::Nothing
        })
    }

    fn try_read(&mut self, id: SourceId, raw: &[u8], value: &[u8]) -> Read {
        #[cfg(test)]
        assert!(value != tests::FAULT);
        let place = match self.keyspace.target_of(raw) {
            Ok(place) => place,
            Err(error) => {
                self.refuse(id, raw, &error.to_string(), false);
                return Read::Nothing;
            }
        };
        let KeyTarget::Service { key, warning } = place else {
            return Read::Config;
        };
        match Service::from_json(value) {
            Ok(service) => {
                match warning {
                    Some(warning) => self.refuse(id, raw, &warning.to_string(), true),
                    None => self.writer.refusals().forget(id, raw),
                }
                Read::Service { key, service }
            }
            Err(error) => {
                self.refuse(id, raw, &error.to_string(), false);
                Read::Nothing
            }
        }
    }

    fn refuse(&mut self, id: SourceId, key: &[u8], reason: &str, served: bool) {
        if !self.writer.refusals().note(id, key, reason, served) {
            return;
        }
        self.told += 1;
        if self.told <= TOLD {
            let what = if served { "note" } else { "refused" };
            log::warn!("{}: {}: {what}: {reason}", id.name(), key.escape_ascii());
        }
    }

    fn lose(&mut self, id: SourceId, reason: String) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        source.listing = None;
        let served_from = source.state.served_from();
        let since = match &source.state {
            SourceState::Unreachable { reason: same, .. } if *same == reason => return,
            SourceState::Unreachable { since, .. } => *since,
            _ => SystemTime::now(),
        };
        // Endpoints fail in turn, each for its own reason, and go on failing.
        if source.reasons.len() < MOST_REASONS && source.reasons.insert(reason.clone()) {
            let level = if source.required || served_from != ServedFrom::Nothing {
                log::Level::Warn
            } else {
                log::Level::Info
            };
            log::log!(level, "{}: {reason}", id.name());
        }
        self.set_state(id, SourceState::Unreachable { reason, served_from, since });
    }

    /// Notes a change of a source that is in step. Its configuration may come ahead of its listing.
    fn touch(&mut self, id: SourceId, revision: Option<i64>) {
        if let Some(source) = self.sources.get_mut(&id)
            && let SourceState::Synced { .. } = source.state
        {
            source.state = SourceState::Synced { revision, changed: SystemTime::now() };
        }
    }

    fn set_state(&mut self, id: SourceId, state: SourceState) {
        if let Some(source) = self.sources.get_mut(&id) {
            let place = state.index();
            source.changes[place] += u64::from(source.state.index() != place);
            source.state = state;
        }
    }

    fn freshness(&self) -> Freshness {
        let required = || self.sources.values().filter(|source| source.required);
        let stale = |state: &SourceState| state.is_served() && !matches!(state, SourceState::Synced { .. });
        if required().any(|source| !source.state.is_served()) {
            Freshness::Incomplete
        } else if self.sources.values().any(|source| stale(&source.state)) {
            Freshness::Stale
        } else {
            Freshness::Current
        }
    }

    fn publish(&self) {
        let published =
            Published { tree: self.tree.clone(), freshness: self.freshness(), ..Published::default() };
        let status = Status {
            sources: self.sources.iter().map(|(id, source)| (*id, source.state.clone())).collect(),
            configs: self.configs.clone(),
            changes: self.sources.iter().map(|(id, source)| (*id, source.changes)).collect(),
            names: self.tree.names(),
            optional: self.sources.iter().filter(|(_, s)| !s.required).map(|(id, _)| *id).collect(),
        };
        self.writer.publish(published, &status);
    }
}

/// What a key and its value are.
enum Read {
    Config,
    Service { key: Key, service: Service },
    Nothing,
}

/// Whether a key only becomes a name in lower case; the path prefix does not count.
fn is_case_folded(keyspace: &Keyspace, raw: &[u8]) -> bool {
    raw.iter().skip(keyspace.root().len()).any(u8::is_ascii_uppercase)
}

/// The serial of the SOA for a change of data now: Unix time, modulo 2^32 (RFC 1982).
fn serial_now() -> u32 {
    u32::try_from(unix_time() & u64::from(u32::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
