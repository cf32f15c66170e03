//! Why the agent cannot start, or ends.

use super::key_files::KeysError;
use crate::server::BindError;
use crate::source::etcd::EtcdError;
use crate::systemd::SocketError;
use std::io;
use std::path::PathBuf;

/// Why the agent could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A source cannot be set up.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// DNSSEC keys that are configured cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A setting cannot be used on this host.
    #[error(transparent)]
    Config(#[from] crate::config::SettingProblem),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// systemd's sockets cannot be used.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// The system refuses something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A task ended that never should.
    #[error("{0} ended by a fault")]
    Ended(&'static str),
}

impl AgentError {
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

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
