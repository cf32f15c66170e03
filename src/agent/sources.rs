//! Which sources there are, and their start.

use super::AgentError;
use super::tasks::{Retired, Tasks};
use crate::config::Spec;
use crate::pulse::Pulse;
use crate::service::Keyspace;
use crate::source::etcd::{Etcd, EtcdError, Settings, TlsFiles};
use crate::source::files::{Files, Nudge};
use crate::source::{Feed, Front, Mirror, SourceId, SourceState, Stage, Status};
use crate::systemd;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How long a disk may stall: what is in memory is answered meanwhile, and a new start would stall on it too.
const DISK: Duration = Duration::from_secs(300);

/// How long a reload waits for new sources.
const RELOAD_READ: Duration = Duration::from_secs(10);

/// Where the package keeps records; used, if it is there, when no other directory is configured.
const DEFAULT_RECORDS: &str = "/etc/skydns/records";

/// A source that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// etcd's settings.
    #[error("etcd: {0}")]
    Etcd(#[from] EtcdError),
    /// The directory of records.
    #[error("-records (SKYDNS_RECORDS): cannot read {}: {source}", dir.display())]
    Records {
        /// The directory.
        dir: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Sources that a reload asks for and that cannot be read.
    #[error("the new sources cannot be read, those before stay: {0}")]
    Unread(String),
    /// No thread to be had.
    #[error("starting a thread: {0}")]
    Thread(#[source] io::Error),
}

/// The running sources, which feed one tree.
#[derive(Debug)]
pub struct Sources {
    front: Front,
    settings: Asked,
    files: Option<mpsc::Sender<Nudge>>,
    etcd: Option<AbortHandle>,
    retired: Retired,
}

/// What the sources were made from: when it changes, others have to take their place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asked {
    keyspace: Keyspace,
    records: Option<PathBuf>,
    etcd: Option<Settings>,
    etcd_required: bool,
    /// What the files for TLS hold: a renewed certificate is another setting.
    tls: Vec<Option<Vec<u8>>>,
}

impl Asked {
    fn new(spec: &Spec) -> Result<Self, SourcesError> {
        let default = || Some(PathBuf::from(DEFAULT_RECORDS)).filter(|dir| dir.is_dir());
        let records = spec.records.clone().or_else(default);
        // The default directory may come later; one that was named is a mistake.
        if let Some(dir) = &spec.records {
            std::fs::read_dir(dir).map_err(|source| SourcesError::Records { dir: dir.clone(), source })?;
        }
        // Looked for where nothing else is asked for, as SkyDNS did.
        let wanted = !spec.machines.is_empty() || spec.records.is_none();
        let etcd = wanted.then(|| settings(spec)).transpose()?;
        let etcd_required = !spec.machines.is_empty() || records.is_none();
        let tls = etcd.iter().flat_map(|etcd| [&etcd.tls.ca_cert, &etcd.tls.cert, &etcd.tls.key]);
        let tls = tls.map(|file| file.as_ref().and_then(|file| std::fs::read(file).ok())).collect();
        Ok(Self { keyspace: Keyspace::new(&spec.path_prefix), records, etcd, etcd_required, tls })
    }

    fn mirror(&self, stage: &Arc<Stage>) -> Mirror {
        let mut sources = Vec::new();
        if self.etcd.is_some() {
            sources.push((SourceId::Etcd, self.etcd_required));
        }
        if self.records.is_some() {
            sources.push((SourceId::Files, true));
        }
        Mirror::new(self.keyspace.clone(), &sources, stage)
    }
}

fn settings(spec: &Spec) -> Result<Settings, SourcesError> {
    let file = |file: &Option<PathBuf>| file.as_deref().map(systemd::credential);
    let tls = TlsFiles { ca_cert: file(&spec.ca_cert), cert: file(&spec.tls_pem), key: file(&spec.tls_key) };
    let password = || spec.password.clone().unwrap_or_default();
    let user = spec.username.clone().map(|name| (name, password()));
    let settings = Settings::new(&spec.machines, tls, user, spec.discover)?;
    settings.check_tls()?;
    Ok(settings)
}

impl Sources {
    /// Starts the sources that the settings ask for.
    ///
    /// # Errors
    /// One of them cannot be set up: a directory, certificate or URL that cannot be used.
    pub fn start(spec: &Spec, stage: &Arc<Stage>, tasks: &mut Tasks) -> Result<Self, AgentError> {
        let settings = Asked::new(spec)?;
        Self::start_asked(settings, stage, tasks)
    }

    fn start_asked(settings: Asked, stage: &Arc<Stage>, tasks: &mut Tasks) -> Result<Self, AgentError> {
        let (feed, events) = Feed::channel();
        let mirror = settings.mirror(stage);
        let (front, retired) = (mirror.front(), Retired::default());
        let beat = tasks.pulse().sleeper("the mirror", Duration::ZERO, feed(SourceId::Files).poke());
        let mut sources = Self { front, settings, files: None, etcd: None, retired: retired.clone() };
        // What was begun has to end if the rest cannot be.
        let failed = |error: io::Error| {
            retired.set();
            SourcesError::Thread(error)
        };
        tasks.watch_thread(
            "the mirror",
            &retired,
            spawn("mirror", move || mirror.run(events, beat)).map_err(failed)?,
        );
        let keyspace = sources.settings.keyspace.clone();
        if let Some(dir) = &sources.settings.records {
            log::info!("records from {}", dir.display());
            let files = Files::new(dir.clone(), keyspace.clone(), feed(SourceId::Files));
            let nudger = files.nudger();
            sources.files = Some(nudger.clone());
            let poke = move || nudger.send(Nudge::Poke).unwrap_or_default();
            let beat = tasks.pulse().sleeper("the follower of files", DISK, poke);
            let thread = spawn("files", move || files.run(beat)).map_err(failed)?;
            tasks.watch_thread("the follower of files", &retired, thread);
        }
        if let Some(settings) = &sources.settings.etcd {
            log::info!("records from etcd at {}", settings.endpoints.join(", "));
            let etcd = Etcd::new(settings.clone(), keyspace, feed(SourceId::Etcd));
            let run = async move {
                etcd.run().await;
            };
            sources.etcd = Some(tasks.spawn_retiring("the mirror of etcd", &retired, run));
        }
        Ok(sources)
    }

    /// Other sources, if the settings ask for others, as soon as they have read what these have; else these look at
    /// the files again. [`take`](Self::take) makes them count.
    ///
    /// # Errors
    /// They cannot be set up or read.
    pub async fn reload(
        &mut self,
        spec: &Spec,
        stage: &Arc<Stage>,
        tasks: &mut Tasks,
    ) -> Result<Option<Self>, AgentError> {
        let asked = Asked::new(spec)?;
        if asked == self.settings {
            self.files.iter().for_each(|files| files.send(Nudge::Look).unwrap_or_default());
            return Ok(None);
        }
        log::info!("other sources are asked for");
        let next = Self::start_asked(asked, stage, tasks)?;
        if let Err(unread) = next.read_through(&self.front, RELOAD_READ).await {
            next.retire();
            return Err(SourcesError::Unread(unread).into());
        }
        Ok(Some(next))
    }

    /// Puts other sources in the place of these.
    pub fn take(&mut self, mut next: Self, stage: &Stage) {
        stage.raise(&next.front);
        std::mem::swap(self, &mut next);
        next.retire();
    }

    /// Ends the sources, which nobody needs any more.
    fn retire(&self) {
        self.retired.set();
        self.files.iter().for_each(|files| files.send(Nudge::Stop).unwrap_or_default());
        self.etcd.iter().for_each(AbortHandle::abort);
    }

    /// Waits until every source was read or failed, but not for ever.
    pub async fn first_read(&self, most: Duration) {
        let mut status = self.front.status();
        let all_tried =
            |status: &Status| !status.sources.values().any(|state| *state == SourceState::Waiting);
        if timeout(most, status.wait_for(all_tried)).await.is_err() {
            log::warn!("not all sources answered within {} s, going on without", most.as_secs());
        }
    }

    /// Waits until every source was read that the tree needs, or that was read before.
    async fn read_through(&self, before: &Front, most: Duration) -> Result<(), String> {
        let mut status = self.front.status();
        let before = before.status().borrow().clone();
        let needed = |id: SourceId, status: &Status| {
            let required = |status: &Status| !status.optional.contains(&id);
            let old = before.sources.get(&id);
            // What could not be read before need not be now.
            old.is_some_and(SourceState::was_read)
                || (required(status) && !old.is_some_and(|_| required(&before)))
        };
        let unread = |status: &Status| {
            let unread =
                status.sources.iter().filter(|(id, state)| needed(**id, status) && !state.was_read());
            unread.map(|(id, state)| (*id, state.clone())).collect::<Vec<_>>()
        };
        if timeout(most, status.wait_for(|status| unread(status).is_empty()))
            .await
            .is_ok_and(|read| read.is_ok())
        {
            return Ok(());
        }
        let reasons = unread(&status.borrow().clone()).into_iter().map(|(id, state)| match state {
            SourceState::Lost { reason, .. } => format!("{}: {reason}", id.name()),
            _ => format!("{}: no answer within {} s", id.name(), most.as_secs()),
        });
        Err(reasons.collect::<Vec<_>>().join("; "))
    }

    /// Reads every source once; for `skydns check`.
    ///
    /// # Errors
    /// A source cannot be set up. The rest of the result are what cannot be read though it should, and
    /// what cannot be read and need not be.
    pub async fn check(spec: &Spec) -> Result<(Arc<Stage>, Vec<String>, Vec<String>), SourcesError> {
        let asked = Asked::new(spec)?;
        let stage = Stage::new();
        let (feed, events) = Feed::channel();
        let mirror = asked.mirror(&stage);
        let beat = Pulse::default().part("the mirror");
        let mirror = spawn("mirror", move || mirror.run(events, beat)).map_err(SourcesError::Thread)?;
        let (mut problems, mut notes) = (Vec::new(), Vec::new());
        if let Some(dir) = asked.records {
            let files = Files::new(dir, asked.keyspace.clone(), feed(SourceId::Files));
            let read = spawn("files", move || files.read_once()).map_err(SourcesError::Thread)?;
            let _ = tokio::task::spawn_blocking(move || read.join()).await;
        }
        if let Some(settings) = asked.etcd {
            let etcd = Etcd::new(settings, asked.keyspace, feed(SourceId::Etcd));
            match etcd.list_once().await {
                Err(error) if asked.etcd_required => problems.push(format!("etcd: {error}")),
                Err(error) => notes.push(format!("etcd: {error}; nothing asks for it")),
                Ok(()) => {}
            }
        }
        // The mirror ends when the last feed is dropped.
        drop(feed);
        let _ = tokio::task::spawn_blocking(move || mirror.join()).await;
        Ok((stage, problems, notes))
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}
