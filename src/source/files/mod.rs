//! A directory as a store: paths are keys, files hold the values.
//!
//! The directory is read whole whenever something in it changed (inotify tells), and compared file by
//! file with what was read before, so nothing depends on the order or completeness of notifications.
//! A file that is being written is given time to become whole.

mod scan;

use crate::heartbeat::Heartbeat;
use crate::service::{KeyTarget, Keyspace, Service};
use crate::source::event::{Change, Event, MAX_CHANGES_PER_EVENT};
use crate::source::feed::{Closed, Feed};
use notify::{RecursiveMode, Watcher};
use scan::{Scan, Seen};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

/// Rest after the first notification, so that a burst is read once.
const SETTLE: Duration = Duration::from_millis(10);

/// When to look again without a notification: directories that a mount or a link brings are not told.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The same when notifications cannot be had.
const POLL: Duration = Duration::from_secs(2);

/// A file that makes no sense and changed less than this ago is taken as half written.
const HALF_WRITTEN: Duration = Duration::from_secs(2);

/// How soon to look at a half-written file again.
const RETRY: Duration = Duration::from_millis(200);

/// A directory of records, followed on a thread of its own.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    keyspace: Keyspace,
    feed: Feed,
    /// The files that the mirror knows, by key.
    known: BTreeMap<Vec<u8>, Seen>,
    /// What could not be read at the last walk.
    problems: BTreeMap<Vec<u8>, String>,
    listed: bool,
    /// Whether a half-written file is given time.
    patient: bool,
    commands: mpsc::Sender<FilesCommand>,
    received: mpsc::Receiver<FilesCommand>,
    heartbeat: Option<Heartbeat>,
}

/// What wakes the follower of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesCommand {
    /// Something changed, or may have.
    Rescan,
    /// Nothing: the follower is asked whether it moves.
    Wake,
    /// No more files are wanted.
    Stop,
}

impl Files {
    /// The source for a directory.
    pub fn new(root: PathBuf, keyspace: Keyspace, feed: Feed) -> Self {
        let (commands, received) = mpsc::channel();
        Self {
            commands,
            received,
            heartbeat: None,
            root,
            keyspace,
            feed,
            known: BTreeMap::new(),
            problems: BTreeMap::new(),
            listed: false,
            patient: true,
        }
    }

    /// What wakes it from other threads.
    pub fn commands(&self) -> mpsc::Sender<FilesCommand> {
        self.commands.clone()
    }

    /// Reads the directory once and ends.
    ///
    /// # Errors
    /// The mirror has ended.
    pub fn read_once(mut self) -> Result<(), Closed> {
        self.patient = false;
        self.read().map(|_| ())
    }

