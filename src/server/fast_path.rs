//! The fast path of one worker: questions that were asked before are answered from cached replies.

use super::client_policy::{AllowedClients, ClientClass};
use super::handler::{CacheHint, Handler};
use crate::answer::{Freshness, Rng};
use crate::config::{Config, ForwardConfig};
use crate::dnssec::Signer;
use crate::metrics::{Counted, Tally};
use crate::source::Published;
use crate::tree::Versions;
use crate::wire::{self, CachedReply, MAX_QUESTION_KEY, ReplyCache};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// See the module's text.
#[derive(Debug)]
pub(super) struct FastPath {
    cache: ReplyCache<Counted>,
    key: [u8; MAX_QUESTION_KEY],
    rng: Rng,
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
    /// One whose cached replies take so many octets at most.
    pub(super) fn new(handler: &Handler, most: usize) -> Self {
        let published = handler.published();
        Self {
            cache: ReplyCache::with_capacity(most),
            key: [0; MAX_QUESTION_KEY],
            rng: Rng::new(rand::random()),
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

    /// Answers the packet that the first octets of a buffer hold, if its reply is cached: then the reply stands in the
    /// buffer, so many octets long.
    pub(super) fn answer(&mut self, buffer: &mut [u8], len: usize, client: IpAddr) -> Option<usize> {
        // Each query is logged on the full path, and each client judged that is not one of ours.
        if self.settings.config.verbose || self.allowed_clients.class_of(client) != ClientClass::Trusted {
            return None;
        }
        let question = wire::question_key(&buffer[..len], &mut self.key)?;
        let key = &self.key[..question.len];
        let hash = self.cache.hash_key(key);
        let cached = self.cache.find(hash, key, &self.published.tree, self.now)?;
        #[cfg(test)]
        super::fault::strike("fast", key);
        let len = cached.write(buffer, question.question_end, self.now, &mut self.rng)?;
        self.tally.add(&cached.note);
        Some(len)
    }

    /// Keeps the reply to a packet that was answered in full, if it is worth it.
    pub(super) fn keep(&mut self, packet: &[u8], reply: &[u8], hint: CacheHint) {
        // Between two looks at it the state may have changed there and back.
        if hint.freshness != self.settings.freshness {
            return;
        }
        let Some(question) = wire::question_key(packet, &mut self.key) else { return };
        let key = &self.key[..question.len];
        let hash = self.cache.hash_key(key);
        if !self.cache.wants(hash) {
            return;
        }
        let cached = CachedReply::new(key, reply, question.question_end, hint.validity, hint.counted);
        if let Some(cached) = cached {
            let cached = cached.sharing(hint.shared_authority, question.question_end);
            self.cache.put(hash, cached);
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
