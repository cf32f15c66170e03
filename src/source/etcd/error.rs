//! Errors between this program and etcd, with the endpoint and the cause.

use crate::source::feed::Closed;
use std::error::Error as _;
use std::path::PathBuf;

/// Why a session ended or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// No endpoints are configured.
    #[error("no endpoint is configured")]
    NoEndpoint,
    /// An endpoint that is no URL.
    #[error("\"{0}\" is not the URL of an etcd endpoint, such as http://127.0.0.1:2379")]
    BadEndpoint(String),
    /// A client certificate without its key, or a key without its certificate.
    #[error("the client certificate needs both -tls-pem (ETCD_TLSPEM) and -tls-key (ETCD_TLSKEY)")]
    HalfIdentity,
    /// A certificate or key that cannot be used.
    #[error("{setting}: {}: {reason}", file.display())]
    TlsFile {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No answer in time.
    #[error("{endpoint}: no answer to {what} in time")]
    Timeout {
        /// The endpoint asked.
        endpoint: String,
        /// What was asked.
        what: &'static str,
    },
    /// The client or the server reports an error.
    #[error("{endpoint}: {what}: {cause}")]
    Failed {
        /// The endpoint asked.
        endpoint: String,
        /// What was asked.
        what: &'static str,
        /// The chain of causes in one line.
        cause: String,
    },
    /// The server ended the watch.
    #[error("{endpoint}: the watch was cancelled: {reason}")]
    Cancelled {
        /// The endpoint asked.
        endpoint: String,
        /// The server's reason, or the revision that the store was compacted to, which is later than the watch.
        reason: String,
    },
    /// The mirror has ended.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl EtcdError {
    /// An error of the client library with the causes that its own text leaves out.
    pub(super) fn failed(endpoint: &str, what: &'static str, error: &etcd_client::Error) -> Self {
        let cause = match error {
            etcd_client::Error::GRpcStatus(status) => {
                let mut cause = format!("{}: {}", status.code(), status.message());
                append_causes(&mut cause, status.source());
                cause
            }
            etcd_client::Error::TransportError(error) => {
                let mut cause = error.to_string();
                append_causes(&mut cause, error.source());
                cause
            }
            other => other.to_string(),
        };
        Self::Failed { endpoint: endpoint.to_owned(), what, cause }
    }
}

/// Appends the causes of an error that its text does not have yet.
fn append_causes(text: &mut String, mut cause: Option<&(dyn std::error::Error + 'static)>) {
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
}
