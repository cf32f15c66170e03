//! Denials for names outside of the domain: NXDOMAIN and NODATA with the SOA of a zone that is served here alone, and the
//! failure while it is not known whether a name exists.

use super::outcome::{Answer, Ede};
use super::site::Site;
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

/// The failure for a name that may be in a store which was not read yet.
pub(super) fn not_ready() -> Answer {
    let why = "the store was not read yet, the name may exist";
    Answer::failure(ResponseCode::ServFail, Ede::NOT_READY, why)
}

/// Whether a type is one that zone cuts have: validators and updates look for the zones above a host with these, and no
/// service gives a name such data.
pub(super) fn is_of_zone_cuts(rtype: RecordType) -> bool {
    matches!(rtype, RecordType::DS | RecordType::DNSKEY | RecordType::NS | RecordType::SOA)
}

/// The answer for a name of too few labels to be forwarded: search lists make such names of host names, and no host has
/// an address there. `None` for all other questions.
///
/// It is final (NODATA), because stub resolvers ask again after failures. The root, and the types that validators ask
/// for at the names between the root and a host, are always forwarded.
pub(super) fn deny_few_labels(query: &Query, view: &View<'_>) -> Option<Answer> {
    let ndots = view.site.ndots;
    let is_denied = has_few_labels(query.name(), query.query_type(), view.site) && view.may_forward();
    is_denied.then(|| {
        let mut answer = Answer::empty(ResponseCode::NoError);
        answer.authorities.push(few_labels_soa(query.name(), view.site));
        let why = format!("names of fewer than {ndots} labels are not forwarded (ndots)");
        answer.ede = Some(Ede::new(Ede::OTHER, why));
        answer
    })
}

/// The answer for the IPv6 addresses of a name of others, on a host whose clients have no use for them (`-filter-aaaa`). `None` for
/// all other questions.
///
/// It is NODATA, and never NXDOMAIN: the name may have other data, and clients that ask for both families would give it up.
pub(super) fn filter_aaaa(query: &Query, view: &View<'_>) -> Option<Answer> {
    let is_filtered = view.site.filters_aaaa && query.query_type() == RecordType::AAAA && view.may_forward();
    is_filtered.then(|| {
        let mut answer = Answer::empty(ResponseCode::NoError);
        answer.authorities.push(few_labels_soa(query.name(), view.site));
        answer.ede = Some(Ede::new(Ede::FILTERED, "IPv6 addresses are left out (filter-aaaa)"));
        answer
    })
}

/// Whether a name has too few labels for upstreams to be asked for addresses.
pub(super) fn has_few_labels(name: &Name, rtype: RecordType, site: &Site) -> bool {
    use RecordType::{A, AAAA, HTTPS, SVCB};
    // hickory's own count leaves a leading "*" out.
    let labels = name.iter().count();
    matches!(rtype, A | AAAA | HTTPS | SVCB) && (1..usize::from(site.ndots)).contains(&labels)
}

/// The SOA of the denial of such a name. The setting may change, so it is kept no longer than a denial of ours.
pub(super) fn few_labels_soa(name: &Name, site: &Site) -> Record {
    local_soa(top_label(name), site.zones.first().min_ttl)
}

/// The last label of a name, as a name.
fn top_label(name: &Name) -> Name {
    let mut top = name.trim_to(1);
    top.set_fqdn(true);
    top
}
