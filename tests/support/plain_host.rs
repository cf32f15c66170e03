//! A plain host on a booted machine: no systemd-resolved, one upstream that resolv.conf names, and the package.

use super::boot::{Machine, packages};
use super::upstream::{Upstream, add, reply_to};
use hickory_proto::rr::{RData, RecordType, rdata};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

/// Where the agent listens inside.
pub const AGENT: ([u8; 4], u16) = ([127, 0, 0, 1], 53);

/// Where the upstream is.
pub const UPSTREAM: ([u8; 4], u16) = ([127, 0, 0, 9], 53);

/// The address that the upstream gives every name.
pub const OUTSIDE: [u8; 4] = [192, 0, 2, 99];

/// Has the host ask the upstream, which is not started by this, instead of systemd-resolved.
pub fn ask_upstream(machine: &Machine) {
    machine.run("systemctl disable --now systemd-resolved; rm -f /etc/resolv.conf");
    machine.run("echo 'nameserver 127.0.0.9' > /etc/resolv.conf");
}

/// Starts the upstream inside; it ends with the handle, and when the machine is powered off.
pub fn upstream(machine: &Machine) -> Upstream {
    upstream_at(machine, UPSTREAM)
}

/// The same at another address of the machine.
pub fn upstream_at(machine: &Machine, address: ([u8; 4], u16)) -> Upstream {
    machine.within(|| {
        Upstream::start_at(address.into(), |query, _| {
            let mut reply = reply_to(query);
            if query.queries[0].query_type() == RecordType::A {
                add(&mut reply, 60, RData::A(rdata::A(OUTSIDE.into())));
            }
            Some(reply)
        })
    })
}

/// Installs a package, which is `/t/skydns.deb` inside from then on.
pub fn install(machine: &Machine, deb: &Path) {
    fs::copy(deb, machine.shared().join("skydns.deb")).expect("a package");
    machine.run("apt-get install -y /t/skydns.deb");
}

/// Installs the package of this checkout, with the example's records: `web.example.skydns.local` is 192.0.2.80.
pub fn install_with_records(machine: &Machine) {
    install(machine, &packages().deb);
    machine.run("cp -r /usr/share/doc/skydns/examples/records/local /etc/skydns/records/");
}

/// Waits until the agent answers the name of the records.
pub fn until_served(machine: &Machine) {
    machine.until("dig @127.0.0.1 +short web.example.skydns.local A", "192.0.2.80");
}

/// A socket inside that sends to the agent.
pub fn socket_to_agent(machine: &Machine) -> UdpSocket {
    let socket = machine.within(|| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    socket.connect(SocketAddr::from(AGENT)).expect("connected");
    socket
}

/// The status line of the agent.
pub fn status(machine: &Machine) -> String {
    machine.run("systemctl show -P StatusText skydns.service")
}
