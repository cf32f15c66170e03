//! The order of records with and without `round_robin`.

use super::*;

#[test]
fn round_robin_gives_every_order_equally_often() {
    let mut site = SiteFixture::new(&[
        ("a.p.skydns.test.", r#"{"host":"10.0.0.1"}"#),
        ("b.p.skydns.test.", r#"{"host":"10.0.0.2"}"#),
        ("c.p.skydns.test.", r#"{"host":"10.0.0.3"}"#),
    ]);
    let orders = |site: &mut SiteFixture| {
        let mut orders = BTreeMap::<Vec<String>, u32>::new();
        for seed in 0..6_000 {
            site.seed = seed;
            let answer = site.ask("p.skydns.test.", RecordType::A);
            *orders.entry(lines(&answer.answers)).or_default() += 1;
        }
        orders
    };
    assert_eq!(orders(&mut site).len(), 1, "off: always key order");
    site.served.round_robin = true;
    let orders = orders(&mut site);
    assert_eq!(orders.len(), 6);
    // 1000 are expected of each, with a standard deviation of 29.
    assert!(orders.values().all(|count| (850..1150).contains(count)), "{orders:?}");
}

#[test]
fn round_robin_gives_every_order_of_every_set_but_pointers() {
    let mut site = SiteFixture::new(&[
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
    let orders = |site: &mut SiteFixture, asked: &str, rtype, of: fn(Answer) -> Vec<Record>| {
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
        site.served.round_robin = false;
        assert_eq!(orders(&mut site, asked, rtype, of).len(), 1, "{rtype}: key order");
        site.served.round_robin = true;
        let orders = orders(&mut site, asked, rtype, of);
        assert_eq!(orders.len(), 6, "{rtype}");
        // 500 are expected of each, with a standard deviation of 20.
        assert!(orders.values().all(|count| (400..600).contains(count)), "{rtype} {orders:?}");
    }
    let pointers = orders(&mut site, "1.0.0.10.in-addr.arpa.", RecordType::PTR, answers);
    assert_eq!(pointers.len(), 1);
    assert_eq!(pointers.keys().next().map(Vec::len), Some(2), "both spellings are served");
}
