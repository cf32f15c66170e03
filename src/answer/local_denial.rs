//! Denials for names outside of the domain: NXDOMAIN and NODATA with the SOA of a zone that is served here alone.

use super::outcome::{Answer, Ede};
use super::view::View;
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// SOA timers of such zones, in seconds (RFC 6303 §3).
const LOCAL_REFRESH: i32 = 3_600;
const LOCAL_RETRY: i32 = 1_200;
const LOCAL_EXPIRE: i32 = 604_800;

/// The SOA record of a zone that is served here alone (RFC 6303 §3); `ttl` is that of negative answers too.
pub(super) fn local_soa(zone: Name, ttl: u32) -> Record {
    let mut nobody = Name::from_labels([b"nobody".as_slice(), b"invalid"]).unwrap_or_default();
    nobody.set_fqdn(true);
    let soa = SOA::new(zone.clone(), nobody, 1, LOCAL_REFRESH, LOCAL_RETRY, LOCAL_EXPIRE, ttl);
    Record::from_rdata(zone, ttl, RData::SOA(soa))
}

/// NXDOMAIN, or NODATA, for a name in a zone that is served here alone.
pub(super) fn deny(rcode: ResponseCode, zone: Name, ttl: u32) -> Answer {
    let mut answer = Answer::empty(rcode);
    answer.authorities.push(local_soa(zone, ttl));
    answer
}

/// The answer for a name of too few labels to be forwarded: search lists make such names of host names, and no host has
/// an address there. `None` for all other questions.
///
/// It is final (NODATA), because stub resolvers ask again after failures. The root, and the types that validators ask
/// for at the names between the root and a host, are always forwarded.
pub(super) fn deny_few_labels(query: &Query, view: &View<'_>) -> Option<Answer> {
    use RecordType::{A, AAAA, HTTPS, SVCB};
    let ndots = view.zone.ndots;
    // hickory's own count leaves a leading "*" out.
    let labels = query.name().iter().count();
    let is_denied = matches!(query.query_type(), A | AAAA | HTTPS | SVCB)
        && (1..usize::from(ndots)).contains(&labels)
        && view.may_forward();
    is_denied.then(|| {
        // The setting may change, so this is kept no longer than a denial of ours.
        let mut answer = deny(ResponseCode::NoError, top_label(query.name()), view.zone.min_ttl);
        let why = format!("names of fewer than {ndots} labels are not forwarded (ndots)");
        answer.ede = Some(Ede::new(Ede::OTHER, why));
        answer
    })
}

/// The last label of a name, as a name.
fn top_label(name: &Name) -> Name {
    let mut top = name.trim_to(1);
    top.set_fqdn(true);
    top
}
