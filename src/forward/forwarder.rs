//! The forwarder: the one type of this room that the server and the agent call.
//!
//! A question is answered from the response cache, else by the exchange under way for an equal question, else by a new
//! exchange with upstreams. Every question gets a reply, within twice `timeout`.

use super::admission::Admission;
use super::cache::{Cached, ResponseCache, StaleAnswer};
use super::endpoint::Endpoint;
use super::flight::{Flight, Flights};
use super::message::UpstreamQuestion;
use super::pool::Pool;
use super::race::RaceRules;
use super::refresh::Refresher;
use super::shape::shape;
use super::stub::StubZone;
use super::upstream::{Upstream, UpstreamReport};
use super::{race, rebind};
use crate::answer::{Ede, ExternalReply, Lookup, Rng};
use crate::client_id::ClientId;
use crate::config::ForwardConfig;
use crate::wire::{Reply, Request, Section};
use arc_swap::ArcSwap;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Exchanges under way at once. Each takes a share of a socket and some messages, so this bounds both.
const MAX_EXCHANGES: usize = 2_048;

/// How long a client waits for upstreams at most while the cache has a stale answer (RFC 8767 §5).
const STALE_ANSWER_DELAY: Duration = Duration::from_millis(1_800);

/// No upstream gave an answer to a question of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no upstream gave an answer")]
pub struct LookupFailed;

/// The answer to a question of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookedUp {
    /// What the upstream says.
    pub reply: ExternalReply,
    /// Whether the answer came from the cache after its TTL had ended, because no upstream answered (RFC 8767).
    pub is_stale: bool,
}

/// How forwarding is doing, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardReport {
    /// The state of each present upstream.
    pub upstreams: Vec<UpstreamReport>,
    /// Exchanges that were given up because too many were under way.
    pub given_up: u64,
}

/// What the forwarder knows of a question without waiting.
#[derive(Debug)]
pub enum KnownReply {
    /// The question is a probe of ours that came back: the upstream that it was sent to forwards to us.
    OwnProbe,
    /// A reply is cached.
    Cached {
        /// The reply, with TTLs counted down, as the client gets it.
        reply: Reply,
        /// Whole seconds for which it may be sent again without asking here.
        fresh_for: u64,
    },
    /// Upstreams have to be asked.
    Unknown,
}

/// A question, the upstreams that it may be asked, and the client that waits for the reply.
struct Asked {
    question: UpstreamQuestion,
    upstreams: Arc<Vec<Arc<Upstream>>>,
    client: ClientId,
}

/// The forwarder; all workers and connections share it.
#[derive(Debug)]
pub struct Forwarder {
    config: ArcSwap<ForwardConfig>,
    pool: Pool,
    /// The upstreams of questions outside of stub zones.
    upstreams: ArcSwap<Vec<Arc<Upstream>>>,
    cache: ArcSwap<ResponseCache>,
    flights: Arc<Flights>,
    refresher: Refresher,
    /// A place for each exchange with upstreams.
    exchanges: Arc<Admission>,
    /// A place for each name that an answer of ours needs: fewer, so that questions of clients get through.
    lookups: Arc<Admission>,
    /// Exchanges that were given up because too many were under way.
    given_up: Arc<AtomicU64>,
    /// Counts questions, so that they are spread over upstreams.
    turn: AtomicUsize,
}

impl Forwarder {
    /// A forwarder without upstreams.
    pub fn new(config: ForwardConfig) -> Arc<Self> {
        Arc::new(Self {
            cache: ArcSwap::from_pointee(ResponseCache::new(config.cache_size, config.cache_ttl)),
            pool: Pool::new(config.timeout),
            config: ArcSwap::from_pointee(config),
            upstreams: ArcSwap::default(),
            flights: Arc::default(),
            refresher: Refresher::default(),
            exchanges: Admission::new(MAX_EXCHANGES),
            lookups: Admission::new(MAX_EXCHANGES / 4),
            given_up: Arc::default(),
            turn: AtomicUsize::new(0),
        })
    }

