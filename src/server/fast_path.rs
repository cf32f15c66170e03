//! The fast path of one worker: questions that were asked before are answered from cached replies.

use super::client_policy::{AllowedClients, ClientClass};
use super::handler::Handler;
use crate::answer::Freshness;
use crate::config::{Config, ForwardConfig};
use crate::dnssec::Signer;
use crate::metrics::{Counted, Tally};
use crate::source::Published;
use crate::tree::Versions;
use crate::wire::{CacheHint, ReplyCache};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// See the module's text.
#[derive(Debug)]
pub(super) struct FastPath {
    cache: ReplyCache<Counted>,
    tally: Tally,
    settings: Settings,
    published: Arc<Published>,
    allowed_clients: Arc<AllowedClients>,
    /// Unix time in seconds.
    now: u64,
}

/// What all cached replies depend on: when any of it changes, none holds.
#[derive(Debug)]
struct Settings {
    config: Arc<Config>,
    forward: Arc<ForwardConfig>,
    signer: Option<Arc<Signer>>,
    freshness: Freshness,
    versions: Option<Arc<Versions>>,
}

impl FastPath {
    /// A fast path whose cached replies take at most `capacity` octets.
    pub(super) fn new(handler: &Handler, capacity: usize) -> Self {
        let published = handler.published();
        Self {
            cache: ReplyCache::new(capacity, rand::random()),
            tally: Tally::default(),
            settings: Settings::of(handler, &published),
            published,
            allowed_clients: handler.client_policy().allowed_clients(),
            now: 0,
        }
    }

    /// Takes note of the present state; what is answered until the next time is answered out of it.
    pub(super) fn begin(&mut self, handler: &Handler, now: u64) {
        // What counts down by the clock does not know that it was set back.
        let set_back = now < self.now;
        self.now = now;
        handler.published_into(&mut self.published);
        handler.client_policy().allowed_clients_into(&mut self.allowed_clients);
        if set_back || !self.settings.hold(handler, &self.published) {
            self.settings = Settings::of(handler, &self.published);
            self.cache.clear();
        }
    }

    /// Turns the query in the first `len` octets of a buffer into its reply, if the reply is cached; returns its length.
    pub(super) fn answer(&mut self, buffer: &mut [u8], len: usize, client: IpAddr) -> Option<usize> {
        // The full path logs queries, and limits clients that are not trusted.
        if self.settings.config.verbose || self.allowed_clients.class_of(client) != ClientClass::Trusted {
            return None;
        }
        #[cfg(test)]
        let query = buffer[..len].to_vec();
        let (len, note) = self.cache.answer(buffer, len, &self.published.tree, self.now)?;
        #[cfg(test)]
        super::fault::strike("fast", &query);
        self.tally.add(&note);
        Some(len)
    }

    /// Offers the reply that the full path gave to the cache.
    pub(super) fn offer(&mut self, query: &[u8], reply: &[u8], hint: CacheHint<Counted>) {
        // The state may have changed since the batch began, and back again.
        if hint.freshness == self.settings.freshness {
            self.cache.offer(query, reply, hint);
        }
    }

    /// Counts what was answered, none of which took longer than that.
    pub(super) fn end(&mut self, handler: &Handler, took: Duration) {
        handler.metrics().replied_together(&mut self.tally, took);
    }
}

impl Settings {
    fn of(handler: &Handler, published: &Published) -> Self {
        Self {
            config: handler.config(),
            forward: handler.forward_config(),
            signer: handler.signer().load_full(),
            freshness: published.freshness,
            versions: published.tree.versions().cloned(),
        }
    }

    fn hold(&self, handler: &Handler, published: &Published) -> bool {
        handler.is_config(&self.config)
            && handler.is_forward_config(&self.forward)
            && handler.is_signer(self.signer.as_ref())
            && self.freshness == published.freshness
            && same(self.versions.as_ref(), published.tree.versions())
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
