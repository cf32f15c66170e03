//! Sources of services: stores that push what they hold, and what changes, into one tree.
//!
//! A source knows how to reach its store and nothing of names; the [`Mirror`] knows names and nothing
//! of stores. They meet in [`Event`]: raw keys and values. No query ever waits for a source.

pub mod etcd;
pub mod files;
mod layers;
mod mirror;
mod publisher;
mod refusals;
pub mod snapshot;
mod state;

pub use mirror::Mirror;
pub use publisher::{MirrorHandle, Publisher};
pub use refusals::{Refusal, Refusals};
pub use state::{Published, ServedFrom, SourceState, Status};

use crate::tree::Lease;
use snapshot::{RestoredService, RestoredSnapshot};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// One key of a store and what became of it.
#[derive(Clone, Debug)]
pub struct Change {
    /// The whole key, path prefix included.
    pub key: Vec<u8>,
    /// Its value; `None` when the key is gone.
    pub value: Option<Vec<u8>>,
    /// The lease it lives on.
    pub lease: Option<Arc<Lease>>,
}

/// What a source tells the mirror.
#[derive(Debug)]
pub enum Event {
    /// All that the store holds follows, in [`Event::Listed`], up to [`Event::ListEnd`]. A listing
    /// that was begun before is void.
    ListBegin,
    /// A part of a listing.
    Listed(Vec<Change>),
    /// The listing is complete: what was not in it is gone from the store. With it comes the store's
    /// revision, if it counts any.
    ListEnd(Option<i64>),
    /// Changes since the listing, in the store's order, and the revision they lead to.
    Changed(Vec<Change>, Option<i64>),
    /// The store cannot be reached; the reason is for a person.
    Unreachable(String),
    /// A key that the source itself had to pass over, or its trouble with it.
    Refused {
        /// The key, or the path of a file.
        key: Vec<u8>,
        /// Why.
        reason: String,
    },
    /// A part of a snapshot of the store.
    Restored(Vec<RestoredService>),
    /// The snapshot is complete. It counts only as long as the store itself was not read.
    RestoreEnd {
        /// What the snapshot is.
        snapshot: RestoredSnapshot,
        /// Dropped as soon as it is published.
        visible: oneshot::Sender<()>,
    },
    /// Nothing: the mirror is asked whether it moves.
    Wake,
}

/// Which source speaks. The order is that of precedence: on one key the greater wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceId {
    /// etcd, v3 API.
    Etcd,
    /// A directory of files.
    Files,
}

impl SourceId {
    /// All sources, lowest precedence first.
    pub const ALL: [Self; 2] = [Self::Etcd, Self::Files];

    /// The name for a person.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Files => "files",
        }
    }
}

/// Where a source pushes its events. Bounded: a source that is faster than the tree waits.
#[derive(Clone, Debug)]
pub struct Feed {
    id: SourceId,
    events: mpsc::Sender<(SourceId, Event)>,
}

/// Events that may wait for the mirror; a listed part holds up to a thousand keys.
const FEED_CAPACITY: usize = 64;

impl Feed {
    /// A feed for each source and the end that the mirror reads.
    pub fn channel() -> (impl Fn(SourceId) -> Self, mpsc::Receiver<(SourceId, Event)>) {
        let (events, receiver) = mpsc::channel(FEED_CAPACITY);
        (move |id| Self { id, events: events.clone() }, receiver)
    }

    /// Pushes an event, waiting for room.
    ///
    /// # Errors
    /// The mirror has ended.
    pub async fn push(&self, event: Event) -> Result<(), Closed> {
        self.events.send((self.id, event)).await.map_err(|_| Closed)
    }

    /// Asks the mirror whether it moves, as long as there is room and a mirror; the closure keeps no mirror alive.
    pub fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let (id, events) = (self.id, self.events.downgrade());
        move || {
            if let Some(events) = events.upgrade() {
                // A full queue is work enough.
                let _ = events.try_send((id, Event::Wake));
            }
        }
    }

    /// Pushes an event from a thread outside the runtime.
    ///
    /// # Errors
    /// The mirror has ended.
    pub fn push_blocking(&self, event: Event) -> Result<(), Closed> {
        self.events.blocking_send((self.id, event)).map_err(|_| Closed)
    }
}

/// The mirror has ended, and with it the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tree is closed")]
pub struct Closed;