    /// Follows the directory until the mirror ends or [`FilesCommand::Stop`].
    pub fn run(mut self, heartbeat: Heartbeat) {
        self.heartbeat = Some(heartbeat);
        let told = self.commands.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the files does not count as a change of them.
            if !event
                .is_ok_and(|event| matches!(event.kind, notify::EventKind::Access(kind) if !is_write(kind)))
            {
                let _ = told.send(FilesCommand::Rescan);
            }
        });
        let mut watcher = match watcher {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                log::warn!("{}: no notifications, looking every 2 s: {error}", self.root.display());
                None
            }
        };
        // The directory that is watched: another may take its place.
        let mut watched = None;
        loop {
            if let Some(watcher) = &mut watcher {
                let root = scan::identity(&self.root);
                if watched != root {
                    // A watch of a directory that is gone is gone as well.
                    let _ = watcher.unwatch(&self.root);
                    let watch = watcher.watch(&self.root, RecursiveMode::Recursive);
                    watched = if watch.is_ok() { root } else { None };
                }
            }
            let Ok(half_written) = self.read() else { return };
            let wait = match (half_written, watched.is_some()) {
                (true, _) => RETRY,
                (false, true) => LOOK_AGAIN,
                (false, false) => POLL,
            };
            if self.wait(wait) == FilesCommand::Stop {
                return;
            }
        }
    }

    /// Waits until it is time to look, or to stop.
    fn wait(&self, most: Duration) -> FilesCommand {
        let end = Instant::now() + most;
        let moves = || self.heartbeat.iter().for_each(Heartbeat::beat);
        loop {
            moves();
            match self.received.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(FilesCommand::Wake) => {}
                Ok(FilesCommand::Rescan) => break,
                Ok(FilesCommand::Stop) => return FilesCommand::Stop,
                Err(_) => return FilesCommand::Rescan,
            }
        }
        // A burst is read once, but not put off for ever.
        let end = Instant::now() + 5 * SETTLE;
        while Instant::now() < end {
            match self.received.recv_timeout(SETTLE) {
                Ok(FilesCommand::Stop) => return FilesCommand::Stop,
                Ok(_) => moves(),
                Err(_) => break,
            }
        }
        FilesCommand::Rescan
    }

    /// Reads what changed and tells the mirror; says whether to look again soon.
    fn read(&mut self) -> Result<bool, Closed> {
        let mut scan = Scan::new(&self.root, &self.keyspace, &self.known, self.heartbeat.as_ref());
        if let Err(error) = scan.run() {
            // A directory that cannot be read is not an empty one: it is listed anew when it can.
            self.known.clear();
            self.problems.clear();
            self.listed = false;
            let reason = format!("cannot read {}: {error}", self.root.display());
            self.feed.push_blocking(Event::Unreachable(reason))?;
            return Ok(false);
        }
        let Scan { mut found, problems, changing, .. } = scan;
        let half_written = self.put_off(&mut found);
        let mut changes = self.gone(&found, &problems);
        for (key, seen) in &mut found {
            if let Some(value) = seen.fresh.take() {
                changes.push(Change { key: key.clone(), value: Some(value), lease: None });
            }
        }
        self.known = found;
        self.tell(changes, problems)?;
        Ok(changing || half_written)
    }

    /// Puts off files that look half written; says whether there are any.
    fn put_off(&self, found: &mut BTreeMap<Vec<u8>, Seen>) -> bool {
        let is_half_written = |key: &Vec<u8>, seen: &Seen| {
            seen.fresh.as_ref().is_some_and(|value| self.is_half_written(key, value, seen.modified))
        };
        let half_written: Vec<_> = found
            .iter()
            .filter(|(key, seen)| is_half_written(key, seen))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &half_written {
            match self.known.get(key) {
                Some(known) => found.insert(key.clone(), known.unread()),
                None => found.remove(key),
            };
        }
        !half_written.is_empty()
    }

    /// The keys that are gone, and those of troubles that are over.
    fn gone(&self, found: &BTreeMap<Vec<u8>, Seen>, problems: &BTreeMap<Vec<u8>, String>) -> Vec<Change> {
        let over = self.problems.keys().filter(|key| !problems.contains_key(*key));
        let gone = self.known.keys().chain(over).filter(|key| !found.contains_key(*key));
        gone.map(|key| Change { key: key.clone(), value: None, lease: None }).collect()
    }

    fn tell(&mut self, changes: Vec<Change>, problems: BTreeMap<Vec<u8>, String>) -> Result<(), Closed> {
        if self.listed {
            for part in parts(changes) {
                self.feed.push_blocking(Event::Changed(part, None))?;
            }
        } else {
            self.feed.push_blocking(Event::ListBegin)?;
            for part in parts(changes) {
                self.feed.push_blocking(Event::Listed(part))?;
            }
            self.feed.push_blocking(Event::ListEnd(None))?;
            self.listed = true;
        }
        for (key, reason) in &problems {
            self.feed.push_blocking(Event::Refused { key: key.clone(), reason: reason.clone() })?;
        }
        self.problems = problems;
        Ok(())
    }

    fn is_half_written(&self, key: &[u8], value: &[u8], modified: SystemTime) -> bool {
        let young = self.patient && modified.elapsed().is_ok_and(|age| age < HALF_WRITTEN);
        young
            && match self.keyspace.target_of(key) {
                Ok(KeyTarget::Service { .. }) => Service::from_json(value).is_err(),
                Ok(KeyTarget::Config) => serde_json::from_slice::<serde::de::IgnoredAny>(value).is_err(),
                Err(_) => false,
            }
    }
}

/// Changes in parts that the mirror takes one after another.
fn parts(mut changes: Vec<Change>) -> impl Iterator<Item = Vec<Change>> {
    std::iter::from_fn(move || {
        let rest = changes.split_off(changes.len().min(MAX_CHANGES_PER_EVENT));
        let part = std::mem::replace(&mut changes, rest);
        (!part.is_empty()).then_some(part)
    })
}

fn is_write(kind: notify::event::AccessKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    matches!(kind, AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests;
