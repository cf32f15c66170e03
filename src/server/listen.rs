//! Our own sockets, when systemd passes none.

use super::holders::holders;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind as bind_fd, listen, setsockopt, socket,
    sockopt,
};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

/// Receive buffer of a UDP socket, in octets: what comes in while all workers are busy waits here.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Connections that may wait to be accepted.
const LISTEN_BACKLOG: i32 = 1_024;

/// The sockets of all addresses.
#[derive(Debug, Default)]
pub struct BoundSockets {
    /// Datagram sockets.
    pub udp: Vec<UdpSocket>,
    /// Listening stream sockets.
    pub tcp: Vec<TcpListener>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} over {protocol}: {source}{hint}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// UDP or TCP.
    pub protocol: &'static str,
    /// The system's reason.
    pub source: io::Error,
    /// Who is in the way, or what to do about it.
    pub hint: String,
}

/// Listens on every address, UDP and TCP.
///
/// # Errors
/// One of them cannot be listened on.
pub fn bind(addresses: &[SocketAddr]) -> Result<BoundSockets, BindError> {
    let mut bound = BoundSockets::default();
    for address in addresses {
        // With the IPv4 wildcard of the port listed as well, the IPv6 one must leave it alone.
        let both = addresses.contains(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())));
        let fail = |protocol| {
            move |source: io::Error| BindError {
                address: *address,
                protocol,
                hint: hint(*address, protocol, &source),
                source,
            }
        };
        bound.udp.push(open(*address, SockType::Datagram, both).map(UdpSocket::from).map_err(fail("UDP"))?);
        bound.tcp.push(open(*address, SockType::Stream, both).map(TcpListener::from).map_err(fail("TCP"))?);
    }
    Ok(bound)
}

fn open(address: SocketAddr, kind: SockType, v6_only: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if address.is_ipv6() && v6_only {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    if kind == SockType::Stream {
        // Connections of a process that ended must not keep the next from starting.
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    } else {
        // The system may grant less.
        let _ = setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER);
    }
    bind_fd(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    if kind == SockType::Stream {
        listen(&fd, Backlog::new(LISTEN_BACKLOG)?)?;
    }
    Ok(fd)
}

fn hint(address: SocketAddr, protocol: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holders = holders(address).into_iter().filter(|holder| holder.protocol == protocol);
            let listed = holders.map(|holder| format!("{holder}; ")).collect::<String>();
            format!(" ({listed}\"skydns port-holders {address}\" tells root more)")
        }
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need systemd's socket, CAP_NET_BIND_SERVICE, or root)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => " (the host has no such address)".to_owned(),
        _ => String::new(),
    }
}
