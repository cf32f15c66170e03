//! The commands that documents show, and the checks that each command exists and takes its arguments.

use super::markdown::Document;
use super::{refused, shipped};
use serde_json::{Map, Value};
use skydns::config::{Spec, StoreBefore, VariablesFile, read_env_file};
use skydns::service::Service;
use std::path::Path;
use std::process::{Command, Stdio};

/// Fields of a service.
const FIELDS: [&str; 9] =
    ["host", "port", "priority", "weight", "ttl", "text", "group", "targetstrip", "mail"];

/// Commands of the system whose arguments are not checked here: other tests check their paths and their output.
const PLAIN: [&str; 15] = [
    "cd",
    "mkdir",
    "cp",
    "install",
    "chgrp",
    "chmod",
    "delv",
    "dig",
    "docker",
    "networkctl",
    "podman",
    "tar",
    "mv",
    "touch",
    "umask",
];

/// A simple command of a document, without the variables in front of the command.
pub(crate) struct Shown {
    /// Where the document shows it.
    pub(crate) place: String,
    pub(crate) words: Vec<String>,
    /// The file to which `>` or `>>` sends the output.
    pub(crate) into: Option<String>,
}

/// The commands of a document: of `sh` and `console` blocks, and of code spans.
pub(crate) fn commands(document: &Document) -> Vec<Shown> {
    let mut lines = Vec::new();
    for block in &document.blocks {
        let text = block.lines.join("\n").replace("\\\n", " ");
        let shell = text.lines().filter_map(|line| match block.language.as_str() {
            "sh" => Some(line),
            "console" => line.strip_prefix("$ "),
            _ => None,
        });
        lines.extend(shell.map(|line| (format!("{}:{}", document.file, block.line), line.to_owned())));
    }
    let known = |span: &String| span.split_once(' ').is_some_and(|(first, _)| is_known(first));
    lines.extend(document.spans().into_iter().filter(known).map(|span| (document.file.clone(), span)));
    lines.iter().flat_map(|(place, line)| parsed(place, line)).collect()
}

fn is_known(command: &str) -> bool {
    let others = ["skydns", "man", "cargo", "systemctl", "systemd-analyze", "journalctl", "etcdctl"];
    command.starts_with("packaging/") || others.contains(&command) || PLAIN.contains(&command)
}

/// The simple commands of a line of shell.
fn parsed(place: &str, line: &str) -> Vec<Shown> {
    let mut commands = Vec::new();
    for part in split(line).split(|word| ["&&", ";", "|"].contains(&word.as_str())) {
        let redirection = part.iter().position(|word| word == ">" || word == ">>").unwrap_or(part.len());
        let into = part.get(redirection + 1).cloned();
        let is_variable = |word: &&String| {
            word.split_once('=')
                .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        };
        let words: Vec<_> = part[..redirection].iter().skip_while(is_variable).cloned().collect();
        if !words.is_empty() {
            commands.push(Shown { place: format!("{place}: {line}"), words, into });
        }
    }
    commands
}

/// The words of a line, without quotes and comments.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote): (Vec<String>, Option<String>, Option<char>) =
        (Vec::new(), None, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

impl Shown {
    /// Checks the command.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        match words[0] {
            "skydns" => skydns(&words[1..]),
            "cargo" => cargo(&words[1..]),
            "systemctl" | "journalctl" | "systemd-analyze" => units(&words),
            "etcdctl" => etcdctl(&words[1..]),
            "echo" => written(&words[1..].join(" "), self.into.as_deref()),
            "apt" | "rpm" => package(words.last().unwrap_or(&"")),
            "man" => exists(&format!("packaging/man/{}.{}", words.last().unwrap_or(&""), words[1])),
            "packaging/setup" => setup(words.get(1).copied()),
            script if script.starts_with("packaging/") => exists(script),
            plain if PLAIN.contains(&plain) => Ok(()),
            other => Err(format!("no check is known for {other}")),
        }
    }
}

fn exists(file: &str) -> Result<(), String> {
    if Path::new(file).exists() { Ok(()) } else { Err(format!("there is no {file}")) }
}

/// The program has to understand flags and values. The test runs commands that do no harm, in a new directory.
fn skydns(words: &[&str]) -> Result<(), String> {
    let refused = refused(words.iter().map(|word| (*word).to_owned()), &VariablesFile::default())?;
    if let Some(problem) = refused.into_iter().next() {
        return Err(problem);
    }
    let is_command =
        |word: &&str| ["keygen", "ds", "resolv-conf", "port-holders", "completions"].contains(word);
    // A sentence may name a command without its arguments.
    let command = words.iter().position(is_command).filter(|at| at + 1 < words.len());
    let Some(at) = command else { return Ok(()) };
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    std::fs::create_dir_all(dir.path().join("etc")).map_err(|error| error.to_string())?;
    let mut program = Command::new(env!("CARGO_BIN_EXE_skydns"));
    program.env_clear().current_dir(&dir).stdin(Stdio::null()).args(words);
    if words[at] == "resolv-conf" {
        program.arg("--root=.").args(words.contains(&"enable").then_some("--force"));
    }
    let output = program.output().map_err(|error| error.to_string())?;
    match output.status.code() {
        // Other codes say something about this machine: the command line is right.
        Some(64) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        _ => Ok(()),
    }
}

