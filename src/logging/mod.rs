//! The log: one line an event, to standard error or to syslog.
//!
//! On the journal each line carries its priority (sd-daemon(3)). A line never holds a line break, and
//! no more than a bounded number of lines is written in a second, whatever asks for them; logged queries
//! (`-verbose`) are not bounded.

mod rate_limit;

pub use rate_limit::RateLimitedLog;

use crate::config::LogTarget;
use crate::lock::lock;
use crate::systemd;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use syslog::{Facility, Formatter5424, Logger, LoggerBackend};

/// The target of records that tell of queries.
pub const QUERIES: &str = "queries";

/// Lines in a second; more are counted and told of when it is over.
const MOST_LINES: u32 = 200;

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is a logger already.
    #[error("logging is set up twice")]
    Twice,
}

/// Sets the log up for the whole process. Where nobody takes messages at /dev/log they go to standard error.
///
/// # Errors
/// A log was set up before.
pub fn init(target: LogTarget) -> Result<(), LogError> {
    let stderr = || if systemd::stderr_is_journal() { LogSink::Journal } else { LogSink::Stderr };
    let (sink, problem) = match target {
        LogTarget::Stderr => (stderr(), None),
        LogTarget::Syslog => match syslog::unix(formatter()) {
            Ok(syslog) => (LogSink::Syslog(Box::new(Mutex::new(syslog))), None),
            Err(problem) => (stderr(), Some(problem)),
        },
    };
    let logger = OurLogger { sink, line_limit: Mutex::new(LineLimit::default()) };
    log::set_boxed_logger(Box::new(logger)).map_err(|_| LogError::Twice)?;
    log::set_max_level(LevelFilter::Info);
    if let Some(problem) = problem {
        log::error!("-log syslog: cannot log to syslog, so this goes to standard error: {problem}");
    }
    Ok(())
}

enum LogSink {
    Stderr,
    Journal,
    Syslog(Box<Mutex<Logger<LoggerBackend, Formatter5424>>>),
}

struct OurLogger {
    sink: LogSink,
    line_limit: Mutex<LineLimit>,
}

impl Log for OurLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries speak of their own matters; what concerns the operator we say ourselves.
        metadata.level() <= log::max_level()
            && (metadata.target() == QUERIES || metadata.target().starts_with(env!("CARGO_CRATE_NAME")))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if record.target() != QUERIES {
            let allowed = lock(&self.line_limit).pass(Instant::now());
            match allowed {
                Allowed::No => return,
                Allowed::Yes => {}
                Allowed::After(missed) => {
                    self.sink.write(Level::Warn, &format!("{missed} log lines left out"));
                }
            }
        }
        self.sink.write(record.level(), &one_line(&record.args().to_string()));
    }

    fn flush(&self) {}
}

impl LogSink {
    fn write(&self, level: Level, line: &str) {
        // There is nobody to tell when the log itself fails.
        let _ = match self {
            Self::Stderr => writeln!(std::io::stderr(), "{} {}: {line}", timestamp(), word(level)),
            Self::Journal => writeln!(std::io::stderr(), "{}{line}", systemd::journal_prefix(level)),
            Self::Syslog(logger) => {
                let mut logger = lock(logger);
                if emit(&mut logger, level, line).is_err() {
                    // syslogd was restarted: /dev/log is another socket now.
                    if let Ok(again) = syslog::unix(formatter()) {
                        *logger = again;
                        let _ = emit(&mut logger, level, line);
                    }
                }
                Ok(())
            }
        };
    }
}

fn emit(
    logger: &mut Logger<LoggerBackend, Formatter5424>,
    level: Level,
    line: &str,
) -> Result<(), syslog::Error> {
    let message = (1, Default::default(), line);
    match level {
        Level::Error => logger.err(message),
        Level::Warn => logger.warning(message),
        Level::Info => logger.info(message),
        Level::Debug | Level::Trace => logger.debug(message),
    }
}

fn formatter() -> Formatter5424 {
    Formatter5424 { facility: Facility::LOG_DAEMON, process: "skydns".to_owned(), ..Formatter5424::default() }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    }
}

/// The time in UTC, to the millisecond (RFC 3339).
fn timestamp() -> String {
    let now = time::OffsetDateTime::now_utc();
    let (date, (hour, minute, second, milli)) = (now.date(), now.to_hms_milli());
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Control characters would let what a peer or a store sends forge lines.
fn one_line(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
            .collect()
    } else {
        text.to_owned()
    }
}

/// Lets a bounded number of lines through in each second.
#[derive(Debug, Default)]
struct LineLimit {
    second: Option<Instant>,
    lines: u32,
    missed: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Allowed {
    Yes,
    No,
    /// Yes, and so many before did not.
    After(u32),
}

impl LineLimit {
    fn pass(&mut self, now: Instant) -> Allowed {
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
    fn times_have_one_width() {
        assert_eq!(timestamp().len(), "2026-01-01T00:00:00.000Z".len());
    }

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(one_line("a\nb\u{1b}[0m"), "a\\nb\\u{1b}[0m");
        assert_eq!(one_line("bücher"), "bücher");
    }

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
