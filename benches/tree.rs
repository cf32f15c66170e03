//! The tree and the answers from it, at 10,000 and 1,000,000 services, beside maps of the same data.
//!
//! `cargo bench --bench tree` prints a table: medians of several rounds, in nanoseconds, and the memory
//! per service as the system counts it. Peers: `HashMap` and `BTreeMap` for look-ups, and `imbl::OrdMap`,
//! a persistent map like ours, for updates that are published.

use hickory_proto::op::Query;
use hickory_proto::rr::{Name, RecordType};
use skydns::answer::{
    Dependencies, Externals, Made, Outcome, Site, SiteFreshness, View, WORK_OF_ANSWER, Zone, answer,
};
use skydns::service::{Key, KeyTarget, Keyspace, Service};
use skydns::tree::{DataKinds, Entry, Extent, Layer, Tree, TreeLookup, TreePath, Work};
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LAYER: Layer = Layer(1);

/// A site of regions, services and instances; 100 instances a service.
fn path(n: usize) -> String {
    let (service, instance) = (n / 100, n % 100);
    format!("/skydns/local/skydns/r{}/svc{service}/i{instance}", service % 10)
}

fn key(n: usize) -> Key {
    match Keyspace::new("skydns").target_of(path(n).as_bytes()) {
        Ok(KeyTarget::Service { key, .. }) => key,
        other => panic!("{other:?}"),
    }
}

fn service(n: usize, port: u16) -> Service {
    let address = format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
    let value = format!("{{\"host\":\"{address}\",\"port\":{port},\"mail\":{}}}", n == 0);
    Service::from_json(value.as_bytes()).expect("a service")
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// Memory of the process in octets, as the system counts it.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("statm");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
}

