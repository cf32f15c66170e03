//! A walk through a directory, or a part of it: which files there are, and the values of those that changed.

use super::aliases::{Aliases, Inode};
use super::control::{MAX_PATHS, Work, is_passed_over};
use super::handover::Handover;
use super::known::{Known, Stamp};
use super::root::{EntryProblem, EntryState, RecordsRoot, state_of_open};
use crate::heartbeat::Heartbeat;
use crate::service::{KeyTarget, Keyspace, Service};
use crate::source::feed::Closed;
use rustix::fs::{Dir, FileType, Statx};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Maximum size of a value in octets: what etcd takes in one request by default.
const MAX_VALUE_OCTETS: u64 = 3 << 19;

/// Maximum number of levels below the root: a name has no more labels (RFC 1035 §2.3.4).
const MAX_LEVELS: usize = 127;

/// How often an entry is looked at that is missing and there again each time.
const MAX_TRIES: u32 = 3;

/// Time within which a second change may leave the times of a file as they are after the first.
const CLOCK_TICK: Duration = Duration::from_millis(50);

/// Age up to which a file that cannot be read as a service is taken for half written.
const HALF_WRITTEN_AGE: Duration = Duration::from_secs(2);

/// A walk.
pub(super) struct Scan<'a> {
    pub(super) root: &'a RecordsRoot,
    pub(super) keyspace: &'a Keyspace,
    pub(super) known: &'a mut Known,
    pub(super) handover: Handover<'a>,
    /// Beats at every entry of a directory: a walk may be long.
    pub(super) heartbeat: Option<&'a Heartbeat>,
    /// Whether a half-written file gets time to become complete.
    pub(super) waits_for_writers: bool,
    pub(super) place: Place,
    /// What has to be read again soon, because somebody is writing it.
    pub(super) again: Work,
    /// Files with several names that have changed.
    pub(super) changed: Vec<Inode>,
}

/// Where in the directory a walk is.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The directories from the root to the present one, to find links that lead back.
    open: Vec<Inode>,
}

/// Why a walk ends early.
#[derive(Debug)]
pub(super) enum ScanEnd {
    /// The root cannot be read.
    Root(io::Error),
    /// The mirror has ended.
    Closed(Closed),
}

/// Why an entry is not read.
enum EntryEnd {
    Problem(EntryProblem),
    Closed(Closed),
}

/// Whether an entry is there that could not be read a moment ago.
enum Presence {
    There,
    Gone,
    /// It was missing: another one has taken its place since then.
    Back,
}

impl<T: Into<EntryProblem>> From<T> for EntryEnd {
    fn from(problem: T) -> Self {
        Self::Problem(problem.into())
    }
}

