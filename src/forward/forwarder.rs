//! The forwarder: what the server asks of this room.

use super::cache::{Cached, ResponseCache, StaleAnswer};
use super::endpoint::Endpoint;
use super::flight::{Flight, Flights};
use super::message::UpstreamQuestion;
use super::pool::Pool;
use super::refresh::Refresher;
use super::stub::StubZone;
use super::upstream::{Upstream, UpstreamReport};
use super::{race, rebind};
use crate::answer::{Ede, Lookup};
use crate::config::ForwardConfig;
use crate::wire::{Reply, Request};
use arc_swap::ArcSwap;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, Record};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// Exchanges under way at once. Each holds a socket and a message, so this bounds both.
const MAX_EXCHANGES: usize = 2_048;

/// How often upstreams in doubt are probed.
const PROBE_PERIOD: Duration = Duration::from_millis(500);

/// How long a client waits for upstreams while there is a stale answer for it (RFC 8767 §5).
const STALE_ANSWER_DELAY: Duration = Duration::from_millis(1_800);

/// No upstream gave an answer to a look-up of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no upstream gave an answer")]
pub struct LookupFailed;

/// What came of a look-up of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookedUp {
    /// The answer section; `None` if the name does not exist.
    pub records: Option<Vec<Record>>,
    /// Whether it was given beyond its time.
    pub is_stale: bool,
}

