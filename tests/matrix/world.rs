//! A small DNS tree of our own, from a signed root down, with a server for all zones and a resolver that asks it.
//!
//! The agent's upstream is the [relay](super::relay) in front of that resolver.

use super::questions::WIDE;
use super::relay;
use crate::support::boot::Machine;
use crate::support::{PATIENCE, exchange};
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

/// Who serves all zones, who asks for them, and whom the agent asks.
const AUTHORITY: SocketAddr = at(1);
pub const RECURSOR: SocketAddr = at(2);
pub const UPSTREAM: SocketAddr = at(3);

const fn at(number: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 10, 0, number)), 53)
}

/// Data of a record: the number of its type, and octets.
type Data = (u16, &'static [u8]);

/// Labels below `odd.example`, with data that are odd, but that upstreams give.
pub const ODD_DATA: [(&str, &str, Data); 10] = [
    ("caa-without-tag", "CAA", (257, &[0, 0, b'x'])),
    ("caa-with-flags", "CAA", (257, b"\xffeissueca.example")),
    ("svcb-unsorted", "SVCB", (64, &[0, 1, 0, 0, 3, 0, 2, 1, 187, 0, 1, 0, 3, 2, b'h', b'2'])),
    ("https-twice", "HTTPS", (65, &[0, 1, 0, 0, 3, 0, 2, 1, 187, 0, 3, 0, 2, 1, 187])),
    ("naptr-flags", "NAPTR", (35, &[0, 1, 0, 2, 2, b'!', b'?', 0, 0, 0])),
    ("csync", "CSYNC", (62, &[0, 0, 0, 7, 0, 9, 0, 1, 0x40])),
    ("txt-empty", "TXT", (16, &[0])),
    ("txt-binary", "TXT", (16, &[3, 0, 0xff, 0x80])),
    ("unknown", "TYPE65280", (65_280, &[1, 2, 3, 4])),
    ("unknown-empty", "TYPE65280", (65_280, &[])),
];

/// Zones, from the leaves up; names in them are relative to the zone. `@SITE@` is where the site is delegated.
const ZONES: [(&str, &str); 7] = [
    (
        "example.org",
        "www A 192.0.2.80\nwww AAAA 2001:db8::80\n\
         several A 192.0.2.81\nseveral A 192.0.2.82\nseveral A 192.0.2.83\n\
         alias CNAME hop\nhop CNAME www\ndangling CNAME nowhere\n\
         @ MX 10 www\n@ MX 20 several\n_sip._tcp SRV 10 100 5060 www\n_sip._tcp SRV 20 100 5061 several\n",
    ),
    ("org", "example NS ns.example.\n"),
    ("10.in-addr.arpa", ""),
    ("arpa", "80.2.0.192.in-addr PTR www.example.org.\n10.in-addr NS ns.example.\n"),
    ("local", "@SITE@"),
    ("example", "ns A 127.10.0.1\nodd NS ns.example.\n@SITE@"),
    (
        ".",
        "example. NS ns.example.\nns.example. A 127.10.0.1\norg. NS ns.example.\n\
         local. NS ns.example.\narpa. NS ns.example.\n",
    ),
];

/// Zones that are not signed.
const UNSIGNED: &[&str] = &["10.in-addr.arpa"];

/// The tree while it is served.
pub struct World {
    /// The root's DS record, as a zone file has it.
    pub anchor: String,
}

impl World {
    /// Serves the tree, in which the domain is delegated to the agent, with these DS records.
    pub fn start(machine: &Machine, domain: &str, ds: &str) -> Self {
        let dir = machine.shared().join("world");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("keys")).expect("a directory");
        machine.try_run("systemctl stop world-authority world-recursor; systemctl reset-failed");
        if !ds.is_empty() {
            // Where the signer finds the DS records of what is delegated; it drops those in the zone itself.
            fs::write(dir.join(format!("dsset-{domain}.")), format!("{ds}\n")).expect("a file");
        }
        for (zone, records) in ZONES {
            fs::write(dir.join(file(zone)), zone_file(zone, records, domain)).expect("a file");
            machine.run(&sign(zone));
        }
        fs::write(dir.join("nsd.conf"), nsd()).expect("a file");
        fs::write(dir.join("hints"), ". 60 NS ns.example.\nns.example. 60 A 127.10.0.1\n").expect("a file");
        fs::write(dir.join("unbound.conf"), recursor()).expect("a file");
        start_unit(machine, "world-authority", "/usr/sbin/nsd -d -c /t/world/nsd.conf");
        start_unit(machine, "world-recursor", "/usr/sbin/unbound -d -c /t/world/unbound.conf");
        wait_for(machine, AUTHORITY, "world-authority");
        wait_for(machine, RECURSOR, "world-recursor");
        Self { anchor: anchor(&dir) }
    }
}

