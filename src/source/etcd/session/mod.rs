//! One session with one endpoint: connect, list, watch, until something goes wrong.

use super::connect::EtcdSettings;
use super::error::EtcdError;
use super::leases::Leases;
use crate::service::Keyspace;
use crate::source::event::{Change, Event, MAX_CHANGES_PER_EVENT};
use crate::source::feed::Feed;
use etcd_client::{
    Client, Error, EventType, GetOptions, GetResponse, KeyValue, KvClient, WatchOptions, WatchResponse,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, interval, timeout};

/// Time for the answer to one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Keys of the first page of a listing; halved where the page gets too large.
const PAGE: i64 = 4_096;

/// Keys of a page where a larger one did not come in time, at least: a slow store is listed in small steps.
const SMALLEST_PAGE: i64 = 64;

/// Most keys of a page. etcd counts what is left for each page, so few large ones cost it less than many small ones.
const LARGEST_PAGE: i64 = 32_768;

/// A page that comes within this time may be followed by a larger one.
const QUICK: Duration = Duration::from_secs(1);

/// Octets that a page should not exceed, going by the one before.
const PAGE_OCTETS: usize = 8 << 20;

/// Most octets of one answer. A page of large values is asked for again in halves.
const MOST_OCTETS: usize = 64 << 20;

/// How often the member list is read with `-discover`.
const DISCOVER: Duration = Duration::from_secs(30);

/// What one session leaves to the next.
pub(super) struct Memory {
    leases: Leases,
    /// Most keys of a page.
    most: i64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { leases: Leases::default(), most: LARGEST_PAGE }
    }
}

/// See the module's text.
pub(super) struct Session<'a> {
    settings: &'a EtcdSettings,
    keyspace: &'a Keyspace,
    feed: &'a Feed,
    endpoint: &'a str,
    memory: &'a mut Memory,
    /// When the listing was complete.
    pub(super) synced: Option<Instant>,
    /// The members' endpoints, with `-discover`.
    pub(super) members: Option<Vec<String>>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        settings: &'a EtcdSettings,
        keyspace: &'a Keyspace,
        feed: &'a Feed,
        memory: &'a mut Memory,
        endpoint: &'a str,
    ) -> Self {
        memory.leases.reconnected();
        Self { settings, keyspace, feed, endpoint, memory, synced: None, members: None }
    }

    /// Mirrors until the session ends.
    pub(super) async fn run(&mut self) -> Result<Infallible, EtcdError> {
        let mut client = self.settings.connect(self.endpoint).await?;
        self.configuration(&client).await?;
        let revision = self.list(&client).await?;
        self.synced = Some(Instant::now());
        self.watch(&mut client, revision).await
    }

    /// Lists, and ends.
    pub(super) async fn list_once(&mut self) -> Result<(), EtcdError> {
        let client = self.settings.connect(self.endpoint).await?;
        self.list(&client).await.map(|_| ())
    }

    /// Pushes the configuration ahead of all else: it says where to listen and what for.
    async fn configuration(&mut self, client: &Client) -> Result<(), EtcdError> {
        let key = self.keyspace.config_key();
        let mut kv = client.kv_client();
        match timeout(REQUEST_TIMEOUT, kv.get(key, None)).await {
            Ok(Ok(answer)) => {
                let changes: Vec<_> = answer.kvs().iter().map(|kv| self.put(kv)).collect();
                if changes.is_empty() {
                    Ok(())
                } else {
                    Ok(self.feed.push(Event::Changed(changes, None)).await?)
                }
            }
            Ok(Err(error)) => Err(EtcdError::failed(self.endpoint, "reading the configuration", &error)),
            Err(_) => Err(EtcdError::Timeout {
                endpoint: self.endpoint.to_owned(),
                what: "reading the configuration",
            }),
        }
    }

    /// Pushes everything that the store holds at one revision, which it returns.
    async fn list(&mut self, client: &Client) -> Result<i64, EtcdError> {
        let mut kv = client.kv_client().max_decoding_message_size(MOST_OCTETS);
        let root = self.keyspace.root().as_bytes();
        let mut start = root.to_vec();
        let mut revision = 0;
        let mut page = PAGE.min(self.memory.most);
        self.feed.push(Event::ListBegin).await?;
        loop {
            let begun = Instant::now();
            let mut answer = match read_page(&mut kv, &start, end_of(root), page, revision).await {
                Ok(answer) => answer,
                Err(PageError::Etcd(error)) if page > 1 && is_too_large(&error) => {
                    page /= 2;
                    continue;
                }
                Err(PageError::Etcd(error)) => {
                    return Err(EtcdError::failed(self.endpoint, "listing", &error));
                }
                Err(PageError::Timeout) => {
                    self.memory.most = (page / 4).max(SMALLEST_PAGE);
                    return Err(EtcdError::Timeout { endpoint: self.endpoint.to_owned(), what: "listing" });
                }
            };
            if revision == 0 {
                revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
            }
            let more = answer.more();
            let keys = answer.take_kvs();
            // On a slow path a larger page would not come in time.
            if begun.elapsed() < QUICK {
                page = next_page(page, &keys).min(self.memory.most);
            }
            if let Some(last) = keys.last() {
                start = [last.key(), b"\0"].concat();
            }
            for part in keys.chunks(MAX_CHANGES_PER_EVENT) {
                let changes = part.iter().map(|kv| self.put(kv)).collect();
                self.feed.push(Event::Listed(changes)).await?;
            }
            if !more {
                self.memory.most = (2 * self.memory.most).min(LARGEST_PAGE);
                self.feed.push(Event::ListEnd(Some(revision))).await?;
                return Ok(revision);
            }
        }
    }

    /// Pushes changes from a listed revision on.
    ///
    /// The listed revision itself comes once more, which changes nothing. From the next one on, etcd
    /// would lose a deletion that was made and compacted away meanwhile: a compaction keeps a revision's
    /// values but not its deletions, and yet etcd lets a watch start at that revision.
    async fn watch(&mut self, client: &mut Client, revision: i64) -> Result<Infallible, EtcdError> {
        let options = WatchOptions::new().with_prefix().with_start_revision(revision).with_progress_notify();
        let mut watch = client.watch_client().max_decoding_message_size(MOST_OCTETS);
        let started = timeout(REQUEST_TIMEOUT, watch.watch(self.keyspace.root(), Some(options))).await;
        let mut stream = match started {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(EtcdError::failed(self.endpoint, "watching", &error)),
            Err(_) => {
                return Err(EtcdError::Timeout { endpoint: self.endpoint.to_owned(), what: "watching" });
            }
        };
        let leases = client.lease_client();
        let mut discover = interval(DISCOVER);
        let mut discovery: Option<Discovery> = None;
        loop {
            tokio::select! {
                biased;
                message = stream.message() => match message {
                    Ok(Some(message)) => self.take(&message).await?,
                    Ok(None) => return Err(self.cancelled("the server closed it".to_owned())),
                    Err(error) => return Err(EtcdError::failed(self.endpoint, "watching", &error)),
                },
                error = self.memory.leases.tend(&leases) => {
                    return Err(EtcdError::failed(self.endpoint, "asking for a lease", &error));
                }
                found = wait(&mut discovery) => {
                    discovery = None;
                    self.discovered(found);
                }
                _ = discover.tick(), if self.settings.discover && discovery.is_none() => {
                    discovery = Some(members(client.clone()).boxed());
                }
            }
        }
    }

    async fn take(&mut self, message: &WatchResponse) -> Result<(), EtcdError> {
        if message.canceled() {
            let reason = match message.compact_revision() {
                0 => message.cancel_reason().to_owned(),
                revision => format!("the store was compacted up to revision {revision}"),
            };
            return Err(self.cancelled(reason));
        }
        let changes: Vec<_> = message
            .events()
            .iter()
            .filter_map(|event| {
                let kv = event.kv()?;
                Some(match event.event_type() {
                    EventType::Put => self.put(kv),
                    EventType::Delete => Change { key: kv.key().to_vec(), value: None, lease: None },
                })
            })
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        let revision = message.header().map(etcd_client::ResponseHeader::revision);
        Ok(self.feed.push(Event::Changed(changes, revision)).await?)
    }

    fn put(&mut self, kv: &KeyValue) -> Change {
        let lease = self.memory.leases.lease(kv.lease());
        Change { key: kv.key().to_vec(), value: Some(kv.value().to_vec()), lease }
    }

    fn cancelled(&self, reason: String) -> EtcdError {
        EtcdError::Cancelled { endpoint: self.endpoint.to_owned(), reason }
    }

    /// Takes the members' endpoints; without them those known stay.
    fn discovered(&mut self, found: Result<Vec<String>, String>) {
        match found {
            Ok(urls) if self.members.as_ref() != Some(&urls) => {
                log::info!("etcd: members at {}", urls.join(", "));
                self.members = Some(urls);
            }
            Ok(_) => {}
            Err(reason) => log::warn!("etcd: {}: listing members: {reason}", self.endpoint),
        }
    }
}

