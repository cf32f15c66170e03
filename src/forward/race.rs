//! One question to several upstreams: the next one is asked when one fails, refuses, or takes too long.
//!
//! Owns when the next upstream is asked as well, and the failure that the client gets when no upstream answers.

use super::endpoint::Endpoint;
use super::exchange_error::ExchangeError;
use super::failure::{Failure, FailureCache};
use super::flight::Followers;
use super::health::Health;
use super::message::UpstreamQuestion;
use super::order::order;
use super::upstream::{NoAnswer, Upstream};
use crate::answer::Ede;
use crate::config::NsPolicy;
use crate::wire::Reply;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_proto::op::ResponseCode;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

/// A question to one upstream that is under way.
type Attempt = BoxFuture<'static, (Arc<Upstream>, Result<Reply, NoAnswer>)>;

/// Asks upstreams until one gives an answer; a reply in any case, within twice the timeout.
///
/// The failures of upstreams are kept when it ends, from then on. Of a race that is dropped before nothing is kept.
pub(super) async fn run(
    question: &UpstreamQuestion,
    upstreams: &[Arc<Upstream>],
    rules: RaceRules,
    followers: Followers,
    kept: &FailureCache,
) -> Reply {
    let summaries: Vec<_> = upstreams.iter().map(|upstream| upstream.summary()).collect();
    let order = order(&summaries, rules.policy, rules.turn);
    let waiting = order.into_iter().map(|at| Arc::clone(&upstreams[at]));
    let mut race = Race {
        question,
        policy: rules.policy,
        waiting: waiting.filter(|upstream| !upstream.summary().is_looping).collect(),
        asked: Vec::new(),
        refusing: Vec::new(),
        attempts: FuturesUnordered::new(),
        pass_over: Arc::default(),
        followers,
        kept,
        failures: Vec::new(),
        passed_over: Vec::new(),
        failure: None,
    };
    let answer = timeout(2 * rules.limit, race.run()).await.ok().flatten();
    race.keep_failures(answer.is_some(), Instant::now());
    answer.unwrap_or_else(|| race.failed())
}

/// How one question goes to several upstreams.
#[derive(Clone, Copy, Debug)]
pub(super) struct RaceRules {
    /// Which upstream is asked first.
    pub(super) policy: NsPolicy,
    /// The number of the question.
    pub(super) turn: usize,
    /// Time for the reply of one upstream.
    pub(super) limit: Duration,
}

