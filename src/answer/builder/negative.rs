//! Negative answers: the SOA, and what has to be proven not to exist.

use super::{AnswerBuilder, in_query_case};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{RData, Record};

/// SOA timers in seconds, as SkyDNS has them. No secondary server reads them, since zones are not transferred.
const SOA_REFRESH: i32 = 28_800;
const SOA_RETRY: i32 = 7_200;
const SOA_EXPIRE: i32 = 604_800;

impl AnswerBuilder<'_> {
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
        let owner = in_query_case(self.query.name(), zone.domain()).clone();
        Record::from_rdata(owner, self.view.capped(ttl), RData::SOA(soa))
    }
}
