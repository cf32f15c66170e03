//! The program that starts while its store is away, with what it kept on disk.

mod support;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};
use support::etcd::Etcd;
use support::{Agent, Process, Setup, error_code, eventually, run};

/// A site of one etcd, and a host's state directory.
struct Site {
    etcd: Etcd,
    state: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { etcd: Etcd::start(), state: tempfile::tempdir().expect("a directory") }
    }

    fn file(&self) -> PathBuf {
        self.state.path().join("snapshot")
    }

    fn start(&self, args: &[&str]) -> Agent {
        let state = self.state.path().to_str().expect("a path");
        let machines = self.etcd.endpoint();
        let args = [&["-machines", &machines, "-state-dir", state], args].concat();
        Setup::new().args(&args).start()
    }

    /// A host that knew some names and went down, and a store that is away since.
    fn gone(names: &[(&str, &str)]) -> Self {
        let mut site = Self::new();
        site.etcd.put_all(names.iter().copied());
        let mut agent = site.start(&[]);
        eventually("in sync", || agent.log().contains("in sync"));
        stop(&mut agent);
        site.etcd.kill();
        site
    }
}

fn stop(agent: &mut Agent) {
    agent.process.signal("-TERM");
    assert!(agent.process.wait().success(), "{}", agent.log());
}

fn rcode(agent: &Agent, name: &str) -> ResponseCode {
    agent.ask(name, RecordType::A).metadata.response_code
}

fn age(file: &Path, seconds: u64) {
    let file = std::fs::File::options().write(true).open(file).expect("the snapshot");
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).expect("dated");
}

