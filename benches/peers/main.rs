//! The agent beside its peers, over UDP and TCP, in one run.
//!
//! `cargo bench --bench peers [-- ROUNDS SECONDS KIND]` measures each kind of question for a responder that does nothing
//! (the limit of this machine), the agent, and what of Knot, PowerDNS, unbound, dnsmasq and, for TCP, dnsperf is installed.
//! Servers have the first core, the load has the second; with two workers all share both. They take turns, and medians
//! are printed; ratios are what to quote, for no two machines are alike. Latencies are those at half of the agent's rate,
//! for all, as far as a peer can bear that.

// Figures for people.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod servers;
mod stream;
mod wire;

use servers::{LARGE, NAMES, Server, Site, is_installed, push_name};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use wire::Outcome;

/// One kind of question.
struct Work {
    title: &'static str,
    kind: &'static str,
    /// None without EDNS, else whether DO is set.
    edns: Option<bool>,
    /// Which agent is asked.
    agent: usize,
    /// Workers, each with a core.
    workers: usize,
    site: Site,
    /// Whether the agent listens on the wildcard address.
    wildcard: bool,
    peers: &'static [Peer],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Peer {
    Knot,
    PowerDns,
    Unbound,
    Dnsmasq,
}

/// Those that sign when they are asked.
const SIGNERS: &[Peer] = &[Peer::Knot, Peer::PowerDns];

/// Those that forward.
const FORWARDERS: &[Peer] = &[Peer::Unbound, Peer::Dnsmasq];

const fn work(
    title: &'static str,
    kind: &'static str,
    edns: Option<bool>,
    agent: usize,
    peers: &'static [Peer],
) -> Work {
    Work { title, kind, edns, agent, workers: 1, site: Site::Small, wildcard: false, peers }
}

/// Work for a large site.
const fn large(title: &'static str, kind: &'static str) -> Work {
    Work { site: Site::Large, ..work(title, kind, None, 0, &[Peer::Knot]) }
}

const WORKS: [Work; 20] = [
    work("A", "a", None, 0, &[Peer::Knot]),
    Work { workers: 2, ..work("A, two workers", "a", None, 0, &[Peer::Knot]) },
    work("A with EDNS", "a", Some(false), 0, &[Peer::Knot]),
    Work { wildcard: true, ..work("A, wildcard listener", "a", None, 0, &[]) },
    work("TXT", "txt", None, 0, &[Peer::Knot]),
    work("types, NODATA, NXDOMAIN", "mix", Some(false), 0, &[Peer::Knot]),
    work("A, ten addresses in turn", "ten-a", None, 0, &[]),
    work("SRV, ten targets", "ten-srv", Some(false), 0, &[]),
    work("wildcard SRV, ten targets", "ten-wild", Some(false), 0, &[]),
    work("subtree of 50 addresses", "fifty", Some(false), 0, &[]),
    large("A, 10,000 names of 210,000", "a"),
    large("A, 200,000 names at random", "large"),
    large("A, each name once", "once"),
    work("NXDOMAIN", "nx", None, 0, &[Peer::Knot]),
    work("NXDOMAIN, never seen", "never", None, 0, &[Peer::Knot]),
    work("A, signed", "a", Some(true), 1, SIGNERS),
    work("NXDOMAIN, signed", "nx", Some(true), 1, SIGNERS),
    work("NXDOMAIN, signed, never seen", "never", Some(true), 1, SIGNERS),
    work("forwarded, cached", "fwd", None, 0, FORWARDERS),
    work("forwarded, not cached", "fwd-never", None, 0, FORWARDERS),
];

impl Peer {
    fn program(self) -> &'static str {
        match self {
            Self::Knot => "knotd",
            Self::PowerDns => "pdns_server",
            Self::Unbound => "unbound",
            Self::Dnsmasq => "dnsmasq",
        }
    }

    fn start(self, dir: &Path, work: &Work, upstream: SocketAddr) -> Server {
        match self {
            Self::Knot => servers::knot(dir, 5412, work.agent == 1, work.workers, work.site),
            Self::PowerDns => servers::powerdns(dir, 5414),
            Self::Unbound => servers::unbound(dir, 5413, upstream),
            Self::Dnsmasq => servers::dnsmasq(5415, upstream),
        }
    }
}

