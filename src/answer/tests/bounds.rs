//! What an answer may cost, whatever the store holds.

use super::*;

/// What became of a question over UDP: too costly, too large, and the number of records.
fn costs(site: &SiteFixture, asked: &str, rtype: RecordType) -> (bool, bool, usize) {
    let answer = site.ask(asked, rtype);
    (answer.too_costly, answer.too_large, answer.answers.len())
}

#[test]
fn an_answer_ends_when_its_work_is_spent() {
    let mut services: Vec<(String, String)> = (0..30_000)
        .map(|n| (format!("i{n}.s{}.r{}.skydns.test.", n / 10, n % 10), r#"{"host":"10.0.0.1"}"#.to_owned()))
        .collect();
    // Each name of the first half leads to all names below `s0.r0`, and those of the second half to nothing.
    services.extend((0..200).map(|n| {
        let host = if n < 100 { "s0.r0.skydns.test".to_owned() } else { format!("no{n}.r0.skydns.test") };
        (format!("i{n}.wide.skydns.test."), format!("{{\"host\":\"{host}\",\"port\":{}}}", n + 1))
    }));
    let services: Vec<_> = services.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let site = SiteFixture { work: WORK_OF_ANSWER, ..SiteFixture::new(&services) };
    let answer = |name: &str, rtype| costs(&site, name, rtype);
    assert_eq!(answer("none.*.*.*.skydns.test.", RecordType::A), (true, true, 0));
    assert_eq!(answer("i7.*.*.skydns.test.", RecordType::TXT), (false, false, 0));
    assert_eq!(answer("i7.*.r7.skydns.test.", RecordType::A), (false, false, 1));
    // The addresses of 100 targets are read once each.
    assert_eq!(answer("*.wide.skydns.test.", RecordType::SRV), (false, false, 200));
}

#[test]
fn any_number_of_services_at_one_reverse_name_is_charged() {
    const AT: &str = "1.0.0.10.in-addr.arpa.";
    let mut site = SiteFixture { work: WORK_OF_ANSWER, ..SiteFixture::new(&[]) };
    let mut put = |count: usize, different: usize| {
        let host = |n| format!(r#"{{"host":"h{}.example.org"}}"#, n % different);
        let service = |n| Service::from_json(host(n).as_bytes()).expect("a service");
        let entries = (0..count).map(|n| Entry::new(service(n))).collect();
        site.tree.set(&Key::from_name(&name(AT)), Layer(1), entries);
        [RecordType::PTR, RecordType::A].map(|rtype| costs(&site, AT, rtype))
    };
    assert_eq!(put(3_000, 20), [(false, false, 20), (false, false, 0)]);
    // More than a reply holds.
    assert_eq!(put(4_500, 4_500), [(false, true, 0), (false, false, 0)]);
    assert_eq!(put(6_000, 20), [(true, true, 0); 2]);
}

#[test]
fn any_number_of_name_servers_is_charged() {
    let servers = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("s{n}.dns.skydns.test.")).collect();
        let services: Vec<_> = names.iter().map(|name| (name.as_str(), r#"{"host":"10.0.0.1"}"#)).collect();
        costs(
            &SiteFixture { work: WORK_OF_ANSWER, ..SiteFixture::new(&services) },
            "skydns.test.",
            RecordType::NS,
        )
    };
    assert_eq!(servers(200), (false, false, 200));
    assert_eq!(servers(4_000), (true, true, 0));
}

#[test]
fn addresses_of_targets_take_no_answer_away() {
    let mut services: Vec<(String, String)> = (0..30_000)
        .map(|n| (format!("i{n}.d{}.skydns.test.", n % 3), r#"{"host":"10.0.0.1"}"#.to_owned()))
        .collect();
    services.push(("last.skydns.test.".to_owned(), r#"{"host":"10.0.0.2"}"#.to_owned()));
    services.extend(["d0", "d1", "d2", "last"].into_iter().enumerate().map(|(n, host)| {
        let host = format!(r#"{{"host":"{host}.skydns.test","mail":true,"port":{}}}"#, n + 1);
        (format!("i{n}.wide.skydns.test."), host)
    }));
    let services: Vec<_> = services.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let site = SiteFixture { work: WORK_OF_ANSWER, ..SiteFixture::new(&services) };
    for rtype in [RecordType::SRV, RecordType::MX] {
        assert_eq!(costs(&site, "wide.skydns.test.", rtype), (false, false, 4), "{rtype}");
    }
    // A thread that may do less leaves the answer to another one.
    let site = SiteFixture { work: WORK_OF_ANSWER / 10, ..site };
    assert_eq!(costs(&site, "wide.skydns.test.", RecordType::SRV), (true, true, 0));
}
