//! Passes queries on to upstreams, and their replies back, as octets.
//!
//! Each query goes out from a socket of its own, so from a port that the system chooses at random, with a random id
//! (RFC 5452 §9.2); a connected socket takes packets of the upstream alone.

use super::query::{Query, Rcode, is_failure};
use arc_swap::ArcSwap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

/// Queries under way: each has a socket. Beyond that they get SERVFAIL.
const MAX_QUERIES: usize = 2_048;

/// How long one upstream has until the next is asked: a client that asks again after a second gets the next one's reply.
const UPSTREAM_TIMEOUT: Duration = Duration::from_millis(600);

/// How long a query is worth the wait; clients give up after some five seconds.
const QUERY_TIMEOUT: Duration = Duration::from_millis(4_500);

/// Time for one upstream over TCP, from the connection to the last octet.
const TCP_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest reply over UDP that is passed on, in octets: clients ask for 4,096 at most, hardly ever.
const MAX_UDP_REPLY: usize = 4_096;

/// The upstreams, and what is under way to them.
#[derive(Debug)]
pub(super) struct Relay {
    upstreams: ArcSwap<Vec<SocketAddr>>,
    /// The number of the upstream that answered last.
    preferred: AtomicUsize,
    places: Arc<Semaphore>,
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            upstreams: ArcSwap::default(),
            preferred: AtomicUsize::new(0),
            places: Arc::new(Semaphore::new(MAX_QUERIES)),
        }
    }
}

impl Relay {
    /// Takes the upstreams; returns whether they are others than before.
    pub(super) fn set_upstreams(&self, upstreams: Vec<SocketAddr>) -> bool {
        let is_new = **self.upstreams.load() != upstreams;
        if is_new {
            self.upstreams.store(Arc::new(upstreams));
        }
        is_new
    }

    /// The upstreams, for a person.
    pub(super) fn upstreams_text(&self) -> String {
        let upstreams: Vec<_> = self.upstreams.load().iter().map(ToString::to_string).collect();
        if upstreams.is_empty() { "none".to_owned() } else { upstreams.join(", ") }
    }

    /// The reply to a query over UDP: an upstream's, else SERVFAIL.
    pub(super) async fn ask(&self, query: &Query<'_>) -> Vec<u8> {
        self.first_answer(query, UPSTREAM_TIMEOUT, |upstream| over_udp(upstream, query)).await
    }

    /// The reply to a query over TCP, which upstreams are asked over TCP as well.
    pub(super) async fn ask_over_tcp(&self, query: &Query<'_>) -> Vec<u8> {
        self.first_answer(query, TCP_TIMEOUT, |upstream| over_tcp(upstream, query)).await
    }

    /// The first answer of upstreams, which are asked one after the other, and again while there is time. Without one the first
    /// failure of an upstream, else SERVFAIL.
    async fn first_answer<F>(
        &self,
        query: &Query<'_>,
        each: Duration,
        exchange: impl Fn(SocketAddr) -> F,
    ) -> Vec<u8>
    where
        F: Future<Output = io::Result<Vec<u8>>>,
    {
        let failed = || query.reply(Rcode::ServFail);
        let Ok(_place) = self.places.try_acquire() else { return failed() };
        let upstreams = self.upstreams.load_full();
        let end = Instant::now() + QUERY_TIMEOUT;
        let mut failure = None;
        let first = self.preferred.load(Ordering::Relaxed);
        for turn in first.. {
            let begun = Instant::now();
            let Some(upstream) = upstreams.get(turn % upstreams.len().max(1)) else { break };
            match timeout_at(end.min(begun + each), exchange(*upstream)).await {
                Ok(Ok(reply)) if is_failure(&reply) => {
                    failure.get_or_insert(reply);
                }
                Ok(Ok(reply)) => {
                    self.preferred.store(turn % upstreams.len(), Ordering::Relaxed);
                    return reply;
                }
                Ok(Err(_)) | Err(_) => {}
            }
            // All have said that they cannot.
            let is_round = turn - first + 1 >= upstreams.len();
            if is_round && failure.is_some() || Instant::now() >= end {
                break;
            }
            if is_round {
                // An upstream that refuses at once must not be asked without a pause.
                tokio::time::sleep_until(end.min(begun + each)).await;
            }
        }
        failure.unwrap_or_else(failed)
    }
}

/// Asks one upstream over UDP, and waits for its reply for as long as the caller does.
async fn over_udp(upstream: SocketAddr, query: &Query<'_>) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match upstream {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    let id = rand::random();
    socket.send(&query.with_id(id)).await?;
    loop {
        // One octet more shows a reply that was cut.
        let mut reply = vec![0; MAX_UDP_REPLY + 1];
        let len = socket.recv(&mut reply).await?;
        reply.truncate(len);
        // Whatever else comes is somebody's guess: the wait goes on.
        if let Some(reply) = query.client_reply(id, reply) {
            return Ok(if len > MAX_UDP_REPLY { query.ask_over_tcp() } else { reply });
        }
    }
}

/// Asks one upstream over TCP (RFC 1035 §4.2.2).
async fn over_tcp(upstream: SocketAddr, query: &Query<'_>) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    let id = rand::random();
    stream.write_all(&framed(&query.with_id(id))).await?;
    let reply = read_message(&mut stream).await?;
    query.client_reply(id, reply).ok_or_else(|| io::Error::other("a reply to another question"))
}

/// A message behind its length.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes()[..], &message[..usize::from(len)]].concat()
}

/// Reads a message behind its length.
pub(super) async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Does something with a stream within a time.
pub(super) async fn within<T>(time: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(time, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
