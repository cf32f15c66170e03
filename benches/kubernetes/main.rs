//! A large Kubernetes cluster: the agent, and CoreDNS beside it, with the same objects on a real API server.
//!
//! `cargo bench --bench kubernetes [-- ROUNDS]` prints for each: how long it takes to be in step, memory, how soon a change is
//! answered, processor time for a change in a burst, and answers a second. It needs the API server that
//! `packaging/setup kube-apiserver` builds; CoreDNS is built from its module by the first run, if Go is there. All of them
//! share what cores there are with the server and its etcd, so the ratios count.

// Figures for people.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]

#[path = "../../tests/support/kubernetes/mod.rs"]
mod kubernetes;
mod objects;
#[path = "../../tests/support/kubernetes/real.rs"]
mod real;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../peers/wire.rs"]
#[allow(dead_code)]
mod wire;
mod writer;

use hickory_proto::rr::RecordType;
use objects::{HEADLESS, SERVICES, WRITERS, namespace};
use real::{ADMIN, Cluster};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use support::etcd::Etcd;
use support::{Process, free_port, query};
use writer::Writer;

/// Changes whose way to the wire is measured, and changes of a burst.
const CHANGES: usize = 300;
const BURST: usize = 4_000;

/// How long each rate is measured.
const SECONDS: f64 = 4.0;

/// A server of names that runs.
struct Server {
    name: &'static str,
    process: Process,
    address: SocketAddr,
    begun: Instant,
}

impl Server {
    fn start(name: &'static str, command: &mut Command, port: u16) -> Self {
        let begun = Instant::now();
        let process = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
        Self { name, process, address: SocketAddr::from(([127, 0, 0, 1], port)), begun }
    }

    fn skydns(cluster: &Cluster, etcd: &Etcd) -> Self {
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_skydns"));
        command.args(["-kubernetes", "-kubeconfig", &cluster.kubeconfig(ADMIN), "-no-rec", "-workers", "1"]);
        command.args(["-kubernetes-domain", "cluster.local", "-machines", &etcd.endpoint()]);
        command.args(["-addr", &format!("127.0.0.1:{port}")]);
        Self::start("skydns", &mut command, port)
    }

    fn coredns(program: &Path, cluster: &Cluster) -> Self {
        let port = free_port();
        let file = cluster.dir.path().join("Corefile");
        let config = cluster.kubeconfig(ADMIN);
        let text = format!(
            "cluster.local:{port} {{\n bind 127.0.0.1\n kubernetes cluster.local in-addr.arpa ip6.arpa {{\n  kubeconfig {config}\n }}\n}}\n"
        );
        std::fs::write(&file, text).expect("a file");
        let mut command = Command::new(program);
        // One core, as the agent has one worker.
        command.arg("-conf").arg(file).env("GOMAXPROCS", "1");
        Self::start("CoreDNS", &mut command, port)
    }

    /// The reply to a question; `None` if none comes.
    fn reply(&self, socket: &UdpSocket, packet: &[u8]) -> Option<Vec<u8>> {
        socket.send_to(packet, self.address).ok()?;
        let mut reply = [0; 1_232];
        let len = socket.recv(&mut reply).ok()?;
        Some(reply[..len].to_vec())
    }

    /// Memory in megabytes.
    fn memory(&self) -> f64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
        line.split_whitespace().next().and_then(|kilobytes| kilobytes.parse::<f64>().ok()).unwrap_or(0.0)
            / 1024.0
    }

    /// Microseconds of processor time.
    fn cpu(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("threads");
        let of_task = |task: std::io::Result<std::fs::DirEntry>| {
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<f64>().ok()
        };
        tasks.filter_map(of_task).sum::<f64>() / 1_000.0
    }

    /// Answers a second, and microseconds of processor time for one.
    fn rate(&self, domain: &[&str]) -> (f64, f64) {
        let before = self.cpu();
        let outcome = wire::load(self.address, (SECONDS, 0, u64::MAX), None, |number, packet| {
            let service = HEADLESS + number as usize * 7 % (SERVICES - HEADLESS);
            let (label, namespace) = (format!("svc-{service}"), namespace(service));
            for label in [label.as_str(), &namespace].into_iter().chain(domain.iter().copied()) {
                packet.push(label.len() as u8);
                packet.extend(label.as_bytes());
            }
            packet.extend([0, 0, 1, 0, 1]);
        });
        assert_eq!(outcome.good, outcome.answers, "{}", self.name);
        (outcome.rate, (self.cpu() - before) / outcome.answers as f64)
    }
}

/// CoreDNS, built from its module if it is not yet; `None` where there is no Go.
fn coredns() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/coredns");
    let pinned = include_str!("../coredns/go.mod");
    let (_, version) = pinned.split_once("github.com/coredns/coredns v")?;
    let version = version.split_whitespace().next()?;
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
    let program = cache.join("skydns/coredns").join(version);
    if !program.exists() {
        println!("building CoreDNS {version}");
        let mut go = Command::new("go");
        let built = go.current_dir(source).arg("build").arg("-o").arg(&program).arg(".").status();
        if !built.is_ok_and(|status| status.success()) {
            println!("left out: CoreDNS, which cannot be built here");
            return None;
        }
    }
    Some(program)
}

