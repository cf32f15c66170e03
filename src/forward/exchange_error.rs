//! Why an exchange with an upstream gave no reply.

use crate::wire::ReadError;
use hickory_proto::ProtoError;
use nix::errno::Errno;
use std::io;

/// Why an exchange with an upstream gave no reply. Clients may read the text, in an extended error.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// No reply came within the timeout.
    #[error("no reply in time")]
    Timeout,
    /// The network says that no question gets there, such as that nobody listens at the port.
    #[error("{}", unreachable_text(*.0))]
    Unreachable(io::ErrorKind),
    /// No socket can be opened.
    #[error("opening a socket: {0}")]
    Open(#[source] io::Error),
    /// The question cannot be sent.
    #[error("sending: {0}")]
    Send(#[source] io::Error),
    /// No connection can be made.
    #[error("connecting: {0}")]
    Connect(io::ErrorKind),
    /// The connection ended before the reply came.
    #[error("the connection was closed")]
    Closed,
    /// The question cannot be written as a message.
    #[error("the question cannot be written: {0}")]
    Encode(#[from] ProtoError),
    /// The reply ends within a record, and TCP gives no better one.
    #[error("the reply is cut off")]
    Cut,
    /// The reply cannot be read.
    #[error("the reply cannot be read: {0}")]
    Unreadable(#[source] ReadError),
    /// Too many questions wait at one port or connection, and no new one can be opened.
    #[error("too many wait for it at one port")]
    TooManyPending,
    /// The upstream was found to forward to us.
    #[error("it forwards to this server")]
    Loop,
}

impl ExchangeError {
    /// Whether the network failed, rather than the server.
    pub(super) fn is_of_network(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Send(_) | Self::Unreachable(_) | Self::Connect(_) | Self::Closed)
    }

    /// What the error says of the upstream's health.
    pub(super) fn blame(&self) -> Blame {
        match self {
            Self::Timeout | Self::Send(_) | Self::Unreachable(_) | Self::Connect(_) | Self::Closed => {
                Blame::Unanswered
            }
            Self::Cut | Self::Unreadable(_) => Blame::Replied,
            Self::Open(error) if is_out_of_descriptors(error) => Blame::None,
            // Without a route no socket can be connected to the upstream.
            Self::Open(_) => Blame::Unanswered,
            Self::Encode(_) | Self::TooManyPending | Self::Loop => Blame::None,
        }
    }
}

/// What an error says of an upstream's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// Nothing: the fault is here.
    None,
    /// The upstream replied, though not in a way that helps.
    Replied,
    /// The question got no reply.
    Unanswered,
}

/// Whether the process or the host has no file descriptor left.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    let out = [Errno::EMFILE, Errno::ENFILE].map(|errno| errno as i32);
    error.raw_os_error().is_some_and(|code| out.contains(&code))
}

impl From<ReadError> for ExchangeError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Cut => Self::Cut,
            ReadError::Malformed(_) => Self::Unreadable(error),
        }
    }
}

/// What a kind of error says of the network.
fn unreachable_text(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
        other => other.to_string(),
    }
}
