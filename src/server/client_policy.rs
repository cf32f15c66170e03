//! The client policy: for whom questions are forwarded, so that the agent is never an open resolver.
//!
//! Every client is answered from the tree. Questions are forwarded for this host, for clients in private networks that the
//! host is directly connected to, and for clients that the setting `allow` names. The source address of a datagram may be
//! forged. So a client of a connected network is one only by an interface that has an address in that network, and an IPv6
//! address of this host counts only where the packet cannot have come from elsewhere. IPv4 packets from elsewhere with
//! an address of this host are dropped by the kernel. The replies to all other clients are [limited](super::limit).

use super::interfaces::{self, InterfaceAddress, LOOPBACK};
use super::origin::{Origin, Way, is_link_local};
use crate::config::Allow;
use crate::logging::RateLimitedLog;
use crate::wire::{MAX_UDP_REPLY, MAX_UDP_REPLY_BEYOND_HOST};
use arc_swap::ArcSwap;
use ipnet::IpNet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Minimum pause after a listing of the interfaces that a client caused which is not trusted.
///
/// A container asks no sooner after its bridge is there, even when strangers cause listings all the time.
const MIN_REFRESH_PAUSE: Duration = Duration::from_millis(5);

/// The pause is at least so many times the time that the listing took: with thousands of interfaces it takes milliseconds, and
/// strangers must not make it cost more than a twentieth of a core.
const REFRESH_PAUSE_RATIO: u32 = 19;

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientClass {
    /// Anything: it is this host.
    Host,
    /// Anything: it is in a connected private network, or named.
    Trusted,
    /// Anything, because the setting `allow` says `any`; its address may be forged.
    Open,
    /// Names of our own over UDP, and anything over TCP: its address is this host's, but its packet may have come from
    /// elsewhere.
    Unproven,
    /// Names of our own; its address may be forged.
    AuthoritativeOnly,
}

impl ClientClass {
    /// Whether the client may ask for anything, and its address is not forged.
    pub(super) fn is_trusted(self) -> bool {
        matches!(self, Self::Host | Self::Trusted)
    }

    /// The most octets that the client is sent over UDP, whatever it accepts.
    pub(super) fn max_udp_reply(self) -> u16 {
        if self == Self::Host { MAX_UDP_REPLY } else { MAX_UDP_REPLY_BEYOND_HOST }
    }

    /// Whether the client's address may be that of a victim. Replies to an address of this host go nowhere else.
    pub(super) fn may_be_forged(self) -> bool {
        matches!(self, Self::Open | Self::AuthoritativeOnly)
    }
}

/// The clients that questions are forwarded for, at one time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AllowedClients {
    /// The addresses of this host, with the numbers of their interfaces.
    own: Vec<(IpAddr, u32)>,
    /// Private networks that this host is directly connected to, with the numbers of the interfaces.
    connected: Vec<(IpNet, u32)>,
    /// Networks that the setting `allow` names.
    named: Vec<IpNet>,
    any: bool,
}

impl AllowedClients {
    fn new(allow: &Allow) -> io::Result<Self> {
        Ok(Self::at(&interfaces::addresses()?, allow))
    }

    /// The allowed clients of a host with these addresses.
    fn at(addresses: &[InterfaceAddress], allow: &Allow) -> Self {
        let own = addresses.iter().map(|address| (address.ip(), address.interface)).collect();
        let mut connected: Vec<_> = addresses
            .iter()
            .filter(|address| allow.local && is_private(address, addresses))
            .map(|address| (address.network.trunc(), address.interface))
            .collect();
        let mut named = allow.networks.clone();
        named.sort();
        named.dedup();
        connected.sort();
        connected.dedup();
        Self { own, connected, named, any: allow.any }
    }

    /// The class of a client.
    pub(super) fn class_of(&self, client: &Origin) -> ClientClass {
        let is_own = self.is_own(client);
        if is_own && is_from_here(client) {
            return ClientClass::Host;
        }
        let is_connected =
            |(network, interface): &(IpNet, u32)| network.contains(&client.ip) && client.came_by(*interface);
        if self.named.iter().any(|network| network.contains(&client.ip))
            || self.connected.iter().any(is_connected)
        {
            return ClientClass::Trusted;
        }
        match (self.any, is_own) {
            (true, _) => ClientClass::Open,
            (false, true) => ClientClass::Unproven,
            (false, false) => ClientClass::AuthoritativeOnly,
        }
    }

