//! Where a query came from: what its packet says, and what the kernel says of its way here.

pub(super) use crate::client_id::ClientId;

use super::handler::Protocol;
use super::interfaces::LOOPBACK;
use std::net::{IpAddr, SocketAddr};

/// Where a query came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The source address of its packet.
    pub(super) peer: SocketAddr,
    /// The client's address. `::ffff:192.0.2.1` at a socket for both families is 192.0.2.1, but only if the packet itself was
    /// one of IPv4.
    pub(super) ip: IpAddr,
    /// The way that its packet came.
    pub(super) way: Way,
}

/// The way that a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A datagram that was sent to a loopback address, which the kernel only takes from this host.
    Loopback,
    /// A datagram that came in by the interface with this number; 0 if that is not known.
    ///
    /// What this host sends to an address of its own comes in by the interface that has this address (RFC 4007 §6), so it
    /// cannot be told from a packet with a forged source on that wire.
    Interface(u32),
    /// A connection, whose handshake has shown that the client is where its address leads. The number is that of the
    /// interface if the address is link-local.
    Connection(u32),
}

impl Origin {
    /// The origin of a datagram; `is_v4` says whether its packet was one of IPv4.
    pub(super) fn of_datagram(peer: SocketAddr, way: Way, is_v4: bool) -> Self {
        let ip = if is_v4 { peer.ip().to_canonical() } else { peer.ip() };
        Self { peer, ip, way }
    }

    /// The origin of a connection that was made to an address of ours.
    pub(super) fn of_connection(peer: SocketAddr, local: SocketAddr) -> Self {
        let scope = if let SocketAddr::V6(peer) = peer { peer.scope_id() } else { 0 };
        Self::of_datagram(peer, Way::Connection(scope), local.ip().to_canonical().is_ipv4())
    }

    /// How the query came in.
    pub(super) fn protocol(&self) -> Protocol {
        if let Way::Connection(_) = self.way { Protocol::Tcp } else { Protocol::Udp }
    }

    /// Whether the query came in by an interface, as far as its way shows.
    ///
    /// The replies on a connection leave by the interface of the network that the client's address is in, so a client that
    /// gets them is there, whichever address of ours it asked.
    pub(super) fn came_by(&self, interface: u32) -> bool {
        match self.way {
            Way::Loopback => interface == LOOPBACK,
            Way::Interface(number) => number == interface,
            Way::Connection(number) => !is_link_local(self.ip) || number == interface,
        }
    }
}

/// Whether an address is one of fe80::/10, which each interface has its own of.
pub(super) fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
