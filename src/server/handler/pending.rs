//! Queries whose reply has to wait: for upstreams, or for more than one signature.

use super::inputs::{Again, AnswerInputs, ON_RUNTIME};
use super::{ClientQuery, Handler, ask_over_tcp};
use crate::answer::{Ede, Externals, Lookup, home_arpa_reply};
use crate::client_id::ClientId;
use crate::dnssec::UnsignedAnswer;
use crate::forward::{LookedUp, StubZone};
use crate::metrics::AnsweredBy;
use crate::wire::{self, Reply, Transport};
use futures_util::FutureExt;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Name;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// A query whose reply has to wait.
#[derive(Debug)]
pub struct PendingQuery {
    pub(super) query: ClientQuery,
    pub(super) work: PendingWork,
}

/// What a pending query waits for.
#[derive(Debug)]
pub(super) enum PendingWork {
    /// The reply of an upstream.
    Forward(Forwarding),
    /// Addresses of names outside of the tree; then the answer is made once more, with the same seed.
    Lookup(Vec<Lookup>, Again),
    /// An answer that takes more work than others should wait for, made once more with the same seed.
    Costly(Again),
    /// Signatures.
    Sign(Box<UnsignedAnswer>),
}

/// How a question is forwarded.
#[derive(Debug, Default)]
pub(super) struct Forwarding {
    /// The stub zone whose servers are asked; `None` for all other upstreams.
    pub(super) stub: Option<Arc<StubZone>>,
    /// Whether the name exists here: then no NXDOMAIN of an upstream is passed on, and no upstream is needed.
    pub(super) name_exists: bool,
    /// Whether the name is in a zone of ours, which does not have it: the answer is not authoritative then.
    pub(super) is_missing_here: bool,
}

impl Forwarding {
    /// Takes from a reply what no upstream may say of a zone of ours: AA, and records that nobody asked for, among them
    /// addresses of names that we have.
    pub(super) fn limit(&self, reply: &mut Reply) {
        if self.is_missing_here {
            reply.authoritative = false;
            reply.drop_what_nobody_asked_for();
        }
    }
}

impl PendingQuery {
    /// Whose share of the agent's means the query uses.
    pub(in crate::server) fn client(&self) -> ClientId {
        self.query.id
    }
}

/// The reply to a query that cannot be answered before the agent ends.
fn ended() -> Reply {
    Reply::failure(ResponseCode::ServFail, Ede::new(Ede::OTHER, "the agent ended before upstreams answered"))
}

impl Handler {
    /// Finishes a query that waits. Never panics, and ends in bounded time: at once after
    /// [`give_up_pending`](Self::give_up_pending).
    pub async fn finish(self: &Arc<Self>, pending: PendingQuery) -> Vec<u8> {
        let PendingQuery { query, work } = pending;
        let query = Arc::new(query);
        let finished = async {
            #[cfg(test)]
            crate::server::fault::panic_if_asked("later", query.name().to_ascii().as_bytes());
            let answering = async {
                match work {
                    PendingWork::Forward(forwarding) => self.ask_upstreams(&query, forwarding).await,
                    PendingWork::Lookup(lookups, again) => {
                        let externals = self.look_up(lookups, &query).await;
                        self.answer_later(&query, Some(externals), again, false).await
                    }
                    PendingWork::Costly(again) => self.answer_later(&query, None, again, true).await,
                    PendingWork::Sign(answer) => {
                        (AnsweredBy::Auth, self.finish_signing(&query, answer).await)
                    }
                }
            };
            let mut ending = self.ending.subscribe();
            let (answered_by, reply) = tokio::select! {
                biased;
                answered = answering => answered,
                // The sender is here, so this is no error.
                _ = ending.wait_for(|is_ending| *is_ending) => (AnsweredBy::Recursive, ended()),
            };
            if answered_by != AnsweredBy::Auth && reply.is_stale() {
                self.metrics.stale();
            }
            self.encode(&query, answered_by, &reply).0
        };
        let finished = AssertUnwindSafe(finished).catch_unwind().await;
        finished.unwrap_or_else(|_| {
            self.metrics.panicked();
            log::error!("a fault in answering {} {}", query.name(), query.request.query.query_type());
            let error = Ede::new(Ede::OTHER, "internal error");
            wire::encode(&query.request, &Reply::failure(ResponseCode::ServFail, error), query.transport)
        })
    }

