//! The thread that keeps the snapshot up to date, at its own pace: nobody waits for a disk.

use super::file::{SnapshotError, save};
use super::{SavedSnapshot, SnapshotHeader, StoreIdentity};
use crate::source::id::SourceId;
use crate::source::publisher::MirrorHandle;
use crate::source::state::{ServedFrom, SourceState, Status};
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// How often it looks for changes.
const LOOK: Duration = Duration::from_secs(1);

/// Least time from one save to the next.
const REST: Duration = Duration::from_secs(5);

/// What a site that changes all the time may cost its disks, in octets a second.
const PACE: u64 = 1 << 20;

/// How often a snapshot that still holds is dated anew, so that a start knows how old it is.
const DATE: Duration = Duration::from_secs(30);

/// What became of a save.
pub type SaveResult = Result<SavedSnapshot, SnapshotError>;

/// The keeper's other end. It ends when this is dropped.
#[derive(Debug)]
pub struct SnapshotWriter {
    orders: mpsc::Sender<WriterCommand>,
}

enum WriterCommand {
    /// From now on keep this.
    StartSaving(StoreIdentity, MirrorHandle),
    /// There is nothing to keep any more; the file stays as it is.
    StopSaving,
    /// Save what is not saved, say that it is done, and end.
    Finish(oneshot::Sender<()>),
}

impl SnapshotWriter {
    /// Starts it; it has nothing to keep yet. `report` hears of each save.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(path: PathBuf, report: impl Fn(&SaveResult) + Send + 'static) -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(move || Work { path, report, kept: None }.run(&received))?;
        Ok(Self { orders })
    }

    /// Keeps what these sources have from now on.
    pub fn start_saving(&self, store: StoreIdentity, handle: MirrorHandle) {
        // One that ended by a fault costs the snapshot, nothing else.
        let _ = self.orders.send(WriterCommand::StartSaving(store, handle));
    }

    /// Keeps nothing from now on, and leaves the file as it is.
    pub fn stop_saving(&self) {
        let _ = self.orders.send(WriterCommand::StopSaving);
    }

    /// Saves what is not saved yet, and ends; completes when that is done.
    pub async fn finish(self) {
        let (done, hear) = oneshot::channel();
        let _ = self.orders.send(WriterCommand::Finish(done));
        let _ = hear.await;
    }
}

struct Work<R> {
    path: PathBuf,
    report: R,
    kept: Option<Keeping>,
}

/// What is kept, and what of it is on disk.
struct Keeping {
    store: StoreIdentity,
    handle: MirrorHandle,
    /// The state that is on disk.
    saved: Option<(u64, Option<Vec<u8>>)>,
    /// Not before then anything is written.
    rest: Instant,
    /// When the file was dated.
    dated: Instant,
}

impl<R: Fn(&SaveResult)> Work<R> {
    fn run(mut self, orders: &mpsc::Receiver<WriterCommand>) {
        loop {
            match orders.recv_timeout(LOOK) {
                Ok(WriterCommand::StartSaving(store, handle)) => {
                    let now = Instant::now();
                    self.kept = Some(Keeping { store, handle, saved: None, rest: now, dated: now });
                }
                Ok(WriterCommand::StopSaving) => self.kept = None,
                Ok(WriterCommand::Finish(done)) => {
                    self.look(true);
                    // Nobody left to hear it is no error.
                    let _ = done.send(());
                    return;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => self.look(false),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Brings the file up to date, if it is time, or in any case `at_end`.
    fn look(&mut self, at_end: bool) {
        let Some(kept) = &mut self.kept else { return };
        if kept.rest > Instant::now() && !at_end {
            return;
        }
        // The status first: the tree is published before it.
        let status = kept.handle.status().borrow().clone();
        let Some((as_of, revision)) = as_of(&status) else { return };
        let published = kept.handle.published();
        let config = status.configs.get(&SourceId::Etcd).cloned();
        let state = Some((published.tree.version(), config.clone()));
        if kept.saved == state {
            if at_end || kept.dated.elapsed() >= DATE {
                kept.dated = Instant::now();
                // At worst it counts as older than it is; the next save tells of a disk's trouble.
                let _ = date(&self.path, as_of);
            }
            return;
        }
        let serial = published.tree.serial();
        let header = SnapshotHeader { store: kept.store.clone(), serial, revision, config };
        let save = || save(&self.path, &header, &published.tree, as_of);
        let result = catch_unwind(AssertUnwindSafe(save)).unwrap_or(Err(SnapshotError::Fault));
        let pace = result.as_ref().map_or(0, |saved| saved.octets / PACE);
        kept.rest = Instant::now() + REST.max(Duration::from_secs(pace));
        if result.is_ok() {
            (kept.saved, kept.dated) = (state, Instant::now());
        }
        (self.report)(&result);
    }
}

/// When etcd was last known to hold what the tree has, and its revision; `None` if it was not read.
fn as_of(status: &Status) -> Option<(SystemTime, Option<i64>)> {
    match status.sources.get(&SourceId::Etcd)? {
        SourceState::Synced { revision, .. } => Some((SystemTime::now(), *revision)),
        SourceState::Unreachable { served_from: ServedFrom::Listing { revision }, since, .. } => {
            Some((*since, *revision))
        }
        _ => None,
    }
}

fn date(path: &Path, as_of: SystemTime) -> io::Result<()> {
    File::options().write(true).open(path)?.set_modified(as_of)
}
