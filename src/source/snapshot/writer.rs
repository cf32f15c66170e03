//! The thread that keeps the snapshot up to date. It writes at a pace of its own, and nobody waits for its disk.

use super::error::SnapshotError;
use super::format::{SavedSource, SnapshotHeader, StoreIdentity};
use super::restore::open;
use super::save::{SavedSnapshot, save};
use crate::lock::lock;
use crate::source::id::SourceId;
use crate::source::publisher::MirrorHandle;
use crate::source::state::{ServedFrom, SourceState, Status};
use crate::tree::Tree;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// How often the writer looks for changes.
const CHANGE_POLL: Duration = Duration::from_secs(1);

/// Minimum time from one save to the next.
const SAVE_PAUSE: Duration = Duration::from_secs(5);

/// Octets a second that are written, averaged over a save and the pause behind it, on a site that changes all the time.
const MAX_WRITE_RATE: u64 = 1 << 20;

/// How often the file of a store that does not change gets a new time of modification, which says how old it is.
const DATE_PERIOD: Duration = Duration::from_secs(30);

/// What came of a save.
pub type SaveResult = Result<SavedSnapshot, SnapshotError>;

/// The thread that writes snapshots. The thread ends when this is dropped.
#[derive(Debug)]
pub struct SnapshotWriter {
    requests: Arc<Requests>,
}

/// What the thread is asked to do. A later request to save replaces an earlier one that the thread did not take yet, so
/// nothing queues up while its disk stalls.
#[derive(Debug, Default)]
struct Requests {
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    /// Save the services of this store from this mirror from now on; or nothing any more, and leave the file as it is.
    job: Option<Option<(StoreIdentity, MirrorHandle)>>,
    /// Save what is not saved yet, answer, and end.
    finish: Option<oneshot::Sender<()>>,
    /// End.
    is_dropped: bool,
}

impl SnapshotWriter {
    /// Starts the thread, which saves nothing yet. It calls `report` with the result of each save.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(path: PathBuf, report: impl Fn(&SaveResult) + Send + 'static) -> io::Result<Self> {
        let requests = Arc::<Requests>::default();
        let thread = WriterThread { path, report, job: None, requests: Arc::clone(&requests) };
        thread::Builder::new().name("snapshot".to_owned()).spawn(move || thread.run())?;
        Ok(Self { requests })
    }

    /// Saves the services of a store from now on.
    pub fn start_saving(&self, store: StoreIdentity, mirror: MirrorHandle) {
        // Without a thread, which ends by a panic alone, there is no snapshot; everything else goes on.
        self.requests.add(|pending| pending.job = Some(Some((store, mirror))));
    }

    /// Saves nothing from now on, and leaves the file as it is.
    pub fn stop_saving(&self) {
        self.requests.add(|pending| pending.job = Some(None));
    }

    /// Saves what is not saved yet, and ends the thread; completes when that is done.
    pub async fn finish(self) {
        let (done, finished) = oneshot::channel();
        self.requests.add(|pending| pending.finish = Some(done));
        let _ = finished.await;
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        self.requests.add(|pending| pending.is_dropped = true);
    }
}

impl Requests {
    fn add(&self, request: impl FnOnce(&mut Pending)) {
        request(&mut lock(&self.pending));
        self.changed.notify_one();
    }

    /// Takes the requests; without any, waits for some time for one.
    fn take(&self, max_wait: Duration) -> Pending {
        let is_empty =
            |pending: &mut Pending| pending.job.is_none() && pending.finish.is_none() && !pending.is_dropped;
        let waited = self.changed.wait_timeout_while(lock(&self.pending), max_wait, is_empty);
        let (mut pending, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_dropped = pending.is_dropped;
        Pending { is_dropped, ..std::mem::take(&mut *pending) }
    }
}

/// What the thread owns.
struct WriterThread<R> {
    path: PathBuf,
    report: R,
    job: Option<SaveJob>,
    requests: Arc<Requests>,
}

/// What is to be saved, and what of it is on disk.
struct SaveJob {
    store: StoreIdentity,
    mirror: MirrorHandle,
    /// The version of the tree that is on disk, and what is there of the sources.
    saved: Option<(u64, BTreeMap<SourceId, SavedSource>)>,
    /// When the next save may begin.
    next_save: Instant,
    /// When the file last got its time of modification.
    dated: Instant,
}

impl<R: Fn(&SaveResult)> WriterThread<R> {
    fn run(mut self) {
        loop {
            let Pending { job, finish, is_dropped } = self.requests.take(CHANGE_POLL);
            if let Some(job) = job {
                let now = Instant::now();
                self.job = job.map(|(store, mirror)| SaveJob {
                    store,
                    mirror,
                    saved: None,
                    next_save: now,
                    dated: now,
                });
            }
            if let Some(done) = finish {
                self.update_file(true);
                // If nobody waits for the answer any more, nobody misses it.
                let _ = done.send(());
                return;
            }
            if is_dropped {
                return;
            }
            self.update_file(false);
        }
    }

