//! The snapshot of etcd on disk: its path, the report of each save, and its loading at the start.

use super::state_dir;
use super::status::StatusNotes;
use crate::config::Spec;
use crate::guard::ReadsSnapshot;
use crate::lock::lock;
use crate::metrics::Metrics;
use crate::source::kubernetes::KubernetesSettings;
use crate::source::snapshot::{self, SaveResult, SnapshotError, StoreIdentity};
use crate::source::{Event, Feed, SourceId};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// The path of the snapshot, in the configured directory, else in systemd's; `None` if there is neither.
pub(super) fn file(spec: &Spec) -> Option<PathBuf> {
    state_dir::file(spec, "snapshot")
}

/// The path of the snapshot of a Kubernetes cluster, beside that of etcd.
pub(super) fn file_of_cluster(file: &Path) -> PathBuf {
    file.with_file_name("snapshot-kubernetes")
}

/// Makes the function that is called after each save: it counts the save, and logs when a problem begins, changes or ends.
pub(super) fn report(
    file: PathBuf,
    notes: StatusNotes,
    counters: Arc<Metrics>,
) -> impl Fn(&SaveResult) + Send + 'static {
    let last_problem = Mutex::new(None);
    move |result| {
        counters.snapshot_saved(result.as_ref().ok().map(|saved| saved.octets));
        let problem = result.as_ref().err().map(ToString::to_string);
        let mut last_problem = lock(&last_problem);
        if *last_problem == problem {
            return;
        }
        match &problem {
            Some(reason) => log::warn!("the snapshot {} cannot be written: {reason}", file.display()),
            None if last_problem.is_some() => log::info!("the snapshot {} is written again", file.display()),
            None => {}
        }
        notes.set_snapshot(problem.as_deref());
        *last_problem = problem;
    }
}

/// Loads the snapshot into the tree, and returns when it is served, or cannot be.
///
/// If the process ends meanwhile, the next one does without the snapshot.
pub(super) fn load(file: &Path, origin: &StoreIdentity, feed: impl Fn(SourceId) -> Feed) {
    let reads = ReadsSnapshot::begin();
    let part = |id, part| {
        // An error means that the mirror has ended: a reload has replaced it, or the program ends.
        let _ = feed(id).push_blocking(Event::Restored(part));
    };
    match snapshot::restore(file, origin, part) {
        Ok(snapshot) => {
            let snapshot = Arc::new(snapshot);
            for id in snapshot.header.sources.keys() {
                let (seen, is_seen) = oneshot::channel();
                let end = Event::RestoreEnd { snapshot: Arc::clone(&snapshot), visible: seen };
                if feed(*id).push_blocking(end).is_ok() {
                    let _ = is_seen.blocking_recv();
                }
            }
        }
        Err(error) => tell_unused(file, &error),
    }
    drop(reads);
}

/// The same for the snapshot of a Kubernetes cluster.
pub(super) fn load_cluster(file: &Path, settings: &KubernetesSettings, feed: &Feed) {
    let reads = ReadsSnapshot::begin();
    match snapshot::restore_cluster(file, settings.access.url().as_deref()) {
        Ok(mut cluster) => {
            if cluster.header.watched != settings.watched.text() {
                cluster.keep_for_other_settings(&settings.watched.kinds());
            }
            let (visible, is_seen) = oneshot::channel();
            let restored = Event::ClusterRestored { cluster: Box::new(cluster), visible };
            if feed.push_blocking(restored).is_ok() {
                let _ = is_seen.blocking_recv();
            }
        }
        Err(error) => tell_unused(file, &error),
    }
    drop(reads);
}

fn tell_unused(file: &Path, error: &SnapshotError) {
    match error {
        SnapshotError::System { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            log::info!("there is no snapshot in {}", file.display());
        }
        _ => log::warn!("the snapshot {} is not used: {error}", file.display()),
    }
}
