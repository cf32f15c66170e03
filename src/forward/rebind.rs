//! DNS rebinding protection: private addresses are taken out of replies of upstreams.
//!
//! The attack: a web page from outside makes its own domain name resolve to an address inside of the site, and so gets
//! the browser that runs it to talk to hosts that the outside cannot reach.

use crate::answer::Ede;
use crate::wire::{ForwardedRecord, Reply};
use crate::wire_name::split_label;
use hickory_proto::rr::RecordType;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Keys of the parameters of SVCB and HTTPS records that hold addresses (RFC 9460 §14.3.2).
const IPV4_HINT: u16 = 4;
const IPV6_HINT: u16 = 6;

/// Takes private addresses out of a reply.
pub(super) fn protect(reply: &mut Reply) {
    let Some(records) = reply.forwarded.as_mut().filter(|r| r.iter().any(|r| has_private_address(&r))) else {
        return;
    };
    records.retain(|record| !has_private_address(record));
    // The reply is no longer the one that the upstream validated (RFC 6840 §5.8).
    reply.authentic_data = false;
    reply.errors.push(Ede::new(Ede::BLOCKED, "private addresses were taken out (rebind_protection)"));
}

fn has_private_address(record: &ForwardedRecord<'_>) -> bool {
    match record.rtype {
        RecordType::A | RecordType::AAAA => record.address().is_some_and(is_private),
        // Clients connect to the addresses of hints as well (RFC 9460 §7.3).
        RecordType::SVCB | RecordType::HTTPS => hints(record.data).any(is_private),
        _ => false,
    }
}

/// The addresses in the data of an SVCB or HTTPS record, which are a priority, a name and parameters (RFC 9460 §2.2). Ends
/// where they cannot be read.
fn hints(data: &[u8]) -> impl Iterator<Item = IpAddr> {
    let mut rest = data.get(2..).unwrap_or_default();
    while let Some((_, behind)) = split_label(rest) {
        rest = behind;
    }
    let mut rest = rest.get(1..).unwrap_or_default();
    let parameters = std::iter::from_fn(move || {
        let ([key_high, key_low, len_high, len_low], behind) = rest.split_first_chunk::<4>()?;
        let (value, behind) =
            behind.split_at_checked(usize::from(u16::from_be_bytes([*len_high, *len_low])))?;
        rest = behind;
        Some((u16::from_be_bytes([*key_high, *key_low]), value))
    });
    parameters.flat_map(|(key, value)| {
        let v4 = value.as_chunks::<4>().0.iter().map(|octets| IpAddr::from(Ipv4Addr::from(*octets)));
        let v6 = value.as_chunks::<16>().0.iter().map(|octets| IpAddr::from(Ipv6Addr::from(*octets)));
        v4.filter(move |_| key == IPV4_HINT).chain(v6.filter(move |_| key == IPV6_HINT))
    })
}

/// Whether no host outside of the site can have an address: unspecified, loopback, private, shared (RFC 6598), link-local,
/// broadcast, unique local, site-local (RFC 3879). IPv6 addresses that stand for an IPv4 address are judged by that one.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) if is_local_nat64(ip) => leads_to_private_v4(ip),
        IpAddr::V6(ip) => match ipv4_inside(ip) {
            Some(ip) => is_private_v4(ip),
            None => ip.is_unique_local() || ip.is_unicast_link_local() || ip.segments()[0] & 0xffc0 == 0xfec0,
        },
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let is_shared = a == 100 && b & 0xc0 == 64;
    a == 0 || is_shared || ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_broadcast()
}

/// The IPv4 address that packets to an IPv6 address may go to: mapped and translated (RFC 4291 §2.5.5, RFC 2765), of NAT64
/// (RFC 6052) and of 6to4 (RFC 3056). Those of ::/96, with `::` and `::1`, are of 0.0.0.0/8 or of other IPv4 networks.
fn ipv4_inside(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = ip.octets();
    let at = |at: usize| octets[at..].first_chunk::<4>().map(|inside| Ipv4Addr::from(*inside));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => at(12),
        [0x2002, ..] => at(2),
        _ => None,
    }
}

/// Whether an address is of a site's own NAT64 (RFC 8215).
fn is_local_nat64(ip: Ipv6Addr) -> bool {
    matches!(ip.segments(), [0x64, 0xff9b, 1, ..])
}

