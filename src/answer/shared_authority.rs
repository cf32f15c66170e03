//! The part of the authority section that many denials share: the SOA, and the proofs that are valid for all names below
//! one name, with their signatures.

use hickory_proto::rr::{Name, Record};
use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

/// Records at the beginning of the authority section of many answers, in the order in which they are sent.
///
/// The encoder of messages can store the encoded records here, so that they are encoded once for all these answers.
pub struct SharedAuthority {
    closest_encloser: Name,
    records: Vec<Record>,
    /// The encoded records, of a type that is private to the encoder.
    encoded: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl SharedAuthority {
    /// Shared records of the answers to questions about names below a closest encloser.
    pub fn new(closest_encloser: Name, records: Vec<Record>) -> Self {
        Self { closest_encloser, records, encoded: OnceLock::new() }
    }

    /// The name above the names of all questions that get these answers.
    pub fn closest_encloser(&self) -> &Name {
        &self.closest_encloser
    }

    /// The records.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The encoded records, which `encode` produces at the first call; `None` if that was a call with another type.
    pub fn encoded<T: Any + Send + Sync>(&self, encode: impl FnOnce(&Self) -> T) -> Option<&T> {
        self.encoded.get_or_init(|| Box::new(encode(self))).downcast_ref()
    }
}

impl PartialEq for SharedAuthority {
    fn eq(&self, other: &Self) -> bool {
        self.records == other.records
    }
}

impl Eq for SharedAuthority {}

impl fmt::Debug for SharedAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.records).finish()
    }
}
