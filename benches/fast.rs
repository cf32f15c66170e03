//! One answer from memory: the fast path and the full path, without sockets.
//!
//! `cargo bench --bench fast` prints the time of each, medians of several rounds on one thread, and that of an upstream's
//! reply.
//! `cargo bench --bench fast -- --instructions` counts the instructions of one fast answer, and of direct answers to questions
//! that come for the first time, under valgrind. They are about the same on every machine; it fails if they are more than they
//! may be.

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};
use skydns::answer::{
    self, Dependencies, Externals, Made, Outcome, SiteFreshness, View, WORK_OF_ANSWER, Zone, answer,
};
use skydns::forward::read_reply;
use skydns::server::harness::{OneWorker, Packet};
use skydns::service::{Key, Service};
use skydns::tree::{Entry, Layer, Tree, Work};
use skydns::wire::{
    CacheHint, Looked, MAX_QUESTION_KEY, MAX_UDP_REPLY, Reply, ReplyCache, Request, Screened, Served,
    Transport, Validity, encode, screen,
};
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names in the tree, all of which are asked for.
const NAMES: usize = 10_000;

/// How many fast answers the instructions are counted of.
const ANSWERS: usize = 200_000;

/// Instructions that one fast answer may take. It takes 604; the rest is for other compilers and C libraries.
const MAX_INSTRUCTIONS: u64 = 750;

/// Names of the site whose answers are direct. They are so many that no question is asked twice within a while.
const DIRECT_NAMES: usize = 100_000;

/// Queries that a worker answers together.
const BATCH: usize = 32;

/// A kind of question that is answered directly, and the instructions that one may take, in a batch.
struct DirectKind {
    title: &'static str,
    /// The beginning of the first label; a number follows.
    label: &'static str,
    rtype: RecordType,
    max: u64,
}

const DIRECT_KINDS: [DirectKind; 3] = [
    DirectKind { title: "A", label: "s", rtype: RecordType::A, max: 5_000 },
    DirectKind { title: "SRV", label: "s", rtype: RecordType::SRV, max: 6_000 },
    DirectKind { title: "NXDOMAIN", label: "n", rtype: RecordType::A, max: 5_000 },
];

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// A site and its cached replies.
struct Site {
    served: Arc<answer::Site>,
    tree: Tree,
    queries: Vec<Vec<u8>>,
    cache: ReplyCache<()>,
    buffer: Vec<u8>,
    key: [u8; MAX_QUESTION_KEY],
}

