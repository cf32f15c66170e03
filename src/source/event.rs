//! What sources report to the mirror.

use super::snapshot::{RestoredService, RestoredSnapshot};
use crate::tree::Lease;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Maximum number of changes in one event: bounds how long the mirror is busy with one source.
pub(super) const MAX_CHANGES_PER_EVENT: usize = 1_000;

/// One key of a store with its new value, or the key's deletion.
#[derive(Clone, Debug)]
pub struct Change {
    /// The whole key, path prefix included.
    pub key: Vec<u8>,
    /// The value; `None` when the key is gone.
    pub value: Option<Vec<u8>>,
    /// The lease that the key is attached to.
    pub lease: Option<Arc<Lease>>,
}

/// What a source reports to the mirror.
#[derive(Debug)]
pub enum Event {
    /// A listing begins: every key of the store follows in [`Event::Listed`], up to [`Event::ListEnd`]. A listing
    /// that began before and did not end is void.
    ListBegin,
    /// A part of a listing.
    Listed(Vec<Change>),
    /// The listing is complete: a key that was not in the listing is gone from the store. The number is the store's
    /// revision, if the store counts revisions.
    ListEnd(Option<i64>),
    /// The listing is complete, but what it holds may be old, for a reason that is text for the log and the status line:
    /// the store cannot say whether it has changed since. If a newer snapshot is served, the listing is void.
    StaleListEnd {
        /// The store's revision, if the store counts revisions.
        revision: Option<i64>,
        /// Why the listing may be old.
        reason: String,
    },
    /// Changes since the listing, in the store's order, and the revision after the last of them.
    Changed(Vec<Change>, Option<i64>),
    /// The store cannot be reached; the reason is text for the log and the status line.
    Unreachable(String),
    /// A key that the source itself cannot read.
    Refused {
        /// The key of the store, or the path of a file.
        key: Vec<u8>,
        /// Why the key is not served.
        reason: String,
    },
    /// A part of a snapshot of the store.
    Restored(Vec<RestoredService>),
    /// The snapshot is complete. The mirror takes the snapshot only if the store was not listed yet.
    RestoreEnd {
        /// What the snapshot says of itself.
        snapshot: RestoredSnapshot,
        /// Dropped as soon as readers see the services of the snapshot.
        visible: oneshot::Sender<()>,
    },
    /// No news: whoever sent this waits until readers see everything that was reported before.
    Publish {
        /// Dropped as soon as they do.
        visible: oneshot::Sender<()>,
    },
    /// No news: gives a sleeping mirror a reason to beat, so that the watchdog sees that the mirror is not stalled.
    Wake,
}
