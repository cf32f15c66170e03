//! Look-ups in exact mode: each name has what is meant for it, and no subtree.
//!
//! A name has the services on its own key, and those on leaf keys directly below it, as a pool of hosts is announced; not those
//! on a `*`, or on a key whose label begins with `_`. With `targetstrip` a service belongs to the name so many labels above
//! its key, and to no other. At the apex a leaf is a name of the zone, so only its own key and `targetstrip` count there.
//!
//! A label `*` in a key is a wildcard (RFC 4592): names next to it and below these names have what it has, unless they exist.
//! `*` and `any` in a question are labels like any other.

use super::Tree;
use super::child_kinds::ChildKinds;
use super::data_kinds::DataKinds;
use super::entry::Entry;
use super::lookup::{Extent, MatchedService, TreeLookup, TreePath, search_cost};
use super::node::Node;
use super::work::Work;
use crate::service::Key;
use std::ops::ControlFlow;

/// A name of a zone in exact mode, as the tree has it.
#[derive(Debug)]
pub enum ExactName<'t> {
    /// The name exists.
    Exists(ExactNode<'t>),
    /// The name exists without any service on it or below it.
    Empty,
    /// The name does not exist, but a wildcard gives it data (RFC 4592 §3.3.1).
    Wildcard {
        /// The wildcard.
        source: ExactNode<'t>,
        /// Number of labels of the closest encloser.
        encloser: usize,
    },
    /// The name does not exist.
    Missing {
        /// Number of labels of the closest encloser.
        encloser: usize,
    },
    /// The work is spent.
    TooMuch,
}

/// A node with the labels that lead to it, root first.
#[derive(Debug)]
pub struct ExactNode<'t> {
    node: &'t Node,
    labels: Vec<&'t [u8]>,
}

impl Tree {
    /// Finds a name at or below the apex of an extent.
    pub fn find_exact(&self, path: &TreePath, extent: Extent<'_>, work: &Work) -> ExactName<'_> {
        let asked = path.labels();
        let mut nodes: Vec<&Node> = Vec::with_capacity(asked.len() + 1);
        nodes.extend(self.node(std::iter::empty()).map(|root| &**root));
        for label in &asked {
            let Some(child) = nodes.last().and_then(|node| node.child(label)) else { break };
            nodes.push(child);
        }
        if work.charge(search_cost(nodes.len())).is_break() {
            return ExactName::TooMuch;
        }
        let names = ExactNames { extent, work };
        // The name that so many of the labels lead to.
        let exists = |depth: usize| {
            nodes.get(depth).is_some_and(|node| names.exists(node, depth))
                || names.exists_without_services(&asked[..depth])
        };
        let found = match nodes.get(asked.len()) {
            Some(node) if exists(asked.len()) => ExactName::Exists(ExactNode::of(node, &nodes[1..])),
            None if exists(asked.len()) => ExactName::Empty,
            _ => {
                let mut encloser = asked.len().saturating_sub(1).max(extent.apex_labels);
                while encloser > extent.apex_labels && !exists(encloser) {
                    encloser -= 1;
                }
                let wildcard = nodes.get(encloser).and_then(|node| node.child(b"*"));
                match wildcard.filter(|wildcard| names.exists(wildcard, encloser + 1)) {
                    Some(wildcard) => {
                        let source = ExactNode::of(wildcard, &[&nodes[1..=encloser], &[wildcard]].concat());
                        ExactName::Wildcard { source, encloser }
                    }
                    None => ExactName::Missing { encloser },
                }
            }
        };
        if work.is_spent() { ExactName::TooMuch } else { found }
    }
}

impl<'t> ExactNode<'t> {
    /// A node that is the last of those that lead to it from below the root.
    fn of(node: &'t Node, way: &[&'t Node]) -> Self {
        Self { node, labels: way.iter().map(|node| node.label()).collect() }
    }

    /// The kinds of data of the services of the name.
    pub(super) fn kinds(self, extent: Extent<'_>, work: &Work) -> DataKinds {
        match self.services(extent, DataKinds::ALL, work, |_| false) {
            TreeLookup::Services(found) => {
                found.iter().fold(DataKinds::NONE, |kinds, found| kinds | DataKinds::of(found.entry))
            }
            TreeLookup::NoName | TreeLookup::TooMany => DataKinds::ALL,
        }
    }

    /// The services of the name that have data of a wanted kind, in key order; all of them if a group may decide about them.
    ///
    /// `is_too_much` is as in [`Tree::services`].
    pub fn services(
        self,
        extent: Extent<'_>,
        wanted: DataKinds,
        work: &Work,
        mut is_too_much: impl FnMut(&'t Entry) -> bool,
    ) -> TreeLookup<'t> {
        let Self { node, labels: mut walked } = self;
        let below = node.child_kinds();
        let all = node.own_kinds() | below.leaf | below.lifted;
        if !all.meets(wanted) {
            return TreeLookup::Services(Vec::new());
        }
        let has_groups = wanted != DataKinds::MAIL && all.meets(DataKinds::GROUP);
        let mut gathering = Gathering {
            owner: walked.len(),
            wanted: if has_groups { DataKinds::ALL } else { wanted },
            is_too_much: &mut is_too_much,
            has_groups,
            names: ExactNames { extent, work },
            found: Vec::new(),
        };
        let extent = extent.at(&walked);
        match gathering.gather(node, &mut walked, extent) {
            ControlFlow::Continue(()) => TreeLookup::Services(gathering.found),
            ControlFlow::Break(()) => TreeLookup::TooMany,
        }
    }
}

