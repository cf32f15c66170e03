//! Why an exchange with an upstream gave no reply.

use hickory_resolver::net::NetError;
use std::io;

/// Why an exchange with an upstream gave no reply. Clients may read the text, in an extended error.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// No reply came within the timeout.
    #[error("no reply in time")]
    Timeout,
    /// The connection failed, or the reply makes no sense.
    #[error("{0}")]
    Net(#[from] NetError),
    /// The question cannot be sent.
    #[error("sending: {0}")]
    Send(#[from] io::Error),
    /// The host says that nobody listens there.
    #[error("nobody listens there")]
    NobodyListens,
    /// No new socket can be opened, and too many questions wait at the current one.
    #[error("too many wait for it at one port")]
    TooManyPending,
    /// The message is not a reply to the question.
    #[error("the reply is not to the question")]
    NotTheReply,
    /// The upstream was found to forward to us.
    #[error("it forwards to this server")]
    Loop,
}

impl ExchangeError {
    /// Whether the network failed, rather than the server.
    pub(super) fn is_of_network(&self) -> bool {
        matches!(self, Self::Send(_) | Self::NobodyListens | Self::Net(NetError::Io(_)))
    }
}
