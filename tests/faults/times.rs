//! How long answers took.

// As in the support of tests: a test is a crate of its own.
#![allow(unreachable_pub)]

use std::fmt;
use std::time::Duration;

/// The times of many answers, in microseconds each.
#[derive(Clone, Default)]
pub struct Times(Vec<u32>);

impl Times {
    pub fn add(&mut self, took: Duration) {
        self.0.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// The time that 99 of 100 answers took at most.
    pub fn p99(&self) -> Duration {
        let mut sorted = self.0.clone();
        let at = (sorted.len() * 99 / 100).min(sorted.len().saturating_sub(1));
        if sorted.is_empty() {
            return Duration::ZERO;
        }
        Duration::from_micros(u64::from(*sorted.select_nth_unstable(at).1))
    }

    pub fn slowest(&self) -> Duration {
        Duration::from_micros(u64::from(self.0.iter().copied().max().unwrap_or(0)))
    }
}

/// There are too many to show them all.
impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers, p99 {:?}, slowest {:?}", self.0.len(), self.p99(), self.slowest())
    }
}
