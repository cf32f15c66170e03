//! Faults, one after the other, while ten questions a millisecond are asked and every answer is judged: none may be wrong,
//! and none may fail that could have been given.
//!
//! The agent, its store of three members and its upstreams are on two hosts of their own (network namespaces).
//! `cargo test --test faults -- --nocapture` prints the tables. `SKYDNS_FAULTS=long` in the environment makes each fault
//! last 30 seconds.

#[path = "../support/mod.rs"]
mod support;

mod attackers;
mod attacks;
mod cluster;
mod forged;
mod innocents;
mod prober;
mod secured;
mod soak;
mod times;

#[path = "../support/kubernetes/mod.rs"]
mod kubernetes;

#[path = "../../benches/peers/wire.rs"]
#[allow(
    dead_code,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the load is one part of it, and its figures are for people"
)]
mod wire;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{RData, RecordType, rdata};
use prober::{Prober, Question, Truth};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use support::etcd::Etcd;
use support::network::{self, Wire};
use support::upstream::{Upstream, Via, add, failure, reply_to};
use support::v2::V2;
use support::{Agent, Setup, eventually};

/// Where the store is, and where the agent comes from.
const STORE: &str = "198.51.100.2";
const AGENT: &str = "198.51.100.1";

/// Names that never change, names that do, and names of elsewhere.
const FIXED: usize = 300;
/// Longest until all is in sync again. Where nothing can be heard, what notices that is a keep-alive of ten seconds, and a
/// pause of five between attempts comes on top.
const IN_SYNC: Duration = Duration::from_secs(16);
const CHANGING: usize = 10;
const ELSEWHERE: usize = 20;

/// How the upstreams behave.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Upstreams {
    Well,
    Silent,
    Slow,
    Fails(ResponseCode),
    WrongId,
    WrongQuestion,
    Garbage,
    Truncated,
    Flapping,
}

struct Site {
    wire: Wire,
    members: Vec<Etcd>,
    /// A writer at each member, if the services are stored by the v2 API.
    v2: Option<Vec<V2>>,
    agent: Agent,
    upstreams: Arc<Mutex<Upstreams>>,
    prober: Prober,
    /// How long a fault lasts.
    lasts: Duration,
    rows: Vec<Row>,
}

/// Faults are worked through one site at a time.
static TURN: Mutex<()> = Mutex::new(());

struct Row {
    fault: &'static str,
    lasted: Duration,
    outcome: prober::Outcome,
    /// From when the store is well to when the agent is in step.
    in_sync: Duration,
}

/// Whether faults and attacks last long.
fn is_long() -> bool {
    std::env::var("SKYDNS_FAULTS").is_ok_and(|form| form == "long")
}

/// How long each fault lasts.
fn lasts() -> Duration {
    Duration::from_secs(if is_long() { 30 } else { 4 })
}

fn table(rows: &[Row]) -> String {
    let mut table = format!(
        "{:38} {:>8} {:>9} {:>6} {:>7} {:>7} {:>7} {:>9} {:>11}\n",
        "fault", "lasted s", "questions", "wrong", "failed", "EDE 3", "p99 ms", "slowest s", "in sync s"
    );
    for row in rows {
        let outcome = &row.outcome;
        table += &format!(
            "{:38} {:8.1} {:9} {:6} {:7} {:7} {:7.1} {:9.3} {:11.3}\n",
            row.fault,
            row.lasted.as_secs_f64(),
            outcome.asked,
            outcome.wrong,
            outcome.failed,
            outcome.stale,
            outcome.times.p99().as_secs_f64() * 1_000.0,
            outcome.times.slowest().as_secs_f64(),
            row.in_sync.as_secs_f64()
        );
        outcome.told.iter().for_each(|told| table += &format!("    {told}\n"));
    }
    table
}

/// Prints the table, and fails if anything in it is wrong.
fn conclude(rows: &[Row], log: &str) {
    let table = table(rows);
    println!("{table}");
    let bad = rows.iter().filter(|row| row.outcome.wrong + row.outcome.failed > 0).count();
    assert_eq!(bad, 0, "\n{table}\n{log}");
    let slow = rows.iter().filter(|row| row.in_sync > IN_SYNC).count();
    assert_eq!(slow, 0, "\n{table}\n{log}");
}

