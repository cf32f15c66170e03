//! The files that show settings are what the table of settings generates.

use std::process::{Command, Output, Stdio};

fn outcome(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("an output");
    (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn shipped_files_are_current() {
    let mut check = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/generate"));
    let (current, text) = outcome(check.arg("--check").env("SKYDNS", env!("CARGO_BIN_EXE_skydns")));
    assert!(current, "{text}");
}

#[test]
fn each_section_is_printed_and_others_are_named() {
    let reference = |words: &[&str]| {
        outcome(Command::new(env!("CARGO_BIN_EXE_skydns")).env_clear().arg("reference").args(words))
    };
    for section in ["help", "man8", "man5", "markdown", "environment"] {
        let (printed, text) = reference(&[section]);
        assert!(printed && text.contains("127.0.0.1:53"), "{section}: {text}");
    }
    let help = outcome(Command::new(env!("CARGO_BIN_EXE_skydns")).arg("--help"));
    assert_eq!(reference(&["help"]), help);
    for words in [&["man1"][..], &[], &["man5", "man8"]] {
        let usage = "skydns: usage: skydns reference help | man8 | man5 | exit-status | markdown | exit-codes | environment; \
                     see skydns reference --help\n";
        assert_eq!(reference(words), (false, usage.to_owned()));
    }
}

#[test]
fn what_the_unit_runs_before_the_agent_has_a_limit_of_its_own() {
    let unit = include_str!("../systemd/skydns.service");
    let guard = include_str!("../systemd/guard");
    // Without a limit of its own it would use up that of the start, which is 30 s.
    let of_unit: Vec<_> = unit.lines().filter(|line| line.contains("skydns pass-keys")).collect();
    assert_eq!(of_unit, ["ExecReload=+-/usr/bin/timeout -k 1 5 /usr/bin/skydns pass-keys"]);
    assert!(unit.contains("\nExecStartPre=+/usr/lib/skydns/guard starting\n"), "{unit}");
    let of_guard: Vec<_> = guard.lines().filter(|line| line.contains("\"$program\" pass-keys")).collect();
    assert!(of_guard.iter().all(|line| line.trim_start().starts_with("timeout -k ")), "{of_guard:?}");
}

#[test]
fn no_unit_has_systemd_open_a_file_that_an_operator_writes() {
    let units = [include_str!("../systemd/skydns.service"), include_str!("../systemd/skydns-rescue.service")];
    for unit in units {
        let files: Vec<_> = unit.lines().filter(|line| line.starts_with("EnvironmentFile=")).collect();
        assert_eq!(files, ["EnvironmentFile=-/run/skydns-variables"], "process 1 would wait for a pipe");
    }
}
