//! etcd (v3 API) as a source: one listing at one revision, then the watch from there on.
//!
//! A session talks to one endpoint. Any error ends the session, and the next session begins at the next endpoint with
//! a new listing, of which the mirror applies the difference. Everything that waits for the network has a deadline,
//! and keep-alives notice a server that froze.

mod cause;
mod connect;
mod error;
mod leases;
mod session;

pub use connect::{EtcdSettings, TlsFiles};
pub use error::EtcdError;

use crate::service::Keyspace;
use crate::source::event::Event;
use crate::source::feed::{Closed, Feed};
use error::summary;
use rand::Rng;
use session::{CarriedOver, Session};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum pause after every endpoint failed once; doubled each time, up to [`MAX_ROUND_PAUSE`].
const FIRST_ROUND_PAUSE: Duration = Duration::from_millis(100);

/// Maximum pause between two rounds through the endpoints: a store that is back is noticed soon.
const MAX_ROUND_PAUSE: Duration = Duration::from_secs(5);

/// How long a session has to be in sync for the pause after it to be short again.
const STEADY_TIME: Duration = Duration::from_secs(10);

/// How long the other endpoints are tried after a session could not begin before the store is reported as unreachable. One
/// that was in sync and is lost is reported at once: what is served may be old from then on.
const UNREACHABLE_DELAY: Duration = Duration::from_secs(1);

/// etcd as a source.
#[derive(Debug)]
pub struct Etcd {
    settings: EtcdSettings,
    keyspace: Keyspace,
    feed: Feed,
}

impl Etcd {
    /// A source that is read at the endpoints of the settings.
    pub fn new(settings: EtcdSettings, keyspace: Keyspace, feed: Feed) -> Self {
        Self { settings, keyspace, feed }
    }

    /// Mirrors the store until the mirror ends.
    pub async fn run(self) -> Closed {
        let mut endpoints = self.settings.endpoints.clone();
        let mut max_pause = FIRST_ROUND_PAUSE;
        let mut next = 0;
        // Sessions that failed since one was in sync, when the first of them failed, and the last error of each endpoint.
        let (mut failed, mut failed_since, mut errors) = (0, None, Vec::new());
        let mut carried_over = CarriedOver::default();
        // Whether the store was listed, as it is or as a server has it.
        let mut has_listing = false;
        loop {
            let endpoint = &endpoints[next % endpoints.len()];
            let mut session =
                Session::new(&self.settings, &self.keyspace, &self.feed, &mut carried_over, endpoint);
            let Err(error) = session.run().await;
            if let EtcdError::Closed(closed) = error {
                return closed;
            }
            let synced = session.synced;
            if let Some(synced) = synced {
                has_listing = true;
                (failed, failed_since) = (0, None);
                errors.clear();
                // Sessions that end as soon as they are in sync must not list the store again and again without a pause.
                if synced.elapsed() > STEADY_TIME {
                    max_pause = FIRST_ROUND_PAUSE;
                }
            }
            let members = session.members.take();
            match errors.iter_mut().find(|(failed, _)| failed == endpoint) {
                Some((_, last)) => *last = error,
                None => errors.push((endpoint.clone(), error)),
            }
            if let Some(members) = members {
                endpoints = self.settings.merged(members);
            }
            next += 1;
            failed += 1;
            let since = *failed_since.get_or_insert_with(Instant::now);
            let all_failed = failed % endpoints.len() == 0;
            let reason = self.reason(&errors);
            if (synced.is_some() || all_failed || since.elapsed() > UNREACHABLE_DELAY)
                && let Err(closed) = self.feed.push(Event::Unreachable(reason.clone())).await
            {
                return closed;
            }
            if all_failed && !has_listing {
                match self.list_stale(&endpoints, &mut carried_over, &reason).await {
                    Ok(is_listed) => has_listing = is_listed,
                    Err(closed) => return closed,
                }
            }
            if all_failed {
                // At random, so that the hosts of a site do not come back all at once.
                let pause = rand::rng().random_range(max_pause / 2..=max_pause);
                tokio::time::sleep(pause).await;
                max_pause = (max_pause * 2).min(MAX_ROUND_PAUSE);
            }
        }
    }

    /// Why the store cannot be reached, for operators.
    fn reason(&self, errors: &[(String, EtcdError)]) -> String {
        let hint =
            if self.settings.are_default() { " (no endpoint is set: -machines, ETCD_MACHINES)" } else { "" };
        format!("{}{hint}", summary(errors))
    }

    /// Lists what a server has while none of them can say whether that is the present state, as without a quorum; whether
    /// there is such a server. Old names are better than none.
    async fn list_stale(
        &self,
        endpoints: &[String],
        carried_over: &mut CarriedOver,
        because: &str,
    ) -> Result<bool, Closed> {
        for endpoint in endpoints {
            let mut session =
                Session::new(&self.settings, &self.keyspace, &self.feed, carried_over, endpoint);
            match session.list_stale(because).await {
                Ok(()) => return Ok(true),
                Err(EtcdError::Closed(closed)) => return Err(closed),
                Err(_) => {}
            }
        }
        Ok(false)
    }

    /// Lists the store once, for `skydns check`.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn list_once(&self) -> Result<(), EtcdError> {
        let mut errors = Vec::new();
        let mut carried_over = CarriedOver::default();
        for endpoint in &self.settings.endpoints {
            let mut session =
                Session::new(&self.settings, &self.keyspace, &self.feed, &mut carried_over, endpoint);
            match session.list_once().await {
                Ok(()) => return Ok(()),
                Err(error) => errors.push((endpoint.clone(), error)),
            }
        }
        Err(EtcdError::NoneAnswers(self.reason(&errors)))
    }
}