impl Site {
    fn new() -> Self {
        let mut tree = Tree::tracked();
        let mut queries = Vec::new();
        for n in 0..NAMES {
            let at = name(&format!("s{n}.rails.east.skydns.local."));
            let host = format!(r#"{{"host":"10.0.{}.{}"}}"#, n >> 8, n & 255);
            let service = Service::from_json(host.as_bytes()).expect("a service");
            tree.put(&Key::from_name(&at), Layer(0), Entry::new(service));
            let mut message = Message::new(7, MessageType::Query, OpCode::Query);
            message.add_query(Query::query(at, RecordType::A));
            queries.push(message.to_vec().expect("a query"));
        }
        Self {
            served: Arc::new(answer::Site::new(Zone::new(&name("skydns.local.")))),
            tree,
            queries,
            cache: ReplyCache::default(),
            buffer: vec![0; 5_000],
            key: [0; MAX_QUESTION_KEY],
        }
    }

    fn full(&self, packet: &[u8]) -> (Vec<u8>, Dependencies) {
        let Screened::Ask(request) = screen(packet) else { panic!("no question") };
        let dependencies = Dependencies::default();
        let view = View {
            site: &self.served,
            tree: &self.tree,
            dependencies: &dependencies,
            freshness: &SiteFreshness::default(),
            now: 1,
            seed: 1,
            externals: &Externals::new(),
            made: &Made::default(),
            max_records: 340,
            work: &Work::new(WORK_OF_ANSWER),
            forwards: true,
            dnssec: None,
        };
        let Outcome::Answered(answer) = answer(&request.query, &view) else { panic!("not answered") };
        let limit = request.udp_limit(MAX_UDP_REPLY);
        (encode(&request, &Reply::from(answer), Transport::Udp { limit }), dependencies)
    }

    /// Answers as a worker does if the reply is cached.
    fn cached(&mut self, number: usize) -> Option<usize> {
        let query = &self.queries[number % NAMES];
        self.buffer[..query.len()].copy_from_slice(query);
        let served = Served { tree: &self.tree, now: 1 };
        let answered = self.cache.answer(&mut self.buffer, query.len(), MAX_UDP_REPLY, served, &mut self.key);
        if let Looked::Sent(len, ()) = answered { Some(len) } else { None }
    }

    /// Answers as a worker does.
    fn fast(&mut self, number: usize) -> usize {
        if let Some(len) = self.cached(number) {
            return len;
        }
        let query = &self.queries[number % NAMES];
        let (reply, dependencies) = self.full(query);
        let validity = Validity {
            version: self.tree.version(),
            slots: dependencies.into_slots().expect("slots"),
            until: u64::MAX,
            rotates: true,
            ..Validity::default()
        };
        let hint = CacheHint {
            validity,
            freshness: SiteFreshness::default(),
            shared_authority: None,
            max_reply: MAX_UDP_REPLY,
            note: (),
        };
        self.cache.offer(query, &reply, hint);
        reply.len()
    }
}

/// A worker whose names are all ordinary, and queries of a kind.
struct Direct {
    worker: OneWorker,
    queries: Vec<Vec<u8>>,
    packets: Vec<Packet>,
}

impl Direct {
    fn new(kind: &DirectKind) -> Self {
        let at = |label: &str, n: usize| name(&format!("{label}{n}.rails.east.skydns.local."));
        let services = (0..DIRECT_NAMES).map(|n| {
            let value = format!(r#"{{"host":"10.{}.{}.{}","port":80}}"#, n >> 16, n >> 8 & 255, n & 255);
            (Key::from_name(&at("s", n)), Service::from_json(value.as_bytes()).expect("a service"))
        });
        let query = |n: usize| {
            let mut message = Message::new(7, MessageType::Query, OpCode::Query);
            message.add_query(Query::query(at(kind.label, n), kind.rtype));
            message.to_vec().expect("a query")
        };
        let packets = (0..BATCH).map(|_| Packet { octets: vec![0; 4_096], len: 0 }).collect();
        Self { worker: OneWorker::new(services), queries: (0..DIRECT_NAMES).map(query).collect(), packets }
    }

    /// Answers the next queries, from a number on.
    fn answer(&mut self, from: usize) {
        for (at, packet) in self.packets.iter_mut().enumerate() {
            let query = &self.queries[(from + at) % DIRECT_NAMES];
            packet.octets[..query.len()].copy_from_slice(query);
            packet.len = query.len();
        }
        self.worker.answer(&mut self.packets);
    }
}

/// What the instructions are counted of.
#[inline(never)]
fn give_direct_answers(direct: &mut Direct) {
    for from in (0..DIRECT_NAMES).step_by(BATCH) {
        direct.answer(from);
    }
}

/// A question for a name outside, and a reply: a CNAME, four addresses, two name servers with an address each.
fn upstream_reply() -> (Request, Vec<u8>) {
    let [asked, target] = ["www.example.org.", "edge.example.net."].map(name);
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(asked.clone(), RecordType::A));
    let Screened::Ask(request) = screen(&message.to_vec().expect("a query")) else { panic!("no question") };
    message.metadata.message_type = MessageType::Response;
    let address = |n: u8| RData::A(rdata::A([192, 0, 2, n].into()));
    message.add_answer(Record::from_rdata(asked, 300, RData::CNAME(rdata::CNAME(target.clone()))));
    message.add_answers((0..4).map(|n| Record::from_rdata(target.clone(), 60, address(n))));
    for server in ["ns1.example.net.", "ns2.example.net."].map(name) {
        let ns = RData::NS(rdata::NS(server.clone()));
        message.add_authority(Record::from_rdata(name("example.net."), 600, ns));
        message.add_additional(Record::from_rdata(server, 600, address(9)));
    }
    (request, message.to_vec().expect("a reply"))
}

/// Nanoseconds of one call: the median of rounds.
fn time(mut work: impl FnMut(usize)) -> f64 {
    let mut calls = 0;
    let mut rounds: Vec<f64> = (0..9)
        .map(|_| {
            let (start, before) = (Instant::now(), calls);
            while start.elapsed() < Duration::from_millis(100) {
                for _ in 0..64 {
                    work(calls);
                    calls += 1;
                }
            }
            start.elapsed().as_nanos() as f64 / (calls - before) as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// What the instructions are counted of: fast answers to some of the queries, one after another.
#[inline(never)]
fn give_fast_answers(site: &mut Site, cached: &[usize]) {
    for number in cached.iter().cycle().take(ANSWERS) {
        black_box(site.cached(*number));
    }
}

/// Instructions of a function of this program that begins with `give_`, in another process with these arguments.
fn instructions(function: &str, args: &[&str]) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect=*{function}*"))
        .arg(std::env::current_exe().expect("this program"))
        .args(args)
        .output()
        .expect("valgrind");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().find_map(|line| line.split_once("Collected : "));
    line.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    if let Some(kind) = DIRECT_KINDS.iter().find(|kind| has("--direct") && has(kind.title)) {
        let mut direct = Direct::new(kind);
        give_direct_answers(&mut direct);
        assert!(direct.packets.iter().all(|packet| packet.len > 0), "all are answered directly");
        return;
    }
    let mut site = Site::new();
    // A reply is cached when its question comes a second time.
    (0..3 * NAMES).for_each(|number| drop(black_box(site.fast(number).to_string())));
    if has("--answers") {
        // Some names share a place in the cache, which depends on its seed.
        let cached: Vec<usize> = (0..NAMES).filter(|number| site.cached(*number).is_some()).collect();
        assert!(cached.len() > NAMES / 2, "{} of {NAMES} replies are cached", cached.len());
        give_fast_answers(&mut site, &cached);
    } else if has("--instructions") {
        let each = instructions("give_fast_answers", &["--answers"]) / ANSWERS as u64;
        println!("{each} instructions for one fast answer, of {MAX_INSTRUCTIONS} that it may take");
        assert!(each <= MAX_INSTRUCTIONS, "the fast path has become slower");
        for DirectKind { title, max, .. } in DIRECT_KINDS {
            let each = instructions("give_direct_answers", &["--direct", title]) / DIRECT_NAMES as u64;
            println!("{each} instructions for one direct answer, {title}, of {max} that it may take");
            assert!(each <= max, "direct answers have become slower");
        }
    } else {
        let fast = time(|number| {
            black_box(site.fast(number));
        });
        let full = time(|number| {
            black_box(site.full(&site.queries[number % NAMES]));
        });
        println!("fast path {fast:7.0} ns\nfull path {full:7.0} ns, {:.1} times as long", full / fast);
        for kind in &DIRECT_KINDS {
            let mut direct = Direct::new(kind);
            let batch = time(|number| direct.answer(number * BATCH));
            println!("direct    {:7.0} ns, {}", batch / BATCH as f64, kind.title);
        }
        let (query, message) = upstream_reply();
        let read = time(|_| {
            black_box(read_reply(&query.query, false, &message)).expect("a reply");
        });
        let reply = read_reply(&query.query, false, &message).expect("a reply");
        let write = time(|_| {
            black_box(encode(&query, &reply.clone(), Transport::Udp { limit: 1_232 }));
        });
        println!("reply of an upstream: {read:.0} ns to read, {write:.0} ns to write");
    }
}
