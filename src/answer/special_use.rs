//! Special-use names that must not reach an upstream (RFC 6761, RFC 6303).

use super::local_denial::deny;
use super::outcome::Answer;
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::{Ipv4Addr, Ipv6Addr};

/// TTL of these answers and of their absence, in seconds (RFC 6303 §3).
const SPECIAL_USE_TTL: u32 = 10_800;

/// Answers for `localhost`, `invalid` and the reverse names of loopback addresses.
pub(super) fn answer_special_use(query: &Query) -> Option<Answer> {
    let name = query.name().to_lowercase();
    let labels: Vec<&[u8]> = name.iter().rev().collect();
    match labels.as_slice() {
        [b"localhost", ..] => Some(localhost(query)),
        [b"invalid", ..] => Some(negative(ResponseCode::NXDomain, &name, 1)),
        [b"arpa", b"in-addr", b"127", below @ ..] => {
            let is_loopback = matches!(below, [b"0", b"0", b"1"]);
            // The names between 127.in-addr.arpa and the address exist, but have no data.
            let is_above = matches!(below, [] | [b"0"] | [b"0", b"0"]);
            Some(loopback(query, &name, 3, is_loopback, is_above))
        }
        [b"arpa", b"ip6", digits @ ..] if digits.len() == 32 => {
            let is_loopback = digits[..31].iter().all(|digit| *digit == b"0") && digits[31] == b"1";
            is_loopback.then(|| loopback(query, &name, 34, true, false))
        }
        _ => None,
    }
}

fn localhost(query: &Query) -> Answer {
    let rdata = match query.query_type() {
        RecordType::A => RData::A(A(Ipv4Addr::LOCALHOST)),
        RecordType::AAAA => RData::AAAA(AAAA(Ipv6Addr::LOCALHOST)),
        _ => return negative(ResponseCode::NoError, query.name(), 1),
    };
    positive(query, rdata)
}

fn loopback(query: &Query, name: &Name, zone_labels: usize, is_loopback: bool, is_above: bool) -> Answer {
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
