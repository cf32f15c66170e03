//! The check as the user of the service: what root can read, the service may not be able to.
//!
//! Root starts the check once more as that user, with copies of the private files as the unit passes them, and waits for it.

use crate::cli::{complain, pass_keys};
use crate::regular_file;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Uid, User, getgroups, setegid, seteuid, setgroups};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The user of the unit.
const SERVICE_USER: &str = "skydns";

/// Where copies of private keys are never on a disk.
const MEMORY: &str = "/run";

/// Says to the second check that it is one, and that standard input is the file to check.
const MARK: &str = "SKYDNS_CHECK_INPUT";

/// The directory for what is passed to the second check; it goes with it.
struct PassedFiles(PathBuf);

impl Drop for PassedFiles {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs the check as the user of the service; `None` if this process is not root, or there is no such user.
pub(super) fn run(args: &[String], file: Option<&Path>) -> Option<io::Result<ExitCode>> {
    if is_second() {
        let _ = end_signals().thread_unblock();
        return None;
    }
    if !Uid::effective().is_root() {
        return None;
    }
    let user = User::from_name(SERVICE_USER).ok()??;
    Some(run_as(&user, args, file))
}

/// Whether this is the second check.
pub(super) fn is_second() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Whether this is the second check, and the file to check is standard input.
pub(super) fn is_file_passed() -> bool {
    std::env::var_os(MARK).is_some_and(|mark| mark == "file")
}

/// The content of the file to check.
pub(super) fn passed_file() -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    io::stdin().take(regular_file::MAX_OCTETS + 1).read_to_end(&mut content)?;
    match content.len() as u64 > regular_file::MAX_OCTETS {
        true => Err(io::Error::other(format!("it has more than {} octets", regular_file::MAX_OCTETS))),
        false => Ok(content),
    }
}

/// The signals that ask a command to end.
fn end_signals() -> SigSet {
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().collect()
}

fn run_as(user: &User, args: &[String], file: Option<&Path>) -> io::Result<ExitCode> {
    // The second check ends by these, and this one afterwards: copies of private keys must not be left behind.
    let _ = end_signals().thread_block();
    let done = run_with_keys(user, args, file);
    let _ = end_signals().thread_unblock();
    done
}

fn run_with_keys(user: &User, args: &[String], file: Option<&Path>) -> io::Result<ExitCode> {
    let passed = PassedFiles(Path::new(MEMORY).join(format!("skydns-check-{}", std::process::id())));
    // Only root makes directories there, so one of this name was left by a check that was killed.
    let _ = fs::remove_dir_all(&passed.0);
    fs::create_dir(&passed.0)?;
    let keys = passed.0.join("skydns-keys");
    fs::create_dir(&keys)?;
    for dir in [&passed.0, &keys] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o750))?;
        chown(dir, None, Some(user.gid.as_raw()))?;
    }
    pass_keys::pass(&keys)?.iter().for_each(|problem| complain(problem));
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(args)
        .env("RUNTIME_DIRECTORY", &keys)
        .env(MARK, if file.is_some() { "file" } else { "none" });
    command.stdin(match file {
        Some(file) => Stdio::from(regular_file::open_regular(file)?),
        None => Stdio::null(),
    });
    let status = as_user(user, || command.status())??;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map(ExitCode::from).ok_or_else(|| io::Error::other(format!("check: it ended early ({status})")))
}

/// Does something with the rights of a user; children get them, too.
fn as_user<T>(user: &User, work: impl FnOnce() -> T) -> io::Result<T> {
    let groups = getgroups()?;
    let name = std::ffi::CString::new(user.name.as_str()).map_err(io::Error::other)?;
    nix::unistd::initgroups(&name, user.gid)?;
    setegid(user.gid)?;
    seteuid(user.uid)?;
    let done = work();
    seteuid(Uid::from_raw(0))?;
    setegid(Gid::from_raw(0))?;
    setgroups(&groups)?;
    Ok(done)
}
