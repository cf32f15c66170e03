//! Faults of a cluster's API server, one after the other, while slices change all the time: no answer is wrong, none fails,
//! and memory stays flat.
//!
//! With `SKYDNS_SOAK=30` the faults come again and again for 30 minutes.

use super::prober::{Prober, Question, Truth};
use super::soak::Sample;
use super::{CHANGING, FIXED, Row, TURN, conclude, is_long};
use crate::kubernetes::asked::said;
use crate::kubernetes::server::{ApiServer, Faults};
use crate::support::{Agent, Setup, eventually};
use hickory_proto::rr::RecordType;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Longest until the server is followed again.
const FOLLOWED: Duration = Duration::from_secs(10);

/// Slices beside those that are asked for, and how many of them change each tenth of a second.
const OTHERS: usize = 500;
const CHANGES: usize = 20;

struct Site {
    server: ApiServer,
    agent: Agent,
    prober: Prober,
    lasts: Duration,
    rows: Vec<Row>,
    changes: usize,
}

fn object(kind: &str, name: &str, mut more: Value) -> Value {
    let group = if kind == "EndpointSlice" { "discovery.k8s.io/v1" } else { "v1" };
    more["apiVersion"] = json!(group);
    more["kind"] = json!(kind);
    more["metadata"]["name"] = json!(name);
    if kind != "Namespace" {
        more["metadata"]["namespace"] = json!("shop");
    }
    more
}

fn service(name: &str, address: &str) -> Value {
    object("Service", name, json!({"spec": {"clusterIP": address, "ports": [{"name": "http", "port": 80}]}}))
}

/// The slice of a headless service, with one endpoint.
fn slice(service: &str, address: &str) -> Value {
    let labels = json!({"kubernetes.io/service-name": service, "service.kubernetes.io/headless": ""});
    let endpoints = json!([{"addresses": [address], "conditions": {"ready": true}}]);
    object(
        "EndpointSlice",
        &format!("{service}-x"),
        json!({"metadata": {"labels": labels}, "addressType": "IPv4", "endpoints": endpoints}),
    )
}

fn address(number: usize) -> [u8; 4] {
    [10, 0, u8::try_from(number / 250).expect("small"), u8::try_from(number % 250).expect("small")]
}

fn questions() -> Vec<Question> {
    let mut questions = Vec::new();
    let mut ask = |label: String, rtype: u16, truth: Truth| {
        let edns = questions.len() % 8 == 1 && !matches!(truth, Truth::Number(_));
        let name = format!("{label}.shop.svc.cluster.local");
        // What answers say of their age is counted; their TTL is another one than that of the site's names elsewhere.
        questions.push(Question { name, rtype, truth, edns, own: false });
    };
    for n in 0..FIXED {
        ask(format!("f{n}"), 1, Truth::Ends(1, address(n).to_vec()));
        if n % 10 == 0 {
            ask(format!("none{n}"), 1, Truth::Absent);
            ask(format!("x.f{n}"), 28, Truth::Absent);
        }
    }
    for n in 0..CHANGING {
        ask(format!("c{n}"), 1, Truth::Number(n));
    }
    questions
}

impl Site {
    fn new() -> Self {
        let server = ApiServer::start();
        server.put(&object("Namespace", "shop", json!({})));
        server.put(&object("Namespace", "kube-system", json!({})));
        for n in 0..FIXED {
            let [a, b, c, d] = address(n);
            server.put(&service(&format!("f{n}"), &format!("{a}.{b}.{c}.{d}")));
        }
        for n in 0..CHANGING {
            server.put(&service(&format!("c{n}"), "None"));
            server.put(&slice(&format!("c{n}"), "10.1.0.0"));
        }
        for n in 0..OTHERS {
            server.put(&slice(&format!("other{n}"), "10.2.0.0"));
        }
        let url = server.url();
        let cluster = ["-kubernetes", "-master", &url, "-kubernetes-domain", "cluster.local", "-no-rec"];
        let agent = Setup::new().args(&cluster).start();
        let denied = || said(&agent, "nothing.shop.svc.cluster.local.", RecordType::A) == "NXDOMAIN";
        eventually("in step", denied);
        let prober = Prober::start(SocketAddr::from(([127, 0, 0, 1], agent.port)), questions(), CHANGING);
        let lasts = Duration::from_secs(if is_long() { 30 } else { 2 });
        Self { server, agent, prober, lasts, rows: Vec::new(), changes: 0 }
    }

    /// Writes the next number of a changing name.
    fn write(&self, which: usize) -> String {
        let number = self.prober.changing(which).written.load(Relaxed) + 1;
        self.prober.changing(which).written.store(number, Relaxed);
        let address = format!("10.1.{}.{}", number >> 8, number & 255);
        self.server.put(&slice(&format!("c{which}"), &address));
        address
    }

