//! What a check finds: lines on standard output, and the exit code that follows from them.

use crate::cli::say;
use crate::config::{CONFIG, DATA, UNAVAILABLE};
use crate::counted::counted;
use std::fmt::Display;
use std::process::ExitCode;

/// What is wrong, in the order in which it decides about the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ProblemKind {
    /// A setting, or a file that a setting names.
    Setting,
    /// A service that is not served.
    Service,
    /// A store that cannot be reached.
    Store,
}

/// The problems found.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: usize,
    worst: Option<ProblemKind>,
    /// Whether problems that come next are the fault of something else than what is checked.
    is_beside: bool,
}

impl Report {
    /// Says whether problems that come next count, or are only noted.
    pub(super) fn judges(&mut self, do_count: bool) {
        self.is_beside = !do_count;
    }

    /// Prints a problem.
    pub(super) fn problem(&mut self, kind: ProblemKind, problem: &dyn Display) {
        if self.is_beside {
            return self.note(problem);
        }
        self.problems += 1;
        self.worst = Some(self.worst.map_or(kind, |worst| worst.min(kind)));
        say(&format!("problem: {problem}"));
    }

    /// Prints what is no problem, and worth knowing.
    pub(super) fn note(&self, note: &dyn Display) {
        say(&format!("note: {note}"));
    }

    /// Prints what was found.
    pub(super) fn found(&self, found: &dyn Display) {
        say(found);
    }

    /// Prints how many problems there are; the exit code.
    pub(super) fn end(&self) -> ExitCode {
        match self.problems {
            0 => say(&"everything is in order"),
            problems => say(&counted(problems, "problem")),
        }
        match self.worst {
            None => ExitCode::SUCCESS,
            Some(ProblemKind::Setting) => ExitCode::from(CONFIG),
            Some(ProblemKind::Service) => ExitCode::from(DATA),
            Some(ProblemKind::Store) => ExitCode::from(UNAVAILABLE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_kinds_decides() {
        let mut report = Report::default();
        report.problem(ProblemKind::Store, &"away");
        assert_eq!(report.worst, Some(ProblemKind::Store));
        report.problem(ProblemKind::Setting, &"a\u{1b}[31m\n\u{202e}b");
        report.problem(ProblemKind::Service, &"c");
        assert_eq!((report.worst, report.problems), (Some(ProblemKind::Setting), 3));
    }
}
