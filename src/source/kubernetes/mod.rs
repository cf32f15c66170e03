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
mod progress;
mod settings;
mod stream;
mod watch;

pub use error::KubernetesError;
pub use settings::{Access, KubernetesSettings, Watched, WatchedEndpoints};

use super::feed::{Closed, Feed};
use super::publisher::MirrorHandle;
use follow::Follower;
use futures_util::future::select_all;
use progress::Progress;
use std::sync::Arc;
use std::time::Duration;
use stream::KIND_NAMES;
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
}
