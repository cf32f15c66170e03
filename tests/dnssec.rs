//! Signed answers before judges: unbound, delv and drill have to believe every answer and every denial.

mod support;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};
use proptest::prelude::{Strategy, any, prop};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use support::etcd::Etcd;
use support::judge::{KeyRing, Tamper, Unbound, ZONE, delv, dnssec_query, dnsviz, drill, ds, hickory};
use support::signed_root::SignedRoot;
use support::upstream::{Upstream, reply_to};
use support::{Agent, PATIENCE, Setup, ask, eventually, exchange, query};

/// Services of every kind, and names that lead to others.
const RECORDS: [(&str, &str); 20] = [
    ("dns/ns/a", r#"{"host":"10.0.0.53"}"#),
    ("leaf", r#"{"host":"10.0.0.1","port":80}"#),
    ("leaf6", r#"{"host":"2001:db8::1"}"#),
    ("east/rails/1", r#"{"host":"10.0.1.1","port":8080,"priority":20}"#),
    ("east/rails/2", r#"{"host":"10.0.1.2","port":8080,"ttl":60}"#),
    ("east/rails/3", r#"{"host":"2001:db8::3","port":8080,"targetstrip":1}"#),
    ("mail", r#"{"host":"10.0.0.25","mail":true,"text":"a mail exchanger"}"#),
    ("text", r#"{"text":"nothing but a text"}"#),
    ("mix/a", r#"{"host":"10.0.2.1"}"#),
    ("mix/b", r#"{"host":"leaf.skydns.local"}"#),
    ("mix/c", r#"{"host":"alias.skydns.local"}"#),
    ("alias", r#"{"host":"east.skydns.local"}"#),
    ("alias2", r#"{"host":"Alias.SkyDNS.local"}"#),
    ("names/a", r#"{"host":"leaf.skydns.local"}"#),
    ("names/b", r#"{"host":"leaf6.skydns.local"}"#),
    ("dangling", r#"{"host":"nowhere.skydns.local"}"#),
    ("circle/x", r#"{"host":"y.circle.skydns.local"}"#),
    ("circle/y", r#"{"host":"x.circle.skydns.local"}"#),
    ("deep/er/and/_tcp/deeper", r#"{"host":"10.0.3.1"}"#),
    ("groups/g", r#"{"host":"10.0.4.1","group":"g1"}"#),
];

/// Names that exist, each at another kind of place.
const NAMES: [&str; 26] = [
    "",
    "leaf.",
    "leaf6.",
    "east.",
    "rails.east.",
    "1.rails.east.",
    "mail.",
    "text.",
    "mix.",
    "b.mix.",
    "alias.",
    "alias2.",
    "names.",
    "dangling.",
    "circle.",
    "x.circle.",
    "deep.",
    "and.er.deep.",
    "_tcp.and.er.deep.",
    "deeper._tcp.and.er.deep.",
    "groups.",
    "dns.",
    "local.dns.",
    "*.",
    "any.east.",
    "*.rails.any.",
];

/// Names that do not, at every depth.
const MISSING: [&str; 8] = [
    "nope.",
    "a.b.c.nope.",
    "nope.leaf.",
    "nope.east.",
    "9.rails.east.",
    "x.1.rails.east.",
    "nope.local.dns.",
    "a.very.long.way.down.below.deep.",
];

const TYPES: [RecordType; 18] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::SRV,
    RecordType::TXT,
    RecordType::MX,
    RecordType::CNAME,
    RecordType::NS,
    RecordType::SOA,
    RecordType::PTR,
    RecordType::ANY,
    RecordType::DNSKEY,
    RecordType::NSEC3PARAM,
    RecordType::CDS,
    RecordType::CDNSKEY,
    RecordType::HTTPS,
    RecordType::NSEC,
    RecordType::NSEC3,
    RecordType::Unknown(65_400),
];

fn name(of: &str) -> String {
    format!("{of}{ZONE}.")
}

fn signed(keys: &Path, args: &[&str]) -> Agent {
    let setup = Setup::new().args(&["-local", "leaf.skydns.local", "-dnssec", &keys.display().to_string()]);
    let setup = RECORDS
        .iter()
        .fold(setup, |setup, (path, json)| setup.record(&format!("/skydns/local/skydns/{path}"), json));
    setup.args(args).start()
}

/// Types without RRSIG in a section.
fn types(records: &[Record]) -> Vec<RecordType> {
    let mut types: Vec<_> = records.iter().map(Record::record_type).collect();
    types.retain(|rtype| *rtype != RecordType::RRSIG);
    types
}

/// Asks for everything there is and is not.
fn judged(agent: &Agent, unbound: &Unbound) {
    for existing in NAMES {
        for rtype in TYPES {
            let answer = unbound.believes(&name(existing), rtype);
            let dangles = existing == "dangling." && rtype != RecordType::CNAME && rtype != RecordType::ANY;
            let expected = if dangles { ResponseCode::NXDomain } else { ResponseCode::NoError };
            if rtype != RecordType::SRV {
                assert_eq!(answer.metadata.response_code, expected, "{existing} {rtype}");
            }
        }
    }
    // Of the apex the parent would be asked.
    for existing in NAMES.iter().filter(|existing| !existing.is_empty()) {
        unbound.believes(&name(existing), RecordType::DS);
    }
    for missing in MISSING {
        for rtype in [RecordType::A, RecordType::TXT, RecordType::DS, RecordType::ANY] {
            let answer = unbound.believes(&name(missing), rtype);
            assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "{missing} {rtype}");
        }
    }
    // What no resolver asks a child for, and what none validates.
    let apex_ds = ask(agent.address(), &dnssec_query(&name(""), RecordType::DS));
    assert_eq!(apex_ds.metadata.response_code, ResponseCode::NoError);
    assert_eq!(types(&apex_ds.authorities), [RecordType::SOA, RecordType::NSEC3]);
    let rrsig = ask(agent.address(), &dnssec_query(&name("leaf."), RecordType::RRSIG));
    assert!(!rrsig.answers.is_empty() && types(&rrsig.answers).is_empty());
    let covered = |query: &Message| {
        let answer = ask(agent.address(), query);
        let mut covered: Vec<_> = answer.answers.iter().map(type_covered).collect();
        covered.sort();
        (covered, answer.authorities.len())
    };
    let of_leaf = (vec![RecordType::A, RecordType::SRV], 0);
    assert_eq!(covered(&dnssec_query(&name("leaf."), RecordType::RRSIG)), of_leaf);
    // They were asked for, so DO is not needed; a denial has no proof without it.
    let without_do = |name: &str| {
        let mut question = query(name, RecordType::RRSIG);
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        question.set_edns(edns);
        question
    };
    assert_eq!(covered(&without_do(&name("leaf."))), of_leaf);
    assert_eq!(covered(&without_do(&name("nope."))), (vec![], 1));
    let apex = covered(&dnssec_query(&name(""), RecordType::RRSIG)).0;
    assert!(apex.contains(&RecordType::SOA) && apex.contains(&RecordType::DNSKEY), "{apex:?}");
}

/// The type whose RRset a signature is of.
fn type_covered(record: &Record) -> RecordType {
    match &record.data {
        RData::Unknown { code: RecordType::RRSIG, rdata } => match &rdata.anything[..] {
            [high, low, ..] => u16::from_be_bytes([*high, *low]).into(),
            short => panic!("no signature: {short:?}"),
        },
        other => panic!("no signature: {other}"),
    }
}

/// Asks hickory's validator about the same.
fn judged_by_hickory(agent: &Agent, keys: &Path, missing: &str) {
    // It takes the CNAME before a denial for a wildcard's answer, and finds no RRset of the type ANY.
    let is_judged = |name: &str, rtype| {
        let answer = ask(agent.address(), &dnssec_query(name, rtype));
        rtype != RecordType::ANY && (answer.answers.is_empty() || answer.authorities.is_empty())
    };
    let asked = |names: &[&str]| {
        let all = names.iter().flat_map(|of| TYPES.map(|rtype| (name(of), rtype)));
        all.filter(|(name, rtype)| is_judged(name, *rtype)).collect::<Vec<_>>()
    };
    for (names, expected) in [(NAMES.as_slice(), "secure NoError"), (MISSING.as_slice(), missing)] {
        let questions = asked(names);
        assert!(questions.len() > names.len() * 10, "most are judged");
        let said = hickory(agent.address(), keys, &questions);
        let doubts = questions.iter().zip(said).filter(|(_, said)| said != expected);
        let doubts: Vec<_> = doubts.map(|((name, rtype), said)| format!("{name} {rtype}: {said}")).collect();
        assert!(doubts.is_empty(), "{}", doubts.join("\n"));
    }
}

fn judged_with(keys: &KeyRing, trusted: &Path, algorithm: u8) {
    let agent = signed(keys.path(), &[]);
    let anchors = ds(&[trusted]);
    for options in ["aggressive-nsec: no", "aggressive-nsec: yes\n  qname-minimisation: yes"] {
        judged(&agent, &Unbound::start(agent.address(), &anchors, options));
    }
    let key = agent.ask(&name(""), RecordType::DNSKEY);
    assert!(!key.answers.is_empty(), "algorithm {algorithm}: DNSKEY without DO");
    assert!(agent.ask(&name("leaf."), RecordType::A).answers.len() == 1, "nothing is signed without DO");
    for (asked, rtype, expected) in [
        ("leaf.", "A", "; fully validated"),
        ("rails.east.", "SRV", "; fully validated"),
        ("alias2.", "AAAA", "; fully validated"),
        ("mix.", "MX", "; negative response, fully validated"),
        ("nope.east.", "A", "; negative response, fully validated"),
        ("*.east.", "SRV", "; fully validated"),
    ] {
        let said = delv(agent.address(), &anchors, &name(asked), rtype);
        assert!(said.lines().any(|line| line == expected), "algorithm {algorithm}: {asked} {rtype}\n{said}");
    }
    judged_by_hickory(&agent, keys.path(), "secure NXDomain");
    for (asked, rtype) in [("leaf.", "A"), ("nope.", "A"), ("mix.", "MX")] {
        let said = drill(agent.address(), trusted, &name(asked), rtype);
        assert!(said.contains(";; Chase successful"), "algorithm {algorithm}: {asked} {rtype}\n{said}");
    }
}

#[test]
fn a_key_of_our_own_is_believed() {
    for (algorithm, number) in [("ECDSAP256SHA256", 13), ("ECDSAP384SHA384", 14), ("ED25519", 15)] {
        let keys = KeyRing::new();
        let key = keys.own(&["-a", algorithm]);
        judged_with(&keys, &key, number);
    }
}

#[test]
fn keys_of_bind_and_ldns_are_believed() {
    for (algorithm, number) in [("NSEC3RSASHA1", 7), ("RSASHA256", 8), ("ECDSAP256SHA256", 13)] {
        let keys = KeyRing::new();
        let key =
            keys.bind(algorithm, if number < 13 { &["-b", "2048", "-f", "KSK"] } else { &["-f", "KSK"] });
        keys.bind(algorithm, if number < 13 { &["-b", "1024"] } else { &[] });
        judged_with(&keys, &key, number);
    }
    for (algorithm, number) in [("RSASHA1", 5), ("RSASHA512", 10), ("ED25519", 15)] {
        let keys = KeyRing::new();
        let key = keys.ldns(algorithm, if number < 13 { &["-b", "2048", "-k"] } else { &["-k"] });
        judged_with(&keys, &key, number);
    }
}

#[test]
fn compact_denial_is_believed() {
    let keys = KeyRing::new();
    let key = keys.own(&[]);
    let agent = signed(keys.path(), &["-denial", "compact"]);
    let anchors = ds(&[&key]);
    for aggressive in ["no", "yes"] {
        let unbound = Unbound::start(agent.address(), &anchors, &format!("aggressive-nsec: {aggressive}"));
        for rtype in TYPES {
            for missing in MISSING {
                let answer = unbound.believes(&name(missing), rtype);
                assert!(rtype == RecordType::NSEC || answer.answers.is_empty(), "{answer}");
            }
            for existing in NAMES {
                unbound.believes(&name(existing), rtype);
            }
        }
    }
    judged_by_hickory(&agent, keys.path(), "secure NoError");
    let denied = ask(agent.address(), &dnssec_query(&name("nope."), RecordType::A));
    assert_eq!(denied.metadata.response_code, ResponseCode::NoError);
    assert_eq!(types(&denied.authorities), [RecordType::SOA, RecordType::NSEC]);
    // With CO, and without DO, the rcode tells the truth.
    let dig = |args: &[&str]| agent.dig(&[args, &["nope.skydns.local", "A"]].concat());
    let mut query = dnssec_query(&name("nope."), RecordType::A).to_vec().expect("a query");
    // The flags of an OPT record without options, behind DO.
    let flags = query.len() - 4;
    query[flags] |= 0x40;
    let reply = exchange(agent.address(), &query, PATIENCE).expect("a reply");
    assert_eq!((reply[3] & 0x0f, reply[reply.len() - 4]), (3, 0xc0));
    assert!(dig(&[]).contains("status: NXDOMAIN"));
    let text = dig(&["+dnssec"]);
    assert!(text.contains("\\000.nope.skydns.local. RRSIG NSEC TYPE128"), "{text}");
    // NXNAME is a word of denials, nothing to ask for (RFC 9824 §3.5).
    let asked = agent.ask("leaf.skydns.local.", RecordType::Unknown(128));
    assert_eq!(asked.metadata.response_code, ResponseCode::FormErr);
}

/// One bit is enough: the judges judge.
#[test]
fn tampered_answers_are_bogus() {
    let keys = KeyRing::new();
    let key = keys.own(&[]);
    let agent = signed(keys.path(), &[]);
    let find = |reply: &[u8], octets: &[u8]| reply.windows(octets.len()).position(|w| w == octets);
    // The OPT record of a reply without options has 11 octets, and a signature stands before it.
    let signature = |reply: &mut [u8]| {
        let at = reply.len() - 11 - 7;
        reply[at] ^= 1;
    };
    let address = move |reply: &mut [u8]| {
        if let Some(at) = find(reply, &[10, 0, 0, 1]) {
            reply[at] ^= 1;
        }
    };
    // The bit map of an NSEC3: the types at the name.
    let bits = move |reply: &mut [u8]| {
        if let Some(at) = find(reply, &[0, 6, 0x40]).or_else(|| find(reply, &[0, 6, 0x50])) {
            reply[at + 2] ^= 0x10;
        }
    };
    for (change, asked, rtype) in [
        (Box::new(signature) as Box<dyn Fn(&mut [u8]) + Send>, "leaf.", RecordType::A),
        (Box::new(signature), "nope.", RecordType::A),
        (Box::new(address), "leaf.", RecordType::A),
        (Box::new(bits), "leaf.", RecordType::MX),
    ] {
        let tamper = Tamper::start(agent.address(), change);
        let unbound = Unbound::start(tamper.address, &ds(&[&key]), "");
        unbound.believes(&name(""), RecordType::DNSKEY);
        tamper.turn_on();
        let answer = unbound.ask(&name(asked), rtype);
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "{asked} {rtype}\n{answer}");
        let (asked, rtype) = (name(asked), rtype.to_string());
        let said = delv(tamper.address, &ds(&[&key]), &asked, &rtype);
        assert!(!said.contains("fully validated"), "{asked} {rtype}\n{said}");
        let said = drill(tamper.address, &key, &asked, &rtype);
        // It believes any denial, whatever the signatures of its NSEC3.
        let is_denied = !asked.starts_with("leaf.") || rtype == "MX";
        assert!(is_denied || !said.contains("Chase successful"), "{asked} {rtype}\n{said}");
    }
    let compact = signed(keys.path(), &["-denial", "compact"]);
    let tamper = Tamper::start(compact.address(), signature);
    let unbound = Unbound::start(tamper.address, &ds(&[&key]), "");
    unbound.believes(&name("nope."), RecordType::A);
    tamper.turn_on();
    let answer = unbound.ask(&name("nope2."), RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "{answer}");
}

/// A denial hides a name that comes later for no longer than it says, whatever a resolver makes of it.
#[test]
fn a_name_that_comes_later_is_found() {
    for denial in ["nsec3", "compact"] {
        let keys = KeyRing::new();
        let key = keys.own(&[]);
        let agent = signed(keys.path(), &["-denial", denial, "-min-ttl", "1"]);
        let unbound = Unbound::start(agent.address(), &ds(&[&key]), "aggressive-nsec: yes");
        for missing in ["late.", "x.late.", "late2.", "other."] {
            assert!(unbound.believes(&name(missing), RecordType::A).answers.is_empty());
        }
        agent.write("local/skydns/late/x", r#"{"host":"10.7.0.1"}"#);
        agent.write("local/skydns/late2", r#"{"host":"10.7.0.2"}"#);
        eventually("it is served", || agent.data(&name("late2."), RecordType::A) == ["10.7.0.2"]);
        // The least that a resolver keeps it, and a moment more.
        std::thread::sleep(Duration::from_millis(2_100));
        for there in ["late.", "x.late.", "late2."] {
            let answer = unbound.believes(&name(there), RecordType::A);
            assert!(!answer.answers.is_empty(), "{denial}: {there}\n{answer}");
        }
    }
}

/// The data and TTL of an RRset of one, and what its signature says the TTL is.
fn signed_ttl(answer: &Message) -> (u32, u32) {
    let RData::Unknown { rdata, .. } = &answer.answers[1].data else { panic!("{answer}") };
    let original = rdata.anything[4..8].try_into().expect("four octets");
    (answer.answers[0].ttl, u32::from_be_bytes(original))
}

#[test]
fn what_is_left_of_a_lease_is_signed() {
    let etcd = Etcd::start();
    etcd.put_with_lease("/skydns/local/skydns/leased", r#"{"host":"10.0.0.1"}"#, 100);
    let keys = KeyRing::new();
    let key = keys.own(&[]);
    let agent = Setup::new()
        .args(&["-machines", &etcd.endpoint(), "-dnssec", &keys.path().display().to_string()])
        .start();
    let asked = || ask(agent.address(), &dnssec_query(&name("leased."), RecordType::A));
    eventually("the time left is known", || asked().answers.first().is_some_and(|record| record.ttl > 1));
    let mut seen = Vec::new();
    for _ in 0..25 {
        let (served, original) = signed_ttl(&asked());
        assert_eq!(served, original);
        let left = agent.ask(&name("leased."), RecordType::A).answers[0].ttl;
        assert!(served <= left + 1 && served > left / 2, "{served} of {left}");
        seen.push(served);
        std::thread::sleep(Duration::from_millis(200));
    }
    seen.dedup();
    assert!(seen.len() <= 3 && seen.is_sorted_by(|a, b| a > b), "few values, which count down: {seen:?}");
    Unbound::start(agent.address(), &ds(&[&key]), "").believes(&name("leased."), RecordType::A);
}

#[test]
fn signatures_are_kept_over_changes_and_reloads() {
    let keys = KeyRing::new();
    keys.own(&[]);
    let agent = signed(keys.path(), &[]);
    let asked = |of: &str| ask(agent.address(), &dnssec_query(&name(of), RecordType::A)).answers;
    let before = asked("leaf.");
    agent.write("local/skydns/other", r#"{"host":"10.7.0.1"}"#);
    eventually("the change shows", || asked("other.").len() == 2);
    assert_eq!(asked("leaf."), before, "signatures are not deterministic, so this one was kept");
    agent.process.signal("-HUP");
    eventually("the reload is done", || agent.log().contains(" reloaded"));
    assert_eq!(asked("leaf."), before);
}

#[test]
fn dnsviz_finds_no_fault() {
    let (keys, others) = (KeyRing::new(), KeyRing::new());
    let (key, other) = (keys.own(&[]), others.own(&[]));
    let agent = signed(keys.path(), &[]);
    let names: Vec<_> = NAMES.iter().chain(&MISSING).map(|of| name(of)).collect();
    let types = "A,AAAA,SRV,TXT,MX,NS,SOA,CNAME,PTR,DNSKEY";
    let said = dnsviz(agent.address(), &key, &names, types);
    // SkyDNS gives a name with a CNAME its SRV and TXT as well; that is as secure as it is odd.
    let is_doubt = |line: &&str| {
        let told = line.trim_start();
        let odd = told == "W:CNAME_WITH_OTHER_DATA";
        let secure = !line.replace("[.]", "").replace("[.?]", "").contains('[');
        !secure || told.starts_with("E:") || (told.starts_with("W:") && !odd)
    };
    let doubts: Vec<_> = said.lines().filter(is_doubt).collect();
    let secure = said.lines().filter(|line| line.starts_with("  [.")).count();
    assert!(doubts.is_empty() && secure > 1_000, "{secure} lines are secure, and these are not: {doubts:#?}");
    for (asked, expected) in [("leaf", "A: 10.0.0.1"), ("nope", "A: NXDOMAIN"), ("text", "MX: NODATA")] {
        let header = format!("{asked}.{ZONE}");
        let of_name = said.lines().skip_while(|line| !line.starts_with(&header));
        let found = of_name.take(100).any(|line| line == format!("  [.]  {expected}"));
        assert!(found, "{asked}: {expected}\n{said}");
    }
    let doubted = dnsviz(agent.address(), &other, &names[1..2], "A");
    assert!(doubted.contains("E:NO_TRUST_ANCHOR_SIGNING"), "{doubted}");
}

#[test]
fn another_key_is_not_believed() {
    let (keys, others) = (KeyRing::new(), KeyRing::new());
    keys.own(&[]);
    let other = others.own(&[]);
    let agent = signed(keys.path(), &[]);
    let questions = ["leaf.", "nope.", "east."].map(|of| (name(of), RecordType::A));
    for said in hickory(agent.address(), others.path(), &questions) {
        assert!(said.contains("Bogus"), "{said}");
    }
    for (asked, rtype) in questions {
        let said = delv(agent.address(), &ds(&[&other]), &asked, &rtype.to_string());
        assert!(!said.contains("fully validated"), "{said}");
        let said = drill(agent.address(), &other, &asked, &rtype.to_string());
        assert!(!said.contains("Chase successful"), "{said}");
    }
}

#[test]
fn what_comes_from_upstream_is_not_signed() {
    let upstream = Upstream::addresses([192, 0, 2, 1], 60);
    let keys = KeyRing::new();
    keys.own(&[]);
    let agent = Setup::new()
        .args(&["-dnssec", &keys.path().display().to_string(), "-nameservers", &upstream.address.to_string()])
        .record("/skydns/local/skydns/out", r#"{"host":"www.example.org"}"#)
        .record("/skydns/local/skydns/mix/out", r#"{"host":"www.example.org"}"#)
        .record("/skydns/local/skydns/mix/in", r#"{"host":"10.0.0.1"}"#)
        .record("/skydns/arpa/in-addr/10/0/0/1", r#"{"host":"a.skydns.local"}"#)
        .start();
    let asked = |name: &str, rtype| ask(agent.address(), &dnssec_query(name, rtype));
    let out = asked("out.skydns.local.", RecordType::A);
    let sections: Vec<_> = out.answers.iter().map(Record::record_type).collect();
    assert_eq!(sections, [RecordType::CNAME, RecordType::RRSIG, RecordType::A]);
    // A name of our own has addresses of its own, or one CNAME, never both.
    let mix = asked("mix.skydns.local.", RecordType::A);
    assert_eq!(types(&mix.answers), [RecordType::A]);
    assert_eq!(agent.data("mix.skydns.local.", RecordType::A), ["10.0.0.1"], "without DO as well");
    for (name, rtype) in [("www.example.org.", RecordType::A), ("1.0.0.10.in-addr.arpa.", RecordType::PTR)] {
        let answer = asked(name, rtype);
        assert_eq!(answer.answers.len(), 1, "{answer}");
    }
}

/// Whoever answers for a name outside must not get us to sign what it says of ours.
#[test]
fn upstreams_have_no_say_in_the_zone() {
    let upstream = Upstream::start(|query, _| {
        let mut reply = reply_to(query);
        let asked = query.queries[0].name().clone();
        let ours = |name: &str| Name::from_ascii(name).expect("a name");
        let mut add = |owner: &Name, data| reply.answers.push(Record::from_rdata(owner.clone(), 60, data));
        let address = RData::A(rdata::A([6, 6, 6, 9].into()));
        let key = vec![1, 1, 3, 13, 6, 6, 6];
        let key = RData::Unknown { code: RecordType::DNSKEY, rdata: rdata::NULL::with(key) };
        add(&asked, RData::CNAME(rdata::CNAME(ours("skydns.local."))));
        add(&ours("skydns.local."), key);
        add(&ours("skydns.local."), address.clone());
        add(&ours("leaf.skydns.local."), address.clone());
        add(&ours("other.example.org."), address);
        Some(reply)
    });
    let keys = KeyRing::new();
    keys.own(&[]);
    let agent = Setup::new()
        .args(&["-dnssec", &keys.path().display().to_string(), "-nameservers", &upstream.address.to_string()])
        .record("/skydns/local/skydns/out", r#"{"host":"evil.example.org","mail":true}"#)
        .record("/skydns/local/skydns/leaf", r#"{"host":"10.0.0.1"}"#)
        .start();
    for rtype in [RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::MX] {
        let answer = ask(agent.address(), &dnssec_query("out.skydns.local.", rtype));
        for record in answer.answers.iter().chain(&answer.additionals) {
            let is = |name: &str| record.name == Name::from_ascii(name).expect("a name");
            // Their CNAME leads back to a name of ours, which has what we say of it.
            assert!(is("out.skydns.local.") || is("evil.example.org.") || is("skydns.local."), "{record}");
            assert!(!record.data.to_string().contains("6.6.6"), "{record}");
        }
    }
}

#[test]
fn one_of_several_names_outside_is_chosen_once() {
    let upstream = Upstream::addresses([192, 0, 2, 1], 0);
    let keys = KeyRing::new();
    keys.own(&[]);
    let setup = Setup::new().args(&[
        "-dnssec",
        &keys.path().display().to_string(),
        "-nameservers",
        &upstream.address.to_string(),
    ]);
    let agent = (0..8)
        .fold(setup, |setup, n| {
            setup.record(
                &format!("/skydns/local/skydns/out/{n}"),
                &format!(r#"{{"host":"t{n}.example.org"}}"#),
            )
        })
        .start();
    for _ in 0..40 {
        let answer = ask(agent.address(), &dnssec_query("out.skydns.local.", RecordType::A));
        assert_eq!(types(&answer.answers), [RecordType::CNAME, RecordType::A], "{answer}");
    }
}

/// Each name leads to fifty services of the next, none of which has an address.
#[test]
fn names_that_lead_to_many_are_looked_at_once() {
    let keys = KeyRing::new();
    let key = keys.own(&[]);
    let mut setup = Setup::new().args(&["-dnssec", &keys.path().display().to_string()]);
    for layer in 0..6 {
        for n in 0..50 {
            let (at, to) = (format!("/skydns/local/skydns/r{layer}/{n}"), layer + 1);
            let json = format!(r#"{{"host":"r{to}.skydns.local","port":{}}}"#, n + 1);
            setup = setup.record(&at, &json);
            // By other names as well, so that equal targets are not all there is.
            let json = format!(r#"{{"host":"{n}.r{to}.skydns.local"}}"#);
            setup = setup.record(&format!("/skydns/local/skydns/s{layer}/{n}"), &json);
        }
    }
    let agent = setup.start();
    let unbound = Unbound::start(agent.address(), &ds(&[&key]), "");
    for asked in ["r0.", "s0.", "0.s0.", "x.r0.", ""] {
        for rtype in [RecordType::A, RecordType::TXT, RecordType::CNAME] {
            unbound.believes(&name(asked), rtype);
        }
    }
}

/// A service of a random tree: its key, and its JSON.
fn service() -> impl Strategy<Value = (Vec<String>, String)> {
    let label = prop::sample::select(vec!["a", "b", "c", "d", "_t", "any2", "x-1"]);
    let path = prop::collection::vec(label.prop_map(str::to_owned), 1..5);
    let host = (0..8u8, path.clone(), any::<u8>()).prop_map(|(kind, path, n)| match kind {
        0..=2 => format!(r#""host":"10.0.0.{n}","#),
        3 => format!(r#""host":"2001:db8::{n}","#),
        4..=6 => format!(r#""host":"{}.{ZONE}","#, path.join(".")),
        _ => String::new(),
    });
    let rest = prop::sample::select(vec![
        r#""port":80"#,
        r#""text":"a text","ttl":10"#,
        r#""mail":true,"priority":7"#,
        r#""group":"g1""#,
        r#""group":"g2""#,
        r#""targetstrip":1"#,
    ]);
    (path, host, rest).prop_map(|(path, host, rest)| (path, format!("{{{host}{rest}}}")))
}

/// A question about a random tree.
fn question() -> impl Strategy<Value = (String, RecordType)> {
    let label = prop::sample::select(vec!["a", "b", "c", "d", "_t", "any2", "x-1", "*", "any", "nope", "A"]);
    let rtype = prop::sample::select(TYPES.iter().copied().take(10).collect::<Vec<_>>());
    (prop::collection::vec(label, 0..6), rtype).prop_map(|(labels, rtype)| {
        let below: String = labels.iter().map(|label| format!("{label}.")).collect();
        (name(&below), rtype)
    })
}

/// What an answer says, apart from TTLs, orders and signatures.
fn meaning(message: &Message) -> (ResponseCode, Vec<String>) {
    let mut data: Vec<_> = message
        .answers
        .iter()
        .filter(|record| record.record_type() != RecordType::RRSIG)
        .map(|record| format!("{} {}", record.name, record.data).to_lowercase())
        .collect();
    data.sort();
    (message.metadata.response_code, data)
}

#[test]
fn ten_thousand_random_questions_are_believed() {
    let mut runner = TestRunner::deterministic();
    let mut draw = |count: usize| {
        let tree = prop::collection::vec(service(), 60).new_tree(&mut runner).expect("a tree").current();
        let questions = prop::collection::vec(question(), count).new_tree(&mut runner).expect("questions");
        (tree, questions.current())
    };
    for (aggressive, denial) in [("no", "nsec3"), ("yes", "nsec3"), ("yes", "compact"), ("no", "compact")] {
        let (tree, questions) = draw(2_500);
        let keys = KeyRing::new();
        let key = keys.own(&[]);
        let setup = Setup::new().args(&[
            "-dnssec",
            &keys.path().display().to_string(),
            "-round-robin=false",
            "-denial",
            denial,
        ]);
        // A file and a directory cannot share a name: the deeper key wins.
        let mut records = BTreeMap::new();
        for (path, json) in tree {
            records.insert(path.join("/"), json);
        }
        let inner = |path: &str| {
            let below = format!("{path}/");
            records.keys().any(|other| other.starts_with(&below))
        };
        let leaves = records.iter().filter(|(path, _)| !inner(path));
        let agent = leaves
            .fold(setup, |setup, (path, json)| setup.record(&format!("/skydns/local/skydns/{path}"), json))
            .start();
        let unbound =
            Unbound::start(agent.address(), &ds(&[&key]), &format!("aggressive-nsec: {aggressive}"));
        for (name, rtype) in questions {
            let judged = unbound.believes(&name, rtype);
            let direct = ask(agent.address(), &dnssec_query(&name, rtype));
            assert!(!direct.metadata.truncation, "{name} {rtype}");
            // Of a name with a CNAME a resolver may remember that, and follow it for other types as well.
            let alias = ask(agent.address(), &dnssec_query(&name, RecordType::CNAME));
            if alias.answers.is_empty() && rtype != RecordType::ANY {
                let (mut judged, direct) = (meaning(&judged), meaning(&direct));
                // Compact denial hides the rcode from the resolver, not the absence.
                if denial == "compact" {
                    judged.0 = direct.0;
                }
                assert_eq!(judged, direct, "{name} {rtype}");
            }
        }
    }
}

#[test]
fn a_validating_forwarder_resolves_the_site_and_everything_else() {
    let keys = KeyRing::new();
    let key = keys.own(&[]);
    for ds_at_parent in [true, false] {
        let ds_of_site = if ds_at_parent { ds(&[&key]) } else { String::new() };
        let root = SignedRoot::start(&ds_of_site);
        let upstream = root.address.to_string();
        let setup = Setup::new()
            .record("/skydns/local/skydns/leaf", r#"{"host":"10.0.0.1","port":80}"#)
            .record("/skydns/arpa/in-addr/10/0/0/2", r#"{"host":"leaf.skydns.local"}"#);
        // Without a DS at the parent it must not matter whether the domain is signed.
        for is_signed in if ds_at_parent { [true].as_slice() } else { &[true, false] } {
            let setup = setup.clone().args(&["-nameservers", &upstream]);
            let path = keys.path().display().to_string();
            let agent = if *is_signed { setup.args(&["-dnssec", &path]) } else { setup }.start();
            // It answers these zones itself if it is not told otherwise.
            let options = "unblock-lan-zones: yes\n  local-zone: home.arpa. nodefault";
            let unbound = Unbound::forwarding(agent.address(), &root.anchor, options);
            let answers = |name: &str, rtype, rcode, is_secure| {
                let answer = unbound.ask(name, rtype);
                let is = (answer.metadata.response_code, answer.metadata.authentic_data);
                assert_eq!(
                    is,
                    (rcode, is_secure),
                    "{name} {rtype} {ds_at_parent}\n{answer}\n{}",
                    unbound.log()
                );
            };
            let (found, missing) = (ResponseCode::NoError, ResponseCode::NXDomain);
            for rtype in [RecordType::A, RecordType::SRV, RecordType::AAAA, RecordType::HTTPS] {
                answers("leaf.skydns.local.", rtype, found, ds_at_parent);
                answers("nope.skydns.local.", rtype, missing, ds_at_parent);
            }
            answers("skydns.local.", RecordType::DS, found, true);
            answers("skydns.local.", RecordType::SOA, found, ds_at_parent);
            answers("local.", RecordType::SOA, found, true);
            answers(".", RecordType::NS, found, true);
            answers("www.example.org.", RecordType::A, found, true);
            answers("www.example.org.", RecordType::AAAA, found, true);
            answers("x.wild.example.org.", RecordType::TXT, found, true);
            answers("nope.example.org.", RecordType::A, missing, true);
            answers("www.unsigned.org.", RecordType::A, found, false);
            answers("1.0.0.10.in-addr.arpa.", RecordType::PTR, found, false);
            answers("2.0.0.10.in-addr.arpa.", RecordType::PTR, found, false);
            answers("0.10.in-addr.arpa.", RecordType::PTR, found, false);
            answers("3.0.0.10.in-addr.arpa.", RecordType::PTR, missing, false);
            answers("printer.home.arpa.", RecordType::A, missing, false);
            answers("home.arpa.", RecordType::DS, found, true);
        }
    }
}