/// The forwarder; shared by all that serve.
#[derive(Debug)]
pub struct Forwarder {
    config: ArcSwap<ForwardConfig>,
    pool: Pool,
    upstreams: ArcSwap<Vec<Arc<Upstream>>>,
    cache: ArcSwap<ResponseCache>,
    flights: Arc<Flights>,
    refresher: Refresher,
    permits: Arc<Semaphore>,
    /// For names that our own answers need, so that these leave room for what clients ask.
    lookups: Semaphore,
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
            permits: Arc::new(Semaphore::new(MAX_EXCHANGES)),
            lookups: Semaphore::new(MAX_EXCHANGES / 4),
            turn: AtomicUsize::new(0),
        })
    }

    /// Takes new settings. What is cached stays unless the cache itself changes.
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

    /// Takes the upstreams; those that stay keep what is known of them.
    pub fn set_upstreams(&self, addresses: &[SocketAddr]) {
        let upstreams: Vec<_> =
            addresses.iter().map(|address| self.pool.upstream(Endpoint::classic(*address))).collect();
        self.upstreams.store(Arc::new(upstreams));
        self.pool.sweep();
    }

    /// The present upstreams.
    pub fn upstreams(&self) -> Vec<SocketAddr> {
        self.upstreams.load().iter().map(|upstream| upstream.endpoint().address).collect()
    }

    /// How many of the present upstreams are well, and how many there are.
    pub fn health(&self) -> (usize, usize) {
        let reports = self.reports();
        (reports.iter().filter(|report| report.is_up).count(), reports.len())
    }

    /// How the present upstreams are doing.
    pub fn reports(&self) -> Vec<UpstreamReport> {
        self.upstreams.load().iter().map(|upstream| upstream.report()).collect()
    }

    /// Waits until it changes how one is doing; one waiter hears it.
    pub async fn news(&self) {
        self.pool.news().await;
    }

    /// The reply to a question from the cache alone, and the whole seconds that it may be given again without a look.
    /// A stub zone's servers answer for its names.
    ///
    /// A popular reply whose end is near is fetched anew behind the client's back.
    pub fn cached(&self, request: &Request, zone: Option<&StubZone>) -> Option<(Reply, u64)> {
        let comes_back = zone.is_some() && request.edns.is_some_and(|edns| edns.stub_marker);
        if comes_back || self.config.load().no_rec {
            return None;
        }
        let question = UpstreamQuestion::of(request, zone.is_some());
        let Cached::Fresh { mut reply, fresh_for, refresh_due } =
            self.cache.load().get(&question, Instant::now())?
        else {
            return None;
        };
        if refresh_due {
            let upstreams = zone.map_or_else(|| self.upstreams.load_full(), |zone| self.servers(zone));
            self.refresher.finish(self.exchange(question, upstreams));
        }
        // The servers of a stub zone are the site's own.
        if zone.is_none() && self.config.load().rebind_protection {
            rebind::protect(&mut reply);
        }
        // Only the authority itself may set AA (RFC 1035 §4.1.1).
        Some((self.finished(Reply { authoritative: false, ..reply }, request), fresh_for))
    }

    /// Keeps a reply as if an upstream had given it now.
    #[cfg(test)]
    pub(crate) fn remember(&self, request: &Request, reply: &Reply) {
        self.cache.load().insert(&UpstreamQuestion::of(request, false), reply, Instant::now());
    }

    /// The present settings.
    pub fn config(&self) -> Arc<ForwardConfig> {
        self.config.load_full()
    }

    /// Whether these are the present settings.
    pub fn is_config(&self, config: &Arc<ForwardConfig>) -> bool {
        Arc::ptr_eq(&self.config.load(), config)
    }

    /// Whether the question is a probe of ours that came back: then its upstream forwards to us.
    pub fn is_own_probe(&self, name: &Name) -> bool {
        self.pool.probe_came_back(name)
    }

    /// Forwards a question; always gives a reply, and in bounded time.
    pub async fn forward(&self, request: &Request) -> Reply {
        let config = self.config.load_full();
        if config.no_rec {
            let error = Ede::new(Ede::PROHIBITED, "forwarding is switched off (no_rec)");
            return Reply { recursion_available: false, ..Reply::failure(ResponseCode::Refused, error) };
        }
        if request.query.name().iter().count() < usize::from(config.ndots) {
            let text = format!("names of fewer than {} labels are not forwarded (ndots)", config.ndots);
            return Reply::failure(ResponseCode::ServFail, Ede::new(Ede::PROHIBITED, text));
        }
        let upstreams = self.upstreams.load_full();
        let mut reply = self.ask(UpstreamQuestion::of(request, false), upstreams).await;
        if config.rebind_protection {
            rebind::protect(&mut reply);
        }
        self.finished(reply, request)
    }

    /// Forwards a question to the servers of a stub zone.
    pub async fn forward_stub(&self, request: &Request, zone: &StubZone) -> Reply {
        if request.edns.is_some_and(|edns| edns.stub_marker) {
            let error = Ede::new(Ede::PROHIBITED, "a question out of a stub zone is not forwarded again");
            return Reply::failure(ResponseCode::Refused, error);
        }
        let reply = self.ask(UpstreamQuestion::of(request, true), self.servers(zone)).await;
        self.finished(reply, request)
    }

    fn servers(&self, zone: &StubZone) -> Arc<Vec<Arc<Upstream>>> {
        Arc::new(zone.servers.iter().map(|server| self.pool.upstream(*server)).collect())
    }

    /// The answer section for a name outside the tree, within the timeout of one exchange; empty if the
    /// name does not exist.
    ///
    /// # Errors
    /// No upstream gave an answer in time.
    pub async fn lookup(&self, lookup: &Lookup) -> Result<LookedUp, LookupFailed> {
        let question = UpstreamQuestion::own(lookup.name.clone(), lookup.rtype);
        let limit = self.config.load().timeout;
        let _permit = self.lookups.try_acquire().map_err(|_| LookupFailed)?;
        let reply =
            timeout(limit, self.ask(question, self.upstreams.load_full())).await.map_err(|_| LookupFailed)?;
        let is_stale = reply.is_stale();
        match reply.rcode {
            ResponseCode::NoError if !reply.truncated => {
                Ok(LookedUp { records: Some(reply.answers), is_stale })
            }
            ResponseCode::NXDomain => Ok(LookedUp { records: None, is_stale }),
            _ => Err(LookupFailed),
        }
    }

    /// Probes upstreams in doubt, for ever; says when there is none left, and when there is again.
    pub async fn tend(&self) {
        let mut all_down = false;
        loop {
            tokio::time::sleep(PROBE_PERIOD).await;
            self.pool.probe().await;
            let (healthy, all) = self.health();
            match (healthy, all_down) {
                (0, false) if all > 0 => {
                    log::error!("upstreams: none of {all} answers; what is kept is given beyond its time");
                }
                (1.., true) => log::info!("upstreams: {healthy} of {all} answer again"),
                _ => {}
            }
            all_down = healthy == 0 && all > 0;
        }
    }

    /// Fetches replies anew that are popular or stale, for ever.
    pub async fn refresh(&self) {
        self.refresher.run().await;
    }

    async fn ask(&self, question: UpstreamQuestion, upstreams: Arc<Vec<Arc<Upstream>>>) -> Reply {
        let cached = self.cache.load().get(&question, Instant::now());
        match cached {
            Some(Cached::Fresh { reply, refresh_due, .. }) => {
                if refresh_due {
                    self.refresher.finish(self.exchange(question, upstreams));
                }
                reply
            }
            Some(Cached::Stale(stale)) => self.ask_or_stale(question, upstreams, stale).await,
            None if upstreams.is_empty() => {
                let error = Ede::new(Ede::NO_REACHABLE_AUTHORITY, "no upstream is known");
                Reply::failure(ResponseCode::ServFail, error)
            }
            None => self.exchange(question, upstreams).await,
        }
    }

    /// What upstreams say, if they say anything soon; else a stale answer, while they are still asked.
    async fn ask_or_stale(
        &self,
        question: UpstreamQuestion,
        upstreams: Arc<Vec<Arc<Upstream>>>,
        stale: StaleAnswer,
    ) -> Reply {
        if upstreams.is_empty() || stale.is_retry_paused(Instant::now()) {
            return stale.reply();
        }
        let hopeless = !upstreams.iter().any(|upstream| upstream.summary().is_up());
        let limit = STALE_ANSWER_DELAY.min(self.config.load().timeout * 9 / 10);
        let exchange = self.exchange(question, upstreams);
        match timeout(if hopeless { Duration::ZERO } else { limit }, exchange.clone()).await {
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

    /// The exchange under way for a question, or a new one; what comes of it is kept.
    fn exchange(&self, question: UpstreamQuestion, upstreams: Arc<Vec<Arc<Upstream>>>) -> Flight {
        let (cache, config) = (self.cache.load_full(), self.config.load_full());
        let turn = if config.ns_rotate { Some(self.turn.fetch_add(1, Ordering::Relaxed)) } else { None };
        let permits = Arc::clone(&self.permits);
        let exchange = {
            let question = question.clone();
            move |followers| async move {
                // Who follows an exchange takes no permit, so popular names get through a flood of others.
                let Ok(_permit) = permits.try_acquire() else {
                    let error = Ede::new(Ede::OTHER, "too many questions wait for upstreams");
                    return Reply::failure(ResponseCode::ServFail, error);
                };
                let reply = race::run(&question, &upstreams, turn, config.timeout, followers).await;
                cache.insert(&question, &reply, Instant::now());
                reply
            }
        };
        self.flights.join(question, exchange)
    }

    /// What the client asked for decides about AD, and its letter case about names.
    fn finished(&self, mut reply: Reply, request: &Request) -> Reply {
        let wanted = request.authentic_data || request.dnssec_ok();
        reply.authentic_data &= wanted && self.config.load().trust_ad;
        let asked = request.query.name();
        for record in reply.answers.iter_mut().chain(&mut reply.authorities) {
            if record.name == *asked {
                record.name = asked.clone();
            }
        }
        reply
    }
}

/// Whether a reply may take the place of an answer that was right before.
fn is_answer(reply: &Reply) -> bool {
    matches!(reply.rcode, ResponseCode::NoError | ResponseCode::NXDomain) && !reply.truncated
}
