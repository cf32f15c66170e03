//! Zones in exact mode: what each name answers, and what exists.

use super::*;

/// A zone `skydns.test.` in exact mode.
fn site(services: &[(&str, &str)]) -> SiteFixture {
    let mut site = SiteFixture::new(services);
    site.served.zones.first_mut().mode = Mode::Exact;
    site
}

/// The addresses of a name, or the response code and "no data" without any.
fn addresses(site: &SiteFixture, asked: &str) -> String {
    let answer = site.ask(asked, RecordType::A);
    let found: Vec<_> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    match answer.rcode {
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        _ if found.is_empty() => "NODATA".to_owned(),
        _ => found.join(" "),
    }
}

#[test]
fn a_name_has_its_own_key_and_the_leaves_right_below_it() {
    let site = site(&[
        ("pool.skydns.test.", r#"{"host":"10.0.0.1"}"#),
        ("x1.pool.skydns.test.", r#"{"host":"10.0.0.2"}"#),
        ("x2.pool.skydns.test.", r#"{"host":"10.0.0.3"}"#),
        ("_x.pool.skydns.test.", r#"{"host":"10.0.0.4"}"#),
        ("*.pool.skydns.test.", r#"{"host":"10.0.0.5"}"#),
        ("deep.x3.pool.skydns.test.", r#"{"host":"10.0.0.6"}"#),
        ("x3.pool.skydns.test.", r#"{"host":"10.0.0.7"}"#),
    ]);
    assert_eq!(addresses(&site, "pool.skydns.test."), "10.0.0.1 10.0.0.2 10.0.0.3");
    assert_eq!(addresses(&site, "x3.pool.skydns.test."), "10.0.0.7 10.0.0.6");
    assert_eq!(addresses(&site, "x1.pool.skydns.test."), "10.0.0.2");
    assert_eq!(addresses(&site, "_x.pool.skydns.test."), "10.0.0.4");
    assert_eq!(addresses(&site, "skydns.test."), "NODATA", "a leaf below the apex is a name of the zone");
}

#[test]
fn questions_have_no_wildcards() {
    let site = site(&[
        ("x.east.skydns.test.", r#"{"host":"10.0.0.1"}"#),
        ("any.west.skydns.test.", r#"{"host":"10.0.0.2"}"#),
    ]);
    assert_eq!(addresses(&site, "*.skydns.test."), "NXDOMAIN");
    assert_eq!(addresses(&site, "x.*.skydns.test."), "NXDOMAIN");
    assert_eq!(addresses(&site, "any.west.skydns.test."), "10.0.0.2");
    assert_eq!(addresses(&site, "any.east.skydns.test."), "NXDOMAIN");
}

#[test]
fn targetstrip_makes_a_key_the_data_of_a_name_above_it_alone() {
    let site = site(&[
        ("1a.parent.skydns.test.", r#"{"host":"10.0.0.1","targetstrip":1}"#),
        ("2b.parent.skydns.test.", r#"{"host":"10.0.0.2","targetstrip":1}"#),
        ("3c.child.parent.skydns.test.", r#"{"host":"10.0.0.3","targetstrip":1}"#),
        ("4d.skydns.test.", r#"{"host":"10.0.0.4","targetstrip":1}"#),
        ("5e.skydns.test.", r#"{"text":"v=spf1 -all","targetstrip":1}"#),
        ("f.e.two.skydns.test.", r#"{"host":"10.0.0.5","targetstrip":2}"#),
        ("g._tcp.two.skydns.test.", r#"{"host":"10.0.0.6","targetstrip":2}"#),
        ("far.skydns.test.", r#"{"host":"10.0.0.7","targetstrip":9}"#),
    ]);
    assert_eq!(addresses(&site, "parent.skydns.test."), "10.0.0.1 10.0.0.2");
    assert_eq!(addresses(&site, "child.parent.skydns.test."), "10.0.0.3");
    assert_eq!(addresses(&site, "skydns.test."), "10.0.0.4");
    assert_eq!(addresses(&site, "1a.parent.skydns.test."), "NXDOMAIN", "its key is no name");
    assert_eq!(addresses(&site, "x.1a.parent.skydns.test."), "NXDOMAIN");
    assert_eq!(addresses(&site, "two.skydns.test."), "10.0.0.6 10.0.0.5", "in key order");
    assert_eq!(addresses(&site, "e.two.skydns.test."), "NXDOMAIN");
    assert_eq!(addresses(&site, "far.skydns.test."), "10.0.0.7", "never above the zone");
    let spf = site.ask("skydns.test.", RecordType::TXT);
    assert_eq!(lines(&spf.answers), ["skydns.test. 3600 TXT v=spf1 -all"]);
    let srv = lines(&site.ask("parent.skydns.test.", RecordType::SRV).answers);
    assert_eq!(srv, ["parent.skydns.test. 3600 SRV 10 50 0 parent.skydns.test."], "two with equal data");
}

#[test]
fn names_between_others_exist() {
    let site = site(&[("a.b.c.skydns.test.", r#"{"host":"10.0.0.1"}"#)]);
    assert_eq!(addresses(&site, "c.skydns.test."), "NODATA");
    assert_eq!(addresses(&site, "b.c.skydns.test."), "10.0.0.1", "a leaf right below");
    assert_eq!(addresses(&site, "x.b.c.skydns.test."), "NXDOMAIN");
    assert_eq!(addresses(&site, "x.a.b.c.skydns.test."), "NXDOMAIN");
}

#[test]
fn a_star_in_a_key_is_a_wildcard() {
    let mut site = site(&[
        ("h1.*.apps.skydns.test.", r#"{"host":"10.0.0.1","port":80,"targetstrip":1}"#),
        ("h2.real.apps.skydns.test.", r#"{"host":"10.0.0.2","targetstrip":1}"#),
        ("h3.deep.under.apps.skydns.test.", r#"{"host":"10.0.0.3","targetstrip":1}"#),
        ("*.pool.skydns.test.", r#"{"host":"10.0.0.4"}"#),
        ("sub.*.middle.skydns.test.", r#"{"host":"10.0.0.5","targetstrip":0}"#),
        ("h4.*.skydns.test.", r#"{"text":"everything","targetstrip":1}"#),
    ]);
    assert_eq!(addresses(&site, "x.apps.skydns.test."), "10.0.0.1");
    assert_eq!(addresses(&site, "x.y.z.apps.skydns.test."), "10.0.0.1", "at any depth");
    assert_eq!(addresses(&site, "*.apps.skydns.test."), "10.0.0.1");
    assert_eq!(addresses(&site, "real.apps.skydns.test."), "10.0.0.2");
    assert_eq!(
        addresses(&site, "x.real.apps.skydns.test."),
        "NXDOMAIN",
        "the closest encloser has no wildcard"
    );
    assert_eq!(addresses(&site, "under.apps.skydns.test."), "NODATA", "an empty name exists");
    assert_eq!(addresses(&site, "x.under.apps.skydns.test."), "NXDOMAIN");
    assert_eq!(addresses(&site, "apps.skydns.test."), "NODATA", "a wildcard is not below itself");
    assert_eq!(addresses(&site, "x.pool.skydns.test."), "10.0.0.4");
    assert_eq!(addresses(&site, "pool.skydns.test."), "NODATA", "a wildcard is no host of the pool");
    assert_eq!(addresses(&site, "x.middle.skydns.test."), "10.0.0.5", "the leaf below the wildcard");
    let srv = lines(&site.ask("x.apps.skydns.test.", RecordType::SRV).answers);
    assert_eq!(srv, ["x.apps.skydns.test. 3600 SRV 10 100 80 x.apps.skydns.test."]);
    let txt = |asked: &str| site.ask(asked, RecordType::TXT).answers.len();
    assert_eq!((txt("nope.skydns.test."), txt("skydns.test.")), (1, 0));
    assert_eq!(site.ask("skydns.test.", RecordType::NS).answers.len(), 0, "no name server by a wildcard");
    assert_eq!(txt("dns.skydns.test."), 1);
    site.served.zones.first_mut().local = Some(name("real.apps.skydns.test."));
    assert_eq!(site.ask("dns.skydns.test.", RecordType::TXT).answers.len(), 0, "now that name exists");
    assert_eq!(site.ask("x.dns.skydns.test.", RecordType::TXT).rcode, ResponseCode::NXDomain);
    assert_eq!(addresses(&site, "local.dns.skydns.test."), "10.0.0.2");
}

#[test]
fn an_app_called_dns_is_no_name_server() {
    let mut site = site(&[
        ("1a.dns.skydns.test.", r#"{"host":"10.0.0.1","targetstrip":1}"#),
        ("ns2.dns.skydns.test.", r#"{"host":"10.0.0.2"}"#),
        ("2b.ns.dns.skydns.test.", r#"{"host":"10.0.0.3","targetstrip":1}"#),
        ("x.ns.dns.skydns.test.", r#"{"host":"10.0.0.4"}"#),
    ]);
    assert_eq!(addresses(&site, "dns.skydns.test."), "10.0.0.1 10.0.0.2");
    let servers = |site: &SiteFixture| -> Vec<String> {
        site.ask("skydns.test.", RecordType::NS)
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect()
    };
    assert_eq!(servers(&site), ["ns.dns.skydns.test.", "x.ns.dns.skydns.test.", "ns2.dns.skydns.test."]);
    site.served.zones.first_mut().mode = Mode::Subtree;
    assert_eq!(servers(&site).len(), 4, "as in SkyDNS");
}

#[test]
fn groups_and_chains_are_as_ever() {
    let site = site(&[
        ("a.svc.skydns.test.", r#"{"host":"10.0.0.1","group":"blue"}"#),
        ("b.svc.skydns.test.", r#"{"host":"10.0.0.2","group":"blue"}"#),
        ("c.svc.skydns.test.", r#"{"host":"10.0.0.3"}"#),
        ("x.d.svc.skydns.test.", r#"{"host":"10.0.0.4","group":"green","targetstrip":2}"#),
        ("px.skydns.test.", r#"{"host":"svc.skydns.test"}"#),
        ("kid.px.skydns.test.", r#"{"host":"10.0.0.9","targetstrip":0}"#),
        ("1a.alias.skydns.test.", r#"{"host":"svc.skydns.test","targetstrip":1}"#),
        ("2b.kid.alias.skydns.test.", r#"{"host":"10.0.0.8","targetstrip":1}"#),
    ]);
    assert_eq!(addresses(&site, "svc.skydns.test."), "10.0.0.1 10.0.0.2 10.0.0.3");
    assert_eq!(
        addresses(&site, "alias.skydns.test."),
        "svc.skydns.test. 10.0.0.1 10.0.0.2 10.0.0.3",
        "a CNAME beside a name below it"
    );
    assert_eq!(addresses(&site, "kid.alias.skydns.test."), "10.0.0.8");
}

#[test]
fn a_zone_below_is_not_covered_by_a_wildcard_above_it() {
    let mut site =
        site(&[("*.skydns.test.", r#"{"host":"10.0.0.1"}"#), ("a.b.skydns.test.", r#"{"host":"10.0.0.2"}"#)]);
    let mut zones: Vec<_> =
        ["skydns.test.", "b.skydns.test.", "y.z.skydns.test."].map(|apex| Zone::new(&name(apex))).into();
    zones.iter_mut().for_each(|zone| zone.mode = Mode::Exact);
    let first = zones.remove(0);
    site.served.zones = Zones::new(first, zones);
    assert_eq!(addresses(&site, "x.skydns.test."), "10.0.0.1");
    assert_eq!(addresses(&site, "a.b.skydns.test."), "10.0.0.2");
    assert_eq!(addresses(&site, "x.b.skydns.test."), "NXDOMAIN");
    assert_eq!(addresses(&site, "z.skydns.test."), "NODATA", "it leads to a zone");
    assert_eq!(addresses(&site, "x.z.skydns.test."), "NXDOMAIN");
}
