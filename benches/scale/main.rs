//! The agent with a large site: real etcd, real questions, changes all the time.
//!
//! `cargo bench --bench scale [-- NAMES]` prints, for so many services (100,000): the time of the first sync, memory, the
//! rate of answers while 0, 100 and 1,000 services a second change, and how soon a change is on the wire under half load.
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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::etcd::Etcd;
use support::{Agent, Setup, ask, query};

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

fn memory(agent: &Agent) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.process.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
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
                    // Names that nobody asks for: what is prepared has to stay.
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

    let begun = Instant::now();
    let agent = Setup::new().args(&["-machines", &etcd.endpoint(), "-workers", "1"]).start();
    let last = names - 1;
    let question =
        query(&format!("s{last}.r{}.east.skydns.local.", last / 1_000), hickory_proto::rr::RecordType::A);
    while ask(agent.address(), &question).answers.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(120), "no sync: {}", agent.log());
        thread::sleep(Duration::from_millis(2));
    }
    println!(
        "{names} services: start to in sync {:.2} s, {:.0} MB",
        begun.elapsed().as_secs_f64(),
        memory(&agent)
    );

    let load = |rate: u64, seconds: f64| {
        wire::load(agent.address(), seconds, rate, None, |number, packet| push_name(packet, number % ASKED))
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
    println!("at the end {:.0} MB", memory(&agent));
}
