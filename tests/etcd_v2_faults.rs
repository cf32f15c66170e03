//! The v2 API of etcd that is away, switched off, restored, replaced, cut, or not to be trusted.

pub(crate) mod support;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::process::Command;
use std::time::{Duration, Instant};
use support::certificates::Certificates;
use support::cutter::{Cut, Cutter};
use support::etcd::Etcd;
use support::v2::V2;
use support::{Agent, Setup, eventually};

const A: &str = "/skydns/local/skydns/a";
const B: &str = "/skydns/local/skydns/b";

fn agent(machines: &str, args: &[&str]) -> Agent {
    Setup::new().args(&["-machines", machines, "-round-robin=false"]).args(args).start()
}

fn in_sync(agent: &Agent, times: usize) {
    eventually("in sync", || agent.log().matches("etcd-v2: in sync").count() >= times);
}

fn knows(agent: &Agent, name: &str, data: &[&str]) {
    eventually(&format!("{name} is {data:?}"), || agent.data(name, RecordType::A) == data);
}

fn rcode(agent: &Agent, name: &str) -> ResponseCode {
    agent.ask(name, RecordType::A).metadata.response_code
}

/// The INFO-CODE of the reply's extended error.
fn error_code(agent: &Agent, name: &str) -> Option<u16> {
    support::error_code(agent.address(), name)
}

fn host(n: u8) -> String {
    format!("{{\"host\":\"10.0.0.{n}\"}}")
}

#[test]
fn answers_go_on_without_the_store_and_catch_up_with_it() {
    let (mut etcd, v2) = V2::server();
    v2.put(A, &host(1));
    v2.put(B, &host(2));
    let agent = agent(&etcd.endpoint(), &[]);
    in_sync(&agent, 1);
    etcd.kill();
    eventually("the loss is noticed", || error_code(&agent, "a.skydns.local.") == Some(3));
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    etcd.run();
    v2.put(A, &host(3));
    v2.delete(B);
    knows(&agent, "a.skydns.local.", &["10.0.0.3"]);
    knows(&agent, "b.skydns.local.", &[]);
    eventually("no longer stale", || error_code(&agent, "a.skydns.local.").is_none());
}

#[test]
fn a_frozen_server_is_noticed() {
    let (mut etcd, v2) = V2::server();
    v2.put(A, &host(1));
    let agent = agent(&etcd.endpoint(), &["-etcd-api", "v2"]);
    in_sync(&agent, 1);
    let frozen = Instant::now();
    etcd.process.as_mut().expect("a server").signal("-STOP");
    eventually("the loss is noticed", || error_code(&agent, "a.skydns.local.") == Some(3));
    println!("noticed after {:?}", frozen.elapsed());
    etcd.process.as_mut().expect("a server").signal("-CONT");
    v2.put(A, &host(2));
    knows(&agent, "a.skydns.local.", &["10.0.0.2"]);
    eventually("no longer stale", || error_code(&agent, "a.skydns.local.").is_none());
}

#[test]
fn what_is_left_of_v2_stays_until_v3_has_it() {
    let (mut etcd, v2) = V2::server();
    v2.put(A, &host(1));
    v2.put(B, &host(2));
    let agent = agent(&etcd.endpoint(), &[]);
    in_sync(&agent, 1);
    etcd.kill();
    etcd.run_with("--enable-v2", false);
    eventually("v2 is off", || agent.log().contains("etcd has no v2 API there"));
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    assert_eq!(error_code(&agent, "a.skydns.local."), Some(3));
    etcd.put(A, &host(3));
    knows(&agent, "a.skydns.local.", &["10.0.0.3"]);
    etcd.delete(A);
    knows(&agent, "a.skydns.local.", &[]);
    assert_eq!(agent.data("b.skydns.local.", RecordType::A), ["10.0.0.2"]);
    etcd.put(B, &host(2));
    eventually("nothing is left", || {
        agent.log().contains("other stores have all names that were left of it")
    });
    eventually("no longer stale", || error_code(&agent, "b.skydns.local.").is_none());
    etcd.delete(B);
    eventually("gone", || rcode(&agent, "b.skydns.local.") == ResponseCode::NXDomain);
}

