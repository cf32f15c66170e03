//! Statistics of replies, of one and of many.
//!
//! A UDP worker adds up the replies of a batch in memory of its own, and adds the sums to the shared counters once.

use super::histogram::SIZE_BUCKETS;
use super::labels::{ANSWERERS, AnsweredBy, ERROR_CAUSES, ErrorCause};

/// What is counted of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyStats {
    /// Where the answer came from.
    pub answered_by: AnsweredBy,
    /// Why it counts as an error, if it does.
    pub cause: Option<ErrorCause>,
    /// Whether it is NODATA: NOERROR with an empty answer section.
    pub no_data: bool,
    /// Whether the query had the flag DO.
    pub dnssec_ok: bool,
    /// Its size in octets.
    pub octets: usize,
}

/// The sums of the statistics of replies.
#[derive(Debug, Default)]
pub struct ReplyTally {
    pub(super) answerers: [AnswererTally; ANSWERERS.len()],
    pub(super) no_data: u64,
    pub(super) dnssec_ok: u64,
}

/// The sums of the replies that one answerer gave.
#[derive(Debug, Default)]
pub(super) struct AnswererTally {
    pub(super) replies: u64,
    pub(super) octets: u64,
    /// Replies by bucket of size, each in the first that is large enough.
    pub(super) sizes: [u64; SIZE_BUCKETS.bounds.len()],
    pub(super) causes: [u64; ERROR_CAUSES.len()],
}

impl ReplyTally {
    /// Adds a reply.
    pub fn add(&mut self, stats: &ReplyStats) {
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
    }
}
