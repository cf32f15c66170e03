//! Lookups: exact names, whole subtrees, and the wildcards of queries (`*` and `any`, SkyDNS's own, not those of RFC 4592).

use super::Tree;
use super::data_kinds::DataKinds;
use super::entry::Entry;
use super::node::Node;
use super::versions::VersionSlot;
use crate::service::name_of;
use hickory_proto::rr::Name;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Maximum number of services that one lookup returns.
///
/// A message of 65,535 octets holds 4,095 of the smallest records, so an answer from more services than this could only fit
/// if nearly all of them were equal.
pub const MAX_FOUND: usize = 65_536;

/// Maximum number of nodes that one lookup visits, so that wildcards over wide directories come to an end.
pub const MAX_VISITED: usize = 1 << 20;

/// The name of a question in lower case, as a path into the tree.
#[derive(Clone, Debug)]
pub struct TreePath {
    name: Name,
}

impl TreePath {
    /// The path of a name.
    pub fn new(name: &Name) -> Self {
        Self { name: name.to_lowercase() }
    }

    /// The name, in lower case.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The name above the wildcards: the longest one that has no wildcard label.
    pub fn before_wildcards(&self) -> Name {
        let labels = self.labels();
        let (fixed, _) = split_at_wildcard(&labels);
        name_of(fixed)
    }

    /// The version slot of the name above the wildcards. All that a lookup finds is at that name or below it, so the version
    /// of that name covers all changes that matter.
    pub fn slot(&self) -> VersionSlot {
        VersionSlot::of(self.name.iter().rev().take_while(|label| !is_wildcard(label)))
    }

    /// The labels, root first.
    fn labels(&self) -> Vec<&[u8]> {
        self.name.iter().rev().collect()
    }
}

/// A service that a lookup found.
#[derive(Debug)]
pub struct MatchedService<'t> {
    /// The service and its lease.
    pub entry: &'t Arc<Entry>,
    /// Labels of the service's key, root first.
    labels: Box<[&'t [u8]]>,
}

impl MatchedService<'_> {
    /// Number of labels in the service's key.
    pub fn depth(&self) -> usize {
        self.labels.len()
    }

    /// The name of the service's key.
    pub fn name(&self) -> Name {
        name_of(&self.labels)
    }
}

/// What a lookup found.
#[derive(Debug)]
pub enum TreeLookup<'t> {
    /// The name does not exist.
    NoName,
    /// The name exists; these are the services at the name and below it that have data of a wanted kind, in key order.
    /// They are all services there if a group among them or a mail exchanger may decide about others, and none if no service
    /// has data of a wanted kind.
    Services(Vec<MatchedService<'t>>),
    /// The caller, [`MAX_FOUND`] or [`MAX_VISITED`] ended the lookup.
    TooMany,
}

impl Tree {
    /// The service on one name. Wildcards below a leaf mean the leaf; wildcards elsewhere mean no one name.
    pub fn leaf(&self, path: &TreePath) -> Option<&Arc<Entry>> {
        let labels = path.labels();
        let (fixed, pattern) = split_at_wildcard(&labels);
        let node = self.node(fixed.iter().copied())?;
        if !pattern.is_empty() && !node.is_leaf() {
            return None;
        }
        node.entry()
    }

    /// The node of a name; wildcards are labels like any other.
    pub fn exact(&self, path: &TreePath) -> Option<&Arc<Node>> {
        self.node(path.name.iter().rev())
    }

    /// The services at a name and below it that have data of a wanted kind.
    ///
    /// A label `*` or `any` matches every label, and keys with more labels than the question match too. Labels up to the
    /// first wildcard, or all labels of a name without wildcards, are followed whatever they are; below, labels that begin
    /// with `_` are passed over. Subtrees without data of a wanted kind are not entered.
    ///
    /// `is_too_much` is called with each service before it is taken, and ends the lookup by `true`: the caller has no room
    /// for that service. It is not called where a group decides about the services, because the group may leave out
    /// services that were found before.
    pub fn services<'t>(
        &'t self,
        path: &TreePath,
        wanted: DataKinds,
        mut is_too_much: impl FnMut(&'t Entry) -> bool,
    ) -> TreeLookup<'t> {
        let labels = path.labels();
        let (fixed, pattern) = split_at_wildcard(&labels);
        let mut walked = Vec::with_capacity(labels.len() + 4);
        let mut node = self.node(std::iter::empty());
        for label in fixed {
            node = node.and_then(|node| node.child(label));
            walked.extend(node.map(|node| node.label()));
        }
        let Some(node) = node else {
            return TreeLookup::NoName;
        };
        let wanted = kinds_to_gather(wanted, node);
        let mut search = Search {
            wanted,
            is_too_much: &mut is_too_much,
            has_groups: node.visible().meets(DataKinds::GROUP),
            visited: 0,
            found: Vec::new(),
        };
        // Wildcards below a leaf mean the leaf, as in SkyDNS: `*.leaf` is answered with `leaf`.
        let pattern = if node.is_leaf() { &[] } else { pattern };
        match search.descend(node, &mut walked, pattern) {
            ControlFlow::Continue(()) => TreeLookup::Services(search.found),
            ControlFlow::Break(()) => TreeLookup::TooMany,
        }
    }
}

