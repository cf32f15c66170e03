//! The system's notifications of changes in a directory (inotify), as far as it gives any.

use super::FilesSettings;
use super::LinkPolicy;
use super::control::{FilesControl, Work, work_of_change};
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Config, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Time from one try to be notified to the next, after one that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(30);

/// The watch of a directory and all directories below it.
pub(super) struct DirectoryWatch {
    /// The directory, as an absolute path, which notifications begin with.
    directory: PathBuf,
    links: LinkPolicy,
    control: FilesControl,
    watcher: Option<RecommendedWatcher>,
    /// Device and inode of the directory that is watched; `None` while there is none.
    watched: Option<(u64, u64)>,
    /// When to try again, after a try that failed.
    retry: Option<Instant>,
}

impl DirectoryWatch {
    /// A watch of nothing yet, which asks by `control` for what changed to be read.
    pub(super) fn new(settings: &FilesSettings, control: &FilesControl) -> Self {
        let directory =
            std::path::absolute(&settings.directory).unwrap_or_else(|_| settings.directory.clone());
        let (links, control) = (settings.links, control.clone());
        Self { directory, links, control, watcher: None, watched: None, retry: None }
    }

    /// Whether changes are notified.
    pub(super) fn is_on(&self) -> bool {
        self.watched.is_some()
    }

    /// Watches the directory that is at the path now: another may have taken the place of the one before, and the system
    /// may have ended the watch. Returns whether that is a new watch.
    pub(super) fn renew(&mut self) -> bool {
        if let Some(reason) = self.control.take_watch_problem() {
            self.fail(&reason);
        }
        let present = identity(&self.directory);
        if self.watched == present || self.retry.is_some_and(|retry| Instant::now() < retry) {
            return false;
        }
        // The watch of a directory that is gone is gone with it.
        self.end();
        if present.is_none() {
            return false;
        }
        match self.begin() {
            Ok(watcher) => {
                (self.watcher, self.watched) = (Some(watcher), present);
                if self.retry.take().is_some() {
                    log::info!("{}: changes are notified again", self.directory.display());
                }
                true
            }
            Err(error) => {
                self.fail(&error.to_string());
                false
            }
        }
    }

    fn begin(&self) -> notify::Result<RecommendedWatcher> {
        let (directory, control) = (self.directory.clone(), self.control.clone());
        let handle = move |event| take(event, &directory, &control);
        // Each directory inside has its own watch, by its own path. What links bring from outside is watched by the link.
        let config = Config::default().with_follow_symlinks(self.links == LinkPolicy::Anywhere);
        let mut watcher = RecommendedWatcher::new(handle, config)?;
        watcher.watch(&self.directory, RecursiveMode::Recursive)?;
        Ok(watcher)
    }

    /// Notes, and logs once, that changes are not notified.
    fn fail(&mut self, reason: &str) {
        self.end();
        if self.retry.is_none() {
            log::warn!(
                "{}: changes are not notified, so the directory is read every few seconds: {reason} (sysctl \
                 fs.inotify.max_user_watches, max_user_instances)",
                self.directory.display()
            );
        }
        self.retry = Some(Instant::now() + RETRY_PAUSE);
    }

    fn end(&mut self) {
        (self.watcher, self.watched) = (None, None);
    }
}

/// Takes a notification.
fn take(event: notify::Result<notify::Event>, directory: &Path, control: &FilesControl) {
    let event = match event {
        Ok(event) => event,
        Err(error) => return control.watch_failed(error.to_string()),
    };
    if event.need_rescan() || event.paths.is_empty() {
        control.rescan();
        return;
    }
    // Reading the files is no change of them.
    if is_read(event.kind) {
        return;
    }
    let mut work = Work::default();
    event.paths.iter().for_each(|path| work.add(work_of_change(directory, path)));
    work.set_come(is_arrival(event.kind) && work.has_paths());
    if event.kind == EventKind::Create(CreateKind::Folder) {
        // What comes into a new directory before it is watched is not notified.
        control.read_again(work.clone());
    }
    control.read(work);
}

/// Whether an event is an access to a file that did not write it.
fn is_read(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(kind) if !matches!(kind, AccessKind::Close(AccessMode::Write)))
}

/// Whether an event is the coming of a file, complete.
fn is_arrival(kind: EventKind) -> bool {
    let close = AccessKind::Close(AccessMode::Write);
    let rename = |mode| EventKind::Modify(ModifyKind::Name(mode));
    kind == EventKind::Access(close) || kind == rename(RenameMode::To) || kind == rename(RenameMode::Both)
}

/// Device and inode: what tells a directory from another at the same path.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::super::control::Request;
    use super::*;
    use notify::event::RemoveKind;

    fn work(watch: &DirectoryWatch) -> Option<Work> {
        match watch.control.wait(Instant::now() + Duration::from_secs(20)) {
            Request::Read(mut work) => {
                work.set_come(false);
                Some(work)
            }
            _ => None,
        }
    }

    #[test]
    fn changes_are_notified_by_their_paths() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = FilesSettings { directory: dir.path().join("r"), links: LinkPolicy::Inside };
        let mut watch = DirectoryWatch::new(&settings, &FilesControl::default());
        assert!(!watch.renew() && !watch.is_on(), "there is no directory");
        std::fs::create_dir_all(dir.path().join("r/a")).expect("directories");
        assert!(watch.renew() && watch.is_on() && !watch.renew());
        std::fs::write(dir.path().join("r/a/b"), "{}").expect("a file");
        assert_eq!(work(&watch), Some(Work::path("a/b".into())));
    }

    #[test]
    fn files_that_come_are_told_from_those_that_go() {
        use EventKind::{Access, Create, Modify, Remove};
        for (kind, has_come) in [
            (Create(CreateKind::File), false),
            (Access(AccessKind::Close(AccessMode::Write)), true),
            (Modify(ModifyKind::Name(RenameMode::From)), false),
            (Modify(ModifyKind::Name(RenameMode::To)), true),
            (Remove(RemoveKind::File), false),
        ] {
            let control = FilesControl::default();
            let event = notify::Event::new(kind).add_path("/r/a".into());
            take(Ok(event), Path::new("/r"), &control);
            let Request::Read(work) = control.wait(Instant::now()) else { panic!("{kind:?}: no work") };
            assert_eq!(work.has_come(), has_come, "{kind:?}");
        }
        let control = FilesControl::default();
        let kind = Access(AccessKind::Close(AccessMode::Write));
        take(Ok(notify::Event::new(kind).add_path("/r/.new".into())), Path::new("/r"), &control);
        let Request::Read(work) = control.wait(Instant::now()) else { panic!("no work") };
        assert!(!work.has_come(), "a file that is passed over does not count");
    }

    #[test]
    fn a_watch_that_fails_is_tried_again_later() {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = FilesSettings { directory: dir.path().to_owned(), links: LinkPolicy::Inside };
        let mut watch = DirectoryWatch::new(&settings, &FilesControl::default());
        assert!(watch.renew());
        watch.control.watch_failed("OS file watch limit reached.".to_owned());
        assert!(!watch.renew() && !watch.is_on());
        assert_eq!(work(&watch), Some(Work::all()));
        assert!(!watch.renew(), "not at once");
        watch.retry = Some(Instant::now());
        assert!(watch.renew() && watch.is_on());
    }
}
