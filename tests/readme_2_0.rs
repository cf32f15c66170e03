//! The README of SkyDNS 2.0, played as it is written: etcd with its v2 API on port 4001, services by `curl` and `etcdctl`, and
//! questions by `dig`.

mod support;

use std::process::Command;
use support::etcd::Etcd;
use support::{Agent, Setup, eventually, run};

/// A server at the port of etcd's first years, which agents look for without being told.
fn etcd() -> Etcd {
    let etcd = Etcd::start_at(4001, &["--enable-v2"]);
    assert_eq!(etcd.endpoint(), "http://127.0.0.1:4001");
    etcd
}

/// Runs a line of the README.
fn shell(line: &str) {
    let done = run(Command::new("sh")
        .args(["-ec", line])
        .env("ETCDCTL_API", "2")
        .env("ETCDCTL_ENDPOINTS", "http://127.0.0.1:4001"));
    assert!(!done.contains("errorCode"), "{line}: {done}");
}

/// The records of one section as dig prints them, with single blanks, sorted.
fn section(agent: &Agent, section: &str, args: &[&str]) -> Vec<String> {
    let text = agent.dig(&[&["+noall", section], args].concat());
    let lines = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
    let mut lines: Vec<_> = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines
}

fn answers(agent: &Agent, args: &[&str], expected: &[&str]) {
    eventually(&format!("{args:?}: {expected:?}"), || section(agent, "+answer", args) == expected);
}

