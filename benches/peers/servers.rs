//! The servers that are measured, each on the first core and on a port of its own.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Names that are asked for again and again.
pub(crate) const NAMES: u64 = 10_000;

/// Further names of a large site.
pub(crate) const LARGE: u64 = 200_000;

/// The size of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    Small,
    Large,
}

/// A server that runs; it ends with this.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts a command on some cores, and waits until it answers anything.
    pub(crate) fn start(cores: &str, port: u16, command: &[&str]) -> Self {
        let process = Command::new("taskset")
            .args(["-c", cores])
            .args(command)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("taskset");
        let server = Self { process, address: ([127, 0, 0, 1], port).into() };
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(server.address).expect("connected");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket");
        let end = Instant::now() + Duration::from_secs(60);
        let query = [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], &name("s1.a.skydns.local", 1)[..]].concat();
        let mut reply = [0; 4096];
        while Instant::now() < end {
            let answered = socket.send(&query).and_then(|_| socket.recv(&mut reply));
            // Not before it knows the names.
            if answered.is_ok() && reply[3] & 0x0f != 2 {
                return server;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{command:?} does not answer");
    }

    /// Nanoseconds of processor time so far.
    pub(crate) fn cpu(&self) -> u64 {
        let tasks = format!("/proc/{}/task", self.process.id());
        let threads = fs::read_dir(tasks).into_iter().flatten().flatten();
        let spent = |path: &Path| {
            let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0)
        };
        threads.map(|thread| spent(&thread.path())).sum()
    }

    /// Resident memory in megabytes.
    pub(crate) fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
        line.split_whitespace().next().and_then(|kilobytes| kilobytes.parse::<f64>().ok()).unwrap_or(0.0)
            / 1024.0
    }
}

/// A question as it stands in a packet.
pub(crate) fn name(text: &str, rtype: u16) -> Vec<u8> {
    let mut octets = Vec::new();
    push_name(&mut octets, text);
    octets.extend(rtype.to_be_bytes());
    octets.extend([0, 1]);
    octets
}

pub(crate) fn push_name(octets: &mut Vec<u8>, text: &str) {
    for label in text.split('.') {
        octets.push(u8::try_from(label.len()).expect("a label"));
        octets.extend(label.as_bytes());
    }
    octets.push(0);
}

/// Whether a program is installed.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').any(|dir| Path::new(dir).join(program).exists())
}

fn address(number: u64) -> String {
    format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255)
}

