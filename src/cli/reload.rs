//! `skydns reload`: tells a running agent to read its settings again, waits until it has, and says what was refused.
//!
//! The unit's `ExecReload=`: so `systemctl reload` ends when the reload has, and fails if something was refused.

use super::{CONFIG, SYSTEM, UNAVAILABLE, USAGE, complain, fail};
use crate::agent::{ReloadReport, reload_report_file};
use crate::config::command_usage;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long the end of the reload is waited for: the agent gives new sources ten seconds, and systemd ends this command
/// after `TimeoutStartSec=`, which is 30 s.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(25);

/// How long a first report of the agent is waited for: an agent that handles the signal has written it.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the report is read.
const REPORT_POLL: Duration = Duration::from_millis(20);

/// Runs the command with the process id of the agent.
pub(super) fn run(words: &[String]) -> ExitCode {
    let pid = match words {
        [pid] => pid.parse::<u32>().ok().filter(|pid| *pid > 1),
        _ => None,
    };
    let Some(pid) = pid else { return fail(USAGE, &command_usage("reload")) };
    let Some(file) = reload_report_file() else {
        let why =
            "reload: RUNTIME_DIRECTORY is not set: use \"systemctl reload skydns\", or kill -HUP and the log";
        return fail(USAGE, &why);
    };
    match reload(pid, &file) {
        Ok(report) if report.refused.is_empty() => ExitCode::SUCCESS,
        Ok(report) => {
            report.refused.iter().for_each(|refused| complain(&format!("refused: {refused}")));
            ExitCode::from(CONFIG)
        }
        Err((code, error)) => fail(code, &format!("reload: {error}")),
    }
}

/// Has the agent reload, and waits for its report.
fn reload(pid: u32, file: &Path) -> Result<ReloadReport, (u8, String)> {
    let report = || {
        let report =
            ReloadReport::read(file).map_err(|error| (SYSTEM, format!("{}: {error}", file.display())))?;
        // What another process has left says nothing.
        Ok::<_, (u8, String)>(report.filter(|report| report.pid == pid).unwrap_or_default())
    };
    let target = Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX));
    let begun = Instant::now();
    // Before an agent handles the signal it would end by it, and so would another program.
    let mut before = report()?;
    while before.pid != pid {
        if begun.elapsed() > REPORT_TIMEOUT {
            return Err(reload_without_report(target, file));
        }
        kill(target, None).map_err(|error| (SYSTEM, format!("process {pid}: {error}")))?;
        std::thread::sleep(REPORT_POLL);
        before = report()?;
    }
    kill(target, Signal::SIGHUP).map_err(|error| (SYSTEM, format!("process {pid}: {error}")))?;
    loop {
        std::thread::sleep(REPORT_POLL);
        let report = report()?;
        // One that had begun before the signal may have read the files too early.
        if report.done > before.begun {
            return Ok(report);
        }
        if begun.elapsed() > RELOAD_TIMEOUT {
            let waited = RELOAD_TIMEOUT.as_secs();
            return Err((UNAVAILABLE, format!("process {pid} has not reloaded within {waited} s")));
        }
        // It may have ended meanwhile.
        kill(target, None).map_err(|_| (UNAVAILABLE, format!("process {pid} has ended")))?;
    }
}

/// Has a process reload whose report is missing, if it handles the signal.
fn reload_without_report(target: Pid, file: &Path) -> (u8, String) {
    let file = file.display();
    let told = handles(target, Signal::SIGHUP) && kill(target, Signal::SIGHUP).is_ok();
    let text = match told {
        true => format!(
            "process {target} was told to, but what comes of it is not known, because it cannot write {file}: its log \
             says it, and a restart mends it"
        ),
        false => format!("process {target} is no agent that has started"),
    };
    (UNAVAILABLE, text)
}

/// Whether a process handles a signal, or will; another one ends by it.
pub(super) fn handles(target: Pid, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{target}/status")).unwrap_or_default();
    let mask = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    // The lowest bit is that of signal 1.
    let bit = 1 << (signal as u32 - 1);
    ["SigBlk:", "SigCgt:"].into_iter().filter_map(mask).any(|mask| mask & bit != 0)
}
