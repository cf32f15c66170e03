//! Paths whose content may change without a notification: links, and files with several names.

use rustix::fs::Statx;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Device and inode: what tells a file from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Inode(u32, u32, u64);

impl Inode {
    /// The inode of a file's state.
    pub(super) fn of(about: &Statx) -> Self {
        Self(about.stx_dev_major, about.stx_dev_minor, about.stx_ino)
    }
}

/// The aliases that walks have found since the last walk through the whole directory began.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    links: BTreeSet<PathBuf>,
    /// The names of each file that has several, hidden names and those elsewhere left out.
    names: BTreeSet<(Inode, Box<Path>)>,
}

impl Aliases {
    /// Notes a link, or what else may come back without a notification.
    pub(super) fn add_link(&mut self, path: &Path) {
        self.links.insert(path.to_owned());
    }

    /// Forgets a path at which there is nothing any more: what comes there is notified.
    pub(super) fn forget(&mut self, path: &Path) {
        self.links.remove(path);
    }

    /// Notes one of several names of a file.
    pub(super) fn add_name(&mut self, inode: Inode, path: &Path) {
        self.names.insert((inode, path.into()));
    }

    /// All links.
    pub(super) fn links(&self) -> &BTreeSet<PathBuf> {
        &self.links
    }

    /// The names of a file.
    pub(super) fn names_of(&self, inode: Inode) -> impl Iterator<Item = &Path> {
        let names = self.names.range((inode, Path::new("").into())..);
        names.take_while(move |(of, _)| *of == inode).map(|(_, name)| &**name)
    }
}
