//! Answers that can be signed: what differs for clients that want DNSSEC records of a signed zone.
//!
//! SkyDNS's subtree answers put CNAMEs and addresses on one name, which no validator takes. Here a name has either one
//! CNAME or addresses, whatever type is asked for: addresses if any service at the name has one, with the chains of the
//! others resolved; else a CNAME, if it leads anywhere. Every type that such a name does not have is answered by the
//! CNAME (RFC 1034 §3.6.2), so that a denial never has to deny it.

use super::addresses::cname;
use super::{AnswerBuilder, in_query_case};
use crate::answer::flatten::{Family, MAX_CNAME_CHAIN, flat_addresses};
use crate::answer::{Denial, Missing, View};
use crate::tree::{DataKinds, TreeLookup, TreePath};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// The types that services make.
const TYPES: [(RecordType, DataKinds); 5] = [
    (RecordType::A, DataKinds::V4),
    (RecordType::AAAA, DataKinds::V6),
    (RecordType::SRV, DataKinds::HOST),
    (RecordType::TXT, DataKinds::TEXT),
    (RecordType::MX, DataKinds::MAIL),
];

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
        Some(match self.single_cname(path) {
            Some((target, ttl)) => vec![cname(&self.owner, ttl, &target)],
            None => self.end_without_data(path),
        })
    }

    /// The answer to RRSIG: any one RRset of the name, whose signatures are what was asked for (RFC 8482 §4.1).
    pub(super) fn any_set(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        if !self.exists(path) {
            return None;
        }
        if let Some((target, ttl)) = self.single_cname(path) {
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
        match self.single_cname(path) {
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
        let Some((next, ttl)) = self.single_cname(&path) else {
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
        while !zone.is_apex(&closest_encloser) && !self.is_there(&closest_encloser) {
            if closest_encloser.is_root() {
                closest_encloser = zone.domain().clone();
                break;
            }
            closest_encloser = parent(&closest_encloser);
        }
        let types = if self.view.dnssec.is_some_and(|dnssec| dnssec.compact) {
            Vec::new()
        } else {
            let owner = std::mem::replace(&mut self.owner, closest_encloser.clone());
            let types = self.types(&TreePath::new(self.view.zone.resolve_local(&closest_encloser)));
            self.owner = owner;
            types
        };
        let missing = Missing::Name { closest_encloser, types };
        self.ending = Some(Denial { name: self.owner.clone(), missing });
    }

    pub(super) fn is_there(&self, name: &Name) -> bool {
        let path = TreePath::new(self.view.zone.resolve_local(name));
        let found = self.view.services(&path, DataKinds::NONE, |_| false);
        !matches!(found, TreeLookup::NoName)
            || self.view.zone.always_has(&path.before_wildcards())
            || self.view.has_names_below_local(name)
    }

    /// The types that the owner has, RRSIG apart.
    fn types(&mut self, path: &TreePath) -> Vec<RecordType> {
        let apex = self.view.zone.is_apex(&self.owner);
        let Some(dnssec) = self.view.dnssec else { return Vec::new() };
        let view = self.view;
        let mut types =
            dnssec.type_cache.of(path.name(), apex, view.zone, view.dependencies, |dependencies| {
                // What is kept must not depend on what this answer has looked at before.
                let view = View { dependencies, ..*view };
                let mut builder = AnswerBuilder::new(self.query, &view);
                builder.owner = self.owner.clone();
                builder.gather_types(path)
            });
        types.extend(dnssec.apex.iter().filter(|_| apex).map(RData::record_type));
        types
    }

    fn gather_types(&mut self, path: &TreePath) -> Vec<RecordType> {
        let mut types = Vec::new();
        let has_cname = self.single_cname(path).is_some();
        if has_cname {
            types.push(RecordType::CNAME);
        }
        let owner = self.owner.clone();
        for (rtype, kinds) in TYPES {
            let there = match rtype {
                RecordType::A | RecordType::AAAA if has_cname => false,
                RecordType::A => self.has(path, kinds) || self.has_flat(&owner, path, Family::V4),
                RecordType::AAAA => self.has(path, kinds) || self.has_flat(&owner, path, Family::V6),
                // Groups do not matter to MX.
                RecordType::MX => {
                    self.has(path, kinds) && self.quietly(|b| b.mx(path)).is_none_or(|mx| !mx.is_empty())
                }
                _ => self.has(path, kinds),
            };
            if there {
                types.push(rtype);
            }
        }
        if self.view.zone.is_apex(&self.owner) {
            types.push(RecordType::SOA);
            if self.quietly(|b| Some(b.apex_ns())).is_some_and(|ns| !ns.is_empty()) {
                types.push(RecordType::NS);
            }
        }
        types
    }

    /// Whether names at a name lead to addresses that count as its own.
    fn has_flat(&mut self, owner: &Name, path: &TreePath, family: Family) -> bool {
        self.has(path, DataKinds::NAME)
            && self.quietly(|b| b.flat_addresses(owner, path, family)).is_none_or(|flat| !flat.is_empty())
    }

    /// The addresses at a name, those that names in the domain lead to as its own; `None` if it does not exist.
    ///
    /// A name whose services are names alone has a CNAME, and no address. What upstreams would have to be asked for is
    /// left out: it is not ours to sign.
    fn flat_addresses(&mut self, owner: &Name, path: &TreePath, family: Family) -> Option<Vec<Record>> {
        if !self.exists(path) {
            return None;
        }
        if self.single_cname(path).is_some() {
            return Some(Vec::new());
        }
        let budget = if self.quiet { &mut self.quiet_budget } else { &mut self.budget };
        let flat = flat_addresses(self.view, owner, path, family, budget);
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
