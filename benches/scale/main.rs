//! The agent with a large site: real etcd, real questions, changes all the time.
//!
//! `cargo bench --bench scale [-- NAMES]` prints, for so many services (100,000): the time of the first sync, memory, the
//! rate of answers while 0, 100 and 1,000 services a second change, how soon a change is on the wire under half load, and
//! what the snapshot takes: to be written at the stop, and to be ready with, while etcd is away.
//! etcd, the agent's mirror and the load share what cores there are, so the agent's own time for an answer says more than
//! the rate. It is all of the agent's time, the mirror's as well.

// Figures for people.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../peers/wire.rs"]
#[allow(dead_code)]
mod wire;

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::etcd::Etcd;
use support::{Agent, Process, Setup, ask, query};

/// Names that are asked for.
const ASKED: u64 = 10_000;

/// How long each rate is measured.
const SECONDS: f64 = 4.0;

fn key(number: usize) -> String {
    format!("/skydns/local/skydns/east/r{}/s{number}", number / 1_000)
}

fn value(number: usize) -> String {
    format!(r#"{{"host":"10.{}.{}.{}"}}"#, number >> 16 & 255, number >> 8 & 255, number & 255)
}

fn push_name(packet: &mut Vec<u8>, number: u64) {
    let (group, label) = (format!("r{}", number / 1_000), format!("s{number}"));
    for label in [label.as_str(), &group, "east", "skydns", "local"] {
        packet.push(label.len() as u8);
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
}

/// Memory in megabytes: `VmRSS:` now, `VmHWM:` the most there ever was.
fn memory(agent: &Agent, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.process.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0");
    line.split_whitespace().next().and_then(|kilobytes| kilobytes.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Microseconds of processor time that the agent has taken.
fn cpu(agent: &Agent) -> f64 {
    let tasks =
        std::fs::read_dir(format!("/proc/{}/task", agent.process.id())).into_iter().flatten().flatten();
    let spent = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    spent.sum::<f64>() / 1e3
}

/// Changes services at a rate until it is told to stop; gives how many it changed.
fn change(endpoint: String, names: usize, rate: u64, stop: Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = etcd_client::Client::connect([endpoint], None).await.expect("a client");
            let (begun, mut done) = (Instant::now(), 0u64);
            while !stop.load(Ordering::Relaxed) {
                let due = (begun.elapsed().as_secs_f64() * rate as f64) as u64;
                let puts = (done..due.min(done + 64)).map(|number| {
                    let mut client = client.clone();
                    // Names that nobody asks for: what is cached has to stay.
                    let at = key(ASKED as usize + number as usize % (names - ASKED as usize));
                    let value = format!(r#"{{"host":"10.1.0.1","port":{}}}"#, number % 60_000);
                    async move { client.put(at, value, None).await }
                });
                done += futures_util::future::join_all(puts).await.len() as u64;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            done
        })
    })
}

/// Milliseconds from the acknowledged change of a service to the answer that has it.
fn changes_seen(etcd: &Etcd, server: SocketAddr, times: usize) -> Vec<f64> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server).expect("connected");
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
    let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    push_name(&mut packet, 1);
    etcd.with(async |client| {
        let mut seen = Vec::new();
        for time in 0..times {
            let address = [10, 9, (time >> 8) as u8, time as u8];
            let value = format!(r#"{{"host":"10.9.{}.{}"}}"#, address[2], address[3]);
            client.put(key(1), value, None).await.expect("put");
            let begun = Instant::now();
            let mut reply = [0; 512];
            loop {
                let len = socket.send(&packet).and_then(|_| socket.recv(&mut reply)).unwrap_or(0);
                if reply[..len].ends_with(&address) {
                    break;
                }
                assert!(begun.elapsed() < Duration::from_secs(10), "a change is not seen");
            }
            seen.push(begun.elapsed().as_secs_f64() * 1e3);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seen.sort_by(f64::total_cmp);
        seen
    })
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let names = args.first().and_then(|arg| arg.parse().ok()).unwrap_or(100_000).max(2 * ASKED as usize);
    let etcd = Etcd::start();
    let pairs: Vec<_> = (0..names).map(|number| (key(number), value(number))).collect();
    etcd.put_many(&pairs);
    drop(pairs);

    let state = tempfile::tempdir().expect("a directory");
    let state_dir = state.path().display().to_string();
    let begun = Instant::now();
    let agent = Setup::new()
        .args(&["-machines", &etcd.endpoint(), "-workers", "1", "-state-dir", &state_dir])
        .start();
    let last = names - 1;
    let question =
        query(&format!("s{last}.r{}.east.skydns.local.", last / 1_000), hickory_proto::rr::RecordType::A);
    while ask(agent.address(), &question).answers.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no sync: {}", agent.log());
        thread::sleep(Duration::from_millis(2));
    }
    println!(
        "{names} services: start to in sync {:.2} s, {:.0} MB, {:.0} MB at most",
        begun.elapsed().as_secs_f64(),
        memory(&agent, "VmRSS:"),
        memory(&agent, "VmHWM:")
    );

    let load = |rate: u64, seconds: f64| {
        wire::load(agent.address(), (seconds, rate, u64::MAX), None, |number, packet| {
            push_name(packet, number % ASKED);
        })
    };
    load(0, 1.0);
    let mut full = 0.0;
    for changes in [0, 100, 1_000, 0] {
        let stop = Arc::new(AtomicBool::new(false));
        let changing = change(etcd.endpoint(), names, changes, Arc::clone(&stop));
        let before = cpu(&agent);
        let outcome = load(0, SECONDS);
        let each = (cpu(&agent) - before) / outcome.answers as f64;
        stop.store(true, Ordering::Relaxed);
        let done = changing.join().expect("changes") as f64 / SECONDS;
        full = if changes == 0 { outcome.rate } else { full };
        let (rate, lost) = (outcome.rate, outcome.lost);
        println!("{done:6.0} changes a second: {rate:8.0} answers a second, {each:.2} µs each, {lost} lost");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let changing = change(etcd.endpoint(), names, 100, Arc::clone(&stop));
    let seen = thread::scope(|scope| {
        scope.spawn(|| load((full / 2.0) as u64, 6.0));
        changes_seen(&etcd, agent.address(), 500)
    });
    stop.store(true, Ordering::Relaxed);
    let _ = changing.join();
    let of = |part: f64| seen[((seen.len() - 1) as f64 * part) as usize];
    println!(
        "a change is on the wire after {:.2} ms, 99 %: {:.2} ms, at most {:.2} ms",
        of(0.5),
        of(0.99),
        of(1.0)
    );
    println!("at the end {:.0} MB, {:.0} MB at most", memory(&agent, "VmRSS:"), memory(&agent, "VmHWM:"));
    restarts(names, etcd, agent, &state_dir);
    small();
}

/// Stops the agent, takes etcd away, and starts the agent from its snapshot.
fn restarts(names: usize, mut etcd: Etcd, mut agent: Agent, state_dir: &str) {
    // So that there is something to write.
    etcd.put(&key(2), &value(3));
    thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    agent.process.signal("-TERM");
    agent.process.wait();
    let stop = begun.elapsed();
    let file = std::fs::metadata(Path::new(state_dir).join("snapshot")).expect("a snapshot");
    let endpoint = etcd.endpoint();
    etcd.kill();
    let mut times: Vec<_> = (0..5).map(|_| ready(&endpoint, state_dir, names)).collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{names} services: stop with a snapshot of {:.1} MB {:.2} s; start from it to READY=1 {:.1} ms (median of 5)",
        file.len() as f64 / 1e6,
        stop.as_secs_f64(),
        times[2]
    );
}

/// Milliseconds from the start to READY=1, with a snapshot and without etcd.
fn ready(endpoint: &str, state_dir: &str, names: usize) -> f64 {
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().join("notify");
    let manager = UnixDatagram::bind(&at).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
    let (mut command, port, _files) = Setup::new()
        .args(&["-machines", endpoint, "-state-dir", state_dir])
        .variable("NOTIFY_SOCKET", &at.display().to_string())
        .command();
    let begun = Instant::now();
    let process = Process::spawn(command.stderr(Stdio::null()).stdout(Stdio::null()));
    let mut message = [0; 4_096];
    loop {
        let len = manager.recv(&mut message).expect("a message");
        if message[..len].starts_with(b"READY=1")
            || message[..len].windows(8).any(|part| part == b"\nREADY=1")
        {
            break;
        }
    }
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let last = names - 1;
    let question =
        query(&format!("s{last}.r{}.east.skydns.local.", last / 1_000), hickory_proto::rr::RecordType::A);
    let reply = ask(SocketAddr::from(([127, 0, 0, 1], port)), &question);
    assert_eq!(reply.answers.len(), 1, "ready means that the last name is there");
    drop(process);
    took
}

/// The start of a site of 10,000 names.
fn small() {
    const NAMES: usize = 10_000;
    let etcd = Etcd::start();
    etcd.put_many(&(0..NAMES).map(|number| (key(number), value(number))).collect::<Vec<_>>());
    let state = tempfile::tempdir().expect("a directory");
    let state_dir = state.path().display().to_string();
    let agent = Setup::new().args(&["-machines", &etcd.endpoint(), "-state-dir", &state_dir]).start();
    support::eventually("in sync", || agent.log().contains("etcd: in sync"));
    restarts(NAMES, etcd, agent, &state_dir);
}