/// Whether an address of a site's own NAT64 stands for a private IPv4 address, however long the site's prefix is.
///
/// A prefix of 48, 56, 64 or 96 bits puts the octets at different places (RFC 6052 §2.2). A longer prefix counts only where
/// addresses of shorter ones have zeros, as of no host of theirs. Networks of zeros are part of a prefix: nothing is
/// translated to 0.0.0.0/8.
fn leads_to_private_v4(ip: Ipv6Addr) -> bool {
    let o = ip.octets();
    let inside = [
        (true, [o[6], o[7], o[9], o[10]]),
        (o[11] != 0, [o[7], o[9], o[10], o[11]]),
        (o[12] != 0, [o[9], o[10], o[11], o[12]]),
        (o[13..] != [0; 3], [o[12], o[13], o[14], o[15]]),
    ];
    inside.into_iter().any(|(counts, v4)| counts && v4[0] != 0 && is_private_v4(v4.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ForwardedRecords;
    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::rdata::{self, NULL};
    use hickory_proto::rr::{Name, RData, Record};

    /// What is left of a reply with these data.
    fn left(data: Vec<RData>) -> Reply {
        let mut reply = Reply::empty(ResponseCode::NoError);
        reply.authentic_data = true;
        reply.answers = data.into_iter().map(|data| Record::from_rdata(Name::root(), 60, data)).collect();
        let mut reply = reply.forwarded();
        protect(&mut reply);
        reply
    }

    fn data_of(reply: &Reply) -> Vec<&[u8]> {
        reply.forwarded.iter().flat_map(ForwardedRecords::iter).map(|record| record.data).collect()
    }

    #[test]
    fn private_addresses_are_taken_out() {
        let private = "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 169.254.169.254 172.31.0.1 192.168.1.1 \
            255.255.255.255 :: ::1 ::10.0.0.1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:0:10.0.0.1 64:ff9b::10.0.0.1 \
            64:ff9b::127.0.0.1 64:ff9b::255.255.255.255 2002:a00:1::1 2002:7f00:1:2::3 2002:c0a8:101:: fc00::1 \
            fd00::1 fe80::1 febf::1 fec0::1 feff::1 64:ff9b:1:a00:0:100:: 64:ff9b:1:a00:0:100:c000:201 \
            64:ff9b:1:c0a8:1:100:: 64:ff9b:1:cd0a:0:1:: 64:ff9b:1:abcd:a:0:100:0 64:ff9b:1::10.0.0.1 \
            64:ff9b:1:abcd::192.168.0.1";
        let public = "192.0.2.1 100.128.0.1 172.32.0.1 255.255.255.254 ::192.0.2.1 ::ffff:192.0.2.1 64:ff9b::192.0.2.1 \
            64:ff9b:0:1::10.0.0.1 64:ff9b:2::10.0.0.1 64:ff9b:1:c000:2:100:: 64:ff9b:1:80a:0:100:: \
            64:ff9b:1:1:c0:2:100:0 64:ff9b:1:2:c0:2:a00:0 64:ff9b:1::192.0.2.1 64:ff9b:1:abcd::192.0.2.10 \
            2002:c000:201::1 2001:db8::10.0.0.1 fbff::1 fe7f::1 ff02::1";
        let public: Vec<IpAddr> =
            public.split_whitespace().map(|ip| ip.parse().expect("an address")).collect();
        let private = private.split_whitespace().map(|ip| ip.parse().expect("an address"));
        let data = private.chain(public.iter().copied()).map(|ip| match ip {
            IpAddr::V4(ip) => RData::A(rdata::A(ip)),
            IpAddr::V6(ip) => RData::AAAA(rdata::AAAA(ip)),
        });
        let reply = left(data.collect());
        let addresses = reply.forwarded.iter().flat_map(ForwardedRecords::iter).filter_map(|r| r.address());
        assert_eq!(addresses.collect::<Vec<_>>(), public);
        assert_eq!((reply.errors[0].code, reply.authentic_data), (15, false));
        let clean = left(vec![RData::A(rdata::A([192, 0, 2, 1].into()))]);
        assert!(clean.errors.is_empty() && clean.authentic_data && data_of(&clean).len() == 1);
    }

    #[test]
    fn hints_are_addresses_too() {
        let https = |parameters: &[u8]| {
            let octets = [&b"\0\x01\x01a\0"[..], parameters].concat();
            RData::Unknown { code: RecordType::HTTPS, rdata: NULL::with(octets) }
        };
        let private = [
            &[0, 4, 0, 8, 192, 0, 2, 1, 10, 0, 0, 1][..],
            // Keys in the wrong order.
            &[0, 6, 0, 16, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0],
            &[0, 1, 0, 3, 2, b'h', b'2', 0, 4, 0, 4, 127, 0, 0, 1],
        ];
        let public =
            [&[][..], &[0, 4, 0, 4, 192, 0, 2, 1], &[0, 5, 0, 4, 10, 0, 0, 1], &[0, 4, 0, 9, 10, 0, 0, 1]];
        let reply = left(private.into_iter().chain(public).map(https).collect());
        assert_eq!(data_of(&reply).len(), public.len());
    }
}
