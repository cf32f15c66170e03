//! What is counted of a reply.

use super::labels::{AnsweredBy, ErrorCause};

/// What is counted of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyStats {
    /// Where the answer came from.
    pub answered_by: AnsweredBy,
    /// The [number](super::Metrics::zone_number) of the zone that the question is in; 0 if it is in none.
    pub zone: u16,
    /// Why it counts as an error, if it does.
    pub cause: Option<ErrorCause>,
    /// Whether it is NODATA: NOERROR with an empty answer section.
    pub no_data: bool,
    /// Whether the query had the flag DO.
    pub dnssec_ok: bool,
    /// Whether it has data that only etcd's v2 API has.
    pub is_of_leaving: bool,
    /// Its size in octets.
    pub octets: usize,
}
