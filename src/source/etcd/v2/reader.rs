//! The v2 API for a command that reads all of it, without a mirror.

use super::super::connect::{EtcdSettings, Reads};
use super::super::error::EtcdError;
use super::super::rounds::reason;
use super::answer::Said;
use super::client::{Client, Login};
use super::fetch::fetch;
use super::list::Sink;
use super::node::is_below;
use super::root::{Root, is_hidden, path};
use super::session::HEAD_TIMEOUT;
use crate::service::Keyspace;
use futures_util::future::select_all;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Labels of directories that SkyDNS's users hid: those of SRV (RFC 2782).
const HIDDEN: [&str; 4] = ["_tcp", "_udp", "_sctp", "_tls"];

/// Time for the search for them.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the v2 API of a store.
#[derive(Debug)]
pub(in super::super) struct V2Reader {
    settings: EtcdSettings,
    roots: Vec<Root>,
}

/// What was read.
pub(in super::super) struct V2Listing<S> {
    pub(in super::super) endpoint: String,
    pub(in super::super) cluster: Option<u64>,
    /// The index of the store when the first part was read.
    pub(in super::super) index: u64,
    /// The keys of each part.
    pub(in super::super) sinks: Vec<S>,
}

impl V2Reader {
    /// Of the keys below the path prefix, and hidden ones that are to be read as well.
    pub(in super::super) fn new(settings: EtcdSettings, keyspace: &Keyspace, also: &[String]) -> Self {
        let roots = Root::all(keyspace, also);
        Self { settings, roots }
    }

