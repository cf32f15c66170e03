//! The program with a real etcd.

pub(crate) mod support;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::process::Command;
use std::time::{Duration, Instant};
use support::certificates::Certificates;
use support::etcd::Etcd;
use support::proxy::Proxy;
use support::upstream::{Upstream, failure};
use support::{Agent, Setup, Stream, eventually, free_port, query, run};

fn agent(machines: &str, args: &[&str]) -> Agent {
    let agent = Setup::new().args(&["-machines", machines, "-round-robin=false"]).args(args).start();
    eventually("in sync", || agent.log().contains("in sync"));
    agent
}

fn knows(agent: &Agent, name: &str, data: &[&str]) {
    eventually(&format!("{name} is {data:?}"), || agent.data(name, RecordType::A) == data);
}

/// The INFO-CODE of the reply's extended error.
fn error_code(agent: &Agent, name: &str) -> Option<u16> {
    support::error_code(agent.address(), name)
}

#[test]
fn changes_show_at_once() {
    let etcd = Etcd::start();
    etcd.put("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    let agent = agent(&etcd.endpoint(), &[]);
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    let mut delays = Vec::new();
    for n in 2..40 {
        let address = format!("10.0.0.{n}");
        etcd.put("/skydns/local/skydns/a", &format!("{{\"host\":\"{address}\"}}"));
        let start = Instant::now();
        while agent.data("a.skydns.local.", RecordType::A) != [address.as_str()] {
            assert!(start.elapsed() < support::PATIENCE);
        }
        delays.push(start.elapsed());
    }
    delays.sort();
    println!("put to answer, after the put was acknowledged: median {:?}", delays[delays.len() / 2]);
    etcd.delete("/skydns/local/skydns/a");
    knows(&agent, "a.skydns.local.", &[]);
    assert_eq!(agent.ask("a.skydns.local.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn answers_go_on_without_etcd_and_catch_up_with_it() {
    let mut etcd = Etcd::start();
    for n in 0..50 {
        etcd.put(&format!("/skydns/local/skydns/n{n}"), r#"{"host":"10.0.0.1"}"#);
    }
    let agent = agent(&etcd.endpoint(), &[]);
    assert_eq!(error_code(&agent, "n1.skydns.local."), None);
    etcd.kill();
    eventually("the loss is noticed", || error_code(&agent, "n1.skydns.local.") == Some(3));
    let reply = agent.ask("n1.skydns.local.", RecordType::A);
    assert_eq!((reply.answers.len(), reply.answers[0].ttl), (1, 30));
    etcd.run();
    etcd.put("/skydns/local/skydns/n1", r#"{"host":"10.0.0.2"}"#);
    etcd.delete("/skydns/local/skydns/n2");
    etcd.with(async |client| {
        let revision = client.get("x", None).await.expect("a header").header().expect("a header").revision();
        client.compact(revision, None).await.expect("compacted");
    });
    knows(&agent, "n1.skydns.local.", &["10.0.0.2"]);
    knows(&agent, "n2.skydns.local.", &[]);
    knows(&agent, "n3.skydns.local.", &["10.0.0.1"]);
    eventually("no longer stale", || error_code(&agent, "n1.skydns.local.").is_none());
    assert_eq!(agent.ask("n3.skydns.local.", RecordType::A).answers[0].ttl, 3600);
}

#[test]
fn a_deletion_compacted_between_list_and_watch_is_seen() {
    let etcd = Etcd::start();
    etcd.put("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    etcd.put("/skydns/local/skydns/b", r#"{"host":"10.0.0.99"}"#);
    let proxy = Proxy::start(etcd.client_port, b"10.0.0.99");
    let machines = format!("http://127.0.0.1:{}", proxy.port);
    let agent = Setup::new().args(&["-machines", &machines]).start();
    eventually("the store is listed", || proxy.is_held());
    etcd.delete("/skydns/local/skydns/b");
    etcd.with(async |client| {
        let revision = client.get("x", None).await.expect("a header").header().expect("a header").revision();
        client.compact(revision, None).await.expect("compacted");
    });
    proxy.release();
    knows(&agent, "a.skydns.local.", &["10.0.0.1"]);
    knows(&agent, "b.skydns.local.", &[]);
}

#[test]
fn before_the_first_sync_nothing_is_denied() {
    let mut etcd = Etcd::start();
    etcd.put("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    etcd.put("/skydns/arpa/in-addr/10/0/0/1", r#"{"host":"a.skydns.local"}"#);
    etcd.kill();
    let upstream = Upstream::start(|query, _| Some(failure(query, ResponseCode::NXDomain)));
    let agent = Setup::new()
        .record("/skydns/local/skydns/file", r#"{"host":"10.0.0.7"}"#)
        .args(&["-machines", &etcd.endpoint(), "-nameservers", &upstream.address.to_string()])
        .start();
    assert_eq!(agent.ask("a.skydns.local.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    assert_eq!(error_code(&agent, "a.skydns.local."), Some(14));
    assert_eq!(agent.data("file.skydns.local.", RecordType::A), ["10.0.0.7"]);
    // PTR records of private addresses may be in the store; other names are forwarded.
    let pointer = |name: &str| agent.ask(name, RecordType::PTR).metadata.response_code;
    assert_eq!(pointer("1.0.0.10.in-addr.arpa."), ResponseCode::ServFail);
    assert_eq!(pointer("1.2.0.192.in-addr.arpa."), ResponseCode::NXDomain);
    etcd.run();
    knows(&agent, "a.skydns.local.", &["10.0.0.1"]);
    let pointers = agent.data("1.0.0.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(pointers, ["a.skydns.local."]);
    assert_eq!(pointer("2.0.0.10.in-addr.arpa."), ResponseCode::NXDomain);
    assert_eq!(agent.ask("b.skydns.local.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn a_store_without_a_quorum_is_read_as_stale_at_the_start() {
    let mut members = Etcd::cluster(3);
    members[0].put("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    members[0].put("/skydns/config", r#"{"ttl":77}"#);
    let left = members[2].endpoint();
    eventually("the last member has it", || {
        members[2].with(async |client| {
            let options = etcd_client::GetOptions::new().with_serializable();
            let got = client.get("/skydns/config", Some(options)).await;
            got.is_ok_and(|got| !got.kvs().is_empty())
        })
    });
    members[0].kill();
    members[1].kill();
    eventually("the member has no leader", || {
        members[2].with(async |client| {
            let got = tokio::time::timeout(Duration::from_secs(1), client.get("x", None)).await;
            !got.is_ok_and(|got| got.is_ok())
        })
    });
    let agent = Setup::new().args(&["-machines", &left]).start();
    knows(&agent, "a.skydns.local.", &["10.0.0.1"]);
    assert_eq!(error_code(&agent, "a.skydns.local."), Some(3));
    assert_eq!(agent.ask("none.skydns.local.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
    assert!(agent.log().contains("warning: etcd: not in sync, 1 change, 1 name in all: "), "{}", agent.log());
    assert!(agent.log().contains(&format!("{left} has revision ")), "{}", agent.log());
    assert!(!agent.log().contains("etcd: in sync"), "{}", agent.log());
    members[0].launch();
    members[1].launch();
    eventually("no longer stale", || error_code(&agent, "a.skydns.local.").is_none());
    assert_eq!(agent.ask("a.skydns.local.", RecordType::A).answers[0].ttl, 77);
}

#[test]
fn a_lost_session_is_stale_at_once() {
    let mut first = Etcd::start();
    first.put("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    // The next endpoint takes connections and never says a word, so that it fails after seconds.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let second = format!("http://{}", silent.local_addr().expect("an address"));
    let agent = agent(&format!("{},{second}", first.endpoint()), &[]);
    assert_eq!(error_code(&agent, "a.skydns.local."), None);
    first.kill();
    let lost = Instant::now();
    eventually("it is stale", || error_code(&agent, "a.skydns.local.") == Some(3));
    assert!(
        agent
            .log()
            .lines()
            .filter(|line| line.contains("etcd: http"))
            .all(|line| line.contains(&first.endpoint())),
        "the next endpoint has not failed yet, after {:?}\n{}",
        lost.elapsed(),
        agent.log()
    );
}

#[test]
fn a_dead_endpoint_costs_no_data() {
    let etcd = Etcd::start();
    etcd.put("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    let machines = format!("http://127.0.0.1:{},{}", free_port(), etcd.endpoint());
    let agent = agent(&machines, &[]);
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    assert_eq!(error_code(&agent, "a.skydns.local."), None);
}

#[test]
fn a_frozen_member_is_left_for_another() {
    let members = Etcd::cluster(3);
    members[1].put("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    let endpoints: Vec<_> = members.iter().map(Etcd::endpoint).collect();
    let agent = agent(&endpoints.join(","), &[]);
    knows(&agent, "a.skydns.local.", &["10.0.0.1"]);
    let frozen = members[0].process.as_ref().expect("a process");
    frozen.signal("-STOP");
    let others = &members[1];
    eventually("the others elect", || {
        others.with(async |client| {
            let put = client.put("/skydns/local/skydns/a", r#"{"host":"10.0.0.2"}"#, None);
            tokio::time::timeout(Duration::from_secs(2), put).await.is_ok_and(|put| put.is_ok())
        })
    });
    knows(&agent, "a.skydns.local.", &["10.0.0.2"]);
    frozen.signal("-CONT");
}

#[test]
fn members_are_discovered() {
    let mut members = Etcd::cluster(3);
    members[0].put("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    let agent = agent(&members[0].endpoint(), &["-discover"]);
    knows(&agent, "a.skydns.local.", &["10.0.0.1"]);
    eventually("the members are known", || agent.log().contains("members at"));
    members[0].kill();
    eventually("the others elect", || {
        members[1].with(async |client| {
            let put = client.put("/skydns/local/skydns/a", r#"{"host":"10.0.0.2"}"#, None);
            tokio::time::timeout(Duration::from_secs(2), put).await.is_ok_and(|put| put.is_ok())
        })
    });
    knows(&agent, "a.skydns.local.", &["10.0.0.2"]);
}

#[test]
fn users_log_in_and_tokens_are_renewed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    run(Command::new("openssl").args(["genrsa", "-out", &path("jwt.key"), "2048"]));
    run(Command::new("openssl").args(["rsa", "-in", &path("jwt.key"), "-pubout", "-out", &path("jwt.pub")]));
    let token =
        format!("jwt,pub-key={},priv-key={},sign-method=RS256,ttl=2s", path("jwt.pub"), path("jwt.key"));
    let etcd = Etcd::start_with("http", &["--auth-token", &token]);
    etcd.put("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    let lease = etcd.put_with_lease("/skydns/local/skydns/leased", r#"{"host":"10.0.0.1"}"#, 60);
    assert_ne!(lease, 0);
    etcd.with(async |client| {
        client.user_add("root", "secret", None).await.expect("a user");
        client.user_grant_role("root", "root").await.expect("a role");
        client.auth_enable().await.expect("authentication");
    });
    let variables = |password: &str| {
        Setup::new()
            .args(&["-machines", &etcd.endpoint()])
            .variable("ETCD_USERNAME", "root")
            .variable("ETCD_PASSWORD", password)
    };
    let wrong = variables("wrong").start();
    eventually("the refusal is told", || wrong.log().contains("authentication failed"));
    assert!(!wrong.log().contains("wrong\n"), "no password in the log");
    let agent = variables("secret").start();
    knows(&agent, "a.skydns.local.", &["10.0.0.1"]);
    // Well past the life of the first token.
    std::thread::sleep(Duration::from_secs(5));
    let options = etcd_client::ConnectOptions::new().with_user("root", "secret");
    etcd.with_options(Some(options), async |client| {
        client.put("/skydns/local/skydns/a", r#"{"host":"10.0.0.2"}"#, None).await.expect("put");
    });
    knows(&agent, "a.skydns.local.", &["10.0.0.2"]);
    eventually("leases are asked for with a new token", || {
        agent
            .ask("leased.skydns.local.", RecordType::A)
            .answers
            .first()
            .is_some_and(|r| (2..60).contains(&r.ttl))
    });
}

#[test]
fn tls_with_an_authority_and_with_client_certificates() {
    let files = Certificates::new();
    for needs_client in [false, true] {
        let args = files.of_server(needs_client);
        let etcd = Etcd::start_with("https", &args.iter().map(String::as_str).collect::<Vec<_>>());
        etcd.with_options(Some(files.of_client()), async |client| {
            client.put("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#, None).await.expect("put");
        });
        let ca = files.path("ca.pem");
        let mut setup = Setup::new().args(&["-machines", &etcd.endpoint()]).variable("ETCD_CACERT", &ca);
        if needs_client {
            let without = Setup::new().args(&["-machines", &etcd.endpoint(), "-ca-cert", &ca]).start();
            eventually("the server wants a certificate", || without.log().contains("etcd: https://"));
            assert_eq!(
                without.ask("a.skydns.local.", RecordType::A).metadata.response_code,
                ResponseCode::ServFail
            );
            setup = setup
                .variable("ETCD_TLSPEM", &files.path("client.pem"))
                .variable("ETCD_TLSKEY", &files.path("client.key"));
        } else {
            let stranger = Setup::new().args(&["-machines", &etcd.endpoint()]).start();
            eventually("an unknown authority is told", || {
                stranger.log().to_lowercase().contains("unknownissuer")
            });
        }
        knows(&setup.start(), "a.skydns.local.", &["10.0.0.1"]);
    }
}

#[test]
fn leased_keys_have_the_seconds_left_as_ttl() {
    let etcd = Etcd::start();
    etcd.put_with_lease("/skydns/local/skydns/leased", r#"{"host":"10.0.0.1"}"#, 100);
    let short = etcd.put_with_lease("/skydns/local/skydns/short", r#"{"host":"10.0.0.1","ttl":7}"#, 5);
    let agent = agent(&etcd.endpoint(), &[]);
    let ttl = |name: &str| agent.ask(name, RecordType::A).answers.first().map(|r| r.ttl);
    eventually("the time left is known", || ttl("leased.skydns.local.").is_some_and(|ttl| ttl > 1));
    let first = ttl("leased.skydns.local.").expect("a TTL");
    assert!((85..=100).contains(&first), "{first}");
    std::thread::sleep(Duration::from_secs(2));
    let later = ttl("leased.skydns.local.").expect("a TTL");
    assert!(later < first, "{later} after {first}");
    etcd.with(async |client| {
        let (mut keeper, mut answers) = client.lease_keep_alive(short).await.expect("a keeper");
        keeper.keep_alive().await.expect("sent");
        answers.message().await.expect("an answer");
    });
    assert!(ttl("short.skydns.local.").is_some_and(|ttl| (1..=5).contains(&ttl)));
    eventually("the short lease ends", || ttl("short.skydns.local.").is_none());
}

#[test]
fn a_quiet_session_lasts_and_leases_outlive_it() {
    let mut etcd = Etcd::start();
    let lease = etcd.put_with_lease("/skydns/local/skydns/leased", r#"{"host":"10.0.0.1"}"#, 60);
    let agent = agent(&etcd.endpoint(), &[]);
    // etcd ends connections that ask too often whether it lives, at the fourth time.
    std::thread::sleep(Duration::from_secs(32));
    assert_eq!(agent.log().matches("etcd: in sync").count(), 1, "{}", agent.log());
    etcd.kill();
    etcd.run();
    eventually("in sync again", || agent.log().matches("etcd: in sync").count() == 2);
    etcd.with(async |client| {
        let (mut keeper, mut answers) = client.lease_keep_alive(lease).await.expect("a keeper");
        keeper.keep_alive().await.expect("sent");
        answers.message().await.expect("an answer");
    });
    let ttl = || agent.ask("leased.skydns.local.", RecordType::A).answers.first().map_or(0, |r| r.ttl);
    eventually("the lease counts as renewed", || ttl() > 50);
}

#[test]
fn the_configuration_in_etcd_is_followed() {
    let etcd = Etcd::start();
    etcd.put("/skydns/config", r#"{"ttl":77,"domain":"site.test"}"#);
    etcd.put("/skydns/test/site/a", r#"{"host":"10.0.0.1"}"#);
    let agent = agent(&etcd.endpoint(), &["-ttl", "55"]);
    let ttl = || agent.ask("a.site.test.", RecordType::A).answers.first().map(|r| r.ttl);
    assert_eq!(ttl(), Some(77), "the store's settings beat flags");
    etcd.put("/skydns/config", r#"{"ttl":78,"domain":"site.test"}"#);
    eventually("the new TTL", || ttl() == Some(78));
    etcd.put("/skydns/config", r#"{"ttl":"79","domain":17,"min_ttl":5}"#);
    eventually("the problem is told", || {
        let log = agent.log();
        log.contains("/skydns/config: field \"ttl\": \"79\" is not a whole number")
            && log.contains("field \"domain\": 17 is not a string")
            && log.contains("the last good value, stays")
    });
    assert_eq!(ttl(), Some(78));
    let negative = || agent.ask("none.site.test.", RecordType::A).authorities[0].ttl;
    eventually("the other field counts", || negative() == 5);
    agent.process.signal("-HUP");
    eventually("reloaded", || agent.log().contains("reloaded"));
    assert_eq!((ttl(), negative()), (Some(78), 5), "a reload keeps the last good values");
    etcd.put("/skydns/config", r#"{"ttl":80,"domain":"site.test","dns_addr":"127.0.0.1:1"}"#);
    eventually("what needs a restart is told", || {
        agent.log().contains("-addr changed: a restart makes it take effect")
    });
    assert_eq!(ttl(), Some(80));
    etcd.delete("/skydns/config");
    etcd.put("/skydns/local/skydns/a", r#"{"host":"10.0.0.2"}"#);
    eventually("flags and defaults are back", || {
        agent.ask("a.skydns.local.", RecordType::A).answers.first().map(|r| r.ttl) == Some(55)
    });
}

#[test]
fn another_path_prefix_is_another_site() {
    let etcd = Etcd::start();
    etcd.put("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    etcd.put("/my/dns/local/skydns/a", r#"{"host":"10.0.0.2"}"#);
    etcd.put("/my/dns/config", r#"{"ttl":9}"#);
    let agent = agent(&etcd.endpoint(), &["-path-prefix", "/my/dns/"]);
    let reply = agent.ask("a.skydns.local.", RecordType::A);
    assert_eq!((reply.answers[0].data.to_string().as_str(), reply.answers[0].ttl), ("10.0.0.2", 9));
}

#[test]
fn files_beat_etcd_on_the_same_key() {
    let etcd = Etcd::start();
    etcd.put("/skydns/local/skydns/both", r#"{"host":"10.0.0.1"}"#);
    etcd.put("/skydns/local/skydns/etcd", r#"{"host":"10.0.0.2"}"#);
    let agent = Setup::new()
        .record("/skydns/local/skydns/both", r#"{"host":"10.0.0.7"}"#)
        .args(&["-machines", &etcd.endpoint()])
        .start();
    knows(&agent, "etcd.skydns.local.", &["10.0.0.2"]);
    assert_eq!(agent.data("both.skydns.local.", RecordType::A), ["10.0.0.7"]);
    std::fs::remove_file(agent.records().join("local/skydns/both")).expect("removed");
    knows(&agent, "both.skydns.local.", &["10.0.0.1"]);
}

#[test]
fn bad_values_and_keys_cost_themselves_only() {
    let etcd = Etcd::start_with("http", &["--max-request-bytes", "3000000"]);
    let long_label = format!("/skydns/local/skydns/{}", "x".repeat(64));
    let long_name = format!("/skydns/local/skydns/{}", vec!["abcdefg"; 40].join("/"));
    let huge_text = format!("{{\"text\":\"{}\"}}", "x".repeat(1 << 20));
    let huge_unknown = format!("{{\"host\":\"10.0.0.9\",\"other\":\"{}\"}}", "x".repeat(1 << 20));
    let bad = [
        ("/skydns/local/skydns/worse/json", "{host", "not JSON"),
        ("/skydns/local/skydns/worse/array", "[1]", "an array"),
        ("/skydns/local/skydns/worse/type", r#"{"port":"80"}"#, "\"80\", not a whole number"),
        ("/skydns/local/skydns/worse/range", r#"{"port":70000}"#, "70000, not between 0 and 65535"),
        (
            "/skydns/local/skydns/worse/port",
            r#"{"host":"one.example:80"}"#,
            "belongs into the field \"port\"",
        ),
        ("/skydns/local/skydns/worse/number", r#"{"host":"192.0.2.256"}"#, "its last label is a number"),
        ("/skydns/local/skydns/worse/huge", huge_text.as_str(), "1048576 octets"),
        ("/skydns/local/skydns//empty", "{}", "empty label"),
        (long_label.as_str(), "{}", "label of 64 octets"),
        (long_name.as_str(), "{}", "name of 334 octets"),
    ];
    let good = [
        ("/skydns/local/skydns/bad/good", r#"{"host":"10.0.0.1"}"#),
        ("/skydns/local/skydns/bad/Upper", r#"{"host":"10.0.0.2"}"#),
        ("/skydns/local/skydns/bad/*", r#"{"host":"10.0.0.3"}"#),
        ("/skydns/local/skydns/bad/bücher", r#"{"host":"10.0.0.4"}"#),
        ("/skydns/local/skydns/bad/Bücher", r#"{"host":"10.0.0.5"}"#),
        ("/skydns/local/skydns/bad/xn--bcher-kva", r#"{"host":"10.0.0.6"}"#),
        ("/skydns/local/skydns/bad/unknown", huge_unknown.as_str()),
    ];
    etcd.put_all(bad.iter().map(|(key, value, _)| (*key, *value)).chain(good));
    let agent = agent(&etcd.endpoint(), &[]);
    let all = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.9"];
    assert_eq!(agent.data("bad.skydns.local.", RecordType::A), all);
    assert_eq!(agent.data("upper.bad.skydns.local.", RecordType::A), ["10.0.0.2"]);
    let of_all_spellings = ["10.0.0.4", "10.0.0.5", "10.0.0.6"];
    assert_eq!(agent.data("xn--bcher-kva.bad.skydns.local.", RecordType::A), of_all_spellings);
    for (key, _, reason) in bad {
        let is_it = |line: &str| line.contains(key) && line.contains("refused") && line.contains(reason);
        eventually(&format!("{key}: {reason}"), || agent.log().lines().any(is_it));
    }
    assert!(agent.log().contains("bad/Upper: the key has upper-case letters"));
    etcd.put(bad[0].0, r#"{"host":"10.0.0.8"}"#);
    knows(&agent, "json.worse.skydns.local.", &["10.0.0.8"]);
}

#[test]
fn refused_values_of_one_tenant_do_not_fill_the_log() {
    let etcd = Etcd::start();
    let bad: Vec<_> = (0..3_000).map(|n| format!("/skydns/local/skydns/many/{n}")).collect();
    etcd.put_all(bad.iter().map(|key| (key.as_str(), "[")));
    etcd.put_all([("/skydns/local/skydns/other/z", "[")]);
    let agent = agent(&etcd.endpoint(), &[]);
    let log = agent.log();
    assert!(log.contains("etcd: /skydns/local/skydns/other/z: refused: "), "{log}");
    assert_eq!(log.lines().filter(|line| line.contains("/many/")).count(), 10, "{log}");
    assert!(log.contains("etcd: /skydns/local/skydns/many: more entries are refused"), "{log}");
    assert!(!log.contains("log lines left out"), "{log}");
    // Another value of another tenant is told though the first one goes on.
    etcd.put_all(bad.iter().map(|key| (key.as_str(), "[]")));
    etcd.put("/skydns/local/skydns/third/z", "[");
    eventually("it is told", || agent.log().contains("etcd: /skydns/local/skydns/third/z: refused: "));
}

#[test]
fn twenty_thousand_services_under_one_name() {
    let etcd = Etcd::start();
    let pairs: Vec<_> = (0..20_000)
        .map(|n| {
            (
                format!("/skydns/local/skydns/many/s{n}"),
                format!("{{\"host\":\"10.1.{}.{}\"}}", n / 250, n % 250),
            )
        })
        .collect();
    etcd.put_many(&pairs);
    etcd.put("/skydns/local/skydns/other", r#"{"host":"10.0.0.1"}"#);
    let agent = agent(&etcd.endpoint(), &[]);
    assert!(agent.log().contains("20001 names"));
    for rtype in [RecordType::A, RecordType::SRV] {
        let udp = agent.ask("many.skydns.local.", rtype);
        assert_eq!((udp.metadata.truncation, udp.answers.len()), (true, 0));
        let tcp = Stream::connect(agent.address()).ask(&query("many.skydns.local.", rtype));
        assert_eq!(tcp.metadata.response_code, ResponseCode::ServFail);
    }
    assert_eq!(agent.data("s19999.many.skydns.local.", RecordType::A), ["10.1.79.249"]);
    assert_eq!(agent.data("other.skydns.local.", RecordType::A), ["10.0.0.1"]);
}
