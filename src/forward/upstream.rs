//! Upstreams: connections, and what is known of how each is doing.

use super::choice::Standing;
use super::context::{UpstreamContext, millis};
use super::endpoint::Endpoint;
use super::exchange_error::ExchangeError;
use super::message::{self, UpstreamQuestion};
use super::probe;
use super::query_sockets::QuerySockets;
use super::tcp::TcpTransport;
use crate::wire::Reply;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Bounds of the time that an upstream has before the next is asked too.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

/// The same for one that never answered yet.
const FIRST_PATIENCE: Duration = Duration::from_millis(200);

/// Questions in a row that were lost or overtaken before an upstream is in doubt.
const DOUBT: u32 = 2;

/// SERVFAIL or REFUSED in a row before an upstream is in doubt: some names fail everywhere.
const FAILING: u32 = 5;

/// Time for the reply to a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long an upstream that forwards to us is left alone before it is tried again.
const LOOP_REST: Duration = Duration::from_secs(30);

/// A server that questions are forwarded to.
pub(super) struct Upstream {
    endpoint: Endpoint,
    context: Arc<UpstreamContext>,
    sockets: QuerySockets,
    tcp: TcpTransport,
    /// Smoothed reply time in microseconds; 0 before the first.
    rtt: AtomicU32,
    /// Questions lost or overtaken since the last reply.
    lost: AtomicU32,
    /// SERVFAIL and REFUSED since the last answer.
    failing: AtomicU32,
    /// In doubt: asked last until a probe is answered.
    doubted: AtomicBool,
    /// Whether the doubt was told.
    told: AtomicBool,
    /// Whether it answers only questions without EDNS.
    plain: AtomicBool,
    /// Maybe forwards to us: to be probed for it.
    loop_suspected: AtomicBool,
    /// When it was found to forward to us, in milliseconds since the pool began; 0 for never.
    looping_since: AtomicU64,
    loop_found: Notify,
    /// Changes of whether it is in order.
    changes: AtomicU64,
}

/// An upstream, and how it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamReport {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it is in order, as far as is known.
    pub is_up: bool,
    /// How often that changed.
    pub changes: u64,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({}, {:?})", self.endpoint, self.standing())
    }
}

