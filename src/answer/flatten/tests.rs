//! Which names have a CNAME, and what a name answers whose services lead to others.

use super::*;
use crate::answer::tests::{SiteFixture, lines, name};
use crate::answer::{Answer, Ede, ExternalReply, Outcome};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::rdata::{CNAME, SOA};

const V4: RecordType = RecordType::A;
const V6: RecordType = RecordType::AAAA;

/// A site with each kind of name.
fn site(flatten: Flatten, is_signed: bool) -> SiteFixture {
    let mut site = SiteFixture::new(&[
        ("a.both.skydns.test.", r#"{"host":"10.0.0.1","ttl":50}"#),
        ("b.both.skydns.test.", r#"{"host":"www.example.org","ttl":40}"#),
        ("c.both.skydns.test.", r#"{"host":"one.skydns.test"}"#),
        ("d.both.skydns.test.", r#"{"host":"gone.skydns.test"}"#),
        ("a.out.skydns.test.", r#"{"host":"www.example.org"}"#),
        ("b.out.skydns.test.", r#"{"host":"other.example.org"}"#),
        ("inner.alias.skydns.test.", r#"{"host":"one.skydns.test","ttl":60}"#),
        ("one.skydns.test.", r#"{"host":"10.0.0.7","ttl":70}"#),
        ("circle.skydns.test.", r#"{"host":"elcric.skydns.test"}"#),
        ("elcric.skydns.test.", r#"{"host":"circle.skydns.test"}"#),
        ("dangling.skydns.test.", r#"{"host":"gone.skydns.test"}"#),
        ("away.skydns.test.", r#"{"host":"www.example.org"}"#),
        ("denied.skydns.test.", r#"{"host":"gone.example.org"}"#),
        ("single.skydns.test.", r#"{"host":"db"}"#),
    ]);
    (site.served.flatten, site.served.zones.first_mut().is_signed) = (flatten, is_signed);
    let record = |owner: &str, ttl, data| Record::from_rdata(name(owner), ttl, data);
    let cname = |owner: &str, target: &str| record(owner, 90, RData::CNAME(CNAME(name(target))));
    let a = |owner: &str, last: u8| record(owner, 20, RData::A(A([192, 0, 2, last].into())));
    let mut know = |asked: &str, rtype, reply| {
        site.externals.insert(Lookup { name: name(asked), rtype }, reply);
    };
    // The order of an upstream that sorts its records, and one that has no business in the answer.
    let records = vec![
        a("web.example.org.", 1),
        a("bank.example.", 66),
        cname("cdn.example.org.", "web.example.org."),
        cname("www.example.org.", "cdn.example.org."),
    ];
    know("www.example.org.", V4, ExternalReply { records, ..ExternalReply::default() });
    let records = vec![cname("www.example.org.", "cdn.example.org.")];
    know("www.example.org.", V6, ExternalReply { records: records.clone(), ..ExternalReply::default() });
    know("www.example.org.", RecordType::TXT, ExternalReply { records, ..ExternalReply::default() });
    let records = vec![a("other.example.org.", 2)];
    know("other.example.org.", V4, ExternalReply { records, ..ExternalReply::default() });
    know("other.example.org.", V6, ExternalReply::default());
    let soa = SOA::new(name("ns.example.org."), name("h.example.org."), 1, 2, 3, 4, 5);
    let authorities = vec![record("example.org.", 33, RData::SOA(soa))];
    for rtype in [V4, V6] {
        let authorities = authorities.clone();
        let reply = ExternalReply { is_denied: true, authorities, ..ExternalReply::default() };
        know("gone.example.org.", rtype, reply);
    }
    site
}

fn answers(site: &SiteFixture, asked: &str, rtype: RecordType) -> Vec<String> {
    lines(&site.ask(&format!("{asked}.skydns.test."), rtype).answers)
}

fn ends(answer: &Answer) -> (ResponseCode, usize, Vec<String>) {
    (answer.rcode, answer.answers.len(), lines(&answer.authorities))
}

const CHAIN: [&str; 3] = [
    "www.example.org. 90 CNAME cdn.example.org.",
    "cdn.example.org. 90 CNAME web.example.org.",
    "web.example.org. 20 A 192.0.2.1",
];

#[test]
fn a_set_has_addresses_only_and_a_lone_name_stays_a_cname() {
    let site = site(Flatten::Auto, false);
    assert_eq!(
        answers(&site, "both", V4),
        [
            "both.skydns.test. 20 A 10.0.0.1",
            "both.skydns.test. 20 A 192.0.2.1",
            "both.skydns.test. 20 A 10.0.0.7"
        ]
    );
    assert_eq!(answers(&site, "both", V6), [""; 0]);
    assert_eq!(
        answers(&site, "out", V4),
        ["out.skydns.test. 20 A 192.0.2.1", "out.skydns.test. 20 A 192.0.2.2"]
    );
    assert_eq!(answers(&site, "out", RecordType::CNAME), [""; 0]);
    assert_eq!(answers(&site, "away", V4)[1..], CHAIN);
    // One name above the key as well, and whatever the question.
    let alias = "alias.skydns.test. 60 CNAME one.skydns.test.";
    assert_eq!(answers(&site, "alias", V4), [alias, "one.skydns.test. 70 A 10.0.0.7"]);
    for rtype in [V6, RecordType::TXT, RecordType::CNAME, RecordType::HTTPS] {
        assert_eq!(answers(&site, "alias", rtype), [alias], "{rtype}");
    }
    assert_eq!(
        answers(&site, "away", RecordType::TXT),
        ["away.skydns.test. 3600 CNAME www.example.org.", CHAIN[0]]
    );
}

#[test]
fn the_last_name_of_a_chain_decides_about_the_code() {
    let site = site(Flatten::Auto, false);
    let ask = |asked: &str, rtype| ends(&site.ask(&format!("{asked}.skydns.test."), rtype));
    let soa = |n: u32| {
        vec![format!(
            "skydns.test. {n} SOA ns.dns.skydns.test. hostmaster.skydns.test. 0 28800 7200 604800 30"
        )]
    };
    let upstream = vec!["example.org. 33 SOA ns.example.org. h.example.org. 1 2 3 4 5".to_owned()];
    assert_eq!(ask("dangling", V4), (ResponseCode::NXDomain, 1, soa(30)));
    assert_eq!(ask("alias", V6), (ResponseCode::NoError, 1, soa(30)));
    assert_eq!(ask("denied", V4), (ResponseCode::NXDomain, 1, upstream));
    let few_labels = vec!["db. 30 SOA db. nobody.invalid. 1 3600 1200 604800 30".to_owned()];
    assert_eq!(ask("single", V4), (ResponseCode::NoError, 1, few_labels));
    assert_eq!(ask("circle", V4), (ResponseCode::NoError, 0, soa(30)));
    assert_eq!(ask("circle", RecordType::CNAME), (ResponseCode::NoError, 0, soa(30)));
    assert_eq!(ask("dangling", RecordType::CNAME), (ResponseCode::NoError, 1, vec![]));
}

#[test]
fn always_means_no_cname() {
    let site = site(Flatten::Always, false);
    assert_eq!(answers(&site, "alias", V4), ["alias.skydns.test. 60 A 10.0.0.7"]);
    assert_eq!(answers(&site, "away", V4), ["away.skydns.test. 20 A 192.0.2.1"]);
    assert_eq!(answers(&site, "alias", RecordType::CNAME), [""; 0]);
    assert_eq!(ends(&site.ask("denied.skydns.test.", V4)).0, ResponseCode::NoError);
}

#[test]
fn never_gives_one_cname_beside_the_addresses() {
    let site = site(Flatten::Never, false);
    let both = answers(&site, "both", V4);
    assert_eq!(both[..3], ["both.skydns.test. 40 CNAME www.example.org.", CHAIN[0], CHAIN[1]]);
    assert_eq!(both[3..], ["both.skydns.test. 50 A 10.0.0.1", CHAIN[2]]);
    // No stray records of the second name, and always the same choice.
    assert_eq!(answers(&site, "out", V4)[1..], CHAIN);
    assert_eq!(answers(&site, "both", RecordType::CNAME), ["both.skydns.test. 40 CNAME www.example.org."]);
    // A CNAME without addresses of the family hides nothing.
    assert_eq!(answers(&site, "both", RecordType::TXT), [""; 0]);
}

#[test]
fn a_signed_zone_has_no_addresses_of_upstreams() {
    for flatten in [Flatten::Auto, Flatten::Never, Flatten::Always] {
        let site = site(flatten, true);
        let both = ["both.skydns.test. 50 A 10.0.0.1", "both.skydns.test. 50 A 10.0.0.7"];
        assert_eq!(answers(&site, "both", V4), both, "{flatten:?}");
        for rtype in [V4, RecordType::CNAME] {
            assert_eq!(answers(&site, "out", rtype)[0], "out.skydns.test. 3600 CNAME www.example.org.");
            assert_eq!(answers(&site, "away", rtype)[0], "away.skydns.test. 3600 CNAME www.example.org.");
        }
    }
}

#[test]
fn the_apex_has_no_cname() {
    let apex = |flatten, is_signed| {
        let mut apex = SiteFixture::new(&[("x.skydns.test.", r#"{"host":"www.example.org"}"#)]);
        apex.externals = site(flatten, is_signed).externals;
        (apex.served.flatten, apex.served.zones.first_mut().is_signed) = (flatten, is_signed);
        lines(&apex.ask("skydns.test.", V4).answers)
    };
    assert_eq!(apex(Flatten::Auto, false), ["skydns.test. 20 A 192.0.2.1"]);
    assert_eq!(apex(Flatten::Auto, true), [""; 0]);
    assert_eq!(apex(Flatten::Never, false)[0], "skydns.test. 3600 CNAME www.example.org.");
}

#[test]
fn what_is_known_is_answered_while_upstreams_fail() {
    let mut site = site(Flatten::Auto, false);
    for (host, rtype) in [("www.example.org.", V4), ("www.example.org.", V6)] {
        site.externals.insert_failure(Lookup { name: name(host), rtype });
    }
    let ask = |asked: &str, rtype| {
        let answer = site.ask(&format!("{asked}.skydns.test."), rtype);
        (answer.rcode, lines(&answer.answers), answer.ede.map(|ede| ede.code))
    };
    let missing = Some(Ede::NO_REACHABLE_AUTHORITY);
    let both = ["both.skydns.test. 30 A 10.0.0.1", "both.skydns.test. 30 A 10.0.0.7"];
    assert_eq!(ask("both", V4), (ResponseCode::NoError, both.map(str::to_owned).to_vec(), missing));
    assert_eq!(ask("both", V6), (ResponseCode::NoError, vec![], missing));
    let out = vec!["out.skydns.test. 20 A 192.0.2.2".to_owned()];
    assert_eq!(ask("out", V4), (ResponseCode::NoError, out, missing));
    assert_eq!(ask("out", V6), (ResponseCode::NoError, vec![], missing), "one is known to have none");
    assert_eq!(ask("away", V4), (ResponseCode::ServFail, vec![], missing));
    assert_eq!(ask("away", RecordType::CNAME).0, ResponseCode::NoError);
}

#[test]
fn names_outside_are_looked_up_first() {
    let mut site = site(Flatten::Auto, false);
    site.externals = crate::answer::Externals::new();
    let lookups = |site: &SiteFixture, asked: &str, rtype| match site.outcome(asked, rtype, DNSClass::IN) {
        Outcome::Lookup(lookups) => lookups.iter().map(|l| format!("{} {}", l.name, l.rtype)).collect(),
        _ => Vec::new(),
    };
    assert_eq!(lookups(&site, "out.skydns.test.", V6), ["www.example.org. AAAA", "other.example.org. AAAA"]);
    assert_eq!(lookups(&site, "away.skydns.test.", RecordType::HTTPS), ["www.example.org. HTTPS"]);
    assert_eq!(lookups(&site, "away.skydns.test.", RecordType::CNAME), [""; 0]);
    site.served.zones.first_mut().is_signed = true;
    assert_eq!(lookups(&site, "both.skydns.test.", V4), [""; 0]);
}
