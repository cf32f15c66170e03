//! Looking names up: exact names, whole subtrees, and query wildcards.

use super::Tree;
use super::data_kinds::DataKinds;
use super::entry::Entry;
use super::node::Node;
use super::versions::VersionSlot;
use crate::service::name_of;
use hickory_proto::rr::Name;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Most services that one look-up gathers.
///
/// A message of 65,535 octets holds 4,095 of the smallest entries, so an answer from more services
/// than this could only fit if nearly all of them were equal.
pub const MAX_FOUND: usize = 65_536;

/// Most names that one look-up looks at: wildcards over the widest directories end somewhere.
pub const MAX_VISITED: usize = 1 << 20;

/// A question's name as a path into the tree: labels in lower case, root first.
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

    /// The part of the name before the first wildcard, counted from the root.
    pub fn before_wildcards(&self) -> Name {
        let labels = self.labels();
        let fixed = labels.iter().take_while(|label| !is_wildcard(label)).count();
        name_of(&labels[..fixed])
    }

    /// The version slot of the part before the first wildcard: whatever a look-up finds is at or below it.
    pub fn slot(&self) -> VersionSlot {
        VersionSlot::of(self.name.iter().rev().take_while(|label| !is_wildcard(label)))
    }

    fn labels(&self) -> Vec<&[u8]> {
        self.name.iter().rev().collect()
    }
}

/// A service that a look-up found.
#[derive(Debug)]
pub struct Match<'t> {
    /// The service and its lease.
    pub entry: &'t Arc<Entry>,
    /// Labels of its key, root first.
    labels: Box<[&'t [u8]]>,
}

impl Match<'_> {
    /// Labels in its key.
    pub fn depth(&self) -> usize {
        self.labels.len()
    }

    /// The name made from its key.
    pub fn name(&self) -> Name {
        name_of(&self.labels)
    }
}

/// What a look-up found.
#[derive(Debug)]
pub enum Found<'t> {
    /// The name does not exist.
    NoName,
    /// The name exists; these services are at or below it, in key order. None of them may have what
    /// was wanted.
    Services(Vec<Match<'t>>),
    /// More than the caller takes, or more than [`MAX_VISITED`] names to look at.
    TooMany,
}

impl Tree {
    /// The service on exactly a name. Below a leaf, wildcards count as the leaf itself.
    pub fn leaf(&self, path: &TreePath) -> Option<&Arc<Entry>> {
        let labels = path.labels();
        let fixed = labels.iter().take_while(|label| !is_wildcard(label)).count();
        let node = self.node(labels[..fixed].iter().copied())?;
        if fixed < labels.len() && !node.is_leaf() {
            return None;
        }
        node.entry()
    }

    /// The node of a name without wildcards.
    pub fn exact(&self, path: &TreePath) -> Option<&Arc<Node>> {
        self.node(path.name.iter().rev())
    }

    /// All services at a name and below it that may have what is wanted.
    ///
    /// A label `*` or `any` matches every label; names that end deeper than the question match too.
    /// Behind the part of the name that was walked label by label, labels with a `_` in front are
    /// passed over. Parts of the tree without anything wanted are not entered. `enough` ends the
    /// look-up when a service is one too many; it is not asked where a group decides, because then
    /// services may drop out again.
    pub fn services<'t>(
        &'t self,
        path: &TreePath,
        wanted: DataKinds,
        mut enough: impl FnMut(&'t Entry) -> bool,
    ) -> Found<'t> {
        let labels = path.labels();
        let fixed = labels.iter().take_while(|label| !is_wildcard(label)).count();
        let mut walked = Vec::with_capacity(labels.len() + 4);
        let mut node = self.node(std::iter::empty());
        for label in &labels[..fixed] {
            node = node.and_then(|node| node.child(label));
            walked.extend(node.map(|node| node.label()));
        }
        let Some(node) = node else {
            return Found::NoName;
        };
        let wanted = needed(wanted, node);
        let mut search = Search {
            wanted,
            enough: &mut enough,
            groups: node.visible().meets(DataKinds::GROUP),
            visited: 0,
            found: Vec::new(),
        };
        // The store knew a leaf by its own name whatever wildcards came before it (SkyDNS's rule).
        let pattern = if node.is_leaf() { &[] } else { &labels[fixed..] };
        match search.descend(node, &mut walked, pattern) {
            ControlFlow::Continue(()) => Found::Services(search.found),
            ControlFlow::Break(()) => Found::TooMany,
        }
    }
}

fn is_wildcard(label: &[u8]) -> bool {
    label == b"*" || label == b"any"
}

/// What to gather so that the wanted services can be told.
///
/// A group decides about other services, and a service that is equal to one before it does not count
/// though only the later one is a mail exchanger: then all have to be seen.
fn needed(wanted: DataKinds, node: &Node) -> DataKinds {
    if !node.visible().meets(wanted) {
        DataKinds::NONE
    } else if node.visible().meets(DataKinds::GROUP) || wanted.meets(DataKinds::MAIL) {
        DataKinds::ALL
    } else {
        wanted
    }
}

struct Search<'t, 'f> {
    wanted: DataKinds,
    enough: &'f mut dyn FnMut(&'t Entry) -> bool,
    /// Whether groups decide, so that all services have to be seen.
    groups: bool,
    visited: usize,
    found: Vec<Match<'t>>,
}

impl<'t> Search<'t, '_> {
    fn descend(&mut self, node: &'t Node, walked: &mut Vec<&'t [u8]>, pattern: &[&[u8]]) -> ControlFlow<()> {
        self.visited += 1;
        if self.visited > MAX_VISITED {
            return ControlFlow::Break(());
        }
        if !node.visible().meets(self.wanted) {
            return ControlFlow::Continue(());
        }
        let Some((first, rest)) = pattern.split_first() else {
            self.take(node, walked)?;
            return node.for_each_child(&mut |child| self.enter(child, walked, &[]));
        };
        if is_wildcard(first) {
            return node.for_each_child(&mut |child| self.enter(child, walked, rest));
        }
        node.child(first).map_or(ControlFlow::Continue(()), |child| self.enter(child, walked, rest))
    }

    fn enter(&mut self, child: &'t Node, walked: &mut Vec<&'t [u8]>, pattern: &[&[u8]]) -> ControlFlow<()> {
        if child.is_hidden() {
            return ControlFlow::Continue(());
        }
        walked.push(child.label());
        let flow = self.descend(child, walked, pattern);
        walked.pop();
        flow
    }

    fn take(&mut self, node: &'t Node, walked: &[&'t [u8]]) -> ControlFlow<()> {
        let Some(entry) = node.entry() else {
            return ControlFlow::Continue(());
        };
        if !DataKinds::of(entry).meets(self.wanted) {
            return ControlFlow::Continue(());
        }
        let too_many = !self.groups && (self.enough)(entry);
        if too_many || self.found.len() == MAX_FOUND {
            return ControlFlow::Break(());
        }
        self.found.push(Match { entry, labels: walked.into() });
        ControlFlow::Continue(())
    }
}
