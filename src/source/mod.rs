//! Sources of services: stores that push their services, and each change of them, into one tree.
//!
//! A source knows how to reach its store, and what the entries there mean: which name they give which service. The
//! [`Mirror`] knows nothing of stores. Between them are [`Event`]s. No query ever waits for a source.
//!
//! The mirror runs on one thread, the only one that changes the tree, and hands each new state to the [`Publisher`],
//! where readers find it. The [snapshot writer](snapshot::SnapshotWriter) keeps the last state on disk for the next
//! start.

mod carry_over;
pub mod etcd;
mod event;
mod feed;
pub mod files;
mod http;
mod id;
pub mod kubernetes;
mod layout;
mod mirror;
mod pieces;
mod publisher;
mod refusals;
mod served_key;
pub mod snapshot;
mod state;
mod tenant;
mod unserved;

pub use event::{Change, Event, News, Put};
pub use feed::{Closed, Feed};
pub use id::SourceId;
pub use mirror::Mirror;
pub use publisher::{MirrorHandle, Publisher};
pub use refusals::{Refusal, Refusals};
pub use served_key::{ServedKey, Spelling};
pub use state::{HeldNames, LossCause, Published, ServedFrom, SourceState, Status};
pub use unserved::UnservedKeys;
