//! Output that documents show, compared with the output of the program.

use super::markdown::{Block, Document, guides};
use super::shipped;
use super::support::{Agent, Setup, eventually, free_port, run};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

const RECORDS: &str = "packaging/sample-records";

/// Each command of a `console` block, with the lines that it prints.
fn sessions(block: &Block) -> Vec<(String, Vec<String>)> {
    let mut sessions: Vec<(String, Vec<String>)> = Vec::new();
    for line in block.lines.iter().filter(|_| block.language == "console") {
        match (line.strip_prefix("$ "), sessions.last_mut()) {
            (Some(command), _) => sessions.push((command.to_owned(), Vec::new())),
            (None, Some((_, output))) => output.push(line.clone()),
            (None, None) => panic!("output without a command: {line}"),
        }
    }
    sessions
}

fn all_sessions() -> Vec<(String, Vec<String>)> {
    guides().iter().flat_map(|guide| guide.blocks.iter().flat_map(sessions).collect::<Vec<_>>()).collect()
}

/// Lines with single blanks, sorted: the order of records changes.
fn sorted<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut lines: Vec<_> = lines
        .filter(|line| !line.starts_with(';') && !line.is_empty())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    lines
}

#[test]
fn dig_prints_what_the_guides_show() {
    let agent = Setup::new().args(&["-records", RECORDS]).start();
    eventually("the records are read", || !agent.short(&["db.skydns.local"]).is_empty());
    let shown: Vec<_> = all_sessions()
        .into_iter()
        .filter(|(command, _)| command.starts_with("dig @127.0.0.1 -p 5300 "))
        .collect();
    assert!(shown.len() >= 10, "{}", shown.len());
    for (command, output) in shown {
        let args = command.trim_start_matches("dig @127.0.0.1 -p 5300 ").replace('\'', "");
        let printed = agent.dig(&args.split(' ').collect::<Vec<_>>());
        assert_eq!(sorted(printed.lines()), sorted(output.iter().map(String::as_str)), "{command}");
    }
}

