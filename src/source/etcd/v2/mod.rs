//! etcd's v2 API as a source: a listing of all keys, and long polls from there on.
//!
//! A session talks to one endpoint; any error ends it, and the next one lists the store again. A key's time to live counts
//! down in answers, and never removes a key: who renews it without a word is reported to nobody, so only the store's own word
//! that a key has ended counts.

mod answer;
mod client;
mod fetch;
mod list;
mod listed;
mod members;
mod node;
mod probe;
mod reader;
mod root;
mod session;
mod watcher;

use super::choice::BothApis;
use super::clusters::Clusters;
use super::connect::{EtcdSettings, Reads};
use super::error::EtcdError;
use super::rounds::{Ended, Rounds, reason};
use crate::service::Keyspace;
use crate::source::event::Event;
use crate::source::feed::{Closed, Feed};
pub(super) use list::{ListedKey, Sink};
pub(super) use node::Expiry;
pub(super) use probe::{cluster, is_before_v3};
use rand::Rng;
pub(super) use reader::{HiddenFound, V2Reader};
use root::Root;
use session::Session;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// After which time a store is asked again that has no v2 API, in seconds.
const ABSENT_PAUSE_SECONDS: u64 = 60;

/// For how long names are not denied before a v2 API that nobody has asked for shows itself, though it cannot be read.
const UNSHOWN_TIME: Duration = Duration::from_secs(10);

/// etcd's v2 API as a source.
#[derive(Debug)]
pub struct EtcdV2 {
    settings: EtcdSettings,
    keyspace: Keyspace,
    roots: Vec<Root>,
    feed: Feed,
    /// The v3 API, if that is read as well.
    both: Option<BothApis>,
    /// Whether an API that lets everybody in is not read, though a login is set.
    refuses_open: bool,
    /// Whether there is no other source of the store.
    is_alone: bool,
}

impl EtcdV2 {
    /// A source that is read at the endpoints of the settings; `also` are hidden keys that are read as well.
    pub fn new(settings: EtcdSettings, keyspace: Keyspace, also: &[String], feed: Feed) -> Self {
        let roots = Root::all(&keyspace, also);
        Self { settings, keyspace, roots, feed, both: None, refuses_open: false, is_alone: false }
    }

    /// The same, and v3 is not read: that there is no v2 API does not mean that there are no names.
    pub fn alone(self) -> Self {
        Self { is_alone: true, ..self }
    }

    /// The same, and an API that lets everybody in is not read if a login is set.
    pub fn refusing_open(self) -> Self {
        Self { refuses_open: true, ..self }
    }

    /// The same beside v3; unless somebody has asked for it, it is read if it turns out to be needed.
    pub fn beside(self, both: BothApis) -> Self {
        Self { refuses_open: !both.is_asked_for(), both: Some(both), ..self }
    }

    /// Mirrors the store until the mirror ends.
    pub async fn run(mut self) -> Closed {
        if let Some(both) = self.both.as_mut().filter(|both| !both.is_asked_for()) {
            match both.decided().await {
                Ok(true) => {}
                Ok(false) => return self.leave_alone().await,
                Err(closed) => return closed,
            }
        }
        self.mirror().await
    }

    /// Reads nothing, because v3 has all that counts.
    async fn leave_alone(self) -> Closed {
        let reason = "v3 holds the services".to_owned();
        if let Err(closed) = self.feed.push(Event::Unused { reason, is_refused: false }).await {
            return closed;
        }
        self.tell_unread().await;
        self.feed.closed().await
    }

    /// Reads nothing, because that was asked for.
    pub async fn only_tell(self) -> Closed {
        self.tell_unread().await;
        self.feed.closed().await
    }

    /// Tells once whether v2 holds keys, which nobody reads.
    async fn tell_unread(&self) {
        if let Some(endpoint) = self.endpoint_with_keys().await {
            log::warn!(
                "etcd-v2: {endpoint} holds keys below {} which are not read: -etcd-api both reads them, and skydns \
                 migrate carries them to v3",
                self.keyspace.root()
            );
        }
    }

    /// The first endpoint that answers, if it holds keys.
    pub async fn endpoint_with_keys(&self) -> Option<&str> {
        for endpoint in &self.settings.endpoints {
            if let Ok(holds) = probe::holds_keys(&self.settings, endpoint, &self.roots[0]).await {
                return holds.then_some(endpoint);
            }
        }
        None
    }

