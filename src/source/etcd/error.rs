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
        let mut cause = match error {
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
        if endpoint.starts_with("https://") {
            append_whose(&mut cause);
        }
        Self::Failed { endpoint: endpoint.to_owned(), what, cause }
    }
}

/// Appends which certificate an error of TLS is about, where its text does not say so.
fn append_whose(cause: &mut String) {
    const HINTS: [(&str, &str); 4] = [
        // Our own certificate was checked before.
        (
            "UnsupportedCertVersion",
            "the certificate of etcd, or of an authority between, has not X.509 version 3",
        ),
        ("KeyMismatch", "-tls-key (ETCD_TLSKEY) is not the key of -tls-pem (ETCD_TLSPEM)"),
        ("received fatal alert", "etcd says so of the certificate of -tls-pem (ETCD_TLSPEM)"),
        (
            "connection closed",
            "etcd does so if it wants a client certificate that it trusts: -tls-pem (ETCD_TLSPEM)",
        ),
    ];
    if let Some((_, hint)) = HINTS.iter().find(|(text, _)| cause.contains(text)) {
        *cause = format!("{cause} ({hint})");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_tls_say_whose_certificate_they_are_about() {
        let with_hint = |cause: &str| {
            let mut cause = cause.to_owned();
            append_whose(&mut cause);
            cause
        };
        let of_etcd = with_hint("invalid peer certificate: Other(OtherError(UnsupportedCertVersion))");
        assert!(
            of_etcd
                .ends_with("(the certificate of etcd, or of an authority between, has not X.509 version 3)")
        );
        assert!(
            with_hint("keys may not be consistent: KeyMismatch").contains("(-tls-key (ETCD_TLSKEY) is not")
        );
        assert!(with_hint("transport error: connection closed").contains("-tls-pem"));
        assert_eq!(with_hint("invalid peer certificate: UnknownIssuer").matches('(').count(), 0);
    }
}
