//! The SOA record of a zone.

use super::zone::Zone;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record};

/// SOA timers in seconds, as SkyDNS has them. No secondary server reads them, since zones are not transferred.
const SOA_REFRESH: i32 = 28_800;
const SOA_RETRY: i32 = 7_200;
const SOA_EXPIRE: i32 = 604_800;

/// The SOA record of a zone with a TTL in seconds. The serial is the time of the last change of data.
pub(super) fn soa(zone: &Zone, owner: Name, serial: u32, ttl: u32) -> Record {
    let soa = SOA::new(
        zone.primary().clone(),
        zone.hostmaster.clone(),
        serial,
        SOA_REFRESH,
        SOA_RETRY,
        SOA_EXPIRE,
        zone.min_ttl,
    );
    Record::from_rdata(owner, ttl, RData::SOA(soa))
}
