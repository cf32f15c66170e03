//! When the agent keeps dying: the rescue alone, and booted machines whose agent is ended again and again, with probers that
//! must get answers.

#[path = "support/kubernetes/mod.rs"]
mod kubernetes;
mod support;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::boot::{Machine, machines, say};
use support::plain_host::{
    AGENT, ask_upstream, install_with_records, socket_to_agent, until_served, upstream,
};
use support::upstream::Upstream;
use support::{Process, Setup, Stream, ask, eventually, exchange, query};

/// Longest time that a host may be without an answer.
const MOST: Duration = Duration::from_secs(2);

/// Longest time from the end of the cause to full service.
const UNTIL_WELL: Duration = Duration::from_secs(60);

/// After which the C library asks again: on a busy machine the second question may be lost as well.
const RETRY: Duration = Duration::from_secs(1);

/// A name that ends a build for tests.
const POISON: &str = "fault-abort.example.org.";

/// A rescue with sockets of ours.
struct Rescue {
    _process: Process,
    address: SocketAddr,
    guard: tempfile::TempDir,
    _files: tempfile::TempDir,
}

impl Rescue {
    /// Starts one with upstreams, flags, and files of the guard.
    fn start(upstreams: &[SocketAddr], args: &[&str], marks: &[&str]) -> Self {
        let guard = tempfile::tempdir().expect("a directory");
        for mark in marks {
            fs::write(guard.path().join(mark), "the test says so\n").expect("a file");
        }
        let upstreams = upstreams.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let setup = Setup::new()
            .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
            .record("/skydns/example/corp/a", r#"{"host":"10.0.0.2"}"#)
            .variable("SKYDNS_GUARD", guard.path().to_str().expect("a path"))
            .args(&["-nameservers", &upstreams])
            .args(args)
            .args(&["rescue"])
            .without_address();
        let (command, _, files) = setup.command();
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("an address")) {
                break (tcp, udp);
            }
        };
        let address = udp.local_addr().expect("an address");
        let process = Process::spawn_with_sockets(&command, [udp.into(), tcp.into()]);
        Self { _process: process, address, guard, _files: files }
    }

    fn rcode(&self, name: &str) -> ResponseCode {
        ask(self.address, &query(name, RecordType::A)).metadata.response_code
    }

    fn addresses(&self, name: &str) -> Vec<String> {
        let reply = ask(self.address, &query(name, RecordType::A));
        reply.answers.iter().map(|record| record.data.to_string()).collect()
    }
}

#[test]
fn the_rescue_passes_questions_on_and_answers_names_of_the_records() {
    let upstream = Upstream::addresses([192, 0, 2, 99], 60);
    let rescue = Rescue::start(&[upstream.address], &[], &["reason"]);
    assert_eq!(rescue.addresses("www.example.org."), ["192.0.2.99"]);
    // What ends a build for tests is only passed on.
    assert_eq!(rescue.addresses(POISON), ["192.0.2.99"]);
    assert_eq!(rescue.addresses("a.skydns.local."), ["10.0.0.1"]);
    assert_eq!(rescue.rcode("b.skydns.local."), ResponseCode::NXDomain);
    assert_eq!(rescue.rcode("localhost."), ResponseCode::NoError);
    assert_eq!(upstream.count(), 2, "names of our own are asked of nobody");
    let mut stream = Stream::connect(rescue.address);
    for (name, address) in [("www.example.org.", "192.0.2.99"), ("a.skydns.local.", "10.0.0.1")] {
        let reply = stream.ask(&query(name, RecordType::A));
        assert_eq!(reply.answers[0].data.to_string(), address);
    }
    // Ids and ports are new for each question.
    let seen = upstream.seen();
    assert_ne!(seen[0].1.port(), seen[1].1.port());
    assert!(rescue.guard.path().join("reason").exists());
}

#[test]
fn the_rescue_answers_names_of_a_cluster_from_its_snapshot() {
    let server = kubernetes::server::ApiServer::with_cases();
    let state = tempfile::tempdir().expect("a directory");
    let (url, state_dir) = (server.url(), state.path().display().to_string());
    let of_cluster =
        ["-kubernetes", "-master", &url, "-kubernetes-domain", "cluster.local", "-state-dir", &state_dir];
    let mut agent = Setup::new().args(&of_cluster).start();
    eventually("the agent is in step", || {
        !agent.data("web.shop.svc.cluster.local.", RecordType::A).is_empty()
    });
    agent.process.signal("-TERM");
    agent.process.wait();
    let rescue = Rescue::start(&[], &of_cluster, &[]);
    assert_eq!(rescue.addresses("web.shop.svc.cluster.local."), ["10.96.0.10"]);
    assert_eq!(rescue.addresses("db.shop.svc.cluster.local.").len(), 2);
    assert_eq!(rescue.addresses("a.skydns.local."), ["10.0.0.1"]);
    // Without it nothing is denied.
    std::fs::remove_file(state.path().join("snapshot-kubernetes")).expect("removed");
    let rescue = Rescue::start(&[], &of_cluster, &[]);
    assert_eq!(rescue.rcode("web.shop.svc.cluster.local."), ResponseCode::ServFail);
}