#[test]
fn a_store_without_v2_keeps_no_name_from_being_denied() {
    let etcd = Etcd::start();
    for api in ["auto", "both"] {
        let agent = agent(&etcd.endpoint(), &["-etcd-api", api]);
        eventually(api, || rcode(&agent, "a.skydns.local.") == ResponseCode::NXDomain);
        eventually("it is told", || agent.log().contains("etcd-v2: not used: "));
    }
    // Where it is the only one, nothing is known.
    let agent = agent(&etcd.endpoint(), &["-etcd-api", "v2"]);
    eventually("it is told", || agent.log().contains("etcd has no v2 API there"));
    println!("{}", agent.log());
    assert_eq!(rcode(&agent, "a.skydns.local."), ResponseCode::ServFail);
}

#[test]
fn data_that_a_move_left_behind_are_not_read() {
    let (etcd, v2) = V2::server();
    v2.put(A, &host(1));
    etcd.put(B, &host(2));
    for args in [&["-etcd-api", "auto"][..], &["-etcd-api", "v3"], &["-etcd3"]] {
        let agent = agent(&etcd.endpoint(), args);
        let told = "holds keys below /skydns/ which are not read";
        eventually("it is told", || agent.log().contains(told));
        assert_eq!(rcode(&agent, "a.skydns.local."), ResponseCode::NXDomain, "{args:?}");
        assert_eq!(agent.data("b.skydns.local.", RecordType::A), ["10.0.0.2"]);
        assert_eq!(agent.log().matches(told).count(), 1, "{}", agent.log());
    }
    let agent = agent(&etcd.endpoint(), &["-etcd-api", "v2"]);
    knows(&agent, "a.skydns.local.", &["10.0.0.1"]);
    assert_eq!(rcode(&agent, "b.skydns.local."), ResponseCode::NXDomain);
}

