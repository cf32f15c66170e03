//! PTR: the names of addresses, in reverse zones of our own.

use super::AnswerBuilder;
use crate::answer::pointers::Pointers;
use crate::tree::TreePath;
use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{RData, Record, RecordType};

impl AnswerBuilder<'_> {
    /// The records of a type that an owner has which has PTR records alone; `None` if the name does not exist.
    pub(super) fn pointer_section(&mut self, path: &TreePath, rtype: RecordType) -> Option<Vec<Record>> {
        let records = if rtype == RecordType::PTR { self.ptr(path) } else { Vec::new() };
        if records.is_empty() && !self.too_large && !self.exists(path) {
            return None;
        }
        Some(records)
    }

    /// The PTR records of the owner.
    pub(super) fn ptr(&mut self, path: &TreePath) -> Vec<Record> {
        let Pointers { targets, ttl } = Pointers::of(path.name(), self.view);
        if targets.len() > self.view.max_records {
            self.too_large = true;
            return Vec::new();
        }
        let record = |target| Record::from_rdata(self.owner.clone(), ttl, RData::PTR(PTR(target)));
        targets.into_iter().map(record).collect()
    }
}
