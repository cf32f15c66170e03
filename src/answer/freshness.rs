//! How far the tree can be trusted, for each zone: as far as the sources that feed it.

use super::zone::Zone;
use crate::service::Key;
use std::collections::HashMap;
use std::sync::Arc;

/// How far a part of the tree can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// Every source has been read, and reports changes.
    #[default]
    Current,
    /// Every source has been read, but one cannot be reached now.
    Stale,
    /// A source has not been read yet, and its services are those of a snapshot: a name that is missing may exist by now.
    Restored,
    /// A source was never read: what is missing may exist.
    Incomplete,
}

impl Freshness {
    /// Whether what is there may be out of date.
    pub fn is_stale(self) -> bool {
        matches!(self, Self::Stale | Self::Restored)
    }

    /// Whether a name that is missing may exist all the same.
    pub fn may_lack_names(self) -> bool {
        matches!(self, Self::Restored | Self::Incomplete)
    }
}

/// How far each zone can be trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteFreshness {
    outside: Freshness,
    /// The zones that are not as the names outside, by their apex. There are none as a rule.
    zones: Option<Arc<HashMap<Key, Freshness>>>,
}

impl SiteFreshness {
    /// The freshness of zones, by their apexes, and of the names outside.
    pub fn new(zones: impl Iterator<Item = (Key, Freshness)>, outside: Freshness) -> Self {
        let others: HashMap<_, _> = zones.filter(|(_, freshness)| *freshness != outside).collect();
        Self { outside, zones: (!others.is_empty()).then(|| Arc::new(others)) }
    }

    /// The freshness of a zone.
    pub fn of(&self, zone: &Zone) -> Freshness {
        let own = self.zones.as_ref().and_then(|zones| zones.get(zone.apex()));
        own.copied().unwrap_or(self.outside)
    }

    /// The freshness of names outside of all zones: of all sources that may have any name.
    pub fn outside(&self) -> Freshness {
        self.outside
    }
}

/// The same freshness everywhere.
impl From<Freshness> for SiteFreshness {
    fn from(outside: Freshness) -> Self {
        Self { outside, zones: None }
    }
}
