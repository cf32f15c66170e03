//! Clients that ask the servers of `/etc/resolv.conf`: libraries, each by a small program that reads questions and prints
//! what it heard.

use super::outcome::Outcome;
use super::questions::Question;
use super::table::Heard;
use crate::support::boot::Machine;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

/// A client.
pub struct Stub {
    pub name: &'static str,
    command: &'static str,
}

pub const STUBS: [Stub; 11] = [
    Stub { name: "glibc", command: "./libc-glibc getaddrinfo" },
    Stub { name: "glibc old", command: "./libc-glibc gethostbyname" },
    Stub { name: "musl", command: "./libc-musl getaddrinfo" },
    Stub { name: "musl old", command: "./libc-musl gethostbyname" },
    Stub { name: "Node", command: "node node.js" },
    Stub { name: "pycares", command: "python3 cares.py" },
    Stub { name: "dnspython", command: "python3 dnspython_client.py" },
    Stub { name: "Java", command: "java -cp . Lookup inetaddress" },
    Stub { name: "JNDI", command: "java -cp . Lookup jndi" },
    Stub { name: "Go", command: "./lookup" },
    Stub { name: "Net::DNS", command: "perl netdns.pl" },
];

/// The programs' sources.
const SOURCES: [(&str, &str); 7] = [
    ("libc.c", include_str!("clients/libc.c")),
    ("node.js", include_str!("clients/node.js")),
    ("cares.py", include_str!("clients/cares.py")),
    // A module must not have the name of one that it imports.
    ("dnspython_client.py", include_str!("clients/dnspython.py")),
    ("Lookup.java", include_str!("clients/Lookup.java")),
    ("lookup.go", include_str!("clients/lookup.go")),
    ("netdns.pl", include_str!("clients/netdns.pl")),
];

const BUILD: &str = "cd /t/clients && gcc -o libc-glibc libc.c && musl-gcc -static -o libc-musl libc.c && \
     javac Lookup.java && CGO_ENABLED=0 GOCACHE=/tmp/go GOFLAGS=-mod=mod go build -o lookup lookup.go";

/// Builds the clients on a machine.
pub fn prepare(machine: &Machine) {
    let dir = machine.shared().join("clients");
    fs::create_dir_all(&dir).expect("a directory");
    for (name, source) in SOURCES {
        fs::write(dir.join(name), source).expect("a file");
    }
    let (is_built, text) = machine.try_run_for(600, BUILD);
    assert!(is_built, "{text}");
}

impl Stub {
    /// What it hears to each question.
    pub fn ask(&self, machine: &Machine, questions: &[Question]) -> Vec<Heard> {
        let lines = questions.iter().fold(String::new(), |mut lines, question| {
            writeln!(lines, "{} {} {}", question.rtype, question.name, question.address()).expect("written");
            lines
        });
        fs::write(machine.shared().join("questions"), lines).expect("a file");
        let script = format!("cd /t/clients && {} < /t/questions > /t/heard 2> /t/errors", self.command);
        let (is_done, text) = machine.try_run_for(900, &script);
        let heard = fs::read_to_string(machine.shared().join("heard")).expect("what it heard");
        let mut heard: Vec<_> = heard.lines().map(read).collect();
        if !is_done || heard.len() != questions.len() {
            let errors = fs::read_to_string(machine.shared().join("errors")).unwrap_or_default();
            println!("{}: {} of {} lines: {text}{errors}", self.name, heard.len(), questions.len());
        }
        heard.resize_with(questions.len(), || Heard {
            outcome: Outcome::Failure("the client ended".to_owned()),
            took: Duration::ZERO,
        });
        heard
    }
}

/// A line with milliseconds and an outcome.
fn read(line: &str) -> Heard {
    let (ms, outcome) = line.split_once(' ').unwrap_or(("0", line));
    Heard {
        outcome: Outcome::read(outcome),
        took: Duration::from_millis(ms.trim().parse().unwrap_or_default()),
    }
}
