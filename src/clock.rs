//! The clocks, for the rooms that may know them: the core rooms are given the time.

use nix::time::{ClockId, clock_gettime};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Unix time in whole seconds; 0 on a host whose clock is before 1970.
pub(crate) fn unix_time() -> u64 {
    since_1970().as_secs()
}

/// Steady time in whole seconds: Unix time as it was at the start, and what passed since then, with the time that the host
/// was suspended (CLOCK_BOOTTIME). No change of the host's date moves it.
///
/// What has a length, such as a lease, ends by this clock.
pub(crate) fn steady_time() -> u64 {
    /// Unix time when the host was started, as its date says now.
    static BOOT: LazyLock<Duration> = LazyLock::new(|| since_1970().saturating_sub(since_boot()));
    (*BOOT + since_boot()).as_secs()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn since_boot() -> Duration {
    // rustix reads the clock in a way that ends every program under valgrind.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_time_is_unix_time_while_nobody_sets_the_date() {
        assert!(steady_time().abs_diff(unix_time()) <= 1);
    }
}