    /// Takes new settings. Cached replies stay unless the settings of the cache change.
    pub fn configure(&self, config: ForwardConfig) {
        let before = self.config.load();
        if (before.cache_size, before.cache_ttl) != (config.cache_size, config.cache_ttl) {
            self.cache.store(Arc::new(ResponseCache::new(config.cache_size, config.cache_ttl)));
        }
        if before.timeout != config.timeout {
            self.pool.set_timeout(config.timeout);
        }
        self.config.store(Arc::new(config));
    }

    /// Takes the addresses of the upstreams. The state of an upstream that was there before is not lost.
    pub fn set_upstreams(&self, addresses: &[SocketAddr]) {
        let upstreams: Vec<_> =
            addresses.iter().map(|address| self.pool.upstream(Endpoint::classic(*address))).collect();
        self.upstreams.store(Arc::new(upstreams));
        self.pool.drop_unused();
    }

    /// The addresses of the present upstreams.
    pub fn upstreams(&self) -> Vec<SocketAddr> {
        self.upstreams.load().iter().map(|upstream| upstream.endpoint().address).collect()
    }

    /// How many of the present upstreams are up, and how many there are.
    pub fn health(&self) -> (usize, usize) {
        let reports = self.report().upstreams;
        (reports.iter().filter(|report| report.is_up).count(), reports.len())
    }

    /// How forwarding is doing.
    pub fn report(&self) -> ForwardReport {
        ForwardReport {
            upstreams: self.upstreams.load().iter().map(|upstream| upstream.report()).collect(),
            given_up: self.given_up.load(Ordering::Relaxed),
        }
    }

    /// Waits until an upstream goes up or down. Each change wakes one waiter.
    pub async fn upstream_change(&self) {
        self.pool.upstream_change().await;
    }

    /// What is known of a question without waiting. `zone` is the stub zone that the name is in. For a client that is
    /// refused only probes of our own are known: an upstream that forwards to us may be such a client.
    pub fn look(&self, request: &Request, zone: Option<&StubZone>, is_refused: bool) -> KnownReply {
        if zone.is_none() && self.is_own_probe(request.query.name()) {
            return KnownReply::OwnProbe;
        }
        let cached = if is_refused { None } else { self.cached(request, zone) };
        cached.map_or(KnownReply::Unknown, |(reply, fresh_for)| KnownReply::Cached { reply, fresh_for })
    }

    /// The reply to a question from the cache, and its seconds as in [`KnownReply::Cached`].
    ///
    /// A popular reply whose TTL is about to end is refreshed in the background.
    pub(crate) fn cached(&self, request: &Request, zone: Option<&StubZone>) -> Option<(Reply, u64)> {
        let is_from_stub_zone = zone.is_some() && request.edns.is_some_and(|edns| edns.stub_marker);
        if is_from_stub_zone || self.config.load().no_rec {
            return None;
        }
        let question = UpstreamQuestion::of(request, zone.is_some());
        let Cached::Fresh { mut reply, fresh_for, refresh_due } =
            self.cache.load().get(&question, Instant::now())?
        else {
            return None;
        };
        if refresh_due {
            let upstreams = zone.map_or_else(|| self.upstreams.load_full(), |zone| self.upstreams_of(zone));
            self.refresher.finish(self.join_exchange(Asked { question, upstreams, client: ClientId::AGENT }));
        }
        // The servers of a stub zone belong to the site, and may give addresses of the site.
        if zone.is_none() && self.config.load().rebind_protection {
            rebind::protect(&mut reply);
        }
        Some((self.fit_to_client(reply, request), fresh_for))
    }

    /// Caches a reply as if an upstream had given it now.
    #[cfg(test)]
    pub(crate) fn remember(&self, request: &Request, reply: &Reply) {
        let reply = reply.clone().forwarded();
        self.cache.load().insert(&UpstreamQuestion::of(request, false), &reply, Instant::now());
    }

    /// The present settings.
    pub fn config(&self) -> Arc<ForwardConfig> {
        self.config.load_full()
    }

    /// Whether these are the present settings.
    pub fn is_config(&self, config: &Arc<ForwardConfig>) -> bool {
        Arc::ptr_eq(&self.config.load(), config)
    }

    /// Whether a name is one that an upstream is probed with for a loop. Then the question came back, and the upstream
    /// counts as forwarding to us.
    fn is_own_probe(&self, name: &Name) -> bool {
        self.pool.probe_came_back(name)
    }

