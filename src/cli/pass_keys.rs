//! `skydns pass-keys`: copies the files of /etc/skydns/keys, which only root can read, to where the service reads them, and the
//! file of variables to where systemd reads it.
//!
//! The unit runs it as root before the agent, and at a reload. systemd's `LoadCredential=` does the same, but refuses to
//! start the service at all if a file has a name that it does not take, or is too large.

use super::{PERMISSION, SYSTEM, complain, fail};
use crate::regular_file;
use crate::replace_file::{Replacement, replace};
use crate::systemd;
use nix::unistd::{Gid, Uid};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

/// Maximum number of files: a domain has some keys, and etcd three files for TLS.
const MAX_FILES: usize = 256;

/// The file of variables, which only root may be able to read.
const VARIABLES: &str = "/etc/default/skydns";

/// Its copy, which systemd gives the service with `EnvironmentFile=`. systemd opens that file in process 1, and a pipe there
/// would stop all of the host; the directory is root's, for the service must not have systemd read another file for it.
const PASSED_VARIABLES: &str = "/run/skydns-variables";

/// Runs the command.
pub(super) fn run() -> ExitCode {
    let Some(target) = systemd::keys_directory() else {
        return fail(
            SYSTEM,
            &"pass-keys: RUNTIME_DIRECTORY names no directory for keys; the unit runs this command",
        );
    };
    match pass(&target) {
        Ok(mut problems) => {
            problems.extend(pass_variables(Path::new(VARIABLES), Path::new(PASSED_VARIABLES)));
            problems.iter().for_each(|problem| complain(&format!("pass-keys: {problem}")));
            ExitCode::SUCCESS
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fail(PERMISSION, &format!("pass-keys: {}: {error}", target.display()))
        }
        Err(error) => fail(SYSTEM, &format!("pass-keys: {}: {error}", target.display())),
    }
}

/// Makes the files of `target` the private files; returns what cannot be passed.
///
/// # Errors
/// The target cannot be read, or is no directory.
pub(super) fn pass(target: &Path) -> io::Result<Vec<String>> {
    pass_all(Path::new(systemd::PRIVATE_FILES), target)
}

/// Makes the files of `target` those of `source`; returns what cannot be passed.
///
/// # Errors
/// The target cannot be read, or is no directory.
fn pass_all(source: &Path, target: &Path) -> io::Result<Vec<String>> {
    let group = fs::symlink_metadata(target)?.gid();
    let mut problems = Vec::new();
    let mut passed: Vec<OsString> = Vec::new();
    let mut entries: Vec<_> = match fs::read_dir(source) {
        Ok(entries) => entries.flatten().collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        // What was passed before is better than nothing.
        Err(error) => return Ok(vec![format!("{}: {error}", source.display())]),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (file, name) = (entry.path(), entry.file_name());
        // What else is in the directory, such as directories, is not meant for the agent.
        let is_hidden = name.as_encoded_bytes().starts_with(b".");
        if is_hidden || !fs::metadata(&file).is_ok_and(|about| about.is_file()) {
            continue;
        }
        if passed.len() == MAX_FILES {
            problems.push(format!("{}: it has more than {MAX_FILES} files", source.display()));
            break;
        }
        let copied = regular_file::read(&file).and_then(|content| write(target, &name, &content, group));
        problems.extend(copied.err().map(|error| format!("{}: {error}", file.display())));
        // One that cannot be copied now keeps its last copy.
        passed.push(name);
    }
    for entry in fs::read_dir(target)?.flatten() {
        if !passed.contains(&entry.file_name())
            && let Err(error) = fs::remove_file(entry.path())
        {
            problems.push(format!("{}: {error}", entry.path().display()));
        }
    }
    Ok(problems)
}

/// Makes a file the copy of another one, or removes it if there is no other one; returns why it cannot. What was copied before
/// stays then.
fn pass_variables(source: &Path, target: &Path) -> Option<String> {
    let passed = match regular_file::read(source) {
        Ok(content) => replace(target, &content, 0o600),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::remove_file(target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
        Err(error) => Err(error),
    };
    passed.err().map(|error| format!("{}: {error}", source.display()))
}

/// Replaces a file of the target, which belongs to the service. Its name while it is written is hidden, which no name of a
/// file that is passed is.
fn write(target: &Path, name: &OsString, content: &[u8], group: u32) -> io::Result<()> {
    let replacement = Replacement::create(&target.join(name))?;
    replacement.file().write_all(content)?;
    nix::unistd::fchown(replacement.file(), Some(Uid::current()), Some(Gid::from_raw(group)))?;
    replacement.put_in_place(0o440)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_variables_is_copied_and_a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        let held = || fs::read_to_string(&target).ok();
        assert_eq!((pass_variables(&source, &target), held()), (None, None));
        fs::write(&source, "SKYDNS_TTL=7\n").expect("a file");
        assert_eq!((pass_variables(&source, &target), held().as_deref()), (None, Some("SKYDNS_TTL=7\n")));
        assert_eq!(fs::metadata(&target).expect("a file").mode() & 0o777, 0o600);
        fs::remove_file(&source).expect("removed");
        nix::unistd::mkfifo(&source, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let problem = pass_variables(&source, &target).expect("a problem");
        assert!(problem.ends_with("it is not a regular file"), "{problem}");
        assert_eq!(held().as_deref(), Some("SKYDNS_TTL=7\n"), "what was copied before stays");
        fs::remove_file(&source).expect("removed");
        assert_eq!((pass_variables(&source, &target), held()), (None, None));
    }

    #[test]
    fn files_of_any_name_are_passed_and_those_that_are_gone_go() {
        let (source, target) =
            (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let names = |dir: &Path| {
            let entries = fs::read_dir(dir).expect("readable").flatten();
            let mut names: Vec<_> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        for name in ["schlüssel.pem", "a:b", "Kx.+013+00001.key"] {
            fs::write(source.path().join(name), name).expect("a file");
        }
        fs::create_dir(source.path().join("old")).expect("a directory");
        std::os::unix::fs::symlink("a:b", source.path().join("link")).expect("a link");
        std::os::unix::fs::symlink("/etc/hostname", target.path().join("a:b")).expect("a link");
        assert_eq!(pass_all(source.path(), target.path()).expect("passed"), [""; 0]);
        assert_eq!(names(target.path()), ["Kx.+013+00001.key", "a:b", "link", "schlüssel.pem"]);
        assert_eq!(fs::read_to_string(target.path().join("link")).expect("a file"), "a:b");
        let about = fs::symlink_metadata(target.path().join("a:b")).expect("a file");
        assert!(about.is_file() && about.mode() & 0o777 == 0o440, "{about:?}");
        fs::remove_file(source.path().join("a:b")).expect("removed");
        let large = fs::File::create(source.path().join("large")).expect("a file");
        large.set_len(5 << 20).expect("a size");
        let problems = pass_all(source.path(), target.path()).expect("passed");
        assert!(problems[0].contains("more than 4194304 octets") && problems.len() == 1, "{problems:?}");
        assert_eq!(names(target.path()), ["Kx.+013+00001.key", "schlüssel.pem"]);
    }
}
