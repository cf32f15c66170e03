//! The running sources: their start, their replacement by a reload, and the snapshot of etcd.

use super::error::SourcesError;
use super::snapshot;
use super::source_reads::{wait_for_first_read, wait_until_replaceable};
use super::source_settings::SourceSettings;
use super::tasks::{ExpectedEnd, Tasks, spawn_thread};
use crate::config::{EtcdApi, Spec};
use crate::source::etcd::{BothApis, Etcd, EtcdV2, UseOfV2};
use crate::source::files::{Files, FilesControl};
use crate::source::kubernetes::{Kubernetes, KubernetesSettings};
use crate::source::snapshot::{ClusterOrigin, SnapshotWriter};
use crate::source::{Event, Feed, Mirror, MirrorHandle, Publisher, SourceId};
use futures_util::FutureExt;
use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Maximum time without a beat of the thread that reads files: a disk may stall, and what is in memory is still answered.
const MAX_FILES_PAUSE: Duration = Duration::from_secs(300);

/// Maximum time that files wait until the snapshot is loaded.
const MAX_WAIT_FOR_SNAPSHOT: Duration = Duration::from_millis(500);

/// Maximum time that the end of the agent waits for the last snapshot.
const LAST_SAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum time that a reload waits for new sources.
const RELOAD_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time that a reload waits until the directory is read: a file that is half-written has two seconds.
const RESCAN_TIMEOUT: Duration = Duration::from_secs(3);

/// How often it is looked whether the directory is read.
const RESCAN_POLL: Duration = Duration::from_millis(10);

/// The threads that write snapshots.
#[derive(Debug)]
pub(super) struct SnapshotWriters {
    /// That of the services of etcd.
    pub(super) store: SnapshotWriter,
    /// That of the objects of a Kubernetes cluster.
    pub(super) cluster: SnapshotWriter,
}

/// The running sources of one tree.
#[derive(Debug)]
pub(super) struct Sources {
    handle: MirrorHandle,
    settings: SourceSettings,
    files: Option<FilesControl>,
    /// The tasks that follow etcd and Kubernetes.
    followers: Vec<AbortHandle>,
    /// Whether etcd's v2 API was in use before these sources.
    had_v2: bool,
    /// Closed when the snapshot is served or cannot be; `None` if none is loaded.
    loading: Option<oneshot::Receiver<()>>,
    snapshot_writers: Option<SnapshotWriters>,
    expected_end: ExpectedEnd,
}

impl Sources {
    /// Starts the sources that the settings name. Until etcd is read, its snapshot is served.
    ///
    /// # Errors
    /// A directory, certificate or URL cannot be used, or the system has no thread to give.
    pub(super) fn start(
        spec: &Spec,
        snapshot: Option<&Path>,
        publisher: &Arc<Publisher>,
        tasks: &mut Tasks,
    ) -> Result<Self, SourcesError> {
        let settings = SourceSettings::new(spec)?;
        let mirror = settings.mirror(publisher);
        Self::start_with(settings, mirror, snapshot, None, tasks)
    }

    /// Starts the sources of settings that were checked.
    fn start_with(
        settings: SourceSettings,
        mirror: Mirror,
        snapshot: Option<&Path>,
        before: Option<MirrorHandle>,
        tasks: &mut Tasks,
    ) -> Result<Self, SourcesError> {
        let (feed, events) = Feed::channel();
        let mut sources = Self {
            handle: mirror.handle(),
            settings,
            files: None,
            followers: Vec::new(),
            had_v2: before.is_some(),
            loading: None,
            snapshot_writers: None,
            expected_end: ExpectedEnd::default(),
        };
        let (is_loaded, loaded) = watch::channel(false);
        let started = sources
            .start_mirror(mirror, events, feed(SourceId::Files).waker(), tasks)
            .and_then(|()| match before {
                Some(before) => carry_over_v2(before, feed(SourceId::EtcdV2), is_loaded),
                None => sources.start_loading(snapshot, feed.clone(), is_loaded),
            })
            .and_then(|loaded| sources.start_files(loaded, feed(SourceId::Files), tasks));
        if let Err(error) = started {
            // The threads that run already end with their feeds.
            sources.expected_end.announce();
            return Err(SourcesError::Thread(error));
        }
        sources.start_etcd(&feed, loaded.clone(), tasks);
        sources.start_kubernetes(feed(SourceId::Kubernetes), loaded, tasks);
        Ok(sources)
    }

    /// Starts the thread that applies the events of all sources to the tree.
    fn start_mirror(
        &self,
        mirror: Mirror,
        events: tokio::sync::mpsc::Receiver<(SourceId, Event)>,
        wake: impl Fn() + Send + Sync + 'static,
        tasks: &mut Tasks,
    ) -> io::Result<()> {
        let heartbeat = tasks.heartbeats().monitor_sleeper("the mirror", Duration::ZERO, wake);
        let thread = spawn_thread("mirror", move || mirror.run(events, heartbeat))?;
        tasks.watch_thread("the mirror", &self.expected_end, thread);
        Ok(())
    }

