//! What empties a site at once: `del --prefix`, an empty backup, leases that all end, a script that deletes bit by bit. With
//! `-hold-mass-deletion` the names are served on.

mod support;

use etcd_client::{DeleteOptions, PutOptions};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::etcd::Etcd;
use support::{Agent, Setup, ask, error_code, eventually, query};

/// Extended error 3, Stale Answer (RFC 8914).
const STALE: Option<u16> = Some(3);

fn key(n: usize) -> String {
    format!("/skydns/local/skydns/n{n}")
}

fn name(n: usize) -> String {
    format!("n{n}.skydns.local.")
}

fn fill(etcd: &Etcd, names: usize) {
    let pairs: Vec<_> = (0..names).map(|n| (key(n), format!(r#"{{"host":"10.0.0.{n}"}}"#))).collect();
    etcd.put_many(&pairs);
}

/// A store with 100 names and an agent in sync with it, which keeps its reports in `dir`.
fn site(dir: &Path, hold: &str) -> (Etcd, Agent) {
    let etcd = Etcd::start();
    fill(&etcd, 100);
    let agent = start(&etcd, dir, hold);
    (etcd, agent)
}

fn start(etcd: &Etcd, dir: &Path, hold: &str) -> Agent {
    let setup = Setup::new().variable("RUNTIME_DIRECTORY", dir.to_str().expect("a path"));
    let agent = setup.args(&["-machines", &etcd.endpoint(), "-hold-mass-deletion", hold]).start();
    eventually("in sync", || agent.log().contains("etcd: in sync"));
    agent
}

fn delete_below(etcd: &Etcd, prefix: &str) {
    let options = DeleteOptions::new().with_prefix();
    etcd.with(async |client| client.delete(prefix, Some(options)).await.expect("deleted"));
}

/// The numbers of the names that are denied.
fn denied(agent: &Agent) -> Vec<usize> {
    let is_denied = |n: &usize| {
        let reply = agent.ask(&name(*n), RecordType::A);
        reply.metadata.response_code == ResponseCode::NXDomain
    };
    (0..100).filter(is_denied).collect()
}

fn holds(agent: &Agent) -> bool {
    agent.log().contains("they are served on for")
}

/// `skydns accept`: its exit code, and what it prints.
fn accept(dir: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skydns"));
    let output = command.env("RUNTIME_DIRECTORY", dir).arg("accept").args(words).output().expect("an output");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_deletion_of_all_names_is_never_seen_and_goes_when_it_is_accepted() {
    let dir = tempfile::tempdir().expect("a directory");
    let (etcd, agent) = site(dir.path(), "30%,1h");
    assert_eq!(accept(dir.path(), &[]), (Some(0), "no names are served on that are gone\n".to_owned()));
    let (address, ends) = (agent.address(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let prober = scope.spawn(|| {
            let mut asked = 0;
            while !ends.load(Ordering::Relaxed) {
                let reply = ask(address, &query(&name(asked % 100), RecordType::A));
                assert_eq!(reply.answers.len(), 1, "{}", name(asked % 100));
                asked += 1;
            }
            asked
        });
        delete_below(&etcd, "/skydns/local/skydns/");
        eventually("it is held", || holds(&agent));
        std::thread::sleep(Duration::from_millis(500));
        ends.store(true, Ordering::Relaxed);
        assert!(prober.join().expect("no denial") > 100);
    });
    assert_eq!(agent.ask(&name(7), RecordType::A).answers[0].ttl, 30);
    assert_eq!(error_code(agent.address(), &name(7)), STALE);
    assert_eq!(error_code(agent.address(), "other.skydns.local."), None);
    let (code, told) = accept(dir.path(), &[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.starts_with("let go: 100 of 100 names of skydns.local. are deleted, and served on until "),
        "{told}"
    );
    assert_eq!(denied(&agent).len(), 100, "they are gone when the command ends");
    assert_eq!(accept(dir.path(), &[]), (Some(0), "no names are served on that are gone\n".to_owned()));
}

#[test]
fn the_command_tells_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let (code, told) = accept(dir.path(), &[]);
    assert!(code == Some(69) && told.contains("no agent runs here"), "{code:?} {told}");
    for words in [&["x"][..], &["0"], &["7", "8"]] {
        let (code, told) = accept(dir.path(), words);
        assert!(code == Some(64) && told.contains("skydns accept [PID]"), "{code:?} {told}");
    }
    // Another program would end by the signal.
    let other = support::Process::spawn(Command::new("sleep").arg("60"));
    let (code, told) = accept(dir.path(), &[&other.id().to_string()]);
    assert!(code == Some(69) && told.contains("is no agent that has started"), "{code:?} {told}");
    let (_etcd, mut agent) = site(dir.path(), "30%,1h");
    let pid = agent.process.id().to_string();
    assert_eq!(accept(dir.path(), &[&pid]).0, Some(0));
    // An agent that cannot report is told all the same.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let (code, told) = accept(elsewhere.path(), &[&pid]);
    assert!(code == Some(0) && told.contains("its log says what it let go"), "{code:?} {told}");
    eventually("the agent has heard it", || agent.log().contains("skydns accept: no names are served on"));
    agent.process.signal("-KILL");
    agent.process.wait();
    let (code, told) = accept(dir.path(), &[]);
    assert!(code == Some(69) && told.contains("has ended"), "{code:?} {told}");
}

#[test]
fn the_names_go_when_the_time_is_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let (etcd, agent) = site(dir.path(), "30%,3s");
    delete_below(&etcd, "/skydns/local/skydns/");
    eventually("it is held", || holds(&agent));
    eventually("the names are gone", || denied(&agent).len() == 100);
    assert!(agent.log().contains("the time of -hold-mass-deletion is over: 100 names are served no more"));
}

#[test]
fn an_empty_backup_empties_no_host_until_the_store_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut etcd = Etcd::start();
    etcd.kill();
    etcd.back_up();
    etcd.run();
    fill(&etcd, 100);
    let agent = start(&etcd, dir.path(), "30%,1h");
    etcd.kill();
    etcd.restore();
    etcd.run();
    eventually("it is held", || holds(&agent));
    assert_eq!(denied(&agent), [0; 0]);
    assert_eq!(error_code(agent.address(), &name(7)), STALE);
    // What the site puts again is as ever.
    fill(&etcd, 1);
    eventually("one name is back", || error_code(agent.address(), &name(0)).is_none());
    etcd.put("/skydns/accept", "");
    eventually("the others are gone", || denied(&agent).len() == 99);
}

#[test]
fn a_host_that_was_away_keeps_the_names_of_its_snapshot() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let [dir, state] = dirs.each_ref().map(tempfile::TempDir::path);
    let etcd = Etcd::start();
    fill(&etcd, 100);
    let start = || {
        let setup = Setup::new().variable("RUNTIME_DIRECTORY", dir.to_str().expect("a path"));
        let hold = ["-hold-mass-deletion", "30%,1h", "-state-dir", state.to_str().expect("a path")];
        let agent = setup.args(&["-machines", &etcd.endpoint()]).args(&hold).start();
        eventually("in sync", || agent.log().contains("etcd: in sync"));
        agent
    };
    let stop = |mut agent: Agent| {
        agent.process.signal("-TERM");
        assert!(agent.process.wait().success());
    };
    stop(start());
    delete_below(&etcd, "/skydns/local/skydns/");
    let agent = start();
    assert!(holds(&agent) && denied(&agent).is_empty(), "{}", agent.log());
    // Another start begins anew.
    stop(agent);
    let agent = start();
    assert!(holds(&agent) && denied(&agent).is_empty(), "{}", agent.log());
    stop(agent);
    // What the site has accepted in the meantime was meant.
    etcd.put("/skydns/accept", "");
    let agent = start();
    assert!(!holds(&agent) && denied(&agent).len() == 100, "{}", agent.log());
}

#[test]
fn leases_that_all_end_are_held_and_counted_apart() {
    let dir = tempfile::tempdir().expect("a directory");
    let (etcd, port) = (Etcd::start(), support::free_port());
    etcd.with(async |client| {
        let lease = client.lease_grant(60, None).await.expect("a lease").id();
        for n in 0..60 {
            let options = PutOptions::new().with_lease(lease);
            client.put(key(n), format!(r#"{{"host":"10.0.0.{n}"}}"#), Some(options)).await.expect("put");
        }
    });
    let short = etcd.with(async |client| client.lease_grant(4, None).await.expect("a lease").id());
    etcd.with(async |client| {
        for n in 60..100 {
            let options = PutOptions::new().with_lease(short);
            client.put(key(n), format!(r#"{{"host":"10.0.0.{n}"}}"#), Some(options)).await.expect("put");
        }
        // Kept until the agent has all.
        let (mut keeper, mut answers) = client.lease_keep_alive(short).await.expect("a keeper");
        for _ in 0..3 {
            keeper.keep_alive().await.expect("kept");
            answers.message().await.expect("an answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let setup = Setup::new().variable("RUNTIME_DIRECTORY", dir.path().to_str().expect("a path"));
    let setup = setup.variable("PROMETHEUS_PORT", &port.to_string());
    let agent = setup.args(&["-machines", &etcd.endpoint(), "-hold-mass-deletion", "30%,1h"]).start();
    eventually("the leases end", || holds(&agent));
    assert!(agent.log().contains("of 100 names ended with their leases within 10 s"), "{}", agent.log());
    assert_eq!(denied(&agent), [0; 0]);
    let page = support::run(Command::new("curl").args(["-s", &format!("http://127.0.0.1:{port}/metrics")]));
    for line in [
        r#"skydns_skydns_held_names{zone="skydns.local.",cause="lease_ended"} 40"#,
        r#"skydns_skydns_mass_losses_total{cause="lease_ended"} 1"#,
        r#"skydns_skydns_mass_losses_total{cause="deleted"} 0"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[test]
fn what_goes_bit_by_bit_comes_back_and_a_few_names_may_go() {
    let dir = tempfile::tempdir().expect("a directory");
    let (etcd, agent) = site(dir.path(), "30%,1h");
    for n in 0..29 {
        etcd.delete(&key(n));
    }
    eventually("29 names are gone", || denied(&agent).len() == 29);
    assert!(!holds(&agent));
    for n in 29..40 {
        etcd.delete(&key(n));
    }
    // A slow machine may take longer for it than losses are counted together.
    eventually("all are back, or each deletion was one of few", || {
        denied(&agent).is_empty() || (!holds(&agent) && denied(&agent).len() == 40)
    });
}

#[test]
fn a_zone_decides_for_itself_and_files_are_no_exception() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut setup = Setup::new().args(&["-domain", "skydns.local,site.example"]);
    for n in 0..30 {
        let host = r#"{"host":"10.0.0.1"}"#;
        setup = setup.record(&format!("local/skydns/n{n}"), host).record(&format!("example/site/n{n}"), host);
    }
    let zones = r#"{"zones":{"site.example":{"hold_mass_deletion":"off"}},"hold_mass_deletion":"50%,1h"}"#;
    let agent = setup
        .record("config", zones)
        .variable("RUNTIME_DIRECTORY", dir.path().to_str().expect("a path"))
        .start();
    assert_eq!(agent.data("n1.site.example.", RecordType::A), ["10.0.0.1"]);
    // The configuration goes as well.
    for gone in ["local", "example"] {
        std::fs::remove_dir_all(agent.records().join(gone)).expect("removed");
    }
    std::fs::remove_file(agent.records().join("config")).expect("removed");
    eventually("one zone is held", || holds(&agent));
    let code = |name: &str| agent.ask(name, RecordType::A).metadata.response_code;
    eventually("the other is empty", || code("n1.site.example.") == ResponseCode::NXDomain);
    assert_eq!(error_code(agent.address(), "n1.skydns.local."), STALE);
    assert_eq!(accept(dir.path(), &[]).0, Some(0));
    assert_eq!(code("n1.skydns.local."), ResponseCode::NXDomain);
}

#[test]
fn names_that_a_writer_changes_are_not_lost() {
    let (etcd, dir) = (Etcd::start(), tempfile::tempdir().expect("a directory"));
    let key = |n: usize, label: &str| format!("{}/4d65{label}{n:02x}", key(n));
    let value = |n: usize, net: u8| format!(r#"{{"host":"10.{net}.0.{n}","targetstrip":1}}"#);
    etcd.put_many(&(0..100).map(|n| (key(n, "aa"), value(n, 0))).collect::<Vec<_>>());
    let agent = start(&etcd, dir.path(), "30%,5m");
    // As external-dns does it.
    for n in 0..100 {
        etcd.delete(&key(n, "aa"));
        etcd.put(&key(n, "bb"), &value(n, 9));
    }
    let addresses = |n: usize| agent.short(&[&name(n)]);
    eventually("the last is new", || addresses(99) == ["10.9.0.99"]);
    for n in 0..100 {
        let reply = agent.ask(&name(n), RecordType::A);
        let shown: Vec<_> =
            reply.answers.iter().map(|record| (record.data.to_string(), record.ttl)).collect();
        assert_eq!(shown, [(format!("10.9.0.{n}"), 3600)], "{}", agent.log());
    }
    assert!(!agent.log().contains("served on"), "{}", agent.log());
    // What nothing takes the place of is lost as ever.
    delete_below(&etcd, "/skydns/local/");
    eventually("held", || agent.log().contains("they are served on for 300 s"));
    assert!(denied(&agent).is_empty());
}
