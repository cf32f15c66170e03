//! Attacks, one after the other, while others are served: no question of theirs may fail.
//!
//! Names of the site are asked for on the agent's host, names that are in no cache by another host, which keeps some TCP
//! connections as well. A tenant writes what it likes into the store, and attackers ask from the other host.

use super::attackers::{Attack, Way};
use super::innocents::{Heard, Kept, ask_for_new_names};
use super::prober::{Outcome, Prober, Question, Truth, packet};
use super::support::etcd::Etcd;
use super::support::network::{self, Wire};
use super::support::plain_upstream::{ADDRESS, PlainUpstream};
use super::support::{Agent, Setup, eventually};
use super::{TURN, is_long, lasts};
use hickory_proto::rr::RecordType;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Names of other tenants: 10 × 10 × 10 names of four labels below the domain with 100 names each, and one below each.
const NAMES: usize = 100_000;

/// The same where the number of names does not matter.
const FEW_NAMES: usize = 1_000;

/// Records of the attacking tenant at one name.
const TENANT: usize = 200;

/// Services at one name: an answer of some 10 KiB; and one of 1 KiB, which takes an unoptimised agent no longer.
const WIDE: usize = 200;
const NARROW: usize = 20;

/// Questions of the prober in a second: the attackers have work on the same machine.
const RATE: u64 = 2_000;

/// Files that the agent may have open. A quarter of them are for connections: fewer than the attackers open.
const FILES: u32 = 800;

/// Connections that never read.
const NEVER_READING: usize = 200;

/// Types that a question for addresses, a question for targets, and a question for everything have.
const TYPES: [u16; 7] = [1, 28, 33, 15, 16, 5, 255];

/// The agent's addresses: in a private network, whose clients are trusted, and in a public one.
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Clients of the other host.
const TRUSTED_ATTACKER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const UNKNOWN_ATTACKER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const ASKS_FOR_NEW_NAMES: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
const KEEPS_CONNECTIONS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 4);

const fn server(address: Ipv4Addr) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(address), 53)
}

/// The name of the service with this number, from the left.
fn labels(n: usize) -> [String; 5] {
    let of = |letter: char, part: usize| format!("{letter}{part}");
    [of('n', n % 10), of('d', n % 100), of('c', n / 100 % 10), of('b', n / 1_000 % 10), of('a', n / 10_000)]
}

fn address(n: usize) -> [u8; 4] {
    let octet = |shift: usize| u8::try_from(n >> shift & 0xff).expect("an octet");
    [10, octet(16), octet(8), octet(0)]
}

