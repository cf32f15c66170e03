//! The rescue: answers on the agent's sockets while the agent keeps ending (`skydns rescue`, `skydns-rescue.service`).
//!
//! Whatever ends the agent must not end the rescue, so it does little, and that in another way. Questions for names outside
//! are passed on to upstreams as the octets that came, and their replies as well (`relay`). Names of our own are answered
//! from the directory of records, and from the snapshot if reading it was not what ended the agent (`own`). There is no
//! mirror of etcd, no cache, no signing: in a signed zone names get SERVFAIL. Stub zones and the protection against
//! rebinding are the agent's.
//!
//! Threads receive datagrams, one for each socket; everything that waits is a task of a small runtime. All waits have a limit,
//! and what is under way is bounded.

mod own;
mod query;
mod relay;
mod serve;
mod settings;

use crate::config::Spec;
use crate::guard;
use crate::server::PlainPolicy;
use crate::systemd::{self, SocketError, Sockets};
use own::OwnNames;
use relay::Relay;
use serve::Rescue;
use settings::{OwnDomains, Settings};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long the first answers wait until the names of our own are read.
const FIRST_READ_TIMEOUT: Duration = Duration::from_millis(200);

/// Threads of the runtime: the system's time is the agent's when it comes back.
const RUNTIME_THREADS: usize = 2;

/// Why the rescue could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    /// systemd's sockets cannot be used.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// The operating system refuses an operation.
    #[error("{what}: {source}")]
    System {
        /// The operation.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl RescueError {
    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// Answers until a signal asks it to stop.
///
/// # Errors
/// There are no sockets, or one of them cannot be served any more.
pub fn run(spec: &Spec) -> Result<(), RescueError> {
    // So that a list of processes tells it from the agent.
    let _ = std::fs::write("/proc/self/comm", "skydns-rescue");
    let sockets = Sockets::take()?;
    if sockets.is_empty() {
        return Err(SocketError::None.into());
    }
    log::error!("{}", reason());
    log::info!("{sockets}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("rescue")
        .enable_all()
        .build()
        .map_err(RescueError::system("starting the runtime"))?;
    let result = runtime.block_on(serve_all(spec, sockets));
    runtime.shutdown_background();
    result
}

async fn serve_all(spec: &Spec, sockets: Sockets) -> Result<(), RescueError> {
    let mut stop = signal(SignalKind::terminate()).map_err(RescueError::system("waiting for signals"))?;
    let udp = sockets.udp.iter().map(std::net::UdpSocket::local_addr);
    let listening: Vec<SocketAddr> = udp.filter_map(Result::ok).collect();
    let own = if guard::only_forwards() { None } else { OwnNames::start(spec) };
    if let Some(own) = &own {
        own.first_read(FIRST_READ_TIMEOUT).await;
    }
    let rescue = Arc::new(Rescue {
        policy: PlainPolicy::new(spec.allow.clone()),
        relay: Relay::default(),
        own,
        domains: OwnDomains::of(spec),
    });
    let settings = Settings::new(spec.clone(), listening, Arc::clone(&rescue));
    settings.refresh();
    let mut failed = serve::start(&rescue, sockets).map_err(RescueError::system("serving"))?;
    systemd::ready(&status(&rescue));
    settings.follow();
    tokio::select! {
        biased;
        _ = stop.recv() => Ok(()),
        error = failed.recv() => {
            let error = error.unwrap_or_else(|| io::Error::other("all threads ended"));
            Err(RescueError::system("receiving")(error))
        }
    }
}

/// The line of `systemctl status`.
fn status(rescue: &Rescue) -> String {
    let names = match &rescue.own {
        None => "own names are not answered".to_owned(),
        Some(own) => own.status(),
    };
    format!("{}; {names}; upstreams: {}", reason(), rescue.relay.upstreams_text())
}

fn reason() -> String {
    guard::reason().unwrap_or_else(|| "the agent does not run".to_owned())
}
