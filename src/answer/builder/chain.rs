//! Names with a CNAME: what they answer to every type that they do not have.
//!
//! A name has either one CNAME or other data (RFC 1034 §3.6.2), but for its SRV, MX and TXT, which SkyDNS gives it as well. The
//! CNAME answers questions for every type that the name does not have, so that no denial is about a name with a CNAME. The
//! answer ends at the last name: with its data, or with the response code of that name (RFC 6604 §3).

use super::addresses::cname;
use super::{AnswerBuilder, in_query_case};
use crate::answer::externals::{External, Lookup, chain_from};
use crate::answer::flatten::{Family, Flatten, MAX_CNAME_CHAIN};
use crate::answer::local_denial::few_labels_soa;
use crate::tree::TreePath;
use hickory_proto::rr::{Name, Record, RecordType};

impl AnswerBuilder<'_> {
    /// The answer section of an owner without the type in the question: its CNAME and the records that this leads to, or
    /// nothing.
    pub(super) fn cname_or_no_data(&mut self, path: &TreePath) -> Vec<Record> {
        // With `flatten` at `never` a CNAME may stand beside addresses, and then hides nothing.
        let is_beside_data = self.view.zone.flatten == Flatten::Never && self.side.has_addresses(path);
        match self.side.cname(path).filter(|_| self.view.is_signed() || !is_beside_data) {
            Some((target, ttl)) => self.follow_cname(&target, ttl),
            None => self.end_without_data(path),
        }
    }

    /// The CNAME of the owner, and the records of its target, which is the owner from here on.
    pub(super) fn follow_cname(&mut self, target: &Name, ttl: u32) -> Vec<Record> {
        if self.cnames_followed == MAX_CNAME_CHAIN || self.view.work.is_spent() {
            return Vec::new();
        }
        let mut records = vec![cname(&self.owner, ttl, target)];
        self.cnames_followed += 1;
        self.owner = in_query_case(self.query.name(), target).clone();
        let zone = self.view.zone;
        let path = TreePath::literal(zone.resolve_local(target));
        if !zone.contains(target) && !self.view.exists(target, &path) {
            self.end_outside(target, &mut records);
            return records;
        }
        match self.section(&path) {
            Some(section) => records.extend(section),
            None => self.end_without_name(),
        }
        records
    }

    /// Ends an answer at a name outside of the tree, with what upstreams say of it.
    fn end_outside(&mut self, name: &Name, records: &mut Vec<Record>) {
        let (rtype, zone) = (self.query.query_type(), self.view.zone);
        let lookup = Lookup { name: name.clone(), rtype };
        match self.view.external(&lookup, self.collected.lookups.len()) {
            None => self.collected.end_at_few_labels(few_labels_soa(name, zone)),
            Some(External::Pending) => self.add_lookups(vec![lookup]),
            Some(External::Failed) => self.collected.failed = true,
            Some(External::Reply(reply)) => {
                let chain = chain_from(&reply.records, name, rtype, zone);
                if !chain.iter().any(|record| record.record_type() == rtype) {
                    self.collected.end_outside(reply);
                }
                records.extend(chain);
            }
        }
    }

    /// The answer to RRSIG: any one RRset of the name, whose signatures are the answer (RFC 8482 §4.1).
    pub(super) fn any_rrset(&mut self, path: &TreePath) -> Vec<Record> {
        if let Some((target, ttl)) = self.side.cname(path) {
            return vec![cname(&self.owner, ttl, &target)];
        }
        if self.view.zone.is_apex(&self.owner) {
            return vec![self.soa(self.view.zone.ttl)];
        }
        let records = match self.types_at(path, false).first() {
            Some(RecordType::A) => self.flat_section(path, Family::V4),
            Some(RecordType::AAAA) => self.flat_section(path, Family::V6),
            Some(RecordType::SRV) => self.srv(path).unwrap_or_default(),
            Some(RecordType::TXT) => self.txt(path).unwrap_or_default(),
            Some(RecordType::MX) => self.mx(path).unwrap_or_default(),
            _ => Vec::new(),
        };
        self.collected.additionals.clear();
        if records.is_empty() { self.end_without_data(path) } else { records }
    }
}
