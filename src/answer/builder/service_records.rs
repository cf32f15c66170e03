//! SRV, MX and TXT: records that hold the host or the text of a service.

use super::AnswerBuilder;
use crate::answer::flatten::Family;
use crate::answer::select::{Announced, share};
use crate::answer::zone::Mode;
use crate::service::Host;
use crate::tree::{DataKinds, MatchedService, TreePath};
use hickory_proto::rr::rdata::{MX, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::{BTreeMap, HashSet};

impl AnswerBuilder<'_> {
    /// The answer to SRV; `None` if the name does not exist.
    pub(super) fn srv(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        let mut found = self.grouped(path, DataKinds::HOST, Announced)?;
        let mut of_cluster = HashSet::new();
        found.retain(|m| {
            // One port of a host of two families is one record.
            let mut is_first = || m.made.is_none() || of_cluster.insert((m.name(), m.entry.service.port));
            m.has_srv() && m.entry.service.host != Host::None && is_first()
        });
        let site = self.view.site;
        let mut sums = BTreeMap::<u16, u128>::new();
        for m in &found {
            let service = &m.entry.service;
            *sums.entry(site.priority_of(service)).or_default() += u128::from(service.effective_weight());
        }
        let mut done = HashSet::new();
        let mut records = Vec::with_capacity(found.len());
        for m in &found {
            let service = &m.entry.service;
            let priority = site.priority_of(service);
            let weight = share(service.effective_weight(), sums[&priority]);
            let target = self.target(m, &mut done);
            let rdata = RData::SRV(SRV::new(priority, weight, service.port, target));
            records.push(Record::from_rdata(self.owner.clone(), self.ttl(m.entry), rdata));
        }
        Some(records)
    }

    /// The answer to MX; `None` if the name does not exist. Groups and all services but mail exchangers do not matter here.
    pub(super) fn mx(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        let found = self.services(path, DataKinds::MAIL, Announced)?;
        let mut done = HashSet::new();
        let mut records = Vec::new();
        for m in &found {
            let preference = self.view.site.priority_of(&m.entry.service);
            let exchange = self.target(m, &mut done);
            let rdata = RData::MX(MX::new(preference, exchange));
            records.push(Record::from_rdata(self.owner.clone(), self.ttl(m.entry), rdata));
        }
        Some(records)
    }

    /// The answer to TXT; `None` if the name does not exist.
    pub(super) fn txt(&mut self, path: &TreePath) -> Option<Vec<Record>> {
        let found = self.grouped(path, DataKinds::TEXT, |service| service.text.as_deref())?;
        let record = |m: &MatchedService<'_>| {
            let text = m.entry.service.text.as_deref()?;
            Some(text_record(&self.owner, self.ttl(m.entry), text))
        };
        Some(found.iter().filter_map(record).collect())
    }

    /// The target of a service; its addresses are added to ADDITIONAL.
    ///
    /// A service whose host is an address has the name of its key as its target. `done` are the targets whose addresses
    /// were added before.
    fn target(&mut self, m: &MatchedService<'_>, done: &mut HashSet<Name>) -> Name {
        let service = &m.entry.service;
        if let Host::Name(target) = &service.host {
            if done.insert((**target).clone()) {
                self.add_addresses(target);
            }
            return (**target).clone();
        }
        let Some(address) = Family::Both.address(&service.host) else { return Name::root() };
        let target = self.view.site.stripped(m.name(), service.target_strip);
        // In exact mode, what a wildcard has is what the owner has.
        let is_wildcard = self.zone.mode == Mode::Exact && target.is_wildcard();
        let target = if is_wildcard { self.owner.clone() } else { target };
        let is_signed = self.view.wants_dnssec(self.view.site.zone_of(&target));
        if m.made.is_some() || is_signed && self.view.site.owns(&target) {
            // Only a whole RRset can be signed, and the name may have other addresses.
            if done.insert(target.clone()) {
                let records = self.target_addresses(&target);
                self.collected.additionals.extend(records);
            }
        } else {
            let record = Record::from_rdata(target.clone(), self.ttl(m.entry), address);
            self.collected.additionals.push(record);
        }
        target
    }

    /// Adds the addresses of a name to ADDITIONAL.
    fn add_addresses(&mut self, target: &Name) {
        if target.is_root() {
            return;
        }
        let records = if self.has_target(target) {
            self.target_addresses(target)
        } else {
            let v4 = self.external_addresses(target, RecordType::A);
            let v6 = self.external_addresses(target, RecordType::AAAA);
            // Both replies hold the same CNAMEs: those of the second are left out.
            let cnames = v4.iter().any(|record| record.record_type() == RecordType::CNAME);
            let v6 = v6.into_iter().filter(|r| !(cnames && r.record_type() == RecordType::CNAME));
            v4.into_iter().chain(v6).collect()
        };
        self.collected.additionals.extend(records);
    }

    /// Whether the addresses of a target are in the tree, or nowhere.
    fn has_target(&self, target: &Name) -> bool {
        let site = self.view.site;
        let is_in_root = || site.zones.of(target).is_some();
        site.owns(target) || (is_in_root() && self.view.exists(target, &TreePath::literal(target)))
    }
}

/// A TXT record: one string for each 255 octets of the text (RFC 1035 §3.3.14).
fn text_record(owner: &Name, ttl: u32, text: &str) -> Record {
    let strings = text.as_bytes().chunks(255).collect();
    Record::from_rdata(owner.clone(), ttl, RData::TXT(TXT::from_bytes(strings)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_after_each_255_octets() {
        for (len, lengths) in [
            (3, vec![3]),
            (255, vec![255]),
            (256, vec![255, 1]),
            (511, vec![255, 255, 1]),
            (510, vec![255, 255]),
        ] {
            let record = text_record(&Name::root(), 1, &"x".repeat(len));
            let RData::TXT(txt) = record.data else { panic!("a TXT record") };
            assert_eq!(txt.txt_data.iter().map(|s| s.len()).collect::<Vec<_>>(), lengths);
        }
    }
}
