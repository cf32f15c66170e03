//! The keys of v2 that are to be carried, and those that cannot be.

use super::super::connect::EtcdSettings;
use super::super::error::EtcdError;
use super::super::v2::{Expiry, HiddenFound, ListedKey, Sink, V2Reader};
use super::plan::V2Key;
use crate::service::{KeyTarget, Keyspace};
use crate::source::event::News;
use crate::source::layout;
use std::collections::BTreeMap;
use std::time::Duration;

/// A key that cannot be carried, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncarried {
    /// The key in v2.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// What v2 has.
#[derive(Debug)]
pub(super) struct V2Store {
    pub(super) cluster: u64,
    pub(super) index: u64,
    pub(super) endpoint: String,
    pub(super) keys: BTreeMap<String, V2Key>,
    pub(super) uncarried: Vec<Uncarried>,
    directories: Vec<String>,
}

impl V2Store {
    /// Whether there is nothing to be carried, now or later.
    pub(super) fn holds_nothing(&self) -> bool {
        self.keys.is_empty() && self.uncarried.is_empty()
    }

    /// The number of keys of services.
    pub(super) fn services(&self, keyspace: &Keyspace) -> usize {
        let is_of_service = |key: &&String| {
            !matches!(keyspace.target_of(key.as_bytes()), Ok(KeyTarget::Config | KeyTarget::Accept))
        };
        self.keys.keys().filter(is_of_service).count()
    }
}

/// The store that is read.
#[derive(Debug)]
pub(super) struct Origin {
    reader: V2Reader,
    keyspace: Keyspace,
    /// The cluster, as soon as it is known.
    cluster: Option<u64>,
}

impl Origin {
    pub(super) fn new(settings: EtcdSettings, keyspace: Keyspace, also: &[String]) -> Self {
        let reader = V2Reader::new(settings, &keyspace, also);
        Self { reader, keyspace, cluster: None }
    }

    /// Reads all keys.
    pub(super) async fn read(&mut self) -> Result<V2Store, EtcdError> {
        let sink = || Collected {
            keyspace: self.keyspace.clone(),
            keys: BTreeMap::new(),
            uncarried: Vec::new(),
            directories: Vec::new(),
        };
        let read = self.reader.read(self.cluster, sink).await?;
        self.cluster = self.cluster.or(read.cluster);
        let mut store = V2Store {
            cluster: read.cluster.unwrap_or_default(),
            index: read.index,
            endpoint: read.endpoint,
            keys: BTreeMap::new(),
            uncarried: Vec::new(),
            directories: Vec::new(),
        };
        for collected in read.sinks {
            store.directories.extend(collected.directories);
            store.keys.extend(collected.keys);
            store.uncarried.extend(collected.uncarried);
        }
        Ok(store)
    }

    /// Waits for a change after an index, or for some time.
    pub(super) async fn change(&self, store: &V2Store, limit: Duration) {
        self.reader.change(&store.endpoint, (store.cluster, store.index), limit).await;
    }

    /// Whether a key would have been read.
    pub(super) fn reads(&self, key: &str) -> bool {
        self.reader.reads(key)
    }

    /// Hidden directories that are not read.
    pub(super) async fn hidden(&self, store: &V2Store) -> HiddenFound {
        self.reader.hidden(&store.endpoint, store.directories.iter().map(String::as_str)).await
    }
}

/// The keys of one part of the store.
struct Collected {
    keyspace: Keyspace,
    keys: BTreeMap<String, V2Key>,
    uncarried: Vec<Uncarried>,
    directories: Vec<String>,
}

impl Collected {
    fn refuse(&mut self, key: String, reason: &str) {
        self.uncarried.push(Uncarried { key, reason: reason.to_owned() });
    }
}

impl Sink for Collected {
    fn key(&mut self, ListedKey { key, value, expiry, index }: ListedKey) -> Result<(), String> {
        // etcd puts this in the place of octets that are no text.
        if key.contains('\u{fffd}') || value.contains('\u{fffd}') {
            self.refuse(key, "it is no UTF-8, so v2 does not show what it is");
            return Ok(());
        }
        let read = layout::read(&self.keyspace, key.as_bytes(), Some(value.clone().into_bytes()), None);
        match read.news {
            News::Put(_) | News::Config(_) => {
                let ttl = expiry.map(Expiry::granted);
                self.keys.insert(key, V2Key { value, ttl, index });
            }
            News::Refused { reason, .. } => self.refuse(key, &reason),
            // What was meant to be lost in v2 is no business of v3.
            News::Accepted(_) | News::Gone(_) | News::BelowGone => {}
        }
        Ok(())
    }

    fn directory(&mut self, key: &str) {
        self.directories.push(key.to_owned());
    }

    fn too_deep(&mut self, key: &str) {
        self.refuse(key.to_owned(), "the directory is deeper than a name may be");
    }
}
