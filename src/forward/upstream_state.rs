//! What is known of one upstream, and how each event changes that.
//!
//! A plain value: this module knows no clock, log, socket or lock. Each event is a function `on_…` of
//! [`UpstreamState`]; the [`Effects`] that it returns are for the caller to carry out. Nothing follows from a single
//! packet but that the upstream replies.
//!
//! Three things are known apart from each other. Whether it replies ([`Health`]):
//!
//! | state | asked | changes with | to |
//! |---|---|---|---|
//! | healthy | in its turn; probed when a question has to be sent again | 3 in a row without a reply, none of them a probe | doubted |
//! | | | 3 in a row without a reply, one of them a probe | dead |
//! | doubted | behind the healthy ones (by `order` in its turn); probed | a probe without a reply | dead |
//! | dead | last; probed; is down | any reply, to a question or to a probe | healthy |
//! | all | | any reply | healthy |
//!
//! "In a row" means that no reply came since the first of them was sent, and for at least 400 ms. Questions and probes
//! count once each, when their time is over, when the network says that nobody listens, or when another upstream
//! answered after this one had its time (`race`). Whether its replies are answers ([`HealthState::is_failing`]):
//!
//! | state | asked | changes with | to |
//! |---|---|---|---|
//! | – | in its turn | 5 questions in a row that it failed and another upstream answered | failing |
//! | failing | behind the healthy ones; in its turn again after 30 s; is down | an answer | – |
//! | | | one more such question | failing, for 30 s more |
//!
//! And whether it supports EDNS ([`EdnsSupport`](super::edns_state::EdnsSupport)):
//!
//! | state | asked | changes with | to |
//! |---|---|---|---|
//! | unknown | with EDNS; without as well if it says FORMERR or NOTIMP without OPT, or nothing for 400 ms | a reply with OPT | supported |
//! | | | 3 different questions that were answered without EDNS only, none older than 10 minutes | unsupported |
//! | supported | with EDNS; if it says FORMERR or NOTIMP without OPT, for this question without (with DO: with EDNS again, then without) | 2 hours without a reply with OPT | unknown |
//! | unsupported | without EDNS | 10 minutes | unknown |
//!
//! The rules of loops are at [`LoopState`].

use super::edns_state::EdnsState;
use super::health::{Health, HealthState};
use super::upstream_summary::UpstreamSummary;
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::time::Instant;

/// How long an upstream that forwards to us is left alone before it is probed for that again.
const LOOP_PROBE_PAUSE: Duration = Duration::from_secs(30);

/// How long after a probe for health the next one is sent.
const HEALTH_PROBE_PAUSE: Duration = Duration::from_millis(500);

/// Whether an upstream forwards to us what we forward to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoopState {
    /// Nothing speaks for a loop.
    None,
    /// To be probed for a loop.
    Suspected,
    /// A probe came back: the upstream is not asked until a probe shows that the loop has ended.
    Found {
        /// When a probe came back last.
        since: Instant,
        /// Whether to probe again before the pause is over.
        suspected_again: bool,
    },
}

/// What an upstream is to be probed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeKind {
    /// For any reply.
    Health,
    /// For whether the question comes back to us.
    Loop {
        /// The loop that is known of, by the time when a probe came back last.
        known_since: Option<Instant>,
    },
}

/// What is known of one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UpstreamState {
    health: HealthState,
    edns: EdnsState,
    loop_state: LoopState,
    /// Smoothed reply time in microseconds; `None` before the first answer.
    rtt: Option<NonZeroU32>,
    /// When the next probe for health may be sent.
    next_probe: Option<Instant>,
    /// When it replied again after it was dead.
    revived: Option<Instant>,
    /// How often the upstream went up or down.
    changes: u64,
}

/// What the caller has to do after an event.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// What to log.
    pub(super) log: Option<UpstreamNotice>,
    /// Whether to wake the task that reports changes of upstreams.
    pub(super) notify: bool,
    /// Whether to end the exchanges under way with the upstream.
    pub(super) end_exchanges: bool,
    /// Whether the questions that wait for the upstream are to go to the next one as well.
    pub(super) pass_over: bool,
    /// Whether to wake the task that probes upstreams.
    pub(super) probe: bool,
}

