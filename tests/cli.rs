//! The operator's side: commands, errors, exit codes, files, logs, metrics, signals.

mod support;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType, rdata};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::etcd::Etcd;
use support::upstream::{Upstream, add, reply_to};
use support::{Process, Setup, eventually, free_port, query, run};

fn skydns(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skydns"));
    command.env_clear().args(args).stdin(Stdio::null());
    command
}

/// Exit code and everything that was printed.
fn outcome(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().expect("an output");
    let text = [stdout, stderr].concat();
    (status.code().expect("an exit code"), String::from_utf8_lossy(&text).into_owned())
}

/// Runs with arguments that cannot be used; gives exit code and text.
fn refused(args: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = skydns(args);
    command.envs(variables.iter().copied());
    let mut process = Process::spawn(command.stderr(Stdio::piped()).stdout(Stdio::piped()));
    let status = process.wait();
    let mut text = String::new();
    let (out, err) = process.output();
    out.expect("stdout").read_to_string(&mut text).expect("text");
    err.expect("stderr").read_to_string(&mut text).expect("text");
    (status.code().expect("an exit code"), text)
}

#[test]
fn help_and_version_are_what_one_expects() {
    for arg in ["--help", "-h", "-help", "help"] {
        let (code, text) = outcome(&mut skydns(&[arg]));
        assert_eq!(code, 0);
        assert!(text.contains("usage: skydns [FLAG]") && text.contains("-round-robin"), "{text}");
        for command in COMMANDS {
            assert!(text.contains(&format!("       skydns {command}")), "{command}\n{text}");
        }
        for code in ["0", "1", "64", "65", "69", "70", "71", "77", "78"] {
            assert!(text.contains(&format!("\n  {code:<3} ")), "{code}\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 130), "{text}");
    }
    for arg in ["--version", "-version", "version"] {
        assert_eq!(outcome(&mut skydns(&[arg])), (0, format!("skydns {}\n", env!("CARGO_PKG_VERSION"))));
    }
}

/// The commands that help shows.
const COMMANDS: [&str; 13] = [
    "run",
    "check",
    "keygen",
    "ds",
    "reload",
    "pass-keys",
    "resolv-conf",
    "port-holders",
    "completions",
    "help",
    "rescue",
    "version",
    "reference",
];

#[test]
fn each_command_has_a_help_of_its_own() {
    for command in COMMANDS {
        let (code, text) = outcome(&mut skydns(&["help", command]));
        assert_eq!(code, 0);
        assert!(text.starts_with(&format!("skydns {command}: ")), "{text}");
        assert!(text.contains(&format!("\nusage: skydns {command}")), "{text}");
        assert!(text.contains("\nExit codes:\n  0   "), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 130), "{text}");
        // Without the word help, these two are the program's own.
        if !["run", "help"].contains(&command) {
            for arg in ["--help", "-h", "-help"] {
                assert_eq!(outcome(&mut skydns(&[command, arg])), (0, text.clone()), "{command} {arg}");
            }
        }
    }
    let (_, text) = outcome(&mut skydns(&["keygen", "--help"]));
    for option in ["  -a ALGORITHM ", "  -z ", "  -K DIR ", "  DOMAIN "] {
        assert!(text.contains(option), "{option}\n{text}");
    }
    let (code, text) = outcome(&mut skydns(&["help", "nope"]));
    assert!(code == 64 && text.contains("\"nope\" is no command"), "{text}");
}

/// Arguments, variables, exit code, and a part of what is told.
type Refused<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], i32, &'a str);

#[test]
fn what_cannot_be_used_is_told_with_its_place() {
    let missing = "/nonexistent/file";
    let in_use = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = in_use.local_addr().expect("an address").to_string();
    let records = tempfile::tempdir().expect("a directory");
    let records = records.path().to_str().expect("a path");
    let https = "https://127.0.0.1:1";
    let no_records = format!("flag -records: the directory {missing} cannot be read: No such file");
    let pipes = tempfile::tempdir().expect("a directory");
    let pipe = pipes.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let pipe = pipe.to_str().expect("a path");
    // A command line that is wrong ends the start.
    let cases: [Refused<'_>; 15] = [
        (&["-nope"], &[], 64, "flag -nope does not exist"),
        (&["-addr"], &[], 64, "flag -addr needs a value"),
        (&["-round-robin", "false"], &[], 64, "as in -round-robin=false"),
        (&["serve"], &[], 64, "\"serve\" is no command"),
        (&["-addr", "localhost:53"], &[], 64, "flag -addr: \"localhost:53\" is not an IP address and port"),
        (&["-nameservers", "8.8.8.8:99999"], &[], 64, "flag -nameservers: \"8.8.8.8:99999\""),
        (&["-rtimeout", "2"], &[], 64, "flag -rtimeout: \"2\" is not a duration"),
        (&["-domain", "a..b"], &[], 64, "flag -domain: \"a..b\" is not a domain name"),
        (&["-master", "ftp://x"], &[], 64, "\"ftp://x\" is not the URL of an API server"),
        (&["-kubernetes-ttl", "3601"], &[], 64, "\"3601\" is not between 0 and 3600"),
        (&["-netlookup"], &[], 64, "does not look into /etc/hosts"),
        (&["-machines", "ftp://x"], &[], 64, "\"ftp://x\" is not the URL of an etcd endpoint"),
        (&["-local", "{machine}.x"], &[], 64, "flag -local: \"{machine}\" is neither {hostname}"),
        (&["-log-level", "loud"], &[], 64, "\"loud\" is not error, warn, info or debug"),
        (&["-records", records, "-addr", &taken], &[], 71, " is held by cli-"),
    ];
    for (args, variables, code, message) in cases {
        let (is, text) = refused(args, variables);
        assert!(is == code && text.contains(message), "{args:?}: {is} {text}");
    }
    // Everything else does so with -strict alone.
    let cases: [Refused<'_>; 9] = [
        (&["-domain", ".", "-dnssec", "K.+013+00001"], &[], 78, "the domain \".\" cannot be signed"),
        (&[], &[("SKYDNS_NDOTS", "many")], 78, "variable SKYDNS_NDOTS: \"many\" is not a whole number"),
        (&["-env-file", pipe], &[], 78, "cannot be read: it is not a regular file"),
        (&["-machines", https, "-ca-cert", pipe], &[], 78, "cannot be read: it is not a regular file"),
        (&["-records", missing], &[], 78, &no_records),
        (
            &["-machines", https, "-ca-cert", missing],
            &[],
            78,
            "flag -ca-cert: /nonexistent/file: cannot be read",
        ),
        (
            &["-machines", https, "-tls-pem", missing],
            &[],
            78,
            "needs both -tls-pem (ETCD_TLSPEM) and -tls-key",
        ),
        (&[], &[("SKYDNS_LOCAL", "{machine}.x")], 78, "SKYDNS_LOCAL: \"{machine}\" is neither {hostname}"),
        (&[], &[("PROMETHEUS_PORT", "x")], 78, "variable PROMETHEUS_PORT: \"x\" is not a port"),
    ];
    let listen = format!("127.0.0.1:{}", free_port());
    for (args, variables, code, message) in cases {
        let usual = ["-strict", "-addr", &listen, "-records", records];
        let (is, text) = refused(&[&usual, args].concat(), variables);
        assert!(is == code && text.contains(message), "{args:?}: {is} {text}");
        assert!(!text.contains("panicked") && !text.contains("Error {"), "{text}");
    }
    let (code, text) = refused(&["-systemd", "-records", records], &[]);
    assert!(code == 78 && text.contains("systemd passed no socket"), "{code} {text}");
}

