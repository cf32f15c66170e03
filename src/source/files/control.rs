//! What the follower of a directory is asked to do: requests of other threads and notifications of the system.
//!
//! Requests of one kind are one request, however many there are, so nothing queues up.

use crate::lock::lock;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of paths that are read one by one; with more the whole directory is read.
pub(super) const MAX_PATHS: usize = 1_000;

/// Where other threads ask the follower of a directory for something. Clones share the requests.
#[derive(Clone, Debug, Default)]
pub struct FilesControl(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    pending: Mutex<Pending>,
    changed: Condvar,
}

/// The requests that wait.
#[derive(Debug, Default)]
struct Pending {
    stop: bool,
    wake: bool,
    work: Work,
    /// What is to be read once more after the next reading.
    again: Work,
    watch_problem: Option<String>,
    /// How often the whole directory was asked for, how often when work was taken last, and how often when all was read.
    asked: u64,
    taken: u64,
    read: u64,
}

/// What is to be read; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Everything.
    all: bool,
    /// What links lead to.
    links: bool,
    /// What changed, relative to the directory.
    paths: BTreeSet<PathBuf>,
    /// What changed and is not read itself, but may be another name of what is.
    hidden: BTreeSet<PathBuf>,
    /// Whether a file came, as against went.
    has_come: bool,
}

/// What a wait ended with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// End.
    Stop,
    /// Beat for the watchdog; nothing else.
    Wake,
    /// Read this.
    Read(Work),
    /// The time is over.
    Timeout,
}

impl FilesControl {
    /// Asks for the whole directory to be read: something changed, or may have changed. Returns a number for
    /// [`has_read`](Self::has_read).
    pub fn rescan(&self) -> u64 {
        let mut number = 0;
        self.request(|pending| {
            pending.work.add(Work::all());
            pending.asked += 1;
            number = pending.asked;
        });
        number
    }

    /// Whether the whole directory was read since [`rescan`](Self::rescan) returned a number, and no file of it is half-written.
    pub fn has_read(&self, number: u64) -> bool {
        lock(&self.0.pending).read >= number
    }

    /// Whether somebody waits for what was taken to be read.
    pub(super) fn is_awaited(&self) -> bool {
        let pending = lock(&self.0.pending);
        pending.read < pending.taken
    }

    /// Notes that all that was taken is read.
    pub(super) fn note_read(&self) {
        let mut pending = lock(&self.0.pending);
        pending.read = pending.taken;
    }

    /// Asks for a beat for the watchdog.
    pub fn wake(&self) {
        self.request(|pending| pending.wake = true);
    }

    /// Asks the follower to end.
    pub fn stop(&self) {
        self.request(|pending| pending.stop = true);
    }

    /// Asks for what changed to be read.
    pub(super) fn read(&self, work: Work) {
        self.request(|pending| pending.work.add(work));
    }

    /// Asks for something to be read once more, after the next reading.
    pub(super) fn read_again(&self, work: Work) {
        self.request(|pending| pending.again.add(work));
    }

    /// What was asked for by [`read_again`](Self::read_again) since the last call.
    pub(super) fn take_again(&self) -> Work {
        std::mem::take(&mut lock(&self.0.pending).again)
    }

    /// Notes that the system does not notify of changes any more, and why.
    pub(super) fn watch_failed(&self, reason: String) {
        self.request(|pending| {
            pending.watch_problem = Some(reason);
            pending.work.add(Work::all());
        });
    }

    /// Why the system does not notify of changes any more, if that was noted since the last call.
    pub(super) fn take_watch_problem(&self) -> Option<String> {
        lock(&self.0.pending).watch_problem.take()
    }

