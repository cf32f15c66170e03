//! What an error of the client library means, in words for operators: the library's own are those of HTTP/2 and gRPC.

use crate::source::http::with_causes;
use std::error::Error;
use std::io;

/// What stands between the beginning and the end of a message of etcd itself.
const SAID_BY_ETCD: &str = "etcdserver: ";

/// What happened while something was done at an endpoint; `what` is a gerund.
pub(super) fn describe(endpoint: &str, what: &str, error: &etcd_client::Error) -> String {
    let (text, io) = match error {
        etcd_client::Error::GRpcStatus(status) => {
            if let Some((_, said)) = status.message().split_once(SAID_BY_ETCD) {
                return format!("etcd refuses {what}: {said}{}", hint(&SAID, said));
            }
            (
                with_causes(format!("{}: {}", status.code(), status.message()), status.source()),
                io_error(status.source()),
            )
        }
        etcd_client::Error::TransportError(error) => {
            (with_causes(error.to_string(), error.source()), io_error(error.source()))
        }
        other => (other.to_string(), None),
    };
    explain(endpoint, what, &text, io)
}

/// Why there is no connection for HTTP.
pub(super) fn of_connecting(endpoint: &str, error: &io::Error) -> String {
    if error.raw_os_error().is_some() {
        return format!("cannot connect: {}", of_system(error));
    }
    let text = with_causes(error.to_string(), error.get_ref().and_then(|inner| inner.source()));
    explain(endpoint, "connecting", &text, None)
}

/// What happened to a request over HTTP; `what` is a gerund.
pub(super) fn of_http(endpoint: &str, what: &str, error: &hyper::Error) -> String {
    // A server that refuses a client's certificate ends the connection behind the handshake.
    if error.is_incomplete_message() || error.is_canceled() {
        return explain(endpoint, what, "connection closed", None);
    }
    if error.is_parse() {
        return "the server there does not speak HTTP/1.1 as etcd does (http:// instead of https://?)"
            .to_owned();
    }
    explain(endpoint, what, &with_causes(error.to_string(), error.source()), io_error(error.source()))
}

/// What a text of a library means, with the error of the system that it is about.
fn explain(endpoint: &str, what: &str, text: &str, io: Option<&io::Error>) -> String {
    let is_tls = endpoint.starts_with("https://");
    if let Some(text) = cannot_connect(text, io) {
        return format!("cannot connect: {text}");
    }
    if let Some((_, meaning)) = NOT_ETCD.iter().find(|(part, _)| text.contains(part)) {
        return (*meaning).to_owned();
    }
    if LOST.iter().any(|part| text.contains(part)) {
        let hint = match (is_tls, what) {
            (_, what) if LATER.contains(&what) => "",
            (true, _) => {
                " (etcd does so if it wants a client certificate that it trusts: -tls-pem (ETCD_TLSPEM))"
            }
            (false, _) => " (etcd does so if it wants TLS: https://)",
        };
        return format!("{LOST_WHILE} {what}{hint}");
    }
    let hint = if is_tls { hint(&OF_TLS, text) } else { String::new() };
    format!("{what}: {text}{hint}")
}

/// What is done over connections that have worked: that one is lost says nothing of the settings.
const LATER: [&str; 4] = ["watching", "renewing a lease", "marking the move", "writing keys"];

/// Parts of texts, and what they are a sign of.
type Signs = [(&'static str, &'static str)];

/// How the text of a lost connection begins.
pub(super) const LOST_WHILE: &str = "the connection was lost while";

/// Parts of texts of connections that ended.
const LOST: [&str; 5] =
    ["connection reset", "broken pipe", "connection closed", "Connection reset", "error reading a body"];

/// Parts of texts about servers that are no etcd, or speak another protocol.
const NOT_ETCD: [(&str, &str); 3] = [
    ("grpc-status header missing", NO_V3),
    ("frame with invalid size", NO_V3),
    ("InvalidContentType", "the server there does not speak TLS: http:// instead of https://"),
];

/// What a server without the v3 API is.
pub(super) const NO_V3: &str = "the server there is not etcd, or has no v3 API";

