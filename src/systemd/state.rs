//! The unit's directories: for persistent data (`StateDirectory=`) and for the time that it runs (`RuntimeDirectory=`, systemd.exec(5)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The name of the directory for private files, beside the first one of `RuntimeDirectory=`.
const KEYS: &str = "skydns-keys";

/// The first directory of `STATE_DIRECTORY`, if there is one.
pub fn state_directory() -> Option<PathBuf> {
    first(&std::env::var_os("STATE_DIRECTORY")?)
}

/// The first directory of `RUNTIME_DIRECTORY`, if there is one.
pub fn runtime_directory() -> Option<PathBuf> {
    first(&std::env::var_os("RUNTIME_DIRECTORY")?)
}

/// The directory of `RUNTIME_DIRECTORY` to which the files of [`PRIVATE_FILES`](super::PRIVATE_FILES) are passed.
pub fn keys_directory() -> Option<PathBuf> {
    let directories = std::env::var_os("RUNTIME_DIRECTORY")?;
    all(&directories).find(|directory| directory.ends_with(KEYS))
}

/// The first of directories that colons separate.
fn first(directories: &OsStr) -> Option<PathBuf> {
    all(directories).next()
}

fn all(directories: &OsStr) -> impl Iterator<Item = PathBuf> {
    let parts = directories.as_bytes().split(|octet| *octet == b':').filter(|part| !part.is_empty());
    parts.map(|part| OsStr::from_bytes(part).into())
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
