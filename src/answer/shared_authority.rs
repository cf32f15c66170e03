//! What the authority sections of many denials begin with: the SOA, and the proofs that all names below one name have in
//! common, with their signatures.

use hickory_proto::rr::{Name, Record};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Records in the order in which they go out; see the module's text.
pub struct SharedAuthority {
    /// The name that the questions of all these answers are below.
    above: Name,
    records: Vec<Record>,
    written: OnceLock<Option<Arc<EncodedAuthority>>>,
}

/// Shared records as it stands in a message whose question has the name above for its name, and which has no answers.
///
/// In a message with a longer name all of it stands further behind by as much, and so does all that it points at.
#[derive(Debug)]
pub struct EncodedAuthority {
    /// The records.
    pub octets: Box<[u8]>,
    /// Where among the octets pointers are.
    pub pointers: Box<[u16]>,
    /// Where in that message it begins.
    pub at: usize,
}

impl SharedAuthority {
    /// Shared records for answers to questions about names below a name.
    pub fn new(above: Name, records: Vec<Record>) -> Self {
        Self { above, records, written: OnceLock::new() }
    }

    /// The name that the questions of all these answers are below.
    pub fn above(&self) -> &Name {
        &self.above
    }

    /// The records.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The records as they were written first; `None` if that is not possible.
    pub fn written(
        &self,
        write: impl FnOnce(&Self) -> Option<EncodedAuthority>,
    ) -> Option<&Arc<EncodedAuthority>> {
        self.written.get_or_init(|| write(self).map(Arc::new)).as_ref()
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
