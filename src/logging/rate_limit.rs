//! Rate-limited logging, for events that clients or the system can cause at any rate: one a minute is logged at its
//! level, and the others at debug level. How often they happened is for metrics to say.

use log::Level;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Minimum time between two logged events of one kind, in seconds.
const LOG_PAUSE: u64 = 60;

/// The start of the clock that [`RateLimitedLog`] counts by.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One kind of event, which is logged at most once a minute.
#[derive(Debug, Default)]
pub struct RateLimitedLog {
    /// When the next event may be logged, in seconds since [`STARTED`].
    next: AtomicU64,
}

impl RateLimitedLog {
    /// The level to log an event at: `level` if no event was logged at it for a minute, else debug.
    pub fn level(&self, level: Level) -> Level {
        self.level_at(level, STARTED.elapsed().as_secs())
    }

    fn level_at(&self, level: Level, now: u64) -> Level {
        let next = self.next.load(Ordering::Relaxed);
        let claim = || {
            self.next.compare_exchange(next, now + LOG_PAUSE, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if now >= next && claim() { level } else { Level::Debug }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_a_minute_is_logged_at_its_level() {
        let rate_limited = RateLimitedLog::default();
        let levels = [0, 1, 59, 60, 61, 200].map(|now| rate_limited.level_at(Level::Warn, now));
        let (logged, debug) = (Level::Warn, Level::Debug);
        assert_eq!(levels, [logged, debug, debug, logged, debug, logged]);
    }
}
