//! The sockets that systemd passes (sd_listen_fds(3)), checked for their kind.

use crate::counted::counted;
use listenfd::ListenFd;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt};
use std::fmt;
use std::net::{TcpListener, UdpSocket};

/// The sockets that systemd passed.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Datagram sockets.
    pub udp: Vec<UdpSocket>,
    /// Listening stream sockets.
    pub tcp: Vec<TcpListener>,
    /// Those that cannot be served.
    pub refused: Vec<RefusedSocket>,
}

/// A socket that systemd passed and that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSocket {
    /// Its position among the sockets passed, from 1.
    number: usize,
    /// `FileDescriptorName=` of its unit, which is the unit's name by default.
    name: String,
    /// What kind of socket or file it is.
    kind: String,
}

impl fmt::Display for RefusedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, name, kind } = self;
        write!(
            f,
            "socket {number} of those systemd passed ({name}) is {kind}; only ListenDatagram= and ListenStream= with \
             IP addresses can be served, with Accept=no"
        )
    }
}

/// Why the sockets cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocketError {
    /// systemd passed none, though the configuration demands it.
    #[error(
        "-systemd (SKYDNS_SYSTEMD): systemd passed no socket; is skydns.socket enabled and started, and the \
         program started by systemd?"
    )]
    None,
    /// None of them can be served; the first one.
    #[error("{0}")]
    WrongKind(RefusedSocket),
}

impl Sockets {
    /// Takes the sockets that systemd passed. It is no error if there are none.
    ///
    /// # Errors
    /// All of them are of a wrong kind.
    pub fn take() -> Result<Self, SocketError> {
        // listenfd removes LISTEN_FDS and LISTEN_PID from the environment, but leaves the names.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut names = names.split(':');
        let mut sockets = Self::default();
        for index in 0..passed.len() {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or("without a name");
            if let Err(kind) = sockets.take_one(&mut passed, index) {
                sockets.refused.push(RefusedSocket { number: index + 1, name: name.to_owned(), kind });
            }
        }
        match sockets.refused.first() {
            Some(refused) if sockets.is_empty() => Err(SocketError::WrongKind(refused.clone())),
            _ => Ok(sockets),
        }
    }

    /// Takes the socket at an index; the error is the kind of a socket that cannot be served.
    fn take_one(&mut self, passed: &mut ListenFd, index: usize) -> Result<(), String> {
        if let Ok(Some(udp)) = passed.take_udp_socket(index) {
            self.udp.push(udp);
            return Ok(());
        }
        if let Ok(Some(tcp)) = passed.take_tcp_listener(index) {
            return match getsockopt(&tcp, sockopt::AcceptConn) {
                Ok(true) => {
                    self.tcp.push(tcp);
                    Ok(())
                }
                _ => Err("a TCP connection, not a listener".to_owned()),
            };
        }
        match passed.take_raw_fd(index) {
            Ok(Some(fd)) => Err(kind(fd)),
            _ => Err("gone".to_owned()),
        }
    }

    /// Whether systemd passed no socket.
    pub fn is_empty(&self) -> bool {
        self.udp.is_empty() && self.tcp.is_empty()
    }

    /// The protocol and address of each socket, as `udp 127.0.0.1:53`.
    fn names(&self) -> Vec<String> {
        let udp = self.udp.iter().map(|socket| ("udp", socket.local_addr()));
        let tcp = self.tcp.iter().map(|socket| ("tcp", socket.local_addr()));
        let named = udp.chain(tcp).map(|(protocol, address)| match address {
            Ok(address) => format!("{protocol} {address}"),
            Err(error) => format!("{protocol} ({error})"),
        });
        named.collect()
    }
}

/// Names all sockets, for the log.
impl fmt::Display for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names();
        write!(f, "systemd passed {}: {}", counted(names.len(), "socket"), names.join(", "))
    }
}

/// Names the kind of a descriptor that cannot be served.
fn kind(fd: std::os::fd::RawFd) -> String {
    match getsockname::<SockaddrStorage>(fd) {
        Err(Errno::ENOTSOCK) => "not a socket".to_owned(),
        Err(error) => format!("not to be looked at: {error}"),
        Ok(address) => match address.family() {
            Some(AddressFamily::Unix) => "a Unix socket".to_owned(),
            Some(AddressFamily::Netlink) => "a netlink socket".to_owned(),
            Some(AddressFamily::Inet | AddressFamily::Inet6) => {
                "neither a datagram nor a stream socket".to_owned()
            }
            _ => "of another family than IP".to_owned(),
        },
    }
}
