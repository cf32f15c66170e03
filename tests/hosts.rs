//! Hosts whose resolv.conf somebody else writes: each manager of networks, with a DHCP server that changes its mind.
//!
//! On each: `skydns resolv-conf enable`, another lease with another server, a reboot, `disable`, and the package removed,
//! installed again and purged. A name of the host and one from outside are looked up all along, as its programs do.
//! `SKYDNS_HOSTS=all` tests every manager, `SKYDNS_HOSTS=nm` one of them; without it those that differ most are tested.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::Process;
use support::boot::{Machine, Root, machines, say};
use support::network::Wire;
use support::plain_host::{install_with_records, until_served};

/// How long a host may take for the first answer of a name of its own after its sockets are there.
const FIRST_ANSWER: f64 = 2.0;

/// A host with one manager.
struct Case {
    /// The word of `--how`.
    word: &'static str,
    root: Root,
    /// Lines at the end of a file of the root.
    lines: &'static [(&'static str, &'static str)],
    /// Units that start at a boot.
    units: &'static [&'static str],
    /// Asks the DHCP server again.
    renew: &'static str,
}

const fn root(name: &'static str, release: &'static str, packages: &'static str) -> Root {
    Root { name, release, packages, off: &[] }
}

const INTERFACES: (&str, &str) =
    ("etc/network/interfaces", "auto lo\niface lo inet loopback\nauto wire\niface wire inet dhcp\n");
/// dhcpcd looks for udev, which containers do not have, and passes over virtual interfaces.
const DHCPCD: (&str, &str) = ("etc/dhcpcd.conf", "nodev\nallowinterfaces wire\nnoarp\nnoipv6\n");
const NETWORKD: (&str, &str) =
    ("etc/systemd/network/wire.network", "[Match]\nName=wire\n[Network]\nDHCP=ipv4\n");

const CASES: [Case; 6] = [
    Case {
        word: "dhclient",
        root: root(
            "hosts-dhclient",
            "bookworm",
            "systemd,systemd-sysv,dbus,bind9-dnsutils,iproute2,ifupdown,isc-dhcp-client",
        ),
        lines: &[INTERFACES],
        units: &[],
        renew: "ifdown wire; ifup wire",
    },
    Case {
        word: "resolved",
        root: root(
            "hosts-resolved",
            "trixie",
            "systemd,systemd-sysv,dbus,bind9-dnsutils,iproute2,systemd-resolved,libnss-resolve",
        ),
        lines: &[NETWORKD],
        units: &["systemd-networkd.service"],
        renew: "networkctl reconfigure wire",
    },
    Case {
        word: "nm",
        root: root("hosts-nm", "trixie", "systemd,systemd-sysv,dbus,bind9-dnsutils,iproute2,network-manager"),
        lines: &[],
        units: &[],
        renew: "nmcli -w 30 connection up 'Wired connection 1'",
    },
    Case {
        word: "dhcpcd",
        root: root("hosts-dhcpcd", "trixie", "systemd,systemd-sysv,dbus,bind9-dnsutils,iproute2,dhcpcd"),
        lines: &[DHCPCD],
        units: &[],
        renew: "dhcpcd -n wire",
    },
    Case {
        word: "openresolv",
        root: root(
            "hosts-openresolv",
            "trixie",
            "systemd,systemd-sysv,dbus,bind9-dnsutils,iproute2,openresolv,dhcpcd",
        ),
        lines: &[DHCPCD],
        units: &[],
        renew: "dhcpcd -n wire",
    },
    Case {
        word: "resolvconf",
        root: root(
            "hosts-resolvconf",
            "bookworm",
            "systemd,systemd-sysv,dbus,bind9-dnsutils,iproute2,ifupdown,isc-dhcp-client,resolvconf",
        ),
        lines: &[INTERFACES],
        units: &[],
        renew: "ifdown wire; ifup wire",
    },
];

/// A host with a wire to a DHCP server, which is its DNS server as well.
struct Host {
    machine: Machine,
    server: Option<Process>,
    wire: Wire,
    leases: tempfile::TempDir,
}