    /// Forwards a question to the upstreams; gives a reply in any case, within twice `timeout`.
    ///
    /// The cache is asked again, though [`look`](Self::look) found nothing there: an equal question may have been
    /// answered since, and that reply is used.
    pub(crate) async fn forward(&self, request: &Request, client: ClientId) -> Reply {
        let config = self.config.load_full();
        if config.no_rec {
            let error = Ede::new(Ede::PROHIBITED, "forwarding is switched off (no_rec)");
            return Reply { recursion_available: false, ..Reply::failure(ResponseCode::Refused, error) };
        }
        let upstreams = self.upstreams.load_full();
        let question = UpstreamQuestion::of(request, false);
        let mut reply = self.reply_to(Asked { question, upstreams, client }).await;
        if config.rebind_protection {
            rebind::protect(&mut reply);
        }
        self.fit_to_client(reply, request)
    }

    /// Forwards a question to the servers of a stub zone; see [`forward`](Self::forward).
    pub(crate) async fn forward_stub(&self, request: &Request, zone: &StubZone, client: ClientId) -> Reply {
        if request.edns.is_some_and(|edns| edns.stub_marker) {
            let error = Ede::new(Ede::PROHIBITED, "a question out of a stub zone is not forwarded again");
            return Reply::failure(ResponseCode::Refused, error);
        }
        let question = UpstreamQuestion::of(request, true);
        let reply = self.reply_to(Asked { question, upstreams: self.upstreams_of(zone), client }).await;
        self.fit_to_client(reply, request)
    }

    fn upstreams_of(&self, zone: &StubZone) -> Arc<Vec<Arc<Upstream>>> {
        Arc::new(zone.servers.iter().map(|server| self.pool.upstream(*server)).collect())
    }

    /// What a name outside of the tree has that an answer of ours needs, within `timeout`, from the servers of the stub zone
    /// that the name is in, else from upstreams.
    ///
    /// # Errors
    /// No upstream gave an answer in time. While all are known to be down, only the cache is asked, without waiting.
    pub(crate) async fn lookup(
        &self,
        lookup: &Lookup,
        stub: Option<&StubZone>,
        client: ClientId,
    ) -> Result<LookedUp, LookupFailed> {
        let upstreams = match stub {
            Some(zone) => self.upstreams_of(zone),
            None => self.upstreams.load_full(),
        };
        let question = UpstreamQuestion {
            stub: stub.is_some(),
            ..UpstreamQuestion::own(lookup.name.clone(), lookup.rtype)
        };
        let are_down = !upstreams.iter().any(|upstream| upstream.summary().may_answer());
        if are_down && self.cache.load().get(&question, Instant::now()).is_none() {
            return Err(LookupFailed);
        }
        let limit = self.config.load().timeout;
        let reply = timeout(limit, self.reply_to(Asked { question, upstreams, client }));
        let reply = self.lookups.run(client, reply).await.map_err(|_| LookupFailed)?;
        let reply = reply.map_err(|_| LookupFailed)?;
        let is_stale = reply.is_stale();
        match reply.rcode {
            ResponseCode::NoError if !reply.truncated => {
                Ok(LookedUp { reply: external_reply(&reply, false), is_stale })
            }
            ResponseCode::NXDomain => Ok(LookedUp { reply: external_reply(&reply, true), is_stale }),
            _ => Err(LookupFailed),
        }
    }

    /// Probes upstreams whose replies are missing or that may forward to us, for ever; logs when no upstream is up any
    /// more, and when one is again.
    pub async fn probe_upstreams(&self) {
        let mut all_down = false;
        let log_health = || {
            let (healthy, all) = self.health();
            match (healthy, all_down) {
                (0, false) if all > 0 => {
                    log::error!("upstreams: none of {all} answers; what is kept is given beyond its time");
                }
                (1.., true) => log::info!("upstreams: {healthy} of {all} answer again"),
                _ => {}
            }
            all_down = healthy == 0 && all > 0;
        };
        self.pool.probe_upstreams(log_health).await;
    }

    /// Runs the exchanges that no client waits for, for ever: they refresh popular and stale replies.
    pub async fn refresh(&self) {
        self.refresher.run().await;
    }

