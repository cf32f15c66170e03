//! The errors of the agent: why it cannot start, why a source cannot, and why the agent ended.

use crate::server::BindError;
use crate::source::etcd::EtcdError;
use crate::systemd::SocketError;
use nix::libc;
use std::io;

/// Why the agent could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A source cannot be set up.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// Settings are refused, and `-strict` forbids to go on without them.
    #[error("not started, because -strict is set and this is refused: {}", .0.join("; "))]
    Strict(Vec<String>),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// systemd's sockets cannot be used.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// The operating system refuses an operation.
    #[error("{what}: {source}{}", limit_hint(source))]
    System {
        /// The operation.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A task or thread ended that must not end; its name.
    #[error("{0} ended by a fault")]
    Ended(&'static str),
}

impl AgentError {
    /// Makes the system's reason the error of an operation.
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// Why sources cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// A setting of etcd cannot be used.
    #[error("etcd: {0}")]
    Etcd(#[from] EtcdError),
    /// The new sources of a reload cannot be read.
    #[error("the new sources cannot be read, those in use stay: {0}")]
    Unread(String),
    /// A thread cannot be started.
    #[error("starting a thread: {0}{hint}", hint = limit_hint(.0))]
    Thread(#[source] io::Error),
}

/// Which limits to raise, if an error comes from a limit of the system.
pub fn limit_hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => " (no more threads: LimitNPROC= and TasksMax= of the unit, ulimit -u)",
        Some(libc::EMFILE) => " (no more open files: LimitNOFILE= of the unit, ulimit -n)",
        _ => "",
    }
}
