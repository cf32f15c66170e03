//! Answers that can be signed: what differs for clients that want DNSSEC records of a signed zone.
//!
//! SkyDNS's subtree answers put CNAMEs and addresses on one name, which no validator takes. Here a name has either one
//! CNAME or addresses, whatever type is asked for: addresses if any service at the name has one, with the chains of the
//! others resolved; else a CNAME, if it leads anywhere. Every type that such a name does not have is answered by the
//! CNAME (RFC 1034 §3.6.2), so that a denial never has to deny it.

use super::addresses::cname;
use super::{AnswerBuilder, in_query_case};
use crate::answer::flatten::{Family, MAX_CNAME_CHAIN, flat_addresses};
use crate::answer::side_lookups::gather_types;
use crate::answer::{Denial, Missing};
use crate::tree::TreePath;
use hickory_proto::rr::{Name, Record, RecordType};

impl AnswerBuilder<'_> {
    /// The answer to A and AAAA.
    pub(super) fn signed_addresses(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        let family = Family::of(self.query.query_type());
        let owner = self.owner.clone();
        let addresses = self.flat_addresses(&owner, path, family)?;
        Some(if addresses.is_empty() { self.signed_no_data(path) } else { addresses })
    }

    /// The answer to CNAME.
    pub(super) fn signed_cname(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        if !self.exists(path) {
            return None;
        }
        Some(match self.side.single_cname(path) {
            Some((target, ttl)) => vec![cname(&self.owner, ttl, &target)],
            None => self.end_without_data(path),
        })
    }

    /// The answer to RRSIG: any one RRset of the name, whose signatures are what was asked for (RFC 8482 §4.1).
    pub(super) fn any_set(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        if !self.exists(path) {
            return None;
        }
        if let Some((target, ttl)) = self.side.single_cname(path) {
            return Some(vec![cname(&self.owner, ttl, &target)]);
        }
        if self.view.zone.is_apex(&self.owner) {
            return Some(vec![self.soa(self.view.zone.ttl)]);
        }
        let owner = self.owner.clone();
        let set = match self.types(path).first() {
            Some(RecordType::A) => self.flat_addresses(&owner, path, Family::V4),
            Some(RecordType::AAAA) => self.flat_addresses(&owner, path, Family::V6),
            Some(RecordType::SRV) => self.srv(path),
            Some(RecordType::TXT) => self.txt(path),
            Some(RecordType::MX) => self.mx(path),
            _ => None,
        };
        self.additionals.clear();
        Some(set.filter(|set| !set.is_empty()).unwrap_or_else(|| self.end_without_data(path)))
    }

    /// What a name answers that does not have the type asked for: its CNAME and what that leads to, or nothing.
    pub(super) fn signed_no_data(&mut self, path: &TreePath) -> Vec<Record> {
        match self.side.single_cname(path) {
            Some((target, ttl)) => self.follow_cname(&target, ttl),
            None => self.end_without_data(path),
        }
    }

    fn follow_cname(&mut self, target: &Name, ttl: u32) -> Vec<Record> {
        let mut records = vec![cname(&self.owner, ttl, target)];
        self.followed += 1;
        if self.followed >= MAX_CNAME_CHAIN {
            return records;
        }
        self.owner = in_query_case(self.query.name(), target).clone();
        let zone = self.view.zone;
        if zone.contains(target) {
            match self.section(&TreePath::new(zone.resolve_local(target))) {
                Some(rest) => records.extend(rest),
                None => self.end_without_name(),
            }
            return records;
        }
        let family = match self.query.query_type() {
            RecordType::A => Family::V4,
            RecordType::AAAA => Family::V6,
            _ => return records,
        };
        let owner = self.owner.clone();
        let rest = match self.chain(&owner, &TreePath::new(target), &mut Vec::new(), family) {
            Some(rest) => Some(rest),
            None => self.external(target, family.external_type()),
        };
        records.extend(rest.unwrap_or_default());
        records
    }

    /// The addresses of a target inside the domain, for ADDITIONAL.
    pub(super) fn signed_target(&mut self, target: &Name) -> Option<Vec<Record>> {
        let path = TreePath::new(self.view.zone.resolve_local(target));
        let Some((next, ttl)) = self.side.single_cname(&path) else {
            return self.flat_addresses(target, &path, Family::Both);
        };
        let mut records = vec![cname(target, ttl, &next)];
        let rest = if self.view.zone.contains(&next) {
            self.flat_addresses(&next, &TreePath::new(self.view.zone.resolve_local(&next)), Family::Both)
        } else {
            self.external(&next, RecordType::A)
        };
        records.extend(rest.unwrap_or_default());
        Some(records)
    }

    /// Notes that the owner exists without the type asked for.
    fn end_without_data(&mut self, path: &TreePath) -> Vec<Record> {
        let missing = Missing::Data(self.types(path));
        self.ending = Some(Denial { name: self.owner.clone(), missing });
        Vec::new()
    }

    /// Notes that the owner does not exist.
    pub(super) fn end_without_name(&mut self) {
        if !self.view.wants_dnssec() {
            return;
        }
        let zone = self.view.zone;
        let mut closest_encloser = parent(&self.owner);
        while !zone.is_apex(&closest_encloser)
            && !{ self.view.exists(&closest_encloser, &TreePath::new(zone.resolve_local(&closest_encloser))) }
        {
            if closest_encloser.is_root() {
                closest_encloser = zone.domain().clone();
                break;
            }
            closest_encloser = parent(&closest_encloser);
        }
        let types = if self.view.dnssec.is_some_and(|dnssec| dnssec.compact) {
            Vec::new()
        } else {
            let path = TreePath::new(zone.resolve_local(&closest_encloser));
            self.view.types_at(&path, zone.is_apex(&closest_encloser), gather_types)
        };
        let missing = Missing::Name { closest_encloser, types };
        self.ending = Some(Denial { name: self.owner.clone(), missing });
    }

    /// The types that the owner has, RRSIG apart.
    fn types(&self, path: &TreePath) -> Vec<RecordType> {
        self.view.types_at(path, self.view.zone.is_apex(&self.owner), gather_types)
    }

    /// The addresses at a name, those that names in the domain lead to as its own; `None` if it does not exist.
    ///
    /// A name whose services are names alone has a CNAME, and no address. What upstreams would have to be asked for is
    /// left out: it is not ours to sign.
    fn flat_addresses(&mut self, owner: &Name, path: &TreePath, family: Family) -> Option<Vec<Record>> {
        if !self.exists(path) {
            return None;
        }
        if self.side.single_cname(path).is_some() {
            return Some(Vec::new());
        }
        let flat = flat_addresses(self.view, owner, path, family, &mut self.budget);
        self.too_large |= flat.too_many;
        Some(flat.records)
    }
}

/// The name without its first label.
fn parent(name: &Name) -> Name {
    let mut parent = name.base_name();
    parent.set_fqdn(true);
    parent
}