    /// Whether the client's address is one of this host. Other hosts may have the same link-local address on other links.
    fn is_own(&self, client: &Origin) -> bool {
        let is_it = |(ip, interface): &(IpAddr, u32)| {
            *ip == client.ip && (!is_link_local(*ip) || client.came_by(*interface))
        };
        client.ip.is_loopback() || self.own.iter().any(is_it)
    }
}

/// Whether a packet whose source is an address of this host cannot have come from elsewhere.
fn is_from_here(client: &Origin) -> bool {
    match client.way {
        Way::Loopback | Way::Interface(LOOPBACK) | Way::Connection(_) => true,
        // From elsewhere the kernel takes no such packet (fib_validate_source), but for 127.0.0.0/8 with route_localnet.
        Way::Interface(_) => client.ip.is_ipv4() && !client.ip.is_loopback(),
    }
}

/// Whether an address of this host is in a private network, of all its addresses.
///
/// Each interface has a link-local address, which says nothing about who is on the link. So link-local clients count where the
/// interface is in a private network as well, or has no other address.
fn is_private(address: &InterfaceAddress, all: &[InterfaceAddress]) -> bool {
    let contains = |networks: &[IpNet], other: &InterfaceAddress| {
        networks.iter().any(|network| network.contains(&other.network.trunc()))
    };
    if !is_link_local(address.ip()) {
        return contains(&PRIVATE_NETWORKS, address);
    }
    let mut others = all
        .iter()
        .filter(|other| other.interface == address.interface && !is_link_local(other.ip()))
        .peekable();
    others.peek().is_none() || others.any(|other| contains(&PRIVATE_NETWORKS, other))
}

/// Networks whose addresses no host outside of the site can have: RFC 1918, RFC 6598, RFC 3927, RFC 4193.
const PRIVATE_NETWORKS: [IpNet; 6] = [
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([100, 64, 0, 0], 10),
    v4([169, 254, 0, 0], 16),
    v6(0xfc00, 7),
];

const fn v4(octets: [u8; 4], len: u8) -> IpNet {
    let [a, b, c, d] = octets;
    IpNet::V4(ipnet::Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len))
}

const fn v6(first: u16, len: u8) -> IpNet {
    IpNet::V6(ipnet::Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), len))
}

/// The allowed clients, brought up to date as interfaces come and go.
#[derive(Debug)]
pub struct ClientPolicy {
    allowed_clients: ArcSwap<AllowedClients>,
    started: Instant,
    /// From when on a client may cause a listing of the interfaces, in microseconds since the start.
    next_refresh: AtomicU64,
    failures: RateLimitedLog,
}

impl ClientPolicy {
    /// A policy for the interfaces that the host has now.
    pub(super) fn new(allow: &Allow) -> Self {
        let client_policy = Self {
            allowed_clients: ArcSwap::default(),
            started: Instant::now(),
            next_refresh: AtomicU64::new(0),
            failures: RateLimitedLog::default(),
        };
        client_policy.refresh(allow);
        client_policy
    }

    /// The allowed clients of the moment.
    pub(super) fn allowed_clients(&self) -> &ArcSwap<AllowedClients> {
        &self.allowed_clients
    }

    /// Lists the interfaces again. If that fails, the allowed clients stay as they are.
    pub fn refresh(&self, allow: &Allow) {
        match AllowedClients::new(allow) {
            Ok(allowed_clients) if **self.allowed_clients.load() != allowed_clients => {
                self.allowed_clients.store(Arc::new(allowed_clients));
            }
            Ok(_) => {}
            Err(error) => {
                let level = self.failures.level(log::Level::Warn);
                log::log!(
                    level,
                    "the interfaces of this host cannot be listed, so the networks known before stay allowed: {error}"
                );
            }
        }
    }

    /// The class of a client. If the client is not trusted, the interfaces are listed again, after a pause since the last time:
    /// it may be in a network that this host was connected to just now.
    pub(super) fn class_of(&self, client: &Origin, allow: &Allow) -> ClientClass {
        let client_class = self.allowed_clients.load().class_of(client);
        let begun = self.started.elapsed();
        if client_class.is_trusted() || !self.may_refresh(begun) {
            return client_class;
        }
        self.refresh(allow);
        let ended = self.started.elapsed();
        self.next_refresh.store(micros(ended + pause_after(ended - begun)), Ordering::Relaxed);
        self.allowed_clients.load().class_of(client)
    }

