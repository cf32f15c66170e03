//! One query: who answers it, and what is sent back.
//!
//! [`Handler::handle`] takes a packet as far as it goes without waiting: answers for our own names are made in [`own`], signed in
//! [`signing`], forwarded names are looked for in the response cache; what has to wait becomes a [`PendingQuery`], which the
//! slow path [finishes](Handler::finish). A panic costs the query that it happened in, which gets SERVFAIL.

mod inputs;
mod own;
mod pending;
mod query_log;
mod signing;

pub use pending::PendingQuery;

use super::client_policy::{ClientClass, ClientPolicy};
use super::costly::{CostlyPool, CostlyThreads};
use super::costly_time::CostlyTime;
use super::limit::{OVER_TCP, OVER_UDP, ResponseRateLimiter};
use super::origin::{ClientId, Origin};
use crate::answer::Ede;
use crate::config::Config;
use crate::forward::{Forwarder, KnownReply, RouteTable, StubTable};
use crate::heartbeat::Heartbeats;
use crate::logging::RateLimitedLog;
use crate::metrics::{AnsweredBy, ErrorCause, Metrics, ReplyStats};
use crate::source::Published;
use crate::wire::{self, CacheHint, MAX_UDP_REPLY_BEYOND_HOST, Reply, Request, Screened, Transport};
use arc_swap::ArcSwap;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, Name, RecordType};
use inputs::{AnswerInputs, Effort};
use pending::{Forwarding, PendingWork};
use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// Answers queries; shared by all workers and connections.
#[derive(Debug)]
pub struct Handler {
    pub(super) published: Arc<ArcSwap<Published>>,
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) forwarder: Arc<Forwarder>,
    routes: RouteTable,
    stubs: StubTable,
    metrics: Arc<Metrics>,
    client_policy: Arc<ClientPolicy>,
    limiter: ResponseRateLimiter,
    tcp_limiter: ResponseRateLimiter,
    unsigned_log: RateLimitedLog,
    /// What UDP workers do of that themselves.
    costly_time: CostlyTime,
    /// Where answers are made that take more work than others should wait for.
    answering: Arc<CostlyPool>,
    /// Where signatures are made that no worker makes.
    signing: Arc<CostlyPool>,
    /// The question of our own probes, whose name nobody else can know.
    probe: Name,
    /// Whether workers send cached replies again.
    pub(super) has_fast_path: bool,
    /// Becomes true when queries that wait are to be given up.
    ending: watch::Sender<bool>,
}

/// Threads that make costly answers: one client's never keep another's from a thread, and the cores are left to others.
const ANSWERING_THREADS: usize = 2;

/// What becomes of a packet without waiting.
#[derive(Debug)]
pub enum Handled {
    /// Nothing is sent.
    Drop,
    /// These octets are sent; with a hint they may be cached and sent again.
    Reply(Vec<u8>, Option<CacheHint<ReplyStats>>),
    /// The reply has to wait for something.
    Pending(PendingQuery),
}

/// How a query came in. Its [`Transport`] follows once the limit of the reply is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Udp,
    Tcp,
}

/// A question of a client on its way to an answer.
#[derive(Debug)]
struct ClientQuery {
    request: Request,
    transport: Transport,
    client: ClientClass,
    /// Whose share of the agent's means the query uses.
    id: ClientId,
    /// When the packet came in.
    received: Instant,
    /// Where it came from, if its result is to be logged (`-verbose`).
    logged: Option<SocketAddr>,
}

impl Handler {
    /// A handler over the published states of tree and configuration.
    pub fn new(
        published: Arc<ArcSwap<Published>>,
        config: Arc<ArcSwap<Config>>,
        forwarder: Arc<Forwarder>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let token = format!("{:032x}", rand::random::<u128>());
        let probe = Name::from_labels([token.as_bytes(), b"probe"]);
        debug_assert!(probe.is_ok(), "the token is a label");
        let client_policy = Arc::new(ClientPolicy::new(&config.load().allow));
        Self {
            published,
            config,
            forwarder,
            routes: RouteTable::default(),
            stubs: StubTable::default(),
            metrics,
            client_policy,
            limiter: ResponseRateLimiter::new(OVER_UDP),
            tcp_limiter: ResponseRateLimiter::new(OVER_TCP),
            unsigned_log: RateLimitedLog::default(),
            costly_time: CostlyTime::new(),
            answering: CostlyPool::new(),
            signing: CostlyPool::new(),
            probe: probe.unwrap_or_default(),
            has_fast_path: true,
            ending: watch::Sender::new(false),
        }
    }

    /// The same handler, whose workers answer each query in full.
    pub fn without_fast_path(self) -> Self {
        Self { has_fast_path: false, ..self }
    }

    /// Has queries that wait answered with SERVFAIL: nobody could answer them after the end of the agent.
    pub fn give_up_pending(&self) {
        self.ending.send_replace(true);
    }