/// Whether an upstream answers, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamCondition {
    /// It was not asked yet, or only so lately that nothing is known.
    NotAsked,
    /// It answers questions.
    Up,
    /// It does not reply, fails where others answer, or forwards to us.
    Down,
}

/// What operators are to know of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamNotice {
    DoesNotAnswer,
    AnswersAgain,
    LoopFound,
    LoopEnded,
}

impl UpstreamState {
    /// An upstream that was never asked.
    pub(super) fn new() -> Self {
        Self {
            health: HealthState::new(),
            edns: EdnsState::default(),
            loop_state: LoopState::None,
            rtt: None,
            next_probe: None,
            revived: None,
            changes: 0,
        }
    }

    /// An answer came, so long after the question.
    pub(super) fn on_answer(&mut self, took: Duration, now: Instant) -> Effects {
        self.rtt = Some(smoothed(self.rtt, took));
        self.note_revival(now);
        self.change_health(|health| health.on_answer(now))
    }

    /// A reply came that is no answer.
    pub(super) fn on_failure_reply(&mut self, now: Instant) -> Effects {
        self.note_revival(now);
        self.change_health(|health| health.on_reply(now))
    }

    /// A question that was sent at a time has to be sent again: a probe may tell sooner than the end of its time.
    pub(super) fn on_silence(&mut self, sent: Instant, now: Instant) -> Effects {
        let effects = self.change_health(|health| health.on_silence(sent));
        Effects { probe: effects.probe && self.is_probe_pause_over(now), ..effects }
    }

    /// A question that was sent at a time got no reply.
    pub(super) fn on_unanswered(&mut self, sent: Instant, now: Instant) -> Effects {
        let effects = self.change_health(|health| health.on_unanswered(sent, false, now));
        Effects { probe: effects.probe && self.is_probe_pause_over(now), ..effects }
    }

    /// The upstream failed a question that another one answered.
    pub(super) fn on_outdone(&mut self, now: Instant) -> Effects {
        self.change_health(|health| health.on_outdone(now))
    }

    /// A reply with OPT came.
    pub(super) fn on_opt(&mut self, now: Instant) -> Effects {
        self.edns.on_opt(now);
        Effects::default()
    }

    /// A question that failed with EDNS was answered without; `question` is a hash of it.
    pub(super) fn on_fall_back(&mut self, question: u64, now: Instant) -> Effects {
        self.edns.on_fall_back(question, now);
        Effects::default()
    }

    /// A probe for health got a reply. Any will do: a server of internal zones may refuse the root.
    pub(super) fn on_probe_reply(&mut self, took: Duration, now: Instant) -> Effects {
        self.rtt = Some(smoothed(self.rtt, took));
        self.next_probe = Some(now + HEALTH_PROBE_PAUSE);
        self.note_revival(now);
        self.change_health(|health| health.on_reply(now))
    }

    /// A probe for health that was sent at a time got no reply.
    pub(super) fn on_probe_unanswered(&mut self, sent: Instant, now: Instant) -> Effects {
        self.next_probe = Some(now + HEALTH_PROBE_PAUSE);
        self.change_health(|health| health.on_unanswered(sent, true, now))
    }

    /// Time has passed.
    pub(super) fn on_tick(&mut self, now: Instant) -> Effects {
        self.edns.on_tick(now);
        self.change_health(|health| health.on_tick(now))
    }

    /// A question came in that may have been forwarded to us by the upstream.
    pub(super) fn on_loop_suspected(&mut self) -> Effects {
        match &mut self.loop_state {
            LoopState::Found { suspected_again, .. } => *suspected_again = true,
            LoopState::None | LoopState::Suspected => self.loop_state = LoopState::Suspected,
        }
        Effects::default()
    }

    /// A probe for a loop came back to us.
    pub(super) fn on_loop_found(&mut self, now: Instant) -> Effects {
        let suspected_again = self.is_loop_suspected();
        let is_known = self.known_loop().is_some();
        self.loop_state = LoopState::Found { since: now, suspected_again };
        let effects = if is_known { Effects::default() } else { self.changed(UpstreamNotice::LoopFound) };
        Effects { end_exchanges: true, ..effects }
    }

