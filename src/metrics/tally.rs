//! Replies that are counted together: a worker adds them up by itself and tells the counters that all share once.

use super::{CAUSES, Cause, Metrics, SIZES, SYSTEMS, System, TIMES};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// What is counted of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Who gave it.
    pub system: System,
    /// What was wrong with it.
    pub cause: Option<Cause>,
    /// Whether it has no data for a name that exists.
    pub no_data: bool,
    /// Whether the client wanted DNSSEC records.
    pub dnssec_ok: bool,
    /// Its octets.
    pub octets: usize,
}

/// Replies added up.
#[derive(Debug, Default)]
pub struct Tally {
    systems: [OfSystem; SYSTEMS.len()],
    no_data: u64,
    dnssec_ok: u64,
}

#[derive(Debug, Default)]
struct OfSystem {
    replies: u64,
    octets: u64,
    sizes: [u64; SIZES.len()],
    causes: [u64; CAUSES.len()],
}

impl Tally {
    /// Adds a reply.
    pub fn add(&mut self, counted: &Counted) {
        let of = &mut self.systems[counted.system as usize];
        let octets = counted.octets as u64;
        of.replies += 1;
        of.octets += octets;
        if let Some(bucket) = SIZES.iter().position(|bound| octets <= *bound) {
            of.sizes[bucket] += 1;
        }
        if let Some(cause) = counted.cause {
            of.causes[cause as usize] += 1;
        }
        self.no_data += u64::from(counted.no_data);
        self.dnssec_ok += u64::from(counted.dnssec_ok);
    }
}

impl Metrics {
    /// Counts all replies of a tally, which took at most so long, and empties it.
    pub fn replied_together(&self, tally: &mut Tally, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for (of, counters) in tally.systems.iter_mut().zip(&self.systems) {
            if of.replies == 0 {
                continue;
            }
            counters.requests.fetch_add(of.replies, Relaxed);
            counters.times.observe(&TIMES, took, of.replies);
            counters.sizes.sum.fetch_add(of.octets, Relaxed);
            counters.sizes.count.fetch_add(of.replies, Relaxed);
            let sizes = of.sizes.iter().zip(&counters.sizes.buckets);
            for (count, counter) in sizes.chain(of.causes.iter().zip(&counters.errors)) {
                if *count > 0 {
                    counter.fetch_add(*count, Relaxed);
                }
            }
            *of = OfSystem::default();
        }
        for (count, counter) in [(&mut tally.no_data, &self.nodata), (&mut tally.dnssec_ok, &self.dnssec_ok)]
        {
            if *count > 0 {
                counter.fetch_add(std::mem::take(count), Relaxed);
            }
        }
    }
}
