//! The program with the v2 API of a real etcd.

pub(crate) mod support;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};
use std::time::{Duration, Instant};
use support::etcd::Etcd;
use support::v2::V2;
use support::{Agent, Setup, eventually};

fn agent(etcd: &Etcd, args: &[&str]) -> Agent {
    let agent = Setup::new().args(&["-machines", &etcd.endpoint(), "-round-robin=false"]).args(args).start();
    eventually("in sync", || agent.log().contains("etcd-v2: in sync"));
    agent
}

fn knows(agent: &Agent, name: &str, data: &[&str]) {
    eventually(&format!("{name} is {data:?}"), || agent.data(name, RecordType::A) == data);
}

fn rcode(agent: &Agent, name: &str) -> ResponseCode {
    agent.ask(name, RecordType::A).metadata.response_code
}

fn ttl(agent: &Agent, name: &str) -> u32 {
    agent.ask(name, RecordType::A).answers.first().map_or(0, |record| record.ttl)
}

fn serial(agent: &Agent) -> u32 {
    match &agent.ask("skydns.local.", RecordType::SOA).answers[0].data {
        RData::SOA(soa) => soa.serial,
        other => panic!("{other}"),
    }
}

fn host(n: u8) -> String {
    format!("{{\"host\":\"10.0.0.{n}\"}}")
}

#[test]
fn every_kind_of_write_shows_at_once() {
    let (etcd, v2) = V2::server();
    v2.put("/skydns/local/skydns/a", &host(1));
    let agent = agent(&etcd, &[]);
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    v2.put("/skydns/local/skydns/a", &host(2));
    knows(&agent, "a.skydns.local.", &["10.0.0.2"]);
    v2.put_with("/skydns/local/skydns/a", &host(3), "&prevExist=true");
    knows(&agent, "a.skydns.local.", &["10.0.0.3"]);
    let swap = format!("&prevValue={}", "%7B%22host%22%3A%2210.0.0.3%22%7D");
    v2.put_with("/skydns/local/skydns/a", &host(4), &swap);
    knows(&agent, "a.skydns.local.", &["10.0.0.4"]);
    // A key that the store numbers itself.
    let (status, _) = v2.request("POST", "/skydns/local/skydns/q", "value=%7B%22host%22%3A%2210.0.0.5%22%7D");
    assert_eq!(status, 201);
    knows(&agent, "q.skydns.local.", &["10.0.0.5"]);
    v2.delete("/skydns/local/skydns/a");
    knows(&agent, "a.skydns.local.", &[]);
    assert_eq!(rcode(&agent, "a.skydns.local."), ResponseCode::NXDomain);
    // A directory in the place of a key, and a key in it.
    v2.put("/skydns/local/skydns/d", &host(6));
    knows(&agent, "d.skydns.local.", &["10.0.0.6"]);
    v2.make_dir("/skydns/local/skydns/d", "");
    knows(&agent, "d.skydns.local.", &[]);
    v2.put("/skydns/local/skydns/d/x", &host(7));
    knows(&agent, "d.skydns.local.", &["10.0.0.7"]);
    // What Registrator makes of a container.
    v2.put("/skydns/local/skydns/web/host:name:8080:udp", r#"{"host":"10.0.0.8","port":8080}"#);
    knows(&agent, "web.skydns.local.", &["10.0.0.8"]);
}

#[test]
fn directories_go_with_all_that_is_in_them() {
    let (etcd, v2) = V2::server();
    for key in ["east/a", "east/deep/b", "eastern/c", "west/d"] {
        v2.put(&format!("/skydns/local/skydns/{key}"), &host(1));
    }
    v2.put("/skydns/local/skydns/East/e", &host(5));
    let agent = agent(&etcd, &[]);
    assert_eq!(agent.data("east.skydns.local.", RecordType::A).len(), 2);
    v2.delete_dir("/skydns/local/skydns/east");
    knows(&agent, "a.east.skydns.local.", &[]);
    knows(&agent, "east.skydns.local.", &["10.0.0.5"]);
    assert_eq!(agent.data("c.eastern.skydns.local.", RecordType::A).len(), 1);
    // Directories beside the prefix, one of which its name begins with: each change is read from the history of the store.
    for round in 0..20 {
        v2.put(&format!("/sky/x{round}"), "x");
        v2.put("/skydns/local/skydns/west/n", &host(round));
        v2.delete_dir("/sky");
    }
    knows(&agent, "n.west.skydns.local.", &["10.0.0.19"]);
    assert_eq!(agent.data("d.west.skydns.local.", RecordType::A), ["10.0.0.1"]);
    // One above all names.
    v2.delete_dir("/skydns");
    eventually("all is gone", || rcode(&agent, "d.west.skydns.local.") == ResponseCode::NXDomain);
    v2.put("/skydns/local/skydns/west/d", &host(9));
    knows(&agent, "d.west.skydns.local.", &["10.0.0.9"]);
}

#[test]
fn a_key_lives_as_long_as_the_store_says() {
    let (etcd, v2) = V2::server();
    v2.put_ttl("/skydns/local/skydns/short", &host(1), 600);
    v2.put_ttl("/skydns/local/skydns/renewed", &host(2), 3);
    v2.make_dir("/skydns/local/skydns/dir", "&ttl=3");
    v2.put("/skydns/local/skydns/dir/x", &host(3));
    let agent = agent(&etcd, &[]);
    let short = ttl(&agent, "short.skydns.local.");
    assert!((595..=600).contains(&short), "{short}");
    assert!((1..=3).contains(&ttl(&agent, "x.dir.skydns.local.")));
    // The store tells nobody of a refresh.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(8) {
        v2.refresh("/skydns/local/skydns/renewed", 3);
        let left = ttl(&agent, "renewed.skydns.local.");
        assert!((1..=3).contains(&left), "{left} after {:?}", start.elapsed());
        std::thread::sleep(Duration::from_millis(300));
    }
    knows(&agent, "x.dir.skydns.local.", &[]);
    knows(&agent, "renewed.skydns.local.", &[]);
    assert_eq!(rcode(&agent, "renewed.skydns.local."), ResponseCode::NXDomain);
    assert_eq!(agent.data("short.skydns.local.", RecordType::A), ["10.0.0.1"]);
}