fn services(names: usize) -> Vec<(String, String)> {
    let host = |host: String| format!(r#"{{"host":"{host}"}}"#);
    let mut services = Vec::new();
    let mut put =
        |path: String, value: String| services.push((format!("/skydns/local/skydns/{path}"), value));
    for n in 0..names {
        let [e, d, c, b, a] = labels(n);
        put(format!("{a}/{b}/{c}/{d}/{e}"), host(Ipv4Addr::from(address(n)).to_string()));
    }
    for n in 0..TENANT {
        put(format!("empty/{n}"), host(format!("x{n}.*.*.*.*.skydns.local")));
        put(format!("full/{n}"), host(format!("n{}.*.*.*.*.skydns.local", n % 10)));
        // Names that lead to all of these names, again and again.
        put(format!("loop/{n}"), host(format!("{}.loop.skydns.local", ["*", "any"][n % 2])));
        put(format!("loop/x{n}/y"), host(format!("y.{}.loop.skydns.local", ["*", "any", "*"][n % 3])));
    }
    for (name, services) in [("wide", WIDE), ("narrow", NARROW)] {
        for n in 0..services {
            put(format!("{name}/{n}"), host(Ipv4Addr::from(address(n)).to_string()));
        }
    }
    put("kept".to_owned(), host("10.3.0.1".to_owned()));
    services
}

fn questions(names: usize) -> Vec<Question> {
    let own = |name: String, truth: Truth| Question { name, rtype: 1, truth, edns: false, own: true };
    let mut questions = vec![own("kept.skydns.local".to_owned(), Truth::Ends(1, vec![10, 3, 0, 1]))];
    for n in (0..names).step_by(names / 300 + 1) {
        let name = format!("{}.skydns.local", labels(n).join("."));
        questions.push(own(name, Truth::Ends(1, address(n).to_vec())));
        questions.push(own(format!("none{n}.skydns.local"), Truth::Absent));
    }
    for n in 0..20 {
        let name = format!("w{n}.example.org");
        let truth = Truth::Ends(1, ADDRESS.to_vec());
        questions.push(Question { name, rtype: 1, truth, edns: false, own: false });
    }
    questions
}

struct Site {
    wire: Wire,
    _store: Etcd,
    _agent: Agent,
    _upstream: PlainUpstream,
    prober: Prober,
    rows: Vec<Row>,
}

struct Row {
    attack: &'static str,
    sent: u64,
    own: Outcome,
    new: Heard,
    kept: Heard,
}

impl Site {
    /// A site with so many names; `None` where there can be none.
    fn new(names: usize) -> Option<Self> {
        if let Some(reason) = network::why_not() {
            println!("not run: {reason}");
            return None;
        }
        let wire = Wire::new(&["198.51.100", "10.77.0"]);
        for client in [ASKS_FOR_NEW_NAMES, KEEPS_CONNECTIONS] {
            wire.ip(2, &["address", "add", &format!("{client}/24"), "dev", "wire"]);
        }
        let (store, agent, upstream, prober) = wire.on(1, || {
            let store = Etcd::start();
            store.put_many(&services(names));
            let upstream = PlainUpstream::start();
            let args = ["-addr", "0.0.0.0:53", "-machines", &store.endpoint(), "-nameservers"];
            let agent = Setup::new()
                .without_address()
                .port(53)
                .open_files(FILES)
                .args(&args)
                .args(&[&upstream.address.to_string()])
                .start();
            eventually("in sync", || agent.data("kept.skydns.local.", RecordType::A) == ["10.3.0.1"]);
            let prober = Prober::start_at_rate(RATE, agent.address(), questions(names), 0);
            (store, agent, upstream, prober)
        });
        Some(Self { wire, _store: store, _agent: agent, _upstream: upstream, prober, rows: Vec::new() })
    }

    /// Lets an attack last, and judges what the others heard meanwhile.
    fn attack(&mut self, name: &'static str, attackers: impl Fn(&Attack) + Sync) {
        let attack = Attack::new();
        let wire = &self.wire;
        let kept = wire.on(2, || Kept::open(5, KEEPS_CONNECTIONS, server(PRIVATE)));
        self.prober.outcome();
        let (own, new, kept) = std::thread::scope(|scope| {
            let stop = &attack.stop;
            let _stop = Stop(&attack);
            scope.spawn(|| wire.on(2, || attackers(&attack)));
            let new = scope
                .spawn(move || wire.on(2, || ask_for_new_names(ASKS_FOR_NEW_NAMES, server(PRIVATE), stop)));
            let kept =
                scope.spawn(move || wire.on(2, || kept.ask(("kept.skydns.local", &[10, 3, 0, 1]), stop)));
            std::thread::sleep(lasts());
            let own = self.prober.outcome();
            stop.store(true, Relaxed);
            (own, new.join().expect("a client"), kept.join().expect("a client"))
        });
        let row = Row { attack: name, sent: attack.sent.load(Relaxed), own, new, kept };
        println!("{}", row.text());
        self.rows.push(row);
    }

    /// Ends the site, and fails if any question of others failed.
    fn conclude(self) {
        self.prober.finish();
        let table: String = self.rows.iter().map(|row| row.text() + "\n").collect();
        let bad = self.rows.iter().filter(|row| row.failed() > 0).count();
        assert_eq!(bad, 0, "\n{table}");
    }
}

/// Ends the attack, however its judgement ends.
struct Stop<'a>(&'a Attack);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
    }
}

impl Row {
    fn failed(&self) -> u64 {
        self.own.wrong + self.own.failed + self.new.failed + self.kept.failed
    }

    fn text(&self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let mut text = format!("{} ({} questions):\n", self.attack, self.sent);
        let parts = [
            (
                "known names",
                self.own.asked,
                self.own.wrong + self.own.failed,
                &self.own.times,
                &self.own.told,
            ),
            ("new names", self.new.asked, self.new.failed, &self.new.times, &self.new.told),
            ("over kept connections", self.kept.asked, self.kept.failed, &self.kept.times, &self.kept.told),
        ];
        for (who, asked, failed, times, told) in parts {
            let (p99, slowest) = (ms(times.p99()), ms(times.slowest()));
            text += &format!(
                "    {who:24} {asked:7} asked {failed:6} failed   p99 {p99:8.1} ms   slowest {slowest:8.1} ms\n"
            );
            told.iter().for_each(|told| text += &format!("        {told}\n"));
        }
        text
    }
}