fn percent(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

fn measure(server: &Server, cluster: &Cluster, round: usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
    let packet = |name: &str| query(name, RecordType::A).to_vec().expect("a query");
    let last = HEADLESS - 1;
    let (there, missing) = (
        packet(&format!("h-3.svc-{last}.{}.svc.cluster.local.", namespace(last))),
        packet("nothing.ns-1.svc.cluster.local."),
    );
    let says = |packet: &[u8], rcode: u8, answers: u8| {
        server.reply(&socket, packet).is_some_and(|reply| reply[3] & 15 == rcode && reply[7] == answers)
    };
    while !(says(&there, 0, 1) && says(&missing, 3, 0)) {
        thread::sleep(Duration::from_millis(2));
        assert!(server.begun.elapsed() < Duration::from_secs(60), "{} is never in step", server.name);
    }
    let in_step = server.begun.elapsed().as_secs_f64();
    thread::sleep(Duration::from_secs(2));
    let memory = server.memory();
    let mut writer = Writer::connect(cluster);
    let mut seen: Vec<_> = (0..CHANGES)
        .map(|time| {
            let number = time * 37 % HEADLESS;
            let address = [
                10,
                200 + round as u8,
                (time / 250) as u8,
                (time % 250) as u8 + u8::from(server.name == "skydns"),
            ];
            let packet = packet(&format!("h-3.svc-{number}.{}.svc.cluster.local.", namespace(number)));
            objects::change(&mut writer, number, address);
            let begun = Instant::now();
            while !server
                .reply(&socket, &packet)
                .is_some_and(|reply| reply.windows(4).any(|octets| octets == address))
            {
                assert!(begun.elapsed() < Duration::from_secs(10), "{}: a change is not seen", server.name);
            }
            let took = begun.elapsed().as_secs_f64() * 1e3;
            thread::sleep(Duration::from_millis(10));
            took
        })
        .collect();
    seen.sort_by(f64::total_cmp);
    let (before, begun) = (server.cpu(), Instant::now());
    thread::scope(|scope| {
        for at in 0..WRITERS {
            scope.spawn(move || {
                let mut writer = Writer::connect(cluster);
                for number in (at..BURST).step_by(WRITERS) {
                    let turn = 100 + 10 * round as u8 + u8::from(server.name == "skydns");
                    let address = [10, turn, (number / 250) as u8, (number % 250) as u8];
                    objects::change(&mut writer, number, address);
                }
            });
        }
    });
    let rate = BURST as f64 / begun.elapsed().as_secs_f64();
    thread::sleep(Duration::from_secs(1));
    let cpu = (server.cpu() - before) / BURST as f64;
    println!(
        "{:8} in step {in_step:.2} s; {memory:.0} MB; change to answer: median {:.2} ms, p99 {:.2} ms; {cpu:.0} us of CPU a change at {rate:.0} changes/s",
        server.name,
        percent(&seen, 0.5),
        percent(&seen, 0.99),
    );
    let (rate, cpu) = server.rate(&["svc", "cluster", "local"]);
    println!("{:8} {rate:.0} answers/s, {cpu:.1} us of CPU each", server.name);
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let rounds = args.first().and_then(|arg| arg.parse().ok()).unwrap_or(3);
    let Some(cluster) = Cluster::start(&[]) else { return };
    let coredns = coredns();
    let begun = Instant::now();
    objects::create(&cluster);
    println!(
        "{SERVICES} services, {} endpoints; written in {:.0} s",
        HEADLESS * 10,
        begun.elapsed().as_secs_f64()
    );
    // The same names out of etcd.
    let etcd = Etcd::start();
    let pair = |number: usize| {
        let key = format!("/skydns/local/skydns/{}/svc-{number}", namespace(number));
        (key, format!(r#"{{"host":"10.{}.{}.1"}}"#, number / 250, number % 250))
    };
    etcd.put_many(&(0..SERVICES).map(pair).collect::<Vec<_>>());
    for round in 1..=rounds {
        println!("round {round}");
        if let Some(program) = &coredns {
            measure(&Server::coredns(program, &cluster), &cluster, round);
        }
        let skydns = Server::skydns(&cluster, &etcd);
        measure(&skydns, &cluster, round);
        let (of_cluster, of_etcd) =
            (skydns.rate(&["svc", "cluster", "local"]), skydns.rate(&["skydns", "local"]));
        println!(
            "skydns   names of etcd: {:.0} answers/s, {:.1} us of CPU each; names of the cluster are answered at {:.2} of that rate",
            of_etcd.0,
            of_etcd.1,
            of_cluster.0 / of_etcd.0
        );
    }
}