/// Variables that cannot be used, and what the log says of them.
const BAD_VARIABLES: [(&str, &str, &str); 12] = [
    ("SKYDNS_TTL", "many", "\"many\" is not a whole number; the default is used"),
    ("SKYDNS_DOMAIN", "a..b", "\"a..b\" is not a domain name; the default is used"),
    ("SKYDNS_LOCAL", "{x}.y", "\"{x}\" is neither {hostname} nor {machine_id}; the default is used"),
    ("SKYDNS_NAMESERVERS", "dns.example.org", "\"dns.example.org\" is not an IP address and port"),
    ("SKYDNS_ROUND_ROBIN", "maybe", "\"maybe\" is not a boolean (true or false); the default is used"),
    ("SKYDNS_RECORDS_LINKS", "x", "\"x\" is not a boolean"),
    ("SKYDNS_LOG", "printer", "\"printer\" is not "),
    (
        "SKYDNS_DNSSEC",
        "/nonexistent/Kskydns.local.+013+00001",
        "Kskydns.local.+013+00001.key: cannot be read",
    ),
    ("ETCD_MACHINES", "ftp://me:secret@x", "\"ftp://…@x\" is not the URL of an etcd endpoint"),
    ("ETCD_CACERT", "/nonexistent/ca.pem", "/nonexistent/ca.pem: cannot be read"),
    ("ETCD_TLSPEM", "/nonexistent/client.pem", "the client certificate needs both"),
    ("PROMETHEUS_PORT", "x", "\"x\" is not a port"),
];

#[test]
fn a_variable_that_cannot_be_used_costs_itself_alone() {
    let upstream = Upstream::start(|query, _| {
        let mut reply = reply_to(query);
        add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, 99].into())));
        Some(reply)
    });
    for (name, value, told) in BAD_VARIABLES {
        let setup =
            Setup::new().variable(name, value).record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
        let nameserver = upstream.address.to_string();
        let setup =
            if name == "SKYDNS_NAMESERVERS" { setup } else { setup.args(&["-nameservers", &nameserver]) };
        let agent = setup.start();
        assert!(
            agent.log().contains(&format!("error: refused: variable {name}: ")),
            "{name}\n{}",
            agent.log()
        );
        assert!(agent.log().contains(told), "{name}: {told}\n{}", agent.log());
        assert!(!agent.log().contains("secret"), "{}", agent.log());
        if name != "SKYDNS_NAMESERVERS" {
            assert_eq!(agent.data("www.example.org.", RecordType::A), ["192.0.2.99"], "{name}");
        }
        let own = agent.ask("a.skydns.local.", RecordType::A);
        match name {
            // Nobody knows whether the domain has to be signed: what a validator would refuse is not answered.
            "SKYDNS_DNSSEC" => assert_eq!(own.metadata.response_code, ResponseCode::ServFail),
            _ => assert_eq!(own.answers.len(), 1, "{name}"),
        }
    }
}

