//! The forwarder: the one type of this room that the server and the agent call.
//!
//! A question is answered from the response cache, else by the exchange under way for an equal question, else by a new
//! exchange with upstreams. Every question gets a reply, within twice `timeout`.

mod exchange;

use super::admission::Admission;
use super::cache::{Cached, ResponseCache};
use super::endpoint::Endpoint;
use super::failure::FailureCache;
use super::flight::Flights;
use super::message::UpstreamQuestion;
use super::pool::Pool;
use super::rebind;
use super::refresh::Refresher;
use super::stub::StubZone;
use super::upstream::{Upstream, UpstreamReport};
use super::upstream_state::UpstreamCondition;
use crate::answer::{Ede, ExternalReply, Lookup, Rng};
use crate::client_id::ClientId;
use crate::config::ForwardConfig;
use crate::wire::{ForwardedRecord, Reply, Request, Section};
use arc_swap::ArcSwap;
use exchange::Asked;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::time::Instant;

/// Exchanges under way at once. Each takes a share of a socket and some messages, so this bounds both.
const MAX_EXCHANGES: usize = 2_048;

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

/// How many upstreams are in each condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamCounts {
    /// Upstreams that were not asked yet.
    pub not_asked: usize,
    /// Upstreams that answer.
    pub up: usize,
    /// Upstreams that do not answer.
    pub down: usize,
}

impl UpstreamCounts {
    /// How many upstreams there are.
    pub fn all(&self) -> usize {
        self.not_asked + self.up + self.down
    }

    /// Whether there are upstreams, and none of them answers.
    fn are_down(&self) -> bool {
        self.down > 0 && self.down == self.all()
    }
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

/// The forwarder; all workers and connections share it.
#[derive(Debug)]
pub struct Forwarder {
    config: ArcSwap<ForwardConfig>,
    pool: Pool,
    /// The upstreams of questions outside of stub zones.
    upstreams: ArcSwap<Vec<Arc<Upstream>>>,
    cache: ArcSwap<ResponseCache>,
    failures: Arc<FailureCache>,
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
            failures: Arc::default(),
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

    /// Takes the addresses of the upstreams.
    ///
    /// The state of an upstream that was there before is not lost, that of others is forgotten. Upstreams of another
    /// network may answer differently, so cached replies are fresh no more; they are kept for when upstreams fail.
    pub fn set_upstreams(&self, addresses: &[SocketAddr]) {
        let before: HashSet<_> = self.upstreams().into_iter().collect();
        let upstreams: Vec<_> =
            addresses.iter().map(|address| self.pool.upstream(Endpoint::classic(*address))).collect();
        self.upstreams.store(Arc::new(upstreams));
        if before != addresses.iter().copied().collect() {
            self.cache.load().expire();
            self.flights.clear();
            // Workers drop cached replies when the settings are others.
            self.config.store(Arc::new(ForwardConfig::clone(&self.config.load())));
        }
    }

    /// The addresses of the present upstreams.
    pub fn upstreams(&self) -> Vec<SocketAddr> {
        self.upstreams.load().iter().map(|upstream| upstream.endpoint().address).collect()
    }

    /// How many of the present upstreams answer.
    pub fn health(&self) -> UpstreamCounts {
        let mut counts = UpstreamCounts::default();
        for report in self.report().upstreams {
            match report.condition {
                UpstreamCondition::NotAsked => counts.not_asked += 1,
                UpstreamCondition::Up => counts.up += 1,
                UpstreamCondition::Down => counts.down += 1,
            }
        }
        counts
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
        let question = UpstreamQuestion::of(request, zone.map(StubZone::id));
        let Cached::Fresh { mut reply, fresh_for, refresh_due } =
            self.cache.load().get(&question, Instant::now())?
        else {
            return None;
        };
        if refresh_due {
            let upstreams =
                zone.map_or_else(|| self.upstreams.load_full(), |zone| zone.upstreams(&self.pool));
            self.refresher.finish(self.join_exchange(Asked { question, upstreams, client: ClientId::AGENT }));
        }
        // The servers of a stub zone belong to the site, and may give addresses of the site.
        let config = self.config.load();
        if zone.is_none() && config.rebind_protection && !config.is_of_site(request.query.name()) {
            rebind::protect(&mut reply);
        }
        Some((self.fit_to_client(reply, request), fresh_for))
    }

