//! Replies that are counted together: a worker adds them up by itself and tells the counters that all share once.

use super::histogram::SIZE_BUCKETS;
use super::labels::{ANSWERERS, AnsweredBy, ERROR_CAUSES, ErrorCause};

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
    pub(super) answerers: [AnswererTally; ANSWERERS.len()],
    pub(super) no_data: u64,
    pub(super) dnssec_ok: u64,
}

#[derive(Debug, Default)]
pub(super) struct AnswererTally {
    pub(super) replies: u64,
    pub(super) octets: u64,
    pub(super) sizes: [u64; SIZE_BUCKETS.bounds.len()],
    pub(super) causes: [u64; ERROR_CAUSES.len()],
}

impl ReplyTally {
    /// Adds a reply.
    pub fn add(&mut self, stats: &ReplyStats) {
        let of = &mut self.answerers[stats.answered_by as usize];
        let octets = stats.octets as u64;
        of.replies += 1;
        of.octets += octets;
        if let Some(bucket) = SIZE_BUCKETS.bounds.iter().position(|bound| octets <= *bound) {
            of.sizes[bucket] += 1;
        }
        if let Some(cause) = stats.cause {
            of.causes[cause as usize] += 1;
        }
        self.no_data += u64::from(stats.no_data);
        self.dnssec_ok += u64::from(stats.dnssec_ok);
    }
}
