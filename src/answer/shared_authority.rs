//! The part of the authority section that many denials share: the SOA, and the proofs that hold for all names below one
//! name, with their signatures.

use hickory_proto::rr::{Name, Record};
use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

/// Records that stand at the beginning of the authority section of many answers, in the order in which they are sent.
///
/// Whoever writes messages can keep the written form with the records, so that it is made once for all these answers.
pub struct SharedAuthority {
    closest_encloser: Name,
    records: Vec<Record>,
    /// The written form; this module does not know what it is.
    encoded: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl SharedAuthority {
    /// Shared records of the answers to questions about names below a closest encloser.
    pub fn new(closest_encloser: Name, records: Vec<Record>) -> Self {
        Self { closest_encloser, records, encoded: OnceLock::new() }
    }

    /// The name that the questions of all these answers are below.
    pub fn closest_encloser(&self) -> &Name {
        &self.closest_encloser
    }

    /// The records.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The written form, made by `encode` at the first call; `None` if it was made as another type.
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
