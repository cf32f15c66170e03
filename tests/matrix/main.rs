//! The client matrix: what clients of all kinds make of the agent's answers, and what resolvers between them and the agent
//! make of these, beside what the agent says when it is asked itself.
//!
//! It runs on a machine of its own, a container with packages of Debian, and takes about ten minutes:
//! `SKYDNS_MATRIX=1 cargo test --test matrix -- --nocapture` prints the tables. Without the variable nothing is run.

#![allow(unreachable_pub, reason = "a test is a crate of its own")]

#[path = "../support/mod.rs"]
mod support;

mod message;
mod outcome;
mod proxies;
mod questions;
mod relay;
mod resolved;
mod resolvers;
mod stubs;
mod table;
mod world;

use message::{Record, Reply};
use outcome::Outcome;
use questions::Question;
use resolvers::{PRODUCTS, Product, Sends, Setting};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use stubs::STUBS;
use support::boot::{Machine, Root, why_not};
use support::{Agent, Setup, run};
use table::{Heard, KnownDifference, Table};
use world::{UPSTREAM, World};

/// The machine.
const ROOT: Root = Root {
    name: "matrix-trixie",
    release: "trixie",
    packages: "systemd,systemd-sysv,dbus,systemd-resolved,libnss-resolve,bind9-dnsutils,iproute2,procps,curl,gcc,\
               libc6-dev,musl-tools,nodejs,python3-pycares,python3-dnspython,default-jdk-headless,golang-go,\
               libnet-dns-perl,haproxy,nginx-light,unbound,bind9,bind9-utils,knot-resolver,pdns-recursor,\
               dnsmasq-base,nsd",
    off: &[
        "unbound.service",
        "named.service",
        "kresd.target",
        "kres-cache-gc.service",
        "pdns-recursor.service",
        "nsd.service",
        "haproxy.service",
        "nginx.service",
    ],
};

/// The agent's address on the machine.
const AGENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 53);

/// The usual domain, and one that no resolver takes for a special one.
const USUAL: &str = "skydns.local";
const PUBLIC: &str = "site.example";

/// A machine whose clients ask the agent alone.
fn machine() -> Machine {
    let machine = Machine::boot_root(&ROOT);
    machine.run(
        "systemctl disable --now systemd-resolved; rm -f /etc/resolv.conf\n\
         echo 'nameserver 127.0.0.1' > /etc/resolv.conf\n\
         printf '127.0.0.1 localhost\\n::1 localhost\\n' > /etc/hosts\n\
         sed -i 's/^hosts:.*/hosts: files dns/' /etc/nsswitch.conf",
    );
    machine
}

/// Keys of the domain: their directory, and the DS records.
fn keys(domain: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let skydns = || Command::new(env!("CARGO_BIN_EXE_skydns"));
    run(skydns().arg("keygen").arg("-K").arg(dir.path()).arg(domain));
    let ds = run(skydns().arg("-dnssec").arg(dir.path()).args(["-domain", domain, "ds"]));
    let ds: Vec<_> = ds.lines().filter(|line| line.contains(" IN DS ")).collect();
    (dir, ds.join("\n"))
}

fn agent(machine: &Machine, domain: &str, args: &[&str]) -> Agent {
    let mut setup = Setup::new().without_address().port(AGENT.port());
    for (key, value) in questions::services(domain) {
        setup = setup.record(&key, &value);
    }
    let address = AGENT.to_string();
    let upstream = UPSTREAM.to_string();
    let setup = setup.args(&["-addr", &address, "-domain", domain, "-nameservers", &upstream]).args(args);
    machine.within(|| setup.start())
}

/// What a server says to a question; of both families for `ADDR`.
fn ask(machine: &Machine, server: SocketAddr, question: &Question) -> Heard {
    let begun = Instant::now();
    let of = |rtype| {
        let (reply, _) = machine.within(|| message::ask(server, &question.name, rtype));
        Outcome::of(reply.as_ref(), rtype)
    };
    let outcome = match question.rtype {
        "ADDR" => both(of(1), of(28)),
        _ => of(question.number()),
    };
    Heard { outcome, took: begun.elapsed() }
}

/// The addresses of both families together.
fn both(four: Outcome, six: Outcome) -> Outcome {
    match (four, six) {
        (Outcome::Data(four), Outcome::Data(six)) => Outcome::Data(four.union(&six).cloned().collect()),
        (Outcome::Data(data), _) | (_, Outcome::Data(data)) => Outcome::Data(data),
        (Outcome::Failure(text), _) | (_, Outcome::Failure(text)) => Outcome::Failure(text),
        (other, _) => other,
    }
}

