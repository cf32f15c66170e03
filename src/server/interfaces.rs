//! The addresses that the interfaces of this host have.

use ipnet::IpNet;
use nix::ifaddrs::{InterfaceAddress as Listed, getifaddrs};
use nix::net::if_::if_nametoindex;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

/// The number of the loopback interface: the kernel gives it this one in every network namespace.
pub(super) const LOOPBACK: u32 = 1;

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InterfaceAddress {
    /// The number of the interface, by which the kernel says where a packet came in; 0 if the interface is gone.
    pub(super) interface: u32,
    /// The address, with the length of its network's prefix.
    pub(super) network: IpNet,
}

impl InterfaceAddress {
    /// The address.
    pub(super) fn ip(&self) -> IpAddr {
        self.network.addr()
    }
}

/// The addresses of all interfaces.
///
/// # Errors
/// The system does not tell, as without descriptors.
pub(super) fn addresses() -> io::Result<Vec<InterfaceAddress>> {
    let listed: Vec<Listed> = getifaddrs()?.collect();
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    for link in &listed {
        if let Some(number) =
            link.address.as_ref().and_then(|address| address.as_link_addr()?.ifindex().try_into().ok())
        {
            numbers.insert(&link.interface_name, number);
        }
    }
    let found = listed.iter().filter_map(|listed| {
        let network = network(listed)?;
        // An IPv4 address has its label in place of the name: `eth0:1` is on eth0.
        let name = listed.interface_name.split(':').next().unwrap_or_default();
        // A tunnel may have no address of its link, and is not listed with its number then.
        let number = || if_nametoindex(name).unwrap_or(0);
        Some(InterfaceAddress { interface: numbers.get(name).copied().unwrap_or_else(number), network })
    });
    Ok(found.collect())
}

/// The address of a list's entry, with the length of its network's prefix.
fn network(listed: &Listed) -> Option<IpNet> {
    let address = listed.address.as_ref()?;
    let v4 = |of: &nix::sys::socket::SockaddrStorage| of.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    let v6 = |of: &nix::sys::socket::SockaddrStorage| of.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()));
    let ip = v4(address).or_else(|| v6(address))?;
    let mask = listed.netmask.as_ref().and_then(|mask| if ip.is_ipv4() { v4(mask) } else { v6(mask) });
    // An address without a mask is in no network but its own.
    mask.and_then(|mask| IpNet::with_netmask(ip, mask).ok()).or_else(|| Some(IpNet::from(ip)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_its_number() {
        let found = addresses().expect("addresses");
        let loopback = found.iter().find(|found| found.ip().is_loopback()).expect("a loopback address");
        assert_eq!(loopback.interface, LOOPBACK);
        assert!(found.iter().all(|found| found.interface > 0), "{found:?}");
    }
}
