//! What the keys of a zone are used for during a period in which none of them changes its role.

use super::raw_rdata::raw_rdata;
use hickory_proto::rr::{RData, RecordType};
use std::ops::Range;

/// Roles of the keys of a zone during one period, and the records that they put at the apex.
///
/// An answer is gathered and signed with one state, so that DNSKEY RRset and signatures fit each other.
#[derive(Debug)]
pub struct KeyState {
    /// The period, in seconds of Unix time: between two times at which a key changes its role.
    pub(super) period: Range<u64>,
    /// RDATA of the apex's DNSKEY, CDS, CDNSKEY and NSEC3PARAM records.
    pub(super) apex: Vec<RData>,
    /// The keys that sign the DNSKEY, CDS and CDNSKEY RRsets.
    pub(super) for_key_rrsets: ActiveKeys,
    /// The keys that sign all other RRsets.
    pub(super) for_zone_data: ActiveKeys,
    /// Whether no key is active by its own times, so that all keys are used.
    pub(super) out_of_time: bool,
}

/// Keys that sign together: an RRset gets a signature of each.
#[derive(Debug)]
pub(super) struct ActiveKeys {
    pub(super) keys: Vec<ActiveKey>,
    /// SHA-256 over the keys. It is part of the cache key of a signature, so that signatures of other keys never match.
    pub(super) fingerprint: [u8; 32],
}

/// A key that signs during the period of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActiveKey {
    /// Index in the zone's [`KeySet`](super::key_set::KeySet).
    pub(super) index: usize,
    /// Key tag (RFC 4034 appendix B); a revoked key has another tag than before (RFC 5011 §2.1).
    pub(super) tag: u16,
}

impl KeyState {
    /// Whether a time lies in the period of this state. A clock that was set back leaves the period, too.
    pub fn covers(&self, now: u64) -> bool {
        self.period.contains(&now)
    }

    /// End of the period, in seconds of Unix time.
    pub fn until(&self) -> u64 {
        self.period.end
    }

    /// RDATA of the records that DNSSEC puts at the apex: DNSKEY, CDS, CDNSKEY, NSEC3PARAM.
    pub fn apex(&self) -> &[RData] {
        &self.apex
    }

    /// RDATA of the DS records that the zone above has to have: what the CDS records ask for (RFC 7344 §4).
    pub fn ds(&self) -> Vec<RData> {
        let of_cds = |data: &RData| match data {
            RData::Unknown { code: RecordType::CDS, rdata } => {
                Some(raw_rdata(RecordType::DS, rdata.anything.clone()))
            }
            _ => None,
        };
        self.apex.iter().filter_map(of_cds).collect()
    }

    /// Whether no key is active by its own times, so that all keys are used.
    pub fn is_out_of_time(&self) -> bool {
        self.out_of_time
    }

    /// The keys that sign an RRset of a type.
    pub(super) fn keys_for(&self, rtype: RecordType) -> &ActiveKeys {
        match rtype {
            RecordType::DNSKEY | RecordType::CDS | RecordType::CDNSKEY => &self.for_key_rrsets,
            _ => &self.for_zone_data,
        }
    }
}
