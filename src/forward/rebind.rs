//! DNS rebinding protection: private addresses are taken out of replies of upstreams.
//!
//! The attack: a web page from outside makes its own domain name resolve to an address inside of the site, and so gets
//! the browser that runs it to talk to hosts that the outside cannot reach.

use crate::answer::Ede;
use crate::wire::Reply;
use hickory_proto::rr::{RData, Record};
use std::net::IpAddr;

/// Takes private addresses out of a reply.
pub(super) fn protect(reply: &mut Reply) {
    let sections = [&mut reply.answers, &mut reply.authorities, &mut reply.additionals];
    let before: usize = sections.iter().map(|section| section.len()).sum();
    let mut after = 0;
    for section in sections {
        section.retain(|record| !has_private_address(record));
        after += section.len();
    }
    if after < before {
        // The reply is no longer the one that the upstream validated (RFC 6840 §5.8).
        reply.authentic_data = false;
        reply.errors.push(Ede::new(Ede::BLOCKED, "private addresses were taken out (rebind_protection)"));
    }
}

fn has_private_address(record: &Record) -> bool {
    match &record.data {
        RData::A(a) => is_private(a.0.into()),
        RData::AAAA(aaaa) => is_private(aaaa.0.into()),
        // Clients connect to the addresses of hints as well (RFC 9460 §7.3).
        RData::SVCB(svcb) => has_private_hint(svcb),
        RData::HTTPS(https) => has_private_hint(&https.0),
        _ => false,
    }
}

fn has_private_hint(svcb: &hickory_proto::rr::rdata::SVCB) -> bool {
    use hickory_proto::rr::rdata::svcb::SvcParamValue;
    svcb.svc_params.iter().any(|(_, value)| match value {
        SvcParamValue::Ipv4Hint(hint) => hint.0.iter().any(|a| is_private(a.0.into())),
        SvcParamValue::Ipv6Hint(hint) => hint.0.iter().any(|aaaa| is_private(aaaa.0.into())),
        _ => false,
    })
}

/// Whether an address is unspecified, loopback, private, shared (RFC 6598), unique local or link-local: no host outside
/// of the site can have it.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && b & 0xc0 == 64;
            a == 0 || shared || ip.is_loopback() || ip.is_private() || ip.is_link_local()
        }
        IpAddr::V6(ip) => {
            ip.is_unspecified() || ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::{Name, rdata};

    #[test]
    fn private_addresses_are_taken_out() {
        let mut reply = Reply::empty(ResponseCode::NoError);
        let addresses =
            ["192.0.2.1", "10.0.0.1", "127.0.0.1", "0.0.0.0", "172.31.0.1", "192.168.1.1", "100.64.0.1"];
        for ip in
            addresses.into_iter().chain(["169.254.169.254", "fd00::1", "fe80::1", "::1", "::ffff:10.0.0.1"])
        {
            let data = match ip.parse().expect("an address") {
                IpAddr::V4(ip) => RData::A(rdata::A(ip)),
                IpAddr::V6(ip) => RData::AAAA(rdata::AAAA(ip)),
            };
            reply.answers.push(Record::from_rdata(Name::root(), 60, data));
        }
        protect(&mut reply);
        assert_eq!(reply.answers.iter().map(|r| r.data.to_string()).collect::<Vec<_>>(), ["192.0.2.1"]);
        assert_eq!(reply.errors[0].code, 15);
        let mut clean = Reply { errors: Vec::new(), ..reply };
        protect(&mut clean);
        assert!(clean.errors.is_empty() && clean.answers.len() == 1);
    }
}
