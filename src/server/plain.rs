//! Datagrams and rights of clients for a program that answers each query on its own: the rescue, which answers while the agent
//! keeps ending. There is no fast path, no handler and no worker here.

use super::client_policy::{ClientClass, ClientPolicy};
use super::datagrams::{Batch, PeerAddress, ReplyTo, ServerSocket};
use super::limit::{OVER_TCP, OVER_UDP, ResponseRateLimiter};
use super::origin::Origin;
use crate::config::Allow;
use nix::errno::Errno;
use nix::sys::socket::{SockaddrIn, SockaddrIn6};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

/// How long the system waits for a datagram, in milliseconds: the same as in the agent, which may use the same socket at the
/// same time.
const RECEIVE_TIMEOUT: i64 = super::udp::RECEIVE_TIMEOUT;

/// A client's datagram: who sent it, and where its reply goes.
#[derive(Clone, Debug)]
pub struct PlainClient {
    origin: Origin,
    reply_to: ReplyTo,
}

impl PlainClient {
    /// Sends the reply; one that cannot be sent is like one that the network lost.
    pub fn send(&self, reply: &[u8]) {
        self.reply_to.send(reply);
    }
}

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Everything.
    All,
    /// Names of our own.
    OwnNames,
    /// Nothing over UDP: it is told to ask over TCP, where it shows that its address is its own.
    OverTcp,
}

/// Decides what clients may ask for, as the agent does (`-allow`).
#[derive(Debug)]
pub struct PlainPolicy {
    clients: ClientPolicy,
    allow: Allow,
    over_udp: ResponseRateLimiter,
    over_tcp: ResponseRateLimiter,
}

impl PlainPolicy {
    /// The policy for a setting.
    pub fn new(allow: Allow) -> Self {
        Self {
            clients: ClientPolicy::new(&allow),
            allow,
            over_udp: ResponseRateLimiter::new(OVER_UDP),
            over_tcp: ResponseRateLimiter::new(OVER_TCP),
        }
    }

    /// Lists the interfaces of this host again.
    pub fn refresh(&self) {
        self.clients.refresh(&self.allow);
    }

    /// What the sender of a datagram may ask for, and the most octets that it is sent.
    pub fn rights(&self, client: &PlainClient) -> (Rights, u16) {
        let class = self.clients.class_of(&client.origin, &self.allow);
        let may_ask = !class.may_be_forged() || self.over_udp.take(client.origin.ip);
        let rights = match class {
            _ if !may_ask => Rights::OverTcp,
            ClientClass::Host | ClientClass::Trusted | ClientClass::Open => Rights::All,
            ClientClass::Unproven => Rights::OverTcp,
            ClientClass::AuthoritativeOnly => Rights::OwnNames,
        };
        (rights, class.max_udp_reply())
    }

    /// What a client may ask for that made a connection; `None` if it has to wait.
    pub fn rights_over_tcp(&self, peer: SocketAddr, local: SocketAddr) -> Option<Rights> {
        let origin = Origin::of_connection(peer, local);
        let class = self.clients.class_of(&origin, &self.allow);
        let may_ask = class.is_trusted() || self.over_tcp.take(origin.ip);
        let rights = if class == ClientClass::AuthoritativeOnly { Rights::OwnNames } else { Rights::All };
        may_ask.then_some(rights)
    }
}

/// Receives datagrams and calls `take` with each of them, for ever. A socket that the network made report an error goes on.
///
/// # Errors
/// The socket cannot be set up, or cannot be used any more.
pub fn receive_plain(socket: UdpSocket, take: impl FnMut(&[u8], PlainClient)) -> io::Result<Infallible> {
    let socket = Arc::new(ServerSocket::new(socket, RECEIVE_TIMEOUT)?);
    match socket.is_v4() {
        true => receive::<SockaddrIn>(socket, take),
        false => receive::<SockaddrIn6>(socket, take),
    }
}

fn receive<P: PeerAddress>(
    socket: Arc<ServerSocket>,
    mut take: impl FnMut(&[u8], PlainClient),
) -> io::Result<Infallible> {
    let mut batch: Batch<P> = Batch::new(socket);
    loop {
        match batch.receive() {
            Ok(received) => {
                for number in 0..received {
                    let client =
                        PlainClient { origin: batch.origin(number), reply_to: batch.reply_to(number) };
                    let (buffer, len) = batch.datagram(number);
                    take(&buffer[..len], client);
                }
            }
            Err(error @ (Errno::EBADF | Errno::ENOTSOCK | Errno::EINVAL)) => return Err(error.into()),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => std::thread::sleep(super::udp::RECEIVE_RETRY_PAUSE),
        }
    }
}
