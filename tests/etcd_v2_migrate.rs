//! `skydns migrate`: services of etcd's v2 API that are carried to v3.

mod support;

use etcd_client::GetOptions;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::certificates::Certificates;
use support::cutter::{Cut, Cutter};
use support::etcd::Etcd;
use support::v2::V2;
use support::{Process, eventually};

const BASE: &str = "/skydns/local/skydns";

fn host(n: u8) -> String {
    format!("{{\"host\":\"10.0.0.{n}\"}}")
}

fn command(etcd: &Etcd, args: &[&str]) -> Command {
    command_at(&etcd.endpoint(), args)
}

fn command_at(machines: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skydns"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(["migrate", "-from", "v2", "-to", "v3", "-machines", machines]);
    command.args(["-env-file", "/dev/null"]).args(args);
    command
}

/// Runs the command; its exit code and what it said.
fn migrate(etcd: &Etcd, args: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = command(etcd, args).output().expect("it runs");
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().expect("a code"), text)
}

/// All keys of v3 below a prefix, each with its value and whether it has a lease.
fn keys(etcd: &Etcd, prefix: &str) -> Vec<(String, String, bool)> {
    etcd.with(async |client| {
        let found = client.get(prefix, Some(GetOptions::new().with_prefix())).await.expect("keys");
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        found.kvs().iter().map(|kv| (text(kv.key()), text(kv.value()), kv.lease() != 0)).collect()
    })
}

/// The names of the keys below the base.
fn names(etcd: &Etcd) -> Vec<String> {
    keys(etcd, BASE).into_iter().map(|(key, ..)| key[BASE.len() + 1..].to_owned()).collect()
}

#[test]
fn everything_is_carried_once_and_again() {
    let (etcd, v2) = V2::server();
    v2.put(&format!("{BASE}/a"), &host(1));
    v2.put_ttl(&format!("{BASE}/ends"), &host(2), 100);
    v2.make_dir(&format!("{BASE}/dir"), "&ttl=50");
    v2.put(&format!("{BASE}/dir/x"), &host(3));
    v2.put(&format!("{BASE}/web"), &host(4));
    v2.put(&format!("{BASE}/WEB"), &host(5));
    v2.put(&format!("{BASE}/c:1/host:8080"), &host(6));
    v2.put("/skydns/config", r#"{"ttl":77}"#);
    v2.put(&format!("{BASE}/native"), &host(7));
    etcd.put(&format!("{BASE}/native"), &host(70));
    let (code, told) = migrate(&etcd, &["-dry-run"]);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains("8 keys in v2: 7 would be written to v3, 0 there already, 1 of other writers there"),
        "{told}"
    );
    assert_eq!(names(&etcd), ["native"]);
    assert!(keys(&etcd, "/skydns-migration").is_empty());
    let (code, told) = migrate(&etcd, &[]);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains("8 keys in v2: 7 written to v3, 0 there already, 1 of other writers there"),
        "{told}"
    );
    assert_eq!(names(&etcd), ["WEB", "a", "c:1/host:8080", "dir/x", "ends", "native", "web"]);
    let leased: Vec<_> = keys(&etcd, BASE).into_iter().filter(|key| key.2).map(|key| key.0).collect();
    assert_eq!(leased, [format!("{BASE}/dir/x"), format!("{BASE}/ends")]);
    assert_eq!(keys(&etcd, "/skydns/config")[0].1, r#"{"ttl":77}"#);
    assert_eq!(keys(&etcd, &format!("{BASE}/native"))[0].1, host(70));
    let (code, told) = migrate(&etcd, &[]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("0 written to v3, 7 there already, 1 of other writers there"), "{told}");
    // What changed in v2, what is gone there, and what somebody else has taken over in v3.
    v2.put(&format!("{BASE}/a"), &host(8));
    v2.delete(&format!("{BASE}/web"));
    v2.put(&format!("{BASE}/WEB"), &host(9));
    etcd.put(&format!("{BASE}/WEB"), &host(90));
    let (code, told) = migrate(&etcd, &[]);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains("1 written to v3") && told.contains("2 of other writers there (2 with another value"),
        "{told}"
    );
    assert!(told.contains("; 1 key removed from v3"), "{told}");
    assert_eq!(names(&etcd), ["WEB", "a", "c:1/host:8080", "dir/x", "ends", "native"]);
    assert_eq!(keys(&etcd, &format!("{BASE}/a"))[0].1, host(8));
    assert_eq!(keys(&etcd, &format!("{BASE}/WEB"))[0].1, host(90));
}

