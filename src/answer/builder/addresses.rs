//! A, AAAA and CNAME: addresses of services, and the names that they lead to.

use super::AnswerBuilder;
use crate::answer::externals::{External, ExternalReply, Lookup, chain_from};
use crate::answer::flatten::{Family, Flatten, MAX_CNAME_CHAIN, flat_addresses};
use crate::answer::side_lookups::SideLookups;
use crate::answer::view::{View, WORK_OF_ANSWER};
use crate::service::{Host, Service};
use crate::tree::{TreePath, Work};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::borrow::Cow;

impl<'a> AnswerBuilder<'a> {
    /// The answer to A and AAAA; `None` if the name does not exist.
    pub(super) fn addresses(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        let family = Family::of(self.query.query_type());
        let found = self.grouped(path, family.kinds(), |service: &'a Service| &service.host)?;
        let mut records = Vec::new();
        let mut has_names = false;
        for m in found {
            let host = &m.entry.service.host;
            let record = |address| Record::from_rdata(self.owner.clone(), self.ttl(m.entry), address);
            records.extend(family.address(host).map(record));
            has_names |= matches!(host, Host::Name(_));
        }
        if !has_names {
            return Some(if records.is_empty() { self.end_without_data(path) } else { records });
        }
        let Some((target, ttl)) = self.side.cname(path, self.zone) else {
            return Some(self.flat_section(path, family));
        };
        // With `flatten` at `never` a name has both, if the CNAME leads to more addresses.
        let may_be_beside = self.view.site.flatten == Flatten::Never && !self.zone.is_signed;
        if records.is_empty() && !(may_be_beside && self.side.has_addresses(path)) {
            return Some(self.follow_cname(&target, ttl));
        }
        let (owner, zone) = (self.owner.clone(), self.zone);
        let led_to = self.follow_cname(&target, ttl);
        let is_useful = led_to.iter().any(|record| record.record_type() != RecordType::CNAME);
        self.collected.ending = None;
        records.extend(led_to.into_iter().filter(|_| is_useful));
        if records.is_empty() {
            // Whatever became of the target, the name exists without addresses of this family.
            (self.owner, self.zone) = (owner, zone);
            self.collected.is_known = true;
            return Some(self.end_without_data(path));
        }
        Some(records)
    }

    /// The answer section of a name without a CNAME whose services lead to other names.
    pub(super) fn flat_section(&mut self, path: &TreePath, family: Family) -> Vec<Record> {
        if !self.may_flatten() {
            return self.end_without_data(path);
        }
        let owner = self.owner.clone();
        let flat = flat_addresses(self.view, (&owner, self.zone), path, family, self.view.max_records);
        self.too_large |= flat.too_many;
        self.add_lookups(flat.lookups);
        if flat.failed {
            // A part of a set is an answer, also if it has addresses of the other family only.
            self.collected.failed = true;
            self.collected.is_known =
                flat.any_known || !flat.records.is_empty() || self.side.has_addresses(path);
        }
        if flat.records.is_empty() { self.end_without_data(path) } else { flat.records }
    }

    /// Whether names have the addresses of the names that their services lead to.
    fn may_flatten(&self) -> bool {
        self.view.site.flatten != Flatten::Never || self.zone.is_signed
    }

    /// The addresses of a target inside the domain, for ADDITIONAL, with the CNAMEs that lead to them.
    ///
    /// All targets of an answer have work of their own: when it is spent, the others' addresses are left out, and the answer
    /// stands without them.
    pub(super) fn target_addresses(&mut self, target: &Name) -> Vec<Record> {
        // Of an answer that is too large no record is sent.
        if self.too_large {
            return Vec::new();
        }
        let work = Work::new(self.work_of_additionals);
        let view = View { work: &work, ..*self.view };
        let addresses = self.addresses_in(&view, target);
        self.work_of_additionals = work.left();
        if !work.is_spent() {
            return addresses;
        }
        self.work_of_additionals = 0;
        if self.view.work.units() < WORK_OF_ANSWER {
            // The thread may not do so much work: another one makes the answer.
            let _ = self.view.work.charge(u32::MAX);
        }
        Vec::new()
    }

    /// The addresses of a target as `view` has them, with the CNAMEs that lead to them.
    fn addresses_in(&mut self, view: &View<'_>, target: &Name) -> Vec<Record> {
        let mut cnames = Vec::new();
        let mut owner = target.clone();
        while cnames.len() <= MAX_CNAME_CHAIN {
            let path = TreePath::literal(view.site.resolve_local(&owner));
            let zone = view.site.zone_of(&owner);
            if zone.lacks_keys {
                return Vec::new();
            }
            if view.is_outside(&owner, &path) {
                let addresses = self.external_addresses(&owner, Family::Both.external_type());
                return if addresses.is_empty() { addresses } else { [cnames, addresses].concat() };
            }
            let Some((next, ttl)) = SideLookups::new(view).cname(&path, zone) else {
                let flat = flat_addresses(view, (&owner, zone), &path, Family::Both, view.max_records);
                self.add_lookups(flat.lookups);
                // None if they are too many, since the answer itself may fit.
                let is_useful = !flat.too_many && !flat.records.is_empty();
                return if is_useful { [cnames, flat.records].concat() } else { Vec::new() };
            };
            cnames.push(cname(&owner, ttl, &next));
            owner = next;
        }
        Vec::new()
    }

    /// The answer to CNAME; `None` if the name does not exist.
    pub(super) fn cname(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        if !self.exists(path) {
            return None;
        }
        Some(match self.side.cname(path, self.zone) {
            Some((target, ttl)) => vec![cname(&self.owner, ttl, &target)],
            None => self.end_without_data(path),
        })
    }

    /// The records of an upstream that lead from a name outside of the tree to its addresses, for ADDITIONAL; none before
    /// the look-up.
    pub(super) fn external_addresses(&mut self, name: &Name, rtype: RecordType) -> Vec<Record> {
        let Some(reply) = self.external(name, rtype) else { return Vec::new() };
        // With their signatures: there are caches that hold unsigned ones against the name.
        let chain = chain_from(&reply.records, name, rtype, self.view);
        if chain.iter().any(|record| record.record_type() == rtype) { chain } else { Vec::new() }
    }

    /// What upstreams say of a name outside of the tree; `None` if that is nothing, or before the look-up.
    fn external(&mut self, name: &Name, rtype: RecordType) -> Option<Cow<'a, ExternalReply>> {
        let lookup = Lookup { name: name.clone(), rtype };
        match self.view.external(&lookup, self.collected.lookups.len()) {
            External::Reply(reply) => Some(reply),
            External::Failed => None,
            External::Pending => {
                self.add_lookups(vec![lookup]);
                None
            }
        }
    }

    /// Adds look-ups whose results the answer needs.
    pub(super) fn add_lookups(&mut self, lookups: Vec<Lookup>) {
        for lookup in lookups {
            let pending = &mut self.collected.lookups;
            if self.view.externals.allow_one_more(pending.len()) && !pending.contains(&lookup) {
                pending.push(lookup);
            }
        }
    }
}

/// A CNAME record.
pub(super) fn cname(owner: &Name, ttl: u32, target: &Name) -> Record {
    Record::from_rdata(owner.clone(), ttl, RData::CNAME(CNAME(target.clone())))
}