/// All of a reply: rcode, and every record of the answer.
fn whole(reply: Option<&Reply>) -> Outcome {
    let Some(reply) = reply else { return Outcome::Failure("no reply".to_owned()) };
    let text = |record: &Record| format!("{} {} {}", record.owner, record.rtype, record.text());
    let mut data: BTreeSet<_> = reply.answers.iter().map(text).collect();
    match reply.rcode {
        // Not even the CNAMEs that lead to nothing.
        0 if data.is_empty() => Outcome::NoData,
        3 if data.is_empty() => Outcome::NoName,
        0 => Outcome::Data(data),
        3 => {
            data.insert("NXDOMAIN".to_owned());
            Outcome::Data(data)
        }
        rcode => Outcome::Failure(format!("rcode {rcode}")),
    }
}

fn ask_whole(machine: &Machine, server: SocketAddr, question: &Question) -> Heard {
    let (reply, took) = machine.within(|| message::ask(server, &question.name, question.number()));
    Heard { outcome: whole(reply.as_ref()), took }
}

/// Differences that are the clients' own.
const KNOWN: &[KnownDifference] = &[
    ("musl*", "addresses over TCP", "musl takes 48 addresses"),
    ("musl*", "forwarded, over TCP", "musl takes 48 addresses"),
    ("musl*", "forwarded, no upstream can", "musl asks again after SERVFAIL"),
    ("glibc old", "AAAA *", "gethostbyname2 has an error of its own for a chain without an address"),
    ("PowerDNS*", "NS ", "it knows the servers of the root"),
    ("BIND site", "a name outside with other records beside", "it refuses that reply of the upstream"),
    ("BIND site", "a chain outside in no order", "it refuses that reply of the upstream"),
    ("BIND*", "forwarded, odd data", "it refuses such data"),
    ("PowerDNS*", "forwarded, odd data", "it refuses such data"),
    ("resolved*", "below ndots", "it asks for no single labels"),
    ("resolved*", "forwarded, odd data", "it refuses such data"),
];

/// Those of resolvers that validate: what has no proof is bogus.
const KNOWN_OF_VALIDATORS: &[KnownDifference] = &[
    ("*", "below ndots", "the root denies the name, the agent says that it has no address"),
    ("*", "localhost", "the root denies the name"),
];

/// Those of resolvers that cache a CNAME: it is there for all types, so the target's services count. `-flatten always` is for
/// sites with such resolvers.
const KNOWN_OF_CACHES: &[KnownDifference] = &[
    ("*", "SRV alias*", "a CNAME in a cache is there for all types"),
    ("*", "MX alias*", "a CNAME in a cache is there for all types"),
];

/// Clients that ask the agent.
fn stub_clients(machine: &Machine) -> usize {
    let _agent = agent(machine, USUAL, &[]);
    let questions = questions::for_all(USUAL);
    let mut table = Table::new("Clients of the agent".to_owned(), &questions, KNOWN);
    let expected: Vec<_> = questions.iter().map(|question| ask(machine, AGENT, question)).collect();
    for stub in STUBS.iter().filter(|stub| is_wanted(stub.name)) {
        table.add(stub.name, &expected, &stub.ask(machine, &questions));
    }
    table.add("nginx", &expected, &proxies::nginx(machine, &questions));
    let differences = table.print();
    let asked = proxies::for_haproxy(&questions);
    let expected: Vec<_> =
        asked.iter().map(|q| machine.within(|| proxies::expected_of_haproxy(AGENT, q))).collect();
    let mut table = Table::new("HAProxy".to_owned(), &asked, KNOWN);
    table.add("HAProxy", &expected, &proxies::haproxy(machine, &asked, &expected));
    differences + table.print()
}

/// Whether a client is wanted: `SKYDNS_MATRIX` is the beginning of its name, or `1` for all.
fn is_wanted(client: &str) -> bool {
    std::env::var("SKYDNS_MATRIX").is_ok_and(|wanted| wanted == "1" || client.starts_with(&wanted))
}

/// How the site is signed, as its parent sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Signed {
    No,
    WithoutDs,
    WithDs,
}

/// A site behind resolvers.
struct Site {
    domain: &'static str,
    signed: Signed,
    /// The setting `flatten`.
    flatten: &'static str,
    /// Whether the resolvers validate.
    validates: bool,
}

impl Site {
    fn title(&self) -> String {
        let how = if self.validates { "Validating" } else { "Plain" };
        let Self { domain, signed, flatten, .. } = self;
        format!("{how} resolvers in front of the agent; {domain} is signed: {signed:?}; -flatten {flatten}")
    }

    fn known(&self) -> Vec<KnownDifference> {
        let mut known = KNOWN.to_vec();
        if self.validates {
            known.extend(KNOWN_OF_VALIDATORS);
        }
        if self.flatten != "always" {
            known.extend(KNOWN_OF_CACHES);
        }
        known
    }
}