#[test]
fn the_rescue_asks_the_next_upstream_and_ends_its_waits() {
    let silent = Upstream::raw(|_, _| None);
    let good = Upstream::addresses([192, 0, 2, 99], 60);
    let rescue = Rescue::start(&[silent.address, good.address], &[], &[]);
    assert_eq!(rescue.addresses("one.example.org."), ["192.0.2.99"]);
    let before = silent.count();
    assert_eq!(rescue.addresses("two.example.org."), ["192.0.2.99"]);
    assert_eq!(silent.count(), before, "the one that answered is asked first");
    let alone = Rescue::start(&[silent.address], &[], &[]);
    assert_eq!(alone.rcode("www.example.org."), ResponseCode::ServFail);
    let none = Rescue::start(&[alone.address], &[], &[]);
    assert_eq!(none.rcode("www.example.org."), ResponseCode::ServFail);
}

#[test]
fn the_rescue_never_answers_unsigned_for_a_signed_zone() {
    let upstream = Upstream::addresses([192, 0, 2, 99], 60);
    let rescue = Rescue::start(&[upstream.address], &["-dnssec", "/no/such/key"], &[]);
    assert_eq!(rescue.rcode("a.skydns.local."), ResponseCode::ServFail);
    assert_eq!(support::error_code(rescue.address, "a.skydns.local."), Some(10));
    assert_eq!(rescue.addresses("www.example.org."), ["192.0.2.99"]);
}

#[test]
fn the_rescue_serves_all_domains_each_in_its_way() {
    let upstream = Upstream::addresses([192, 0, 2, 99], 60);
    let zones = r#"{"corp.example": {"mode": "exact", "ttl": 77}, "example": {"fallthrough": true}}"#;
    let domains = "skydns.local,corp.example,example,10.0.0.0/8";
    let args = ["-domain", domains, "-zones", zones, "-auto-ptr", "all"];
    let rescue = Rescue::start(&[upstream.address], &args, &[]);
    eventually("the records are read", || rescue.addresses("a.skydns.local.") == ["10.0.0.1"]);
    let corp = ask(rescue.address, &query("a.corp.example.", RecordType::A));
    assert_eq!((corp.answers[0].data.to_string(), corp.answers[0].ttl), ("10.0.0.2".to_owned(), 77));
    let parent = ask(rescue.address, &query("corp.example.", RecordType::A));
    assert!(parent.answers.is_empty(), "in exact mode the apex has no addresses of names below it");
    assert_eq!(rescue.addresses("skydns.local."), ["10.0.0.1"], "in SkyDNS's it has");
    assert_eq!(rescue.rcode("b.corp.example."), ResponseCode::NXDomain);
    assert_eq!(rescue.addresses("other.example."), ["192.0.2.99"], "what the domain has not is passed on");
    let pointer = ask(rescue.address, &query("2.0.0.10.in-addr.arpa.", RecordType::PTR));
    assert_eq!(pointer.answers[0].data.to_string(), "a.corp.example.");
    assert_eq!(rescue.rcode("3.0.0.10.in-addr.arpa."), ResponseCode::NXDomain);
}

