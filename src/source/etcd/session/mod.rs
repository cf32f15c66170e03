//! One session with one endpoint: connect, list, watch, until something fails.

mod list;
mod members;
mod watch;

use super::choice::BothApis;
use super::clusters::Clusters;
use super::connect::{EtcdSettings, Reads};
use super::error::EtcdError;
use super::leases::LeaseTracker;
use crate::service::Keyspace;
use crate::source::event::{Change, Event, News};
use crate::source::feed::Feed;
use crate::source::layout;
use etcd_client::{Client, GetOptions, KeyValue};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Time for the answer to one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum size of one answer in octets. A page of a listing that is larger is asked for again in halves.
const MAX_ANSWER_OCTETS: usize = 64 << 20;

/// What one session leaves to the next.
pub(super) struct CarriedOver {
    /// The leases: services in the tree share them, whichever session brought the services.
    leases: LeaseTracker,
    /// Which cluster is mirrored.
    clusters: Clusters,
    /// Maximum number of keys of a page that this store manages in time.
    max_page_keys: i64,
}

impl Default for CarriedOver {
    fn default() -> Self {
        let (leases, clusters) = (LeaseTracker::default(), Clusters::default());
        Self { leases, clusters, max_page_keys: list::MAX_PAGE_KEYS }
    }
}

/// A session with one endpoint.
pub(super) struct Session<'a> {
    settings: &'a EtcdSettings,
    keyspace: &'a Keyspace,
    feed: &'a Feed,
    endpoint: &'a str,
    carried_over: &'a mut CarriedOver,
    /// When the listing was complete.
    pub(super) synced: Option<Instant>,
    /// Whether the listing has the key of any service.
    has_services: bool,
    /// The members' endpoints, with `-discover`.
    pub(super) members: Option<Vec<String>>,
}

impl<'a> Session<'a> {
    /// A session that begins when it is [run](Self::run).
    pub(super) fn new(
        settings: &'a EtcdSettings,
        keyspace: &'a Keyspace,
        feed: &'a Feed,
        carried_over: &'a mut CarriedOver,
        endpoint: &'a str,
    ) -> Self {
        carried_over.leases.reconnected();
        Self {
            settings,
            keyspace,
            feed,
            endpoint,
            carried_over,
            synced: None,
            has_services: false,
            members: None,
        }
    }

    /// Mirrors the store until something fails.
    pub(super) async fn run(&mut self, both: Option<&BothApis>) -> Result<Infallible, EtcdError> {
        let mut client = self.settings.connect(self.endpoint, Reads::Current).await?;
        self.push_configuration(&client).await?;
        let revision = self.list(&client, Reads::Current).await?;
        if let Some(both) = both {
            let wants_v2 = !self.has_services || is_moving(self.keyspace, client.clone()).await;
            both.note_listed(wants_v2).await?;
        }
        self.feed.push(Event::ListEnd(Some(revision))).await?;
        self.synced = Some(Instant::now());
        self.watch(&mut client, revision).await
    }

    /// Lists the store, and ends; returns whether the v2 API would be read as well where nobody has said so.
    pub(super) async fn list_once(&mut self) -> Result<bool, EtcdError> {
        let client = self.settings.connect(self.endpoint, Reads::Current).await?;
        let revision = self.list(&client, Reads::Current).await?;
        self.feed.push(Event::ListEnd(Some(revision))).await?;
        Ok(!self.has_services || is_moving(self.keyspace, client).await)
    }

    /// Lists what the server has, which may be old because of an error of a session, and ends.
    pub(super) async fn list_stale(&mut self, because: &str) -> Result<(), EtcdError> {
        let client = self.settings.connect(self.endpoint, Reads::Stale).await?;
        let revision = self.list(&client, Reads::Stale).await?;
        let reason = format!("{because}; {} has revision {revision}", self.endpoint);
        Ok(self.feed.push(Event::StaleListEnd { revision: Some(revision), reason }).await?)
    }

    /// Pushes the configuration ahead of the listing: it says where to listen, and for which domain.
    async fn push_configuration(&mut self, client: &Client) -> Result<(), EtcdError> {
        let key = self.keyspace.config_key();
        let mut kv = client.kv_client();
        let answer = match timeout(REQUEST_TIMEOUT, kv.get(key, None)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                return Err(EtcdError::failed(self.endpoint, "reading the configuration", &error));
            }
            Err(_) => return Err(self.timed_out("reading the configuration")),
        };
        let changes: Vec<_> = answer.kvs().iter().map(|kv| self.put(kv)).collect();
        if changes.is_empty() {
            return Ok(());
        }
        Ok(self.feed.push(Event::Changed(changes, None)).await?)
    }

    /// What a key of the store with its value and lease means.
    fn put(&mut self, kv: &KeyValue) -> Change {
        let lease = self.carried_over.leases.lease(kv.lease());
        let mut change = layout::read(self.keyspace, kv.key(), Some(kv.value().to_vec()), lease);
        if let News::Accepted(revision) = &mut change.news {
            *revision = Some(kv.mod_revision());
        }
        change
    }

    fn timed_out(&self, what: &'static str) -> EtcdError {
        EtcdError::Timeout { endpoint: self.endpoint.to_owned(), what, limit: REQUEST_TIMEOUT }
    }
}

/// Whether a move from the v2 API is under way: it has left its mark. Who may not read that is told of none.
async fn is_moving(keyspace: &Keyspace, client: Client) -> bool {
    let mut kv = client.kv_client();
    let options = GetOptions::new().with_prefix().with_limit(1).with_keys_only();
    let answer = timeout(REQUEST_TIMEOUT, kv.get(keyspace.migration_root(), Some(options))).await;
    answer.is_ok_and(|answer| answer.is_ok_and(|answer| !answer.kvs().is_empty()))
}
