//! The objects of a cluster on their way into the tree.
//!
//! Each kind is listed on its own. A listing takes the place of what was known of its kind in one step, and what it has as
//! before does not change. Nothing of a cluster is held back: its services come and go by the hand of its controllers, and what
//! is gone must not be served.

use super::{Mirror, serial_now};
use crate::answer::{ClusterNames, Site, Zone};
use crate::counted::counted;
use crate::source::id::SourceId;
use crate::source::snapshot::RestoredCluster;
use crate::source::state::{ServedFrom, SourceState};
use crate::tree::{Object, ObjectId, ObjectKind};
use std::collections::HashMap;
use std::time::Duration;

/// Changes within so long after one have the time of that one.
const SAME_TIME: Duration = Duration::from_secs(1);

/// A listing of one kind: what was listed up to now, without the objects that the tree has already.
#[derive(Debug, Default)]
pub(super) struct ObjectListing(HashMap<ObjectId, Option<Object>>);

impl Mirror {
    /// Begins a listing of one kind; one that began before is void.
    pub(super) fn begin_objects(&mut self, kind: ObjectKind) {
        self.object_listings.insert(kind, ObjectListing::default());
    }

    /// Adds objects to the listing of their kind; returns how many they are.
    pub(super) fn list_objects(&mut self, objects: Vec<(ObjectId, Option<Object>)>) -> usize {
        let count = objects.len();
        for (id, object) in objects {
            let Some(ObjectListing(listed)) = self.object_listings.get_mut(&id.kind) else { continue };
            if object.is_none() {
                listed.remove(&id);
                continue;
            }
            let is_known = self.tree.cluster().object(&id) == object;
            listed.insert(id, object.filter(|_| !is_known));
        }
        count
    }

    /// Ends a listing: objects of the kind that it lacks are gone. Returns how many objects have changed.
    pub(super) fn end_objects(&mut self, kind: ObjectKind, version: Option<Box<str>>) -> usize {
        let Some(ObjectListing(listed)) = self.object_listings.remove(&kind) else { return 0 };
        let mut gone = self.tree.cluster().ids(kind);
        gone.retain(|id| !listed.contains_key(id));
        let gone = gone.into_iter().map(|id| (id, None));
        let news = listed.into_iter().filter(|(_, object)| object.is_some());
        let changes = gone.chain(news).collect();
        self.change_objects(kind, changes, version)
    }

    /// Notes how many objects a list had otherwise than the watch before it, which should have told all of them but `newer`.
    pub(super) fn note_audit(&mut self, kind: ObjectKind, changes: usize, newer: Option<usize>) {
        let missed = newer.map_or(0, |newer| changes.saturating_sub(newer));
        if missed > 0 {
            self.audit_differences += missed as u64;
            let missed = counted(missed, "object");
            log::info!("kubernetes: the watch of {} had not told of {missed}; the list did", kind.plural());
        }
    }

    /// Applies changes of objects of one kind, up to a version of the store; returns how many they are.
    pub(super) fn change_objects(
        &mut self,
        kind: ObjectKind,
        changes: Vec<(ObjectId, Option<Object>)>,
        version: Option<Box<str>>,
    ) -> usize {
        let (count, mut is_news) = (changes.len(), false);
        let short = self.site.as_deref().and_then(short_names);
        for (number, (id, object)) in changes.into_iter().enumerate() {
            if number % 256 == 0 {
                self.beat();
            }
            let is_there = object.is_some();
            if self.tree.set_object(&id, object) {
                is_news = true;
                if id.kind == ObjectKind::Service {
                    self.note_short_name(&id, short.filter(|_| is_there));
                }
            }
        }
        self.tree.set_object_version(kind, version);
        if is_news {
            self.renew_serials_of_cluster();
        }
        // A cluster changes all the time, and each other status wakes those who follow it.
        self.source(SourceId::Kubernetes, |source| source.changed_lately(SAME_TIME));
        count
    }