impl Host {
    /// Boots it; with a server whose last octet is this, or with none.
    fn boot(case: &Case, server: Option<u8>) -> Self {
        let wire = Wire::new(&[]);
        let leases = tempfile::tempdir().expect("a directory");
        let first = server.map(|octet| serve(&wire, leases.path(), octet));
        let machine = Machine::boot_in(&case.root, Some(wire.network(1)), |root| prepare(root, case));
        Self { machine, server: first, wire, leases }
    }

    /// Another server in the place of the present one, from which the host gets a lease.
    fn change_server(&mut self, case: &Case, octet: u8) {
        self.server = None;
        self.server = Some(serve(&self.wire, self.leases.path(), octet));
        self.machine.try_run(case.renew);
        self.finds_outside(octet, "another lease");
    }

    /// A name from outside is what the server with this octet says.
    fn finds_outside(&self, octet: u8, what: &str) {
        // A name for each look-up: what is in a cache tells nothing.
        let script = "getent ahosts n$(cat /proc/sys/kernel/random/uuid).example.org; head -20 /etc/resolv.conf; \
                      tail -n 5 /run/skydns-upstreams/* 2>/dev/null";
        say(&format!("  outside: {what}\n"));
        self.machine.until(script, &format!("192.0.2.{octet} "));
    }

    fn finds_own(&self) {
        let (_, text) =
            self.machine.try_run("getent ahosts web.example.skydns.local; head -20 /etc/resolv.conf");
        assert!(text.starts_with("192.0.2.80 ") || text.starts_with("::ffff:192.0.2.80 "), "{text}");
    }

    /// Boots again; the addresses of its interface are gone then.
    fn reboot(&mut self) {
        self.wire.ip(1, &["address", "flush", "dev", "wire"]);
        self.machine.reboot();
    }
}

/// A DHCP server that names itself as the DNS server, and answers each question with its octet. Its leases last longer than
/// a test: a renewal would write resolv.conf between two steps.
fn serve(wire: &Wire, dir: &Path, octet: u8) -> Process {
    let address = format!("10.9.0.{octet}");
    // The one of before is gone: nobody answers there.
    wire.ip(2, &["address", "flush", "dev", "wire"]);
    wire.ip(2, &["address", "add", &format!("{address}/24"), "dev", "wire"]);
    let mut command = Command::new("dnsmasq");
    command.args(["-C", "/dev/null", "-k", "--no-resolv", "--no-hosts", "--bind-interfaces", "--user=root"]);
    command.args(["--interface=wire", "--except-interface=lo", "--dhcp-range=10.9.0.50,10.9.0.60,2h"]);
    command.arg(format!("--listen-address={address}")).arg(format!("--dhcp-option=6,{address}"));
    command.args(["--dhcp-option=3", "--dhcp-authoritative"]).arg(format!("--address=/#/192.0.2.{octet}"));
    command.arg(format!("--dhcp-leasefile={}", dir.join("leases").display()));
    command.arg(format!("--pid-file={}", dir.join("pid").display()));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    wire.on(2, || Process::spawn(&mut command))
}

fn prepare(root: &Path, case: &Case) {
    for (file, lines) in case.lines {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        let text = fs::read_to_string(&path).unwrap_or_default() + lines;
        fs::write(path, text).expect("written");
    }
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    for unit in case.units {
        let _ = symlink(Path::new("/usr/lib/systemd/system").join(unit), wants.join(unit));
    }
}

fn install(machine: &Machine) {
    install_with_records(machine);
    machine.run("systemctl enable --now skydns.socket");
    until_served(machine);
}

/// What was set for managers.
fn settings(machine: &Machine) -> String {
    machine.try_run("grep -rl 'skydns resolv-conf enable' /etc --exclude-dir=skydns").1
}

