//! Which sources there are, and their start.

use super::error::SourcesError;
use super::snapshot;
use super::source_settings::SourceSettings;
use super::tasks::{ExpectedEnd, Tasks, spawn_thread};
use crate::config::Spec;
use crate::source::etcd::Etcd;
use crate::source::files::{Files, FilesCommand};
use crate::source::snapshot::SnapshotWriter;
use crate::source::{Feed, MirrorHandle, Publisher, ServedFrom, SourceId, SourceState, Status};
use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How long a disk may stall: what is in memory is answered meanwhile, and a new start would stall on it too.
const DISK: Duration = Duration::from_secs(300);

/// How long the start waits for the sources, whose configuration may say where to listen.
///
/// What comes in meanwhile waits in the sockets.
const FIRST_READ: Duration = Duration::from_secs(1);

/// How long it waits for a snapshot; a disk that hangs must not hold it up for ever.
const LOADING: Duration = Duration::from_secs(4);

/// A snapshot younger than this is as good as the store: the start waits for nothing else.
const YOUNG: Duration = Duration::from_secs(60);

/// How long the start waits for the store when it has an older one.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long the end waits for the last snapshot.
const LAST_SAVE: Duration = Duration::from_secs(3);

/// How long a reload waits for new sources.
const RELOAD_READ: Duration = Duration::from_secs(10);

/// The running sources, which feed one tree.
#[derive(Debug)]
pub(super) struct Sources {
    front: MirrorHandle,
    settings: SourceSettings,
    files: Option<mpsc::Sender<FilesCommand>>,
    etcd: Option<AbortHandle>,
    /// Closed when the snapshot is served, or there is none.
    loading: Option<oneshot::Receiver<()>>,
    keeper: Option<SnapshotWriter>,
    expected_end: ExpectedEnd,
}

impl Sources {
    /// Starts the sources that the settings ask for. Until etcd is read, a snapshot of it counts.
    ///
    /// # Errors
    /// One of them cannot be set up: a directory, certificate or URL that cannot be used.
    pub(super) fn start(
        spec: &Spec,
        snapshot: Option<&Path>,
        stage: &Arc<Publisher>,
        tasks: &mut Tasks,
    ) -> Result<Self, SourcesError> {
        let settings = SourceSettings::new(spec)?;
        Self::start_with(settings, snapshot, stage, tasks)
    }

    fn start_with(
        settings: SourceSettings,
        snapshot: Option<&Path>,
        stage: &Arc<Publisher>,
        tasks: &mut Tasks,
    ) -> Result<Self, SourcesError> {
        let (feed, events) = Feed::channel();
        let mirror = settings.mirror(stage);
        let (front, expected_end) = (mirror.handle(), ExpectedEnd::default());
        let heartbeat =
            tasks.heartbeats().monitor_sleeper("the mirror", Duration::ZERO, feed(SourceId::Files).waker());
        let mut sources = Self {
            front,
            settings,
            files: None,
            etcd: None,
            loading: None,
            keeper: None,
            expected_end: expected_end.clone(),
        };
        // What was begun has to end if the rest cannot be.
        let failed = |error: io::Error| {
            expected_end.announce();
            SourcesError::Thread(error)
        };
        tasks.watch_thread(
            "the mirror",
            &expected_end,
            spawn_thread("mirror", move || mirror.run(events, heartbeat)).map_err(failed)?,
        );
        if let (Some(file), Some(origin)) = (snapshot, sources.settings.origin()) {
            let (file, feed) = (file.to_owned(), feed(SourceId::Etcd));
            let (visible, loading) = oneshot::channel();
            // Its end is no fault, and a fault in it costs the snapshot alone.
            spawn_thread("loading", move || snapshot::load(&file, &origin, &feed, visible))
                .map_err(failed)?;
            sources.loading = Some(loading);
        }
        let keyspace = sources.settings.keyspace.clone();
        if let Some(dir) = &sources.settings.records {
            log::info!("records from {}", dir.display());
            let files = Files::new(dir.clone(), keyspace.clone(), feed(SourceId::Files));
            let commands = files.commands();
            sources.files = Some(commands.clone());
            let wake = move || commands.send(FilesCommand::Wake).unwrap_or_default();
            let heartbeat = tasks.heartbeats().monitor_sleeper("the follower of files", DISK, wake);
            let thread = spawn_thread("files", move || files.run(heartbeat)).map_err(failed)?;
            tasks.watch_thread("the follower of files", &expected_end, thread);
        }
        if let Some(settings) = &sources.settings.etcd {
            log::info!("records from etcd at {}", settings.endpoints.join(", "));
            let etcd = Etcd::new(settings.clone(), keyspace, feed(SourceId::Etcd));
            let run = async move {
                etcd.run().await;
            };
            sources.etcd = Some(tasks.spawn_until("the mirror of etcd", &expected_end, run));
        }
        Ok(sources)
    }

