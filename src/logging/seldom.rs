//! What peers or the system can bring about at any rate is told in the log now and then, and counted always.

use log::Level;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Seconds between two that are told.
const PAUSE: u64 = 60;

static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One kind of event, which is told once a minute at most.
#[derive(Debug, Default)]
pub struct Seldom {
    /// Seconds since the program began when one may be told again.
    next: AtomicU64,
}

impl Seldom {
    /// The level to log an event at: one that is seen if none was told for a while, else debug.
    pub fn level(&self, seen: Level) -> Level {
        self.level_at(seen, BEGUN.elapsed().as_secs())
    }

    fn level_at(&self, seen: Level, now: u64) -> Level {
        let next = self.next.load(Ordering::Relaxed);
        let claim =
            || self.next.compare_exchange(next, now + PAUSE, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if now >= next && claim() { seen } else { Level::Debug }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_minute_is_told() {
        let seldom = Seldom::default();
        let levels = [0, 1, 59, 60, 61, 200].map(|now| seldom.level_at(Level::Warn, now));
        let (told, not) = (Level::Warn, Level::Debug);
        assert_eq!(levels, [told, not, not, told, not, told]);
    }
}
