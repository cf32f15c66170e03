//! What an answer depends on.

use crate::tree::VersionSlot;
use std::cell::{Cell, RefCell};

/// Maximum number of version slots that are noted for one answer; an answer that depends on more is not cached.
const MAX_SLOTS: usize = 128;

/// Collects what an answer depends on, so that its reply can be sent again until one of these changes.
///
/// These are the names that were looked up, the serial, leases, and what the client may ask for. [`View`](super::View) is shared while
/// an answer is built, hence the cells.
#[derive(Debug, Default)]
pub struct Dependencies {
    slots: RefCell<Vec<VersionSlot>>,
    too_many_slots: Cell<bool>,
    pub(super) serial: Cell<bool>,
    pub(super) lease: Cell<bool>,
    /// Whether a service of the answer is deleted, and its deletion held back.
    pub(super) held: Cell<bool>,
    pub(super) client: Cell<bool>,
    /// Whether a service of the answer is only in the layer that is [leaving](crate::tree::Layer::LEAVING).
    leaving: Cell<bool>,
}

impl Dependencies {
    /// The version slots of the names that were looked up; `None` if the reply must not be sent a second time, because
    /// other clients get another, or because it depends on too many names.
    pub fn into_slots(self) -> Option<Vec<VersionSlot>> {
        let cacheable = !self.client.get() && !self.too_many_slots.get();
        cacheable.then(|| self.slots.into_inner())
    }

    /// Whether the answer holds the serial of the SOA.
    pub fn has_serial(&self) -> bool {
        self.serial.get()
    }

    /// Whether a TTL of the answer counts down, because the service ends with its lease.
    pub fn has_lease(&self) -> bool {
        self.lease.get()
    }

    /// Whether a service of the answer is only in the layer that is [leaving](crate::tree::Layer::LEAVING).
    pub fn has_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// Notes that there is such a service.
    pub(super) fn note_leaving(&self, is_leaving: bool) {
        self.leaving.set(self.leaving.get() || is_leaving);
    }

    /// Adds the version slot of a name that is looked up.
    pub fn add(&self, slot: VersionSlot) {
        let mut slots = self.slots.borrow_mut();
        if slots.contains(&slot) {
            return;
        }
        if slots.len() < MAX_SLOTS {
            slots.push(slot);
        } else {
            self.too_many_slots.set(true);
        }
    }

    /// Adds the slots that the types of a name depend on; `None` means too many. Leases change no types, so they are not
    /// added.
    pub(super) fn add_all(&self, slots: Option<&[VersionSlot]>) {
        match slots {
            Some(slots) => slots.iter().for_each(|slot| self.add(*slot)),
            None => self.too_many_slots.set(true),
        }
    }

    /// The version slots of the names that were looked up; `None` if they are too many.
    pub(super) fn slots(&self) -> Option<Box<[VersionSlot]>> {
        (!self.too_many_slots.get()).then(|| self.slots.borrow().as_slice().into())
    }
}
