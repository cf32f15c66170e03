//! The children of a node: a B-tree of shared parts, sorted by label.
//!
//! Most nodes have a handful of children in one small array. A node with a million children is a few levels deep, and
//! changing one child copies one array a level.

use super::child_kinds::ChildKinds;
use super::label::prefix;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Maximum length of one array. 32 slots of 16 octets are eight cache lines, of which a search touches two or three, and
/// little to copy on a change.
const MAX_ARRAY_LEN: usize = 32;

/// Arrays that get shorter than this are merged with a neighbour.
const MIN_ARRAY_LEN: usize = MAX_ARRAY_LEN / 4;

/// What the B-tree has to know of a node.
pub(super) trait Child: Clone {
    /// A node with a label and nothing else.
    fn new(label: &[u8]) -> Self;

    /// The label, in lower case.
    fn label(&self) -> &[u8];

    /// The kinds of data of the node that belong to the name above it.
    fn kinds_for_parent(&self) -> ChildKinds;

    /// Whether the node has neither an entry nor children, so that it has to go.
    fn is_vacant(&self) -> bool;
}

/// The children of one node, or a part of them; see the module's text.
#[derive(Clone, Debug)]
pub(super) enum Children<N> {
    Leaf(Vec<ChildSlot<N>>),
    Fork(Vec<Branch<N>>),
}

/// A child with the beginning of its label.
#[derive(Clone, Debug)]
pub(super) struct ChildSlot<N> {
    /// See [`prefix`].
    prefix: u64,
    node: Arc<N>,
}

/// A part of the children, which is never empty, with a summary.
#[derive(Clone, Debug)]
pub(super) struct Branch<N> {
    /// Prefix of the first label in the part.
    prefix: u64,
    /// The kinds of data of all children in the part.
    kinds: ChildKinds,
    part: Arc<Children<N>>,
}

