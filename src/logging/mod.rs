//! The log: one line per event, to standard error or to syslog.
//!
//! Two limits keep events that clients, stores or upstreams can cause from filling the log. [`RateLimitedLog`] logs one
//! kind of event at most once a minute; the line limit drops the lines of all kinds beyond a number per second. Logged
//! queries (`-verbose`) have no limit.

mod line_limit;
mod rate_limit;
mod sink;

pub use rate_limit::RateLimitedLog;

use crate::config::LogTarget;
use crate::lock::lock;
use line_limit::{Allowed, LineLimit};
use log::{Level, LevelFilter, Log, Metadata, Record};
use sink::{LogSink, one_line};
use std::sync::Mutex;
use std::time::Instant;

/// The log target of logged queries (`-verbose`), which the line limit does not count.
pub const QUERIES: &str = "queries";

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The process has a logger already.
    #[error("logging is set up twice")]
    Twice,
}

/// Sets up the log of the process. If syslog is the target and nothing listens at /dev/log, standard error is used.
///
/// # Errors
/// A log was set up before.
pub fn init(target: LogTarget) -> Result<(), LogError> {
    let (sink, problem) = LogSink::open(target);
    let logger = ProcessLogger { sink, line_limit: Mutex::new(LineLimit::default()) };
    log::set_boxed_logger(Box::new(logger)).map_err(|_| LogError::Twice)?;
    log::set_max_level(LevelFilter::Info);
    if let Some(problem) = problem {
        log::error!("-log syslog: cannot log to syslog, so this goes to standard error: {problem}");
    }
    Ok(())
}

/// The logger of the process.
struct ProcessLogger {
    sink: LogSink,
    line_limit: Mutex<LineLimit>,
}

impl Log for ProcessLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries log their own details; this program itself logs what concerns the operator.
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
                Allowed::After(dropped) => {
                    self.sink.write(Level::Warn, &format!("{dropped} log lines left out"));
                }
            }
        }
        self.sink.write(record.level(), &one_line(&record.args().to_string()));
    }

    fn flush(&self) {}
}