impl Site {
    /// How many answers are not validated though they could be, or the other way round.
    fn unvalidated(&self, machine: &Machine, client: &str, server: SocketAddr) -> usize {
        let is_own = self.validates && self.signed == Signed::WithDs;
        let own = ["one", "none", "six", "web", "wide", "alias"]
            .map(|name| (format!("{name}.{}", self.domain), is_own));
        let others = [("www.example.org", self.validates), ("nowhere.example.org", self.validates)];
        let others = others.map(|(name, is_validated)| (name.to_owned(), is_validated));
        let others = others.into_iter().chain([("forwards.odd.example".to_owned(), false)]);
        let mut count = 0;
        for (name, right) in own.into_iter().chain(others) {
            let (reply, _) = machine.within(|| message::ask(server, &name, 1));
            let heard = reply.is_some_and(|reply| reply.is_validated);
            if heard != right {
                println!("{}: {client}: A {name}: validated: {heard}", self.title());
                count += 1;
            }
        }
        count
    }
}

/// Resolvers in front of the agent.
fn resolvers(machine: &Machine, site: &Site) -> usize {
    let Site { domain, signed, flatten, validates } = *site;
    let (dir, ds) = keys(domain);
    let world = World::start(machine, domain, if signed == Signed::WithDs { &ds } else { "" });
    let keys = dir.path().display().to_string();
    let signing = if signed == Signed::No { Vec::new() } else { vec!["-dnssec", &keys] };
    let _agent = agent(machine, domain, &[&["-flatten", flatten], &signing[..]].concat());
    let questions = questions::for_resolvers(domain);
    let known = site.known();
    let mut table = Table::new(site.title(), &questions, &known);
    let by_agent: Vec<_> = questions.iter().map(|q| ask_whole(machine, AGENT, q)).collect();
    let by_both = || {
        questions.iter().zip(&by_agent).map(|(q, by_agent)| match q.name.ends_with(domain) {
            true => by_agent.clone(),
            false => ask_whole(machine, UPSTREAM, q),
        })
    };
    let by_both: Vec<_> = by_both().collect();
    let mut unvalidated = 0;
    for (sends, expected) in [(Sends::All, &by_agent), (Sends::Site, &by_both)] {
        for product in PRODUCTS.into_iter().filter(|product| is_wanted(product.name())) {
            let anchor = validates.then_some(world.anchor.as_str());
            let server = product.start(machine, &Setting { domain, sends, anchor });
            let heard: Vec<_> = questions.iter().map(|q| ask_whole(machine, server, q)).collect();
            let what = if sends == Sends::All { "all" } else { "site" };
            table.add(&format!("{} {what}", product.name()), expected, &heard);
            // dnsmasq validates nothing that servers of a domain say.
            if (product, sends) != (Product::Dnsmasq, Sends::Site) {
                unvalidated += site.unvalidated(machine, product.name(), server);
            }
            product.stop(machine);
        }
    }
    for mode in resolved::MODES {
        if (mode != "no") == validates && is_wanted("resolved") {
            let server = resolved::start(machine, mode, &world.anchor);
            let heard: Vec<_> = questions.iter().map(|q| ask_whole(machine, server, q)).collect();
            table.add(&format!("resolved {mode}"), &by_agent, &heard);
            unvalidated += site.unvalidated(machine, &format!("resolved {mode}"), server);
            resolved::stop(machine);
        }
    }
    table.print() + unvalidated
}

/// A machine on which the tree is served; `None` where none is asked for or none can be booted.
fn site() -> Option<(MutexGuard<'static, ()>, Machine)> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if std::env::var_os("SKYDNS_MATRIX").is_none() {
        println!("not run: SKYDNS_MATRIX is not set");
        return None;
    }
    if let Some(reason) = why_not() {
        println!("not run: {reason}");
        return None;
    }
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let machine = machine();
    world::start_upstream(&machine);
    Some((turn, machine))
}

#[test]
fn clients_hear_what_the_agent_says() {
    let Some((_turn, machine)) = site() else { return };
    stubs::prepare(&machine);
    World::start(&machine, USUAL, "");
    assert_eq!(stub_clients(&machine), 0, "see the tables");
}

#[test]
fn resolvers_hear_what_the_agent_says() {
    let Some((_turn, machine)) = site() else { return };
    let of = |flatten| Site { domain: USUAL, signed: Signed::No, flatten, validates: false };
    let differences: usize =
        ["auto", "always"].into_iter().map(|flatten| resolvers(&machine, &of(flatten))).sum();
    assert_eq!(differences, 0, "see the tables");
}

#[test]
fn validators_hear_what_the_agent_says() {
    let Some((_turn, machine)) = site() else { return };
    let of = |(signed, flatten)| Site { domain: PUBLIC, signed, flatten, validates: true };
    let each = [
        (Signed::No, "auto"),
        (Signed::WithoutDs, "auto"),
        (Signed::WithDs, "auto"),
        (Signed::WithDs, "always"),
    ];
    let differences: usize = each.into_iter().map(|site| resolvers(&machine, &of(site))).sum();
    assert_eq!(differences, 0, "see the tables");
}
