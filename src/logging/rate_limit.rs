//! Rate-limited logging: events that peers or the system can cause at any rate are logged once a minute, and counted always.

use log::Level;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Least time between two logged events of one kind, in seconds.
const LOG_PAUSE: u64 = 60;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One kind of event, which is logged at most once a minute.
#[derive(Debug, Default)]
pub struct RateLimitedLog {
    /// Seconds from the start of the program to when the next event may be logged.
    next: AtomicU64,
}

impl RateLimitedLog {
    /// The level to log an event at: `seen` if none was logged for a minute, else debug.
    pub fn level(&self, seen: Level) -> Level {
        self.level_at(seen, STARTED.elapsed().as_secs())
    }

    fn level_at(&self, seen: Level, now: u64) -> Level {
        let next = self.next.load(Ordering::Relaxed);
        let claim = || {
            self.next.compare_exchange(next, now + LOG_PAUSE, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if now >= next && claim() { seen } else { Level::Debug }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_minute_is_told() {
        let seldom = RateLimitedLog::default();
        let levels = [0, 1, 59, 60, 61, 200].map(|now| seldom.level_at(Level::Warn, now));
        let (told, not) = (Level::Warn, Level::Debug);
        assert_eq!(levels, [told, not, not, told, not, told]);
    }
}