/// Writes the question of a number.
fn question(kind: &str, number: u64, run: u32, packet: &mut Vec<u8>) {
    let at = number % NAMES;
    let (name, rtype) = match kind {
        "a" => (format!("s{at}.a.skydns.local"), 1),
        "txt" => (format!("s{at}.a.skydns.local"), 16),
        "mix" => match number % 8 {
            0 | 1 => (format!("s{at}.a.skydns.local"), 1),
            2 => (format!("s{at}.a.skydns.local"), 16),
            3 => (format!("s{at}.a.skydns.local"), 28),
            4 => (format!("s{at}.a.skydns.local"), 33),
            5 => (format!("s{at}.a.skydns.local"), 65),
            6 => (format!("n{at}.a.skydns.local"), 1),
            _ => (format!("n{at}.a.skydns.local"), 28),
        },
        "fifty" => (format!("s{}.fifty.skydns.local", at / 50), 1),
        "large" => (format!("s{}.large.skydns.local", mixed(number ^ u64::from(run)) % LARGE), 1),
        // The factor has no divisor in common with the number of names: each has its turn.
        "once" => (format!("s{}.large.skydns.local", number * 7_919 % LARGE), 1),
        "ten-a" => (format!("s{}.ten.skydns.local", at / 10), 1),
        "ten-srv" => (format!("s{}.ten.skydns.local", at / 10), 33),
        "ten-wild" => (format!("*.s{}.ten.skydns.local", at / 10), 33),
        "nx" => (format!("n{at}.a.skydns.local"), 1),
        "never" => (format!("r{run}-{number}.a.skydns.local"), 1),
        "fwd" => (format!("s{at}.example.org"), 1),
        _ => (format!("r{run}-{number}.example.org"), 1),
    };
    push_name(packet, &name);
    packet.extend([0, rtype, 0, 1]);
}

/// A number that looks random (splitmix64).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// Runs the load as a process of its own on the second core.
fn measure(server: &Server, work: &Work, seconds: f64, rate: u64) -> (Outcome, f64) {
    let edns = match work.edns {
        None => "none",
        Some(false) => "plain",
        Some(true) => "do",
    };
    let run = |seconds: f64| {
        let program = std::env::current_exe().expect("this program");
        let output = Command::new("taskset")
            .args(["-c", if work.workers == 1 { "1" } else { "0,1" }])
            .arg(program)
            .args([
                "load",
                &server.address.to_string(),
                &seconds.to_string(),
                &rate.to_string(),
                edns,
                work.kind,
            ])
            .output()
            .expect("the load");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [rate, answers, lost, octets, good, a, b, c] = numbers[..] else { panic!("{output:?}") };
        let count = |number: f64| number as u64;
        Outcome {
            rate,
            answers: count(answers),
            lost: count(lost),
            octets: count(octets),
            good: count(good),
            latencies: [a, b, c],
        }
    };
    // Caches fill up first.
    if work.kind != "once" {
        run(0.6);
    }
    let before = server.cpu();
    let outcome = run(seconds);
    (outcome, (server.cpu() - before) as f64 / 1000.0 / outcome.answers.max(1) as f64)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}

/// A row's medians.
struct Row {
    rate: f64,
    cpu: f64,
    latencies: [f64; 3],
    lost: u64,
    good: f64,
    octets: u64,
}

fn row(measured: &[(Outcome, f64)]) -> Row {
    let of = |value: &dyn Fn(&(Outcome, f64)) -> f64| median(measured.iter().map(value).collect());
    Row {
        rate: of(&|one| one.0.rate),
        cpu: of(&|one| one.1),
        latencies: [0, 1, 2].map(|at| of(&|one| one.0.latencies[at])),
        lost: measured.iter().map(|one| one.0.lost).sum(),
        good: of(&|one| one.0.good as f64 / one.0.answers.max(1) as f64),
        octets: measured.first().map_or(0, |one| one.0.octets),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("load") => return load(&args[1..]),
        Some("echo") => {
            let address: SocketAddr = args[1].parse().expect("an address");
            let octets = args[2].parse().expect("octets");
            return wire::echo(address, octets, args[3].parse().expect("workers"));
        }
        _ => {}
    }
    let number = |at: usize, default: f64| args.get(at).and_then(|arg| arg.parse().ok()).unwrap_or(default);
    let (rounds, seconds) = (number(0, 3.0) as usize, number(1, 2.0));
    let only = args.get(2).map(String::as_str);
    let dir = tempfile::tempdir().expect("a directory");
    bench(dir.path(), rounds, seconds, only);
}

fn load(args: &[String]) {
    let (server, seconds) = (args[0].parse().expect("an address"), args[1].parse().expect("seconds"));
    let edns = match args[3].as_str() {
        "plain" => Some(false),
        "do" => Some(true),
        _ => None,
    };
    let run = std::process::id();
    let kind = args[4].clone();
    let rate = args[2].parse().expect("a rate");
    let questions = if kind == "once" { LARGE } else { u64::MAX };
    let limits = (seconds, rate, questions);
    let outcome = wire::load(server, limits, edns, |number, packet| question(&kind, number, run, packet));
    let Outcome { rate, answers, lost, octets, good, latencies: [a, b, c] } = outcome;
    println!("{rate} {answers} {lost} {octets} {good} {a} {b} {c}");
}

fn echo(port: u16, octets: u64, workers: usize) -> Server {
    let program = std::env::current_exe().expect("this program").display().to_string();
    let (address, octets, workers) = (format!("127.0.0.1:{port}"), octets.to_string(), workers.to_string());
    Server::start(cores(&workers), port, &[&program, "echo", &address, &octets, &workers])
}

/// The cores of a server with so many workers.
fn cores(workers: &str) -> &'static str {
    if workers == "1" { "0" } else { "0,1" }
}

