//! What the mirror tells: the state that readers see, and how each source is doing.

use super::id::SourceId;
use crate::answer::{Freshness, TypeCache};
use crate::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

/// What readers see: one state of all sources.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The services.
    pub tree: Tree,
    /// How far they can be trusted.
    pub freshness: Freshness,
    /// What was found out about names of this tree.
    pub type_cache: Arc<TypeCache>,
}

/// How a source is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceState {
    /// Never read.
    #[default]
    Waiting,
    /// Not read since the start; served is what a snapshot held.
    Snapshot {
        /// When the store was last known to hold it.
        as_of: SystemTime,
    },
    /// Read, and telling of changes.
    Synced {
        /// The store's revision, if it counts any.
        revision: Option<i64>,
        /// When the last listing or change came.
        changed: SystemTime,
    },
    /// Cannot be reached now.
    Unreachable {
        /// Why, for a person.
        reason: String,
        /// What is served of it all the same.
        served_from: ServedFrom,
        /// Since when.
        since: SystemTime,
    },
}

/// What is served of a source that cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedFrom {
    /// It was never read: nobody knows what it has.
    Nothing,
    /// What a snapshot held, as the store was last known at a time.
    Snapshot(SystemTime),
    /// What it told while it could be reached.
    Listing {
        /// The store's revision, if it counts any.
        revision: Option<i64>,
    },
}

impl SourceState {
    /// The names for a machine, in the order of [`place`](Self::index).
    pub const NAMES: [&str; 4] = ["waiting", "snapshot", "synced", "lost"];

    /// Which of [`NAMES`](Self::NAMES) it has.
    pub fn index(&self) -> usize {
        match self {
            Self::Waiting => 0,
            Self::Snapshot { .. } => 1,
            Self::Synced { .. } => 2,
            Self::Unreachable { .. } => 3,
        }
    }

    /// What is served of the source.
    pub fn served_from(&self) -> ServedFrom {
        match self {
            Self::Waiting => ServedFrom::Nothing,
            Self::Snapshot { as_of } => ServedFrom::Snapshot(*as_of),
            Self::Synced { revision, .. } => ServedFrom::Listing { revision: *revision },
            Self::Unreachable { served_from, .. } => *served_from,
        }
    }

    /// Whether it is known what the source has, or had.
    pub fn is_served(&self) -> bool {
        self.served_from() != ServedFrom::Nothing
    }
}

/// The state of all sources, and the configuration that they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Each source in use.
    pub sources: BTreeMap<SourceId, SourceState>,
    /// The value of the key `config` of each source that has one.
    pub configs: BTreeMap<SourceId, Vec<u8>>,
    /// How often each source came to each state, in the order of [`SourceState::NAMES`].
    pub changes: BTreeMap<SourceId, [u64; SourceState::NAMES.len()]>,
    /// Names in the tree.
    pub names: usize,
    /// The sources that nothing asks for: they count if they are there.
    pub optional: BTreeSet<SourceId>,
}

impl Status {
    /// The value of the key `config`, from the source of the highest precedence that has one.
    pub fn config(&self) -> Option<(SourceId, Vec<u8>)> {
        self.configs.last_key_value().map(|(id, config)| (*id, config.clone()))
    }
}
