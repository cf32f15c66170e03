//! Our own sockets, when systemd passes none.

use super::holders::holders;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind as bind_fd, listen, setsockopt, socket,
    sockopt,
};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

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

/// Listens on every address, UDP and TCP; also returns why addresses are left out, each with both protocols.
///
/// # Errors
/// Nothing can be listened on; the first error.
pub fn bind(addresses: &[SocketAddr]) -> Result<(BoundSockets, Vec<BindError>), BindError> {
    let mut bound = BoundSockets::default();
    let mut failed = Vec::new();
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
        let udp = open(*address, SockType::Datagram, both).map_err(fail("UDP"));
        let sockets =
            udp.and_then(|udp| Ok((udp, open(*address, SockType::Stream, both).map_err(fail("TCP"))?)));
        match sockets {
            Ok((udp, tcp)) => {
                bound.udp.push(udp.into());
                bound.tcp.push(tcp.into());
            }
            Err(error) => failed.push(error),
        }
    }
    if bound.udp.is_empty() && bound.tcp.is_empty() && !failed.is_empty() {
        return Err(failed.remove(0));
    }
    Ok((bound, failed))
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
        // Of a datagram that comes in before this is set, nobody says later by which interface it came.
        if !address.ip().to_canonical().is_loopback() {
            packet_info(&fd, address)?;
        }
    }
    bind_fd(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    if kind == SockType::Stream {
        listen(&fd, Backlog::new(LISTEN_BACKLOG)?)?;
    }
    Ok(fd)
}

/// Has the kernel say of each datagram how it came.
pub(super) fn packet_info(socket: &impl AsFd, local: SocketAddr) -> io::Result<()> {
    match local {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::datagrams::{Batch, ServerSocket};
    use crate::server::interfaces::LOOPBACK;
    use crate::server::origin::Way;
    use nix::sys::socket::SockaddrIn;
    use std::sync::Arc;

    #[test]
    fn of_what_comes_before_the_workers_the_interface_is_known() {
        let (mut bound, _) = bind(&[SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))]).expect("sockets");
        let socket = bound.udp.remove(0);
        let port = socket.local_addr().expect("an address").port();
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.send_to(b"a question", ("127.0.0.1", port)).expect("sent");
        let socket = ServerSocket::new(socket, 20_000).expect("a socket");
        let mut batch: Batch<SockaddrIn> = Batch::new(Arc::new(socket));
        assert_eq!(batch.receive(), Ok(1));
        assert_eq!(batch.origin(0).way, Way::Interface(LOOPBACK));
    }
}
