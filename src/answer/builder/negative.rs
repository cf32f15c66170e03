//! Negative answers: the SOA, the denial of a name or of data, and the failures if existence is not known.

use super::{AnswerBuilder, in_query_case};
use crate::answer::outcome::{Answer, Denial, Ede, Missing};
use crate::answer::side_lookups::gather_types;
use crate::answer::view::Freshness;
use crate::tree::TreePath;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{RData, Record, RecordType};

/// SOA timers in seconds, as SkyDNS has them. No secondary server reads them, since zones are not transferred.
const SOA_REFRESH: i32 = 28_800;
const SOA_RETRY: i32 = 7_200;
const SOA_EXPIRE: i32 = 604_800;

impl AnswerBuilder<'_> {
    /// Ends a signed answer at an owner that exists without the type in the question.
    pub(super) fn end_without_data(&mut self, path: &TreePath) {
        let is_apex = self.view.zone.is_apex(&self.owner);
        let missing = Missing::Data(self.types_at(path, is_apex));
        self.collected.denial = Some(Denial { name: self.owner.clone(), missing });
    }

    /// See [`View::types_at`](crate::answer::View); too much work for the types is too much for the answer.
    pub(super) fn types_at(&self, path: &TreePath, is_apex: bool) -> Vec<RecordType> {
        self.view.types_at(path, is_apex, gather_types).unwrap_or_else(|| {
            let _ = self.view.work.charge(u32::MAX);
            Vec::new()
        })
    }

    /// Ends an answer at an owner that does not exist.
    pub(super) fn end_without_name(&mut self) {
        if self.view.wants_dnssec() {
            let as_path = if self.cnames_followed == 0 { TreePath::new } else { TreePath::literal };
            let missing = self.view.missing_name(&self.owner, as_path, gather_types);
            self.collected.denial = Some(Denial { name: self.owner.clone(), missing });
        }
    }

    /// The answer if the name in the question does not exist. Nothing was collected yet, since that was the first read.
    pub(super) fn finish_without_name(mut self) -> Answer {
        if self.view.freshness == Freshness::Incomplete {
            return not_ready();
        }
        self.end_without_name();
        self.finish_negative(Answer::empty(ResponseCode::NXDomain))
    }

    /// The answer if the type in the question does not exist at the owner: NODATA, or CNAMEs that lead to no data.
    pub(super) fn finish_without_data(self, answer: Answer) -> Answer {
        if self.view.freshness == Freshness::Incomplete {
            return not_ready();
        }
        if self.view.externals.any_failed() {
            return unreachable();
        }
        self.finish_negative(answer)
    }

    fn finish_negative(mut self, mut answer: Answer) -> Answer {
        answer.authorities.push(self.soa(self.view.zone.min_ttl));
        answer.denials.extend(self.collected.denial.take());
        self.complete(answer)
    }

    /// The SOA record with a TTL; its serial is the time of the last change of data.
    pub(super) fn soa(&self, ttl: u32) -> Record {
        let zone = self.view.zone;
        let soa = SOA::new(
            zone.ns_name().clone(),
            zone.hostmaster.clone(),
            self.view.serial(),
            SOA_REFRESH,
            SOA_RETRY,
            SOA_EXPIRE,
            zone.min_ttl,
        );
        let owner = in_query_case(self.query.name(), zone.domain()).clone();
        Record::from_rdata(owner, self.view.capped(ttl), RData::SOA(soa))
    }
}

/// The failure if a name or type is missing in a tree that is not complete yet.
fn not_ready() -> Answer {
    let why = "the store was not read yet, the name may exist";
    Answer::failure(ResponseCode::ServFail, Ede::NOT_READY, why)
}

/// The failure if names outside of the domain could not be looked up, and the owner has no data of its own.
pub(super) fn unreachable() -> Answer {
    let why = "a name outside the domain that this one leads to could not be looked up";
    Answer::failure(ResponseCode::ServFail, Ede::NO_REACHABLE_AUTHORITY, why)
}
