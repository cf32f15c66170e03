//! What a client gets when no upstream answers, and how long that is kept.
//!
//! Failures are kept by question and upstream (RFC 9520): who asks again within a second or some gets the same failure at
//! once, and an upstream that failed a question is not asked it again at once. An upstream that was not asked, because
//! it is new or another one answered first, is asked as always.

use super::endpoint::Endpoint;
use super::exchange_error::{Blame, ExchangeError};
use super::message::UpstreamQuestion;
use super::upstream::NoAnswer;
use super::verdict::{FailureKind, explained};
use crate::answer::Ede;
use crate::wire::Reply;
use hickory_proto::op::ResponseCode;
use quick_cache::sync::Cache;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum number of failures that are kept, of half a KiB each. Beyond that, those that are asked for least go.
const MAX_FAILURES: usize = 4_096;

/// How long the first failure of a question is kept (RFC 9520 §3.2: at least a second). It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Maximum time that a failure is kept: what is mended is to be seen soon. RFC 9520 §3.2 allows five minutes.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// How long after a failure the next one counts as a further one.
const MAX_GAP: Duration = Duration::from_secs(60);

/// What a client gets unless an upstream answers.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    rank: FailureRank,
    is_kept: bool,
    is_of_network: bool,
    reply: Reply,
}

/// Which of several failures says most; the least one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FailureRank {
    /// No reply, or none that helps.
    Error,
    /// A reply.
    Reply(FailureKind),
}

impl Failure {
    /// The failure that an upstream gave in the place of an answer.
    pub(super) fn new(upstream: Endpoint, no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::Reply(reply, kind) => Self {
                rank: FailureRank::Reply(kind),
                is_kept: true,
                is_of_network: false,
                reply: explained(reply, kind, upstream),
            },
            NoAnswer::Error(error) => Self::of_error(upstream, &error),
        }
    }

    fn of_error(upstream: Endpoint, error: &ExchangeError) -> Self {
        let code = if error.is_of_network() { Ede::NETWORK_ERROR } else { Ede::NO_REACHABLE_AUTHORITY };
        let ede = Ede::new(code, format!("{upstream}: {error}"));
        Self {
            rank: FailureRank::Error,
            // What is the fault of this host says nothing of the question.
            is_kept: error.blame() != Blame::None,
            is_of_network: error.is_of_network(),
            reply: Reply::failure(ResponseCode::ServFail, ede),
        }
    }

    /// The one of two failures that says more; the later one of two errors.
    pub(super) fn or_better(self, other: Self) -> Self {
        match self.rank {
            FailureRank::Reply(_) if other.rank <= self.rank => self,
            _ => other,
        }
    }

    /// Whether the network failed, such as that nobody listens, rather than the server.
    pub(super) fn is_of_network(&self) -> bool {
        self.is_of_network
    }

    /// What the client gets.
    pub(super) fn into_reply(self) -> Reply {
        self.reply
    }
}

/// The failures that are kept.
pub(super) struct FailureCache {
    failures: Cache<(UpstreamQuestion, Endpoint), KeptFailure>,
}

/// A failure of one question at one upstream.
#[derive(Clone)]
struct KeptFailure {
    failure: Failure,
    since: Instant,
    pause: Duration,
}

impl Default for FailureCache {
    fn default() -> Self {
        Self { failures: Cache::new(MAX_FAILURES) }
    }
}

impl std::fmt::Debug for FailureCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FailureCache({})", self.failures.len())
    }
}

impl FailureCache {
    /// The failure that is kept of a question at an upstream, unless that came back to life since; `revived` says when it
    /// did last.
    pub(super) fn get(
        &self,
        question: &UpstreamQuestion,
        upstream: Endpoint,
        revived: impl Fn(&Failure) -> Option<Instant>,
        now: Instant,
    ) -> Option<Failure> {
        if self.failures.is_empty() {
            return None;
        }
        let kept = self.failures.get(&(question.clone(), upstream))?;
        let is_revived = || revived(&kept.failure).is_some_and(|revived| revived >= kept.since);
        let is_kept = now - kept.since < kept.pause && !is_revived();
        is_kept.then_some(kept.failure)
    }

    /// Keeps the failure of a question at an upstream.
    pub(super) fn insert(
        &self,
        question: &UpstreamQuestion,
        upstream: Endpoint,
        failure: &Failure,
        now: Instant,
    ) {
        if !failure.is_kept {
            return;
        }
        let key = (question.clone(), upstream);
        let before = self.failures.get(&key).filter(|kept| now - kept.since < MAX_GAP);
        let pause = before.map_or(FIRST_PAUSE, |kept| (2 * kept.pause).min(MAX_PAUSE));
        self.failures.insert(key, KeptFailure { failure: failure.clone(), since: now, pause });
    }

    /// Keeps a failure for a moment from now on at least, because a client was told of it again.
    pub(super) fn extend(&self, question: &UpstreamQuestion, upstream: Endpoint, now: Instant) {
        let key = (question.clone(), upstream);
        if let Some(mut kept) = self.failures.get(&key) {
            kept.pause = kept.pause.max(now - kept.since + FIRST_PAUSE);
            self.failures.insert(key, kept);
        }
    }

