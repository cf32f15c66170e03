//! The client policy: for whom questions are forwarded, so that the agent is never an open resolver.
//!
//! Every client is answered from the tree. Questions are forwarded for this host, for clients in private networks that the
//! host is directly connected to, and for clients that the setting `allow` names. The address of any other client may be
//! forged, so its UDP replies are [limited](super::limit).

use super::own_socket;
use crate::config::Allow;
use crate::logging::RateLimitedLog;
use arc_swap::ArcSwap;
use ipnet::IpNet;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Minimum pause between two listings of the interfaces that are caused by clients which are not trusted.
const MIN_REFRESH_PAUSE: Duration = Duration::from_millis(200);

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientClass {
    /// Anything: its address is this host's, in a connected private network, or named.
    Trusted,
    /// Anything, because the setting `allow` says `any`; its address may be forged.
    Open,
    /// Names of our own; its address may be forged.
    AuthoritativeOnly,
}

/// The clients that questions are forwarded for, at one time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AllowedClients {
    own: Vec<IpAddr>,
    networks: Vec<IpNet>,
    any: bool,
}

impl AllowedClients {
    fn new(allow: &Allow) -> io::Result<Self> {
        let mut networks = allow.networks.clone();
        if allow.local {
            networks.extend(getifaddrs()?.filter_map(|interface| private(&interface)));
        }
        networks.sort();
        networks.dedup();
        Ok(Self { own: own_socket::own_addresses()?, networks, any: allow.any })
    }

    /// The class of a client.
    pub(super) fn class_of(&self, client: IpAddr) -> ClientClass {
        let client = client.to_canonical();
        let trusted = client.is_loopback()
            || self.own.contains(&client)
            || self.networks.iter().any(|network| network.contains(&client));
        match trusted {
            true => ClientClass::Trusted,
            false if self.any => ClientClass::Open,
            false => ClientClass::AuthoritativeOnly,
        }
    }
}

/// The network that an interface is in, if it is a private one.
fn private(interface: &InterfaceAddress) -> Option<IpNet> {
    let (address, mask) = (interface.address.as_ref()?, interface.netmask.as_ref()?);
    let v4 = || Some((address.as_sockaddr_in()?.ip(), mask.as_sockaddr_in()?.ip()));
    let v6 = || Some((address.as_sockaddr_in6()?.ip(), mask.as_sockaddr_in6()?.ip()));
    let network = match v4() {
        Some((ip, mask)) => IpNet::with_netmask(ip.into(), mask.into()),
        None => v6().map(|(ip, mask)| IpNet::with_netmask(ip.into(), mask.into()))?,
    };
    let network = network.ok()?.trunc();
    PRIVATE_NETWORKS.iter().any(|private| private.contains(&network)).then_some(network)
}

/// Networks whose addresses no host outside of the site can have: RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291 §2.5.6.
const PRIVATE_NETWORKS: [IpNet; 7] = [
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v4([100, 64, 0, 0], 10),
    v4([169, 254, 0, 0], 16),
    v6(0xfc00, 7),
    v6(0xfe80, 10),
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
    /// When a client last caused a listing of the interfaces, in milliseconds since the start.
    refreshed: AtomicU64,
    failures: RateLimitedLog,
}

impl ClientPolicy {
    /// A policy for the interfaces that the host has now.
    pub(super) fn new(allow: &Allow) -> Self {
        let client_policy = Self {
            allowed_clients: ArcSwap::default(),
            started: Instant::now(),
            refreshed: AtomicU64::new(0),
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
                    "the interfaces of this host cannot be listed, the clients of before stay: {error}"
                );
            }
        }
    }

    /// The class of a client. If the client is not trusted, the interfaces are listed again, at most every 200 ms: it may be
    /// in a network that this host was connected to just now.
    pub(super) fn class_of(&self, client: IpAddr, allow: &Allow) -> ClientClass {
        let client_class = self.allowed_clients.load().class_of(client);
        if client_class == ClientClass::Trusted || !self.may_refresh() {
            return client_class;
        }
        self.refresh(allow);
        self.allowed_clients.load().class_of(client)
    }

    fn may_refresh(&self) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (now, refreshed) = (millis(self.started.elapsed()), self.refreshed.load(Ordering::Relaxed));
        let claim =
            || self.refreshed.compare_exchange(refreshed, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        now.saturating_sub(refreshed) >= millis(MIN_REFRESH_PAUSE) && claim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn who_is_ours_and_who_is_not() {
        let network = |text: &str| text.parse().expect("a network");
        let allowed_clients = AllowedClients {
            own: vec![ip("198.51.100.7")],
            networks: vec![network("10.1.0.0/16"), network("fd00:1::/64")],
            any: false,
        };
        let trusted = ["127.0.0.1", "127.9.9.9", "::1", "198.51.100.7", "10.1.255.1", "fd00:1::5"];
        for client in trusted.into_iter().chain(["::ffff:10.1.2.3", "::ffff:127.0.0.1"]) {
            assert_eq!(allowed_clients.class_of(ip(client)), ClientClass::Trusted, "{client}");
        }
        let open = AllowedClients { any: true, ..AllowedClients::default() };
        for client in ["198.51.100.8", "10.2.0.1", "fd00:2::1", "::ffff:8.8.8.8", "2001:db8::1"] {
            assert_eq!(allowed_clients.class_of(ip(client)), ClientClass::AuthoritativeOnly, "{client}");
            assert_eq!(open.class_of(ip(client)), ClientClass::Open, "{client}");
        }
    }

    #[test]
    fn this_host_is_always_trusted() {
        let none = Allow { local: false, any: false, networks: Vec::new() };
        let client_policy = ClientPolicy::new(&none);
        for own in own_socket::own_addresses().expect("addresses") {
            assert_eq!(client_policy.class_of(own, &none), ClientClass::Trusted, "{own}");
        }
        assert!(client_policy.allowed_clients().load().networks.is_empty());
    }
}
