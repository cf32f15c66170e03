//! Several zones in one site: each with its own settings, and names that lead from one to another.

use super::*;

/// Zones side by side and below each other; the first is `skydns.test.`, as in all tests.
fn site(services: &[(&str, &str)], others: &[&str]) -> SiteFixture {
    let mut site = SiteFixture::new(services);
    let zone = |apex: &&str| Zone::new(&name(apex));
    site.served.zones = Zones::new(zone(&"skydns.test."), others.iter().map(zone));
    site
}

fn soa_owner(answer: &Answer) -> String {
    let soa = answer.authorities.iter().find(|record| record.record_type() == RecordType::SOA);
    soa.map_or_else(String::new, |soa| soa.name.to_ascii())
}

#[test]
fn each_zone_denies_with_its_own_soa_and_ttls() {
    let mut site = site(&[("a.site.example.", r#"{"host":"10.0.0.1"}"#)], &["site.example."]);
    for (zone, ttl) in site.served.zones.iter_mut().zip([100, 200]) {
        (zone.ttl, zone.min_ttl) = (ttl, ttl / 10);
    }
    let answer = site.ask("nope.site.example.", RecordType::A);
    assert_eq!((answer.rcode, answer.authoritative), (ResponseCode::NXDomain, true));
    let soa = "site.example. 20 SOA ns.dns.site.example. hostmaster.site.example. 0 28800 7200 604800 20";
    assert_eq!(lines(&answer.authorities), [soa]);
    let answer = site.ask("nope.skydns.test.", RecordType::A);
    assert!(lines(&answer.authorities)[0].starts_with("skydns.test. 10 SOA ns.dns.skydns.test."));
    assert_eq!(
        lines(&site.ask("a.site.example.", RecordType::A).answers),
        ["a.site.example. 200 A 10.0.0.1"]
    );
    assert!(matches!(site.outcome("a.example.", RecordType::A, DNSClass::IN), Outcome::Forward));
}

#[test]
fn a_target_in_a_sister_zone_is_ours() {
    let mut site = site(
        &[
            ("www.skydns.test.", r#"{"host":"web.site.example"}"#),
            ("gone.skydns.test.", r#"{"host":"nope.site.example"}"#),
            ("both.skydns.test.", r#"{"host":"10.0.0.9"}"#),
            ("x.both.skydns.test.", r#"{"host":"web.site.example"}"#),
            ("web.site.example.", r#"{"host":"10.0.0.1"}"#),
        ],
        &["site.example."],
    );
    for (zone, ttl) in site.served.zones.iter_mut().zip([100, 200]) {
        zone.ttl = ttl;
    }
    assert_eq!(
        lines(&site.ask("www.skydns.test.", RecordType::A).answers),
        ["www.skydns.test. 100 CNAME web.site.example.", "web.site.example. 200 A 10.0.0.1"]
    );
    let answer = site.ask("gone.skydns.test.", RecordType::A);
    assert_eq!((answer.rcode, &*soa_owner(&answer)), (ResponseCode::NXDomain, "site.example."));
    assert_eq!(
        lines(&site.ask("both.skydns.test.", RecordType::A).answers),
        ["both.skydns.test. 100 A 10.0.0.9", "both.skydns.test. 100 A 10.0.0.1"]
    );
    let srv = site.ask("www.skydns.test.", RecordType::SRV);
    assert_eq!(lines(&srv.additionals), ["web.site.example. 200 A 10.0.0.1"]);
}

#[test]
fn a_zone_ends_where_another_one_begins() {
    let site = site(
        &[
            ("1.rails.skydns.test.", r#"{"host":"10.0.0.1"}"#),
            ("2.rails.b.skydns.test.", r#"{"host":"10.0.0.2"}"#),
            ("x.y.only.skydns.test.", r#"{"host":"10.0.0.3"}"#),
        ],
        &["b.skydns.test.", "y.only.skydns.test."],
    );
    let addresses = |asked: &str| lines(&site.ask(asked, RecordType::A).answers);
    assert_eq!(addresses("skydns.test."), ["skydns.test. 3600 A 10.0.0.1"]);
    assert_eq!(addresses("b.skydns.test."), ["b.skydns.test. 3600 A 10.0.0.2"]);
    assert_eq!(addresses("rails.*.skydns.test."), Vec::<String>::new(), "b is another zone");
    assert_eq!(addresses("*.skydns.test."), ["*.skydns.test. 3600 A 10.0.0.1"]);
    // A name between two zones exists, though the outer one has nothing there.
    let between = site.ask("only.skydns.test.", RecordType::A);
    assert_eq!((between.rcode, &*soa_owner(&between)), (ResponseCode::NoError, "skydns.test."));
    assert_eq!(soa_owner(&site.ask("nope.b.skydns.test.", RecordType::A)), "b.skydns.test.");
    assert_eq!(site.ask("b.skydns.test.", RecordType::SOA).answers.len(), 1);
}

#[test]
fn each_zone_has_its_own_name_servers_and_its_own_local_name() {
    let mut site = site(
        &[
            ("a.ns.dns.skydns.test.", r#"{"host":"10.0.0.1"}"#),
            ("b.ns.dns.site.example.", r#"{"host":"10.0.0.2"}"#),
            ("me.site.example.", r#"{"host":"10.0.0.3"}"#),
        ],
        &["site.example."],
    );
    let servers = |site: &SiteFixture, asked: &str| lines(&site.ask(asked, RecordType::NS).answers);
    assert_eq!(servers(&site, "skydns.test."), ["skydns.test. 3600 NS a.ns.dns.skydns.test."]);
    assert_eq!(servers(&site, "site.example."), ["site.example. 3600 NS b.ns.dns.site.example."]);
    for zone in site.served.zones.iter_mut() {
        zone.local = Some(name("me.site.example."));
    }
    for asked in ["local.dns.skydns.test.", "local.dns.site.example."] {
        let got = lines(&site.ask(asked, RecordType::A).answers);
        assert_eq!(got, [format!("{asked} 3600 A 10.0.0.3")]);
    }
}

#[test]
fn the_root_has_what_no_other_zone_has() {
    let site = site(
        &[("a.example.org.", r#"{"host":"10.0.0.1"}"#), ("b.skydns.test.", r#"{"host":"10.0.0.2"}"#)],
        &["."],
    );
    assert_eq!(lines(&site.ask("a.example.org.", RecordType::A).answers), ["a.example.org. 3600 A 10.0.0.1"]);
    assert_eq!(site.ask("nope.skydns.test.", RecordType::A).rcode, ResponseCode::NXDomain);
    assert!(matches!(site.outcome("b.example.org.", RecordType::A, DNSClass::IN), Outcome::Forward));
}

#[test]
fn ds_of_a_zone_below_ours_is_the_outer_zones_to_answer() {
    let site = site(&[], &["b.skydns.test.", "site.example."]);
    let answer = site.ask("b.skydns.test.", RecordType::DS);
    assert_eq!((answer.rcode, &*soa_owner(&answer)), (ResponseCode::NoError, "skydns.test."));
    for asked in ["skydns.test.", "site.example."] {
        assert!(matches!(site.outcome(asked, RecordType::DS, DNSClass::IN), Outcome::ForwardExisting));
    }
}

#[test]
fn a_zone_that_falls_through_denies_no_name() {
    let mut site = site(
        &[
            ("a.skydns.test.", r#"{"host":"10.0.0.1"}"#),
            ("x.deep.skydns.test.", r#"{"text":"x"}"#),
            ("alias.skydns.test.", r#"{"host":"theirs.skydns.test"}"#),
            ("two.skydns.test.", r#"{"host":"10.0.0.2"}"#),
            ("more.two.skydns.test.", r#"{"host":"theirs.skydns.test"}"#),
        ],
        &[],
    );
    site.served.zones.first_mut().falls_through = true;
    let is_forwarded = |site: &SiteFixture, asked: &str| {
        matches!(site.outcome(asked, RecordType::A, DNSClass::IN), Outcome::Forward)
    };
    assert!(is_forwarded(&site, "theirs.skydns.test.") && is_forwarded(&site, "b.a.skydns.test."));
    for asked in ["x.deep.skydns.test.", "deep.skydns.test."] {
        let answer = site.ask(asked, RecordType::A);
        assert_eq!((answer.rcode, answer.authoritative), (ResponseCode::NoError, true), "{asked} is ours");
        assert_eq!(soa_owner(&answer), "skydns.test.");
    }
    // Names that ours lead to are looked up where they are.
    let lookup = Lookup { name: name("theirs.skydns.test."), rtype: RecordType::A };
    let Outcome::Lookup(lookups) = site.outcome("alias.skydns.test.", RecordType::A, DNSClass::IN) else {
        panic!("a look-up")
    };
    assert_eq!(lookups, std::slice::from_ref(&lookup));
    let address = |owner: &str| {
        Record::from_rdata(name(owner), 60, RData::A(std::net::Ipv4Addr::new(192, 0, 2, 1).into()))
    };
    let cname = |target: &str| {
        let data = RData::CNAME(hickory_proto::rr::rdata::CNAME(name(target)));
        Record::from_rdata(name("theirs.skydns.test."), 60, data)
    };
    let reply = |records| ExternalReply { records, ..ExternalReply::default() };
    site.externals
        .insert(lookup.clone(), reply(vec![cname("more.skydns.test."), address("more.skydns.test.")]));
    assert_eq!(
        lines(&site.ask("alias.skydns.test.", RecordType::A).answers),
        [
            "alias.skydns.test. 3600 CNAME theirs.skydns.test.",
            "theirs.skydns.test. 60 CNAME more.skydns.test.",
            "more.skydns.test. 60 A 192.0.2.1"
        ]
    );
    assert_eq!(
        lines(&site.ask("two.skydns.test.", RecordType::A).answers),
        ["two.skydns.test. 60 A 10.0.0.2", "two.skydns.test. 60 A 192.0.2.1"]
    );
    // What we have, upstreams have no say in.
    site.externals.insert(lookup, reply(vec![cname("a.skydns.test."), address("a.skydns.test.")]));
    assert_eq!(
        lines(&site.ask("alias.skydns.test.", RecordType::A).answers)[2],
        "a.skydns.test. 3600 A 10.0.0.1"
    );
    site.freshness = Freshness::Incomplete;
    for asked in ["theirs.skydns.test.", "alias.skydns.test."] {
        assert_eq!(site.ask(asked, RecordType::A).rcode, ResponseCode::ServFail, "{asked} may be ours");
    }
}
