//! The file: how it is written, and what is not believed of it.
//!
//! Eight octets of magic, the version of the format, the header, the records, and SHA-256 of all before. Numbers are in
//! network order; header and records are in the form of postcard.

use super::stored_service::{Leases, StoredService};
use super::{RestoredService, SnapshotHeader, StoreIdentity};
use crate::source::event::MAX_CHANGES_PER_EVENT;
use crate::source::id::SourceId;
use crate::tree::Tree;
use nix::fcntl::OFlag;
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

const MAGIC: &[u8; 8] = b"skydns\0S";

/// The version of the format that is written, and the latest that is read.
const VERSION: u32 = 1;

/// Magic and version.
const HEAD_OCTETS: usize = MAGIC.len() + size_of::<u32>();

/// Most octets of a snapshot: 20 times what a million services take. Bounds what a foreign file costs.
const MOST: u64 = 2 << 30;

/// Octets that are written at once.
const PIECE: usize = 64 << 10;

/// Why a snapshot is not written or not taken.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The system refuses something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A panic; it was logged.
    #[error("a fault of this program")]
    Fault,
    /// A directory, a pipe or the like.
    #[error("it is not a regular file")]
    NotRegular,
    /// Larger than any that is written.
    #[error("it has {0} octets, more than the {MOST} that one may have")]
    TooLarge(u64),
    /// Another program's, or not even as long as the shortest.
    #[error("it is not a snapshot")]
    NotSnapshot,
    /// A later program's.
    #[error("it has version {0} of the format, this program reads up to {VERSION}")]
    Newer(u32),
    /// Cut short or changed.
    #[error("its checksum is wrong: it is cut short or damaged")]
    Damaged,
    /// The checksum is right and the contents are not: no program of ours wrote that.
    #[error("it cannot be read from octet {0} on")]
    Unreadable(usize),
    /// Of another path prefix.
    #[error("it is of keys below {found}, not below {asked}")]
    OtherRoot {
        /// Below which its keys are.
        found: String,
        /// Below which they should be.
        asked: String,
    },
    /// Of none of the endpoints that are configured.
    #[error("it is of another store: {}", .0.iter().map(String::as_str).collect::<Vec<_>>().join(", "))]
    OtherStore(std::collections::BTreeSet<String>),
}

impl SnapshotError {
    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// What a save took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedSnapshot {
    /// Services.
    pub services: usize,
    /// Size of the file.
    pub octets: u64,
}

/// What a snapshot holds beside its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredSnapshot {
    /// What it says of itself.
    pub header: SnapshotHeader,
    /// When its store was last known to hold this, never in the future.
    pub as_of: SystemTime,
    /// Services.
    pub services: usize,
}

/// Writes a snapshot of what etcd holds in a tree, beside `path` and then in its place.
///
/// `as_of` is when the store was last known to hold this.
///
/// # Errors
/// The system refuses to write; the snapshot before stays.
pub fn save(
    path: &Path,
    header: &SnapshotHeader,
    tree: &Tree,
    as_of: SystemTime,
) -> Result<SavedSnapshot, SnapshotError> {
    let beside = path.with_extension("new");
    let saved = write(&beside, header, tree, as_of);
    let saved = saved.and_then(|saved| {
        std::fs::rename(&beside, path).map_err(SnapshotError::system("putting it in its place"))?;
        // The name is on disk when its directory is.
        let dir = path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all());
        dir.map_err(SnapshotError::system("writing its directory"))?;
        Ok(saved)
    });
    if saved.is_err() {
        // A full disk is not to be kept full.
        let _ = std::fs::remove_file(&beside);
    }
    saved
}

fn write(
    path: &Path,
    header: &SnapshotHeader,
    tree: &Tree,
    as_of: SystemTime,
) -> Result<SavedSnapshot, SnapshotError> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = file.map_err(SnapshotError::system("creating it"))?;
    let mut out =
        Summed { file: &file, piece: Vec::with_capacity(PIECE), sum: Context::new(&SHA256), octets: 0 };
    out.piece.extend(MAGIC);
    out.piece.extend(VERSION.to_be_bytes());
    out.push(header)?;
    let mut services = 0;
    for (layer, case_folded) in
        [(SourceId::Etcd.layers().exact, false), (SourceId::Etcd.layers().case_folded, true)]
    {
        let mut result = Ok(());
        tree.entries(layer, |key, entry| {
            let Some(service) = StoredService::new(case_folded, &key, entry) else {
                return ControlFlow::Continue(());
            };
            services += 1;
            result = out.push(&service);
            if result.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        result?;
    }
    let octets = out.finish()?;
    file.set_modified(as_of).map_err(SnapshotError::system("dating it"))?;
    file.sync_all().map_err(SnapshotError::system("writing it to disk"))?;
    Ok(SavedSnapshot { services, octets })
}

/// A file that is written in pieces, and summed up on the way.
struct Summed<'a> {
    file: &'a File,
    piece: Vec<u8>,
    sum: Context,
    octets: u64,
}

