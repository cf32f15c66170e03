//! One question to several upstreams: the next is asked when one fails, refuses, or takes too long.

use super::endpoint::Endpoint;
use super::exchange_error::ExchangeError;
use super::flight::Followers;
use super::message::UpstreamQuestion;
use super::upstream::Upstream;
use super::upstream_state::{Health, UpstreamSummary};
use crate::answer::Ede;
use crate::wire::Reply;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_proto::op::ResponseCode;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Bounds of the time that an upstream has before the next one is asked too; within them three times its reply time.
const HEDGE_DELAY: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_millis(400);

/// The same time for an upstream that never answered yet.
const FIRST_HEDGE_DELAY: Duration = Duration::from_millis(200);

/// Upstreams within twice the time of the fastest, and this, share the questions.
const NEAR_RTT: Duration = Duration::from_millis(10);

/// One in so many questions goes first to another than the fastest, so that its time stays known.
const EXPLORE_PERIOD: usize = 64;

type Attempt = BoxFuture<'static, (Arc<Upstream>, Instant, Result<Reply, ExchangeError>)>;

/// Asks upstreams until one gives an answer; a reply in any case, within twice the timeout.
pub(super) async fn run(
    question: &UpstreamQuestion,
    upstreams: &[Arc<Upstream>],
    turn: Option<usize>,
    most: Duration,
    followers: Followers,
) -> Reply {
    let summaries: Vec<_> = upstreams.iter().map(|upstream| upstream.summary()).collect();
    let count = usize::from(rand::random::<u16>());
    let order = order(&summaries, turn, count);
    let waiting =
        order.into_iter().map(|at| Arc::clone(&upstreams[at])).filter(|u| !u.summary().is_looping).collect();
    let mut race = Race {
        question,
        waiting,
        running: FuturesUnordered::new(),
        slow: Vec::new(),
        followers,
        failed: None,
        error: None,
    };
    match timeout(2 * most, race.run()).await {
        Ok(reply) => reply,
        Err(_) => race.failure("no upstream answered in time"),
    }
}

struct Race<'a> {
    question: &'a UpstreamQuestion,
    /// Upstreams still to be asked, the next first.
    waiting: std::collections::VecDeque<Arc<Upstream>>,
    running: FuturesUnordered<Attempt>,
    /// Asked, and overtaken by the one asked after it.
    slow: Vec<Arc<Upstream>>,
    followers: Followers,
    /// The best of the replies that are failures.
    failed: Option<Reply>,
    /// Why the last one that failed gave no reply.
    error: Option<(Endpoint, ExchangeError)>,
}

impl Race<'_> {
    async fn run(&mut self) -> Reply {
        let mut patience = self.start();
        loop {
            if self.running.is_empty() {
                return self.failure("all upstreams failed");
            }
            tokio::select! {
                biased;
                Some((upstream, begun, result)) = self.running.next() => {
                    match result {
                        Ok(reply) if !is_failure(&reply) => {
                            upstream.answered(begun.elapsed());
                            self.slow.iter().filter(|slow| !Arc::ptr_eq(slow, &upstream)).for_each(|slow| slow.overtaken());
                            return reply;
                        }
                        Ok(reply) => {
                            upstream.gave_up();
                            self.failed.get_or_insert_with(|| explained(reply, upstream.endpoint()));
                        }
                        Err(error) => {
                            upstream.failed(&error);
                            self.error = Some((upstream.endpoint(), error));
                        }
                    }
                    patience = self.start().or(patience);
                }
                () = wait(patience) => {
                    if self.followers.any() {
                        // The same question came in again: perhaps because an upstream forwards to us.
                        self.slow.iter().for_each(|upstream| upstream.suspect_loop());
                    }
                    patience = self.start();
                }
            }
        }
    }

    /// Asks the next upstream; gives the time to wait for it before another is asked.
    fn start(&mut self) -> Option<Instant> {
        let upstream = self.waiting.pop_front()?;
        let begun = Instant::now();
        let patience = begun + hedge_delay(&upstream.summary());
        self.slow.push(Arc::clone(&upstream));
        let question = self.question.clone();
        let attempt = async move {
            let result = upstream.exchange(&question).await;
            (upstream, begun, result)
        };
        self.running.push(attempt.boxed());
        Some(patience)
    }

    fn failure(&mut self, text: &str) -> Reply {
        self.slow.iter().filter(|_| self.failed.is_none()).for_each(|upstream| upstream.overtaken());
        self.failed.take().unwrap_or_else(|| {
            let looping =
                self.slow.is_empty() || self.slow.iter().all(|upstream| upstream.summary().is_looping);
            let ede = match self.error.take() {
                _ if looping => {
                    Ede::new(Ede::NO_REACHABLE_AUTHORITY, "every upstream forwards to this server")
                }
                Some((endpoint, error)) if error.is_of_network() => {
                    Ede::new(Ede::NETWORK_ERROR, format!("{endpoint}: {error}"))
                }
                _ => Ede::new(Ede::NO_REACHABLE_AUTHORITY, text),
            };
            Reply::failure(ResponseCode::ServFail, ede)
        })
    }
}

