//! One question to several upstreams: the next one is asked when one fails, refuses, or takes too long.
//!
//! Owns the order of upstreams, the time that each has before the next one is asked as well, and the failure that the
//! client gets when no upstream answers.

use super::endpoint::Endpoint;
use super::exchange_error::ExchangeError;
use super::flight::Followers;
use super::message::UpstreamQuestion;
use super::upstream::{NoAnswer, Upstream};
use super::upstream_state::{Health, UpstreamSummary};
use crate::answer::Ede;
use crate::wire::Reply;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_proto::op::ResponseCode;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Bounds of the time that an upstream has before the next one is asked too; within them three times its reply time.
const HEDGE_DELAY: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_millis(400);

/// The same time for an upstream that never answered yet.
const FIRST_HEDGE_DELAY: Duration = Duration::from_millis(200);

/// Upstreams share the questions if their reply time is at most twice that of the fastest one plus this time.
const NEAR_RTT: Duration = Duration::from_millis(10);

/// One in so many questions goes first to the second fastest upstream, so that its reply time stays known.
const EXPLORE_PERIOD: usize = 64;

/// A question to one upstream that is under way.
type Attempt = BoxFuture<'static, (Arc<Upstream>, Result<Reply, NoAnswer>)>;

/// Asks upstreams until one gives an answer; a reply in any case, within twice the timeout.
///
/// `turn` counts questions if they are to be spread over the upstreams.
pub(super) async fn run(
    question: &UpstreamQuestion,
    upstreams: &[Arc<Upstream>],
    turn: Option<usize>,
    limit: Duration,
    followers: Followers,
) -> Reply {
    let summaries: Vec<_> = upstreams.iter().map(|upstream| upstream.summary()).collect();
    let count = usize::from(rand::random::<u16>());
    let order = order(&summaries, turn, count);
    let waiting = order.into_iter().map(|at| Arc::clone(&upstreams[at]));
    let mut race = Race {
        question,
        waiting: waiting.filter(|upstream| !upstream.summary().is_looping).collect(),
        asked: Vec::new(),
        attempts: FuturesUnordered::new(),
        followers,
        failure: Failure::None,
    };
    match timeout(2 * limit, race.run()).await {
        Ok(Some(answer)) => answer,
        Ok(None) => race.failed("all upstreams failed"),
        Err(_) => race.failed("no upstream answered in time"),
    }
}

/// A question and the upstreams for it.
struct Race<'a> {
    question: &'a UpstreamQuestion,
    /// Upstreams still to be asked, the next one first.
    waiting: VecDeque<Arc<Upstream>>,
    /// Upstreams that were asked, whether they failed since or not.
    asked: Vec<Arc<Upstream>>,
    attempts: FuturesUnordered<Attempt>,
    /// Who waits for the same exchange.
    followers: Followers,
    /// What the client gets unless an upstream answers.
    failure: Failure,
}

/// The failure to report of those so far: the first reply, else the last error.
#[derive(Debug)]
enum Failure {
    None,
    Error(Endpoint, ExchangeError),
    Reply(Reply),
}

impl Race<'_> {
    /// The first answer; `None` when all upstreams failed.
    async fn run(&mut self) -> Option<Reply> {
        let mut hedge_at = self.ask_next();
        while !self.attempts.is_empty() {
            tokio::select! {
                biased;
                Some((upstream, result)) = self.attempts.next() => {
                    match result {
                        Ok(answer) => {
                            self.note_losses(Some(&upstream));
                            return Some(answer);
                        }
                        Err(no_answer) => self.failure.add(upstream.endpoint(), no_answer),
                    }
                    hedge_at = self.ask_next().or(hedge_at);
                }
                () = sleep_until_if_any(hedge_at) => {
                    if self.followers.any() {
                        // The same question came in again: perhaps because an upstream forwards to us.
                        self.asked.iter().for_each(|upstream| upstream.suspect_loop());
                    }
                    hedge_at = self.ask_next();
                }
            }
        }
        None
    }

    /// Asks the next upstream; gives the time at which another one is to be asked as well.
    fn ask_next(&mut self) -> Option<Instant> {
        let upstream = self.waiting.pop_front()?;
        let hedge_at = Instant::now() + hedge_delay(&upstream.summary());
        self.asked.push(Arc::clone(&upstream));
        let question = self.question.clone();
        let attempt = async move {
            let result = upstream.ask(&question).await;
            (upstream, result)
        };
        self.attempts.push(attempt.boxed());
        Some(hedge_at)
    }

    /// Notes a loss for each upstream that was asked, but for the one that answered.
    ///
    /// Each upstream asked counts, in whatever state its attempt is: one that is still awaited was too slow, and one
    /// that gave an error, which was noted when it came, counts a second time.
    fn note_losses(&self, answered: Option<&Arc<Upstream>>) {
        let is_answered = |upstream: &Arc<Upstream>| answered.is_some_and(|one| Arc::ptr_eq(one, upstream));
        self.asked.iter().filter(|upstream| !is_answered(upstream)).for_each(|upstream| upstream.note_loss());
    }

    /// The reply when no upstream gave an answer.
    ///
    /// A failure reply shows that the question fails, so no loss is noted then.
    fn failed(self, text: &str) -> Reply {
        if let Failure::Reply(reply) = self.failure {
            return reply;
        }
        self.note_losses(None);
        let ede = match self.failure {
            // None was asked because all are looping, or all were found looping when they were asked.
            _ if self.asked.iter().all(|upstream| upstream.summary().is_looping) => {
                Ede::new(Ede::NO_REACHABLE_AUTHORITY, "every upstream forwards to this server")
            }
            Failure::Error(endpoint, error) if error.is_of_network() => {
                Ede::new(Ede::NETWORK_ERROR, format!("{endpoint}: {error}"))
            }
            _ => Ede::new(Ede::NO_REACHABLE_AUTHORITY, text),
        };
        Reply::failure(ResponseCode::ServFail, ede)
    }
}