impl Summed<'_> {
    fn push(&mut self, value: &impl serde::Serialize) -> Result<(), SnapshotError> {
        let piece = std::mem::take(&mut self.piece);
        // Only memory is written to, and none of our values is of a kind that cannot be written.
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        self.piece = postcard::to_extend(value, piece)
            .map_err(invalid)
            .map_err(SnapshotError::system("encoding it"))?;
        if self.piece.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), SnapshotError> {
        self.sum.update(&self.piece);
        self.write()
    }

    fn write(&mut self) -> Result<(), SnapshotError> {
        self.octets += self.piece.len() as u64;
        self.file.write_all(&self.piece).map_err(SnapshotError::system("writing it"))?;
        self.piece.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<u64, SnapshotError> {
        self.flush()?;
        self.piece.extend(self.sum.clone().finish().as_ref());
        self.write()?;
        Ok(self.octets)
    }
}

/// Reads the snapshot of a store and hands its services on in parts, in key order.
///
/// # Errors
/// There is none, or it is not to be believed. Nothing was handed on then, unless it is
/// [unreadable](SnapshotError::Unreadable): what was handed on does not count either.
pub fn restore(
    path: &Path,
    store: &StoreIdentity,
    mut each: impl FnMut(Vec<RestoredService>),
) -> Result<RestoredSnapshot, SnapshotError> {
    let (octets, modified) = read(path)?;
    let body = checked(&octets)?;
    let unreadable = |rest: &[u8]| SnapshotError::Unreadable(octets.len() - SHA256_OUTPUT_LEN - rest.len());
    let (header, mut rest) =
        postcard::take_from_bytes::<SnapshotHeader>(body).map_err(|_| unreadable(body))?;
    if header.store.root != store.root {
        return Err(SnapshotError::OtherRoot { found: header.store.root, asked: store.root.clone() });
    }
    if header.store.endpoints.is_disjoint(&store.endpoints) {
        return Err(SnapshotError::OtherStore(header.store.endpoints));
    }
    let (mut leases, mut part, mut services) = (Leases::new(), Vec::with_capacity(MAX_CHANGES_PER_EVENT), 0);
    while !rest.is_empty() {
        let (service, behind) =
            postcard::take_from_bytes::<StoredService<'_>>(rest).map_err(|_| unreadable(rest))?;
        let (key, entry) = service.entry(&mut leases).ok_or_else(|| unreadable(rest))?;
        part.push(RestoredService { case_folded: service.case_folded, key, entry });
        services += 1;
        rest = behind;
        if part.len() == MAX_CHANGES_PER_EVENT {
            each(std::mem::replace(&mut part, Vec::with_capacity(MAX_CHANGES_PER_EVENT)));
        }
    }
    each(part);
    Ok(RestoredSnapshot { header, as_of: modified.min(SystemTime::now()), services })
}

/// The whole file, and when it was modified.
fn read(path: &Path) -> Result<(Vec<u8>, SystemTime), SnapshotError> {
    // A pipe must not hold up the start.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let file = file.map_err(SnapshotError::system("opening it"))?;
    let about = file.metadata().map_err(SnapshotError::system("reading it"))?;
    if !about.is_file() {
        return Err(SnapshotError::NotRegular);
    }
    if about.len() > MOST {
        return Err(SnapshotError::TooLarge(about.len()));
    }
    let mut octets = Vec::with_capacity(HEAD_OCTETS);
    // A large file of another program is not read to its end.
    (&file).take(HEAD_OCTETS as u64).read_to_end(&mut octets).map_err(SnapshotError::system("reading it"))?;
    check_head(&octets)?;
    octets.reserve_exact(usize::try_from(about.len()).unwrap_or(0).saturating_sub(HEAD_OCTETS));
    file.take(MOST).read_to_end(&mut octets).map_err(SnapshotError::system("reading it"))?;
    Ok((octets, about.modified().map_err(SnapshotError::system("reading its time"))?))
}

/// Whether the first octets are those of a snapshot that can be read here.
fn check_head(octets: &[u8]) -> Result<(), SnapshotError> {
    let behind = octets.strip_prefix(MAGIC).ok_or(SnapshotError::NotSnapshot)?;
    let (version, _) = behind.split_first_chunk().ok_or(SnapshotError::Damaged)?;
    let version = u32::from_be_bytes(*version);
    // Before the checksum, which another version may have elsewhere.
    if version > VERSION { Err(SnapshotError::Newer(version)) } else { Ok(()) }
}

/// What stands between head and checksum, if the file can be believed.
fn checked(octets: &[u8]) -> Result<&[u8], SnapshotError> {
    let (all, sum) = octets.split_last_chunk::<SHA256_OUTPUT_LEN>().ok_or(SnapshotError::Damaged)?;
    if digest(&SHA256, all).as_ref() != sum {
        return Err(SnapshotError::Damaged);
    }
    all.get(HEAD_OCTETS..).ok_or(SnapshotError::Damaged)
}

#[cfg(test)]
mod tests;
