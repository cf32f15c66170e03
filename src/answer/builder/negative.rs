//! Negative answers: the SOA, the denial of a name or of data, and the failures if existence is not known.

use super::{AnswerBuilder, Collected, in_query_case};
use crate::answer::externals::ExternalReply;
use crate::answer::freshness::Freshness;
use crate::answer::local_denial::not_ready;
use crate::answer::outcome::{Answer, Denial, Ede, Missing};
use crate::answer::side_lookups::gather_types;
use crate::answer::soa::soa;
use crate::tree::TreePath;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Record, RecordType};

/// The end of an answer that leads to no data.
pub(super) struct Ending {
    /// The code of the last name (RFC 6604 §3).
    pub(super) rcode: ResponseCode,
    /// Whether upstreams denied the last name.
    is_outside: bool,
    /// The authority section of their denial (RFC 2308 §2.1).
    authorities: Vec<Record>,
}

impl Default for Ending {
    fn default() -> Self {
        Self { rcode: ResponseCode::NoError, is_outside: false, authorities: Vec::new() }
    }
}

impl Collected {
    /// Ends an answer at a name outside that has no data.
    pub(super) fn end_outside(&mut self, reply: &ExternalReply) {
        let rcode = if reply.is_denied { ResponseCode::NXDomain } else { ResponseCode::NoError };
        self.ending = Some(Ending { rcode, is_outside: true, authorities: reply.authorities.clone() });
    }
}

impl AnswerBuilder<'_> {
    /// Ends an answer at an owner that exists without the type in the question; returns the rest of the answer section,
    /// which is empty.
    pub(super) fn end_without_data(&mut self, path: &TreePath) -> Vec<Record> {
        self.collected.ending = Some(Ending::default());
        if self.view.wants_dnssec(self.zone) && self.view.site.owns(&self.owner) {
            let missing = Missing::Data(self.types_at(path));
            self.collected.denial = Some(Denial { name: self.owner.clone(), missing });
        }
        Vec::new()
    }

    /// Ends an answer at a zone cut that has no DS records.
    pub(super) fn end_at_cut(&mut self) {
        self.collected.ending = Some(Ending::default());
        if self.view.wants_dnssec(self.zone) {
            let missing = Missing::Data(vec![RecordType::NS]);
            self.collected.denial = Some(Denial { name: self.owner.clone(), missing });
        }
    }

    /// See [`View::types_at`](crate::answer::View); too much work for the types is too much for the answer.
    pub(super) fn types_at(&self, path: &TreePath) -> Vec<RecordType> {
        self.view.types_at(self.owner_at(path), gather_types).unwrap_or_else(|| {
            let _ = self.view.work.charge(u32::MAX);
            Vec::new()
        })
    }

    /// Ends an answer at an owner that does not exist.
    pub(super) fn end_without_name(&mut self) {
        self.collected.ending = Some(Ending { rcode: ResponseCode::NXDomain, ..Ending::default() });
        if self.view.wants_dnssec(self.zone) {
            let as_path = if self.left.is_empty() { TreePath::new } else { TreePath::literal };
            let missing = self.view.missing_name(&self.owner, self.zone, as_path, gather_types);
            self.collected.denial = Some(Denial { name: self.owner.clone(), missing });
        }
    }

    /// The answer if the name or the type in the question does not exist: maybe with CNAMEs that lead to no data.
    pub(super) fn finish_negative(mut self, mut answer: Answer, ending: Ending) -> Answer {
        let may_be_wrong = match self.view.freshness.of(self.zone) {
            Freshness::Incomplete => true,
            // Of a name that a snapshot has, other types are denied as well as they can be.
            freshness => freshness.may_lack_names() && ending.rcode == ResponseCode::NXDomain,
        };
        if may_be_wrong && !ending.is_outside {
            return not_ready();
        }
        answer.rcode = ending.rcode;
        if ending.is_outside {
            answer.authorities.extend(ending.authorities);
        } else {
            answer.authorities.push(self.soa(self.zone.min_ttl));
        }
        answer.denials.extend(self.collected.denial.take());
        self.complete(answer)
    }

    /// The SOA record with a TTL; its serial is the time of the last change of data.
    pub(super) fn soa(&self, ttl: u32) -> Record {
        let zone = self.zone;
        // The zones below the domain `.` are those of others.
        let owner =
            if zone.is_root() { &self.owner } else { in_query_case(self.query.name(), zone.domain()) };
        soa(zone, owner.clone(), self.view.serial(zone), self.view.capped(ttl, zone))
    }
}

/// The failure if names outside of the domain could not be looked up, and the owner has no data of its own.
pub(super) fn unreachable() -> Answer {
    let why = "a name outside the domain that this one leads to could not be looked up";
    Answer::failure(ResponseCode::ServFail, Ede::NO_REACHABLE_AUTHORITY, why)
}
