//! The way of a question to its reply: response cache, exchange under way, new exchange.

use super::super::cache::{Cached, StaleAnswer};
use super::super::flight::{Flight, GivenUp};
use super::super::message::UpstreamQuestion;
use super::super::race::{self, RaceRules};
use super::super::upstream::{Upstream, all_down};
use super::Forwarder;
use crate::answer::Ede;
use crate::client_id::ClientId;
use crate::wire::Reply;
use hickory_proto::op::ResponseCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long a client waits for upstreams at most while the cache has a stale answer (RFC 8767 §5).
const STALE_ANSWER_DELAY: Duration = Duration::from_millis(1_800);

/// A question, the upstreams that it may be asked, and the client that waits for the reply.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) question: UpstreamQuestion,
    pub(super) upstreams: Arc<Vec<Arc<Upstream>>>,
    pub(super) client: ClientId,
}

impl Forwarder {
    /// The reply to a question: from the cache, from upstreams, or a failure.
    pub(super) async fn reply_to(&self, asked: Asked) -> Reply {
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
            None => self.exchange(asked).await.unwrap_or_else(failure_of),
        }
    }

    /// The reply to a question of our own, if it comes in time: within `timeout` of when the exchange for it began, and
    /// while an upstream may answer.
    ///
    /// An exchange that needs longer goes on in the background, so that what comes of it is known the next time.
    pub(super) async fn reply_in_time(&self, asked: Asked) -> Option<Reply> {
        let limit = self.config.load().timeout;
        if self.cache.load().get(&asked.question, Instant::now()).is_some() {
            return Some(self.reply_to(asked).await);
        }
        let join = async || {
            let flight = self.join_exchange(asked.clone());
            self.wait(&flight, flight.begun() + limit, &asked.upstreams).await
        };
        let result = match join().await? {
            // As in `exchange`.
            Err(GivenUp { client, .. }) if client != asked.client => join().await?,
            result => result,
        };
        Some(result.unwrap_or_else(failure_of))
    }

    /// Waits for an exchange until a time, and while an upstream may answer. Then the exchange goes on in the background.
    async fn wait(
        &self,
        flight: &Flight,
        until: Instant,
        upstreams: &[Arc<Upstream>],
    ) -> Option<Result<Reply, GivenUp>> {
        tokio::select! {
            biased;
            result = flight.clone().into_future() => return Some(result),
            () = sleep_until(until) => {}
            () = all_down(upstreams) => {}
        }
        if flight.hand_over() {
            self.refresher.finish(flight.clone());
        }
        None
    }

    /// The reply of the exchange under way for a question, else of a new one.
    ///
    /// Where one was given up for want of a place that belongs to another client, a new one is begun at a place of this
    /// client: who floods could else take the names that others ask for down with its own questions.
    async fn exchange(&self, asked: Asked) -> Result<Reply, GivenUp> {
        match self.join_exchange(asked.clone()).await {
            Err(GivenUp { client, .. }) if client != asked.client => self.join_exchange(asked).await,
            result => result,
        }
    }

    /// The answer of upstreams if it comes soon, else the stale answer; the exchange then goes on in the background.
    async fn reply_or_stale(&self, asked: Asked, stale: StaleAnswer) -> Reply {
        if asked.upstreams.is_empty() || stale.is_retry_paused(Instant::now()) {
            return stale.reply();
        }
        let limit = STALE_ANSWER_DELAY.min(self.config.load().timeout * 9 / 10);
        let upstreams = Arc::clone(&asked.upstreams);
        let flight = self.join_exchange(asked);
        match self.wait(&flight, Instant::now() + limit, &upstreams).await {
            Some(Ok(reply)) if is_answer(&reply) => reply,
            Some(failure) => {
                stale.pause_retry(Instant::now());
                let mut reply = stale.reply();
                reply.errors.extend(failure.unwrap_or_else(failure_of).errors);
                reply
            }
            None => {
                stale.pause_retry(Instant::now());
                stale.reply()
            }
        }
    }

    /// The exchange under way for a question, or a new one, whose reply goes into the cache.
    ///
    /// A question that joins an exchange takes no place, so popular names get through a flood of others.
    pub(super) fn join_exchange(&self, asked: Asked) -> Flight {
        let Asked { question, upstreams, client } = asked;
        let (cache, config) = (self.cache.load_full(), self.config.load_full());
        let generation = cache.generation();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let rules = RaceRules { policy: config.ns_policy, turn, limit: config.timeout };
        let (exchanges, given_up) = (Arc::clone(&self.exchanges), Arc::clone(&self.given_up));
        let failures = Arc::clone(&self.failures);
        let exchange = {
            let question = question.clone();
            move |followers| async move {
                let reply = race::run(&question, &upstreams, rules, followers, &failures);
                let reply = exchanges.run(client, reply).await.map_err(|reason| {
                    given_up.fetch_add(1, Ordering::Relaxed);
                    GivenUp { reason, client }
                })?;
                cache.insert(&question, &reply, generation, Instant::now());
                Ok(reply)
            }
        };
        self.flights.join(question, exchange)
    }
}

/// What a client gets of an exchange that was given up.
fn failure_of(given_up: GivenUp) -> Reply {
    Reply::failure(ResponseCode::ServFail, Ede::new(Ede::OTHER, given_up.reason.to_string()))
}

/// Whether a reply is better than a stale answer.
fn is_answer(reply: &Reply) -> bool {
    matches!(reply.rcode, ResponseCode::NoError | ResponseCode::NXDomain) && !reply.truncated
}