/// Where a search goes on.
pub(super) enum Step<'t, N> {
    /// In a part of the children.
    Part(&'t Children<N>),
    /// The child is found.
    Child(&'t Arc<N>),
    /// There is no such child.
    None,
}

impl<N> Default for Children<N> {
    fn default() -> Self {
        Self::Leaf(Vec::new())
    }
}

impl<N: Child> Children<N> {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The child with a label.
    pub(super) fn find(&self, label: &[u8]) -> Option<&Arc<N>> {
        let head = prefix(label);
        let mut part = self;
        loop {
            match part {
                Self::Leaf(slots) => {
                    let index = position(slots, head, label).ok()?;
                    return Some(&slots[index].node);
                }
                Self::Fork(branches) => part = &branches[branch_of(branches, head, label)].part,
            }
        }
    }

    /// One step of [`find`](Self::find): searches the topmost array for a label, which begins with `head`.
    pub(super) fn step(&self, head: u64, label: &[u8]) -> Step<'_, N> {
        match self {
            Self::Leaf(slots) => match position(slots, head, label) {
                Ok(index) => Step::Child(&slots[index].node),
                Err(_) => Step::None,
            },
            Self::Fork(branches) => Step::Part(&branches[branch_of(branches, head, label)].part),
        }
    }

    /// Something of each cache line of the topmost array.
    pub(super) fn lines(&self) -> u64 {
        match self {
            Self::Leaf(slots) => slots.iter().step_by(4).fold(0, |sum, slot| sum ^ slot.prefix),
            Self::Fork(branches) => branches.iter().step_by(2).fold(0, |sum, branch| sum ^ branch.prefix),
        }
    }

    /// Calls `each` for the children in label order until it breaks.
    pub(super) fn for_each<'t>(
        &'t self,
        each: &mut dyn FnMut(&'t Arc<N>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Leaf(slots) => slots.iter().try_for_each(|slot| each(&slot.node)),
            Self::Fork(branches) => branches.iter().try_for_each(|branch| branch.part.for_each(each)),
        }
    }

    /// As [`Self::for_each`], but parts without data of a wanted kind are left out as a whole. Other children may come along.
    pub(super) fn for_each_with<'t>(
        &'t self,
        wanted: ChildKinds,
        each: &mut dyn FnMut(&'t Arc<N>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Leaf(slots) => slots.iter().try_for_each(|slot| each(&slot.node)),
            Self::Fork(branches) => {
                let mut with = branches.iter().filter(|branch| branch.kinds.meets(wanted));
                with.try_for_each(|branch| branch.part.for_each_with(wanted, each))
            }
        }
    }

    /// The kinds of data of the children that belong to the name above them.
    pub(super) fn kinds(&self) -> ChildKinds {
        let none = ChildKinds::default();
        match self {
            Self::Leaf(slots) => slots.iter().fold(none, |kinds, slot| kinds | slot.node.kinds_for_parent()),
            Self::Fork(branches) => branches.iter().fold(none, |kinds, branch| kinds | branch.kinds),
        }
    }

    /// Changes the child with a label. A child that is missing is made first, and a child that is vacant afterwards is
    /// dropped.
    pub(super) fn change<R>(&mut self, label: &[u8], change: impl FnOnce(&mut N) -> R) -> R {
        let result = self.change_part(label, change);
        match self {
            _ if self.len() > MAX_ARRAY_LEN => {
                let right = self.split_behind(label);
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

    fn change_part<R>(&mut self, label: &[u8], change: impl FnOnce(&mut N) -> R) -> R {
        let head = prefix(label);
        match self {
            Self::Leaf(slots) => change_slot(slots, head, label, change),
            Self::Fork(branches) => {
                let index = branch_of(branches, head, label);
                let branch = &mut branches[index];
                let result = Arc::make_mut(&mut branch.part).change_part(label, change);
                rebalance(branches, index, label);
                result
            }
        }
    }

    /// Length of the topmost array.
    fn len(&self) -> usize {
        match self {
            Self::Leaf(slots) => slots.len(),
            Self::Fork(branches) => branches.len(),
        }
    }

    /// Takes the upper half of the topmost array off; less if a label is its last, as each new one is when they come in order:
    /// then the lower part never grows again.
    fn split_behind(&mut self, label: &[u8]) -> Self {
        let is_last = match self {
            Self::Leaf(slots) => slots.last().is_some_and(|last| last.node.label() == label),
            Self::Fork(branches) => branch_of(branches, prefix(label), label) + 1 == branches.len(),
        };
        self.split(if is_last { self.len() - MIN_ARRAY_LEN - 1 } else { self.len() / 2 })
    }

    /// Takes the topmost array from an index on off. What is left takes no more memory than it needs.
    fn split(&mut self, at: usize) -> Self {
        match self {
            Self::Leaf(slots) => {
                let right = slots.split_off(at);
                slots.shrink_to_fit();
                Self::Leaf(right)
            }
            Self::Fork(branches) => {
                let right = branches.split_off(at);
                branches.shrink_to_fit();
                Self::Fork(right)
            }
        }
    }

    /// Adds the next part, which has the same height.
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

impl<N: Child> Branch<N> {
    fn new(part: Children<N>) -> Self {
        Self { prefix: part.first_prefix(), kinds: part.kinds(), part: Arc::new(part) }
    }

    /// Brings the summary up to date.
    fn summarize(&mut self) {
        (self.prefix, self.kinds) = (self.part.first_prefix(), self.part.kinds());
    }
}

/// The index of a label among sorted slots, or the index where it belongs.
fn position<N: Child>(slots: &[ChildSlot<N>], head: u64, label: &[u8]) -> Result<usize, usize> {
    let mut at = slots.partition_point(|slot| slot.prefix < head);
    let is_before = |slot: &ChildSlot<N>| slot.prefix == head && slot.node.label() < label;
    if slots.get(at).is_some_and(is_before) {
        at += slots[at..].partition_point(is_before);
    }
    let is_it = |slot: &ChildSlot<N>| slot.prefix == head && slot.node.label() == label;
    if slots.get(at).is_some_and(is_it) { Ok(at) } else { Err(at) }
}

/// The index of the branch in which a label is or belongs.
fn branch_of<N: Child>(branches: &[Branch<N>], head: u64, label: &[u8]) -> usize {
    let mut after = branches.partition_point(|branch| branch.prefix < head);
    let is_before = |branch: &Branch<N>| branch.prefix == head && branch.part.first_label() <= label;
    if branches.get(after).is_some_and(is_before) {
        after += branches[after..].partition_point(is_before);
    }
    after.saturating_sub(1)
}

fn change_slot<N: Child, R>(
    slots: &mut Vec<ChildSlot<N>>,
    head: u64,
    label: &[u8],
    change: impl FnOnce(&mut N) -> R,
) -> R {
    let (index, result) = match position(slots, head, label) {
        Ok(index) => (index, change(Arc::make_mut(&mut slots[index].node))),
        Err(index) => {
            let mut node = N::new(label);
            let result = change(&mut node);
            slots.insert(index, ChildSlot { prefix: head, node: Arc::new(node) });
            (index, result)
        }
    };
    if slots[index].node.is_vacant() {
        slots.remove(index);
    }
    result
}

/// Brings the branch that a label was changed in back to a legal length, and its summary up to date.
fn rebalance<N: Child>(branches: &mut Vec<Branch<N>>, index: usize, label: &[u8]) {
    let len = branches[index].part.len();
    if len > MAX_ARRAY_LEN {
        let right = Arc::make_mut(&mut branches[index].part).split_behind(label);
        branches.insert(index + 1, Branch::new(right));
    } else if len < MIN_ARRAY_LEN && branches.len() > 1 {
        merge(branches, if index == 0 { 0 } else { index - 1 });
        return;
    }
    branches[index].summarize();
}

/// Joins two neighbours, and halves them again if together they are too long for one array.
fn merge<N: Child>(branches: &mut Vec<Branch<N>>, left: usize) {
    let right = Arc::unwrap_or_clone(branches.remove(left + 1).part);
    let part = Arc::make_mut(&mut branches[left].part);
    part.append(right);
    let upper_half = (part.len() > MAX_ARRAY_LEN).then(|| part.split(part.len() / 2));
    branches[left].summarize();
    if let Some(upper_half) = upper_half {
        branches.insert(left + 1, Branch::new(upper_half));
    }
}