#[test]
fn check_lists_everything_that_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |path: &str, value: &str| {
        let file = dir.path().join(path);
        fs::create_dir_all(file.parent().expect("a parent")).expect("directories");
        fs::write(file, value).expect("a file");
    };
    let records = dir.path().display().to_string();
    write("local/skydns/good", r#"{"host":"10.0.0.1"}"#);
    write("config", r#"{"ttl":60,"new_thing":1}"#);
    let (code, text) = outcome(&mut skydns(&["check", "-records", &records]));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("1 name\n") && text.contains("everything is in order"), "{text}");
    assert!(
        text.contains("note: files: /skydns/config: no setting has the name of field \"new_thing\""),
        "{text}"
    );

    write("config", r#"{"ttl":"60"}"#);
    write("local/skydns/bad", r#"{"port":-1}"#);
    write("local/skydns/list", r#"{"host":"10.0.0.1,10.0.0.2"}"#);
    write("local/skydns/Upper", r#"{"host":"10.0.0.2"}"#);
    symlink(".", dir.path().join("loop")).expect("a link");
    symlink("/proc/self/mem", dir.path().join("local/outside")).expect("a link");
    let bad = ["check", "-records", &records, "-machines", "http://127.0.0.1:1", "-dnssec", "/no/Kx.+013+1"];
    let (code, text) = outcome(skydns(&bad).env("SKYDNS_ADDR", "x"));
    assert_eq!(code, 78, "{text}");
    for line in [
        "problem: variable SKYDNS_ADDR: \"x\" is not an IP address and port",
        "problem: files: /skydns/local/skydns/bad: field \"port\" is -1, not between 0 and 65535; the service is not served",
        "problem: files: /skydns/local/skydns/list: field \"host\" is \"10.0.0.1,10.0.0.2\", which is no IP address and \
         no name of a host: it is a list; each host needs a key of its own; the service is not served",
        "problem: files: /skydns/loop: cannot be read: it is a link that leads back",
        "problem: files: /skydns/local/outside: cannot be read: it is a link that leads out of the directory of records",
        "problem: files: /skydns/config: field \"ttl\": \"60\" is not a whole number",
        "problem: etcd: http://127.0.0.1:1: ",
        "problem: flag -dnssec: /no/Kx.+013+1.private: cannot be read",
        "note: files: /skydns/local/skydns/Upper: the key has upper-case letters",
        "2 names",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let (_, text) = outcome(&mut skydns(&["check", "-records", &records, "-records-links"]));
    assert!(text.contains("/skydns/local/outside: cannot be read: Input/output error"), "{text}");
}

#[test]
fn check_reads_keys() {
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/dnssec-key/Kskydns.test.+005+51945");
    let dir = tempfile::tempdir().expect("a directory");
    let records = dir.path().display().to_string();
    let check = |domain: &str| {
        outcome(&mut skydns(&["check", "-records", &records, "-domain", domain, "-dnssec", key]))
    };
    let (code, text) = check("skydns.test");
    assert!(code == 0 && text.contains("key 51945 of skydns.test., algorithm 5"), "{code} {text}");
    let (code, text) = check("other.test");
    let told =
        format!("note: dnssec: {key} is not used: it is a key of skydns.test., and no domain of ours has");
    assert!(code == 78 && text.contains(&told), "{code} {text}");
    assert!(text.contains("problem: flag -dnssec: none of the keys is one of a domain of ours"), "{text}");
}

#[test]
fn check_reads_etcd() {
    let etcd = Etcd::start();
    etcd.put_all([
        ("/skydns/local/skydns/a", "{}"),
        ("/skydns/local/skydns/b", "[]"),
        ("/skydns/config", "{}"),
    ]);
    let (code, text) = outcome(&mut skydns(&["check", "-machines", &etcd.endpoint()]));
    assert_eq!(code, 65, "{text}");
    assert!(text.contains("problem: etcd: /skydns/local/skydns/b: the value is an array"), "{text}");
    etcd.delete("/skydns/local/skydns/b");
    assert_eq!(outcome(&mut skydns(&["check", "-machines", &etcd.endpoint()])).0, 0);
}

#[test]
fn check_tells_by_its_exit_code_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    fs::create_dir_all(at("records/local/skydns")).expect("a directory");
    let away = ["-machines", "http://127.0.0.1:1"];
    let check = |args: &[&str]| {
        let usual = ["check", "-env-file", &at("none"), "-records"].map(str::to_owned);
        let all =
            [&usual[..], &[at("records")], &args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()]
                .concat();
        outcome(&mut skydns(&all.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    let (code, text) = check(&[]);
    let told = |named: &str| format!("problem: {named}: cannot be read: it does not exist, and -");
    assert!(code == 78 && text.contains(&told(&at("none"))), "{code} {text}");
    let (code, text) = check(&["-conf-dir", &at("none.d")]);
    assert!(
        code == 78 && text.contains(&told(&at("none.d"))) && text.contains("2 problems"),
        "{code} {text}"
    );
    fs::write(at("none"), "").expect("a file");
    assert_eq!(check(&[]).0, 0);
    let (code, text) = check(&away);
    assert!(code == 69 && text.contains("problem: etcd: http://127.0.0.1:1: "), "{code} {text}");
    assert_eq!(check(&[&away[..], &["-offline"]].concat()).0, 0, "no store is asked");
    fs::write(at("records/local/skydns/bad"), "[]").expect("a file");
    let (code, text) = check(&away);
    assert!(code == 65 && text.contains("2 problems"), "{code} {text}");

    // A file of variables, as it would be put into its place.
    let file = at("new.conf");
    fs::write(&file, "SKYDNS_TTL=5\n\nSKYDNS_NDOTS=many\nSKYDNS_TLT=7\nexport\n").expect("a file");
    let (code, text) = check(&["-offline", &file]);
    for line in [
        format!("problem: {file}:3: SKYDNS_NDOTS: \"many\" is not a whole number\n"),
        format!("problem: {file}:4: SKYDNS_TLT: no setting has this name; SKYDNS_TTL is the nearest one\n"),
        format!("problem: {file}:5: the line has no \"=\": it has to be NAME=value, or begin with \"#\"\n"),
    ] {
        assert!(code == 78 && text.contains(&line), "{code} {text}");
    }
    fs::remove_file(at("records/local/skydns/bad")).expect("removed");
    fs::write(&file, "SKYDNS_TTL=5\n").expect("a file");
    assert_eq!(check(&["-offline", &file]).0, 0);
    // What stands in another file is not this file's fault.
    fs::write(at("env"), "SKYDNS_NDOTS=many\n").expect("a file");
    assert_eq!(check(&["-env-file", &at("env"), "-offline", &file]).0, 0);
    assert_eq!(check(&["-env-file", &at("env"), "-offline"]).0, 78);
    let keys = "SKYDNS_DNSSEC=/no/Kskydns.local.+013+1\n";
    fs::write(at("env"), keys).expect("a file");
    let (code, text) = check(&["-env-file", &at("env"), "-offline", &file]);
    assert!(code == 0 && text.contains("note: ") && text.contains("/no/Kskydns"), "{code} {text}");
    fs::write(&file, keys).expect("a file");
    let (code, text) = check(&["-offline", &file]);
    let told = format!("problem: {file}:1: SKYDNS_DNSSEC: /no/Kskydns.local.+013+1.key: cannot be read");
    assert!(code == 78 && text.contains(&told), "{code} {text}");
    // A file that is in its place is read once.
    fs::write(&file, "SKYDNS_NDOTS=many\n").expect("a file");
    let (code, text) = check(&["-conf-dir", &at("."), "-offline", &file]);
    assert!(code == 78 && text.contains("\n1 problem\n"), "{code} {text}");
}

#[test]
fn check_waits_for_no_pipe_and_prints_no_control_characters() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    fs::create_dir_all(at("records/local/skydns")).expect("a directory");
    for pipe in ["records/local/skydns/pipe", "pipe.conf"] {
        nix::unistd::mkfifo(&dir.path().join(pipe), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    }
    fs::write(at("records/local/skydns/\u{1b}[31mred\n"), "[\"\u{1b}]0;title\u{7}\"]").expect("a file");
    fs::write(at("new.conf"), "SKYDNS_DOMAIN=\u{1b}[2Ja..b\nSKYDNS_NAMESERVERS=\u{202e}1.1.1.1:53\n")
        .expect("a file");
    let base = ["check", "-conf-dir", &at("."), "-records", &at("records"), "-dnssec", &at("pipe.conf")];
    let (code, text) = outcome(&mut skydns(&base));
    assert_eq!(code, 78, "{text}");
    assert!(text.contains("pipe.conf: cannot be read: it is not a regular file"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
    let (code, text) = outcome(&mut skydns(&["check", &at("pipe.conf")]));
    assert!(code == 64 && text.contains("it is not a regular file"), "{code} {text}");
}

#[test]
fn no_command_prints_control_characters_of_others_or_at_length() {
    let evil = format!("\u{1b}[31m\u{202e}\r{}", "x".repeat(10_000));
    let reports = tempfile::tempdir().expect("a directory");
    fs::create_dir(reports.path().join("reload")).expect("a directory");
    let lines: [&[&str]; 14] = [
        &[&evil],
        &[&format!("-{evil}")],
        &["help", &evil],
        &["-domain", &evil, "check"],
        &["-addr", &evil],
        &["-machines", &evil],
        &["-flatten", &evil],
        &["-local", &evil],
        &["check", &evil],
        &["ds", &evil],
        &["keygen", "-a", &evil],
        &["keygen", "-K", &evil],
        &["port-holders", &evil],
        &["resolv-conf", "enable", &evil],
    ];
    for line in lines {
        let (code, text) = outcome(&mut skydns(line));
        assert!(code >= 64 && text.contains("x"), "{line:?}: {code} {text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
        assert!(text.lines().all(|line| line.chars().count() < 5_000), "{} {}", line[0], text.len());
    }
    let me = std::process::id().to_string();
    let (code, text) = outcome(skydns(&["reload", &me]).env("RUNTIME_DIRECTORY", reports.path()));
    assert!(code == 71 && text.contains("it is not a regular file"), "{code} {text}");
    let link = reports.path().join("etc");
    fs::create_dir(&link).expect("a directory");
    symlink("/tmp/\u{1b}[31m", link.join("resolv.conf")).expect("a link");
    let root = format!("--root={}", reports.path().display());
    let (code, text) = outcome(&mut skydns(&["resolv-conf", "status", &root]));
    assert!(code == 1 && text.contains("a link to /tmp/\\u{1b}[31m"), "{code} {text:?}");
}

#[test]
fn check_judges_what_the_user_of_the_service_may_read() {
    let is_there = |user: &str| nix::unistd::User::from_name(user).is_ok_and(|user| user.is_some());
    if !nix::unistd::Uid::effective().is_root() || !is_there("skydns") {
        println!("not run: it takes root and a user skydns; the boot tests have both");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    let records = dir.path().join("records");
    fs::create_dir(&records).expect("a directory");
    fs::set_permissions(&records, fs::Permissions::from_mode(0o700)).expect("permissions");
    let (code, text) =
        outcome(&mut skydns(&["check", "-offline", "-records", records.to_str().expect("a path")]));
    assert!(code == 78 && text.contains("records cannot be read: Permission denied"), "{code} {text}");
    assert!(text.contains("(the user skydns has to be able to read it)"), "{text}");
}

#[test]
fn too_few_threads_are_told() {
    // Root has no such limit, and processes of other tests must not count.
    let as_somebody = |threads: usize, args: &[&str]| {
        let (user, group) = ("--reuid=64321", "--regid=64321");
        let mut command = Command::new("setpriv");
        command.args([user, group, "--clear-groups", "prlimit", &format!("--nproc={threads}")]);
        command.arg(env!("CARGO_BIN_EXE_skydns")).args(args);
        command
    };
    match as_somebody(3, &["--version"]).output() {
        Ok(output) if output.status.success() => {}
        _ => {
            println!("not run: another user cannot run the program here");
            return;
        }
    }
    // What the agent needs at least, and too few for the workers that are asked for.
    let some = 2 * std::thread::available_parallelism().map_or(1, usize::from) + 20;
    let records = tempfile::tempdir().expect("a directory");
    fs::set_permissions(records.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    let records = records.path().to_str().expect("a path");
    let address = format!("127.0.0.1:{}", free_port());
    let many = ["-addr", &address, "-workers", "200", "-records", records, "-nameservers", "127.0.0.1:1"];
    for (threads, args, what) in [
        (3, &["-addr", "127.0.0.1:1"][..], "threads that the agent needs"),
        (3, &["check"], "threads that the agent needs"),
        (some, &many, "setting up UDP"),
    ] {
        let output = as_somebody(threads, args).output().expect("an output");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(71), "{text}");
        assert!(text.contains(what) && text.contains("ulimit -u"), "{text}");
        assert!(!text.contains("panicked") && !text.contains("a fault"), "{text}");
    }
    // Around the number with which the agent can start, no thread is missed in another way. One of these is just enough for
    // all but the work that blocks.
    for threads in some - 7..some {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let few = ["-addr", &address, "-workers", "8", "-records", records, "-nameservers", "127.0.0.1:1"];
        let mut command = as_somebody(threads, &few);
        let mut process = Process::spawn(command.stderr(log.reopen().expect("a file")).stdout(Stdio::null()));
        let text = || fs::read_to_string(log.path()).expect("a log");
        eventually("it is ready or ends", || !process.is_running() || text().contains("info: ready: "));
        assert!(!text().contains("panicked") && !text().contains("a fault"), "{threads}: {}", text());
        assert!(process.is_running() || text().contains("ulimit -u"), "{threads}: {}", text());
    }
}

#[test]
fn the_log_level_is_taken_and_changed_by_a_reload() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    let record = |setup: Setup| setup.record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    fs::write(path, "SKYDNS_LOG_LEVEL=debug\nSKYDNS_WORKERS=1\nSKYDNS_TTL=60\n").expect("written");
    let agent = record(Setup::new()).args(&["-env-file", path]).start();
    fs::write(path, "SKYDNS_LOG_LEVEL=warn\nSKYDNS_WORKERS=2\nPROMETHEUS_PATH=/x\n").expect("written");
    agent.process.signal("-HUP");
    eventually("workers are told", || {
        agent.log().contains("-workers changed: a restart makes it take effect")
    });
    eventually("other settings are told", || {
        agent.log().contains("settings changed: ttl 60 → 3600, log-level debug → warn, workers 1 → 2")
    });
    eventually("statistics are told", || {
        agent.log().contains("PROMETHEUS_PATH changed: a restart makes it take effect")
    });
    // The end of this reload is at a level that is not logged any more; the next one is not logged at all.
    let reloads = |agent: &support::Agent| agent.log().matches("reloading (SIGHUP)").count();
    eventually("the level counts", || {
        let before = reloads(&agent);
        agent.process.signal("-HUP");
        std::thread::sleep(Duration::from_millis(50));
        reloads(&agent) == before
    });
    agent.write("local/skydns/b", "[");
    eventually("warnings are logged", || agent.log().contains("skydns/b: refused"));
}

#[test]
fn what_nobody_would_look_for_is_told() {
    let setup = || {
        Setup::new()
            .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
            .record("/skydns/local/skydns/dns/stub/com/x", r#"{"host":"192.0.2.66"}"#)
            .record("/skydns/local/skydns/dns/stub/org/example/x", r#"{"host":"192.0.2.1"}"#)
            .record("/skydns/local/skydns/dns/stub/local/skydns/x", r#"{"host":"192.0.2.1"}"#)
            .record("/skydns/local/other/b", r#"{"host":"10.0.0.2"}"#)
            .record("/skydns/arpa/in-addr/10/0/0/1", r#"{"host":"a.skydns.local"}"#)
            .args(&["-stubzones"])
    };
    let lines = [
        "1 key is not below skydns.local., so the services there are not served, such as /skydns/local/other/b",
        "stub zone com.: 192.0.2.66:53 (from the store) is a top-level domain, and all names below it go there",
        "stub zone example.org.: 192.0.2.1:53 (from the store)",
        "stub zone: x.skydns.local.stub.dns.skydns.local. is left out: it names our own domain",
    ];
    let (mut command, _, _dir) = setup().command();
    let (code, text) = outcome(command.arg("check"));
    assert_eq!(code, 0, "{text}");
    lines.iter().for_each(|line| assert!(text.contains(line), "{line}\n{text}"));
    let agent = setup().start();
    for line in lines {
        eventually(line, || agent.log().contains(line));
    }
    fs::remove_file(agent.records().join("local/skydns/dns/stub/com/x")).expect("removed");
    eventually("the end is told", || agent.log().contains("stub zone com. is gone"));
    let told = agent.log().matches("stub zone example.org.").count();
    assert_eq!(told, 1, "once\n{}", agent.log());
}

#[test]
fn files_are_followed() {
    let agent = Setup::new().record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#).start();
    let knows = |name: &str, data: &[&str]| {
        eventually(&format!("{name} is {data:?}"), || agent.data(name, RecordType::A) == data);
    };
    agent.write("local/skydns/a", r#"{"host":"10.0.0.2"}"#);
    knows("a.skydns.local.", &["10.0.0.2"]);
    agent.write("local/skydns/new/deep/b", r#"{"host":"10.0.0.3"}"#);
    knows("b.deep.new.skydns.local.", &["10.0.0.3"]);
    // Written in two steps: the old value holds meanwhile.
    let path = agent.records().join("local/skydns/a");
    let mut file = File::create(&path).expect("a file");
    file.write_all(br#"{"host":"#).expect("written");
    file.flush().expect("flushed");
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.2"]);
    }
    file.write_all(br#""10.0.0.4"}"#).expect("written");
    drop(file);
    knows("a.skydns.local.", &["10.0.0.4"]);
    fs::write(agent.records().join(".a.tmp"), r#"{"host":"10.0.0.5"}"#).expect("a file");
    fs::rename(agent.records().join(".a.tmp"), &path).expect("renamed");
    knows("a.skydns.local.", &["10.0.0.5"]);
    fs::remove_dir_all(agent.records().join("local/skydns/new")).expect("removed");
    knows("b.deep.new.skydns.local.", &[]);
    agent.write("config", r#"{"ttl":17}"#);
    eventually("the configuration is followed", || {
        agent.ask("a.skydns.local.", RecordType::A).answers.first().is_some_and(|r| r.ttl == 17)
    });
    let away = agent.records().with_extension("away");
    fs::rename(agent.records(), &away).expect("renamed");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        agent.data("a.skydns.local.", RecordType::A),
        ["10.0.0.5"],
        "a directory that is gone is not empty"
    );
    fs::rename(&away, agent.records()).expect("renamed back");
    agent.write("local/skydns/a", r#"{"host":"10.0.0.6"}"#);
    knows("a.skydns.local.", &["10.0.0.6"]);
    // Another directory in its place is followed as the first was.
    fs::rename(agent.records(), agent.records().with_extension("old")).expect("renamed");
    agent.write("local/skydns/a", r#"{"host":"10.0.0.7"}"#);
    knows("a.skydns.local.", &["10.0.0.7"]);
    let start = Instant::now();
    agent.write("local/skydns/a", r#"{"host":"10.0.0.8"}"#);
    knows("a.skydns.local.", &["10.0.0.8"]);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn queries_are_logged_when_asked_for_and_lines_cannot_be_forged() {
    // Queries are logged at any level.
    let args = ["-verbose", "-log-level", "error"];
    let setup = Setup::new().record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    let (mut command, port, dir) = setup.args(&args).command();
    let log = File::create(dir.path().join("log")).expect("a file");
    let process = Process::spawn(command.stderr(log).stdout(Stdio::null()));
    let agent = support::Agent { process, port, dir };
    let question = query("a.skydns.local.", RecordType::A).to_vec().expect("a query");
    let ask = || support::exchange(agent.address(), &question, Duration::from_millis(200)).is_some();
    eventually("the agent answers", ask);
    agent.ask("none.skydns.local.", RecordType::SRV);
    let mut evil = query("x.", RecordType::A);
    let labels: [&[u8]; 3] = [b"evil\nerror: forged", b"skydns", b"local"];
    evil.queries[0].set_name(Name::from_labels(labels).expect("a name"));
    support::ask(agent.address(), &evil);
    let told = |question: &str, result: &str| {
        agent.log().lines().any(|line| line.contains(question) && line.contains(result))
    };
    eventually("the query is logged", || {
        told("query a.skydns.local. IN A from 127.0.0.1:", " over udp: NOERROR, 1 answer in ")
    });
    eventually("so is one for no name", || {
        told("query none.skydns.local. IN SRV from 127.0.0.1:", " over udp: NXDOMAIN, 0 answers in ")
    });
    eventually("the other query is logged", || agent.log().contains("forged"));
    assert!(agent.log().lines().all(|line| line.starts_with("20")), "{}", agent.log());
    let quiet = Setup::new().record("/skydns/local/skydns/a", "{}").start();
    quiet.ask("a.skydns.local.", RecordType::SRV);
    assert!(!quiet.log().contains("query"));
}

#[test]
fn the_journal_gets_priorities() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = File::create(dir.path().join("journal")).expect("a file");
    let meta = log.metadata().expect("metadata");
    let setup = Setup::new().record("/skydns/local/skydns/bad", "[]");
    let (mut command, _, _dir) = setup.command();
    command.env("JOURNAL_STREAM", format!("{}:{}", meta.dev(), meta.ino()));
    let _process = Process::spawn(command.stderr(log));
    let text = || fs::read_to_string(dir.path().join("journal")).unwrap_or_default();
    eventually("a warning", || text().contains("<4>files: /skydns/local/skydns/bad: refused"));
    assert!(text().lines().all(|line| line.starts_with('<')), "{}", text());
    assert!(text().contains("<6>ready for queries"));
}

/// The first message that a syslog daemon gets with some value of `-log`; the time zone is five hours ahead of UTC.
fn first_syslog_message(log: &str) -> String {
    // A /dev of its own, with nothing but the socket of a syslog daemon.
    let dir = tempfile::tempdir().expect("a directory");
    let dev = dir.path().join("dev");
    fs::create_dir(&dev).expect("a directory");
    let daemon = UnixDatagram::bind(dev.join("log")).expect("a socket");
    daemon.set_read_timeout(Some(support::PATIENCE)).expect("a timeout");
    let (agent, _, _dir) = Setup::new().record("/skydns/local/skydns/a", "{}").args(&["-log", log]).command();
    let mut command = Command::new("unshare");
    command.env("TZ", "XXX-5").args([
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        "mount --bind \"$0\" /dev && exec \"$@\"",
    ]);
    command.arg(&dev).arg(agent.get_program()).args(agent.get_args());
    let mut process = Process::spawn(&mut command);
    let mut buffer = [0; 2048];
    let mut lines = Vec::new();
    while !lines.iter().any(|line: &String| line.contains("ready for queries")) {
        assert!(process.is_running());
        let len = daemon.recv(&mut buffer).expect("a line");
        lines.push(String::from_utf8_lossy(&buffer[..len]).into_owned());
    }
    lines.swap_remove(0)
}

#[test]
fn syslog_gets_what_the_c_library_would_send() {
    let minute = || {
        run(Command::new("date").env("TZ", "XXX-5").env("LC_ALL", "C").arg("+%b %e %H:%M")).trim().to_owned()
    };
    let before = minute();
    let message = first_syslog_message("syslog");
    // <facility * 8 + severity>Mmm dd hh:mm:ss tag[pid]: text
    let at = [before, minute()].map(|minute| format!("<30>{minute}:"));
    assert!(at.iter().any(|at| message.starts_with(at)), "{at:?} {message}");
    let (tag, text) = message[20..].split_once(": ").expect("a tag");
    assert!(tag.starts_with("skydns[") && tag.ends_with(']') && text.starts_with("skydns 3"), "{message}");
}

#[test]
fn syslog_gets_rfc_5424_when_that_is_asked_for() {
    let message = first_syslog_message("syslog5424");
    // <facility * 8 + severity>version time host process pid message-id data text
    assert!(message.starts_with("<30>1 20") && message.contains(" - - skydns 3"), "{message}");
    assert_eq!(message.split(' ').nth(3), Some("skydns"), "{message}");
}

/// What is served over HTTP; nothing if nobody listens, and less if the connection is reset.
fn page(port: u16, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    let _ =
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8(text).expect("text")
}

#[test]
fn a_taken_port_of_the_page_costs_the_page_only() {
    let taken = std::net::TcpListener::bind("[::]:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let setup = Setup::new().record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    let agent = setup.variable("PROMETHEUS_PORT", &port.to_string()).start();
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    eventually("it is told", || agent.log().contains(&format!("cannot listen on port {port}")));
    drop(taken);
    eventually("the port is free", || page(port, "/metrics").contains("skydns_skydns_names 1\n"));
}

#[test]
fn without_syslog_the_log_is_on_standard_error() {
    if ["/dev/log", "/var/run/syslog"].iter().any(|socket| std::path::Path::new(socket).exists()) {
        println!("not run: somebody takes messages here");
        return;
    }
    let agent = Setup::new().record("/skydns/local/skydns/a", "{}").args(&["-log", "syslog"]).start();
    assert!(agent.log().contains("nobody takes the log at /dev/log"));
}

#[test]
fn metrics_are_on_their_page() {
    let port = free_port();
    let agent = Setup::new()
        .record("/skydns/local/skydns/a", "{}")
        .record("/skydns/local/skydns/bad", "[]")
        .variable("PROMETHEUS_PORT", &port.to_string())
        .variable("PROMETHEUS_NAMESPACE", "site")
        .variable("PROMETHEUS_PATH", "/m")
        .start();
    agent.ask("none.skydns.local.", RecordType::A);
    let get = |path: &str| page(port, path);
    // A bad file that is young may be half written.
    eventually("the bad record is refused", || get("/m").contains("site_skydns_refused_records 1\n"));
    let page = get("/m");
    assert!(page.starts_with("HTTP/1.1 200"));
    for line in [
        "site_skydns_dns_request_count_total{system=\"auth\"} 1",
        "site_skydns_dns_error_count_total{system=\"auth\",cause=\"nxdomain\"} 1",
        "site_skydns_names 1",
        "site_skydns_source_up{source=\"files\"} 1",
        "site_skydns_source_changes_total{source=\"files\",state=\"synced\"} 1",
    ] {
        assert!(page.lines().any(|l| l == line), "{line}\n{page}");
    }
    assert!(get("/other").starts_with("HTTP/1.1 404"));
}

/// Everything that one connection to a listener brings; what `answer` says is sent back.
fn taken(listener: &TcpListener, answer: &[u8]) -> String {
    let (mut stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(len) = stream.read(&mut buffer) {
        text.extend_from_slice(&buffer[..len]);
        if len == 0 {
            break;
        }
    }
    stream.write_all(answer).expect("answered");
    String::from_utf8(text).expect("text")
}

#[test]
fn statistics_are_sent_where_skydns_sent_them() {
    let listen = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let (graphite, influx, stathat) = (listen(), listen(), listen());
    let server = |listener: &TcpListener| listener.local_addr().expect("an address").to_string();
    let _agent = Setup::new()
        .record("/skydns/local/skydns/a", "{}")
        .variable("GRAPHITE_SERVER", &server(&graphite))
        .variable("GRAPHITE_PREFIX", "site")
        .variable("INFLUX_SERVER", &server(&influx))
        .variable("INFLUX_DATABASE", "dns stats")
        .variable("INFLUX_USER", "me")
        .variable("INFLUX_PASSWORD", "a&b")
        .variable("STATHAT_USER", "me@example.org")
        .variable("STATHAT_SERVER", &server(&stathat))
        .start();
    let text = taken(&graphite, b"");
    assert!(
        text.lines().all(|line| line.starts_with("site.skydns-") && line.split(' ').count() == 3),
        "{text}"
    );
    assert!(text.contains("site.skydns-requests.count "), "{text}");
    let text = taken(&influx, b"HTTP/1.1 204 No Content\r\n\r\n");
    assert!(text.starts_with("POST /write?db=dns%20stats&u=me&p=a%26b HTTP/1.1\r\n"), "{text}");
    assert!(text.contains("\nskydns-forward-requests count=0i\n"), "{text}");
    let text = taken(&stathat, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert!(text.ends_with("stat=skydns-requests&ezkey=me%40example.org&count=0"), "{text}");
}

/// An agent with a question under way at an upstream, which answers once it may; and the client that waits.
fn with_question_under_way(may_answer: &Arc<AtomicBool>) -> (support::Agent, UdpSocket) {
    let released = Arc::clone(may_answer);
    let upstream = Upstream::start(move |query, _| {
        while !released.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut reply = reply_to(query);
        add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, 1].into())));
        Some(reply)
    });
    let args = ["-nameservers", &upstream.address.to_string(), "-rtimeout", "60s"];
    let agent = Setup::new().record("/skydns/local/skydns/a", "{}").args(&args).start();
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    client.set_read_timeout(Some(support::PATIENCE)).expect("a timeout");
    let question = query("slow.example.org.", RecordType::A).to_vec().expect("a query");
    client.send_to(&question, agent.address()).expect("sent");
    eventually("the upstream is asked", || upstream.count() > 0);
    (agent, client)
}

fn reply_of(client: &UdpSocket) -> (ResponseCode, usize) {
    let mut reply = [0; 512];
    let len = client.recv(&mut reply).expect("a reply");
    let reply = hickory_proto::op::Message::from_vec(&reply[..len]).expect("a reply that can be read");
    (reply.metadata.response_code, reply.answers.len())
}

#[test]
fn a_signal_ends_it_in_order_and_what_is_under_way_is_finished() {
    let may_answer = Arc::default();
    let (mut agent, client) = with_question_under_way(&may_answer);
    agent.process.signal("-TERM");
    eventually("the signal is taken", || agent.log().contains("stopping (SIGTERM)"));
    may_answer.store(true, Ordering::Relaxed);
    assert_eq!(reply_of(&client), (ResponseCode::NoError, 1));
    assert_eq!(agent.process.wait().code(), Some(0));
}

#[test]
fn at_the_end_what_no_upstream_answers_gets_servfail() {
    let (mut agent, client) = with_question_under_way(&Arc::default());
    agent.process.signal("-TERM");
    assert_eq!(reply_of(&client), (ResponseCode::ServFail, 0));
    assert_eq!(agent.process.wait().code(), Some(0));
    assert!(agent.log().contains("did not answer before the end get SERVFAIL"), "{}", agent.log());
}

#[test]
fn sighup_reloads() {
    let mut agent = Setup::new().record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#).start();
    agent.process.signal("-HUP");
    eventually("the reload is told", || agent.log().contains("reloading (SIGHUP)"));
    assert!(agent.process.is_running());
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
}

#[test]
fn sockets_of_systemd_are_used() {
    let port = free_port();
    let setup = Setup::new().record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#).args(&["-systemd"]);
    let (agent, _, dir) = setup.command();
    let log = File::create(dir.path().join("log")).expect("a file");
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--datagram", "--listen", &format!("127.0.0.1:{port}")]);
    command.arg(agent.get_program()).args(agent.get_args());
    let _process = Process::spawn(command.stderr(log));
    // The first packet starts the agent, and waits in the socket meanwhile.
    eventually("the socket is there", || UdpSocket::bind(("127.0.0.1", port)).is_err());
    let reply = support::ask(([127, 0, 0, 1], port).into(), &query("a.skydns.local.", RecordType::A));
    assert_eq!(reply.answers.len(), 1);
    let log = fs::read_to_string(dir.path().join("log")).expect("a log");
    assert!(log.contains(&format!("systemd passed 1 socket: udp 127.0.0.1:{port}")), "{log}");
    assert!(
        log.contains("-addr (dns_addr) 127.0.0.1:")
            && log.contains("is not used, because systemd passes the sockets"),
        "{log}"
    );
}

#[test]
fn who_holds_an_address_is_named() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address").to_string();
    let holders = |address: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_skydns")).args(["port-holders", address]).output();
        let output = output.expect("skydns");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = holders(&address);
    assert!(code == Some(1) && text.starts_with(&format!("UDP {address} is held by ")), "{text}");
    assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");
    drop(socket);
    assert_eq!(holders(&address), (Some(0), "free\n".to_owned()));
    assert_eq!(holders("localhost").0, Some(64));
}

#[test]
fn completions_are_what_the_shell_takes() {
    let text = |shell: &str| run(Command::new(env!("CARGO_BIN_EXE_skydns")).args(["completions", shell]));
    let offered = |line: &str| {
        let word = line.rsplit(' ').next().unwrap_or_default();
        let before = line.trim_end_matches(word).trim_end().rsplit(' ').next().unwrap_or_default();
        let script = format!(
            "{}\nCOMP_WORDS=({before} '{word}') COMP_CWORD=1; _skydns; echo \"${{COMPREPLY[*]}}\"",
            text("bash")
        );
        run(Command::new("bash").args(["-c", &script])).trim().to_owned()
    };
    assert_eq!(offered("skydns -round"), "-round-robin");
    assert_eq!(offered("skydns resolv-conf e"), "enable");
    assert_eq!(offered("skydns resolv-conf --for"), "--force");
    assert_eq!(offered("skydns keygen -"), "-a -z -K --help");
    assert_eq!(offered("skydns help ver"), "version");
    assert_eq!(offered("skydns -log "), "stderr syslog syslog5424");
    for (shell, line) in [("zsh", "#compdef skydns\n"), ("fish", "complete -c skydns -o ttl -x -d")] {
        assert!(text(shell).contains(line), "{shell}");
    }
}

/// The unit's setting names the keys of the service, from whatever directory somebody asks.
#[test]
fn names_in_files_of_the_unit_do_not_depend_on_the_working_directory() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("not run: it takes root, for an /etc of its own");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    // Each command gives its exit code after its text.
    let script = r#"
        mount -t tmpfs none /etc
        mkdir -p /etc/default /etc/skydns/keys /etc/skydns/records "$1/keys" "$1/empty/keys" "$1/empty/records"
        printf 'SKYDNS_DNSSEC=keys\nSKYDNS_RECORDS=etc/skydns/records\n' > /etc/default/skydns
        keygen() { "$SKYDNS" keygen -K "$1"; }
        tag() { sed 's/.*+0*//'; }
        echo "service $(keygen /etc/skydns/keys | tag)"; echo "other $(keygen "$1/keys" | tag)"
        told() { "$SKYDNS" "$@" 2>&1 | sed -n 's/.* IN DS \([0-9]*\) .*/is \1/p; s/^key \([0-9]*\) of.*/is \1/p; /^problem/p' | uniq; }
        for place in / "$1" "$1/empty"; do
            cd "$place"
            echo "ds: $(told ds)"; echo "check: $(told check -offline)"
        done
        cd "$1"
        echo "typed: $(told -dnssec keys ds) $(told ds keys/K*.key)"
        echo "typed: $(SKYDNS_DNSSEC=./keys told ds) $(told check -offline -dnssec "$(basename keys)")"
        cd keys
        echo "typed: $(told -dnssec "$(basename K*.key .key)" ds)"
        cd ../empty
        "$SKYDNS" check -offline -records none 2>&1 | grep '^problem' || true
        # The running service, as the check finds it.
        mount -t tmpfs none /sys/fs/cgroup; mkdir -p /sys/fs/cgroup/system.slice/skydns.service
        SKYDNS_NDOTS=1 ETCD_PASSWORD=geheim "$SKYDNS" -addr "127.0.0.1:$2" -domain a.example -rcache=5 2>/dev/null &
        echo $! > /sys/fs/cgroup/system.slice/skydns.service/cgroup.procs
        until [ "$(tr '\0' ' ' < /proc/$!/cmdline | cut -d' ' -f2)" = -addr ]; do sleep 0.05; done
        "$SKYDNS" check -offline 2>&1 | grep '^note: the running' || true
        kill $! || true
        echo 'SKYDNS_TTL=x' > new.conf
        "$SKYDNS" check -offline new.conf 2>&1 | grep '^problem' || true
    "#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "timeout", "60", "sh", "-euc", script, "sh"]);
    command.arg(dir.path()).arg(free_port().to_string()).env("SKYDNS", env!("CARGO_BIN_EXE_skydns"));
    let (code, text) = outcome(&mut command);
    assert_eq!(code, 0, "{text}");
    let tag = |of: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(of));
        line.unwrap_or_else(|| panic!("{text}")).trim().to_owned()
    };
    let (service, other) = (format!("is {}", tag("service ")), format!("is {}", tag("other ")));
    for line in text.lines().filter(|line| line.starts_with("ds: ") || line.starts_with("check: ")) {
        assert!(line.ends_with(&format!(": {service}")), "{text}");
    }
    // The file of the unit wins over the variable of the process.
    assert_eq!(text.matches(&service).count(), 7, "{text}");
    assert_eq!(text.matches(&other).count(), 4, "{text}");
    assert!(text.contains("problem: flag -records: the directory none cannot be read"), "{text}");
    let flags = "note: the running agent has flags of its unit, which this check does not read: -addr -domain -rcache\n";
    assert!(
        text.contains(flags) && text.contains(" which this check reads: ETCD_PASSWORD, SKYDNS_NDOTS ("),
        "{text}"
    );
    assert!(!text.contains("geheim"), "{text}");
    assert!(text.contains("problem: new.conf:1: SKYDNS_TTL: \"x\" is not a whole number"), "{text}");
}

#[test]
fn a_private_key_of_another_certificate_is_told_before_etcd_is_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    for name in ["one", "two"] {
        let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"];
        let files = ["/CN=client".to_owned(), "-keyout".to_owned(), at(name) + ".key"];
        let mut openssl = Command::new("openssl");
        run(openssl.args(new).args(files).args(["-out".to_owned(), at(name) + ".pem"]));
    }
    let check = |cert: &str, key: &str| {
        let machines = ["check", "-offline", "-env-file", "/dev/null", "-machines", "https://127.0.0.1:1"];
        outcome(skydns(&machines).args(["-tls-pem", &at(cert), "-tls-key", &at(key)]))
    };
    assert_eq!(check("one.pem", "one.key").0, 0);
    let (code, text) = check("one.pem", "two.key");
    let (cert, key) = (at("one.pem"), at("two.key"));
    let told =
        format!("problem: flag -tls-key: {key}: the private key is not that of the certificate {cert}\n");
    assert!(code == 78 && text.contains(&told), "{code} {text}");
    let agent = Setup::new()
        .record("/skydns/local/skydns/a", "{}")
        .args(&["-machines", "https://127.0.0.1:1", "-tls-pem", &cert, "-tls-key", &key])
        .start();
    eventually("the agent tells it", || agent.log().contains(told["problem: ".len()..].trim_end()));
}

/// `journalctl -p err` shows why a start ended.
#[test]
fn in_the_journal_the_reason_of_an_end_is_an_error() {
    for args in [&["-nonsense"][..], &["-addr", "x"], &["-strict", "-records", "/none"]] {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let about = log.as_file().metadata().expect("metadata");
        let mut command = skydns(args);
        command.env("JOURNAL_STREAM", format!("{}:{}", about.dev(), about.ino()));
        let status = command.stderr(log.reopen().expect("a file")).status().expect("a status");
        assert!(status.code().is_some_and(|code| code >= 64), "{status}");
        let text = fs::read_to_string(log.path()).expect("a log");
        assert!(!text.is_empty() && text.lines().all(|line| line.starts_with("<3>skydns: ")), "{text}");
        let (_, elsewhere) = outcome(&mut skydns(args));
        assert!(elsewhere.starts_with("skydns: "), "{elsewhere}");
    }
}
