//! The servers that questions are forwarded to: where each is, and how to talk to it.

use std::fmt;
use std::net::SocketAddr;

/// A server that questions are forwarded to.
///
/// Displayed as its address: logs, metrics and extended errors name an upstream by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where the server listens.
    pub address: SocketAddr,
    /// How questions travel to the server.
    pub transport: UpstreamTransport,
}

/// How questions travel to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamTransport {
    /// Classic DNS (RFC 9499 §6): questions go over UDP, and again over TCP if the reply is truncated.
    Classic,
    /// Over TCP alone, on connections that are kept (RFC 7766).
    Tcp,
}

impl Endpoint {
    /// The server at an address that is asked over UDP and TCP.
    pub fn classic(address: SocketAddr) -> Self {
        Self { address, transport: UpstreamTransport::Classic }
    }

    /// The server at an address that is asked over TCP alone.
    pub fn over_tcp(address: SocketAddr) -> Self {
        Self { address, transport: UpstreamTransport::Tcp }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
