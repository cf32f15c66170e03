//! Names outside of the tree that services lead to, and what upstreams and we say of them.

use super::*;
use hickory_proto::rr::rdata::{A, CNAME};

const V4: RecordType = RecordType::A;
const V6: RecordType = RecordType::AAAA;

/// A site whose hosts outside have one CNAME each, which an upstream that does not know the site ends with `is_denied`.
fn site(services: &[(&str, &str)], cnames: &[(&str, &str)], is_denied: bool) -> SiteFixture {
    let mut site = SiteFixture::new(services);
    for (owner, target) in cnames {
        let record = Record::from_rdata(name(owner), 90, RData::CNAME(CNAME(name(target))));
        // An upstream is no authority for names of ours.
        let stray = Record::from_rdata(name(target), 90, RData::A(A([6, 6, 6, 6].into())));
        for rtype in [V4, V6] {
            let records = vec![record.clone(), stray.clone()];
            let reply = ExternalReply { records, is_denied, ..ExternalReply::default() };
            site.externals.insert(Lookup { name: name(owner), rtype }, reply);
        }
    }
    site
}

fn heard(site: &SiteFixture, asked: &str, rtype: RecordType) -> (ResponseCode, Vec<String>) {
    let answer = site.ask(&format!("{asked}.skydns.test."), rtype);
    (answer.rcode, lines(&answer.answers))
}