    /// Brings the file up to date: if the pause behind the last save is over, or in any case `at_end`.
    fn update_file(&mut self, at_end: bool) {
        let Some(job) = &mut self.job else { return };
        if job.next_save > Instant::now() && !at_end {
            return;
        }
        // The status is read first: the mirror publishes the tree before it, so the tree is not older than the status.
        let status = job.mirror.status().borrow().clone();
        let Some(as_of) = listed_as_of(&status) else { return };
        let published = job.mirror.published();
        let sources = saved_sources(&status, &published.tree);
        // A revision alone is no change: it counts the writes of others as well.
        let without_revisions = |sources: &BTreeMap<_, _>| -> BTreeMap<SourceId, SavedSource> {
            let without = |saved: &SavedSource| SavedSource { revision: None, ..saved.clone() };
            sources.iter().map(|(id, saved)| (*id, without(saved))).collect()
        };
        let state = Some((published.tree.version(), without_revisions(&sources)));
        if job.saved == state {
            if at_end || job.dated.elapsed() >= DATE_PERIOD {
                job.dated = Instant::now();
                // On an error the file looks older than it is; the next save reports what is wrong with the disk.
                let _ = set_modified(&self.path, as_of);
            }
            return;
        }
        let (serial, zone_serials) = (published.tree.serial(), published.tree.zone_serials());
        let header = SnapshotHeader { store: job.store.clone(), serial, zone_serials, sources };
        let save = || save(&self.path, &header, &published.tree, as_of);
        let result = catch_unwind(AssertUnwindSafe(save)).unwrap_or(Err(SnapshotError::Fault));
        let seconds = result.as_ref().map_or(0, |saved| saved.octets / MAX_WRITE_RATE);
        job.next_save = Instant::now() + SAVE_PAUSE.max(Duration::from_secs(seconds));
        if result.is_ok() {
            (job.saved, job.dated) = (state, Instant::now());
        }
        (self.report)(&result);
    }
}

/// The sources of a snapshot: the APIs of etcd.
const SAVED: [SourceId; 2] = [SourceId::EtcdV2, SourceId::Etcd];

/// When the APIs of etcd that were listed were last known to hold what the tree has; `None` if none was, or if a snapshot of one
/// may still be on its way in.
fn listed_as_of(status: &Status) -> Option<SystemTime> {
    let states = || SAVED.iter().filter_map(|id| status.sources.get(id));
    if states().any(|state| *state == SourceState::Waiting) {
        return None;
    }
    let listed = |state: &SourceState| match state {
        SourceState::Synced { .. } => Some(SystemTime::now()),
        SourceState::Unreachable { served_from: ServedFrom::Listing { .. }, since, .. } => Some(*since),
        _ => None,
    };
    states().filter_map(listed).max()
}

/// What is to be saved of each source. An API of which nothing is served is left out, and so is a v2 API that holds nothing
/// any more: it need not be read after the next start.
fn saved_sources(status: &Status, tree: &Tree) -> BTreeMap<SourceId, SavedSource> {
    let saved = |id: SourceId| {
        let store = status.stores.get(&id).copied().unwrap_or_default();
        let (as_of, revision) = match status.sources.get(&id)? {
            SourceState::Synced { revision, .. } => (None, *revision),
            SourceState::Unreachable { served_from: ServedFrom::Listing { revision }, since, .. } => {
                (Some(*since), *revision)
            }
            SourceState::Snapshot { as_of }
            | SourceState::Unreachable { served_from: ServedFrom::Snapshot(as_of), .. } => {
                (Some(*as_of), store.restored_revision)
            }
            _ => return None,
        };
        let config = status.configs.get(&id).cloned();
        Some((id, SavedSource { revision, cluster: store.cluster, config, as_of }))
    };
    let mut sources: BTreeMap<_, _> = SAVED.into_iter().filter_map(saved).collect();
    let holds_nothing = |id: SourceId| !tree.has_entries(id.layer()) && !status.configs.contains_key(&id);
    if sources.contains_key(&SourceId::Etcd)
        && holds_nothing(SourceId::EtcdV2)
        && !holds_nothing(SourceId::Etcd)
    {
        sources.remove(&SourceId::EtcdV2);
    }
    sources
}

fn set_modified(path: &Path, as_of: SystemTime) -> io::Result<()> {
    open(path, File::options().write(true))?.set_modified(as_of)
}
