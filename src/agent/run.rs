//! The run of the agent: its start in steps, the supervision of its parts, and its end.

use super::derive;
use super::error::AgentError;
use super::host::{self, host};
use super::last_good::{LastGood, keep_last_good};
use super::refused::{RefusedBy, RefusedSettings};
use super::reload::{Reload, SettingsReader, statistics_variables};
use super::reload_report::ReloadReporter;
use super::serve::{self, Server};
use super::settings_follower::{FollowerNotes, SettingsFollower};
use super::settled::SettledSettings;
use super::signals::{self, Signals};
use super::snapshot;
use super::sources::{SnapshotWriters, Sources};
use super::statistics;
use super::status::{StatusLine, StatusNotes};
use super::tasks::Tasks;
use super::watchdog::Prober;
use crate::config::Layers;
use crate::forward::Forwarder;
use crate::guard;
use crate::metrics::Metrics;
use crate::server::{ClientPolicy, Connections, Handler};
use crate::source::Publisher;
use crate::source::snapshot::SnapshotWriter;
use crate::systemd::{self, Sockets};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What the agent starts with.
pub struct StartSettings {
    /// Flags and variables as they were read.
    pub layers: Layers,
    /// The settings made of them.
    pub settled: SettledSettings,
    /// Why the log does not go to syslog, if it should.
    pub no_syslog: Option<String>,
    /// The settings that were in use last, and the file that they are kept in.
    pub last_good: (LastGood, Option<PathBuf>),
    /// Reads flags and variables again.
    pub reread: SettingsReader,
}

/// Runs the agent until a signal asks it to stop.
///
/// # Errors
/// The agent cannot start, or a part of it ended by a fault.
pub async fn run(settings: StartSettings) -> Result<(), AgentError> {
    host::raise_file_limit();
    let mut signals = signals::listen().map_err(AgentError::system("waiting for signals"))?;
    let passed = Sockets::take()?;
    let mut start = Start::new(settings)?;
    let sources = start.start_sources().await?;
    let serving = start.start_serving(passed)?;
    let mut agent = start.start_tasks(sources, serving);
    let result = agent.supervise(&mut signals).await;
    agent.finish().await;
    result
}

/// What the steps of the start share.
struct Start {
    layers: Layers,
    settled: SettledSettings,
    reread: SettingsReader,
    reporter: ReloadReporter,
    /// Why this start is reduced, if it is.
    reduced: Option<String>,
    publisher: Arc<Publisher>,
    notes: FollowerNotes,
    counters: Arc<Metrics>,
    tasks: Tasks,
}

/// The parts that answer queries, and those that depend on them.
struct Serving {
    follower: SettingsFollower,
    forwarder: Arc<Forwarder>,
    client_policy: Arc<ClientPolicy>,
    prober: Prober,
    server: Server,
}

impl Start {
    fn new(settings: StartSettings) -> Result<Self, AgentError> {
        let StartSettings { layers, settled, no_syslog, last_good: (last_good, file), reread } = settings;
        let (counters, status) = (Arc::<Metrics>::default(), StatusNotes::default());
        let refused = RefusedSettings::new(status.clone(), Arc::clone(&counters));
        refused.set(RefusedBy::Given, settled.refused.iter().map(ToString::to_string).collect());
        refused.set(RefusedBy::Log, no_syslog.into_iter().collect());
        let last_good = keep_last_good(last_good, file, status.clone());
        let last_good = Arc::new(last_good.map_err(AgentError::system("keeping settings"))?);
        let notes = FollowerNotes { status, refused, last_good, counters: Arc::clone(&counters) };
        let (publisher, tasks) = (Publisher::new(), Tasks::default());
        let reporter = ReloadReporter::new();
        let reduced = guard::reduced();
        notes.status.set_reduced(reduced.as_deref());
        reduced.iter().for_each(|why| log::error!("{why}"));
        Ok(Self { layers, settled, reread, reporter, reduced, publisher, notes, counters, tasks })
    }

    /// Starts the sources, waits until they are read or their limit is over, and starts to write a snapshot of etcd.
    async fn start_sources(&mut self) -> Result<Sources, AgentError> {
        let spec = &self.settled.spec;
        let file = snapshot::file(spec);
        // What is written anew from the store takes the place of a snapshot that ended the agent.
        let read = file.as_deref().filter(|_| self.reduced.is_none());
        // What the store has lost while this host was away is judged by it.
        let last = self.notes.last_good.present().store;
        let site = derive::expected_site(spec, &host(), &last);
        site.iter().for_each(|site| self.publisher.set_site(site));
        let mut sources = Sources::start(spec, read, &self.publisher, &mut self.tasks)?;
        sources.first_read().await;
        if let Some(file) = file {
            let start = |file: PathBuf| {
                let (notes, counters) = (self.notes.status.clone(), Arc::clone(&self.counters));
                let report = snapshot::report(file.clone(), notes, counters);
                SnapshotWriter::start(file, report).map_err(AgentError::system("keeping a snapshot"))
            };
            let cluster = start(snapshot::file_of_cluster(&file))?;
            sources.save_with(SnapshotWriters { store: start(file)?, cluster });
        }
        Ok(sources)
    }

