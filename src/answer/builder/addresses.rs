//! A, AAAA and CNAME: addresses of services, and the chains that lead to them.

use super::{AnswerBuilder, in_query_case};
use crate::answer::externals::{Lookup, chain_from};
use crate::answer::flatten::{Family, MAX_CNAME_CHAIN};
use crate::service::Host;
use crate::tree::TreePath;
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::HashSet;

impl AnswerBuilder<'_> {
    /// The answer to A and AAAA; `None` if the name does not exist.
    pub(super) fn addresses(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        let family = Family::of(self.query.query_type());
        self.chain(&self.query.name().clone(), path, &mut Vec::new(), family)
    }

    /// The addresses of a target inside the domain, for ADDITIONAL.
    pub(super) fn target_addresses(&mut self, target: &Name) -> Vec<Record> {
        // Of an answer that is too large no record is sent.
        if self.too_large {
            return Vec::new();
        }
        let records = if self.view.wants_dnssec() {
            self.signed_target(target)
        } else {
            self.chain(target, &TreePath::literal(target), &mut Vec::new(), Family::Both).unwrap_or_default()
        };
        // Too many addresses for ADDITIONAL are left out; the answer itself may fit.
        if std::mem::take(&mut self.too_large) { Vec::new() } else { records }
    }

    /// The answer to CNAME: only a service on exactly this name has one.
    pub(super) fn cname(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        if !self.exists(path) {
            return None;
        }
        let Some(entry) = self.view.leaf(path) else {
            return Some(Vec::new());
        };
        Some(match &entry.service.host {
            Host::Name(target) => vec![cname(self.query.name(), self.view.ttl(entry), target)],
            _ => Vec::new(),
        })
    }

    /// The addresses of a name, through CNAMEs where its hosts are names.
    ///
    /// `followed` are the targets of the CNAMEs that led here. A CNAME that leads to no address is left out.
    pub(super) fn chain(
        &mut self,
        owner: &Name,
        path: &TreePath,
        followed: &mut Vec<Name>,
        family: Family,
    ) -> Option<Vec<Record>> {
        let found = self.grouped(path, family.kinds(), |service| &service.host)?;
        let mut records = Vec::new();
        let mut named = HashSet::new();
        for m in found {
            let (host, ttl) = (&m.entry.service.host, self.view.ttl(m.entry));
            if let Some(address) = family.address(host) {
                records.push(Record::from_rdata(owner.clone(), ttl, address));
            } else if let Host::Name(target) = host
                // Services that differ only in their ports have the same CNAME.
                && named.insert(target)
                && let Some(led_to) = self.follow(owner, target, followed, family)
            {
                records.push(cname(owner, ttl, target));
                records.extend(led_to);
            }
        }
        Some(records)
    }

    /// The records that a CNAME leads to; `None` if the CNAME must be left out.
    fn follow(
        &mut self,
        owner: &Name,
        target: &Name,
        followed: &mut Vec<Name>,
        family: Family,
    ) -> Option<Vec<Record>> {
        let is_loop = owner == target || followed.contains(target);
        let is_too_long = followed.len() >= MAX_CNAME_CHAIN || self.too_large || self.view.work.is_spent();
        if is_loop || is_too_long || target.is_root() {
            return None;
        }
        followed.push(target.clone());
        let owner = in_query_case(self.query.name(), target).clone();
        let records = self.chain(&owner, &TreePath::literal(target), followed, family);
        followed.pop();
        match records {
            Some(records) => (!records.is_empty()).then_some(records),
            None if self.view.zone.contains(target) => None,
            None => self.external(target, family.external_type()),
        }
    }

    /// The answer section of an upstream for a name outside of the tree; `None` if there is none, or before the look-up.
    pub(super) fn external(&mut self, name: &Name, rtype: RecordType) -> Option<Vec<Record>> {
        // hickory's own count leaves a leading "*" out.
        if name.iter().count() < usize::from(self.view.zone.ndots) {
            return None;
        }
        let (externals, lookups) = (self.view.externals, &mut self.collected.lookups);
        let lookup = Lookup { name: name.clone(), rtype };
        match externals.result(&lookup) {
            Some(records) if self.view.wants_dnssec() => {
                records.map(|records| chain_from(records, name, rtype, self.view.zone))
            }
            Some(records) => records.map(<[Record]>::to_vec),
            None => {
                if externals.allow_one_more(lookups.len()) && !lookups.contains(&lookup) {
                    lookups.push(lookup);
                }
                None
            }
        }
    }
}

/// A CNAME record.
pub(super) fn cname(owner: &Name, ttl: u32, target: &Name) -> Record {
    Record::from_rdata(owner.clone(), ttl, RData::CNAME(CNAME(target.clone())))
}
