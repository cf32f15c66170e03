//! A made name space below a signed root: the upstream of an agent whose clients validate.

use super::judge::ZONE;
use super::{Process, eventually, free_port, run};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// The signed zones, children first, with their records beside SOA, NS and glue.
///
/// `local` delegates the domain of the agent, and `arpa` delegates zones without DS, as the real one does.
const SIGNED: [(&str, &str); 6] = [
    ("example.org.", "www A 192.0.2.80\nalias CNAME www\n*.wild TXT \"any\"\n"),
    (
        "org.",
        "example NS ns.example\nns.example A 127.0.0.1\nunsigned NS ns.unsigned\nns.unsigned A 127.0.0.1\n",
    ),
    ("local.", "skydns NS ns.dns.skydns\nns.dns.skydns A 127.0.0.1\n"),
    ("in-addr.arpa.", "10 NS ns.10\nns.10 A 127.0.0.1\n"),
    ("arpa.", "in-addr NS ns.in-addr\nns.in-addr A 127.0.0.1\nhome NS ns.home\nns.home A 127.0.0.1\n"),
    (
        ".",
        "org NS ns.org\nns.org A 127.0.0.1\nlocal NS ns.local\nns.local A 127.0.0.1\narpa NS ns.arpa\nns.arpa A 127.0.0.1\n",
    ),
];

/// The zones without signatures.
const UNSIGNED: [(&str, &str); 3] = [
    ("unsigned.org.", "www A 192.0.2.81\n"),
    ("10.in-addr.arpa.", "1.0.0 PTR one.example.org.\n"),
    ("home.arpa.", "printer A 192.0.2.82\n"),
];

/// A resolver that knows these zones, and no other.
pub struct SignedRoot {
    pub address: SocketAddr,
    /// The DS record of the root, which validators trust.
    pub anchor: String,
    _process: Process,
    _dir: tempfile::TempDir,
}

impl SignedRoot {
    /// One where `local.` has these DS records for the domain of the agent.
    pub fn start(ds_of_site: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut zones = String::new();
        if !ds_of_site.is_empty() {
            fs::write(dir.path().join(format!("dsset-{ZONE}.")), ds_of_site).expect("a file");
        }
        for (zone, records) in SIGNED {
            sign(dir.path(), zone, records);
        }
        for (zone, records) in UNSIGNED {
            fs::write(dir.path().join(file_of(zone)), text_of(zone, records)).expect("a file");
        }
        for (zone, _) in SIGNED.iter().chain(&UNSIGNED) {
            let file = dir.path().join(file_of(zone));
            let _ = writeln!(
                zones,
                "auth-zone:\n  name: \"{zone}\"\n  zonefile: \"{}\"\n  for-downstream: no\n  for-upstream: yes\n  fallback-enabled: no",
                file.display()
            );
        }
        let port = free_port();
        let text = format!("{}\n{zones}", server_section(port, dir.path()));
        let process = serve(&text, dir.path());
        let anchor = fs::read_to_string(dir.path().join("dsset-.")).expect("the DS of the root");
        Self { address: ([127, 0, 0, 1], port).into(), anchor, _process: process, _dir: dir }
    }
}

fn server_section(port: u16, dir: &Path) -> String {
    format!(
        "server:
  interface: 127.0.0.1@{port}
  do-daemonize: no
  chroot: \"\"
  username: \"\"
  directory: \"{}\"
  pidfile: \"\"
  use-syslog: no
  module-config: \"iterator\"
  do-not-query-localhost: no
  unblock-lan-zones: yes
  local-zone: home.arpa. nodefault
  qname-minimisation: no
  num-threads: 1
remote-control:
  control-enable: no",
        dir.display()
    )
}

fn serve(text: &str, dir: &Path) -> Process {
    let file = dir.join("unbound.conf");
    fs::write(&file, text).expect("a file");
    let log = File::create(dir.join("unbound.log")).expect("a file");
    let mut process =
        Process::spawn(Command::new("unbound").arg("-c").arg(file).stderr(log).stdout(Stdio::null()));
    eventually("the made name space is served", || {
        let log = fs::read_to_string(dir.join("unbound.log")).unwrap_or_default();
        assert!(process.is_running(), "unbound ended: {log}");
        log.contains("start of service")
    });
    process
}

fn file_of(zone: &str) -> String {
    format!("zone-{zone}")
}

fn text_of(zone: &str, records: &str) -> String {
    let origin = if zone == "." { String::new() } else { zone.to_owned() };
    format!(
        "$ORIGIN {zone}\n$TTL 300\n@ SOA ns.{origin} root.{origin} 1 3600 600 86400 60\n@ NS ns.{origin}\nns A 127.0.0.1\n{records}"
    )
}

/// Signs a zone with a key of its own. The DS records of signed children are taken from their files.
fn sign(dir: &Path, zone: &str, records: &str) {
    let unsigned = dir.join(format!("unsigned-{zone}"));
    fs::write(&unsigned, text_of(zone, records)).expect("a file");
    let key =
        run(Command::new("dnssec-keygen").args(["-q", "-a", "13", "-f", "KSK", "-K"]).arg(dir).arg(zone));
    let mut command = Command::new("dnssec-signzone");
    command.args(["-q", "-z", "-g", "-S", "-o", zone, "-f"]).arg(dir.join(file_of(zone)));
    command.arg("-d").arg(dir).arg("-K").arg(dir).arg(unsigned).arg(key.trim());
    run(command.current_dir(dir));
}
