//! Every example of SkyDNS's README, asked with `dig`.

mod support;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};
use support::upstream::{Upstream, add, failure, reply_to};
use support::{Agent, Setup};

/// The services of the chapter "Service Discovery via the DNS".
fn rails() -> Setup {
    Setup::new()
        .record(
            "/skydns/local/skydns/east/production/rails/1",
            r#"{"host":"service1.example.com","port":8080}"#,
        )
        .record(
            "/skydns/local/skydns/west/production/rails/2",
            r#"{"host":"service2.example.com","port":8080}"#,
        )
        .record("/skydns/local/skydns/east/staging/rails/4", r#"{"host":"10.0.1.125","port":8080}"#)
        .record("/skydns/local/skydns/east/staging/rails/6", r#"{"host":"2003::8:1","port":8080}"#)
        .args(&["-round-robin=false"])
}

/// The records of one section as dig prints them, with single blanks, sorted.
fn section(agent: &Agent, section: &str, args: &[&str]) -> Vec<String> {
    let text = agent.dig(&[&["+noall", section], args].concat());
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with(';') && !line.is_empty())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    lines
}

fn answer(agent: &Agent, args: &[&str]) -> Vec<String> {
    section(agent, "+answer", args)
}

fn additional(agent: &Agent, args: &[&str]) -> Vec<String> {
    section(agent, "+additional", args)
}

#[test]
fn one_name() {
    let agent = rails().start();
    assert_eq!(
        answer(&agent, &["SRV", "1.rails.production.east.skydns.local"]),
        ["1.rails.production.east.skydns.local. 3600 IN SRV 10 100 8080 service1.example.com."]
    );
}

#[test]
fn a_region() {
    let agent = rails().start();
    for name in ["east.skydns.local", "*.east.skydns.local", "any.east.skydns.local"] {
        assert_eq!(
            answer(&agent, &["SRV", name]),
            [
                format!("{name}. 3600 IN SRV 10 33 8080 4.rails.staging.east.skydns.local."),
                format!("{name}. 3600 IN SRV 10 33 8080 6.rails.staging.east.skydns.local."),
                format!("{name}. 3600 IN SRV 10 33 8080 service1.example.com."),
            ]
        );
        assert_eq!(
            additional(&agent, &["SRV", name]),
            [
                "4.rails.staging.east.skydns.local. 3600 IN A 10.0.1.125",
                "6.rails.staging.east.skydns.local. 3600 IN AAAA 2003::8:1",
            ]
        );
    }
}

#[test]
fn wildcards_in_each_position() {
    let agent = rails().start();
    let targets = |name: &str| -> Vec<String> {
        let lines = answer(&agent, &["SRV", name]);
        lines.iter().map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned()).collect()
    };
    let staging = ["4.rails.staging.east.skydns.local.", "6.rails.staging.east.skydns.local."];
    let production = ["service1.example.com.", "service2.example.com."];
    for name in ["staging.*.skydns.local", "staging.any.skydns.local", "*.staging.east.skydns.local"] {
        assert_eq!(targets(name), staging, "{name}");
    }
    for name in
        ["production.*.skydns.local", "rails.production.*.skydns.local", "*.production.*.skydns.local"]
    {
        assert_eq!(targets(name), production, "{name}");
    }
    assert_eq!(targets("*.rails.*.east.skydns.local"), [&staging[..], &production[..1]].concat());
    assert_eq!(targets("2.*.*.west.skydns.local"), ["service2.example.com."]);
    assert_eq!(targets("*.skydns.local").len(), 4);
    assert_eq!(targets("*.nothing.skydns.local"), [""; 0]);
}

#[test]
fn addresses_of_a_subtree() {
    let agent = rails().start();
    assert_eq!(
        answer(&agent, &["staging.east.skydns.local", "A"]),
        ["staging.east.skydns.local. 3600 IN A 10.0.1.125"]
    );
    assert_eq!(
        answer(&agent, &["staging.east.skydns.local", "AAAA"]),
        ["staging.east.skydns.local. 3600 IN AAAA 2003::8:1"]
    );
    assert_eq!(agent.short(&["4.rails.staging.east.skydns.local", "A"]), ["10.0.1.125"]);
    assert_eq!(agent.short(&["4.rails.staging.east.skydns.local", "AAAA"]), [""; 0]);
}

