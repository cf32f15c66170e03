//! The snapshot of a Kubernetes cluster: a file of its own, since its objects change at another pace than the keys of a store.

use super::error::SnapshotError;
use super::format::HEAD_OCTETS;
use super::restore::{check_head, checked, read};
use super::save::{ChecksummedFile, SavedSnapshot};
use super::stored_object::{StoredObject, kind_of, number_of};
use crate::replace_file::Replacement;
use crate::tree::{Cluster, Object, ObjectId, ObjectKind, ZoneSerial};
use ring::digest::SHA256_OUTPUT_LEN;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::SystemTime;

/// The octets that the file begins with.
const MAGIC: &[u8; 8] = b"skydns\0K";

/// The version of its format.
const VERSION: u32 = 2;

/// What the objects of a snapshot are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterOrigin {
    /// The URL of the API server.
    pub server: String,
    /// What is watched of its cluster, as a text that is the same if and only if that is.
    pub watched: String,
}

/// Which cluster a snapshot is of, and what it says ahead of its objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterHeader {
    /// The URL of the API server.
    pub server: String,
    /// What was watched of it.
    pub watched: String,
    /// The id of the cluster, if it is known.
    pub identity: Option<String>,
    /// When something was changed last: the serial of zones that have none of their own.
    pub serial: u32,
    /// The serials of the zones.
    pub zone_serials: Vec<ZoneSerial>,
    /// Whether namespaces could not be read.
    pub derives_namespaces: bool,
    /// The version of the store up to which each kind is known, by the number of the kind.
    versions: Vec<(u8, Box<str>)>,
}

impl ClusterHeader {
    /// The header for the objects of a cluster.
    pub fn new(
        origin: &ClusterOrigin,
        serial: u32,
        zone_serials: Vec<ZoneSerial>,
        cluster: &Cluster,
    ) -> Self {
        let version = |kind: ObjectKind| Some((number_of(kind), cluster.version(kind)?.into()));
        Self {
            server: origin.server.clone(),
            watched: origin.watched.clone(),
            identity: cluster.identity().map(str::to_owned),
            serial,
            zone_serials,
            derives_namespaces: cluster.derives_namespaces(),
            versions: ObjectKind::ALL.into_iter().filter_map(version).collect(),
        }
    }

    /// The version of the store up to which each kind is known.
    pub fn versions(&self) -> impl Iterator<Item = (ObjectKind, &str)> {
        self.versions.iter().filter_map(|(number, version)| Some((kind_of(*number)?, &**version)))
    }
}

/// A snapshot of a cluster.
#[derive(Clone, Debug)]
pub struct RestoredCluster {
    /// What it says of itself.
    pub header: ClusterHeader,
    /// The objects.
    pub objects: Vec<(ObjectId, Object)>,
    /// When the cluster was last known to have them; never in the future.
    pub as_of: SystemTime,
}

impl RestoredCluster {
    /// Keeps what is of use where these kinds are watched, and otherwise than before: all has to be listed anew, since a watch
    /// tells only what changes.
    pub fn keep_for_other_settings(&mut self, kinds: &[ObjectKind]) {
        self.header.versions.clear();
        self.objects.retain(|(id, _)| kinds.contains(&id.kind));
    }
}

/// Writes a snapshot of the objects of a cluster in the place of the one before.
///
/// # Errors
/// The system refuses to write; the snapshot before stays.
pub fn save_cluster(
    path: &Path,
    header: &ClusterHeader,
    cluster: &Cluster,
    as_of: SystemTime,
) -> Result<SavedSnapshot, SnapshotError> {
    let replacement = Replacement::create(path).map_err(SnapshotError::system("creating it"))?;
    let mut out = ChecksummedFile::new(replacement.file(), MAGIC, VERSION);
    out.push(header)?;
    let mut services = 0;
    for kind in ObjectKind::ALL {
        for id in cluster.ids(kind) {
            let Some(object) = cluster.object(&id) else { continue };
            services += usize::from(kind == ObjectKind::Service);
            out.push(&StoredObject::new(&id, &object))?;
        }
    }
    let octets = out.finish()?;
    replacement.file().set_modified(as_of).map_err(SnapshotError::system("dating it"))?;
    replacement.put_in_place(0o600).map_err(SnapshotError::system("writing it to disk"))?;
    Ok(SavedSnapshot { services, octets })
}

/// Reads the snapshot of the cluster behind an API server, or of any if it is not known which that is.
///
/// # Errors
/// There is no snapshot, or none of this server that can be trusted.
pub fn restore_cluster(path: &Path, server: Option<&str>) -> Result<RestoredCluster, SnapshotError> {
    let (octets, modified) = read(path, MAGIC, VERSION)?;
    let body = checked(&octets)?;
    check_head(&octets, MAGIC, VERSION)?;
    let unreadable =
        |unread: &[u8]| SnapshotError::Unreadable(octets.len() - SHA256_OUTPUT_LEN - unread.len());
    debug_assert!(octets.len() >= HEAD_OCTETS);
    let (header, mut unread) =
        postcard::take_from_bytes::<ClusterHeader>(body).map_err(|_| unreadable(body))?;
    if let Some(asked) = server.filter(|asked| *asked != header.server) {
        return Err(SnapshotError::OtherServer { found: header.server, asked: asked.to_owned() });
    }
    let mut objects = Vec::new();
    while !unread.is_empty() {
        let (stored, behind) =
            postcard::take_from_bytes::<StoredObject>(unread).map_err(|_| unreadable(unread))?;
        objects.push(stored.read().ok_or_else(|| unreadable(unread))?);
        unread = behind;
    }
    Ok(RestoredCluster { header, objects, as_of: modified.min(SystemTime::now()) })
}
