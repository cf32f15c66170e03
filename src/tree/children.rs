//! The children of a node: a B-tree of shared parts, sorted by label.
//!
//! Most nodes have a handful of children in one small array. A node with a million children is a few levels deep, and
//! changing one child copies one array a level.
//!
//! Beside the pointer to each child or part stand eight octets of its label, behind those that all labels of the array have in
//! common: they decide nearly every comparison without a visit to the child, also where all labels begin alike.

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
    Leaf(Skip, Vec<ChildSlot<N>>),
    Fork(Skip, Vec<Branch<N>>),
}

/// How many octets at the beginning of a label are left out: all labels of the array have them in common.
type Skip = u8;

/// A child with the beginning of its label.
#[derive(Clone, Debug)]
pub(super) struct ChildSlot<N> {
    /// See [`head`].
    prefix: u64,
    node: Arc<N>,
}

/// A part of the children, which is never empty, with a summary.
#[derive(Clone, Debug)]
pub(super) struct Branch<N> {
    /// That of the first label in the part.
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
        Self::Leaf(0, Vec::new())
    }
}

impl<N: Child> Children<N> {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The child with a label.
    pub(super) fn find(&self, label: &[u8]) -> Option<&Arc<N>> {
        let mut part = self;
        loop {
            match part.step(label) {
                Step::Part(next) => part = next,
                Step::Child(node) => return Some(node),
                Step::None => return None,
            }
        }
    }

