//! What is shipped beside the program agrees with it: man pages, the file of variables, units, and all documents.

#[path = "documents/commands.rs"]
mod commands;
#[path = "documents/examples.rs"]
mod examples;
#[path = "documents/guides.rs"]
mod guides;
#[path = "documents/markdown.rs"]
mod markdown;
mod support;

use skydns::config::{
    Arguments, NAMES_OF_FILES, ValuesBefore, Variables, VariablesFile, flags, read_env_file,
};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use support::run;

fn shipped(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A man page as text, without the hyphens' escapes.
fn page(file: &str) -> String {
    shipped(file).replace("\\-", "-")
}

/// Statistics have variables only.
const STATISTICS: [&str; 13] = [
    "PROMETHEUS_ADDR",
    "PROMETHEUS_PORT",
    "PROMETHEUS_PATH",
    "PROMETHEUS_NAMESPACE",
    "PROMETHEUS_SUBSYSTEM",
    "GRAPHITE_SERVER",
    "GRAPHITE_PREFIX",
    "INFLUX_SERVER",
    "INFLUX_DATABASE",
    "INFLUX_USER",
    "INFLUX_PASSWORD",
    "STATHAT_USER",
    "STATHAT_SERVER",
];

fn variables() -> BTreeSet<&'static str> {
    flags().flat_map(|flag| flag.variables.iter().copied()).chain(STATISTICS).collect()
}

#[test]
fn the_man_pages_name_every_setting() {
    let (program, configuration) = (page("packaging/man/skydns.8"), page("packaging/man/skydns.5"));
    for flag in flags() {
        let name = format!("-{}", flag.name);
        let stands = |line: &str| line.split([' ', '"']).any(|word| word == name);
        assert!(program.lines().any(stands), "skydns.8: {name}");
        for key in flag.keys {
            assert!(configuration.contains(key), "skydns.5: {key}");
        }
    }
    for variable in variables() {
        assert!(configuration.contains(variable), "skydns.5: {variable}");
    }
}

#[test]
fn the_file_of_variables_names_every_variable_and_sets_none() {
    let text = shipped("packaging/default/skydns");
    assert_eq!(read_env_file(&text), VariablesFile::default());
    let uncommented: String = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let named = read_env_file(&uncommented);
    let names: BTreeSet<_> = named.assignments.iter().map(|assignment| &*assignment.name).collect();
    // A file of variables says nothing of files of variables.
    let in_files = variables().into_iter().filter(|name| !NAMES_OF_FILES.contains(name));
    assert_eq!(names, in_files.collect());
    // What it shows can be used as it stands.
    assert_eq!(refused([], &named), Ok(Vec::new()));
}

/// What is refused of arguments and of a file of variables.
fn refused(args: impl IntoIterator<Item = String>, content: &VariablesFile) -> Result<Vec<String>, String> {
    let mut variables = Variables::default();
    variables.add_file(std::path::Path::new("file"), content);
    let arguments = Arguments::parse(args, &variables, &ValuesBefore::default());
    let Arguments { flag_problems, refused, .. } = arguments.map_err(|error| error.to_string())?;
    let flags = flag_problems.iter().map(ToString::to_string);
    Ok(flags.chain(refused.iter().map(ToString::to_string)).collect())
}

#[test]
fn the_units_are_what_systemd_takes() {
    let dir = tempfile::tempdir().expect("a directory");
    let units = ["socket", "service"].map(|kind| format!("skydns.{kind}")).into_iter().chain(
        ["port-holders", "rescue", "watch", "failing", "bypass"].map(|name| format!("skydns-{name}.service")),
    );
    let units: Vec<_> = units.collect();
    for unit in &units {
        // The programs are where the test has them.
        let text = shipped(&format!("systemd/{unit}"));
        let text = text.replace("/usr/bin/skydns", env!("CARGO_BIN_EXE_skydns"));
        let text =
            text.replace("/usr/lib/skydns/guard", concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/guard"));
        fs::write(dir.path().join(unit), text).expect("a unit");
    }
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(units.iter().map(|unit| dir.path().join(unit)))
        .output()
        .expect("systemd-analyze");
    let told = String::from_utf8_lossy(&verify.stderr);
    assert!(verify.status.success() && told.is_empty(), "{told}");
    for unit in ["skydns.service", "skydns-rescue.service"] {
        let exposure = run(Command::new("systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager", "--threshold=13"])
            .arg(dir.path().join(unit)));
        let overall = exposure.lines().find(|line| line.contains("Overall exposure")).unwrap_or_default();
        println!("{overall}");
    }
}