/// Starts the agent's upstream. It ends with the process.
pub fn start_upstream(machine: &Machine) {
    machine.within(|| relay::start(UPSTREAM));
}

/// Starts a program of the machine as a unit.
pub fn start_unit(machine: &Machine, name: &str, command: &str) {
    machine.run(&format!("systemd-run --quiet --collect --unit={name} {command}"));
}

/// Waits until a server answers.
pub fn wait_for(machine: &Machine, server: SocketAddr, unit: &str) {
    let question = super::message::question("www.example.org", 1, 7);
    let end = Instant::now() + PATIENCE;
    while machine.within(|| exchange(server, &question, Duration::from_millis(500))).is_none() {
        let log = || machine.try_run(&format!("journalctl --no-pager -n 30 -u {unit}")).1;
        assert!(Instant::now() < end, "{server} never answers: {}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn file(zone: &str) -> String {
    if zone == "." { "root".to_owned() } else { zone.to_owned() }
}

fn zone_file(zone: &str, records: &str, domain: &str) -> String {
    let origin = if zone == "." { ".".to_owned() } else { format!("{zone}.") };
    let mut text = format!(
        "$ORIGIN {origin}\n$TTL 60\n@ SOA ns.example. root.example. 1 3600 600 86400 60\n@ NS ns.example.\n"
    );
    let is_parent = domain.split_once('.').is_some_and(|(_, parent)| parent == zone);
    let site = format!("{domain}. NS ns.dns.{domain}.\nns.dns.{domain}. A 127.0.0.1\n");
    text += &records.replace("@SITE@", if is_parent { &site } else { "" });
    if zone == "example.org" {
        (0..WIDE).for_each(|n| writeln!(text, "big A 198.51.100.{n}").expect("written"));
        let string = format!("\"{}\"", "uvwxyz".repeat(40));
        writeln!(text, "text TXT {string} {string}").expect("written");
    }
    text
}

/// A script that signs a zone file; the DS records of the zones below it are there by then.
fn sign(zone: &str) -> String {
    let (file, origin) = (file(zone), if zone == "." { "." } else { zone });
    if UNSIGNED.contains(&zone) {
        return format!("cp /t/world/{file} /t/world/{file}.signed");
    }
    format!(
        "cd /t/world && dnssec-keygen -q -K keys -a ECDSAP256SHA256 -f KSK {origin} && \
         dnssec-signzone -q -S -z -g -K keys -d /t/world -N keep -o {origin} -f {file}.signed {file}"
    )
}

fn nsd() -> String {
    let mut text = format!(
        "server:\n  ip-address: {}\n  username: root\n  zonesdir: /t/world\n  pidfile: \"\"\n  \
         xfrdfile: \"\"\n  zonelistfile: /t/world/zone.list\n  database: \"\"\nremote-control:\n  control-enable: no\n",
        AUTHORITY.ip()
    );
    for (zone, _) in ZONES {
        writeln!(text, "zone:\n  name: \"{zone}\"\n  zonefile: \"{}.signed\"", file(zone)).expect("written");
    }
    text
}

fn recursor() -> String {
    let zones = ["10.in-addr.arpa.", "2.0.192.in-addr.arpa."];
    let ours: String = zones.iter().map(|zone| format!("  local-zone: \"{zone}\" nodefault\n")).collect();
    format!(
        "server:\n  interface: {}\n  username: \"\"\n  chroot: \"\"\n  directory: \"/t/world\"\n  pidfile: \"\"\n  \
         use-syslog: no\n  do-not-query-localhost: no\n  do-ip6: no\n  access-control: 127.0.0.0/8 allow\n  \
         module-config: \"iterator\"\n  root-hints: \"/t/world/hints\"\n  target-fetch-policy: \"0 0 0 0 0\"\n{ours}\
         remote-control:\n  control-enable: no\n",
        RECURSOR.ip()
    )
}

/// The DS record of the root with SHA-256.
fn anchor(dir: &Path) -> String {
    let text = fs::read_to_string(dir.join("dsset-.")).expect("the root's DS records");
    let words: Vec<_> = text.lines().next().expect("a record").split_whitespace().collect();
    let at = words.iter().position(|word| *word == "DS").expect("a DS record");
    // The digest may come in parts.
    format!("{} {}", words[at + 1..at + 4].join(" "), words[at + 4..].concat())
}
