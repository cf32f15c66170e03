//! The thread that follows a directory: when it is read again.

use super::Files;
use super::scan;
use crate::heartbeat::Heartbeat;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Quiet time after a notification before the directory is read, so that a burst is read once.
const SETTLE_PAUSE: Duration = Duration::from_millis(10);

/// When the directory is read without a notification: there is none for directories that a mount or a link brings.
const RESCAN_PERIOD: Duration = Duration::from_secs(30);

/// The same where the system gives no notifications.
const POLL_PERIOD: Duration = Duration::from_secs(2);

/// How soon a half-written file is read again.
const HALF_WRITTEN_PAUSE: Duration = Duration::from_millis(200);

/// What the thread that follows a directory is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesCommand {
    /// Read the directory: something changed, or may have changed.
    Rescan,
    /// Beat for the watchdog; nothing else.
    Wake,
    /// End.
    Stop,
}

/// The watch of a directory, as far as the system gives notifications.
struct DirectoryWatch {
    watcher: Option<RecommendedWatcher>,
    /// The directory that is watched; `None` while there is none.
    watched: Option<(u64, u64)>,
}

impl Files {
    /// Follows the directory until the mirror ends or [`FilesCommand::Stop`].
    pub fn run(mut self, heartbeat: Heartbeat) {
        self.heartbeat = Some(heartbeat);
        let mut watch = DirectoryWatch::new(&self);
        loop {
            watch.renew(&self);
            let Ok(rescan_soon) = self.read() else { return };
            let pause = match (rescan_soon, watch.watched.is_some()) {
                (true, _) => HALF_WRITTEN_PAUSE,
                (false, true) => RESCAN_PERIOD,
                (false, false) => POLL_PERIOD,
            };
            if self.wait(pause) == FilesCommand::Stop {
                return;
            }
        }
    }

    /// Waits until it is time to read the directory, or to stop.
    fn wait(&self, max_pause: Duration) -> FilesCommand {
        let end = Instant::now() + max_pause;
        let beat = || self.heartbeat.iter().for_each(Heartbeat::beat);
        loop {
            beat();
            match self.received.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(FilesCommand::Wake) => {}
                Ok(FilesCommand::Rescan) => break,
                Ok(FilesCommand::Stop) => return FilesCommand::Stop,
                Err(_) => return FilesCommand::Rescan,
            }
        }
        // A burst is read once, but a burst without end is read as well.
        let end = Instant::now() + 5 * SETTLE_PAUSE;
        while Instant::now() < end {
            match self.received.recv_timeout(SETTLE_PAUSE) {
                Ok(FilesCommand::Stop) => return FilesCommand::Stop,
                Ok(_) => beat(),
                Err(_) => break,
            }
        }
        FilesCommand::Rescan
    }
}

impl DirectoryWatch {
    /// A watch of nothing yet, which sends [`FilesCommand::Rescan`] at each notification.
    fn new(files: &Files) -> Self {
        let commands: mpsc::Sender<_> = files.commands();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the files is no change of them.
            if !event.is_ok_and(|event| is_read(event.kind)) {
                let _ = commands.send(FilesCommand::Rescan);
            }
        });
        let watcher = match watcher {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                log::warn!("{}: no notifications, looking every 2 s: {error}", files.root.display());
                None
            }
        };
        Self { watcher, watched: None }
    }

    /// Watches the directory that is at the path now: another may have taken the place of the one before.
    fn renew(&mut self, files: &Files) {
        let Some(watcher) = &mut self.watcher else { return };
        let root = scan::identity(&files.root);
        if self.watched != root {
            // The watch of a directory that is gone is gone with it, which is an error here.
            let _ = watcher.unwatch(&files.root);
            let watch = watcher.watch(&files.root, RecursiveMode::Recursive);
            self.watched = if watch.is_ok() { root } else { None };
        }
    }
}

/// Whether an event is an access to a file that did not write it.
fn is_read(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(kind) if !matches!(kind, AccessKind::Close(AccessMode::Write)))
}
