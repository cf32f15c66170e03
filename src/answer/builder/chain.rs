//! Names with a CNAME: what they answer to every type that they do not have.
//!
//! A name has either one CNAME or other data (RFC 1034 §3.6.2), but for its SRV, MX and TXT, which SkyDNS gives it as well. The
//! CNAME answers questions for every type that the name does not have, so that no denial is about a name with a CNAME. The
//! answer ends at the last name: with its data, or with the response code of that name (RFC 6604 §3).

use super::addresses::cname;
use super::{AnswerBuilder, in_query_case};
use crate::answer::externals::{External, Lookup, chain_from, leads_back_to};
use crate::answer::flatten::{Family, Flatten, MAX_CNAME_CHAIN, flat_addresses};
use crate::answer::outcome::{Answer, Outcome};
use crate::tree::TreePath;
use hickory_proto::rr::{Name, Record, RecordType};

impl AnswerBuilder<'_> {
    /// The outcome for a name of which upstreams were asked because its zone lacks it: their records, and what we have of the
    /// name of ours that their CNAMEs lead to. `None` before they were asked.
    pub(in crate::answer) fn answer_from_outside(mut self) -> Option<Outcome> {
        let name = self.owner.clone();
        let lookup = Lookup { name: name.clone(), rtype: self.query.query_type() };
        if matches!(self.view.externals.result(&lookup), External::Pending) {
            return None;
        }
        let mut records = Vec::new();
        self.end_outside(&name, &mut records);
        Some(match self.finish(Some(records)) {
            Outcome::Answered(answer) => Outcome::Answered(Answer { authoritative: false, ..answer }),
            outcome => outcome,
        })
    }

    /// The answer section of an owner without the type in the question: its CNAME and the records that this leads to, or
    /// nothing.
    pub(super) fn cname_or_no_data(&mut self, path: &TreePath) -> Vec<Record> {
        // With `flatten` at `never` a CNAME may stand beside addresses, and then hides nothing.
        let is_beside_data = self.view.site.flatten == Flatten::Never && self.side.has_addresses(path);
        match self.side.cname(path, self.zone).filter(|_| self.zone.is_signed || !is_beside_data) {
            Some((target, ttl)) => self.follow_cname(&target, ttl),
            None => self.end_without_data(path),
        }
    }

    /// The CNAME of the owner, and the records of its target, which is the owner from here on.
    pub(super) fn follow_cname(&mut self, target: &Name, ttl: u32) -> Vec<Record> {
        if self.left.len() == MAX_CNAME_CHAIN || self.view.work.is_spent() {
            return Vec::new();
        }
        let mut records = vec![cname(&self.owner, ttl, target)];
        self.go_on_at(target);
        let site = self.view.site;
        let path = TreePath::literal(site.resolve_local(target));
        if self.view.is_outside(target, &path) {
            self.end_outside(target, &mut records);
        } else {
            records.extend(self.section_of_target(&path));
        }
        records
    }

    /// Makes the target of a CNAME the owner.
    fn go_on_at(&mut self, target: &Name) {
        let target = in_query_case(self.query.name(), target).clone();
        self.zone = self.view.site.zone_of(&target);
        self.left.push(std::mem::replace(&mut self.owner, target));
    }

    /// The answer section of the owner, which a CNAME led to.
    fn section_of_target(&mut self, path: &TreePath) -> Vec<Record> {
        if self.zone.lacks_keys {
            self.collected.lacks_keys = true;
            return Vec::new();
        }
        self.section(path).unwrap_or_else(|| {
            self.end_without_name();
            Vec::new()
        })
    }

    /// Ends an answer at a name outside of the tree, with what upstreams say of it; or goes on at the name of ours that their
    /// CNAMEs lead back to (RFC 1034 §4.3.2).
    fn end_outside(&mut self, name: &Name, records: &mut Vec<Record>) {
        let (rtype, view) = (self.query.query_type(), self.view);
        let lookup = Lookup { name: name.clone(), rtype };
        match self.view.external(&lookup, self.collected.lookups.len()) {
            External::Pending => self.add_lookups(vec![lookup]),
            External::Failed => self.collected.failed = true,
            External::Reply(reply) => {
                let chain = chain_from(&reply.records, name, rtype, view);
                let back = leads_back_to(&chain, view).filter(|_| rtype != RecordType::CNAME).cloned();
                let has_data = chain.iter().any(|record| record.record_type() == rtype);
                records.extend(chain);
                match back {
                    Some(target) => records.extend(self.come_back(&target)),
                    None if has_data => self.collected.authorities.clone_from(&reply.authorities),
                    None => self.collected.end_outside(&reply),
                }
            }
        }
    }

    /// The answer section of a name of ours that CNAMEs outside lead back to, which is the owner from here on.
    fn come_back(&mut self, target: &Name) -> Vec<Record> {
        if self.left.contains(target) || self.left.len() == MAX_CNAME_CHAIN {
            // In a circle.
            self.collected.failed = true;
            return Vec::new();
        }
        self.go_on_at(target);
        self.section_of_target(&TreePath::literal(self.view.site.resolve_local(target)))
    }

    /// The answer to RRSIG, before it is signed: all RRsets of the name, whose signatures are the answer. It is empty if the
    /// zone is not signed.
    pub(super) fn signed_rrsets(&mut self, path: &TreePath) -> Vec<Record> {
        let mut records = Vec::new();
        if self.view.wants_dnssec(self.zone) {
            for rtype in self.types_at(path) {
                records.extend(self.rrset(path, rtype));
            }
            self.collected.additionals.clear();
        }
        if records.is_empty() { self.end_without_data(path) } else { records }
    }

    /// The RRset of a type that the owner has.
    fn rrset(&mut self, path: &TreePath, rtype: RecordType) -> Vec<Record> {
        match rtype {
            RecordType::A | RecordType::AAAA => {
                let flat = flat_addresses(
                    self.view,
                    (&self.owner, self.zone),
                    path,
                    Family::of(rtype),
                    self.view.max_records,
                );
                self.too_large |= flat.too_many;
                flat.records
            }
            RecordType::CNAME => {
                let record = |(target, ttl): (Name, u32)| cname(&self.owner, ttl, &target);
                self.side.cname(path, self.zone).map(record).into_iter().collect()
            }
            rtype => self.section_of_type(path, rtype).unwrap_or_default(),
        }
    }
}
