//! A limit on the services that are read for one purpose.

/// How many services may still be read for one purpose, such as the answer itself.
#[derive(Debug)]
pub(super) struct Budget {
    /// Maximum number of services with different data that one look-up may find.
    pub(super) max_different: usize,
    /// Number of services that look-ups may still find.
    left: usize,
}

impl Budget {
    /// A budget of `services` services, of which one look-up may find at most `max_different` with different data.
    pub(super) fn new(services: usize, max_different: usize) -> Self {
        Self { max_different, left: services }
    }

    /// Counts services that a look-up found. The last look-up may find more than was left.
    pub(super) fn spend(&mut self, services: usize) {
        self.left = self.left.saturating_sub(services);
    }

    /// Whether nothing is left.
    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }
}