#[test]
fn the_rescue_has_the_settings_that_only_the_agent_was_told() {
    let upstream = Upstream::addresses([192, 0, 2, 99], 60);
    for is_flag in [true, false] {
        let state = tempfile::tempdir().expect("a directory");
        let state_dir = state.path().to_str().expect("a path");
        let told = ["-domain", "corp.example", "-ndots", "1"];
        let agent = Setup::new().args(&["-state-dir", state_dir]);
        let agent = if is_flag {
            agent.args(&told)
        } else {
            agent.variable("SKYDNS_DOMAIN", told[1]).variable("SKYDNS_NDOTS", told[3])
        };
        let agent = agent.start();
        let kept = || fs::read_to_string(state.path().join("settings")).unwrap_or_default();
        eventually("the settings are kept", || kept().contains("corp.example"));
        drop(agent);
        let rescue = Rescue::start(&[upstream.address], &["-state-dir", state_dir], &[]);
        assert_eq!(rescue.addresses("a.corp.example."), ["10.0.0.2"], "{}", kept());
        assert_eq!(rescue.rcode("b.corp.example."), ResponseCode::NXDomain);
        assert_eq!(upstream.count(), 0, "names of our own are asked of nobody");
        // What it is told itself counts.
        let rescue =
            Rescue::start(&[upstream.address], &["-state-dir", state_dir, "-domain", "skydns.local"], &[]);
        assert_eq!(rescue.addresses("a.skydns.local."), ["10.0.0.1"]);
    }
}

#[test]
fn a_rescue_that_only_forwards_fails_names_of_our_own() {
    let upstream = Upstream::addresses([192, 0, 2, 99], 60);
    let rescue = Rescue::start(&[upstream.address], &[], &["only-forward"]);
    assert_eq!(rescue.rcode("a.skydns.local."), ResponseCode::ServFail);
    assert_eq!(rescue.addresses("www.example.org."), ["192.0.2.99"]);
    assert_eq!(upstream.count(), 1);
    // Garbage gets an error, or nothing, and harms nobody.
    assert!(
        exchange(rescue.address, &[0; 12], Duration::from_secs(5)).is_some_and(|reply| reply[3] & 15 == 1)
    );
    eventually("it goes on", || rescue.addresses("www.example.org.") == ["192.0.2.99"]);
}

/// A machine whose agent is in service, and the upstream of it.
struct Host {
    machine: Machine,
    _upstream: Upstream,
    table: String,
}

impl Host {
    fn boot(release: &'static str) -> Self {
        let machine = Machine::boot(release);
        ask_upstream(&machine);
        // Without an address beside the loopback one getaddrinfo gives none.
        machine.run("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up");
        machine.run("ip address add 192.0.2.2/24 dev up0");
        fs::copy(env!("CARGO_BIN_EXE_skydns"), machine.shared().join("tests-build")).expect("a program");
        install_with_records(&machine);
        let upstream = upstream(&machine);
        machine.run("systemctl enable --now skydns.socket");
        until_served(&machine);
        machine.run("skydns resolv-conf enable");
        machine.run("cp /usr/bin/skydns /t/release; cp /etc/skydns/resolv.conf /t/resolv.conf");
        let table = format!(
            "\n{release}\n| what ends the agent            | no answer for | getent | full service after |\n\
             |--------------------------------|---------------|--------|--------------------|\n"
        );
        Self { machine, _upstream: upstream, table }
    }

    /// Puts another program in the place of /usr/bin/skydns, as a package does.
    fn put(&self, program: &str) {
        self.machine
            .run(&format!("cp /t/{program} /usr/bin/skydns.new && mv /usr/bin/skydns.new /usr/bin/skydns"));
    }

    /// Does something that takes DNS away, and asks all the time; `end` ends the cause. Then all has to be well again.
    fn survives(&mut self, what: &str, cause: impl FnOnce(&Machine), end: impl FnOnce(&Machine)) {
        let serves = !what.contains("cannot run");
        // Until a program counts as one that hangs.
        let found_out = if what.contains("hangs") { Duration::from_secs(4) } else { Duration::ZERO };
        let (direct, through_libc) = (Asker::direct(&self.machine), Asker::through_libc(&self.machine));
        std::thread::sleep(Duration::from_millis(500));
        cause(&self.machine);
        end(&self.machine);
        let ended = Instant::now();
        let well = loop {
            if self.is_well() {
                break ended.elapsed();
            }
            assert!(ended.elapsed() < UNTIL_WELL * 2, "{what}: never well again\n{}", self.machine.journal());
            std::thread::sleep(Duration::from_millis(200));
        };
        std::thread::sleep(Duration::from_millis(500));
        let (direct, through_libc) = (direct.finish(), through_libc.finish());
        let _ = writeln!(
            self.table,
            "| {what:<30} | {:>11.2} s | {:>4.2} s | {:>16.1} s |",
            direct.as_secs_f64(),
            through_libc.as_secs_f64(),
            well.as_secs_f64()
        );
        say(&self.table);
        assert!(!serves || direct <= MOST, "{what}: no answer for {direct:?}\n{}", self.machine.journal());
        assert!(
            through_libc <= MOST + RETRY + found_out,
            "{what}: no answer for {through_libc:?}\n{}",
            self.machine.journal()
        );
        assert!(well <= UNTIL_WELL, "{what}: {well:?}\n{}", self.machine.journal());
    }