/// The member list on its way.
type Discovery = BoxFuture<'static, Result<Vec<String>, String>>;

/// Reads the members' endpoints. Members that did not start yet have none.
async fn members(mut client: Client) -> Result<Vec<String>, String> {
    let answer = timeout(REQUEST_TIMEOUT, client.member_list()).await.map_err(|_| "no answer in time")?;
    let answer = answer.map_err(|error| error.to_string())?;
    let urls = answer.members().iter().flat_map(|member| member.client_urls().to_vec());
    Ok(urls.map(|url| url.trim_end_matches('/').to_owned()).collect())
}

async fn wait(discovery: &mut Option<Discovery>) -> Result<Vec<String>, String> {
    match discovery {
        Some(discovery) => discovery.await,
        None => std::future::pending().await,
    }
}

/// Why there is no page.
enum PageError {
    Timeout,
    Etcd(Error),
}

/// A page of a listing; revision 0 is the present one.
async fn read_page(
    kv: &mut KvClient,
    start: &[u8],
    end: Vec<u8>,
    limit: i64,
    revision: i64,
) -> Result<GetResponse, PageError> {
    let options = GetOptions::new().with_range(end).with_limit(limit).with_revision(revision);
    match timeout(REQUEST_TIMEOUT, kv.get(start, Some(options))).await {
        Ok(answer) => answer.map_err(PageError::Etcd),
        Err(_) => Err(PageError::Timeout),
    }
}

/// The keys of the next page: twice as many, as long as their size allows.
fn next_page(page: i64, keys: &[KeyValue]) -> i64 {
    let octets: usize = keys.iter().map(|kv| kv.key().len() + kv.value().len()).sum();
    let fit = PAGE_OCTETS.saturating_mul(keys.len()) / octets.max(1);
    (2 * page).min(LARGEST_PAGE).min(i64::try_from(fit).unwrap_or(LARGEST_PAGE)).max(1)
}

/// The end of the range of all keys with a prefix: the prefix with its last octet one greater.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        // The prefix ends with a slash.
        *last += 1;
    }
    end
}

fn is_too_large(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains("too large"))
}
