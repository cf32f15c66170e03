//! Several zones: side by side, below each other, signed and not, as they come and go.

mod support;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};
use std::process::Command;
use support::etcd::Etcd;
use support::judge::{KeyRing, Unbound, delv, dnssec_query, dnsviz_of, ds};
use support::upstream::{Upstream, add, reply_to};
use support::{Agent, Setup, ask, error_of, eventually};

/// The owner of the SOA of a denial.
fn soa(answer: &Message) -> String {
    let soa = answer.authorities.iter().find(|record| record.record_type() == RecordType::SOA);
    soa.map_or_else(String::new, |soa| soa.name.to_ascii())
}

fn serial(agent: &Agent, zone: &str) -> u32 {
    match &agent.ask(zone, RecordType::SOA).answers[0].data {
        RData::SOA(soa) => soa.serial,
        other => panic!("no SOA: {other}"),
    }
}

/// A zone with a signed one and an unsigned one below it, and another one beside it.
fn signed(keys: &KeyRing, args: &[&str]) -> Agent {
    let domains = "skydns.local,sub.skydns.local,plain.skydns.local,site.example";
    Setup::new()
        .args(&["-domain", domains, "-dnssec", &keys.path().display().to_string()])
        .args(args)
        .record("/skydns/local/skydns/dns/ns/a", r#"{"host":"10.0.0.53"}"#)
        .record("/skydns/local/skydns/web", r#"{"host":"10.0.0.1"}"#)
        .record("/skydns/local/skydns/to-sub", r#"{"host":"web.sub.skydns.local"}"#)
        .record("/skydns/local/skydns/to-none", r#"{"host":"nope.sub.skydns.local"}"#)
        .record("/skydns/local/skydns/to-site", r#"{"host":"web.site.example"}"#)
        .record("/skydns/local/skydns/flat/a", r#"{"host":"10.0.0.2"}"#)
        .record("/skydns/local/skydns/flat/b", r#"{"host":"web.sub.skydns.local"}"#)
        .record("/skydns/local/skydns/sub/dns/ns/a", r#"{"host":"10.0.0.53"}"#)
        .record("/skydns/local/skydns/sub/web", r#"{"host":"10.0.1.1"}"#)
        .record("/skydns/local/skydns/plain/web", r#"{"host":"10.0.2.1"}"#)
        .record("/skydns/example/site/web", r#"{"host":"10.0.3.1"}"#)
        .start()
}

#[test]
fn a_signed_zone_below_a_signed_one_is_believed() {
    let keys = KeyRing::new();
    let (parent, child) = (keys.own(&[]), keys.own_for("sub.skydns.local", &["-a", "ED25519"]));
    keys.own_for("not.ours.example", &[]);
    let anchors = ds(&[&parent]);
    for denial in ["nsec3", "compact"] {
        let agent = signed(&keys, &["-denial", denial]);
        assert!(agent.log().contains("keys of not.ours.example. are not used"), "{}", agent.log());
        let unbound = Unbound::start_for(
            &["skydns.local", "sub.skydns.local", "plain.skydns.local"],
            agent.address(),
            &anchors,
            "qname-minimisation: yes",
        );
        for (asked, rtype, expected) in [
            ("web.skydns.local.", RecordType::A, 1),
            ("web.sub.skydns.local.", RecordType::A, 1),
            ("to-sub.skydns.local.", RecordType::A, 2),
            ("flat.skydns.local.", RecordType::A, 2),
            ("sub.skydns.local.", RecordType::SOA, 1),
            ("sub.skydns.local.", RecordType::NS, 1),
            ("sub.skydns.local.", RecordType::DNSKEY, 1),
            ("sub.skydns.local.", RecordType::DS, 2),
            ("sub.skydns.local.", RecordType::MX, 0),
            ("plain.skydns.local.", RecordType::DS, 0),
        ] {
            let answer = unbound.believes(asked, rtype);
            let of_type = |record: &&hickory_proto::rr::Record| record.record_type() != RecordType::RRSIG;
            assert_eq!(answer.answers.iter().filter(of_type).count(), expected, "{asked} {rtype}\n{answer}");
        }
        for asked in ["nope.skydns.local.", "nope.sub.skydns.local.", "to-none.skydns.local."] {
            let answer = unbound.believes(asked, RecordType::A);
            // Compact denial says that the name has no data.
            let rcode = if denial == "nsec3" { ResponseCode::NXDomain } else { ResponseCode::NoError };
            assert_eq!(answer.metadata.response_code, rcode, "{denial}: {asked}");
        }
        // Below the cut without DS records nothing is signed, and that is proven.
        for (asked, rcode) in [
            ("web.plain.skydns.local.", ResponseCode::NoError),
            ("nope.plain.skydns.local.", ResponseCode::NXDomain),
        ] {
            let answer = unbound.ask(asked, RecordType::A);
            assert_eq!((answer.metadata.response_code, answer.metadata.authentic_data), (rcode, false));
        }
        for (asked, rtype, expected) in [
            ("web.sub.skydns.local.", "A", "; fully validated"),
            ("to-sub.skydns.local.", "A", "; fully validated"),
            ("sub.skydns.local.", "DS", "; fully validated"),
            ("nope.sub.skydns.local.", "A", "; negative response, fully validated"),
            ("plain.skydns.local.", "DS", "; negative response, fully validated"),
            ("web.plain.skydns.local.", "A", "; unsigned answer"),
        ] {
            let said = delv(agent.address(), &anchors, asked, rtype);
            assert!(said.lines().any(|line| line == expected), "{denial}: {asked} {rtype}\n{said}");
        }
        // The DS records are those that the keys ask for, and are signed by the zone above alone.
        let asked = ask(agent.address(), &dnssec_query("sub.skydns.local.", RecordType::DS));
        let text: Vec<_> = asked.answers.iter().map(ToString::to_string).collect();
        assert!(text.len() == 3, "{text:?}");
        assert!(ds(&[&child]).split_whitespace().nth(3).is_some_and(|tag| tag.parse::<u16>().is_ok()));
    }
}

#[test]
fn dnsviz_finds_no_fault_in_a_zone_below_another() {
    let keys = KeyRing::new();
    let key = keys.own(&[]);
    keys.own_for("sub.skydns.local", &[]);
    let agent = signed(&keys, &[]);
    let names = ["web.skydns.local", "sub.skydns.local", "web.sub.skydns.local", "nope.sub.skydns.local"];
    let zones = ["skydns.local", "sub.skydns.local"];
    let said = dnsviz_of(&zones, agent.address(), &key, &names.map(str::to_owned), "A,AAAA,NS,SOA,DNSKEY,DS");
    let doubts: Vec<_> =
        said.lines().filter(|line| ["E:", "W:"].iter().any(|sign| line.contains(sign))).collect();
    assert!(doubts.is_empty() && said.contains("[.]"), "{doubts:#?}\n{said}");
}

#[test]
fn each_zone_denies_for_itself_and_reverse_zones_are_given_by_prefixes() {
    let agent = Setup::new()
        .args(&["-domain", "skydns.local,site.example,a.site.example,172.16.0.0/12,2001:db8::/32"])
        .args(&["-zones", r#"{"site.example": {"ttl": 77, "min_ttl": 7, "hostmaster": "me@site.example"}}"#])
        .record("/skydns/local/skydns/web", r#"{"host":"web.a.site.example"}"#)
        .record("/skydns/example/site/a/web", r#"{"host":"10.0.0.1"}"#)
        .record("/skydns/example/site/b", r#"{"host":"10.0.0.2"}"#)
        .record("/skydns/arpa/in-addr/172/17/0/5", r#"{"host":"b.site.example"}"#)
        .start();
    assert_eq!(agent.short(&["web.skydns.local", "A"]), ["10.0.0.1", "web.a.site.example."]);
    assert_eq!(agent.short(&["-x", "172.17.0.5"]), ["b.site.example."]);
    let denied = agent.ask("nope.site.example.", RecordType::A);
    assert_eq!(
        denied.authorities[0].to_string().split_whitespace().collect::<Vec<_>>()[..6],
        ["site.example.", "7", "IN", "SOA", "ns.dns.site.example.", "me.site.example."]
    );
    assert_eq!(agent.ask("b.site.example.", RecordType::A).answers[0].ttl, 77);
    for (asked, zone) in [
        ("nope.skydns.local.", "skydns.local."),
        ("nope.a.site.example.", "a.site.example."),
        ("9.9.9.16.172.in-addr.arpa.", "16.172.in-addr.arpa."),
        ("1.31.172.in-addr.arpa.", "31.172.in-addr.arpa."),
        ("f.8.b.d.0.1.0.0.2.ip6.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa."),
    ] {
        let answer = agent.ask(asked, RecordType::PTR);
        assert_eq!(
            (answer.metadata.response_code, soa(&answer)),
            (ResponseCode::NXDomain, zone.to_owned()),
            "{asked}"
        );
        assert!(answer.metadata.authoritative, "{asked}");
    }
    let elsewhere = agent.ask("1.0.32.172.in-addr.arpa.", RecordType::PTR);
    assert_eq!(
        elsewhere.metadata.response_code,
        ResponseCode::ServFail,
        "not ours, and there is no upstream"
    );
}

#[test]
fn zones_come_and_go_with_the_store() {
    let etcd = Etcd::start();
    etcd.put_all([
        ("/skydns/local/skydns/web", r#"{"host":"10.0.0.1"}"#),
        ("/skydns/example/site/web", r#"{"host":"10.0.0.2"}"#),
    ]);
    let agent = Setup::new().args(&["-machines", &etcd.endpoint()]).start();
    eventually("synced", || agent.short(&["web.skydns.local"]) == ["10.0.0.1"]);
    assert!(agent.short(&["web.site.example"]).is_empty());
    let serial_before = serial(&agent, "skydns.local.");
    etcd.put(
        "/skydns/config",
        r#"{"domain": ["skydns.local", "site.example"], "zones": {"site.example": {"ttl": 5}}}"#,
    );
    eventually("the zone is there", || agent.short(&["web.site.example"]) == ["10.0.0.2"]);
    assert_eq!(agent.ask("web.site.example.", RecordType::A).answers[0].ttl, 5);
    assert!(serial(&agent, "site.example.") >= serial_before);
    // A change of one zone is none of the other.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    etcd.put("/skydns/example/site/new", r#"{"host":"10.0.0.3"}"#);
    eventually("the change is there", || agent.short(&["new.site.example"]) == ["10.0.0.3"]);
    assert!(serial(&agent, "site.example.") > serial_before);
    assert_eq!(serial(&agent, "skydns.local."), serial_before);
    // What cannot be used costs itself.
    etcd.put(
        "/skydns/config",
        r#"{"domain": "skydns.local,site.example", "zones": {"site.example": {"ttl": "x", "min_ttl": 9, "colour": 1},
            "skydns.local": {"ttl": 8}}}"#,
    );
    eventually("the good ones are used", || {
        agent.ask("web.skydns.local.", RecordType::A).answers[0].ttl == 8
    });
    assert_eq!(agent.ask("web.site.example.", RecordType::A).answers[0].ttl, 5, "the last good one stays");
    assert!(agent.log().contains("zone site.example: field \"colour\": no setting of a zone has this name"));
    etcd.put("/skydns/config", "{}");
    eventually("the zone is gone", || agent.short(&["web.site.example"]).is_empty());
    assert_eq!(agent.short(&["web.skydns.local"]), ["10.0.0.1"]);
}

#[test]
fn a_zone_that_falls_through_asks_the_sites_other_dns() {
    let name = |text: &str| Name::from_ascii(text).expect("a name");
    let upstream = Upstream::start(move |query, _| {
        let mut reply = reply_to(query);
        reply.metadata.authoritative = true;
        match query.queries[0].name().to_ascii().as_str() {
            "old.skydns.local." => add(&mut reply, 60, RData::A(rdata::A([10, 9, 0, 1].into()))),
            _ => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                let soa =
                    rdata::SOA::new(name("ns.skydns.local."), name("h.skydns.local."), 1, 60, 60, 60, 60);
                reply.add_authority(Record::from_rdata(name("skydns.local."), 60, RData::SOA(soa)));
            }
        }
        // What nobody asked for, of names that are ours.
        let ns = RData::NS(rdata::NS(name("web.skydns.local.")));
        reply.add_authority(Record::from_rdata(name("skydns.local."), 60, ns));
        let address = RData::A(rdata::A([203, 0, 113, 78].into()));
        reply.add_additional(Record::from_rdata(name("web.skydns.local."), 60, address));
        Some(reply)
    });
    let start = |args: &[&str]| {
        Setup::new()
            .args(&["-nameservers", &upstream.address.to_string(), "-rebind-protection"])
            .args(args)
            .record("/skydns/local/skydns/web", r#"{"host":"10.0.0.1"}"#)
            .record("/skydns/local/skydns/alias", r#"{"host":"old.skydns.local"}"#)
            .start()
    };
    let agent = start(&["-fallthrough", "all"]);
    assert_eq!(agent.short(&["web.skydns.local"]), ["10.0.0.1"]);
    // The second one comes from the cache.
    for _ in 0..2 {
        let old = agent.ask("old.skydns.local.", RecordType::A);
        assert_eq!((old.answers.len(), old.metadata.authoritative), (1, false));
        assert_eq!((old.authorities.len(), old.additionals.len()), (0, 0), "{old}");
    }
    assert_eq!(agent.short(&["alias.skydns.local"]), ["10.9.0.1", "old.skydns.local."]);
    let nowhere = agent.ask("nowhere.skydns.local.", RecordType::A);
    assert_eq!(
        (nowhere.metadata.response_code, nowhere.metadata.authoritative),
        (ResponseCode::NXDomain, false)
    );
    assert_eq!((soa(&nowhere), nowhere.authorities.len()), ("skydns.local.".to_owned(), 1), "{nowhere}");
    let no_data = agent.ask("web.skydns.local.", RecordType::MX);
    assert_eq!(
        (no_data.metadata.response_code, soa(&no_data)),
        (ResponseCode::NoError, "skydns.local.".to_owned())
    );
    agent.write("local/skydns/old", r#"{"host":"10.0.0.7"}"#);
    eventually("ours counts", || agent.short(&["old.skydns.local"]) == ["10.0.0.7"]);
    // A signed zone denies what it lacks, and says why it does not fall through.
    let keys = KeyRing::new();
    keys.own(&[]);
    let agent = start(&["-fallthrough", "skydns.local", "-dnssec", &keys.path().display().to_string()]);
    assert_eq!(agent.ask("old.skydns.local.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
    let told = "flag -fallthrough: fallthrough of skydns.local.: the zone is signed";
    assert!(agent.log().contains(told), "{}", agent.log());
}

#[test]
fn upstreams_that_lead_back_end_at_what_we_have() {
    let upstream = Upstream::start(|query, _| {
        let mut reply = reply_to(query);
        let name = |text: &str| Name::from_ascii(text).expect("a name");
        let (asked, wants_address) =
            (query.queries[0].name().to_ascii(), query.queries[0].query_type() == RecordType::A);
        match asked.to_ascii_lowercase().as_str() {
            "back.skydns.local." => {
                add(&mut reply, 60, RData::CNAME(rdata::CNAME(name("WEB.skydns.local."))));
                if wants_address {
                    let foreign = RData::A(rdata::A([203, 0, 113, 78].into()));
                    reply.add_answer(Record::from_rdata(name("WEB.skydns.local."), 60, foreign));
                }
            }
            // Of a name that only we have, upstreams know the alias alone.
            "back2.skydns.local." => {
                add(&mut reply, 60, RData::CNAME(rdata::CNAME(name("signed.site.example."))));
                reply.metadata.response_code = ResponseCode::NXDomain;
            }
            "circle.skydns.local." => {
                add(&mut reply, 60, RData::CNAME(rdata::CNAME(name("to.skydns.local."))));
            }
            "away.skydns.local." => {
                add(&mut reply, 60, RData::CNAME(rdata::CNAME(name("later.skydns.local."))));
            }
            _ => reply.metadata.response_code = ResponseCode::NXDomain,
        }
        Some(reply)
    });
    let keys = KeyRing::new();
    keys.own_for("site.example", &[]);
    let agent = Setup::new()
        .args(&["-domain", "skydns.local,site.example", "-fallthrough", "skydns.local"])
        .args(&["-nameservers", &upstream.address.to_string()])
        .args(&["-dnssec", &keys.path().display().to_string()])
        .record("/skydns/local/skydns/web", r#"{"host":"10.0.0.1"}"#)
        .record("/skydns/local/skydns/to", r#"{"host":"circle.skydns.local"}"#)
        .record("/skydns/example/site/signed", r#"{"host":"10.0.0.2"}"#)
        .start();
    let records = |name: &str, rtype| {
        let reply = ask(agent.address(), &dnssec_query(name, rtype));
        assert!(!reply.metadata.authoritative && !reply.metadata.authentic_data);
        let shown = reply.answers.iter().map(|record| match &record.data {
            RData::A(address) => format!("{} {address}", record.name),
            data => format!("{} {}", record.name, data.record_type()),
        });
        (reply.metadata.response_code, shown.collect::<Vec<_>>())
    };
    let good =
        |lines: &[&str]| (ResponseCode::NoError, lines.iter().map(|line| (*line).to_owned()).collect());
    // The second one comes from the cache.
    for _ in 0..3 {
        assert_eq!(
            records("back.skydns.local.", RecordType::A),
            good(&["back.skydns.local. CNAME", "WEB.skydns.local. 10.0.0.1"])
        );
        let chain = good(&[
            "back2.skydns.local. CNAME",
            "signed.site.example. 10.0.0.2",
            "signed.site.example. RRSIG",
        ]);
        assert_eq!(records("back2.skydns.local.", RecordType::A), chain);
        assert_eq!(
            records("back.skydns.local.", RecordType::MX),
            good(&["back.skydns.local. CNAME"]),
            "no data"
        );
        assert_eq!(records("back.skydns.local.", RecordType::CNAME), good(&["back.skydns.local. CNAME"]));
        assert_eq!(records("away.skydns.local.", RecordType::A), good(&["away.skydns.local. CNAME"]));
    }
    assert_eq!(records("circle.skydns.local.", RecordType::A).0, ResponseCode::ServFail);
    agent.write("local/skydns/later", r#"{"host":"10.0.0.3"}"#);
    let there = good(&["away.skydns.local. CNAME", "later.skydns.local. 10.0.0.3"]);
    eventually("the target is ours now", || records("away.skydns.local.", RecordType::A) == there);
}

#[test]
fn what_falls_through_goes_to_the_servers_of_its_stub_zone() {
    let upstream = |last| {
        Upstream::start(move |query, _| {
            let mut reply = reply_to(query);
            add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, last].into())));
            Some(reply)
        })
    };
    let (usual, own) = (upstream(1), upstream(2));
    let server = format!(r#"{{"host":"127.0.0.1","port":{}}}"#, own.address.port());
    let agent = Setup::new()
        .args(&["-nameservers", &usual.address.to_string(), "-stubzones", "-fallthrough", "all"])
        .record("/skydns/local/skydns/web", r#"{"host":"10.0.0.1"}"#)
        .record("/skydns/local/skydns/dns/stub/skydns/local/a", "{}")
        .record("/skydns/local/skydns/dns/stub/local/skydns/a", &server)
        .start();
    assert_eq!(agent.short(&["web.skydns.local"]), ["10.0.0.1"], "ours");
    assert_eq!(agent.short(&["other.skydns.local"]), ["192.0.2.2"]);
    assert_eq!(agent.short(&["www.example.org"]), ["192.0.2.1"]);
}

#[test]
fn a_name_that_takes_much_work_to_miss_falls_through_as_well() {
    let upstream = Upstream::start(move |query, _| {
        let mut reply = reply_to(query);
        let name = Name::from_ascii("old.example.").expect("a name");
        add(&mut reply, 60, RData::PTR(rdata::PTR(name)));
        Some(reply)
    });
    // Wildcards give addresses no names, which takes a look at each of them.
    let args = ["-domain", "skydns.local,10.0.0.0/8", "-auto-ptr", "all", "-fallthrough", "10.in-addr.arpa"];
    let mut setup = Setup::new().args(&args).args(&["-nameservers", &upstream.address.to_string()]);
    for n in 0..2_000 {
        let (key, host) = (format!("/skydns/local/skydns/w{n}/*"), format!("10.0.{}.{}", n / 250, n % 250));
        setup = setup.record(&key, &format!(r#"{{"host":"{host}"}}"#));
    }
    let agent = setup.start();
    // A busy machine reads so many files in more than the second for which a start waits.
    eventually("read", || agent.log().contains("files: in sync"));
    for transport in ["+tcp", "+notcp"] {
        assert_eq!(agent.short(&[transport, "ptr", "0.10.in-addr.arpa"]), ["old.example."], "{transport}");
    }
}

#[test]
fn a_thousand_zones_are_served() {
    let domains: Vec<_> = (0..1_000).map(|n| format!("z{n}.example")).collect();
    let agent = Setup::new()
        .variable("SKYDNS_DOMAIN", &domains.join(","))
        .record("/skydns/example/z7/web", r#"{"host":"10.0.0.7"}"#)
        .record("/skydns/example/z999/web", r#"{"host":"10.0.0.8"}"#)
        .start();
    assert_eq!(agent.short(&["web.z7.example"]), ["10.0.0.7"]);
    assert_eq!(agent.short(&["web.z999.example"]), ["10.0.0.8"]);
    let denied = agent.ask("nope.z500.example.", RecordType::A);
    assert_eq!(
        (denied.metadata.response_code, soa(&denied)),
        (ResponseCode::NXDomain, "z500.example.".to_owned())
    );
    assert_eq!(error_of(&denied), None);
}

#[test]
fn addresses_have_the_names_of_their_services() {
    let keys = KeyRing::new();
    let reverse = keys.own_for("10.in-addr.arpa", &[]);
    let agent = Setup::new()
        .args(&["-domain", "skydns.local,10.0.0.0/8", "-auto-ptr", "all"])
        .args(&["-dnssec", &keys.path().display().to_string()])
        .record("/skydns/local/skydns/east/rails/1", r#"{"host":"10.0.0.1"}"#)
        .record("/skydns/local/skydns/six", r#"{"host":"2001:db8::1"}"#)
        .record("/skydns/local/skydns/public", r#"{"host":"192.0.2.7"}"#)
        .record("/skydns/arpa/in-addr/10/0/0/1", r#"{"host":"hand.made.example"}"#)
        .start();
    assert_eq!(agent.short(&["-x", "10.0.0.1"]), ["1.rails.east.skydns.local.", "hand.made.example."]);
    assert_eq!(agent.short(&["-x", "2001:db8::1"]), ["six.skydns.local."]);
    assert_eq!(agent.short(&["-x", "192.0.2.7"]), ["public.skydns.local."]);
    agent.write("local/skydns/new", r#"{"host":"10.0.0.2"}"#);
    eventually("the new one has a name", || agent.short(&["-x", "10.0.0.2"]) == ["new.skydns.local."]);
    let unbound = Unbound::start_for(
        &["10.in-addr.arpa"],
        agent.address(),
        &ds(&[&reverse]),
        "local-zone: \"10.in-addr.arpa.\" nodefault",
    );
    let believed = unbound.believes("1.0.0.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(believed.answers.iter().filter(|record| record.record_type() == RecordType::PTR).count(), 2);
    unbound.believes("1.0.0.10.in-addr.arpa.", RecordType::A);
    unbound.believes("0.0.10.in-addr.arpa.", RecordType::PTR);
    let denied = unbound.believes("9.0.0.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(denied.metadata.response_code, ResponseCode::NXDomain);
    std::fs::remove_file(agent.records().join("local/skydns/new")).expect("removed");
    eventually("its name is gone", || agent.short(&["-x", "10.0.0.2"]).is_empty());
}

#[test]
fn each_zone_is_counted() {
    let port = support::free_port();
    let host = r#"{"host":"10.0.0.1"}"#;
    let agent = Setup::new()
        .args(&["-domain", "one.example,two.one.example,empty.example", "-no-rec"])
        .variable("PROMETHEUS_PORT", &port.to_string())
        .record("example/one/a", host)
        .record("example/one/two/a", host)
        .record("example/one/two/b", host)
        .start();
    for _ in 0..5 {
        for name in
            ["a.one.example.", "a.two.one.example.", "x.two.one.example.", "b.two.one.example.", "other."]
        {
            agent.ask(name, RecordType::A);
        }
    }
    let url = format!("http://127.0.0.1:{port}/metrics");
    let page = || support::run(Command::new("curl").args(["-s", &url]));
    for (zone, replies, denials, names) in
        [("one.example.", 5, 0, 1), ("two.one.example.", 15, 5, 2), ("empty.example.", 0, 0, 0)]
    {
        for (metric, value) in
            [("replies_total", replies), ("nxdomain_total", denials), ("names", names), ("up", 1)]
        {
            let line = format!("skydns_skydns_zone_{metric}{{zone=\"{zone}\"}} {value}");
            // A reply is counted after it is sent.
            eventually(&line, || page().lines().any(|found| found == line));
        }
    }
}
