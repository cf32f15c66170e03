//! One name of the tree: what is announced there, and the names below it.

use super::children::Children;
use super::label::Label;
use super::{Entry, Layer};
use std::ops::{BitOr, BitOrAssign, ControlFlow};
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

/// The entries of one node, one for each layer.
#[derive(Clone, Debug, Default)]
enum LayeredEntries {
    #[default]
    None,
    One(Layer, Arc<Entry>),
    /// At least two, highest layer first.
    Many(Box<[(Layer, Arc<Entry>)]>),
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
        match &self.entries {
            LayeredEntries::None => None,
            LayeredEntries::One(_, entry) => Some(entry),
            LayeredEntries::Many(entries) => entries.first().map(|(_, entry)| entry),
        }
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
        match &self.entries {
            LayeredEntries::One(own, entry) if *own == layer => Some(entry),
            LayeredEntries::Many(entries) => {
                entries.iter().find(|(own, _)| *own == layer).map(|(_, entry)| entry)
            }
            _ => None,
        }
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

impl LayeredEntries {
    fn put(&mut self, layer: Layer, entry: Arc<Entry>) {
        let mut entries = self.take_all();
        entries.retain(|(own, _)| *own != layer);
        entries.push((layer, entry));
        entries.sort_by(|(a, _), (b, _)| b.cmp(a));
        *self = Self::from_all(entries);
    }

    fn remove(&mut self, layer: Layer) {
        let mut entries = self.take_all();
        entries.retain(|(own, _)| *own != layer);
        *self = Self::from_all(entries);
    }

    fn take_all(&mut self) -> Vec<(Layer, Arc<Entry>)> {
        match std::mem::take(self) {
            Self::None => Vec::new(),
            Self::One(layer, entry) => vec![(layer, entry)],
            Self::Many(entries) => entries.into_vec(),
        }
    }

    fn from_all(mut entries: Vec<(Layer, Arc<Entry>)>) -> Self {
        match entries.len() {
            0 => Self::None,
            1 => entries.pop().map_or(Self::None, |(layer, entry)| Self::One(layer, entry)),
            _ => Self::Many(entries.into()),
        }
    }
}

/// A set of the kinds of data that services have: what a question can hope to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataKinds(u8);

impl DataKinds {
    /// Nothing at all.
    pub const NONE: Self = Self(0);
    /// A host that is an IPv4 address.
    pub const V4: Self = Self(1);
    /// A host that is an IPv6 address.
    pub const V6: Self = Self(2);
    /// A host that is a name.
    pub const NAME: Self = Self(4);
    /// A text.
    pub const TEXT: Self = Self(8);
    /// A mail exchanger.
    pub const MAIL: Self = Self(16);
    /// A group, which decides about other services too.
    pub const GROUP: Self = Self(32);
    /// Any host.
    pub const HOST: Self = Self(Self::V4.0 | Self::V6.0 | Self::NAME.0);
    /// Neither host nor text: the name exists, and equal services behind it do not count.
    const BARE: Self = Self(64);
    /// Every kind.
    pub const ALL: Self = Self(127);

    /// The kinds of one entry.
    pub fn of(entry: &Entry) -> Self {
        use crate::service::Host;
        let service = &entry.service;
        let mut kinds = match service.host {
            Host::None => Self::NONE,
            Host::V4(_) => Self::V4,
            Host::V6(_) => Self::V6,
            Host::Name(_) => Self::NAME,
        };
        for (has, kind) in [
            (service.text.is_some(), Self::TEXT),
            (service.mail, Self::MAIL),
            (service.group.is_some(), Self::GROUP),
        ] {
            if has {
                kinds |= kind;
            }
        }
        if kinds == Self::NONE { Self::BARE } else { kinds }
    }

    /// Whether the two have a kind in common.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for DataKinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for DataKinds {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