impl Scan<'_> {
    /// Walks through everything; returns what has to be read again soon.
    pub(super) fn all(mut self) -> Result<Work, ScanEnd> {
        self.known.begin_walk();
        self.known.aliases = Aliases::default();
        let root = self.root;
        let about = state_of_open(&root.fd()).map_err(|error| ScanEnd::Root(error.into()))?;
        match self.directory(root.fd(), &about, Path::new("")) {
            Ok(()) => {}
            Err(EntryEnd::Closed(closed)) => return Err(ScanEnd::Closed(closed)),
            Err(EntryEnd::Problem(EntryProblem::System(error))) => return Err(ScanEnd::Root(error)),
            Err(EntryEnd::Problem(problem)) => return Err(ScanEnd::Root(io::Error::other(problem))),
        }
        let key = self.keyspace.root().as_bytes();
        self.push_gone(key).and_then(|_| self.handover.end()).map_err(ScanEnd::Closed)?;
        Ok(self.again)
    }

    /// Walks through some paths, each with what is below it, and reads the other names of files that have changed; returns
    /// what has to be read again soon.
    pub(super) fn paths(mut self, paths: &[PathBuf]) -> Result<Work, Closed> {
        for path in paths {
            self.path(path)?;
        }
        self.other_names(paths)?;
        self.handover.end()?;
        Ok(self.again)
    }

    /// Reads the names of files that have changed but those at some paths.
    fn other_names(&mut self, read: &[PathBuf]) -> Result<(), Closed> {
        let mut left = MAX_PATHS;
        let mut files = HashSet::new();
        while let Some(file) = self.changed.pop() {
            if !files.insert(file) {
                continue;
            }
            let is_read = |name: &Path| read.binary_search_by(|path| (**path).cmp(name)).is_ok();
            let names = self.known.aliases.names_of(file).filter(|name| !is_read(name));
            let names: Vec<_> = names.take(left + 1).map(Path::to_owned).collect();
            if names.len() > left {
                self.again.add(Work::all());
                return Ok(());
            }
            left -= names.len();
            names.iter().try_for_each(|name| self.path(name))?;
        }
        Ok(())
    }

    /// Walks through a path. If a directory above it is none any more, that directory is what changed.
    fn path(&mut self, path: &Path) -> Result<(), Closed> {
        self.known.begin_walk();
        let root = self.root;
        let (mut dir, mut at): (Option<OwnedFd>, _) = (None, PathBuf::new());
        self.place = Place::default();
        self.place.open.extend(state_of_open(&root.fd()).ok().as_ref().map(Inode::of));
        let mut parts = path.components().peekable();
        while let Some(Component::Normal(part)) = parts.next() {
            at.push(part);
            let above = dir.as_ref().map_or(root.fd(), AsFd::as_fd);
            match parts.peek().and_then(|_| self.enter(above, &at)) {
                Some(entered) => dir = Some(entered),
                None => break,
            }
        }
        let dir = dir.as_ref().map_or(root.fd(), AsFd::as_fd);
        self.entry(dir, &at)?;
        let key = self.key_of(&at);
        let was_known = self.push_gone(&key)? > 0;
        if root.file_type(dir, &at) == Err(Errno::NOENT) {
            self.known.aliases.forget(&at);
            if !was_known {
                // It came and went since the last look: the mirror may hold a deletion on for that.
                self.handover.push(&key, None)?;
            }
        }
        Ok(())
    }

    /// Opens a directory on the way to a path, also one behind a link; `None` if it is none.
    fn enter(&mut self, above: BorrowedFd<'_>, path: &Path) -> Option<OwnedFd> {
        let opened = self.root.open_plain(above, path.file_name()?).ok().or_else(|| {
            let state = self.root.look(above, path).ok().filter(|state| state.is_directory)?;
            self.root.open_entry(above, path, &state).ok()
        });
        let (fd, about) = opened?;
        let inode = Inode::of(&about);
        // The entry itself is refused then.
        if self.place.open.contains(&inode) {
            return None;
        }
        self.place.open.push(inode);
        Some(fd)
    }

    /// Pushes the deletion of what this walk did not find at a key and below it; returns how much that is.
    fn push_gone(&mut self, key: &[u8]) -> Result<usize, Closed> {
        let gone = self.known.take_gone(key);
        gone.iter().try_for_each(|key| self.handover.push(key, None))?;
        Ok(gone.len())
    }

    /// The key of a path that is relative to the root.
    fn key_of(&self, path: &Path) -> Vec<u8> {
        [self.keyspace.root().as_bytes(), path.as_os_str().as_bytes()].concat()
    }

    /// Walks through one directory, whose path is relative to the root.
    fn directory(&mut self, dir: BorrowedFd<'_>, about: &Statx, path: &Path) -> Result<(), EntryEnd> {
        self.place.open.push(Inode::of(about));
        let walked = self.entries(dir, path);
        self.place.open.pop();
        walked
    }

    fn entries(&mut self, dir: BorrowedFd<'_>, path: &Path) -> Result<(), EntryEnd> {
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !is_passed_over(name) {
                self.entry(dir, &path.join(OsStr::from_bytes(name))).map_err(EntryEnd::Closed)?;
            }
        }
        Ok(())
    }

    /// Reads one entry of a directory, or notes why it cannot be read.
    fn entry(&mut self, dir: BorrowedFd<'_>, path: &Path) -> Result<(), Closed> {
        let mut tries = 0;
        loop {
            self.heartbeat.iter().for_each(|heartbeat| heartbeat.beat());
            tries += 1;
            let problem = match self.root.look(dir, path) {
                Ok(state) => match self.read(dir, path, &state) {
                    Ok(()) => return Ok(()),
                    Err(EntryEnd::Closed(closed)) => return Err(closed),
                    Err(EntryEnd::Problem(problem)) => problem,
                },
                Err(problem) => problem,
            };
            match self.presence(dir, path, &problem) {
                Presence::There => return self.refuse(path, &problem),
                Presence::Gone => return Ok(()),
                Presence::Back if tries < MAX_TRIES => {}
                Presence::Back => {
                    self.again.add(Work::path(path.to_owned()));
                    return self.keep(&self.key_of(path));
                }
            }
        }
    }

    /// Whether an entry that could not be read is there.
    fn presence(&self, dir: BorrowedFd<'_>, path: &Path, problem: &EntryProblem) -> Presence {
        let EntryProblem::System(error) = problem else { return Presence::There };
        match self.root.file_type(dir, path) {
            Err(Errno::NOENT) => Presence::Gone,
            // A link that leads nowhere is missing nothing but its target.
            Ok(FileType::Symlink) | Err(_) => Presence::There,
            Ok(_) if error.kind() == io::ErrorKind::NotFound => Presence::Back,
            Ok(_) => Presence::There,
        }
    }

    /// Reads an entry that was looked at.
    fn read(&mut self, dir: BorrowedFd<'_>, path: &Path, state: &EntryState) -> Result<(), EntryEnd> {
        if state.is_link {
            self.known.aliases.add_link(path);
        }
        if !state.is_directory {
            return self.file(dir, path, state);
        }
        if self.place.open.contains(&Inode::of(&state.about)) {
            return Err(EntryProblem::Circle.into());
        }
        if self.place.open.len() > MAX_LEVELS {
            return Err(EntryProblem::TooDeep.into());
        }
        let (fd, about) = self.root.open_entry(dir, path, state)?;
        self.directory(fd.as_fd(), &about, path)
    }

    /// Reads a file, unless it is as it was when it was read before.
    fn file(&mut self, dir: BorrowedFd<'_>, path: &Path, state: &EntryState) -> Result<(), EntryEnd> {
        let key = self.key_of(path);
        let has_several_names = state.about.stx_nlink > 1;
        let inode = Inode::of(&state.about);
        if has_several_names {
            self.known.aliases.add_name(inode, path);
        }
        if self.known.find(&key, Stamp::of(&state.about)) {
            return Ok(());
        }
        if has_several_names {
            self.changed.push(inode);
        }
        let (fd, about) = self.root.open_entry(dir, path, state)?;
        let mut file = File::from(fd);
        let mut value = Vec::new();
        if about.stx_size <= MAX_VALUE_OCTETS {
            file.by_ref().take(MAX_VALUE_OCTETS + 1).read_to_end(&mut value)?;
        }
        let len = about.stx_size.max(value.len() as u64);
        if len > MAX_VALUE_OCTETS {
            return Err(EntryProblem::TooLarge { len, max: MAX_VALUE_OCTETS }.into());
        }
        let stamp = Stamp::of(&about);
        let age = age_of(&about);
        let is_settled =
            Stamp::of(&state_of_open(&file)?) == stamp && age.is_none_or(|age| age >= CLOCK_TICK);
        let is_half_written = self.is_half_written(&key, &value, age);
        if !is_settled || is_half_written {
            self.again.add(Work::path(path.to_owned()));
        }
        if is_half_written {
            return self.keep(&key).map_err(EntryEnd::Closed);
        }
        self.known.put(&key, is_settled.then_some(stamp));
        self.handover.push(&key, Some(value)).map_err(EntryEnd::Closed)
    }

    /// Keeps what is known of a file that somebody is writing. If that is nothing, as after a deletion, the mirror may hold
    /// the deletion on.
    fn keep(&mut self, key: &[u8]) -> Result<(), Closed> {
        if self.known.keep(key) { Ok(()) } else { self.handover.push(key, None) }
    }

    /// Whether a file cannot be used, and changed so lately that somebody may be writing it.
    fn is_half_written(&self, key: &[u8], value: &[u8], age: Option<Duration>) -> bool {
        let is_young = self.waits_for_writers && age.is_some_and(|age| age < HALF_WRITTEN_AGE);
        is_young
            && match self.keyspace.target_of(key) {
                Ok(KeyTarget::Service { .. }) => Service::from_json(value).is_err(),
                Ok(KeyTarget::Config) => serde_json::from_slice::<serde::de::IgnoredAny>(value).is_err(),
                Ok(KeyTarget::Accept) | Err(_) => false,
            }
    }

    /// Notes why an entry cannot be read.
    fn refuse(&mut self, path: &Path, problem: &EntryProblem) -> Result<(), Closed> {
        if matches!(problem, EntryProblem::System(_)) {
            // The target of a link may come without a notification of the link.
            self.known.aliases.add_link(path);
            self.known.keep(&self.key_of(path));
        }
        let key = self.key_of(path);
        let reason = format!("cannot be read: {problem} ({})", self.root.path().join(path).display());
        if self.known.note_problem(&key, &reason) { self.handover.refuse(&key, reason) } else { Ok(()) }
    }
}

/// How long ago a file was modified; `None` if that is in the future.
fn age_of(about: &Statx) -> Option<Duration> {
    let (seconds, nanos) = (u64::try_from(about.stx_mtime.tv_sec).ok()?, about.stx_mtime.tv_nsec);
    (SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)).elapsed().ok()
}
