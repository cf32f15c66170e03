//! The snapshot on disk: where it is, who hears of it, and its reading at the start.

use super::status::StatusNotes;
use crate::config::Spec;
use crate::lock::lock;
use crate::metrics::Metrics;
use crate::source::snapshot::{self, SaveResult, SnapshotError, StoreIdentity};
use crate::source::{Event, Feed};
use crate::systemd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// The file of the snapshot, if there is a directory for it: the one that is configured, else systemd's.
pub(super) fn file(spec: &Spec) -> Option<PathBuf> {
    spec.state_dir.clone().or_else(systemd::state_directory).map(|dir| dir.join("snapshot"))
}

/// Hears of each save: counts it, and tells a person of trouble and of its end.
pub(super) fn report(
    file: PathBuf,
    notes: StatusNotes,
    counters: Arc<Metrics>,
) -> impl Fn(&SaveResult) + Send + 'static {
    let told = Mutex::new(None);
    move |kept| {
        counters.snapshot_saved(kept.as_ref().ok().map(|saved| saved.octets));
        let trouble = kept.as_ref().err().map(ToString::to_string);
        let mut told = lock(&told);
        if *told == trouble {
            return;
        }
        match &trouble {
            Some(reason) => log::warn!("the snapshot {} cannot be written: {reason}", file.display()),
            None if told.is_some() => log::info!("the snapshot {} is written again", file.display()),
            None => {}
        }
        notes.set_snapshot(trouble.as_deref());
        *told = trouble;
    }
}

/// Reads the snapshot into the tree; `visible` is dropped when what it holds is served, or nothing will come.
pub(super) fn load(file: &Path, origin: &StoreIdentity, feed: &Feed, visible: oneshot::Sender<()>) {
    let part = |part| {
        // Without a mirror the program ends.
        let _ = feed.push_blocking(Event::Restored(part));
    };
    match snapshot::restore(file, origin, part) {
        Ok(snapshot) => {
            let _ = feed.push_blocking(Event::RestoreEnd { snapshot, visible });
        }
        Err(SnapshotError::System { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            log::info!("there is no snapshot in {}", file.display());
        }
        Err(error) => log::warn!("the snapshot {} is not taken: {error}", file.display()),
    }
}
