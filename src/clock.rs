//! The time of day, for the rooms that may know it: the core rooms are given the time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in whole seconds; 0 on a host whose clock is before 1970.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
