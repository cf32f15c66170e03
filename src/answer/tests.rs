//! What the comparison with the model (`tests/model.rs`) does not reach.

mod bounds;
mod outside;

use super::*;
use crate::service::{Key, Service};
use crate::tree::{Entry, Layer, Lease, Tree, Work};
use hickory_proto::rr::{Name, RData, Record};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// A site `skydns.test.` with services given as (name, JSON value).
pub(super) struct Site {
    pub(super) zone: Zone,
    tree: Tree,
    freshness: Freshness,
    seed: u64,
    work: u32,
    forwards: bool,
    pub(super) externals: Externals,
}

impl Site {
    pub(super) fn new(services: &[(&str, &str)]) -> Self {
        let mut tree = Tree::new();
        for (at, value) in services {
            let service = Service::from_json(value.as_bytes()).expect(value);
            tree.put(&Key::from_name(&name(at)), Layer(1), Entry::new(service));
        }
        let mut zone = Zone::new(&name("skydns.test."));
        zone.round_robin = false;
        let (freshness, externals) = (Freshness::Current, Externals::new());
        Self { zone, tree, freshness, seed: 0, work: 5 * WORK_OF_ANSWER, forwards: true, externals }
    }

    pub(super) fn outcome(&self, asked: &str, rtype: RecordType, class: DNSClass) -> Outcome {
        let mut query = Query::query(name(asked), rtype);
        query.set_query_class(class);
        let view = View {
            zone: &self.zone,
            tree: &self.tree,
            dependencies: &Dependencies::default(),
            freshness: self.freshness,
            now: 1_000,
            seed: self.seed,
            externals: &self.externals,
            max_records: 4_000,
            work: &Work::new(self.work),
            forwards: self.forwards,
            dnssec: None,
        };
        answer(&query, &view)
    }

    pub(super) fn ask(&self, asked: &str, rtype: RecordType) -> Answer {
        match self.outcome(asked, rtype, DNSClass::IN) {
            Outcome::Answered(answer) => answer,
            other => panic!("{asked}: {other:?}"),
        }
    }

    fn chaos(&self, asked: &str) -> Answer {
        match self.outcome(asked, RecordType::TXT, DNSClass::CH) {
            Outcome::Answered(answer) => answer,
            other => panic!("{asked}: {other:?}"),
        }
    }
}

pub(super) fn lines(records: &[Record]) -> Vec<String> {
    records.iter().map(|r| format!("{} {} {} {}", r.name, r.ttl, r.record_type(), r.data)).collect()
}

#[test]
fn the_apex_exists_even_in_an_empty_store() {
    let mut site = Site::new(&[]);
    site.tree.set_serial(77);
    let answer = site.ask("skydns.test.", RecordType::A);
    assert_eq!(answer.rcode, ResponseCode::NoError);
    assert_eq!(
        lines(&answer.authorities),
        ["skydns.test. 30 SOA ns.dns.skydns.test. hostmaster.skydns.test. 77 28800 7200 604800 30"]
    );
    let answer = site.ask("SkyDNS.test.", RecordType::SOA);
    assert!(lines(&answer.answers)[0].starts_with("SkyDNS.test. 3600 SOA ns.dns.skydns.test."));
    assert!(answer.authoritative);
    assert_eq!(site.ask("skydns.test.", RecordType::NS).rcode, ResponseCode::NoError);
    assert_eq!(site.ask("a.skydns.test.", RecordType::NS).rcode, ResponseCode::NXDomain);
}

