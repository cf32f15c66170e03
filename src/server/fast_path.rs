//! The fast path of one worker: questions that were asked before are answered from cached replies, those for ordinary names
//! straight from the tree.

mod direct;

use super::client_policy::AllowedClients;
use super::datagrams::{BATCH, Batch, PeerAddress};
use super::handler::Handler;
use super::origin::Origin;
use crate::answer::SiteFreshness;
use crate::clock::{steady_time, unix_time};
use crate::config::{Config, ForwardConfig};
use crate::metrics::ReplyStats;
use crate::source::Published;
use crate::tree::Versions;
use crate::wire::{CacheHint, Looked, ReplyCache, Served};
use arc_swap::ArcSwap;
use direct::Direct;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The cached replies of one worker, and the state that they are valid in.
#[derive(Debug)]
pub(super) struct FastPath {
    cache: ReplyCache<ReplyStats>,
    direct: Direct,
    /// What to count of the replies of this batch.
    sent: Vec<ReplyStats>,
    settings: Settings,
    published: Arc<Published>,
    allowed_clients: Arc<AllowedClients>,
    /// Unix time in seconds.
    now: u64,
    /// Whether there are cached replies at all.
    is_on: bool,
}

/// What all cached replies depend on: when any of it changes, all are dropped.
#[derive(Debug)]
struct Settings {
    config: Arc<Config>,
    forward: Arc<ForwardConfig>,
    freshness: SiteFreshness,
    versions: Option<Arc<Versions>>,
}

impl FastPath {
    /// A fast path whose cached replies take at most `capacity` octets.
    pub(super) fn new(handler: &Handler, capacity: usize) -> Self {
        let published = handler.published.load_full();
        let settings = Settings::of(handler, &published);
        Self {
            direct: Direct::new(&settings),
            cache: ReplyCache::new(capacity, rand::random()),
            sent: Vec::with_capacity(BATCH),
            settings,
            published,
            allowed_clients: handler.client_policy().allowed_clients().load_full(),
            now: 0,
            is_on: handler.has_fast_path,
        }
    }

    /// Starts anew, without cached replies: after a panic they may be damaged.
    pub(super) fn reset(&mut self, handler: &Handler) {
        *self = Self::new(handler, self.cache.capacity());
    }

    /// Answers the datagrams of a batch whose replies are cached or whose names are ordinary, and counts these replies;
    /// `unanswered` gets the numbers of the others.
    pub(super) fn answer_batch<P: PeerAddress>(
        &mut self,
        handler: &Handler,
        batch: &mut Batch<P>,
        received: usize,
        unanswered: &mut Vec<usize>,
    ) {
        let begun = Instant::now();
        self.begin(handler, unix_time());
        unanswered.clear();
        for number in 0..received {
            let client = batch.origin(number);
            let (buffer, len) = batch.datagram(number);
            match catch_unwind(AssertUnwindSafe(|| self.answer(buffer, len, &client))) {
                Ok(Some(len)) => batch.replied(number, len),
                Ok(None) => unanswered.push(number),
                // The reply may be half written over its query. The client will ask again.
                Err(_) => {
                    handler.metrics().panicked();
                    log::error!("a fault in answering from a cached reply");
                    self.reset(handler);
                    self.begin(handler, unix_time());
                }
            }
        }
        self.count_sent(handler, begun.elapsed());
    }

    /// Counts the replies that are about to be sent, none of which took longer than `took`.
    fn count_sent(&mut self, handler: &Handler, took: Duration) {
        handler.metrics().replied_together(&self.sent, took);
        self.sent.clear();
    }

    /// Takes over the present state of tree and settings, from which replies are sent until the next call. Cached
    /// replies are dropped if the settings that all of them depend on have changed.
    pub(super) fn begin(&mut self, handler: &Handler, now: u64) {
        // TTLs that counted down would go up again.
        let clock_was_set_back = now < self.now;
        self.now = now;
        self.direct.steady = steady_time();
        update(&mut self.published, &handler.published);
        update(&mut self.allowed_clients, handler.client_policy().allowed_clients());
        if clock_was_set_back || !self.settings.are_current(handler, &self.published) {
            self.settings = Settings::of(handler, &self.published);
            self.direct = Direct::new(&self.settings);
            self.cache.clear();
        }
    }

    /// Turns the query in the first `len` octets of a buffer into its reply, if the reply is cached or the name ordinary; returns
    /// its length.
    pub(super) fn answer(&mut self, buffer: &mut [u8], len: usize, client: &Origin) -> Option<usize> {
        // The full path logs queries, and limits clients that are not trusted.
        let class = self.allowed_clients.class_of(client);
        if self.settings.config.verbose || !class.is_trusted() || !self.is_on {
            return None;
        }
        let served = Served { tree: &self.published.tree, now: self.now };
        #[cfg(test)]
        let query = buffer[..len].to_vec();
        match self.cache.answer(buffer, len, class.max_udp_reply(), served) {
            Looked::Sent(len, note) => {
                #[cfg(test)]
                super::fault::panic_if_asked("fast", &query);
                self.sent.push(note);
                Some(len)
            }
            Looked::Missed(missed) => {
                #[cfg(all(debug_assertions, not(fuzzing)))]
                super::fault::abort_if_asked(&buffer[..len]);
                self.answer_directly(buffer, missed, class.max_udp_reply())
            }
            Looked::Odd => None,
        }
    }

    /// Offers the reply that the full path gave to the cache.
    pub(super) fn offer(&mut self, query: &[u8], reply: &[u8], hint: CacheHint<ReplyStats>) {
        // The freshness may have changed since the batch began, and back again, which `begin` does not see.
        if self.is_on && hint.freshness == self.settings.freshness {
            self.cache.offer(query, reply, hint);
        }
    }
}

impl Settings {
    fn of(handler: &Handler, published: &Published) -> Self {
        Self {
            config: handler.config.load_full(),
            forward: handler.forwarder.config(),
            freshness: published.freshness.clone(),
            versions: published.tree.versions().cloned(),
        }
    }

    /// Whether all of this is still served. Compares addresses, which touches no reference counter that workers share.
    fn are_current(&self, handler: &Handler, published: &Published) -> bool {
        Arc::ptr_eq(&handler.config.load(), &self.config)
            && handler.forwarder.is_config(&self.forward)
            && self.freshness == published.freshness
            && same(self.versions.as_ref(), published.tree.versions())
    }
}

/// Brings a handle up to date; touches the shared reference counter only if there is something new.
fn update<T>(handle: &mut Arc<T>, present: &ArcSwap<T>) {
    let present = present.load();
    if !Arc::ptr_eq(&present, handle) {
        *handle = arc_swap::Guard::into_inner(present);
    }
}

fn same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
