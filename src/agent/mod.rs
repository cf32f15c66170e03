//! The agent: all rooms put together, and one supervisor for what runs for long.
//!
//! A task that ends without being asked to ends the process, so that systemd starts it anew.

mod check;
mod error;
mod host;
mod key_files;
mod reload;
mod serve;
mod settings_follower;
mod signals;
mod signer;
mod snapshot;
mod source_reads;
mod source_settings;
mod sources;
mod statistics;
mod status;
mod tasks;
mod upstreams;
mod watchdog;

pub use check::check_sources;
pub use error::{AgentError, SourcesError};
pub use host::host;
pub use key_files::{KeyProblem, Keys, KeysError};
pub use reload::SettingsReader;
pub use statistics::{MetricsSettings, Statistics};

use crate::config::Spec;
use crate::forward::Forwarder;
use crate::metrics::Metrics;
use crate::server::{BoundSockets, Connections, Handler, Probe};
use crate::source::Publisher;
use crate::source::snapshot::SnapshotWriter;
use crate::systemd::{self, Sockets};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reload::Reload;
use serve::Server;
use settings_follower::SettingsFollower;
use sources::Sources;
use status::{StatusLine, StatusNotes};
use std::sync::Arc;
use tasks::Tasks;
use tokio::sync::{mpsc, watch};
use watchdog::Prober;

/// Runs until a signal says stop.
///
/// # Errors
/// The agent cannot start, or a part of it ended by a fault.
pub async fn run(spec: Spec, statistics: Statistics, reread: SettingsReader) -> Result<(), AgentError> {
    host::allow_files();
    let (mut stop_signals, mut reload_signal) =
        signals::listen().map_err(AgentError::system("waiting for signals"))?;
    let passed = Sockets::take()?;
    let mut tasks = Tasks::default();
    let (stage, notes) = (Publisher::new(), StatusNotes::default());
    let counters = Arc::new(Metrics::default());
    let file = snapshot::file(&spec);
    let mut sources = Sources::start(&spec, file.as_deref(), &stage, &mut tasks)?;
    sources.first_read().await;
    if let Some(file) = file {
        let report = snapshot::report(file.clone(), notes.clone(), Arc::clone(&counters));
        sources.keep(SnapshotWriter::start(file, report).map_err(AgentError::system("keeping a snapshot"))?);
    }
    let mut follower = SettingsFollower::new(spec.clone(), host(), stage.status())?;
    let (config, signer) = (follower.config(), follower.signer());
    let workers = config.load().workers;
    let bound = serve::sockets(passed, &config.load())?;
    follower.listens_on(&bound);
    let forwarder = Forwarder::new(config.load().forward.clone());
    follower.refresh_upstreams(&forwarder);
    let handler = Arc::new(Handler::new(
        stage.published(),
        config,
        signer,
        Arc::clone(&forwarder),
        Arc::clone(&counters),
    ));
    let connections = Connections::new();
    let client_policy = Arc::clone(handler.client_policy());
    let prober = prober(&bound, &handler, notes.clone(), Arc::clone(&counters), Arc::clone(&connections));
    let (stop, stopped) = watch::channel(false);
    let mut server = Server::start(bound, workers, &handler, &connections, &stopped, tasks.heartbeats())?;
    statistics::start(statistics, &counters, &stage, &forwarder, &mut tasks);
    let (tending, refreshing) = (Arc::clone(&forwarder), Arc::clone(&forwarder));
    tasks.spawn("the refresher of replies", async move { refreshing.refresh().await });
    tasks.spawn("the prober of upstreams", async move { tending.tend().await });
    let (new_settings, taken_settings) = mpsc::channel(1);
    let line = StatusLine { status: stage.status(), forwarder: Arc::clone(&forwarder), notes: notes.clone() };
    tasks.spawn(
        "the follower of the configuration",
        follower.follow(forwarder, client_policy, taken_settings),
    );
    let mut reload = Reload { spec, reread, stage, sources, new_settings, notes, line: line.clone() };
    let mut phase = Phase::Starting(prober.clone().ready().boxed());
    let result = loop {
        tokio::select! {
            biased;
            () = stop_signals.received() => break Ok(()),
            name = tasks.failed() => break Err(AgentError::Ended(name)),
            name = server.failed() => break Err(AgentError::Ended(name)),
            () = phase.ready() => {
                systemd::ready(&line.text());
                log::info!("ready: {}", line.text());
                tasks.spawn("the status line", line.clone().notify_changes());
                let watchdog = prober.clone().watch(tasks.heartbeats().clone());
                phase = Phase::Ready(watchdog.map_err(AgentError::system("starting the watchdog"))?);
            }
            // Before it is ready a reload would tell systemd that it is.
            () = reload_signal.received(), if phase.is_ready() => {
                // A stop must not wait for sources that do not answer.
                tokio::select! {
                    biased;
                    () = stop_signals.received() => break Ok(()),
                    () = reload.run(&mut tasks) => {}
                }
            }
        }
    };
    systemd::stopping();
    drop(phase);
    // While queries are still answered.
    reload.sources.keep_last().await;
    // Nobody left to hear it is no error.
    let _ = stop.send(true);
    server.finish().await;
    result
}

/// How far the start is.
enum Phase {
    /// The sockets are being asked.
    Starting(BoxFuture<'static, ()>),
    /// They answered; the watchdog runs, if systemd wants one, until this is dropped.
    Ready(#[expect(dead_code, reason = "held for its end")] Option<std::sync::mpsc::Sender<()>>),
}

impl Phase {
    fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// Completes once, when the start is over.
    async fn ready(&mut self) {
        match self {
            Self::Starting(asking) => asking.await,
            Self::Ready(_) => std::future::pending().await,
        }
    }
}

/// A probe of all sockets that this host can reach.
fn prober(
    bound: &BoundSockets,
    handler: &Handler,
    notes: StatusNotes,
    counters: Arc<Metrics>,
    connections: Arc<Connections>,
) -> Prober {
    let probe = Probe::new(bound, handler.probe().clone());
    let unreachable: Vec<_> = probe.unreachable().iter().map(ToString::to_string).collect();
    if !unreachable.is_empty() {
        log::info!(
            "not probed as long as the host has no such address, or only one device may use it: {}",
            unreachable.join(", ")
        );
    }
    Prober { probe, notes, counters, connections }
}
