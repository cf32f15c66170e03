//! Lookups: exact names, whole subtrees, and the wildcards of queries (`*` and `any`, SkyDNS's own, not those of RFC 4592).

use super::Tree;
use super::child_kinds::ChildKinds;
use super::data_kinds::DataKinds;
use super::entry::{Entry, Layer};
use super::node::Node;
use super::versions::VersionSlot;
use super::work::Work;
use crate::service::{Key, name_of};
use hickory_proto::rr::Name;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A name in lower case, as a path into the tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TreePath {
    name: Name,
    /// Whether `*` and `any` are labels like any other.
    is_literal: bool,
}

impl TreePath {
    /// The path of a name in a question, in which `*` and `any` are wildcards.
    pub fn new(name: &Name) -> Self {
        Self { name: name.to_lowercase(), is_literal: false }
    }

    /// The path of a name that a service has as its host: a wildcard label there is a label like any other, so that a
    /// service cannot make an answer search the tree.
    pub fn literal(name: &Name) -> Self {
        Self { name: name.to_lowercase(), is_literal: true }
    }

    /// The name, in lower case.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The name above the wildcards: the longest one that has no wildcard label.
    pub fn before_wildcards(&self) -> Name {
        let labels = self.labels();
        let (fixed, _) = self.split(&labels);
        name_of(fixed)
    }

    /// The version slot of the name above the wildcards. All that a lookup finds is at that name or below it, so the version
    /// of that name covers all changes that matter.
    pub fn slot(&self) -> VersionSlot {
        VersionSlot::of(self.name.iter().rev().take_while(|label| self.is_literal || !is_wildcard(label)))
    }

    /// The version slot of the name that the last labels of the path are; wildcards are labels like any other.
    pub fn slot_above(&self, labels: usize) -> VersionSlot {
        VersionSlot::of(self.name.iter().rev().take(labels))
    }

    /// The version slot of the name `*` below the one that the last labels of the path are.
    pub fn wildcard_slot(&self, labels: usize) -> VersionSlot {
        VersionSlot::of(self.name.iter().rev().take(labels).chain([b"*".as_slice()]))
    }

    /// What a look-up of this one name costs, in units of [`Work`].
    pub fn cost(&self) -> u32 {
        search_cost(self.name.iter().count())
    }

    /// The labels before the first wildcard, and the labels from there on, of [`Self::labels`].
    fn split<'p, 'l>(&self, labels: &'p [&'l [u8]]) -> (&'p [&'l [u8]], &'p [&'l [u8]]) {
        let is_fixed = |label: &&&[u8]| self.is_literal || !is_wildcard(label);
        labels.split_at(labels.iter().take_while(is_fixed).count())
    }

    /// The labels, root first.
    pub fn labels(&self) -> Vec<&[u8]> {
        self.name.iter().rev().collect()
    }
}

/// A service that a lookup found.
#[derive(Debug)]
pub struct MatchedService<'t> {
    /// The service and its lease.
    pub entry: &'t Entry,
    /// Labels of the service's key, root first.
    pub(super) labels: Box<[&'t [u8]]>,
    /// Whether it is of the layer that is [leaving](crate::tree::Layer::LEAVING).
    pub is_leaving: bool,
    /// What it is, if it is no entry of the tree.
    pub made: Option<MadeOf>,
}

/// What a service is that was made for an answer from an object of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeOf {
    /// A host, and a port there: what SRV records are for.
    HostAndPort,
    /// A host without a port, another name, or a text.
    Other,
}

impl<'t> MatchedService<'t> {
    /// A service that is no entry of the tree, with the labels of the name that its host has, root first.
    pub fn made(entry: &'t Entry, labels: Box<[&'t [u8]]>, made: MadeOf) -> Self {
        Self { entry, labels, is_leaving: false, made: Some(made) }
    }

    /// Whether SRV records are made of it.
    pub fn has_srv(&self) -> bool {
        self.made != Some(MadeOf::Other)
    }

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
    /// They are all services there if a group among them may decide about others, and none if no service has data of a
    /// wanted kind.
    Services(Vec<MatchedService<'t>>),
    /// The caller ended the lookup, or the work that it may do is spent.
    TooMany,
}

/// The part of the tree that a zone has, and which keys there are the data of a name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent<'z> {
    /// Names in key order, none below another: the extent ends there.
    pub cuts: &'z [Key],
    /// Number of labels of the apex.
    pub apex_labels: usize,
    /// A name that exists, with those above it, though no key has it.
    pub also: Option<&'z Key>,
    /// Further names that exist though no key has them.
    pub others: Option<&'z dyn OtherNames>,
}

