//! Our own sockets, and how they can be reached from this host.

use super::interfaces::{self, InterfaceAddress};
use nix::sys::socket::{getsockopt, sockopt};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

/// What decides how a socket of ours can be reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnSocket {
    local: SocketAddr,
    /// Whether the socket is bound to one device: what this host sends to itself may not get there.
    device: bool,
    v6_only: bool,
}

impl OwnSocket {
    /// Asks the system about a socket.
    pub(super) fn of(socket: &impl AsFd, local: SocketAddr) -> Self {
        let device = getsockopt(socket, sockopt::BindToDevice).is_ok_and(|device| !device.is_empty());
        let v6_only = getsockopt(socket, sockopt::Ipv6V6Only).unwrap_or(false);
        Self { local, device, v6_only }
    }

    /// Where the socket is bound.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// The address at which this host reaches the socket now; `None` if there is none.
    ///
    /// An address that the host does not have (yet, or any more) must not be used: another host may have it.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        if self.device {
            return None;
        }
        let candidates = match self.local.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into()],
            IpAddr::V6(ip) if ip.is_unspecified() && self.v6_only => vec![Ipv6Addr::LOCALHOST.into()],
            IpAddr::V6(ip) if ip.is_unspecified() => {
                vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]
            }
            ip => vec![ip],
        };
        let ip = candidates.into_iter().find(|ip| is_loopback_v4(ip) || is_here(ip))?;
        Some(match self.local {
            // The zone of a link-local address has to stay.
            SocketAddr::V6(mut v6) if ip == IpAddr::V6(*v6.ip()) => {
                v6.set_flowinfo(0);
                v6.into()
            }
            _ => SocketAddr::new(ip, self.local.port()),
        })
    }
}

fn is_here(ip: &IpAddr) -> bool {
    own_addresses().is_ok_and(|own| own.contains(ip))
}

/// All of 127.0.0.0/8 is on this host, though only one of these addresses is listed.
fn is_loopback_v4(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if v4.is_loopback())
}

/// The addresses of all interfaces.
///
/// # Errors
/// The system does not tell, as without descriptors.
pub fn own_addresses() -> io::Result<Vec<IpAddr>> {
    Ok(interfaces::addresses()?.iter().map(InterfaceAddress::ip).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn only_what_is_here_is_reached() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let address_of = |text: &str| {
            let reach = OwnSocket::of(&socket, text.parse().expect("an address"));
            reach.address().map(|address| address.to_string())
        };
        assert_eq!(address_of("127.0.0.53:53").as_deref(), Some("127.0.0.53:53"));
        assert_eq!(address_of("0.0.0.0:53").as_deref(), Some("127.0.0.1:53"));
        assert_eq!(address_of("192.0.2.1:53"), None);
        assert_eq!(address_of("[2001:db8::1]:53"), None);
    }
}