#[test]
fn an_answer_goes_on_at_a_name_of_ours_that_upstreams_lead_back_to() {
    let services = [
        ("tgt.skydns.test.", r#"{"host":"10.0.0.3","ttl":50}"#),
        ("back.skydns.test.", r#"{"host":"back.example.org"}"#),
        ("lost.skydns.test.", r#"{"host":"lost.example.org"}"#),
        ("a.set.skydns.test.", r#"{"host":"10.0.0.4"}"#),
        ("b.set.skydns.test.", r#"{"host":"back.example.org"}"#),
        ("x.circle.skydns.test.", r#"{"host":"circle.example.org"}"#),
    ];
    let cnames = [
        ("back.example.org.", "tgt.skydns.test."),
        ("lost.example.org.", "gone.skydns.test."),
        ("circle.example.org.", "circle.skydns.test."),
    ];
    for is_denied in [true, false] {
        let mut site = site(&services, &cnames, is_denied);
        let back = [
            "back.skydns.test. 3600 CNAME back.example.org.",
            "back.example.org. 90 CNAME tgt.skydns.test.",
            "tgt.skydns.test. 50 A 10.0.0.3",
        ];
        let text = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert_eq!(heard(&site, "back", V4), (ResponseCode::NoError, text(&back)));
        assert_eq!(heard(&site, "back", V6), (ResponseCode::NoError, text(&back[..2])));
        let (rcode, lost) = heard(&site, "lost", V4);
        assert_eq!((rcode, lost.len()), (ResponseCode::NXDomain, 2), "we deny it, not the upstream");
        let answer = site.ask("lost.skydns.test.", V4);
        assert!(lines(&answer.authorities)[0].starts_with("skydns.test. 30 SOA"));
        let set = ["set.skydns.test. 50 A 10.0.0.4", "set.skydns.test. 50 A 10.0.0.3"];
        assert_eq!(heard(&site, "set", V4), (ResponseCode::NoError, text(&set)));
        assert_eq!(heard(&site, "circle", V4).0, ResponseCode::ServFail);
        site.served.flatten = Flatten::Always;
        let flat = (ResponseCode::NoError, text(&["back.skydns.test. 50 A 10.0.0.3"]));
        assert_eq!(heard(&site, "back", V4), flat);
        assert_eq!(heard(&site, "circle", V4), (ResponseCode::NoError, vec![]));
        site.served.zones.first_mut().is_signed = true;
        site.served.flatten = Flatten::Auto;
        assert_eq!(heard(&site, "back", V4).1, back);
    }
}

#[test]
fn hosts_that_are_special_use_names_end_as_these_do() {
    let services = [
        ("o.skydns.test.", r#"{"host":"x.onion"}"#),
        ("l.skydns.test.", r#"{"host":"localhost"}"#),
        ("r.skydns.test.", r#"{"host":"1.0.0.127.in-addr.arpa"}"#),
        ("a.mix.skydns.test.", r#"{"host":"10.0.0.1"}"#),
        ("b.mix.skydns.test.", r#"{"host":"localhost"}"#),
        ("c.mix.skydns.test.", r#"{"host":"x.onion"}"#),
    ];
    let site = SiteFixture::new(&services);
    let ends = |asked: &str, rtype| {
        let answer = site.ask(&format!("{asked}.skydns.test."), rtype);
        let soa = answer.authorities.first().map(|soa| soa.name.to_string());
        (answer.rcode, answer.answers.len(), soa)
    };
    let soa = |owner: &str| Some(owner.to_owned());
    assert_eq!(ends("o", V4), (ResponseCode::NXDomain, 1, soa("onion.")));
    assert_eq!(lines(&site.ask("l.skydns.test.", V4).answers)[1], "localhost. 10800 A 127.0.0.1");
    assert_eq!(ends("l", RecordType::TXT), (ResponseCode::NoError, 1, soa("localhost.")));
    assert_eq!(ends("r", V4), (ResponseCode::NoError, 1, soa("127.in-addr.arpa.")));
    assert_eq!(ends("r", RecordType::PTR), (ResponseCode::NoError, 2, None));
    let mix = ["mix.skydns.test. 3600 A 10.0.0.1", "mix.skydns.test. 3600 A 127.0.0.1"];
    assert_eq!(heard(&site, "mix", V4), (ResponseCode::NoError, mix.map(str::to_owned).to_vec()));
    assert_eq!(ends("mix", V6).0, ResponseCode::NoError);
}

#[test]
fn names_of_home_arpa_are_denied_here_only_with_upstreams_of_elsewhere() {
    let mut site = Site::new(Zone::new(&name("skydns.test.")));
    let lookup = |of: &str| Lookup { name: name(of), rtype: V4 };
    assert_eq!(home_arpa_reply(&lookup("x.home.arpa."), &site), None);
    site.denies_home_arpa = true;
    assert!(home_arpa_reply(&lookup("x.home.arpa."), &site).is_some_and(|reply| reply.is_denied));
    assert_eq!(home_arpa_reply(&lookup("x.example.org."), &site), None);
    assert_eq!(home_arpa_reply(&lookup("x.onion."), &site), None, "that one needs no upstream at all");
}

#[test]
fn a_set_of_which_a_part_is_known_is_an_answer_in_both_families() {
    let mut site = SiteFixture::new(&[
        ("a.part.skydns.test.", r#"{"host":"good.example.org"}"#),
        ("b.part.skydns.test.", r#"{"host":"bad.example.org"}"#),
    ]);
    for rtype in [V4, V6] {
        site.externals.insert_failure(Lookup { name: name("bad.example.org."), rtype });
    }
    let good = |rtype| Lookup { name: name("good.example.org."), rtype };
    let records = vec![Record::from_rdata(name("good.example.org."), 90, RData::A(A([192, 0, 2, 8].into())))];
    site.externals.insert(good(V4), ExternalReply { records, ..ExternalReply::default() });
    site.externals.insert(good(V6), ExternalReply::default());
    let part = vec!["part.skydns.test. 30 A 192.0.2.8".to_owned()];
    assert_eq!(heard(&site, "part", V4), (ResponseCode::NoError, part));
    assert_eq!(heard(&site, "part", V6), (ResponseCode::NoError, vec![]));
    let denied = ExternalReply { is_denied: true, ..ExternalReply::default() };
    site.externals.insert(good(V6), denied);
    assert_eq!(heard(&site, "part", V6).0, ResponseCode::ServFail, "nothing is known of the set");
}

#[test]
fn a_target_that_leads_nowhere_takes_no_addresses_away() {
    let mut site = site(
        &[
            ("a.nm.skydns.test.", r#"{"host":"10.0.0.4"}"#),
            ("b.nm.skydns.test.", r#"{"host":"nx.example.org"}"#),
        ],
        &[],
        false,
    );
    site.served.flatten = Flatten::Never;
    for fails in [false, true] {
        for rtype in [V4, V6] {
            let lookup = Lookup { name: name("nx.example.org."), rtype };
            if fails {
                site.externals.insert_failure(lookup);
            } else {
                site.externals.insert(lookup, ExternalReply { is_denied: true, ..ExternalReply::default() });
            }
        }
        assert_eq!(heard(&site, "nm", V4).1.len(), 1);
        assert_eq!(heard(&site, "nm", V6), (ResponseCode::NoError, vec![]));
        assert!(lines(&site.ask("nm.skydns.test.", V6).authorities)[0].starts_with("skydns.test."));
    }
}

/// A record of a type that is kept as octets.
fn octets(owner: &str, code: RecordType, octets: &[u8]) -> Record {
    let rdata = hickory_proto::rr::rdata::NULL::with(octets.to_vec());
    Record::from_rdata(name(owner), 90, RData::Unknown { code, rdata })
}

fn signature(owner: &str, covered: RecordType) -> Record {
    octets(owner, RecordType::RRSIG, &[&u16::from(covered).to_be_bytes()[..], &[8; 20]].concat())
}

#[test]
fn what_validators_need_of_names_outside_is_in_the_answer() {
    let mut site = SiteFixture::new(&[
        ("out.skydns.test.", r#"{"host":"www.example.org"}"#),
        ("set.skydns.test.", r#"{"host":"www.example.org","port":1}"#),
        ("b.set.skydns.test.", r#"{"host":"10.0.0.1"}"#),
    ]);
    let a = |owner: &str| Record::from_rdata(name(owner), 90, RData::A(A([192, 0, 2, 8].into())));
    let cname = |owner: &str, to: &str| Record::from_rdata(name(owner), 90, RData::CNAME(CNAME(name(to))));
    let records = vec![
        octets("example.org.", RecordType::DNAME, b"\x03net\x00"),
        signature("example.org.", RecordType::DNAME),
        signature("example.org.", RecordType::NS),
        cname("www.example.org.", "www.net."),
        signature("www.net.", V6),
        signature("www.net.", V4),
        a("www.net."),
        signature("bank.example.", V4),
    ];
    let authorities = vec![octets("net.", RecordType::NSEC, b"\x00"), signature("net.", RecordType::NSEC)];
    let reply = ExternalReply { records, authorities, is_denied: false };
    site.externals.insert(Lookup { name: name("www.example.org."), rtype: V4 }, reply);
    let answer = site.ask("out.skydns.test.", V4);
    let kinds = |records: &[Record]| -> Vec<_> {
        records.iter().map(|r| format!("{} {}", r.name, r.record_type())).collect()
    };
    assert_eq!(
        kinds(&answer.answers),
        [
            "out.skydns.test. CNAME",
            "www.example.org. CNAME",
            "example.org. DNAME",
            "example.org. RRSIG",
            "www.net. A",
            "www.net. RRSIG"
        ]
    );
    assert!(signs_of(&answer.answers, "www.net.", V4));
    assert_eq!(kinds(&answer.authorities), ["net. NSEC", "net. RRSIG"], "a wildcard may have made it");
    // Addresses that go by a name of ours cannot have signatures of others.
    let answer = site.ask("set.skydns.test.", V4);
    assert_eq!(kinds(&answer.answers), ["set.skydns.test. A"; 2]);
    assert_eq!(answer.authorities, []);
}

fn signs_of(records: &[Record], owner: &str, covered: RecordType) -> bool {
    records.contains(&signature(owner, covered))
}

#[test]
fn ipv6_addresses_of_names_of_others_are_left_out_if_nobody_can_use_them() {
    let mut site = SiteFixture::new(&[
        ("six.skydns.test.", r#"{"host":"2001:db8::1"}"#),
        ("out.skydns.test.", r#"{"host":"www.example.org"}"#),
    ]);
    site.served.filters_aaaa = true;
    let answer = site.ask("www.example.org.", RecordType::AAAA);
    assert_eq!((answer.rcode, answer.answers.len(), answer.authorities.len()), (ResponseCode::NoError, 0, 1));
    assert_eq!(answer.ede.as_ref().map(|ede| ede.code), Some(Ede::FILTERED));
    assert!(matches!(site.outcome("www.example.org.", RecordType::A, DNSClass::IN), Outcome::Forward));
    assert_eq!(site.ask("six.skydns.test.", RecordType::AAAA).answers.len(), 1, "our own stay");
    let led = site.ask("out.skydns.test.", RecordType::AAAA);
    assert_eq!(
        (led.rcode, led.answers.len()),
        (ResponseCode::NoError, 1),
        "the CNAME alone, and nobody is asked"
    );
    site.forwards = false;
    assert!(matches!(site.outcome("www.example.org.", RecordType::AAAA, DNSClass::IN), Outcome::Forward));
}
