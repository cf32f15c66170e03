//! The services of etcd on disk, for a start while etcd cannot be reached.
//!
//! One file, `snapshot` in the state directory. A new snapshot is written beside the one before and then takes its
//! place, so there is always one that is complete, and a snapshot is used only if its checksum is right. The file's
//! time of modification is the time at which etcd was last known to hold these services. The file holds what is public
//! in DNS, and the configuration out of the store.

mod cluster;
mod error;
mod format;
mod restore;
mod save;
mod stored_object;
mod stored_service;
mod writer;

pub use cluster::{ClusterHeader, ClusterOrigin, RestoredCluster, restore_cluster, save_cluster};
pub use error::SnapshotError;
pub use format::{SavedSource, SnapshotHeader, StoreIdentity};
pub use restore::{RestoredService, RestoredSnapshot, restore};
pub use save::{SavedSnapshot, save};
pub use writer::{SaveResult, SnapshotWriter};

#[cfg(test)]
mod tests;
