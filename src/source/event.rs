//! What sources report to the mirror.

use super::served_key::ServedKey;
use super::snapshot::{RestoredCluster, RestoredService, RestoredSnapshot};
use crate::service::{KeyWarning, Service};
use crate::tree::{Lease, Object, ObjectId, ObjectKind};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Maximum number of changes in one event: bounds how long the mirror is busy with one source.
pub(super) const MAX_CHANGES_PER_EVENT: usize = 1_000;

/// News of one entry of a store, as its source understands it.
#[derive(Clone, Debug)]
pub struct Change {
    /// The entry's key in the store, or the path of a file: messages name the entry by it.
    pub key: Vec<u8>,
    /// What the entry is now.
    pub news: News,
}

/// What an entry of a store is now.
#[derive(Clone, Debug)]
pub enum News {
    /// The entry gives a service to a name.
    Put(Put),
    /// The entry is gone, with what was served of it.
    Gone(Option<ServedKey>),
    /// The entry was a directory and is gone, and with it all entries below: those whose keys begin with its own and a slash.
    BelowGone,
    /// The entry is the agent's configuration: its value, or `None` when it is gone.
    Config(Option<Vec<u8>>),
    /// The entry says that what was deleted before it was meant to be (`-hold-mass-deletion`), with the store's revision when
    /// it was put, if the store counts revisions.
    Accepted(Option<i64>),
    /// The entry cannot be served.
    Refused {
        /// What was served of it, and is not any more; nothing changes without it.
        served: Option<ServedKey>,
        /// Why, for the log and `skydns check`.
        reason: String,
    },
}

/// What an entry gives to a name.
#[derive(Clone, Debug)]
pub struct Put {
    /// The name, and which of its entries this is.
    pub served: ServedKey,
    /// The service.
    pub service: Service,
    /// The lease that the entry is attached to.
    pub lease: Option<Arc<Lease>>,
    /// Why the service may be hard to ask for, though it is served.
    pub warning: Option<KeyWarning>,
}

/// What a source reports to the mirror.
#[derive(Debug)]
pub enum Event {
    /// A listing begins: every entry of the store follows in [`Event::Listed`], up to [`Event::ListEnd`]. A listing
    /// that began before and did not end is void.
    ListBegin,
    /// A part of a listing.
    Listed(Vec<Change>),
    /// The listing is complete: an entry that was not in the listing is gone from the store. The number is the store's
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
    /// The id of the cluster that the store is; it comes ahead of the end of a listing.
    Cluster(u64),
    /// The source is needed from now on: before it was read, an answer may not deny that a name exists.
    Needed,
    /// The source is not needed, or the store has no such interface (any more); the reason is text for the log and the status
    /// line. What was read of it is served on, each key until a source of higher precedence has it.
    Unused {
        /// Why.
        reason: String,
        /// Whether the store has the interface, and it is refused.
        is_refused: bool,
    },
    /// A part of a snapshot of the store.
    Restored(Vec<RestoredService>),
    /// The snapshot is complete. The mirror takes the snapshot only if the store was not listed yet.
    RestoreEnd {
        /// What the snapshot says of itself, and of each source.
        snapshot: Arc<RestoredSnapshot>,
        /// Dropped as soon as readers see the services of the snapshot.
        visible: oneshot::Sender<()>,
    },
    /// A listing of all objects of one kind of a cluster begins.
    ObjectsBegin(ObjectKind),
    /// A part of a listing of objects. One without data is gone again while the others come.
    ObjectsListed(Vec<(ObjectId, Option<Object>)>),
    /// The listing of objects of one kind is complete, with the version of the store that it shows: an object that was not in
    /// it is gone.
    ObjectsEnd {
        kind: ObjectKind,
        version: Option<Box<str>>,
        /// If the watch should have told all of it: how many objects are newer than what the watch told last.
        newer: Option<usize>,
    },
    /// Changes of objects of one kind since the listing, and the version of the store behind them. An object without data is
    /// gone.
    ObjectsChanged(ObjectKind, Vec<(ObjectId, Option<Object>)>, Option<Box<str>>),
    /// Whether the namespaces of a cluster cannot be read: one then exists as long as a service is in it.
    NamespacesUnread(bool),
    /// A snapshot of a cluster; it is taken only if the cluster was not listed yet.
    ClusterRestored {
        /// The snapshot.
        cluster: Box<RestoredCluster>,
        /// Dropped as soon as readers see its objects.
        visible: oneshot::Sender<()>,
    },
    /// The id of the cluster that the objects are of. A snapshot of another one is given up.
    ClusterIdentity(Box<str>),
    /// The objects of all kinds are those that the cluster has, and each change is reported.
    InStep,
    /// No news: whoever sent this waits until readers see everything that was reported before.
    Publish {
        /// Dropped as soon as they do.
        visible: oneshot::Sender<()>,
    },
    /// No news: gives a sleeping mirror a reason to beat, so that the watchdog sees that the mirror is not stalled.
    Wake,
}
