//! The only writer of the tree: takes what the sources push, and publishes whole states.
//!
//! The mirror owns the tree and runs on a thread of its own. It knows no store: a source is an id with a precedence.
//! Here are the thread's loop and the publication. `listing`, `change` and `restore` bring
//! what was read into the tree; `source` keeps the state of each source.

mod change;
mod directory;
mod freshness;
mod held;
mod hold;
mod listing;
mod losses;
mod mass;
mod objects;
mod refusal_log;
mod replaced;
mod restore;
mod source;
mod spellings;
mod unused;

use super::event::Event;
use super::id::SourceId;
use super::publisher::{MirrorHandle, MirrorWriter, Publisher};
use super::refusals::{RefusalText, shown_key};
use super::state::{LossCause, Published, Status};
use super::tenant::Tenants;
use crate::answer::{Mode, Site, SiteFreshness, Zone};
use crate::clock::unix_time;
use crate::heartbeat::Heartbeat;
use crate::service::{Key, KeyWarning, Keyspace};
use crate::tree::{Lease, ObjectKind, Tree};
use freshness::Assessed;
use held::HeldDeletions;
use losses::Losses;
use objects::ObjectListing;
use refusal_log::{Logged, RefusalLog};
use source::MirroredSource;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Changes after which a state is published though more are waiting: bounds how late readers see the first of a burst.
const MAX_CHANGES_PER_STATE: usize = 4096;

/// Minimum time between two published states: changes that follow each other faster are published together, which costs
/// readers less.
const PUBLISH_PAUSE: Duration = Duration::from_millis(2);

/// The writer of the tree; see the module.
#[derive(Debug)]
pub struct Mirror {
    keyspace: Keyspace,
    tree: Tree,
    sources: BTreeMap<SourceId, MirroredSource>,
    /// The value of the key `config` of each source that has one.
    configs: BTreeMap<SourceId, Vec<u8>>,
    writer: MirrorWriter,
    /// What the site serves, as far as that is known.
    site: Option<Arc<Site>>,
    freshness: SiteFreshness,
    /// Deletions that wait.
    held: HeldDeletions,
    /// What zones have lost, and serve on.
    losses: Losses,
    /// Whether losses are held back anywhere.
    holds_losses: bool,
    /// Whether what a listing lacks is being removed.
    is_listing: bool,
    /// What entries have in the place of a lease that are served on.
    held_lease: Arc<Lease>,
    /// Until when losses are meant.
    accepts_until: Option<Instant>,
    /// Configurations that are gone, with when they count no more.
    config_removals: BTreeMap<SourceId, Instant>,
    /// How often many names were lost at once, by the number of the cause.
    mass_losses: [u64; LossCause::ALL.len()],
    /// How often an operator of the host has let go what is served on.
    accepted: u64,
    /// How many objects a list had otherwise than the watch had told.
    audit_differences: u64,
    /// What `freshness` was found out from.
    assessed: Assessed,
    tenants: Tenants,
    refusal_log: RefusalLog,
    /// The listings of objects that are on their way in.
    object_listings: BTreeMap<ObjectKind, ObjectListing>,
    heartbeat: Option<Heartbeat>,
}

impl Mirror {
    /// A mirror of sources, each with whether it is required: before every required source was read, an answer may not
    /// deny that a name exists.
    pub fn new(keyspace: Keyspace, sources: &[(SourceId, bool)], publisher: &Arc<Publisher>) -> Self {
        let sources = sources.iter().map(|(id, is_required)| (*id, MirroredSource::new(*is_required)));
        let mut mirror = Self {
            keyspace,
            tree: Tree::tracked(),
            sources: sources.collect(),
            configs: BTreeMap::new(),
            writer: publisher.writer(),
            site: None,
            freshness: SiteFreshness::default(),
            held: HeldDeletions::default(),
            losses: Losses::default(),
            holds_losses: false,
            is_listing: false,
            held_lease: Arc::new(Lease::held()),
            accepts_until: None,
            config_removals: BTreeMap::new(),
            mass_losses: Default::default(),
            accepted: 0,
            audit_differences: 0,
            assessed: Assessed::default(),
            tenants: Tenants::default(),
            refusal_log: RefusalLog::default(),
            object_listings: BTreeMap::new(),
            heartbeat: None,
        };
        mirror.take_site();
        mirror.publish();
        mirror
    }

