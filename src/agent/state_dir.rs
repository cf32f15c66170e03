//! The state directory: where the snapshot and the last good settings are, and whether it can be used.

use crate::config::Spec;
use crate::systemd;
use nix::libc;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Files of the directory that are worth reading even if none can be written.
const KEPT: [&str; 2] = ["snapshot", "settings"];

/// Why a directory cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnusableStateDir {
    /// The directory, and what the system says.
    pub(super) reason: String,
    /// Whether it holds something that can be read all the same.
    pub(super) is_readable: bool,
}

/// A file of the directory: of the configured one, else of systemd's; `None` if there is neither.
pub(super) fn file(spec: &Spec, name: &str) -> Option<PathBuf> {
    spec.state_dir.clone().or_else(systemd::state_directory).map(|dir| dir.join(name))
}

/// Makes a file in a directory and removes it, because permissions alone do not say whether that works.
///
/// A disk that is full or fails, and a process without another descriptor, are no faults of the setting: they are told when
/// something is written.
pub(super) fn problem(dir: &Path) -> Option<UnusableStateDir> {
    let probe = dir.join(format!(".probe-{}", std::process::id()));
    let error = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe) {
        Ok(_) => {
            let _ = fs::remove_file(&probe);
            return None;
        }
        Err(error) if is_for_now(&error) => return None,
        Err(error) => error,
    };
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => " (the user skydns has to be able to write there)",
        io::ErrorKind::ReadOnlyFilesystem => " (the unit may write there with ReadWritePaths= only)",
        _ => "",
    };
    let reason = format!("no file can be made in the directory {}: {error}{hint}", dir.display());
    let is_readable = KEPT.iter().any(|name| fs::File::open(dir.join(name)).is_ok());
    Some(UnusableStateDir { reason, is_readable })
}

/// Whether an error says nothing about the directory.
fn is_for_now(error: &io::Error) -> bool {
    let of_disk = [libc::ENOSPC, libc::EDQUOT, libc::EIO, libc::EMFILE, libc::ENFILE, libc::ENOMEM];
    error.kind() == io::ErrorKind::AlreadyExists
        || error.raw_os_error().is_some_and(|code| of_disk.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_used_if_a_file_can_be_made_there() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(problem(dir.path()), None);
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0, "nothing is left");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").expect("a file");
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        for (dir, reason) in [
            (at("none"), "No such file"),
            (at("file"), "Not a directory"),
            (at("pipe"), "Not a directory"),
            ("/proc".into(), "No such file"),
        ] {
            let unusable = problem(&dir).expect("unusable");
            assert!(unusable.reason.contains(&dir.display().to_string()), "{unusable:?}");
            assert!(unusable.reason.contains(reason) || !nix::unistd::geteuid().is_root(), "{unusable:?}");
            assert!(!unusable.is_readable, "{unusable:?}");
        }
        for code in [libc::ENOSPC, libc::EMFILE] {
            assert!(is_for_now(&io::Error::from_raw_os_error(code)), "{code}");
        }
        assert!(!is_for_now(&io::Error::from_raw_os_error(libc::EROFS)));
    }
}
