//! The sinks of the log (standard error, the journal, syslog), and the form of a line in each.

use super::syslog::{Syslog, SyslogForm};
use crate::config::LogTarget;
use crate::systemd;
use log::Level;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;
use time::OffsetDateTime;

/// Pause until a pipe that does not block is tried again when it is full.
const FULL_PIPE_PAUSE: Duration = Duration::from_millis(50);

/// An open sink of log lines.
pub(super) enum LogSink {
    /// Standard error: each line has time and level.
    Stderr(File),
    /// Standard error, which is the journal: it adds the time itself, each line has its priority.
    Journal(File),
    /// The local syslog.
    Syslog(Syslog),
}

/// One line of the log.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) time: OffsetDateTime,
    pub(super) level: Level,
    pub(super) text: String,
}

impl Line {
    /// A line of now.
    pub(super) fn new(level: Level, text: String) -> Self {
        Self { time: OffsetDateTime::now_utc(), level, text }
    }

    /// About what the line takes in memory, in octets.
    pub(super) fn octets(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }
}

impl LogSink {
    /// Opens the sink of a target; if that is syslog and cannot be reached, standard error, with the error.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(super) fn open(target: LogTarget) -> io::Result<(Self, Option<io::Error>)> {
        let form = match target {
            LogTarget::Stderr => return Ok((Self::stderr()?, None)),
            LogTarget::Syslog => SyslogForm::Rfc3164,
            LogTarget::Syslog5424 => SyslogForm::Rfc5424,
        };
        match Syslog::open(form) {
            Ok(syslog) => Ok((Self::Syslog(syslog), None)),
            Err(problem) => Ok((Self::stderr()?, Some(problem))),
        }
    }

    /// Standard error by a descriptor of its own: the lock of the standard library's would be held for as long as nobody reads.
    fn stderr() -> io::Result<Self> {
        let file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Ok(if systemd::stderr_is_journal() { Self::Journal(file) } else { Self::Stderr(file) })
    }

    /// Writes lines; waits for as long as the sink takes none.
    pub(super) fn write(&mut self, lines: &VecDeque<Line>) {
        // A log that fails has no other place to report it.
        let _ = match self {
            Self::Stderr(file) => write_all(file, lines, |line, out| {
                let (time, level) = (timestamp(line.time), level_word(line.level));
                writeln!(out, "{time} {level}: {}", line.text)
            }),
            Self::Journal(file) => write_all(file, lines, |line, out| {
                writeln!(out, "{}{}", systemd::journal_prefix(line.level), line.text)
            }),
            Self::Syslog(syslog) => {
                // A line that the daemon does not take must not cost those behind it.
                lines.iter().for_each(|line| drop(syslog.send(line)));
                Ok(())
            }
        };
    }
}

/// Writes lines in as few pieces as they fit into a pipe.
fn write_all(
    file: &mut File,
    lines: &VecDeque<Line>,
    form: impl Fn(&Line, &mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    const PIECE: usize = 64 << 10;
    let mut piece = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        form(line, &mut piece)?;
        if piece.len() >= PIECE || number + 1 == lines.len() {
            write_piece(file, &piece)?;
            piece.clear();
        }
    }
    Ok(())
}

fn write_piece(file: &mut File, mut piece: &[u8]) -> io::Result<()> {
    while !piece.is_empty() {
        match file.write(piece) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => piece = &piece[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Whoever gave the pipe to this process may have made it one that does not block.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(FULL_PIPE_PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
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

/// A time in UTC, to the millisecond (RFC 3339).
pub(super) fn timestamp(now: OffsetDateTime) -> String {
    let (date, (hour, minute, second, milli)) = (now.date(), now.to_hms_milli());
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_width() {
        assert_eq!(timestamp(OffsetDateTime::now_utc()).len(), "2026-01-01T00:00:00.000Z".len());
    }
}
