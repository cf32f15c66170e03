//! The format of the file.
//!
//! Eight octets of magic, the version of the format (32 bits, network order), the [header](SnapshotHeader), from version 2
//! on the serials of the zones, and the services, all in the encoding of postcard, and SHA-256 of all octets before.

use crate::tree::ZoneSerial;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The octets that every snapshot begins with.
pub(super) const MAGIC: &[u8; 8] = b"skydns\0S";

/// The version of the format that is written, and the latest that is read.
pub(super) const VERSION: u32 = 2;

/// The first version that has serials of zones.
pub(super) const ZONE_SERIALS: u32 = 2;

/// Octets of magic and version.
pub(super) const HEAD_OCTETS: usize = MAGIC.len() + size_of::<u32>();

/// Maximum size of a snapshot in octets, 20 times what a million services take: bounds the memory that a foreign file
/// can cost.
pub(super) const MAX_SNAPSHOT_OCTETS: u64 = 2 << 30;

/// Which store, and which part of it, a snapshot is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreIdentity {
    /// The prefix of all its keys, slashes included.
    pub root: String,
    /// URLs of the store's endpoints.
    pub endpoints: BTreeSet<String>,
}

/// What a snapshot says of itself ahead of its services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// The store that the services are from.
    pub store: StoreIdentity,
    /// When something was changed last: the serial of zones that have none of their own.
    pub serial: u32,
    /// The store's revision, if the store counts revisions.
    pub revision: Option<i64>,
    /// The value of the key `config`.
    pub config: Option<Vec<u8>>,
    /// The serials of the zones. They follow the header.
    #[serde(skip)]
    pub zone_serials: Vec<ZoneSerial>,
}
