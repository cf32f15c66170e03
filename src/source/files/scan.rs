//! One walk through the directory: which files there are, and the values of those that changed.

use crate::heartbeat::Heartbeat;
use crate::service::Keyspace;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Maximum size of a value in octets: what etcd takes in one request by default.
const MAX_VALUE_OCTETS: u64 = 3 << 19;

/// Maximum number of levels below the root: a name has no more labels (RFC 1035 §2.3.4).
const MAX_LEVELS: usize = 127;

/// Time within which a second change may leave the times of a file as they are after the first.
const CLOCK_TICK: Duration = Duration::from_millis(50);

/// A file as it was read last.
#[derive(Clone, Debug)]
pub(super) struct ScannedFile {
    /// The state of the file when it was read; `None` if the file has to be read again.
    stamp: Option<FileStamp>,
    /// Time of the last modification.
    pub(super) modified: SystemTime,
    /// The content, if this walk read it.
    pub(super) value: Option<Vec<u8>>,
}

impl ScannedFile {
    /// The same without its value, to be read again.
    pub(super) fn unread(&self) -> Self {
        Self { stamp: None, modified: self.modified, value: None }
    }
}

/// What changes with the content of a file: identity, size and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    inode: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            inode: (meta.dev(), meta.ino()),
            len: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// Device and inode: what tells a directory from another at the same path.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// A walk, and what it found.
pub(super) struct Scan<'a> {
    root: &'a Path,
    keyspace: &'a Keyspace,
    /// What the walk before found: files that did not change since are not read.
    known: &'a BTreeMap<Vec<u8>, ScannedFile>,
    /// Files by key; those that changed have their value.
    pub(super) found: BTreeMap<Vec<u8>, ScannedFile>,
    /// Files and directories that could not be read, with the reason; what the walk before found of them stays.
    pub(super) problems: BTreeMap<Vec<u8>, String>,
    /// Whether something changed during the walk, so that another walk is due soon.
    pub(super) changing: bool,
    /// Beats at every directory entry: a walk may be long.
    heartbeat: Option<&'a Heartbeat>,
    /// The directories from the root to the present one, to find links that lead back.
    open: Vec<(u64, u64)>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        root: &'a Path,
        keyspace: &'a Keyspace,
        known: &'a BTreeMap<Vec<u8>, ScannedFile>,
        heartbeat: Option<&'a Heartbeat>,
    ) -> Self {
        let (found, problems) = (BTreeMap::new(), BTreeMap::new());
        Self { root, keyspace, known, found, problems, changing: false, heartbeat, open: Vec::new() }
    }

    /// Walks through the directory.
    ///
    /// # Errors
    /// The root cannot be read.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let meta = fs::metadata(self.root)?;
        let key = self.keyspace.root().trim_end_matches('/').as_bytes().to_vec();
        self.directory(self.root, &meta, &key)
    }

    /// Walks through one directory.
    fn directory(&mut self, path: &Path, meta: &Metadata, key: &[u8]) -> io::Result<()> {
        self.open.push((meta.dev(), meta.ino()));
        let walked = fs::read_dir(path).and_then(|entries| {
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                if !is_passed_over(name.as_bytes()) {
                    let key = [key, name.as_bytes()].join(&b'/');
                    self.entry(&entry.path(), key);
                }
            }
            Ok(())
        });
        self.open.pop();
        walked
    }

    /// Reads one entry of a directory, or notes why it cannot be read.
    fn entry(&mut self, path: &Path, key: Vec<u8>) {
        self.heartbeat.iter().for_each(|heartbeat| heartbeat.beat());
        let outcome = fs::metadata(path).and_then(|meta| {
            if meta.is_dir() {
                self.enter(path, &meta, &key)
            } else if meta.is_file() {
                self.file(path, &meta, &key)
            } else {
                Err(io::Error::other("it is neither a file nor a directory"))
            }
        });
        match outcome {
            Ok(()) => {}
            // The entry went away during the walk: the next walk finds out more. A dangling link stays, and is
            // reported.
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
                self.changing = true;
            }
            Err(error) => {
                self.keep_known(&key);
                self.problems.insert(key, format!("cannot be read: {error} ({})", path.display()));
            }
        }
    }

    /// Walks through a directory below the root.
    fn enter(&mut self, path: &Path, meta: &Metadata, key: &[u8]) -> io::Result<()> {
        if self.open.contains(&(meta.dev(), meta.ino())) {
            return Err(io::Error::other("it is a link that leads back to a directory it is in"));
        }
        if self.open.len() > MAX_LEVELS {
            return Err(io::Error::other("it is deeper than a name has labels"));
        }
        self.directory(path, meta, key)
    }

    /// Reads a file, unless it is as it was at the walk before.
    fn file(&mut self, path: &Path, meta: &Metadata, key: &[u8]) -> io::Result<()> {
        let stamp = FileStamp::of(meta);
        let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if self.known.get(key).is_some_and(|file| file.stamp == Some(stamp)) {
            let file = ScannedFile { stamp: Some(stamp), modified, value: None };
            self.found.insert(key.to_vec(), file);
            return Ok(());
        }
        if meta.len() > MAX_VALUE_OCTETS {
            let size = format!("it has {} octets, more than the {MAX_VALUE_OCTETS} of a value", meta.len());
            return Err(io::Error::other(size));
        }
        let mut file = File::open(path)?;
        let mut value = Vec::new();
        file.by_ref().take(MAX_VALUE_OCTETS).read_to_end(&mut value)?;
        let young = modified.elapsed().is_ok_and(|age| age < CLOCK_TICK);
        let settled = FileStamp::of(&file.metadata()?) == stamp && !young;
        self.changing |= !settled;
        let file = ScannedFile { stamp: settled.then_some(stamp), modified, value: Some(value) };
        self.found.insert(key.to_vec(), file);
        Ok(())
    }

    /// Keeps what the walk before found at or below a key that cannot be read now.
    fn keep_known(&mut self, key: &[u8]) {
        let below = [key, b"/"].concat();
        let candidates = self.known.range(key.to_vec()..).take_while(|(known, _)| known.starts_with(key));
        for (known, file) in candidates {
            if known == key || known.starts_with(&below) {
                self.found.insert(known.clone(), file.unread());
            }
        }
    }
}

/// Names that editors and tools leave behind: hidden files, `x~`, `#x#`.
fn is_passed_over(name: &[u8]) -> bool {
    name.starts_with(b".") || name.ends_with(b"~") || (name.starts_with(b"#") && name.ends_with(b"#"))
}