impl Upstream {
    pub(super) fn new(endpoint: Endpoint, context: Arc<UpstreamContext>) -> Self {
        Self {
            endpoint,
            context,
            sockets: QuerySockets::new(endpoint.address),
            tcp: TcpTransport::new(endpoint.address),
            rtt: AtomicU32::new(0),
            lost: AtomicU32::new(0),
            failing: AtomicU32::new(0),
            doubted: AtomicBool::new(false),
            told: AtomicBool::new(false),
            plain: AtomicBool::new(false),
            loop_suspected: AtomicBool::new(false),
            looping_since: AtomicU64::new(0),
            loop_found: Notify::new(),
            changes: AtomicU64::new(0),
        }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    pub(super) fn standing(&self) -> Standing {
        let rtt = self.rtt.load(Ordering::Relaxed);
        Standing {
            well: !self.doubted.load(Ordering::Relaxed),
            rtt: (rtt > 0).then(|| Duration::from_micros(u64::from(rtt))),
        }
    }

    /// How long to wait for it before another is asked as well.
    pub(super) fn patience(&self) -> Duration {
        match self.standing().rtt {
            Some(rtt) => (3 * rtt).clamp(PATIENCE.0, PATIENCE.1),
            None => FIRST_PATIENCE,
        }
    }

    /// Asks; a truncated reply is asked for again over TCP.
    pub(super) async fn exchange(&self, question: &UpstreamQuestion) -> Result<Reply, ExchangeError> {
        tokio::select! {
            biased;
            () = self.loop_found.notified() => Err(ExchangeError::Loop),
            reply = self.exchange_message(question) => reply,
        }
    }

    async fn exchange_message(&self, question: &UpstreamQuestion) -> Result<Reply, ExchangeError> {
        let mut with_edns = !self.plain.load(Ordering::Relaxed);
        let mut message = self.over_udp(question, with_edns).await?;
        // A server that does not know EDNS says so without OPT (RFC 6891 §7).
        if with_edns && message::understood_nothing(&message) && message.edns.is_none() {
            with_edns = false;
            message = self.over_udp(question, false).await?;
            // Some questions no server understands, with EDNS or without.
            self.plain.store(!message::understood_nothing(&message), Ordering::Relaxed);
        }
        if message.metadata.truncation {
            // Without TCP the truncated reply still tells the client to try TCP with us.
            if let Ok(whole) = self.tcp.exchange(question, with_edns, &self.context).await {
                message = whole;
            }
        }
        Ok(message::reply(message))
    }

    async fn over_udp(&self, question: &UpstreamQuestion, with_edns: bool) -> Result<Message, ExchangeError> {
        let message = self.sockets.exchange(question, with_edns, self.context.timeout()).await?;
        if message::answers(&question.query, &message) {
            Ok(message)
        } else {
            Err(ExchangeError::NotTheReply)
        }
    }

    /// Notes a reply and the time it took.
    pub(super) fn answered(&self, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let before = self.rtt.load(Ordering::Relaxed);
        let smooth = if before == 0 { took } else { before - before / 8 + took / 8 };
        self.rtt.store(smooth.max(1), Ordering::Relaxed);
        self.lost.store(0, Ordering::Relaxed);
        self.failing.store(0, Ordering::Relaxed);
        self.doubt(false);
        if self.told.swap(false, Ordering::Relaxed) {
            log::info!("upstream {}: answers again", self.endpoint);
        }
    }

    /// Notes SERVFAIL or REFUSED: quick, but no answer.
    pub(super) fn gave_up(&self) {
        if self.failing.fetch_add(1, Ordering::Relaxed) + 1 >= FAILING {
            self.doubt(true);
        }
    }

    /// Notes an error in the place of a reply.
    pub(super) fn failed(&self, error: &ExchangeError) {
        log::debug!("upstream {}: {error}", self.endpoint);
        self.overtaken();
    }

    /// Notes that there was no reply when it was due.
    pub(super) fn overtaken(&self) {
        if self.lost.fetch_add(1, Ordering::Relaxed) + 1 >= DOUBT {
            self.doubt(true);
        }
    }

    fn doubt(&self, doubted: bool) {
        // Most replies change nothing, and then nothing is written that others read.
        if self.doubted.load(Ordering::Relaxed) != doubted
            && self.doubted.swap(doubted, Ordering::Relaxed) != doubted
        {
            self.changes.fetch_add(1, Ordering::Relaxed);
            self.context.news.notify_one();
        }
    }

    /// How it is doing, for people.
    pub(super) fn report(&self) -> UpstreamReport {
        UpstreamReport {
            address: self.endpoint.address,
            is_up: self.standing().well && !self.is_looping(),
            changes: self.changes.load(Ordering::Relaxed),
        }
    }

    /// Has it probed for forwarding to us.
    pub(super) fn suspect_loop(&self) {
        self.loop_suspected.store(true, Ordering::Relaxed);
    }

    /// Whether it was found to forward to us.
    pub(super) fn is_looping(&self) -> bool {
        self.looping_since.load(Ordering::Relaxed) != 0
    }

    fn found_looping(&self) {
        if self.looping_since.swap(self.context.now(), Ordering::Relaxed) == 0 {
            log::error!(
                "upstream {}: forwards to this server; it is not asked until that ends",
                self.endpoint
            );
            self.changes.fetch_add(1, Ordering::Relaxed);
            self.context.news.notify_one();
        }
        self.loop_found.notify_waiters();
    }

    /// Drops the connections, so that the next question makes new ones.
    pub(super) fn disconnect(&self) {
        self.sockets.close();
        self.tcp.close();
    }

    /// Closes what is not needed any more, and probes it if there is a doubt about it.
    pub(super) async fn tend(&self) {
        self.sockets.close_idle();
        if self.wants_loop_probe() {
            self.probe_loop().await;
        } else if self.doubted.load(Ordering::Relaxed) && !self.is_looping() {
            self.probe().await;
        }
    }

    /// Notes that it forwards to us if a name is the one that it is probed with.
    pub(super) fn probe_came_back(&self, name: &Name) -> bool {
        let own = probe::name(self.context.nonce, self.endpoint) == *name;
        if own {
            self.found_looping();
        }
        own
    }

    /// Asks what every resolver can answer, with EDNS and without; an answer ends the doubt.
    ///
    /// Only a probe that fails is told: names that are slow everywhere say nothing about the upstream.
    async fn probe(&self) {
        let question = probe::question(Name::root(), RecordType::NS);
        for with_edns in [true, false] {
            let begun = tokio::time::Instant::now();
            let reply = timeout(PROBE_TIMEOUT, self.over_udp(&question, with_edns)).await;
            if let Ok(Ok(_)) = reply {
                // Any reply will do: a server of internal zones may refuse the root.
                self.plain.store(!with_edns, Ordering::Relaxed);
                self.answered(begun.elapsed());
                return;
            }
        }
        if !self.told.swap(true, Ordering::Relaxed) {
            log::warn!("upstream {}: does not answer; asked last until it does", self.endpoint);
        }
    }

    /// Asks for a name that only this process knows; if it comes back to us, the upstream loops.
    async fn probe_loop(&self) {
        let before = self.looping_since.load(Ordering::Relaxed);
        let question = probe::question(probe::name(self.context.nonce, self.endpoint), RecordType::HINFO);
        let answered = matches!(timeout(PROBE_TIMEOUT, self.over_udp(&question, true)).await, Ok(Ok(_)));
        let untouched = self.looping_since.load(Ordering::Relaxed) == before;
        if before != 0 && answered && untouched {
            self.looping_since.store(0, Ordering::Relaxed);
            self.changes.fetch_add(1, Ordering::Relaxed);
            self.context.news.notify_one();
            log::info!("upstream {}: no longer forwards to this server", self.endpoint);
        }
    }

    fn wants_loop_probe(&self) -> bool {
        let since = self.looping_since.load(Ordering::Relaxed);
        let rested = since != 0 && self.context.now().saturating_sub(since) >= millis(LOOP_REST);
        self.loop_suspected.swap(false, Ordering::Relaxed) || rested
    }
}
