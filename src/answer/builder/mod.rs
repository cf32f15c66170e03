//! The records of one answer, gathered service by service.

mod addresses;
mod apex;
mod negative;
mod service_records;
mod signed;

use super::arrange::arrange;
use super::budget::Budget;
use super::side_lookups::SideLookups;
use super::{Answer, Denial, Ede, Freshness, Lookup, Missing, Outcome, View, same_name, select};
use crate::service::Service;
use crate::tree::{DataKinds, MAX_FOUND, MatchedService, TreeLookup, TreePath};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use std::hash::Hash;

/// Gathers the records of one answer.
pub(super) struct AnswerBuilder<'a> {
    query: &'a Query,
    view: &'a View<'a>,
    /// The name whose records are being gathered: the one asked for, or one that a signed CNAME led to.
    owner: Name,
    /// What the signed answer ends in without data.
    ending: Option<Denial>,
    /// CNAMEs that were followed.
    followed: usize,
    additionals: Vec<Record>,
    lookups: Vec<Lookup>,
    /// Services that may be read for the answer; chains that fan out at every step end here.
    budget: Budget,
    /// Reads that must not change what is collected here.
    side: SideLookups<'a>,
    /// Whether the answer cannot fit.
    too_large: bool,
}

impl<'a> AnswerBuilder<'a> {
    pub(super) fn new(query: &'a Query, view: &'a View<'a>) -> Self {
        let (additionals, lookups) = (Vec::new(), Vec::new());
        let (owner, budget) = (query.name().clone(), Budget::new(MAX_FOUND, view.max_records));
        Self {
            query,
            view,
            owner,
            ending: None,
            followed: 0,
            additionals,
            lookups,
            budget,
            side: SideLookups::new(view),
            too_large: false,
        }
    }

    /// The answer section that the owner has for the question; `None` if the name does not exist.
    pub(super) fn section(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        let apex = self.view.zone.is_apex(&self.owner);
        let rtype = self.query.query_type();
        let section = match rtype {
            RecordType::A | RecordType::AAAA if self.view.wants_dnssec() => {
                return self.signed_addresses(path);
            }
            RecordType::CNAME if self.view.wants_dnssec() => return self.signed_cname(path),
            RecordType::RRSIG if self.view.wants_dnssec() => return self.any_set(path),
            RecordType::A | RecordType::AAAA => self.addresses(path),
            RecordType::SRV => self.srv(path),
            RecordType::MX => self.mx(path),
            RecordType::TXT => self.txt(path),
            RecordType::CNAME => self.cname(path),
            RecordType::NS if apex => Some(self.apex_ns()),
            RecordType::SOA if apex => Some(vec![self.soa(self.view.zone.ttl)]),
            RecordType::ANY => self.any(path),
            _ if apex => Some(self.apex_dnssec(rtype)),
            _ => self.exists(path).then(Vec::new),
        };
        match section {
            Some(empty) if empty.is_empty() && self.view.wants_dnssec() => Some(self.signed_no_data(path)),
            section => section,
        }
    }

    /// The services at a name and below it, of several equal ones the first; `None` if the name does not exist.
    ///
    /// `datum` returns the part of a service that tells its record from others. More records than fit into a reply make
    /// the answer too large.
    fn services<D: Eq + Hash>(
        &mut self,
        path: &TreePath,
        wanted: DataKinds,
        datum: impl Fn(&'a Service) -> D,
    ) -> Option<Vec<MatchedService<'a>>> {
        match self.view.distinct_services(path, wanted, datum, &mut self.budget) {
            TreeLookup::NoName => self.exists_without_services(path).then(Vec::new),
            TreeLookup::Services(found) => Some(found),
            TreeLookup::TooMany => {
                self.too_large = true;
                Some(Vec::new())
            }
        }
    }

    /// Whether a name exists that the tree does not have.
    fn exists_without_services(&self, path: &TreePath) -> bool {
        // Names below `local.dns.<domain>` make that name exist, but not the one that it leads to.
        let is_owner = same_name(path.name(), self.view.zone.resolve_local(&self.owner));
        self.view.zone.always_has(&path.before_wildcards())
            || is_owner && self.view.has_names_below_local(&self.owner)
    }

