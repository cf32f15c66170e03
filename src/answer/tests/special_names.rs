//! Names that are answered here though they are in no zone of ours: reverse names, special-use names, short names.

use super::*;

#[test]
fn reverse_names_have_a_pointer_and_nothing_else() {
    let site = SiteFixture::new(&[
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
    let mut site = SiteFixture::new(&[
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
    let mut site = SiteFixture::new(&[
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
    let site = SiteFixture::new(&[]);
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
    let mut site = SiteFixture::new(&[]);
    site.served.ndots = 3;
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
    let forwarded = |site: &SiteFixture, asked: &str, rtype| {
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
    let mut site = SiteFixture::new(&[("a.skydns.test.", r#"{"host":"10.0.0.1"}"#)]);
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
    let mut site = SiteFixture::new(&[("s.skydns.test.", r#"{"host":"hidden.example.onion"}"#)]);
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
    let forwarded = |site: &SiteFixture, asked: &str, rtype| {
        matches!(site.outcome(asked, rtype, DNSClass::IN), Outcome::Forward)
    };
    for asked in ["printer.local.", "a.test.", "ipv4only.arpa.", "1.0.0.10.in-addr.arpa.", "x.notonion."] {
        assert!(forwarded(&site, asked, RecordType::A), "{asked}");
    }
    // RFC 8375: the network of the site may have names in home.arpa, but servers elsewhere have not.
    assert!(forwarded(&site, "printer.home.arpa.", RecordType::A));
    site.served.denies_home_arpa = true;
    assert_eq!(site.ask("printer.home.arpa.", RecordType::A).rcode, ResponseCode::NXDomain);
    assert_eq!(site.ask("home.arpa.", RecordType::A).rcode, ResponseCode::NoError);
}

#[test]
fn ds_of_special_zones_in_arpa_comes_from_the_parent() {
    let mut site = SiteFixture::new(&[]);
    site.served.denies_home_arpa = true;
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
        let mut site = SiteFixture::new(&[(&format!("a.{domain}"), r#"{"host":"10.0.0.1"}"#)]);
        site.served.zones = Zones::new(Zone::new(&name(domain)), []);
        site.served.denies_home_arpa = true;
        assert_eq!(site.ask(&format!("a.{domain}"), RecordType::A).answers.len(), 1, "{domain}");
        let missing = site.ask(&format!("b.{domain}"), RecordType::A);
        assert_eq!(missing.rcode, ResponseCode::NXDomain);
        assert!(lines(&missing.authorities)[0].contains("ns.dns."), "{domain}");
    }
}

#[test]
fn a_domain_without_the_keys_that_it_needs_is_not_answered() {
    let mut site = SiteFixture::new(&[
        ("a.skydns.test.", r#"{"host":"10.0.0.1"}"#),
        ("1.0.0.10.in-addr.arpa.", r#"{"host":"a.b"}"#),
    ]);
    (site.served.zones.first_mut().is_signed, site.served.zones.first_mut().lacks_keys) = (true, true);
    for asked in ["a.skydns.test.", "none.skydns.test.", "skydns.test."] {
        for rtype in [RecordType::A, RecordType::SOA, RecordType::DNSKEY] {
            let answer = site.ask(asked, rtype);
            assert_eq!((answer.rcode, answer.answers.len()), (ResponseCode::ServFail, 0), "{asked} {rtype}");
            assert_eq!(answer.ede.map(|ede| ede.code), Some(Ede::RRSIGS_MISSING));
        }
    }
    // The zones of others are none of its business.
    assert!(matches!(site.outcome("www.example.org.", RecordType::A, DNSClass::IN), Outcome::Forward));
    assert_eq!(site.ask("1.0.0.10.in-addr.arpa.", RecordType::PTR).answers.len(), 1);
}