#[test]
fn check_prints_what_the_guide_shows() {
    let sessions = all_sessions();
    let (command, output) =
        sessions.iter().find(|(command, _)| command.starts_with("skydns check")).expect("an example");
    let dir = tempfile::tempdir().expect("a directory");
    let records = dir.path().join("records");
    run(Command::new("cp").arg("-r").arg(RECORDS).arg(&records));
    fs::write(records.join("local/skydns/web"), r#"{"host":"10.0.1.126","port":-1}"#).expect("a file");
    let variables = dir.path().join("variables");
    fs::write(&variables, format!("SKYDNS_RECORDS={}\n", records.display())).expect("a file");
    let command = format!("{command} -env-file {}", variables.display());
    let (code, printed) = printed(&command.split(' ').skip(1).collect::<Vec<_>>(), &[]);
    assert_eq!(
        (code, printed.lines().collect::<Vec<_>>()),
        (65, output.iter().map(String::as_str).collect())
    );
}

/// Exit code and output of a command that ends by itself.
fn printed(args: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skydns"));
    command.env_clear().envs(variables.iter().copied()).args(args).stdin(Stdio::null());
    let output = command.output().expect("an output");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("an exit code"), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn messages_are_those_that_troubleshooting_quotes() {
    let guide = shipped("docs/troubleshooting.md");
    let agrees = |fragment: &str, printed: &str| {
        assert!(guide.contains(fragment), "the guide does not quote: {fragment}");
        assert!(printed.contains(fragment), "not printed: {fragment}\n{printed}");
    };
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    fs::create_dir_all(at("local/skydns")).expect("a directory");
    fs::write(at("local/skydns/web"), r#"{"port":-1}"#).expect("a file");
    fs::write(at("config"), r#"{"ttl":"60"}"#).expect("a file");
    let records = dir.path().display().to_string();
    let holder = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/dnssec-key/Kskydns.test.+005+51945");
    let check = |args: &[&str]| {
        printed(&[&["check", "-records", &records], args].concat(), &[("SKYDNS_NDOTS", "many")]).1
    };

    let all =
        check(&["-domain", "site.example", "-dnssec", &format!("{key},/none/Kskydns.local.+013+12345")]);
    for fragment in [
        "SKYDNS_NDOTS: \"many\" is not a whole number",
        "/skydns/config: field \"ttl\": \"60\" is not a whole number",
        "field \"port\" is -1, not between 0 and 65535; the service is not served",
        " is not used: it is a key of skydns.test., and no domain of ours has that name",
        "/Kskydns.local.+013+12345.private: cannot be read: ",
    ] {
        agrees(fragment, &all);
    }
    let (_, text) = printed(&["-records", &records, "-addr", &address], &[]);
    agrees(" over UDP: Address already in use (os error 98) (UDP ", &text);
    agrees(" is held by ", &text);
    let (_, text) = printed(&["-records", &records, "-systemd"], &[]);
    agrees("-systemd (SKYDNS_SYSTEMD): systemd passed no socket; ", &text);
}

#[test]
fn extended_errors_are_those_that_troubleshooting_quotes() {
    let guide = shipped("docs/troubleshooting.md");
    let quoted = |agent: &Agent, name: &str, fragment: &str| {
        assert!(guide.contains(fragment), "the guide does not quote: {fragment}");
        eventually(fragment, || agent.dig(&[name]).contains(fragment));
    };
    let port = free_port();
    let (own, dead) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", free_port()));
    let args = ["-machines", &format!("http://{dead}"), "-nameservers", &format!("{own},{dead}")];
    let agent = Setup::new().port(port).args(&args).start();
    quoted(&agent, "a.skydns.local", "EDE: 14 (Not Ready)");
    quoted(&agent, "org", "EDE: 0 (Other): (names of fewer than 2 labels are not forwarded (ndots))");
    quoted(&agent, "www.example.org", "EDE: 23 (Network Error)");
    quoted(&agent, "www.example.org", ": nobody listens there");
    for fragment in [
        " is this server itself; it is left out",
        "cannot connect: nothing listens there (connection refused)",
    ] {
        assert!(guide.contains(fragment) && agent.log().contains(fragment), "{fragment}\n{}", agent.log());
    }
}

/// Words that begin with a prefix.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    words.filter(|word| word.len() > prefix.len() && word.starts_with(prefix)).collect()
}

#[test]
fn metrics_and_statistics_are_those_of_the_guide() {
    let graphite = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = graphite.local_addr().expect("an address").to_string();
    let port = free_port();
    let setup = Setup::new().args(&["-records", RECORDS]).variable("GRAPHITE_SERVER", &server);
    let _agent = setup.variable("PROMETHEUS_PORT", &port.to_string()).start();
    let mut page = String::new();
    eventually("the page of metrics", || {
        page = metrics_page(port);
        page.contains("skydns_skydns_names ")
    });
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let guide = Document::read("docs/operate.md");
    assert_eq!(words(&guide.text, "skydns_skydns_"), types.collect(), "metrics");
    for other in guides() {
        let unknown: Vec<_> =
            words(&other.text, "skydns_skydns_").into_iter().filter(|name| !page.contains(name)).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", other.file);
    }
    let (mut stream, _) = graphite.accept().expect("a connection");
    let mut sent = String::new();
    stream.read_to_string(&mut sent).expect("lines");
    let totals: BTreeSet<_> = sent.lines().filter_map(|line| line.split('.').nth(1)).collect();
    let rows = guide.prose.lines().filter_map(|line| line.strip_prefix("| `skydns-")?.split('`').next());
    assert_eq!(
        rows.map(|name| format!("skydns-{name}")).collect::<BTreeSet<_>>(),
        totals.iter().map(|t| (*t).to_owned()).collect()
    );
    assert!(
        sent.contains("skydns.skydns-requests.count ")
            && guide.text.contains("`skydns.skydns-requests.count`")
    );
}

/// The page, or nothing as long as nobody serves it.
fn metrics_page(port: u16) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut page = String::new();
    let read = stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .and_then(|()| stream.read_to_string(&mut page));
    if read.is_ok() { page } else { String::new() }
}