#[test]
fn weights_are_shares() {
    let pool = |weights: [u32; 3]| {
        let names = ["a", "b", "c"].iter().zip(weights);
        let setup = names.fold(Setup::new(), |setup, (name, weight)| {
            let value = format!("{{\"host\":\"{name}.example.com\",\"weight\":{weight}}}");
            setup.record(&format!("/skydns/local/skydns/pool/{name}"), &value)
        });
        setup.start().short(&["pool.skydns.local", "SRV"])
    };
    assert_eq!(
        pool([100, 100, 100]),
        ["10 33 0 a.example.com.", "10 33 0 b.example.com.", "10 33 0 c.example.com."]
    );
    assert_eq!(
        pool([120, 100, 130]),
        ["10 28 0 b.example.com.", "10 34 0 a.example.com.", "10 37 0 c.example.com."]
    );
}

#[test]
fn targets_are_stripped() {
    let agent = Setup::new()
        .record(
            "/skydns/local/skydns/east/staging/rails/4",
            r#"{"host":"10.0.1.125","port":8080,"TargetStrip":2}"#,
        )
        .start();
    let name = "4.rails.staging.east.skydns.local";
    assert_eq!(agent.short(&[name, "SRV"]), ["10 100 8080 staging.east.skydns.local."]);
    assert_eq!(additional(&agent, &[name, "SRV"]), ["staging.east.skydns.local. 3600 IN A 10.0.1.125"]);
}

#[test]
fn a_chain_inside_the_domain() {
    let agent = Setup::new()
        .record(
            "/skydns/local/skydns/east/production/rails/1",
            r#"{"host":"service1.skydns.local","port":8080}"#,
        )
        .record("/skydns/local/skydns/service1", r#"{"host":"10.0.2.15","port":8080}"#)
        .start();
    assert_eq!(
        answer(&agent, &["1.rails.production.east.skydns.local", "A"]),
        [
            "1.rails.production.east.skydns.local. 3600 IN CNAME service1.skydns.local.",
            "service1.skydns.local. 3600 IN A 10.0.2.15",
        ]
    );
    assert_eq!(agent.short(&["1.rails.production.east.skydns.local", "CNAME"]), ["service1.skydns.local."]);
}

#[test]
fn a_chain_that_ends_outside() {
    let upstream = Upstream::start(|query, _| {
        if query.queries[0].name().to_ascii() != "www.miek.nl." {
            return Some(failure(query, ResponseCode::NXDomain));
        }
        let mut reply = reply_to(query);
        let target = Name::from_ascii("a.miek.nl.").expect("a name");
        add(&mut reply, 700, RData::CNAME(rdata::CNAME(target.clone())));
        if query.queries[0].query_type() == RecordType::A {
            let address = RData::A(rdata::A([176, 58, 119, 54].into()));
            reply.add_answer(Record::from_rdata(target, 600, address));
        }
        Some(reply)
    });
    let agent = Setup::new()
        .record("/skydns/local/skydns/east/production/rails/1", r#"{"host":"www.miek.nl","port":8080}"#)
        .args(&["-nameservers", &upstream.address.to_string()])
        .start();
    let name = "1.rails.production.east.skydns.local";
    let text = agent.dig(&["+noall", "+answer", name, "A"]);
    let lines: Vec<_> = text
        .lines()
        .filter(|l| !l.starts_with(';'))
        .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "1.rails.production.east.skydns.local. 3600 IN CNAME www.miek.nl.",
            "www.miek.nl. 700 IN CNAME a.miek.nl.",
            "a.miek.nl. 600 IN A 176.58.119.54",
        ]
    );
    assert_eq!(agent.short(&[name, "SRV"]), ["10 100 8080 www.miek.nl."]);
    assert_eq!(additional(&agent, &[name, "SRV"]).len(), 2);
}

