//! What an answer is made of, and how long its reply stays valid.

use super::sign::Signing;
use crate::answer::{self, Dependencies, Externals, Outcome, View};
use crate::config::Config;
use crate::source::Published;
use crate::wire::{Request, Transport, Validity};

/// Octets of the smallest record that a reply holds: a pointer for its owner name, and no data to speak of.
const SMALLEST_RECORD: usize = 12;

/// What one answer is made of: it must not change before the answer is signed.
pub(super) struct Making<'a> {
    pub(super) config: &'a Config,
    pub(super) published: &'a Published,
    pub(super) dependencies: &'a Dependencies,
    pub(super) signing: Option<&'a Signing>,
    pub(super) seed: u64,
    /// Unix time in seconds.
    pub(super) now: u64,
}

impl Making<'_> {
    pub(super) fn answer(&self, request: &Request, transport: Transport, externals: &Externals) -> Outcome {
        let view = View {
            zone: &self.config.zone,
            tree: &self.published.tree,
            dependencies: self.dependencies,
            freshness: self.published.freshness,
            now: self.now,
            seed: self.seed,
            externals,
            room: transport.limit() / SMALLEST_RECORD,
            dnssec: self.signing.and_then(|signing| signing.dnssec_view(&self.published.type_cache)),
        };
        // The reply takes the letter case from the question; nothing else may depend on it.
        let mut query = request.query.clone();
        query.set_name(query.name().to_lowercase());
        answer::answer(&query, &view)
    }
}

/// What an answer stands on.
pub(super) struct Standing<'a> {
    pub(super) published: &'a Published,
    pub(super) dependencies: Dependencies,
    /// Unix time in seconds.
    pub(super) now: u64,
}

impl Standing<'_> {
    /// When a reply may be sent again, at most until a time; `None` if it may not.
    pub(super) fn validity(self, until: u64) -> Option<Validity> {
        let tree = &self.published.tree;
        tree.versions()?;
        let next = self.now.saturating_add(1);
        Some(Validity {
            version: tree.version(),
            serial: self.dependencies.has_serial().then(|| tree.serial()),
            from: self.now,
            until: if self.dependencies.has_lease() { until.min(next) } else { until },
            slots: self.dependencies.into_slots()?,
            ..Validity::default()
        })
        .filter(|validity| validity.from < validity.until)
    }
}
