//! One upstream: its sockets and connection, its state, and the probes that bring the state up to date.
//!
//! The rules of the state are in `upstream_state`; here the events of the network are noted, and their effects carried
//! out. How long an upstream has, and which one is asked, is for the race to say.

use super::context::UpstreamContext;
use super::edns_state::EdnsSupport;
use super::endpoint::{Endpoint, UpstreamTransport};
use super::exchange_error::{Blame, ExchangeError};
use super::health::Health;
use super::message::{UpstreamQuestion, UpstreamReply};
use super::probe;
use super::query_sockets::QuerySockets;
use super::tcp::TcpTransport;
use super::udp_exchange::{ExchangeSignals, UdpExchange, UdpReply};
use super::upstream_state::{Effects, ProbeKind, UpstreamCondition, UpstreamNotice, UpstreamState};
use super::upstream_summary::UpstreamSummary;
use super::verdict::{FailureKind, shaped_failure_kind};
use crate::lock::lock;
use crate::wire::Reply;
use hickory_proto::rr::{Name, RecordType};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Time for the reply to a probe, shorter than the timeout of questions.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Bounds of the time that an upstream has before the next one is asked too; within them three times its reply time.
const HEDGE_DELAY: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_millis(400);

/// The same time for an upstream that never answered yet.
const FIRST_HEDGE_DELAY: Duration = Duration::from_millis(200);

/// A server that questions are forwarded to, with what is known of it.
pub(super) struct Upstream {
    endpoint: Endpoint,
    context: Arc<UpstreamContext>,
    sockets: QuerySockets,
    tcp: TcpTransport,
    state: Mutex<UpstreamState>,
    /// The summary of the state, as a word that each question reads without the lock.
    summary: AtomicU64,
    /// Wakes the exchanges under way when the upstream is found to forward to us.
    loop_found: Notify,
    /// Wakes the exchanges under way when the upstream is found dead.
    died: Notify,
}

/// What an upstream gave in the place of an answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// A reply that another upstream may do better than.
    Reply(Reply, FailureKind),
    /// No reply.
    Error(ExchangeError),
}

/// The state of an upstream, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamReport {
    /// Where the upstream listens.
    pub address: SocketAddr,
    /// Whether it answers.
    pub condition: UpstreamCondition,
    /// How often it went down or came up again.
    pub changes: u64,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({}, {:?})", self.endpoint, self.summary())
    }
}

impl Upstream {
    pub(super) fn new(endpoint: Endpoint, context: Arc<UpstreamContext>) -> Self {
        let state = UpstreamState::new();
        Self {
            endpoint,
            context,
            sockets: QuerySockets::new(endpoint.address),
            tcp: TcpTransport::new(endpoint.address),
            summary: AtomicU64::new(state.summary().to_word()),
            state: Mutex::new(state),
            loop_found: Notify::new(),
            died: Notify::new(),
        }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// What is known of the upstream, in short.
    pub(super) fn summary(&self) -> UpstreamSummary {
        UpstreamSummary::from_word(self.summary.load(Ordering::Relaxed))
    }

    /// Changes the state, and carries out what follows from the change.
    fn note(&self, event: impl FnOnce(&mut UpstreamState) -> Effects) {
        let effects = {
            let mut state = lock(&self.state);
            let effects = event(&mut state);
            self.summary.store(state.summary().to_word(), Ordering::Relaxed);
            effects
        };
        let endpoint = self.endpoint;
        match effects.log {
            Some(UpstreamNotice::DoesNotAnswer) => {
                log::warn!("upstream {endpoint}: does not answer; asked last until it does");
            }
            Some(UpstreamNotice::AnswersAgain) => log::info!("upstream {endpoint}: answers again"),
            Some(UpstreamNotice::LoopFound) => {
                log::error!("upstream {endpoint}: forwards to this server; it is not asked until that ends");
            }
            Some(UpstreamNotice::LoopEnded) => {
                log::info!("upstream {endpoint}: no longer forwards to this server");
            }
            None => {}
        }
        if effects.notify {
            self.context.changed.notify_one();
        }
        if effects.end_exchanges {
            self.loop_found.notify_waiters();
        }
        if effects.pass_over {
            self.died.notify_waiters();
        }
        if effects.probe {
            self.context.probe_due.notify_one();
        }
    }

    /// Asks a question, and notes what came of it: once, also if this is dropped before it ends.
    ///
    /// `pass_over` is notified when the next upstream is to be asked, though this one may still answer.
    ///
    /// # Errors
    /// What came is no answer, and another upstream may have one.
    pub(super) async fn ask(
        &self,
        question: &UpstreamQuestion,
        pass_over: Arc<Notify>,
    ) -> Result<Reply, NoAnswer> {
        let begun = Instant::now();
        let on_silence = || self.note(|state| state.on_silence(begun, Instant::now()));
        let signals = ExchangeSignals::new(pass_over, &on_silence);
        let mut attempt = Attempt { upstream: self, begun, signals, is_settled: false };
        let result = self.exchange(question, &attempt.signals).await;
        attempt.is_settled = true;
        let now = Instant::now();
        match result {
            Ok(mut received) => match shaped_failure_kind(question, &mut received) {
                None => {
                    self.note(|state| state.on_answer(now - attempt.begun, now));
                    Ok(received.reply)
                }
                Some(kind) => {
                    self.note(|state| state.on_failure_reply(now));
                    Err(NoAnswer::Reply(received.reply, kind))
                }
            },
            Err(error) => {
                log::debug!("upstream {}: {error}", self.endpoint);
                match error.blame() {
                    Blame::None => {}
                    Blame::Replied => self.note(|state| state.on_failure_reply(now)),
                    Blame::Unanswered => self.note(|state| state.on_unanswered(attempt.begun, now)),
                }
                Err(NoAnswer::Error(error))
            }
        }
    }

    /// Asks, until the upstream is found to forward to us. Has the next upstream asked once this one is found dead.
    async fn exchange(
        &self,
        question: &UpstreamQuestion,
        signals: &ExchangeSignals<'_>,
    ) -> Result<UpstreamReply, ExchangeError> {
        let exchange = async {
            match self.endpoint.transport {
                UpstreamTransport::Classic => self.exchange_classic(question, signals).await,
                UpstreamTransport::Tcp => {
                    let with_edns = self.summary().edns != EdnsSupport::Unsupported;
                    self.tcp.exchange(question, with_edns, &self.context).await
                }
            }
        };
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            () = self.loop_found.notified() => return Err(ExchangeError::Loop),
            reply = &mut exchange => return reply,
            () = self.died.notified() => signals.pass_over(),
        }
        tokio::select! {
            biased;
            () = self.loop_found.notified() => Err(ExchangeError::Loop),
            reply = exchange => reply,
        }
    }

