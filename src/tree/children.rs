//! The children of a node: a B-tree of shared parts, sorted by label.
//!
//! Most nodes have a handful of children and hold them in one small array. A node with a million of
//! them is a few levels deep, and changing one child copies one array a level.

use super::data_kinds::DataKinds;
use super::label::prefix;
use super::node::Node;
use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Most entries of one array. 32 slots of 16 octets are eight cache lines, of which a search touches
/// two or three, and little to copy on a change.
const MAX_ARRAY_LEN: usize = 32;

/// Fewer entries than this are merged with a neighbour's.
const MIN_ARRAY_LEN: usize = MAX_ARRAY_LEN / 4;

/// See the module's text.
#[derive(Clone, Debug)]
pub(super) enum Children {
    Leaf(Vec<ChildSlot>),
    Fork(Vec<Branch>),
}

/// A child and the head of its label.
#[derive(Clone, Debug)]
pub(super) struct ChildSlot {
    prefix: u64,
    node: Arc<Node>,
}

/// A part of the children; never empty.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    /// Of the first label below.
    prefix: u64,
    /// Of all that is below and not hidden.
    visible: DataKinds,
    part: Arc<Children>,
}

impl Default for Children {
    fn default() -> Self {
        Self::Leaf(Vec::new())
    }
}

impl Children {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The child with a label.
    pub(super) fn find(&self, label: &[u8]) -> Option<&Arc<Node>> {
        let head = prefix(label);
        let mut part = self;
        loop {
            match part {
                Self::Leaf(slots) => {
                    let at = position(slots, head, label).ok()?;
                    return Some(&slots[at].node);
                }
                Self::Fork(branches) => part = &branches[branch_of(branches, head, label)].part,
            }
        }
    }

    /// Calls `each` in label order until it breaks.
    pub(super) fn for_each<'t>(
        &'t self,
        each: &mut dyn FnMut(&'t Arc<Node>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Leaf(slots) => slots.iter().try_for_each(|slot| each(&slot.node)),
            Self::Fork(branches) => branches.iter().try_for_each(|branch| branch.part.for_each(each)),
        }
    }

    /// The kinds of all children that are not hidden.
    pub(super) fn visible(&self) -> DataKinds {
        match self {
            Self::Leaf(slots) => slots
                .iter()
                .filter(|slot| !slot.node.is_hidden())
                .fold(DataKinds::NONE, |kinds, slot| kinds | slot.node.visible()),
            Self::Fork(branches) => {
                branches.iter().fold(DataKinds::NONE, |kinds, branch| kinds | branch.visible)
            }
        }
    }

    /// Changes the child with a label, which is made if it is missing and dropped if it ends vacant.
    pub(super) fn change<R>(&mut self, label: &[u8], change: impl FnOnce(&mut Node) -> R) -> R {
        let result = self.change_part(label, change);
        match self {
            _ if self.len() > MAX_ARRAY_LEN => {
                let right = self.split();
                let left = std::mem::take(self);
                *self = Self::Fork(vec![Branch::new(left), Branch::new(right)]);
            }
            Self::Fork(branches) if branches.len() == 1 => {
                if let Some(only) = branches.pop() {
                    *self = Arc::unwrap_or_clone(only.part);
                }
            }
            _ => {}
        }
        result
    }

    fn change_part<R>(&mut self, label: &[u8], change: impl FnOnce(&mut Node) -> R) -> R {
        let head = prefix(label);
        match self {
            Self::Leaf(slots) => change_slot(slots, head, label, change),
            Self::Fork(branches) => {
                let at = branch_of(branches, head, label);
                let branch = &mut branches[at];
                let result = Arc::make_mut(&mut branch.part).change_part(label, change);
                settle(branches, at);
                result
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Leaf(slots) => slots.len(),
            Self::Fork(branches) => branches.len(),
        }
    }

    /// Takes the upper half off.
    fn split(&mut self) -> Self {
        match self {
            Self::Leaf(slots) => Self::Leaf(slots.split_off(slots.len() / 2)),
            Self::Fork(branches) => Self::Fork(branches.split_off(branches.len() / 2)),
        }
    }

    /// Adds what follows, which has the same height.
    fn append(&mut self, next: Self) {
        match (self, next) {
            (Self::Leaf(slots), Self::Leaf(mut next)) => slots.append(&mut next),
            (Self::Fork(branches), Self::Fork(mut next)) => branches.append(&mut next),
            _ => unreachable!("all parts of one level have the same height"),
        }
    }

    fn first_prefix(&self) -> u64 {
        match self {
            Self::Leaf(slots) => slots.first().map_or(0, |slot| slot.prefix),
            Self::Fork(branches) => branches.first().map_or(0, |branch| branch.prefix),
        }
    }

    fn first_label(&self) -> &[u8] {
        match self {
            Self::Leaf(slots) => slots.first().map_or(b"", |slot| slot.node.label()),
            Self::Fork(branches) => branches.first().map_or(b"", |branch| branch.part.first_label()),
        }
    }
}

