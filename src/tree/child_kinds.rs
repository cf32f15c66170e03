//! What a look-up for a name can find at the names below it: a summary that spares it whole parts of the tree.

use super::data_kinds::DataKinds;
use std::ops::BitOr;

/// The kinds of data of one child of a node, or of several children, that belong to the name of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ChildKinds {
    /// What a subtree answer finds at the child and below it.
    pub(super) visible: DataKinds,
    /// What the child has if it is a leaf: in exact mode the name above has that as well.
    pub(super) leaf: DataKinds,
    /// What `targetstrip` makes the data of names above the child.
    pub(super) lifted: DataKinds,
    /// How far above the child the highest of these names is, in labels.
    pub(super) lift: u8,
}

impl ChildKinds {
    /// What subtree answers find.
    pub(super) fn of_subtree(kinds: DataKinds) -> Self {
        Self { visible: kinds, ..Self::default() }
    }

    /// What answers in exact mode find.
    pub(super) fn of_exact(kinds: DataKinds) -> Self {
        Self { leaf: kinds, lifted: kinds, ..Self::default() }
    }

    /// Whether there is data of a wanted kind, in the way in which it is wanted.
    pub(super) fn meets(self, wanted: Self) -> bool {
        self.visible.meets(wanted.visible) || self.leaf.meets(wanted.leaf) || self.lifted.meets(wanted.lifted)
    }
}

impl BitOr for ChildKinds {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            visible: self.visible | other.visible,
            leaf: self.leaf | other.leaf,
            lifted: self.lifted | other.lifted,
            lift: self.lift.max(other.lift),
        }
    }
}
