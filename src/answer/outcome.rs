//! The outcome of a question: an answer, look-ups that must come first, or a question for the forwarder.

use super::externals::Lookup;
use super::shared_authority::SharedAuthority;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, Record, RecordType};
use std::sync::Arc;

/// The outcome of a question.
#[derive(Debug)]
pub enum Outcome {
    /// The answer.
    Answered(Answer),
    /// Upstreams must be asked these first; ask again with the results.
    Lookup(Vec<Lookup>),
    /// The name is in no zone, or in one that leaves it to upstreams: they have to answer.
    Forward,
    /// Upstreams have to answer, but the name exists here: in place of their NXDOMAIN goes the answer that
    /// [`View::forwards`](super::View::forwards) without upstreams gives.
    ForwardExisting,
}

/// An answer, still without the header and OPT of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The response code.
    pub rcode: ResponseCode,
    /// The AA flag.
    pub authoritative: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The beginning of the authority section, if many answers share it.
    pub shared_authority: Option<Arc<SharedAuthority>>,
    /// The authority section, behind the shared beginning.
    pub authorities: Vec<Record>,
    /// The additional section, without OPT.
    pub additionals: Vec<Record>,
    /// The extended error that is sent along (RFC 8914).
    pub ede: Option<Ede>,
    /// Too many services for any message: TC over UDP, SERVFAIL over TCP.
    pub too_large: bool,
    /// The work of the answer was spent before it was complete: it has no records, and is too large as well.
    pub too_costly: bool,
    /// It has data that only the layer has which is [leaving](crate::tree::Layer::LEAVING).
    pub is_of_leaving: bool,
    /// Names and data that have to be proven not to exist; only for clients that want DNSSEC records.
    pub denials: Vec<Denial>,
}

/// An extended DNS error (RFC 8914).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ede {
    /// INFO-CODE.
    pub code: u16,
    /// EXTRA-TEXT, for a person.
    pub text: String,
}

impl Ede {
    /// Stale Answer.
    pub const STALE: u16 = 3;
    /// RRSIGs Missing.
    pub const RRSIGS_MISSING: u16 = 10;
    /// Cached Error.
    pub const CACHED_ERROR: u16 = 13;
    /// Not Ready.
    pub const NOT_READY: u16 = 14;
    /// Blocked.
    pub const BLOCKED: u16 = 15;
    /// Filtered.
    pub const FILTERED: u16 = 17;
    /// Prohibited.
    pub const PROHIBITED: u16 = 18;
    /// Not Supported.
    pub const NOT_SUPPORTED: u16 = 21;
    /// No Reachable Authority.
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// Network Error.
    pub const NETWORK_ERROR: u16 = 23;
    /// Invalid Query Type (RFC 9824 §9).
    pub const INVALID_QUERY_TYPE: u16 = 30;
    /// Other Error.
    pub const OTHER: u16 = 0;

    /// An error with a text for a person.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// A service of the answer is deleted, and its deletion held back.
    pub(super) fn held() -> Self {
        Self::new(Self::STALE, "the deletion of many names is held back")
    }
}

impl Answer {
    /// An answer without records.
    pub fn empty(rcode: ResponseCode) -> Self {
        Self {
            rcode,
            authoritative: true,
            answers: Vec::new(),
            shared_authority: None,
            authorities: Vec::new(),
            additionals: Vec::new(),
            ede: None,
            too_large: false,
            too_costly: false,
            is_of_leaving: false,
            denials: Vec::new(),
        }
    }

    /// In place of an answer whose [work](super::View::work) is spent.
    pub(super) fn too_costly() -> Self {
        Self { too_large: true, too_costly: true, ..Self::empty(ResponseCode::NoError) }
    }

    /// A failure with the reason for a person.
    pub fn failure(rcode: ResponseCode, code: u16, text: impl Into<String>) -> Self {
        Self { authoritative: false, ede: Some(Ede::new(code, text)), ..Self::empty(rcode) }
    }

    /// Whether this says that the name in the question does not exist.
    pub(super) fn denies_name(&self) -> bool {
        self.rcode == ResponseCode::NXDomain && self.answers.is_empty()
    }

    /// REFUSED, with the reason for a person.
    pub(super) fn refused(why: &str) -> Self {
        Self::failure(ResponseCode::Refused, Ede::NOT_SUPPORTED, why)
    }
}

/// A name, or data at a name, that has to be proven not to exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The name in the question, or the name that its CNAMEs lead to.
    pub name: Name,
    /// What is missing there.
    pub missing: Missing,
}

/// What is missing at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The type in the question. The name has these types, RRSIG apart; a name that only has names below it has none.
    Data(Vec<RecordType>),
    /// The name.
    Name {
        /// The longest name above the missing one that exists (RFC 5155 §1.3).
        closest_encloser: Name,
        /// The types there; empty for compact denial, which does not need them.
        types: Vec<RecordType>,
    },
}
