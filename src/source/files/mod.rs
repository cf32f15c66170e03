//! A directory as a store: paths are keys, files hold the values.
//!
//! The directory is read as a whole whenever something in it changed, and compared file by file with what was read
//! before. So nothing depends on the order or the completeness of the system's notifications (inotify). A file that is
//! being written gets time to become complete.

mod follow;
mod scan;

pub use follow::FilesCommand;

use crate::heartbeat::Heartbeat;
use crate::service::{KeyTarget, Keyspace, Service};
use crate::source::event::{Change, Event, MAX_CHANGES_PER_EVENT};
use crate::source::feed::{Closed, Feed};
use scan::{Scan, ScannedFile};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

/// Age up to which a file that cannot be read as a service is taken for half written.
const HALF_WRITTEN_AGE: Duration = Duration::from_secs(2);

/// A directory of services, followed on a thread of its own.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    keyspace: Keyspace,
    feed: Feed,
    /// The files that the mirror knows, by key.
    known: BTreeMap<Vec<u8>, ScannedFile>,
    /// The files and directories that could not be read at the last walk, by key, with the reason.
    problems: BTreeMap<Vec<u8>, String>,
    /// Whether the mirror has a listing of the directory, to which changes can be reported.
    is_listed: bool,
    /// Whether a half-written file gets time to become complete.
    waits_for_writers: bool,
    commands: mpsc::Sender<FilesCommand>,
    received: mpsc::Receiver<FilesCommand>,
    heartbeat: Option<Heartbeat>,
}

impl Files {
    /// The source for a directory.
    pub fn new(root: PathBuf, keyspace: Keyspace, feed: Feed) -> Self {
        let (commands, received) = mpsc::channel();
        Self {
            root,
            keyspace,
            feed,
            known: BTreeMap::new(),
            problems: BTreeMap::new(),
            is_listed: false,
            waits_for_writers: true,
            commands,
            received,
            heartbeat: None,
        }
    }

    /// Where other threads send commands.
    pub fn commands(&self) -> mpsc::Sender<FilesCommand> {
        self.commands.clone()
    }

    /// Reads the directory once and ends.
    ///
    /// # Errors
    /// The mirror has ended.
    pub fn read_once(mut self) -> Result<(), Closed> {
        self.waits_for_writers = false;
        self.read().map(|_| ())
    }

    /// Reads the directory and pushes the changes; returns whether it has to be read again soon.
    fn read(&mut self) -> Result<bool, Closed> {
        let mut scan = Scan::new(&self.root, &self.keyspace, &self.known, self.heartbeat.as_ref());
        if let Err(error) = scan.run() {
            // A directory that cannot be read is not an empty one: as soon as it can be read it is listed anew.
            self.known.clear();
            self.problems.clear();
            self.is_listed = false;
            let reason = format!("cannot read {}: {error}", self.root.display());
            self.feed.push_blocking(Event::Unreachable(reason))?;
            return Ok(false);
        }
        let Scan { mut found, problems, changing, .. } = scan;
        let half_written = self.put_off_half_written(&mut found);
        let mut changes = self.deletions(&found, &problems);
        for (key, file) in &mut found {
            if let Some(value) = file.value.take() {
                changes.push(Change { key: key.clone(), value: Some(value), lease: None });
            }
        }
        self.known = found;
        self.push(changes, problems)?;
        Ok(changing || half_written)
    }

    /// Puts what the mirror knows of half-written files in their place; returns whether there are any.
    fn put_off_half_written(&self, found: &mut BTreeMap<Vec<u8>, ScannedFile>) -> bool {
        let half_written: Vec<_> = found
            .iter()
            .filter(|(key, file)| self.is_half_written(key, file))
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

    /// Whether a file was read in this walk, cannot be used, and changed so lately that somebody may be writing it.
    fn is_half_written(&self, key: &[u8], file: &ScannedFile) -> bool {
        let Some(value) = &file.value else { return false };
        let is_young =
            self.waits_for_writers && file.modified.elapsed().is_ok_and(|age| age < HALF_WRITTEN_AGE);
        is_young
            && match self.keyspace.target_of(key) {
                Ok(KeyTarget::Service { .. }) => Service::from_json(value).is_err(),
                Ok(KeyTarget::Config) => serde_json::from_slice::<serde::de::IgnoredAny>(value).is_err(),
                Err(_) => false,
            }
    }

    /// Deletions of the keys whose files are gone, and of those whose problem went with the file.
    fn deletions(
        &self,
        found: &BTreeMap<Vec<u8>, ScannedFile>,
        problems: &BTreeMap<Vec<u8>, String>,
    ) -> Vec<Change> {
        let solved = self.problems.keys().filter(|key| !problems.contains_key(*key));
        let gone = self.known.keys().chain(solved).filter(|key| !found.contains_key(*key));
        gone.map(|key| Change { key: key.clone(), value: None, lease: None }).collect()
    }

    /// Pushes changes, or the first listing, and the problems of this walk.
    fn push(&mut self, changes: Vec<Change>, problems: BTreeMap<Vec<u8>, String>) -> Result<(), Closed> {
        if self.is_listed {
            for part in parts(changes) {
                self.feed.push_blocking(Event::Changed(part, None))?;
            }
        } else {
            self.feed.push_blocking(Event::ListBegin)?;
            for part in parts(changes) {
                self.feed.push_blocking(Event::Listed(part))?;
            }
            self.feed.push_blocking(Event::ListEnd(None))?;
            self.is_listed = true;
        }
        for (key, reason) in &problems {
            self.feed.push_blocking(Event::Refused { key: key.clone(), reason: reason.clone() })?;
        }
        self.problems = problems;
        Ok(())
    }
}

/// Changes in parts of the size of one event.
fn parts(mut changes: Vec<Change>) -> impl Iterator<Item = Vec<Change>> {
    std::iter::from_fn(move || {
        let rest = changes.split_off(changes.len().min(MAX_CHANGES_PER_EVENT));
        let part = std::mem::replace(&mut changes, rest);
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests;