#[test]
fn settings_in_v3_do_not_hide_the_services_of_v2() {
    let (etcd, v2) = V2::server();
    v2.put(A, &host(1));
    etcd.put("/skydns/config", r#"{"ttl":77}"#);
    etcd.put("/skydns/accept", "{}");
    let agent = agent(&etcd.endpoint(), &[]);
    knows(&agent, "a.skydns.local.", &["10.0.0.1"]);
    let answer = agent.ask("a.skydns.local.", RecordType::A);
    assert_eq!(answer.answers[0].ttl, 77);
}

#[test]
fn the_mark_of_a_move_has_v2_read() {
    let (etcd, v2) = V2::server();
    v2.put(A, &host(1));
    etcd.put(B, &host(2));
    etcd.put("/skydns-migration/1", "{}");
    let agent = agent(&etcd.endpoint(), &[]);
    knows(&agent, "a.skydns.local.", &["10.0.0.1"]);
    knows(&agent, "b.skydns.local.", &["10.0.0.2"]);
}

#[test]
fn a_running_agent_keeps_v2_when_v3_gets_keys() {
    let (etcd, v2) = V2::server();
    v2.put(A, &host(1));
    let agent = agent(&etcd.endpoint(), &[]);
    in_sync(&agent, 1);
    etcd.put(B, &host(2));
    knows(&agent, "b.skydns.local.", &["10.0.0.2"]);
    v2.put(A, &host(3));
    knows(&agent, "a.skydns.local.", &["10.0.0.3"]);
}

#[test]
fn a_server_with_v2_alone_is_enough() {
    let (etcd, v2) = V2::server();
    v2.put(A, &host(1));
    let old = Cutter::start(etcd.client_port, Cut::Http2);
    let agent = agent(&old.endpoint(), &[]);
    knows(&agent, "a.skydns.local.", &["10.0.0.1"]);
    eventually("denied", || rcode(&agent, "b.skydns.local.") == ResponseCode::NXDomain);
    assert_eq!(error_code(&agent, "a.skydns.local."), None);
    let checked = Command::new(env!("CARGO_BIN_EXE_skydns"))
        .args(["check", "-machines", &old.endpoint(), "-nameservers", "127.0.0.1:1"])
        .output()
        .expect("it runs");
    let told =
        String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(told.contains("etcd-v2: 1 key below /skydns/") && told.contains("has no v3 API"), "{told}");
}

#[test]
fn an_older_store_is_read_anew() {
    let (mut etcd, v2) = V2::server();
    v2.put(A, &host(1));
    etcd.kill();
    etcd.back_up();
    etcd.run();
    let agent = agent(&etcd.endpoint(), &[]);
    in_sync(&agent, 1);
    for n in 2..40 {
        v2.put(A, &host(n));
    }
    v2.put(B, &host(1));
    knows(&agent, "a.skydns.local.", &["10.0.0.39"]);
    etcd.kill();
    etcd.restore();
    etcd.run();
    knows(&agent, "a.skydns.local.", &["10.0.0.1"]);
    knows(&agent, "b.skydns.local.", &[]);
    // Before its index is what it was once.
    v2.put(A, &host(50));
    knows(&agent, "a.skydns.local.", &["10.0.0.50"]);
}

#[test]
fn a_store_that_was_replaced_behind_its_address_is_noticed() {
    let (first, v2) = V2::server();
    v2.put(A, &host(1));
    let (second, other) = V2::server();
    other.put(B, &host(2));
    for _ in 0..20 {
        v2.put("/x", "x");
    }
    let front = Cutter::start(first.client_port, Cut::After(Duration::from_secs(3)));
    let agent = agent(&front.endpoint(), &["-etcd-api", "v2"]);
    in_sync(&agent, 1);
    front.lead_to(second.client_port);
    knows(&agent, "b.skydns.local.", &["10.0.0.2"]);
    knows(&agent, "a.skydns.local.", &[]);
}

#[test]
fn polls_that_are_cut_lose_nothing() {
    let (etcd, v2) = V2::server();
    v2.put(A, &host(1));
    let front = Cutter::start(etcd.client_port, Cut::After(Duration::from_millis(2_500)));
    let agent = agent(&front.endpoint(), &["-etcd-api", "v2"]);
    in_sync(&agent, 1);
    let start = Instant::now();
    let mut n = 0;
    while start.elapsed() < Duration::from_secs(9) {
        n += 1;
        v2.put(A, &host(n));
        knows(&agent, "a.skydns.local.", &[&format!("10.0.0.{n}")]);
        std::thread::sleep(Duration::from_millis(70));
    }
    assert_eq!(agent.log().matches("etcd-v2: in sync").count(), 1, "{}", agent.log());
    assert_eq!(error_code(&agent, "a.skydns.local."), None);
}

#[test]
fn more_foreign_writes_than_the_store_remembers_lose_nothing() {
    let (etcd, v2) = V2::server();
    v2.put(A, &host(1));
    let front = Cutter::start(etcd.client_port, Cut::After(Duration::from_millis(2_500)));
    let agent = agent(&front.endpoint(), &["-etcd-api", "v2"]);
    let idle = self::agent(&etcd.endpoint(), &["-etcd-api", "v2"]);
    in_sync(&agent, 1);
    in_sync(&idle, 1);
    // A change of ours that is forgotten before the next poll asks for it would be lost.
    for round in 0..3 {
        for n in 0..1_001 {
            v2.put("/foreign", &n.to_string());
            if n == 10 {
                v2.put(B, &host(round));
            }
        }
        knows(&agent, "b.skydns.local.", &[&format!("10.0.0.{round}")]);
        knows(&idle, "b.skydns.local.", &[&format!("10.0.0.{round}")]);
        std::thread::sleep(Duration::from_secs(1));
    }
    v2.put(A, &host(2));
    knows(&agent, "a.skydns.local.", &["10.0.0.2"]);
    knows(&idle, "a.skydns.local.", &["10.0.0.2"]);
}

#[test]
fn another_member_is_taken_and_one_without_the_others_is_left() {
    let mut members = Etcd::cluster_with(3, &["--enable-v2"]);
    let writers: Vec<_> = members.iter().map(V2::of).collect();
    writers[2].put(A, &host(1));
    let endpoints: Vec<_> = members.iter().map(Etcd::endpoint).collect();
    let agent = agent(&endpoints.join(","), &["-etcd-api", "v2"]);
    in_sync(&agent, 1);
    members[0].kill();
    in_sync(&agent, 2);
    // A cluster of three does without one member.
    writers[2].put(A, &host(2));
    knows(&agent, "a.skydns.local.", &["10.0.0.2"]);
    members[1].kill();
    eventually("noticed", || error_code(&agent, "a.skydns.local.") == Some(3));
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.2"]);
    // Who starts now has what a member has of it.
    let late = self::agent(&endpoints.join(","), &["-etcd-api", "v2"]);
    knows(&late, "a.skydns.local.", &["10.0.0.2"]);
    assert_eq!(error_code(&late, "a.skydns.local."), Some(3));
    members[1].run();
    writers[2].put(A, &host(3));
    knows(&agent, "a.skydns.local.", &["10.0.0.3"]);
    knows(&late, "a.skydns.local.", &["10.0.0.3"]);
}

#[test]
fn members_are_discovered() {
    let mut members = Etcd::cluster_with(3, &["--enable-v2"]);
    let writers: Vec<_> = members.iter().map(V2::of).collect();
    writers[0].put(A, &host(1));
    let agent = agent(&members[0].endpoint(), &["-etcd-api", "v2", "-discover"]);
    eventually("discovered", || agent.log().contains("etcd-v2: members at "));
    members[0].kill();
    in_sync(&agent, 2);
    writers[1].put(A, &host(2));
    knows(&agent, "a.skydns.local.", &["10.0.0.2"]);
}

#[test]
fn endpoints_of_another_cluster_are_refused_and_named() {
    let (mut first, v2) = V2::server();
    v2.put(A, &host(1));
    let (second, other) = V2::server();
    other.put(A, &host(2));
    let machines = format!("{},{}", first.endpoint(), second.endpoint());
    let agent = agent(&machines, &["-etcd-api", "v2"]);
    in_sync(&agent, 1);
    let check = ["check", "-machines", &machines, "-nameservers", "127.0.0.1:1", "-env-file", "/dev/null"];
    for api in ["v2", "both"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skydns"));
        let checked = command.args(check).args(["-etcd-api", api]).output().expect("it runs");
        let told = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(told.contains(&format!("{}: belongs to cluster ", second.endpoint())), "{api}: {told}");
    }
    first.kill();
    eventually("refused", || agent.log().contains(&format!("{}: belongs to cluster ", second.endpoint())));
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    assert_eq!(error_code(&agent, "a.skydns.local."), Some(3));
    first.run();
    v2.put(A, &host(3));
    knows(&agent, "a.skydns.local.", &["10.0.0.3"]);
}

#[test]
fn a_login_is_used_and_an_api_that_lets_everybody_in_is_not() {
    let (etcd, v2) = V2::server();
    v2.put(A, &host(1));
    let login = ["-username", "sky", "-password", "p"];
    let auto = agent(&etcd.endpoint(), &login);
    eventually("refused", || auto.log().contains("the v2 API lets everybody in although -username is set"));
    assert_eq!(auto.data("a.skydns.local.", RecordType::A), [""; 0]);
    let checked = Command::new(env!("CARGO_BIN_EXE_skydns"))
        .args([
            "check",
            "-machines",
            &etcd.endpoint(),
            "-nameservers",
            "127.0.0.1:1",
            "-env-file",
            "/dev/null",
        ])
        .args(login)
        .output()
        .expect("it runs");
    let told =
        String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(69), "{told}");
    assert!(told.contains("lets everybody in although -username is set"), "{told}");
    let both = agent(&etcd.endpoint(), &[&login[..], &["-etcd-api", "both"]].concat());
    knows(&both, "a.skydns.local.", &["10.0.0.1"]);
    drop((auto, both));
    let json = "application/json";
    let asked = |method: &str, path: &str, body: &str| {
        let (status, answer) = v2.call(method, path, json, body).expect("an answer");
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
    };
    asked("PUT", "/v2/auth/users/root", r#"{"user":"root","password":"r"}"#);
    asked(
        "PUT",
        "/v2/auth/roles/sky",
        r#"{"role":"sky","permissions":{"kv":{"read":["/skydns/*"],"write":[]}}}"#,
    );
    asked("PUT", "/v2/auth/users/sky", r#"{"user":"sky","password":"p","roles":["sky"]}"#);
    asked("PUT", "/v2/auth/enable", "");
    // The role that everybody has lets everybody in.
    let auto = agent(&etcd.endpoint(), &login);
    eventually("refused", || auto.log().contains("the v2 API lets everybody in although -username is set"));
    drop(auto);
    let root = V2::of(&etcd).with_login("cm9vdDpy");
    let removed = root.call("DELETE", "/v2/auth/roles/guest", json, "").expect("an answer");
    assert_eq!(removed.0, 200, "{}", removed.1);
    let auto = agent(&etcd.endpoint(), &login);
    knows(&auto, "a.skydns.local.", &["10.0.0.1"]);
    assert!(auto.log().contains("the password goes over http:// without TLS"), "{}", auto.log());
    root.put(A, &host(2));
    knows(&auto, "a.skydns.local.", &["10.0.0.2"]);
    let wrong = agent(&etcd.endpoint(), &["-username", "sky", "-password", "x", "-etcd-api", "v2"]);
    eventually("told", || wrong.log().contains("the v2 API has users of its own"));
    assert_eq!(rcode(&wrong, "a.skydns.local."), ResponseCode::ServFail);
}

#[test]
fn tls_takes_the_files_of_v3() {
    let files = Certificates::new();
    let mut args = files.of_server(true);
    args.push("--enable-v2".to_owned());
    let etcd = Etcd::start_with("https", &args.iter().map(String::as_str).collect::<Vec<_>>());
    let (ca, cert, key) = (files.path("ca.pem"), files.path("client.pem"), files.path("client.key"));
    let v2 = ["-etcd-api", "v2", "-ca-cert", &ca];
    let with = agent(&etcd.endpoint(), &[&v2[..], &["-tls-pem", &cert, "-tls-key", &key]].concat());
    in_sync(&with, 1);
    assert_eq!(rcode(&with, "a.skydns.local."), ResponseCode::NXDomain);
    let without = agent(&etcd.endpoint(), &v2);
    eventually("told", || without.log().contains("-tls-pem (ETCD_TLSPEM)"));
    let unknown = agent(&etcd.endpoint(), &["-etcd-api", "v2"]);
    eventually("told", || unknown.log().contains("-ca-cert (ETCD_CACERT)"));
}

/// An agent with a snapshot in a directory.
fn with_snapshot(etcd: &Etcd, dir: &tempfile::TempDir, args: &[&str]) -> Agent {
    let state = dir.path().to_str().expect("a path");
    agent(&etcd.endpoint(), &[&["-state-dir", state][..], args].concat())
}

/// Ends an agent as systemd does, so that it writes its snapshot.
fn end(mut agent: Agent) {
    agent.process.signal("-TERM");
    agent.process.wait();
}

#[test]
fn a_host_boots_without_its_store() {
    let (mut etcd, v2) = V2::server();
    let dir = tempfile::tempdir().expect("a directory");
    v2.put(A, &host(1));
    v2.put_ttl(B, &host(2), 900);
    v2.put("/skydns/local/skydns/TWIN", &host(4));
    v2.put("/skydns/local/skydns/twin", &host(3));
    v2.put("/skydns/config", r#"{"ttl":77}"#);
    let agent = with_snapshot(&etcd, &dir, &[]);
    in_sync(&agent, 1);
    end(agent);
    etcd.kill();
    let agent = with_snapshot(&etcd, &dir, &[]);
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    assert_eq!(agent.data("twin.skydns.local.", RecordType::A), ["10.0.0.3", "10.0.0.4"]);
    assert_eq!(error_code(&agent, "a.skydns.local."), Some(3));
    assert_eq!(rcode(&agent, "none.skydns.local."), ResponseCode::NXDomain);
    assert!(agent.log().contains("etcd-v2: 4 services from the snapshot"), "{}", agent.log());
    let ttl = agent.ask("b.skydns.local.", RecordType::A).answers[0].ttl;
    assert!(ttl <= 30, "stale: {ttl}");
    // Ended before the store is back, the agent has saved it all the same.
    end(agent);
    etcd.run();
    let agent = with_snapshot(&etcd, &dir, &[]);
    in_sync(&agent, 1);
    assert!(agent.log().contains("etcd-v2: in sync, 0 changes, 3 names"), "{}", agent.log());
    eventually("not stale", || error_code(&agent, "a.skydns.local.").is_none());
    let ttl = agent.ask("a.skydns.local.", RecordType::A).answers[0].ttl;
    assert_eq!(ttl, 77);
}

#[test]
fn what_was_read_before_is_read_again_until_it_is_empty() {
    let (mut etcd, v2) = V2::server();
    let dir = tempfile::tempdir().expect("a directory");
    v2.put(A, &host(1));
    let agent = with_snapshot(&etcd, &dir, &[]);
    in_sync(&agent, 1);
    etcd.put(B, &host(2));
    knows(&agent, "b.skydns.local.", &["10.0.0.2"]);
    end(agent);
    // v3 has keys now; the snapshot shows that v2 was read.
    let agent = with_snapshot(&etcd, &dir, &[]);
    in_sync(&agent, 1);
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    // Switched off, what is left of it stays over a restart.
    etcd.kill();
    etcd.run_with("--enable-v2", false);
    eventually("off", || agent.log().contains("etcd has no v2 API there"));
    end(agent);
    let agent = with_snapshot(&etcd, &dir, &[]);
    eventually("off", || agent.log().contains("etcd has no v2 API there"));
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    end(agent);
    etcd.kill();
    etcd.run_with("--enable-v2", true);
    v2.delete(A);
    let agent = with_snapshot(&etcd, &dir, &[]);
    knows(&agent, "a.skydns.local.", &[]);
    in_sync(&agent, 1);
    end(agent);
    v2.put(A, &host(3));
    let agent = with_snapshot(&etcd, &dir, &[]);
    eventually("told", || agent.log().contains("etcd-v2: not used: v3 holds the services"));
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), [""; 0]);
    assert_eq!(agent.data("b.skydns.local.", RecordType::A), ["10.0.0.2"]);
}

#[test]
fn v3_endpoints_of_another_cluster_are_refused_and_named() {
    let (mut first, second) = (Etcd::start(), Etcd::start());
    first.put(A, &host(1));
    second.put(A, &host(2));
    let machines = format!("{},{}", first.endpoint(), second.endpoint());
    let agent = agent(&machines, &["-etcd-api", "v3"]);
    knows(&agent, "a.skydns.local.", &["10.0.0.1"]);
    first.kill();
    eventually("refused", || agent.log().contains(&format!("{}: belongs to cluster ", second.endpoint())));
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    first.run();
    first.put(A, &host(3));
    knows(&agent, "a.skydns.local.", &["10.0.0.3"]);
}

#[test]
fn a_reload_of_other_settings_keeps_v2() {
    let (mut etcd, v2) = V2::server();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("variables");
    std::fs::write(&file, "").expect("a file");
    v2.put(A, &host(1));
    v2.put("/skydns/local/skydns/_tcp/x", &host(5));
    let agent = agent(&etcd.endpoint(), &["-env-file", file.to_str().expect("a path")]);
    in_sync(&agent, 1);
    etcd.put(B, &host(2));
    knows(&agent, "b.skydns.local.", &["10.0.0.2"]);
    // Sources that start now would not read v2: v3 holds keys.
    std::fs::write(&file, "SKYDNS_V2_ALSO=local/skydns/_tcp\n").expect("a file");
    agent.process.signal("-HUP");
    knows(&agent, "x._tcp.skydns.local.", &["10.0.0.5"]);
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    assert!(agent.log().contains("as they were before the reload"), "{}", agent.log());
    v2.put(A, &host(3));
    knows(&agent, "a.skydns.local.", &["10.0.0.3"]);
    eventually("not stale", || error_code(&agent, "a.skydns.local.").is_none());
    // What is left of it stays over a reload as well.
    etcd.kill();
    etcd.run_with("--enable-v2", false);
    eventually("off", || agent.log().contains("etcd has no v2 API there"));
    std::fs::write(&file, "SKYDNS_V2_ALSO=\n").expect("a file");
    agent.process.signal("-HUP");
    eventually("again", || agent.log().matches("as they were before the reload").count() == 2);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.3"]);
    etcd.put(A, &host(4));
    knows(&agent, "a.skydns.local.", &["10.0.0.4"]);
    // Only a setting gives it up.
    std::fs::write(&file, "SKYDNS_ETCD_API=v3\n").expect("a file");
    agent.process.signal("-HUP");
    eventually("gone", || rcode(&agent, "x._tcp.skydns.local.") == ResponseCode::NXDomain);
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.4"]);
}

#[test]
fn both_apis_are_asked_for_and_one_is_there() {
    let (etcd, v2) = V2::server();
    v2.put(A, &host(1));
    let old = Cutter::start(etcd.client_port, Cut::Http2);
    let agent = agent(&old.endpoint(), &["-etcd-api", "both"]);
    knows(&agent, "a.skydns.local.", &["10.0.0.1"]);
    eventually("denied", || rcode(&agent, "b.skydns.local.") == ResponseCode::NXDomain);
}
