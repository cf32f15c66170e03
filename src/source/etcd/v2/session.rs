//! One session with one endpoint: list, then long polls, until something fails.

use super::super::choice::BothApis;
use super::super::connect::EtcdSettings;
use super::super::error::EtcdError;
use super::answer::{Said, code};
use super::client::{Client, Login};
use super::fetch::{fetch, no_v2};
use super::list::read_list;
use super::listed::Listed;
use super::node::Directories;
use super::root::{Root, path};
use super::watcher::Watcher;
use super::{Clusters, Reads};
use crate::service::Keyspace;
use crate::source::event::{Event, News};
use crate::source::feed::Feed;
use futures_util::future::try_join_all;
use rand::Rng;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Time for the head of an answer.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum pause after a listing that was needed because the store had forgotten the changes since the one before; doubled
/// each time, up to [`MAX_FORGOTTEN_PAUSE`].
const FIRST_FORGOTTEN_PAUSE: Duration = Duration::from_millis(200);

/// Maximum of that pause.
const MAX_FORGOTTEN_PAUSE: Duration = Duration::from_secs(30);

/// How long a watch has to last for the next of those pauses to be short again.
const STEADY_TIME: Duration = Duration::from_secs(60);

/// Minimum time after which keys that end are listed again: who renews them without a word changes when they end.
const MIN_RENEWAL_PERIOD: Duration = Duration::from_secs(300);

/// That time as a multiple of how long a listing takes: a thousand hosts must not keep a store busy.
const RENEWAL_FACTOR: u32 = 1_000;

/// A session with one endpoint.
pub(super) struct Session<'a> {
    pub(super) settings: &'a EtcdSettings,
    pub(super) keyspace: &'a Keyspace,
    pub(super) feed: &'a Feed,
    pub(super) roots: &'a [Root],
    pub(super) clusters: &'a mut Clusters,
    pub(super) endpoint: &'a str,
    /// The v3 API, if that is read as well.
    pub(super) both: Option<&'a BothApis>,
    /// Whether an API that lets everybody in is not read, because a login is set and nobody has asked for this API.
    pub(super) refuses_open: bool,
    /// When the listing was complete.
    pub(super) synced: Option<Instant>,
    /// The members' endpoints, with `-discover`.
    pub(super) members: Option<Vec<String>>,
    /// Whether the endpoint answered as the v2 API does.
    pub(super) has_v2: bool,
}

/// What a listing found.
pub(super) struct Found {
    /// The index of the store at the listing of each root.
    indexes: Vec<u64>,
    directories: Directories,
    /// Whether any key ends.
    has_ends: bool,
    /// The number of keys.
    pub(super) keys: usize,
    /// How long it took.
    time: Duration,
}

impl Found {
    /// The index of the store when the path prefix was listed.
    fn revision(&self) -> Option<i64> {
        self.indexes.first().and_then(|index| i64::try_from(*index).ok())
    }
}