/// The labels before the first wildcard, and the labels from there on.
fn split_at_wildcard<'p, 'l>(labels: &'p [&'l [u8]]) -> (&'p [&'l [u8]], &'p [&'l [u8]]) {
    labels.split_at(labels.iter().take_while(|label| !is_wildcard(label)).count())
}

fn is_wildcard(label: &[u8]) -> bool {
    label == b"*" || label == b"any"
}

/// The kinds of data to gather so that the caller can choose the services that count.
///
/// These are all kinds if there is a group, because it leaves out services of other groups whatever data they have, and if
/// mail exchangers are wanted: of equal services only the first counts, even if only a later one is a mail exchanger.
fn kinds_to_gather(wanted: DataKinds, node: &Node) -> DataKinds {
    if !node.visible().meets(wanted) {
        DataKinds::NONE
    } else if node.visible().meets(DataKinds::GROUP) || wanted.meets(DataKinds::MAIL) {
        DataKinds::ALL
    } else {
        wanted
    }
}

/// A lookup on its way through a subtree. `Break` ends the lookup because something is too much.
struct Search<'t, 'f> {
    /// The kinds of data to gather.
    wanted: DataKinds,
    /// See [`Tree::services`].
    is_too_much: &'f mut dyn FnMut(&'t Entry) -> bool,
    /// Whether a group decides about the services, so that all of them are gathered.
    has_groups: bool,
    /// Number of nodes so far.
    visited: usize,
    found: Vec<MatchedService<'t>>,
}

impl<'t> Search<'t, '_> {
    /// Searches a node that the labels in `walked` lead to, and the subtree below it for what `pattern` matches.
    fn descend(&mut self, node: &'t Node, walked: &mut Vec<&'t [u8]>, pattern: &[&[u8]]) -> ControlFlow<()> {
        self.visited += 1;
        if self.visited > MAX_VISITED {
            return ControlFlow::Break(());
        }
        if !node.visible().meets(self.wanted) {
            return ControlFlow::Continue(());
        }
        let Some((first, rest)) = pattern.split_first() else {
            self.take_entry(node, walked)?;
            return node.for_each_child(&mut |child| self.enter(child, walked, &[]));
        };
        if is_wildcard(first) {
            return node.for_each_child(&mut |child| self.enter(child, walked, rest));
        }
        node.child(first).map_or(ControlFlow::Continue(()), |child| self.enter(child, walked, rest))
    }

    /// Searches a child, unless it is hidden.
    fn enter(&mut self, child: &'t Node, walked: &mut Vec<&'t [u8]>, pattern: &[&[u8]]) -> ControlFlow<()> {
        if child.is_hidden() {
            return ControlFlow::Continue(());
        }
        walked.push(child.label());
        let flow = self.descend(child, walked, pattern);
        walked.pop();
        flow
    }

    /// Adds the service of a node to those that were found, if it has data of a wanted kind.
    fn take_entry(&mut self, node: &'t Node, walked: &[&'t [u8]]) -> ControlFlow<()> {
        let Some(entry) = node.entry() else {
            return ControlFlow::Continue(());
        };
        if !DataKinds::of(entry).meets(self.wanted) {
            return ControlFlow::Continue(());
        }
        let is_too_much = !self.has_groups && (self.is_too_much)(entry);
        if is_too_much || self.found.len() == MAX_FOUND {
            return ControlFlow::Break(());
        }
        self.found.push(MatchedService { entry, labels: walked.into() });
        ControlFlow::Continue(())
    }
}