fn bench(dir: &Path, rounds: usize, seconds: f64, only: Option<&str>) {
    let records = [Site::Small, Site::Large].map(|site| {
        let records = dir.join(format!("records-{site:?}"));
        let is_asked = |work: &Work| work.site == site && only.is_none_or(|only| work.kind == only);
        if site == Site::Small || WORKS.iter().any(is_asked) {
            servers::records(&records, site);
        }
        records
    });
    let keys = dir.join("keys");
    std::fs::create_dir_all(&keys).expect("a directory");
    let keygen = Command::new(env!("CARGO_BIN_EXE_skydns"))
        .args(["keygen", "-K"])
        .arg(&keys)
        .arg("skydns.local")
        .output();
    assert!(keygen.is_ok_and(|output| output.status.success()), "a key");
    // The upstream shares the second core with the load.
    let program = std::env::current_exe().expect("this program").display().to_string();
    let upstream = Server::start("1", 5490, &[&program, "echo", "127.0.0.1:5490", "0", "1"]);
    let forward = upstream.address.to_string();
    let key_dir = keys.display().to_string();
    println!(
        "{:30}{:>11}{:>9}{:>9}{:>9}{:>7}{:>7}  x peer",
        "", "answers/s", "of limit", "µs each", "x limit", "octets", "lost"
    );
    for work in WORKS.iter().filter(|work| only.is_none_or(|only| work.kind == only)) {
        let agent = || {
            // A cache that is just as large as what is asked for would be measured at its edge.
            let plain = ["-nameservers", &forward, "-rcache", "20000"];
            let signing = ["-dnssec", &key_dir];
            let more = if work.agent == 0 { &[][..] } else { &signing };
            let cores = cores(&work.workers.to_string());
            let records = &records[usize::from(work.site == Site::Large)];
            servers::agent(cores, (work.wildcard, 5410), records, &[&plain[..], more].concat())
        };
        let octets = measure(&agent(), work, 0.5, 0).0.octets;
        let there = work.peers.iter().filter(|peer| is_installed(peer.program()));
        let mut contenders = vec![Contender::new("the limit"), Contender::new("the agent")];
        let theirs: Vec<_> = there.copied().collect();
        contenders.extend(theirs.iter().map(|peer| Contender::new(peer.program())));
        let mut memory = 0.0;
        for _ in 0..rounds {
            let agent = agent();
            contenders[1].full.push(measure(&agent, work, seconds, 0));
            let half = (row(&contenders[1].full).rate / 2.0) as u64;
            if work.kind != "once" {
                contenders[1].half.push(measure(&agent, work, seconds / 2.0, half));
            }
            memory = agent.memory();
            drop(agent);
            let limit = echo(5411, octets, work.workers);
            contenders[0].full.push(measure(&limit, work, seconds, 0));
            contenders[0].half.push(measure(&limit, work, seconds / 2.0, half));
            drop(limit);
            for (peer, of) in theirs.iter().zip(&mut contenders[2..]) {
                let server = peer.start(dir, work, upstream.address);
                of.full.push(measure(&server, work, seconds, 0));
                // More than it can do would only fill its queue.
                if work.kind != "once" && row(&of.full).rate > 1.2 * half as f64 {
                    of.half.push(measure(&server, work, seconds / 2.0, half));
                }
            }
        }
        print(work, &contenders);
        if matches!(work.kind, "a" | "large") && work.edns.is_none() {
            println!("{:30}{memory:11.1} MB of memory", "");
        }
    }
    if only.is_none_or(|only| only == "tcp") {
        stream::bench(dir, &records[0], rounds, seconds);
    }
}

/// A server, and what was measured of it.
struct Contender {
    name: &'static str,
    full: Vec<(Outcome, f64)>,
    half: Vec<(Outcome, f64)>,
}

impl Contender {
    fn new(name: &'static str) -> Self {
        Self { name, full: Vec::new(), half: Vec::new() }
    }
}

fn print(work: &Work, contenders: &[Contender]) {
    let (limit, ours) = (row(&contenders[0].full), row(&contenders[1].full));
    let peers =
        contenders[2..].iter().map(|of| format!("  {:.2} {}", ours.rate / row(&of.full).rate, of.name));
    let peers: String = peers.collect();
    println!(
        "{:30}{:11.0}{:9.2}{:9.2}{:9.2}{:7}{:7}{}{}",
        work.title,
        ours.rate,
        ours.rate / limit.rate,
        ours.cpu,
        ours.cpu / limit.cpu,
        ours.octets,
        ours.lost,
        peers,
        if ours.good < 1.0 { format!("  only {:.3} are good", ours.good) } else { String::new() },
    );
    let half = contenders.iter().filter(|of| !of.half.is_empty()).map(|of| {
        let [median, most, nearly_all] = row(&of.half).latencies;
        format!("{} {median:.0}/{most:.0}/{nearly_all:.0}", of.name)
    });
    println!("{:30}at half that rate, µs at 50/99/99.9 %: {}", "", half.collect::<Vec<_>>().join(", "));
}
