//! The fast path of one worker: questions that were asked before are answered from cached replies, those for ordinary names
//! straight from the tree.

mod direct;

use super::client_policy::AllowedClients;
use super::datagrams::BATCH;
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
use direct::{Direct, MissedQueries};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The cached replies of one worker, and the state that they are valid in.
#[derive(Debug)]
pub(super) struct FastPath {
    cache: ReplyCache<ReplyStats>,
    direct: Direct,
    missed: MissedQueries,
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
            missed: MissedQueries::new(),
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

    /// Answers the queries whose replies are cached or whose names are ordinary, `count` of them, and counts these replies.
    pub(super) fn answer_batch(&mut self, handler: &Handler, queries: &mut impl Queries, count: usize) {
        let begun = Instant::now();
        self.begin(handler, unix_time());
        self.missed.clear();
        for number in 0..count {
            let client = queries.client(number);
            match catch_unwind(AssertUnwindSafe(|| self.look(number, queries.query(number), &client))) {
                Ok(Looked::Sent(len, _)) => queries.answered(number, Some(len)),
                Ok(Looked::Missed(_)) => {}
                Ok(Looked::Odd) => queries.answered(number, None),
                // The reply may be half written over its query. The client will ask again.
                Err(_) => {
                    self.missed.numbers().for_each(|number| queries.answered(number, None));
                    self.recover(handler, "answering from a cached reply");
                }
            }
        }
        if catch_unwind(AssertUnwindSafe(|| self.answer_missed(queries))).is_err() {
            self.recover(handler, "answering from the tree");
        }
        self.count_sent(handler, begun.elapsed());
    }

    /// Goes on after a panic.
    fn recover(&mut self, handler: &Handler, what: &str) {
        handler.metrics().panicked();
        log::error!("a fault in {what}");
        self.reset(handler);
        self.begin(handler, unix_time());
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

    /// Turns a query, the first octets of a buffer, into its reply if that is cached. A query that is missed is one of
    /// [those](Self::answer_missed) of the batch then.
    fn look(
        &mut self,
        number: usize,
        (buffer, len): (&mut [u8], usize),
        client: &Origin,
    ) -> Looked<ReplyStats> {
        // The full path logs queries, and limits clients that are not trusted.
        let class = self.allowed_clients.class_of(client);
        if self.settings.config.verbose || !class.is_trusted() || !self.is_on {
            return Looked::Odd;
        }
        let (served, max) = (Served { tree: &self.published.tree, now: self.now }, class.max_udp_reply());
        #[cfg(test)]
        let query = buffer[..len].to_vec();
        let looked = self.cache.answer(buffer, len, max, served, self.missed.next_key());
        match looked {
            Looked::Sent(_, note) => {
                #[cfg(test)]
                super::fault::panic_if_asked("fast", &query);
                self.sent.push(note);
            }
            Looked::Missed(missed) => {
                #[cfg(all(debug_assertions, not(fuzzing)))]
                super::fault::abort_if_asked(&buffer[..len]);
                self.missed.push(number, missed, max);
            }
            Looked::Odd => {}
        }
        looked
    }

    /// Turns the query in the first `len` octets of a buffer into its reply, if the reply is cached or the name ordinary; returns
    /// its length.
    pub(super) fn answer(&mut self, buffer: &mut [u8], len: usize, client: &Origin) -> Option<usize> {
        self.missed.clear();
        let mut one = OneQuery { client: *client, query: (buffer, len), reply: None };
        match self.look(0, one.query(0), client) {
            Looked::Sent(len, _) => return Some(len),
            Looked::Missed(_) => self.answer_missed(&mut one),
            Looked::Odd => {}
        }
        one.reply
    }

    /// Offers the reply that the full path gave to the cache.
    pub(super) fn offer(&mut self, query: &[u8], reply: &[u8], hint: CacheHint<ReplyStats>) {
        // The freshness may have changed since the batch began, and back again, which `begin` does not see.
        if self.is_on && hint.freshness == self.settings.freshness {
            self.cache.offer(query, reply, hint);
        }
    }
}

/// The queries of a batch, each in a buffer, over which its reply is written.
pub(super) trait Queries {
    /// The client of a query.
    fn client(&self, number: usize) -> Origin;

    /// The buffer of a query, and how many octets at its beginning are the query.
    fn query(&mut self, number: usize) -> (&mut [u8], usize);

    /// Notes that a buffer holds a reply of so many octets; `None` if it still holds its query, which goes the full path.
    fn answered(&mut self, number: usize, len: Option<usize>);
}

/// A single query.
struct OneQuery<'b> {
    client: Origin,
    query: (&'b mut [u8], usize),
    reply: Option<usize>,
}

impl Queries for OneQuery<'_> {
    fn client(&self, _: usize) -> Origin {
        self.client
    }

    fn query(&mut self, _: usize) -> (&mut [u8], usize) {
        let (buffer, len) = &mut self.query;
        (buffer, *len)
    }

    fn answered(&mut self, _: usize, len: Option<usize>) {
        self.reply = len;
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
