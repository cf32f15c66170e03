//! The body of an answer, as a thread reads it that may wait for its pieces.

use hyper::body::Bytes;
use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;
use tokio::sync::mpsc;

/// Octets that may come without a whole entry: values have at most a megabyte and a half, and escapes make six of one.
const MAX_OCTETS_WITHOUT_ENTRY: usize = 32 << 20;

/// The body of an answer, for a thread that may wait.
pub(super) struct PieceReader {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
    /// Octets that were read since the last whole entry.
    since_entry: Rc<Cell<usize>>,
}

impl PieceReader {
    pub(super) fn new(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self { pieces, piece: Bytes::new(), since_entry: Rc::default() }
    }

    /// Octets that were read since the last whole entry: to be set to 0 behind each.
    pub(super) fn since_entry(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.since_entry)
    }
}

impl Read for PieceReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let octets = into.len().min(self.piece.len());
        into[..octets].copy_from_slice(&self.piece.split_to(octets));
        self.since_entry.set(self.since_entry.get() + octets);
        if self.since_entry.get() > MAX_OCTETS_WITHOUT_ENTRY {
            return Err(io::Error::other("an entry has no end"));
        }
        Ok(octets)
    }
}