    async fn mirror(self) -> Closed {
        self.warn_of_plain_password();
        let mut rounds = Rounds::new(&self.settings);
        let mut clusters = Clusters::default();
        let (mut has_listing, mut had_v2) = (false, HashSet::new());
        let (begun, mut has_told) = (Instant::now(), false);
        loop {
            let endpoint = rounds.endpoint();
            let mut session = self.session(&mut clusters, &endpoint);
            let Err(error) = session.run().await;
            if let EtcdError::Closed(closed) = error {
                return closed;
            }
            if matches!(error, EtcdError::Open { .. }) && !std::mem::replace(&mut has_told, true) {
                log::warn!("etcd-v2: {error}");
            }
            let (synced, members) = (session.synced, session.members.take());
            if session.has_v2 {
                had_v2.insert(endpoint.clone());
            }
            has_listing |= synced.is_some();
            let endpoints = members.map(|members| self.settings.with_members(members));
            let outlook = rounds.note(Ended { error, synced, endpoints });
            let reason = reason(&self.settings, rounds.errors());
            let is_absent = outlook.all_failed && is_absent(rounds.errors(), &had_v2);
            if outlook.all_failed && !is_absent && !has_listing {
                // Ahead of what may take as long once more.
                if let Err(closed) = self.feed.push(Event::Unreachable(reason.clone())).await {
                    return closed;
                }
                match self.list_stale(rounds.endpoints(), &mut clusters, &reason).await {
                    Ok(is_listed) => has_listing = is_listed,
                    Err(closed) => return closed,
                }
            }
            // Where nobody has asked for v2, nobody waits for what has never shown it.
            let is_in_use = |both: &BothApis| both.is_asked_for() || both.was_read();
            let is_in_use = has_listing || !had_v2.is_empty() || self.both.as_ref().is_none_or(is_in_use);
            let is_given_up = outlook.all_failed && !is_in_use && begun.elapsed() > UNSHOWN_TIME;
            let is_unused = is_absent || is_given_up;
            let event = match is_unused && !self.is_alone {
                true => Some(Event::Unused { reason, is_refused: is_refused(rounds.errors()) }),
                false => outlook.is_unreachable.then_some(Event::Unreachable(reason)),
            };
            if let Some(event) = event
                && let Err(closed) = self.feed.push(event).await
            {
                return closed;
            }
            if is_absent && is_in_use {
                // It may be back soon: somebody may only have restarted the servers in another way than before.
                had_v2.clear();
                rounds.pause().await;
                continue;
            }
            if is_absent {
                let seconds = rand::rng().random_range(ABSENT_PAUSE_SECONDS / 2..=ABSENT_PAUSE_SECONDS);
                sleep(Duration::from_secs(seconds)).await;
                continue;
            }
            if !outlook.all_failed {
                continue;
            }
            rounds.pause().await;
        }
    }

    fn session<'a>(&'a self, clusters: &'a mut Clusters, endpoint: &'a str) -> Session<'a> {
        Session {
            settings: &self.settings,
            keyspace: &self.keyspace,
            feed: &self.feed,
            roots: &self.roots,
            clusters,
            endpoint,
            both: self.both.as_ref(),
            refuses_open: self.refuses_open,
            synced: None,
            members: None,
            has_v2: false,
        }
    }

    /// Lists what a server has while none of them can say whether that is the present state, as without a quorum; whether
    /// there is such a server.
    async fn list_stale(
        &self,
        endpoints: &[String],
        clusters: &mut Clusters,
        because: &str,
    ) -> Result<bool, Closed> {
        for endpoint in endpoints {
            match self.session(clusters, endpoint).list_stale(because).await {
                Ok(()) => return Ok(true),
                Err(EtcdError::Closed(closed)) => return Err(closed),
                Err(_) => {}
            }
        }
        Ok(false)
    }

    /// Lists the store once, for `skydns check`; returns the number of keys.
    ///
    /// # Errors
    /// No endpoint answered; [`EtcdError::NoV2`] if all that did have no v2 API.
    pub async fn list_once(&self) -> Result<usize, EtcdError> {
        let mut errors = Vec::new();
        let mut clusters = Clusters::default();
        for endpoint in &self.settings.endpoints {
            match self.session(&mut clusters, endpoint).list_once().await {
                Ok(keys) => return Ok(keys),
                Err(error) => errors.push((endpoint.clone(), error)),
            }
        }
        if let Some(at) = errors.iter().position(|(_, error)| matches!(error, EtcdError::Open { .. })) {
            return Err(errors.swap_remove(at).1);
        }
        if is_absent(&errors, &HashSet::new()) {
            return Err(EtcdError::NoV2 { endpoint: self.settings.endpoints.join(", ") });
        }
        Err(EtcdError::NoneAnswers(reason(&self.settings, &errors)))
    }

    /// A password over plain HTTP can be read by everybody on the way, in each request.
    fn warn_of_plain_password(&self) {
        let is_plain = self.settings.endpoints.iter().any(|endpoint| endpoint.starts_with("http://"));
        if self.settings.user.is_some() && is_plain {
            log::warn!(
                "etcd-v2: the password goes over http:// without TLS, readable on the way: use https://"
            );
        }
    }
}

/// Whether an endpoint has a v2 API that is not to be trusted.
fn is_refused(errors: &[(String, EtcdError)]) -> bool {
    errors.iter().any(|(_, error)| matches!(error, EtcdError::Open { .. }))
}

/// Whether no endpoint has a v2 API: one says so, and none that had it failed otherwise.
fn is_absent(errors: &[(String, EtcdError)], had_v2: &HashSet<String>) -> bool {
    let is_absent_there =
        |error: &EtcdError| matches!(error, EtcdError::NoV2 { .. } | EtcdError::Open { .. });
    errors.iter().any(|(_, error)| is_absent_there(error))
        && errors.iter().all(|(endpoint, error)| is_absent_there(error) || !had_v2.contains(endpoint))
}
