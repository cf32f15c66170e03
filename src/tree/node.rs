//! One name of the tree: what is announced there, and the names below it.

use super::children::Children;
use super::data_kinds::DataKinds;
use super::entry::{Entry, Layer};
use super::label::Label;
use super::layered_entries::LayeredEntries;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A node of the tree; immutable once published.
#[derive(Clone, Debug, Default)]
pub struct Node {
    label: Label,
    entries: LayeredEntries,
    children: Children,
    /// What a subtree answer can find here: this node and all below that no `_` label hides.
    visible: DataKinds,
}

/// What [`Node::walk`] calls: with the labels from the root, and the node they lead to.
type Visit<'f, 't> = dyn FnMut(&[&'t [u8]], &'t Node) -> ControlFlow<()> + 'f;

impl Node {
    pub(super) fn new(label: &[u8]) -> Self {
        Self { label: Label::new(label), ..Self::default() }
    }

    /// The label of this name, in lower case.
    pub fn label(&self) -> &[u8] {
        self.label.as_bytes()
    }

    /// The entry that shows: the one of the highest layer.
    pub fn entry(&self) -> Option<&Arc<Entry>> {
        self.entries.top()
    }

    /// The child with a label.
    pub fn child(&self, label: &[u8]) -> Option<&Arc<Self>> {
        self.children.find(label)
    }

    /// Whether there is no name below this one.
    pub fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    /// What a subtree answer can find from here on.
    pub fn visible(&self) -> DataKinds {
        self.visible
    }

    /// Calls `each` for the children in label order until it breaks.
    pub fn for_each_child<'t>(
        &'t self,
        each: &mut dyn FnMut(&'t Arc<Self>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.children.for_each(each)
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.label.is_hidden()
    }

    pub(super) fn entry_of(&self, layer: Layer) -> Option<&Arc<Entry>> {
        self.entries.of(layer)
    }

    /// Calls `each` for this node and all below it in key order, hidden ones as well.
    pub(super) fn walk<'t>(&'t self, path: &mut Vec<&'t [u8]>, each: &mut Visit<'_, 't>) -> ControlFlow<()> {
        each(path, self)?;
        self.for_each_child(&mut |child| {
            path.push(child.label());
            let flow = child.walk(path, each);
            path.pop();
            flow
        })
    }

    /// Puts an entry at the labels below; `true` if no entry showed there before.
    pub(super) fn put<'l>(
        &mut self,
        labels: &mut impl Iterator<Item = &'l [u8]>,
        layer: Layer,
        entry: Arc<Entry>,
    ) -> bool {
        let fresh = match labels.next() {
            None => {
                let fresh = self.entry().is_none();
                self.entries.put(layer, entry);
                fresh
            }
            Some(label) => self.children.change(label, |child| child.put(labels, layer, entry)),
        };
        self.refresh();
        fresh
    }

    /// Takes an entry off at the labels below; `true` if no entry shows there any more.
    pub(super) fn remove<'l>(&mut self, labels: &mut impl Iterator<Item = &'l [u8]>, layer: Layer) -> bool {
        let gone = match labels.next() {
            None => {
                self.entries.remove(layer);
                self.entry().is_none()
            }
            Some(label) => self.children.change(label, |child| child.remove(labels, layer)),
        };
        self.refresh();
        gone
    }

    /// A node without an entry and without children is no name.
    pub(super) fn is_vacant(&self) -> bool {
        self.entry().is_none() && self.children.is_empty()
    }

    fn refresh(&mut self) {
        let own = self.entry().map_or(DataKinds::NONE, |entry| DataKinds::of(entry));
        self.visible = own | self.children.visible();
    }
}
