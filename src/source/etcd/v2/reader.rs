//! The v2 API for a command that reads all of it, without a mirror.

use super::super::clusters::Clusters;
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

/// Directories that are looked into for hidden ones.
const MAX_LOOKED_INTO: usize = 20_000;

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

    /// Reads all keys from the first endpoint that gives them.
    pub(in super::super) async fn read<S: Sink + Send + 'static>(
        &self,
        clusters: &mut Clusters,
        sink: impl Fn() -> S,
    ) -> Result<V2Listing<S>, EtcdError> {
        let mut errors = Vec::new();
        for endpoint in &self.settings.endpoints {
            match self.read_at(endpoint, clusters, &sink).await {
                Ok(listing) => return Ok(listing),
                Err(error) => errors.push((endpoint.clone(), error)),
            }
        }
        Err(EtcdError::NoneAnswers(reason(&self.settings, &errors)))
    }

    async fn read_at<S: Sink + Send + 'static>(
        &self,
        endpoint: &str,
        clusters: &mut Clusters,
        sink: &impl Fn() -> S,
    ) -> Result<V2Listing<S>, EtcdError> {
        let mut client = Client::new(&self.settings, endpoint)?;
        let mut listing =
            V2Listing { endpoint: endpoint.to_owned(), cluster: None, index: 0, sinks: Vec::new() };
        for root in &self.roots {
            let (read, head) = fetch(&mut client, root, Reads::Current, sink(), &mut false).await?;
            clusters.check(endpoint, head.cluster)?;
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
    pub(in super::super) async fn change(&self, endpoint: &str, index: u64, limit: Duration) {
        let polls = self.roots.iter().map(|root| Box::pin(self.poll(endpoint, root, index)));
        let _ = timeout(limit, select_all(polls)).await;
    }

    async fn poll(&self, endpoint: &str, root: &Root, index: u64) {
        let polled = async {
            let mut client = Client::new(&self.settings, endpoint)?;
            let query = format!("?wait=true&recursive=true&waitIndex={}", index + 1);
            let mut exchange =
                client.get(&root.path(&query), Login::AsUser, HEAD_TIMEOUT, "waiting for a change").await?;
            match exchange.answer.said().await? {
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

    /// Looks for hidden directories, which no list shows, beside the keys: those that are found, and are not read.
    pub(in super::super) async fn hidden<'k>(
        &self,
        endpoint: &str,
        keys: impl Iterator<Item = &'k String>,
    ) -> Vec<String> {
        let mut directories = BTreeSet::from([self.roots[0].key()]);
        for key in keys {
            directories.extend(key.match_indices('/').map(|(at, _)| &key[..at]).filter(|at| at.len() > 1));
        }
        let Ok(mut client) = Client::new(&self.settings, endpoint) else { return Vec::new() };
        let is_read = |hidden: &str| self.roots.iter().any(|root| root.key() == hidden);
        let mut found = Vec::new();
        for directory in directories.into_iter().filter(|key| !is_hidden(key)).take(MAX_LOOKED_INTO) {
            for label in HIDDEN {
                let hidden = format!("{directory}/{label}");
                if is_read(&hidden) {
                    continue;
                }
                // Of a directory in which another one is read, only what nobody reads is missing.
                let is_part_read = self.roots.iter().any(|root| is_below(root.key(), &hidden));
                match look_into(&mut client, &hidden).await {
                    Some(shows_any) if shows_any || !is_part_read => found.push(hidden),
                    _ => {}
                }
            }
        }
        found
    }
}

/// Whether a list of a key shows anything; `None` if there is no such key.
async fn look_into(client: &mut Client, key: &str) -> Option<bool> {
    let path = path(&format!("{key}/"), "");
    let asked = client.get(&path, Login::AsUser, HEAD_TIMEOUT, "looking for hidden keys").await;
    let mut exchange = asked.ok()?;
    let said = exchange.answer.said().await;
    let body = match said {
        Ok(Said::Success) => exchange.answer.short_body().await.ok(),
        _ => None,
    };
    if said.is_ok() {
        client.give_back(exchange);
    }
    let node = serde_json::from_slice::<serde_json::Value>(&body?).ok()?;
    let nodes = node["node"]["nodes"].as_array();
    Some(nodes.is_some_and(|nodes| !nodes.is_empty()) || node["node"]["value"].is_string())
}
