//! The counters, which all threads share, and the methods that add to them.

use super::histogram::{Histogram, SIZE_BUCKETS, TIME_BUCKETS};
use super::labels::{ANSWERERS, ERROR_CAUSES, ErrorCause, SOCKET_WORKS, SocketWork};
use super::reply_stats::ReplyStats;
use super::zones::ZoneCounters;
use hickory_proto::rr::Name;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// All counters.
#[derive(Debug, Default)]
pub struct Metrics {
    pub(super) answerers: [AnswererCounters; ANSWERERS.len()],
    pub(super) zones: ZoneCounters,
    pub(super) cache_misses: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) panics: AtomicU64,
    pub(super) overloads: AtomicU64,
    /// Names outside of the tree that answers needed.
    pub(super) lookups: AtomicU64,
    pub(super) dnssec_ok: AtomicU64,
    pub(super) of_leaving: AtomicU64,
    pub(super) nodata: AtomicU64,
    pub(super) unsigned: AtomicU64,
    pub(super) costly: AtomicU64,
    /// Truncated replies to networks that were over their limit.
    pub(super) limited: AtomicU64,
    /// Queries over TCP that had to wait for the rate of their network.
    pub(super) waits: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) snapshots: AtomicU64,
    pub(super) snapshot_failures: AtomicU64,
    pub(super) snapshot_octets: AtomicU64,
    pub(super) settings_refused: AtomicU64,
    pub(super) socket_errors: [AtomicU64; SOCKET_WORKS.len()],
}

/// The counters of the replies that one answerer gave.
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
        self.zones.add(stats.zone, 1, u64::from(stats.cause == Some(ErrorCause::Nxdomain)));
        if stats.no_data {
            self.nodata.fetch_add(1, Relaxed);
        }
        if stats.dnssec_ok {
            self.dnssec_ok.fetch_add(1, Relaxed);
        }
        if stats.is_of_leaving {
            self.of_leaving.fetch_add(1, Relaxed);
        }
    }

    /// Counts replies that were sent together, none of which took longer than `took`.
    ///
    /// The counters are shared by all threads, so the replies are summed up first.
    pub fn replied_together(&self, replies: &[ReplyStats], took: Duration) {
        if replies.is_empty() {
            return;
        }
        let mut tally = ReplyTally::default();
        replies.iter().for_each(|reply| tally.add(reply));
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for (sums, counters) in
            tally.answerers.iter().zip(&self.answerers).filter(|(sums, _)| sums.replies > 0)
        {
            counters.requests.fetch_add(sums.replies, Relaxed);
            counters.times.observe(&TIME_BUCKETS, took, sums.replies);
            counters.sizes.sum.fetch_add(sums.octets, Relaxed);
            counters.sizes.count.fetch_add(sums.replies, Relaxed);
            let sizes = sums.sizes.iter().zip(&counters.sizes.buckets);
            sizes.chain(sums.causes.iter().zip(&counters.errors)).for_each(add_unless_zero);
        }
        // Most replies that are sent together are of one zone.
        for replies in replies.chunk_by(|one, other| one.zone == other.zone) {
            let denials = replies.iter().filter(|reply| reply.cause == Some(ErrorCause::Nxdomain)).count();
            self.zones.add(replies[0].zone, replies.len() as u64, denials as u64);
        }
        let flags = [
            (&tally.no_data, &self.nodata),
            (&tally.dnssec_ok, &self.dnssec_ok),
            (&tally.of_leaving, &self.of_leaving),
        ];
        flags.into_iter().for_each(add_unless_zero);
    }

    /// The number under which the replies of a zone are counted, for the life of the program.
    pub fn zone_number(&self, zone: &Name) -> u16 {
        self.zones.number(zone)
    }

    /// The number of packets so far that were replied to, rejected, limited or dropped.
    pub fn activity(&self) -> u64 {
        let answered: u64 = self.answerers.iter().map(|counters| counters.requests.load(Relaxed)).sum();
        [&self.dropped, &self.rejected, &self.limited]
            .iter()
            .map(|counter| counter.load(Relaxed))
            .sum::<u64>()
            + answered
    }

    /// Counts errors of this program's sockets that no query caused.
    pub fn socket_failed(&self, work: SocketWork, times: usize) {
        self.socket_errors[work as usize].fetch_add(times as u64, Relaxed);
    }

    /// Counts a question that the response cache could not answer.
    pub fn missed_cache(&self) {
        self.cache_misses.fetch_add(1, Relaxed);
    }

    /// Counts names outside of the tree that an answer needed.
    pub fn looked_up(&self, names: usize) {
        self.lookups.fetch_add(names as u64, Relaxed);
    }

    /// Counts a packet that got no reply.
    pub fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// Counts a packet that was replied to with an error, because of its form.
    pub fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    /// Counts an answer of the tree that could not be signed.
    pub fn unsigned(&self) {
        self.unsigned.fetch_add(1, Relaxed);
    }

    /// Counts an answer that was given up because its work was spent.
    pub fn too_costly(&self) {
        self.costly.fetch_add(1, Relaxed);
    }

    /// Counts a truncated reply to a network that is over its limit: the client asks again over TCP.
    pub fn limited(&self) {
        self.limited.fetch_add(1, Relaxed);
    }

    /// Counts a query over TCP that has to wait for the rate of its network.
    pub fn has_to_wait(&self) {
        self.waits.fetch_add(1, Relaxed);
    }

    /// Counts an answer of an upstream that was served stale (RFC 8767).
    pub fn stale(&self) {
        self.stale.fetch_add(1, Relaxed);
    }

    /// Sets the number of settings that are refused.
    pub fn settings_refused(&self, number: u64) {
        self.settings_refused.store(number, Relaxed);
    }

    /// Counts a snapshot that was written, with its size in octets, or (`None`) one that could not be written.
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

/// Adds to a shared counter, which costs nothing when there is nothing to add.
fn add_unless_zero((count, counter): (&u64, &AtomicU64)) {
    if *count > 0 {
        counter.fetch_add(*count, Relaxed);
    }
}

/// The sums over replies that were sent together.
#[derive(Debug, Default)]
struct ReplyTally {
    answerers: [AnswererTally; ANSWERERS.len()],
    no_data: u64,
    dnssec_ok: u64,
    of_leaving: u64,
}

/// The sums of the replies that one answerer gave.
#[derive(Debug, Default)]
struct AnswererTally {
    replies: u64,
    octets: u64,
    /// Replies by bucket of size, each in the first that is large enough.
    sizes: [u64; SIZE_BUCKETS.bounds.len()],
    causes: [u64; ERROR_CAUSES.len()],
}

impl ReplyTally {
    /// Adds a reply.
    fn add(&mut self, stats: &ReplyStats) {
        let tally = &mut self.answerers[stats.answered_by as usize];
        let octets = stats.octets as u64;
        tally.replies += 1;
        tally.octets += octets;
        if let Some(bucket) = SIZE_BUCKETS.bounds.iter().position(|bound| octets <= *bound) {
            tally.sizes[bucket] += 1;
        }
        if let Some(cause) = stats.cause {
            tally.causes[cause as usize] += 1;
        }
        self.no_data += u64::from(stats.no_data);
        self.dnssec_ok += u64::from(stats.dnssec_ok);
        self.of_leaving += u64::from(stats.is_of_leaving);
    }
}