/// All types of one name, with EDNS.
fn each_type(name: &str) -> Vec<Vec<u8>> {
    TYPES.iter().map(|rtype| packet(name, *rtype, true)).collect()
}

fn site(names: usize, attacks: impl FnOnce(&mut Site)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut site) = Site::new(names) else { return };
    if is_long() {
        // To compare with: what the machine and the tests themselves cost.
        site.attack("none", |_| {});
    }
    attacks(&mut site);
    site.conclude();
}

/// An attack by a client that is trusted, and one by a client that is not.
const BY_TRUSTED: Way = Way { from: TRUSTED_ATTACKER, server: server(PRIVATE) };
const BY_UNKNOWN: Way = Way { from: UNKNOWN_ATTACKER, server: server(PUBLIC) };

#[test]
fn hosts_that_are_wildcards_cost_others_nothing() {
    site(NAMES, |site| {
        for (attack, name) in [
            ("hosts that lead nowhere", "empty.skydns.local"),
            ("hosts that lead everywhere", "full.skydns.local"),
            ("hosts that lead in circles", "loop.skydns.local"),
        ] {
            site.attack(attack, |attack| attack.repeat(BY_TRUSTED, 2, &each_type(name)));
        }
    });
}

fn deep_wildcards() -> Vec<Vec<u8>> {
    let names = ["n1.*.*.*.*", "x1.*.*.*.*", "*.d1.*.*.*", "any.any.any.any.any", "*.*.*.*.a1"];
    names.iter().flat_map(|name| each_type(&format!("{name}.skydns.local"))).collect()
}

#[test]
fn deep_wildcards_cost_others_nothing() {
    let questions = deep_wildcards();
    site(NAMES, |site| {
        site.attack("deep wildcards over UDP", |attack| attack.repeat(BY_TRUSTED, 2, &questions));
    });
}

/// Attackers that wait for no reply: a client that is trusted, and forged sources.
#[test]
fn floods_of_deep_wildcards_cost_others_nothing() {
    // A third of it is too much as well for an unoptimised agent whose workers make all these answers.
    let rate = if is_long() { 3_000 } else { 1_000 };
    let name = |n: u64| format!("zz{n}.*.*.*.*.skydns.local");
    site(NAMES, |site| {
        site.wire.ip(2, &["route", "add", "local", "20.0.0.0/8", "dev", "lo"]);
        site.wire.ip(1, &["route", "add", "20.0.0.0/8", "via", &UNKNOWN_ATTACKER.to_string()]);
        site.attack("a flood of deep wildcards", |attack| attack.flood(BY_TRUSTED, rate, name));
        site.attack("a flood with forged sources", |attack| {
            attack.flood_from_everywhere(server(PUBLIC), rate, name);
        });
    });
}

#[test]
fn deep_wildcards_over_tcp_cost_others_nothing() {
    let questions = deep_wildcards();
    site(NAMES, |site| {
        site.attack("deep wildcards over TCP", |attack| attack.stream(BY_UNKNOWN, 8, 320, &questions));
    });
}

#[test]
fn connections_that_never_read_cost_others_nothing() {
    let name = if is_long() { "wide" } else { "narrow" };
    let question = packet(&format!("{name}.skydns.local"), 33, true);
    site(FEW_NAMES, |site| {
        site.attack("connections that never read", |attack| {
            attack.never_read(BY_UNKNOWN, NEVER_READING, &question);
        });
    });
}

#[test]
fn names_that_never_resolve_cost_others_nothing() {
    site(FEW_NAMES, |site| {
        // Half of it fills all exchanges as well, and leaves an unoptimised agent beside busy loops time for others.
        let rate = if is_long() { 3_000 } else { 1_500 };
        let name = |n: u64| format!("dead{n}.example.org");
        site.attack("names that never resolve", |attack| attack.flood(BY_TRUSTED, rate, name));
    });
}
