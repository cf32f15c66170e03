//! One upstream: its sockets and connection, its state, and the probes that bring the state up to date.
//!
//! The rules of the state are in `upstream_state`; here the events of the network are noted, and their effects carried
//! out. How long an upstream has, and which one is asked, is for the race to say.

use super::context::UpstreamContext;
use super::endpoint::{Endpoint, UpstreamTransport};
use super::exchange_error::ExchangeError;
use super::message::{UpstreamQuestion, UpstreamReply};
use super::probe;
use super::query_sockets::QuerySockets;
use super::tcp::TcpTransport;
use super::upstream_state::{
    EdnsSupport, Effects, ProbeKind, UpstreamNotice, UpstreamState, UpstreamSummary,
};
use crate::lock::lock;
use crate::wire::Reply;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// Time for the reply to a probe, shorter than the timeout of questions.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

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
}

/// What an upstream gave in the place of an answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// A reply that another upstream may do better than.
    Reply(Reply),
    /// No reply.
    Error(ExchangeError),
}

/// The state of an upstream, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamReport {
    /// Where the upstream listens.
    pub address: SocketAddr,
    /// Whether the upstream is healthy and does not forward to us, as far as is known.
    pub is_up: bool,
    /// How often `is_up` changed.
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
    }

    /// Asks a question, and notes what came of it.
    ///
    /// # Errors
    /// What came is no answer, and another upstream may have one.
    pub(super) async fn ask(&self, question: &UpstreamQuestion) -> Result<Reply, NoAnswer> {
        let begun = Instant::now();
        match self.exchange(question).await {
            Ok(reply) if is_failure(&reply) => {
                self.note(UpstreamState::on_failure_reply);
                Err(NoAnswer::Reply(reply))
            }
            Ok(answer) => {
                self.note(|state| state.on_answer(begun.elapsed()));
                Ok(answer)
            }
            Err(error) => {
                log::debug!("upstream {}: {error}", self.endpoint);
                self.note(UpstreamState::on_loss);
                Err(NoAnswer::Error(error))
            }
        }
    }

    /// Asks, until the upstream is found to forward to us.
    async fn exchange(&self, question: &UpstreamQuestion) -> Result<Reply, ExchangeError> {
        let exchange = match self.endpoint.transport {
            UpstreamTransport::Classic => self.exchange_classic(question),
        };
        tokio::select! {
            biased;
            () = self.loop_found.notified() => Err(ExchangeError::Loop),
            reply = exchange => reply,
        }
    }

    /// Asks over UDP, and over TCP what UDP truncates.
    async fn exchange_classic(&self, question: &UpstreamQuestion) -> Result<Reply, ExchangeError> {
        let mut with_edns = self.summary().edns == EdnsSupport::Supported;
        let mut received = self.over_udp(question, with_edns).await?;
        // A server that does not know EDNS says so without OPT (RFC 6891 §7).
        if with_edns && received.is_not_understood() && !received.has_edns {
            with_edns = false;
            received = self.over_udp(question, false).await?;
            let understood = !received.is_not_understood();
            self.note(|state| state.on_retry_without_edns(understood));
        }
        // Without TCP the truncated reply still tells the client to try TCP with us.
        if received.reply.truncated
            && let Ok(whole) = self.tcp.exchange(question, with_edns, &self.context).await
        {
            received = whole;
        }
        Ok(received.reply)
    }

    /// Asks over UDP.
    async fn over_udp(
        &self,
        question: &UpstreamQuestion,
        with_edns: bool,
    ) -> Result<UpstreamReply, ExchangeError> {
        self.sockets.exchange(question, with_edns, self.context.timeout()).await
    }

    /// Notes that another upstream answered first, or that the time for an answer is over.
    pub(super) fn note_loss(&self) {
        self.note(UpstreamState::on_loss);
    }

    /// Has the upstream probed for a loop at the next turn.
    pub(super) fn suspect_loop(&self) {
        self.note(UpstreamState::on_loop_suspected);
    }

    /// The state of the upstream, for people.
    pub(super) fn report(&self) -> UpstreamReport {
        UpstreamReport {
            address: self.endpoint.address,
            is_up: self.summary().is_up(),
            changes: lock(&self.state).changes(),
        }
    }

    /// Gives up sockets and connection: the next question makes new ones.
    pub(super) fn disconnect(&self) {
        self.sockets.close();
        self.tcp.close();
    }

    /// Closes sockets and connections that nobody uses, and probes the upstream if it is suspect or may forward to us.
    pub(super) async fn maintain(&self) {
        self.sockets.close_idle();
        self.tcp.close_idle();
        let probe = lock(&self.state).take_probe(Instant::now());
        match probe {
            Some(ProbeKind::Loop { known_since }) => self.probe_loop(known_since).await,
            Some(ProbeKind::Health) => self.probe_health().await,
            None => {}
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

    /// Asks what every resolver can answer, with EDNS and without.
    async fn probe_health(&self) {
        let question = UpstreamQuestion::own(Name::root(), RecordType::NS);
        for edns in [EdnsSupport::Supported, EdnsSupport::Unsupported] {
            let with_edns = edns == EdnsSupport::Supported;
            let begun = Instant::now();
            let reply = timeout(PROBE_TIMEOUT, self.over_udp(&question, with_edns)).await;
            if let Ok(Ok(_)) = reply {
                // Any reply will do: a server of internal zones may refuse the root.
                self.note(|state| state.on_probe_reply(begun.elapsed(), edns));
                return;
            }
        }
        self.note(UpstreamState::on_probe_failure);
    }

    /// Asks for a name that only this process knows; if the question comes back to us, the upstream forwards to us.
    async fn probe_loop(&self, known_before: Option<Instant>) {
        let question =
            UpstreamQuestion::own(probe::name(self.context.nonce, self.endpoint), RecordType::HINFO);
        if let Ok(Ok(_)) = timeout(PROBE_TIMEOUT, self.over_udp(&question, true)).await {
            self.note(|state| state.on_loop_probe_reply(known_before));
        }
    }
}

/// Whether another upstream may do better. A reply that is truncated here was truncated over TCP as well.
fn is_failure(reply: &Reply) -> bool {
    reply.truncated || matches!(reply.rcode, ResponseCode::ServFail | ResponseCode::Refused)
}
