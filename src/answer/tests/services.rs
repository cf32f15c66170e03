//! What the fields of services make of records, and which of several services count.

use super::*;

#[test]
fn external_names_are_asked_for_once_and_only_with_labels_enough() {
    let site = SiteFixture::new(&[
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
    let site = SiteFixture::new(&[
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
    let site = SiteFixture { work: WORK_OF_ANSWER, ..SiteFixture::new(&services) };
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
    let site = SiteFixture::new(&[
        ("t.skydns.test.", r#"{"text":"abc"}"#),
        ("h.skydns.test.", r#"{"host":"10.0.0.1"}"#),
    ]);
    for rtype in [RecordType::A, RecordType::SRV, RecordType::MX, RecordType::CNAME] {
        let answer = site.ask("t.skydns.test.", rtype);
        assert_eq!((answer.rcode, answer.answers.len()), (ResponseCode::NoError, 0), "{rtype}");
    }
    let srv = site.ask("skydns.test.", RecordType::SRV);
    assert!(matches!(&srv.answers[..], [Record { data: RData::SRV(srv), .. }] if srv.weight == 100));
}

#[test]
fn a_service_equal_to_a_bare_one_before_it_has_no_say_in_groups() {
    let site = SiteFixture::new(&[
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
    let site = SiteFixture::new(&[
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
