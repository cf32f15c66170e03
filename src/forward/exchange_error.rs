//! Why an exchange with an upstream gave no reply.

use hickory_resolver::net::NetError;
use std::io;

/// Why an upstream gave no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// No reply in time.
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
    /// There is no other port, and too many wait at this one.
    #[error("too many wait for it at one port")]
    Crowded,
    /// A reply to something else.
    #[error("the reply is not to the question")]
    NotTheReply,
    /// It forwards to us.
    #[error("it forwards to this server")]
    Loop,
}

impl ExchangeError {
    /// Whether it is the network that failed, rather than the server.
    pub(super) fn is_of_network(&self) -> bool {
        matches!(self, Self::Send(_) | Self::NobodyListens | Self::Net(NetError::Io(_)))
    }
}