    /// A probe for a loop got a reply: the loop that was known before has ended unless the probe came back meanwhile.
    pub(super) fn on_loop_probe_reply(&mut self, known_before: Option<Instant>) -> Effects {
        if known_before.is_none() || self.known_loop() != known_before {
            return Effects::default();
        }
        self.loop_state = if self.is_loop_suspected() { LoopState::Suspected } else { LoopState::None };
        self.changed(UpstreamNotice::LoopEnded)
    }

    /// What the upstream is to be probed for now. A suspicion of a loop is taken: the next call does not return it.
    pub(super) fn take_probe(&mut self, now: Instant) -> Option<ProbeKind> {
        let known_since = self.known_loop();
        let is_pause_over = known_since.is_some_and(|since| now - since >= LOOP_PROBE_PAUSE);
        let is_wanted = self.is_loop_suspected() || is_pause_over;
        self.loop_state = match known_since {
            Some(since) => LoopState::Found { since, suspected_again: false },
            None => LoopState::None,
        };
        let is_health_due = self.health.is_in_question() && self.is_probe_pause_over(now);
        match (is_wanted, is_health_due) {
            (true, _) => Some(ProbeKind::Loop { known_since }),
            (false, true) if known_since.is_none() => Some(ProbeKind::Health),
            _ => None,
        }
    }

    /// How often the upstream went up or down.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The part of the state that each question reads.
    pub(super) fn summary(&self) -> UpstreamSummary {
        UpstreamSummary {
            health: self.health.health(),
            is_failing: self.health.is_failing(),
            is_retry_due: self.health.is_retry_due(),
            is_looping: self.known_loop().is_some(),
            edns: self.edns.support(),
            rtt: self.rtt.map(|micros| Duration::from_micros(micros.get().into())),
        }
    }

    /// Whether the upstream answers, for people.
    pub(super) fn condition(&self) -> UpstreamCondition {
        if !self.summary().is_up() {
            UpstreamCondition::Down
        } else if self.last_reply().is_none() {
            UpstreamCondition::NotAsked
        } else {
            UpstreamCondition::Up
        }
    }

    /// When the upstream replied again after it was dead.
    pub(super) fn revived(&self) -> Option<Instant> {
        self.revived
    }

    /// When a reply of any kind came last.
    pub(super) fn last_reply(&self) -> Option<Instant> {
        self.health.last_reply()
    }

    /// Notes that a reply came.
    fn note_revival(&mut self, now: Instant) {
        if self.health.health() == Health::Dead {
            self.revived = Some(now);
        }
    }

    fn is_probe_pause_over(&self, now: Instant) -> bool {
        self.next_probe.is_none_or(|next| now >= next)
    }

    fn known_loop(&self) -> Option<Instant> {
        match self.loop_state {
            LoopState::Found { since, .. } => Some(since),
            LoopState::None | LoopState::Suspected => None,
        }
    }

    fn is_loop_suspected(&self) -> bool {
        matches!(self.loop_state, LoopState::Suspected | LoopState::Found { suspected_again: true, .. })
    }

    /// Changes what is known of the health, and says what follows.
    fn change_health(&mut self, change: impl FnOnce(&mut HealthState)) -> Effects {
        let (before, was_in_question) = (self.summary(), self.health.is_in_question());
        let condition = self.condition();
        change(&mut self.health);
        let after = self.summary();
        let is_changed = before.is_up() != after.is_up();
        self.changes += u64::from(is_changed);
        let died = before.health < Health::Dead && after.health == Health::Dead;
        Effects {
            log: match (before.health, after.health) {
                _ if died => Some(UpstreamNotice::DoesNotAnswer),
                (Health::Dead, Health::Healthy) => Some(UpstreamNotice::AnswersAgain),
                _ => None,
            },
            notify: condition != self.condition(),
            pass_over: died,
            probe: !was_in_question && self.health.is_in_question(),
            end_exchanges: false,
        }
    }

    fn changed(&mut self, notice: UpstreamNotice) -> Effects {
        self.changes += 1;
        Effects { log: Some(notice), notify: true, ..Effects::default() }
    }
}

/// The smoothed reply time: 7/8 of the time before and 1/8 of the new one, in whole microseconds.
fn smoothed(before: Option<NonZeroU32>, took: Duration) -> NonZeroU32 {
    let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
    let smooth = before.map_or(took, |before| before.get() - before.get() / 8 + took / 8);
    NonZeroU32::new(smooth).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests;