    /// Whether the agent serves in full, and nothing is left of what served in its place.
    fn is_well(&self) -> bool {
        let state = self.machine.try_run(
            "systemctl is-active skydns.service skydns.socket\n\
             systemctl is-active skydns-rescue.service skydns-bypass.service skydns-watch.service\n\
             systemctl --failed --no-legend | grep skydns; cmp /etc/skydns/resolv.conf /t/resolv.conf\n\
             ls /run/skydns-guard/level /etc/skydns/resolv.conf.agent 2>&- ; echo end",
        );
        state.1 == "active\nactive\ninactive\ninactive\ninactive\nend\n"
    }

    fn failed_units(&self) -> String {
        self.machine.try_run("systemctl --failed --no-legend").1
    }
}

/// Asks for names outside one after the other, and notes the longest time without an answer.
struct Asker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Asker {
    /// Asks the agent's address over UDP, a question every 20 ms.
    fn direct(machine: &Machine) -> Self {
        let socket = socket_to_agent(machine);
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let mut number = 0_u32;
        Self::start(move || {
            number += 1;
            let question = query(&format!("n{number}.example.org."), RecordType::A);
            let _ = socket.send(&question.to_vec().expect("a message"));
            let mut reply = [0; 512];
            let mut answered = false;
            while let Ok(len) = socket.recv(&mut reply) {
                answered |= len > 12 && reply[3] & 0x0f == 0 && reply[7] == 1;
                if reply[..2] == question.metadata.id.to_be_bytes() {
                    std::thread::sleep(Duration::from_millis(5));
                    break;
                }
            }
            answered
        })
    }

    /// Looks names up as every program of the host does.
    fn through_libc(machine: &Machine) -> Self {
        let leader = machine.leader().to_string();
        let mut number = 0_u32;
        Self::start(move || {
            number += 1;
            let output = Command::new("nsenter")
                .args(["-t", &leader, "-m", "-u", "-i", "-n", "-p", "--", "getent", "ahostsv4"])
                .arg(format!("g{number}.example.org"))
                .output()
                .expect("nsenter");
            String::from_utf8_lossy(&output.stdout).contains("192.0.2.99")
        })
    }

    fn start(mut ask: impl FnMut() -> bool + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut last, mut gap) = (Instant::now(), Duration::ZERO);
            while !asked.load(Ordering::Relaxed) {
                if ask() {
                    gap = gap.max(last.elapsed());
                    last = Instant::now();
                }
            }
            gap.max(last.elapsed())
        });
        Self { stop, thread }
    }

    fn finish(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the asker")
    }
}

