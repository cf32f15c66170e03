//! Questions to one upstream over UDP, from ports and with ids that nobody can guess (RFC 5452).
//!
//! hickory-resolver takes a socket, a task and several copies of the message for each question, which is most of what a
//! forwarded question costs. Here one socket serves the questions of some milliseconds: a busy agent sends dozens of
//! questions from one socket, an idle agent sends each question from a socket of its own. The kernel chooses the port of
//! a socket at random out of the host's range of ephemeral ports. Sockets are connected, so datagrams of other hosts
//! than the upstream are not received.

use super::exchange_error::ExchangeError;
use super::pending_replies::{AwaitedReply, PendingReplies};
use crate::lock::lock;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Maximum number of questions that are sent from one socket.
const MAX_QUESTIONS_PER_SOCKET: usize = 64;

/// How long questions are sent from one socket: too short a time for an attacker to find out its port.
const SOCKET_LIFETIME: Duration = Duration::from_millis(50);

/// How long the last socket of an upstream that nobody asks stays open.
const SOCKET_IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of questions that wait at one socket when no other socket can be opened.
const MAX_PENDING_PER_SOCKET: usize = 1_024;

/// Octets of the buffer for a reply. Our OPT allows 1,232 octets; some servers send more all the same.
const REPLY_BUFFER_SIZE: usize = 4_096;

/// Pause after an error of the socket, so that an error that lasts does not take a whole processor.
const RECEIVE_ERROR_PAUSE: Duration = Duration::from_millis(1);

/// The sockets to one upstream. New questions are sent from the current socket.
#[derive(Debug)]
pub(super) struct QuerySockets {
    upstream: SocketAddr,
    current: Mutex<Option<Arc<QuerySocket>>>,
}

/// A socket and the questions that wait for replies there. It is closed when it is no longer the current socket and no
/// question waits.
#[derive(Debug)]
struct QuerySocket {
    socket: Arc<UdpSocket>,
    pending: Arc<PendingReplies>,
    opened: Instant,
    questions: AtomicUsize,
    /// The one task that receives replies; it is aborted when this value is dropped.
    _receiver: JoinSet<()>,
}

/// A question that has an id at a socket, until this is dropped.
#[derive(Debug)]
pub(super) struct OpenQuestion {
    socket: Arc<QuerySocket>,
    octets: Vec<u8>,
    awaited: AwaitedReply,
}

impl OpenQuestion {
    /// Sends the question, or sends it again.
    pub(super) async fn send(&self) -> Result<(), ExchangeError> {
        self.socket.send(&self.octets).await
    }

    /// The octets of the next reply, or what came in its place; see [`AwaitedReply::next`].
    pub(super) async fn reply(&mut self) -> Result<Vec<u8>, ExchangeError> {
        self.awaited.next().await
    }

    /// Waits for another reply.
    pub(super) fn await_again(&mut self) {
        self.awaited.await_again();
    }
}

impl QuerySockets {
    pub(super) fn new(upstream: SocketAddr) -> Self {
        Self { upstream, current: Mutex::default() }
    }

    /// Gives a message that holds one question an id at a socket; it is not sent yet.
    ///
    /// # Errors
    /// No socket can be opened, or too many questions wait.
    pub(super) fn open(&self, mut octets: Vec<u8>) -> Result<OpenQuestion, ExchangeError> {
        let socket = self.socket().map_err(ExchangeError::Open)?;
        let awaited = socket.pending.register(&mut octets, MAX_PENDING_PER_SOCKET)?;
        Ok(OpenQuestion { socket, octets, awaited })
    }

