//! What is known of one upstream, and how each event changes that.
//!
//! A plain value: this module knows no clock, log, socket or lock. Each event is a function `on_…` of
//! [`UpstreamState`]; the [`Effects`] that it returns are for the caller to carry out. The rules of when an upstream
//! is suspect, looping or without EDNS are all here.

use std::num::NonZeroU32;
use std::time::Duration;
use tokio::time::Instant;

/// Losses in a row that make an upstream suspect.
const LOSSES_UNTIL_SUSPECT: u32 = 2;

/// Failure replies in a row that make an upstream suspect. More than losses: some names fail at every upstream.
const FAILURE_REPLIES_UNTIL_SUSPECT: u32 = 5;

/// How long an upstream that forwards to us is left alone before it is probed for that again.
const LOOP_PROBE_PAUSE: Duration = Duration::from_secs(30);

/// Whether an upstream answers, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It answers, or nothing is known of it yet.
    Healthy,
    /// It failed several times in a row: it is asked last, and probed until it answers.
    Suspect,
}

/// Whether an upstream understands questions with an OPT record (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EdnsSupport {
    Supported,
    Unsupported,
}

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
    health: Health,
    /// Losses since the last answer.
    losses: u32,
    /// Failure replies since the last answer.
    failure_replies: u32,
    edns: EdnsSupport,
    loop_state: LoopState,
    /// Smoothed reply time in microseconds; `None` before the first answer.
    rtt: Option<NonZeroU32>,
    /// Whether it was logged that the upstream does not answer.
    outage_logged: bool,
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
}

/// What operators are to know of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamNotice {
    DoesNotAnswer,
    AnswersAgain,
    LoopFound,
    LoopEnded,
}

/// The part of the state that each question reads: small enough for one atomic word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UpstreamSummary {
    pub(super) health: Health,
    pub(super) is_looping: bool,
    pub(super) edns: EdnsSupport,
    /// Smoothed reply time; `None` before the first answer.
    pub(super) rtt: Option<Duration>,
}

impl UpstreamState {
    /// An upstream that was never asked.
    pub(super) fn new() -> Self {
        Self {
            health: Health::Healthy,
            losses: 0,
            failure_replies: 0,
            edns: EdnsSupport::Supported,
            loop_state: LoopState::None,
            rtt: None,
            outage_logged: false,
            changes: 0,
        }
    }

    /// An answer came, so long after the question.
    pub(super) fn on_answer(&mut self, took: Duration) -> Effects {
        self.rtt = Some(smoothed(self.rtt, took));
        self.losses = 0;
        self.failure_replies = 0;
        let effects = self.set_health(Health::Healthy);
        let log = std::mem::take(&mut self.outage_logged).then_some(UpstreamNotice::AnswersAgain);
        Effects { log, ..effects }
    }

    /// A reply came that is no answer: SERVFAIL, REFUSED, or one that is truncated over TCP as well.
    pub(super) fn on_failure_reply(&mut self) -> Effects {
        self.failure_replies = self.failure_replies.saturating_add(1);
        if self.failure_replies < FAILURE_REPLIES_UNTIL_SUSPECT {
            return Effects::default();
        }
        self.set_health(Health::Suspect)
    }

    /// No reply came in time, or an error in its place.
    pub(super) fn on_loss(&mut self) -> Effects {
        self.losses = self.losses.saturating_add(1);
        if self.losses < LOSSES_UNTIL_SUSPECT {
            return Effects::default();
        }
        self.set_health(Health::Suspect)
    }

    /// A question that was not understood with EDNS was repeated without EDNS.
    ///
    /// Some questions no server understands, with EDNS or without: they say nothing about EDNS.
    pub(super) fn on_retry_without_edns(&mut self, understood: bool) -> Effects {
        self.edns = if understood { EdnsSupport::Unsupported } else { EdnsSupport::Supported };
        Effects::default()
    }