#[test]
fn name_servers_are_addresses_under_dns() {
    let site = Site::new(&[
        ("a.ns.dns.skydns.test.", r#"{"host":"10.0.0.2"}"#),
        ("b.ns.dns.skydns.test.", r#"{"host":"name.example.org"}"#),
        ("ns2.dns.skydns.test.", r#"{"host":"2001:db8::2"}"#),
        ("x.stub.dns.skydns.test.", r#"{"host":"10.0.0.9"}"#),
        ("local.dns.skydns.test.", r#"{"host":"10.0.0.8"}"#),
    ]);
    let answer = site.ask("skydns.test.", RecordType::NS);
    assert_eq!(
        lines(&answer.answers),
        ["skydns.test. 3600 NS a.ns.dns.skydns.test.", "skydns.test. 3600 NS ns2.dns.skydns.test."]
    );
    assert_eq!(
        lines(&answer.additionals),
        ["a.ns.dns.skydns.test. 3600 A 10.0.0.2", "ns2.dns.skydns.test. 3600 AAAA 2001:db8::2"]
    );
}

#[test]
fn a_chain_is_followed_for_eight_names() {
    let values: Vec<(String, String)> = (0..9)
        .map(|n| (format!("n{n}.skydns.test."), format!("{{\"host\":\"n{}.skydns.test\"}}", n + 1)))
        .chain([("n9.skydns.test.".to_owned(), r#"{"host":"10.0.0.1"}"#.to_owned())])
        .collect();
    let services: Vec<_> = values.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let site = Site::new(&services);
    let eight = site.ask("n1.skydns.test.", RecordType::A);
    assert_eq!(eight.answers.len(), 9);
    let order: Vec<_> = eight.answers.iter().map(|r| r.name.to_ascii()).collect();
    assert_eq!(order, (1..10).map(|n| format!("n{n}.skydns.test.")).collect::<Vec<_>>());
    let nine = site.ask("n0.skydns.test.", RecordType::A);
    // The client may go on at the ninth name.
    assert_eq!((nine.rcode, nine.answers.len(), nine.authorities.len()), (ResponseCode::NoError, 8, 0));
}

#[test]
fn chains_that_fan_out_at_every_step_end() {
    let ask = |target: &dyn Fn(usize, usize) -> String| {
        let mut services = Vec::new();
        for level in 0..8 {
            for branch in 0..20 {
                let value = format!("{{\"host\":\"{}\",\"port\":{}}}", target(level + 1, branch), branch + 1);
                services.push((format!("b{branch}.l{level}.skydns.test."), value));
            }
        }
        services.push(("l8.skydns.test.".to_owned(), r#"{"host":"10.0.0.1"}"#.to_owned()));
        let services: Vec<_> = services.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        Site::new(&services).ask("l0.skydns.test.", RecordType::A)
    };
    // Services that lead to the same are one CNAME, followed once.
    let same = ask(&|level, _| format!("l{level}.skydns.test"));
    assert_eq!((same.too_large, same.answers.len()), (false, 9));
    // Each name of a level leads to all names of the next: 20^8 ways.
    let mut services = Vec::new();
    for level in 0..8 {
        for branch in 0..20 {
            for next in 0..20 {
                let value = format!("{{\"host\":\"b{next}.l{}.skydns.test\"}}", level + 1);
                services.push((format!("s{next}.b{branch}.l{level}.skydns.test."), value));
            }
        }
    }
    services.push(("b0.l8.skydns.test.".to_owned(), r#"{"host":"10.0.0.1"}"#.to_owned()));
    let services: Vec<_> = services.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    // Each name is visited once, and the work is that of 160 names with 20 services.
    let answer = Site::new(&services).ask("l0.skydns.test.", RecordType::A);
    assert_eq!(lines(&answer.answers), ["l0.skydns.test. 3600 A 10.0.0.1"]);
}

#[test]
fn letter_case_of_the_question_is_echoed() {
    let site = Site::new(&[("upper.skydns.test.", r#"{"host":"10.0.0.1"}"#)]);
    let answer = site.ask("uPPer.SKYDNS.test.", RecordType::A);
    assert_eq!(lines(&answer.answers), ["uPPer.SKYDNS.test. 3600 A 10.0.0.1"]);
}

#[test]
fn local_dns_is_the_hosts_own_name_in_any_letter_case() {
    let mut site = Site::new(&[("me.hosts.skydns.test.", r#"{"host":"192.0.2.1"}"#)]);
    assert_eq!(site.ask("local.dns.skydns.test.", RecordType::A).rcode, ResponseCode::NXDomain);
    site.zone.local = Some(name("ME.Hosts.skydns.test."));
    let answer = site.ask("local.dns.skydns.test.", RecordType::A);
    assert_eq!(lines(&answer.answers), ["local.dns.skydns.test. 3600 A 192.0.2.1"]);
}

#[test]
fn local_dns_exists_when_names_below_it_do() {
    let mut site = Site::new(&[("x.local.dns.skydns.test.", r#"{"host":"192.0.2.1"}"#)]);
    let rcode = |site: &Site| site.ask("local.dns.skydns.test.", RecordType::A).rcode;
    assert_eq!(rcode(&site), ResponseCode::NoError);
    site.zone.local = Some(name("none.hosts.skydns.test."));
    assert_eq!(rcode(&site), ResponseCode::NoError, "no data, but names below it");
    let site = Site { tree: Tree::new(), ..site };
    assert_eq!(rcode(&site), ResponseCode::NXDomain);
}

#[test]
fn names_below_local_dns_hide_nothing_that_it_leads_to() {
    let services = [
        ("me.hosts.skydns.test.", r#"{"host":"www.example.org"}"#),
        ("x.local.dns.skydns.test.", r#"{"host":"192.0.2.1"}"#),
    ];
    let mut site = Site::new(&services);
    site.zone.local = Some(name("me.hosts.skydns.test."));
    let Outcome::Lookup(lookups) = site.outcome("local.dns.skydns.test.", RecordType::A, DNSClass::IN) else {
        panic!("www.example.org is to be looked up")
    };
    assert_eq!(lookups[0].name, name("www.example.org."));
    // A service at the name itself is not one below it, and is not shown.
    let mut site = Site::new(&[("local.dns.skydns.test.", r#"{"host":"192.0.2.1"}"#)]);
    site.zone.local = Some(name("none.hosts.skydns.test."));
    assert_eq!(site.ask("local.dns.skydns.test.", RecordType::A).rcode, ResponseCode::NXDomain);
}

#[test]
fn round_robin_gives_every_order_equally_often() {
    let mut site = Site::new(&[
        ("a.p.skydns.test.", r#"{"host":"10.0.0.1"}"#),
        ("b.p.skydns.test.", r#"{"host":"10.0.0.2"}"#),
        ("c.p.skydns.test.", r#"{"host":"10.0.0.3"}"#),
    ]);
    let orders = |site: &mut Site| {
        let mut orders = BTreeMap::<Vec<String>, u32>::new();
        for seed in 0..6_000 {
            site.seed = seed;
            let answer = site.ask("p.skydns.test.", RecordType::A);
            *orders.entry(lines(&answer.answers)).or_default() += 1;
        }
        orders
    };
    assert_eq!(orders(&mut site).len(), 1, "off: always key order");
    site.zone.round_robin = true;
    let orders = orders(&mut site);
    assert_eq!(orders.len(), 6);
    // 1000 are expected of each, with a standard deviation of 29.
    assert!(orders.values().all(|count| (850..1150).contains(count)), "{orders:?}");
}

#[test]
fn round_robin_gives_every_order_of_every_set_but_pointers() {
    let mut site = Site::new(&[
        ("a.p.skydns.test.", r#"{"host":"10.0.0.1","text":"a","mail":true}"#),
        ("b.p.skydns.test.", r#"{"host":"10.0.0.2","text":"b","mail":true}"#),
        ("c.p.skydns.test.", r#"{"host":"10.0.0.3","text":"c","mail":true}"#),
        ("t.skydns.test.", r#"{"host":"p.skydns.test"}"#),
        ("a.ns.dns.skydns.test.", r#"{"host":"10.0.0.4"}"#),
        ("b.ns.dns.skydns.test.", r#"{"host":"10.0.0.5"}"#),
        ("c.ns.dns.skydns.test.", r#"{"host":"10.0.0.6"}"#),
    ]);
    // Two spellings of one key.
    let service =
        |host: &str| Service::from_json(format!("{{\"host\":\"{host}\"}}").as_bytes()).expect("a service");
    let entries = ["b.p.skydns.test", "a.p.skydns.test"].map(|host| Entry::new(service(host)));
    site.tree.set(&Key::from_name(&name("1.0.0.10.in-addr.arpa.")), Layer(1), entries.to_vec());
    let orders = |site: &mut Site, asked: &str, rtype, of: fn(Answer) -> Vec<Record>| {
        let mut orders = BTreeMap::<Vec<String>, u32>::new();
        for seed in 0..3_000 {
            site.seed = seed;
            *orders.entry(lines(&of(site.ask(asked, rtype)))).or_default() += 1;
        }
        orders
    };
    let answers: fn(Answer) -> Vec<Record> = |answer| answer.answers;
    let additionals: fn(Answer) -> Vec<Record> = |answer| answer.additionals;
    for (asked, rtype, of) in [
        ("p.skydns.test.", RecordType::SRV, answers),
        ("p.skydns.test.", RecordType::MX, answers),
        ("p.skydns.test.", RecordType::TXT, answers),
        ("skydns.test.", RecordType::NS, answers),
        ("t.skydns.test.", RecordType::SRV, additionals),
    ] {
        site.zone.round_robin = false;
        assert_eq!(orders(&mut site, asked, rtype, of).len(), 1, "{rtype}: key order");
        site.zone.round_robin = true;
        let orders = orders(&mut site, asked, rtype, of);
        assert_eq!(orders.len(), 6, "{rtype}");
        // 500 are expected of each, with a standard deviation of 20.
        assert!(orders.values().all(|count| (400..600).contains(count)), "{rtype} {orders:?}");
    }
    let pointers = orders(&mut site, "1.0.0.10.in-addr.arpa.", RecordType::PTR, answers);
    assert_eq!(pointers.len(), 1);
    assert_eq!(pointers.keys().next().map(Vec::len), Some(2), "both spellings are served");
}

#[test]
fn a_lease_bounds_the_ttl_and_the_least_of_an_rrset_counts() {
    let mut site = Site::new(&[("a.p.skydns.test.", r#"{"host":"10.0.0.1","ttl":360}"#)]);
    let lease = Arc::new(Lease::new(7));
    lease.set_end(1_020);
    let service = Service::from_json(br#"{"host":"10.0.0.2"}"#).expect("a service");
    let entry = Entry { service, lease: Some(Arc::clone(&lease)) };
    site.tree.put(&Key::from_name(&name("b.p.skydns.test.")), Layer(1), entry);
    let ttls = |site: &Site| site.ask("p.skydns.test.", RecordType::A).answers.iter().map(|r| r.ttl).max();
    assert_eq!(ttls(&site), Some(20));
    lease.set_end(9_000);
    assert_eq!(ttls(&site), Some(360));
    lease.set_end(500);
    assert_eq!(ttls(&site), Some(1));
}

#[test]
fn a_stale_tree_answers_with_short_ttls_and_says_so() {
    let mut site = Site::new(&[("a.skydns.test.", r#"{"host":"10.0.0.1"}"#)]);
    site.freshness = Freshness::Stale;
    let answer = site.ask("a.skydns.test.", RecordType::A);
    assert_eq!(lines(&answer.answers), ["a.skydns.test. 30 A 10.0.0.1"]);
    assert_eq!(answer.ede.map(|ede| ede.code), Some(Ede::STALE));
    assert_eq!(site.ask("b.skydns.test.", RecordType::A).rcode, ResponseCode::NXDomain);
}

#[test]
fn an_incomplete_tree_never_denies() {
    let mut site = Site::new(&[("a.skydns.test.", r#"{"host":"10.0.0.1"}"#)]);
    site.freshness = Freshness::Incomplete;
    assert_eq!(site.ask("a.skydns.test.", RecordType::A).answers.len(), 1);
    for (asked, rtype) in [("b.skydns.test.", RecordType::A), ("a.skydns.test.", RecordType::TXT)] {
        let answer = site.ask(asked, rtype);
        assert_eq!(answer.rcode, ResponseCode::ServFail);
        assert_eq!(answer.ede.map(|ede| ede.code), Some(Ede::NOT_READY));
        assert!(answer.authorities.is_empty());
    }
}

#[test]
fn reverse_names_have_a_pointer_and_nothing_else() {
    let site = Site::new(&[
        ("1.0.0.10.in-addr.arpa.", r#"{"host":"rev.example.org","ttl":99}"#),
        ("2.0.0.10.in-addr.arpa.", r#"{"host":"10.0.0.2"}"#),
        ("1.0.ip6.arpa.", r#"{"host":"six.example.org"}"#),
    ]);
    for rtype in [RecordType::PTR, RecordType::ANY] {
        let answer = site.ask("1.0.0.10.in-addr.arpa.", rtype);
        assert_eq!(lines(&answer.answers), ["1.0.0.10.in-addr.arpa. 99 PTR rev.example.org."]);
        assert!(!answer.authoritative);
    }
    for asked in ["1.0.0.10.in-addr.arpa.", "1.0.ip6.arpa."] {
        for rtype in [RecordType::A, RecordType::SOA, RecordType::DS, RecordType::CNAME] {
            let nodata = site.ask(asked, rtype);
            assert_eq!((nodata.rcode, nodata.answers.len()), (ResponseCode::NoError, 0));
            let soa = format!("{asked} 30 SOA {asked} nobody.invalid. 1 3600 1200 604800 30");
            assert_eq!(lines(&nodata.authorities), [soa]);
        }
    }
    for asked in ["2.0.0.10.in-addr.arpa.", "3.0.0.10.in-addr.arpa.", "*.0.0.10.in-addr.arpa.", "arpa."] {
        assert!(matches!(site.outcome(asked, RecordType::PTR, DNSClass::IN), Outcome::Forward), "{asked}");
    }
}

#[test]
fn names_above_pointers_exist() {
    // RFC 8020: were such a name denied, resolvers would believe that nothing is below it.
    let mut site = Site::new(&[
        ("1.0.0.10.in-addr.arpa.", r#"{"host":"rev.example.org"}"#),
        ("1.0.0.11.in-addr.arpa.", r#"{"host":"10.0.0.1"}"#),
    ]);
    let above = ["0.0.10.in-addr.arpa.", "0.10.in-addr.arpa.", "10.IN-ADDR.arpa.", "in-addr.arpa."];
    for rtype in [RecordType::PTR, RecordType::NS, RecordType::SOA, RecordType::DS] {
        for asked in above {
            let outcome = site.outcome(asked, rtype, DNSClass::IN);
            assert!(matches!(outcome, Outcome::ForwardExisting), "{asked} {rtype}");
        }
        // An address is no PTR record.
        assert!(matches!(site.outcome("11.in-addr.arpa.", rtype, DNSClass::IN), Outcome::Forward));
    }
    site.forwards = false;
    for asked in above {
        let nodata = site.ask(asked, RecordType::PTR);
        assert_eq!((nodata.rcode, nodata.authorities[0].name.clone()), (ResponseCode::NoError, name(asked)));
    }
}

#[test]
fn pointers_of_the_site_are_not_denied_before_the_store_is_read() {
    let mut site = Site::new(&[
        ("1.2.0.192.in-addr.arpa.", r#"{"host":"rev.example.org"}"#),
        (&format!("1.{}8.b.d.0.1.0.0.2.ip6.arpa.", "0.".repeat(23)), r#"{"host":"rev.example.org"}"#),
    ]);
    site.freshness = Freshness::Incomplete;
    assert_eq!(site.ask("1.2.0.192.in-addr.arpa.", RecordType::PTR).answers.len(), 1);
    let same_64 = format!("2.{}8.b.d.0.1.0.0.2.ip6.arpa.", "0.".repeat(23));
    let of_site: [&[&str]; 4] = [
        &["9.2.0.192.in-addr.arpa.", "2.0.192.in-addr.arpa.", &same_64],
        &["10.in-addr.arpa.", "4.3.2.10.in-addr.arpa.", "1.16.172.in-addr.arpa.", "31.172.in-addr.arpa."],
        &["168.192.in-addr.arpa.", "1.254.169.in-addr.arpa.", "1.64.100.in-addr.arpa."],
        &["1.c.f.ip6.arpa.", "d.F.ip6.arpa.", "8.e.f.ip6.arpa.", "0.b.e.f.ip6.arpa."],
    ];
    for asked in of_site.concat() {
        let answer = site.ask(asked, RecordType::PTR);
        let code = answer.ede.map(|ede| ede.code);
        assert_eq!((answer.rcode, code), (ResponseCode::ServFail, Some(Ede::NOT_READY)), "{asked}");
        // Validators look for the zones above, which are no data of the site. A denial would still be one of the name.
        for rtype in [RecordType::DS, RecordType::NS, RecordType::SOA, RecordType::DNSKEY] {
            assert!(matches!(site.outcome(asked, rtype, DNSClass::IN), Outcome::ForwardExisting), "{asked}");
        }
    }
    let of_others = [
        ["1.3.0.192.in-addr.arpa.", "15.172.in-addr.arpa.", "172.in-addr.arpa.", "1.32.172.in-addr.arpa."],
        ["8.8.8.8.in-addr.arpa.", "128.100.in-addr.arpa.", "e.f.ip6.arpa.", "1.0.0.2.ip6.arpa."],
    ];
    for asked in of_others.concat() {
        let forwarded = site.outcome(asked, RecordType::PTR, DNSClass::IN);
        let is_above = asked == "1.0.0.2.ip6.arpa.";
        assert!(matches!(forwarded, Outcome::ForwardExisting) == is_above, "{asked} {forwarded:?}");
        assert!(matches!(forwarded, Outcome::Forward) != is_above, "{asked} {forwarded:?}");
    }
    site.forwards = false;
    assert_eq!(site.ask("10.in-addr.arpa.", RecordType::NS).rcode, ResponseCode::ServFail);
    site.freshness = Freshness::Stale;
    let stale = site.ask("1.2.0.192.in-addr.arpa.", RecordType::PTR);
    assert_eq!((stale.answers[0].ttl, stale.ede.map(|ede| ede.code)), (30, Some(Ede::STALE)));
}

#[test]
fn special_use_names_stay_here() {
    let site = Site::new(&[]);
    assert_eq!(lines(&site.ask("localhost.", RecordType::A).answers), ["localhost. 10800 A 127.0.0.1"]);
    assert_eq!(lines(&site.ask("x.LocalHost.", RecordType::AAAA).answers), ["x.LocalHost. 10800 AAAA ::1"]);
    let nodata = site.ask("localhost.", RecordType::MX);
    assert_eq!((nodata.rcode, nodata.authorities.len()), (ResponseCode::NoError, 1));
    for (asked, has_soa) in [("LocalHost.", true), ("127.in-addr.arpa.", true), ("x.localhost.", false)] {
        let soa = site.ask(asked, RecordType::SOA);
        assert_eq!(
            (soa.answers.len(), soa.authorities.len()),
            if has_soa { (1, 0) } else { (0, 1) },
            "{asked}"
        );
    }
    assert_eq!(site.ask("a.b.invalid.", RecordType::A).rcode, ResponseCode::NXDomain);
    let ptr = site.ask("1.0.0.127.in-addr.arpa.", RecordType::PTR);
    assert_eq!(lines(&ptr.answers), ["1.0.0.127.in-addr.arpa. 10800 PTR localhost."]);
    let six = format!("1.{}ip6.arpa.", "0.".repeat(31));
    assert_eq!(site.ask(&six, RecordType::PTR).answers.len(), 1);
    assert_eq!(site.ask("7.0.0.127.in-addr.arpa.", RecordType::PTR).rcode, ResponseCode::NXDomain);
    assert_eq!(site.ask("0.127.in-addr.arpa.", RecordType::PTR).rcode, ResponseCode::NoError);
    let outside = format!("2.{}ip6.arpa.", "0.".repeat(31));
    assert!(matches!(site.outcome(&outside, RecordType::PTR, DNSClass::IN), Outcome::Forward));
}

#[test]
fn names_of_few_labels_have_no_addresses_and_all_else_is_forwarded() {
    let mut site = Site::new(&[]);
    site.zone.ndots = 3;
    for rtype in [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::SVCB] {
        for (asked, top) in [("host.", "host."), ("Example.ORG.", "ORG."), ("*.org.", "org.")] {
            let answer = site.ask(asked, rtype);
            assert_eq!((answer.rcode, answer.authoritative), (ResponseCode::NoError, true));
            assert!(answer.answers.is_empty());
            let soa = format!("{top} 30 SOA {top} nobody.invalid. 1 3600 1200 604800 30");
            assert_eq!(lines(&answer.authorities), [soa]);
            assert_eq!(answer.ede.map(|ede| ede.code), Some(Ede::OTHER));
        }
    }
    let forwarded = |site: &Site, asked: &str, rtype| {
        matches!(site.outcome(asked, rtype, DNSClass::IN), Outcome::Forward)
    };
    for rtype in [RecordType::DS, RecordType::DNSKEY, RecordType::NS, RecordType::SOA, RecordType::TXT] {
        assert!(forwarded(&site, "org.", rtype) && forwarded(&site, ".", rtype), "{rtype}");
    }
    assert!(forwarded(&site, ".", RecordType::A) && forwarded(&site, "a.example.org.", RecordType::A));
    // The forwarder refuses clients that it does not forward for.
    site.forwards = false;
    assert!(forwarded(&site, "host.", RecordType::A));
}

#[test]
fn ds_of_the_apex_comes_from_the_parent() {
    let mut site = Site::new(&[("a.skydns.test.", r#"{"host":"10.0.0.1"}"#)]);
    let outcome = site.outcome("SkyDNS.test.", RecordType::DS, DNSClass::IN);
    assert!(matches!(outcome, Outcome::ForwardExisting));
    assert_eq!(site.ask("a.skydns.test.", RecordType::DS).authorities.len(), 1, "there is no delegation");
    // RFC 4035 §3.1.4.1: a server that does not offer recursion says that the child has none.
    site.forwards = false;
    let answer = site.ask("skydns.test.", RecordType::DS);
    assert_eq!((answer.rcode, answer.authoritative, answer.answers.len()), (ResponseCode::NoError, true, 0));
    assert!(lines(&answer.authorities)[0].starts_with("skydns.test. 30 SOA"));
}

#[test]
fn names_that_no_upstream_may_see_are_denied_here() {
    let mut site = Site::new(&[("s.skydns.test.", r#"{"host":"hidden.example.onion"}"#)]);
    for (asked, zone) in [
        ("example.onion.", "onion."),
        ("ONION.", "onion."),
        ("a.b.alt.", "alt."),
        ("alt.", "alt."),
        ("x.invalid.", "invalid."),
    ] {
        for rtype in [RecordType::A, RecordType::TXT, RecordType::DS, RecordType::ANY] {
            let denied = site.ask(asked, rtype);
            assert_eq!((denied.rcode, denied.authoritative), (ResponseCode::NXDomain, true), "{asked}");
            let soa = format!("{zone} 10800 SOA {zone} nobody.invalid. 1 3600 1200 604800 10800");
            assert_eq!(lines(&denied.authorities), [soa]);
        }
    }
    // RFC 9462 §6.4: every name of resolver.arpa exists.
    for asked in ["_dns.resolver.arpa.", "resolver.arpa.", "x.y.resolver.arpa."] {
        for rtype in [RecordType::SVCB, RecordType::A, RecordType::SOA] {
            let nodata = site.ask(asked, rtype);
            assert_eq!((nodata.rcode, nodata.authorities.len()), (ResponseCode::NoError, 1), "{asked}");
        }
    }
    assert!(site.ask("s.skydns.test.", RecordType::SRV).additionals.is_empty(), "nothing is looked up");
    let forwarded = |site: &Site, asked: &str, rtype| {
        matches!(site.outcome(asked, rtype, DNSClass::IN), Outcome::Forward)
    };
    for asked in ["printer.local.", "a.test.", "ipv4only.arpa.", "1.0.0.10.in-addr.arpa.", "x.notonion."] {
        assert!(forwarded(&site, asked, RecordType::A), "{asked}");
    }
    // RFC 8375: the network of the site may have names in home.arpa, but servers elsewhere have not.
    assert!(forwarded(&site, "printer.home.arpa.", RecordType::A));
    site.zone.denies_home_arpa = true;
    assert_eq!(site.ask("printer.home.arpa.", RecordType::A).rcode, ResponseCode::NXDomain);
    assert_eq!(site.ask("home.arpa.", RecordType::A).rcode, ResponseCode::NoError);
}

#[test]
fn ds_of_special_zones_in_arpa_comes_from_the_parent() {
    let mut site = Site::new(&[]);
    site.zone.denies_home_arpa = true;
    let six = format!("1.{}ip6.arpa.", "0.".repeat(31));
    let zones = ["home.arpa.", "resolver.arpa.", "127.in-addr.arpa.", &six];
    for asked in zones {
        let outcome = site.outcome(asked, RecordType::DS, DNSClass::IN);
        assert!(matches!(outcome, Outcome::ForwardExisting), "{asked}");
    }
    assert_eq!(site.ask("x.home.arpa.", RecordType::DS).rcode, ResponseCode::NXDomain);
    site.forwards = false;
    for asked in zones {
        assert_eq!(site.ask(asked, RecordType::DS).rcode, ResponseCode::NoError, "{asked}");
    }
}

#[test]
fn the_own_domain_goes_before_special_use() {
    for domain in ["skydns.alt.", "home.arpa.", "a.localhost.", "resolver.arpa.", "onion."] {
        let mut site = Site::new(&[(&format!("a.{domain}"), r#"{"host":"10.0.0.1"}"#)]);
        site.zone = Zone::new(&name(domain));
        site.zone.denies_home_arpa = true;
        assert_eq!(site.ask(&format!("a.{domain}"), RecordType::A).answers.len(), 1, "{domain}");
        let missing = site.ask(&format!("b.{domain}"), RecordType::A);
        assert_eq!(missing.rcode, ResponseCode::NXDomain);
        assert!(lines(&missing.authorities)[0].contains("ns.dns."), "{domain}");
    }
}

/// A site with the domain `.`.
fn root_site(services: &[(&str, &str)]) -> Site {
    let mut site = Site::new(services);
    site.zone = Zone::new(&name("."));
    site.zone.round_robin = false;
    site
}

#[test]
fn the_domain_of_the_root_has_what_the_store_has() {
    let mut site = root_site(&[
        ("www.example.org.", r#"{"host":"10.0.0.1","port":80}"#),
        ("alias.corp.", r#"{"host":"www.example.org","port":1}"#),
        ("out.corp.", r#"{"host":"www.example.com","port":2}"#),
        ("db.", r#"{"host":"10.0.0.2"}"#),
        ("x.localhost.", r#"{"host":"10.0.0.3"}"#),
    ]);
    for (asked, expected) in [
        ("www.example.org.", "www.example.org. 3600 A 10.0.0.1"),
        ("example.org.", "example.org. 3600 A 10.0.0.1"),
        ("db.", "db. 3600 A 10.0.0.2"),
        ("x.localhost.", "x.localhost. 3600 A 10.0.0.3"),
    ] {
        assert_eq!(lines(&site.ask(asked, RecordType::A).answers), [expected]);
    }
    let alias = site.ask("alias.corp.", RecordType::A);
    assert_eq!(
        lines(&alias.answers),
        ["alias.corp. 3600 CNAME www.example.org.", "www.example.org. 3600 A 10.0.0.1"]
    );
    let srv = site.ask("alias.corp.", RecordType::SRV);
    assert_eq!(lines(&srv.additionals), ["www.example.org. 3600 A 10.0.0.1"]);
    for rtype in [RecordType::A, RecordType::SRV] {
        let Outcome::Lookup(lookups) = site.outcome("out.corp.", rtype, DNSClass::IN) else {
            panic!("www.example.com is to be looked up")
        };
        assert_eq!(lookups[0].name, name("www.example.com."));
    }
    // A name with a service is ours for all types, and so are the addresses above it.
    for (asked, rtype) in [
        ("www.example.org.", RecordType::TXT),
        ("www.example.org.", RecordType::AAAA),
        ("example.org.", RecordType::AAAA),
        ("*.example.org.", RecordType::TXT),
    ] {
        let nodata = site.ask(asked, rtype);
        assert_eq!((nodata.rcode, nodata.answers.len()), (ResponseCode::NoError, 0), "{asked} {rtype}");
        assert_eq!(nodata.authorities[0].name, name(asked));
    }
    site.zone.ndots = 1;
    let exists = |site: &Site, asked: &str, rtype| match site.outcome(asked, rtype, DNSClass::IN) {
        Outcome::ForwardExisting => true,
        Outcome::Forward => false,
        other => panic!("{asked} {rtype}: {other:?}"),
    };
    for rtype in [RecordType::NS, RecordType::SOA, RecordType::DS, RecordType::DNSKEY] {
        assert!(exists(&site, "www.example.org.", rtype) && exists(&site, "org.", rtype), "{rtype}");
        assert!(!exists(&site, ".", rtype) && !exists(&site, "com.", rtype), "{rtype}");
    }
    assert!(exists(&site, "example.org.", RecordType::MX), "its mail may be elsewhere");
    for asked in ["nope.example.org.", "com.", "x.www.example.org.", "*.example.com."] {
        assert!(!exists(&site, asked, RecordType::A), "{asked}");
    }
    assert_eq!(site.ask("y.localhost.", RecordType::A).answers.len(), 1);
    site.forwards = false;
    for (asked, rtype) in [("org.", RecordType::NS), ("example.org.", RecordType::MX)] {
        assert_eq!(site.ask(asked, rtype).rcode, ResponseCode::NoError, "{asked}");
    }
    assert!(!exists(&site, ".", RecordType::NS));
}

#[test]
fn the_domain_of_the_root_denies_nothing_before_the_store_is_read() {
    let mut site = root_site(&[("a.corp.", r#"{"host":"10.0.0.1"}"#)]);
    site.freshness = Freshness::Incomplete;
    assert_eq!(site.ask("a.corp.", RecordType::A).answers.len(), 1);
    for (asked, rtype) in
        [("b.corp.", RecordType::A), ("www.example.org.", RecordType::TXT), ("com.", RecordType::NS)]
    {
        let outcome = site.outcome(asked, rtype, DNSClass::IN);
        assert!(matches!(outcome, Outcome::ForwardExisting), "{asked}");
    }
    assert_eq!(site.ask("db.", RecordType::A).rcode, ResponseCode::ServFail, "it may be in the store");
    site.forwards = false;
    assert_eq!(site.ask("b.corp.", RecordType::A).ede.map(|ede| ede.code), Some(Ede::NOT_READY));
}

#[test]
fn names_that_only_end_like_the_domain_are_not_ours() {
    let site = Site::new(&[]);
    assert!(matches!(site.outcome("fooskydns.test.", RecordType::A, DNSClass::IN), Outcome::Forward));
    assert!(matches!(site.outcome("www.example.org.", RecordType::A, DNSClass::IN), Outcome::Forward));
}

#[test]
fn chaos_tells_who_we_are_unless_hidden() {
    let mut site = Site::new(&[]);
    assert_eq!(site.chaos("version.bind.").rcode, ResponseCode::Refused);
    site.zone.identity = Some(Identity { version: "1.2.3".into(), hostname: "host7".into() });
    let text = |asked: &str| -> Vec<String> {
        let answer = site.chaos(asked);
        assert!(answer.answers.iter().all(|r| r.dns_class == DNSClass::CH && r.ttl == 0));
        answer.answers.iter().map(|r| r.data.to_string()).collect()
    };
    assert_eq!(text("VERSION.bind."), ["1.2.3"]);
    assert_eq!(text("version.server."), ["1.2.3"]);
    assert_eq!(text("hostname.bind."), ["host7"]);
    assert_eq!(text("id.server."), ["host7"]);
    assert_eq!(text("authors.bind.").len(), 4);
    assert_eq!(text("skydns.test.").len(), 4);
    assert_eq!(site.chaos("other.bind.").rcode, ResponseCode::Refused);
    let Outcome::Answered(hesiod) = site.outcome("a.skydns.test.", RecordType::A, DNSClass::HS) else {
        panic!("answered");
    };
    assert_eq!(hesiod.rcode, ResponseCode::Refused);
}

#[test]
fn external_names_are_asked_for_once_and_only_with_labels_enough() {
    let site = Site::new(&[
        ("a.c.skydns.test.", r#"{"host":"www.example.org","port":1}"#),
        ("b.c.skydns.test.", r#"{"host":"WWW.example.org","port":2}"#),
        ("c.c.skydns.test.", r#"{"host":"single"}"#),
    ]);
    let Outcome::Lookup(lookups) = site.outcome("c.skydns.test.", RecordType::SRV, DNSClass::IN) else {
        panic!("look-ups");
    };
    let types: Vec<_> = lookups.iter().map(|lookup| lookup.rtype).collect();
    assert_eq!(types, [RecordType::A, RecordType::AAAA]);
}

#[test]
fn labels_are_stripped_from_names_of_keys_but_never_from_hosts() {
    // external-dns writes `targetstrip` beside hosts that are names.
    let site = Site::new(&[
        ("a.names.skydns.test.", r#"{"host":"b.c.skydns.test","targetstrip":1,"mail":true}"#),
        ("b.names.skydns.test.", r#"{"host":"10.0.0.1","targetstrip":1,"mail":true}"#),
        ("c.names.skydns.test.", r#"{"host":"10.0.0.2","targetstrip":4,"mail":true}"#),
        ("b.c.skydns.test.", r#"{"host":"10.0.0.3"}"#),
    ]);
    for (rtype, before) in [(RecordType::SRV, "10 33 0 "), (RecordType::MX, "10 ")] {
        let answer = site.ask("names.skydns.test.", rtype);
        let data: Vec<_> = answer.answers.iter().map(|record| record.data.to_string()).collect();
        let targets = ["b.c.skydns.test.", "names.skydns.test.", "c.names.skydns.test."];
        assert_eq!(data, targets.map(|target| format!("{before}{target}")));
        assert_eq!(
            lines(&answer.additionals),
            [
                "b.c.skydns.test. 3600 A 10.0.0.3",
                "names.skydns.test. 3600 A 10.0.0.1",
                "c.names.skydns.test. 3600 A 10.0.0.2"
            ]
        );
    }
}

#[test]
fn mail_exchangers_are_found_among_any_number_of_other_services() {
    let values: Vec<(String, String)> = (0..30_000)
        .map(|n| {
            (
                format!("n{n}.wide.skydns.test."),
                format!("{{\"host\":\"10.0.0.1\",\"port\":{n},\"group\":\"g\"}}"),
            )
        })
        .chain([
            ("a.wide.skydns.test.".to_owned(), r#"{"host":"10.0.0.1","port":7}"#.to_owned()),
            ("n7x.wide.skydns.test.".to_owned(), r#"{"host":"10.0.0.1","port":7,"mail":true}"#.to_owned()),
            ("zz.wide.skydns.test.".to_owned(), r#"{"host":"10.0.0.2","mail":true}"#.to_owned()),
        ])
        .collect();
    let services: Vec<_> = values.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let site = Site { work: WORK_OF_ANSWER, ..Site::new(&services) };
    let answer = site.ask("wide.skydns.test.", RecordType::MX);
    assert!(!answer.too_large);
    // A service that is equal, but no mail exchanger, hides none.
    assert_eq!(
        lines(&answer.answers),
        [
            "wide.skydns.test. 3600 MX 10 n7x.wide.skydns.test.",
            "wide.skydns.test. 3600 MX 10 zz.wide.skydns.test."
        ]
    );
    assert!(site.ask("wide.skydns.test.", RecordType::A).too_large);
}

#[test]
fn a_service_with_a_text_only_is_no_host() {
    let site =
        Site::new(&[("t.skydns.test.", r#"{"text":"abc"}"#), ("h.skydns.test.", r#"{"host":"10.0.0.1"}"#)]);
    for rtype in [RecordType::A, RecordType::SRV, RecordType::MX, RecordType::CNAME] {
        let answer = site.ask("t.skydns.test.", rtype);
        assert_eq!((answer.rcode, answer.answers.len()), (ResponseCode::NoError, 0), "{rtype}");
    }
    let srv = site.ask("skydns.test.", RecordType::SRV);
    assert!(matches!(&srv.answers[..], [Record { data: RData::SRV(srv), .. }] if srv.weight == 100));
}

#[test]
fn a_service_equal_to_a_bare_one_before_it_has_no_say_in_groups() {
    let site = Site::new(&[
        ("a.skydns.test.", r#"{"port":2}"#),
        ("a.a.skydns.test.", r#"{"host":"10.0.0.1","group":"g1"}"#),
        ("b.skydns.test.", r#"{"host":"10.0.0.2","group":"g2"}"#),
        ("c.skydns.test.", r#"{"port":2,"group":"g1"}"#),
    ]);
    let answer = site.ask("skydns.test.", RecordType::A);
    assert_eq!(lines(&answer.answers), ["skydns.test. 3600 A 10.0.0.2"]);
}

#[test]
fn a_wildcard_label_in_a_host_is_a_label() {
    let site = Site::new(&[
        ("a.skydns.test.", r#"{"host":"*.b.skydns.test"}"#),
        ("x.b.skydns.test.", r#"{"host":"10.0.0.1"}"#),
        ("c.skydns.test.", r#"{"host":"any.d.skydns.test"}"#),
        ("any.d.skydns.test.", r#"{"host":"10.0.0.2"}"#),
        ("other.d.skydns.test.", r#"{"host":"10.0.0.3"}"#),
    ]);
    let answer = site.ask("a.skydns.test.", RecordType::A);
    assert_eq!(answer.rcode, ResponseCode::NXDomain);
    assert_eq!(lines(&answer.answers), ["a.skydns.test. 3600 CNAME *.b.skydns.test."]);
    assert_eq!(
        lines(&site.ask("c.skydns.test.", RecordType::A).answers),
        ["c.skydns.test. 3600 CNAME any.d.skydns.test.", "any.d.skydns.test. 3600 A 10.0.0.2"]
    );
}
