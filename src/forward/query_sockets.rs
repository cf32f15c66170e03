//! Questions to one upstream over UDP, from ports and with ids that nobody can guess (RFC 5452).
//!
//! hickory-resolver takes a socket, a task and several copies of the message for each question, which is most of what a
//! forwarded question costs. Here one socket serves the questions of some milliseconds: a busy agent sends dozens of
//! questions from one socket, an idle agent sends each question from a socket of its own. The kernel chooses the port of
//! a socket at random out of the host's range of ephemeral ports. Sockets are connected, so datagrams of other hosts
//! than the upstream are not received.

use super::exchange_error::ExchangeError;
use super::message::{UpstreamQuestion, UpstreamReply};
use super::pending_replies::PendingReplies;
use crate::lock::lock;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

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

/// How long until a question is sent a second time, because networks lose datagrams. The pause doubles each time.
const RESEND_DELAY: Duration = Duration::from_millis(400);

/// How long until a question is sent again to a host that says that nobody listens: the server may just be starting
/// again. The pause doubles each time.
const REFUSED_RETRY_PAUSE: Duration = Duration::from_millis(50);

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

impl QuerySockets {
    pub(super) fn new(upstream: SocketAddr) -> Self {
        Self { upstream, current: Mutex::default() }
    }

    /// Sends a question, again if no reply comes soon, and gives the reply.
    ///
    /// # Errors
    /// No reply came within `limit`, the reply cannot be read, or the question cannot be sent.
    pub(super) async fn exchange(
        &self,
        question: &UpstreamQuestion,
        with_edns: bool,
        limit: Duration,
    ) -> Result<UpstreamReply, ExchangeError> {
        let mut octets = question.to_message(with_edns).to_vec()?;
        let end = Instant::now() + limit;
        let socket = self.socket().map_err(ExchangeError::Send)?;
        let mut awaited = socket.pending.register(&mut octets, MAX_PENDING_PER_SOCKET)?;
        let (mut pause, mut refused_pause) = (RESEND_DELAY, REFUSED_RETRY_PAUSE);
        loop {
            socket.send(&octets).await?;
            let until = (Instant::now() + pause).min(end);
            match timeout_at(until, awaited.next()).await {
                Ok(Err(ExchangeError::Unreachable(_))) if Instant::now() + refused_pause < end => {
                    awaited.await_again();
                    sleep(refused_pause).await;
                    refused_pause *= 2;
                }
                Ok(received) => return UpstreamReply::read(&received?),
                Err(_) if until == end => return Err(ExchangeError::Timeout),
                Err(_) => pause *= 2,
            }
        }
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
                log::debug!("receiving at {:?}: {error}", socket.local_addr());
                pending.fail(|| ExchangeError::Unreachable(error.kind()));
                sleep(RECEIVE_ERROR_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Message, MessageType, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};
    use std::collections::HashSet;

    const LIMIT: Duration = Duration::from_secs(2);

    fn question_of(text: &str) -> UpstreamQuestion {
        UpstreamQuestion::own(Name::from_ascii(text).expect("a name"), RecordType::A)
    }

    async fn upstream() -> (UdpSocket, QuerySockets) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let sockets = QuerySockets::new(socket.local_addr().expect("an address"));
        (socket, sockets)
    }

    async fn next(upstream: &UdpSocket) -> (Message, SocketAddr) {
        let mut buffer = [0; 1_500];
        let (len, peer) = upstream.recv_from(&mut buffer).await.expect("a question");
        (Message::from_vec(&buffer[..len]).expect("a question"), peer)
    }

    async fn reply(upstream: &UdpSocket, mut message: Message, peer: SocketAddr) {
        message.metadata.message_type = MessageType::Response;
        upstream.send_to(&message.to_vec().expect("octets"), peer).await.expect("sent");
    }