    /// Starts the thread that loads the snapshot, if there is a snapshot of these sources; returns what is closed when it is
    /// loaded.
    fn start_loading(
        &mut self,
        snapshot: Option<&Path>,
        feed: impl Fn(SourceId) -> Feed + Send + 'static,
        is_loaded: watch::Sender<bool>,
    ) -> io::Result<mpsc::Receiver<()>> {
        let (ends, loaded) = mpsc::channel();
        let origin = self.settings.origin();
        let kubernetes = self.settings.kubernetes.clone();
        let Some(file) = snapshot.filter(|_| origin.is_some() || kubernetes.is_some()) else {
            return Ok(loaded);
        };
        let file = file.to_owned();
        let (visible, loading) = oneshot::channel();
        // Nobody watches this thread: it ends when all is loaded, and a fault in it costs the snapshot alone.
        spawn_thread("loading", move || {
            if let Some(settings) = kubernetes {
                let file = snapshot::file_of_cluster(&file);
                snapshot::load_cluster(&file, &settings, &feed(SourceId::Kubernetes));
            }
            if let Some(origin) = origin {
                snapshot::load(&file, &origin, feed);
            }
            drop(visible);
            is_loaded.send_replace(true);
            drop(ends);
        })?;
        self.loading = Some(loading);
        Ok(loaded)
    }

    /// Starts the thread that follows the directory of records, if there is one.
    fn start_files(&mut self, loaded: mpsc::Receiver<()>, feed: Feed, tasks: &mut Tasks) -> io::Result<()> {
        let Some(settings) = &self.settings.records else { return Ok(()) };
        log::info!("records from {}", settings.directory.display());
        let files = Files::new(settings.clone(), self.settings.keyspace.clone(), feed);
        let control = files.control();
        self.files = Some(control.clone());
        let wake = move || control.wake();
        let heartbeat = tasks.heartbeats().monitor_sleeper("the follower of files", MAX_FILES_PAUSE, wake);
        let thread = spawn_thread("files", move || {
            // Files that are read before the snapshot give all zones a new serial.
            let _ = loaded.recv_timeout(MAX_WAIT_FOR_SNAPSHOT);
            files.run(heartbeat);
        })?;
        tasks.watch_thread("the follower of files", &self.expected_end, thread);
        Ok(())
    }

    /// Starts the tasks that mirror etcd, if etcd is a source. `loaded` becomes `true`, or is closed, when the snapshot is loaded.
    fn start_etcd(
        &mut self,
        feed: &impl Fn(SourceId) -> Feed,
        loaded: watch::Receiver<bool>,
        tasks: &mut Tasks,
    ) {
        let Some(etcd) = &self.settings.etcd else { return };
        let api = self.settings.etcd_api;
        log::info!("records from etcd at {}", etcd.endpoints.join(", "));
        let (v2, v3) = (feed(SourceId::EtcdV2), feed(SourceId::Etcd));
        let use_of_v2 = UseOfV2 {
            is_asked_for: api != EtcdApi::Auto,
            is_required: self.settings.etcd_required,
            was_in_use: self.had_v2,
        };
        let feeds = (v2.clone(), v3.clone());
        let both = BothApis::new(feeds, use_of_v2, loaded, self.handle.status());
        let keyspace = &self.settings.keyspace;
        let mut of_v2 = EtcdV2::new(etcd.clone(), keyspace.clone(), &self.settings.v2_also, v2);
        let mut of_v3 = Etcd::new(etcd.clone(), keyspace.clone(), v3);
        if api == EtcdApi::V2 {
            of_v2 = of_v2.alone();
        }
        if matches!(api, EtcdApi::Auto | EtcdApi::Both) {
            of_v2 = of_v2.beside(both.clone());
            of_v3 = of_v3.deciding(both);
        }
        if api.has_v3() {
            let run = of_v3.run().map(drop);
            self.followers.push(tasks.spawn_until("the mirror of etcd", &self.expected_end, run));
        }
        let run = async move {
            match api.has_v2() {
                true => of_v2.run().await,
                false => of_v2.only_tell().await,
            };
        };
        self.followers.push(tasks.spawn_until("the mirror of etcd's v2 API", &self.expected_end, run));
    }

    /// Starts the task that follows a Kubernetes cluster, if one is a source.
    fn start_kubernetes(&mut self, feed: Feed, loaded: watch::Receiver<bool>, tasks: &mut Tasks) {
        let Some(settings) = &self.settings.kubernetes else { return };
        log::info!("services from Kubernetes at {}", settings.access.name());
        let run = Kubernetes::new(settings.clone(), feed, self.handle.clone()).run(loaded).map(drop);
        let names = ("the mirror of Kubernetes", "kubernetes");
        self.followers.push(tasks.spawn_apart(names, &self.expected_end, run));
    }

