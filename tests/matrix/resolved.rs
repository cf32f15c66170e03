//! systemd-resolved in front of the agent, in each of its modes of DNSSEC.

use super::world::wait_for;
use crate::support::boot::Machine;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Values of `DNSSEC=`.
pub const MODES: [&str; 3] = ["no", "allow-downgrade", "yes"];

/// Its stub.
const STUB: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), 53);

/// Starts it in a mode, and gives the address of its stub.
pub fn start(machine: &Machine, mode: &str, anchor: &str) -> SocketAddr {
    // It asks nobody while the host has no link but its own.
    machine.try_run(
        "ip link add uplink type veth peer name beyond && ip address add 192.0.2.200/24 dev uplink\n\
         ip link set uplink up; ip link set beyond up",
    );
    machine.run(&format!(
        "mkdir -p /etc/systemd/resolved.conf.d /etc/dnssec-trust-anchors.d\n\
         printf '[Resolve]\\nDNS=127.0.0.1\\nFallbackDNS=\\nDomains=~.\\nDNSSEC={mode}\\nLLMNR=no\\nMulticastDNS=no\\n' \
         > /etc/systemd/resolved.conf.d/matrix.conf\n\
         echo '. IN DS {anchor}' > /etc/dnssec-trust-anchors.d/matrix.positive\n\
         systemctl restart systemd-resolved"
    ));
    wait_for(machine, STUB, "systemd-resolved");
    STUB
}

pub fn stop(machine: &Machine) {
    machine.try_run("systemctl stop systemd-resolved; ip link delete uplink");
}
