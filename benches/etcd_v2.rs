//! etcd's v2 API beside v3, in the same run: the first sync, memory, and how soon a change is on the wire.
//!
//! `cargo bench --bench etcd_v2 [-- NAMES]`: 100,000 services if no number is given. The times are those of a machine that also
//! runs the store and the one who asks; the ratios count.

// Figures for people.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]

#[path = "../tests/support/mod.rs"]
mod support;

use hickory_proto::rr::RecordType;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};
use support::etcd::Etcd;
use support::v2::V2;
use support::{Agent, Setup, ask, query};

/// Changes whose way to the wire is measured.
const CHANGES: usize = 1_000;

/// Writers that fill the store.
const WRITERS: usize = 16;

fn key(number: usize) -> String {
    format!("/skydns/local/skydns/east/r{}/s{number}", number / 1_000)
}

fn value(number: usize) -> String {
    format!(r#"{{"host":"10.{}.{}.{}"}}"#, number >> 16 & 255, number >> 8 & 255, number & 255)
}

/// Memory in megabytes: `VmRSS:` now, `VmHWM:` the most there ever was.
fn memory(agent: &Agent, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.process.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0");
    line.split_whitespace().next().and_then(|kilobytes| kilobytes.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Fills the v2 API of a server.
fn fill_v2(etcd: &Etcd, names: usize) {
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let v2 = V2::of(etcd);
            scope.spawn(move || {
                (writer..names).step_by(WRITERS).for_each(|number| v2.put(&key(number), &value(number)));
            });
        }
    });
}

/// What was measured of one API.
struct Measured {
    sync: f64,
    resident: f64,
    peak: f64,
    /// Milliseconds from an acknowledged change to the answer that has it, in order.
    seen: Vec<f64>,
}

fn measure(etcd: &Etcd, api: &str, names: usize, put: impl Fn(&str, &str)) -> Measured {
    let begun = Instant::now();
    let agent = Setup::new()
        .args(&["-machines", &etcd.endpoint(), "-etcd-api", api, "-workers", "1", "-no-rec"])
        .start();
    let last = names - 1;
    let question = query(&format!("s{last}.r{}.east.skydns.local.", last / 1_000), RecordType::A);
    while ask(agent.address(), &question).answers.is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    let sync = begun.elapsed().as_secs_f64();
    thread::sleep(Duration::from_secs(1));
    let (resident, peak) = (memory(&agent, "VmRSS:"), memory(&agent, "VmHWM:"));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(agent.address()).expect("connected");
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
    let packet = query("s1.r0.east.skydns.local.", RecordType::A).to_vec().expect("a query");
    let mut seen: Vec<_> = (0..CHANGES)
        .map(|time| {
            let address = [10, 9, (time >> 8) as u8, time as u8];
            put(&key(1), &format!(r#"{{"host":"10.9.{}.{}"}}"#, address[2], address[3]));
            let begun = Instant::now();
            let mut reply = [0; 512];
            loop {
                let len = socket.send(&packet).and_then(|_| socket.recv(&mut reply)).unwrap_or(0);
                if reply[..len].windows(4).any(|octets| octets == address) {
                    break;
                }
                assert!(begun.elapsed() < Duration::from_secs(10), "a change is not seen");
            }
            let took = begun.elapsed().as_secs_f64() * 1e3;
            thread::sleep(Duration::from_millis(3));
            took
        })
        .collect();
    seen.sort_by(f64::total_cmp);
    Measured { sync, resident, peak, seen }
}

fn print(api: &str, measured: &Measured) {
    let at = |share: f64| measured.seen[((measured.seen.len() - 1) as f64 * share) as usize];
    println!(
        "{api}: first sync {:.2} s, {:.0} MB resident, {:.0} MB at most; change to wire: median {:.2} ms, p99 {:.2} ms, worst {:.2} ms",
        measured.sync,
        measured.resident,
        measured.peak,
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let names = args.first().and_then(|arg| arg.parse().ok()).unwrap_or(100_000);
    let of_v3 = Etcd::start();
    let pairs: Vec<_> = (0..names).map(|number| (key(number), value(number))).collect();
    of_v3.put_many(&pairs);
    drop(pairs);
    let (of_v2, writer) = V2::server();
    let begun = Instant::now();
    fill_v2(&of_v2, names);
    println!("{names} services; written to v2 in {:.0} s", begun.elapsed().as_secs_f64());
    for round in 1..=3 {
        println!("round {round}");
        let v3 = measure(&of_v3, "v3", names, |key, value| of_v3.put(key, value));
        let v2 = measure(&of_v2, "v2", names, |key, value| writer.put(key, value));
        print("v3", &v3);
        print("v2", &v2);
        println!(
            "memory of v2 to v3: {:.2} resident, {:.2} at most",
            v2.resident / v3.resident,
            v2.peak / v3.peak
        );
    }
}