    /// Starts new sources if the settings have changed, and returns them when they have read enough to replace these with
    /// [`take`](Self::take). If the settings are the same, the files are read again.
    ///
    /// # Errors
    /// The new sources cannot be set up, or not be read in time. These go on.
    pub(super) async fn reload(
        &mut self,
        spec: &Spec,
        publisher: &Arc<Publisher>,
        tasks: &mut Tasks,
    ) -> Result<Option<Self>, SourcesError> {
        let settings = SourceSettings::new(spec)?;
        if settings == self.settings {
            if let Some(files) = &self.files {
                wait_until_read(files, files.rescan()).await;
            }
            return Ok(None);
        }
        log::info!("the settings name other stores, which are read before they replace those in use");
        let mirror = settings.mirror(publisher);
        // What is read of v2 is given up by no reload but one that says so.
        let keeps_v2 = settings.etcd.is_some()
            && settings.etcd_api.has_v2()
            && settings.keyspace == self.settings.keyspace
            && self.handle.serves(SourceId::EtcdV2);
        let before_v2 = keeps_v2.then(|| self.handle.clone());
        let next = Self::start_with(settings, mirror, None, before_v2, tasks)?;
        let before = self.handle.status().borrow().clone();
        let read = wait_until_replaceable(next.handle.status(), &before, RELOAD_READ_TIMEOUT).await;
        if let Err(unread) = read {
            next.stop();
            return Err(SourcesError::Unread(unread));
        }
        Ok(Some(next))
    }

    /// Replaces these sources, which end, by others.
    pub(super) fn take(&mut self, mut next: Self, publisher: &Publisher) {
        publisher.promote(&next.handle);
        std::mem::swap(self, &mut next);
        if let Some(snapshot_writers) = next.snapshot_writers.take() {
            self.save_with(snapshot_writers);
        }
        next.stop();
    }

    /// Ends the sources. That their tasks and threads end is no fault then.
    pub(super) fn stop(&self) {
        self.expected_end.announce();
        self.files.iter().for_each(FilesControl::stop);
        self.followers.iter().for_each(AbortHandle::abort);
    }

    /// Has the services of etcd, and the objects of Kubernetes, saved to disk from now on.
    pub(super) fn save_with(&mut self, writers: SnapshotWriters) {
        match self.settings.origin() {
            Some(origin) => writers.store.start_saving(origin, self.handle.clone()),
            None => writers.store.stop_saving(),
        }
        match &self.settings.kubernetes {
            Some(KubernetesSettings { access, watched }) => {
                let server = access.url().unwrap_or_else(|| access.name());
                let origin = ClusterOrigin { server, watched: watched.text() };
                writers.cluster.start_saving_cluster(origin, self.handle.clone());
            }
            None => writers.cluster.stop_saving(),
        }
        self.snapshot_writers = Some(writers);
    }

    /// Has the last changes saved to disk, and waits for that with a limit.
    pub(super) async fn save_last(&mut self) {
        let Some(SnapshotWriters { store, cluster }) = self.snapshot_writers.take() else { return };
        let finished = async { tokio::join!(store.finish(), cluster.finish()) };
        if timeout(LAST_SAVE_TIMEOUT, finished).await.is_err() {
            log::warn!("the last snapshot was not written within {} s", LAST_SAVE_TIMEOUT.as_secs());
        }
    }

    /// Waits, with a limit, until each source was read or has failed, or its snapshot is served.
    pub(super) async fn first_read(&mut self) {
        wait_for_first_read(self.handle.status(), self.loading.take()).await;
    }
}

/// Hands what was served of etcd's v2 API to new sources, on a thread that may wait; returns what is closed when that is done.
fn carry_over_v2(
    before: MirrorHandle,
    feed: Feed,
    is_loaded: watch::Sender<bool>,
) -> io::Result<mpsc::Receiver<()>> {
    let (ends, loaded) = mpsc::channel();
    spawn_thread("loading", move || {
        // An error means that the new mirror has ended.
        let _ = before.carry_over(SourceId::EtcdV2, &feed);
        is_loaded.send_replace(true);
        drop(ends);
    })?;
    Ok(loaded)
}

/// Waits, with a limit, until the directory is read that was asked for with a number.
async fn wait_until_read(files: &FilesControl, number: u64) {
    let read = async {
        while !files.has_read(number) {
            sleep(RESCAN_POLL).await;
        }
    };
    // A directory that takes longer is read all the same, after the reload.
    let _ = timeout(RESCAN_TIMEOUT, read).await;
}
