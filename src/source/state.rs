//! What the mirror publishes: the state that readers see, and the condition of each source.

use super::id::SourceId;
use crate::answer::{SiteFreshness, TypeCache};
use crate::service::Key;
use crate::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;

/// What readers see: one state of all sources. An answer is made from one `Published`, so it never mixes two states.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The services.
    pub tree: Tree,
    /// How far answers from the tree can be trusted.
    pub freshness: SiteFreshness,
    /// Which types names of this tree have, as far as answers asked; filled by readers, empty in each new state.
    pub type_cache: Arc<TypeCache>,
}

impl Published {
    /// The keys that a source has services on.
    pub fn keys_of(&self, id: SourceId) -> Vec<Key> {
        let mut keys = Vec::new();
        self.tree.entries(id.layer(), |key, _| {
            keys.push(key);
            ControlFlow::Continue(())
        });
        keys
    }

    /// The services without those of a source.
    pub fn tree_without(&self, id: SourceId) -> Tree {
        let mut tree = Tree::new();
        for other in SourceId::ALL.into_iter().filter(|other| *other != id) {
            self.tree.entries(other.layer(), |key, entries| {
                let entries = entries.iter().map(|present| present.entry.clone()).collect();
                tree.set(&key, other.layer(), entries);
                ControlFlow::Continue(())
            });
        }
        tree
    }
}

/// The condition of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceState {
    /// The source was never read.
    #[default]
    Waiting,
    /// The source was not read since the start; a snapshot of it is served.
    Snapshot {
        /// When the store was last known to hold what the snapshot holds.
        as_of: SystemTime,
    },
    /// The source was listed, and reports each change.
    Synced {
        /// The store's revision, if the store counts revisions.
        revision: Option<i64>,
        /// When the last listing or change came.
        changed: SystemTime,
    },
    /// The source is not needed, or the store has no such interface: nothing of it is served, and nobody waits for it.
    Unused {
        /// Why, as text for the log and the status line.
        reason: String,
        /// Whether the store has the interface, and it is refused.
        is_refused: bool,
    },
    /// The source cannot be reached now. Metrics call this state `lost`.
    Unreachable {
        /// Why, as text for the log and the status line.
        reason: String,
        /// What is served of the source all the same.
        served_from: ServedFrom,
        /// Since when.
        since: SystemTime,
    },
}

/// Where the services of a source that are served come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedFrom {
    /// Nothing is served: the source was never read, so a name that is not in the tree may exist all the same.
    Nothing,
    /// A snapshot on disk, as of this time.
    Snapshot(SystemTime),
    /// The last listing, and the changes that followed it.
    Listing {
        /// The store's revision, if the store counts revisions.
        revision: Option<i64>,
    },
}

impl SourceState {
    /// The names of the states in metrics, in the order of [`index`](Self::index).
    pub const NAMES: [&str; 5] = ["waiting", "snapshot", "synced", "lost", "unused"];

    /// The index of the state in [`NAMES`](Self::NAMES).
    pub fn index(&self) -> usize {
        match self {
            Self::Waiting => 0,
            Self::Snapshot { .. } => 1,
            Self::Synced { .. } => 2,
            Self::Unreachable { .. } => 3,
            Self::Unused { .. } => 4,
        }
    }

    /// Where the services of the source that are served come from.
    pub fn served_from(&self) -> ServedFrom {
        match self {
            Self::Waiting | Self::Unused { .. } => ServedFrom::Nothing,
            Self::Snapshot { as_of } => ServedFrom::Snapshot(*as_of),
            Self::Synced { revision, .. } => ServedFrom::Listing { revision: *revision },
            Self::Unreachable { served_from, .. } => *served_from,
        }
    }

    /// Whether the tree has the services of the source, of now or of an earlier time. Only then a name that is not in the
    /// tree is a name that the source does not have.
    pub fn is_served(&self) -> bool {
        self.served_from() != ServedFrom::Nothing
    }
}

/// Why names are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossCause {
    /// Their keys were deleted, or overwritten with what cannot be served.
    Deleted,
    /// The leases ended that their keys were attached to.
    LeaseEnded,
}

impl LossCause {
    /// All causes, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Deleted, Self::LeaseEnded];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::LeaseEnded => "lease_ended",
        }
    }
}

/// Names that are served on though they are gone, because they were many at once (`-hold-mass-deletion`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldNames {
    /// The domain, with its final dot; `None` for names outside of all zones.
    pub zone: Option<String>,
    /// Why they are gone.
    pub cause: LossCause,
    /// How many they are.
    pub names: usize,
    /// How many names the zone had.
    pub of: usize,
    /// When they are served no more.
    pub until: SystemTime,
}

/// What tells a store and its states from others, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreState {
    /// The id of its cluster.
    pub cluster: Option<u64>,
    /// Its revision in the snapshot that is served, or was served last.
    pub restored_revision: Option<i64>,
}

/// The condition of all sources, and the configuration that they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Each source in use.
    pub sources: BTreeMap<SourceId, SourceState>,
    /// The value of the key `config` of each source that has one.
    pub configs: BTreeMap<SourceId, Vec<u8>>,
    /// How often each source came to each state, in the order of [`SourceState::NAMES`].
    pub changes: BTreeMap<SourceId, [u64; SourceState::NAMES.len()]>,
    /// Number of names in the tree.
    pub names: usize,
    /// What is served on though it is gone.
    pub held: Vec<HeldNames>,
    /// How often it came to that, by the number of the cause.
    pub mass_losses: [u64; LossCause::ALL.len()],
    /// How often somebody has let it go.
    pub accepted: u64,
    /// How many objects a list of a cluster had otherwise than the watch before it had told.
    pub audit_differences: u64,
    /// Which store each source is.
    pub stores: BTreeMap<SourceId, StoreState>,
    /// The sources that no setting asks for, or that are not used: served if they can be reached, not missed if they cannot.
    pub optional: BTreeSet<SourceId>,
}

impl Status {
    /// The value of the key `config`, from the source of the highest precedence that has one.
    pub fn config(&self) -> Option<(SourceId, Vec<u8>)> {
        self.configs.last_key_value().map(|(id, config)| (*id, config.clone()))
    }
}
