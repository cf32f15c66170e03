//! Names of addresses, and the addresses whose names are below one (RFC 1035 §3.5, RFC 3596 §2.5).

use hickory_proto::rr::Name;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Addresses from a first to a last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressRange {
    /// IPv4.
    V4(Ipv4Addr, Ipv4Addr),
    /// IPv6.
    V6(Ipv6Addr, Ipv6Addr),
}

impl AddressRange {
    /// The addresses whose names are a name or below it; `None` if there are none.
    pub fn below(name: &Name) -> Option<Self> {
        let mut labels = name.iter().rev();
        let is_arpa = labels.next()?.eq_ignore_ascii_case(b"arpa");
        let family = labels.next().filter(|_| is_arpa)?;
        if family.eq_ignore_ascii_case(b"in-addr") {
            let (bits, len) = prefix(labels, 4, decimal)?;
            let (bits, rest) = (u32::try_from(bits).ok()?, u32::MAX.checked_shr(8 * len).unwrap_or(0));
            Some(Self::V4(Ipv4Addr::from_bits(bits), Ipv4Addr::from_bits(bits | rest)))
        } else if family.eq_ignore_ascii_case(b"ip6") {
            let (bits, len) = prefix(labels, 32, digit)?;
            let rest = u128::MAX.checked_shr(4 * len).unwrap_or(0);
            Some(Self::V6(Ipv6Addr::from_bits(bits), Ipv6Addr::from_bits(bits | rest)))
        } else {
            None
        }
    }

    /// Whether it is one address.
    pub fn is_one(self) -> bool {
        match self {
            Self::V4(first, last) => first == last,
            Self::V6(first, last) => first == last,
        }
    }
}

/// The bits of an address of `count` parts that labels give, the first ones first, with zeros behind them; and the number of
/// labels.
fn prefix<'l>(
    labels: impl Iterator<Item = &'l [u8]>,
    count: u32,
    part: impl Fn(&[u8]) -> Option<u8>,
) -> Option<(u128, u32)> {
    let step = if count == 4 { 8 } else { 4 };
    let (mut bits, mut len) = (0_u128, 0);
    for label in labels {
        bits = (bits << step) | u128::from(part(label)?);
        len += 1;
        if len > count {
            return None;
        }
    }
    Some((bits.checked_shl(step * (count - len)).unwrap_or(0), len))
}

/// An octet, written as names of addresses have it: without zeros before it.
fn decimal(label: &[u8]) -> Option<u8> {
    let is_plain = label.iter().all(u8::is_ascii_digit) && (label.len() == 1 || label.first() != Some(&b'0'));
    std::str::from_utf8(label).ok().filter(|_| is_plain)?.parse().ok()
}

/// One hexadecimal digit.
fn digit(label: &[u8]) -> Option<u8> {
    match label {
        [digit] => char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Key;
    use std::net::IpAddr;

    fn below(name: &str) -> Option<(String, String)> {
        let name = Name::from_ascii(name).expect("a name");
        Some(match AddressRange::below(&name)? {
            AddressRange::V4(first, last) => (first.to_string(), last.to_string()),
            AddressRange::V6(first, last) => (first.to_string(), last.to_string()),
        })
    }

    #[test]
    fn a_reverse_name_is_above_the_names_of_a_range() {
        let v4 = |first: &str, last: &str| Some((first.to_owned(), last.to_owned()));
        assert_eq!(below("5.2.0.10.in-addr.arpa."), v4("10.0.2.5", "10.0.2.5"));
        assert_eq!(below("2.0.10.IN-ADDR.arpa."), v4("10.0.2.0", "10.0.2.255"));
        assert_eq!(below("in-addr.arpa."), v4("0.0.0.0", "255.255.255.255"));
        assert_eq!(
            below("8.b.d.0.1.0.0.2.ip6.arpa."),
            v4("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")
        );
        assert_eq!(below("ip6.arpa.").map(|(first, _)| first), Some("::".to_owned()));
        for none in [
            "arpa.",
            "x.10.in-addr.arpa.",
            "05.2.0.10.in-addr.arpa.",
            "256.in-addr.arpa.",
            "1.5.2.0.10.in-addr.arpa.",
            "10.ip6.arpa.",
            "home.arpa.",
        ] {
            assert_eq!(below(none), None, "{none}");
        }
    }

    #[test]
    fn the_key_of_an_address_is_that_of_its_name() {
        for (address, name) in [
            ("10.0.2.5", "5.2.0.10.in-addr.arpa."),
            ("2001:db8::1", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            let key = Key::of_address(address);
            assert_eq!(key.name(), Name::from_ascii(name).expect("a name"));
            assert!(AddressRange::below(&key.name()).is_some_and(AddressRange::is_one));
        }
    }
}
