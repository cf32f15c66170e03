//! A long while at half load, with changes all the time and one fault after the other: memory and descriptors stay flat.
//!
//! `SKYDNS_SOAK=30 cargo test --release --test faults flat -- --nocapture` takes 30 minutes and prints a table; without
//! the variable it is half a minute.

use super::{Site, TURN, Upstreams, conclude, network};
use crate::support::Agent;
use crate::support::etcd::Etcd;
use crate::wire;
use hickory_proto::op::ResponseCode;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Names that come and go.
const COMING: u64 = 5_000;

/// Part of the full rate that the load has.
const PART: f64 = 0.5;

/// Memory and descriptors at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    seconds: u64,
    megabytes: f64,
    descriptors: usize,
    threads: usize,
}

impl Sample {
    pub(super) fn of(agent: &Agent, begun: Instant) -> Self {
        let of = format!("/proc/{}", agent.process.id());
        let status = std::fs::read_to_string(format!("{of}/status")).expect("a status");
        let number = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
            line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).expect("a number")
        };
        let count = |what: &str| std::fs::read_dir(format!("{of}/{what}")).expect("a directory").count();
        Self {
            seconds: begun.elapsed().as_secs(),
            megabytes: number("VmRSS:") / 1024.0,
            descriptors: count("fd"),
            threads: count("task"),
        }
    }

    /// Fails if what is used has grown since the first third, which fills what is filled once.
    pub(super) fn assert_flat(samples: &[Self]) {
        let (first, last) = (samples[samples.len() / 3], samples[samples.len() - 1]);
        let grown = last.megabytes - first.megabytes;
        println!("{grown:.1} MB more than {:.1} MB after {} s", first.megabytes, first.seconds);
        assert!(grown < 0.1 * first.megabytes + 8.0, "{samples:?}");
        assert!(last.descriptors <= first.descriptors + 16, "{samples:?}");
        assert!(last.threads <= first.threads + 2, "{samples:?}");
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, megabytes, descriptors, threads } = self;
        write!(f, "{seconds} s: {megabytes:.1} MB, {descriptors} descriptors, {threads} threads")
    }
}

/// What goes on beside the faults.
struct Bustle {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    changes: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

/// Names of the site, names that come and go, and one in sixteen that never comes again.
fn question(number: u64, packet: &mut Vec<u8>) {
    let (label, rtype) = match number % 16 {
        0 => (format!("never{number}"), 1),
        1..=4 => (format!("x{}", number * 31 % COMING), 1),
        5 => ("all".to_owned(), 33),
        _ => (format!("f{}", number % 300), 1),
    };
    for label in [label.as_str(), "skydns", "local"] {
        packet.push(u8::try_from(label.len()).expect("a label"));
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, rtype, 0, 1]);
}

fn load(server: SocketAddr, seconds: f64, rate: u64) -> wire::Outcome {
    wire::load(server, (seconds, rate, u64::MAX), Some(false), question)
}

impl Bustle {
    /// Loads the agent, and changes the store a hundred times a second, until it is stopped.
    fn start(site: &Site) -> Self {
        let bustle = Self {
            stop: Arc::default(),
            answers: Arc::default(),
            changes: Arc::default(),
            threads: Vec::new(),
        };
        let server = SocketAddr::from(([127, 0, 0, 1], site.agent.port));
        let full = site.wire.on(1, || load(server, 2.0, 0)).rate;
        println!("full load is {full:.0} answers a second; {:.0} are asked for", full * PART);
        let (stop, answers) = (Arc::clone(&bustle.stop), Arc::clone(&bustle.answers));
        let loading = site.wire.on(1, || {
            std::thread::spawn(move || {
                while !stop.load(Relaxed) {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
                    let outcome = load(server, 5.0, (full * PART) as u64);
                    answers.fetch_add(outcome.answers, Relaxed);
                }
            })
        });
        let (stop, changes) = (Arc::clone(&bustle.stop), Arc::clone(&bustle.changes));
        let endpoint = site.members[1].endpoint();
        let changing = site.wire.on(2, || std::thread::spawn(move || change(&endpoint, &stop, &changes)));
        Self { threads: vec![loading, changing], ..bustle }
    }

    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
        (self.answers.load(Relaxed), self.changes.load(Relaxed))
    }
}

/// Puts and deletes names, as far as the store takes it.
fn change(endpoint: &str, stop: &AtomicBool, changes: &AtomicU64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut number = 0u64;
        while !stop.load(Relaxed) {
            number += 1;
            let one = async {
                let mut client = etcd_client::Client::connect([endpoint], None).await.ok()?;
                for _ in 0..100 {
                    number += 1;
                    let key = format!("/skydns/local/skydns/x{}", number * 7_919 % COMING);
                    let value = format!(r#"{{"host":"10.8.0.1","port":{}}}"#, number % 60_000);
                    if number.is_multiple_of(3) {
                        client.delete(key, None).await.ok()?;
                    } else {
                        client.put(key, value, None).await.ok()?;
                    }
                    changes.fetch_add(1, Relaxed);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Some(())
            };
            if tokio::time::timeout(Duration::from_secs(5), one).await.ok().flatten().is_none() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    });
}

/// The next fault of a round.
fn fault(site: &mut Site, number: usize) {
    match number % 8 {
        0 => site.fault(
            "store killed",
            None,
            |site| site.members.iter_mut().for_each(Etcd::kill),
            |site| site.start(&[0, 1, 2]),
        ),
        1 => site.fault("packets dropped", Some(1), |site| site.wire_is(false), |site| site.wire_is(true)),
        2 => site.fault(
            "store frozen",
            None,
            |site| site.signal(&[0, 1, 2], "-STOP"),
            |site| site.signal(&[0, 1, 2], "-CONT"),
        ),
        3 => site.fault("none", Some(0), |_| {}, |_| {}),
        other => {
            let (name, mode) = [
                ("upstreams silent", Upstreams::Silent),
                ("upstreams say SERVFAIL", Upstreams::Fails(ResponseCode::ServFail)),
                ("upstreams truncate", Upstreams::Truncated),
                ("upstreams flap", Upstreams::Flapping),
            ][other - 4];
            site.fault(
                name,
                Some(0),
                |site| site.upstreams_are(mode),
                |site| site.upstreams_are(Upstreams::Well),
            );
        }
    }
}

#[test]
fn memory_and_descriptors_stay_flat() {
    if let Some(reason) = network::why_not() {
        println!("not run: {reason}");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let minutes = std::env::var("SKYDNS_SOAK").ok().and_then(|minutes| minutes.parse::<u64>().ok());
    let lasts = minutes.map_or(Duration::from_secs(25), |minutes| Duration::from_secs(60 * minutes));
    let mut site = Site::new();
    site.lasts = if minutes.is_some() { Duration::from_secs(15) } else { Duration::from_secs(2) };
    let bustle = Bustle::start(&site);
    site.prober.outcome();
    let (begun, mut samples) = (Instant::now(), Vec::new());
    for number in 0.. {
        fault(&mut site, number);
        samples.push(Sample::of(&site.agent, begun));
        println!("{}", samples[samples.len() - 1]);
        if begun.elapsed() > lasts {
            break;
        }
    }
    let (answers, changes) = bustle.stop();
    site.prober.finish();
    println!("{answers} answers under load, {changes} changes of the store");
    Sample::assert_flat(&samples);
    conclude(&site.rows, &site.agent.log());
}
