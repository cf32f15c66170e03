//! Reads a snapshot, and believes nothing of the file that the checksum does not cover.

use super::error::SnapshotError;
use super::format::{
    HEAD_OCTETS, MAGIC, MAX_SNAPSHOT_OCTETS, SOURCES, SavedSource, SnapshotHeader, StoreIdentity,
    StoredHeader, StoredSource, VERSION, ZONE_SERIALS, source_of,
};
use super::stored_service::{LeaseClock, RestoredLeases, SourcedService, StoredService};
use crate::service::Key;
use crate::source::id::SourceId;
use crate::tree::Entry;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

/// Services that are handed on together.
const SERVICES_PER_PART: usize = 1_000;

/// A service out of a snapshot.
#[derive(Clone, Debug)]
pub struct RestoredService {
    /// Whether the key has services before this one.
    pub is_further: bool,
    /// Its key in the tree.
    pub key: Key,
    /// The service and its lease.
    pub entry: Entry,
}

/// What a snapshot holds beside its services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredSnapshot {
    /// What the snapshot says of itself.
    pub header: SnapshotHeader,
    /// When the stores were last known to hold these services, but for those of which the header says otherwise; never in the
    /// future.
    pub as_of: SystemTime,
    /// Number of services of each source.
    pub services: BTreeMap<SourceId, usize>,
    /// Whether it was read from endpoints none of which is configured now.
    pub is_of_other_endpoints: bool,
    /// Whether it is no file, but what was served up to now.
    pub is_of_this_process: bool,
}

/// Reads the snapshot of a store and calls `each` with the services of its sources in parts, in key order for each source.
///
/// # Errors
/// There is no snapshot, or none of this path prefix that can be trusted. With [`SnapshotError::Unreadable`] `each` may have been
/// called: those services must not be used. With any other error it was not.
pub fn restore(
    path: &Path,
    store: &StoreIdentity,
    mut each: impl FnMut(SourceId, Vec<RestoredService>),
) -> Result<RestoredSnapshot, SnapshotError> {
    let (octets, modified) = read(path, MAGIC, VERSION)?;
    let body = checked(&octets)?;
    let unreadable =
        |unread: &[u8]| SnapshotError::Unreadable(octets.len() - SHA256_OUTPUT_LEN - unread.len());
    let version = check_head(&octets, MAGIC, VERSION)?;
    let (header, mut unread) = read_header(version, body).map_err(unreadable)?;
    if header.store.root != store.root {
        return Err(SnapshotError::OtherRoot { found: header.store.root, asked: store.root.clone() });
    }
    // Taken all the same: an endpoint that is misspelt answers nothing, and one that answers is served instead.
    let is_of_other_endpoints = header.store.endpoints.is_disjoint(&store.endpoints);
    let as_of = modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut leases = RestoredLeases::new(LeaseClock::now(), as_of);
    let mut services: BTreeMap<_, _> = header.sources.keys().map(|id| (*id, 0)).collect();
    let (mut part, mut of) = (Vec::with_capacity(SERVICES_PER_PART), None);
    while !unread.is_empty() {
        let ((id, service), behind) = read_service(version, unread).ok_or_else(|| unreadable(unread))?;
        let (key, entry) = service.entry(&mut leases).ok_or_else(|| unreadable(unread))?;
        *services.get_mut(&id).ok_or_else(|| unreadable(unread))? += 1;
        unread = behind;
        if let Some(before) = of.replace(id)
            && (before != id || part.len() == SERVICES_PER_PART)
        {
            each(before, std::mem::replace(&mut part, Vec::with_capacity(SERVICES_PER_PART)));
        }
        part.push(RestoredService { is_further: service.service.is_further, key, entry });
    }
    of.into_iter().for_each(|id| each(id, std::mem::take(&mut part)));
    Ok(RestoredSnapshot {
        header,
        as_of: modified.min(SystemTime::now()),
        services,
        is_of_other_endpoints,
        is_of_this_process: false,
    })
}