/// Does something all the time until it is dropped.
struct Repeated {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Repeated {
    fn start(pause: Duration, mut work: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                work();
                std::thread::sleep(pause);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Repeated {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Sends the name that ends a build for tests, ten times a second.
fn poison(machine: &Machine) -> Repeated {
    let socket = machine.within(|| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    let question = query(POISON, RecordType::A).to_vec().expect("a message");
    Repeated::start(Duration::from_millis(100), move || {
        // Not connected: no refusal of a datagram before keeps one from being sent.
        let _ = socket.send_to(&question, SocketAddr::from(AGENT));
    })
}

/// Kills the agent's main process every 100 ms.
fn kills(machine: &Machine) -> Repeated {
    let leader = machine.leader();
    let own_space = move |id: i32| {
        let space = |id: i32| fs::read_link(format!("/proc/{id}/ns/pid")).ok();
        space(id) == space(leader)
    };
    Repeated::start(Duration::from_millis(100), move || {
        let ids = fs::read_dir("/proc").expect("processes");
        for id in ids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok()) {
            let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            if command == b"/usr/bin/skydns\0" && own_space(id) {
                let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
            }
        }
    })
}

fn rescue_answers(machine: &Machine) {
    machine.until("systemctl is-active skydns-rescue.service", "active");
    machine.until("dig @127.0.0.1 +short +tries=1 +time=1 web.example.skydns.local A", "192.0.2.80");
}

fn keeps_dns(release: &'static str) {
    let mut host = Host::boot(release);
    host.put("tests-build");
    host.machine.run("systemctl restart skydns");

    host.survives(
        "one name, asked ten times a s",
        |machine| {
            let poison = poison(machine);
            rescue_answers(machine);
            machine.until("systemctl show -P StatusText skydns-rescue.service", "the agent keeps ending");
            machine.until("systemctl --failed --no-legend", "skydns-failing.service");
            machine.until(
                "journalctl -u skydns",
                "reduced after 3 ends within a minute, the last by signal ABRT",
            );
            // It is tried in full meanwhile, and goes on ending.
            std::thread::sleep(Duration::from_secs(45));
            assert!(machine.run("systemctl is-active skydns-rescue.service").contains("active"));
            drop(poison);
        },
        |_| (),
    );
    host.survives(
        "its snapshot",
        |machine| {
            machine
                .run("printf fault-abort > /var/lib/skydns/snapshot; chown skydns: /var/lib/skydns/snapshot");
            let _ = machine.try_run("systemctl restart skydns");
            machine.until("systemctl show -P StatusText skydns.service", "reduced after 3 ends");
            machine.until("systemctl --failed --no-legend", "skydns-failing.service");
            until_served(machine);
        },
        |machine| drop(machine.run("rm /var/lib/skydns/snapshot")),
    );
    host.put("release");
    host.machine.run("systemctl restart skydns");
    host.survives(
        "kill -9 every 100 ms",
        |machine| {
            let kills = kills(machine);
            rescue_answers(machine);
            std::thread::sleep(Duration::from_secs(5));
            drop(kills);
        },
        |_| (),
    );
    cannot_run(&mut host);
    cannot_run_after_all(&mut host);
    cannot_run_on_a_full_disk(&mut host);
    assert!(!host.failed_units().contains("skydns"), "{}", host.failed_units());
    asked_for(&host);
}

/// Programs that do not start: no answer comes from port 53, so resolv.conf names the upstreams.
fn cannot_run(host: &mut Host) {
    for (what, program) in [
        ("no program: it cannot run", BROKEN),
        ("it fails: it cannot run", "#!/bin/sh\nexit 1\n"),
        ("it hangs: it cannot run", "#!/bin/sh\nexec sleep 1000\n"),
    ] {
        fs::write(host.machine.shared().join("broken"), program).expect("a file");
        host.machine.run("chmod 755 /t/broken");
        host.put("broken");
        host.survives(
            what,
            |machine| {
                let _ = machine.try_run("systemctl restart skydns");
                machine.until("cat /etc/resolv.conf", "nameserver 127.0.0.9");
                machine.until("systemctl --failed --no-legend", "skydns-failing.service");
                std::thread::sleep(Duration::from_secs(3));
            },
            put_release,
        );
    }
}

/// A program that cannot run.
const BROKEN: &str = "#!/no/such/interpreter\n";

fn put_release(machine: &Machine) {
    machine.run("cp /t/release /usr/bin/skydns.new && mv /usr/bin/skydns.new /usr/bin/skydns");
}

/// What has the rescue answer at once: nothing can be served with these settings.
const STRICT: &str = "printf 'SKYDNS_STRICT=true\\nSKYDNS_TTL=abc\\n' >/etc/skydns/skydns.conf.d/10.conf";

/// Ends in the rescue by settings that the agent cannot be served with.
fn refuse_settings(machine: &Machine) {
    machine.run(STRICT);
    let (success, told) = machine.try_run("systemctl restart skydns");
    assert!(!success && told.contains("failed"), "{told}");
    rescue_answers(machine);
    // There is no snapshot.
    machine.until("systemctl show -P StatusText skydns-rescue.service", "1 name from the records; upstreams");
    machine.run("rm /etc/skydns/skydns.conf.d/10.conf");
}

/// The program is broken while the agent is tried in full, and agent and rescue are restarted at once.
fn cannot_run_after_all(host: &mut Host) {
    fs::write(host.machine.shared().join("broken"), BROKEN).expect("a file");
    host.machine.run("chmod 755 /t/broken");
    for _ in 0..3 {
        host.survives(
            "tried, then cannot run",
            |machine| {
                refuse_settings(machine);
                machine.run("systemctl restart skydns");
                machine.run("cp /t/broken /usr/bin/skydns.new; mv /usr/bin/skydns.new /usr/bin/skydns");
                let _ = machine.try_run("systemctl restart skydns");
                machine.until("cat /etc/resolv.conf", "nameserver 127.0.0.9");
                machine.until("systemctl is-active skydns-watch.service", "active");
                machine.until("systemctl is-active skydns.socket || true", "inactive");
                assert!(machine.run("cat /etc/resolv.conf").contains("nameserver 127.0.0.9"));
            },
            put_release,
        );
    }
}

/// resolv.conf cannot be written where it is.
fn cannot_run_on_a_full_disk(host: &mut Host) {
    host.machine.run(
        "cp -a /etc/skydns /t/etc; mount -t tmpfs -o size=300k,mode=755 tmpfs /etc/skydns\n\
         cp -a /t/etc/. /etc/skydns",
    );
    host.survives(
        "full disk, cannot run",
        |machine| {
            let _ = machine.try_run("dd if=/dev/zero of=/etc/skydns/fill bs=4k");
            machine.run("cp /t/broken /usr/bin/skydns.new; mv /usr/bin/skydns.new /usr/bin/skydns");
            let _ = machine.try_run("systemctl restart skydns");
            machine.until("cat /etc/resolv.conf", "nameserver 127.0.0.9");
            machine.run("rm /etc/skydns/fill");
        },
        put_release,
    );
    host.machine.run("umount /etc/skydns");
}

/// What an operator asks for is no end that counts, and stops everything.
fn asked_for(host: &Host) {
    let machine = &host.machine;
    for _ in 0..5 {
        machine.run("systemctl restart skydns");
    }
    assert!(host.is_well(), "{}", machine.journal());
    host.put("tests-build");
    machine.run("systemctl restart skydns");
    let poison = poison(machine);
    rescue_answers(machine);
    machine.run("systemctl stop skydns.socket skydns.service");
    let units =
        "skydns.socket skydns.service skydns-rescue.service skydns-watch.service skydns-bypass.service";
    let active = "grep -c '^active\\|^activating\\|^deactivating'; echo end";
    machine.until(&format!("systemctl is-active {units} | {active}"), "0\nend");
    drop(poison);
    machine.run("systemctl start skydns.socket skydns.service");
    until_served(machine);
    asked_for_in_the_rescue(host);
}

fn asked_for_in_the_rescue(host: &Host) {
    let machine = &host.machine;
    refuse_settings(machine);
    // Somebody ends the watch: it comes back, and takes all back.
    let watch = "systemctl show -P MainPID skydns-watch.service";
    let before = machine.run(watch);
    machine.run(&format!("kill {before}"));
    eventually("the watch is back", || !["0", &before].contains(&machine.run(watch).as_str()));
    machine.run("systemctl restart skydns");
    eventually("all is taken back", || host.is_well());
    // A stop of the service is one of the rescue, until the next query.
    refuse_settings(machine);
    machine.run(STRICT);
    machine.run("systemctl stop skydns.service");
    let units = "skydns-rescue.service skydns-watch.service skydns-bypass.service";
    machine.until(
        &format!("systemctl is-active {units} | sort -u | tr '\\n' .; ls /run/skydns-guard"),
        "inactive.ls",
    );
    rescue_answers(machine);
    machine.run("rm /etc/skydns/skydns.conf.d/10.conf; systemctl restart skydns");
    eventually("all is taken back", || host.is_well());
    sockets_are_shared(machine);
}

/// A rescue that is slow to start has the sockets of an agent that runs, and takes nothing from it.
fn sockets_are_shared(machine: &Machine) {
    let directory = "/run/systemd/system/skydns-rescue.service.d";
    machine.run(&format!(
        "mkdir -p {directory}\n\
         printf '[Service]\\nExecStart=\\nExecStart=sleep 90\\nTimeoutStartSec=90\\n' >{directory}/slow.conf\n\
         systemctl daemon-reload; systemctl --no-block start skydns-rescue"
    ));
    machine.until("tr '\\0' ' ' </proc/$(systemctl show -P MainPID skydns-rescue)/cmdline", "sleep 90");
    let answers = machine.run(
        "for address in 127.0.0.1 ::1 127.0.0.1 ::1 127.0.0.1 ::1; do\n\
         dig +tcp +short +tries=1 +time=5 @$address web.example.skydns.local A; done; systemctl is-active skydns-rescue || true",
    );
    assert_eq!(answers, "192.0.2.80\n".repeat(6) + "activating");
    machine.run(&format!("systemctl stop skydns-rescue; rm -r {directory}; systemctl daemon-reload"));
}

#[test]
fn the_host_keeps_its_dns_on_debian_12() {
    let Some(_machines) = machines("an agent that keeps dying, on Debian 12") else { return };
    keeps_dns("bookworm");
}

#[test]
fn the_host_keeps_its_dns_on_debian_13() {
    let Some(_machines) = machines("an agent that keeps dying, on Debian 13") else { return };
    keeps_dns("trixie");
}
