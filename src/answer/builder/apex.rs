//! The domain's own records: SOA and NS.

use super::AnswerBuilder;
use crate::answer::select;
use crate::service::Host;
use crate::tree::{DataKinds, Entry, TreeLookup, TreePath};
use hickory_proto::rr::rdata::{A, AAAA, NS, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// SOA timers in seconds, as SkyDNS has them.
const SOA_REFRESH: i32 = 28_800;
const SOA_RETRY: i32 = 7_200;
const SOA_EXPIRE: i32 = 604_800;

impl<'a> AnswerBuilder<'a> {
    /// The SOA record with a TTL; its serial is the time of the last change of data.
    pub(super) fn soa(&self, ttl: u32) -> Record {
        let zone = self.view.zone;
        let soa = SOA::new(
            zone.ns_name().clone(),
            zone.hostmaster.clone(),
            self.view.serial(),
            SOA_REFRESH,
            SOA_RETRY,
            SOA_EXPIRE,
            zone.min_ttl,
        );
        let owner = super::in_query_case(self.query.name(), zone.domain()).clone();
        Record::from_rdata(owner, self.view.capped(ttl), RData::SOA(soa))
    }

    /// The name servers, with their addresses in ADDITIONAL.
    ///
    /// They are the services at and below `ns.dns.<domain>`, and those on a name directly below
    /// `dns.<domain>`. A service whose host is no address is none.
    pub(super) fn apex_ns(&mut self) -> Vec<Record> {
        let below = self.view.services(&TreePath::new(self.view.zone.ns_name()), DataKinds::HOST, |_| false);
        let mut servers: Vec<(Name, &Entry)> = match below {
            TreeLookup::Services(found) => {
                let found = select::one_group(select::distinct(found));
                found.iter().map(|m| (m.name(), &**m.entry)).collect()
            }
            TreeLookup::NoName | TreeLookup::TooMany => Vec::new(),
        };
        servers.extend(self.leaves_below_dns());
        let mut records = Vec::new();
        for (target, entry) in servers {
            let address = match entry.service.host {
                Host::V4(v4) => RData::A(A(v4)),
                Host::V6(v6) => RData::AAAA(AAAA(v6)),
                Host::Name(_) | Host::None => continue,
            };
            let ttl = self.view.ttl(entry);
            let ns = RData::NS(NS(target.clone()));
            records.push(Record::from_rdata(self.owner.clone(), ttl, ns));
            if self.view.wants_dnssec() {
                // What is signed has to be the whole RRset of the name.
                let records = self.target_addresses(&target);
                self.additionals.extend(records);
            } else {
                self.additionals.push(Record::from_rdata(target, ttl, address));
            }
        }
        records
    }

    /// The records of a type that DNSSEC puts at the apex (RFC 4035 §2.1, RFC 5155 §4, RFC 7344 §4).
    pub(super) fn apex_dnssec(&self, rtype: RecordType) -> Vec<Record> {
        let data = self.view.dnssec.map_or(&[][..], |dnssec| dnssec.apex);
        let ttl = self.view.capped(self.view.zone.ttl);
        let of_type = data.iter().filter(|data| data.record_type() == rtype);
        of_type.map(|data| Record::from_rdata(self.owner.clone(), ttl, data.clone())).collect()
    }

    /// Services on a name directly below `dns.<domain>`, such as `ns2.dns.<domain>`.
    fn leaves_below_dns(&self) -> Vec<(Name, &'a Entry)> {
        let dns = self.view.zone.dns_name();
        let Some(node) = self.view.exact(&TreePath::new(dns)) else {
            return Vec::new();
        };
        let mut leaves = Vec::new();
        let _ = node.for_each_child(&mut |child| {
            // `ns` was taken before; `local` and `stub` have meanings of their own.
            let other =
                matches!(child.label(), b"ns" | b"local" | b"stub") || child.label().starts_with(b"_");
            if let (Some(entry), false) = (child.entry(), other) {
                leaves.extend(dns.prepend_label(child.label()).ok().map(|name| (name, &**entry)));
            }
            std::ops::ControlFlow::Continue(())
        });
        leaves
    }
}
