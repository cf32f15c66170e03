//! One query: who answers it, and what is sent back.

use super::client_policy::{ClientClass, ClientPolicy};
use super::limit::Limiter;
use super::making::{Making, Standing};
use super::sign::Signed;
use crate::answer::{Dependencies, Ede, Externals, Lookup, Outcome};
use crate::clock::unix_time;
use crate::config::Config;
use crate::dnssec::{Signer, UnsignedAnswer};
use crate::forward::{Forwarder, LookedUp, StubTable, StubZone};
use crate::logging::{QUERIES, RateLimitedLog};
use crate::metrics::{Cause, Counted, Metrics, System};
use crate::source::Published;
use crate::wire::{self, CacheHint, Reply, Request, Screened, Transport, Validity};
use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::FutureExt;
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// Answers queries; shared by all workers and connections.
#[derive(Debug)]
pub struct Handler {
    pub(super) published: Arc<ArcSwap<Published>>,
    pub(super) config: Arc<ArcSwap<Config>>,
    signer: Arc<ArcSwapOption<Signer>>,
    pub(super) forwarder: Arc<Forwarder>,
    stubs: StubTable,
    metrics: Arc<Metrics>,
    client_policy: Arc<ClientPolicy>,
    limiter: Limiter,
    pub(super) unsigned_log: RateLimitedLog,
    /// For answers that are signed on the slow path.
    pub(super) signing: Semaphore,
    /// What we ask ourselves; nobody else can know it.
    probe: Name,
}

/// What becomes of a packet at once.
#[derive(Debug)]
pub enum Handled {
    /// Nothing is sent.
    Drop,
    /// This is sent; with a hint it may be cached and sent again.
    Reply(Vec<u8>, Option<CacheHint<Counted>>),
    /// The reply takes waiting.
    Pending(PendingQuery),
}

/// A query whose reply takes waiting.
#[derive(Debug)]
pub struct PendingQuery {
    request: Request,
    transport: Transport,
    begun: Instant,
    work: PendingWork,
}

#[derive(Debug)]
enum PendingWork {
    Forward,
    Stub(Arc<StubZone>),
    /// With the chance that the answer is to be made with again.
    Lookup(Vec<Lookup>, u64),
    /// Answered, but for signatures.
    Sign(Box<UnsignedAnswer>),
}

/// Replies that are over TCP are told from those over UDP when a packet comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Udp,
    Tcp,
}

