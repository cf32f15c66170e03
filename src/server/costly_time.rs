//! The time that UDP workers spend on costly work: while it lasts they do such work themselves, beyond it others do.
//!
//! Whoever asks for costly answers, with a forged address or not, takes no more than this from the clients of a worker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Microseconds that are earned in a millisecond: all workers together spend a tenth of a core.
const EARNED_PER_MS: i64 = 100;

/// Microseconds that are saved up: a worker's other clients wait no longer than that, and the last piece of work.
const MOST: i64 = 5_000;

/// Microseconds that one piece of work counts at most, so that a worker which was not given the processor meanwhile does its
/// own work again soon.
const MOST_AT_ONCE: i64 = 10_000;

/// Added to what is left, which may be less than nothing.
const OFFSET: i64 = 1 << 31;

/// The time that all UDP workers may still spend on costly work.
#[derive(Debug)]
pub(super) struct CostlyTime {
    /// The time of the last change, in milliseconds (upper 32 bits), and the microseconds that were left then, plus
    /// [`OFFSET`] (lower 32 bits).
    state: AtomicU64,
    started: Instant,
}

impl CostlyTime {
    /// As much as is saved up at most.
    pub(super) fn new() -> Self {
        Self { state: AtomicU64::new(state(0, MOST)), started: Instant::now() }
    }

    /// So little that none is left for hours.
    #[cfg(test)]
    pub(super) fn spent() -> Self {
        Self { state: AtomicU64::new(state(0, -OFFSET)), ..Self::new() }
    }

    /// Whether any is left.
    pub(super) fn is_left(&self) -> bool {
        self.left_at(self.now()) > 0
    }

    /// Takes what a piece of work took.
    pub(super) fn spend(&self, took: Duration) {
        self.spend_at(took, self.now());
    }

    /// Milliseconds, which wrap after seven weeks.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis() & u128::from(u32::MAX)).unwrap_or(0)
    }

    fn left_at(&self, now: u64) -> i64 {
        left(self.state.load(Ordering::Relaxed), now)
    }

    fn spend_at(&self, took: Duration, now: u64) {
        let took = i64::try_from(took.as_micros()).unwrap_or(i64::MAX).min(MOST_AT_ONCE);
        let spend = |before: u64| Some(state(now, (left(before, now) - took).max(-MOST_AT_ONCE)));
        let _ = self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend);
    }
}

fn state(at: u64, left: i64) -> u64 {
    at << 32 | u64::try_from(left + OFFSET).unwrap_or(0)
}

/// What is left now of a state.
fn left(state: u64, now: u64) -> i64 {
    let left = i64::try_from(state & u64::from(u32::MAX)).unwrap_or(0) - OFFSET;
    let passed = now.wrapping_sub(state >> 32) & u64::from(u32::MAX);
    let earned = i64::try_from(passed).unwrap_or(0).saturating_mul(EARNED_PER_MS);
    left.saturating_add(earned).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_time_is_for_costly_work() {
        let time = CostlyTime::new();
        let mut spent = 0;
        for now in 0..10_000 {
            while time.left_at(now) > 0 {
                time.spend_at(Duration::from_millis(1), now);
                spent += 1;
            }
        }
        // A tenth of ten seconds, and what was saved up.
        assert!((1_004..=1_006).contains(&spent), "{spent} ms");
    }

    #[test]
    fn work_that_took_long_is_forgotten_soon() {
        let time = CostlyTime::new();
        for _ in 0..3 {
            time.spend_at(Duration::from_secs(1), 0);
        }
        assert!(time.left_at(100) <= 0 && time.left_at(101) > 0);
        assert_eq!(time.left_at(10_000), MOST, "no more is saved up");
        time.spend_at(Duration::from_millis(1), u64::from(u32::MAX));
        assert_eq!(time.left_at(0), MOST - 900, "the clock may turn over");
    }
}
