//! Why a snapshot is not written or not used.

use super::format::MAX_SNAPSHOT_OCTETS;
use std::io;

/// Why a snapshot is not written, or not used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The system refuses an operation on the file.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The code that writes snapshots panicked; the panic was logged.
    #[error("a fault of this program")]
    Fault,
    /// The file is a directory, a pipe or the like.
    #[error("it is not a regular file")]
    NotRegular,
    /// The file is larger than a snapshot may be.
    #[error("it has {0} octets, more than the {MAX_SNAPSHOT_OCTETS} that one may have")]
    TooLarge(u64),
    /// The file is of another program, or shorter than any snapshot.
    #[error("it is not a snapshot")]
    NotSnapshot,
    /// The file is of a later version of this program.
    #[error("it has version {0} of the format, which is later than this program reads")]
    Newer(u32),
    /// The file was cut short or changed.
    #[error("its checksum is wrong: it is cut short or damaged")]
    Damaged,
    /// The checksum is right and the contents are not, so this program did not write the file.
    #[error("it cannot be read from octet {0} on")]
    Unreadable(usize),
    /// The snapshot is of another cluster.
    #[error("it is of the cluster at {found}, not of that at {asked}")]
    OtherServer {
        /// The URL of its server.
        found: String,
        /// The URL of the configured server.
        asked: String,
    },
    /// The snapshot is of another path prefix.
    #[error("it is of keys below {found}, not below {asked}")]
    OtherRoot {
        /// The prefix of its keys.
        found: String,
        /// The prefix of the configured keys.
        asked: String,
    },
}

impl SnapshotError {
    /// An error of the system, with what was tried.
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