    /// Waits for a request, until a time.
    pub(super) fn wait(&self, until: Instant) -> Request {
        let mut pending = lock(&self.0.pending);
        loop {
            if pending.stop {
                return Request::Stop;
            }
            if !pending.work.is_empty() {
                pending.taken = pending.asked;
                return Request::Read(std::mem::take(&mut pending.work));
            }
            if std::mem::take(&mut pending.wake) {
                return Request::Wake;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Request::Timeout;
            }
            let waited = self.0.changed.wait_timeout(pending, left);
            pending = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn request(&self, note: impl FnOnce(&mut Pending)) {
        note(&mut lock(&self.0.pending));
        self.0.changed.notify_all();
    }
}

impl Work {
    /// Everything.
    pub(super) fn all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// What links lead to, which may change without a notification of the links.
    pub(super) fn links() -> Self {
        Self { links: true, ..Self::default() }
    }

    /// A path that is passed over, relative to the directory.
    pub(super) fn hidden(path: PathBuf) -> Self {
        Self { hidden: BTreeSet::from([path]), ..Self::default() }
    }

    /// A path, relative to the directory; the directory itself is everything.
    pub(super) fn path(path: PathBuf) -> Self {
        if path.as_os_str().is_empty() {
            return Self::all();
        }
        Self { paths: BTreeSet::from([path]), ..Self::default() }
    }

    /// Adds other work.
    pub(super) fn add(&mut self, other: Self) {
        self.all |= other.all;
        self.links |= other.links;
        self.paths.extend(other.paths);
        self.hidden.extend(other.hidden);
        self.has_come |= other.has_come;
        if self.paths.len() + self.hidden.len() > MAX_PATHS {
            *self = Self::all();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.all && !self.links && self.paths.is_empty() && self.hidden.is_empty()
    }

    /// Notes whether a file came.
    pub(super) fn set_come(&mut self, has_come: bool) {
        self.has_come = has_come;
    }

    /// Whether a file came, as against went.
    pub(super) fn has_come(&self) -> bool {
        self.has_come
    }

    /// Whether paths are to be read.
    pub(super) fn has_paths(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Whether everything is to be read.
    pub(super) fn is_all(&self) -> bool {
        self.all
    }

    /// Whether what links lead to is to be read.
    pub(super) fn has_links(&self) -> bool {
        self.links
    }

    /// The paths that changed and are passed over.
    pub(super) fn hidden_paths(&self) -> impl Iterator<Item = &Path> {
        self.hidden.iter().map(PathBuf::as_path)
    }

    /// The paths that are to be read, and others, in order and without those below others of them.
    pub(super) fn into_paths(mut self, others: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
        self.paths.extend(others);
        // In the order of paths, those below a path follow it.
        let mut paths: Vec<PathBuf> = Vec::new();
        for path in self.paths {
            if !paths.last().is_some_and(|above: &PathBuf| path.starts_with(above)) {
                paths.push(path);
            }
        }
        paths
    }
}

/// Whether a name is passed over: hidden files, and what editors leave behind (`x~`, `#x#`).
pub(super) fn is_passed_over(name: &[u8]) -> bool {
    name.starts_with(b".") || name.ends_with(b"~") || (name.starts_with(b"#") && name.ends_with(b"#"))
}

/// The work that a change of a path makes, if the path is in the directory `root`.
pub(super) fn work_of_change(root: &Path, changed: &Path) -> Work {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = changed.strip_prefix(root) else { return Work::all() };
    // Nothing is read below a name that is passed over, but links may lead there, and other names may be of the same file.
    if path.components().any(|part| is_passed_over(part.as_os_str().as_bytes())) {
        return Work::hidden(path.to_owned());
    }
    Work::path(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(paths: &[&str]) -> Work {
        let mut work = Work::default();
        paths.iter().for_each(|path| work.add(Work::path(path.into())));
        work
    }

    #[test]
    fn requests_of_one_kind_are_one() {
        let control = FilesControl::default();
        let soon = || Instant::now() + Duration::from_millis(1);
        assert_eq!(control.wait(soon()), Request::Timeout);
        for _ in 0..3 {
            control.wake();
            control.read(paths(&["a"]));
            control.read(paths(&["b"]));
        }
        assert_eq!(control.wait(soon()), Request::Read(paths(&["a", "b"])));
        assert_eq!(control.wait(soon()), Request::Wake);
        assert_eq!(control.wait(soon()), Request::Timeout);
        for path in 0..=MAX_PATHS {
            control.read(paths(&[&path.to_string()]));
        }
        assert_eq!(control.wait(soon()), Request::Read(Work::all()), "too many paths");
        control.rescan();
        control.stop();
        assert_eq!(control.wait(soon()), Request::Stop);
    }

    #[test]
    fn a_request_ends_a_wait() {
        let control = FilesControl::default();
        let waiting = control.clone();
        let waited = std::thread::spawn(move || waiting.wait(Instant::now() + Duration::from_secs(60)));
        control.stop();
        assert_eq!(waited.join().expect("a request"), Request::Stop);
    }

    #[test]
    fn what_is_below_a_changed_path_is_not_read_twice() {
        let read = paths(&["a/b", "a", "a-b", "c/d", "a/b/c", "c/d/e", "c/e"]).into_paths(std::iter::empty());
        assert_eq!(read, ["a", "a-b", "c/d", "c/e"].map(PathBuf::from));
    }

    #[test]
    fn a_change_makes_work_in_the_directory() {
        let of = |path: &str| work_of_change(Path::new("/r"), Path::new(path));
        assert_eq!(of("/r/a/b"), paths(&["a/b"]));
        assert_eq!(of("/r"), Work::all());
        assert_eq!(of("/elsewhere"), Work::all());
        for passed_over in ["..data", "a/.b/c", "x~", "#x#"] {
            assert_eq!(of(&format!("/r/{passed_over}")), Work::hidden(passed_over.into()));
        }
    }
}
