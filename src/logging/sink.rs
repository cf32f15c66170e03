//! Where the lines of the log go, and what they look like there.

use crate::config::LogTarget;
use crate::lock::lock;
use crate::systemd;
use log::Level;
use std::io::Write;
use std::sync::Mutex;
use syslog::{Facility, Formatter5424, Logger, LoggerBackend};

pub(super) enum LogSink {
    Stderr,
    Journal,
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

    pub(super) fn write(&self, level: Level, line: &str) {
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
