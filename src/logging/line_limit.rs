//! The line limit: a maximum number of log lines per second, whatever causes them.

use std::time::{Duration, Instant};

/// Maximum number of lines per second. The others are counted, and their number is logged in a later second.
const MAX_LINES_PER_SECOND: u32 = 200;

/// Allows a limited number of lines in each second.
#[derive(Debug, Default)]
pub(super) struct LineLimit {
    /// When the present second began.
    second: Option<Instant>,
    /// Lines allowed in the present second.
    lines: u32,
    /// Lines not allowed since the last allowed one.
    dropped: u32,
}

/// Whether a line may be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    Yes,
    No,
    /// Yes, and this number of lines before it was dropped.
    After(u32),
}

impl LineLimit {
    /// Asks for a line at a time, and counts it.
    pub(super) fn pass(&mut self, now: Instant) -> Allowed {
        if self.second.is_none_or(|second| now.duration_since(second) >= Duration::from_secs(1)) {
            (self.second, self.lines) = (Some(now), 0);
        }
        if self.lines >= MAX_LINES_PER_SECOND {
            self.dropped += 1;
            return Allowed::No;
        }
        self.lines += 1;
        match std::mem::take(&mut self.dropped) {
            0 => Allowed::Yes,
            dropped => Allowed::After(dropped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_above_the_limit_are_dropped_and_counted() {
        let mut line_limit = LineLimit::default();
        let start = Instant::now();
        let allowed = (0..1_000).filter(|_| line_limit.pass(start) == Allowed::Yes).count();
        assert_eq!(allowed, 200);
        assert_eq!(line_limit.pass(start + Duration::from_secs(1)), Allowed::After(800));
        assert_eq!(line_limit.pass(start + Duration::from_secs(1)), Allowed::Yes);
    }
}