    /// The services at a name and below it, as [`Self::services`] returns them, reduced to one group.
    fn grouped<D: Eq + Hash>(
        &mut self,
        path: &TreePath,
        wanted: DataKinds,
        datum: impl Fn(&'a Service) -> D,
    ) -> Option<Vec<MatchedService<'a>>> {
        self.services(path, wanted, datum).map(select::one_group)
    }

    fn exists(&mut self, path: &TreePath) -> bool {
        self.services(path, DataKinds::NONE, |_| ()).is_some()
    }

    fn txt(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        let found = self.grouped(path, DataKinds::TEXT, |service| service.text.as_deref())?;
        let owner = &self.owner;
        Some(
            found
                .iter()
                .filter_map(|m| {
                    let text = m.entry.service.text.as_deref()?;
                    Some(service_records::text_record(owner, self.view.ttl(m.entry), text))
                })
                .collect(),
        )
    }

    /// RFC 8482 §4.2: one synthesised record stands for all.
    fn any(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        use hickory_proto::rr::{RData, rdata::HINFO};
        let hinfo = RData::HINFO(HINFO::new("RFC8482".to_owned(), String::new()));
        self.exists(path).then(|| vec![Record::from_rdata(self.owner.clone(), self.view.zone.ttl, hinfo)])
    }

    /// Adds the records of an answer section, or of a name that does not exist, to a whole answer.
    pub(super) fn finish(mut self, section: Option<Vec<Record>>) -> Outcome {
        if !self.lookups.is_empty() && !self.too_large {
            return Outcome::Lookup(self.lookups);
        }
        let (rcode, answers) = match section {
            Some(answers) => (ResponseCode::NoError, answers),
            None => {
                self.end_without_name();
                (ResponseCode::NXDomain, Vec::new())
            }
        };
        let mut answer = Answer::empty(match &self.ending {
            Some(Denial { missing: Missing::Name { .. }, .. }) => ResponseCode::NXDomain,
            _ => rcode,
        });
        answer.too_large = self.too_large || self.budget.is_spent();
        answer.answers = answers;
        answer.additionals = std::mem::take(&mut self.additionals);
        let ended = answer.answers.is_empty() || self.ending.is_some();
        if ended && !answer.too_large {
            if self.view.freshness == Freshness::Incomplete {
                let why = "the store was not read yet, the name may exist";
                return Outcome::Answered(Answer::failure(ResponseCode::ServFail, Ede::NOT_READY, why));
            }
            if rcode == ResponseCode::NoError && self.view.externals.any_failed() {
                return Outcome::Answered(unreachable());
            }
            answer.authorities.push(self.soa(self.view.zone.min_ttl));
            answer.denials.extend(self.ending.take());
        } else if self.view.wants_dnssec() && self.view.externals.any_failed() && !has_addresses(&answer) {
            return Outcome::Answered(unreachable());
        }
        if self.view.freshness == Freshness::Stale {
            answer.ede = Some(Ede::new(Ede::STALE, "the store cannot be reached"));
        } else if self.view.externals.any_stale() {
            answer.ede = Some(Ede::new(Ede::STALE, "no upstream gives an answer"));
        }
        if arrange(&mut answer, self.view.zone.round_robin, self.view.seed) {
            self.view.dependencies.note_random_choice();
        }
        Outcome::Answered(answer)
    }
}

/// A name outside the domain could not be looked up, and there is nothing else.
fn unreachable() -> Answer {
    let why = "a name outside the domain that this one leads to could not be looked up";
    Answer::failure(ResponseCode::ServFail, Ede::NO_REACHABLE_AUTHORITY, why)
}

fn has_addresses(answer: &Answer) -> bool {
    answer.answers.iter().any(|record| record.record_type() != RecordType::CNAME)
}

/// The owner name of records that a name of the tree has, as the client spelled it.
fn in_query_case<'n>(question: &'n Name, name: &'n Name) -> &'n Name {
    if same_name(question, name) { question } else { name }
}
