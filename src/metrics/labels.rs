//! The labels of metrics and their values.

/// Where an answer came from: the label `system`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The record tree.
    Auth,
    /// The response cache.
    Cache,
    /// An upstream.
    Recursive,
    /// The reverse keys of the store.
    Reverse,
    /// An upstream of a stub zone.
    Stub,
}

/// What was wrong with an answer: the label `cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCause {
    /// The rcode is NXDOMAIN.
    Nxdomain,
    /// The flag TC was set.
    Truncated,
    /// The rcode is REFUSED.
    Refused,
    /// SERVFAIL, because the answer does not fit into a message.
    Overflow,
    /// SERVFAIL, for any other reason.
    Servfail,
}

/// The values of the label `system`, in the order of the variants.
pub(super) const ANSWERERS: [(AnsweredBy, &str); 5] = [
    (AnsweredBy::Auth, "auth"),
    (AnsweredBy::Cache, "cache"),
    (AnsweredBy::Recursive, "recursive"),
    (AnsweredBy::Reverse, "reverse"),
    (AnsweredBy::Stub, "stub"),
];

/// The values of the label `cause`, in the order of the variants.
pub(super) const ERROR_CAUSES: [(ErrorCause, &str); 5] = [
    (ErrorCause::Nxdomain, "nxdomain"),
    (ErrorCause::Truncated, "truncated"),
    (ErrorCause::Refused, "refused"),
    (ErrorCause::Overflow, "overflow"),
    (ErrorCause::Servfail, "servfail"),
];

/// What one of this program's sockets failed to do: the label `work`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketWork {
    /// Accepting a connection.
    Accept,
    /// Receiving datagrams.
    Receive,
    /// Sending a reply.
    Send,
}

/// The values of the label `work`, in the order of the variants.
pub(super) const SOCKET_WORKS: [(SocketWork, &str); 3] =
    [(SocketWork::Accept, "accept"), (SocketWork::Receive, "receive"), (SocketWork::Send, "send")];