    /// Starts the threads for costly work.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn start_costly_threads(self: &Arc<Self>, heartbeats: &Heartbeats) -> io::Result<CostlyThreads> {
        // As many signatures are made at once as there are cores: more would only take longer.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pools = [("answering", &self.answering, ANSWERING_THREADS), ("signing", &self.signing, cores)];
        let handler = Arc::clone(self);
        CostlyThreads::start(&pools, heartbeats, &move || {
            handler.metrics.panicked();
            log::error!("a fault in costly work");
        })
    }

    /// The name of a question of class CH that only we ask: it is answered with the SOA of our domain, as a client's
    /// question for the SOA would be, but neither logged nor counted.
    pub fn probe(&self) -> &Name {
        &self.probe
    }

    /// Which clients are forwarded for.
    pub fn client_policy(&self) -> &Arc<ClientPolicy> {
        &self.client_policy
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether a client is one of ours, for whom questions are forwarded by its address.
    pub(super) fn is_ours(&self, origin: &Origin) -> bool {
        self.client_policy.class_of(origin, &self.config.load().allow).is_trusted()
    }

    /// Takes the budget for one query over TCP; `false` if a client that is not ours has to wait for it.
    pub(super) fn take_turn(&self, origin: &Origin) -> bool {
        self.is_ours(origin) || self.tcp_limiter.take(origin.ip)
    }

    /// Handles a packet as far as it goes without waiting. Never panics.
    pub(super) fn handle(&self, packet: &[u8], origin: &Origin) -> Handled {
        #[cfg(all(debug_assertions, not(fuzzing)))]
        super::fault::abort_if_asked(packet);
        let received = Instant::now();
        catch_unwind(AssertUnwindSafe(|| match wire::screen(packet) {
            Screened::Drop => {
                self.metrics.dropped();
                Handled::Drop
            }
            Screened::Reply(reply) => {
                self.metrics.rejected();
                Handled::Reply(reply, None)
            }
            Screened::Ask(request) => {
                let config = self.config.load();
                let client = self.client_policy.class_of(origin, &config.allow);
                let transport = match origin.protocol() {
                    Protocol::Udp => Transport::Udp { limit: request.udp_limit(client.max_udp_reply()) },
                    Protocol::Tcp => Transport::Tcp,
                };
                let (id, logged) = (ClientId::of(origin.ip), config.verbose.then_some(origin.peer));
                let query = ClientQuery { request, transport, client, id, received, logged };
                self.admit(query, origin, &config)
            }
        }))
        .unwrap_or_else(|_| self.panicked(packet))
    }

    /// Answers a query, unless its client is limited: one whose address may be forged is, over UDP.
    fn admit(&self, query: ClientQuery, origin: &Origin, config: &Config) -> Handled {
        #[cfg(test)]
        super::fault::panic_if_asked("now", query.request.query.name().to_ascii().as_bytes());
        if query.class() == DNSClass::CH && *query.name() == self.probe {
            return self.answer_probe(query, config);
        }
        let over_udp = query.transport != Transport::Tcp;
        if query.client.may_be_forged() && over_udp && !self.limiter.take(origin.ip) {
            self.metrics.limited();
            return Handled::Reply(wire::encode(&query.request, &ask_over_tcp(), query.transport), None);
        }
        self.answer(query, config)
    }

    /// Answers from a stub zone, from the tree, or by forwarding.
    fn answer(&self, query: ClientQuery, config: &Config) -> Handled {
        let published = self.published.load();
        let inputs = AnswerInputs::new(config, &published, Effort::of(query.transport));
        // Our own apex exists whatever the parent's servers say, and clients that are not forwarded for get its NODATA.
        let is_own_ds = query.rtype() == RecordType::DS && config.site.zones.apex(query.name()).is_some();
        let is_answered_here = is_own_ds && query.client == ClientClass::AuthoritativeOnly;
        if !config.forward.stub_zones {
            self.stubs.clear();
        }
        if query.class() == DNSClass::IN
            && let Some(zone) = self.routes.find(&config.forward.routes, query.name(), &config.site)
        {
            let forwarding = Forwarding { stub: Some(zone), ..Forwarding::default() };
            return self.forward(query, forwarding, inputs);
        }
        if config.forward.stub_zones
            && query.class() == DNSClass::IN
            && !is_answered_here
            && let Some(zone) = inputs.stub_zone(&self.stubs, &query.name_in_zone())
        {
            let forwarding = Forwarding { stub: Some(zone), name_exists: is_own_ds, ..Forwarding::default() };
            return self.forward(query, forwarding, inputs);
        }
        self.answer_own(query, inputs)
    }

    /// Answers a name that is not our own from the response cache, or leaves it to the slow path to ask upstreams.
    fn forward(&self, query: ClientQuery, forwarding: Forwarding, inputs: AnswerInputs<'_>) -> Handled {
        let zone = forwarding.stub.as_deref();
        let refusal = refusal_to_forward(&query);
        let known = self.forwarder.look(&query.request, zone, refusal.is_some());
        let reply = match (known, refusal) {
            (KnownReply::OwnProbe, _) => Reply::empty(ResponseCode::NXDomain),
            (_, Some(refusal)) => refusal,
            // What goes on with what we have is made on the slow path.
            (KnownReply::Cached { mut reply, fresh_for }, None)
                if !(forwarding.name_exists && reply.rcode == ResponseCode::NXDomain
                    || forwarding.is_missing_here && inputs.is_led_back(&query, &reply)) =>
            {
                forwarding.limit(&mut reply);
                let (octets, stats) = self.encode(&query, AnsweredBy::Cache, &reply);
                return Handled::Reply(
                    octets,
                    inputs.cache_hint_of_forwarded(fresh_for, query.client, stats),
                );
            }
            (known, None) => {
                if matches!(known, KnownReply::Unknown) {
                    self.metrics.missed_cache();
                }
                let work = PendingWork::Forward(forwarding);
                return Handled::Pending(PendingQuery { query, work });
            }
        };
        Handled::Reply(self.encode(&query, AnsweredBy::Recursive, &reply).0, None)
    }

    /// Writes a reply and counts it; also returns what is counted of it.
    fn encode(&self, query: &ClientQuery, answered_by: AnsweredBy, reply: &Reply) -> (Vec<u8>, ReplyStats) {
        let octets = wire::encode(&query.request, reply, query.transport);
        let config = self.config.load();
        let zone = config.site.zones.of(&query.request.query.name);
        let stats = ReplyStats {
            answered_by,
            zone: zone.map_or(0, |zone| zone.statistics),
            cause: cause(&octets, reply),
            no_data: reply.rcode == ResponseCode::NoError && !reply.has_answers() && !reply.too_large,
            dnssec_ok: query.request.dnssec_ok(),
            is_of_leaving: reply.is_of_leaving,
            octets: octets.len(),
        };
        let took = query.received.elapsed();
        self.metrics.replied(&stats, took);
        if let Some(peer) = query.logged {
            query_log::log(&query.request.query, peer, (&octets, query.transport), took);
        }
        if reply.too_costly {
            self.metrics.too_costly();
        }
        (octets, stats)
    }

    /// SERVFAIL for a packet whose handling panicked.
    fn panicked(&self, packet: &[u8]) -> Handled {
        self.metrics.panicked();
        log::error!("a fault in handling a packet of {} octets", packet.len());
        // The fault may be in reading the packet.
        if let Ok(Screened::Ask(request)) = catch_unwind(|| wire::screen(packet)) {
            let reply = Reply::failure(ResponseCode::ServFail, Ede::new(Ede::OTHER, "internal error"));
            let transport = Transport::Udp { limit: request.udp_limit(MAX_UDP_REPLY_BEYOND_HOST) };
            return Handled::Reply(wire::encode(&request, &reply, transport), None);
        }
        match packet.first_chunk() {
            Some(header) => {
                Handled::Reply(wire::without_question(header, ResponseCode::ServFail, None), None)
            }
            None => Handled::Drop,
        }
    }
}

