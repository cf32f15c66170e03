//! The command on a resolv.conf in a temporary directory.

mod managers;

use super::*;
use crate::host_resolver::{LINK_TARGET, UPSTREAMS_DIR};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

struct TestHost(tempfile::TempDir);

impl TestHost {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().expect("a directory"));
        fs::create_dir(host.path("")).expect("a directory");
        host
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join("etc").join(file)
    }

    fn run(&self, words: &str) -> Result<ExitCode, ResolvConfError> {
        let root = format!("--root={}", self.0.path().display());
        let words = words.split_whitespace().map(str::to_owned).chain([root]).collect::<Vec<_>>();
        ResolvConfCommand::read(&words)?.run()
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn a_file_comes_back_as_it_was() {
    let host = TestHost::new();
    let resolv = host.path("resolv.conf");
    fs::write(&resolv, "nameserver 192.0.2.1\n search a b\noptions ndots:2\n# x\n").expect("a file");
    fs::set_permissions(&resolv, fs::Permissions::from_mode(0o640)).expect("a mode");
    let before = fs::metadata(&resolv).expect("a file");
    host.run("enable --force 127.0.0.1 ::1").expect("enabled");
    let text = fs::read_to_string(&resolv).expect("a file");
    let lines =
        "nameserver 127.0.0.1\nnameserver ::1\noptions timeout:1 attempts:5\nsearch a b\noptions ndots:2\n";
    assert!(text.ends_with(lines), "{text}");
    assert_eq!(fs::read_link(&resolv).expect("a link"), Path::new(LINK_TARGET));
    host.run("enable --force").expect("enabled again");
    let again = fs::read_to_string(&resolv).expect("a file");
    assert_eq!(again.matches("timeout:").count(), 1, "{again}");
    host.run("disable").expect("disabled");
    let after = fs::metadata(&resolv).expect("a file");
    assert_eq!(
        (after.ino(), after.mode(), after.mtime_nsec()),
        (before.ino(), before.mode(), before.mtime_nsec())
    );
    assert_eq!(host.files(), ["resolv.conf", "skydns"]);
    host.run("disable").expect("disabled already");
}

#[test]
fn a_link_comes_back_as_it_was() {
    let host = TestHost::new();
    symlink("../run/systemd/resolve/stub-resolv.conf", host.path("resolv.conf")).expect("a link");
    host.run("enable --force").expect("enabled");
    assert_eq!(host.files(), ["resolv.conf", "resolv.conf.before-skydns", "skydns"]);
    host.run("disable").expect("disabled");
    let target = fs::read_link(host.path("resolv.conf")).expect("a link");
    assert_eq!(target, Path::new("../run/systemd/resolve/stub-resolv.conf"));
}

#[test]
fn nothing_there_is_nothing_there_again() {
    let host = TestHost::new();
    host.run("enable --force").expect("enabled");
    host.run("disable").expect("disabled");
    assert_eq!(host.files(), ["skydns"]);
}

#[test]
fn what_another_program_wrote_stays() {
    let host = TestHost::new();
    let resolv = host.path("resolv.conf");
    fs::write(&resolv, "nameserver 192.0.2.1\n").expect("a file");
    host.run("enable --force").expect("enabled");
    fs::remove_file(&resolv).expect("removed");
    fs::write(&resolv, "nameserver 192.0.2.2\n").expect("a file");
    let error = host.run("disable").expect_err("an error").to_string();
    assert!(error.starts_with("another program has replaced ") && error.contains("before-skydns"), "{error}");
    assert_eq!(fs::read_to_string(&resolv).expect("a file"), "nameserver 192.0.2.2\n");
    assert!(!host.path("skydns/resolv.conf").exists());
    // That was all: there is nothing more to undo, and one command forgets the file from before.
    host.run("disable").expect("nothing to undo");
    assert_eq!(host.files(), ["resolv.conf", "resolv.conf.before-skydns", "skydns"]);
    host.run("disable --force").expect("forgotten");
    assert_eq!(host.files(), ["resolv.conf", "skydns"]);
    host.run("enable --force").expect("enabled");
    host.run("disable").expect("disabled");
    assert_eq!(fs::read_to_string(&resolv).expect("a file"), "nameserver 192.0.2.2\n");
}

#[test]
fn without_an_agent_nothing_changes() {
    let host = TestHost::new();
    let error = host.run("enable 192.0.2.1").expect_err("an error").to_string();
    assert!(error.starts_with("nothing answers at 192.0.2.1:53, so nothing is changed"), "{error}");
    assert_eq!(host.files(), [""; 0]);
    for (words, message) in [
        ("", "it takes one of enable, disable and status"),
        ("enable x", "\"x\" is not an IP address"),
        ("disable now", "\"disable now\" is none of enable, disable and status"),
        ("--now", "no option --now"),
    ] {
        let error = host.run(words).expect_err("an error").to_string();
        assert!(error.contains(message), "{words}: {error}");
    }
}

#[test]
fn a_saved_file_survives_a_link_that_is_gone() {
    let host = TestHost::new();
    let resolv = host.path("resolv.conf");
    fs::write(&resolv, "nameserver 192.0.2.1\n").expect("a file");
    host.run("enable --force").expect("enabled");
    fs::remove_file(&resolv).expect("removed");
    host.run("enable --force").expect("enabled");
    host.run("disable").expect("disabled");
    assert_eq!(fs::read_to_string(&resolv).expect("a file"), "nameserver 192.0.2.1\n");
}

#[test]
fn a_change_that_fails_keeps_the_file_that_was_saved_before() {
    let host = TestHost::new();
    let (resolv, before) = (host.path("resolv.conf"), host.path("resolv.conf.before-skydns"));
    // A directory in the way of the new link, which cannot be removed as a file.
    let in_the_way = host.path("resolv.conf.skydns-new");
    fs::create_dir(&in_the_way).expect("a directory");
    fs::write(&resolv, "nameserver 192.0.2.2\n").expect("a file");
    host.run("enable --force").expect_err("in the way");
    assert_eq!(host.files(), ["resolv.conf", "resolv.conf.skydns-new", "skydns"]);
    assert!(tree(&host, "etc/skydns").is_empty(), "{:?}", tree(&host, "etc/skydns"));
    fs::write(&before, "nameserver 192.0.2.1\n").expect("a file of an earlier run");
    host.run("enable --force").expect_err("in the way");
    assert_eq!(fs::read_to_string(&before).expect("a file"), "nameserver 192.0.2.1\n");
    assert_eq!(fs::read_to_string(&resolv).expect("a file"), "nameserver 192.0.2.2\n");
    fs::remove_dir(&in_the_way).expect("removed");
    host.run("enable --force").expect("enabled");
    assert_eq!(host.files(), ["resolv.conf", "resolv.conf.before-skydns", "skydns"]);
    assert_eq!(fs::read_to_string(&before).expect("a file"), "nameserver 192.0.2.2\n");
}

/// A host with these files; directories end in a slash.
fn host_with(files: &[(&str, &str)]) -> TestHost {
    let host = TestHost::new();
    for (file, text) in files {
        let path = host.0.path().join(file);
        let dir = if file.ends_with('/') { &path } else { path.parent().expect("a directory") };
        fs::create_dir_all(dir).expect("a directory");
        if !file.ends_with('/') {
            fs::write(&path, text).expect("a file");
        }
    }
    host
}

const DHCLIENT: [(&str, &str); 2] = [("sbin/dhclient", ""), ("etc/dhcp/dhclient-enter-hooks.d/", "")];
const DHCPCD: [(&str, &str); 2] = [("sbin/dhcpcd", ""), ("lib/dhcpcd/dhcpcd-run-hooks", "")];
const NM: [(&str, &str); 2] =
    [("usr/sbin/NetworkManager", ""), ("run/NetworkManager/no-stub-resolv.conf", "")];
const OPENRESOLV: [(&str, &str); 2] =
    [("sbin/resolvconf", ""), ("etc/resolvconf.conf", "resolv_conf=/etc/resolv.conf\n")];
const RESOLVCONF: [(&str, &str); 2] = [("sbin/resolvconf", ""), ("etc/resolvconf/update.d/", "")];

/// The files below a directory of the host, with what is in them.
fn tree(host: &TestHost, dir: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![host.0.path().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let kind = entry.file_type().expect("a kind");
            if kind.is_dir() {
                dirs.push(entry.path());
            } else {
                found.push((entry.path(), fs::read_to_string(entry.path()).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn servers_of_today_come_back() {
    let host = host_with(&DHCLIENT);
    let resolv = host.path("resolv.conf");
    fs::write(&resolv, "search a\nnameserver 192.0.2.1\n").expect("a file");
    host.run("enable --force --how=dhclient").expect("enabled");
    let upstreams = host.0.path().join(UPSTREAMS_DIR);
    fs::create_dir_all(&upstreams).expect("a directory");
    fs::write(upstreams.join("eth0.dhclient"), "nameserver 192.0.2.2\n").expect("a file");
    host.run("disable").expect("disabled");
    assert_eq!(fs::read_to_string(&resolv).expect("a file"), "search a\nnameserver 192.0.2.2\n");
    assert!(!upstreams.exists());
}

#[test]
fn an_overwritten_file_is_told() {
    let host = TestHost::new();
    fs::write(host.path("resolv.conf"), "nameserver 192.0.2.1\n").expect("a file");
    host.run("enable --force").expect("enabled");
    fs::write(host.path("resolv.conf"), "# Generated by x\nnameserver 192.0.2.7\n").expect("overwritten");
    assert_eq!(host.run("status").expect("a status"), ExitCode::FAILURE);
    host.run("enable --force").expect("enabled again");
    assert_eq!(host.run("status").expect("a status"), ExitCode::SUCCESS);
    let before = fs::read_to_string(host.path("resolv.conf.before-skydns")).expect("a file");
    assert_eq!(before, "nameserver 192.0.2.7\n", "the agent asks the servers of today");
}

const KEPT: (&str, &str) =
    (crate::host_resolver::KEPT_UPSTREAMS_FILE, "192.0.2.5\nx\n127.0.0.1\nfe80::5%2\n");

#[test]
fn a_file_that_no_manager_wrote_comes_back_byte_for_byte() {
    // People leave the first line of NetworkManager in files that they write.
    for by_hand in
        ["# by hand\nnameserver 192.0.2.1\n", "# Generated by NetworkManager\nnameserver 192.0.2.1\n"]
    {
        for (managers, given) in [
            (NM.as_slice(), "run/NetworkManager/no-stub-resolv.conf"),
            (&OPENRESOLV, "run/skydns-upstreams/openresolv"),
            (&RESOLVCONF, "run/resolvconf/resolv.conf"),
        ] {
            let host = host_with(managers);
            let given = host.0.path().join(given);
            fs::create_dir_all(given.parent().expect("a directory")).expect("a directory");
            fs::write(&given, "nameserver 192.0.2.7\n").expect("a file");
            let resolv = host.path("resolv.conf");
            fs::write(&resolv, by_hand).expect("a file");
            host.run("enable --force").expect("enabled");
            host.run("enable --force").expect("enabled again");
            let state = fs::read_to_string(host.path("skydns/resolv-conf.state")).expect("a state");
            assert!(!state.contains("author"), "{state}");
            host.run("disable").expect("disabled");
            assert_eq!(fs::read_to_string(&resolv).expect("a file"), by_hand, "{}", given.display());
        }
    }
}

#[test]
fn the_manager_that_wrote_the_file_is_followed() {
    for (managers, word, text, given) in [
        (NM.as_slice(), "nm", "# Generated by NetworkManager\n", "run/NetworkManager/no-stub-resolv.conf"),
        (&OPENRESOLV, "openresolv", "# Generated by resolvconf\n", "run/skydns-upstreams/openresolv"),
    ] {
        let host = host_with(managers);
        let resolv = host.path("resolv.conf");
        fs::write(&resolv, format!("{text}nameserver 192.0.2.1\n")).expect("a file");
        host.run("enable --force").expect("enabled");
        host.run("enable --force").expect("enabled again");
        fs::remove_file(host.path("skydns/resolv.conf")).expect("removed by hand");
        host.run("enable --force").expect("enabled again");
        let state = fs::read_to_string(host.path("skydns/resolv-conf.state")).expect("a state");
        assert!(state.ends_with(&format!("\nauthor {word}\n")), "{state}");
        let given = host.0.path().join(given);
        fs::create_dir_all(given.parent().expect("a directory")).expect("a directory");
        fs::write(&given, "nameserver 192.0.2.7\n").expect("a file");
        host.run("disable").expect("disabled");
        assert_eq!(fs::read_to_string(&resolv).expect("a file"), format!("{text}nameserver 192.0.2.7\n"));
    }
    let host = host_with(&RESOLVCONF);
    symlink("/run/resolvconf/resolv.conf", host.path("resolv.conf")).expect("a link");
    host.run("enable --force").expect("enabled");
    let state = fs::read_to_string(host.path("skydns/resolv-conf.state")).expect("a state");
    assert!(state.ends_with("\nauthor resolvconf\n"), "{state}");
}

#[test]
fn servers_that_were_written_through_the_link_come_back() {
    let host = TestHost::new();
    let resolv = host.path("resolv.conf");
    fs::write(&resolv, "search a\nnameserver 192.0.2.1\n").expect("a file");
    host.run("enable --force").expect("enabled");
    fs::write(&resolv, "nameserver 192.0.2.3\nnameserver fe80::3%2\n").expect("a lease");
    host.run("disable").expect("disabled");
    let text = "search a\nnameserver 192.0.2.3\nnameserver fe80::3%2\n";
    assert_eq!(fs::read_to_string(&resolv).expect("a file"), text);
}

#[test]
fn known_servers_take_the_place_of_a_file_that_names_none() {
    let host = host_with(&[KEPT]);
    let (resolv, before) = (host.path("resolv.conf"), host.path("resolv.conf.before-skydns"));
    let known = "nameserver 192.0.2.5\nnameserver fe80::5%2\n";
    // The link leads nowhere.
    symlink("/run/no/such/file", &resolv).expect("a link");
    host.run("enable --force").expect("enabled");
    host.run("disable").expect("disabled");
    assert_eq!(fs::read_to_string(&resolv).expect("a file"), known);
    assert!(fs::symlink_metadata(&resolv).expect("a file").is_file() && !before.exists());
    // The saved file was removed by hand.
    fs::write(&resolv, "nameserver 192.0.2.1\n").expect("a file");
    host.run("enable --force").expect("enabled");
    fs::remove_file(&before).expect("removed");
    host.run("disable").expect("disabled");
    assert_eq!(fs::read_to_string(&resolv).expect("a file"), known);
    // It names nobody; its other lines stay.
    fs::write(&resolv, "search a\n").expect("a file");
    host.run("enable --force").expect("enabled");
    host.run("disable").expect("disabled");
    assert_eq!(fs::read_to_string(&resolv).expect("a file"), format!("search a\n{known}"));
    // The agent's address by hand is what it was.
    fs::write(&resolv, "nameserver 127.0.0.1\n").expect("a file");
    host.run("enable --force").expect("enabled");
    host.run("disable").expect("disabled");
    assert_eq!(fs::read_to_string(&resolv).expect("a file"), "nameserver 127.0.0.1\n");
}

#[test]
fn what_a_removal_wrote_down_is_forgotten() {
    let host = host_with(&[("etc/skydns/resolv-conf.again", "--how auto 127.0.0.1\n")]);
    let again = host.path("skydns/resolv-conf.again");
    host.run("enable --force").expect("enabled");
    assert!(!again.exists());
    fs::write(&again, "--how auto 127.0.0.1\n").expect("a file");
    host.run("disable").expect("disabled");
    assert!(!again.exists());
}

#[test]
fn a_second_enable_that_fails_leaves_the_first_one() {
    for managers in [DHCLIENT.as_slice(), &NM, &OPENRESOLV] {
        let host = host_with(managers);
        fs::write(host.path("resolv.conf"), "nameserver 192.0.2.1\n").expect("a file");
        host.run("enable --force").expect("enabled");
        let enabled = tree(&host, "etc");
        for in_the_way in [".resolv.conf.new", ".resolv-conf.state.new"] {
            let in_the_way = host.path("skydns").join(in_the_way);
            fs::create_dir(&in_the_way).expect("a directory");
            host.run("enable --force --fallback 192.0.2.9").expect_err("in the way");
            fs::remove_dir(&in_the_way).expect("removed");
            assert_eq!(tree(&host, "etc"), enabled);
        }
    }
}

#[test]
fn resolvectl_is_no_resolvconf() {
    for (managers, setting) in
        [(DHCLIENT, "dhcp/dhclient-enter-hooks.d/skydns"), (DHCPCD, "dhcpcd.enter-hook")]
    {
        let host = host_with(&managers);
        fs::create_dir_all(host.0.path().join("usr/sbin")).expect("a directory");
        let program = host.0.path().join("usr/sbin/resolvconf");
        symlink("../bin/resolvectl", &program).expect("a link");
        host.run("enable --force").expect("enabled");
        assert!(host.path(setting).exists(), "{setting}");
        host.run("disable").expect("disabled");
        fs::remove_file(&program).expect("removed");
        fs::write(&program, "").expect("Debian's resolvconf");
        host.run("enable --force").expect("enabled");
        assert!(!host.path(setting).exists(), "{setting}");
    }
}
