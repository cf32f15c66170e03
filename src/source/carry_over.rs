//! What a mirror has of a source, for the mirror that a reload puts in its place: a store that is away must not take its names
//! with it because some setting has changed.

use super::event::Event;
use super::feed::{Closed, Feed};
use super::id::SourceId;
use super::publisher::MirrorHandle;
use super::snapshot::{RestoredService, RestoredSnapshot, SavedSource, SnapshotHeader};
use super::state::{ServedFrom, SourceState};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::oneshot;

/// Services that are handed on together.
const SERVICES_PER_PART: usize = 1_000;

impl MirrorHandle {
    /// Whether anything of a source is served.
    pub fn serves(&self, id: SourceId) -> bool {
        self.status().borrow().sources.get(&id).is_some_and(SourceState::is_served)
    }

    /// Hands what is served of a source to another mirror, which serves it until it has read the source itself; blocks until
    /// it does.
    ///
    /// # Errors
    /// The other mirror has ended.
    pub fn carry_over(&self, id: SourceId, feed: &Feed) -> Result<(), Closed> {
        let status = self.status().borrow().clone();
        let Some(state) = status.sources.get(&id) else { return Ok(()) };
        let (as_of, revision) = match (state, state.served_from()) {
            (_, ServedFrom::Nothing) => return Ok(()),
            (_, ServedFrom::Snapshot(as_of)) => (as_of, None),
            (SourceState::Unreachable { since, .. }, ServedFrom::Listing { revision }) => (*since, revision),
            (_, ServedFrom::Listing { revision }) => (SystemTime::now(), revision),
        };
        let tree = self.published().tree.clone();
        let (mut part, mut services, mut pushed) = (Vec::new(), 0, Ok(()));
        tree.entries(id.layer(), |key, entries| {
            for (index, present) in entries.iter().enumerate() {
                let entry = present.entry.clone();
                part.push(RestoredService { is_further: index > 0, key: key.clone(), entry });
            }
            services += entries.len();
            if part.len() >= SERVICES_PER_PART {
                pushed = feed.push_blocking(Event::Restored(std::mem::take(&mut part)));
            }
            if pushed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        pushed?;
        feed.push_blocking(Event::Restored(part))?;
        let store = status.stores.get(&id).copied().unwrap_or_default();
        let revision = revision.or(store.restored_revision);
        let config = status.configs.get(&id).cloned();
        let saved = SavedSource { revision, cluster: store.cluster, config, as_of: None };
        let header = SnapshotHeader {
            serial: tree.serial(),
            zone_serials: tree.zone_serials(),
            sources: [(id, saved)].into(),
            ..SnapshotHeader::default()
        };
        let services = [(id, services)].into();
        let snapshot = RestoredSnapshot {
            header,
            as_of,
            services,
            is_of_other_endpoints: false,
            is_of_this_process: true,
        };
        let (visible, is_visible) = oneshot::channel();
        feed.push_blocking(Event::RestoreEnd { snapshot: Arc::new(snapshot), visible })?;
        let _ = is_visible.blocking_recv();
        Ok(())
    }
}
