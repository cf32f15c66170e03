//! The command on a resolv.conf in a temporary directory.

use super::*;
use std::os::unix::fs::MetadataExt;

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
    assert!(error.contains("is not the agent's any more") && error.contains("before-skydns"), "{error}");
    assert_eq!(fs::read_to_string(&resolv).expect("a file"), "nameserver 192.0.2.2\n");
    host.run("enable --force").expect("enabled");
    host.run("disable").expect("disabled");
    assert_eq!(fs::read_to_string(&resolv).expect("a file"), "nameserver 192.0.2.2\n");
}

#[test]
fn without_an_agent_nothing_changes() {
    let host = TestHost::new();
    let error = host.run("enable 192.0.2.1").expect_err("an error").to_string();
    assert!(error.starts_with("nothing answers at 192.0.2.1:53, so resolv.conf stays"), "{error}");
    assert_eq!(host.files(), [""; 0]);
    for (words, message) in [
        ("", "what is to be done?"),
        ("enable x", "\"x\" is not an IP address"),
        ("disable now", "\"disable\" is not"),
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
    fs::write(&before, "nameserver 192.0.2.1\n").expect("a file of an earlier run");
    host.run("enable --force").expect_err("in the way");
    assert_eq!(fs::read_to_string(&before).expect("a file"), "nameserver 192.0.2.1\n");
    assert_eq!(fs::read_to_string(&resolv).expect("a file"), "nameserver 192.0.2.2\n");
    fs::remove_dir(&in_the_way).expect("removed");
    host.run("enable --force").expect("enabled");
    assert_eq!(host.files(), ["resolv.conf", "resolv.conf.before-skydns", "skydns"]);
    assert_eq!(fs::read_to_string(&before).expect("a file"), "nameserver 192.0.2.2\n");
}