    /// Other sources, if the settings ask for others, as soon as they have read what these have; else these look at
    /// the files again. [`take`](Self::take) makes them count.
    ///
    /// # Errors
    /// They cannot be set up or read.
    pub(super) async fn reload(
        &mut self,
        spec: &Spec,
        stage: &Arc<Publisher>,
        tasks: &mut Tasks,
    ) -> Result<Option<Self>, SourcesError> {
        let asked = SourceSettings::new(spec)?;
        if asked == self.settings {
            self.files.iter().for_each(|files| files.send(FilesCommand::Rescan).unwrap_or_default());
            return Ok(None);
        }
        log::info!("other sources are asked for");
        let next = Self::start_with(asked, None, stage, tasks)?;
        if let Err(unread) = next.read_through(&self.front, RELOAD_READ).await {
            next.stop();
            return Err(SourcesError::Unread(unread));
        }
        Ok(Some(next))
    }

    /// Puts other sources in the place of these.
    pub(super) fn take(&mut self, mut next: Self, stage: &Publisher) {
        stage.promote(&next.front);
        std::mem::swap(self, &mut next);
        if let Some(keeper) = next.keeper.take() {
            self.keep(keeper);
        }
        next.stop();
    }

    /// Ends the sources, which nobody needs any more.
    pub(super) fn stop(&self) {
        self.expected_end.announce();
        self.files.iter().for_each(|files| files.send(FilesCommand::Stop).unwrap_or_default());
        self.etcd.iter().for_each(AbortHandle::abort);
    }

    /// Has what etcd holds kept on disk from now on.
    pub(super) fn keep(&mut self, keeper: SnapshotWriter) {
        match self.settings.origin() {
            Some(origin) => keeper.start_saving(origin, self.front.clone()),
            None => keeper.stop_saving(),
        }
        self.keeper = Some(keeper);
    }

    /// Has the last changes kept on disk, but does not wait for ever.
    pub(super) async fn keep_last(&mut self) {
        let Some(keeper) = self.keeper.take() else { return };
        if timeout(LAST_SAVE, keeper.finish()).await.is_err() {
            log::warn!("the last snapshot was not written within {} s", LAST_SAVE.as_secs());
        }
    }

    /// Waits until every source was read or failed, or a snapshot takes its place; but not for ever.
    pub(super) async fn first_read(&mut self) {
        let mut status = self.front.status();
        if let Some(loading) = self.loading.take() {
            let all = |is_wanted: fn(ServedFrom) -> bool| {
                move |status: &Status| status.sources.values().all(|state| is_wanted(state.served_from()))
            };
            let listed = all(|served_from| matches!(served_from, ServedFrom::Listing { .. }));
            tokio::select! {
                // What is read at its source needs no snapshot.
                _ = status.wait_for(listed) => {}
                loaded = timeout(LOADING, loading) => if loaded.is_err() {
                    log::warn!("the snapshot was not read within {} s, going on without", LOADING.as_secs());
                }
            }
        }
        let all_tried =
            |status: &Status| !status.sources.values().any(|state| *state == SourceState::Waiting);
        if timeout(FIRST_READ, status.wait_for(all_tried)).await.is_err() {
            log::warn!("not all sources answered within {} s, going on without", FIRST_READ.as_secs());
        }
        let is_old = |state: &SourceState| match state {
            SourceState::Snapshot { as_of } => as_of.elapsed().is_ok_and(|age| age > YOUNG),
            _ => false,
        };
        // A store that is there tells more than an old snapshot, and soon.
        let _ = timeout(PATIENCE, status.wait_for(|status| !status.sources.values().any(is_old))).await;
    }

    /// Waits until every source was read that the tree needs, or that was read before.
    async fn read_through(&self, before: &MirrorHandle, most: Duration) -> Result<(), String> {
        let mut status = self.front.status();
        let before = before.status().borrow().clone();
        let needed = |id: SourceId, status: &Status| {
            let required = |status: &Status| !status.optional.contains(&id);
            let old = before.sources.get(&id);
            // What could not be read before need not be now.
            old.is_some_and(SourceState::is_served)
                || (required(status) && !old.is_some_and(|_| required(&before)))
        };
        let unread = |status: &Status| {
            let unread =
                status.sources.iter().filter(|(id, state)| needed(**id, status) && !state.is_served());
            unread.map(|(id, state)| (*id, state.clone())).collect::<Vec<_>>()
        };
        if timeout(most, status.wait_for(|status| unread(status).is_empty()))
            .await
            .is_ok_and(|read| read.is_ok())
        {
            return Ok(());
        }
        let reasons = unread(&status.borrow().clone()).into_iter().map(|(id, state)| match state {
            SourceState::Unreachable { reason, .. } => format!("{}: {reason}", id.name()),
            _ => format!("{}: no answer within {} s", id.name(), most.as_secs()),
        });
        Err(reasons.collect::<Vec<_>>().join("; "))
    }
}