    /// Lets a fault last while names change, mends it, and judges.
    fn fault(&mut self, fault: &'static str, begin: impl FnOnce(&ApiServer), mend: impl FnOnce(&ApiServer)) {
        let begun = Instant::now();
        begin(&self.server);
        let end = Instant::now() + self.lasts;
        while Instant::now() < end {
            self.write(self.changes % CHANGING);
            for _ in 0..CHANGES {
                self.changes += 1;
                let address = format!("10.2.{}.{}", self.changes >> 8 & 255, self.changes & 255);
                self.server.put(&slice(&format!("other{}", self.changes % OTHERS), &address));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        mend(&self.server);
        let (lasted, mended) = (begun.elapsed(), Instant::now());
        let right = self.write(0);
        let shown = || self.agent.data("c0.shop.svc.cluster.local.", RecordType::A);
        eventually("followed again", || shown() == [right.as_str()]);
        let in_sync = mended.elapsed();
        let row = Row { fault, lasted, outcome: self.prober.outcome(), in_sync };
        println!("{}: {} wrong, {} failed", row.fault, row.outcome.wrong, row.outcome.failed);
        self.rows.push(row);
    }

    /// A fault from one cut of all connections to the next.
    fn faults(&mut self, fault: &'static str, faults: Faults) {
        self.fault(
            fault,
            |server| {
                server.set(faults);
                server.cut();
            },
            |server| server.set(Faults::default()),
        );
    }

    /// All faults, one after the other.
    fn round(&mut self) {
        let well = Faults::default;
        self.fault("none", |_| {}, |_| {});
        self.fault("connections lost", ApiServer::cut, |_| {});
        self.faults("server away", Faults { refuses: true, ..well() });
        self.faults("watches stall", Faults { stalls: true, ..well() });
        self.faults("token not taken (401)", Faults { token: Some("other".to_owned()), ..well() });
        self.faults("no right (403)", Faults { status: Some((403, "/", None)), ..well() });
        self.faults("too many requests (429)", Faults { status: Some((429, "/", Some(1))), ..well() });
        self.faults("server fails (500)", Faults { status: Some((500, "/", None)), ..well() });
        let forget = |server: &ApiServer, faults: Faults| {
            server.set(faults);
            server.compact();
            server.cut();
        };
        for (fault, faults) in [
            ("history forgotten", well()),
            ("forgotten, told by the status (410)", Faults { gone_as_status: true, ..well() }),
            ("forgotten, pages of 7, no stream", Faults { page: Some(7), no_stream: Some(422), ..well() }),
            ("forgotten, pieces of 5 octets", Faults { piece: 5, ..well() }),
            ("forgotten, a list wrongly empty", Faults { empty_lists: 1, ..well() }),
        ] {
            self.fault(fault, |server| forget(server, faults), |server| server.set(well()));
        }
        for (fault, id, version) in
            [("another cluster", "cluster-2", 1_000_000), ("the cluster gone back", "cluster-2", 50)]
        {
            let become_other = |server: &ApiServer| {
                server.become_other(id, version);
                server.cut();
            };
            self.fault(fault, become_other, |_| {});
        }
    }
}

/// A watch may be silent for so long, and a little more may pass until the next one.
const SILENCE: Duration = Duration::from_secs(150 + 10);

#[test]
fn a_watch_that_is_silent_for_too_long_goes_on() {
    if !is_long() {
        println!("SKIPPED: 150 s of silence: SKYDNS_FAULTS=long runs it, and packaging/setup test-all does");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let site = Site::new();
    site.server.set(Faults { stalls: true, ..Faults::default() });
    site.server.take_requests();
    let (right, begun) = (site.write(0), Instant::now());
    let mut requests = Vec::new();
    let is_watched = |requests: &[String]| {
        requests.iter().any(|path| path.contains("endpointslices") && path.contains("watch=true"))
    };
    while !is_watched(&requests) {
        assert!(begun.elapsed() < SILENCE, "{requests:?}");
        std::thread::sleep(Duration::from_millis(100));
        requests.extend(site.server.take_requests());
    }
    println!("watched again after {:.1} s", begun.elapsed().as_secs_f64());
    site.server.set(Faults::default());
    eventually("it goes on", || {
        site.agent.data("c0.shop.svc.cluster.local.", RecordType::A) == [right.as_str()]
    });
    // What it is, and that the server has not gone back, is asked; nothing is listed anew.
    let is_list =
        |path: &&String| !["watch=true", "limit=1", "kube-system"].iter().any(|part| path.contains(part));
    assert_eq!(requests.iter().find(is_list), None);
    let outcome = site.prober.outcome();
    site.prober.finish();
    assert_eq!((outcome.wrong, outcome.failed), (0, 0), "{outcome:?}");
}

#[test]
fn nothing_is_wrong_with_a_cluster_and_memory_stays_flat() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let minutes = std::env::var("SKYDNS_SOAK").ok().and_then(|minutes| minutes.parse::<u64>().ok());
    let lasts = Duration::from_secs(60 * minutes.unwrap_or(0));
    let mut site = Site::new();
    site.prober.outcome();
    let (begun, mut samples) = (Instant::now(), Vec::new());
    loop {
        site.round();
        samples.push(Sample::of(&site.agent, begun));
        println!("{}", samples[samples.len() - 1]);
        // The first round fills what is filled once.
        if begun.elapsed() > lasts && (minutes.is_none() || samples.len() > 2) {
            break;
        }
    }
    site.prober.finish();
    println!("{} slices changed", site.changes);
    assert_eq!(site.rows[0].outcome.stale, 0, "{:?}", site.rows[0].outcome);
    assert!(site.rows[2].outcome.stale > 0, "nothing is told to be beyond its time");
    let late = site.rows.iter().find(|row| row.in_sync > FOLLOWED).map(|row| row.fault);
    assert_eq!(late, None, "followed too late");
    Sample::assert_flat(&samples);
    // Each time it is missing for a moment alone, as when a server has just begun.
    assert!(!site.agent.log().contains("is missing"), "{}", site.agent.log());
    conclude(&site.rows, &site.agent.log());
}
