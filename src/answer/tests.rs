//! What the comparison with the model (`tests/model.rs`) does not reach.

mod bounds;
mod cluster;
mod exact;
mod outside;
mod pointers;
mod root_domain;
mod round_robin;
mod services;
mod special_names;
mod zones;

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
pub(super) struct SiteFixture {
    pub(super) served: Site,
    tree: Tree,
    freshness: Freshness,
    seed: u64,
    work: u32,
    forwards: bool,
    pub(super) externals: Externals,
}

impl SiteFixture {
    pub(super) fn new(services: &[(&str, &str)]) -> Self {
        let mut tree = Tree::new();
        for (at, value) in services {
            let service = Service::from_json(value.as_bytes()).expect(value);
            tree.put(&Key::from_name(&name(at)), Layer(1), Entry::new(service));
        }
        let served = Site { round_robin: false, ..Site::new(Zone::new(&name("skydns.test."))) };
        let (freshness, externals) = (Freshness::Current, Externals::new());
        Self { served, tree, freshness, seed: 0, work: 5 * WORK_OF_ANSWER, forwards: true, externals }
    }

    pub(super) fn outcome(&self, asked: &str, rtype: RecordType, class: DNSClass) -> Outcome {
        let mut query = Query::query(name(asked), rtype);
        query.set_query_class(class);
        let view = View {
            site: &Arc::new(self.served.clone()),
            tree: &self.tree,
            dependencies: &Dependencies::default(),
            freshness: &self.freshness.into(),
            now: 1_000,
            seed: self.seed,
            externals: &self.externals,
            made: &Made::default(),
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
    let mut site = SiteFixture::new(&[]);
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
    let site = SiteFixture::new(&[
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
    let site = SiteFixture::new(&services);
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
        SiteFixture::new(&services).ask("l0.skydns.test.", RecordType::A)
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
    let answer = SiteFixture::new(&services).ask("l0.skydns.test.", RecordType::A);
    assert_eq!(lines(&answer.answers), ["l0.skydns.test. 3600 A 10.0.0.1"]);
}

#[test]
fn letter_case_of_the_question_is_echoed() {
    let site = SiteFixture::new(&[("upper.skydns.test.", r#"{"host":"10.0.0.1"}"#)]);
    let answer = site.ask("uPPer.SKYDNS.test.", RecordType::A);
    assert_eq!(lines(&answer.answers), ["uPPer.SKYDNS.test. 3600 A 10.0.0.1"]);
}

#[test]
fn local_dns_is_the_hosts_own_name_in_any_letter_case() {
    let mut site = SiteFixture::new(&[("me.hosts.skydns.test.", r#"{"host":"192.0.2.1"}"#)]);
    assert_eq!(site.ask("local.dns.skydns.test.", RecordType::A).rcode, ResponseCode::NXDomain);
    site.served.zones.first_mut().local = Some(name("ME.Hosts.skydns.test."));
    let answer = site.ask("local.dns.skydns.test.", RecordType::A);
    assert_eq!(lines(&answer.answers), ["local.dns.skydns.test. 3600 A 192.0.2.1"]);
}

#[test]
fn local_dns_exists_when_names_below_it_do() {
    let mut site = SiteFixture::new(&[("x.local.dns.skydns.test.", r#"{"host":"192.0.2.1"}"#)]);
    let rcode = |site: &SiteFixture| site.ask("local.dns.skydns.test.", RecordType::A).rcode;
    assert_eq!(rcode(&site), ResponseCode::NoError);
    site.served.zones.first_mut().local = Some(name("none.hosts.skydns.test."));
    assert_eq!(rcode(&site), ResponseCode::NoError, "no data, but names below it");
    let site = SiteFixture { tree: Tree::new(), ..site };
    assert_eq!(rcode(&site), ResponseCode::NXDomain);
}

#[test]
fn names_below_local_dns_hide_nothing_that_it_leads_to() {
    let services = [
        ("me.hosts.skydns.test.", r#"{"host":"www.example.org"}"#),
        ("x.local.dns.skydns.test.", r#"{"host":"192.0.2.1"}"#),
    ];
    let mut site = SiteFixture::new(&services);
    site.served.zones.first_mut().local = Some(name("me.hosts.skydns.test."));
    let Outcome::Lookup(lookups) = site.outcome("local.dns.skydns.test.", RecordType::A, DNSClass::IN) else {
        panic!("www.example.org is to be looked up")
    };
    assert_eq!(lookups[0].name, name("www.example.org."));
    // A service at the name itself is not one below it, and is not shown.
    let mut site = SiteFixture::new(&[("local.dns.skydns.test.", r#"{"host":"192.0.2.1"}"#)]);
    site.served.zones.first_mut().local = Some(name("none.hosts.skydns.test."));
    assert_eq!(site.ask("local.dns.skydns.test.", RecordType::A).rcode, ResponseCode::NXDomain);
}

#[test]
fn a_service_whose_deletion_is_held_back_is_marked_and_short_lived() {
    let mut site = SiteFixture::new(&[("a.u.skydns.test.", r#"{"host":"10.0.0.1"}"#)]);
    let service = Service::from_json(br#"{"host":"10.0.0.2","ttl":600}"#).expect("a service");
    let entry = Entry::new(service).held(&Arc::new(Lease::held()));
    site.tree.put(&Key::from_name(&name("b.u.skydns.test.")), Layer(1), entry.clone());
    site.tree.put(&Key::from_name(&name("1.2.0.192.in-addr.arpa.")), Layer(1), {
        let service = Service::from_json(br#"{"host":"b.u.skydns.test."}"#).expect("a service");
        Entry { service, ..entry }
    });
    for (asked, rtype, ttl) in [
        ("b.u.skydns.test.", RecordType::A, 30),
        ("b.u.skydns.test.", RecordType::SRV, 30),
        ("u.skydns.test.", RecordType::A, 30),
        ("1.2.0.192.in-addr.arpa.", RecordType::PTR, 30),
    ] {
        let answer = site.ask(asked, rtype);
        assert!(answer.answers.iter().any(|record| record.ttl == ttl), "{asked}: {answer:?}");
        assert_eq!(answer.ede.map(|ede| ede.code), Some(Ede::STALE), "{asked}");
    }
    let other = site.ask("a.u.skydns.test.", RecordType::A);
    assert_eq!((other.answers[0].ttl, other.ede), (3600, None));
}

#[test]
fn a_lease_bounds_the_ttl_and_the_least_of_an_rrset_counts() {
    let mut site = SiteFixture::new(&[("a.p.skydns.test.", r#"{"host":"10.0.0.1","ttl":360}"#)]);
    let lease = Arc::new(Lease::new(7));
    lease.set_end(1_020);
    let service = Service::from_json(br#"{"host":"10.0.0.2"}"#).expect("a service");
    let entry = Entry { service, lease: Some(Arc::clone(&lease)) };
    site.tree.put(&Key::from_name(&name("b.p.skydns.test.")), Layer(1), entry);
    let ttls =
        |site: &SiteFixture| site.ask("p.skydns.test.", RecordType::A).answers.iter().map(|r| r.ttl).max();
    assert_eq!(ttls(&site), Some(20));
    lease.set_end(9_000);
    assert_eq!(ttls(&site), Some(360));
    lease.set_end(500);
    assert_eq!(ttls(&site), Some(1));
}

#[test]
fn a_stale_tree_answers_with_short_ttls_and_says_so() {
    let mut site = SiteFixture::new(&[("a.skydns.test.", r#"{"host":"10.0.0.1"}"#)]);
    site.freshness = Freshness::Stale;
    let answer = site.ask("a.skydns.test.", RecordType::A);
    assert_eq!(lines(&answer.answers), ["a.skydns.test. 30 A 10.0.0.1"]);
    assert_eq!(answer.ede.map(|ede| ede.code), Some(Ede::STALE));
    assert_eq!(site.ask("b.skydns.test.", RecordType::A).rcode, ResponseCode::NXDomain);
}

#[test]
fn an_incomplete_tree_never_denies() {
    let mut site = SiteFixture::new(&[("a.skydns.test.", r#"{"host":"10.0.0.1"}"#)]);
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
fn names_that_only_end_like_the_domain_are_not_ours() {
    let site = SiteFixture::new(&[]);
    assert!(matches!(site.outcome("fooskydns.test.", RecordType::A, DNSClass::IN), Outcome::Forward));
    assert!(matches!(site.outcome("www.example.org.", RecordType::A, DNSClass::IN), Outcome::Forward));
}

#[test]
fn chaos_tells_who_we_are_unless_hidden() {
    let mut site = SiteFixture::new(&[]);
    assert_eq!(site.chaos("version.bind.").rcode, ResponseCode::Refused);
    site.served.identity = Some(Identity { version: "1.2.3".into(), hostname: "host7".into() });
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