/// The records of the agent: services with an address each, with ten and fifty, and with a text.
pub(crate) fn records(dir: &Path, site: Site) {
    let write = |at: &str, value: String| {
        let path = dir.join("local/skydns").join(at);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, value).expect("a file");
    };
    for n in 0..NAMES {
        let text = format!("text of number {n}");
        write(&format!("a/s{n}"), format!(r#"{{"host":"{}","port":80,"text":"{text}"}}"#, address(n)));
    }
    for n in 0..NAMES / 10 {
        for m in 0..10 {
            let host = address(100_000 + 10 * n + m);
            write(&format!("ten/s{n}/{m}"), format!(r#"{{"host":"{host}","port":80}}"#));
        }
    }
    for n in 0..NAMES {
        let host = address(300_000 + n);
        write(&format!("fifty/s{}/{n}", n / 50), format!(r#"{{"host":"{host}","port":80}}"#));
    }
    for n in 0..if site == Site::Large { LARGE } else { 0 } {
        write(&format!("large/s{n}"), format!(r#"{{"host":"{}"}}"#, address(400_000 + n)));
    }
}

/// The agent on a port, with further arguments.
pub(crate) fn agent(cores: &str, (wildcard, port): (bool, u16), records: &Path, more: &[&str]) -> Server {
    let ip = if wildcard { "0.0.0.0" } else { "127.0.0.1" };
    let (listen, records) = (format!("{ip}:{port}"), records.display().to_string());
    let workers = if cores.contains(',') { "2" } else { "1" };
    let program = env!("CARGO_BIN_EXE_skydns");
    let own = [program, "-addr", &listen, "-records", &records, "-workers", workers];
    Server::start(cores, port, &[&own[..], more].concat())
}

/// A zone file with the same names as the agent's first ones.
fn zone(site: Site) -> String {
    let mut zone = "$ORIGIN skydns.local.\n$TTL 3600\n@ SOA ns.dns hostmaster 1 28800 7200 604800 60\n@ NS ns.dns\nns.dns A 127.0.0.1\n".to_owned();
    for n in 0..NAMES {
        zone += &format!("s{n}.a A {}\ns{n}.a TXT \"text of number {n}\"\n", address(n));
        zone += &format!("s{n}.a SRV 10 100 80 s{n}.a\n");
    }
    for n in 0..if site == Site::Large { LARGE } else { 0 } {
        zone += &format!("s{n}.large A {}\n", address(400_000 + n));
    }
    zone
}

/// Knot with such a zone, signed online if `signing`.
pub(crate) fn knot(dir: &Path, port: u16, signing: bool, workers: usize, site: Site) -> Server {
    let place = dir.join(if signing { "knot-signing" } else { "knot" });
    fs::create_dir_all(place.join("db")).expect("a directory");
    fs::write(place.join("zone"), zone(site)).expect("a file");
    let module = if signing { "   module: mod-onlinesign\n" } else { "" };
    let conf = format!(
        "server:\n  rundir: {0}\n  udp-workers: {workers}\n  tcp-workers: {workers}\n  background-workers: 1\n  listen: 127.0.0.1@{port}\n\
         database:\n  storage: {0}/db\nlog:\n - target: stderr\n   any: error\ntemplate:\n - id: default\n   storage: {0}\n   \
         zonefile-sync: -1\n   journal-content: none\nzone:\n - domain: skydns.local\n   file: {0}/zone\n{module}",
        place.display()
    );
    let file = place.join("conf");
    fs::write(&file, conf).expect("a file");
    let cores = if workers == 1 { "0" } else { "0,1" };
    Server::start(cores, port, &["knotd", "-c", &file.display().to_string()])
}

/// PowerDNS with such a zone, which it signs when it is asked, with white lies.
pub(crate) fn powerdns(dir: &Path, port: u16) -> Server {
    let place = dir.join("powerdns");
    let at = place.display();
    if !place.exists() {
        fs::create_dir_all(&place).expect("a directory");
        fs::write(place.join("zone"), zone(Site::Small)).expect("a file");
        let named = format!("zone \"skydns.local\" {{ type master; file \"{at}/zone\"; }};\n");
        fs::write(place.join("named.conf"), named).expect("a file");
        let conf = format!(
            "launch=bind\nbind-config={at}/named.conf\nbind-dnssec-db={at}/keys\nsocket-dir={at}\n\
             local-address=127.0.0.1\nsecurity-poll-suffix=\nreceiver-threads=1\ndistributor-threads=1\n\
             signing-threads=1\n"
        );
        fs::write(place.join("pdns.conf"), conf).expect("a file");
        let util = |args: &[&str]| {
            let output = Command::new("pdnsutil")
                .arg(format!("--config-dir={at}"))
                .args(args)
                .output()
                .expect("pdnsutil");
            assert!(output.status.success(), "{output:?}");
        };
        util(&["create-bind-db", &format!("{at}/keys")]);
        util(&["secure-zone", "skydns.local"]);
        util(&["set-nsec3", "skydns.local", "1 0 0 -", "narrow"]);
    }
    let (config, port_is) = (format!("--config-dir={at}"), format!("--local-port={port}"));
    Server::start("0", port, &["pdns_server", &config, &port_is, "--daemon=no", "--guardian=no"])
}

/// unbound that forwards to an upstream.
pub(crate) fn unbound(dir: &Path, port: u16, upstream: SocketAddr) -> Server {
    let conf = format!(
        "server:\n  interface: 127.0.0.1@{port}\n  num-threads: 1\n  username: \"\"\n  chroot: \"\"\n  directory: {}\n  \
         pidfile: \"\"\n  use-syslog: no\n  do-daemonize: no\n  module-config: iterator\n  do-not-query-localhost: no\n  \
         msg-cache-size: 64m\n  rrset-cache-size: 64m\n  outgoing-range: 4096\n  num-queries-per-thread: 2048\n\
         forward-zone:\n  name: .\n  forward-addr: 127.0.0.1@{}\nremote-control:\n  control-enable: no\n",
        dir.display(),
        upstream.port()
    );
    let file = dir.join("unbound.conf");
    fs::write(&file, conf).expect("a file");
    Server::start("0", port, &["unbound", "-d", "-c", &file.display().to_string()])
}

/// dnsmasq that forwards to an upstream.
pub(crate) fn dnsmasq(port: u16, upstream: SocketAddr) -> Server {
    let server = format!("--server=127.0.0.1#{}", upstream.port());
    let port_is = format!("--port={port}");
    let args = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file="];
    let more =
        ["--listen-address=127.0.0.1", "--bind-interfaces", "--cache-size=20000", "--dns-forward-max=2000"];
    Server::start("0", port, &[&["dnsmasq"][..], &args, &more, &[&server, &port_is]].concat())
}