/// A question and the upstreams for it.
struct Race<'a> {
    question: &'a UpstreamQuestion,
    policy: NsPolicy,
    /// Upstreams still to be asked, the next one first.
    waiting: VecDeque<Arc<Upstream>>,
    /// Upstreams that were asked, whether they failed since or not, and when.
    asked: Vec<(Arc<Upstream>, Instant)>,
    /// Those whose reply was no answer.
    refusing: Vec<Arc<Upstream>>,
    attempts: FuturesUnordered<Attempt>,
    /// Notified when the next upstream is to be asked at once.
    pass_over: Arc<Notify>,
    /// Who waits for the same exchange.
    followers: Followers,
    /// The failures of a moment ago.
    kept: &'a FailureCache,
    /// What those that were asked gave in the place of an answer.
    failures: Vec<(Endpoint, Failure)>,
    /// Upstreams that were not asked, because they failed the question a moment ago.
    passed_over: Vec<Endpoint>,
    /// What the client gets unless an upstream answers.
    failure: Option<Failure>,
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
                            self.note_answer(&upstream);
                            return Some(answer);
                        }
                        Err(no_answer) => self.note_failure(upstream, no_answer),
                    }
                    hedge_at = self.ask_next().or(hedge_at);
                }
                () = self.pass_over.notified() => hedge_at = self.ask_next().or(hedge_at),
                () = sleep_until_if_any(hedge_at) => {
                    if self.followers.any() {
                        // The same question came in again: perhaps because an upstream forwards to us.
                        self.asked.iter().for_each(|(upstream, _)| upstream.suspect_loop());
                    }
                    hedge_at = if self.may_hedge() { self.ask_next() } else { None };
                }
            }
        }
        None
    }

    /// Whether the next upstream may be asked because the one asked last is slow.
    ///
    /// With `order` it may not, because the next one may answer differently, unless the one asked last is dead anyway.
    fn may_hedge(&self) -> bool {
        let is_dead = |(upstream, _): &(Arc<Upstream>, _)| upstream.summary().health == Health::Dead;
        self.policy != NsPolicy::Order || self.asked.last().is_none_or(is_dead)
    }

    /// Notes that an upstream answered, and of each one that failed the question that another one answered it.
    ///
    /// With `order` the latter says nothing: a server that comes first for some names may refuse all others.
    fn note_answer(&self, upstream: &Upstream) {
        self.kept.remove(self.question, upstream.endpoint());
        if self.policy != NsPolicy::Order {
            self.refusing.iter().for_each(|upstream| upstream.note_outdone());
        }
    }

    /// The next upstream to be asked: those that failed the question a moment ago are passed over.
    fn next_upstream(&mut self) -> Option<Arc<Upstream>> {
        loop {
            let upstream = self.waiting.pop_front()?;
            let endpoint = upstream.endpoint();
            let since = |failure: &Failure| upstream.revived(failure.is_of_network());
            match self.kept.get(self.question, endpoint, since, Instant::now()) {
                Some(failure) => {
                    self.passed_over.push(endpoint);
                    self.add(failure);
                }
                None => return Some(upstream),
            }
        }
    }

    /// Asks the next upstream; gives the time at which another one is to be asked as well.
    fn ask_next(&mut self) -> Option<Instant> {
        let upstream = self.next_upstream()?;
        let now = Instant::now();
        let hedge_at = now + upstream.hedge_delay();
        self.asked.push((Arc::clone(&upstream), now));
        let (question, pass_over) = (self.question.clone(), Arc::clone(&self.pass_over));
        let attempt = async move {
            let result = upstream.ask(&question, pass_over).await;
            (upstream, result)
        };
        self.attempts.push(attempt.boxed());
        Some(hedge_at)
    }

    fn note_failure(&mut self, upstream: Arc<Upstream>, no_answer: NoAnswer) {
        let endpoint = upstream.endpoint();
        if let NoAnswer::Reply(..) = no_answer {
            self.refusing.push(upstream);
        }
        let failure = Failure::new(endpoint, no_answer);
        self.failures.push((endpoint, failure.clone()));
        self.add(failure);
    }

    /// Keeps the failures of the upstreams that were asked.
    ///
    /// Without an answer, those that the end of the race cut off failed as well, if they had the time that the next upstream
    /// waits for them. What the client gets is kept for a moment from now on, whoever it came from.
    fn keep_failures(&mut self, is_answered: bool, now: Instant) {
        if !is_answered {
            let failed = |upstream: &Upstream| self.failures.iter().any(|(at, _)| *at == upstream.endpoint());
            let cut_off = self
                .asked
                .iter()
                .filter(|(upstream, begun)| !failed(upstream) && now - *begun >= upstream.hedge_delay());
            let no_reply = |upstream: &Upstream| {
                let endpoint = upstream.endpoint();
                (endpoint, Failure::new(endpoint, NoAnswer::Error(ExchangeError::Timeout)))
            };
            let cut_off: Vec<_> = cut_off.map(|(upstream, _)| no_reply(upstream)).collect();
            for (endpoint, failure) in cut_off {
                self.failures.push((endpoint, failure.clone()));
                self.add(failure);
            }
        }
        for (endpoint, failure) in &self.failures {
            self.kept.insert(self.question, *endpoint, failure, now);
        }
        if !is_answered && !self.asked.is_empty() {
            self.passed_over.iter().for_each(|endpoint| self.kept.extend(self.question, *endpoint, now));
        }
    }

    fn add(&mut self, failure: Failure) {
        self.failure = Some(match self.failure.take() {
            Some(before) => before.or_better(failure),
            None => failure,
        });
    }

    /// The reply when no upstream gave an answer.
    fn failed(self) -> Reply {
        let is_looping = |(upstream, _): &(Arc<Upstream>, _)| upstream.summary().is_looping;
        let text = match self.failure {
            Some(failure) if self.asked.is_empty() => {
                let mut reply = failure.into_reply();
                reply.errors.push(Ede::new(Ede::CACHED_ERROR, "asked a moment ago"));
                return reply;
            }
            // None was asked because all are looping, or all were found looping when they were asked.
            _ if self.asked.iter().all(is_looping) => "every upstream forwards to this server",
            Some(failure) => return failure.into_reply(),
            None => "no upstream answered in time",
        };
        Reply::failure(ResponseCode::ServFail, Ede::new(Ede::NO_REACHABLE_AUTHORITY, text))
    }
}