impl Branch {
    fn new(part: Children) -> Self {
        Self { prefix: part.first_prefix(), visible: part.visible(), part: Arc::new(part) }
    }
}

/// Where a label is among sorted slots, or where it would be.
fn position(slots: &[ChildSlot], head: u64, label: &[u8]) -> Result<usize, usize> {
    slots.binary_search_by(|slot| match slot.prefix.cmp(&head) {
        Ordering::Equal => slot.node.label().cmp(label),
        different => different,
    })
}

/// The branch that a label is in, or would be in.
fn branch_of(branches: &[Branch], head: u64, label: &[u8]) -> usize {
    let after = branches.partition_point(|branch| match branch.prefix.cmp(&head) {
        Ordering::Less => true,
        Ordering::Equal => branch.part.first_label() <= label,
        Ordering::Greater => false,
    });
    after.saturating_sub(1)
}

fn change_slot<R>(
    slots: &mut Vec<ChildSlot>,
    head: u64,
    label: &[u8],
    change: impl FnOnce(&mut Node) -> R,
) -> R {
    let (at, result) = match position(slots, head, label) {
        Ok(at) => (at, change(Arc::make_mut(&mut slots[at].node))),
        Err(at) => {
            let mut node = Node::new(label);
            let result = change(&mut node);
            slots.insert(at, ChildSlot { prefix: head, node: Arc::new(node) });
            (at, result)
        }
    };
    if slots[at].node.is_vacant() {
        slots.remove(at);
    }
    result
}

/// Brings the branch that changed back to a legal size and its summary up to date.
fn settle(branches: &mut Vec<Branch>, at: usize) {
    let len = branches[at].part.len();
    if len > MAX_ARRAY_LEN {
        let right = Arc::make_mut(&mut branches[at].part).split();
        branches.insert(at + 1, Branch::new(right));
    } else if len < MIN_ARRAY_LEN && branches.len() > 1 {
        merge(branches, if at == 0 { 0 } else { at - 1 });
        return;
    }
    let part = &branches[at].part;
    (branches[at].prefix, branches[at].visible) = (part.first_prefix(), part.visible());
}

/// Joins two neighbours, and halves them again if that is too much for one.
fn merge(branches: &mut Vec<Branch>, left: usize) {
    let right = Arc::unwrap_or_clone(branches.remove(left + 1).part);
    let part = Arc::make_mut(&mut branches[left].part);
    part.append(right);
    let rest = (part.len() > MAX_ARRAY_LEN).then(|| part.split());
    let part = &branches[left].part;
    (branches[left].prefix, branches[left].visible) = (part.first_prefix(), part.visible());
    if let Some(rest) = rest {
        branches.insert(left + 1, Branch::new(rest));
    }
}