/// Parts of messages of etcd.
const SAID: [(&str, &str); 4] = [
    ("user name is empty", "it wants a user: -username (ETCD_USERNAME)"),
    ("authentication failed", "-username (ETCD_USERNAME), -password (ETCD_PASSWORD)"),
    (
        "permission denied",
        "the user of -username (ETCD_USERNAME) needs a role that may read all keys below -path-prefix",
    ),
    ("no leader", "fewer than half of its members work together"),
];

/// Parts of errors of TLS that do not say which certificate they are about.
const OF_TLS: [(&str, &str); 5] = [
    // Our own certificate was checked before.
    (
        "UnsupportedCertVersion",
        "the certificate of etcd, or of an authority between, has not X.509 version 3",
    ),
    ("UnknownIssuer", "-ca-cert (ETCD_CACERT) has to name the authority that signed the certificate of etcd"),
    ("invalid peer certificate", "this is about the certificate of etcd"),
    ("KeyMismatch", "-tls-key (ETCD_TLSKEY) is not the key of -tls-pem (ETCD_TLSPEM)"),
    ("received fatal alert", "etcd says so of the certificate of -tls-pem (ETCD_TLSPEM)"),
];

/// The first sign in a text, in parentheses.
fn hint(signs: &Signs, text: &str) -> String {
    signs
        .iter()
        .find(|(part, _)| text.contains(part))
        .map_or_else(String::new, |(_, hint)| format!(" ({hint})"))
}

/// Why there is no connection, if that is the error.
fn cannot_connect(text: &str, io: Option<&io::Error>) -> Option<String> {
    if let Some((_, reason)) = text.split_once("failed to lookup address information: ") {
        return Some(format!("its name cannot be resolved: {reason}"));
    }
    let is_about_connecting =
        ["tcp connect error", "dns error", "tcp open error"].iter().any(|part| text.contains(part));
    match io {
        Some(error) if is_about_connecting || error.kind() == io::ErrorKind::ConnectionRefused => {
            Some(of_system(error))
        }
        None if is_about_connecting => Some(text.to_owned()),
        _ => None,
    }
}

/// Why the system made no connection.
fn of_system(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there (connection refused)".to_owned(),
        _ => error.to_string(),
    }
}

/// The error of the system at the end of a chain of causes.
fn io_error<'e>(mut cause: Option<&'e (dyn Error + 'static)>) -> Option<&'e io::Error> {
    let mut last = None;
    while let Some(error) = cause {
        // An error of the library may be wrapped into one of the system.
        last = error.downcast_ref::<io::Error>().filter(|error| error.raw_os_error().is_some()).or(last);
        cause = error.source();
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error as the library makes it of one of the system.
    #[derive(Debug, thiserror::Error)]
    #[error("tcp connect error")]
    struct Connecting(#[source] io::Error);

    #[test]
    fn errors_of_tls_say_whose_certificate_they_are_about() {
        let with_hint = |text: &str| hint(&OF_TLS, text);
        let of_etcd = with_hint("invalid peer certificate: Other(OtherError(UnsupportedCertVersion))");
        assert_eq!(
            of_etcd,
            " (the certificate of etcd, or of an authority between, has not X.509 version 3)"
        );
        assert!(
            with_hint("keys may not be consistent: KeyMismatch").contains("(-tls-key (ETCD_TLSKEY) is not")
        );
        assert!(with_hint("invalid peer certificate: UnknownIssuer").contains("-ca-cert (ETCD_CACERT)"));
        assert_eq!(with_hint("something else"), "");
    }

    #[test]
    fn errors_of_connecting_are_told_in_words() {
        let refused = io::Error::from_raw_os_error(nix::libc::ECONNREFUSED);
        let error = Connecting(refused);
        let text = with_causes("unavailable".to_owned(), Some(&error));
        let told = cannot_connect(&text, io_error(Some(&error)));
        assert_eq!(told.as_deref(), Some("nothing listens there (connection refused)"));
        let error = Connecting(io::Error::from_raw_os_error(nix::libc::EHOSTUNREACH));
        let text = with_causes("unavailable".to_owned(), Some(&error));
        assert_eq!(
            cannot_connect(&text, io_error(Some(&error))).as_deref(),
            Some("No route to host (os error 113)")
        );
        let dns = "dns error: failed to lookup address information: Name or service not known";
        assert_eq!(
            cannot_connect(dns, None).as_deref(),
            Some("its name cannot be resolved: Name or service not known")
        );
        assert_eq!(cannot_connect("h2 protocol error", None), None);
    }
}
