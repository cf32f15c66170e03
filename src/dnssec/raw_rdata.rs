//! RDATA that is sent as it is.

use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{RData, RecordType};

/// RDATA of a type as octets, for types that the DNS library would write in another form or does not know.
pub(super) fn raw_rdata(rtype: RecordType, octets: Vec<u8>) -> RData {
    RData::Unknown { code: rtype, rdata: NULL::with(octets) }
}
