//! The services of a name that has few: at the name, or right below it.

use super::child_kinds::ChildKinds;
use super::data_kinds::DataKinds;
use super::entry::Entry;
use super::node::Node;
use smallvec::SmallVec;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Maximum number of services, and of names that are looked at.
const MAX_FEW: usize = 16;

/// A service of a name that has few.
#[derive(Clone, Copy, Debug)]
pub struct FewService<'t> {
    /// The service and its lease.
    pub entry: &'t Entry,
    /// The label of its key below the name; `None` for the name's own key.
    pub label: Option<&'t [u8]>,
    /// Whether it is of the layer that is [leaving](super::Layer::LEAVING).
    pub is_leaving: bool,
}

/// The services of a name that has few.
pub type FewServices<'t> = SmallVec<[FewService<'t>; MAX_FEW]>;

impl Node {
    /// The services that a subtree answer finds at this name with data of a wanted kind, in key order: what
    /// [`Tree::services`](super::Tree::services) finds in a tree without zone cuts.
    ///
    /// `None` if they are more than a few, if one is further down than right below this name, or if a key has several.
    pub fn few<'t>(&'t self, wanted: DataKinds) -> Option<FewServices<'t>> {
        let mut few = FewServices::new();
        if !self.visible().meets(wanted) {
            return Some(few);
        }
        take(self, None, wanted, &mut few)?;
        if self.is_leaf() {
            return Some(few);
        }
        let mut left = MAX_FEW;
        let each = &mut |child: &'t Arc<Self>| match look_at(child, wanted, &mut few, &mut left) {
            Some(()) => ControlFlow::Continue(()),
            None => ControlFlow::Break(()),
        };
        self.for_each_child_with(ChildKinds::of_subtree(wanted), each).is_continue().then_some(few)
    }
}

/// Takes the service of a child.
fn look_at<'t>(
    child: &'t Node,
    wanted: DataKinds,
    few: &mut FewServices<'t>,
    left: &mut usize,
) -> Option<()> {
    *left = left.checked_sub(1)?;
    if child.is_hidden() || !child.visible().meets(wanted) {
        return Some(());
    }
    if child.is_leaf() { take(child, Some(child.label()), wanted, few) } else { None }
}

/// Takes the service of a node.
fn take<'t>(
    node: &'t Node,
    label: Option<&'t [u8]>,
    wanted: DataKinds,
    few: &mut FewServices<'t>,
) -> Option<()> {
    let mut entries = node.entries();
    let Some(entry) = entries.next() else { return Some(()) };
    if entries.next().is_some() {
        return None;
    }
    if DataKinds::of(entry).meets(wanted) {
        if few.len() == MAX_FEW {
            return None;
        }
        few.push(FewService { entry, label, is_leaving: node.is_leaving() });
    }
    Some(())
}