    /// Puts the objects of a snapshot into the tree, unless the cluster was listed already; returns how many they are.
    pub(super) fn restore_cluster(&mut self, restored: RestoredCluster) -> usize {
        let RestoredCluster { header, objects, as_of } = restored;
        let is_new = self.tree.cluster().is_empty();
        let source = self.sources.get_mut(&SourceId::Kubernetes).filter(|_| is_new);
        if !source.is_some_and(|source| source.restore(as_of)) {
            return 0;
        }
        let count = objects.len();
        self.tree.derive_namespaces(header.derives_namespaces);
        let short = self.site.as_deref().and_then(short_names);
        for (id, object) in objects {
            self.beat();
            if self.tree.set_object(&id, Some(object)) && id.kind == ObjectKind::Service {
                self.note_short_name(&id, short);
            }
        }
        for (kind, version) in header.versions() {
            self.tree.set_object_version(kind, Some(version.into()));
        }
        self.tree.set_cluster_identity(header.identity.map(Into::into));
        self.tree.restore_serials(header.serial, &header.zone_serials);
        let age = as_of.elapsed().unwrap_or_default().as_secs();
        let services = counted(self.tree.cluster().count(ObjectKind::Service), "service");
        log::info!("kubernetes: {services} from the snapshot, which is {age} s old");
        count
    }

    /// Notes which cluster it is. What is served of a snapshot of another one is given up: its names are not those of this one.
    pub(super) fn note_cluster_identity(&mut self, identity: Box<str>) {
        let is_other = self.tree.cluster().identity().is_some_and(|before| *before != *identity);
        let is_of_snapshot = self
            .sources
            .get(&SourceId::Kubernetes)
            .is_some_and(|source| matches!(source.state.served_from(), ServedFrom::Snapshot(_)));
        if is_other && is_of_snapshot {
            log::warn!("kubernetes: the snapshot is not used any more: it is of another cluster");
            for kind in ObjectKind::ALL {
                for id in self.tree.cluster().ids(kind) {
                    self.beat();
                    self.tree.set_object(&id, None);
                }
                self.tree.set_object_version(kind, None);
            }
            self.renew_serials_of_cluster();
            self.source(SourceId::Kubernetes, |source| source.state = SourceState::Waiting);
        }
        self.tree.set_cluster_identity(Some(identity));
    }

    /// Notes that the tree has all objects of the cluster.
    pub(super) fn note_in_step(&mut self, id: SourceId) {
        let state = self.sources.get(&id).map(|source| &source.state);
        let was_in_step = matches!(state, Some(SourceState::Synced { .. }));
        self.source(id, |source| source.synced(None));
        let zones = self.site.iter().flat_map(|site| site.zones.iter());
        // Of an empty cluster nothing has given them one.
        if zones.filter(|zone| zone.cluster.is_some()).any(|zone| self.tree.serial_of(zone.apex()) == 0) {
            self.renew_serials_of_cluster();
        }
        if !was_in_step {
            // Who reads the line may ask at once.
            self.publish();
            let services = counted(self.tree.cluster().count(ObjectKind::Service), "service");
            log::info!("{}: in sync, {services}", id.name());
        }
    }

    /// Gives all zones another serial that have names of the cluster, and those of addresses whose names have changed.
    fn renew_serials_of_cluster(&mut self) {
        let Some(site) = self.site.clone() else { return };
        for zone in site.zones.iter().filter(|zone| zone.cluster.is_some()) {
            self.tree.set_serial_of(zone.apex(), serial_now());
        }
    }

    /// Takes over which zones have names of the cluster.
    pub(super) fn set_zones_of_cluster(&mut self, site: &Site) {
        // Which addresses have names shows in zones of addresses.
        let is_fed = |zone: &&Zone| zone.cluster.is_some() || zone.is_reverse();
        let feeds = site.zones.iter().filter(is_fed).map(|zone| zone.apex().clone()).collect();
        self.source(SourceId::Kubernetes, |source| {
            (source.feeds, source.feeds_outside) = (Some(feeds), true);
        });
        let names = short_names(site);
        let is_other = self.site.as_deref().is_none_or(|before| short_names(before) != names);
        for id in self.tree.cluster().ids(ObjectKind::Service).iter().filter(|_| is_other) {
            self.note_short_name(id, names);
        }
    }

    /// Notes a service whose short name is that of another, or that it is none (any more).
    fn note_short_name(&mut self, id: &ObjectId, names: Option<ClusterNames>) {
        let key = || format!("{}/{}", id.namespace, id.name);
        match ClusterNames::gives_way(&id.namespace, &id.name) {
            Some(reason) if names.is_some() => {
                self.refuse(SourceId::Kubernetes, key().as_bytes(), reason, true);
            }
            Some(_) => self.forget_refusal(SourceId::Kubernetes, key().as_bytes()),
            None => {}
        }
    }
}

/// Short names of a cluster, if a zone has them.
fn short_names(site: &Site) -> Option<ClusterNames> {
    site.zones.iter().find_map(|zone| zone.cluster.filter(|names| names.has_short_names))
}