/// The reply to a client that nothing is forwarded for; `None` for all others.
fn refusal_to_forward(query: &ClientQuery) -> Option<Reply> {
    match query.client {
        ClientClass::Unproven => Some(ask_over_tcp()),
        ClientClass::AuthoritativeOnly => {
            let error = Ede::new(Ede::PROHIBITED, "questions are not forwarded for this client (allow)");
            Some(Reply { recursion_available: false, ..Reply::failure(ResponseCode::Refused, error) })
        }
        ClientClass::Host | ClientClass::Trusted | ClientClass::Open => None,
    }
}

impl ClientQuery {
    fn name(&self) -> &Name {
        self.request.query.name()
    }

    fn class(&self) -> DNSClass {
        self.request.query.query_class()
    }

    fn rtype(&self) -> RecordType {
        self.request.query.query_type()
    }

    /// A name in the zone that has the answer: DS records are on the parent's side of a zone cut (RFC 4035 §3.1.4.1).
    fn name_in_zone(&self) -> Cow<'_, Name> {
        match self.rtype() {
            RecordType::DS => {
                let mut parent = self.name().base_name();
                parent.set_fqdn(true);
                Cow::Owned(parent)
            }
            _ => Cow::Borrowed(self.name()),
        }
    }
}

/// The reply that has a client ask over TCP, where it shows that its address is its own.
fn ask_over_tcp() -> Reply {
    Reply { truncated: true, ..Reply::empty(ResponseCode::NoError) }
}

/// What is wrong with a reply, as the metrics count it.
fn cause(octets: &[u8], reply: &Reply) -> Option<ErrorCause> {
    let truncated = octets.get(2).is_some_and(|flags| flags & 0x02 != 0);
    let sent = octets.get(3).map_or(0, |flags| flags & 0x0f);
    match sent {
        _ if truncated => Some(ErrorCause::Truncated),
        2 if reply.rcode != ResponseCode::ServFail => Some(ErrorCause::Overflow),
        2 => Some(ErrorCause::Servfail),
        3 => Some(ErrorCause::Nxdomain),
        5 => Some(ErrorCause::Refused),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
