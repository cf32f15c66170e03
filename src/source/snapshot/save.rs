//! Writes a snapshot.

use super::error::SnapshotError;
use super::format::{MAGIC, SnapshotHeader, StoredHeader, StoredSource, VERSION, number_of};
use super::stored_service::{LeaseClock, SourcedService};
use crate::replace_file::Replacement;
use crate::source::id::SourceId;
use crate::tree::{LayeredEntry, Tree};
use ring::digest::{Context, SHA256};
use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::SystemTime;

/// Octets that are written at once.
const WRITE_OCTETS: usize = 64 << 10;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedSnapshot {
    /// Number of services.
    pub services: usize,
    /// Size of the file.
    pub octets: u64,
}

/// Writes a snapshot of the services in a tree, of the sources of the header, in the place of the one before.
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
    let replacement = Replacement::create(path).map_err(SnapshotError::system("creating it"))?;
    let saved = write(replacement.file(), header, tree, as_of)?;
    replacement.put_in_place(0o600).map_err(SnapshotError::system("writing it to disk"))?;
    Ok(saved)
}

/// Writes the file.
pub(super) fn write(
    file: &File,
    header: &SnapshotHeader,
    tree: &Tree,
    as_of: SystemTime,
) -> Result<SavedSnapshot, SnapshotError> {
    let mut out = ChecksummedFile::new(file, MAGIC, VERSION);
    let SnapshotHeader { store, serial, zone_serials, sources } = header;
    out.push(&StoredHeader { store: store.clone(), serial: *serial, revision: None, config: None })?;
    out.push(zone_serials)?;
    out.push(&sources.iter().filter_map(StoredSource::new).collect::<Vec<_>>())?;
    let mut services = 0;
    for id in sources.keys() {
        services += out.push_services(tree, *id)?;
    }
    let octets = out.finish()?;
    file.set_modified(as_of).map_err(SnapshotError::system("dating it"))?;
    Ok(SavedSnapshot { services, octets })
}

/// A file that is written in pieces, with the checksum of what was written.
pub(super) struct ChecksummedFile<'a> {
    file: &'a File,
    piece: Vec<u8>,
    sum: Context,
    octets: u64,
}

impl<'a> ChecksummedFile<'a> {
    /// A file that begins with magic and version.
    pub(super) fn new(file: &'a File, magic: &[u8; 8], version: u32) -> Self {
        let mut piece = Vec::with_capacity(WRITE_OCTETS);
        piece.extend(magic);
        piece.extend(version.to_be_bytes());
        Self { file, piece, sum: Context::new(&SHA256), octets: 0 }
    }

    /// Appends a value.
    pub(super) fn push(&mut self, value: &impl serde::Serialize) -> Result<(), SnapshotError> {
        let piece = std::mem::take(&mut self.piece);
        // Never fails: memory takes every octet, and postcard encodes every type that is stored here.
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        self.piece = postcard::to_extend(value, piece)
            .map_err(invalid)
            .map_err(SnapshotError::system("encoding it"))?;
        if self.piece.len() >= WRITE_OCTETS { self.flush() } else { Ok(()) }
    }

    /// Appends the services of a source; returns their number.
    fn push_services(&mut self, tree: &Tree, id: SourceId) -> Result<usize, SnapshotError> {
        let Some(source) = number_of(id) else { return Ok(0) };
        let (clock, mut services, mut result) = (LeaseClock::now(), 0, Ok(()));
        tree.entries(id.layer(), |key, entries| {
            for (index, LayeredEntry { entry, .. }) in entries.iter().enumerate() {
                let service = SourcedService::new(source, index > 0, &key, entry, clock);
                let Some(service) = service else { continue };
                services += 1;
                result = self.push(&service);
                if result.is_err() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        result.map(|()| services)
    }

    /// Adds the present piece to the checksum and writes it.
    fn flush(&mut self) -> Result<(), SnapshotError> {
        self.sum.update(&self.piece);
        self.write()
    }

    /// Writes the present piece.
    fn write(&mut self) -> Result<(), SnapshotError> {
        self.octets += self.piece.len() as u64;
        self.file.write_all(&self.piece).map_err(SnapshotError::system("writing it"))?;
        self.piece.clear();
        Ok(())
    }

    /// Writes what is left and the checksum; returns the size of the file.
    pub(super) fn finish(mut self) -> Result<u64, SnapshotError> {
        self.flush()?;
        self.piece.extend(self.sum.clone().finish().as_ref());
        self.write()?;
        Ok(self.octets)
    }
}
