//! The tasks and threads that serve clients: their sockets, their start, and an end that loses no query.

use super::error::AgentError;
use crate::config::{Config, Spec};
use crate::heartbeat::Heartbeats;
use crate::server::{self, BoundSockets, Connections, CostlyThreads, Handler, Listener, UdpWorkers};
use crate::systemd::{SocketError, Sockets};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Time from one check for ended UDP threads to the next.
const ENDED_POLL: Duration = Duration::from_secs(1);

/// Maximum time for queries under way after the agent was asked to stop.
///
/// Queries that arrive meanwhile wait in the sockets for the next process, so this is also how long a restart may
/// delay them.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Time for queries under way to be answered; then they get SERVFAIL, and the rest of [`FINISH_TIMEOUT`] is to send it. A client
/// that gets nothing would wait for its own timeout.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(750);

/// The sockets to serve: those that systemd passed, else sockets of our own; and why others cannot be served.
///
/// # Errors
/// No address can be bound, or systemd had to pass sockets and passed none.
pub(super) fn sockets(passed: Sockets, config: &Config) -> Result<(BoundSockets, Vec<String>), AgentError> {
    if passed.is_empty() {
        if config.systemd {
            return Err(SocketError::None.into());
        }
        let (bound, failed) = server::bind(&config.listen)?;
        return Ok((bound, failed.iter().map(ToString::to_string).collect()));
    }
    log::info!("{passed}");
    if config.listen != Spec::default().listen {
        let listen: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
        log::warn!("-addr (dns_addr) {} is not used, because systemd passes the sockets", listen.join(", "));
    }
    let refused = passed.refused.iter().map(ToString::to_string).collect();
    Ok((BoundSockets { udp: passed.udp, tcp: passed.tcp }, refused))
}

/// The tasks and threads that serve clients, which have to finish the queries that they took.
pub(super) struct Server {
    udp: UdpWorkers,
    tasks: JoinSet<()>,
    costly: CostlyThreads,
    handler: Arc<Handler>,
    /// Becomes true when no more queries are to be taken.
    stop: watch::Sender<bool>,
}

impl Server {
    /// Starts a task per TCP listener, and UDP threads and slow paths for `workers` per UDP socket.
    pub(super) fn start(
        bound: BoundSockets,
        workers: Option<usize>,
        handler: &Arc<Handler>,
        connections: &Arc<Connections>,
        heartbeats: &Heartbeats,
    ) -> Result<Self, AgentError> {
        let (stop, stopped) = watch::channel(false);
        let costly = handler
            .start_costly_threads(heartbeats)
            .map_err(AgentError::system("starting threads for costly work"))?;
        let mut tasks = JoinSet::new();
        for listener in bound.tcp {
            let name =
                listener.local_addr().map_or_else(|_| String::new(), |address| format!(" on {address}"));
            let listener = Listener::new(listener).map_err(AgentError::system("setting up TCP"))?;
            let (handler, connections) = (Arc::clone(handler), Arc::clone(connections));
            let serving = server::serve_tcp(listener, handler, connections, stopped.clone());
            tasks.spawn(heartbeats.monitor(format!("the TCP loop{name}")).beat_beside(serving));
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let workers = workers.unwrap_or_else(cores);
        let mut slow = Vec::new();
        for (number, (path, task)) in
            server::slow_paths(handler, workers * bound.udp.len()).into_iter().enumerate()
        {
            tasks.spawn(heartbeats.monitor(format!("slow path {number}")).beat_beside(task));
            slow.push(path);
        }
        let udp = server::spawn_udp(bound.udp, workers, handler, slow, heartbeats)
            .map_err(AgentError::system("setting up UDP"))?;
        Ok(Self { udp, tasks, costly, handler: Arc::clone(handler), stop })
    }

    /// Waits until a task or thread ends, which none should, and returns what it is.
    pub(super) async fn failed(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.tasks.join_next() => return "a server task",
                () = tokio::time::sleep(ENDED_POLL) => {}
            }
            if self.udp.any_ended() {
                return "a UDP worker";
            }
            if self.costly.any_ended() {
                return "a thread for costly work";
            }
        }
    }

    /// Takes no more queries, and waits, with a limit, for those under way. What upstreams do not answer in time gets SERVFAIL.
    pub(super) async fn finish(self) {
        let Self { udp, mut tasks, costly, handler, stop } = self;
        // Without receivers there is no TCP loop that has to stop.
        let _ = stop.send(true);
        // UDP threads first: the slow paths still answer what the threads passed to them, and queries that no thread takes
        // any more stay in the socket.
        let mut drained = pin!(async {
            let workers = tokio::task::spawn_blocking(|| udp.stop());
            let _ = workers.await;
            while tasks.join_next().await.is_some() {}
            // No query is left that could have work done.
            let _ = tokio::task::spawn_blocking(|| costly.stop()).await;
        });
        if timeout(ANSWER_TIMEOUT, &mut drained).await.is_ok() {
            return;
        }
        log::info!("queries that upstreams did not answer before the end get SERVFAIL");
        handler.give_up_pending();
        if timeout(FINISH_TIMEOUT - ANSWER_TIMEOUT, drained).await.is_err() {
            log::warn!("some queries got no reply before the end");
        }
    }
}