    /// One step of [`find`](Self::find): searches the topmost array. A label that lacks what those of the array have in common
    /// leads somewhere, where it is not found.
    pub(super) fn step(&self, label: &[u8]) -> Step<'_, N> {
        match self {
            Self::Leaf(skip, slots) => match position(slots, head(label, *skip), label) {
                Ok(index) => Step::Child(&slots[index].node),
                Err(_) => Step::None,
            },
            Self::Fork(skip, branches) => {
                Step::Part(&branches[branch_of(branches, head(label, *skip), label)].part)
            }
        }
    }

    /// Something of each cache line of the topmost array.
    pub(super) fn lines(&self) -> u64 {
        match self {
            Self::Leaf(_, slots) => slots.iter().step_by(4).fold(0, |sum, slot| sum ^ slot.prefix),
            Self::Fork(_, branches) => branches.iter().step_by(2).fold(0, |sum, branch| sum ^ branch.prefix),
        }
    }

    /// Calls `each` for the children in label order until it breaks.
    pub(super) fn for_each<'t>(
        &'t self,
        each: &mut dyn FnMut(&'t Arc<N>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Leaf(_, slots) => slots.iter().try_for_each(|slot| each(&slot.node)),
            Self::Fork(_, branches) => branches.iter().try_for_each(|branch| branch.part.for_each(each)),
        }
    }

    /// As [`Self::for_each`], but parts without data of a wanted kind are left out as a whole. Other children may come along.
    pub(super) fn for_each_with<'t>(
        &'t self,
        wanted: ChildKinds,
        each: &mut dyn FnMut(&'t Arc<N>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Leaf(_, slots) => slots.iter().try_for_each(|slot| each(&slot.node)),
            Self::Fork(_, branches) => {
                let mut with = branches.iter().filter(|branch| branch.kinds.meets(wanted));
                with.try_for_each(|branch| branch.part.for_each_with(wanted, each))
            }
        }
    }

    /// The kinds of data of the children that belong to the name above them.
    pub(super) fn kinds(&self) -> ChildKinds {
        let none = ChildKinds::default();
        match self {
            Self::Leaf(_, slots) => {
                slots.iter().fold(none, |kinds, slot| kinds | slot.node.kinds_for_parent())
            }
            Self::Fork(_, branches) => branches.iter().fold(none, |kinds, branch| kinds | branch.kinds),
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
                *self = Self::Fork(0, vec![Branch::new(left, 0), Branch::new(right, 0)]);
                self.skip_what_is_common();
            }
            Self::Fork(_, branches) if branches.len() == 1 => {
                if let Some(only) = branches.pop() {
                    *self = Arc::unwrap_or_clone(only.part);
                }
            }
            _ => {}
        }
        result
    }

    fn change_part<R>(&mut self, label: &[u8], change: impl FnOnce(&mut N) -> R) -> R {
        if self.is_empty() {
            self.set_skip(Skip::try_from(label.len()).unwrap_or(0));
        }
        let common = self.common_with(label);
        if common < self.skip() {
            self.set_skip(common);
        }
        match self {
            Self::Leaf(skip, slots) => change_slot(slots, head(label, *skip), label, change),
            Self::Fork(skip, branches) => {
                let index = branch_of(branches, head(label, *skip), label);
                let branch = &mut branches[index];
                let result = Arc::make_mut(&mut branch.part).change_part(label, change);
                rebalance(branches, *skip, index, label);
                result
            }
        }
    }

    fn skip(&self) -> Skip {
        let (Self::Leaf(skip, _) | Self::Fork(skip, _)) = self;
        *skip
    }

    /// How many octets at the beginning a label and all labels here have in common, at most [`skip`](Self::skip).
    fn common_with(&self, label: &[u8]) -> Skip {
        if self.is_empty() { self.skip() } else { common(self.first_label(), label).min(self.skip()) }
    }

    /// Leaves out all octets that the labels have in common.
    fn skip_what_is_common(&mut self) {
        self.set_skip(common(self.first_label(), self.last_label()));
    }

    /// Leaves out so many octets of each label, which all of them have in common.
    fn set_skip(&mut self, new: Skip) {
        match self {
            Self::Leaf(skip, slots) => {
                *skip = new;
                slots.iter_mut().for_each(|slot| slot.prefix = head(slot.node.label(), new));
            }
            Self::Fork(skip, branches) => {
                *skip = new;
                branches.iter_mut().for_each(|branch| branch.prefix = head(branch.part.first_label(), new));
            }
        }
    }

    /// Length of the topmost array.
    fn len(&self) -> usize {
        match self {
            Self::Leaf(_, slots) => slots.len(),
            Self::Fork(_, branches) => branches.len(),
        }
    }

    /// Takes the upper half of the topmost array off; less if a label is its last, as each new one is when they come in order:
    /// then the lower part never grows again.
    fn split_behind(&mut self, label: &[u8]) -> Self {
        let is_last = match self {
            Self::Leaf(_, slots) => slots.last().is_some_and(|last| last.node.label() == label),
            Self::Fork(skip, branches) => {
                branch_of(branches, head(label, *skip), label) + 1 == branches.len()
            }
        };
        self.split(if is_last { self.len() - MIN_ARRAY_LEN - 1 } else { self.len() / 2 })
    }

    /// Takes the topmost array from an index on off. What is left takes no more memory than it needs.
    fn split(&mut self, at: usize) -> Self {
        let mut right = match self {
            Self::Leaf(skip, slots) => {
                let right = slots.split_off(at);
                slots.shrink_to_fit();
                Self::Leaf(*skip, right)
            }
            Self::Fork(skip, branches) => {
                let right = branches.split_off(at);
                branches.shrink_to_fit();
                Self::Fork(*skip, right)
            }
        };
        self.skip_what_is_common();
        right.skip_what_is_common();
        right
    }

    /// Adds the next part, which has the same height.
    fn append(&mut self, next: Self) {
        match (&mut *self, next) {
            (Self::Leaf(_, slots), Self::Leaf(_, mut next)) => slots.append(&mut next),
            (Self::Fork(_, branches), Self::Fork(_, mut next)) => branches.append(&mut next),
            _ => unreachable!("all parts of one level have the same height"),
        }
        self.skip_what_is_common();
    }

    fn first_label(&self) -> &[u8] {
        match self {
            Self::Leaf(_, slots) => slots.first().map_or(b"", |slot| slot.node.label()),
            Self::Fork(_, branches) => branches.first().map_or(b"", |branch| branch.part.first_label()),
        }
    }

    fn last_label(&self) -> &[u8] {
        match self {
            Self::Leaf(_, slots) => slots.last().map_or(b"", |slot| slot.node.label()),
            Self::Fork(_, branches) => branches.last().map_or(b"", |branch| branch.part.last_label()),
        }
    }
}

