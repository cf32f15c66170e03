//! A bound on what all look-ups for one purpose may cost together.

use std::cell::Cell;
use std::ops::ControlFlow;

/// Work that look-ups may still do for one purpose, such as one answer; each takes its part.
///
/// The unit is one node that is visited: 20 to 150 ns, by the size of the tree and of the caches of the machine. A look-up
/// is charged whatever it finds, so no number of look-ups without result is free.
#[derive(Debug)]
pub struct Work {
    units: u32,
    left: Cell<u32>,
    spent: Cell<bool>,
}

impl Work {
    /// Units for a look-up itself: its path is made, and its version slot hashed.
    pub(super) const SEARCH: u32 = 8;

    /// Units for a service that a look-up takes: it is compared with the others, and becomes a record.
    pub const SERVICE: u32 = 4;

    /// Work of so many units.
    pub const fn new(units: u32) -> Self {
        Self { units, left: Cell::new(units), spent: Cell::new(false) }
    }

    /// Takes units; `Break` if so many are not left, and from then on for every charge.
    pub fn charge(&self, units: u32) -> ControlFlow<()> {
        match self.left.get().checked_sub(units) {
            Some(left) if !self.spent.get() => {
                self.left.set(left);
                ControlFlow::Continue(())
            }
            _ => {
                self.spent.set(true);
                ControlFlow::Break(())
            }
        }
    }

    /// How many units there were in the beginning.
    pub fn units(&self) -> u32 {
        self.units
    }

    /// How many units are left.
    pub fn left(&self) -> u32 {
        self.left.get()
    }

    /// Whether more was charged than there was: then something was not looked up.
    pub fn is_spent(&self) -> bool {
        self.spent.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_is_spent_stays_spent() {
        let work = Work::new(10);
        assert!(work.charge(7).is_continue() && work.charge(3).is_continue() && !work.is_spent());
        assert!(work.charge(1).is_break() && work.is_spent());
        let work = Work::new(10);
        assert!(work.charge(11).is_break() && work.charge(1).is_break());
    }
}
