//! What the mirror tells: the state that readers see, and how each source is doing.

use super::SourceId;
use crate::answer::{Freshness, KnownTypes};
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
    pub known: Arc<KnownTypes>,
}

/// How a source is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SourceState {
    /// Never read.
    #[default]
    Waiting,
    /// Read, and telling of changes.
    Synced {
        /// The store's revision, if it counts any.
        revision: Option<i64>,
        /// When the last listing or change came.
        changed: SystemTime,
    },
    /// Cannot be reached now.
    Lost {
        /// Why, for a person.
        reason: String,
        /// Whether the source was ever read.
        read: bool,
        /// Since when.
        since: SystemTime,
    },
}

impl SourceState {
    /// Whether the source was ever read.
    pub fn was_read(&self) -> bool {
        matches!(self, Self::Synced { .. } | Self::Lost { read: true, .. })
    }
}

/// The state of all sources, and the configuration that they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Each source in use.
    pub sources: BTreeMap<SourceId, SourceState>,
    /// The value of the key `config`, from the source of the highest precedence that has one.
    pub config: Option<(SourceId, Vec<u8>)>,
    /// Names in the tree.
    pub names: usize,
    /// The sources that nothing asks for: they count if they are there.
    pub optional: BTreeSet<SourceId>,
}
