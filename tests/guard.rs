//! What the guard decides, by its scripts alone: below another root, with a systemctl that notes what it is asked.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

/// Notes each call in the file `asked`; units and jobs are as files say.
const SYSTEMCTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")/.." || exit 1
echo "$*" >>asked
state() { cat "state/$1" 2>/dev/null || echo inactive; }
case "$*" in
    *list-jobs*) cat jobs 2>/dev/null ;;
    "show -P ActiveState "*) state "$4" ;;
    "show -p ActiveState "*) printf 'ActiveState=%s\nMainPID=7\n' "$(state skydns.service)" ;;
    "-q is-active "*)
        shift 2
        for unit; do [ "$(state "$unit")" = active ] && exit 0; done
        exit 3
        ;;
    *" start skydns-rescue.service") [ ! -e rescue-is-masked ] ;;
esac
"#;

/// The guard below a root of its own.
struct Guard {
    root: tempfile::TempDir,
}

impl Guard {
    fn new() -> Self {
        let guard = Self { root: tempfile::tempdir().expect("a directory") };
        let root = guard.root.path().to_str().expect("a path");
        for dir in ["bin", "state", "run/skydns-guard", "etc/skydns", "var/lib/skydns", "lib"] {
            fs::create_dir_all(guard.path(dir)).expect("a directory");
        }
        for source in ["systemd/guard", "systemd/guard-bypass", "packaging/lib/resolv-conf-restore"] {
            let file = source.rsplit('/').next().unwrap_or_default();
            let mut text = fs::read_to_string(source).expect("a script");
            for below in ["/run/", "/etc/", "/var/lib/"] {
                text = text.replace(below, &format!("{root}{below}"));
            }
            let text = text.replace("PATH=", &format!("PATH={root}/bin:"));
            guard.write_program(&format!("lib/{file}"), &text.replace("/usr/bin/skydns", "skydns"));
        }
        guard.write_program("bin/systemctl", SYSTEMCTL);
        guard.put_program("exit 0");
        guard
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).expect("a file");
    }

    fn write_program(&self, path: &str, text: &str) {
        self.write(path, text);
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).expect("a program");
    }

    /// The agent's program is a script.
    fn put_program(&self, script: &str) {
        self.write_program("bin/skydns", &format!("#!/bin/sh\n{script}\n"));
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    fn is_there(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    fn run(&self, words: &[&str], result: &str, status: &str) -> Output {
        let mut command = Command::new("timeout");
        let at = words.len() - 1;
        command.args(&words[..at]).arg(self.path("lib/guard")).arg(words[at]);
        command.env("SERVICE_RESULT", result).env_remove("EXIT_STATUS");
        if !status.is_empty() {
            command.env("EXIT_STATUS", status);
        }
        command.output().expect("the guard")
    }

    /// Runs one of its parts after an end; gives what it printed.
    fn after(&self, what: &str, result: &str, status: &str) -> String {
        let output = self.run(&["60", what], result, status);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// What systemd was asked to do, without what it was asked about.
    fn asked(&self) -> String {
        let asked = self.read("asked");
        asked.lines().filter(|line| line.contains("--no-block")).map(|line| format!("{line}\n")).collect()
    }

    fn asked_for(&self, job: &str) -> bool {
        self.asked().lines().any(|line| line.ends_with(job) || line.contains(&format!("{job} ")))
    }

    fn reason(&self) -> String {
        self.read("run/skydns-guard/reason")
    }
}

const CLOSES_THE_PORT: &str = "stop skydns-rescue.service skydns.service skydns.socket";

#[test]
fn an_end_that_systemd_was_asked_for_changes_nothing_but_the_next_start() {
    let guard = Guard::new();
    guard.write("run/skydns-guard/level", "2\n");
    guard.write("run/skydns-guard/reduced", "x\n");
    // It may be the guard's own stop.
    guard.write("jobs", " 7 skydns.service stop running\n");
    guard.after("ended", "success", "0");
    guard.after("ended", "timeout", "KILL");
    guard.after("ended", "signal", "");
    assert!(guard.is_there("run/skydns-guard/level") && !guard.is_there("run/skydns-guard/reduced"));
    assert_eq!(guard.asked(), "");
}

#[test]
fn a_rescue_that_cannot_run_leaves_an_agent_that_may_run_alone() {
    for (agent, is_left) in
        [("active", true), ("activating", true), ("deactivating", true), ("failed", false)]
    {
        let guard = Guard::new();
        guard.put_program("exit 1");
        guard.write("run/skydns-guard/level", "2\n");
        guard.write("state/skydns.service", agent);
        guard.after("rescue-ended", "exit-code", "1");
        assert!(guard.is_there("run/skydns-guard/level"));
        assert_eq!(
            guard.asked_for("stop skydns-rescue.service"),
            is_left || guard.asked_for(CLOSES_THE_PORT)
        );
        assert_eq!(guard.asked_for(CLOSES_THE_PORT), !is_left, "{agent}: {}", guard.asked());
        assert_eq!(guard.asked_for("start skydns-bypass.service"), !is_left);
        assert!(
            !guard.is_there("run/skydns-guard/only-forward"),
            "a broken program says nothing of own names"
        );
    }
}

#[test]
fn only_a_stop_by_somebody_ends_the_watch_and_forgets() {
    let guard = Guard::new();
    guard.write("run/skydns-guard/level", "2\n");
    for jobs in ["", " 7 skydns-watch.service restart running\n", " 7 skydns.service stop running\n"] {
        guard.write("jobs", jobs);
        guard.after("watch-ended", "success", "");
        assert!(guard.is_there("run/skydns-guard/level"), "{jobs}");
    }
    guard.write("jobs", " 7 skydns-watch.service stop running\n");
    guard.after("watch-ended", "success", "");
    assert!(!guard.is_there("run/skydns-guard") && guard.asked_for("stop skydns-rescue.service"));
}

#[test]
fn a_program_that_hangs_cannot_run() {
    let guard = Guard::new();
    assert!(guard.run(&["60", "starting"], "", "").status.success());
    guard.put_program("exit 1");
    assert!(guard.run(&["60", "starting"], "", "").status.success(), "its own start shows what is wrong");
    guard.put_program("exec sleep 1000");
    let stopped = guard.run(&["--preserve-status", "1", "starting"], "", "");
    assert!(stopped.status.success(), "a stop is no failure");
    assert!(!guard.run(&["60", "starting"], "", "").status.success());
    guard.after("ended", "exit-code", "");
    assert!(guard.reason().contains("skydns cannot run: it hangs"), "{}", guard.reason());
    assert!(guard.asked_for("start skydns-bypass.service") && guard.asked_for(CLOSES_THE_PORT));
    assert!(!guard.is_there("run/skydns-guard/hangs"));
}

#[test]
fn the_rescue_answers_at_once_when_nothing_else_helps() {
    for (result, status, words) in [
        ("timeout", "", "the agent ended by a start that took too long; tried"),
        ("exit-code", "78", "the agent ended by exit code 78; tried"),
    ] {
        let guard = Guard::new();
        guard.after("ended", result, status);
        assert!(guard.reason().contains(words), "{}", guard.reason());
        assert!(guard.asked_for("start skydns-rescue.service"));
        // Whoever waits for the start is told that it failed, not that it was cancelled.
        assert_eq!(guard.asked_for("stop skydns.service"), status != "78");
    }
    let guard = Guard::new();
    fs::create_dir(guard.path("run/skydns-guard/ends")).expect("what cannot be written");
    guard.after("ended", "signal", "ABRT");
    assert!(guard.asked_for("start skydns-rescue.service"), "what cannot be counted: {}", guard.asked());
    let guard = Guard::new();
    guard.write("run/skydns-guard/level", "");
    guard.after("ended", "signal", "ABRT");
    assert!(guard.asked_for("start skydns-rescue.service"), "a level without content: {}", guard.asked());
}

#[test]
fn without_the_rescue_resolv_conf_names_the_upstreams() {
    let guard = Guard::new();
    guard.write("rescue-is-masked", "");
    let told = guard.after("ended", "exit-code", "78");
    assert!(told.contains("skydns-rescue.service cannot be started"), "{told}");
    assert!(guard.asked_for("start skydns-bypass.service") && guard.asked_for(CLOSES_THE_PORT));
    let guard = Guard::new();
    guard.after("rescue-ended", "timeout", "");
    assert!(guard.asked_for("start skydns-bypass.service"), "a rescue that hangs: {}", guard.asked());
}

#[test]
fn the_watch_tries_everything_again_while_nobody_answers() {
    let guard = Guard::new();
    guard.write("run/skydns-guard/level", "2\n");
    guard.put_program("exit 1");
    guard.write("state/skydns-bypass.service", "failed");
    guard.run(&["6", "watch"], "", "");
    assert!(guard.asked_for("reload-or-restart skydns-bypass.service"), "{}", guard.asked());
    assert!(!guard.asked_for("start skydns.service"), "{}", guard.asked());
    // The upstreams are renewed with each try.
    let guard = Guard::new();
    guard.write("run/skydns-guard/level", "2\n");
    guard.write("run/skydns-guard/until", "1\n");
    guard.write("state/skydns-bypass.service", "active");
    guard.run(&["3", "watch"], "", "");
    assert!(guard.asked_for("start skydns.service"), "{}", guard.asked());
    assert!(guard.asked_for("reload-or-restart skydns-bypass.service"), "{}", guard.asked());
}

const HEADER: &str =
    "# Written by \"skydns resolv-conf enable\"; \"skydns resolv-conf disable\" puts back what was there.\n";

/// A host whose resolv.conf leads to the agent.
fn enabled() -> (Guard, String) {
    let guard = Guard::new();
    let ours = format!("{HEADER}nameserver 127.0.0.1\noptions timeout:1\nsearch example.org\n");
    guard.write("etc/skydns/resolv.conf", &ours);
    symlink("skydns/resolv.conf", guard.path("etc/resolv.conf")).expect("a link");
    guard.write("var/lib/skydns/upstreams", "192.0.2.1\n");
    (guard, ours)
}

#[test]
fn the_bypass_names_the_servers_of_present_leases_first_and_leaves_no_trace() {
    let (guard, ours) = enabled();
    guard.write("etc/resolv.conf.before-skydns", "nameserver 192.0.2.4\n");
    guard.after("bypass-on", "", "");
    let present = guard.read("etc/resolv.conf");
    assert!(present.contains("\nnameserver 192.0.2.1\nnameserver 192.0.2.4\n"), "{present}");
    assert!(present.contains("options timeout:1\nsearch example.org\n"), "{present}");
    fs::create_dir(guard.path("run/skydns-upstreams")).expect("a directory");
    guard.write("run/skydns-upstreams/eth0.dhclient", "nameserver 192.0.2.2\nnameserver 127.0.0.1\n");
    guard.after("bypass-on", "", "");
    assert!(guard.read("etc/resolv.conf").contains("\nnameserver 192.0.2.2\nnameserver 192.0.2.1\n"));
    // Servers that the operator has named are asked before those of leases.
    guard.write("var/lib/skydns/upstreams", "# -nameservers\n192.0.2.1\n");
    guard.after("bypass-on", "", "");
    assert!(guard.read("etc/resolv.conf").contains("\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"));
    guard.after("bypass-off", "", "");
    assert_eq!(guard.read("etc/resolv.conf"), ours);
    assert!(!guard.is_there("etc/skydns/resolv.conf.agent"));
}

#[test]
fn the_agents_resolv_conf_comes_back_whatever_is_left_of_it() {
    // Power was lost: the copy is gone, or empty.
    for left in [None, Some("")] {
        let (guard, _) = enabled();
        guard.after("bypass-on", "", "");
        fs::remove_file(guard.path("etc/skydns/resolv.conf.agent")).expect("removed");
        left.into_iter().for_each(|text| guard.write("etc/skydns/resolv.conf.agent", text));
        guard.after("bypass-on", "", "");
        assert!(guard.read("etc/resolv.conf").contains("nameserver 192.0.2.1"));
        guard.after("bypass-off", "", "");
        let back = guard.read("etc/resolv.conf");
        assert!(back.starts_with(&format!("{HEADER}nameserver 127.0.0.1\n")), "{back}");
        assert!(back.contains("search example.org\n") && !back.contains("192.0.2.1"), "{back}");
    }
    // An empty file is nobody's wish, another one is.
    for (text, is_back) in [("", true), ("nameserver 192.0.2.7\n", false)] {
        let (guard, ours) = enabled();
        guard.after("bypass-on", "", "");
        guard.write("etc/skydns/resolv.conf", text);
        guard.after("bypass-off", "", "");
        assert_eq!(guard.read("etc/resolv.conf"), if is_back { ours.as_str() } else { text });
    }
}

#[test]
fn the_bypass_fails_when_it_has_done_nothing() {
    let (guard, ours) = enabled();
    guard.write("var/lib/skydns/upstreams", "");
    assert!(!guard.run(&["60", "bypass-on"], "", "").status.success(), "no upstream is known");
    assert_eq!(guard.read("etc/resolv.conf"), ours);
    // Nothing can be written, neither on the disk nor to /run.
    guard.write("var/lib/skydns/upstreams", "192.0.2.1\n");
    for dir in ["etc/skydns/resolv.conf.new/x", "run/skydns-bypass.conf.new/x"] {
        fs::create_dir_all(guard.path(dir)).expect("what cannot be replaced");
    }
    let output = guard.run(&["60", "bypass-on"], "", "");
    assert!(
        !output.status.success() && String::from_utf8_lossy(&output.stdout).contains("cannot be written")
    );
    assert_eq!(guard.read("etc/resolv.conf"), ours);
}
