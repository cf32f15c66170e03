//! The agent beside its peers, over UDP, in one run.
//!
//! `cargo bench --bench peers [-- ROUNDS SECONDS KIND]` measures each kind of question for a responder that does nothing
//! (the limit of this machine), the agent, and what of Knot, PowerDNS and unbound is installed. Servers have the first
//! core, the load has the second. They take turns, and medians are printed; ratios are what to quote, for no two machines are alike.

// Figures for people.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod servers;
mod wire;

use servers::{NAMES, Server, is_installed, push_name};
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
    peers: &'static [Peer],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Peer {
    Knot,
    PowerDns,
    Unbound,
}

/// Those that sign when they are asked.
const SIGNERS: &[Peer] = &[Peer::Knot, Peer::PowerDns];

const WORKS: [Work; 13] = [
    Work { title: "A", kind: "a", edns: None, agent: 0, peers: &[Peer::Knot] },
    Work { title: "A with EDNS", kind: "a", edns: Some(false), agent: 0, peers: &[Peer::Knot] },
    Work { title: "TXT", kind: "txt", edns: None, agent: 0, peers: &[Peer::Knot] },
    Work { title: "A, ten addresses in turn", kind: "ten-a", edns: None, agent: 0, peers: &[] },
    Work { title: "SRV, ten targets", kind: "ten-srv", edns: Some(false), agent: 0, peers: &[] },
    Work { title: "wildcard SRV, ten targets", kind: "ten-wild", edns: Some(false), agent: 0, peers: &[] },
    Work { title: "NXDOMAIN", kind: "nx", edns: None, agent: 0, peers: &[Peer::Knot] },
    Work { title: "NXDOMAIN, never seen", kind: "never", edns: None, agent: 0, peers: &[Peer::Knot] },
    Work { title: "A, signed", kind: "a", edns: Some(true), agent: 1, peers: SIGNERS },
    Work { title: "NXDOMAIN, signed", kind: "nx", edns: Some(true), agent: 1, peers: SIGNERS },
    Work { title: "NXDOMAIN, signed, never seen", kind: "never", edns: Some(true), agent: 1, peers: SIGNERS },
    Work { title: "forwarded, cached", kind: "fwd", edns: None, agent: 0, peers: &[Peer::Unbound] },
    Work { title: "forwarded, not cached", kind: "fwd-never", edns: None, agent: 0, peers: &[Peer::Unbound] },
];

impl Peer {
    fn program(self) -> &'static str {
        match self {
            Self::Knot => "knotd",
            Self::PowerDns => "pdns_server",
            Self::Unbound => "unbound",
        }
    }

    fn start(self, dir: &Path, work: &Work, upstream: SocketAddr) -> Server {
        match self {
            Self::Knot => servers::knot(dir, 5412, work.agent == 1),
            Self::PowerDns => servers::powerdns(dir, 5414),
            Self::Unbound => servers::unbound(dir, 5413, upstream),
        }
    }
}

/// Writes the question of a number.
fn question(kind: &str, number: u64, run: u32, packet: &mut Vec<u8>) {
    let at = number % NAMES;
    let (name, rtype) = match kind {
        "a" => (format!("s{at}.a.skydns.local"), 1),
        "txt" => (format!("s{at}.a.skydns.local"), 16),
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
            .args(["-c", "1"])
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
    run(0.6);
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
            return wire::echo(address, args[2].parse().expect("octets"));
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
    let outcome =
        wire::load(server, seconds, rate, edns, |number, packet| question(&kind, number, run, packet));
    let Outcome { rate, answers, lost, octets, good, latencies: [a, b, c] } = outcome;
    println!("{rate} {answers} {lost} {octets} {good} {a} {b} {c}");
}

fn echo(port: u16, octets: u64) -> Server {
    let program = std::env::current_exe().expect("this program").display().to_string();
    Server::start("0", port, &[&program, "echo", &format!("127.0.0.1:{port}"), &octets.to_string()])
}

fn bench(dir: &Path, rounds: usize, seconds: f64, only: Option<&str>) {
    let records = dir.join("records");
    servers::records(&records);
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
    let upstream = Server::start("1", 5490, &[&program, "echo", "127.0.0.1:5490", "0"]);
    let forward = upstream.address.to_string();
    let key_dir = keys.display().to_string();
    println!(
        "{:30}{:>11}{:>9}{:>9}{:>9}{:>7}{:>10}{:>10}{:>7}  x peer",
        "", "answers/s", "of limit", "µs each", "x limit", "octets", "p50 half", "p99 half", "lost"
    );
    for work in WORKS.iter().filter(|work| only.is_none_or(|only| work.kind == only)) {
        let agent = || {
            // A cache that is just as large as what is asked for would be measured at its edge.
            let plain = ["-nameservers", &forward, "-rcache", "20000"];
            let signing = ["-dnssec", &key_dir];
            let more = if work.agent == 0 { &[][..] } else { &signing };
            servers::agent("0", 5410, &records, &[&plain[..], more].concat())
        };
        let octets = measure(&agent(), work, 0.5, 0).0.octets;
        let (mut limit, mut ours, mut half) = (Vec::new(), Vec::new(), Vec::new());
        let there = work.peers.iter().filter(|peer| is_installed(peer.program()));
        let mut theirs: Vec<_> = there.map(|peer| (*peer, Vec::new())).collect();
        let mut memory = 0.0;
        for _ in 0..rounds {
            limit.push(measure(&echo(5411, octets), work, seconds, 0));
            let agent = agent();
            ours.push(measure(&agent, work, seconds, 0));
            let rate = (row(&ours).rate / 2.0) as u64;
            half.push(measure(&agent, work, seconds / 2.0, rate));
            memory = agent.memory();
            drop(agent);
            for (peer, theirs) in &mut theirs {
                theirs.push(measure(&peer.start(dir, work, upstream.address), work, seconds, 0));
            }
        }
        let (limit, ours, half) = (row(&limit), row(&ours), row(&half));
        let peers = theirs.iter().map(|(peer, of)| format!("  {:.2} {peer:?}", ours.rate / row(of).rate));
        let peers: String = peers.collect();
        println!(
            "{:30}{:11.0}{:9.2}{:9.2}{:9.2}{:7}{:10.0}{:10.0}{:7}{}{}",
            work.title,
            ours.rate,
            ours.rate / limit.rate,
            ours.cpu,
            ours.cpu / limit.cpu,
            ours.octets,
            half.latencies[0],
            half.latencies[1],
            ours.lost,
            peers,
            if ours.good < 1.0 { format!("  only {:.3} are good", ours.good) } else { String::new() },
        );
        if work.kind == "a" && work.edns.is_none() {
            println!(
                "{:30}{memory:11.1} MB of memory; the limit itself: {:.0}/s, {:.2} µs",
                "", limit.rate, limit.cpu
            );
        }
    }
}
