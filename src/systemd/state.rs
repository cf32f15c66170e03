//! The unit's directory for persistent data (`StateDirectory=`, systemd.exec(5)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The first directory of `STATE_DIRECTORY`, if there is one.
pub fn state_directory() -> Option<PathBuf> {
    first(&std::env::var_os("STATE_DIRECTORY")?)
}

/// The first of directories that colons separate.
fn first(directories: &OsStr) -> Option<PathBuf> {
    let first = directories.as_bytes().split(|octet| *octet == b':').next()?;
    (!first.is_empty()).then(|| OsStr::from_bytes(first).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directory_counts() {
        for (directories, expected) in
            [("/var/lib/skydns", Some("/var/lib/skydns")), ("/a:/b", Some("/a")), ("", None)]
        {
            assert_eq!(first(OsStr::new(directories)), expected.map(PathBuf::from));
        }
    }
}
