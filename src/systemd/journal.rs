//! Standard error as the journal (systemd.exec(5), sd-daemon(3)).

use log::Level;
use std::os::unix::fs::MetadataExt;

/// Whether standard error is a stream of the journal.
///
/// systemd names the device and inode of the stream in `JOURNAL_STREAM`; standard error may have been redirected
/// since.
pub fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|meta| stream == format!("{}:{}", meta.dev(), meta.ino()))
}

/// The prefix of a line to the journal that gives the line its priority (sd-daemon(3)).
pub fn journal_prefix(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}
