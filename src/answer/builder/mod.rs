//! The records of one answer to a question for a name in the domain.
//!
//! The core is here: which function answers which type, how services are read, and how an answer ends. The functions by
//! record type are in the files below.

mod addresses;
mod apex;
mod chain;
mod negative;
mod pointer_records;
mod service_records;

use super::arrange::arrange;
use super::externals::Lookup;
use super::lacks_keys;
use super::outcome::{Answer, Denial, Ede, Outcome};
use super::rrset::same_name;
use super::select;
use super::side_lookups::SideLookups;
use super::view::{NameInZone, View};
use super::zone::Zone;
use crate::service::Service;
use crate::tree::{DataKinds, Entry, MatchedService, TreeLookup, TreePath};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use negative::Ending;
use std::hash::Hash;

/// Longest TTL of an answer that lacks the result of a look-up upstream, in seconds.
const INCOMPLETE_TTL: u32 = 30;

/// Collects the records of one answer.
pub(super) struct AnswerBuilder<'a> {
    query: &'a Query,
    view: &'a View<'a>,
    /// The name whose records are collected: the name in the question, or the name that CNAMEs led to.
    owner: Name,
    /// The zone that the owner is in.
    zone: &'a Zone,
    /// The owners before, which CNAMEs led on from.
    left: Vec<Name>,
    collected: Collected,
    /// Look-ups that must not change what is collected.
    side: SideLookups<'a>,
    /// What may still be done for ADDITIONAL, in units of [`Work`](crate::tree::Work).
    work_of_additionals: u32,
    /// Whether the answer cannot fit into a reply.
    too_large: bool,
}

/// The parts of an answer that are collected beside the answer section.
#[derive(Default)]
struct Collected {
    additionals: Vec<Record>,
    /// What proves records of upstreams that a wildcard made.
    authorities: Vec<Record>,
    /// Questions for upstreams whose results the answer needs.
    lookups: Vec<Lookup>,
    /// How the answer ends, if it leads to no data.
    ending: Option<Ending>,
    /// The name or data that the owner lacks; only for clients that want DNSSEC records.
    denial: Option<Denial>,
    /// Whether a look-up upstream failed whose result belongs to the answer section.
    failed: bool,
    /// Whether the answer can be sent without that result.
    is_known: bool,
    /// Whether the answer leads to a zone whose keys cannot be used.
    lacks_keys: bool,
}

impl<'a> AnswerBuilder<'a> {
    /// A builder for a question whose answer is in a zone.
    pub(super) fn new(query: &'a Query, zone: &'a Zone, view: &'a View<'a>) -> Self {
        Self {
            query,
            view,
            owner: query.name().clone(),
            zone,
            left: Vec::new(),
            collected: Collected::default(),
            side: SideLookups::new(view),
            work_of_additionals: view.work.units() / 2,
            too_large: false,
        }
    }

    /// The outcome of the question; `path` is its name after [`Site::resolve_local`](super::Site::resolve_local).
    pub(super) fn answer_from(mut self, path: &TreePath) -> Outcome {
        let section = self.section(path);
        self.finish(section)
    }

    /// The answer section that the owner has for the question; `None` if the name does not exist.
    fn section(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        match self.query.query_type() {
            // Signatures may stand beside a CNAME (RFC 4035 §2.5), so none is followed.
            RecordType::RRSIG => self.exists(path).then(|| self.signed_rrsets(path)),
            RecordType::A | RecordType::AAAA if !self.has_pointers_alone() => self.addresses(path),
            RecordType::CNAME if !self.has_pointers_alone() => self.cname(path),
            rtype => {
                let section = self.section_of_type(path, rtype)?;
                Some(if section.is_empty() { self.cname_or_no_data(path) } else { section })
            }
        }
    }

    /// The records of a type that the owner has; `None` if the name does not exist.
    fn section_of_type(&mut self, path: &TreePath, rtype: RecordType) -> Option<Vec<Record>> {
        let is_apex = self.zone.is_apex(&self.owner);
        match rtype {
            RecordType::A
            | RecordType::AAAA
            | RecordType::CNAME
            | RecordType::SRV
            | RecordType::MX
            | RecordType::PTR
                if self.has_pointers_alone() =>
            {
                self.pointer_section(path, rtype)
            }
            RecordType::SRV => self.srv(path),
            RecordType::MX => self.mx(path),
            RecordType::TXT => self.txt(path),
            RecordType::NS if is_apex => Some(self.apex_ns()),
            RecordType::SOA if is_apex => Some(vec![self.soa(self.zone.ttl)]),
            RecordType::ANY => self.any(path),
            _ if is_apex => Some(self.apex_dnssec(rtype)),
            _ => self.exists(path).then(Vec::new),
        }
    }

