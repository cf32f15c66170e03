//! What is counted of a reply.

use super::labels::{AnsweredBy, ErrorCause};

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
