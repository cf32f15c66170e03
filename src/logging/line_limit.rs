//! A bound for the lines of the log.

use std::time::{Duration, Instant};

/// Lines in a second; more are counted and told of when it is over.
const MOST_LINES: u32 = 200;

/// Lets a bounded number of lines through in each second.
#[derive(Debug, Default)]
pub(super) struct LineLimit {
    second: Option<Instant>,
    lines: u32,
    missed: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    Yes,
    No,
    /// Yes, and so many before did not.
    After(u32),
}

impl LineLimit {
    pub(super) fn pass(&mut self, now: Instant) -> Allowed {
        if self.second.is_none_or(|second| now.duration_since(second) >= Duration::from_secs(1)) {
            (self.second, self.lines) = (Some(now), 0);
        }
        if self.lines >= MOST_LINES {
            self.missed += 1;
            return Allowed::No;
        }
        self.lines += 1;
        match std::mem::take(&mut self.missed) {
            0 => Allowed::Yes,
            missed => Allowed::After(missed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floods_are_cut_and_counted() {
        let mut line_limit = LineLimit::default();
        let start = Instant::now();
        let allowed = (0..1_000).filter(|_| line_limit.pass(start) == Allowed::Yes).count();
        assert_eq!(allowed, 200);
        assert_eq!(line_limit.pass(start + Duration::from_secs(1)), Allowed::After(800));
        assert_eq!(line_limit.pass(start + Duration::from_secs(1)), Allowed::Yes);
    }
}
