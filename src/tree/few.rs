//! The services of a name that has few: at the name, or right below it.

use super::child_kinds::ChildKinds;
use super::data_kinds::DataKinds;
use super::entry::Entry;
use super::node::Node;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Maximum number of names that are looked at below a name.
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

impl Node {
    /// Calls `take` for the services that a subtree answer finds at this name with data of a wanted kind, in key order: what
    /// [`Tree::services`](super::Tree::services) finds in a tree without zone cuts.
    ///
    /// `None` as soon as `take` gives that, or if they are more than a few, if one is further down than right below this name, or
    /// if a key has several.
    pub fn few<'t>(
        &'t self,
        wanted: DataKinds,
        mut take: impl FnMut(FewService<'t>) -> Option<()>,
    ) -> Option<()> {
        if !self.visible().meets(wanted) {
            return Some(());
        }
        if let Some(service) = self.only_service(None, wanted)? {
            take(service)?;
        }
        if self.is_leaf() {
            return Some(());
        }
        let mut left = MAX_FEW;
        let each = &mut |child: &'t Arc<Self>| match child.taken_by(wanted, &mut left, &mut take) {
            Some(()) => ControlFlow::Continue(()),
            None => ControlFlow::Break(()),
        };
        self.for_each_child_with(ChildKinds::of_subtree(wanted), each).is_continue().then_some(())
    }

    /// Has the service of this child taken.
    fn taken_by<'t>(
        &'t self,
        wanted: DataKinds,
        left: &mut usize,
        take: &mut impl FnMut(FewService<'t>) -> Option<()>,
    ) -> Option<()> {
        *left = left.checked_sub(1)?;
        if self.is_hidden() || !self.visible().meets(wanted) {
            return Some(());
        }
        if !self.is_leaf() {
            return None;
        }
        match self.only_service(Some(self.label()), wanted)? {
            Some(service) => take(service),
            None => Some(()),
        }
    }

    /// The service of this node, if its data are of a wanted kind; `None` if there are several.
    fn only_service<'t>(
        &'t self,
        label: Option<&'t [u8]>,
        wanted: DataKinds,
    ) -> Option<Option<FewService<'t>>> {
        let mut entries = self.entries();
        let Some(entry) = entries.next() else { return Some(None) };
        if entries.next().is_some() {
            return None;
        }
        let service = FewService { entry, label, is_leaving: self.is_leaving() };
        Some(DataKinds::of(entry).meets(wanted).then_some(service))
    }
}
