//! `skydns accept`: tells the running agent that the names which it serves on though they are gone (`-hold-mass-deletion`) were
//! meant to go, and waits until they have.

use super::reload::handles;
use super::{SYSTEM, UNAVAILABLE, USAGE, fail, print};
use crate::agent::{ReloadReport, reload_report_file};
use crate::config::command_usage;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long the agent is waited for.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the report is read.
const REPORT_POLL: Duration = Duration::from_millis(20);

/// Where an agent of systemd reports.
const REPORT: &str = "/run/skydns/reload";

/// Runs the command, for the agent with a process id, or for that of systemd.
pub(super) fn run(words: &[String]) -> ExitCode {
    let asked = match words {
        [] => None,
        [pid] => match pid.parse::<u32>().ok().filter(|pid| *pid > 0) {
            Some(pid) => Some(pid),
            None => return fail(USAGE, &command_usage("accept")),
        },
        _ => return fail(USAGE, &command_usage("accept")),
    };
    let file = reload_report_file().unwrap_or_else(|| PathBuf::from(REPORT));
    match accept(asked, &file) {
        Ok(told) => print(&told),
        Err((code, error)) => fail(code, &format!("accept: {error}")),
    }
}

/// Has the agent let go what it serves on; returns what that was, as text.
fn accept(asked: Option<u32>, file: &Path) -> Result<String, (u8, String)> {
    let read = || {
        let report =
            ReloadReport::read(file).map_err(|error| (SYSTEM, format!("{}: {error}", file.display())))?;
        Ok::<_, (u8, String)>(report.filter(|report| asked.is_none_or(|pid| report.pid == pid)))
    };
    let Some(before) = read()? else {
        return match asked {
            Some(pid) => accept_without_report(target(pid)),
            None => Err((
                UNAVAILABLE,
                format!(
                    "no agent runs here that reports to {}; \"skydns accept PID\" names one",
                    file.display()
                ),
            )),
        };
    };
    let target = target(before.pid);
    let gone = |_| (UNAVAILABLE, format!("the agent, process {target}, has ended"));
    kill(target, None).map_err(gone)?;
    if before.held.is_empty() {
        return Ok("no names are served on that are gone\n".to_owned());
    }
    if !is_agent(target) {
        return Err((UNAVAILABLE, format!("process {target}, which {} names, is no agent", file.display())));
    }
    kill(target, Signal::SIGUSR1).map_err(|error| (SYSTEM, format!("process {target}: {error}")))?;
    let begun = Instant::now();
    loop {
        std::thread::sleep(REPORT_POLL);
        if read()?.is_some_and(|report| report.accepted > before.accepted) {
            return Ok(before.held.iter().map(|held| format!("let go: {held}\n")).collect());
        }
        if begun.elapsed() > ACCEPT_TIMEOUT {
            let waited = ACCEPT_TIMEOUT.as_secs();
            return Err((UNAVAILABLE, format!("process {target} has not let go within {waited} s")));
        }
        kill(target, None).map_err(gone)?;
    }
}

/// Whether a process is an agent that handles the signal: another program may end by it.
fn is_agent(target: Pid) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{target}/comm")).unwrap_or_default();
    name.trim_end() == env!("CARGO_PKG_NAME") && handles(target, Signal::SIGUSR1)
}

/// Tells an agent that writes no report.
fn accept_without_report(target: Pid) -> Result<String, (u8, String)> {
    if is_agent(target) && kill(target, Signal::SIGUSR1).is_ok() {
        return Ok(format!("process {target} was told to; its log says what it let go\n"));
    }
    Err((UNAVAILABLE, format!("process {target} is no agent that has started")))
}

fn target(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}
