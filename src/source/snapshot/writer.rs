//! The thread that keeps the snapshot up to date. It writes at a pace of its own, and nobody waits for its disk.

use super::cluster::{ClusterHeader, ClusterOrigin, save_cluster};
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
    /// Save this from this mirror from now on; or nothing any more, and leave the file as it is.
    job: Option<Option<(Content, MirrorHandle)>>,
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
        self.begin(Content::Store(store), mirror);
    }

    /// Saves the objects of the cluster behind an API server from now on.
    pub fn start_saving_cluster(&self, origin: ClusterOrigin, mirror: MirrorHandle) {
        self.begin(Content::Cluster(origin), mirror);
    }

    fn begin(&self, content: Content, mirror: MirrorHandle) {
        // Without a thread, which ends by a panic alone, there is no snapshot; everything else goes on.
        self.requests.add(|pending| pending.job = Some(Some((content, mirror))));
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

/// What a file holds.
#[derive(Debug)]
enum Content {
    /// The services of this store.
    Store(StoreIdentity),
    /// The objects of this cluster.
    Cluster(ClusterOrigin),
}

/// What of it is on disk.
#[derive(PartialEq)]
enum Saved {
    /// The version of the tree, and what there is of the sources.
    Store(u64, BTreeMap<SourceId, SavedSource>),
    /// The number of changes of objects.
    Cluster(u64),
}

/// What is to be saved, and what of it is on disk.
struct SaveJob {
    content: Content,
    mirror: MirrorHandle,
    saved: Option<Saved>,
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
                self.job = job.map(|(content, mirror)| SaveJob {
                    content,
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
        let published = job.mirror.published();
        let Some((as_of, state)) = job.content.state(&status, &published.tree) else { return };
        // Versions of a cluster move all the time without a change; what they are at the end shortens the next start.
        let is_last_word = at_end && matches!(job.content, Content::Cluster(_));
        if job.saved.as_ref() == Some(&state) && !is_last_word {
            if at_end || job.dated.elapsed() >= DATE_PERIOD {
                job.dated = Instant::now();
                // On an error the file looks older than it is; the next save reports what is wrong with the disk.
                let _ = set_modified(&self.path, as_of);
            }
            return;
        }
        let save = || job.content.save(&self.path, (&status, &published.tree), as_of);
        let result = catch_unwind(AssertUnwindSafe(save)).unwrap_or(Err(SnapshotError::Fault));
        let seconds = result.as_ref().map_or(0, |saved| saved.octets / MAX_WRITE_RATE);
        job.next_save = Instant::now() + SAVE_PAUSE.max(Duration::from_secs(seconds));
        if result.is_ok() {
            (job.saved, job.dated) = (Some(state), Instant::now());
        }
        (self.report)(&result);
    }
}

impl Content {
    /// When the store was last known to hold what the tree has, and what tells that from other states; `None` if it was never
    /// read.
    fn state(&self, status: &Status, tree: &Tree) -> Option<(SystemTime, Saved)> {
        if let Self::Cluster(_) = self {
            let as_of = listed_as_of(status, &[SourceId::Kubernetes])?;
            return Some((as_of, Saved::Cluster(tree.cluster().changes())));
        }
        let as_of = listed_as_of(status, &SAVED)?;
        let mut sources = saved_sources(status, tree);
        // A revision alone is no change: it counts the writes of others as well.
        sources.values_mut().for_each(|saved| saved.revision = None);
        Some((as_of, Saved::Store(tree.version(), sources)))
    }

    fn save(&self, path: &Path, (status, tree): (&Status, &Tree), as_of: SystemTime) -> SaveResult {
        let (serial, zone_serials) = (tree.serial(), tree.zone_serials());
        match self {
            Self::Store(store) => {
                let sources = saved_sources(status, tree);
                let header = SnapshotHeader { store: store.clone(), serial, zone_serials, sources };
                save(path, &header, tree, as_of)
            }
            Self::Cluster(origin) => {
                let header = ClusterHeader::new(origin, serial, zone_serials, tree.cluster());
                save_cluster(path, &header, tree.cluster(), as_of)
            }
        }
    }
}

/// The sources of a snapshot: the APIs of etcd.
const SAVED: [SourceId; 2] = [SourceId::EtcdV2, SourceId::Etcd];

/// When those of some sources that were listed were last known to hold what the tree has; `None` if none was, or if a snapshot of
/// one may still be on its way in.
fn listed_as_of(status: &Status, of: &[SourceId]) -> Option<SystemTime> {
    let states = || of.iter().filter_map(|id| status.sources.get(id));
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
