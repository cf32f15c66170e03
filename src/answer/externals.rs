//! Names outside the tree: questions for upstreams that an answer depends on, and the results.

use super::zone::Zone;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::HashMap;

/// Maximum number of names that are looked up for one answer; further ones count as not found.
pub const MAX_LOOKUPS: usize = 64;

/// A question for an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// The name; names that differ in letter case only are equal.
    pub name: Name,
    /// A or AAAA.
    pub rtype: RecordType,
}

/// The results of look-ups upstream.
#[derive(Clone, Debug, Default)]
pub struct Externals {
    /// The answer section of each; `None` if the name does not exist or the look-up failed.
    results: HashMap<Lookup, Option<Vec<Record>>>,
    failed: bool,
    stale: bool,
}

impl Externals {
    /// The results before any look-up.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the answer section of a NOERROR reply, or `None` if the name does not exist.
    pub fn insert(&mut self, lookup: Lookup, records: Option<Vec<Record>>) {
        self.results.insert(lookup, records);
    }

    /// Adds a look-up that failed: the name may exist all the same.
    pub fn insert_failure(&mut self, lookup: Lookup) {
        self.results.insert(lookup, None);
        self.failed = true;
    }

    /// Notes that a result is older than its TTL.
    pub fn note_stale(&mut self) {
        self.stale = true;
    }

    /// Whether a look-up failed.
    pub(super) fn any_failed(&self) -> bool {
        self.failed
    }

    /// Whether a result is older than its TTL.
    pub fn any_stale(&self) -> bool {
        self.stale
    }

    /// The answer section that a look-up returned, or `Some(None)` if it returned none; `None` before the look-up.
    pub(super) fn result(&self, lookup: &Lookup) -> Option<Option<&[Record]>> {
        self.results.get(lookup).map(Option::as_deref)
    }

    /// Whether one more look-up may be made beside these and `pending` others.
    pub(super) fn allow_one_more(&self, pending: usize) -> bool {
        self.results.len() + pending < MAX_LOOKUPS
    }
}

/// The records of an upstream's answer that may be signed: the CNAMEs that lead from a name, and those of a type at
/// their end.
///
/// Records of our own domain are left out, since an upstream is no authority for them.
pub(super) fn chain_from(records: &[Record], name: &Name, rtype: RecordType, zone: &Zone) -> Vec<Record> {
    let mut chain = Vec::new();
    let mut owner = name.clone();
    while !zone.contains(&owner) && chain.len() <= records.len() {
        let at_owner = |wanted: RecordType| {
            let owner = owner.clone();
            records.iter().filter(move |record| record.name == owner && record.record_type() == wanted)
        };
        let Some(cname) = at_owner(RecordType::CNAME).next() else {
            chain.extend(at_owner(rtype).cloned());
            break;
        };
        chain.push(cname.clone());
        let RData::CNAME(target) = &cname.data else { break };
        owner = target.0.clone();
    }
    chain
}