fn follows(case: &Case) {
    say(&format!("{}:\n", case.word));
    let mut host = Host::boot(case, Some(2));
    host.finds_outside(2, "before the package");
    install(&host.machine);
    let told = host.machine.run("skydns resolv-conf enable");
    assert!(!told.contains("after the next boot"), "{told}");
    let state = host.machine.run("cat /etc/skydns/resolv-conf.state");
    assert!(state.lines().any(|line| line == format!("manager {}", case.word)), "{state}");
    host.finds_own();
    host.finds_outside(2, "enabled");
    host.change_server(case, 3);
    host.finds_own();
    host.reboot();
    host.finds_own();
    host.finds_outside(3, "after a reboot");
    host.machine.run("skydns resolv-conf status");
    host.machine.run(&format!("skydns resolv-conf enable --how {}", case.word));
    host.finds_own();
    host.machine.run("skydns resolv-conf disable");
    host.finds_outside(3, "disabled");
    assert_eq!(settings(&host.machine), "");

    host.machine.run("skydns resolv-conf enable");
    host.change_server(case, 2);
    host.finds_own();
    // The agent's program is of no use: other servers are asked, and the removal does without it.
    host.machine
        .run("cp --remove-destination /bin/false /usr/bin/skydns; systemctl kill -s KILL skydns.service");
    host.finds_outside(2, "the program is broken");
    host.machine.run("apt-get remove -y skydns");
    host.finds_outside(2, "removed");
    assert_eq!(settings(&host.machine), "");
    host.machine.run("apt-get install -y /t/skydns.deb");
    host.finds_own();
    host.finds_outside(2, "installed again");
    host.machine.run("skydns resolv-conf status; apt-get purge -y skydns");
    host.finds_outside(2, "purged");
    let left = host
        .machine
        .run("find /etc /run /var/lib -iname '*skydns*' ! -path '/var/lib/apt/*' ! -path '/var/lib/dpkg/*'");
    assert_eq!(left, "");
    host.reboot();
    host.finds_outside(2, "purged, after a reboot");
}

#[test]
fn names_are_looked_up_whoever_writes_resolv_conf() {
    let Some(_machines) = machines("managers of resolv.conf") else { return };
    let wanted = std::env::var("SKYDNS_HOSTS").unwrap_or_else(|_| "dhclient resolved".to_owned());
    let wanted: Vec<_> = wanted.split([' ', ',']).collect();
    let cases = CASES.iter().filter(|case| wanted.contains(&"all") || wanted.contains(&case.word));
    cases.for_each(follows);
}

#[test]
fn a_boot_does_not_wait_for_a_dhcp_server() {
    let Some(_machines) = machines("a boot without a DHCP server") else { return };
    let case = &CASES[0];
    let mut host = Host::boot(case, Some(2));
    install(&host.machine);
    host.machine.run("skydns resolv-conf enable");
    // It asks as early as anybody can, and notes when the answer came.
    let unit = "[Unit]\nDefaultDependencies=no\nAfter=skydns.socket\n[Service]\nType=oneshot\n\
                ExecStart=/bin/sh -c 'until getent ahosts web.example.skydns.local; do sleep 0.01; done; \
                cut -d\" \" -f1 /proc/uptime > /run/first-answer'\n[Install]\nWantedBy=sockets.target\n";
    fs::write(host.machine.path("/etc/systemd/system/first-answer.service"), unit).expect("a unit");
    host.machine.run("systemctl enable first-answer.service");
    host.server = None;
    host.machine.waits = true;
    let took = (0..3).map(|_| first_answer(&mut host)).find(|took| *took <= FIRST_ANSWER);
    let took = took.unwrap_or_else(|| panic!("never within {FIRST_ANSWER} s\n{}", host.machine.journal()));
    say(&format!("without a DHCP server: a name of the host {took:.2} s after the socket\n"));
    assert!(host.machine.try_run("systemctl is-active networking").1.contains("activating"), "nobody waits");
    // The server comes back, and so do names from outside.
    host.server = Some(serve(&host.wire, host.leases.path(), 3));
    std::thread::sleep(Duration::from_millis(100));
    host.finds_outside(3, "the DHCP server is back");
}

/// Boots without a DHCP server; seconds from the socket to the first answer.
fn first_answer(host: &mut Host) -> f64 {
    host.reboot();
    host.machine.until("cat /run/first-answer", ".");
    let socket = host.machine.run("systemctl show -P ActiveEnterTimestampMonotonic skydns.socket");
    let answer = host.machine.run("cat /run/first-answer");
    let number = |text: String| text.trim().parse::<f64>().expect("a number");
    number(answer) - number(socket) / 1e6
}

