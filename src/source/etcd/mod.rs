//! etcd (v3 API) as a source: one listing at one revision, then the watch from there on.
//!
//! A session talks to one endpoint; whatever goes wrong ends it, and the next begins at the next
//! endpoint with a new listing, of which the mirror takes the difference. Everything that waits for
//! the network has a deadline, and keep-alives notice a server that froze.

mod connect;
mod error;
mod leases;
mod session;

pub use connect::{EtcdSettings, TlsFiles};
pub use error::EtcdError;

use crate::service::Keyspace;
use crate::source::event::Event;
use crate::source::feed::{Closed, Feed};
use rand::Rng;
use session::{Memory, Session};
use std::time::Duration;
use tokio::time::Instant;

/// First wait after all endpoints failed; doubled up to [`LONGEST_WAIT`].
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// Longest wait between rounds: a store that is back is noticed soon.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long a session has to last for the next to begin without a long wait.
const STEADY: Duration = Duration::from_secs(10);

/// How long a lost session may be replaced by another before the store counts as lost.
const GRACE: Duration = Duration::from_secs(1);

/// The source; see the module's text.
#[derive(Debug)]
pub struct Etcd {
    settings: EtcdSettings,
    keyspace: Keyspace,
    feed: Feed,
}

impl Etcd {
    /// A source that speaks to the endpoints of the settings.
    pub fn new(settings: EtcdSettings, keyspace: Keyspace, feed: Feed) -> Self {
        Self { settings, keyspace, feed }
    }

    /// Mirrors the store until the mirror ends.
    pub async fn run(self) -> Closed {
        let mut endpoints = self.settings.endpoints.clone();
        let mut wait = SHORTEST_WAIT;
        let mut at = 0;
        let mut failed = 0;
        let mut lost_at = None;
        let mut memory = Memory::default();
        loop {
            let endpoint = &endpoints[at % endpoints.len()];
            let mut session = Session::new(&self.settings, &self.keyspace, &self.feed, &mut memory, endpoint);
            let Err(error) = session.run().await;
            if let EtcdError::Closed(closed) = error {
                return closed;
            }
            if let Some(synced) = session.synced {
                (failed, lost_at) = (0, None);
                // A session that ends as soon as it is in sync must not list the store without rest.
                if synced.elapsed() > STEADY {
                    wait = SHORTEST_WAIT;
                }
            }
            if let Some(members) = session.members.take() {
                endpoints = self.settings.merged(members);
            }
            at += 1;
            failed += 1;
            let since = *lost_at.get_or_insert_with(Instant::now);
            let round = failed % endpoints.len() == 0;
            if (round || since.elapsed() > GRACE)
                && let Err(closed) = self.feed.push(Event::Unreachable(error.to_string())).await
            {
                return closed;
            }
            if round {
                // By chance, so that the hosts of a site do not come back all at once.
                let pause = rand::rng().random_range(wait / 2..=wait);
                tokio::time::sleep(pause).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }

    /// Lists the store once; for `skydns check`.
    ///
    /// # Errors
    /// No endpoint answered; the error is the last one's.
    pub async fn list_once(&self) -> Result<(), EtcdError> {
        let mut last = EtcdError::NoEndpoint;
        let mut memory = Memory::default();
        for endpoint in &self.settings.endpoints {
            let mut session = Session::new(&self.settings, &self.keyspace, &self.feed, &mut memory, endpoint);
            match session.list_once().await {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