    /// Caches a reply as if an upstream had given it now.
    #[cfg(test)]
    pub(crate) fn remember(&self, request: &Request, reply: &Reply) {
        let reply = reply.clone().forwarded();
        let cache = self.cache.load();
        cache.insert(&UpstreamQuestion::of(request, None), &reply, cache.generation(), Instant::now());
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
        let question = UpstreamQuestion::of(request, None);
        let mut reply = self.reply_to(Asked { question, upstreams, client }).await;
        if config.rebind_protection && !config.is_of_site(request.query.name()) {
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
        let question = UpstreamQuestion::of(request, Some(zone.id()));
        let reply = self.reply_to(Asked { question, upstreams: zone.upstreams(&self.pool), client }).await;
        self.fit_to_client(reply, request)
    }

    /// What a name outside of the tree has that an answer of ours needs, within `timeout`, from the servers of the stub zone
    /// that the name is in, else from upstreams; with signatures if the client wants DNSSEC records.
    ///
    /// # Errors
    /// No upstream gave an answer in time. Once all are known to be down, only the cache is asked, without waiting.
    pub(crate) async fn lookup(
        &self,
        lookup: &Lookup,
        stub: Option<&StubZone>,
        (request, client): (&Request, ClientId),
    ) -> Result<LookedUp, LookupFailed> {
        let upstreams = match stub {
            Some(zone) => zone.upstreams(&self.pool),
            None => self.upstreams.load_full(),
        };
        let question = UpstreamQuestion {
            stub: stub.map(StubZone::id),
            dnssec_ok: request.dnssec_ok(),
            checking_disabled: request.checking_disabled,
            ..UpstreamQuestion::own(lookup.name.clone(), lookup.rtype)
        };
        let dnssec_ok = question.dnssec_ok;
        let are_down = !upstreams.iter().any(|upstream| upstream.summary().may_answer());
        if are_down && self.cache.load().get(&question, Instant::now()).is_none() {
            return Err(LookupFailed);
        }
        let reply = self.reply_in_time(Asked { question, upstreams, client });
        let reply = self.lookups.run(client, reply).await.map_err(|_| LookupFailed)?;
        let reply = reply.ok_or(LookupFailed)?;
        let is_stale = reply.is_stale();
        let is_answer = match reply.rcode {
            ResponseCode::NoError => !reply.truncated,
            rcode => rcode == ResponseCode::NXDomain,
        };
        is_answer.then(|| LookedUp { reply: external_reply(&reply, dnssec_ok), is_stale }).ok_or(LookupFailed)
    }

    /// Probes upstreams whose replies are missing or that may forward to us, for ever; logs when no upstream is up any
    /// more, and when one is again.
    pub async fn probe_upstreams(&self) {
        let mut were_down = false;
        let log_health = || {
            let counts = self.health();
            let are_down = counts.are_down();
            match (are_down, were_down) {
                (true, false) => log::error!(
                    "upstreams: none of {} answers; until one does, cached answers are given though they have expired",
                    counts.all()
                ),
                // Others that were taken since are no upstreams that answer again.
                (false, true) if counts.up > 0 => {
                    log::info!("upstreams: {} of {} answer again", counts.up, counts.all());
                }
                _ => {}
            }
            were_down = are_down;
        };
        self.pool.probe_upstreams(log_health).await;
    }

    /// Runs the exchanges that no client waits for, for ever: they refresh popular and stale replies.
    pub async fn refresh(&self) {
        self.refresher.run().await;
    }

    /// Fits a reply to the request of a client: RA, since recursion is offered here, whoever gave the reply (RFC 1035
    /// §4.1.1); AD only if the client wants AD (RFC 6840 §5.8); with round robin the records of each RRset in a random order.
    fn fit_to_client(&self, mut reply: Reply, request: &Request) -> Reply {
        let config = self.config.load();
        reply.recursion_available = true;
        let wanted = request.authentic_data || request.dnssec_ok();
        reply.authentic_data &= wanted && config.trust_ad;
        if let Some(records) = reply.forwarded.as_mut().filter(|_| config.round_robin) {
            records.shuffle(&mut Rng::new(rand::random()));
        }
        reply
    }
}

/// What a reply says of a name that an answer of our own leads to; signatures and proofs only if the client wants them.
fn external_reply(reply: &Reply, dnssec_ok: bool) -> ExternalReply {
    let section = |section| reply.forwarded.iter().flat_map(move |records| records.section(section));
    let is_proof = |record: &ForwardedRecord<'_>| {
        let rtype = record.type_covered().unwrap_or(record.rtype);
        let is_wanted = dnssec_ok || record.rtype == RecordType::SOA;
        is_wanted && matches!(rtype, RecordType::SOA | RecordType::NSEC | RecordType::NSEC3)
    };
    let answers = section(Section::Answer).filter(|r| dnssec_ok || r.rtype != RecordType::RRSIG);
    ExternalReply {
        records: answers.filter_map(|record| record.to_record()).collect(),
        is_denied: reply.rcode == ResponseCode::NXDomain,
        authorities: section(Section::Authority).filter(is_proof).filter_map(|r| r.to_record()).collect(),
    }
}

#[cfg(test)]
mod tests;
