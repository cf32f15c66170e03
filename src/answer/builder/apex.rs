//! The apex of the zone: NS records, and the records that DNSSEC adds. The SOA is in `negative`.

use super::AnswerBuilder;
use crate::answer::flatten::Family;
use crate::answer::name_servers::name_servers;
use crate::answer::outcome::Outcome;
use crate::answer::zone::Zone;
use hickory_proto::rr::rdata::NS;
use hickory_proto::rr::{RData, Record, RecordType};

impl AnswerBuilder<'_> {
    /// The name servers, with their addresses in ADDITIONAL.
    pub(super) fn apex_ns(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        let servers = name_servers(self.view, self.zone);
        if servers.len() > self.view.max_records {
            self.too_large = true;
            return records;
        }
        for (target, entry) in servers {
            let ttl = self.ttl(entry);
            let ns = RData::NS(NS(target.clone()));
            // One server may have several addresses.
            let is_new = records.iter().all(|record: &Record| record.data != ns);
            if is_new {
                records.push(Record::from_rdata(self.owner.clone(), ttl, ns));
            } else if self.view.wants_dnssec(self.zone) {
                continue;
            }
            if self.view.wants_dnssec(self.zone) {
                // Only a whole RRset can be signed, and the name may have other addresses.
                let addresses = self.target_addresses(&target);
                self.collected.additionals.extend(addresses);
            } else {
                let address = Family::Both.address(&entry.service.host);
                self.collected
                    .additionals
                    .extend(address.map(|address| Record::from_rdata(target, ttl, address)));
            }
        }
        records
    }

    /// The outcome of the question for the DS records of a zone that begins below this one. An answer that there are none proves
    /// a zone cut without them (RFC 5155 §8.9).
    pub(in crate::answer) fn answer_ds(mut self, below: &Zone) -> Outcome {
        let data = self.view.dnssec.map_or_else(Vec::new, |dnssec| dnssec.keys.ds(below));
        let ttl = self.view.capped(self.zone.ttl, self.zone);
        let record = |data| Record::from_rdata(self.owner.clone(), ttl, data);
        let records: Vec<_> = data.into_iter().map(record).collect();
        if records.is_empty() {
            self.end_at_cut();
        }
        self.finish(Some(records))
    }

    /// The records of a type that DNSSEC puts at the apex (RFC 4035 §2.1, RFC 5155 §4, RFC 7344 §4).
    pub(super) fn apex_dnssec(&self, rtype: RecordType) -> Vec<Record> {
        let data = self.view.dnssec.map_or_else(Vec::new, |dnssec| dnssec.keys.apex(self.zone));
        let ttl = self.view.capped(self.zone.ttl, self.zone);
        let of_type = data.into_iter().filter(|data| data.record_type() == rtype);
        of_type.map(|data| Record::from_rdata(self.owner.clone(), ttl, data)).collect()
    }
}
