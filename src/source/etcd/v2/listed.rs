//! What the keys of a store mean, and how those of a listing go to the mirror.

use super::list::{ListedKey, Sink};
use super::node::Expiry;
use crate::service::Keyspace;
use crate::source::event::{Change, Event, MAX_CHANGES_PER_EVENT, News};
use crate::source::feed::Feed;
use crate::source::layout;

/// Takes the keys of a listing, and hands them to the mirror in parts.
pub(super) struct Listed {
    keyspace: Keyspace,
    feed: Feed,
    /// What was not handed over yet.
    changes: Vec<Change>,
    /// Whether any key ends.
    pub(super) has_ends: bool,
    /// The number of keys.
    pub(super) keys: usize,
    /// Whether the mirror has ended.
    is_closed: bool,
}

impl Listed {
    pub(super) fn new(keyspace: &Keyspace, feed: Feed) -> Self {
        let keyspace = keyspace.clone();
        Self { keyspace, feed, changes: Vec::new(), has_ends: false, keys: 0, is_closed: false }
    }

    /// Takes what was not handed over yet.
    pub(super) fn take(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}

impl Sink for Listed {
    fn key(&mut self, ListedKey { key, value, expiry, index }: ListedKey) -> Result<(), String> {
        self.keys += 1;
        self.has_ends |= expiry.is_some();
        self.changes.push(read(&self.keyspace, &key, Some(value), expiry, index));
        if self.changes.len() < MAX_CHANGES_PER_EVENT {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.changes, Vec::with_capacity(MAX_CHANGES_PER_EVENT));
        self.feed.push_blocking(Event::Listed(full)).map_err(|closed| {
            self.is_closed = true;
            closed.to_string()
        })
    }

    fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn too_deep(&mut self, key: &str) {
        let reason = "the directory is deeper than a name may be".to_owned();
        let news = News::Refused { served: None, reason };
        self.changes.push(Change { key: key.into(), news });
    }
}

/// What an entry of the store means: a key with its value, or without if it is gone. `index` is that of its last change.
pub(super) fn read(
    keyspace: &Keyspace,
    key: &str,
    value: Option<String>,
    expiry: Option<Expiry>,
    index: u64,
) -> Change {
    let lease = expiry.map(Expiry::lease);
    let mut change = layout::read(keyspace, key.as_bytes(), value.map(String::into_bytes), lease);
    if let News::Accepted(revision) = &mut change.news {
        *revision = i64::try_from(index).ok();
    }
    change
}
