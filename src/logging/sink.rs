//! The sinks of the log (standard error, the journal, syslog), and the form of a line in each.

use crate::config::LogTarget;
use crate::lock::lock;
use crate::systemd;
use log::Level;
use std::io::Write;
use std::sync::Mutex;
use syslog::{Facility, Formatter5424, Logger, LoggerBackend};

/// An open sink of log lines.
pub(super) enum LogSink {
    /// Standard error: each line has time and level.
    Stderr,
    /// Standard error, which is the journal: it adds the time itself, each line has its priority.
    Journal,
    /// The local syslog (RFC 5424).
    Syslog(Box<Mutex<Logger<LoggerBackend, Formatter5424>>>),
}

impl LogSink {
    /// Opens the sink of a target; if that is syslog and cannot be reached, standard error, with the error.
    pub(super) fn open(target: LogTarget) -> (Self, Option<syslog::Error>) {
        let stderr = || if systemd::stderr_is_journal() { Self::Journal } else { Self::Stderr };
        match target {
            LogTarget::Stderr => (stderr(), None),
            LogTarget::Syslog => match syslog::unix(formatter()) {
                Ok(syslog) => (Self::Syslog(Box::new(Mutex::new(syslog))), None),
                Err(problem) => (stderr(), Some(problem)),
            },
        }
    }

    /// Writes one line.
    pub(super) fn write(&self, level: Level, line: &str) {
        // A log that fails has no other place to report it.
        let _ = match self {
            Self::Stderr => writeln!(std::io::stderr(), "{} {}: {line}", timestamp(), level_word(level)),
            Self::Journal => writeln!(std::io::stderr(), "{}{line}", systemd::journal_prefix(level)),
            Self::Syslog(logger) => {
                let mut logger = lock(logger);
                if emit(&mut logger, level, line).is_err() {
                    // After a restart of the syslog server /dev/log is another socket.
                    if let Ok(reopened) = syslog::unix(formatter()) {
                        *logger = reopened;
                        let _ = emit(&mut logger, level, line);
                    }
                }
                Ok(())
            }
        };
    }
}

/// Sends one line to syslog.
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

/// The form of messages to syslog.
fn formatter() -> Formatter5424 {
    Formatter5424 { facility: Facility::LOG_DAEMON, process: "skydns".to_owned(), ..Formatter5424::default() }
}

/// The word for a level in lines on standard error.
fn level_word(level: Level) -> &'static str {
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

/// Escapes control characters: the data of a client or a store must not be able to forge log lines.
pub(super) fn one_line(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
            .collect()
    } else {
        text.to_owned()
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
}