impl Handler {
    /// A handler over the published states of tree, configuration and keys.
    pub fn new(
        published: Arc<ArcSwap<Published>>,
        config: Arc<ArcSwap<Config>>,
        signer: Arc<ArcSwapOption<Signer>>,
        forwarder: Arc<Forwarder>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let token = format!("{:032x}", rand::random::<u128>());
        let probe = Name::from_labels([token.as_bytes(), b"probe"]).unwrap_or_default();
        let client_policy = Arc::new(ClientPolicy::new(&config.load().allow));
        let (stubs, limiter) = (StubTable::default(), Limiter::default());
        let unsigned_log = RateLimitedLog::default();
        let signing = Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from));
        Self {
            published,
            config,
            signer,
            forwarder,
            stubs,
            metrics,
            client_policy,
            limiter,
            unsigned_log,
            signing,
            probe,
        }
    }

    /// A question of class CH that only we ask: it is answered with the SOA of our domain, as a client's question for
    /// that would be, but neither logged nor counted.
    pub fn probe(&self) -> &Name {
        &self.probe
    }

    /// What signs our answers, if anything does.
    pub(super) fn signer(&self) -> &ArcSwapOption<Signer> {
        &self.signer
    }

    /// Which clients are ours.
    pub fn client_policy(&self) -> &Arc<ClientPolicy> {
        &self.client_policy
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Handles a packet as far as it goes without waiting. Never panics.
    pub(super) fn handle(&self, packet: &[u8], peer: SocketAddr, protocol: Protocol) -> Handled {
        let begun = Instant::now();
        catch_unwind(AssertUnwindSafe(|| self.screened(packet, peer, protocol, begun)))
            .unwrap_or_else(|_| self.panicked(packet))
    }

    fn screened(&self, packet: &[u8], peer: SocketAddr, protocol: Protocol, begun: Instant) -> Handled {
        match wire::screen(packet) {
            Screened::Drop => {
                self.metrics.dropped();
                Handled::Drop
            }
            Screened::Reply(reply) => {
                self.metrics.rejected();
                Handled::Reply(reply, None)
            }
            Screened::Ask(request) => {
                let transport = match protocol {
                    Protocol::Udp => Transport::Udp { limit: request.udp_limit() },
                    Protocol::Tcp => Transport::Tcp,
                };
                self.asked(request, peer, transport, begun)
            }
        }
    }

    fn asked(&self, request: Request, peer: SocketAddr, transport: Transport, begun: Instant) -> Handled {
        #[cfg(test)]
        super::fault::strike("now", request.query.name().to_ascii().as_bytes());
        let config = self.config.load();
        if request.query.query_class() == DNSClass::CH && *request.query.name() == self.probe {
            return self.probed(request, transport, &config);
        }
        let client = self.client_policy.class_of(peer.ip(), &config.allow);
        if client != ClientClass::Trusted && transport != Transport::Tcp && !self.limiter.take(peer.ip()) {
            self.metrics.limited();
            let reply = Reply { truncated: true, ..Reply::empty(ResponseCode::NoError) };
            return Handled::Reply(wire::encode(&request, &reply, transport), None);
        }
        if config.verbose {
            let query = &request.query;
            let how = if transport == Transport::Tcp { "tcp" } else { "udp" };
            log::info!(target: QUERIES, "query {} {} {} from {peer} over {how}", query.name(), query.query_class(), query.query_type());
        }
        let published = self.published.load();
        let dependencies = Dependencies::default();
        let now = unix_time();
        let name = request.query.name();
        if config.forward.stub_zones
            && request.query.query_class() == DNSClass::IN
            && let Some(zone) = self.stubs.find(name, &published.tree, &config.zone, &dependencies)
        {
            if client == ClientClass::AuthoritativeOnly {
                return self.refused(&request, transport, begun);
            }
            let standing = Standing { published: &published, dependencies, now };
            return self.cached_or_later(request, transport, begun, PendingWork::Stub(zone), standing);
        }
        let signing = self.signing(&request, &config, now);
        let making = Making {
            config: &config,
            published: &published,
            dependencies: &dependencies,
            signing: signing.as_ref(),
            seed: rand::random(),
            now,
        };
        match making.answer(&request, transport, &Externals::new()) {
            Outcome::Answered(answer) => match self.sign(&request, transport, signing.as_ref(), answer) {
                Signed::Ready(reply, until) => {
                    let (octets, counted) =
                        self.reply(&request, transport, begun, own_system(&reply), &reply);
                    let freshness = published.freshness;
                    let standing = Standing { published: &published, dependencies, now };
                    let validity = standing
                        .validity(until)
                        .map(|validity| Validity { rotates: config.zone.round_robin, ..validity });
                    let shared_authority = reply.shared_authority;
                    Handled::Reply(
                        octets,
                        validity.map(|validity| CacheHint {
                            validity,
                            freshness,
                            shared_authority,
                            note: counted,
                        }),
                    )
                }
                Signed::Later(unsigned) => Handled::Pending(PendingQuery {
                    request,
                    transport,
                    begun,
                    work: PendingWork::Sign(unsigned),
                }),
            },
            Outcome::Lookup(lookups) => {
                let work = PendingWork::Lookup(lookups, making.seed);
                Handled::Pending(PendingQuery { request, transport, begun, work })
            }
            Outcome::Forward if self.forwarder.is_own_probe(name) => {
                let reply = Reply::empty(ResponseCode::NXDomain);
                Handled::Reply(self.reply(&request, transport, begun, System::Recursive, &reply).0, None)
            }
            Outcome::Forward if client == ClientClass::AuthoritativeOnly => {
                self.refused(&request, transport, begun)
            }
            Outcome::Forward => {
                let standing = Standing { published: &published, dependencies, now };
                self.cached_or_later(request, transport, begun, PendingWork::Forward, standing)
            }
        }
    }

    /// Refuses to forward for a client that is not ours.
    fn refused(&self, request: &Request, transport: Transport, begun: Instant) -> Handled {
        let error = Ede::new(Ede::PROHIBITED, "questions are not forwarded for this client (allow)");
        let reply = Reply { recursion_available: false, ..Reply::failure(ResponseCode::Refused, error) };
        Handled::Reply(self.reply(request, transport, begun, System::Recursive, &reply).0, None)
    }

    /// Answers our own probe out of the tree.
    fn probed(&self, mut request: Request, transport: Transport, config: &Config) -> Handled {
        request.query = Query::query(config.zone.domain().clone(), RecordType::SOA);
        let published = self.published.load();
        let dependencies = Dependencies::default();
        let making = Making {
            config,
            published: &published,
            dependencies: &dependencies,
            signing: None,
            seed: 0,
            now: unix_time(),
        };
        match making.answer(&request, transport, &Externals::new()) {
            Outcome::Answered(answer) => {
                Handled::Reply(wire::encode(&request, &Reply::from(answer), transport), None)
            }
            // The apex is always ours.
            Outcome::Lookup(_) | Outcome::Forward => Handled::Drop,
        }
    }

    fn cached_or_later(
        &self,
        request: Request,
        transport: Transport,
        begun: Instant,
        work: PendingWork,
        standing: Standing<'_>,
    ) -> Handled {
        let cached = match &work {
            PendingWork::Forward => self.forwarder.cached(&request, None),
            PendingWork::Stub(zone) => self.forwarder.cached(&request, Some(zone)),
            PendingWork::Lookup(..) | PendingWork::Sign(_) => None,
        };
        match cached {
            Some((reply, left)) => {
                let (octets, counted) = self.reply(&request, transport, begun, System::Cache, &reply);
                let until = standing.now.saturating_add(left);
                let freshness = standing.published.freshness;
                let validity = standing.validity(until);
                let validity = validity.map(|validity| Validity { ages: true, ..validity });
                Handled::Reply(
                    octets,
                    validity.map(|validity| CacheHint {
                        validity,
                        freshness,
                        shared_authority: None,
                        note: counted,
                    }),
                )
            }
            None => {
                self.metrics.missed_cache();
                Handled::Pending(PendingQuery { request, transport, begun, work })
            }
        }
    }

    /// Finishes a query that takes waiting. Never panics, and ends in bounded time.
    pub async fn finish(&self, query: PendingQuery) -> Vec<u8> {
        let PendingQuery { request, transport, begun, work } = query;
        let finished = async {
            #[cfg(test)]
            super::fault::strike("later", request.query.name().to_ascii().as_bytes());
            let (system, reply) = self.resolve(&request, transport, work).await;
            self.reply(&request, transport, begun, system, &reply).0
        };
        let finished = AssertUnwindSafe(finished).catch_unwind().await;
        finished.unwrap_or_else(|_| {
            self.metrics.panicked();
            log::error!("a fault in answering {} {}", request.query.name(), request.query.query_type());
            let error = Ede::new(Ede::OTHER, "internal error");
            wire::encode(&request, &Reply::failure(ResponseCode::ServFail, error), transport)
        })
    }

    /// The reply to a query that is given up because too many are under way.
    pub(super) fn overloaded(&self, query: &PendingQuery) -> Vec<u8> {
        self.metrics.overloaded();
        let (system, text) = match query.work {
            PendingWork::Sign(_) => (System::Auth, "too many answers wait to be signed"),
            _ => (System::Recursive, "too many queries wait for upstreams"),
        };
        let reply = Reply::failure(ResponseCode::ServFail, Ede::new(Ede::OTHER, text));
        self.reply(&query.request, query.transport, query.begun, system, &reply).0
    }

    async fn resolve(&self, request: &Request, transport: Transport, work: PendingWork) -> (System, Reply) {
        let stale = |reply: Reply| {
            if reply.is_stale() {
                self.metrics.stale();
            }
            reply
        };
        match work {
            PendingWork::Forward => (System::Recursive, stale(self.forwarder.forward(request).await)),
            PendingWork::Stub(zone) => {
                (System::Stub, stale(self.forwarder.forward_stub(request, &zone).await))
            }
            PendingWork::Lookup(lookups, seed) => {
                self.metrics.looked_up(lookups.len());
                let found = lookups.iter().map(|lookup| self.forwarder.lookup(lookup));
                let found = futures_util::future::join_all(found).await;
                let mut externals = Externals::new();
                for (lookup, found) in lookups.into_iter().zip(found) {
                    match found {
                        Ok(LookedUp { records, is_stale }) => {
                            externals.insert(lookup, records);
                            if is_stale {
                                externals.note_stale();
                            }
                        }
                        Err(_) => externals.insert_failure(lookup),
                    }
                }
                if externals.any_stale() {
                    self.metrics.stale();
                }
                let reply = match self.with_externals(request, transport, externals, seed) {
                    Signed::Ready(reply, _) => reply,
                    Signed::Later(unsigned) => self.sign_all(request, unsigned).await,
                };
                (System::Auth, reply)
            }
            PendingWork::Sign(unsigned) => (System::Auth, self.sign_all(request, unsigned).await),
        }
    }

    /// The answer once the names outside the tree are known.
    fn with_externals(
        &self,
        request: &Request,
        transport: Transport,
        mut externals: Externals,
        seed: u64,
    ) -> Signed {
        let (config, published) = (self.config.load(), self.published.load());
        let now = unix_time();
        let signing = self.signing(request, &config, now);
        let dependencies = Dependencies::default();
        let (config, published, signing) = (&config, &published, signing.as_ref());
        let making = Making { config, published, dependencies: &dependencies, signing, seed, now };
        let mut outcome = making.answer(request, transport, &externals);
        if let Outcome::Lookup(more) = outcome {
            // The tree changed meanwhile: what it asks for now counts as not found.
            more.into_iter().for_each(|lookup| externals.insert(lookup, None));
            outcome = making.answer(request, transport, &externals);
        }
        let failure = |why: &str| Reply::failure(ResponseCode::ServFail, Ede::new(Ede::OTHER, why));
        match outcome {
            Outcome::Answered(answer) => self.sign(request, transport, signing, answer),
            Outcome::Lookup(_) => Signed::Ready(failure("the data changed"), 0),
            Outcome::Forward => Signed::Ready(failure("the configuration changed"), 0),
        }
    }

    /// Writes and counts a reply; gives what was counted as well.
    fn reply(
        &self,
        request: &Request,
        transport: Transport,
        begun: Instant,
        system: System,
        reply: &Reply,
    ) -> (Vec<u8>, Counted) {
        let octets = wire::encode(request, reply, transport);
        let counted = Counted {
            system,
            cause: cause(&octets, reply),
            no_data: reply.rcode == ResponseCode::NoError && reply.answers.is_empty() && !reply.too_large,
            dnssec_ok: request.dnssec_ok(),
            octets: octets.len(),
        };
        self.metrics.replied(&counted, begun.elapsed());
        (octets, counted)
    }

    /// SERVFAIL for a packet whose handling panicked.
    fn panicked(&self, packet: &[u8]) -> Handled {
        self.metrics.panicked();
        log::error!("a fault in handling a packet of {} octets", packet.len());
        match packet.first_chunk() {
            Some(header) => Handled::Reply(wire::header_only(header, ResponseCode::ServFail), None),
            None => Handled::Drop,
        }
    }
}

/// Answers without AA come from the reverse keys.
fn own_system(reply: &Reply) -> System {
    if !reply.authoritative && reply.rcode == ResponseCode::NoError { System::Reverse } else { System::Auth }
}

fn cause(octets: &[u8], reply: &Reply) -> Option<Cause> {
    let truncated = octets.get(2).is_some_and(|flags| flags & 0x02 != 0);
    let sent = octets.get(3).map_or(0, |flags| flags & 0x0f);
    match sent {
        _ if truncated => Some(Cause::Truncated),
        2 if reply.rcode != ResponseCode::ServFail => Some(Cause::Overflow),
        2 => Some(Cause::Servfail),
        3 => Some(Cause::Nxdomain),
        5 => Some(Cause::Refused),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
