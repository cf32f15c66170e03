//! The format of the file.
//!
//! Eight octets of magic, the version of the format (32 bits, network order), the header, from version 2 on the serials of the
//! zones, from version 3 on the sources, and the services, all in the encoding of postcard, and SHA-256 of all octets before.
//!
//! Before version 3 all services are of etcd's v3 API.

use crate::source::id::SourceId;
use crate::tree::ZoneSerial;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The octets that every snapshot begins with.
pub(super) const MAGIC: &[u8; 8] = b"skydns\0S";

/// The version of the format that is written, and the latest that is read.
pub(super) const VERSION: u32 = 3;

/// The first version that has serials of zones.
pub(super) const ZONE_SERIALS: u32 = 2;

/// The first version that names its sources.
pub(super) const SOURCES: u32 = 3;

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// The store that the services are from.
    pub store: StoreIdentity,
    /// When something was changed last: the serial of zones that have none of their own.
    pub serial: u32,
    /// The serials of the zones.
    pub zone_serials: Vec<ZoneSerial>,
    /// The sources that it holds.
    pub sources: BTreeMap<SourceId, SavedSource>,
}

/// What a snapshot says of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedSource {
    /// The store's revision, if the store counts revisions.
    pub revision: Option<i64>,
    /// The id of the store's cluster, if it is known.
    pub cluster: Option<u64>,
    /// The value of the key `config`.
    pub config: Option<Vec<u8>>,
    /// When the store was last known to hold these services, if that was earlier than the file says.
    pub as_of: Option<SystemTime>,
}

/// The header as it is stored. The last two fields are those of etcd's v3 API, up to version 2.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredHeader {
    pub(super) store: StoreIdentity,
    pub(super) serial: u32,
    pub(super) revision: Option<i64>,
    pub(super) config: Option<Vec<u8>>,
}

/// A source as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredSource {
    id: u8,
    revision: Option<i64>,
    cluster: Option<u64>,
    config: Option<Vec<u8>>,
    /// In seconds of Unix time.
    as_of: Option<u64>,
}

/// The sources that a snapshot may hold, by their numbers in the file.
const STORED_SOURCES: [SourceId; 2] = [SourceId::EtcdV2, SourceId::Etcd];

/// The number of a source in the file; `None` if snapshots do not hold it.
pub(super) fn number_of(id: SourceId) -> Option<u8> {
    STORED_SOURCES.iter().position(|stored| *stored == id).and_then(|number| u8::try_from(number).ok())
}

/// The source with a number.
pub(super) fn source_of(number: u8) -> Option<SourceId> {
    STORED_SOURCES.get(usize::from(number)).copied()
}

impl StoredSource {
    pub(super) fn new((id, saved): (&SourceId, &SavedSource)) -> Option<Self> {
        let since_1970 =
            |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let SavedSource { revision, cluster, config, as_of } = saved.clone();
        Some(Self { id: number_of(*id)?, revision, cluster, config, as_of: as_of.map(since_1970) })
    }

    /// The source; `None` if there is none with its number, or no such time.
    pub(super) fn read(self) -> Option<(SourceId, SavedSource)> {
        let Self { id, revision, cluster, config, as_of } = self;
        let as_of = match as_of {
            Some(seconds) => Some(UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?),
            None => None,
        };
        Some((source_of(id)?, SavedSource { revision, cluster, config, as_of }))
    }
}
