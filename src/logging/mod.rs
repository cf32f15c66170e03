//! The log: one line an event, to standard error or to syslog.
//!
//! On the journal each line carries its priority (sd-daemon(3)). A line never holds a line break, and
//! no more than a bounded number of lines is written in a second, whatever asks for them; logged queries
//! (`-verbose`) are not bounded.

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

/// The target of records that tell of queries.
pub const QUERIES: &str = "queries";

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
    let (sink, problem) = LogSink::open(target);
    let logger = OurLogger { sink, line_limit: Mutex::new(LineLimit::default()) };
    log::set_boxed_logger(Box::new(logger)).map_err(|_| LogError::Twice)?;
    log::set_max_level(LevelFilter::Info);
    if let Some(problem) = problem {
        log::error!("-log syslog: cannot log to syslog, so this goes to standard error: {problem}");
    }
    Ok(())
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
