//! The counters, and what adds to them.

use super::histogram::{Histogram, SIZE_BUCKETS, TIME_BUCKETS};
use super::labels::{ANSWERERS, ERROR_CAUSES, SOCKET_WORKS, SocketWork};
use super::reply_stats::{AnswererTally, ReplyStats, ReplyTally};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// All counters.
#[derive(Debug, Default)]
pub struct Metrics {
    pub(super) answerers: [AnswererCounters; ANSWERERS.len()],
    pub(super) cache_misses: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) panics: AtomicU64,
    pub(super) overloads: AtomicU64,
    pub(super) lookups: AtomicU64,
    pub(super) dnssec_ok: AtomicU64,
    pub(super) nodata: AtomicU64,
    pub(super) unsigned: AtomicU64,
    pub(super) limited: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) snapshots: AtomicU64,
    pub(super) snapshot_failures: AtomicU64,
    pub(super) snapshot_octets: AtomicU64,
    pub(super) socket_errors: [AtomicU64; SOCKET_WORKS.len()],
}

#[derive(Debug, Default)]
pub(super) struct AnswererCounters {
    pub(super) requests: AtomicU64,
    pub(super) times: Histogram<{ TIME_BUCKETS.bounds.len() }>,
    pub(super) sizes: Histogram<{ SIZE_BUCKETS.bounds.len() }>,
    pub(super) errors: [AtomicU64; ERROR_CAUSES.len()],
}

impl Metrics {
    /// Counts a reply, and how long it took.
    pub fn replied(&self, stats: &ReplyStats, took: Duration) {
        let counters = &self.answerers[stats.answered_by as usize];
        counters.requests.fetch_add(1, Relaxed);
        counters.times.observe(&TIME_BUCKETS, u64::try_from(took.as_micros()).unwrap_or(u64::MAX), 1);
        counters.sizes.observe(&SIZE_BUCKETS, stats.octets as u64, 1);
        if let Some(cause) = stats.cause {
            counters.errors[cause as usize].fetch_add(1, Relaxed);
        }
        if stats.no_data {
            self.nodata.fetch_add(1, Relaxed);
        }
        if stats.dnssec_ok {
            self.dnssec_ok.fetch_add(1, Relaxed);
        }
    }

    /// Counts all replies of a tally, which took at most so long, and empties it.
    pub fn replied_together(&self, tally: &mut ReplyTally, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for (of, counters) in tally.answerers.iter_mut().zip(&self.answerers) {
            if of.replies == 0 {
                continue;
            }
            counters.requests.fetch_add(of.replies, Relaxed);
            counters.times.observe(&TIME_BUCKETS, took, of.replies);
            counters.sizes.sum.fetch_add(of.octets, Relaxed);
            counters.sizes.count.fetch_add(of.replies, Relaxed);
            let sizes = of.sizes.iter().zip(&counters.sizes.buckets);
            for (count, counter) in sizes.chain(of.causes.iter().zip(&counters.errors)) {
                if *count > 0 {
                    counter.fetch_add(*count, Relaxed);
                }
            }
            *of = AnswererTally::default();
        }
        for (count, counter) in [(&mut tally.no_data, &self.nodata), (&mut tally.dnssec_ok, &self.dnssec_ok)]
        {
            if *count > 0 {
                counter.fetch_add(std::mem::take(count), Relaxed);
            }
        }
    }

    /// Packets so far that something was done with, if only to drop them.
    pub fn activity(&self) -> u64 {
        let answered: u64 = self.answerers.iter().map(|counters| counters.requests.load(Relaxed)).sum();
        [&self.dropped, &self.rejected, &self.limited]
            .iter()
            .map(|counter| counter.load(Relaxed))
            .sum::<u64>()
            + answered
    }

    /// Counts errors of our sockets that no query is to blame for.
    pub fn socket_failed(&self, work: SocketWork, times: usize) {
        self.socket_errors[work as usize].fetch_add(times as u64, Relaxed);
    }

    /// Counts a question that the response cache could not answer.
    pub fn missed_cache(&self) {
        self.cache_misses.fetch_add(1, Relaxed);
    }

    /// Counts names outside the tree that an answer needed.
    pub fn looked_up(&self, names: usize) {
        self.lookups.fetch_add(names as u64, Relaxed);
    }

    /// Counts a packet that got no reply.
    pub fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// Counts a packet that got an error for its form.
    pub fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    /// An answer of ours could not be signed.
    pub fn unsigned(&self) {
        self.unsigned.fetch_add(1, Relaxed);
    }

    /// Counts a reply that a client was told to fetch over TCP, as its network had its share.
    pub fn limited(&self) {
        self.limited.fetch_add(1, Relaxed);
    }

    /// Counts an answer of an upstream that was given after its time.
    pub fn stale(&self) {
        self.stale.fetch_add(1, Relaxed);
    }

    /// Counts a snapshot that was written, with its size in octets, or one that could not be.
    pub fn snapshot_saved(&self, octets: Option<u64>) {
        match octets {
            Some(octets) => {
                self.snapshots.fetch_add(1, Relaxed);
                self.snapshot_octets.store(octets, Relaxed);
            }
            None => drop(self.snapshot_failures.fetch_add(1, Relaxed)),
        }
    }

    /// Counts a panic that cost one query.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// Counts a query that was given up because too many were under way.
    pub fn overloaded(&self) {
        self.overloads.fetch_add(1, Relaxed);
    }
}
