//! What a store held, on disk: for a start while the store is away.
//!
//! One file, `snapshot` in the state directory. It is written whole and put in the place of the one before, so there is
//! always one that is complete, and it is read only if its checksum is right. When the store was last in step is
//! the file's time of modification. It holds what is public in DNS, and the configuration out of the store.

mod file;
mod stored_service;
mod writer;

pub use file::{RestoredSnapshot, SavedSnapshot, SnapshotError, restore, save};
pub use writer::{SaveResult, SnapshotWriter};

use crate::service::Key;
use crate::tree::Entry;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Which store, and which part of it, a snapshot is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreIdentity {
    /// What all its keys begin with, slashes included.
    pub root: String,
    /// URLs of the store's endpoints.
    pub endpoints: BTreeSet<String>,
}

/// A service out of a snapshot.
#[derive(Clone, Debug)]
pub struct RestoredService {
    /// Whether its key became a name only in lower case.
    pub case_folded: bool,
    /// Its key in the tree.
    pub key: Key,
    /// The service and its lease.
    pub entry: Entry,
}

/// What a snapshot says of itself ahead of its records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// Where its records come from.
    pub store: StoreIdentity,
    /// The serial of the zone's SOA.
    pub serial: u32,
    /// The store's revision, if it counts any.
    pub revision: Option<i64>,
    /// The value of the key `config`.
    pub config: Option<Vec<u8>>,
}