impl Failure {
    fn add(&mut self, endpoint: Endpoint, no_answer: NoAnswer) {
        match no_answer {
            _ if matches!(self, Self::Reply(_)) => {}
            NoAnswer::Reply(reply) => *self = Self::Reply(explained(reply, endpoint)),
            NoAnswer::Error(error) => *self = Self::Error(endpoint, error),
        }
    }
}

/// A failure reply, with an extended error that names the upstream if the reply has no extended error.
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

/// The name of the rcode of a failure reply.
fn rcode_name(rcode: ResponseCode) -> &'static str {
    if rcode == ResponseCode::Refused { "REFUSED" } else { "SERVFAIL" }
}

/// Sleeps until a time; for ever if there is none.
async fn sleep_until_if_any(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
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
/// Healthy upstreams come first, the fastest one first; an upstream without a reply so far counts as fast. With `turn`,
/// a count of questions, these are spread over the healthy upstreams that are about as fast as the fastest one.
/// `count` is random, and decides without `turn` whether another upstream than the fastest one comes first.
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
    use super::super::context::UpstreamContext;
    use super::*;
    use hickory_proto::op::{Message, MessageType};
    use hickory_proto::rr::{Name, RecordType};
    use tokio::net::UdpSocket;
    use tokio::task::JoinSet;

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
    fn turns_spread_questions_over_upstreams_about_as_fast() {
        let upstreams = [upstream(true, 20), upstream(true, 90), upstream(true, 40), upstream(false, 1)];
        assert_eq!(order(&upstreams, Some(0), 0), [0, 2, 1, 3]);
        assert_eq!(order(&upstreams, Some(1), 0), [2, 0, 1, 3]);
        assert_eq!(order(&upstreams, Some(2), 0), [0, 2, 1, 3]);
    }

    #[test]
    fn an_upstream_that_was_never_asked_comes_first() {
        let upstreams = [upstream(true, 20), upstream(true, 0)];
        assert_eq!(order(&upstreams, None, 0), [1, 0]);
        assert_eq!(order(&[upstream(false, 5), upstream(false, 2)], Some(3), 0), [1, 0]);
        assert!(order(&[], Some(1), 0).is_empty());
    }

    fn upstream_at(socket: &UdpSocket, timeout: Duration) -> Arc<Upstream> {
        let endpoint = Endpoint::classic(socket.local_addr().expect("an address"));
        Arc::new(Upstream::new(endpoint, UpstreamContext::new(timeout)))
    }

    /// Replies to each question with an rcode.
    async fn serve(socket: UdpSocket, rcode: ResponseCode) {
        let mut buffer = [0; 1_500];
        while let Ok((len, peer)) = socket.recv_from(&mut buffer).await {
            let mut message = Message::from_vec(&buffer[..len]).expect("a question");
            message.metadata.message_type = MessageType::Response;
            message.metadata.response_code = rcode;
            socket.send_to(&message.to_vec().expect("octets"), peer).await.expect("sent");
        }
    }

    #[tokio::test]
    async fn an_upstream_that_fails_where_another_answers_is_suspect_after_two_questions() {
        let limit = Duration::from_secs(2);
        let (mut servers, mut upstreams) = (JoinSet::new(), Vec::new());
        for rcode in [ResponseCode::ServFail, ResponseCode::NXDomain] {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
            upstreams.push(upstream_at(&socket, limit));
            servers.spawn(serve(socket, rcode));
        }
        let question = UpstreamQuestion::own(Name::root(), RecordType::A);
        for health in [Health::Healthy, Health::Suspect] {
            let reply = run(&question, &upstreams, Some(0), limit, Followers::default()).await;
            assert_eq!(reply.rcode, ResponseCode::NXDomain);
            assert_eq!(upstreams[0].summary().health, health);
        }
        assert_eq!(upstreams[1].summary().health, Health::Healthy);
    }

    #[tokio::test]
    async fn an_upstream_is_suspect_after_one_question_that_only_errors_came_of() {
        let limit = Duration::from_millis(100);
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let upstreams = [upstream_at(&socket, limit)];
        drop(socket);
        let question = UpstreamQuestion::own(Name::root(), RecordType::A);
        let reply = run(&question, &upstreams, None, limit, Followers::default()).await;
        assert_eq!(reply.rcode, ResponseCode::ServFail);
        assert_eq!(upstreams[0].summary().health, Health::Suspect, "the error and the end both counted");
    }
}