    /// The reply to a question: from the cache, from upstreams, or a failure.
    async fn reply_to(&self, asked: Asked) -> Reply {
        let cached = self.cache.load().get(&asked.question, Instant::now());
        match cached {
            Some(Cached::Fresh { reply, refresh_due, .. }) => {
                if refresh_due {
                    self.refresher.finish(self.join_exchange(Asked { client: ClientId::AGENT, ..asked }));
                }
                reply
            }
            Some(Cached::Stale(stale)) => self.reply_or_stale(asked, stale).await,
            None if asked.upstreams.is_empty() => {
                let error = Ede::new(Ede::NO_REACHABLE_AUTHORITY, "no upstream is known");
                Reply::failure(ResponseCode::ServFail, error)
            }
            None => self.join_exchange(asked).await,
        }
    }

    /// The answer of upstreams if it comes soon, else the stale answer; the exchange then goes on in the background.
    async fn reply_or_stale(&self, asked: Asked, stale: StaleAnswer) -> Reply {
        if asked.upstreams.is_empty() || stale.is_retry_paused(Instant::now()) {
            return stale.reply();
        }
        let is_hopeless = !asked.upstreams.iter().any(|upstream| upstream.summary().may_answer());
        let limit = STALE_ANSWER_DELAY.min(self.config.load().timeout * 9 / 10);
        let exchange = self.join_exchange(asked);
        match timeout(if is_hopeless { Duration::ZERO } else { limit }, exchange.clone()).await {
            Ok(reply) if is_answer(&reply) => reply,
            Ok(failure) => {
                stale.pause_retry(Instant::now());
                let mut reply = stale.reply();
                reply.errors.extend(failure.errors);
                reply
            }
            Err(_) => {
                stale.pause_retry(Instant::now());
                self.refresher.finish(exchange);
                stale.reply()
            }
        }
    }

    /// The exchange under way for a question, or a new one, whose reply goes into the cache.
    ///
    /// A question that joins an exchange takes no place, so popular names get through a flood of others.
    fn join_exchange(&self, asked: Asked) -> Flight {
        let Asked { question, upstreams, client } = asked;
        let (cache, config) = (self.cache.load_full(), self.config.load_full());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let rules = RaceRules { policy: config.ns_policy, turn, limit: config.timeout };
        let (exchanges, given_up) = (Arc::clone(&self.exchanges), Arc::clone(&self.given_up));
        let exchange = {
            let question = question.clone();
            move |followers| async move {
                let reply = race::run(&question, &upstreams, rules, followers);
                match exchanges.run(client, reply).await {
                    Ok(mut reply) => {
                        shape(&question, &mut reply);
                        cache.insert(&question, &reply, Instant::now());
                        reply
                    }
                    Err(not_admitted) => {
                        given_up.fetch_add(1, Ordering::Relaxed);
                        let error = Ede::new(Ede::OTHER, not_admitted.to_string());
                        Reply::failure(ResponseCode::ServFail, error)
                    }
                }
            }
        };
        self.flights.join(question, exchange)
    }

    /// Fits a reply to the request of a client: AD only if the client wants AD (RFC 6840 §5.8); the records of each RRset in
    /// a random order with round robin.
    fn fit_to_client(&self, mut reply: Reply, request: &Request) -> Reply {
        let config = self.config.load();
        let wanted = request.authentic_data || request.dnssec_ok();
        reply.authentic_data &= wanted && config.trust_ad;
        if let Some(records) = reply.forwarded.as_mut().filter(|_| config.round_robin) {
            records.shuffle(&mut Rng::new(rand::random()));
        }
        reply
    }
}

/// Whether a reply is better than a stale answer.
fn is_answer(reply: &Reply) -> bool {
    matches!(reply.rcode, ResponseCode::NoError | ResponseCode::NXDomain) && !reply.truncated
}

/// What a reply says of a name that an answer of our own leads to.
fn external_reply(reply: &Reply, is_denied: bool) -> ExternalReply {
    let section = |section| reply.forwarded.iter().flat_map(move |records| records.section(section));
    ExternalReply {
        records: section(Section::Answer).filter_map(|record| record.to_record()).collect(),
        is_denied,
        soa: section(Section::Authority).find(|r| r.rtype == RecordType::SOA).and_then(|r| r.to_record()),
    }
}