    /// Reads all keys from the first endpoint that gives them; if it is known of which cluster, from the first one of that.
    pub(in super::super) async fn read<S: Sink + Send + 'static>(
        &self,
        ours: Option<u64>,
        sink: impl Fn() -> S,
    ) -> Result<V2Listing<S>, EtcdError> {
        let (mut errors, mut other) = (Vec::new(), None);
        for endpoint in &self.settings.endpoints {
            match self.read_at(endpoint, &sink).await {
                Ok(listing)
                    if ours.is_some_and(|ours| listing.cluster.is_some_and(|cluster| cluster != ours)) =>
                {
                    other.get_or_insert(endpoint);
                }
                Ok(listing) => return Ok(listing),
                Err(error) => errors.push((endpoint.clone(), error)),
            }
        }
        Err(match other {
            Some(endpoint) => {
                let cause =
                    "it is of another cluster than at the beginning: end this, and begin anew".to_owned();
                EtcdError::Failed { endpoint: endpoint.clone(), cause }
            }
            None => EtcdError::NoneAnswers(reason(&self.settings, &errors)),
        })
    }

    async fn read_at<S: Sink + Send + 'static>(
        &self,
        endpoint: &str,
        sink: &impl Fn() -> S,
    ) -> Result<V2Listing<S>, EtcdError> {
        let mut client = Client::new(&self.settings, endpoint)?;
        let mut listing =
            V2Listing { endpoint: endpoint.to_owned(), cluster: None, index: 0, sinks: Vec::new() };
        for root in &self.roots {
            let (read, head) = fetch(&mut client, root, Reads::Current, sink(), &mut false).await?;
            if listing.cluster.zip(head.cluster).is_some_and(|(first, now)| first != now) {
                let cause = "another server has taken its place while it was read".to_owned();
                return Err(EtcdError::Failed { endpoint: endpoint.to_owned(), cause });
            }
            listing.sinks.push(read);
            listing.cluster = listing.cluster.or(head.cluster);
            if listing.index == 0 {
                listing.index = head.index;
            }
        }
        Ok(listing)
    }

    /// Waits for a change after an index, or for some time. What goes wrong meanwhile ends the wait as a change does, but not at
    /// once.
    pub(in super::super) async fn change(
        &self,
        endpoint: &str,
        (cluster, index): (u64, u64),
        limit: Duration,
    ) {
        let polls = self.roots.iter().map(|root| Box::pin(self.poll(endpoint, root, cluster, index)));
        let _ = timeout(limit, select_all(polls)).await;
    }

    async fn poll(&self, endpoint: &str, root: &Root, cluster: u64, index: u64) {
        let polled = async {
            let mut client = Client::new(&self.settings, endpoint)?;
            let query = format!("?wait=true&recursive=true&waitIndex={}", index + 1);
            let mut exchange =
                client.get(&root.path(&query), Login::AsUser, HEAD_TIMEOUT, "waiting for a change").await?;
            match exchange.answer.said().await? {
                // Another server has taken its place.
                _ if exchange.answer.cluster().is_some_and(|now| now != cluster) => Ok(true),
                Said::Success => exchange.answer.piece(Duration::MAX).await.map(|_| true),
                // The store has forgotten what has changed: something has.
                Said::Error(_) => Ok(true),
                Said::NoPage => Ok(false),
            }
        };
        let polled: Result<bool, EtcdError> = polled.await;
        if !polled.unwrap_or(false) {
            sleep(HEAD_TIMEOUT).await;
        }
    }

    /// Whether a key would have been read.
    pub(in super::super) fn reads(&self, key: &str) -> bool {
        let has = |root: &Root| {
            root.key() == key || is_below(key, root.key()) && !is_hidden(&key[root.key().len()..])
        };
        self.roots.iter().any(has)
    }

    /// Looks for hidden directories, which no list shows, in directories and in what is named: those that are found, and are not
    /// read.
    pub(in super::super) async fn hidden<'k>(
        &'k self,
        endpoint: &str,
        directories: impl Iterator<Item = &'k str>,
    ) -> HiddenFound {
        let mut found = HiddenFound::default();
        let Ok(mut client) = Client::new(&self.settings, endpoint) else { return found };
        let directories: BTreeSet<_> = directories.chain(self.roots.iter().map(Root::key)).collect();
        let search = async {
            for directory in directories {
                for label in HIDDEN {
                    let hidden = format!("{directory}/{label}");
                    if !self.reads(&hidden) && self.has_unread(&mut client, &hidden).await? {
                        found.keys.push(hidden);
                    }
                }
            }
            Ok::<_, EtcdError>(())
        };
        found.is_whole = matches!(timeout(SEARCH_TIMEOUT, search).await, Ok(Ok(())));
        found
    }

    /// Whether there is a key of which not all is read.
    async fn has_unread(&self, client: &mut Client, key: &str) -> Result<bool, EtcdError> {
        let path = path(&format!("{key}/"), "");
        let mut exchange = client.get(&path, Login::AsUser, HEAD_TIMEOUT, "looking for hidden keys").await?;
        let body = match exchange.answer.said().await? {
            Said::Success => Some(exchange.answer.short_body().await?),
            Said::Error(_) | Said::NoPage => None,
        };
        client.give_back(exchange);
        let Some(body) = body else { return Ok(false) };
        // Of a directory in which another one is read, only what nobody reads is missing.
        let is_part_read = self.roots.iter().any(|root| is_below(root.key(), key));
        let Ok(answer) = serde_json::from_slice::<serde_json::Value>(&body) else { return Ok(false) };
        let is_unread = |node: &serde_json::Value| {
            let key = node["key"].as_str().unwrap_or_default();
            !self.roots.iter().any(|root| root.key() == key || is_below(root.key(), key))
        };
        let nodes = answer["node"]["nodes"].as_array();
        let shows =
            nodes.is_some_and(|nodes| nodes.iter().any(is_unread)) || answer["node"]["value"].is_string();
        Ok(shows || !is_part_read)
    }
}

/// Hidden keys that were found.
#[derive(Debug, Default)]
pub(in super::super) struct HiddenFound {
    pub(in super::super) keys: Vec<String>,
    /// Whether all directories were looked into.
    pub(in super::super) is_whole: bool,
}