    /// Asks over UDP, and over TCP what UDP truncates or cuts.
    async fn exchange_classic(
        &self,
        question: &UpstreamQuestion,
        signals: &ExchangeSignals<'_>,
    ) -> Result<UpstreamReply, ExchangeError> {
        let UpstreamSummary { edns, health, .. } = self.summary();
        let end = Instant::now() + self.context.timeout();
        let mut exchange = UdpExchange::begin(&self.sockets, question, edns, signals).await?;
        if health == Health::Dead {
            // Probes find out when it is back.
            exchange = exchange.without_retries_where_nobody_listens();
        }
        let (received, with_edns) = match exchange.reply_until(end).await {
            Ok(received) => {
                self.note_edns(question, &received);
                (Ok(received.reply), received.with_edns)
            }
            Err(ExchangeError::Cut) => (Err(ExchangeError::Cut), edns != EdnsSupport::Unsupported),
            Err(error) => return Err(error),
        };
        if received.as_ref().is_ok_and(|received| !received.reply.truncated) {
            return received;
        }
        // Without TCP the race gets the truncated reply, or that the reply is cut.
        self.tcp.exchange(question, with_edns, &self.context).await.or(received)
    }

    /// Notes what a reply says of the upstream's support for EDNS.
    fn note_edns(&self, question: &UpstreamQuestion, received: &UdpReply) {
        if received.reply.has_edns {
            self.note(|state| state.on_opt(Instant::now()));
        } else if received.fell_back {
            let mut hasher = DefaultHasher::new();
            question.query.hash(&mut hasher);
            self.note(|state| state.on_fall_back(hasher.finish(), Instant::now()));
        }
    }

    /// When the upstream came back to life: it replied again after it was dead. Where the network failed, such as that nobody
    /// listened, any reply shows that.
    pub(super) fn revived(&self, after_network_failure: bool) -> Option<Instant> {
        let state = lock(&self.state);
        if after_network_failure { state.last_reply() } else { state.revived() }
    }

    /// Waits until the upstream is dead or forwards to us.
    async fn down(&self) {
        loop {
            // Both are listened to before the look, so that no change is missed.
            let mut died = std::pin::pin!(self.died.notified());
            let mut loop_found = std::pin::pin!(self.loop_found.notified());
            died.as_mut().enable();
            loop_found.as_mut().enable();
            if !self.summary().may_answer() {
                return;
            }
            tokio::select! {
                () = died => {}
                () = loop_found => {}
            }
        }
    }

    /// How long to wait for the upstream before another one is asked as well.
    pub(super) fn hedge_delay(&self) -> Duration {
        match self.summary().rtt {
            Some(rtt) => (3 * rtt).clamp(*HEDGE_DELAY.start(), *HEDGE_DELAY.end()),
            None => FIRST_HEDGE_DELAY,
        }
    }

