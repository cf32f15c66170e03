//! The directory that systemd keeps for the unit (`StateDirectory=`, systemd.exec(5)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The directory for what outlives the process, the first if there are several.
pub fn state_directory() -> Option<PathBuf> {
    first(&std::env::var_os("STATE_DIRECTORY")?)
}

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
