//! Settings that cannot be used, on booted machines: the host goes on to resolve names, and the operator is told.

mod support;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use std::fmt::Write as _;
use std::fs;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::boot::{Machine, machines, packages, say};
use support::plain_host::{self, ask_upstream, install_with_records, socket_to_agent, status, until_served};
use support::query;
use support::upstream::Upstream;

/// A name of the site, and one of the world.
const NAMES: [&str; 2] = ["web.example.skydns.local.", "www.example.org."];

/// Pause between two questions.
const PACE: Duration = Duration::from_millis(5);

/// How long an answer is waited for at the end: a restart may hold questions up, and the machine may be busy.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// Asks the names of [`NAMES`] in turn, all the time, over one socket.
struct Asker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<bool>>,
}

impl Asker {
    fn start(machine: &Machine) -> Self {
        let socket = socket_to_agent(machine);
        socket.set_nonblocking(true).expect("a socket");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut answered: Vec<bool> = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let mut question = query(NAMES[answered.len() % 2], RecordType::A);
                question.metadata.id = u16::try_from(answered.len()).expect("a short test");
                // A socket whose other end is not there yet refuses.
                if socket.send(&question.to_vec().expect("a message")).is_ok() {
                    answered.push(false);
                }
                std::thread::sleep(PACE);
                take_answers(&socket, &mut answered);
            }
            let end = Instant::now() + LAST_ANSWERS;
            while answered.contains(&false) && Instant::now() < end {
                std::thread::sleep(PACE);
                take_answers(&socket, &mut answered);
            }
            answered
        });
        Self { stop, thread }
    }

    /// How many questions there were, and how many were not answered with an address.
    fn finish(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let answered = self.thread.join().expect("an asker");
        (answered.len(), answered.iter().filter(|answered| !**answered).count())
    }
}

fn take_answers(socket: &UdpSocket, answered: &mut [bool]) {
    let mut buffer = [0; 1_500];
    while let Ok(len) = socket.recv(&mut buffer) {
        let reply = Message::from_vec(&buffer[..len]).expect("a reply");
        if let Some(answered) = answered.get_mut(usize::from(reply.metadata.id)) {
            *answered |= !reply.answers.is_empty();
        }
    }
}

/// Something that cannot be used.
struct BadSetting {
    what: &'static str,
    /// The script that brings it in.
    script: &'static str,
    /// The script that takes it out.
    undo: &'static str,
    /// A part of the status line.
    told: &'static str,
    /// Whether a reload reads it; otherwise only a restart does.
    is_reloaded: bool,
}

const fn bad(what: &'static str, script: &'static str, undo: &'static str, told: &'static str) -> BadSetting {
    BadSetting { what, script, undo, told, is_reloaded: true }
}

const UPGRADE: &str = "apt-get install -y --reinstall /t/next.deb";

const DROP_IN: &str = "rm -rf /etc/skydns/skydns.conf.d/50-bad.conf";

