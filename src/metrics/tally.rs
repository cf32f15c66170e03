//! Replies that are counted together: a worker adds them up by itself and tells the counters that all share once.

use super::{ANSWERERS, AnsweredBy, ERROR_CAUSES, ErrorCause, Metrics, SIZE_BOUNDS, TIME_BOUNDS};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What is counted of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyStats {
    /// Who gave it.
    pub answered_by: AnsweredBy,
    /// What was wrong with it.
    pub cause: Option<ErrorCause>,
    /// Whether it has no data for a name that exists.
    pub no_data: bool,
    /// Whether the client wanted DNSSEC records.
    pub dnssec_ok: bool,
    /// Its octets.
    pub octets: usize,
}

/// Replies added up.
#[derive(Debug, Default)]
pub struct ReplyTally {
    answerers: [AnswererTally; ANSWERERS.len()],
    no_data: u64,
    dnssec_ok: u64,
}

#[derive(Debug, Default)]
struct AnswererTally {
    replies: u64,
    octets: u64,
    sizes: [u64; SIZE_BOUNDS.len()],
    causes: [u64; ERROR_CAUSES.len()],
}

impl ReplyTally {
    /// Adds a reply.
    pub fn add(&mut self, stats: &ReplyStats) {
        let of = &mut self.answerers[stats.answered_by as usize];
        let octets = stats.octets as u64;
        of.replies += 1;
        of.octets += octets;
        if let Some(bucket) = SIZE_BOUNDS.iter().position(|bound| octets <= *bound) {
            of.sizes[bucket] += 1;
        }
        if let Some(cause) = stats.cause {
            of.causes[cause as usize] += 1;
        }
        self.no_data += u64::from(stats.no_data);
        self.dnssec_ok += u64::from(stats.dnssec_ok);
    }
}

impl Metrics {
    /// Counts all replies of a tally, which took at most so long, and empties it.
    pub fn replied_together(&self, tally: &mut ReplyTally, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for (of, counters) in tally.answerers.iter_mut().zip(&self.answerers) {
            if of.replies == 0 {
                continue;
            }
            counters.requests.fetch_add(of.replies, Relaxed);
            counters.times.observe(&TIME_BOUNDS, took, of.replies);
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
}
