//! Programs of the host that the command runs, none for longer than a limit.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take: systemd starts a manager again in less.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(20);

/// Time between two looks at whether it has ended.
const POLL_PERIOD: Duration = Duration::from_millis(20);

/// Runs a program without input and output.
///
/// # Errors
/// It is not there, fails, or takes too long.
pub(super) fn run(program: &str, words: &[&str]) -> io::Result<()> {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let end = Instant::now() + PROGRAM_TIMEOUT;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(io::Error::other(status.to_string())),
            None if Instant::now() >= end => {
                child.kill()?;
                child.wait()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            None => std::thread::sleep(POLL_PERIOD),
        }
    }
}
