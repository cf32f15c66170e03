//! Hands over to the mirror what a walk finds, in parts while the walk goes on.

use crate::service::Keyspace;
use crate::source::event::{Change, Event, MAX_CHANGES_PER_EVENT, News};
use crate::source::feed::{Closed, Feed};
use crate::source::layout;

/// Octets of values after which a part is handed over. With one more value, and as many parts as the feed holds, this
/// bounds the memory that a large directory takes on its way.
const MAX_PART_OCTETS: usize = 256 << 10;

/// Collects changes, and pushes them in parts.
pub(super) struct Handover<'a> {
    feed: &'a Feed,
    keyspace: &'a Keyspace,
    /// Whether the changes are parts of a listing.
    is_listing: bool,
    part: Vec<Change>,
    octets: usize,
}

impl<'a> Handover<'a> {
    /// Begins to hand over: a listing, or changes since the listing.
    pub(super) fn begin(feed: &'a Feed, keyspace: &'a Keyspace, is_listing: bool) -> Result<Self, Closed> {
        if is_listing {
            feed.push_blocking(Event::ListBegin)?;
        }
        Ok(Self { feed, keyspace, is_listing, part: Vec::new(), octets: 0 })
    }

    /// Hands over the value of a key, or its deletion.
    pub(super) fn push(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<(), Closed> {
        self.octets += value.as_ref().map_or(0, Vec::len);
        self.add(layout::read(self.keyspace, key, value, None))
    }

    /// Hands over why a key cannot be read.
    pub(super) fn refuse(&mut self, key: &[u8], reason: String) -> Result<(), Closed> {
        self.octets += reason.len();
        // What was served of it stays.
        self.add(Change { key: key.to_vec(), news: News::Refused { served: None, reason } })
    }

    fn add(&mut self, change: Change) -> Result<(), Closed> {
        self.part.push(change);
        if self.part.len() >= MAX_CHANGES_PER_EVENT || self.octets >= MAX_PART_OCTETS {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands over what is left, and ends the listing.
    pub(super) fn end(mut self) -> Result<(), Closed> {
        self.flush()?;
        if self.is_listing {
            self.feed.push_blocking(Event::ListEnd(None))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Closed> {
        self.octets = 0;
        let part = std::mem::take(&mut self.part);
        match (part.is_empty(), self.is_listing) {
            (true, _) => Ok(()),
            (false, true) => self.feed.push_blocking(Event::Listed(part)),
            (false, false) => self.feed.push_blocking(Event::Changed(part, None)),
        }
    }
}
