//! Questions to one upstream over UDP, from ports and with ids that nobody can guess (RFC 5452).
//!
//! hickory-resolver takes a socket, a task and several copies of the message for each question, which is most of what a
//! forwarded question costs. Here one socket serves the questions of some milliseconds: a busy agent sends dozens of
//! questions from one socket, an idle agent sends each question from a socket of its own. The kernel chooses the port of
//! a socket at random out of the host's range of ephemeral ports. Sockets are connected, so datagrams of other hosts
//! than the upstream are not received.

use super::exchange_error::ExchangeError;
use super::message::{UpstreamQuestion, UpstreamReply};
use crate::lock::lock;
use crate::wire::HEADER;
use hickory_proto::op::Message;
use hickory_resolver::net::NetError;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
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
    pending: Arc<PendingReplies>,
    opened: Instant,
    questions: AtomicUsize,
    /// The one task that receives replies; it is aborted when this value is dropped.
    _receiver: JoinSet<()>,
}

/// The questions that wait at a socket, by id.
#[derive(Debug)]
struct PendingReplies {
    socket: UdpSocket,
    by_id: Mutex<HashMap<u16, PendingReply>>,
}

/// A question that waits for its reply.
#[derive(Debug)]
struct PendingReply {
    /// The question section as it was sent: the reply repeats it, in any letter case.
    question: Vec<u8>,
    /// Where the reply goes; `None` once it was sent there. The id is free when the exchange has ended.
    reply: Option<oneshot::Sender<Result<Message, ExchangeError>>>,
}

type ReplyReceiver = oneshot::Receiver<Result<Message, ExchangeError>>;

/// Frees the id of a question when its exchange ends, by a reply or otherwise.
struct PendingGuard<'a> {
    replies: &'a PendingReplies,
    id: u16,
}

impl Drop for PendingGuard<'_> {
    fn drop(&mut self) {
        lock(&self.replies.by_id).remove(&self.id);
    }
}

impl QuerySockets {
    pub(super) fn new(upstream: SocketAddr) -> Self {
        Self { upstream, current: Mutex::default() }
    }

    /// Sends a question, again if no reply comes soon, and gives the reply.
    ///
    /// # Errors
    /// No reply came within `limit`, the reply makes no sense, or the question cannot be sent.
    pub(super) async fn exchange(
        &self,
        question: &UpstreamQuestion,
        with_edns: bool,
        limit: Duration,
    ) -> Result<UpstreamReply, ExchangeError> {
        let mut octets = question.to_message(with_edns).to_vec().map_err(NetError::from)?;
        let end = Instant::now() + limit;
        let mut pause = REFUSED_RETRY_PAUSE;
        loop {
            let socket = self.socket()?;
            match socket.pending.exchange(&mut octets, end).await {
                Err(ExchangeError::NobodyListens) if Instant::now() + pause < end => sleep(pause).await,
                result => return UpstreamReply::read(question, result?),
            }
            pause *= 2;
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
        lock(&self.current).take_if(|socket| {
            socket.opened.elapsed() > SOCKET_IDLE_TIMEOUT && lock(&socket.pending.by_id).is_empty()
        });
    }
}

impl QuerySocket {
    fn open(upstream: SocketAddr) -> io::Result<Self> {
        let any: IpAddr =
            if upstream.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.connect(upstream)?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let pending = Arc::new(PendingReplies { socket, by_id: Mutex::default() });
        let mut receiver = JoinSet::new();
        receiver.spawn(Arc::clone(&pending).receive_replies());
        Ok(Self { pending, opened: Instant::now(), questions: AtomicUsize::new(1), _receiver: receiver })
    }
}

impl PendingReplies {
    /// Sends a question until a reply comes or the time is over.
    async fn exchange(&self, octets: &mut [u8], end: Instant) -> Result<Message, ExchangeError> {
        let (_guard, mut reply) = self.register(octets)?;
        let mut pause = RESEND_DELAY;
        loop {
            self.send(octets).await?;
            let until = (Instant::now() + pause).min(end);
            match timeout_at(until, &mut reply).await {
                Ok(result) => return result.unwrap_or(Err(ExchangeError::Timeout)),
                Err(_) if until == end => return Err(ExchangeError::Timeout),
                Err(_) => pause *= 2,
            }
        }
    }

