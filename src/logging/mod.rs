//! The log: one line per event, to standard error or to syslog.
//!
//! Whoever logs adds a line to a queue and goes on; a thread of its own writes the lines. So a log that nobody reads loses
//! lines, which are counted, and holds nobody up.
//!
//! Two limits keep events that clients, stores or upstreams can cause from filling the log. [`RateLimitedLog`] logs one
//! kind of event at most once a minute; the line limit drops the lines of all kinds beyond a number per second. Logged
//! queries (`-verbose`) have no limit.

mod line_limit;
mod queue;
mod rate_limit;
mod sink;
mod syslog;

pub use rate_limit::RateLimitedLog;

use crate::config::LogTarget;
use crate::lock::lock;
use crate::shown::one_line;
use line_limit::{Allowed, LineLimit};
use log::{Level, LevelFilter, Log, Metadata, Record};
use queue::LineQueue;
use sink::{Line, LogSink};
use std::io;
use std::panic::PanicHookInfo;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long the end of the process waits for the last lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The log target of logged queries (`-verbose`), which the line limit does not count.
pub const QUERIES: &str = "queries";

/// The level of the least important lines that are logged, queries apart.
static LEVEL: Mutex<LevelFilter> = Mutex::new(LevelFilter::Info);

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The process has a logger already.
    #[error("logging is set up twice")]
    Twice,
    /// There is no descriptor or thread for the log.
    #[error("setting up the log: {0}")]
    System(#[from] io::Error),
}

/// Sets up the log of the process. If syslog is the target and nothing listens at /dev/log, standard error is used, and the
/// reason is returned.
///
/// Panics are logged, too: the standard library would write them to standard error, and wait there.
///
/// # Errors
/// A log was set up before, or the system has no descriptor or thread to give.
pub fn init(target: LogTarget, level: LevelFilter) -> Result<Option<String>, LogError> {
    let (sink, problem) = LogSink::open(target)?;
    let queue = LineQueue::start(sink)?;
    let logger = ProcessLogger { queue, line_limit: Mutex::new(LineLimit::default()) };
    log::set_boxed_logger(Box::new(logger)).map_err(|_| LogError::Twice)?;
    set_level(level);
    std::panic::set_hook(Box::new(log_panic));
    Ok(problem.map(|problem| problem.to_string()))
}

/// Sets the level of the least important lines that are logged, from now on. Queries are logged at any level.
pub fn set_level(level: LevelFilter) {
    *lock(&LEVEL) = level;
    log::set_max_level(level.max(LevelFilter::Info));
}

/// Waits until all lines are written, at most for a second: before the process ends.
pub fn flush() {
    log::logger().flush();
}

/// Logs a panic: where it happened, and what it says.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "?".to_owned(), ToString::to_string);
    let thread = std::thread::current();
    let said = panic.payload();
    let said =
        said.downcast_ref::<&str>().copied().or_else(|| said.downcast_ref::<String>().map(String::as_str));
    let (thread, said) = (thread.name().unwrap_or("?"), said.unwrap_or("?"));
    log::error!("a fault at {place}, in thread {thread}: {said}");
}

/// The logger of the process.
struct ProcessLogger {
    queue: LineQueue,
    line_limit: Mutex<LineLimit>,
}

impl Log for ProcessLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries log their own details; this program itself logs what concerns the operator.
        match metadata.target() {
            QUERIES => true,
            target => target.starts_with(env!("CARGO_CRATE_NAME")) && metadata.level() <= *lock(&LEVEL),
        }
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
                    self.queue.push(Line::new(
                        Level::Warn,
                        format!("{dropped} log lines left out: too many in one second"),
                    ));
                }
            }
        }
        self.queue.push(Line::new(record.level(), one_line(&record.args().to_string())));
    }

    fn flush(&self) {
        self.queue.flush(FLUSH_TIMEOUT);
    }
}