impl Session<'_> {
    /// Mirrors the store until something fails.
    pub(super) async fn run(&mut self) -> Result<Infallible, EtcdError> {
        let mut client = Client::new(self.settings, self.endpoint)?;
        self.check_login(&mut client).await?;
        self.push_configuration(&mut client).await?;
        let mut pause = FIRST_FORGOTTEN_PAUSE;
        loop {
            let found = self.list(&mut client, Reads::Current).await?;
            self.feed.push(Event::ListEnd(found.revision())).await?;
            if let Some(both) = self.both {
                both.note_v2_listed().await?;
            }
            let synced = Instant::now();
            self.synced = Some(synced);
            match self.watch(&client, &found).await {
                Ok(()) => {}
                Err(EtcdError::Forgotten { endpoint, reason }) => {
                    log::info!("etcd-v2: {endpoint}: {reason}; all keys are read again");
                    if synced.elapsed() > STEADY_TIME {
                        pause = FIRST_FORGOTTEN_PAUSE;
                    }
                    let at_random = rand::rng().random_range(Duration::ZERO..=pause);
                    sleep(at_random).await;
                    pause = (pause * 2).min(MAX_FORGOTTEN_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Checks that an API which nobody has asked for does not let in whom v3 would ask for a login.
    async fn check_login(&self, client: &mut Client) -> Result<(), EtcdError> {
        if !self.refuses_open || self.settings.user.is_none() {
            return Ok(());
        }
        let has_certificate = self.settings.tls.cert.is_some();
        if !super::probe::is_open(client, &self.roots[0], has_certificate).await? {
            return Ok(());
        }
        Err(EtcdError::Open { endpoint: self.endpoint.to_owned() })
    }

    /// Lists the store, and ends; returns the number of keys.
    pub(super) async fn list_once(&mut self) -> Result<usize, EtcdError> {
        let mut client = Client::new(self.settings, self.endpoint)?;
        self.check_login(&mut client).await?;
        let found = self.list(&mut client, Reads::Current).await?;
        self.feed.push(Event::ListEnd(found.revision())).await?;
        Ok(found.keys)
    }

    /// Lists what the server has, which may be old because of an error of a session, and ends.
    pub(super) async fn list_stale(&mut self, because: &str) -> Result<(), EtcdError> {
        let mut client = Client::new(self.settings, self.endpoint)?;
        let found = self.list(&mut client, Reads::Stale).await?;
        // A server that has never worked with the others, or reads its own log again, looks like an empty one.
        if found.keys == 0 {
            let cause = "no keys are known there".to_owned();
            return Err(EtcdError::Failed { endpoint: self.endpoint.to_owned(), cause });
        }
        let index = found.indexes.first().copied().unwrap_or_default();
        let reason = format!("{because}; {} has index {index}", self.endpoint);
        Ok(self.feed.push(Event::StaleListEnd { revision: found.revision(), reason }).await?)
    }

    /// Pushes the configuration ahead of the listing: it says where to listen, and for which domain.
    async fn push_configuration(&mut self, client: &mut Client) -> Result<(), EtcdError> {
        const WHAT: &str = "reading the configuration";
        let key = self.keyspace.config_key();
        let mut exchange = client.get(&path(&key, "?quorum=true"), Login::AsUser, HEAD_TIMEOUT, WHAT).await?;
        match exchange.answer.said().await? {
            Said::NoPage => return Err(no_v2(client).await),
            Said::Error(error) if error.code == code::KEY_NOT_FOUND => {}
            Said::Error(error) => {
                self.has_v2 = true;
                return Err(exchange.answer.api_error(&error));
            }
            Said::Success => {
                let body = exchange.answer.short_body().await?;
                let mut listed = Listed::new(self.keyspace, self.feed.clone());
                let read = read_list(&*body, &mut listed);
                read.map_err(|error| exchange.answer.failed(&format!("{WHAT}: {error}")))?;
                let changes = listed.take();
                let is_config = changes.iter().any(|change| matches!(change.news, News::Config(_)));
                if is_config {
                    self.feed.push(Event::Changed(changes, None)).await?;
                }
            }
        }
        self.has_v2 = true;
        client.give_back(exchange);
        Ok(())
    }

    /// Pushes every key of all roots. The end of the listing is left to the caller.
    pub(super) async fn list(&mut self, client: &mut Client, reads: Reads) -> Result<Found, EtcdError> {
        let started = Instant::now();
        let mut found = Found {
            indexes: Vec::new(),
            directories: Directories::default(),
            has_ends: false,
            keys: 0,
            time: Duration::ZERO,
        };
        self.feed.push(Event::ListBegin).await?;
        for root in self.roots {
            self.list_root(client, root, reads, &mut found).await?;
        }
        found.time = started.elapsed();
        Ok(found)
    }

    async fn list_root(
        &mut self,
        client: &mut Client,
        root: &Root,
        reads: Reads,
        found: &mut Found,
    ) -> Result<(), EtcdError> {
        let listed = Listed::new(self.keyspace, self.feed.clone());
        let (mut sink, head) = fetch(client, root, reads, listed, &mut self.has_v2).await?;
        self.clusters.check(self.endpoint, head.cluster)?;
        if let Some(cluster) = head.cluster {
            self.feed.push(Event::Cluster(cluster)).await?;
        }
        self.feed.push(Event::Listed(sink.take())).await?;
        found.indexes.push(head.index);
        found.directories.extend(head.directories);
        found.has_ends |= sink.has_ends;
        found.keys += sink.keys;
        Ok(())
    }

    /// Follows all roots; ends without an error when it is time to list them again.
    async fn watch(&mut self, client: &Client, found: &Found) -> Result<(), EtcdError> {
        let has_ends = AtomicBool::new(found.has_ends);
        let mut watchers = Vec::new();
        for (root, index) in self.roots.iter().zip(&found.indexes) {
            let client = client.another();
            let cluster = self.clusters.of(self.endpoint);
            let directories = found.directories.clone();
            watchers.push(Watcher {
                client,
                root,
                keyspace: self.keyspace,
                feed: self.feed,
                next: index.saturating_add(1),
                cluster,
                directories,
                has_ends: &has_ends,
                cuts: 0,
            });
        }
        let watchers = try_join_all(watchers.into_iter().map(Watcher::run));
        let renewal = renewal_period(found);
        let mut probe = client.another();
        let (settings, root, endpoint) = (self.settings, &self.roots[0], self.endpoint);
        tokio::select! {
            ended = watchers => ended.map(|_| ()),
            error = super::probe::run(&mut probe, root) => Err(error),
            () = super::members::follow(settings, endpoint, &mut self.members) => Ok(()),
            () = renewed(renewal, &has_ends) => Ok(()),
        }
    }
}

/// Waits until keys that end are to be listed again.
async fn renewed(period: Duration, has_ends: &AtomicBool) {
    loop {
        sleep(period).await;
        if has_ends.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// After which time keys that end are listed again.
fn renewal_period(found: &Found) -> Duration {
    let period = MIN_RENEWAL_PERIOD.max(found.time * RENEWAL_FACTOR);
    rand::rng().random_range(period..=period * 5 / 4)
}
