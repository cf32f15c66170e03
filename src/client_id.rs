//! Whose share of the agent's means a client uses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whose share of the agent's means a client uses: that of its address, or of its /64 of IPv6, of which one host may have
/// all addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientId(IpAddr);

impl ClientId {
    /// The agent itself, for what no client waits for.
    pub(crate) const AGENT: Self = Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    /// The client at an address.
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V6(v6) => Self(Ipv6Addr::from(u128::from(v6) >> 64 << 64).into()),
            v4 => Self(v4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_of_ipv6() {
        let of = |text: &str| ClientId::of(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), ClientId::AGENT);
    }
}