#[test]
fn what_cannot_be_carried_is_named() {
    let (etcd, v2) = V2::server();
    v2.put(&format!("{BASE}/good"), &host(1));
    v2.put(&format!("{BASE}/bad"), "{");
    v2.put(&format!("{BASE}/{}", "l".repeat(64)), &host(2));
    let (status, _) = v2.request("PUT", &format!("{BASE}/latin"), "value=%7B%22text%22%3A%22%E9%22%7D");
    assert_eq!(status, 201);
    v2.put(&format!("{BASE}/web/_tcp/x"), &host(3));
    v2.put(&format!("{BASE}/web/y"), &host(4));
    let (code, told) = migrate(&etcd, &[]);
    assert_eq!(code, 65, "{told}");
    for part in [
        &format!("{BASE}/bad: cannot be carried: "),
        &format!("{BASE}/latin: cannot be carried: it is no UTF-8"),
        &format!("{BASE}/web/_tcp: cannot be carried: it is hidden: name it with -v2-also"),
        "64 octets",
        "2 keys in v2: 2 written to v3",
        "4 keys cannot be carried",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let (code, told) = migrate(&etcd, &["-v2-also", "local/skydns/web/_tcp"]);
    assert_eq!(code, 65, "{told}");
    assert_eq!(names(&etcd), ["good", "web/_tcp/x", "web/y"]);
    // A directory that has nothing else.
    v2.put(&format!("{BASE}/alone/_udp/x"), &host(6));
    let (_, told) = migrate(&etcd, &[]);
    assert!(told.contains("alone/_udp: cannot be carried: it is hidden"), "{told}");
    v2.delete_dir(&format!("{BASE}/alone"));
    // A hidden directory in a hidden one: the one above is named as long as it has something that is not read.
    v2.put(&format!("{BASE}/web/_tcp/_http/x"), &host(5));
    let (_, told) = migrate(&etcd, &["-v2-also", "local/skydns/web/_tcp/_http"]);
    assert!(told.contains("web/_tcp: cannot be carried: it is hidden"), "{told}");
    v2.delete(&format!("{BASE}/web/_tcp/x"));
    let (_, told) = migrate(&etcd, &["-v2-also", "local/skydns/web/_tcp/_http"]);
    assert!(!told.contains("it is hidden"), "{told}");
}

#[test]
fn answers_are_compared() {
    let (etcd, v2) = V2::server();
    for n in 1..20 {
        v2.put(
            &format!("{BASE}/east/n{n}"),
            &format!("{{\"host\":\"10.0.0.{n}\",\"port\":80,\"text\":\"t{n}\"}}"),
        );
    }
    v2.put("/skydns/arpa/in-addr/10/0/0/1", r#"{"host":"n1.east.skydns.local"}"#);
    let (code, told) = migrate(&etcd, &["-verify"]);
    assert_eq!(code, 1, "{told}");
    assert!(
        told.contains("n7.east.skydns.local. A: NOERROR [n7.east.skydns.local. A 10.0.0.7]; v3 alone: "),
        "{told}"
    );
    assert_eq!(migrate(&etcd, &[]).0, 0);
    // What only v3 has is no difference.
    etcd.put(&format!("{BASE}/west/m"), &host(1));
    etcd.put(&format!("{BASE}/east/other"), &host(99));
    let (code, told) = migrate(&etcd, &["-verify"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains(": 0 differences; 3 names of v3 alone"), "{told}");
    // A service that v3 has under another key.
    etcd.delete(&format!("{BASE}/east/n3"));
    let (code, told) = migrate(&etcd, &["-verify"]);
    assert_eq!(code, 1, "{told}");
    assert!(
        told.contains("n3.east.skydns.local. A: ") && !told.contains("n4.east.skydns.local. A: "),
        "{told}"
    );
    // Another value in v3 wins with v2 and without it.
    etcd.put(&format!("{BASE}/east/n3"), &host(33));
    assert_eq!(migrate(&etcd, &["-verify"]).0, 0);
}

#[test]
fn another_store_is_written_to() {
    let ((from, v2), to) = (V2::server(), Etcd::start());
    v2.put(&format!("{BASE}/a"), &host(1));
    let (code, told) = migrate(&from, &["-to-machines", &to.endpoint()]);
    assert_eq!(code, 0, "{told}");
    assert_eq!((names(&to), names(&from).len()), (vec!["a".to_owned()], 0));
    assert_eq!(migrate(&from, &["-to-machines", &to.endpoint(), "-verify"]).0, 0);
}

#[test]
fn the_other_store_has_certificates_of_its_own() {
    let ((from, v2), files) = (V2::server(), Certificates::new());
    v2.put(&format!("{BASE}/a"), &host(1));
    let args = files.of_server(true);
    let to = Etcd::start_with("https", &args.iter().map(String::as_str).collect::<Vec<_>>());
    let (ca, cert, key) = (files.path("ca.pem"), files.path("client.pem"), files.path("client.key"));
    let (endpoint, missing) = (to.endpoint(), files.path("none.pem"));
    let carry = |args: &[&str]| migrate(&from, &[&["-to-machines", &endpoint], args].concat());
    let (code, told) = carry(&["-to-ca-cert", &ca, "-to-cert", &cert, "-to-key", &key]);
    assert_eq!(code, 0, "{told}");
    let carried = to.with_options(Some(files.of_client()), async |client| {
        let found = client.get(format!("{BASE}/a"), None).await.expect("an answer");
        found.kvs().iter().map(|kv| kv.value().to_vec()).collect::<Vec<_>>()
    });
    assert_eq!(carried, [host(1).into_bytes()]);
    assert_eq!(carry(&["-verify", "-to-ca-cert", &ca, "-to-cert", &cert, "-to-key", &key]).0, 0);
    for (args, expected, part) in [
        (&["-to-cert", &cert, "-to-key", &key][..], 69, "-to-ca-cert"),
        (&["-to-ca-cert", &ca], 69, "-to-cert"),
        (&["-to-ca-cert", &missing], 78, "-to-ca-cert: /"),
        (&["-to-ca-cert", &ca, "-to-cert", &cert, "-to-key", &ca], 78, "ca.pem"),
    ] {
        let (code, told) = carry(args);
        assert!(code == expected && told.contains(part), "{args:?}: {code} {told}");
    }
    // Files are found in the directory in which the command is typed.
    let mut typed = command(&from, &["-to-machines", &endpoint, "-to-ca-cert", "ca.pem"]);
    typed.current_dir(files.path("")).args(["-to-cert", "./client.pem", "-to-key", "client.key"]);
    assert_eq!(typed.output().expect("it runs").status.code(), Some(0));
}

#[test]
fn a_store_that_is_away_and_words_that_are_wrong_have_their_own_codes() {
    let (mut etcd, _) = V2::server();
    let off = Etcd::start();
    let (code, told) = migrate(&off, &[]);
    assert!(code == 69 && told.contains("etcd has no v2 API there"), "{code} {told}");
    let (code, told) = migrate(&etcd, &["-to-machines", "http://127.0.0.1:1"]);
    assert!(code == 69 && told.contains("v3: http://127.0.0.1:1"), "{code} {told}");
    etcd.kill();
    let (code, told) = migrate(&etcd, &[]);
    assert!(code == 69 && told.contains("migrate: v2: "), "{code} {told}");
    for (args, part) in [
        (&["-dry-run", "-follow"][..], "one of -dry-run, -follow and -verify at most; usage: skydns migrate"),
        (&["-to", "v2"], "it takes -from v2 -to v3"),
        (&["-to-cert", "x"], "are those of the store of -to-machines"),
    ] {
        let (code, told) = migrate(&etcd, args);
        assert!(code == 64 && told.contains(part), "{args:?}: {code} {told}");
    }
    assert_eq!(migrate(&etcd, &["-to-machines", "ftp://x"]).0, 64);
}

#[test]
fn a_member_that_is_away_is_passed_over() {
    let mut members = Etcd::cluster_with(3, &["--enable-v2"]);
    let v2 = V2::of(&members[2]);
    v2.put(&format!("{BASE}/a"), &host(1));
    let endpoints = members.iter().map(Etcd::endpoint).collect::<Vec<_>>().join(",");
    let mut command = command_at(&endpoints, &["-follow"]);
    let _follower = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
    eventually("carried", || names(&members[2]) == ["a"]);
    members[0].kill();
    eventually("followed", || v2.try_put(&format!("{BASE}/b"), &host(2)));
    eventually("followed", || names(&members[2]) == ["a", "b"]);
    // Who begins now passes it over as well, also if it does not even refuse.
    let output = command_at(&endpoints, &["-dry-run"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    members[0].run();
    members[0].process.as_ref().expect("a process").signal("-STOP");
    let output = command_at(&endpoints, &["-dry-run"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn keys_of_one_cluster_do_not_go_to_another_by_mistake() {
    let ((etcd, v2), other) = (V2::server(), Etcd::start());
    v2.put(&format!("{BASE}/a"), &host(1));
    // The first one has no v2 API, and is of another cluster.
    let endpoints = format!("{},{}", other.endpoint(), etcd.endpoint());
    assert_eq!(command_at(&endpoints, &[]).output().expect("it runs").status.code(), Some(0));
    assert_eq!((names(&etcd), names(&other).len()), (vec!["a".to_owned()], 0));
}

/// Where keys would go to is never a guess.
#[test]
fn a_setting_of_the_stores_that_cannot_be_used_ends_it() {
    let (etcd, _) = V2::server();
    for (variable, value, part) in [
        ("ETCD_MACHINES", "ftp://x", "ETCD_MACHINES: \"ftp://x\" is not the URL of an etcd endpoint"),
        ("SKYDNS_V2_ALSO", "local//_tcp", "SKYDNS_V2_ALSO: \"local//_tcp\" is not the path of a key"),
        ("ETCD_TLSPEM", "/none.pem", "ETCD_TLSPEM"),
    ] {
        let output = command(&etcd, &["-dry-run"]).env(variable, value).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(78) && told.contains(part), "{variable}: {told}");
    }
    // Others do not matter.
    let output = command(&etcd, &["-dry-run"]).env("SKYDNS_NDOTS", "x").output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn copies_stay_when_the_whole_store_is_empty() {
    let (etcd, v2) = V2::server();
    v2.put(&format!("{BASE}/a"), &host(1));
    v2.put(&format!("{BASE}/b"), &host(2));
    assert_eq!(migrate(&etcd, &[]).0, 0);
    assert!(!keys(&etcd, "/skydns-migration/").is_empty());
    v2.delete_dir("/skydns");
    let (code, told) = migrate(&etcd, &[]);
    assert!(
        code == 0 && told.contains("2 keys kept in v3, because v2 lost them when most of it went at once"),
        "{code} {told}"
    );
    assert!(told.contains("the marks of the move are removed"), "{told}");
    assert_eq!(names(&etcd), ["a", "b"]);
    assert!(keys(&etcd, "/skydns-migration/").is_empty());
    // They belong to nobody now.
    v2.put(&format!("{BASE}/c"), &host(3));
    assert_eq!(migrate(&etcd, &[]).0, 0);
    assert_eq!(names(&etcd), ["a", "b", "c"]);
}

#[test]
fn changes_are_followed_until_a_signal() {
    let (etcd, v2) = V2::server();
    v2.put(&format!("{BASE}/a"), &host(1));
    v2.put_ttl(&format!("{BASE}/renewed"), &host(2), 10);
    let mut command = command(&etcd, &["-follow"]);
    let mut follower = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
    eventually("carried", || names(&etcd) == ["a", "renewed"]);
    let (code, told) = migrate(&etcd, &[]);
    assert!(code == 69 && told.contains("another one carries keys to this store now"), "{code} {told}");
    v2.put(&format!("{BASE}/a"), &host(3));
    v2.put(&format!("{BASE}/b"), &host(4));
    let start = Instant::now();
    eventually("followed", || names(&etcd) == ["a", "b", "renewed"]);
    eventually("followed", || keys(&etcd, &format!("{BASE}/a"))[0].1 == host(3));
    println!("followed after {:?}", start.elapsed());
    v2.delete(&format!("{BASE}/b"));
    eventually("removed", || names(&etcd) == ["a", "renewed"]);
    // Nobody is told of a refresh.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(15) {
        v2.refresh(&format!("{BASE}/renewed"), 10);
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(names(&etcd), ["a", "renewed"]);
    v2.put(&format!("{BASE}/renewed"), &host(2));
    eventually("no lease any more", || !keys(&etcd, &format!("{BASE}/renewed"))[0].2);
    v2.put_ttl(&format!("{BASE}/renewed"), &host(2), 2);
    eventually("ended", || names(&etcd) == ["a"]);
    follower.signal("-TERM");
    assert_eq!(follower.wait().code(), Some(0));
    assert_eq!(migrate(&etcd, &[]).0, 0, "the lock is free again");
}

#[test]
fn copies_stay_when_the_store_went_back_in_time() {
    let (mut etcd, v2) = V2::server();
    let to = Etcd::start();
    v2.put(&format!("{BASE}/k1"), &host(1));
    etcd.kill();
    etcd.back_up();
    etcd.run();
    for n in 2..8 {
        v2.put(&format!("{BASE}/k{n}"), &host(n));
    }
    let mut command = command(&etcd, &["-follow", "-to-machines", &to.endpoint()]);
    let _follower = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
    eventually("carried", || names(&to).len() == 7);
    etcd.kill();
    etcd.restore();
    etcd.run();
    // The first writer registers again, and several passes see what v2 has now.
    v2.put(&format!("{BASE}/k1"), &host(9));
    eventually("followed", || keys(&to, &format!("{BASE}/k1"))[0].1 == host(9));
    for n in 0..4 {
        v2.put(&format!("{BASE}/k1"), &host(10 + n));
        eventually("followed", || keys(&to, &format!("{BASE}/k1"))[0].1 == host(10 + n));
    }
    assert_eq!(names(&to).len(), 7);
}

#[test]
fn another_cluster_in_the_place_of_the_first_is_not_followed() {
    let ((first, v2), (second, other), to) = (V2::server(), V2::server(), Etcd::start());
    v2.put(&format!("{BASE}/a"), &host(1));
    other.put(&format!("{BASE}/b"), &host(2));
    let front = Cutter::start(first.client_port, Cut::After(Duration::from_secs(3)));
    let log = tempfile::NamedTempFile::new().expect("a file");
    let mut command = command_at(&front.endpoint(), &["-follow", "-to-machines", &to.endpoint()]);
    let told = log.reopen().expect("a file");
    let _follower = Process::spawn(command.stdout(Stdio::null()).stderr(told));
    eventually("carried", || names(&to) == ["a"]);
    front.lead_to(second.client_port);
    eventually("it is told", || {
        let told = std::fs::read_to_string(log.path()).expect("text");
        told.contains("it is of another cluster than at the beginning")
    });
    assert_eq!(names(&to), ["a"]);
    // What the first one says counts again.
    front.lead_to(first.client_port);
    v2.put(&format!("{BASE}/c"), &host(3));
    eventually("followed", || names(&to) == ["a", "c"]);
}

#[test]
fn copies_stay_when_writers_come_back_to_a_store_that_was_emptied() {
    let (etcd, v2) = V2::server();
    (1..8).for_each(|n| v2.put(&format!("{BASE}/k{n}"), &host(n)));
    let mut command = command(&etcd, &["-follow"]);
    let _follower = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
    eventually("carried", || names(&etcd).len() == 7);
    v2.delete_dir("/skydns/local");
    std::thread::sleep(Duration::from_secs(3));
    // One writer after the other registers again, one of them with another value.
    for n in 1..4 {
        v2.put(&format!("{BASE}/k{n}"), &host(n + 10));
        eventually("followed", || keys(&etcd, &format!("{BASE}/k{n}"))[0].1 == host(n + 10));
    }
    assert_eq!(names(&etcd).len(), 7);
    let (code, told) = migrate(&etcd, &["-dry-run"]);
    assert!(code == 0 && told.contains("local/skydns/k7: kept in v3; v2 does not have it"), "{code} {told}");
    // What is deleted now is gone.
    v2.delete(&format!("{BASE}/k2"));
    eventually("removed", || names(&etcd) == ["k1", "k3", "k4", "k5", "k6", "k7"]);
    // What comes back is one like others.
    v2.put(&format!("{BASE}/k7"), &host(7));
    std::thread::sleep(Duration::from_secs(3));
    v2.delete(&format!("{BASE}/k7"));
    eventually("removed", || names(&etcd) == ["k1", "k3", "k4", "k5", "k6"]);
}

#[test]
fn what_goes_at_once_is_kept_and_what_goes_bit_by_bit_is_removed() {
    let (etcd, v2) = V2::server();
    (1..9).for_each(|n| v2.put(&format!("{BASE}/k{n}"), &host(n)));
    v2.put(&format!("{BASE}/_tcp/x"), &host(9));
    v2.put("/skydns/config", r#"{"ttl":77}"#);
    assert_eq!(migrate(&etcd, &["-v2-also", "local/skydns/_tcp"]).0, 0);
    // Hidden keys that this run does not look at are not gone.
    v2.delete(&format!("{BASE}/k8"));
    let (code, told) = migrate(&etcd, &[]);
    assert!(code == 65 && told.contains("1 key removed from v3"), "{code} {told}");
    assert_eq!(names(&etcd).len(), 8, "{told}");
    // One of the writers was faster than the one who looks.
    v2.delete_dir("/skydns/local");
    v2.put(&format!("{BASE}/k1"), &host(11));
    let (code, told) = migrate(&etcd, &[]);
    assert!(code == 0 && told.contains("7 keys kept in v3"), "{code} {told}");
    assert_eq!(names(&etcd).len(), 8, "{told}");
    // At the end of a move, settings may be left.
    v2.delete(&format!("{BASE}/k1"));
    let (code, told) = migrate(&etcd, &[]);
    assert!(code == 0 && told.contains("8 keys kept in v3"), "{code} {told}");
    v2.delete("/skydns/config");
    let (code, told) = migrate(&etcd, &[]);
    assert!(code == 0 && !told.contains("the marks"), "hidden keys may be left: {code} {told}");
    let also = ["-v2-also", "local/skydns/_tcp"];
    let (code, told) = migrate(&etcd, &[&also[..], &["-dry-run"]].concat());
    assert!(code == 0 && told.contains("the marks of the move would be removed"), "{code} {told}");
    let (code, told) = migrate(&etcd, &also);
    assert!(code == 0 && told.contains("the marks of the move are removed"), "{code} {told}");
    assert_eq!(names(&etcd).len(), 8, "{told}");
}

/// The marks of a move are no business of somebody who names another store by mistake.
#[test]
fn an_empty_store_that_was_never_carried_ends_no_move() {
    let ((from, v2), (empty, _), to) = (V2::server(), V2::server(), Etcd::start());
    v2.put(&format!("{BASE}/a"), &host(1));
    assert_eq!(migrate(&from, &["-to-machines", &to.endpoint()]).0, 0);
    for _ in 0..2 {
        let (code, told) = migrate(&empty, &["-to-machines", &to.endpoint()]);
        assert!(code == 0 && !told.contains("the marks"), "{code} {told}");
    }
    v2.put(&format!("{BASE}/a"), &host(2));
    assert_eq!(migrate(&from, &["-to-machines", &to.endpoint()]).0, 0);
    assert_eq!(keys(&to, &format!("{BASE}/a"))[0].1, host(2));
}

#[test]
fn a_member_that_has_become_another_cluster_is_passed_over() {
    let (mut members, other) = (Etcd::cluster_with(3, &["--enable-v2"]), V2::server());
    let v2 = V2::of(&members[1]);
    v2.put(&format!("{BASE}/a"), &host(1));
    other.1.put(&format!("{BASE}/wrong"), &host(9));
    let front = Cutter::start(members[0].client_port, Cut::Nothing);
    let machines = format!("{},{}", front.endpoint(), members[1].endpoint());
    let mut command = command_at(&machines, &["-follow"]);
    let _follower = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
    eventually("carried", || names(&members[1]) == ["a"]);
    front.lead_to(other.0.client_port);
    members[0].kill();
    eventually("written", || v2.try_put(&format!("{BASE}/b"), &host(2)));
    eventually("followed", || names(&members[1]) == ["a", "b"]);
    assert!(names(&other.0).is_empty());
}

#[test]
fn a_lock_that_has_ended_is_taken_again() {
    let (etcd, v2) = V2::server();
    v2.put(&format!("{BASE}/a"), &host(1));
    let mut command = command(&etcd, &["-follow"]);
    let _follower = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
    eventually("carried", || names(&etcd) == ["a"]);
    let revoked = etcd.with(async |client| {
        let options = GetOptions::new().with_prefix();
        let found = client.get("/skydns-migration-lock", Some(options)).await.expect("an answer");
        let lease = found.kvs()[0].lease();
        client.lease_revoke(lease).await.expect("revoked");
        lease
    });
    v2.put(&format!("{BASE}/b"), &host(2));
    eventually("carried with another lock", || names(&etcd) == ["a", "b"]);
    let held = keys(&etcd, "/skydns-migration-lock");
    assert!(held.len() == 1 && !held[0].0.ends_with(&format!("{revoked:x}")), "{held:?}");
}

#[test]
fn large_values_are_carried() {
    let (etcd, v2) = V2::server();
    let text = "t".repeat(50_000);
    for n in 0..60 {
        v2.put(&format!("{BASE}/k{n}"), &format!("{{\"host\":\"10.0.0.{n}\",\"x\":\"{text}\"}}"));
    }
    let (code, told) = migrate(&etcd, &[]);
    assert!(code == 0 && told.contains("60 written to v3"), "{code} {told}");
    assert_eq!(names(&etcd).len(), 60);
}

#[test]
fn copies_of_a_cluster_that_was_replaced_are_taken_over() {
    let ((first, v2), (second, other), to) = (V2::server(), V2::server(), Etcd::start());
    (1..6).for_each(|n| v2.put(&format!("{BASE}/k{n}"), &host(n)));
    let to_machines = to.endpoint();
    assert_eq!(migrate(&first, &["-to-machines", &to_machines]).0, 0);
    // A backup makes a new cluster; since then one key has changed, one is gone, and one is new.
    (1..5).for_each(|n| other.put(&format!("{BASE}/k{n}"), &host(n)));
    other.put(&format!("{BASE}/k1"), &host(100));
    other.put(&format!("{BASE}/k9"), &host(9));
    to.put(&format!("{BASE}/k4"), &host(44));
    let (code, told) = migrate(&second, &["-to-machines", &to_machines]);
    let parts =
        ["4 written", "1 of other writers there (1 with another value", "3 keys taken over", "1 key kept"];
    assert!(code == 0 && parts.iter().all(|part| told.contains(part)), "{code} {told}");
    assert_eq!(names(&to), ["k1", "k2", "k3", "k4", "k5", "k9"]);
    let value = |name: &str| keys(&to, &format!("{BASE}/{name}"))[0].1.clone();
    assert_eq!([value("k1"), value("k4")], [host(100), host(44)]);
    // They are followed like others now.
    other.delete(&format!("{BASE}/k2"));
    assert_eq!(migrate(&second, &["-to-machines", &to_machines]).0, 0);
    assert_eq!(names(&to), ["k1", "k3", "k4", "k5", "k9"]);
    let (code, told) = migrate(&second, &["-to-machines", &to_machines, "-dry-run"]);
    assert!(
        code == 0 && told.contains("k4: another writer has given it another value in v3, which wins"),
        "{told}"
    );
}

#[test]
fn copies_stay_however_often_an_older_store_is_carried() {
    let (mut etcd, v2) = V2::server();
    let to = Etcd::start();
    v2.put(&format!("{BASE}/k1"), &host(1));
    etcd.kill();
    etcd.back_up();
    etcd.run();
    (2..8).for_each(|n| v2.put(&format!("{BASE}/k{n}"), &host(n)));
    assert_eq!(migrate(&etcd, &["-to-machines", &to.endpoint()]).0, 0);
    etcd.kill();
    etcd.restore();
    etcd.run();
    for _ in 0..3 {
        let (code, told) = migrate(&etcd, &["-to-machines", &to.endpoint()]);
        assert!(code == 0 && told.contains("6 keys kept in v3"), "{code} {told}");
        // Writers renew what they have, until the index is past what it was.
        (0..5).for_each(|_| v2.put(&format!("{BASE}/k1"), &host(1)));
    }
    assert_eq!(names(&to).len(), 7);
}

#[test]
fn a_key_that_comes_again_has_a_lease_of_its_own() {
    let (etcd, v2) = V2::server();
    v2.put(&format!("{BASE}/a"), &host(1));
    v2.put_ttl(&format!("{BASE}/t"), &host(2), 3);
    let mut command = command(&etcd, &["-follow"]);
    let _follower = Process::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
    eventually("carried", || names(&etcd) == ["a", "t"]);
    eventually("ended", || names(&etcd) == ["a"]);
    let lease_of_t = || {
        etcd.with(async |client| {
            let found = client.get(format!("{BASE}/t"), None).await.expect("a key");
            let lease = found.kvs().first().map_or(0, etcd_client::KeyValue::lease);
            client.lease_time_to_live(lease, None).await.map_or(0, |answer| answer.ttl())
        })
    };
    std::thread::sleep(Duration::from_secs(6));
    v2.put_ttl(&format!("{BASE}/t"), &host(2), 3);
    eventually("carried again", || names(&etcd) == ["a", "t"]);
    let left = lease_of_t();
    assert!(left >= 62, "{left}: the lease of before is older");
    // The last key of all.
    v2.delete(&format!("{BASE}/a"));
    eventually("removed", || !names(&etcd).contains(&"a".to_owned()));
    eventually("the last one as well", || names(&etcd).is_empty());
}
