//! The domain `.`: what the store has is answered, all else is forwarded.

use super::*;

/// A site with the domain `.`.
fn root_site(services: &[(&str, &str)]) -> SiteFixture {
    let mut site = SiteFixture::new(services);
    site.served.zones = Zones::new(Zone::new(&name(".")), []);
    site.served.round_robin = false;
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
    site.served.ndots = 1;
    let exists = |site: &SiteFixture, asked: &str, rtype| match site.outcome(asked, rtype, DNSClass::IN) {
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
