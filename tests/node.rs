//! A node of a Kubernetes cluster on a booted machine: the agent in the place of NodeLocal DNSCache, by the examples as they are
//! shipped.

#[path = "support/kubernetes/mod.rs"]
mod kubernetes;
mod support;

use kubernetes::server::ApiServer;
use serde_json::json;
use std::fs;
use support::boot::{Machine, Root, machines, say};
use support::plain_host::{ask_upstream, install_with_records, upstream};

/// A machine with what nodes have.
const ROOT: Root = Root {
    name: "node",
    release: "trixie",
    packages: "systemd,systemd-sysv,dbus,systemd-resolved,libnss-myhostname,bind9-dnsutils,iproute2,nftables",
    off: &[],
};

/// A pod of its own network, and what it asks.
const POD: &str = "
    set -e
    ip netns add pod; ip -n pod link set lo up
    ip link add pod-host type veth peer name eth0 netns pod
    ip address add 10.244.0.1/32 dev pod-host; ip link set pod-host up
    ip -n pod address add 10.244.0.7/24 dev eth0; ip -n pod link set eth0 up
    ip -n pod route add default via 10.244.0.1 dev eth0 onlink
    ip route add 10.244.0.7 dev pod-host";

/// Copies an example to where its README says.
fn place(machine: &Machine, example: &str) -> String {
    machine.run(&format!(
        "cd /usr/share/doc/skydns/examples\n\
         place=$(sed -n 's/^{example}  *\\([^ ,]*\\).*/\\1/p' README)\n\
         install -D -m 644 {example} \"$place\" && echo \"$place\""
    ))
}

/// What a pod is told by the agent at an address.
fn ask(machine: &Machine, server: &str, question: &str) -> String {
    machine.run(&format!("ip netns exec pod dig @{server} +tries=1 +time=5 +short {question}"))
}

#[test]
fn a_node_answers_its_pods_at_the_addresses_that_they_know() {
    let Some(_machines) = machines("a node of a Kubernetes cluster") else { return };
    let machine = Machine::boot_root(&ROOT);
    ask_upstream(&machine);
    install_with_records(&machine);
    let _upstream = upstream(&machine);
    let server = machine.within(ApiServer::with_cases);
    let config = json!({"current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "c"}}],
                        "clusters": [{"name": "c", "cluster": {"server": server.url()}}]});
    fs::write(machine.shared().join("kubeconfig"), config.to_string()).expect("a file");
    machine.run("install -D -m 600 /t/kubeconfig /etc/skydns/keys/kubeconfig");
    for example in ["kubernetes-node.conf", "kubernetes-dns.network", "kubernetes.conf"] {
        place(&machine, example);
    }
    let netdev = place(&machine, "kubernetes-dns.netdev");
    if !machine.try_run("ip link add try0 type dummy && ip link del try0").0 {
        say("LEFT OUT: an interface of the kind \"dummy\": this kernel has none; a bridge stands for it\n");
        machine.run(&format!("sed -i s/Kind=dummy/Kind=bridge/ {netdev}"));
    }
    let has_nft = machine.try_run("nft add table ip try && nft delete table ip try").0;
    if has_nft {
        place(&machine, "kubernetes-notrack.nft");
        place(&machine, "skydns-notrack.service");
        machine.run("systemd-analyze verify --man=no skydns-notrack.service");
        machine.run("systemctl daemon-reload; systemctl enable skydns-notrack.service");
    } else {
        say("LEFT OUT: rules of nftables: this kernel has none\n");
    }
    machine.run(
        "systemctl daemon-reload; systemctl restart systemd-networkd; systemctl enable --now skydns.socket",
    );
    machine.run(POD);
    for address in ["169.254.20.10", "10.96.0.10"] {
        let at = |question: &str| ask(&machine, address, question);
        machine.until(
            &format!("dig @{address} +tries=1 +time=1 +short web.shop.svc.cluster.local"),
            "10.96.0.10",
        );
        assert_eq!(at("web.shop.svc.cluster.local"), "10.96.0.10", "{}", machine.journal());
        assert_eq!(at("+tcp db-0.db.shop.svc.cluster.local"), "10.1.0.1");
        assert_eq!(at("-x 10.96.0.10"), "web.shop.svc.cluster.local.");
        assert_eq!(at("web.example.skydns.local"), "192.0.2.80", "names of the site");
        assert_eq!(at("www.example.org"), "192.0.2.99", "names of others, of the host's upstreams");
        assert!(at("+noshort +comments nothing.shop.svc.cluster.local").contains("NXDOMAIN"));
    }
    if has_nft {
        assert!(machine.run("nft list table ip skydns_notrack").contains("notrack"));
    }
    restarts_lose_nothing(&machine);
    // The API server goes, and the agent with it; what was known is served.
    drop(server);
    machine.run("systemctl stop skydns.service; systemctl start skydns.service");
    assert_eq!(
        ask(&machine, "10.96.0.10", "web.shop.svc.cluster.local"),
        "10.96.0.10",
        "{}",
        machine.journal()
    );
    machine.run("systemctl stop skydns.socket skydns.service");
    // The rules go with the sockets.
    machine.until("nft list tables | grep -c skydns_notrack; true", "0");
}

/// Asks all the time while the agent is started again, and once more each time.
fn restarts_lose_nothing(machine: &Machine) {
    let script = "
        for n in $(seq 200); do
            ip netns exec pod dig @10.96.0.10 +tries=1 +time=5 +short web.shop.svc.cluster.local
        done > /tmp/answers 2>&1 &
        asking=$!
        for n in 1 2 3; do systemctl restart skydns.service; done
        wait $asking
        sort /tmp/answers | uniq -c";
    let (_, counts) = machine.try_run_for(120, script);
    assert_eq!(counts.split_whitespace().collect::<Vec<_>>(), ["200", "10.96.0.10"], "{}", machine.journal());
}
