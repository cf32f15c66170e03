//! The listing of a session: every key of the store at one revision, in pages.
//!
//! etcd gives the first page at its present revision, and the further pages at the same one. The size of the pages
//! follows the store: larger while pages come fast, smaller where a page is too large for one answer or does not come
//! in time.

use super::{MAX_ANSWER_OCTETS, REQUEST_TIMEOUT, Session};
use crate::service::KeyTarget;
use crate::source::etcd::connect::{Reads, end_of};
use crate::source::etcd::error::EtcdError;
use crate::source::event::{Event, MAX_CHANGES_PER_EVENT};
use etcd_client::{Client, Error, GetOptions, GetResponse, KeyValue, KvClient, ResponseHeader};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Keys of the first page of a listing.
const FIRST_PAGE_KEYS: i64 = 4_096;

/// Minimum number of keys to which the pages shrink where a page does not come in time: a slow store is listed in
/// small steps.
const MIN_PAGE_KEYS: i64 = 64;

/// Maximum number of keys of a page. For each page etcd counts the keys that are left, so few large pages cost it less
/// than many small ones.
pub(super) const MAX_PAGE_KEYS: i64 = 32_768;

/// A page that comes within this time may be followed by a larger one.
const FAST_PAGE_TIME: Duration = Duration::from_secs(1);

/// Size that a page should not exceed, in octets; estimated from the page before.
const MAX_PAGE_OCTETS: usize = 8 << 20;

/// Why there is no page.
enum PageError {
    /// No answer in time.
    Timeout,
    /// The client or the server reports an error.
    Etcd(Error),
}

impl Session<'_> {
    /// Pushes every key of the store at one revision, which it returns. The end of the listing is left to the caller.
    pub(super) async fn list(&mut self, client: &Client, reads: Reads) -> Result<i64, EtcdError> {
        let mut kv = client.kv_client().max_decoding_message_size(MAX_ANSWER_OCTETS);
        let root = self.keyspace.root().as_bytes();
        let mut start = root.to_vec();
        let mut revision = 0;
        let mut limit = FIRST_PAGE_KEYS.min(self.carried_over.max_page_keys);
        self.feed.push(Event::ListBegin).await?;
        loop {
            let asked = Instant::now();
            let mut options =
                GetOptions::new().with_range(end_of(root)).with_limit(limit).with_revision(revision);
            if reads == Reads::Stale {
                options = options.with_serializable();
            }
            let mut page = match read_page(&mut kv, &start, options).await {
                Ok(page) => page,
                Err(PageError::Etcd(error)) if limit > 1 && is_too_large(&error) => {
                    limit /= 2;
                    continue;
                }
                Err(PageError::Etcd(error)) => {
                    return Err(EtcdError::failed(self.endpoint, "reading all keys", &error));
                }
                Err(PageError::Timeout) => {
                    self.carried_over.max_page_keys = (limit / 4).max(MIN_PAGE_KEYS);
                    return Err(self.timed_out("reading all keys"));
                }
            };
            if revision == 0 {
                revision = self.revision_of(&page)?;
                self.check_cluster(&page).await?;
            }
            let more = page.more();
            let keys = page.take_kvs();
            self.has_services = self.has_services || keys.iter().any(|kv| self.is_of_service(kv));
            // Where a page was slow, a larger one would not come in time.
            if asked.elapsed() < FAST_PAGE_TIME {
                limit = next_limit(limit, &keys).min(self.carried_over.max_page_keys);
            }
            if let Some(last) = keys.last() {
                start = [last.key(), b"\0"].concat();
            }
            for part in keys.chunks(MAX_CHANGES_PER_EVENT) {
                let changes = part.iter().map(|kv| self.put(kv)).collect();
                self.feed.push(Event::Listed(changes)).await?;
            }
            if !more {
                self.carried_over.max_page_keys = (2 * self.carried_over.max_page_keys).min(MAX_PAGE_KEYS);
                return Ok(revision);
            }
        }
    }

    /// Whether a key is that of a service. Settings alone say nothing of where the services are: `etcdctl` of today puts them
    /// into v3.
    fn is_of_service(&self, kv: &KeyValue) -> bool {
        !matches!(self.keyspace.target_of(kv.key()), Ok(KeyTarget::Config | KeyTarget::Accept))
    }

    /// Checks that a page is of the cluster that is mirrored.
    async fn check_cluster(&mut self, page: &GetResponse) -> Result<(), EtcdError> {
        let Some(cluster) = page.header().map(ResponseHeader::cluster_id) else { return Ok(()) };
        self.carried_over.clusters.check(self.endpoint, Some(cluster))?;
        Ok(self.feed.push(Event::Cluster(cluster)).await?)
    }

    /// The store's revision at a page. Without it the further pages, and the watch, would be of other revisions.
    fn revision_of(&self, page: &GetResponse) -> Result<i64, EtcdError> {
        page.header().map(ResponseHeader::revision).ok_or_else(|| EtcdError::Failed {
            endpoint: self.endpoint.to_owned(),
            cause: "the server there is not etcd: its answer has no revision".to_owned(),
        })
    }
}

/// Reads one page of a listing.
async fn read_page(kv: &mut KvClient, start: &[u8], options: GetOptions) -> Result<GetResponse, PageError> {
    match timeout(REQUEST_TIMEOUT, kv.get(start, Some(options))).await {
        Ok(page) => page.map_err(PageError::Etcd),
        Err(_) => Err(PageError::Timeout),
    }
}

/// The maximum number of keys of the next page: twice that of this page, as far as their size allows.
fn next_limit(limit: i64, keys: &[KeyValue]) -> i64 {
    let octets: usize = keys.iter().map(|kv| kv.key().len() + kv.value().len()).sum();
    let fit = MAX_PAGE_OCTETS.saturating_mul(keys.len()) / octets.max(1);
    (2 * limit).min(MAX_PAGE_KEYS).min(i64::try_from(fit).unwrap_or(MAX_PAGE_KEYS)).max(1)
}

/// Whether an answer was larger than this client or the server takes.
fn is_too_large(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains("too large"))
}
