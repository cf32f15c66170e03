//! One name of the tree: the services on it, and the names below it.

use super::child_kinds::ChildKinds;
use super::children::{Child, Children};
use super::data_kinds::DataKinds;
use super::entry::{Entry, Layer};
use super::label::Label;
use super::layered_entries::{LayeredEntries, LayeredEntry};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A node of the tree. A published node never changes: the writer changes copies.
#[derive(Clone, Debug, Default)]
pub struct Node {
    label: Label,
    entries: LayeredEntries,
    /// `None` if there are none, as at nearly all nodes.
    children: Option<Arc<Children<Self>>>,
    /// The kinds of data of this node and of all nodes below it that no `_` label hides: what a subtree answer can find.
    visible: DataKinds,
    /// The kinds of data of this node and below it that `targetstrip` makes those of names above this node.
    lifted: DataKinds,
    /// How far above this node the highest of these names is, in labels.
    lift: u8,
}

/// What [`Node::walk`] calls with each node and its labels, root first.
type Visit<'f, 't> = dyn FnMut(&[&'t [u8]], &'t Node) -> ControlFlow<()> + 'f;

impl Node {
    /// The label of this name, in lower case.
    pub fn label(&self) -> &[u8] {
        self.label.as_bytes()
    }

    /// The entries that are served: those of the highest layer.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.served().iter().map(|layered| &layered.entry)
    }

    /// Whether the entries that are served are of the layer that is [leaving](Layer::LEAVING).
    pub(super) fn is_leaving(&self) -> bool {
        self.entries.served().first().is_some_and(|layered| layered.layer() == Layer::LEAVING)
    }

    /// Whether the entries that are served are of a layer above another one.
    pub(super) fn is_above(&self, layer: Layer) -> bool {
        self.entries.served().first().is_some_and(|layered| layered.layer() > layer)
    }

    /// The first of the entries that are served.
    pub fn entry(&self) -> Option<&Entry> {
        self.entries().next()
    }

    /// The child with a label.
    pub fn child(&self, label: &[u8]) -> Option<&Arc<Self>> {
        self.children.as_ref()?.find(label)
    }

    /// The names right below this name.
    pub(super) fn children(&self) -> Option<&Children<Self>> {
        self.children.as_deref()
    }

    /// Whether there is no name below this name.
    pub fn is_leaf(&self) -> bool {
        self.children.is_none()
    }

    /// The kinds of data that a subtree answer can find at this name and below it.
    pub fn visible(&self) -> DataKinds {
        self.visible
    }

    /// Calls `each` for the children in label order, hidden ones too, until it breaks.
    pub fn for_each_child<'t>(
        &'t self,
        each: &mut dyn FnMut(&'t Arc<Self>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.children.as_ref().map_or(ControlFlow::Continue(()), |children| children.for_each(each))
    }

    /// Calls `each` for the children in label order until it breaks, but not for all that have no data of a wanted kind: a
    /// search of few services among many names looks at few of them.
    pub(super) fn for_each_child_with<'t>(
        &'t self,
        wanted: ChildKinds,
        each: &mut dyn FnMut(&'t Arc<Self>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.children
            .as_ref()
            .map_or(ControlFlow::Continue(()), |children| children.for_each_with(wanted, each))
    }

    /// Whether subtree answers pass over this name and all names below it, because its label begins with `_`.
    pub(super) fn is_hidden(&self) -> bool {
        self.label.is_hidden()
    }

    /// Whether the services on this name belong to the name above as well, in exact mode.
    pub(super) fn is_in_pool(&self) -> bool {
        self.is_leaf() && !self.is_hidden() && self.label() != b"*"
    }

    /// The entries of a layer, whether they are served or not.
    pub(super) fn entries_of(&self, layer: Layer) -> &[LayeredEntry] {
        self.entries.of(layer)
    }

    /// Calls `each` for this node and all nodes below it in key order, hidden ones too.
    pub(super) fn walk<'t>(&'t self, path: &mut Vec<&'t [u8]>, each: &mut Visit<'_, 't>) -> ControlFlow<()> {
        each(path, self)?;
        self.for_each_child(&mut |child| {
            path.push(child.label());
            let flow = child.walk(path, each);
            path.pop();
            flow
        })
    }

    /// Sets the entries of a layer on the node that `labels` lead to from here. Returns the change of the number of names:
    /// 1 if the node had no entry before, -1 if it has none now.
    pub(super) fn set<'l>(
        &mut self,
        labels: &mut impl Iterator<Item = &'l [u8]>,
        layer: Layer,
        entries: Vec<Entry>,
    ) -> isize {
        let change = match labels.next() {
            None => {
                let before = self.entry().is_some();
                self.entries.set(layer, entries);
                isize::from(self.entry().is_some()) - isize::from(before)
            }
            Some(label) => {
                let children = Arc::make_mut(self.children.get_or_insert_default());
                let change = children.change(label, |child| child.set(labels, layer, entries));
                self.children.take_if(|children| children.is_empty());
                change
            }
        };
        self.refresh();
        change
    }

    /// How far above this node the highest name is whose data `targetstrip` makes those of this node or below it, in labels.
    pub(super) fn lift(&self) -> u8 {
        self.lift
    }

    /// The kinds of data of the children that belong to the name of this node.
    pub(super) fn child_kinds(&self) -> ChildKinds {
        self.children.as_ref().map_or_else(ChildKinds::default, |children| children.kinds())
    }

    /// The kinds of data of the services on this name.
    pub(super) fn own_kinds(&self) -> DataKinds {
        self.entries().fold(DataKinds::NONE, |kinds, entry| kinds | DataKinds::of(entry))
    }

    /// Brings the summaries up to date after a change.
    fn refresh(&mut self) {
        let below = self.child_kinds();
        self.visible = self.own_kinds() | below.visible;
        self.lift = below.lift.saturating_sub(1);
        self.lifted = if self.lift > 0 { below.lifted } else { DataKinds::NONE };
        let lifted = self.entries.served().iter().filter(|own| own.entry.service.target_strip > 0);
        let (lifted, lift) = lifted.fold((self.lifted, self.lift), |(kinds, lift), own| {
            (kinds | DataKinds::of(&own.entry), lift.max(own.entry.service.target_strip))
        });
        (self.lifted, self.lift) = (lifted, lift);
    }
}

impl Child for Node {
    fn new(label: &[u8]) -> Self {
        Self { label: Label::new(label), ..Self::default() }
    }

    fn label(&self) -> &[u8] {
        self.label.as_bytes()
    }

    fn kinds_for_parent(&self) -> ChildKinds {
        let visible = if self.is_hidden() { DataKinds::NONE } else { self.visible };
        let leaf = if self.is_in_pool() { self.visible } else { DataKinds::NONE };
        ChildKinds { visible, leaf, lifted: self.lifted, lift: self.lift }
    }

    fn is_vacant(&self) -> bool {
        self.entry().is_none() && self.children.is_none()
    }
}
