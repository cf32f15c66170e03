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

/// Longest value that is read, in octets: what etcd takes in one request by default.
const MOST_OCTETS: u64 = 3 << 19;

/// Levels below the root: a name has no more labels.
const MOST_LEVELS: usize = 127;

/// Within this time a second change may leave the times of a file as they were.
const CLOCK_TICK: Duration = Duration::from_millis(50);

/// A file as it was read last.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// What told it apart from other states; `None` if it has to be read again.
    stamp: Option<Stamp>,
    /// Time of its last change.
    pub(super) modified: SystemTime,
    /// Its value, when it was read in this walk.
    pub(super) fresh: Option<Vec<u8>>,
}

impl Seen {
    /// The same without its value, to be read again.
    pub(super) fn unread(&self) -> Self {
        Self { stamp: None, modified: self.modified, fresh: None }
    }
}

/// Identity, size and times of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            inode: (meta.dev(), meta.ino()),
            len: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// What tells a directory from another at the same path.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// A walk and what it found.
pub(super) struct Scan<'a> {
    root: &'a Path,
    keyspace: &'a Keyspace,
    /// What the walk before found: what did not change since is not read.
    known: &'a BTreeMap<Vec<u8>, Seen>,
    /// Files by key; those that changed hold their value.
    pub(super) found: BTreeMap<Vec<u8>, Seen>,
    /// What could not be read, with the reason; what was known of it stays.
    pub(super) problems: BTreeMap<Vec<u8>, String>,
    /// Whether something changed under the walk, so that another is due soon.
    pub(super) changing: bool,
    /// Beats at every entry: a walk may be long.
    heartbeat: Option<&'a Heartbeat>,
    /// The directories that the walk is in, to find links that lead back.
    open: Vec<(u64, u64)>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        root: &'a Path,
        keyspace: &'a Keyspace,
        known: &'a BTreeMap<Vec<u8>, Seen>,
        heartbeat: Option<&'a Heartbeat>,
    ) -> Self {
        let (found, problems) = (BTreeMap::new(), BTreeMap::new());
        Self { root, keyspace, known, found, problems, changing: false, heartbeat, open: Vec::new() }
    }

    /// Walks.
    ///
    /// # Errors
    /// The root cannot be read.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let meta = fs::metadata(self.root)?;
        let key = self.keyspace.root().trim_end_matches('/').as_bytes().to_vec();
        self.directory(self.root, &meta, &key)
    }

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
            // Gone between listing and looking: another walk tells what became of it. A dangling link
            // stays, and is told.
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
                self.changing = true;
            }
            Err(error) => {
                self.keep_known(&key);
                self.problems.insert(key, format!("cannot be read: {error} ({})", path.display()));
            }
        }
    }

    fn enter(&mut self, path: &Path, meta: &Metadata, key: &[u8]) -> io::Result<()> {
        if self.open.contains(&(meta.dev(), meta.ino())) {
            return Err(io::Error::other("it is a link that leads back to a directory it is in"));
        }
        if self.open.len() > MOST_LEVELS {
            return Err(io::Error::other("it is deeper than a name has labels"));
        }
        self.directory(path, meta, key)
    }

    fn file(&mut self, path: &Path, meta: &Metadata, key: &[u8]) -> io::Result<()> {
        let stamp = Stamp::of(meta);
        let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        if self.known.get(key).is_some_and(|seen| seen.stamp == Some(stamp)) {
            let seen = Seen { stamp: Some(stamp), modified, fresh: None };
            self.found.insert(key.to_vec(), seen);
            return Ok(());
        }
        if meta.len() > MOST_OCTETS {
            let size = format!("it has {} octets, more than the {MOST_OCTETS} of a value", meta.len());
            return Err(io::Error::other(size));
        }
        let mut file = File::open(path)?;
        let mut value = Vec::new();
        file.by_ref().take(MOST_OCTETS).read_to_end(&mut value)?;
        let young = modified.elapsed().is_ok_and(|age| age < CLOCK_TICK);
        let settled = Stamp::of(&file.metadata()?) == stamp && !young;
        self.changing |= !settled;
        let seen = Seen { stamp: settled.then_some(stamp), modified, fresh: Some(value) };
        self.found.insert(key.to_vec(), seen);
        Ok(())
    }

    /// Keeps what is known of a key, or below it, that cannot be read now.
    fn keep_known(&mut self, key: &[u8]) {
        let below = [key, b"/"].concat();
        let kept = self.known.range(key.to_vec()..).take_while(|(at, _)| at.starts_with(key));
        for (at, seen) in kept {
            if at == key || at.starts_with(&below) {
                self.found.insert(at.clone(), seen.unread());
            }
        }
    }
}

/// Names that editors and tools leave behind: hidden files, `x~`, `#x#`.
fn is_passed_over(name: &[u8]) -> bool {
    name.starts_with(b".") || name.ends_with(b"~") || (name.starts_with(b"#") && name.ends_with(b"#"))
}