fn reply(query: &Message, via: Via, mode: Upstreams) -> Option<Message> {
    let mut reply = reply_to(query);
    if query.queries[0].query_type() == RecordType::A {
        add(&mut reply, 2, RData::A(rdata::A([192, 0, 2, 1].into())));
    }
    let odd = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a time").as_secs() % 2 == 1;
    match mode {
        Upstreams::Well => {}
        Upstreams::Silent => return None,
        Upstreams::Slow => std::thread::sleep(Duration::from_secs(4)),
        Upstreams::Fails(rcode) => return Some(failure(query, rcode)),
        Upstreams::WrongId => reply.metadata.id ^= 0x55,
        Upstreams::WrongQuestion => {
            reply.queries[0].set_query_type(RecordType::AAAA);
        }
        Upstreams::Garbage => reply.metadata.op_code = OpCode::Status,
        Upstreams::Truncated => {
            reply.answers.clear();
            reply.metadata.truncation = true;
        }
        Upstreams::Flapping if odd => return None,
        Upstreams::Flapping => {}
    }
    // A truncated reply over TCP has no excuse; it is what a broken middlebox sends.
    let _ = via;
    Some(reply)
}

fn questions() -> Vec<Question> {
    let mut questions = Vec::new();
    let address =
        |n: usize| vec![10, 0, u8::try_from(n / 250).expect("small"), u8::try_from(n % 250).expect("small")];
    let mut ask = |name: String, rtype: u16, truth: Truth| {
        let own = name.to_ascii_lowercase().ends_with("skydns.local");
        // With EDNS one in so many.
        let edns = questions.len() % 8 == 1 && !matches!(truth, Truth::Number(_));
        questions.push(Question { name, rtype, truth, edns, own });
    };
    for n in 0..FIXED {
        ask(format!("f{n}.skydns.local"), 1, Truth::Ends(1, address(n)));
        if n % 10 == 0 {
            // The port, the target's label and the pointer to its rest; then the address beside it.
            ask(format!("f{n}.skydns.local"), 33, Truth::Ends(1, address(n)));
            ask(format!("F{n}.SkyDNS.local"), 1, Truth::Ends(1, address(n)));
            ask(format!("none{n}.skydns.local"), 1, Truth::Absent);
            ask(format!("x.f{n}.skydns.local"), 28, Truth::Absent);
        }
    }
    for n in 0..CHANGING {
        ask(format!("c{n}.skydns.local"), 1, Truth::Number(n));
    }
    for n in 0..ELSEWHERE {
        ask(format!("w{n}.example.org"), 1, Truth::Ends(1, vec![192, 0, 2, 1]));
    }
    ask("text.skydns.local".to_owned(), 16, Truth::Ends(1, b"\x05hello".to_vec()));
    ask("mail.skydns.local".to_owned(), 15, Truth::Ends(1, vec![10, 3, 0, 2]));
    ask("alias.skydns.local".to_owned(), 1, Truth::Ends(2, address(1)));
    ask("alias.skydns.local".to_owned(), 5, Truth::Ends(1, b"\x02f1\xc0\x12".to_vec()));
    ask("9.0.3.10.in-addr.arpa".to_owned(), 12, Truth::Ends(1, b"\x04back\x07example\x03org\0".to_vec()));
    ask("one.all.skydns.local".to_owned(), 1, Truth::Ends(1, vec![10, 3, 0, 1]));
    ask("*.all.skydns.local".to_owned(), 1, Truth::Ends(1, vec![10, 3, 0, 1]));
    ask("host.dns.skydns.local".to_owned(), 1, Truth::Ends(1, vec![10, 3, 0, 9]));
    questions
}

impl Site {
    fn new() -> Self {
        Self::with_api("v3")
    }