    /// Whether the owner is a name of addresses, which has PTR records, and of other data texts alone.
    fn has_pointers_alone(&self) -> bool {
        self.zone.has_pointers_alone(&self.owner)
    }

    /// See [`View::distinct_services`]; `None` if the name does not exist. Too many services make the answer too large.
    fn services<D: Eq + Hash>(
        &mut self,
        path: &TreePath,
        wanted: DataKinds,
        datum: impl Fn(&'a Service) -> D,
    ) -> Option<Vec<MatchedService<'a>>> {
        match self.view.distinct_services(path, wanted, datum, self.view.max_records) {
            TreeLookup::NoName => self.view.exists_without_services(&self.owner, path).then(Vec::new),
            TreeLookup::Services(found) => Some(found),
            TreeLookup::TooMany => {
                self.too_large = true;
                Some(Vec::new())
            }
        }
    }

    /// As [`Self::services`], but only the services of one group.
    fn grouped<D: Eq + Hash>(
        &mut self,
        path: &TreePath,
        wanted: DataKinds,
        datum: impl Fn(&'a Service) -> D,
    ) -> Option<Vec<MatchedService<'a>>> {
        self.services(path, wanted, datum).map(select::one_group)
    }

    /// The owner in its zone; `path` is the owner after [`Site::resolve_local`](super::Site::resolve_local).
    fn owner_at<'n>(&'n self, path: &'n TreePath) -> NameInZone<'n> {
        NameInZone::new(&self.owner, path, self.zone)
    }

    /// The TTL of a record of the owner that is made from an entry, in seconds.
    fn ttl(&self, entry: &Entry) -> u32 {
        self.view.ttl(entry, self.zone)
    }

    /// Whether the owner exists; `path` is the owner after [`Site::resolve_local`](super::Site::resolve_local).
    fn exists(&self, path: &TreePath) -> bool {
        self.view.exists(&self.owner, path)
    }

    /// The answer to ANY: one synthesised record instead of all (RFC 8482 §4.2).
    fn any(&self, path: &TreePath) -> Option<Vec<Record>> {
        use hickory_proto::rr::{RData, rdata::HINFO};
        let hinfo = RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()));
        self.exists(path).then(|| vec![Record::from_rdata(self.owner.clone(), self.zone.ttl, hinfo)])
    }

    /// The outcome with an answer section; `None` if the name does not exist.
    fn finish(mut self, section: Option<Vec<Record>>) -> Outcome {
        if section.is_none() {
            self.end_without_name();
        }
        if self.view.work.is_spent() {
            return Outcome::Answered(Answer::too_costly());
        }
        if self.collected.lacks_keys {
            return Outcome::Answered(lacks_keys());
        }
        if !self.collected.lookups.is_empty() && !self.too_large {
            return Outcome::Lookup(self.collected.lookups);
        }
        let mut answer = Answer::empty(ResponseCode::NoError);
        answer.answers = section.unwrap_or_default();
        answer.additionals = std::mem::take(&mut self.collected.additionals);
        answer.authorities = std::mem::take(&mut self.collected.authorities);
        answer.too_large = self.too_large;
        if self.collected.failed && !self.collected.is_known && !has_data(&answer) {
            return Outcome::Answered(negative::unreachable());
        }
        Outcome::Answered(match self.collected.ending.take() {
            Some(ending) if !answer.too_large => self.finish_negative(answer, ending),
            _ => self.complete(answer),
        })
    }

    /// Adds the extended error of stale or missing data, and puts the records into the order in which they are sent.
    fn complete(&self, mut answer: Answer) -> Answer {
        let view = self.view;
        if self.collected.failed {
            answer.ede = Some(Ede::new(Ede::NO_REACHABLE_AUTHORITY, "a name outside could not be looked up"));
            for record in answer.answers.iter_mut().chain(&mut answer.authorities) {
                record.ttl = record.ttl.min(INCOMPLETE_TTL);
            }
        } else if view.dependencies.held.get() {
            answer.ede = Some(Ede::held());
        } else if view.freshness.of(self.zone).is_stale() {
            answer.ede = Some(Ede::new(Ede::STALE, "the store cannot be reached"));
        } else if view.externals.any_stale() {
            answer.ede = Some(Ede::new(Ede::STALE, "no upstream gives an answer"));
        }
        // Sections of one record need no order.
        let has_order = answer.answers.len() > 1 || answer.additionals.len() > 1;
        if has_order {
            arrange(&mut answer, view.site.round_robin, view.seed);
        }
        answer
    }
}

/// Whether an answer has more than CNAMEs.
fn has_data(answer: &Answer) -> bool {
    answer.answers.iter().any(|record| record.record_type() != RecordType::CNAME)
}

/// The name in the letter case of the query, if it is the name in the query.
fn in_query_case<'n>(question: &'n Name, name: &'n Name) -> &'n Name {
    if same_name(question, name) { question } else { name }
}