    #[tokio::test]
    async fn questions_of_one_moment_share_a_socket_and_later_ones_do_not() {
        let (upstream, sockets) = upstream().await;
        let asked: Vec<_> = (0..200).map(|n| question_of(&format!("n{n}.example.org."))).collect();
        let all = futures_util::future::join_all(asked.iter().map(|one| sockets.exchange(one, true, LIMIT)));
        let serve = async {
            let (mut ports, mut ids) = (HashSet::new(), HashSet::new());
            for _ in 0..200 {
                let (message, peer) = next(&upstream).await;
                ports.insert(peer.port());
                ids.insert((peer.port(), message.metadata.id));
                reply(&upstream, message, peer).await;
            }
            assert_eq!(ids.len(), 200, "no id twice at one port");
            ports.len()
        };
        let (replies, ports) = tokio::join!(all, serve);
        assert!(replies.iter().all(Result::is_ok), "each the reply to its question");
        assert!((4..=40).contains(&ports), "{ports} ports");
        tokio::time::sleep(SOCKET_LIFETIME).await;
        let before = sockets.socket().expect("a socket").socket.local_addr().expect("an address");
        tokio::time::sleep(SOCKET_LIFETIME).await;
        let after = sockets.socket().expect("a socket").socket.local_addr().expect("an address");
        assert_ne!(before, after);
    }

    #[tokio::test]
    async fn a_forged_reply_is_ignored() {
        let (upstream, sockets) = upstream().await;
        let asked = question_of("a.example.org.");
        let serve = async {
            let (question, peer) = next(&upstream).await;
            let mut wrong_id = question.clone();
            wrong_id.metadata.id ^= 1;
            reply(&upstream, wrong_id, peer).await;
            let mut wrong_question = question.clone();
            wrong_question.queries = vec![question_of("b.example.org.").query];
            reply(&upstream, wrong_question, peer).await;
            upstream.send_to(&question.to_vec().expect("octets"), peer).await.expect("no reply at all");
            upstream.send_to(&question.metadata.id.to_be_bytes(), peer).await.expect("two octets");
            let stranger = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
            reply(&stranger, question.clone(), peer).await;
            let mut right = question;
            right.metadata.response_code = ResponseCode::NXDomain;
            right.queries = vec![question_of("A.EXAMPLE.org.").query];
            reply(&upstream, right, peer).await;
        };
        let (got, ()) = tokio::join!(sockets.exchange(&asked, true, LIMIT), serve);
        assert_eq!(got.expect("a reply").reply.rcode, ResponseCode::NXDomain);
    }

    #[tokio::test]
    async fn a_lost_question_is_sent_again_and_a_reply_that_makes_no_sense_is_an_error() {
        let (upstream, sockets) = upstream().await;
        let asked = question_of("a.example.org.");
        let serve = async {
            let first = next(&upstream).await;
            let (question, peer) = next(&upstream).await;
            assert_eq!((first.0.metadata.id, first.1), (question.metadata.id, peer), "as it was");
            let mut octets = question.to_vec().expect("octets");
            octets[2] |= 0x80;
            octets[7] = 9;
            upstream.send_to(&octets, peer).await.expect("sent");
        };
        let (got, ()) = tokio::join!(sockets.exchange(&asked, true, LIMIT), serve);
        assert!(matches!(got, Err(ExchangeError::Unreadable(_))), "{got:?}");
        assert_eq!(sockets.socket().expect("a socket").pending.len(), 0);
        let got = sockets.exchange(&asked, true, Duration::from_millis(20)).await;
        assert!(matches!(got, Err(ExchangeError::Timeout)), "{got:?}");
    }

    #[tokio::test]
    async fn a_server_that_starts_anew_is_waited_for() {
        let (upstream, sockets) = upstream().await;
        let address = upstream.local_addr().expect("an address");
        drop(upstream);
        let asked = question_of("a.example.org.");
        let serve = async {
            tokio::time::sleep(Duration::from_millis(120)).await;
            let upstream = UdpSocket::bind(address).await.expect("the same port");
            let (question, peer) = next(&upstream).await;
            reply(&upstream, question, peer).await;
        };
        let (got, ()) = tokio::join!(sockets.exchange(&asked, true, LIMIT), serve);
        assert!(got.is_ok(), "{got:?}");
    }
}