impl<N: Child> Branch<N> {
    fn new(part: Children<N>, skip: Skip) -> Self {
        Self { prefix: head(part.first_label(), skip), kinds: part.kinds(), part: Arc::new(part) }
    }

    /// Brings the summary up to date.
    fn summarize(&mut self, skip: Skip) {
        (self.prefix, self.kinds) = (head(self.part.first_label(), skip), self.part.kinds());
    }
}

/// The first octets of a label behind those that are left out; see [`prefix`].
fn head(label: &[u8], skip: Skip) -> u64 {
    prefix(label.get(usize::from(skip)..).unwrap_or_default())
}

/// How many octets at the beginning two labels have in common.
fn common(a: &[u8], b: &[u8]) -> Skip {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    Skip::try_from(same).unwrap_or(Skip::MAX)
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
fn rebalance<N: Child>(branches: &mut Vec<Branch<N>>, skip: Skip, index: usize, label: &[u8]) {
    let len = branches[index].part.len();
    if len > MAX_ARRAY_LEN {
        let right = Arc::make_mut(&mut branches[index].part).split_behind(label);
        branches.insert(index + 1, Branch::new(right, skip));
    } else if len < MIN_ARRAY_LEN && branches.len() > 1 {
        merge(branches, skip, if index == 0 { 0 } else { index - 1 });
        return;
    }
    branches[index].summarize(skip);
}

/// Joins two neighbours, and halves them again if together they are too long for one array.
fn merge<N: Child>(branches: &mut Vec<Branch<N>>, skip: Skip, left: usize) {
    let right = Arc::unwrap_or_clone(branches.remove(left + 1).part);
    let part = Arc::make_mut(&mut branches[left].part);
    part.append(right);
    let upper_half = (part.len() > MAX_ARRAY_LEN).then(|| part.split(part.len() / 2));
    branches[left].summarize(skip);
    if let Some(upper_half) = upper_half {
        branches.insert(left + 1, Branch::new(upper_half, skip));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// A child that is nothing but its label, and vacant when it is taken away.
    #[derive(Clone, Debug)]
    struct Named(Vec<u8>, bool);

    impl Child for Named {
        fn new(label: &[u8]) -> Self {
            Self(label.to_vec(), true)
        }

        fn label(&self) -> &[u8] {
            &self.0
        }

        fn kinds_for_parent(&self) -> ChildKinds {
            ChildKinds::default()
        }

        fn is_vacant(&self) -> bool {
            !self.1
        }
    }

    /// Every array leaves out what all its labels have in common at most, and its slots hold what follows.
    fn check(children: &Children<Named>) {
        let skip = usize::from(children.skip());
        if !children.is_empty() {
            assert!(usize::from(common(children.first_label(), children.last_label())) >= skip);
        }
        match children {
            Children::Leaf(skip, slots) => {
                assert!(slots.iter().all(|slot| slot.prefix == head(slot.node.label(), *skip)));
            }
            Children::Fork(skip, branches) => {
                for branch in branches {
                    assert_eq!(branch.prefix, head(branch.part.first_label(), *skip));
                    check(&branch.part);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn labels_that_begin_alike_are_found(
            changes in prop::collection::vec(("(web-frontend-|web-|)[ab]{0,3}(-production-)?[0-9]{1,3}", prop::bool::weighted(0.7)), 1..1_500),
        ) {
            let (mut children, mut labels) = (Children::<Named>::default(), BTreeSet::new());
            for (label, is_there) in &changes {
                let label = label.as_bytes();
                children.change(label, |child| child.1 = *is_there);
                if *is_there { labels.insert(label.to_vec()); } else { labels.remove(label); }
            }
            check(&children);
            let mut all = Vec::new();
            let _ = children.for_each(&mut |child| {
                all.push(child.label().to_vec());
                ControlFlow::Continue(())
            });
            prop_assert_eq!(&all, &labels.iter().cloned().collect::<Vec<_>>());
            for (label, _) in &changes {
                for label in [label.clone(), format!("x{label}"), format!("{label}x")] {
                    let found = children.find(label.as_bytes()).is_some();
                    prop_assert_eq!(found, labels.contains(label.as_bytes()), "{}", label);
                }
            }
        }
    }
}