const NAMES: [(&str, &str); 3] = [
    ("/skydns/local/site/a", r#"{"host":"10.0.0.1"}"#),
    ("/skydns/local/site/www", r#"{"host":"a.site.local"}"#),
    ("/skydns/config", r#"{"domain":"site.local","ttl":17}"#),
];

#[test]
fn a_host_that_boots_alone_comes_up_as_it_went_down() {
    let mut site = Site::gone(&NAMES);
    let serial = |agent: &Agent| agent.short(&["site.local", "SOA"])[0].split(' ').nth(2).map(str::to_owned);
    let agent = site.start(&[]);
    assert_eq!(agent.data("a.site.local.", RecordType::A), ["10.0.0.1"]);
    assert_eq!(
        agent.ask("a.site.local.", RecordType::A).answers[0].ttl,
        17,
        "the store's configuration holds"
    );
    assert!(agent.data("www.site.local.", RecordType::A).contains(&"10.0.0.1".to_owned()));
    assert_eq!(rcode(&agent, "none.site.local."), ResponseCode::NXDomain);
    assert_eq!(error_code(agent.address(), "a.site.local."), Some(3));
    let before = serial(&agent);
    site.etcd.run();
    eventually("in sync", || error_code(agent.address(), "a.site.local.").is_none());
    assert!(agent.log().contains("in sync, 0 changes, 2 names"), "{}", agent.log());
    assert_eq!(serial(&agent), before, "nothing changed");
    site.etcd.delete("/skydns/local/site/a");
    eventually("the deletion shows", || rcode(&agent, "a.site.local.") == ResponseCode::NXDomain);
}

#[test]
fn each_domain_has_its_serial_again_after_a_restart() {
    let site = Site::new();
    let domains = ["one.example", "two.example", "in.two.example"];
    // As with the package, there is a directory of records, which is empty.
    let records = tempfile::tempdir().expect("a directory");
    let args = ["-records", records.path().to_str().expect("a path")];
    let config = r#"{"domain":["one.example","two.example","in.two.example"]}"#;
    site.etcd.put_all([("/skydns/config", config), ("/skydns/example/two/a", r#"{"host":"10.0.0.2"}"#)]);
    let serials = |agent: &Agent| {
        let serial =
            |domain: &str| agent.short(&[domain, "SOA"]).first()?.split(' ').nth(2)?.parse::<u32>().ok();
        domains.map(serial)
    };
    let mut agent = site.start(&args);
    eventually("in sync", || serials(&agent).iter().all(Option::is_some));
    std::thread::sleep(Duration::from_millis(1_100));
    site.etcd.put("/skydns/example/one/a", r#"{"host":"10.0.0.1"}"#);
    eventually("changed", || !agent.data("a.one.example.", RecordType::A).is_empty());
    let before = serials(&agent);
    assert!(before[0] > before[1] && before[0] > before[2], "{before:?}");
    for _ in 0..2 {
        stop(&mut agent);
        agent = site.start(&args);
        eventually("in sync", || {
            agent.log().contains("etcd: in sync") && agent.log().contains("files: in sync")
        });
        assert_eq!(serials(&agent), before, "{}", agent.log());
    }
}

#[test]
fn the_store_overrules_an_old_snapshot_before_the_first_answer() {
    let mut site = Site::gone(&NAMES);
    site.etcd.run();
    site.etcd.put("/skydns/local/site/a", r#"{"host":"10.0.0.2"}"#);
    site.etcd.delete("/skydns/local/site/www");
    site.etcd.put("/skydns/local/site/new", r#"{"host":"10.0.0.3"}"#);
    age(&site.file(), 3600);
    let agent = site.start(&[]);
    assert_eq!(agent.data("a.site.local.", RecordType::A), ["10.0.0.2"]);
    assert_eq!(agent.data("new.site.local.", RecordType::A), ["10.0.0.3"]);
    assert_eq!(rcode(&agent, "www.site.local."), ResponseCode::NXDomain);
}

#[test]
fn what_changes_is_kept_without_a_stop() {
    let mut site = Site::new();
    site.etcd.put_all(NAMES);
    let mut agent = site.start(&[]);
    eventually("the first snapshot", || site.file().exists());
    let lease = site.etcd.put_with_lease("/skydns/local/site/leased", r#"{"host":"10.0.0.8"}"#, 10);
    assert_ne!(lease, 0);
    let end = Instant::now() + Duration::from_secs(11);
    site.etcd.put("/skydns/local/site/late", r#"{"host":"10.0.0.7"}"#);
    let holds = |text: &[u8]| {
        let file = std::fs::read(site.file()).expect("the snapshot");
        file.windows(text.len()).any(|octets| octets == text)
    };
    eventually("the second", || holds(b"\x04late") && holds(b"\x06leased"));
    agent.process.signal("-KILL");
    agent.process.wait();
    site.etcd.kill();
    // The lease ends while its store is away: its owner could not renew it, so it stays.
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    let agent = site.start(&[]);
    assert_eq!(agent.data("late.site.local.", RecordType::A), ["10.0.0.7"]);
    assert_eq!(agent.data("leased.site.local.", RecordType::A), ["10.0.0.8"]);
}

#[test]
fn what_cannot_be_believed_is_refused_and_does_not_stop_the_start() {
    let site = Site::gone(&NAMES);
    let whole = std::fs::read(site.file()).expect("the snapshot");
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    let mut newer = whole.clone();
    newer[11] = 9;
    for (octets, reason) in [
        (&whole[..whole.len() - 9], "its checksum is wrong: it is cut short or damaged"),
        (&damaged[..], "its checksum is wrong: it is cut short or damaged"),
        (&newer[..], "it has version 9 of the format, which is later than this program reads"),
        (b"#!/bin/sh\n", "it is not a snapshot"),
        (b"", "it is not a snapshot"),
    ] {
        std::fs::write(site.file(), octets).expect("written");
        let mut agent = site.start(&[]);
        assert!(agent.log().contains(&format!("is not used: {reason}")), "{}", agent.log());
        assert_eq!(error_code(agent.address(), "a.site.local."), Some(14));
        stop(&mut agent);
        assert_eq!(
            std::fs::read(site.file()).expect("the snapshot"),
            octets,
            "what was not read is not written"
        );
    }
    std::fs::write(site.file(), whole).expect("written");
    let agent = site.start(&["-path-prefix", "other"]);
    assert!(agent.log().contains("it is of keys below /skydns/, not below /other/"), "{}", agent.log());
}

#[test]
fn an_endpoint_that_is_misspelt_costs_no_name() {
    let site = Site::gone(&NAMES);
    let mut agent = site.start(&["-machines", "http://127.0.0.1:9"]);
    assert_eq!(agent.data("a.site.local.", RecordType::A), ["10.0.0.1"]);
    assert_eq!(error_code(agent.address(), "nothing.site.local."), Some(3));
    assert!(agent.log().contains("where no endpoint is now"), "{}", agent.log());
    stop(&mut agent);
    // The right endpoint again: what it says counts, whatever its revision is.
    let other = Etcd::start();
    other.put_all([("/skydns/local/site/a", r#"{"host":"10.0.0.9"}"#), NAMES[2]]);
    let agent = site.start(&["-machines", &other.endpoint()]);
    eventually("the other etcd is read", || agent.data("a.site.local.", RecordType::A) == ["10.0.0.9"]);
    assert_eq!(rcode(&agent, "www.site.local."), ResponseCode::NXDomain);
}

#[test]
fn a_disk_that_takes_nothing_costs_the_snapshot_only() {
    let site = Site::new();
    site.etcd.put_all(NAMES);
    std::fs::create_dir(site.file().with_file_name(".snapshot.new")).expect("a directory in the way");
    let mut agent = site.start(&[]);
    eventually("the trouble is told", || {
        agent.log().contains("cannot be written: creating it: Is a directory")
    });
    assert_eq!(agent.data("a.site.local.", RecordType::A), ["10.0.0.1"]);
    site.etcd.put("/skydns/local/site/b", r#"{"host":"10.0.0.2"}"#);
    eventually("changes go on", || agent.data("b.site.local.", RecordType::A) == ["10.0.0.2"]);
    std::fs::remove_dir(site.file().with_file_name(".snapshot.new")).expect("removed");
    eventually("its end is told", || agent.log().contains("is written again"));
    stop(&mut agent);
    let gone = site.state.path().join("none");
    let mut agent = site.start(&["-state-dir", gone.to_str().expect("a path")]);
    let told = format!(
        "refused: flag -state-dir: no file can be made in the directory {}: No such file",
        gone.display()
    );
    eventually("the trouble is told", || agent.log().contains(&told));
    assert_eq!(agent.data("a.site.local.", RecordType::A), ["10.0.0.1"]);
    stop(&mut agent);
}

#[test]
fn a_reload_with_other_sources_keeps_their_snapshot() {
    let mut site = Site::new();
    site.etcd.put_all(NAMES);
    site.etcd.put("/other/local/site/o", r#"{"host":"10.0.0.6"}"#);
    site.etcd.put("/other/config", r#"{"domain":"site.local"}"#);
    let file = site.state.path().join("variables");
    std::fs::write(&file, "").expect("written");
    let file_arg = file.to_str().expect("a path");
    let mut agent = site.start(&["-env-file", file_arg]);
    eventually("in sync", || agent.log().contains("in sync"));
    std::fs::write(&file, "SKYDNS_PATH_PREFIX=other\n").expect("written");
    agent.process.signal("-HUP");
    eventually("reloaded", || agent.log().contains("reloaded"));
    assert_eq!(agent.data("o.site.local.", RecordType::A), ["10.0.0.6"]);
    stop(&mut agent);
    site.etcd.kill();
    let agent = site.start(&["-env-file", file_arg]);
    assert_eq!(agent.data("o.site.local.", RecordType::A), ["10.0.0.6"]);
}

#[test]
fn systemds_state_directory_counts_when_no_other_is_named() {
    let site = Site::new();
    site.etcd.put_all(NAMES);
    let directories = format!("{}:/nowhere", site.state.path().display());
    let mut agent = Setup::new()
        .args(&["-machines", &site.etcd.endpoint()])
        .variable("STATE_DIRECTORY", &directories)
        .start();
    eventually("in sync", || agent.log().contains("in sync"));
    stop(&mut agent);
    assert!(site.file().exists());
    let mode = run(Command::new("stat").args(["-c", "%a"]).arg(site.file()));
    assert_eq!(mode.trim(), "600");
}

#[test]
fn a_state_directory_that_cannot_be_used_leaves_systemds_in_use() {
    let site = Site::gone(&NAMES);
    let state = site.state.path().to_str().expect("a path");
    let settings = tempfile::NamedTempFile::new().expect("a file");
    let path = settings.path().display().to_string();
    let start = |args: &[&str]| {
        Setup::new()
            .args(&["-machines", &site.etcd.endpoint(), "-env-file", &path])
            .args(args)
            .variable("STATE_DIRECTORY", state)
            .start()
    };
    for unusable in ["/proc".to_owned(), site.state.path().join("none").display().to_string(), path.clone()] {
        std::fs::write(&path, format!("\nSKYDNS_STATE_DIR={unusable}\n")).expect("written");
        let mut agent = start(&[]);
        let told = format!("{path}:2: SKYDNS_STATE_DIR: no file can be made in the directory {unusable}: ");
        eventually("it is refused", || agent.log().contains(&told));
        assert_eq!(agent.data("a.site.local.", RecordType::A), ["10.0.0.1"], "{unusable}");
        let check = Command::new(env!("CARGO_BIN_EXE_skydns"))
            .args(["check", "-offline", "-env-file", &path])
            .output()
            .expect("a check");
        let text = String::from_utf8_lossy(&check.stdout);
        assert!(check.status.code() == Some(78) && text.contains(&told), "{text}");
        stop(&mut agent);
    }
}

/// A command for which a directory is /etc.
fn with_etc(etc: &Path, of: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg("mount --bind \"$0\" /etc && exec \"$@\"").arg(etc).arg(of.get_program()).args(of.get_args());
    command
}

#[test]
fn the_default_directory_of_records_is_missed_when_it_is_gone() {
    let (etc, state) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (records, away) = (etc.path().join("skydns/records"), etc.path().join("away"));
    std::fs::create_dir_all(records.join("local/skydns")).expect("a directory");
    std::fs::write(records.join("local/skydns/a"), r#"{"host":"10.0.0.1"}"#).expect("a file");
    let state = state.path().to_str().expect("a path");
    let start = || {
        let (of, port, dir) = Setup::new().args(&["-state-dir", state]).command();
        let log = std::fs::File::create(dir.path().join("log")).expect("a file");
        let process = Process::spawn(with_etc(etc.path(), &of).stderr(log));
        let agent = Agent { process, port, dir };
        eventually("the agent is ready", || agent.log().contains("upstreams: "));
        agent
    };
    let told = "/etc/skydns/records: the directory of records, which was in use, is gone";
    let mut agent = start();
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    std::fs::rename(&records, &away).expect("moved");
    agent.process.signal("-HUP");
    eventually("reloaded", || agent.log().contains("reloaded, but 1 setting is refused"));
    assert!(agent.log().contains(&format!("refused: {told}")), "{}", agent.log());
    assert!(!agent.log().contains("the new sources"), "etcd is not to blame: {}", agent.log());
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"], "the names of before stay");
    stop(&mut agent);
    let agent = start();
    assert!(agent.log().contains(&format!("refused: {told}")), "{}", agent.log());
    assert_eq!(rcode(&agent, "a.skydns.local."), ResponseCode::ServFail, "nothing is denied");
    let mut check = Command::new(env!("CARGO_BIN_EXE_skydns"));
    check.args(["check", "-offline", "-state-dir", state]);
    let check = with_etc(etc.path(), &check).output().expect("a check");
    let text = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.code() == Some(78) && text.contains(&format!("problem: {told}")), "{text}");
    std::fs::rename(&away, &records).expect("moved");
    eventually("it is read", || agent.data("a.skydns.local.", RecordType::A) == ["10.0.0.1"]);
    eventually("the refusal ends", || agent.log().contains(&format!("not refused any more: {told}")));
}

#[test]
fn a_start_with_ten_thousand_names_waits_for_nobody() {
    let mut site = Site::new();
    let names: Vec<_> = (0..10_000)
        .map(|n| {
            (
                format!("/skydns/local/skydns/r{}/s{n}", n / 100),
                format!(r#"{{"host":"10.0.{}.{}"}}"#, n / 250, n % 250),
            )
        })
        .collect();
    site.etcd.put_many(&names);
    let mut agent = site.start(&[]);
    eventually("in sync", || agent.log().contains("in sync"));
    stop(&mut agent);
    site.etcd.kill();
    let mut times = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let agent = site.start(&[]);
        assert_eq!(agent.data("s9999.r99.skydns.local.", RecordType::A), ["10.0.39.249"]);
        times.push(begun.elapsed());
    }
    times.sort();
    println!("start to answer, 10,000 names: median {:?}", times[2]);
}