const BAD_SETTINGS: [BadSetting; 17] = [
    bad(
        "a variable of the package's file",
        "echo SKYDNS_NDOTS=many >> /etc/default/skydns",
        "sed -i /SKYDNS_NDOTS=many/d /etc/default/skydns",
        ": SKYDNS_NDOTS: \"many\" is not a whole number",
    ),
    bad(
        "a pipe for the package's file",
        "mv /etc/default/skydns /root/skydns.default; mkfifo /etc/default/skydns",
        "rm /etc/default/skydns; mv /root/skydns.default /etc/default/skydns",
        "/etc/default/skydns: cannot be read: it is not a regular file",
    ),
    bad(
        "a domain",
        "echo SKYDNS_DOMAIN=a..b > /etc/skydns/skydns.conf.d/50-bad.conf",
        DROP_IN,
        "refused: /etc/skydns/skydns.conf.d/50-bad.conf:1: SKYDNS_DOMAIN: \"a..b\" is not a domain name",
    ),
    bad(
        "an unknown name",
        "echo SKYDNS_TLT=7 > /etc/skydns/skydns.conf.d/50-bad.conf",
        DROP_IN,
        "50-bad.conf:1: SKYDNS_TLT: no setting has this name; SKYDNS_TTL is the nearest one",
    ),
    bad(
        "a line without a variable",
        "printf '\\nexport\\n' > /etc/skydns/skydns.conf.d/50-bad.conf",
        DROP_IN,
        "50-bad.conf:2: the line has no \"=\"",
    ),
    bad(
        "a pipe for a file",
        "mkfifo /etc/skydns/skydns.conf.d/50-bad.conf",
        DROP_IN,
        "50-bad.conf: cannot be read: it is not a regular file",
    ),
    bad(
        "a file that is no text",
        "head -c 4096 /dev/urandom | tr -d '\\n=' > /etc/skydns/skydns.conf.d/50-bad.conf; echo x >> /etc/skydns/skydns.conf.d/50-bad.conf",
        DROP_IN,
        "50-bad.conf:",
    ),
    bad(
        "a file that only root reads",
        "install -m 600 /dev/null /etc/skydns/skydns.conf.d/50-bad.conf; echo SKYDNS_TTL=7 > /etc/skydns/skydns.conf.d/50-bad.conf",
        DROP_IN,
        "50-bad.conf: cannot be read: Permission denied",
    ),
    bad(
        "a field of the store",
        "echo '{\"ttl\":\"60\",\"min_ttl\":7}' > /etc/skydns/records/config",
        "rm /etc/skydns/records/config",
        "/skydns/config: field \"ttl\": \"60\" is not a whole number",
    ),
    bad(
        "JSON of the store",
        "echo '{' > /etc/skydns/records/config",
        "rm /etc/skydns/records/config",
        "/skydns/config: the value is not a JSON object",
    ),
    bad(
        "a DNSSEC key",
        "echo SKYDNS_DNSSEC=Kskydns.local.+013+00001 > /etc/skydns/skydns.conf.d/50-bad.conf",
        DROP_IN,
        "cannot be read: No such file or directory (os error 2); the domain stays unsigned",
    ),
    bad(
        "a certificate",
        "echo ETCD_CACERT=/etc/skydns/none.pem > /etc/skydns/skydns.conf.d/50-bad.conf",
        DROP_IN,
        "50-bad.conf:1: ETCD_CACERT: /etc/skydns/none.pem: cannot be read",
    ),
    bad(
        "a records directory",
        "echo SKYDNS_RECORDS=/etc/skydns/none > /etc/skydns/skydns.conf.d/50-bad.conf",
        DROP_IN,
        "50-bad.conf:1: SKYDNS_RECORDS: the directory /etc/skydns/none cannot be read: No such file",
    ),
    bad(
        "a state directory",
        "echo SKYDNS_STATE_DIR=/proc > /etc/skydns/skydns.conf.d/50-bad.conf",
        DROP_IN,
        "50-bad.conf:1: SKYDNS_STATE_DIR: no file can be made in the directory /proc: ",
    ),
    bad(
        "a variable of metrics",
        "echo PROMETHEUS_PORT=http > /etc/skydns/skydns.conf.d/50-bad.conf",
        DROP_IN,
        "50-bad.conf:1: PROMETHEUS_PORT: \"http\" is not a port",
    ),
    bad(
        "a variable of statistics",
        "echo GRAPHITE_SERVER=graphite > /etc/skydns/skydns.conf.d/50-bad.conf",
        DROP_IN,
        "50-bad.conf:1: GRAPHITE_SERVER: \"graphite\" is not a host and port",
    ),
    BadSetting {
        what: "a socket of a wrong kind",
        script: "mkdir -p /etc/systemd/system/skydns.socket.d\n\
                 printf '[Socket]\\nListenStream=/run/skydns.sock\\n' > /etc/systemd/system/skydns.socket.d/bad.conf\n\
                 systemctl daemon-reload; systemctl stop skydns.service skydns.socket; systemctl start skydns.socket skydns.service",
        undo: "rm /etc/systemd/system/skydns.socket.d/bad.conf; systemctl daemon-reload\n\
               systemctl stop skydns.service skydns.socket; systemctl start skydns.socket skydns.service",
        told: "(skydns.socket) is a Unix socket",
        is_reloaded: false,
    },
];

/// A machine whose agent answers, and the upstream that it forwards to.
fn host(release: &'static str) -> (Machine, Upstream) {
    let machine = Machine::boot(release);
    ask_upstream(&machine);
    let upstream = plain_host::upstream(&machine);
    fs::copy(&packages().next, machine.shared().join("next.deb")).expect("a package");
    install_with_records(&machine);
    machine.run("systemctl enable --now skydns.socket skydns.service");
    until_served(&machine);
    machine.until("cat /var/lib/skydns/settings", "skydns.local");
    (machine, upstream)
}

/// Runs a script while names are asked; the script may fail. None of the questions may go without an answer.
fn while_asked(machine: &Machine, what: &str, script: &str, table: &mut String) -> bool {
    let asker = Asker::start(machine);
    let (success, text) = machine.try_run(script);
    let (asked, lost) = asker.finish();
    let _ = writeln!(table, "| {what:<60} | {asked:>5} | {lost:>4} |");
    assert_eq!(lost, 0, "{what}\n{table}\n{text}\n{}", machine.journal());
    success
}