/// Tests and benches have to exist.
fn cargo(words: &[&str]) -> Result<(), String> {
    let behind = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1));
    if let Some(test) = behind("--test") {
        exists(&format!("tests/{test}.rs")).or_else(|_| exists(&format!("tests/{test}/main.rs")))?;
    }
    match behind("--bench") {
        Some(bench) if !shipped("Cargo.toml").contains(&format!("[[bench]]\nname = \"{bench}\"")) => {
            Err(format!("there is no bench {bench}"))
        }
        _ => Ok(()),
    }
}

/// Verbs of `systemctl` and `systemd-analyze` that the guides use.
const VERBS: [&str; 10] =
    ["enable", "disable", "start", "stop", "restart", "reload", "status", "cat", "security", "daemon-reload"];

/// The unit of SkyDNS 2, as the guide to the move calls it.
const OF_SKYDNS_2: &str = "skydns2";

/// Verbs have to be known, and units of ours have to be shipped.
fn units(words: &[&str]) -> Result<(), String> {
    let verb = words.iter().skip(1).find(|word| !word.starts_with('-'));
    let lists_failed = verb.is_none() && words.contains(&"--failed");
    if words[0] != "journalctl" && !lists_failed && !verb.is_some_and(|verb| VERBS.contains(verb)) {
        return Err("unknown verb".to_owned());
    }
    // "Also=" in a socket enables its service, and --now does not start it.
    if verb == Some(&"enable")
        && words.contains(&"--now")
        && words.contains(&"skydns.socket")
        && !words.contains(&"skydns.service")
    {
        return Err("it does not start skydns.service".to_owned());
    }
    let ours = words.iter().filter(|word| word.starts_with("skydns") && **word != OF_SKYDNS_2);
    for unit in ours {
        let file = if unit.contains('.') { (*unit).to_owned() } else { format!("{unit}.service") };
        exists(&format!("systemd/{file}")).or_else(|_| exists(&format!("systemd/examples/{file}")))?;
    }
    Ok(())
}

/// The value has to be valid at its key.
fn etcdctl(words: &[&str]) -> Result<(), String> {
    let operands: Vec<_> = words.iter().filter(|word| !word.starts_with("--")).copied().collect();
    match operands.as_slice() {
        ["put", key, value] if key.starts_with("/skydns/") => value_of(key, value),
        ["lease", "grant", seconds] => seconds.parse::<u64>().map(|_| ()).map_err(|error| error.to_string()),
        _ => Err("unknown arguments".to_owned()),
    }
}

/// The text has to be valid in the file to which the command writes the text.
fn written(text: &str, file: Option<&str>) -> Result<(), String> {
    match file {
        Some("/etc/default/skydns") => assignments(text),
        Some(file) if file.starts_with("/etc/skydns/skydns.conf.d/") && file.ends_with(".conf") => {
            assignments(text)
        }
        Some(file) => {
            let key = file.strip_prefix("/etc/skydns/records").ok_or("an unknown file")?;
            value_of(&format!("/skydns{key}"), text)
        }
        None => Err("the output goes to no file".to_owned()),
    }
}

/// A file of variables has to be accepted.
pub(crate) fn assignments(text: &str) -> Result<(), String> {
    let content = read_env_file(text);
    if content.assignments.is_empty() {
        return Err("no assignment".to_owned());
    }
    refused([], &content)?.into_iter().next().map_or(Ok(()), Err)
}

/// A value of the store has to be accepted.
fn value_of(key: &str, value: &str) -> Result<(), String> {
    if key == "/skydns/config" { config(value) } else { service(value) }
}

/// A value of `/skydns/config` has to be accepted, and each field has to be known.
pub(crate) fn config(json: &str) -> Result<(), String> {
    let settings = Spec::default().with_store("/skydns/config", json.as_bytes(), StoreBefore::default());
    match (settings.problems.first(), &*settings.unknown) {
        (Some(problem), _) => Err(problem.to_string()),
        (None, []) => Ok(()),
        (None, unknown) => Err(format!("unknown fields {unknown:?}")),
    }
}

/// A service has to be accepted, and each field has to be known.
pub(crate) fn service(json: &str) -> Result<(), String> {
    Service::from_json(json.as_bytes()).map_err(|error| error.to_string())?;
    let fields: Map<String, Value> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    match fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        Some(field) => Err(format!("unknown field {field}")),
        None => Ok(()),
    }
}

/// The file has to be a package of this version.
fn package(file: &str) -> Result<(), String> {
    let version = concat!(env!("CARGO_PKG_VERSION"), "-1");
    let right = file.contains("target/packages/skydns") && file.contains(version);
    if right { Ok(()) } else { Err(format!("{file} is not of version {version}")) }
}

fn setup(action: Option<&str>) -> Result<(), String> {
    let action = action.ok_or("setup needs to know what to do")?;
    let known = shipped("packaging/setup").contains(&format!("\n  {action}) "));
    if known { Ok(()) } else { Err(format!("packaging/setup knows no {action}")) }
}

#[test]
fn lines_of_shell_are_split() {
    let words = |line| parsed("", line).into_iter().map(|shown| shown.words).collect::<Vec<_>>();
    assert_eq!(
        words("A=1 skydns -x 'a b' && echo '{}' > f # why"),
        [vec!["skydns", "-x", "a b"], vec!["echo", "{}"]]
    );
}