    /// Makes the first configuration, and starts to answer queries with it.
    fn start_serving(&mut self, passed: Sockets) -> Result<Serving, AgentError> {
        let notes = self.notes.clone();
        let mut follower = SettingsFollower::new(&self.settled, host(), &self.publisher, notes);
        let config = follower.config();
        let workers = config.load().workers;
        let (bound, refused) = serve::sockets(passed, &config.load())?;
        self.notes.refused.set(RefusedBy::Sockets, refused);
        let refused = self.notes.refused.all();
        if self.settled.spec.strict && !refused.is_empty() {
            return Err(AgentError::Strict(refused));
        }
        follower.listens_on(&bound);
        let forwarder = Forwarder::new(config.load().forward.clone());
        follower.refresh_upstreams(&forwarder);
        let (published, counters) = (self.publisher.published(), &self.counters);
        let handler = Handler::new(published, config, Arc::clone(&forwarder), Arc::clone(counters));
        let handler = Arc::new(if self.reduced.is_some() { handler.without_fast_path() } else { handler });
        let client_policy = Arc::clone(handler.client_policy());
        let connections = Connections::new();
        let prober = Prober::new(
            &bound,
            &handler,
            self.notes.status.clone(),
            Arc::clone(counters),
            Arc::clone(&connections),
        );
        let server = Server::start(bound, workers, &handler, &connections, self.tasks.heartbeats())?;
        Ok(Serving { follower, forwarder, client_policy, prober, server })
    }

    /// Starts all other tasks.
    fn start_tasks(mut self, sources: Sources, serving: Serving) -> Agent {
        let Serving { follower, forwarder, client_policy, prober, server } = serving;
        let SettledSettings { spec, statistics, used, origins, .. } = self.settled;
        let read = statistics_variables(&self.layers);
        let (tasks, notes) = (&mut self.tasks, self.notes.status.clone());
        statistics::start(statistics, &self.counters, &self.publisher, &forwarder, (tasks, notes));
        let (probing, refreshing) = (Arc::clone(&forwarder), Arc::clone(&forwarder));
        self.tasks.spawn("the refresher of replies", async move { refreshing.refresh().await });
        self.tasks.spawn("the prober of upstreams", async move { probing.probe_upstreams().await });
        let (new_settings, taken_settings) = mpsc::channel(1);
        let FollowerNotes { status: notes, refused, last_good, .. } = self.notes;
        last_good.note(|last_good| last_good.note_given(&used, &origins));
        let (publisher, forwarding) = (Arc::clone(&self.publisher), Arc::clone(&forwarder));
        let (status, line_notes) = (publisher.status(), notes.clone());
        let line = StatusLine { status, publisher, forwarder: forwarding, notes: line_notes };
        let follow = follower.follow(forwarder, client_policy, taken_settings);
        self.tasks.spawn("the follower of the configuration", follow);
        let report = self.reporter.clone().follow(self.publisher.status());
        self.tasks.spawn("the report of names that are served on", report);
        let noticed = self.layers.variables.notices();
        let reload = Reload {
            noticed,
            spec,
            used,
            reread: self.reread,
            reporter: self.reporter,
            statistics: (read.clone(), read),
            publisher: self.publisher,
            sources,
            new_settings,
            notes,
            refused,
            last_good,
            line,
        };
        let phase = Phase::Starting(prober.clone().ready().boxed());
        Agent { tasks: self.tasks, server, prober, reload, phase }
    }
}

/// The agent, all parts of which run.
struct Agent {
    tasks: Tasks,
    server: Server,
    prober: Prober,
    reload: Reload,
    phase: Phase,
}

/// Whether the agent's own sockets have answered yet.
enum Phase {
    /// Not yet; completes when they have.
    Starting(BoxFuture<'static, ()>),
    /// They have. The watchdog, if systemd has one, runs until this is dropped.
    Ready(
        #[expect(dead_code, reason = "its drop ends the watchdog")] Option<std::sync::mpsc::SyncSender<()>>,
    ),
}

impl Agent {
    /// Supervises all parts, and reloads when asked to, until a signal asks to stop.
    ///
    /// # Errors
    /// A part ended by a fault.
    async fn supervise(&mut self, signals: &mut Signals) -> Result<(), AgentError> {
        let Signals { stop, reload, accept } = signals;
        loop {
            tokio::select! {
                biased;
                () = stop.received() => return Ok(()),
                name = self.tasks.failed() => return Err(AgentError::Ended(name)),
                name = self.server.failed() => return Err(AgentError::Ended(name)),
                () = self.phase.ready() => self.become_ready()?,
                () = accept.received() => self.reload.publisher.accept_losses(),
                // The end of a reload notifies systemd of readiness, so none may begin before the agent is ready.
                () = reload.received(), if self.phase.is_ready() => {
                    let publisher = Arc::clone(&self.reload.publisher);
                    let mut reload = pin!(self.reload.run(&mut self.tasks));
                    // Nothing else must wait for sources that do not answer.
                    loop {
                        tokio::select! {
                            biased;
                            () = stop.received() => return Ok(()),
                            () = accept.received() => publisher.accept_losses(),
                            () = &mut reload => break,
                        }
                    }
                }
            }
        }
    }

    /// Notifies systemd that queries are answered, and starts what reports to systemd from then on.
    fn become_ready(&mut self) -> Result<(), AgentError> {
        let line = &self.reload.line;
        systemd::ready(&line.text());
        log::info!("ready: {}", line.text());
        self.tasks.spawn("the status line", line.clone().notify_changes());
        let watchdog = self.prober.clone().watch(self.tasks.heartbeats().clone());
        self.phase = Phase::Ready(watchdog.map_err(AgentError::system("starting the watchdog"))?);
        Ok(())
    }

    /// Ends the agent: writes the last snapshot while queries are still answered, then lets queries finish. All other
    /// tasks end last.
    async fn finish(self) {
        let Self { phase, mut reload, server, .. } = self;
        systemd::stopping();
        drop(phase);
        reload.sources.save_last().await;
        server.finish().await;
    }
}

impl Phase {
    fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// Completes once, when the sockets have answered.
    async fn ready(&mut self) {
        match self {
            Self::Starting(answered) => answered.await,
            Self::Ready(_) => std::future::pending().await,
        }
    }
}
