//! The record tree: every service of the site by name, as one immutable value.
//!
//! A [`Tree`] is cheap to clone: clones share all nodes, and a change copies only the nodes between
//! the root and the place that changed. The writer keeps one tree, changes it, and publishes clones;
//! readers look up in a clone without a lock and never see half a change.
//!
//! A [tracked](Tree::tracked) tree keeps a version for each name, which every change at or below the name raises: an
//! answer that was made from some names stays valid until one of their versions changes.

mod children;
mod data_kinds;
mod entry;
mod label;
mod layered_entries;
mod lookup;
mod node;
mod versions;

pub use data_kinds::DataKinds;
pub use entry::{Entry, Layer, Lease};
pub use lookup::{Found, MAX_FOUND, MAX_VISITED, Match, TreePath};
pub use node::Node;
pub use versions::{VersionSlot, Versions};

use crate::service::Key;
use std::ops::ControlFlow;
use std::sync::Arc;

/// All services by name; see the module's text.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    root: Arc<Node>,
    names: usize,
    serial: u32,
    versions: Option<Arc<Versions>>,
    version: u64,
}

impl Tree {
    /// A tree without a name.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty tree that keeps versions. Only one of its clones may be changed.
    pub fn tracked() -> Self {
        Self { versions: Some(Arc::default()), ..Self::default() }
    }

    /// The versions of names; `None` if the tree is not tracked.
    pub fn versions(&self) -> Option<&Arc<Versions>> {
        self.versions.as_ref()
    }

    /// The version of this tree: the number of changes up to its last one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Puts an entry on a key of a layer; `false` if the same stood there before.
    ///
    /// An equal entry is left in place, so what was made from it stays valid.
    pub fn put(&mut self, key: &Key, layer: Layer, entry: Entry) -> bool {
        if self.has(key, layer, &entry) {
            return false;
        }
        let fresh = Arc::make_mut(&mut self.root).put(&mut key.labels(), layer, Arc::new(entry));
        self.names += usize::from(fresh);
        self.note(key);
        true
    }

    /// Whether an equal entry stands on a key of a layer.
    pub fn has(&self, key: &Key, layer: Layer, entry: &Entry) -> bool {
        let present = self.node(key.labels()).and_then(|node| node.entry_of(layer));
        present.is_some_and(|present| present.same(entry))
    }

    /// Takes the entry of a layer off a key; `false` if there is none.
    pub fn remove(&mut self, key: &Key, layer: Layer) -> bool {
        if self.node(key.labels()).and_then(|node| node.entry_of(layer)).is_none() {
            return false;
        }
        let gone = Arc::make_mut(&mut self.root).remove(&mut key.labels(), layer);
        self.names -= usize::from(gone);
        self.note(key);
        true
    }

    fn note(&mut self, key: &Key) {
        self.version = self.versions.as_ref().map_or(0, |versions| versions.note(key));
    }

    /// Calls `each` for the entries of a layer in key order, until it breaks.
    pub fn entries(&self, layer: Layer, mut each: impl FnMut(Key, &Entry) -> ControlFlow<()>) {
        let mut path = Vec::new();
        let _ = self.root.walk(&mut path, &mut |path, node| match node.entry_of(layer) {
            Some(entry) => each(Key::from_labels(path.iter().copied()), entry),
            None => ControlFlow::Continue(()),
        });
    }

    /// The number of keys with a service.
    pub fn names(&self) -> usize {
        self.names
    }

    /// Unix time of the last change of data: the serial of the zone's SOA.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Dates the last change. Never goes back, for a serial must not (RFC 1982).
    pub fn set_serial(&mut self, serial: u32) {
        if serial > self.serial {
            self.serial = serial;
            self.version = self.versions.as_ref().map_or(0, |versions| versions.tick());
        }
    }

    /// The node at the labels, root first, whether or not a service hangs there.
    pub fn node<'l>(&self, labels: impl Iterator<Item = &'l [u8]>) -> Option<&Arc<Node>> {
        let mut node = &self.root;
        for label in labels {
            node = node.child(label)?;
        }
        Some(node)
    }
}

#[cfg(test)]
mod tests;
