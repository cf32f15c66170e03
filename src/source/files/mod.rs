//! A directory as a store: paths are keys, files hold the values.
//!
//! Notifications of the system (inotify) say what to read again; nothing depends on their order or completeness, because
//! the whole directory is read from time to time, and whenever they are in doubt. What was read is compared with what
//! was read before. A file that is being written gets time to become complete.

mod aliases;
mod control;
mod follow;
mod handover;
mod known;
mod root;
mod scan;
mod watch;

pub use control::FilesControl;
pub use root::LinkPolicy;

use crate::heartbeat::Heartbeat;
use crate::service::Keyspace;
use crate::source::event::Event;
use crate::source::feed::{Closed, Feed};
use control::{MAX_PATHS, Work};
use handover::Handover;
use known::Known;
use root::RecordsRoot;
use scan::{Place, Scan, ScanEnd};
use std::io;
use std::path::PathBuf;

/// A directory of services, followed on a thread of its own.
#[derive(Debug)]
pub struct Files {
    settings: FilesSettings,
    keyspace: Keyspace,
    feed: Feed,
    known: Known,
    /// Whether the mirror has a listing of the directory, to which changes can be reported.
    is_listed: bool,
    /// Whether a half-written file gets time to become complete.
    waits_for_writers: bool,
    control: FilesControl,
    heartbeat: Option<Heartbeat>,
}

/// Which directory is read, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesSettings {
    /// The directory.
    pub directory: PathBuf,
    /// Where links in it may lead.
    pub links: LinkPolicy,
}

impl Files {
    /// The source for a directory.
    pub fn new(settings: FilesSettings, keyspace: Keyspace, feed: Feed) -> Self {
        Self {
            settings,
            keyspace,
            feed,
            known: Known::default(),
            is_listed: false,
            waits_for_writers: true,
            control: FilesControl::default(),
            heartbeat: None,
        }
    }

    /// Where other threads ask for something.
    pub fn control(&self) -> FilesControl {
        self.control.clone()
    }

    /// Reads the directory once and ends.
    ///
    /// # Errors
    /// The mirror has ended.
    pub fn read_once(mut self) -> Result<(), Closed> {
        self.waits_for_writers = false;
        self.read(Work::all()).map(|_| ())
    }

    /// Reads what may have changed, and pushes the changes; returns what has to be read again soon.
    fn read(&mut self, work: Work) -> Result<Work, Closed> {
        let root = match RecordsRoot::open(&self.settings.directory, self.settings.links) {
            Ok(root) => root,
            Err(error) => return self.unreachable(&error),
        };
        let reads_links = work.has_links() && !self.known.aliases.links().is_empty();
        let is_all = work.is_all() || !self.is_listed || reads_links && self.reads_all_for_links();
        let changed = work.hidden_paths().filter_map(|path| root.inode_of_several_names(path)).collect();
        let links = self.known.aliases.links().iter().filter(|_| reads_links && !is_all);
        let paths = work.into_paths(links.cloned());
        let scan = Scan {
            root: &root,
            keyspace: &self.keyspace,
            known: &mut self.known,
            handover: Handover::begin(&self.feed, &self.keyspace, !self.is_listed)?,
            heartbeat: self.heartbeat.as_ref(),
            waits_for_writers: self.waits_for_writers,
            place: Place::default(),
            again: Work::default(),
            changed,
        };
        if !is_all {
            return scan.paths(&paths);
        }
        match scan.all() {
            Ok(again) => {
                self.is_listed = true;
                Ok(again)
            }
            Err(ScanEnd::Closed(closed)) => Err(closed),
            Err(ScanEnd::Root(error)) => self.unreachable(&error),
        }
    }

    /// Whether a walk through the whole directory is the way to find what changed behind links: beyond links that lead
    /// anywhere paths do not say it, and to read many links one by one takes longer.
    fn reads_all_for_links(&self) -> bool {
        self.settings.links == LinkPolicy::Anywhere || self.known.aliases.links().len() > MAX_PATHS
    }

    /// Reports that the directory cannot be read. It is not an empty one: as soon as it can be read it is listed anew.
    fn unreachable(&mut self, error: &io::Error) -> Result<Work, Closed> {
        self.known = Known::default();
        self.is_listed = false;
        let reason = format!("cannot read {}: {error}", self.settings.directory.display());
        self.feed.push_blocking(Event::Unreachable(reason))?;
        Ok(Work::default())
    }
}

#[cfg(test)]
mod tests;
