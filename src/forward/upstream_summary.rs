//! The part of an upstream's state that each question reads, as one word.

use super::edns_state::EdnsSupport;
use super::health::Health;
use std::time::Duration;

/// The part of the state that each question reads: small enough for one atomic word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UpstreamSummary {
    pub(super) health: Health,
    /// Whether it fails where others answer.
    pub(super) is_failing: bool,
    /// Whether an upstream that fails is to be asked in its turn again.
    pub(super) is_retry_due: bool,
    pub(super) is_looping: bool,
    pub(super) edns: EdnsSupport,
    /// Smoothed reply time; `None` before the first answer.
    pub(super) rtt: Option<Duration>,
}

impl UpstreamSummary {
    const DOUBTED: u64 = 1 << 32;
    const DEAD: u64 = 1 << 33;
    const FAILING: u64 = 1 << 34;
    const RETRY_DUE: u64 = 1 << 35;
    const LOOPING: u64 = 1 << 36;
    const EDNS: u64 = 1 << 37;
    const NO_EDNS: u64 = 1 << 38;

    /// Whether the upstream answers questions, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        self.may_answer() && !self.is_failing
    }

    /// Whether it is worth waiting for the upstream when nothing else is known: it is not dead and not looping.
    pub(super) fn may_answer(&self) -> bool {
        self.health != Health::Dead && !self.is_looping
    }

    /// As a word: the reply time in microseconds in the low half, 0 for none; flags in the high half.
    pub(super) fn to_word(self) -> u64 {
        let rtt = self.rtt.map_or(0, |rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
        let flag = |is_set: bool, bit: u64| if is_set { bit } else { 0 };
        u64::from(rtt)
            | flag(self.health == Health::Doubted, Self::DOUBTED)
            | flag(self.health == Health::Dead, Self::DEAD)
            | flag(self.is_failing, Self::FAILING)
            | flag(self.is_retry_due, Self::RETRY_DUE)
            | flag(self.is_looping, Self::LOOPING)
            | flag(self.edns == EdnsSupport::Supported, Self::EDNS)
            | flag(self.edns == EdnsSupport::Unsupported, Self::NO_EDNS)
    }

    /// From a word of [`to_word`](Self::to_word).
    pub(super) fn from_word(word: u64) -> Self {
        let rtt = word & u64::from(u32::MAX);
        let is_set = |bit: u64| word & bit != 0;
        Self {
            health: match (is_set(Self::DOUBTED), is_set(Self::DEAD)) {
                (_, true) => Health::Dead,
                (true, false) => Health::Doubted,
                (false, false) => Health::Healthy,
            },
            is_failing: is_set(Self::FAILING),
            is_retry_due: is_set(Self::RETRY_DUE),
            is_looping: is_set(Self::LOOPING),
            edns: match (is_set(Self::EDNS), is_set(Self::NO_EDNS)) {
                (true, _) => EdnsSupport::Supported,
                (false, true) => EdnsSupport::Unsupported,
                (false, false) => EdnsSupport::Unknown,
            },
            rtt: (rtt > 0).then(|| Duration::from_micros(rtt)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::upstream_state::UpstreamState;
    use super::*;

    #[test]
    fn a_summary_is_the_same_after_it_was_a_word() {
        use EdnsSupport::{Supported, Unknown, Unsupported};
        let flags = |bits: u32| [0, 1, 2].map(|bit| bits >> bit & 1 == 1);
        for health in [Health::Healthy, Health::Doubted, Health::Dead] {
            for edns in [Unknown, Supported, Unsupported] {
                for [is_failing, is_retry_due, is_looping] in (0..8).map(flags) {
                    for micros in [0, 1, u32::MAX] {
                        let rtt = (micros > 0).then(|| Duration::from_micros(micros.into()));
                        let summary =
                            UpstreamSummary { health, is_failing, is_retry_due, is_looping, edns, rtt };
                        assert_eq!(UpstreamSummary::from_word(summary.to_word()), summary);
                    }
                }
            }
        }
        assert_eq!(UpstreamState::new().summary().to_word(), 0);
    }
}
