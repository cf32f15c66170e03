//! PTR records: hand-made ones, and those that services give their addresses.

use super::*;

/// A site whose tree knows services by address, with reverse zones.
fn site(services: &[(&str, &str)], others: &[&str]) -> SiteFixture {
    let mut site = SiteFixture::new(services);
    let zone = |apex: &&str| Zone::new(&name(apex));
    site.served.zones = Zones::new(zone(&"skydns.test."), others.iter().map(zone));
    site.served.zones.first_mut().auto_ptr = true;
    site.tree.index_addresses(true);
    site
}

fn targets(answer: &Answer) -> Vec<String> {
    answer.answers.iter().map(|record| record.data.to_string()).collect()
}

#[test]
fn a_service_gives_its_address_the_name_that_srv_would_give() {
    let services = [
        ("1.rails.skydns.test.", r#"{"host":"10.0.0.1","ttl":60}"#),
        ("4d65.www.skydns.test.", r#"{"host":"10.0.0.2","targetstrip":1}"#),
        ("58aa.www.skydns.test.", r#"{"host":"10.0.0.2","targetstrip":1}"#),
        ("api.skydns.test.", r#"{"host":"10.0.0.2"}"#),
        ("six.skydns.test.", r#"{"host":"2001:db8::1"}"#),
        ("*.apps.skydns.test.", r#"{"host":"10.0.0.5"}"#),
        ("a.example.org.stub.dns.skydns.test.", r#"{"host":"10.0.0.6"}"#),
        ("other.site.example.", r#"{"host":"10.0.0.7"}"#),
        ("2.0.0.10.in-addr.arpa.", r#"{"host":"hand.made.example"}"#),
    ];
    let site = site(&services, &["10.in-addr.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa.", "site.example."]);
    let ptr = |asked: &str| site.ask(asked, RecordType::PTR);
    let one = ptr("1.0.0.10.in-addr.arpa.");
    assert_eq!(lines(&one.answers), ["1.0.0.10.in-addr.arpa. 60 PTR 1.rails.skydns.test."]);
    assert!(one.authoritative);
    assert_eq!(
        targets(&ptr("2.0.0.10.in-addr.arpa.")),
        ["hand.made.example.", "api.skydns.test.", "www.skydns.test."],
        "those made by hand first, then in key order, each once"
    );
    let six = format!("1.{}8.b.d.0.1.0.0.2.ip6.arpa.", "0.".repeat(23));
    assert_eq!(targets(&ptr(&six)), ["six.skydns.test."]);
    for missing in
        ["5.0.0.10.in-addr.arpa.", "6.0.0.10.in-addr.arpa.", "7.0.0.10.in-addr.arpa.", "9.9.10.in-addr.arpa."]
    {
        let answer = ptr(missing);
        assert_eq!((answer.rcode, answer.authorities.len()), (ResponseCode::NXDomain, 1), "{missing}");
    }
    for above in ["0.0.10.in-addr.arpa.", "0.10.in-addr.arpa.", "10.in-addr.arpa."] {
        assert_eq!(ptr(above).rcode, ResponseCode::NoError, "{above}");
    }
    for rtype in [RecordType::A, RecordType::CNAME, RecordType::SRV, RecordType::MX, RecordType::TXT] {
        let answer = site.ask("2.0.0.10.in-addr.arpa.", rtype);
        assert_eq!((answer.rcode, answer.answers.len()), (ResponseCode::NoError, 0), "{rtype}");
    }
}

#[test]
fn outside_of_our_reverse_zones_only_what_we_have_is_answered() {
    let site = site(&[("a.skydns.test.", r#"{"host":"192.0.2.1"}"#)], &[]);
    let answer = site.ask("1.2.0.192.in-addr.arpa.", RecordType::PTR);
    assert_eq!((targets(&answer), answer.authoritative), (vec!["a.skydns.test.".to_owned()], false));
    let outcome = |asked: &str| site.outcome(asked, RecordType::PTR, DNSClass::IN);
    assert!(matches!(outcome("2.2.0.192.in-addr.arpa."), Outcome::Forward));
    assert!(matches!(outcome("2.0.192.in-addr.arpa."), Outcome::ForwardExisting));
}

#[test]
fn many_services_at_one_address_are_sixteen_names() {
    let services: Vec<_> =
        (0..40).map(|n| (format!("s{n:02}.skydns.test."), r#"{"host":"10.0.0.1"}"#)).collect();
    let services: Vec<_> = services.iter().map(|(at, value)| (at.as_str(), *value)).collect();
    let site = site(&services, &["10.in-addr.arpa."]);
    let found = targets(&site.ask("1.0.0.10.in-addr.arpa.", RecordType::PTR));
    let expected: Vec<_> = (0..16).map(|n| format!("s{n:02}.skydns.test.")).collect();
    assert_eq!(found, expected);
}

#[test]
fn they_are_kept_in_step() {
    let mut site = site(&[("a.skydns.test.", r#"{"host":"10.0.0.1"}"#)], &["10.in-addr.arpa."]);
    site.tree.set_zones(&site.served.zones.iter().map(Zone::apex));
    let found = |site: &SiteFixture, last: u8| {
        targets(&site.ask(&format!("{last}.0.0.10.in-addr.arpa."), RecordType::PTR))
    };
    assert_eq!(found(&site, 1), ["a.skydns.test."]);
    let put = |site: &mut SiteFixture, layer, value: Option<&str>| {
        let entries = value.map(|value| Entry::new(Service::from_json(value.as_bytes()).expect(value)));
        let key = Key::from_name(&name("a.skydns.test."));
        site.tree.set(&key, Layer(layer), entries.into_iter().collect());
        site.tree.set_serial_of(&key, 100 + u32::from(layer));
    };
    put(&mut site, 1, Some(r#"{"host":"10.0.0.2"}"#));
    assert_eq!((found(&site, 1), found(&site, 2)), (vec![], vec!["a.skydns.test.".to_owned()]));
    let reverse = Key::from_name(&name("10.in-addr.arpa."));
    assert_eq!(site.tree.serial_of(&reverse), 101, "the reverse zone has changed as well");
    // What a higher layer hides has no name.
    put(&mut site, 2, Some(r#"{"host":"10.0.0.3"}"#));
    assert_eq!((found(&site, 2), found(&site, 3).len()), (vec![], 1));
    put(&mut site, 2, None);
    assert_eq!((found(&site, 3), found(&site, 2).len()), (vec![], 1));
}