    /// Notes that the upstream failed a question that another one answered.
    pub(super) fn note_outdone(&self) {
        self.note(|state| state.on_outdone(Instant::now()));
    }

    /// Has the upstream probed for a loop at the next turn.
    pub(super) fn suspect_loop(&self) {
        self.note(UpstreamState::on_loop_suspected);
    }

    /// The state of the upstream, for people.
    pub(super) fn report(&self) -> UpstreamReport {
        let state = lock(&self.state);
        UpstreamReport {
            address: self.endpoint.address,
            condition: state.condition(),
            changes: state.changes(),
        }
    }

    /// Gives up sockets and connection: the next question makes new ones.
    pub(super) fn disconnect(&self) {
        self.sockets.close();
        self.tcp.close();
    }

    /// Closes sockets and connections that nobody uses, and forgets what was learned long ago.
    pub(super) fn maintain(&self) {
        self.sockets.close_idle();
        self.tcp.close_idle();
        self.note(|state| state.on_tick(Instant::now()));
    }

    /// What the upstream is to be probed for now, because its replies are missing or it may forward to us.
    pub(super) fn take_probe(&self) -> Option<ProbeKind> {
        lock(&self.state).take_probe(Instant::now())
    }

    /// Probes the upstream, and notes what came of it.
    pub(super) async fn run_probe(&self, probe: ProbeKind) {
        match probe {
            ProbeKind::Loop { known_since } => self.probe_loop(known_since).await,
            ProbeKind::Health => self.probe_health().await,
        }
    }

    /// Whether a name is the one that this upstream is probed with; if so, notes that the upstream forwards to us.
    pub(super) fn probe_came_back(&self, name: &Name) -> bool {
        let is_own = probe::name(self.context.nonce, self.endpoint) == *name;
        if is_own {
            self.note(|state| state.on_loop_found(Instant::now()));
        }
        is_own
    }

    /// Asks what every resolver can answer, with EDNS and soon without. Only a reply with OPT says something about EDNS.
    async fn probe_health(&self) {
        let question = UpstreamQuestion::own(Name::root(), RecordType::NS);
        let sent = Instant::now();
        let reply = self.probe(&question).await;
        let now = Instant::now();
        match reply {
            Ok(_) => self.note(|state| state.on_probe_reply(now - sent, now)),
            Err(error) => match error.blame() {
                Blame::None => {}
                Blame::Replied => self.note(|state| state.on_probe_reply(now - sent, now)),
                Blame::Unanswered => self.note(|state| state.on_probe_unanswered(sent, now)),
            },
        }
    }

    /// Asks for a name that only this process knows; if the question comes back to us, the upstream forwards to us.
    async fn probe_loop(&self, known_before: Option<Instant>) {
        let question =
            UpstreamQuestion::own(probe::name(self.context.nonce, self.endpoint), RecordType::HINFO);
        if self.probe(&question).await.is_ok() {
            self.note(|state| state.on_loop_probe_reply(known_before));
        }
    }

    /// Sends a probe; gives its reply.
    async fn probe(&self, question: &UpstreamQuestion) -> Result<UpstreamReply, ExchangeError> {
        let end = Instant::now() + PROBE_TIMEOUT;
        if self.endpoint.transport == UpstreamTransport::Tcp {
            let exchange = self.tcp.exchange(question, true, &self.context);
            return timeout_at(end, exchange).await.unwrap_or(Err(ExchangeError::Timeout));
        }
        let signals = ExchangeSignals::default();
        // As if nothing were known of EDNS: so the probe finds a server that learned it or lost it.
        let exchange = UdpExchange::begin(&self.sockets, question, EdnsSupport::Unknown, &signals).await?;
        let received = exchange.without_retries_where_nobody_listens().reply_until(end).await?;
        if received.reply.has_edns {
            self.note(|state| state.on_opt(Instant::now()));
        }
        Ok(received.reply)
    }
}

/// Waits until none of some upstreams may answer: all are dead or forward to us.
pub(super) async fn all_down(upstreams: &[Arc<Upstream>]) {
    while let Some(upstream) = upstreams.iter().find(|upstream| upstream.summary().may_answer()) {
        upstream.down().await;
    }
}

/// A question to an upstream that is under way. If it is given up, since another upstream answered or nobody waits any
/// more, it counts as unanswered if the upstream had its time or cannot be reached.
struct Attempt<'a> {
    upstream: &'a Upstream,
    begun: Instant,
    signals: ExchangeSignals<'a>,
    /// Whether what came of it is noted already.
    is_settled: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let had_its_time = now - self.begun >= self.upstream.hedge_delay() || self.signals.is_unreachable();
        if !self.is_settled && had_its_time {
            self.upstream.note(|state| state.on_unanswered(self.begun, now));
        }
    }
}