    /// The socket for one more question.
    fn socket(&self) -> io::Result<Arc<QuerySocket>> {
        let mut current = lock(&self.current);
        if let Some(socket) = current.as_ref()
            && socket.opened.elapsed() < SOCKET_LIFETIME
            && socket.questions.fetch_add(1, Ordering::Relaxed) < MAX_QUESTIONS_PER_SOCKET
        {
            return Ok(Arc::clone(socket));
        }
        match QuerySocket::open(self.upstream) {
            Ok(socket) => Ok(Arc::clone(current.insert(Arc::new(socket)))),
            // Without a file descriptor for a new socket, an old socket is better than none.
            Err(error) => current.as_ref().map(Arc::clone).ok_or(error),
        }
    }

    /// Gives up the current socket: the next question opens a new one.
    pub(super) fn close(&self) {
        *lock(&self.current) = None;
    }

    /// Gives up the current socket if it is old and no question waits there. Until then it serves when no other socket
    /// can be opened.
    pub(super) fn close_idle(&self) {
        lock(&self.current)
            .take_if(|socket| socket.opened.elapsed() > SOCKET_IDLE_TIMEOUT && socket.pending.len() == 0);
    }
}

impl QuerySocket {
    fn open(upstream: SocketAddr) -> io::Result<Self> {
        let any: IpAddr =
            if upstream.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.connect(upstream)?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let pending = Arc::new(PendingReplies::default());
        let mut receiver = JoinSet::new();
        receiver.spawn(receive_replies(Arc::clone(&socket), Arc::clone(&pending)));
        Ok(Self {
            socket,
            pending,
            opened: Instant::now(),
            questions: AtomicUsize::new(1),
            _receiver: receiver,
        })
    }

    async fn send(&self, octets: &[u8]) -> Result<(), ExchangeError> {
        let sent = match self.socket.send(octets).await {
            // The error is about an earlier question, and the receiving task does not see it any more.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.pending.fail(|| ExchangeError::Unreachable(error.kind()));
                self.socket.send(octets).await
            }
            sent => sent,
        };
        sent.map(drop).map_err(ExchangeError::Send)
    }
}

/// Receives replies at a socket and gives each to its question, for ever.
async fn receive_replies(socket: Arc<UdpSocket>, pending: Arc<PendingReplies>) {
    let mut buffer = vec![0; REPLY_BUFFER_SIZE];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(len) => pending.dispatch(&buffer[..len]),
            Err(error) => {
                let upstream = socket.peer_addr().map_or_else(|_| "?".to_owned(), |peer| peer.to_string());
                log::debug!("upstream {upstream}: receiving: {error}");
                pending.fail(|| ExchangeError::Unreachable(error.kind()));
                sleep(RECEIVE_ERROR_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// A message with a question for `n.`.
    fn question(n: u8) -> Vec<u8> {
        [&[0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], [1, n, 0, 0, 1, 0, 1].as_slice()].concat()
    }

    #[tokio::test]
    async fn questions_of_one_moment_share_a_socket_and_later_ones_do_not() {
        let upstream = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let sockets = QuerySockets::new(upstream.local_addr().expect("an address"));
        let mut open: Vec<_> = (0..200).map(|n| sockets.open(question(n)).expect("room")).collect();
        let (mut ports, mut ids) = (HashSet::new(), HashSet::new());
        for (n, one) in (0..200).zip(&mut open) {
            one.send().await.expect("sent");
            let mut octets = [0; 512];
            let (len, peer) = upstream.recv_from(&mut octets).await.expect("the question");
            ports.insert(peer.port());
            ids.insert((peer.port(), [octets[0], octets[1]]));
            octets[2] |= 0x80;
            upstream.send_to(&octets[..len], peer).await.expect("sent");
            let reply = one.reply().await.expect("a reply");
            assert_eq!(reply[13], n, "each the reply to its question");
        }
        assert_eq!(ids.len(), 200, "no id twice at one port");
        assert!((4..=40).contains(&ports.len()), "{} ports", ports.len());
        let port = || sockets.socket().expect("a socket").socket.local_addr().expect("an address").port();
        tokio::time::sleep(SOCKET_LIFETIME).await;
        let before = port();
        tokio::time::sleep(SOCKET_LIFETIME).await;
        assert_ne!(before, port());
    }
}
