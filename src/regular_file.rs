//! Reading files that somebody else names: regular files only, and without waiting.
//!
//! A pipe in the place of a settings file, of a key or of resolv.conf would otherwise stop the reader for as long as nobody
//! writes to it. Links are followed.

use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Maximum size in octets: settings, keys and lists of authorities have some hundred KiB at most.
pub(crate) const MAX_OCTETS: u64 = 4 << 20;

/// The device number of /dev/null, which people name for "no file".
const NULL_DEVICE: u64 = nix::sys::stat::makedev(1, 3);

/// Reads a regular file; /dev/null is an empty one.
///
/// # Errors
/// The file cannot be read, is no regular file, or is larger than 4 MiB.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let mut octets = Vec::new();
    file.take(MAX_OCTETS + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_OCTETS {
        return Err(io::Error::other(format!("it has more than {MAX_OCTETS} octets")));
    }
    Ok(octets)
}

/// What to add to an error of reading: who has to be able to read the file, if that is the fault.
pub(crate) fn reader_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (the user skydns has to be able to read it)",
        _ => "",
    }
}

/// Opens a regular file, or /dev/null.
///
/// # Errors
/// The file cannot be opened, or is no regular file.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    let about = file.metadata()?;
    let is_null = about.file_type().is_char_device() && about.rdev() == NULL_DEVICE;
    if is_null || about.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Opens a file for reading, without waiting for the other end of a pipe, and without taking a terminal.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_files_are_read_and_nothing_else_is_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("file"), "text").expect("a file");
        std::os::unix::fs::symlink("file", path("link")).expect("a link");
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        File::create(path("large")).and_then(|file| file.set_len(MAX_OCTETS + 1)).expect("a file");
        let text = |name: &str| match read(&path(name)) {
            Ok(octets) => String::from_utf8_lossy(&octets).into_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!([text("file"), text("link")], ["text", "text"]);
        for other in ["pipe", ".", "/dev/zero"] {
            assert!(
                text(other).contains("is not a regular file") || text(other).contains("directory"),
                "{other}"
            );
        }
        assert_eq!(text("/dev/null"), "");
        assert_eq!(text("large"), "it has more than 4194304 octets");
        assert!(text("none").starts_with("No such file"));
    }
}
