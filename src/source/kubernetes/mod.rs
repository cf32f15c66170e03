//! A Kubernetes cluster as a source: its services, their endpoints and namespaces, listed once and watched from then on.
//!
//! Each kind of objects is followed on its own (`follow`), over a connection of its own, since the server has no watch for
//! several kinds. What a change means for names is not known here: the objects go into the tree as they are.

mod access;
mod client;
mod decode;
mod error;
mod follow;
mod kubeconfig;
mod list;
mod progress;
mod settings;
mod stream;
mod watch;
mod watch_event;

pub use error::KubernetesError;
pub use settings::{Access, KubernetesSettings, Watched, WatchedEndpoints};

use super::feed::{Closed, Feed};
use super::publisher::MirrorHandle;
use crate::counted::counted;
use crate::tree::ObjectKind;
use follow::Follower;
use futures_util::future::select_all;
use progress::Progress;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use tokio::time::timeout;

/// Longest time that is waited for the snapshot: a disk may not answer at all.
const MAX_WAIT_FOR_SNAPSHOT: Duration = Duration::from_secs(4);

/// A cluster that is followed.
#[derive(Debug)]
pub struct Kubernetes {
    settings: KubernetesSettings,
    feed: Feed,
    /// Where it shows what is known of the cluster.
    mirror: MirrorHandle,
}

impl Kubernetes {
    /// The source of a cluster, which reports to a mirror.
    pub fn new(settings: KubernetesSettings, feed: Feed, mirror: MirrorHandle) -> Self {
        Self { settings, feed, mirror }
    }

    /// Follows the cluster until the mirror has ended; from its snapshot on, which is loaded when `loaded` becomes `true` or is
    /// closed.
    pub async fn run(self, mut loaded: Receiver<bool>) -> Closed {
        let _ = timeout(MAX_WAIT_FOR_SNAPSHOT, loaded.wait_for(|is_loaded| *is_loaded)).await;
        let kinds = self.settings.watched.kinds();
        let progress = Arc::new(Progress::new(self.feed.clone(), &kinds));
        let settings = Arc::new(self.settings);
        let follow = |kind| {
            let follower = Follower::new(
                kind,
                Arc::clone(&settings),
                (self.feed.clone(), Arc::clone(&progress)),
                self.mirror.clone(),
            );
            Box::pin(follower.run())
        };
        let (closed, ..) = select_all(kinds.iter().copied().map(follow)).await;
        closed
    }

    /// Lists the objects of each kind once, for `skydns check`.
    pub async fn list_once(self) -> ListedOnce {
        let kinds = self.settings.watched.kinds();
        let progress = Arc::new(Progress::new(self.feed.clone(), &kinds));
        let settings = Arc::new(self.settings);
        let mut listed = ListedOnce::default();
        for kind in kinds {
            let feeds = (self.feed.clone(), Arc::clone(&progress));
            let mut follower = Follower::new(kind, Arc::clone(&settings), feeds, self.mirror.clone());
            match follower.list_once().await {
                Ok(count) => {
                    listed.has_namespaces |= kind == ObjectKind::Namespace;
                    listed.counts.push(told(count, kind));
                }
                Err(error) if follower.can_do_without(&error) => listed.not_needed.push(error),
                Err(error) => {
                    let is_of_kind = error.is_of_kind();
                    listed.problems.push(error);
                    if !is_of_kind {
                        break;
                    }
                }
            }
        }
        listed
    }
}

/// How many objects of a kind there are, for a person.
fn told(count: usize, kind: ObjectKind) -> String {
    let objects = counted(count, kind.plural().trim_end_matches('s'));
    if kind == ObjectKind::ImportSlice { format!("{objects} of several clusters") } else { objects }
}

/// What came of listing the objects once.
#[derive(Debug, Default)]
pub struct ListedOnce {
    /// How many objects of each kind there are.
    pub counts: Vec<String>,
    /// Whether namespaces are among them.
    pub has_namespaces: bool,
    /// Why kinds cannot be listed.
    pub problems: Vec<KubernetesError>,
    /// The same of kinds that it goes without.
    pub not_needed: Vec<KubernetesError>,
}