/// Names that exist though no key has them.
pub trait OtherNames: std::fmt::Debug {
    /// Whether a name exists whose labels, in lower case and root first, these are.
    fn has(&self, labels: &[&[u8]]) -> bool;
}

impl<'z> Extent<'z> {
    /// The part of it at and below the node that labels lead to, root first.
    pub(super) fn at(self, labels: &[&[u8]]) -> Self {
        if self.cuts.is_empty() {
            return self;
        }
        labels.iter().enumerate().fold(self, |extent, (depth, label)| extent.below(depth, label))
    }

    /// The part of it at and below the child with a label of a node that so many labels lead to.
    pub(super) fn below(self, depth: usize, label: &[u8]) -> Self {
        if self.cuts.is_empty() {
            return self;
        }
        let before = self.cuts.partition_point(|cut| cut.labels().nth(depth) < Some(label));
        let (_, cuts) = self.cuts.split_at(before);
        let here = cuts.partition_point(|cut| cut.labels().nth(depth) == Some(label));
        Self { cuts: &cuts[..here], ..self }
    }

    /// Whether it ends at the node that so many labels lead to, whose part this is.
    pub(super) fn ends_at(self, depth: usize) -> bool {
        self.cuts.first().is_some_and(|cut| cut.labels().count() == depth)
    }
}

impl Tree {
    /// The node of a name; wildcards are labels like any other.
    pub fn exact(&self, path: &TreePath) -> Option<&Arc<Node>> {
        self.node(path.name.iter().rev())
    }

    /// Whether a layer has an entry at a name or below it in an extent, hidden names included.
    pub fn has_layer_below(&self, apex: &Key, extent: Extent<'_>, layer: Layer) -> bool {
        fn has<'t>(node: &'t Node, depth: usize, extent: Extent<'_>, layer: Layer) -> ControlFlow<()> {
            if !node.entries_of(layer).is_empty() {
                return ControlFlow::Break(());
            }
            node.for_each_child(&mut |child: &'t Arc<Node>| {
                let extent = extent.below(depth, child.label());
                if extent.ends_at(depth + 1) {
                    ControlFlow::Continue(())
                } else {
                    has(child, depth + 1, extent, layer)
                }
            })
        }
        let labels: Vec<_> = apex.labels().collect();
        let node = self.node(labels.iter().copied());
        node.is_some_and(|node| has(node, labels.len(), extent.at(&labels), layer).is_break())
    }

    /// The kinds of data that a name has with the names below it in an extent, but for hidden ones.
    pub(super) fn kinds_below(&self, name: &Key, extent: Extent<'_>) -> DataKinds {
        fn kinds<'t>(node: &'t Node, depth: usize, extent: Extent<'_>) -> DataKinds {
            let mut all = node.own_kinds();
            if extent.cuts.is_empty() {
                return all | node.visible();
            }
            let _ = node.for_each_child(&mut |child: &'t Arc<Node>| {
                let extent = extent.below(depth, child.label());
                if !child.is_hidden() && !extent.ends_at(depth + 1) {
                    all |= kinds(child, depth + 1, extent);
                }
                ControlFlow::<()>::Continue(())
            });
            all
        }
        let labels: Vec<_> = name.labels().collect();
        let node = self.node(labels.iter().copied());
        node.map_or(DataKinds::NONE, |node| kinds(node, labels.len(), extent.at(&labels)))
    }

    /// The services at a name and below it, in an extent, that have data of a wanted kind.
    ///
    /// A label `*` or `any` matches every label, and keys with more labels than the question match too. Labels up to the
    /// first wildcard, or all labels of a name without wildcards, are followed whatever they are; below, labels that begin
    /// with `_` are passed over. Subtrees without data of a wanted kind are not entered. All this is charged to `work`.
    ///
    /// `is_too_much` is called with each service before it is taken, and ends the lookup by `true`: the caller has no room
    /// for that service. It is not called where a group decides about the services, because the group may leave out
    /// services that were found before.
    pub fn services<'t>(
        &'t self,
        path: &TreePath,
        extent: Extent<'_>,
        wanted: DataKinds,
        work: &Work,
        mut is_too_much: impl FnMut(&'t Entry) -> bool,
    ) -> TreeLookup<'t> {
        let labels = path.labels();
        let (fixed, pattern) = path.split(&labels);
        let mut walked = Vec::with_capacity(labels.len() + 4);
        let mut node = self.node(std::iter::empty());
        for label in fixed {
            node = node.and_then(|node| node.child(label));
            walked.extend(node.map(|node| node.label()));
        }
        if work.charge(search_cost(walked.len())).is_break() {
            return TreeLookup::TooMany;
        }
        let Some(node) = node else {
            return TreeLookup::NoName;
        };
        let mut search = Search {
            wanted: kinds_to_gather(wanted, node),
            is_too_much: &mut is_too_much,
            has_groups: has_groups(wanted, node),
            work,
            found: Vec::new(),
        };
        // Wildcards below a leaf mean the leaf, as in SkyDNS: `*.leaf` is answered with `leaf`.
        let pattern = if node.is_leaf() { &[] } else { pattern };
        let extent = extent.at(&walked);
        match search.descend(node, &mut walked, pattern, extent) {
            ControlFlow::Continue(()) => TreeLookup::Services(search.found),
            ControlFlow::Break(()) => TreeLookup::TooMany,
        }
    }
}