    /// The reply of upstreams, or of a stub zone's servers.
    pub(super) async fn ask_upstreams(
        self: &Arc<Self>,
        query: &Arc<ClientQuery>,
        forwarding: Forwarding,
    ) -> (AnsweredBy, Reply) {
        let (answered_by, mut reply) = match &forwarding.stub {
            Some(zone) => {
                (AnsweredBy::Stub, self.forwarder.forward_stub(&query.request, zone, query.id).await)
            }
            None => (AnsweredBy::Recursive, self.forwarder.forward(&query.request, query.id).await),
        };
        forwarding.limit(&mut reply);
        let is_denied = || reply.rcode == ResponseCode::NXDomain || self.forwarder.upstreams().is_empty();
        if forwarding.name_exists && is_denied() {
            let again = Again { seed: rand::random(), forwards: false };
            return self.answer_later(query, None, again, false).await;
        }
        if forwarding.is_missing_here && self.is_led_back(query, &reply) {
            let again = Again { seed: rand::random(), forwards: false };
            let lookup = Lookup { name: query.name().to_lowercase(), rtype: query.rtype() };
            let externals = self.look_up(vec![lookup], query).await;
            return self.answer_later(query, Some(externals), again, false).await;
        }
        (answered_by, reply)
    }

    /// See [`AnswerInputs::is_led_back`], by the present state.
    fn is_led_back(&self, query: &ClientQuery, reply: &Reply) -> bool {
        let (config, published) = (self.config.load(), self.published.load());
        AnswerInputs::new(&config, &published, ON_RUNTIME).is_led_back(query, reply)
    }

    /// Looks names up upstream that an answer of our own needs.
    pub(super) async fn look_up(&self, lookups: Vec<Lookup>, query: &ClientQuery) -> Externals {
        self.metrics.looked_up(lookups.len());
        let found = lookups.iter().map(|lookup| async move {
            let stub = self.stub_zone(&lookup.name);
            let site = &self.config.load().site;
            if let (None, Some(reply)) = (&stub, home_arpa_reply(lookup, site)) {
                return Ok(LookedUp { reply, is_stale: false });
            }
            self.forwarder.lookup(lookup, stub.as_deref(), (&query.request, query.id)).await
        });
        let found = futures_util::future::join_all(found).await;
        let mut externals = Externals::new();
        for (lookup, found) in lookups.into_iter().zip(found) {
            match found {
                Ok(LookedUp { reply, is_stale }) => {
                    externals.insert(lookup, reply);
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
        externals
    }

    /// The stub zone that a name outside of the tree is in.
    fn stub_zone(&self, name: &Name) -> Option<Arc<StubZone>> {
        let (config, published) = (self.config.load(), self.published.load());
        let inputs = AnswerInputs::new(&config, &published, ON_RUNTIME);
        let route = self.routes.find(&config.forward.routes, name, &config.site);
        if route.is_some() {
            route
        } else if !config.forward.stub_zones {
            None
        } else if config.site.falls_through(name) {
            inputs.stub_zone_for_missing(&self.stubs, name)
        } else {
            inputs.stub_zone(&self.stubs, name)
        }
    }

    /// The reply to a query that is given up because too many are pending.
    pub(in crate::server) fn overloaded(&self, pending: &PendingQuery) -> Vec<u8> {
        let query = &pending.query;
        let (answered_by, reply) = match pending.work {
            PendingWork::Sign(_) | PendingWork::Costly(_) => {
                (AnsweredBy::Auth, self.given_up(query, "too much is under way"))
            }
            PendingWork::Forward(_) | PendingWork::Lookup(..) => {
                self.metrics.overloaded();
                let error = Ede::new(Ede::OTHER, "too many queries wait for upstreams");
                (AnsweredBy::Recursive, Reply::failure(ResponseCode::ServFail, error))
            }
        };
        self.encode(query, answered_by, &reply).0
    }

    /// The reply in place of an answer that is given up because too much is under way. Over UDP the client is told to ask over
    /// TCP, where it may wait.
    pub(super) fn given_up(&self, query: &ClientQuery, why: &str) -> Reply {
        self.metrics.overloaded();
        match query.transport {
            Transport::Udp { .. } => ask_over_tcp(),
            Transport::Tcp => Reply::failure(ResponseCode::ServFail, Ede::new(Ede::OTHER, why)),
        }
    }
}