    /// Whether the interfaces may be listed at a time since the start. Of several workers one may.
    fn may_refresh(&self, now: Duration) -> bool {
        let next = self.next_refresh.load(Ordering::Relaxed);
        let later = micros(now + MIN_REFRESH_PAUSE);
        micros(now) >= next
            && self.next_refresh.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// How long no client may cause another listing, after one that took so long.
fn pause_after(listing: Duration) -> Duration {
    listing.saturating_mul(REFRESH_PAUSE_RATIO).max(MIN_REFRESH_PAUSE)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    const NONE: Allow = Allow { local: false, any: false, networks: Vec::new() };

    fn address(text: &str, interface: u32) -> InterfaceAddress {
        InterfaceAddress { interface, network: text.parse().expect("an address with a prefix") }
    }

    /// A host with a public interface, 2, a private one, 3, one with addresses of both kinds, 4, and one that only has a
    /// link-local address, 5.
    fn host(allow: &Allow) -> AllowedClients {
        let addresses = [
            address("127.0.0.1/8", LOOPBACK),
            address("::1/128", LOOPBACK),
            address("198.51.100.7/24", 2),
            address("2001:db8:2::7/64", 2),
            address("fe80::2/64", 2),
            address("10.3.0.7/16", 3),
            address("fd00:3::7/64", 3),
            address("fe80::3/64", 3),
            address("192.168.4.7/24", 4),
            address("2001:db8:4::7/64", 4),
            address("fe80::4/64", 4),
            address("fe80::5/64", 5),
        ];
        AllowedClients::at(&addresses, allow)
    }

    fn local() -> Allow {
        Allow { local: true, ..NONE }
    }

    fn socket(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().expect("an address"), 5353)
    }

    fn datagram(ip: &str, way: Way) -> Origin {
        Origin::of_datagram(socket(ip), way, !ip.contains(':'))
    }

    fn by(ip: &str, interface: u32) -> Origin {
        datagram(ip, Way::Interface(interface))
    }

    fn connection(ip: &str, scope: u32) -> Origin {
        Origin { way: Way::Connection(scope), ..by(ip, 0) }
    }

    #[test]
    fn a_client_of_a_connected_network_is_ours_by_its_interface_alone() {
        let allowed_clients = host(&local());
        for (ip, own) in [("10.3.255.1", 3), ("fd00:3::5", 3), ("192.168.4.5", 4)] {
            for interface in 0..6 {
                let expected =
                    if interface == own { ClientClass::Trusted } else { ClientClass::AuthoritativeOnly };
                assert_eq!(allowed_clients.class_of(&by(ip, interface)), expected, "{ip} by {interface}");
            }
            assert_eq!(
                allowed_clients.class_of(&datagram(ip, Way::Loopback)),
                ClientClass::AuthoritativeOnly,
                "{ip}"
            );
            assert_eq!(allowed_clients.class_of(&connection(ip, 0)), ClientClass::Trusted, "{ip}");
        }
        for ip in ["198.51.100.8", "10.4.0.1", "2001:db8:2::8", "2001:db8:4::8", "fd00:2::1"] {
            for interface in 0..6 {
                let class = allowed_clients.class_of(&by(ip, interface));
                assert_eq!(class, ClientClass::AuthoritativeOnly, "{ip} by {interface}");
            }
        }
    }

    #[test]
    fn link_local_clients_are_ours_on_links_that_are_not_public() {
        let allowed_clients = host(&local());
        let expected = [(2, false), (3, true), (4, true), (5, true), (6, false)];
        for (interface, is_ours) in expected {
            for client in [by("fe80::99", interface), connection("fe80::99", interface)] {
                assert_eq!(allowed_clients.class_of(&client).is_trusted(), is_ours, "{client:?}");
            }
        }
    }

    #[test]
    fn addresses_of_this_host_count_where_nobody_else_can_send_from_them() {
        let allowed_clients = host(&local());
        let class = |client: &Origin| allowed_clients.class_of(client);
        for ip in ["127.0.0.1", "127.9.9.9", "198.51.100.7", "10.3.0.7", "::1", "2001:db8:2::7", "fd00:3::7"]
        {
            assert_eq!(class(&datagram(ip, Way::Loopback)), ClientClass::Host, "{ip}");
            assert_eq!(class(&by(ip, LOOPBACK)), ClientClass::Host, "{ip}");
            assert_eq!(class(&connection(ip, 0)), ClientClass::Host, "{ip}");
        }
        // The kernel drops IPv4 packets of others with these addresses.
        for (ip, interface) in [("198.51.100.7", 2), ("10.3.0.7", 2), ("10.3.0.7", 3)] {
            assert_eq!(class(&by(ip, interface)), ClientClass::Host, "{ip} by {interface}");
        }
        for (ip, interface) in [
            ("2001:db8:2::7", 2),
            ("2001:db8:2::7", 3),
            ("fd00:3::7", 2),
            ("fe80::2", 2),
            ("127.0.0.1", 2),
            ("::1", 2),
        ] {
            assert_eq!(class(&by(ip, interface)), ClientClass::Unproven, "{ip} by {interface}");
        }
        assert_eq!(class(&by("fd00:3::7", 3)), ClientClass::Trusted, "by the network that it is in");
        assert_eq!(class(&by("fe80::3", 2)), ClientClass::AuthoritativeOnly, "another host's address");
        assert_eq!(class(&connection("fe80::3", 2)), ClientClass::AuthoritativeOnly);
        assert_eq!(class(&connection("fe80::2", 2)), ClientClass::Host);
    }

    #[test]
    fn an_ipv4_address_in_an_ipv6_packet_is_none() {
        let allowed_clients = host(&local());
        for (mapped, own) in [("::ffff:10.3.1.2", 3), ("::ffff:127.0.0.1", LOOPBACK), ("::ffff:10.3.0.7", 3)]
        {
            let of_v4 = Origin::of_datagram(socket(mapped), Way::Interface(own), true);
            assert!(allowed_clients.class_of(&of_v4).is_trusted(), "{mapped}");
            let of_v6 = Origin::of_datagram(socket(mapped), Way::Interface(own), false);
            assert_eq!(allowed_clients.class_of(&of_v6), ClientClass::AuthoritativeOnly, "{mapped}");
            let to = |local: &str| Origin::of_connection(socket(mapped), socket(local));
            assert!(allowed_clients.class_of(&to("::ffff:10.3.0.7")).is_trusted(), "{mapped}");
            assert_eq!(
                allowed_clients.class_of(&to("fd00:3::7")),
                ClientClass::AuthoritativeOnly,
                "{mapped}"
            );
        }
    }

    #[test]
    fn networks_that_are_named_count_by_every_interface() {
        let networks =
            ["203.0.113.0/24", "10.3.0.0/16", "2001:db8:9::/48"].map(|text| text.parse().expect("a network"));
        let named = host(&Allow { networks: networks.into(), ..NONE });
        for ip in ["203.0.113.1", "10.3.0.1", "2001:db8:9::1"] {
            for interface in 0..6 {
                assert_eq!(named.class_of(&by(ip, interface)), ClientClass::Trusted, "{ip} by {interface}");
            }
        }
        assert_eq!(
            named.class_of(&by("192.168.4.5", 4)),
            ClientClass::AuthoritativeOnly,
            "`local` is not there"
        );
        let any = host(&Allow { any: true, ..NONE });
        for ip in ["203.0.113.1", "2001:db8:2::7", "::ffff:8.8.8.8"] {
            assert_eq!(any.class_of(&by(ip, 2)), ClientClass::Open, "{ip}");
        }
    }

    #[test]
    fn listings_that_strangers_cause_take_a_twentieth_of_a_core() {
        let client_policy = ClientPolicy::new(&NONE);
        let at = Duration::from_millis;
        assert!(client_policy.may_refresh(at(1)));
        assert!(!client_policy.may_refresh(at(1)), "another worker has begun");
        assert!(!client_policy.may_refresh(at(5)));
        assert!(client_policy.may_refresh(at(6)));
        assert_eq!(pause_after(Duration::from_micros(50)), MIN_REFRESH_PAUSE);
        assert_eq!(pause_after(at(10)), at(190));
    }

    #[test]
    fn this_host_is_always_trusted() {
        let client_policy = ClientPolicy::new(&NONE);
        for own in interfaces::addresses().expect("addresses") {
            let client =
                Origin::of_connection(SocketAddr::new(own.ip(), 5353), SocketAddr::new(own.ip(), 53));
            let client = Origin { way: Way::Connection(own.interface), ..client };
            assert_eq!(client_policy.class_of(&client, &NONE), ClientClass::Host, "{own:?}");
        }
        assert!(client_policy.allowed_clients().load().connected.is_empty());
    }
}