#[test]
fn a_writer_that_renews_by_putting_changes_nothing() {
    let (etcd, v2) = V2::server();
    v2.put_ttl("/skydns/local/skydns/a", &host(1), 60);
    let agent = agent(&etcd, &[]);
    let before = serial(&agent);
    std::thread::sleep(Duration::from_millis(1_100));
    for _ in 0..1_500 {
        v2.put_ttl("/skydns/local/skydns/a", &host(1), 600);
    }
    eventually("the end has moved", || ttl(&agent, "a.skydns.local.") > 500);
    assert_eq!(serial(&agent), before);
    v2.put_ttl("/skydns/local/skydns/a", &host(2), 600);
    knows(&agent, "a.skydns.local.", &["10.0.0.2"]);
    assert!(serial(&agent) > before);
}

#[test]
fn hidden_keys_are_read_where_they_are_named() {
    let (etcd, v2) = V2::server();
    let base = "/skydns/local/skydns";
    v2.put(&format!("{base}/web/_tcp/x"), &host(1));
    v2.put(&format!("{base}/web/open"), &host(2));
    v2.put(&format!("{base}/_udp/_dns/y"), &host(3));
    let without = agent(&etcd, &[]);
    let with = agent(&etcd, &["-v2-also", "local/skydns/web/_tcp,/skydns/local/skydns/_udp/_dns"]);
    assert_eq!(without.data("web.skydns.local.", RecordType::A), ["10.0.0.2"]);
    knows(&with, "x._tcp.web.skydns.local.", &["10.0.0.1"]);
    knows(&with, "y._dns._udp.skydns.local.", &["10.0.0.3"]);
    // A replay of past changes has hidden keys as well.
    for n in 10..30 {
        v2.put(&format!("{base}/web/_tcp/x"), &host(n));
        v2.put(&format!("{base}/web/open"), &host(n));
    }
    knows(&without, "open.web.skydns.local.", &["10.0.0.29"]);
    assert_eq!(without.data("web.skydns.local.", RecordType::A), ["10.0.0.29"]);
    assert_eq!(rcode(&without, "x._tcp.web.skydns.local."), ResponseCode::NXDomain);
    knows(&with, "x._tcp.web.skydns.local.", &["10.0.0.29"]);
    v2.delete_dir(&format!("{base}/_udp"));
    knows(&with, "y._dns._udp.skydns.local.", &[]);
    v2.delete_dir(&format!("{base}/web"));
    knows(&with, "x._tcp.web.skydns.local.", &[]);
    v2.put(&format!("{base}/web/_tcp/x"), &host(31));
    knows(&with, "x._tcp.web.skydns.local.", &["10.0.0.31"]);
}

