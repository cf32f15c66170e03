//! Replacing a file in one step: at each moment, and after a crash, a reader finds the old content or the new one, whole.
//!
//! The new content is written to a hidden file of the same directory, which then takes the name of the old one. Nothing
//! that is there is written to or followed, such as the target of a link that another user put there.

use nix::fcntl::OFlag;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Octets of the file's name that the name of the new file has as well: file systems take names of 255 octets.
const MAX_NAME: usize = 250;

/// A new file that has not taken the place of the old one yet. It is removed if it never does.
#[derive(Debug)]
pub(crate) struct Replacement {
    file: File,
    /// The name of the new file until it is in its place; `None` afterwards.
    new: Option<PathBuf>,
    path: PathBuf,
}

impl Replacement {
    /// Creates the new file, in the place of one that a crash left. Nobody else can read it until it is in its place.
    ///
    /// # Errors
    /// The system refuses it, such as for a directory that does not exist.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let new = new_name(path)?;
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
        Ok(Self { file: options.open(&new)?, new: Some(new), path: path.to_owned() })
    }

    /// The new file, for its content, its owner and its times.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the new file its permissions, whatever the umask is, and puts it in the place of the old one. It is on disk
    /// before, so no crash leaves a file that is cut short, and its name is on disk when this returns.
    ///
    /// # Errors
    /// The system refuses it. The old file stays, unless it is the directory that cannot be written to disk.
    pub(crate) fn put_in_place(mut self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode))?;
        self.file.sync_all()?;
        if let Some(new) = &self.new {
            fs::rename(new, &self.path)?;
        }
        self.new = None;
        // A crash may undo a rename until the directory is on disk.
        File::open(directory(&self.path))?.sync_all()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // On a full disk a half-written file would take the last octets.
        if let Some(new) = &self.new {
            let _ = fs::remove_file(new);
        }
    }
}

/// Replaces a file, or creates it, with this content and these permissions.
///
/// # Errors
/// The system refuses it; see [`Replacement::create`] and [`Replacement::put_in_place`].
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let replacement = Replacement::create(path)?;
    replacement.file().write_all(content)?;
    replacement.put_in_place(mode)
}

/// The name of the new file: hidden, so that no program takes it for one of the files of its directory.
fn new_name(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?.as_bytes();
    let name = name.get(..MAX_NAME).unwrap_or(name);
    Ok(directory(path).join(OsStr::from_bytes(&[b".", name, b".new"].concat())))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A directory with an old file.
    fn old_file() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        fs::write(&path, "old").expect("a file");
        (dir, path)
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("readable").flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).expect("a text")
    }

    #[test]
    fn a_file_is_replaced_or_created_with_its_mode() {
        let (dir, path) = old_file();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("a mode");
        let before = File::open(&path).expect("a file");
        // The longest name that there is, and none before.
        let long = dir.path().join("x".repeat(255));
        for (path, mode) in [(&path, 0o600), (&path, 0o666), (&long, 0o440)] {
            replace(path, b"new", mode).expect("replaced");
            let about = fs::metadata(path).expect("a file");
            assert_eq!((text(path).as_str(), about.permissions().mode() & 0o7777), ("new", mode));
        }
        assert_eq!(names(dir.path()), ["file", &"x".repeat(255)]);
        assert_eq!(
            io::read_to_string(before).expect("a text"),
            "old",
            "a reader has the file that it opened"
        );
    }

    #[test]
    fn a_crash_leaves_the_old_file_and_nothing_that_is_in_the_way() {
        let (dir, path) = old_file();
        let crashed = Replacement::create(&path).expect("created");
        crashed.file().write_all(b"ne").expect("written");
        std::mem::forget(crashed);
        assert_eq!(
            (text(&path).as_str(), names(dir.path())),
            ("old", vec![".file.new".into(), "file".into()])
        );
        let mode = fs::metadata(dir.path().join(".file.new")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        replace(&path, b"new", 0o644).expect("replaced");
        assert_eq!((text(&path).as_str(), names(dir.path())), ("new", vec!["file".into()]));
    }

    #[test]
    fn an_error_leaves_the_old_file_and_no_other() {
        let (dir, path) = old_file();
        let given_up = Replacement::create(&path).expect("created");
        given_up.file().write_all(b"ne").expect("written");
        drop(given_up);
        assert_eq!((text(&path).as_str(), names(dir.path())), ("old", vec!["file".into()]));
        // A directory has the name.
        let taken = dir.path().join("taken");
        fs::create_dir(&taken).expect("a directory");
        assert_eq!(
            replace(&taken, b"new", 0o600).map_err(|error| error.kind()),
            Err(io::ErrorKind::IsADirectory)
        );
        assert_eq!(names(dir.path()), ["file", "taken"]);
        let missing = dir.path().join("none/file");
        assert_eq!(
            replace(&missing, b"new", 0o600).map_err(|error| error.kind()),
            Err(io::ErrorKind::NotFound)
        );
        assert_eq!(names(dir.path()), ["file", "taken"]);
        assert!(replace(Path::new("/"), b"new", 0o600).is_err());
    }

    #[test]
    fn links_are_replaced_and_not_written_through() {
        let (dir, path) = old_file();
        let link = dir.path().join("link");
        for link in [&link, &dir.path().join(".link.new")] {
            symlink(&path, link).expect("a link");
        }
        replace(&link, b"new", 0o600).expect("replaced");
        assert!(fs::symlink_metadata(&link).expect("a file").is_file());
        assert_eq!([text(&path), text(&link)], ["old", "new"]);
        assert_eq!(names(dir.path()), ["file", "link"]);
    }
}