    /// Gives a question an id that is free at this socket, and the receiver of its reply.
    fn register(&self, octets: &mut [u8]) -> Result<(PendingGuard<'_>, ReplyReceiver), ExchangeError> {
        let mut by_id = lock(&self.by_id);
        if by_id.len() >= MAX_PENDING_PER_SOCKET {
            return Err(ExchangeError::TooManyPending);
        }
        let id = loop {
            let id = rand::random();
            if !by_id.contains_key(&id) {
                break id;
            }
        };
        octets[..2].copy_from_slice(&id.to_be_bytes());
        let (sender, receiver) = oneshot::channel();
        let question = question_octets(octets).to_vec();
        by_id.insert(id, PendingReply { question, reply: Some(sender) });
        Ok((PendingGuard { replies: self, id }, receiver))
    }

    async fn send(&self, octets: &[u8]) -> io::Result<()> {
        match self.socket.send(octets).await {
            // The error is about an earlier question, and the receiving task may not have seen it yet.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.socket.send(octets).await,
            sent => sent,
        }
        .map(drop)
    }

    /// Receives replies and gives each to its question, for ever.
    async fn receive_replies(self: Arc<Self>) {
        let mut buffer = vec![0; REPLY_BUFFER_SIZE];
        loop {
            match self.socket.recv(&mut buffer).await {
                Ok(len) => self.dispatch(&buffer[..len]),
                Err(error) => {
                    log::debug!("receiving at {:?}: {error}", self.socket.local_addr());
                    for reply in lock(&self.by_id).values_mut().filter_map(|pending| pending.reply.take()) {
                        let _ = reply.send(Err(ExchangeError::NobodyListens));
                    }
                    sleep(RECEIVE_ERROR_PAUSE).await;
                }
            }
        }
    }

    /// Gives a reply to the question that waits for it. A datagram that does not repeat the question is ignored: it may
    /// be forged.
    fn dispatch(&self, octets: &[u8]) {
        let Some(id) = octets.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return };
        let mut by_id = lock(&self.by_id);
        let Some(pending) = by_id.get_mut(&id) else { return };
        if !repeats_question(&pending.question, octets) {
            return;
        }
        if let Some(reply) = pending.reply.take() {
            drop(by_id);
            let _ = reply.send(Message::from_vec(octets).map_err(|error| NetError::from(error).into()));
        }
    }
}

/// The question section of a message of ours, which holds one question.
fn question_octets(octets: &[u8]) -> &[u8] {
    let behind = octets.get(HEADER..).unwrap_or_default();
    let mut end = 0;
    while let Some(label) = behind.get(end).filter(|label| **label != 0) {
        end += 1 + usize::from(*label);
    }
    behind.get(..end + 5).unwrap_or_default()
}

/// Whether a message is a response that repeats a question, in any letter case.
///
/// A response with FORMERR or NOTIMP may leave the question out (RFC 6891 §7).
fn repeats_question(question: &[u8], response: &[u8]) -> bool {
    let Some((header, behind)) = response.split_first_chunk::<HEADER>() else { return false };
    let is_not_understood = matches!(header[3] & 0x0f, 1 | 4);
    let same = |repeated: &[u8]| {
        let ends = question.len().saturating_sub(4);
        repeated[..ends].eq_ignore_ascii_case(&question[..ends]) && repeated[ends..] == question[ends..]
    };
    header[2] & 0x80 != 0
        && match header[4..6] {
            [0, 1] => behind.get(..question.len()).is_some_and(same),
            [0, 0] => is_not_understood,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{MessageType, ResponseCode};
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
        let before = sockets.socket().expect("a socket").pending.socket.local_addr().expect("an address");
        tokio::time::sleep(SOCKET_LIFETIME).await;
        let after = sockets.socket().expect("a socket").pending.socket.local_addr().expect("an address");
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
        assert!(matches!(got, Err(ExchangeError::Net(_))), "{got:?}");
        assert!(lock(&sockets.socket().expect("a socket").pending.by_id).is_empty());
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