#[test]
fn the_configuration_counts_as_that_of_v3_does() {
    let (etcd, v2) = V2::server();
    v2.put("/skydns/config", r#"{"domain":"example.test.","ttl":77}"#);
    v2.put("/skydns/test/example/a", &host(1));
    let agent = agent(&etcd, &["-etcd-api", "both"]);
    assert_eq!(ttl(&agent, "a.example.test."), 77);
    etcd.put("/skydns/config", r#"{"domain":"example.test.","ttl":88}"#);
    eventually("v3 wins", || ttl(&agent, "a.example.test.") == 88);
    v2.put("/skydns/config", r#"{"domain":"example.test.","ttl":99}"#);
    etcd.delete("/skydns/config");
    eventually("v2 counts again", || ttl(&agent, "a.example.test.") == 99);
}

#[test]
fn on_one_key_v3_wins_and_equal_services_are_one_record() {
    let (etcd, v2) = V2::server();
    v2.put("/skydns/local/skydns/a/x", &host(1));
    v2.put("/skydns/local/skydns/a/y", &host(2));
    let agent = Setup::new()
        .record("/skydns/local/skydns/f", &host(9))
        .args(&["-machines", &etcd.endpoint(), "-etcd-api", "both", "-round-robin=false"])
        .start();
    knows(&agent, "a.skydns.local.", &["10.0.0.1", "10.0.0.2"]);
    etcd.put("/skydns/local/skydns/a/x", &host(3));
    knows(&agent, "a.skydns.local.", &["10.0.0.2", "10.0.0.3"]);
    // The same service under another key.
    etcd.put("/skydns/local/skydns/a/z", &host(2));
    knows(&agent, "a.skydns.local.", &["10.0.0.2", "10.0.0.3"]);
    v2.delete("/skydns/local/skydns/a/y");
    v2.put("/skydns/local/skydns/f", &host(8));
    etcd.put("/skydns/local/skydns/f", &host(7));
    etcd.delete("/skydns/local/skydns/a/x");
    knows(&agent, "a.skydns.local.", &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(agent.data("f.skydns.local.", RecordType::A), ["10.0.0.9"]);
}

#[test]
fn keys_that_differ_in_case_and_values_that_are_none() {
    let (etcd, v2) = V2::server();
    v2.put("/skydns/local/skydns/web", &host(1));
    v2.put("/skydns/local/skydns/WEB", &host(2));
    v2.put("/skydns/local/skydns/bad", "{");
    v2.put("/skydns/local/skydns/empty", "");
    let agent = agent(&etcd, &[]);
    knows(&agent, "web.skydns.local.", &["10.0.0.1", "10.0.0.2"]);
    eventually("it is told", || agent.log().contains("etcd-v2: /skydns/local/skydns/bad: refused"));
    v2.delete("/skydns/local/skydns/web");
    knows(&agent, "web.skydns.local.", &["10.0.0.2"]);
    v2.put("/skydns/local/skydns/bad", &host(3));
    knows(&agent, "bad.skydns.local.", &["10.0.0.3"]);
}

#[test]
fn a_large_store_is_listed_as_it_comes_in() {
    let (etcd, v2) = V2::server();
    for n in 0..3_000 {
        v2.put(&format!("/skydns/local/skydns/d{}/n{n}", n % 50), &host(1));
    }
    let agent = agent(&etcd, &[]);
    assert!(agent.log().contains("etcd-v2: in sync, 3000 changes, 3000 names"), "{}", agent.log());
    knows(&agent, "n2999.d49.skydns.local.", &["10.0.0.1"]);
}

/// The metric that tells whether v2 can go.
fn v2_only(agent: &Agent, page: u16) -> u64 {
    use std::io::{Read, Write};
    // The page is there a moment after names are answered.
    let mut stream = None;
    eventually("the page is there", || {
        stream = std::net::TcpStream::connect(("127.0.0.1", page)).ok();
        stream.is_some()
    });
    let mut stream = stream.expect("a connection");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a page");
    let line = text.lines().find_map(|line| line.strip_prefix("skydns_skydns_v2_only_answers_total "));
    line.unwrap_or_else(|| panic!("{} {text}", agent.log())).parse().expect("a number")
}

#[test]
fn answers_that_only_v2_can_give_are_counted() {
    let (etcd, v2) = V2::server();
    v2.put("/skydns/local/skydns/old", &host(1));
    v2.put("/skydns/local/skydns/moved/a", &host(2));
    etcd.put("/skydns/local/skydns/moved/b", &host(2));
    etcd.put("/skydns/local/skydns/new", &host(3));
    let page = support::free_port();
    let port = page.to_string();
    let agent = Setup::new()
        .args(&["-machines", &etcd.endpoint(), "-etcd-api", "both"])
        .variable("PROMETHEUS_PORT", &port)
        .start();
    knows(&agent, "old.skydns.local.", &["10.0.0.1"]);
    let before = v2_only(&agent, page);
    // Cached and uncached, what v3 can give as well counts never.
    for _ in 0..10 {
        assert_eq!(agent.data("moved.skydns.local.", RecordType::A), ["10.0.0.2"]);
        assert_eq!(agent.data("new.skydns.local.", RecordType::A), ["10.0.0.3"]);
        assert_eq!(rcode(&agent, "none.skydns.local."), ResponseCode::NXDomain);
    }
    eventually("the page is current", || v2_only(&agent, page) == before);
    for _ in 0..10 {
        assert_eq!(agent.data("old.skydns.local.", RecordType::A), ["10.0.0.1"]);
    }
    eventually("all count", || v2_only(&agent, page) == before + 10);
    etcd.put("/skydns/local/skydns/old", &host(4));
    knows(&agent, "old.skydns.local.", &["10.0.0.4"]);
    let before = v2_only(&agent, page);
    assert_eq!(agent.data("old.skydns.local.", RecordType::A), ["10.0.0.4"]);
    assert_eq!(v2_only(&agent, page), before);
}
