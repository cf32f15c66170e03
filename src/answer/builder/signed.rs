//! Answers that can be signed: how the records of a name differ for clients that want DNSSEC records of a signed zone.
//!
//! SkyDNS's subtree answers put CNAMEs and addresses on one name, which no validator accepts. In a signed answer a name
//! has either one CNAME or addresses, whatever type is asked for. If any service at the name has an address, the name
//! has addresses, and hosts that are names are resolved to theirs. Else it has a CNAME, if that leads anywhere. The
//! CNAME answers questions for every type that such a name does not have (RFC 1034 §3.6.2), so that no denial is about
//! a name with a CNAME.

use super::addresses::cname;
use super::{AnswerBuilder, in_query_case};
use crate::answer::flatten::{Family, MAX_CNAME_CHAIN, flat_addresses};
use crate::tree::TreePath;
use hickory_proto::rr::{Name, Record, RecordType};

impl AnswerBuilder<'_> {
    /// The answer section to a question for A, AAAA, CNAME or RRSIG of a name that exists.
    pub(super) fn signed_section(&mut self, path: &TreePath) -> Vec<Record> {
        match self.query.query_type() {
            RecordType::CNAME => self.signed_cname(path),
            RecordType::RRSIG => self.any_rrset(path),
            rtype => self.signed_addresses(path, Family::of(rtype)),
        }
    }

    fn signed_addresses(&mut self, path: &TreePath, family: Family) -> Vec<Record> {
        let owner = self.owner.clone();
        let addresses = self.own_addresses(&owner, path, family);
        if addresses.is_empty() { self.signed_no_data(path) } else { addresses }
    }

    fn signed_cname(&mut self, path: &TreePath) -> Vec<Record> {
        match self.side.single_cname(path) {
            Some((target, ttl)) => vec![cname(&self.owner, ttl, &target)],
            None => {
                self.end_without_data(path);
                Vec::new()
            }
        }
    }

    /// Any one RRset of the name: its signatures are the answer to RRSIG (RFC 8482 §4.1).
    fn any_rrset(&mut self, path: &TreePath) -> Vec<Record> {
        if let Some((target, ttl)) = self.side.single_cname(path) {
            return vec![cname(&self.owner, ttl, &target)];
        }
        if self.view.zone.is_apex(&self.owner) {
            return vec![self.soa(self.view.zone.ttl)];
        }
        let owner = self.owner.clone();
        let records = match self.types_at(path, false).first() {
            Some(RecordType::A) => self.own_addresses(&owner, path, Family::V4),
            Some(RecordType::AAAA) => self.own_addresses(&owner, path, Family::V6),
            Some(RecordType::SRV) => self.srv(path).unwrap_or_default(),
            Some(RecordType::TXT) => self.txt(path).unwrap_or_default(),
            Some(RecordType::MX) => self.mx(path).unwrap_or_default(),
            _ => Vec::new(),
        };
        self.collected.additionals.clear();
        if records.is_empty() {
            self.end_without_data(path);
        }
        records
    }

    /// The answer section of an owner without the type in the question: its CNAME and the records that this leads to, or
    /// nothing.
    pub(super) fn signed_no_data(&mut self, path: &TreePath) -> Vec<Record> {
        match self.side.single_cname(path) {
            Some((target, ttl)) => self.follow_cname(&target, ttl),
            None => {
                self.end_without_data(path);
                Vec::new()
            }
        }
    }

    /// The CNAME of the owner, and the records of its target, which is the owner from here on.
    fn follow_cname(&mut self, target: &Name, ttl: u32) -> Vec<Record> {
        let mut records = vec![cname(&self.owner, ttl, target)];
        self.cnames_followed += 1;
        if self.cnames_followed >= MAX_CNAME_CHAIN {
            return records;
        }
        self.owner = in_query_case(self.query.name(), target).clone();
        let zone = self.view.zone;
        if !zone.contains(target) {
            records.extend(self.addresses_outside(target));
            return records;
        }
        match self.section(&TreePath::literal(zone.resolve_local(target))) {
            Some(section) => records.extend(section),
            None => self.end_without_name(),
        }
        records
    }

    /// The addresses of a name outside of the domain, from services on its key or from upstreams.
    fn addresses_outside(&mut self, name: &Name) -> Vec<Record> {
        let rtype = self.query.query_type();
        if !matches!(rtype, RecordType::A | RecordType::AAAA) {
            return Vec::new();
        }
        let (owner, family) = (self.owner.clone(), Family::of(rtype));
        let records = self.chain(&owner, &TreePath::literal(name), &mut Vec::new(), family);
        records.or_else(|| self.external(name, rtype)).unwrap_or_default()
    }

    /// The addresses of a target inside the domain, for ADDITIONAL.
    pub(super) fn signed_target(&mut self, target: &Name) -> Vec<Record> {
        let zone = self.view.zone;
        let path = TreePath::literal(zone.resolve_local(target));
        let Some((next, ttl)) = self.side.single_cname(&path) else {
            return self.own_addresses(target, &path, Family::Both);
        };
        let mut records = vec![cname(target, ttl, &next)];
        records.extend(if zone.contains(&next) {
            self.own_addresses(&next, &TreePath::literal(zone.resolve_local(&next)), Family::Both)
        } else {
            self.external(&next, RecordType::A).unwrap_or_default()
        });
        records
    }

    /// The addresses of a name in a signed answer, with those that hosts of its services lead to; see [`flat_addresses`].
    ///
    /// A name with a CNAME has no address.
    fn own_addresses(&mut self, owner: &Name, path: &TreePath, family: Family) -> Vec<Record> {
        if self.side.single_cname(path).is_some() {
            return Vec::new();
        }
        let flat = flat_addresses(self.view, owner, path, family, self.view.max_records);
        self.too_large |= flat.too_many;
        flat.records
    }
}