#[test]
fn what_overwrites_resolv_conf_is_told() {
    let Some(_machines) = machines("resolv.conf that is overwritten") else { return };
    let mut host = Host::boot(&CASES[0], Some(2));
    install(&host.machine);
    let told = host
        .machine
        .run("systemctl disable skydns.socket skydns.service; skydns resolv-conf enable --how resolv");
    assert!(
        told.contains("after the next boot nothing would answer: systemctl enable skydns.socket"),
        "{told}"
    );
    assert!(told.contains("dhclient writes /etc/resolv.conf at each lease"), "{told}");
    // dhclient writes through the link.
    host.change_server(&CASES[0], 3);
    let status = "systemctl show -P StatusText skydns.service";
    host.machine.until(status, "/etc/skydns/resolv.conf was overwritten");
    assert_eq!(host.machine.run("journalctl -u skydns | grep -c 'was overwritten'"), "1");
    assert!(!host.machine.try_run("skydns resolv-conf status").0);
    host.machine.run("skydns resolv-conf enable --how dhclient --fallback 10.9.0.3");
    host.finds_own();
    let name = "dig +short www.example.org | tail -n 1";
    assert_eq!(host.machine.run(name), "192.0.2.3");
    host.machine.run("systemctl stop skydns.socket skydns.service");
    assert_eq!(host.machine.run(name), "192.0.2.3", "the second server");
    host.machine.run("systemctl start skydns.socket");
    host.machine.until(&format!("{name}; {status}"), "192.0.2.3");
    assert!(!host.machine.run(status).contains("overwritten"));
    // A change that would end the look-ups is taken back.
    host.machine.run("skydns resolv-conf disable");
    for setting in ["SKYDNS_NAMESERVERS=10.9.0.77:53", "SKYDNS_NO_REC=true"] {
        host.machine
            .run(&format!("echo {setting} > /etc/skydns/skydns.conf.d/50-x.conf; systemctl reload skydns"));
        let (is_done, text) = host.machine.try_run("skydns resolv-conf enable");
        assert!(!is_done && text.contains("so the change was undone"), "{setting}: {text}");
        host.finds_outside(3, "taken back");
    }
    // Nothing was looked up before: there is nothing to lose.
    host.machine.run("cp /etc/resolv.conf /root/; echo nameserver 10.9.0.77 > /etc/resolv.conf");
    let told = host.machine.run("skydns resolv-conf enable");
    assert!(told.contains("could not be looked up before the change"), "{told}");
    host.machine.run("skydns resolv-conf disable; cat /root/resolv.conf > /etc/resolv.conf");
    host.machine.run("rm /etc/skydns/skydns.conf.d/50-x.conf; systemctl reload skydns");
    host.finds_outside(3, "the settings are gone");
    assert_eq!(settings(&host.machine), "");
    keeps_servers_by_hand(&mut host);
}

/// The servers of a resolv.conf that no manager wrote stay the upstreams, and the file comes back byte for byte.
fn keeps_servers_by_hand(host: &mut Host) {
    let machine = &host.machine;
    machine.run("printf '# by hand\\nnameserver 10.9.0.3\\n' > /etc/resolv.conf; cp /etc/resolv.conf /root/");
    machine.run("systemctl enable skydns.socket skydns.service; touch /usr/sbin/NetworkManager; mkdir -p /run/NetworkManager /etc/NetworkManager/conf.d");
    machine.run("echo nameserver 10.9.0.77 > /run/NetworkManager/no-stub-resolv.conf");
    let told = machine.run("skydns resolv-conf enable");
    assert!(told.contains("whose servers stay the agent's upstreams"), "{told}");
    host.finds_outside(3, "by hand, enabled");
    machine.run("skydns resolv-conf disable; cmp /etc/resolv.conf /root/resolv.conf");
    machine
        .run("skydns resolv-conf enable; apt-get remove -y skydns; cmp /etc/resolv.conf /root/resolv.conf");
    // What was there before is gone: the servers that the agent asked last are named.
    machine.run(
        "apt-get install -y /t/skydns.deb; skydns resolv-conf status; rm /etc/resolv.conf.before-skydns",
    );
    let told = machine.run("apt-get remove -y skydns");
    assert!(told.contains("/etc/resolv.conf is a file with the servers that the agent asked"), "{told}");
    host.finds_outside(3, "removed without the file from before");
    assert!(!machine.run("systemctl list-units --all --no-legend 'skydns*'").contains("not-found failed"));
}