/// The header of a version of the format, and what is behind it; else what cannot be read.
fn read_header(version: u32, octets: &[u8]) -> Result<(SnapshotHeader, &[u8]), &[u8]> {
    let (StoredHeader { store, serial, revision, config }, mut unread) =
        postcard::take_from_bytes(octets).map_err(|_| octets)?;
    let mut header = SnapshotHeader { store, serial, ..SnapshotHeader::default() };
    if version >= ZONE_SERIALS {
        (header.zone_serials, unread) = postcard::take_from_bytes(unread).map_err(|_| unread)?;
    }
    if version < SOURCES {
        let saved = SavedSource { revision, config, ..SavedSource::default() };
        header.sources.insert(SourceId::Etcd, saved);
        return Ok((header, unread));
    }
    let (sources, behind) = postcard::take_from_bytes::<Vec<StoredSource>>(unread).map_err(|_| unread)?;
    header.sources = sources.into_iter().map(StoredSource::read).collect::<Option<_>>().ok_or(unread)?;
    Ok((header, behind))
}

/// A service of a version of the format with its source, and what is behind it.
fn read_service(version: u32, octets: &[u8]) -> Option<((SourceId, SourcedService<'_>), &[u8])> {
    if version < SOURCES {
        let (service, behind) = postcard::take_from_bytes::<StoredService<'_>>(octets).ok()?;
        return Some(((SourceId::Etcd, SourcedService { source: 0, granted: 0, service }), behind));
    }
    let (service, behind) = postcard::take_from_bytes::<SourcedService<'_>>(octets).ok()?;
    Some(((source_of(service.source)?, service), behind))
}

/// All octets of a file with magic and a version up to the latest, and when it was modified.
pub(super) fn read(
    path: &Path,
    magic: &[u8; 8],
    latest: u32,
) -> Result<(Vec<u8>, SystemTime), SnapshotError> {
    let file = open(path, OpenOptions::new().read(true)).map_err(SnapshotError::system("opening it"))?;
    let about = file.metadata().map_err(SnapshotError::system("reading it"))?;
    if !about.is_file() {
        return Err(SnapshotError::NotRegular);
    }
    if about.len() > MAX_SNAPSHOT_OCTETS {
        return Err(SnapshotError::TooLarge(about.len()));
    }
    let mut octets = Vec::with_capacity(HEAD_OCTETS);
    // The head first: a large file of another program is not read to its end.
    (&file).take(HEAD_OCTETS as u64).read_to_end(&mut octets).map_err(SnapshotError::system("reading it"))?;
    check_head(&octets, magic, latest)?;
    octets.reserve_exact(usize::try_from(about.len()).unwrap_or(0).saturating_sub(HEAD_OCTETS));
    file.take(MAX_SNAPSHOT_OCTETS).read_to_end(&mut octets).map_err(SnapshotError::system("reading it"))?;
    Ok((octets, about.modified().map_err(SnapshotError::system("reading its time"))?))
}

/// Opens the file of a snapshot, which is no link. Opening a pipe would wait for its other end, and with it the start of the
/// program.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let opened = options.custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits()).open(path);
    opened.map_err(|error| match error.raw_os_error() {
        // What the system says of it is "Too many levels of symbolic links".
        Some(code) if code == Errno::ELOOP as i32 => io::Error::other("it is a link"),
        _ => error,
    })
}

/// Checks that the first octets are those of a snapshot that this version of the program reads; returns the version of the
/// format.
pub(super) fn check_head(octets: &[u8], magic: &[u8; 8], latest: u32) -> Result<u32, SnapshotError> {
    // For tests of what follows when reading it ends the process; no release has this.
    #[cfg(all(debug_assertions, not(fuzzing)))]
    if octets.starts_with(b"fault-abort") {
        std::process::abort();
    }
    let behind = octets.strip_prefix(magic).ok_or(SnapshotError::NotSnapshot)?;
    let (version, _) = behind.split_first_chunk().ok_or(SnapshotError::Damaged)?;
    let version = u32::from_be_bytes(*version);
    // Before the checksum is looked for: another version may have it elsewhere.
    if version > latest { Err(SnapshotError::Newer(version)) } else { Ok(version) }
}

/// The octets between head and checksum, if the checksum is right.
pub(super) fn checked(octets: &[u8]) -> Result<&[u8], SnapshotError> {
    let (all, sum) = octets.split_last_chunk::<SHA256_OUTPUT_LEN>().ok_or(SnapshotError::Damaged)?;
    if digest(&SHA256, all).as_ref() != sum {
        return Err(SnapshotError::Damaged);
    }
    all.get(HEAD_OCTETS..).ok_or(SnapshotError::Damaged)
}
