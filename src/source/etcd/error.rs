//! Errors between this program and etcd, with the endpoint and the cause.

use super::cause;
use crate::source::feed::Closed;
use std::path::PathBuf;
use std::time::Duration;

/// Why a session ended or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// A client certificate without its key, or a key without its certificate.
    #[error("the client certificate needs both -tls-pem (ETCD_TLSPEM) and -tls-key (ETCD_TLSKEY)")]
    HalfIdentity,
    /// A certificate or key that cannot be used.
    #[error("-{setting}: {}: {reason}", file.display())]
    TlsFile {
        /// The setting that names the file, without the dash of its flag.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No answer in time.
    #[error("{endpoint}: no answer within {} s, while {what}", limit.as_secs())]
    Timeout {
        /// The endpoint asked.
        endpoint: String,
        /// What was done, as a gerund.
        what: &'static str,
        /// How long an answer was waited for.
        limit: Duration,
    },
    /// The client or the server reports an error.
    #[error("{endpoint}: {cause}")]
    Failed {
        /// The endpoint asked.
        endpoint: String,
        /// What happened.
        cause: String,
    },
    /// The server ended the watch.
    #[error("{endpoint}: etcd ended the watch: {reason}")]
    Cancelled {
        /// The endpoint asked.
        endpoint: String,
        /// The server's reason, or the revision that the store was compacted to, which is later than the watch.
        reason: String,
    },
    /// TLS cannot be used at all.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server does not have the v3 API.
    #[error("{endpoint}: {}", cause::NO_V3)]
    NoV3 {
        /// The endpoint asked.
        endpoint: String,
    },
    /// The server is etcd, and has no v2 API.
    #[error("{endpoint}: etcd has no v2 API there (it needs --enable-v2; etcd 3.6 has it no more)")]
    NoV2 {
        /// The endpoint asked.
        endpoint: String,
    },
    /// The server belongs to another cluster than the one that is mirrored.
    #[error(
        "{endpoint}: belongs to cluster {cluster:x}, and {ours:x} is mirrored ({members}): it is not used"
    )]
    OtherCluster {
        /// The endpoint asked.
        endpoint: String,
        /// The id of its cluster.
        cluster: u64,
        /// The id of the cluster that is mirrored.
        ours: u64,
        /// The endpoints of that one.
        members: String,
    },
    /// A login is set, and the v2 API asks nobody for one.
    #[error(
        "{endpoint}: the v2 API lets everybody in although -username is set: its users are others than those of v3; \
         -etcd-api both reads it all the same"
    )]
    Open {
        /// The endpoint asked.
        endpoint: String,
    },
    /// The store has forgotten the changes that would come next, or has become another one: it has to be listed again.
    #[error("{endpoint}: {reason}")]
    Forgotten {
        /// The endpoint asked.
        endpoint: String,
        /// What has happened.
        reason: String,
    },
    /// No endpoint can be used; see `summary`.
    #[error("{0}")]
    NoneAnswers(String),
    /// The mirror has ended.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl EtcdError {
    /// Whether the connection was lost before an answer came.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Failed { cause, .. } if cause.starts_with(cause::LOST_WHILE))
    }

    /// An error of the client library, while something was done: `what`, as a gerund.
    pub(super) fn failed(endpoint: &str, what: &'static str, error: &etcd_client::Error) -> Self {
        let (endpoint, cause) = (endpoint.to_owned(), cause::describe(endpoint, what, error));
        if cause == cause::NO_V3 { Self::NoV3 { endpoint } } else { Self::Failed { endpoint, cause } }
    }
}

/// The errors of some endpoints, of each the last, in one line: endpoints with the same problem stand together.
pub(super) fn summary(errors: &[(String, EtcdError)]) -> String {
    let mut problems: Vec<(Vec<&str>, String)> = Vec::new();
    for (endpoint, error) in errors {
        let text = error.to_string();
        let problem = text.strip_prefix(&format!("{endpoint}: ")).unwrap_or(&text);
        match problems.iter_mut().find(|(_, same)| same == problem) {
            Some((endpoints, _)) => endpoints.push(endpoint),
            None => problems.push((vec![endpoint], problem.to_owned())),
        }
    }
    let lines = problems.iter().map(|(endpoints, problem)| format!("{}: {problem}", endpoints.join(", ")));
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_with_the_same_problem_stand_together() {
        let failed = |endpoint: &str, cause: &str| {
            let (endpoint, cause) = (endpoint.to_owned(), cause.to_owned());
            (endpoint.clone(), EtcdError::Failed { endpoint, cause })
        };
        let errors = [failed("http://a", "x"), failed("http://b", "y"), failed("http://c", "x")];
        assert_eq!(summary(&errors[..1]), "http://a: x");
        assert_eq!(summary(&errors), "http://a, http://c: x; http://b: y");
    }
}