    /// Forgets the failures of a question at an upstream that answered it.
    pub(super) fn remove(&self, question: &UpstreamQuestion, upstream: Endpoint) {
        if !self.failures.is_empty() {
            self.failures.remove(&(question.clone(), upstream));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::{Name, RecordType};

    const SECOND: Duration = Duration::from_secs(1);

    fn question(n: usize) -> UpstreamQuestion {
        UpstreamQuestion::own(Name::from_ascii(format!("n{n}.example.org.")).expect("a name"), RecordType::A)
    }

    fn upstream(last: u8) -> Endpoint {
        Endpoint::classic(([192, 0, 2, last], 53).into())
    }

    fn failure_reply(kind: FailureKind, rcode: ResponseCode) -> Failure {
        Failure::new(upstream(1), NoAnswer::Reply(Reply::empty(rcode), kind))
    }

    fn error(error: ExchangeError) -> Failure {
        Failure::new(upstream(2), NoAnswer::Error(error))
    }

    #[test]
    fn the_failure_that_says_most_is_given() {
        let servfail = || failure_reply(FailureKind::ServFail, ResponseCode::ServFail);
        let refused = || failure_reply(FailureKind::Refused, ResponseCode::Refused);
        let timeout = || error(ExchangeError::Timeout);
        let given = |first: Failure, second: Failure| {
            let reply = first.or_better(second).into_reply();
            (reply.rcode, reply.errors[0].text.clone())
        };
        let said = |rcode, text: &str| (rcode, format!("192.0.2.1:53 said {text}"));
        assert_eq!(given(servfail(), refused()), said(ResponseCode::ServFail, "SERVFAIL"));
        assert_eq!(given(refused(), servfail()), said(ResponseCode::ServFail, "SERVFAIL"));
        assert_eq!(given(timeout(), refused()), said(ResponseCode::Refused, "REFUSED"));
        assert_eq!(given(refused(), timeout()), said(ResponseCode::Refused, "REFUSED"));
        let silent = (ResponseCode::ServFail, "192.0.2.2:53: no reply in time".to_owned());
        assert_eq!(given(error(ExchangeError::Closed), timeout()), silent);
    }

    #[test]
    fn a_failure_is_kept_for_a_second_and_longer_each_time_up_to_some() {
        let (kept, failure) = (FailureCache::default(), error(ExchangeError::Timeout));
        let mut now = Instant::now();
        for pause in [1, 2, 4, 5, 5] {
            kept.insert(&question(1), upstream(1), &failure, now);
            let get = |after| kept.get(&question(1), upstream(1), |_| None, now + after).is_some();
            assert!(get(pause * SECOND - SECOND / 10) && !get(pause * SECOND), "{pause} s");
            assert!(kept.get(&question(2), upstream(1), |_| None, now).is_none(), "another question");
            assert!(kept.get(&question(1), upstream(2), |_| None, now).is_none(), "another upstream");
            now += 10 * SECOND;
        }
        now += MAX_GAP;
        kept.insert(&question(1), upstream(1), &failure, now);
        assert!(kept.get(&question(1), upstream(1), |_| None, now + SECOND).is_none(), "as new");
        kept.insert(&question(1), upstream(1), &failure, now + SECOND);
        kept.remove(&question(1), upstream(1));
        assert!(kept.get(&question(1), upstream(1), |_| None, now + SECOND).is_none(), "answered");
    }

    #[test]
    fn a_failure_that_a_client_was_told_of_again_is_kept_for_a_moment_more() {
        let (kept, failure, now) = (FailureCache::default(), error(ExchangeError::Timeout), Instant::now());
        kept.extend(&question(1), upstream(1), now);
        assert_eq!(kept.failures.len(), 0, "nothing is made up");
        kept.insert(&question(1), upstream(1), &failure, now);
        let later = now + 3 * SECOND;
        kept.extend(&question(1), upstream(1), later);
        let get = |at| kept.get(&question(1), upstream(1), |_| None, at).is_some();
        assert!(get(later + SECOND / 2) && !get(later + SECOND));
    }

    #[test]
    fn an_upstream_that_came_back_to_life_is_asked() {
        let (kept, failure, now) = (FailureCache::default(), error(ExchangeError::Timeout), Instant::now());
        kept.insert(&question(1), upstream(1), &failure, now);
        let get =
            |revived| kept.get(&question(1), upstream(1), |_| Some(revived), now + SECOND / 2).is_some();
        assert!(get(now - SECOND) && !get(now + SECOND / 4));
    }

    #[test]
    fn a_fault_of_this_host_is_not_kept_and_the_number_of_failures_is_bounded() {
        let (kept, now) = (FailureCache::default(), Instant::now());
        for fault in [ExchangeError::TooManyPending, ExchangeError::Loop] {
            kept.insert(&question(1), upstream(1), &error(fault), now);
        }
        assert_eq!(kept.failures.len(), 0);
        for n in 0..3 * MAX_FAILURES {
            kept.insert(&question(n), upstream(1), &error(ExchangeError::Timeout), now);
        }
        assert!(kept.failures.len() <= MAX_FAILURES, "{kept:?}");
    }
}