/// Sleeps until a time; for ever if there is none.
async fn sleep_until_if_any(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::UpstreamContext;
    use super::*;
    use hickory_proto::op::{Message, MessageType};
    use hickory_proto::rr::{Name, RecordType};
    use tokio::net::UdpSocket;
    use tokio::task::JoinSet;

    fn upstream_at(socket: &UdpSocket, timeout: Duration) -> Arc<Upstream> {
        let endpoint = Endpoint::classic(socket.local_addr().expect("an address"));
        Arc::new(Upstream::new(endpoint, UpstreamContext::new(timeout)))
    }

    fn rules(policy: NsPolicy, limit: Duration) -> RaceRules {
        RaceRules { policy, turn: 0, limit }
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
    async fn an_upstream_that_fails_where_another_answers_is_asked_behind_it_after_five_questions() {
        let limit = Duration::from_secs(2);
        let (mut servers, mut upstreams) = (JoinSet::new(), Vec::new());
        for rcode in [ResponseCode::ServFail, ResponseCode::NXDomain] {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
            upstreams.push(upstream_at(&socket, limit));
            servers.spawn(serve(socket, rcode));
        }
        let question = UpstreamQuestion::own(Name::root(), RecordType::A);
        for is_failing in [false, false, false, false, true] {
            let reply = run(
                &question,
                &upstreams,
                rules(NsPolicy::Rotate, limit),
                Followers::default(),
                &FailureCache::default(),
            )
            .await;
            assert_eq!(reply.rcode, ResponseCode::NXDomain);
            assert_eq!(upstreams[0].summary().is_failing, is_failing);
        }
        assert!(!upstreams[1].summary().is_failing);
        let lone = &upstreams[..1];
        for _ in 0..20 {
            run(
                &question,
                lone,
                rules(NsPolicy::Rotate, limit),
                Followers::default(),
                &FailureCache::default(),
            )
            .await;
        }
        assert!(upstreams[0].summary().may_answer(), "replies without an answer show that it is there");
    }

    #[tokio::test]
    async fn a_question_that_failed_a_moment_ago_is_not_asked_again() {
        let limit = Duration::from_secs(2);
        let (mut servers, mut upstreams) = (JoinSet::new(), Vec::new());
        for rcode in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NXDomain] {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
            upstreams.push(upstream_at(&socket, limit));
            servers.spawn(serve(socket, rcode));
        }
        let kept = FailureCache::default();
        let question = UpstreamQuestion::own(Name::root(), RecordType::A);
        let run =
            |upstreams| run(&question, upstreams, rules(NsPolicy::Order, limit), Followers::default(), &kept);
        let codes =
            |reply: Reply| (reply.rcode, reply.errors.iter().map(|error| error.code).collect::<Vec<_>>());
        let servfail = (ResponseCode::ServFail, vec![Ede::NO_REACHABLE_AUTHORITY]);
        assert_eq!(codes(run(&upstreams[..2]).await), servfail);
        // Nobody can answer any more.
        servers.abort_all();
        while servers.join_next().await.is_some() {}
        let again = codes(run(&upstreams[..2]).await);
        assert_eq!(again, (ResponseCode::ServFail, vec![Ede::NO_REACHABLE_AUTHORITY, Ede::CACHED_ERROR]));
        let other = run(&upstreams).await;
        assert!(!other.errors.iter().any(|error| error.code == Ede::CACHED_ERROR), "the third one was asked");
    }

    #[tokio::test]
    async fn what_silent_upstreams_cost_is_remembered_from_the_end_of_the_race() {
        for (policy, silent) in [(NsPolicy::Order, 2), (NsPolicy::Order, 3), (NsPolicy::Rotate, 3)] {
            // Longer than the first pause, so that a pause from the first upstream's end would be over.
            let limit = Duration::from_millis(1_100);
            let (mut sockets, mut upstreams) = (Vec::new(), Vec::new());
            for _ in 0..silent {
                let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
                upstreams.push(upstream_at(&socket, limit));
                sockets.push(socket);
            }
            let kept = FailureCache::default();
            let question = UpstreamQuestion::own(Name::root(), RecordType::A);
            let run = || run(&question, &upstreams, rules(policy, limit), Followers::default(), &kept);
            let is_kept = |reply: Reply| {
                assert_eq!(reply.rcode, ResponseCode::ServFail);
                reply.errors.iter().any(|error| error.code == Ede::CACHED_ERROR)
            };
            let mut asked = 0;
            while !is_kept(run().await) {
                asked += 1;
            }
            // With `order` there is time for two of them.
            assert_eq!(asked, if silent == 3 && policy == NsPolicy::Order { 2 } else { 1 }, "{policy:?}");
        }
    }

    #[tokio::test]
    async fn an_upstream_that_was_cut_off_at_once_is_not_blamed() {
        let limit = Duration::from_millis(500);
        let (mut servers, kept) = (JoinSet::new(), FailureCache::default());
        let mut upstreams = Vec::new();
        for _ in 0..2 {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
            upstreams.push(upstream_at(&socket, limit));
            servers.spawn(async move {
                // Holds the socket and says nothing.
                let _socket = socket;
                std::future::pending::<()>().await;
            });
        }
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        upstreams.push(upstream_at(&socket, limit));
        servers.spawn(serve(socket, ResponseCode::NXDomain));
        let question = UpstreamQuestion::own(Name::root(), RecordType::A);
        let run = || run(&question, &upstreams, rules(NsPolicy::Order, limit), Followers::default(), &kept);
        let codes = [run().await.rcode, run().await.rcode];
        assert_eq!(codes[1], ResponseCode::NXDomain, "the third one is asked, at the latest the second time");
    }

    #[tokio::test]
    async fn a_question_without_a_reply_counts_once_and_one_alone_says_nothing() {
        let limit = Duration::from_millis(500);
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let (silent, closed) = (upstream_at(&socket, limit), UdpSocket::bind("127.0.0.1:0").await);
        let closed = upstream_at(&closed.expect("a socket"), limit);
        let question = UpstreamQuestion::own(Name::root(), RecordType::A);
        for upstream in [silent, closed] {
            for health in [Health::Healthy, Health::Healthy, Health::Doubted] {
                let upstreams = [Arc::clone(&upstream)];
                let reply = run(
                    &question,
                    &upstreams,
                    rules(NsPolicy::Rotate, limit),
                    Followers::default(),
                    &FailureCache::default(),
                )
                .await;
                assert_eq!(reply.rcode, ResponseCode::ServFail);
                assert_eq!(upstream.summary().health, health, "{upstream:?}");
            }
        }
    }

    /// An upstream that replies as `reply` makes of the question.
    async fn scripted(
        servers: &mut JoinSet<()>,
        mut script: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static,
    ) -> Arc<Upstream> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let upstream = upstream_at(&socket, Duration::from_secs(20));
        servers.spawn(async move {
            let mut buffer = [0; 1_500];
            while let Ok((len, peer)) = socket.recv_from(&mut buffer).await {
                buffer[2] |= 0x80;
                socket.send_to(&script(&buffer[..len]), peer).await.expect("sent");
            }
        });
        upstream
    }

    #[tokio::test]
    async fn an_upstream_that_does_not_answer_is_passed_over_at_once() {
        let mut servers = JoinSet::new();
        let with_rcode = |rcode: u8| {
            move |question: &[u8]| {
                let mut reply = question.to_vec();
                reply[3] |= rcode;
                reply
            }
        };
        let header_only = |rcode: u8| {
            move |question: &[u8]| {
                let mut reply = question[..12].to_vec();
                reply[3] |= rcode;
                reply[4..].fill(0);
                reply
            }
        };
        // An authority section of NS for the root, and no RA.
        let referral = |question: &[u8]| {
            let mut reply = question[..12 + 5].to_vec();
            (reply[9], reply[11]) = (1, 0);
            [reply, vec![0, 0, 2, 0, 1, 0, 0, 0, 60, 0, 1, 0]].concat()
        };
        let unreadable = |question: &[u8]| {
            let mut reply = question[..12 + 5].to_vec();
            (reply[7], reply[11]) = (1, 0);
            [reply, vec![0xc0, 0xff, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]].concat()
        };
        let mut bad = vec![
            scripted(&mut servers, with_rcode(1)).await,
            scripted(&mut servers, with_rcode(4)).await,
            scripted(&mut servers, with_rcode(9)).await,
            scripted(&mut servers, header_only(1)).await,
            scripted(&mut servers, header_only(2)).await,
            scripted(&mut servers, header_only(3)).await,
            scripted(&mut servers, header_only(5)).await,
            scripted(&mut servers, referral).await,
            scripted(&mut servers, unreadable).await,
        ];
        let closed = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        bad.push(upstream_at(&closed, Duration::from_secs(20)));
        drop(closed);
        let good = scripted(&mut servers, with_rcode(3)).await;
        let question = UpstreamQuestion::own(Name::root(), RecordType::A);
        let limit = Duration::from_secs(20);
        for (at, bad) in bad.iter().enumerate() {
            let upstreams = [Arc::clone(bad), Arc::clone(&good)];
            let reply = run(
                &question,
                &upstreams,
                rules(NsPolicy::Order, limit),
                Followers::default(),
                &FailureCache::default(),
            )
            .await;
            assert_eq!(reply.rcode, ResponseCode::NXDomain, "upstream {at}");
            assert_eq!(bad.summary().health, Health::Healthy, "upstream {at}");
            // With nobody better, the client learns which one failed and how.
            if at < 9 {
                let reply = run(
                    &question,
                    &upstreams[..1],
                    rules(NsPolicy::Order, limit),
                    Followers::default(),
                    &FailureCache::default(),
                )
                .await;
                let expected = bad.endpoint().to_string();
                assert_eq!(reply.rcode, ResponseCode::ServFail, "upstream {at}");
                assert!(reply.errors[0].text.contains(&expected), "upstream {at}: {:?}", reply.errors);
            }
        }
    }
}