/// What a lookup costs that walks so many nodes before it searches, in units of [`Work`].
pub(super) fn search_cost(nodes: usize) -> u32 {
    // A name has at most 127 labels.
    Work::SEARCH + u32::try_from(nodes).unwrap_or(u32::MAX / 2)
}

fn is_wildcard(label: &[u8]) -> bool {
    label == b"*" || label == b"any"
}

/// The kinds of data to gather so that the caller can choose the services that count.
///
/// These are all kinds if a group decides, because it leaves out services of other groups whatever data they have.
fn kinds_to_gather(wanted: DataKinds, node: &Node) -> DataKinds {
    if !node.visible().meets(wanted) {
        DataKinds::NONE
    } else if has_groups(wanted, node) {
        DataKinds::ALL
    } else {
        wanted
    }
}

/// Whether a group decides about the services of wanted kinds. Groups do not matter to mail exchangers, as in SkyDNS.
fn has_groups(wanted: DataKinds, node: &Node) -> bool {
    wanted != DataKinds::MAIL && node.visible().meets(DataKinds::GROUP)
}

/// A lookup on its way through a subtree. `Break` ends the lookup because something is too much.
struct Search<'t, 'f> {
    /// The kinds of data to gather.
    wanted: DataKinds,
    /// See [`Tree::services`].
    is_too_much: &'f mut dyn FnMut(&'t Entry) -> bool,
    /// Whether a group decides about the services, so that all of them are gathered.
    has_groups: bool,
    work: &'f Work,
    found: Vec<MatchedService<'t>>,
}

impl<'t> Search<'t, '_> {
    /// Searches a node that the labels in `walked` lead to, and the subtree below it for what `pattern` matches.
    fn descend(
        &mut self,
        node: &'t Node,
        walked: &mut Vec<&'t [u8]>,
        pattern: &[&[u8]],
        extent: Extent<'_>,
    ) -> ControlFlow<()> {
        if !node.visible().meets(self.wanted) {
            return ControlFlow::Continue(());
        }
        let wanted = ChildKinds::of_subtree(self.wanted);
        let Some((first, rest)) = pattern.split_first() else {
            node.entries().try_for_each(|entry| self.take(entry, walked, node.is_leaving()))?;
            return node.for_each_child_with(wanted, &mut |child| self.enter(child, walked, &[], extent));
        };
        if is_wildcard(first) {
            return node.for_each_child_with(wanted, &mut |child| self.enter(child, walked, rest, extent));
        }
        node.child(first).map_or(ControlFlow::Continue(()), |child| self.enter(child, walked, rest, extent))
    }

    /// Searches a child of a node with an extent, unless it is hidden or the extent ends there.
    fn enter(
        &mut self,
        child: &'t Node,
        walked: &mut Vec<&'t [u8]>,
        pattern: &[&[u8]],
        extent: Extent<'_>,
    ) -> ControlFlow<()> {
        self.work.charge(1)?;
        let extent = extent.below(walked.len(), child.label());
        if child.is_hidden() || extent.ends_at(walked.len() + 1) {
            return ControlFlow::Continue(());
        }
        walked.push(child.label());
        let flow = self.descend(child, walked, pattern, extent);
        walked.pop();
        flow
    }

    /// Adds a service to those that were found, if it has data of a wanted kind.
    fn take(&mut self, entry: &'t Entry, walked: &[&'t [u8]], is_leaving: bool) -> ControlFlow<()> {
        if !DataKinds::of(entry).meets(self.wanted) {
            // A name may have any number of services.
            return self.work.charge(1);
        }
        self.work.charge(Work::SERVICE)?;
        if !self.has_groups && (self.is_too_much)(entry) {
            return ControlFlow::Break(());
        }
        self.found.push(MatchedService { entry, labels: walked.into(), is_leaving, made: None });
        ControlFlow::Continue(())
    }
}
