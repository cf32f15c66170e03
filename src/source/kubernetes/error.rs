//! Errors between this program and a Kubernetes API server.

use crate::shown::excerpt;
use crate::source::feed::Closed;
use crate::tree::ObjectKind;
use std::path::PathBuf;
use std::time::Duration;

/// Why a request failed, or the server cannot be asked at all. No text holds a token.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// A file that says how to reach the server, or who asks, cannot be used.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing says how to reach the server.
    #[error("{0}")]
    Setting(String),
    /// No answer in time.
    #[error("{server}: no answer within {} s, while {what}", limit.as_secs())]
    Timeout {
        /// The URL of the server.
        server: String,
        /// What was done, as a gerund.
        what: String,
        /// How long an answer was waited for.
        limit: Duration,
    },
    /// The server cannot be reached, or says what nobody understands.
    #[error("{server}: {cause}")]
    Failed {
        /// The URL of the server.
        server: String,
        /// What happened.
        cause: String,
    },
    /// The server refuses a request.
    #[error("{server}: {}", refused(*.kind, *.code, .message))]
    Refused {
        /// The URL of the server.
        server: String,
        /// What was asked for.
        kind: ObjectKind,
        /// The HTTP status, or that of an error in a stream.
        code: u16,
        /// The server's words.
        message: String,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The server has forgotten the changes since the last one that was seen.
    #[error("the server has forgotten what has changed since")]
    Expired,
    /// Nothing comes over a watch any more: it may have stalled, or the server sends no bookmarks.
    #[error("nothing has come over the watch for long")]
    Silent,
    /// A listing has far fewer objects than there were.
    #[error("{server}: a listing has {listed} of {known} {}, so it is asked for once more", kind.plural())]
    Shrunk {
        /// The URL of the server.
        server: String,
        /// What was listed.
        kind: ObjectKind,
        /// How many it has.
        listed: usize,
        /// How many there were.
        known: usize,
    },
    /// The program ends, or other sources take the place of this one.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl KubernetesError {
    /// Whether the server says that a right is missing.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { code: 403, .. })
    }

    /// Whether it is about one kind of objects; else others would fail for the same reason.
    pub(super) fn is_of_kind(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if !matches!(code, 401 | 429 | 502..))
    }

    /// Whether the server cannot do what was asked, and never will.
    pub(super) fn is_not_supported(&self) -> bool {
        matches!(self, Self::Refused { code: 400 | 404 | 405 | 422 | 500 | 501, .. })
    }
}

/// What a refusal means, in words for operators.
fn refused(kind: ObjectKind, code: u16, message: &str) -> String {
    let said = if message.is_empty() { String::new() } else { format!(": {}", excerpt(message)) };
    let kind = kind.plural();
    match code {
        401 => format!(
            "the server does not know who asks (401): the token or the client certificate of -kubeconfig is wrong, has ended, \
             or is missing{said}"
        ),
        403 => format!(
            "the right to list and watch {kind} is missing (403): give it by a ClusterRole and a binding of it{said}"
        ),
        404 => format!("the server has no {kind} (404){said}"),
        429 => format!("the server is busy (429){said}"),
        _ => format!("the server refuses to give {kind} ({code}){said}"),
    }
}