    /// The handle by which other threads see this mirror's state, whether the publisher shows it or not.
    pub fn handle(&self) -> MirrorHandle {
        self.writer.handle()
    }

    /// Applies events until every feed is closed.
    pub fn run(mut self, events: mpsc::Receiver<(SourceId, Event)>, heartbeat: Heartbeat) {
        self.heartbeat = Some(heartbeat);
        // A runtime of this thread alone, for its waits.
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(self.follow(events)),
            Err(error) => log::error!("the mirror cannot wait for events: {error}"),
        }
    }

    async fn follow(mut self, mut events: mpsc::Receiver<(SourceId, Event)>) {
        let (mut site, mut accepts) = (self.writer.site(), self.writer.accepts());
        self.accepted = *accepts.borrow_and_update();
        self.take_site();
        let mut published = Instant::now();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    None => return,
                    Some((_, Event::Wake)) => {
                        self.beat();
                        continue;
                    }
                    Some((id, event)) => {
                        self.beat();
                        let changes = self.apply_event(id, event);
                        self.gather(&mut events, changes, published);
                    }
                },
                // The publisher has the other end.
                Ok(()) = site.changed() => self.take_site(),
                Ok(()) = accepts.changed() => {
                    self.accepted = *accepts.borrow_and_update();
                    self.accept(Instant::now(), "skydns accept");
                }
                () = until(self.next_due()) => {
                    self.delete_due(Instant::now());
                    self.let_due_go(Instant::now());
                }
            }
            self.publish();
            published = Instant::now();
        }
    }

    /// When something is due.
    fn next_due(&self) -> Option<Instant> {
        self.held.next().into_iter().chain(self.next_letting_go()).min()
    }

    /// Applies the events that are waiting, so that they are published together with `changes` others.
    fn gather(
        &mut self,
        events: &mut mpsc::Receiver<(SourceId, Event)>,
        mut changes: usize,
        published: Instant,
    ) {
        // A change after a longer pause is published at once.
        if let Some(pause) = PUBLISH_PAUSE.checked_sub(published.elapsed()) {
            thread::sleep(pause);
        }
        while changes < MAX_CHANGES_PER_STATE {
            let Ok((id, event)) = events.try_recv() else { break };
            self.beat();
            changes += self.apply_event(id, event);
        }
    }

    /// Takes over what the site serves, as the publisher has it.
    fn take_site(&mut self) {
        let site = self.writer.site().borrow().clone();
        self.set_site(site);
    }

    fn set_site(&mut self, site: Option<Arc<Site>>) {
        if let Some(site) = &site {
            self.tree.set_zones(&site.zones.iter().map(Zone::apex));
            self.tree.index_addresses(site.zones.iter().any(|zone| zone.auto_ptr));
            self.set_zones_of_cluster(site);
            self.renew_serials(site);
            self.let_unwanted_go(site);
            self.holds_losses = site.zones.iter().any(|zone| !zone.hold_mass_deletion.time.is_zero());
            let tenants = Tenants::of_zones(site.zones.iter().map(Zone::apex));
            if tenants != self.tenants {
                self.writer.refusals().regroup(|key| tenants.tenant_of(self.keyspace.root(), key));
                self.tenants = tenants;
            }
        }
        self.site = site;
    }

    /// Gives the zones another serial whose records are others by the new settings.
    fn renew_serials(&mut self, site: &Site) {
        // Before anything is read there is none to be raised.
        let Some(before) = self.site.take().filter(|_| self.tree.serial() != 0) else { return };
        let named = |site: &Site| -> Vec<_> {
            site.zones.iter().filter(|zone| zone.auto_ptr).map(|zone| zone.domain().clone()).collect()
        };
        let is_all = before.flatten != site.flatten || before.priority != site.priority;
        let was = |zone: &Zone| before.zones.apex(zone.domain());
        // A zone that was not served has the serial of the tree, or that of a snapshot.
        let is_changed = |zone: &Zone| is_all || was(zone).is_some_and(|was| was.differs_in_data(zone));
        // Names of addresses are made of the services and the settings of their zone.
        let names_others = |zone: &Zone| is_all || was(zone).is_none_or(|was| was.differs_in_pointers(zone));
        let has_other_pointers = named(&before) != named(site)
            || site.zones.iter().any(|zone| zone.auto_ptr && names_others(zone));
        for zone in site.zones.iter() {
            if is_changed(zone) || has_other_pointers && zone.is_reverse() {
                self.tree.set_serial_of(zone.apex(), serial_now());
            }
        }
    }

    /// Beats for the watchdog: a large listing takes a while.
    fn beat(&self) {
        self.heartbeat.iter().for_each(Heartbeat::beat);
    }

    /// Applies one event; returns how many changes it was.
    fn apply_event(&mut self, id: SourceId, event: Event) -> usize {
        match event {
            Event::ListBegin => {
                self.begin_listing(id);
                0
            }
            Event::Listed(changes) => {
                let count = changes.len();
                changes.into_iter().for_each(|change| self.add_to_listing(id, change));
                count
            }
            Event::ListEnd(revision) => self.end_listing(id, revision),
            Event::StaleListEnd { revision, reason } => self.end_stale_listing(id, revision, reason),
            Event::Changed(changes, revision) => {
                let count = changes.len();
                let now = Instant::now();
                changes.into_iter().for_each(|change| self.apply(id, change, now));
                self.source(id, |source| source.changed(revision));
                count
            }
            Event::Restored(services) => {
                let count = services.len();
                self.add_restored(id, services);
                count
            }
            Event::RestoreEnd { snapshot, visible } => {
                self.end_restoring(id, &snapshot);
                // The start waits for this channel and answers queries next: the tree has to be published by then.
                self.publish();
                drop(visible);
                0
            }
            Event::Publish { visible } => {
                self.publish();
                drop(visible);
                0
            }
            Event::ObjectsBegin(kind) => {
                self.begin_objects(kind);
                0
            }
            Event::ObjectsListed(objects) => self.list_objects(objects),
            Event::ObjectsEnd { kind, version, newer } => {
                let changes = self.end_objects(kind, version);
                self.note_audit(kind, changes, newer);
                changes
            }
            Event::ObjectsChanged(kind, changes, version) => self.change_objects(kind, changes, version),
            Event::ClusterRestored { cluster, visible } => {
                let count = self.restore_cluster(*cluster);
                self.publish();
                drop(visible);
                count
            }
            Event::ClusterIdentity(identity) => {
                self.note_cluster_identity(identity);
                0
            }
            Event::NamespacesUnread(are_unread) => {
                self.tree.derive_namespaces(are_unread);
                if are_unread {
                    // When they can be read again, also after a restart, all have to be.
                    self.tree.set_object_version(ObjectKind::Namespace, None);
                }
                0
            }
            Event::InStep => {
                self.note_in_step(id);
                0
            }
            Event::Wake => 0,
            Event::Unreachable(reason) => {
                self.source(id, |source| source.unreachable(id, reason));
                0
            }
            Event::Cluster(cluster) => {
                self.note_cluster(id, cluster);
                0
            }
            Event::Needed => {
                self.source(id, |source| source.is_required = true);
                0
            }
            Event::Unused { reason, is_refused } => self.end_use(id, reason, is_refused),
        }
    }

    /// Notes which cluster a store is. Another one than that of the snapshot counts other revisions.
    fn note_cluster(&mut self, id: SourceId, cluster: u64) {
        self.source(id, |source| {
            if source.cluster.replace(cluster).is_some_and(|before| before != cluster) {
                log::warn!("{}: the store is another cluster than before", id.name());
                source.restored_revision = None;
            }
        });
    }

    /// Changes the state of a source, if it is one of this mirror.
    fn source(&mut self, id: SourceId, change: impl FnOnce(&mut MirroredSource)) {
        if let Some(source) = self.sources.get_mut(&id) {
            change(source);
        }
    }

    /// Notes what is odd about an entry that is served; returns whether anything is.
    fn note_warning(&mut self, id: SourceId, raw: &[u8], key: &Key, warning: Option<KeyWarning>) -> bool {
        // Where names answer for their own keys, no question has wildcards, and in a key they are those of DNS.
        let is_exact = || {
            let zone = self.site.as_ref().and_then(|site| site.zones.of(&key.name()));
            zone.is_some_and(|zone| zone.mode == Mode::Exact)
        };
        match warning {
            Some(warning) if warning != KeyWarning::Wildcard || !is_exact() => {
                self.refuse(id, raw, &warning.to_string(), true);
                true
            }
            _ => {
                self.forget_refusal(id, raw);
                false
            }
        }
    }

    /// Notes, and logs, what is wrong with an entry.
    fn refuse(&mut self, id: SourceId, key: &[u8], reason: &str, served: bool) {
        let tenant = self.tenants.tenant_of(self.keyspace.root(), key);
        if !self.writer.refusals().note(id, tenant, key, RefusalText { text: reason, served }) {
            return;
        }
        let logged = self.refusal_log.count(tenant, Instant::now());
        if logged != Logged::Line && !served {
            self.writer.refusals().count_unlogged();
        }
        match logged {
            Logged::Line if served => log::info!("{}: {}: {reason}", id.name(), shown_key(key)),
            Logged::Line => log::warn!("{}: {}: refused: {reason}", id.name(), shown_key(key)),
            Logged::LastOfTenant => log::warn!(
                "{}: {}: more entries are {}; the log does not name them for {} s, skydns check names all",
                id.name(),
                shown_key(tenant),
                if served { "served, but odd" } else { "refused" },
                refusal_log::PERIOD.as_secs()
            ),
            Logged::Nothing => {}
        }
    }

    /// Forgets what was wrong with an entry.
    fn forget_refusal(&self, id: SourceId, key: &[u8]) {
        self.writer.refusals().forget(id, self.tenants.tenant_of(self.keyspace.root(), key), key);
    }

    /// Publishes the present state.
    fn publish(&mut self) {
        self.assess();
        let freshness = self.freshness.clone();
        let published = Published { tree: self.tree.clone(), freshness, ..Published::default() };
        let status = Status {
            sources: self.sources.iter().map(|(id, source)| (*id, source.state.clone())).collect(),
            configs: self.configs.clone(),
            changes: self.sources.iter().map(|(id, source)| (*id, source.state_counts)).collect(),
            names: self.tree.names() + self.tree.cluster().count(ObjectKind::Service),
            held: self.held_names(),
            mass_losses: self.mass_losses,
            accepted: self.accepted,
            audit_differences: self.audit_differences,
            stores: self.sources.iter().map(|(id, source)| (*id, source.identity())).collect(),
            optional: self.sources.iter().filter(|(_, s)| s.is_optional()).map(|(id, _)| *id).collect(),
        };
        self.writer.publish(published, &status);
    }
}

/// Waits until a time; for ever without one.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// The serial of the SOA for a change of data now: Unix time, modulo 2^32 (RFC 1982).
fn serial_now() -> u32 {
    let [.., a, b, c, d] = unix_time().to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests;
