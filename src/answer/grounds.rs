//! What an answer stands on: the parts of the tree that were read for it, time, and chance.

use super::{View, same_name};
use crate::tree::{DataKinds, Entry, Found, Node, Path, Tree, VersionSlot};
use hickory_proto::rr::Name;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// Parts of the tree that are noted for one answer; one that takes more is not kept.
const MOST_PARTS: usize = 128;

/// Notes what an answer is made from, so that it can be given again as long as that is the same.
#[derive(Debug, Default)]
pub struct Grounds {
    parts: RefCell<Vec<VersionSlot>>,
    too_many: Cell<bool>,
    serial: Cell<bool>,
    lease: Cell<bool>,
    choice: Cell<bool>,
}

impl Grounds {
    /// The parts of the tree that were read; `None` if the same answer cannot be given twice.
    pub fn into_parts(self) -> Option<Vec<VersionSlot>> {
        let once = self.choice.get() || self.too_many.get();
        (!once).then(|| self.parts.into_inner())
    }

    /// Whether the serial of the SOA is part of it.
    pub fn has_serial(&self) -> bool {
        self.serial.get()
    }

    /// Whether a TTL counts down, because the service goes with its lease.
    pub fn has_lease(&self) -> bool {
        self.lease.get()
    }

    /// Notes a part of the tree.
    pub fn note(&self, part: VersionSlot) {
        let mut parts = self.parts.borrow_mut();
        if parts.contains(&part) {
            return;
        }
        if parts.len() < MOST_PARTS {
            parts.push(part);
        } else {
            self.too_many.set(true);
        }
    }

    /// Notes that chance chose which records there are, and not only their order.
    pub(super) fn note_choice(&self) {
        self.choice.set(true);
    }

    /// Notes that a TTL comes from a lease.
    pub(super) fn note_lease(&self) {
        self.lease.set(true);
    }

    /// Notes what it took to know the types of a name; `None` if that was too much. Neither leases nor chance matter there.
    pub(super) fn join(&self, parts: Option<&[VersionSlot]>) {
        match parts {
            Some(parts) => parts.iter().for_each(|part| self.note(*part)),
            None => self.too_many.set(true),
        }
    }

    /// The parts of the tree that were read, whatever chance did; `None` if they are too many.
    pub(super) fn all_parts(&self) -> Option<Box<[VersionSlot]>> {
        (!self.too_many.get()).then(|| self.parts.borrow().as_slice().into())
    }
}

/// Reading the tree: every way to it that an answer takes notes what it read.
impl<'a> View<'a> {
    /// See [`Tree::services`].
    pub(super) fn services(
        &self,
        path: &Path,
        wanted: DataKinds,
        enough: impl FnMut(&'a Entry) -> bool,
    ) -> Found<'a> {
        self.grounds.note(path.slot());
        self.tree.services(path, wanted, enough)
    }

    /// See [`Tree::leaf`].
    pub(super) fn leaf(&self, path: &Path) -> Option<&'a Arc<Entry>> {
        self.grounds.note(path.slot());
        self.tree.leaf(path)
    }

    /// See [`Tree::exact`]; wildcards in the path are labels like any other.
    pub(super) fn exact(&self, path: &Path) -> Option<&'a Arc<Node>> {
        self.grounds.note(path.slot());
        self.tree.exact(path)
    }

    /// Whether a name is `local.dns.<domain>`, and the tree has names below it: then it exists, whatever the name has that
    /// is answered for it (RFC 8020).
    pub(super) fn has_names_below_local(&self, name: &Name) -> bool {
        let local = self.zone.local_name();
        self.zone.local.is_some()
            && same_name(local, name)
            && self.exact(&Path::new(local)).is_some_and(|node| !node.is_leaf())
    }

    /// See [`Tree::serial`].
    pub(super) fn serial(&self) -> u32 {
        self.grounds.serial.set(true);
        Tree::serial(self.tree)
    }
}