/// Nanoseconds of one call: the median of rounds of at least 60 ms.
fn measure(mut work: impl FnMut(usize)) -> f64 {
    let mut rounds: Vec<f64> = (0..7)
        .map(|_| {
            let (start, mut calls) = (Instant::now(), 0);
            while start.elapsed() < Duration::from_millis(60) {
                for _ in 0..16 {
                    work(calls);
                    calls += 1;
                }
            }
            start.elapsed().as_secs_f64() * 1e9 / calls as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Numbers below `count` in an order without pattern.
fn scattered(call: usize, count: usize) -> usize {
    (call.wrapping_mul(0x9e37_79b9) >> 7) % count
}

struct Row {
    what: &'static str,
    nanos: Vec<f64>,
}

fn main() {
    let sizes = [10_000, 1_000_000];
    let mut rows: Vec<Row> = Vec::new();
    let mut note = |what: &'static str, nanos: f64| match rows.iter_mut().find(|row| row.what == what) {
        Some(row) => row.nanos.push(nanos),
        None => rows.push(Row { what, nanos: vec![nanos] }),
    };
    let mut memory = Vec::new();
    for count in sizes {
        let before = resident();
        let start = Instant::now();
        let mut tree = Tree::new();
        for n in 0..count {
            tree.put(&key(n), LAYER, Entry::new(service(n, 80)));
        }
        note("build: parse and put one service", start.elapsed().as_secs_f64() * 1e9 / count as f64);
        memory.push((resident() - before) / count);
        lookups(&tree, count, &mut note);
        answers(&tree, count, &mut note);
        updates(&mut tree, count, &mut note);
    }
    println!("{:<52}{:>10}{:>10}{:>8}", "nanoseconds each, at so many services", sizes[0], sizes[1], "ratio");
    for row in rows {
        let ratio = row.nanos[1] / row.nanos[0];
        println!("{:<52}{:>10.0}{:>10.0}{ratio:>8.2}", row.what, row.nanos[0], row.nanos[1]);
    }
    println!("{:<52}{:>10}{:>10}", "memory per service, octets", memory[0], memory[1]);
}

fn lookups(tree: &Tree, count: usize, note: &mut impl FnMut(&'static str, f64)) {
    let sample = count.min(65_536);
    let keys: Vec<Key> = (0..sample).map(|call| key(scattered(call, count))).collect();
    let paths: Vec<TreePath> = keys.iter().map(|key| TreePath::new(&key.name())).collect();
    note(
        "look-up of a name",
        measure(|call| {
            black_box(tree.exact(&paths[call % sample]));
        }),
    );
    let hash: HashMap<&Key, usize> = keys.iter().zip(0..).collect();
    note(
        "  peer: HashMap::get, of 65,536 at most",
        measure(|call| {
            black_box(hash.get(&keys[call % sample]));
        }),
    );
    let sorted: BTreeMap<Key, usize> = (0..count).map(|n| (key(n), n)).collect();
    note(
        "  peer: BTreeMap::get",
        measure(|call| {
            black_box(sorted.get(&keys[call % sample]));
        }),
    );
    let wild = TreePath::new(&name("i7.svc42.*.skydns.local."));
    let first = |path: &TreePath| match tree.services(
        path,
        Extent::default(),
        DataKinds::HOST,
        &Work::new(u32::MAX),
        |_| false,
    ) {
        TreeLookup::Services(found) => found.len(),
        _ => 0,
    };
    assert_eq!(first(&wild), 1);
    note(
        "wildcard look-up, i7.svc42.*, one match",
        measure(|_| {
            black_box(first(&wild));
        }),
    );
    let nothing = TreePath::new(&name("*.skydns.local."));
    note(
        "wildcard look-up of what does not exist (*, TXT)",
        measure(|_| {
            black_box(tree.services(
                &nothing,
                Extent::default(),
                DataKinds::TEXT,
                &Work::new(u32::MAX),
                |_| false,
            ));
        }),
    );
}

fn answers(tree: &Tree, count: usize, note: &mut impl FnMut(&'static str, f64)) {
    let (site, externals) = (Arc::new(Site::new(Zone::new(&name("skydns.local.")))), Externals::new());
    let dependencies = Dependencies::default();
    let view = View {
        site: &site,
        tree,
        dependencies: &dependencies,
        freshness: &SiteFreshness::default(),
        now: 1,
        seed: 7,
        externals: &externals,
        made: &Made::default(),
        max_records: 4_000,
        work: &Work::new(0),
        forwards: true,
        dnssec: None,
    };
    let mut time = |what, questions: &[Query], records: usize| {
        let ask = |query: &Query| answer(query, &View { work: &Work::new(5 * WORK_OF_ANSWER), ..view });
        let check = |query: &Query| match ask(query) {
            Outcome::Answered(answer) => answer.answers.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(check(&questions[0]), records);
        note(
            what,
            measure(|call| {
                black_box(ask(&questions[call % questions.len()]));
            }),
        );
    };
    let names: Vec<_> =
        (0..4_096).map(|call| Query::query(key(scattered(call, count)).name(), RecordType::A)).collect();
    time("answer: A, one address", &names, 1);
    let missing: Vec<_> =
        (0..4_096).map(|n| Query::query(name(&format!("no{n}.r1.skydns.local.")), RecordType::A)).collect();
    time("answer: NXDOMAIN", &missing, 0);
    let service = [Query::query(name("svc42.r2.skydns.local."), RecordType::SRV)];
    time("answer: SRV of 100 instances", &service, 100);
    let wild = [Query::query(name("i7.svc42.*.skydns.local."), RecordType::A)];
    time("answer: A through a wildcard", &wild, 1);
    // Visits each name that its work allows, and finds nothing.
    let deep = [Query::query(name("none.*.*.*.skydns.local."), RecordType::A)];
    time("answer: all work over TCP spent on wildcards", &deep, 0);
    // A fifth of the work takes all services that it finds; those of a group are all read before one is chosen.
    let wide = [Query::query(name("skydns.local."), RecordType::MX)];
    time("answer: all work over TCP spent on mail exchangers", &wide, 0);
}

fn updates(tree: &mut Tree, count: usize, note: &mut impl FnMut(&'static str, f64)) {
    let keys: Vec<Key> = (0..4_096).map(|call| key(scattered(call, count))).collect();
    note(
        "put that changes a service, with publishing",
        measure(|call| {
            let port = u16::try_from(call % 60_000).expect("a port");
            tree.put(&keys[call % keys.len()], LAYER, Entry::new(service(call, port)));
            // What readers hold keeps the writer from changing nodes in place.
            black_box(tree.clone());
        }),
    );
    let mut published = tree.clone();
    note(
        "the same while a reader holds the state before",
        measure(|call| {
            let port = u16::try_from(call % 60_000).expect("a port");
            tree.put(&keys[call % keys.len()], LAYER, Entry::new(service(call, port)));
            published = tree.clone();
        }),
    );
    let mut peer: imbl::OrdMap<Key, std::sync::Arc<Service>> =
        (0..count).map(|n| (key(n), std::sync::Arc::new(service(n, 80)))).collect();
    let mut held = peer.clone();
    note(
        "  peer: imbl::OrdMap::insert, held by a reader",
        measure(|call| {
            let port = u16::try_from(call % 60_000).expect("a port");
            peer.insert(keys[call % keys.len()].clone(), std::sync::Arc::new(service(call, port)));
            held = peer.clone();
        }),
    );
    black_box((published, held));
}