fn bad_settings_cost_themselves(release: &'static str) {
    let (mut machine, mut upstream) = host(release);
    let mut table = format!("\n{release}: names asked over UDP all the time\n");
    for BadSetting { what, script, undo, told, is_reloaded } in &BAD_SETTINGS {
        let is_told = |machine: &Machine, when: &str| {
            machine.until("systemctl show -P StatusText skydns.service", told);
            machine.until("journalctl -u skydns --no-pager", told);
            let (success, text) = machine.try_run("skydns check -offline");
            let is_socket = what.contains("socket");
            assert!(is_socket || !success && text.contains("problem: "), "{what}, {when}: {text}");
        };
        if *is_reloaded {
            machine.run(script);
            let success =
                while_asked(&machine, &format!("{what}: reload"), "systemctl reload skydns", &mut table);
            assert!(!success, "{what}: the reload has to fail\n{}", status(&machine));
            is_told(&machine, "reload");
        } else {
            machine.run(script);
        }
        let restart = "systemctl restart skydns.service";
        assert!(while_asked(&machine, &format!("{what}: restart"), restart, &mut table), "{what}");
        is_told(&machine, "restart");
        // These take ten seconds each, so they come one by one only if that is asked for.
        if std::env::var_os("SKYDNS_SETTINGS").is_some() {
            assert!(while_asked(&machine, &format!("{what}: upgrade"), UPGRADE, &mut table), "{what}");
            is_told(&machine, "upgrade");
            drop(upstream);
            machine.reboot();
            upstream = plain_host::upstream(&machine);
            machine.until("systemctl is-active skydns.service", "active");
            while_asked(&machine, &format!("{what}: boot"), "sleep 0.5", &mut table);
            is_told(&machine, "boot");
        }
        machine.run(undo);
        machine.run("systemctl reload skydns");
        assert!(!status(&machine).contains("refused"), "{what}: {}", status(&machine));
    }

    // All at once, over an upgrade and a boot.
    let drop_ins = BAD_SETTINGS.iter().filter(|bad| bad.undo == DROP_IN && !bad.what.contains("pipe"));
    for (number, bad) in drop_ins.enumerate() {
        machine.run(&bad.script.replace("50-bad", &format!("{}-bad", 50 + number)));
    }
    machine.run("echo '{' > /etc/skydns/records/config; echo x > '/etc/skydns/keys/a:b'");
    assert!(while_asked(&machine, "all of them: upgrade", UPGRADE, &mut table));
    drop(upstream);
    machine.reboot();
    let _upstream = plain_host::upstream(&machine);
    machine.until("systemctl is-active skydns.service", "active");
    while_asked(&machine, "all of them: boot", "sleep 1", &mut table);
    assert!(status(&machine).matches("refused: ").count() >= 9, "{}", status(&machine));
    assert_eq!(machine.run("systemctl show -P NRestarts skydns.service"), "0");
    say(&table);
}

#[test]
fn bad_settings_cost_themselves_on_debian_12() {
    let Some(_machines) = machines("bad settings on Debian 12") else { return };
    bad_settings_cost_themselves("bookworm");
}

#[test]
fn bad_settings_cost_themselves_on_debian_13() {
    let Some(_machines) = machines("bad settings on Debian 13") else { return };
    bad_settings_cost_themselves("trixie");
}

#[test]
fn what_an_operator_asks_for_is_what_the_unit_does() {
    let Some(_machines) = machines("settings of the unit") else { return };
    let (machine, _upstream) = host("trixie");
    // check and ds read what the service reads, as the service would.
    machine.run("echo SKYDNS_DNSSEC=keys > /etc/skydns/skydns.conf.d/30-sign.conf");
    machine.run("cd /etc/skydns/keys && skydns keygen skydns.local && systemctl reload skydns");
    let served = machine.run("dig @127.0.0.1 +short skydns.local CDS").replace(' ', "");
    let digest: String =
        machine.run("skydns ds | grep 'IN DS' | head -1").split_whitespace().skip(3).collect();
    assert!(served.lines().any(|line| line == digest), "{served}\n{digest}");
    assert_eq!(machine.run("skydns check -offline | tail -1"), "everything is in order");
    machine.run("chmod 700 /etc/skydns/records");
    let (success, text) = machine.try_run("skydns check -offline -records /etc/skydns/records");
    assert!(!success && text.contains("/etc/skydns/records cannot be read: Permission denied"), "{text}");
    machine.run("chmod 755 /etc/skydns/records");
    // As Ansible has a file validated.
    machine.run("install -m 600 /dev/null /root/new.conf; echo SKYDNS_TTL=x > /root/new.conf");
    let (success, text) = machine.try_run("skydns check -offline /root/new.conf; echo $?");
    assert!(
        success && text.contains("problem: /root/new.conf:1: SKYDNS_TTL:") && text.ends_with("78\n"),
        "{text}"
    );
    assert_eq!(machine.run("ls /run /tmp | grep -c skydns-check || true"), "0");

    // The name of the host.
    machine
        .run("echo 'SKYDNS_LOCAL={hostname}.hosts.skydns.local' > /etc/skydns/skydns.conf.d/40-local.conf");
    machine.run("mkdir -p /etc/skydns/records/local/skydns/hosts; systemctl reload skydns");
    machine.run("echo '{\"host\":\"192.0.2.41\"}' > /etc/skydns/records/local/skydns/hosts/renamed");
    machine.run("hostname renamed");
    machine.until("dig @127.0.0.1 +short local.dns.skydns.local A", "192.0.2.41");

    // Strictness, for those who want it.
    machine.run("printf 'SKYDNS_STRICT=true\\nSKYDNS_TTL=x\\n' > /etc/skydns/skydns.conf.d/50-strict.conf");
    let (success, _) = machine.try_run("systemctl reload skydns");
    assert!(!success && status(&machine).contains("reload failed at "), "{}", status(&machine));
    machine.run("rm /etc/skydns/skydns.conf.d/50-strict.conf; systemctl reload skydns");
    assert!(!status(&machine).contains("failed"));
}