/// Which names there are in an extent.
#[derive(Clone, Copy)]
struct ExactNames<'z> {
    extent: Extent<'z>,
    work: &'z Work,
}

impl ExactNames<'_> {
    /// The number of labels of the name that a service on a key with so many labels belongs to: never one above the apex.
    fn owner_of(&self, entry: &Entry, labels: usize) -> usize {
        let stripped = labels.checked_sub(entry.service.target_strip.into());
        stripped.filter(|owner| *owner >= self.extent.apex_labels).unwrap_or(labels)
    }

    /// Whether the name of a node with so many labels has data, or a name below it has.
    fn exists(&self, node: &Node, labels: usize) -> bool {
        labels <= self.extent.apex_labels || self.has_owner_below(node, labels, labels).is_break()
    }

    /// Looks for a service on a node, which so many labels lead to, and below it that belongs to a name of at least `least`
    /// labels. `Break` if there is one, or if the work is spent.
    fn has_owner_below(&self, node: &Node, labels: usize, least: usize) -> ControlFlow<()> {
        self.work.charge(1)?;
        if node.entries().any(|entry| self.owner_of(entry, labels) >= least) {
            return ControlFlow::Break(());
        }
        node.for_each_child(&mut |child| self.has_owner_below(child, labels + 1, least))
    }

    /// Whether a name exists because of what is not a service: another zone below it, or a name that always exists.
    fn exists_without_services(&self, labels: &[&[u8]]) -> bool {
        let is_at_or_above = |key: &Key| {
            let mut own = key.labels();
            labels.iter().all(|label| own.next() == Some(label))
        };
        !self.extent.at(labels).cuts.is_empty()
            || self.extent.also.is_some_and(is_at_or_above)
            || self.extent.others.is_some_and(|others| others.has(labels))
    }
}

/// The services of one name on their way out of the tree. `Break` ends that because something is too much.
struct Gathering<'t, 'f> {
    /// Number of labels of the name.
    owner: usize,
    /// The kinds of data to gather.
    wanted: DataKinds,
    /// See [`Tree::services`].
    is_too_much: &'f mut dyn FnMut(&'t Entry) -> bool,
    /// Whether a group may decide about the services, so that all of them are gathered.
    has_groups: bool,
    names: ExactNames<'f>,
    found: Vec<MatchedService<'t>>,
}

impl<'t> Gathering<'t, '_> {
    /// Gathers from a node at or below the name, and from all nodes below it that may have services of the name.
    fn gather(&mut self, node: &'t Node, walked: &mut Vec<&'t [u8]>, extent: Extent<'_>) -> ControlFlow<()> {
        for entry in node.entries() {
            self.names.work.charge(1)?;
            if self.belongs(node, entry, walked.len()) {
                self.take(entry, walked, node.is_leaving())?;
            }
        }
        let wanted = ChildKinds::of_exact(self.wanted);
        node.for_each_child_with(wanted, &mut |child| {
            self.names.work.charge(1)?;
            let depth = walked.len() + 1;
            let extent = extent.below(walked.len(), child.label());
            // Services of the name are on the leaves right below it, and where a lift reaches up to it.
            let is_near = depth == self.owner + 1 && child.is_leaf();
            if extent.ends_at(depth) || !(is_near || usize::from(child.lift()) >= depth - self.owner) {
                return ControlFlow::Continue(());
            }
            walked.push(child.label());
            let flow = self.gather(child, walked, extent);
            walked.pop();
            flow
        })
    }

    /// Whether a service on a node that so many labels lead to belongs to the name.
    fn belongs(&self, node: &Node, entry: &Entry, labels: usize) -> bool {
        let owner = self.names.owner_of(entry, labels);
        let is_below_apex = self.owner > self.names.extent.apex_labels;
        let is_in_pool = || owner == labels && labels == self.owner + 1 && is_below_apex && node.is_in_pool();
        owner == self.owner || is_in_pool()
    }

    fn take(&mut self, entry: &'t Entry, walked: &[&'t [u8]], is_leaving: bool) -> ControlFlow<()> {
        if !DataKinds::of(entry).meets(self.wanted) {
            return ControlFlow::Continue(());
        }
        self.names.work.charge(Work::SERVICE)?;
        if !self.has_groups && (self.is_too_much)(entry) {
            return ControlFlow::Break(());
        }
        self.found.push(MatchedService { entry, labels: walked.into(), is_leaving, made: None });
        ControlFlow::Continue(())
    }
}
