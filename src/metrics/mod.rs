//! Counters: SkyDNS 2.5's, under its names, and a few about ourselves.
//!
//! Counting is a relaxed addition; nothing on the way of a query takes a lock. Times are told in
//! seconds, sizes in octets.

mod export;
mod http;
mod push;
mod tally;

pub use export::MetricNames;
pub use http::{listen, serve};
pub use push::{StatisticsSink, push};
pub use tally::{ReplyStats, ReplyTally};

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Who answered: the label `system`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The tree.
    Auth,
    /// The response cache.
    Cache,
    /// An upstream.
    Recursive,
    /// The reverse keys of the store.
    Reverse,
    /// A server of a stub zone.
    Stub,
}

/// What was wrong with an answer: the label `cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCause {
    /// The name does not exist.
    Nxdomain,
    /// TC was set.
    Truncated,
    /// REFUSED.
    Refused,
    /// More than a message holds.
    Overflow,
    /// SERVFAIL.
    Servfail,
}

const ANSWERERS: [(AnsweredBy, &str); 5] = [
    (AnsweredBy::Auth, "auth"),
    (AnsweredBy::Cache, "cache"),
    (AnsweredBy::Recursive, "recursive"),
    (AnsweredBy::Reverse, "reverse"),
    (AnsweredBy::Stub, "stub"),
];

const ERROR_CAUSES: [(ErrorCause, &str); 5] = [
    (ErrorCause::Nxdomain, "nxdomain"),
    (ErrorCause::Truncated, "truncated"),
    (ErrorCause::Refused, "refused"),
    (ErrorCause::Overflow, "overflow"),
    (ErrorCause::Servfail, "servfail"),
];

/// Upper bounds of the buckets of times, in microseconds (SkyDNS's, which are in seconds).
const TIME_BOUNDS: [u64; 13] = [
    1_000, 3_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// Upper bounds of the buckets of sizes, in octets (SkyDNS's).
const SIZE_BOUNDS: [u64; 21] = [
    0, 512, 1024, 1500, 2048, 4096, 8192, 12288, 16384, 20480, 24576, 28672, 32768, 36864, 40960, 45056,
    49152, 53248, 57344, 61440, 65536,
];

/// All counters.
#[derive(Debug, Default)]
pub struct Metrics {
    answerers: [AnswererCounters; ANSWERERS.len()],
    cache_misses: AtomicU64,
    dropped: AtomicU64,
    rejected: AtomicU64,
    panics: AtomicU64,
    overloads: AtomicU64,
    lookups: AtomicU64,
    dnssec_ok: AtomicU64,
    nodata: AtomicU64,
    unsigned: AtomicU64,
    limited: AtomicU64,
    stale: AtomicU64,
    snapshots: AtomicU64,
    snapshot_failures: AtomicU64,
    snapshot_octets: AtomicU64,
    socket_errors: [AtomicU64; SOCKET_WORKS.len()],
}

/// What a socket of ours failed to do: the label `work`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketWork {
    /// Taking a connection.
    Accept,
    /// Receiving datagrams.
    Receive,
    /// Sending a reply.
    Send,
}

const SOCKET_WORKS: [(SocketWork, &str); 3] =
    [(SocketWork::Accept, "accept"), (SocketWork::Receive, "receive"), (SocketWork::Send, "send")];

#[derive(Debug, Default)]
struct AnswererCounters {
    requests: AtomicU64,
    times: Histogram<{ TIME_BOUNDS.len() }>,
    sizes: Histogram<{ SIZE_BOUNDS.len() }>,
    errors: [AtomicU64; ERROR_CAUSES.len()],
}

/// Counts by bucket; what exceeds the last bound is in the sum and the count only.
#[derive(Debug)]
struct Histogram<const N: usize> {
    buckets: [AtomicU64; N],
    sum: AtomicU64,
    count: AtomicU64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            sum: AtomicU64::new(0),
            count: AtomicU64::new(0),
        }
    }
}

impl<const N: usize> Histogram<N> {
    /// Counts so many values that are the same.
    fn observe(&self, bounds: &[u64; N], value: u64, times: u64) {
        if let Some(bucket) = bounds.iter().position(|bound| value <= *bound) {
            self.buckets[bucket].fetch_add(times, Relaxed);
        }
        self.sum.fetch_add(value.saturating_mul(times), Relaxed);
        self.count.fetch_add(times, Relaxed);
    }
}

impl Metrics {
    /// Counts a reply, and how long it took.
    pub fn replied(&self, stats: &ReplyStats, took: Duration) {
        let counters = &self.answerers[stats.answered_by as usize];
        counters.requests.fetch_add(1, Relaxed);
        counters.times.observe(&TIME_BOUNDS, u64::try_from(took.as_micros()).unwrap_or(u64::MAX), 1);
        counters.sizes.observe(&SIZE_BOUNDS, stats.octets as u64, 1);
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
