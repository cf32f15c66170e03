//! MetricNames outside the tree: what an answer needs of them, and what came of looking them up.

use super::Zone;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::HashMap;

/// Most names that are looked up for one answer; what is beyond counts as not found.
pub const MAX_LOOKUPS: usize = 64;

/// A question for an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// Compared without regard to letter case.
    pub name: Name,
    /// A or AAAA.
    pub rtype: RecordType,
}

/// What came of look-ups upstream.
#[derive(Clone, Debug, Default)]
pub struct Externals {
    pub(super) known: HashMap<Lookup, Option<Vec<Record>>>,
    failed: bool,
    stale: bool,
}

impl Externals {
    /// Nothing was looked up yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that a look-up failed: the name may exist all the same.
    pub fn insert_failure(&mut self, lookup: Lookup) {
        self.known.insert(lookup, None);
        self.failed = true;
    }

    /// Whether a look-up failed.
    pub(super) fn any_failed(&self) -> bool {
        self.failed
    }

    /// Notes that what was found is beyond its time.
    pub fn note_stale(&mut self) {
        self.stale = true;
    }

    /// Whether anything that was found is beyond its time.
    pub fn any_stale(&self) -> bool {
        self.stale
    }

    /// Notes the answer section of a NOERROR reply, or that the name does not exist.
    pub fn insert(&mut self, lookup: Lookup, records: Option<Vec<Record>>) {
        self.known.insert(lookup, records);
    }
}

/// The CNAMEs that lead from a name, and the records at their end; nothing of our own domain, which an upstream has
/// nothing to say about: it would be signed.
pub(super) fn scrubbed(records: &[Record], name: &Name, rtype: RecordType, zone: &Zone) -> Vec<Record> {
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
