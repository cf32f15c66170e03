//! Whether an upstream understands questions with an OPT record (RFC 6891).
//!
//! A plain value, as all of [`upstream_state`](super::upstream_state), where the table of states and events is.

use std::time::Duration;
use tokio::time::Instant;

/// How many different questions an upstream has to fail with EDNS and answer without, until it is asked without. One may
/// fail for other reasons: an error may be forged, or passed on from a server behind the upstream.
const FALL_BACKS_UNTIL_UNSUPPORTED: usize = 3;

/// How long an upstream is asked without EDNS before EDNS is tried again. Servers learn it, and without it no client
/// gets signatures.
const UNSUPPORTED_PAUSE: Duration = Duration::from_secs(10 * 60);

/// How long an upstream that gave a reply with OPT is known to support EDNS: hours, since servers do not forget it, but
/// another server may come to be at the address.
const SUPPORT_MEMORY: Duration = Duration::from_secs(2 * 60 * 60);

/// Whether an upstream understands questions with an OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EdnsSupport {
    /// Nothing is known: it is asked with EDNS, and at once without if it does not understand or does not reply.
    Unknown,
    /// It gave a reply with OPT.
    Supported,
    /// It answered several questions without EDNS only: it is asked without.
    Unsupported,
}

/// What is known of an upstream's support for EDNS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EdnsState {
    /// When the last reply with OPT came; `None` if that is long ago.
    last_opt: Option<Instant>,
    /// The different questions that were answered without EDNS only, by hash.
    fall_backs: Vec<u64>,
    /// When the last of these came.
    last_fall_back: Option<Instant>,
    /// When EDNS is tried again.
    retry_at: Option<Instant>,
}

impl EdnsState {
    pub(super) fn support(&self) -> EdnsSupport {
        match (self.retry_at, self.last_opt) {
            (Some(_), _) => EdnsSupport::Unsupported,
            (None, Some(_)) => EdnsSupport::Supported,
            (None, None) => EdnsSupport::Unknown,
        }
    }

    /// A reply with OPT came.
    pub(super) fn on_opt(&mut self, now: Instant) {
        *self = Self { last_opt: Some(now), ..Self::default() };
    }

    /// A question that failed with EDNS was answered without; `question` is a hash of it.
    ///
    /// It does not count if the upstream is known to support EDNS.
    pub(super) fn on_fall_back(&mut self, question: u64, now: Instant) {
        if self.support() != EdnsSupport::Unknown {
            return;
        }
        if !self.fall_backs.contains(&question) {
            self.fall_backs.push(question);
        }
        self.last_fall_back = Some(now);
        if self.fall_backs.len() >= FALL_BACKS_UNTIL_UNSUPPORTED {
            *self = Self { retry_at: Some(now + UNSUPPORTED_PAUSE), ..Self::default() };
        }
    }

    /// Time has passed: what was learned long ago is forgotten.
    pub(super) fn on_tick(&mut self, now: Instant) {
        self.last_opt.take_if(|at| now - *at >= SUPPORT_MEMORY);
        self.retry_at.take_if(|at| now >= *at);
        if self.last_fall_back.is_some_and(|at| now - at >= UNSUPPORTED_PAUSE) {
            (self.fall_backs, self.last_fall_back) = (Vec::new(), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EdnsSupport::{Supported, Unknown, Unsupported};
    use super::*;

    /// The state after some events, each a second after the one before: (o)pt, or a digit for a question that fell back.
    fn after(events: &str) -> (EdnsState, Instant) {
        let (mut state, mut now) = (EdnsState::default(), Instant::now());
        for event in events.chars() {
            now += Duration::from_secs(1);
            match event.to_digit(10) {
                Some(question) => state.on_fall_back(question.into(), now),
                None => state.on_opt(now),
            }
            state.on_tick(now);
        }
        (state, now)
    }

    #[test]
    fn several_different_questions_show_that_an_upstream_does_not_know_edns() {
        let rows = [
            ("", Unknown),
            ("1", Unknown),
            ("11111", Unknown),
            ("12", Unknown),
            ("123", Unsupported),
            ("112233", Unsupported),
            ("o", Supported),
            ("o123456", Supported),
            ("12o3", Supported),
            ("123o", Supported),
        ];
        for (events, support) in rows {
            assert_eq!(after(events).0.support(), support, "{events:?}");
        }
    }

    #[test]
    fn what_was_learned_is_tried_again() {
        let at = |events: &str, pause: Duration| {
            let (mut state, now) = after(events);
            state.on_tick(now + pause);
            state
        };
        let second = Duration::from_secs(1);
        assert_eq!(at("123", UNSUPPORTED_PAUSE - second).support(), Unsupported);
        assert_eq!(at("123", UNSUPPORTED_PAUSE), EdnsState::default(), "as new");
        assert_eq!(at("o", SUPPORT_MEMORY - second).support(), Supported);
        assert_eq!(at("o", SUPPORT_MEMORY), EdnsState::default(), "as new");
        assert_eq!(at("12", UNSUPPORTED_PAUSE), EdnsState::default(), "as new");
    }
}
