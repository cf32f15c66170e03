//! How far each zone can be trusted: as far as the sources that feed it.
//!
//! A source that was never read may have names of each zone that it [feeds](MirroredSource::feeds). Of one that cannot be
//! reached now it is known which zones it has names of: only these are stale.

use super::Mirror;
use super::source::MirroredSource;
use crate::answer::{Freshness, Site, SiteFreshness, Zone};
use crate::source::id::SourceId;
use crate::source::state::ServedFrom;
use std::sync::Arc;

/// What freshness follows from. It is found out again when this changes.
#[derive(Debug, Default)]
pub(super) struct Assessed {
    site: Option<Arc<Site>>,
    sources: Vec<AssessedSource>,
}

/// What of a source decides.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked on its own")]
struct AssessedSource {
    id: SourceId,
    is_served: bool,
    is_stale: bool,
    is_missing: bool,
    /// Whether it is of a snapshot, and nothing newer is known.
    is_restored: bool,
}

impl Mirror {
    /// Brings the freshness up to date.
    pub(super) fn assess(&mut self) {
        let state = |(id, source): (&SourceId, &MirroredSource)| AssessedSource {
            id: *id,
            is_served: source.state.is_served(),
            is_stale: source.is_stale(),
            is_missing: source.is_missing(),
            is_restored: is_restored(*id, source),
        };
        let sources: Vec<_> = self.sources.iter().map(state).collect();
        let is_same_site = match (&self.assessed.site, &self.site) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        if is_same_site && self.assessed.sources == sources {
            return;
        }
        self.freshness = self.freshness_now();
        self.assessed = Assessed { site: self.site.clone(), sources };
    }

    fn freshness_now(&self) -> SiteFreshness {
        let everywhere = |source: &MirroredSource| source.feeds.is_none() || source.feeds_outside;
        let outside = self.freshness_by(|_, source| everywhere(source), |_, source| everywhere(source));
        let zones = self.site.iter().flat_map(|site| site.zones.iter());
        let of_zone = |zone: &Zone| {
            self.beat();
            let feeds = |_: SourceId, source: &MirroredSource| source.may_feed(zone);
            let has_names = |id: SourceId, source: &MirroredSource| {
                let has_keys = || self.tree.has_layer_below(zone.apex(), zone.extent(), id.layer());
                source.may_feed(zone) && (id == SourceId::Kubernetes || has_keys())
            };
            (zone.apex().clone(), self.freshness_by(feeds, has_names))
        };
        // Where nothing is wrong, nothing has to be looked for.
        let is_current =
            outside == Freshness::Current && self.sources.values().all(MirroredSource::is_current);
        SiteFreshness::new(zones.filter(|_| !is_current).map(of_zone), outside)
    }

    /// The freshness of a part of the tree: `may_have` tells of a source whether it may have names there, and `has` whether it
    /// has.
    fn freshness_by(
        &self,
        may_have: impl Fn(SourceId, &MirroredSource) -> bool,
        has: impl Fn(SourceId, &MirroredSource) -> bool,
    ) -> Freshness {
        let mut missing = self.sources.iter().filter(|(_, source)| source.is_missing());
        let mut stale = self.sources.iter().filter(|(_, source)| source.is_stale());
        if missing.any(|(id, source)| may_have(*id, source)) {
            Freshness::Incomplete
        } else if self.sources.iter().any(|(id, source)| is_restored(*id, source) && may_have(*id, source)) {
            Freshness::Restored
        } else if stale.any(|(id, source)| has(*id, source)) {
            Freshness::Stale
        } else {
            Freshness::Current
        }
    }
}

/// Whether a source is a cluster whose services are those of a snapshot: they change too often for it to deny a name.
fn is_restored(id: SourceId, source: &MirroredSource) -> bool {
    id == SourceId::Kubernetes && matches!(source.state.served_from(), ServedFrom::Snapshot(_))
}