#[test]
fn every_example_answers_as_there() {
    let _etcd = etcd();
    shell(
        r#"curl -s -XPUT http://127.0.0.1:4001/v2/keys/skydns/config \
        -d value='{"dns_addr":"127.0.0.1:5354","ttl":3600, "nameservers": ["127.0.0.1:1","127.0.0.1:2"]}'"#,
    );
    // The port of that address.
    let agent = Setup::new().port(5354).args(&["-local", "public.addresses.skydns.local"]).start();
    eventually("v2 is read", || agent.log().contains("etcd-v2: in sync"));
    // Service Announcements.
    shell(
        r#"curl -s -XPUT http://127.0.0.1:4001/v2/keys/skydns/local/skydns/east/production/rails \
        -d value='{"host":"service5.example.com","priority":20}'"#,
    );
    let rails = ["rails.production.east.skydns.local", "SRV"];
    answers(
        &agent,
        &rails,
        &["rails.production.east.skydns.local. 3600 IN SRV 20 100 0 service5.example.com."],
    );
    shell(
        r#"etcdctl set /skydns/local/skydns/east/production/rails \
        '{"host":"service6.example.com","priority":20}'"#,
    );
    answers(
        &agent,
        &rails,
        &["rails.production.east.skydns.local. 3600 IN SRV 20 100 0 service6.example.com."],
    );
    shell("etcdctl rm /skydns/local/skydns/east/production/rails");
    // Service Discovery via the DNS.
    for (key, value) in [
        ("east/production/rails/1", r#"{"host":"service1.example.com","port":8080}"#),
        ("west/production/rails/2", r#"{"host":"service2.example.com","port":8080}"#),
        ("east/staging/rails/4", r#"{"host":"10.0.1.125","port":8080}"#),
        ("east/staging/rails/6", r#"{"host":"2003::8:1","port":8080}"#),
    ] {
        shell(&format!(
            "curl -s -XPUT http://127.0.0.1:4001/v2/keys/skydns/local/skydns/{key} \\\n        -d value='{value}'"
        ));
    }
    answers(
        &agent,
        &["SRV", "1.rails.production.east.skydns.local"],
        &["1.rails.production.east.skydns.local. 3600 IN SRV 10 100 8080 service1.example.com."],
    );
    // Wildcards in queries.
    answers(
        &agent,
        &["SRV", "east.skydns.local"],
        &[
            "east.skydns.local. 3600 IN SRV 10 33 8080 4.rails.staging.east.skydns.local.",
            "east.skydns.local. 3600 IN SRV 10 33 8080 6.rails.staging.east.skydns.local.",
            "east.skydns.local. 3600 IN SRV 10 33 8080 service1.example.com.",
        ],
    );
    let addresses = [
        "4.rails.staging.east.skydns.local. 3600 IN A 10.0.1.125",
        "6.rails.staging.east.skydns.local. 3600 IN AAAA 2003::8:1",
    ];
    assert_eq!(section(&agent, "+additional", &["SRV", "east.skydns.local"]), addresses);
    answers(&agent, &["A", "4.rails.staging.east.skydns.local."], &addresses[..1]);
    assert_eq!(agent.short(&["SRV", "*.east.skydns.local"]).len(), 3);
    assert_eq!(agent.short(&["SRV", "staging.*.skydns.local"]).len(), 2);
    // SRV and A records.
    answers(
        &agent,
        &["staging.east.skydns.local.", "SRV"],
        &[
            "staging.east.skydns.local. 3600 IN SRV 10 50 8080 4.rails.staging.east.skydns.local.",
            "staging.east.skydns.local. 3600 IN SRV 10 50 8080 6.rails.staging.east.skydns.local.",
        ],
    );
    answers(
        &agent,
        &["staging.east.skydns.local.", "A"],
        &["staging.east.skydns.local. 3600 IN A 10.0.1.125"],
    );
    // CNAME records.
    shell(
        r#"curl -s -XPUT http://127.0.0.1:4001/v2/keys/skydns/local/skydns/east/production/rails/1 \
        -d value='{"host":"service1.skydns.local","port":8080}'"#,
    );
    shell(
        r#"curl -s -XPUT http://127.0.0.1:4001/v2/keys/skydns/local/skydns/service1 \
        -d value='{"host":"10.0.2.15","port":8080}'"#,
    );
    answers(
        &agent,
        &["1.rails.production.east.skydns.local", "A"],
        &[
            "1.rails.production.east.skydns.local. 3600 IN CNAME service1.skydns.local.",
            "service1.skydns.local. 3600 IN A 10.0.2.15",
        ],
    );
    // NS records.
    shell(
        r#"curl -s -XPUT http://127.0.0.1:4001/v2/keys/skydns/local/skydns/dns/ns \
        -d value='{"host":"172.16.0.1"}'"#,
    );
    answers(&agent, &["NS", "skydns.local"], &["skydns.local. 3600 IN NS ns.dns.skydns.local."]);
    assert_eq!(
        section(&agent, "+additional", &["NS", "skydns.local"]),
        ["ns.dns.skydns.local. 3600 IN A 172.16.0.1"]
    );
    // PTR records; there a quotation mark is missing in the value.
    shell(
        r#"curl -s -XPUT http://127.0.0.1:4001/v2/keys/skydns/arpa/in-addr/10/0/1/125 \
        -d value='{"host":"service1.example.com"}'"#,
    );
    answers(&agent, &["-x", "10.0.1.125"], &["125.1.0.10.in-addr.arpa. 3600 IN PTR service1.example.com."]);
    // Host local values.
    shell(
        r#"curl -s -XPUT http://127.0.0.1:4001/v2/keys/skydns/local/skydns/addresses/public \
        -d value='{"host":"192.0.2.1"}'"#,
    );
    answers(&agent, &["local.dns.skydns.local.", "A"], &["local.dns.skydns.local. 3600 IN A 192.0.2.1"]);
    // An address pool; the values of the second and third example end too early there, and cost themselves alone.
    for (n, value) in
        [(1, r#"{"Host":"127.0.0.1"}"#), (2, r#"{"Host": "127.0.0.2""#), (3, r#"{"Host": "127.0.0.3"}"#)]
    {
        shell(&format!(
            "curl -s -XPUT http://127.0.0.1:4001/v2/keys/skydns/local/skydns/db/x{n} -d \\\n        value='{value}'"
        ));
    }
    answers(
        &agent,
        &["db.skydns.local", "A"],
        &["db.skydns.local. 3600 IN A 127.0.0.1", "db.skydns.local. 3600 IN A 127.0.0.3"],
    );
    eventually("the fault is told", || agent.log().contains("etcd-v2: /skydns/local/skydns/db/x2: refused"));
}
