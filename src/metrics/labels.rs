//! The values of the labels of metrics.

/// Who answered: the label `system`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The tree.
    Auth,
    /// The response cache.
    Cache,
    /// An upstream.
    Recursive,
    /// The reverse keys of the store.
    Reverse,
    /// A server of a stub zone.
    Stub,
}

/// What was wrong with an answer: the label `cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCause {
    /// The name does not exist.
    Nxdomain,
    /// TC was set.
    Truncated,
    /// REFUSED.
    Refused,
    /// More than a message holds.
    Overflow,
    /// SERVFAIL.
    Servfail,
}

pub(super) const ANSWERERS: [(AnsweredBy, &str); 5] = [
    (AnsweredBy::Auth, "auth"),
    (AnsweredBy::Cache, "cache"),
    (AnsweredBy::Recursive, "recursive"),
    (AnsweredBy::Reverse, "reverse"),
    (AnsweredBy::Stub, "stub"),
];

pub(super) const ERROR_CAUSES: [(ErrorCause, &str); 5] = [
    (ErrorCause::Nxdomain, "nxdomain"),
    (ErrorCause::Truncated, "truncated"),
    (ErrorCause::Refused, "refused"),
    (ErrorCause::Overflow, "overflow"),
    (ErrorCause::Servfail, "servfail"),
];

/// What a socket of ours failed to do: the label `work`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketWork {
    /// Taking a connection.
    Accept,
    /// Receiving datagrams.
    Receive,
    /// Sending a reply.
    Send,
}

pub(super) const SOCKET_WORKS: [(SocketWork, &str); 3] =
    [(SocketWork::Accept, "accept"), (SocketWork::Receive, "receive"), (SocketWork::Send, "send")];
