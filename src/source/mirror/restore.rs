//! A snapshot of a store on its way in: served until the store itself was listed.

use super::Mirror;
use crate::counted::counted;
use crate::source::id::SourceId;
use crate::source::snapshot::{RestoredService, RestoredSnapshot};
use crate::tree::Layer;

impl Mirror {
    /// Adds a part of a snapshot, unless something of the source is served already. No reader sees a part.
    pub(super) fn add_restored(&mut self, id: SourceId, services: Vec<RestoredService>) {
        if let Some(source) = self.sources.get_mut(&id).filter(|source| !source.state.is_served()) {
            source.restored.extend(services);
        }
    }

    /// Puts a complete snapshot into the tree, unless something of the source is served already.
    pub(super) fn end_restoring(&mut self, id: SourceId, snapshot: &RestoredSnapshot) {
        let Some(saved) = snapshot.header.sources.get(&id) else { return };
        let as_of = saved.as_of.unwrap_or(snapshot.as_of).min(snapshot.as_of);
        let Some(source) = self.sources.get_mut(&id) else { return };
        let restored = std::mem::take(&mut source.restored);
        if !source.restore(as_of) {
            return;
        }
        // Another store counts other revisions.
        source.restored_revision = saved.revision.filter(|_| !snapshot.is_of_other_endpoints);
        source.cluster = saved.cluster;
        self.put_restored(id.layer(), restored);
        // A configuration that the store reported ahead of its listing is newer than the snapshot's.
        if let Some(config) = &saved.config {
            self.configs.entry(id).or_insert_with(|| config.clone());
        }
        self.tree.restore_serials(snapshot.header.serial, &snapshot.header.zone_serials);
        let age = as_of.elapsed().unwrap_or_default().as_secs();
        let services = counted(snapshot.services.get(&id).copied().unwrap_or_default(), "service");
        match snapshot.is_of_this_process {
            true => log::info!("{}: {services} as they were before the reload", id.name()),
            false => log::info!("{}: {services} from the snapshot, which is {age} s old", id.name()),
        }
        if snapshot.is_of_other_endpoints {
            let before: Vec<_> = snapshot.header.store.endpoints.iter().map(String::as_str).collect();
            log::warn!(
                "{}: the snapshot was read from {}, where no endpoint is now; it is used until an endpoint answers",
                id.name(),
                before.join(", ")
            );
        }
    }

    /// Puts the services of a snapshot into the tree; those of one key follow each other.
    fn put_restored(&mut self, layer: Layer, restored: Vec<RestoredService>) {
        let mut restored = restored.into_iter().peekable();
        while let Some(RestoredService { is_further, key, entry }) = restored.next() {
            self.beat();
            let present = self.tree.entries_at(&key, layer).iter().filter(|_| is_further);
            let mut entries: Vec<_> = present.map(|present| present.entry.clone()).collect();
            entries.push(entry);
            while let Some(further) = restored.next_if(|next| next.is_further && next.key == key) {
                entries.push(further.entry);
            }
            self.tree.set(&key, layer, entries);
        }
    }
}
