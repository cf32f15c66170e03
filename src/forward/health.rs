//! Whether an upstream replies to questions, and whether its replies are answers.
//!
//! A plain value, as all of [`upstream_state`](super::upstream_state), where the table of states and events is.

use std::time::Duration;
use tokio::time::Instant;

/// Questions in a row without a reply that make an upstream doubted. One or two get lost anywhere.
const UNANSWERED_UNTIL_DOUBTED: u32 = 3;

/// How long nothing came of an upstream before it is doubted, as long as until a question is sent again: many questions
/// of one moment say no more than one.
const MIN_SILENCE: Duration = Duration::from_millis(400);

/// Questions in a row that an upstream failed and another one answered, until it is known to fail. More than questions
/// without a reply: some names fail at one upstream alone, and asking there costs little time.
const FAILURES_UNTIL_FAILING: u32 = 5;

/// How long until an upstream that fails is asked in its turn again, by one question or some of one moment.
const FAILING_RETRY_PAUSE: Duration = Duration::from_secs(30);

/// Whether an upstream replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    /// It replies, or nothing is known of it yet.
    Healthy,
    /// Several questions in a row got no reply.
    Doubted,
    /// The same, and a probe got no reply.
    Dead,
}

/// Whether an upstream replies to questions, and whether its replies are answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HealthState {
    health: Health,
    /// Questions and probes without a reply since the last reply.
    unanswered: u32,
    /// Probes among these.
    unanswered_probes: u32,
    /// Whether a question waits that was sent again, so that it may be among these soon.
    is_silent: bool,
    /// When the first of these was sent.
    silent_since: Option<Instant>,
    last_reply: Option<Instant>,
    /// Questions since the last answer that this upstream failed and another one answered.
    failures: u32,
    failing: Option<Failing>,
}

/// Of an upstream that fails where others answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failing {
    /// When it failed last.
    since: Instant,
    /// Whether it is to be asked in its turn again.
    is_retry_due: bool,
}

impl HealthState {
    /// An upstream that was never asked.
    pub(super) fn new() -> Self {
        Self {
            health: Health::Healthy,
            unanswered: 0,
            unanswered_probes: 0,
            is_silent: false,
            silent_since: None,
            last_reply: None,
            failures: 0,
            failing: None,
        }
    }

    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// Whether the upstream fails where others answer.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// Whether an upstream that fails is to be asked in its turn again.
    pub(super) fn is_retry_due(&self) -> bool {
        self.failing.is_some_and(|failing| failing.is_retry_due)
    }

    /// Whether a question got no reply since the last reply, or waits for long, so that the upstream is to be probed.
    pub(super) fn is_in_question(&self) -> bool {
        self.unanswered > 0 || self.is_silent
    }

    /// When a reply came last, of whatever kind.
    pub(super) fn last_reply(&self) -> Option<Instant> {
        self.last_reply
    }

    /// A reply came, of whatever kind.
    pub(super) fn on_reply(&mut self, now: Instant) {
        self.last_reply = Some(now);
        (self.unanswered, self.unanswered_probes) = (0, 0);
        (self.is_silent, self.silent_since) = (false, None);
        self.health = Health::Healthy;
    }

    /// A reply came that is an answer.
    pub(super) fn on_answer(&mut self, now: Instant) {
        self.on_reply(now);
        (self.failures, self.failing) = (0, None);
    }

    /// A question that was sent at a time has to be sent again.
    pub(super) fn on_silence(&mut self, sent: Instant) {
        self.is_silent |= self.last_reply.is_none_or(|reply| reply < sent);
    }

    /// A question or probe that was sent at a time got no reply.
    ///
    /// It does not count if a reply to another question came since it was sent: then the question fails, not the
    /// upstream. Resolvers are silent for names whose own servers are silent.
    pub(super) fn on_unanswered(&mut self, sent: Instant, is_probe: bool, now: Instant) {
        if self.last_reply.is_some_and(|reply| reply >= sent) {
            return;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.unanswered_probes = self.unanswered_probes.saturating_add(is_probe.into());
        let silent_since = self.silent_since.map_or(sent, |since| since.min(sent));
        self.silent_since = Some(silent_since);
        if self.unanswered < UNANSWERED_UNTIL_DOUBTED || now - silent_since < MIN_SILENCE {
            return;
        }
        self.health = if self.unanswered_probes > 0 { Health::Dead } else { Health::Doubted };
    }

    /// The upstream failed a question that another one answered.
    pub(super) fn on_outdone(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_UNTIL_FAILING {
            self.failing = Some(Failing { since: now, is_retry_due: false });
        }
    }

    /// Time has passed.
    pub(super) fn on_tick(&mut self, now: Instant) {
        if let Some(failing) = &mut self.failing {
            failing.is_retry_due |= now - failing.since >= FAILING_RETRY_PAUSE;
        }
    }
}