    /// A site whose services are stored by an API of etcd.
    fn with_api(api: &str) -> Self {
        let wire = Wire::new(&["198.51.100"]);
        let is_v2 = api == "v2";
        let (members, v2) = wire.on(2, || {
            let extra: &[&str] = if is_v2 { &["--enable-v2"] } else { &[] };
            let members = Etcd::cluster_at(STORE, 3, extra);
            let v2: Option<Vec<_>> = is_v2.then(|| members.iter().map(V2::of).collect());
            let mut pairs: Vec<_> = (0..FIXED)
                .map(|n| (format!("f{n}"), format!(r#"{{"host":"10.0.{}.{}"}}"#, n / 250, n % 250)))
                .collect();
            pairs.push(("all/one".to_owned(), r#"{"host":"10.3.0.1"}"#.to_owned()));
            pairs.push(("dns/host".to_owned(), r#"{"host":"10.3.0.9"}"#.to_owned()));
            pairs.push(("text".to_owned(), r#"{"text":"hello"}"#.to_owned()));
            pairs.push(("mail".to_owned(), r#"{"host":"10.3.0.2","mail":true}"#.to_owned()));
            pairs.push(("alias".to_owned(), r#"{"host":"f1.skydns.local"}"#.to_owned()));
            pairs.extend((0..CHANGING).map(|n| (format!("c{n}"), r#"{"host":"10.1.0.0"}"#.to_owned())));
            let pairs: Vec<_> = pairs
                .into_iter()
                .map(|(key, value)| (format!("/skydns/local/skydns/{key}"), value))
                .collect();
            let pairs: Vec<_> = pairs
                .into_iter()
                .chain([(
                    "/skydns/arpa/in-addr/10/3/0/9".to_owned(),
                    r#"{"host":"back.example.org"}"#.to_owned(),
                )])
                .collect();
            match &v2 {
                Some(v2) => pairs.iter().for_each(|(key, value)| v2[0].put(key, value)),
                None => members[0].put_many(&pairs),
            }
            (members, v2)
        });
        let upstreams = Arc::new(Mutex::new(Upstreams::Well));
        let machines: Vec<_> = members.iter().map(Etcd::endpoint).collect();
        let (agent, prober) = wire.on(1, || {
            let servers = [0, 1].map(|_| {
                let mode = Arc::clone(&upstreams);
                let script = move |query: &Message, via: Via| {
                    let mode = *mode.lock().expect("unpoisoned");
                    reply(query, via, mode)
                };
                Upstream::start(script).address.to_string()
            });
            let agent = Setup::new()
                .args(&["-machines", &machines.join(","), "-nameservers", &servers.join(","), "-discover"])
                .args(&["-etcd-api", api])
                .start();
            eventually("in sync", || agent.log().contains("in sync"));
            for n in 0..ELSEWHERE {
                agent.ask(&format!("w{n}.example.org."), RecordType::A);
            }
            let prober = Prober::start(SocketAddr::from(([127, 0, 0, 1], agent.port)), questions(), CHANGING);
            (agent, prober)
        });
        Self { wire, members, v2, agent, upstreams, prober, lasts: lasts(), rows: Vec::new() }
    }

    /// Writes the next number of a changing name, at a member that is well.
    fn write(&self, member: usize, which: usize) -> u32 {
        let number = self.prober.changing(which).written.load(Relaxed) + 1;
        self.prober.changing(which).written.store(number, Relaxed);
        let value = format!(r#"{{"host":"10.1.{}.{}"}}"#, number >> 8, number & 255);
        let key = format!("/skydns/local/skydns/c{which}");
        // While members elect, none takes a change.
        eventually("written", || self.wire.on(2, || self.try_put(member, &key, &value)));
        number
    }

    fn try_put(&self, member: usize, key: &str, value: &str) -> bool {
        match &self.v2 {
            Some(v2) => v2[member].try_put(key, value),
            None => self.members[member].try_put(key, value),
        }
    }

    fn put(&self, key: &str, value: &str) {
        self.wire.on(2, || match &self.v2 {
            Some(v2) => v2[0].put(key, value),
            None => self.members[0].put(key, value),
        });
    }

    fn delete(&self, key: &str) {
        self.wire.on(2, || match &self.v2 {
            Some(v2) => v2[0].delete(key),
            None => self.members[0].delete(key),
        });
    }

    /// Puts a key that ends after two seconds.
    fn put_short(&self, key: &str, value: &str) {
        self.wire.on(2, || match &self.v2 {
            Some(v2) => v2[0].put_ttl(key, value, 2),
            None => drop(self.members[0].put_with_lease(key, value, 2)),
        });
    }

    /// Has the store forget what has happened up to now.
    fn forget(&self, member: usize) {
        self.wire.on(2, || match &self.v2 {
            // It knows the last thousand changes.
            Some(v2) => (0..1_001).for_each(|n| v2[member].put("/foreign", &n.to_string())),
            None => self.members[member].compact(),
        });
    }

    /// Waits until the agent has what is written now.
    fn in_sync(&self, member: usize) -> Duration {
        let begun = Instant::now();
        let number = self.write(member, 0);
        let right = format!("10.1.{}.{}", number >> 8, number & 255);
        let shown = || self.wire.on(1, || self.agent.data("c0.skydns.local.", RecordType::A));
        eventually("in sync again", || shown() == [right.as_str()]);
        begun.elapsed()
    }

    /// Lets a fault last, changes some names meanwhile if the store can be written, mends it, and judges.
    fn fault(
        &mut self,
        fault: &'static str,
        writes: Option<usize>,
        begin: impl FnOnce(&mut Self),
        mend: impl FnOnce(&mut Self),
    ) {
        let begun = Instant::now();
        begin(self);
        let end = Instant::now() + self.lasts;
        let mut which = 0;
        while Instant::now() < end {
            if let Some(member) = writes {
                which = (which + 1) % CHANGING;
                self.write(member, which);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        mend(self);
        let lasted = begun.elapsed();
        let in_sync = self.in_sync(0);
        let row = Row { fault, lasted, outcome: self.prober.outcome(), in_sync };
        println!("{}: {} wrong, {} failed", row.fault, row.outcome.wrong, row.outcome.failed);
        self.rows.push(row);
    }

    fn signal(&self, members: &[usize], signal: &str) {
        for member in members {
            self.members[*member].process.as_ref().expect("a process").signal(signal);
        }
    }

    /// Whether what the store sends gets through to the agent.
    fn wire_is(&self, up: bool) {
        let change = if up { "del" } else { "add" };
        self.wire.ip(2, &["route", change, "blackhole", &format!("{AGENT}/32")]);
    }

    fn start(&mut self, members: &[usize]) {
        let Self { wire, members: all, .. } = self;
        wire.on(2, || {
            members.iter().for_each(|member| all[*member].launch());
            members.iter().for_each(|member| all[*member].wait());
        });
    }

    fn upstreams_are(&self, mode: Upstreams) {
        *self.upstreams.lock().expect("unpoisoned") = mode;
    }

    fn leader(&self) -> usize {
        let ids: Vec<_> = self.members.iter().map(|member| self.wire.on(2, || member.status())).collect();
        ids.iter().position(|(own, leader)| own == leader).expect("a leader")
    }

    fn store_faults(&mut self) {
        self.fault(
            "store killed, started again",
            None,
            |site| site.members.iter_mut().for_each(Etcd::kill),
            |site| site.start(&[0, 1, 2]),
        );
        // Long enough for keep-alives to notice.
        self.lasts *= 3;
        self.fault(
            "store frozen",
            None,
            |s| s.signal(&[0, 1, 2], "-STOP"),
            |s| s.signal(&[0, 1, 2], "-CONT"),
        );
        self.fault("packets dropped, store changes", Some(1), |s| s.wire_is(false), |s| s.wire_is(true));
        self.fault(
            "packets dropped, store compacted",
            Some(2),
            |site| site.wire_is(false),
            |site| {
                let number = site.write(1, 3);
                assert!(number > 0);
                site.forget(1);
                site.wire_is(true);
            },
        );
        self.lasts /= 3;
        self.fault(
            "store slow: frozen nine times in ten",
            None,
            |site| {
                let end = Instant::now() + site.lasts;
                while Instant::now() < end {
                    site.signal(&[0, 1, 2], "-STOP");
                    std::thread::sleep(Duration::from_millis(450));
                    site.signal(&[0, 1, 2], "-CONT");
                    std::thread::sleep(Duration::from_millis(50));
                }
            },
            |_| {},
        );
        let leader = self.leader();
        let other = (leader + 1) % 3;
        self.fault(
            "leader killed, started again",
            Some(other),
            |site| {
                site.members[leader].kill();
                std::thread::sleep(Duration::from_secs(2));
            },
            |site| site.start(&[leader]),
        );
        self.lease();
        self.backup();
        self.fault(
            "a member removed",
            Some(0),
            |site| {
                let id = site.wire.on(2, || site.members[2].status().0);
                site.wire.on(2, || site.members[0].remove_member(id));
                site.members[2].kill();
            },
            |_| {},
        );
    }

    /// A record whose lease ends while the store cannot be reached stays: its owner could not renew it.
    fn lease(&mut self) {
        self.put_short("/skydns/local/skydns/leased", r#"{"host":"10.4.0.1"}"#);
        let known = |site: &Self| site.wire.on(1, || site.agent.data("leased.skydns.local.", RecordType::A));
        eventually("the lease is known", || known(self) == ["10.4.0.1"]);
        self.fault(
            "packets dropped, a lease ends",
            None,
            |site| {
                site.wire_is(false);
                let source = if site.v2.is_some() { "etcd-v2" } else { "etcd" };
                let told = format!("{source}: http://");
                eventually("the loss is noticed", || site.agent.log().contains(&told));
            },
            |site| {
                assert_eq!(known(site), ["10.4.0.1"], "it stays while its store is away");
                site.wire_is(true);
            },
        );
        eventually("it goes when the store says so", || known(self).is_empty());
    }

    /// The store comes back with the data of before: its revision goes back, and changes are undone.
    fn backup(&mut self) {
        let changed = 7;
        self.put("/skydns/local/skydns/late", r#"{"host":"10.5.0.1"}"#);
        let late = |site: &Self| site.wire.on(1, || site.agent.data("late.skydns.local.", RecordType::A));
        self.members.iter_mut().for_each(Etcd::kill);
        self.members.iter().for_each(Etcd::back_up);
        self.start(&[0, 1, 2]);
        for _ in 0..20 {
            self.write(0, changed);
        }
        self.delete("/skydns/local/skydns/late");
        eventually("the deletion shows", || late(self).is_empty());
        let free = |site: &Self, free: bool| {
            for which in 0..CHANGING {
                site.prober.changing(which).free.store(free, Relaxed);
                site.prober.changing(which).seen.store(0, Relaxed);
            }
        };
        self.fault(
            "store restored from a backup",
            None,
            |site| {
                // What was is right again, from the moment on when the agent hears of it.
                free(site, true);
                site.members.iter_mut().for_each(Etcd::kill);
                site.members.iter().for_each(Etcd::restore);
            },
            |site| site.start(&[0, 1, 2]),
        );
        eventually("what was deleted since is there again", || late(self) == ["10.5.0.1"]);
        free(self, false);
    }

    fn upstream_faults(&mut self) {
        for (fault, mode) in [
            ("upstreams silent", Upstreams::Silent),
            ("upstreams slow", Upstreams::Slow),
            ("upstreams say SERVFAIL", Upstreams::Fails(ResponseCode::ServFail)),
            ("upstreams say REFUSED", Upstreams::Fails(ResponseCode::Refused)),
            ("upstreams reply with wrong ids", Upstreams::WrongId),
            ("upstreams reply to something else", Upstreams::WrongQuestion),
            ("upstreams reply with garbage", Upstreams::Garbage),
            ("upstreams truncate for ever", Upstreams::Truncated),
            ("upstreams flap", Upstreams::Flapping),
        ] {
            self.fault(
                fault,
                Some(0),
                |site| site.upstreams_are(mode),
                |site| site.upstreams_are(Upstreams::Well),
            );
        }
    }
}

impl Site {
    /// The servers are told to have the v2 API no more, and then to have it again.
    fn switched_off(&mut self) {
        let set = |site: &mut Self, is_on: bool| {
            site.members.iter_mut().for_each(|member| {
                member.kill();
                member.set_argument("--enable-v2", is_on);
            });
            site.start(&[0, 1, 2]);
        };
        self.fault(
            "the v2 API switched off, and on again",
            None,
            |site| set(site, false),
            |site| set(site, true),
        );
    }
}

#[test]
fn nothing_is_wrong_with_the_v2_api() {
    if let Some(reason) = network::why_not() {
        println!("not run: {reason}");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut site = Site::with_api("v2");
    site.prober.outcome();
    site.fault("none", Some(0), |_| {}, |_| {});
    site.switched_off();
    site.store_faults();
    site.prober.finish();
    assert_eq!(site.rows[0].outcome.stale, 0, "{:?}", site.rows[0].outcome);
    conclude(&site.rows, &site.agent.log());
}

#[test]
fn nothing_is_wrong_and_nothing_fails() {
    if let Some(reason) = network::why_not() {
        println!("not run: {reason}");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut site = Site::new();
    site.prober.outcome();
    site.fault("none", Some(0), |_| {}, |_| {});
    site.upstream_faults();
    site.store_faults();
    site.prober.finish();
    for row in &site.rows {
        match row.fault {
            "none" => assert_eq!(row.outcome.stale, 0, "{:?}", row.outcome),
            // How soon the others are noticed is a matter of when the last keep-alive went out.
            "store killed, started again" => {
                assert!(row.outcome.stale > 0, "nothing is told to be beyond its time");
            }
            // They are well each other second, and perhaps whenever a reply has to be fetched again.
            "upstreams flap" => {}
            fault if fault.starts_with("upstreams") => assert!(row.outcome.stale > 0, "{fault}"),
            _ => {}
        }
    }
    conclude(&site.rows, &site.agent.log());
}