/// A failure, with a word on whose it is if it has none of its own.
fn explained(mut reply: Reply, upstream: Endpoint) -> Reply {
    if reply.errors.is_empty() {
        let text = match reply.rcode {
            _ if reply.truncated => format!("{upstream} gave a truncated reply, over TCP as well"),
            rcode => format!("{upstream} said {}", rcode_name(rcode)),
        };
        reply.errors.push(Ede::new(Ede::NO_REACHABLE_AUTHORITY, text));
    }
    // A client that asks over TCP already has no better way to ask.
    if reply.truncated {
        reply = Reply { errors: reply.errors, ..Reply::empty(ResponseCode::ServFail) };
    }
    reply
}

fn rcode_name(rcode: ResponseCode) -> &'static str {
    if rcode == ResponseCode::Refused { "REFUSED" } else { "SERVFAIL" }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Whether another upstream may do better. What comes truncated was truncated over TCP as well.
fn is_failure(reply: &Reply) -> bool {
    reply.truncated || matches!(reply.rcode, ResponseCode::ServFail | ResponseCode::Refused)
}

/// How long to wait for an upstream before another one is asked as well.
fn hedge_delay(upstream: &UpstreamSummary) -> Duration {
    match upstream.rtt {
        Some(rtt) => (3 * rtt).clamp(*HEDGE_DELAY.start(), *HEDGE_DELAY.end()),
        None => FIRST_HEDGE_DELAY,
    }
}

/// Positions of the upstreams in the order to ask them.
///
/// Those that are well come first, fastest first; one without a reply yet counts as fast. `turn` counts
/// questions and spreads them over the well ones that are about as fast as the fastest.
fn order(upstreams: &[UpstreamSummary], turn: Option<usize>, count: usize) -> Vec<usize> {
    let rtt = |at: usize| upstreams[at].rtt.unwrap_or_default();
    let mut order: Vec<usize> = (0..upstreams.len()).collect();
    order.sort_by_key(|at| (upstreams[*at].health == Health::Suspect, rtt(*at), *at));
    let healthy = order.iter().filter(|at| upstreams[**at].health == Health::Healthy).count();
    if healthy < 2 {
        return order;
    }
    let limit = 2 * rtt(order[0]) + NEAR_RTT;
    let near = order[..healthy].iter().filter(|at| rtt(**at) <= limit).count();
    match turn {
        Some(turn) => {
            order[..near].sort_unstable();
            order[..near].rotate_left(turn % near);
        }
        None if count % EXPLORE_PERIOD == EXPLORE_PERIOD - 1 => order[..healthy].rotate_left(1),
        None => {}
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(is_healthy: bool, millis: u64) -> UpstreamSummary {
        let health = if is_healthy { Health::Healthy } else { Health::Suspect };
        let rtt = (millis > 0).then(|| Duration::from_millis(millis));
        UpstreamSummary { health, rtt, ..UpstreamSummary::from_word(0) }
    }

    #[test]
    fn the_fastest_healthy_upstream_comes_first() {
        let upstreams = [upstream(true, 90), upstream(false, 1), upstream(true, 20), upstream(true, 40)];
        assert_eq!(order(&upstreams, None, 0), [2, 3, 0, 1]);
        assert_eq!(order(&upstreams, None, EXPLORE_PERIOD - 1), [3, 0, 2, 1]);
    }

    #[test]
    fn turns_spread_over_those_about_as_fast() {
        let upstreams = [upstream(true, 20), upstream(true, 90), upstream(true, 40), upstream(false, 1)];
        assert_eq!(order(&upstreams, Some(0), 0), [0, 2, 1, 3]);
        assert_eq!(order(&upstreams, Some(1), 0), [2, 0, 1, 3]);
        assert_eq!(order(&upstreams, Some(2), 0), [0, 2, 1, 3]);
    }

    #[test]
    fn one_that_was_never_asked_gets_its_chance() {
        let upstreams = [upstream(true, 20), upstream(true, 0)];
        assert_eq!(order(&upstreams, None, 0), [1, 0]);
        assert_eq!(order(&[upstream(false, 5), upstream(false, 2)], Some(3), 0), [1, 0]);
        assert!(order(&[], Some(1), 0).is_empty());
    }
}
