//! Special-use names that must not reach an upstream (RFC 6761).
//!
//! These are `localhost`, `invalid`, the reverse names of loopback addresses (RFC 6303), `onion` (RFC 7686), `alt`
//! (RFC 9476), `resolver.arpa` (RFC 9462), and `home.arpa` (RFC 8375) if the upstreams are not those of the local
//! network. All others are forwarded: what `local`, `test`, `ipv4only.arpa` and private addresses mean, the network of
//! the site decides.

use super::local_denial::{deny, local_soa};
use super::outcome::{Answer, Outcome};
use super::site::Site;
use super::view::View;
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::{Ipv4Addr, Ipv6Addr};

/// TTL of these answers and of their absence, in seconds (RFC 6303 §3).
const SPECIAL_USE_TTL: u32 = 10_800;

/// What is answered to all names of one special-use zone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SpecialUse {
    /// Addresses of the loopback interface.
    Localhost,
    /// A pointer to `localhost` for the loopback address.
    Loopback,
    /// NXDOMAIN for every name.
    NoName,
    /// NODATA for every name: nobody is designated (RFC 9462 §4).
    NoData,
    /// An empty zone (RFC 6303 §3): the apex is all that exists.
    Empty,
}

/// A special-use zone.
struct SpecialZone {
    usage: SpecialUse,
    /// Number of labels of the zone's name.
    labels: usize,
}

/// Answers for names that must not reach an upstream; `None` for all other names.
pub(super) fn answer_special_use(query: &Query, view: &View<'_>) -> Option<Outcome> {
    let name = query.name().to_lowercase();
    let zone = SpecialZone::of(&name, view.site)?;
    // The zones in `arpa` are delegated without DS records, which only the parent can show (RFC 6303 §4, RFC 8375 §5).
    let is_apex = name.iter().count() == zone.labels;
    if is_apex && zone.labels > 1 && query.query_type() == RecordType::DS && view.may_forward() {
        return Some(Outcome::ForwardExisting);
    }
    Some(Outcome::Answered(zone.answer(query, &name)))
}

/// What a host in our answers leads to, if upstreams are never asked for its name; `is_home` tells the names of `home.arpa`,
/// which a stub zone may have, from all others.
pub(super) fn special_use_answer(query: &Query, site: &Site, is_home: bool) -> Option<Answer> {
    let name = query.name().to_lowercase();
    let special = SpecialZone::of(&name, site)?;
    ((special.usage == SpecialUse::Empty) == is_home).then(|| special.answer(query, &name))
}

impl SpecialZone {
    /// What is answered to a question for a name of this zone, which is `name` in lower case.
    fn answer(&self, query: &Query, name: &Name) -> Answer {
        let is_apex = name.iter().count() == self.labels;
        let has_soa = !matches!(self.usage, SpecialUse::NoName | SpecialUse::NoData);
        if is_apex && has_soa && query.query_type() == RecordType::SOA {
            // RFC 6303 §3.
            let mut answer = Answer::empty(ResponseCode::NoError);
            answer.answers.push(local_soa(query.name().clone(), SPECIAL_USE_TTL));
            return answer;
        }
        match self.usage {
            SpecialUse::Localhost => localhost(query),
            SpecialUse::Loopback => loopback(query, name, self.labels),
            SpecialUse::Empty if is_apex => negative(ResponseCode::NoError, name, self.labels),
            SpecialUse::NoData => negative(ResponseCode::NoError, name, self.labels),
            SpecialUse::NoName | SpecialUse::Empty => negative(ResponseCode::NXDomain, name, self.labels),
        }
    }

    /// The special-use zone that a name, which is in lower case, is in.
    fn of(name: &Name, site: &Site) -> Option<Self> {
        let labels: Vec<&[u8]> = name.iter().rev().collect();
        let (usage, labels) = match labels.as_slice() {
            [b"localhost", ..] => (SpecialUse::Localhost, 1),
            [b"invalid" | b"onion" | b"alt", ..] => (SpecialUse::NoName, 1),
            [b"arpa", b"resolver", ..] => (SpecialUse::NoData, 2),
            [b"arpa", b"home", ..] if site.denies_home_arpa => (SpecialUse::Empty, 2),
            [b"arpa", b"in-addr", b"127", ..] => (SpecialUse::Loopback, 3),
            [b"arpa", b"ip6", digits @ ..] if is_v6_loopback(digits) => (SpecialUse::Loopback, 34),
            _ => return None,
        };
        Some(Self { usage, labels })
    }
}

/// Whether these are the digits of ::1, the first one first.
fn is_v6_loopback(digits: &[&[u8]]) -> bool {
    digits.len() == 32 && digits[..31].iter().all(|digit| *digit == b"0") && digits[31] == b"1"
}

fn localhost(query: &Query) -> Answer {
    let rdata = match query.query_type() {
        RecordType::A => RData::A(A(Ipv4Addr::LOCALHOST)),
        RecordType::AAAA => RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)),
        _ => return negative(ResponseCode::NoError, query.name(), 1),
    };
    positive(query, rdata)
}

fn loopback(query: &Query, name: &Name, zone_labels: usize) -> Answer {
    let below: Vec<&[u8]> = name.iter().rev().skip(zone_labels).collect();
    // The zone of ::1 has this one name. Of 127.0.0.1 the names above the address exist, but have no data.
    let is_loopback = zone_labels > 3 || below == [b"0", b"0", b"1"];
    let is_above = below.len() < 3 && below.iter().all(|label| *label == b"0");
    if is_loopback && query.query_type() == RecordType::PTR {
        let mut localhost = Name::from_labels([b"localhost".as_slice()]).unwrap_or_default();
        localhost.set_fqdn(true);
        return positive(query, RData::PTR(PTR(localhost)));
    }
    let rcode = if is_loopback || is_above { ResponseCode::NoError } else { ResponseCode::NXDomain };
    negative(rcode, name, zone_labels)
}

fn positive(query: &Query, rdata: RData) -> Answer {
    let mut answer = Answer::empty(ResponseCode::NoError);
    answer.answers.push(Record::from_rdata(query.name().clone(), SPECIAL_USE_TTL, rdata));
    answer
}

/// NODATA or NXDOMAIN, with the SOA of the zone that the last labels of the name are.
fn negative(rcode: ResponseCode, name: &Name, zone_labels: usize) -> Answer {
    deny(rcode, name.trim_to(zone_labels), SPECIAL_USE_TTL)
}