    /// A probe for health got a reply; any reply counts as an answer.
    pub(super) fn on_probe_reply(&mut self, took: Duration, edns: EdnsSupport) -> Effects {
        self.edns = edns;
        self.on_answer(took)
    }

    /// A probe for health got no reply, neither with EDNS nor without.
    ///
    /// Only this is logged: questions of clients may be slow at every upstream.
    pub(super) fn on_probe_failure(&mut self) -> Effects {
        let is_logged = std::mem::replace(&mut self.outage_logged, true);
        Effects { log: (!is_logged).then_some(UpstreamNotice::DoesNotAnswer), ..Effects::default() }
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
        match (is_wanted, self.health) {
            (true, _) => Some(ProbeKind::Loop { known_since }),
            (false, Health::Suspect) if known_since.is_none() => Some(ProbeKind::Health),
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
            health: self.health,
            is_looping: self.known_loop().is_some(),
            edns: self.edns,
            rtt: self.rtt.map(|micros| Duration::from_micros(micros.get().into())),
        }
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

    fn set_health(&mut self, health: Health) -> Effects {
        if std::mem::replace(&mut self.health, health) == health {
            return Effects::default();
        }
        self.changes += 1;
        Effects { notify: true, ..Effects::default() }
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

impl UpstreamSummary {
    const SUSPECT: u64 = 1 << 32;
    const LOOPING: u64 = 1 << 33;
    const NO_EDNS: u64 = 1 << 34;

    /// Whether the upstream is worth asking first: healthy and not looping.
    pub(super) fn is_up(&self) -> bool {
        self.health == Health::Healthy && !self.is_looping
    }

    /// As a word: the reply time in microseconds in the low half, 0 for none; flags in the high half.
    pub(super) fn to_word(self) -> u64 {
        let rtt = self.rtt.map_or(0, |rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
        let flag = |is_set: bool, bit: u64| if is_set { bit } else { 0 };
        u64::from(rtt)
            | flag(self.health == Health::Suspect, Self::SUSPECT)
            | flag(self.is_looping, Self::LOOPING)
            | flag(self.edns == EdnsSupport::Unsupported, Self::NO_EDNS)
    }

    /// From a word of [`to_word`](Self::to_word).
    pub(super) fn from_word(word: u64) -> Self {
        let rtt = word & u64::from(u32::MAX);
        let is_set = |bit: u64| word & bit != 0;
        Self {
            health: if is_set(Self::SUSPECT) { Health::Suspect } else { Health::Healthy },
            is_looping: is_set(Self::LOOPING),
            edns: if is_set(Self::NO_EDNS) { EdnsSupport::Unsupported } else { EdnsSupport::Supported },
            rtt: (rtt > 0).then(|| Duration::from_micros(rtt)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);
    const NOTIFY: Effects = Effects { log: None, notify: true, end_exchanges: false };

    fn log(notice: UpstreamNotice) -> Effects {
        Effects { log: Some(notice), ..Effects::default() }
    }

    /// An event by its letter: (a)nswer, (s)ervfail, (l)oss, reply to a (p)robe, probe that (f)ailed.
    fn event(state: &mut UpstreamState, letter: char) -> Effects {
        match letter {
            'a' => state.on_answer(MILLISECOND),
            's' => state.on_failure_reply(),
            'l' => state.on_loss(),
            'p' => state.on_probe_reply(MILLISECOND, EdnsSupport::Supported),
            'f' => state.on_probe_failure(),
            _ => unreachable!("no event {letter}"),
        }
    }

    /// The state after some events, and the effects of the last.
    fn after(events: &str) -> (UpstreamState, Effects) {
        let mut state = UpstreamState::new();
        let mut effects = Effects::default();
        for letter in events.chars() {
            effects = event(&mut state, letter);
        }
        (state, effects)
    }

    #[test]
    fn two_losses_or_five_failure_replies_in_a_row_make_an_upstream_suspect() {
        use Health::{Healthy, Suspect};
        let rows = [
            ("", Healthy, 0),
            ("l", Healthy, 0),
            ("ll", Suspect, 1),
            ("lll", Suspect, 1),
            ("lal", Healthy, 0),
            ("lpl", Healthy, 0),
            ("ssss", Healthy, 0),
            ("sssss", Suspect, 1),
            ("ssssas", Healthy, 0),
            ("ssssl", Healthy, 0),
            ("lsl", Suspect, 1),
            ("sslsss", Suspect, 1),
            ("f", Healthy, 0),
            ("lfl", Suspect, 1),
        ];
        for (events, health, changes) in rows {
            let (state, _) = after(events);
            assert_eq!((state.summary().health, state.changes()), (health, changes), "{events:?}");
            assert_eq!(state.summary().is_up(), health == Healthy, "{events:?}");
        }
    }

    #[test]
    fn any_answer_makes_an_upstream_healthy_again() {
        for events in ["lla", "llp", "sssssa", "llfa", "lla", "llsssssa"] {
            let (state, effects) = after(events);
            assert_eq!((state.summary().health, state.changes()), (Health::Healthy, 2), "{events:?}");
            assert!(effects.notify, "{events:?}");
        }
        assert_eq!(after("llal").0.summary().health, Health::Healthy, "counts start anew");
    }

    #[test]
    fn only_changes_of_health_are_notified() {
        let rows = [
            ("a", Effects::default()),
            ("l", Effects::default()),
            ("ll", NOTIFY),
            ("lll", Effects::default()),
            ("llsssss", Effects::default()),
            ("ssss", Effects::default()),
            ("sssss", NOTIFY),
            ("lla", NOTIFY),
            ("llaa", Effects::default()),
        ];
        for (events, effects) in rows {
            assert_eq!(after(events).1, effects, "{events:?}");
        }
    }

    #[test]
    fn a_failed_probe_is_logged_once_and_so_is_the_answer_after_it() {
        use UpstreamNotice::{AnswersAgain, DoesNotAnswer};
        let rows = [
            ("llf", log(DoesNotAnswer)),
            ("llff", Effects::default()),
            ("llffa", Effects { notify: true, ..log(AnswersAgain) }),
            ("llffp", Effects { notify: true, ..log(AnswersAgain) }),
            ("llffaa", Effects::default()),
            ("llffallf", log(DoesNotAnswer)),
            // An answer came while the probe waited.
            ("llafa", log(AnswersAgain)),
        ];
        for (events, effects) in rows {
            assert_eq!(after(events).1, effects, "{events:?}");
        }
    }

    #[test]
    fn a_new_reply_time_counts_an_eighth() {
        let mut state = UpstreamState::new();
        let rtt = |state: &mut UpstreamState, micros: u64| {
            let _ = state.on_answer(Duration::from_micros(micros));
            state.summary().rtt.map_or(0, |rtt| rtt.as_micros())
        };
        assert_eq!(state.summary().rtt, None);
        assert_eq!(rtt(&mut state, 8_000), 8_000);
        assert_eq!(rtt(&mut state, 16_000), 9_000);
        assert_eq!(rtt(&mut state, 0), 7_875);
        assert_eq!(rtt(&mut UpstreamState::new(), 0), 1, "0 would be none");
        let mut slow = UpstreamState::new();
        assert_eq!(rtt(&mut slow, u64::MAX), u128::from(u32::MAX));
        assert_eq!(rtt(&mut slow, u64::MAX), u128::from(u32::MAX));
    }

    #[test]
    fn edns_is_given_up_only_for_an_upstream_that_understands_questions_without() {
        let mut state = UpstreamState::new();
        assert_eq!(state.on_retry_without_edns(false), Effects::default());
        assert_eq!(state.summary().edns, EdnsSupport::Supported);
        assert_eq!(state.on_retry_without_edns(true), Effects::default());
        assert_eq!(state.summary().edns, EdnsSupport::Unsupported);
        let _ = state.on_probe_reply(MILLISECOND, EdnsSupport::Supported);
        assert_eq!(state.summary().edns, EdnsSupport::Supported);
        let _ = state.on_probe_reply(MILLISECOND, EdnsSupport::Unsupported);
        assert_eq!(state.summary().edns, EdnsSupport::Unsupported);
    }

    #[test]
    fn a_suspected_loop_is_probed_for_once_and_before_health() {
        let now = Instant::now();
        let (mut state, _) = after("ll");
        let _ = state.on_loop_suspected();
        assert_eq!(state.take_probe(now), Some(ProbeKind::Loop { known_since: None }));
        assert_eq!(state.take_probe(now), Some(ProbeKind::Health));
        assert_eq!(state.on_loop_probe_reply(None), Effects::default(), "no loop was known");
        assert_eq!(UpstreamState::new().take_probe(now), None);
    }

    #[test]
    fn a_loop_is_logged_once_and_ends_the_exchanges_each_time_a_probe_comes_back() {
        let now = Instant::now();
        let (mut state, _) = after("ll");
        let found = Effects { log: Some(UpstreamNotice::LoopFound), notify: true, end_exchanges: true };
        assert_eq!(state.on_loop_found(now), found);
        assert!(state.summary().is_looping && !state.summary().is_up());
        assert_eq!(state.on_loop_found(now), Effects { end_exchanges: true, ..Effects::default() });
        assert_eq!(state.changes(), 2);
        assert_eq!(state.take_probe(now), None, "a looping upstream is not probed for health");
    }

    #[test]
    fn a_looping_upstream_is_probed_after_thirty_seconds_or_when_suspected_again() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut state = UpstreamState::new();
        let _ = state.on_loop_found(start);
        let probe = Some(ProbeKind::Loop { known_since: Some(start) });
        assert_eq!((state.take_probe(at(29)), state.take_probe(at(30))), (None, probe));
        assert_eq!(state.take_probe(at(31)), probe, "until a reply, or the probe, comes");
        let _ = state.on_loop_found(at(31));
        assert_eq!(state.take_probe(at(60)), None);
        let _ = state.on_loop_suspected();
        assert_eq!(state.take_probe(at(60)), Some(ProbeKind::Loop { known_since: Some(at(31)) }));
        assert_eq!(state.take_probe(at(60)), None);
    }

    #[test]
    fn a_loop_ends_with_a_reply_to_a_probe_that_did_not_come_back() {
        let start = Instant::now();
        let later = start + MILLISECOND;
        let mut state = UpstreamState::new();
        let _ = state.on_loop_found(start);
        let _ = state.on_loop_found(later);
        assert_eq!(state.on_loop_probe_reply(Some(start)), Effects::default(), "it came back meanwhile");
        let ended = Effects { notify: true, ..log(UpstreamNotice::LoopEnded) };
        assert_eq!(state.on_loop_probe_reply(Some(later)), ended);
        assert!(state.summary().is_up());
        assert_eq!(state.changes(), 2);
        assert_eq!(state.on_loop_probe_reply(Some(later)), Effects::default());
    }

    #[test]
    fn a_summary_is_the_same_after_it_was_a_word() {
        for health in [Health::Healthy, Health::Suspect] {
            for edns in [EdnsSupport::Supported, EdnsSupport::Unsupported] {
                for is_looping in [false, true] {
                    for micros in [0, 1, u32::MAX] {
                        let rtt = (micros > 0).then(|| Duration::from_micros(micros.into()));
                        let summary = UpstreamSummary { health, is_looping, edns, rtt };
                        assert_eq!(UpstreamSummary::from_word(summary.to_word()), summary);
                    }
                }
            }
        }
        let fresh = UpstreamState::new().summary();
        assert_eq!(fresh.to_word(), 0);
    }
}