#[test]
fn mail_and_text() {
    let agent = Setup::new()
        .record("/skydns/local/skydns/mail/a", r#"{"host":"10.0.0.25","priority":50,"mail":true}"#)
        .record("/skydns/local/skydns/mail/b", r#"{"host":"10.0.0.26","text":"no mail here"}"#)
        .start();
    assert_eq!(agent.short(&["mail.skydns.local", "MX"]), ["50 a.mail.skydns.local."]);
    assert_eq!(
        additional(&agent, &["mail.skydns.local", "MX"]),
        ["a.mail.skydns.local. 3600 IN A 10.0.0.25"]
    );
    assert_eq!(agent.short(&["mail.skydns.local", "TXT"]), ["\"no mail here\""]);
}

#[test]
fn name_servers() {
    let agent = Setup::new().record("/skydns/local/skydns/dns/ns", r#"{"host":"172.16.0.1"}"#).start();
    assert_eq!(answer(&agent, &["NS", "skydns.local"]), ["skydns.local. 3600 IN NS ns.dns.skydns.local."]);
    assert_eq!(additional(&agent, &["NS", "skydns.local"]), ["ns.dns.skydns.local. 3600 IN A 172.16.0.1"]);
    assert_eq!(agent.short(&["ns.dns.skydns.local", "A"]), ["172.16.0.1"]);
}

#[test]
fn reverse_addresses() {
    let six = "/skydns/arpa/ip6/3/0/0/2/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/8/0/0/0/1";
    let agent = Setup::new()
        .record("/skydns/arpa/in-addr/10/0/1/125", r#"{"host":"service1.example.com"}"#)
        .record(six, r#"{"host":"service6.example.com"}"#)
        .start();
    assert_eq!(agent.short(&["-x", "10.0.1.125"]), ["service1.example.com."]);
    let six_name = format!("{}.ip6.arpa", six.rsplit('/').take(32).collect::<Vec<_>>().join("."));
    assert_eq!(agent.short(&[&six_name, "PTR"]), ["service6.example.com."]);
    let text = agent.dig(&["-x", "10.0.1.125"]);
    assert!(text.contains("flags: qr rd ra;"), "AA is off:\n{text}");
    assert!(agent.dig(&["-x", "10.0.1.126"]).contains("status: SERVFAIL"), "nowhere to forward to");
}

#[test]
fn host_local_values() {
    let record =
        |setup: Setup| setup.record("/skydns/local/skydns/addresses/public", r#"{"host":"192.0.2.1"}"#);
    let agent = record(Setup::new().args(&["-local", "public.addresses.skydns.local"])).start();
    assert_eq!(
        answer(&agent, &["local.dns.skydns.local", "A"]),
        ["local.dns.skydns.local. 3600 IN A 192.0.2.1"]
    );
    let hostname = support::run(&mut std::process::Command::new("hostname")).trim().to_lowercase();
    let path = hostname.split('.').rev().collect::<Vec<_>>().join("/");
    let agent = Setup::new()
        .record(&format!("/skydns/local/skydns/hosts/{path}"), r#"{"host":"192.0.2.2"}"#)
        .record("/skydns/config", r#"{"local":"{hostname}.hosts.skydns.local"}"#)
        .start();
    assert_eq!(agent.short(&["local.dns.skydns.local", "A"]), ["192.0.2.2"]);
    let agent = record(Setup::new().variable("SKYDNS_LOCAL", "PUBLIC.addresses.skydns.local")).start();
    assert_eq!(agent.short(&["local.dns.skydns.local", "A"]), ["192.0.2.1"]);
}

#[test]
fn an_address_pool_with_round_robin() {
    let agent = (1..4)
        .fold(Setup::new(), |setup, n| {
            setup.record(&format!("/skydns/local/skydns/db/x{n}"), &format!("{{\"Host\": \"127.0.0.{n}\"}}"))
        })
        .start();
    let mut first = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let text = agent.dig(&["+short", "db.skydns.local"]);
        let lines: Vec<_> = text.lines().filter(|l| !l.starts_with(';')).map(str::to_owned).collect();
        assert_eq!(lines.len(), 3);
        first.insert(lines[0].clone());
    }
    assert_eq!(first.len(), 3, "each comes first at times");
}
