//! Proxies that find their servers by name: HAProxy and nginx.

use super::message::{self, Record};
use super::outcome::Outcome;
use super::questions::Question;
use super::table::Heard;
use super::world::start_unit;
use crate::support::boot::Machine;
use crate::support::eventually;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long HAProxy has for all names.
const PATIENCE: Duration = Duration::from_secs(15);

/// The questions for addresses and for services, as HAProxy asks them: it takes IPv6 addresses only where there are no
/// others.
pub fn for_haproxy(questions: &[Question]) -> Vec<Question> {
    let is_asked = |question: &&Question| {
        question.rtype == "ADDR" || question.rtype == "SRV" && question.name.starts_with('_')
    };
    let asked = questions.iter().filter(is_asked);
    asked.map(|q| Question { what: q.what, name: q.name.clone(), rtype: q.rtype }).collect()
}

/// What HAProxy should hear: of a name the IPv4 addresses, else the IPv6 ones; of services an address and a port each.
pub fn expected_of_haproxy(agent: SocketAddr, question: &Question) -> Heard {
    let begun = Instant::now();
    let addresses = |name: &str| -> BTreeSet<String> {
        let of_type = |rtype| match message::ask(agent, name, rtype).0 {
            Some(reply) => reply.answers.iter().filter(|r| r.rtype == rtype).map(Record::text).collect(),
            None => BTreeSet::new(),
        };
        let four: BTreeSet<_> = of_type(1);
        if four.is_empty() { of_type(28) } else { four }
    };
    let data = match question.rtype {
        "SRV" => {
            let reply = message::ask(agent, &question.name, 33).0.expect("a reply");
            let services = reply.answers.iter().map(Record::text).collect::<Vec<_>>();
            let place = |service: &String| {
                let parts: Vec<_> = service.split(' ').collect();
                addresses(parts[3]).into_iter().next().map(|address| format!("{address} {}", parts[2]))
            };
            services.iter().filter_map(place).collect()
        }
        _ => addresses(&question.name),
    };
    let outcome = if data.is_empty() { Outcome::Nothing } else { Outcome::Data(data) };
    Heard { outcome, took: begun.elapsed() + PATIENCE }
}

/// What HAProxy knows of each name in the end.
pub fn haproxy(machine: &Machine, questions: &[Question], expected: &[Heard]) -> Vec<Heard> {
    let mut text = String::from(
        "global\n  stats socket /run/haproxy.sock mode 600 level admin\ndefaults\n  mode tcp\n  timeout connect 1s\n  \
         timeout client 1s\n  timeout server 1s\nresolvers agent\n  nameserver agent 127.0.0.1:53\n  \
         accepted_payload_size 8192\n  hold valid 5s\n  timeout resolve 1s\n  timeout retry 1s\n",
    );
    for (at, question) in questions.iter().enumerate() {
        let port = if question.rtype == "SRV" { "" } else { ":80" };
        writeln!(
            text,
            "backend b{at}\n  server-template s 100 {}{port} resolvers agent resolve-prefer ipv4 init-addr none",
            question.name
        )
        .expect("written");
    }
    fs::write(machine.shared().join("haproxy.cfg"), text).expect("a file");
    machine.try_run("systemctl stop haproxy-matrix; systemctl reset-failed haproxy-matrix");
    start_unit(machine, "haproxy-matrix", "/usr/sbin/haproxy -db -f /t/haproxy.cfg");
    let begun = Instant::now();
    let mut heard = Vec::new();
    while begun.elapsed() < PATIENCE {
        heard = servers(machine, questions);
        let is_right = |(heard, right): (&Heard, &Heard)| right.outcome.allows(&heard.outcome);
        if heard.iter().zip(expected).all(is_right) {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    machine.try_run("systemctl stop haproxy-matrix");
    heard
}

/// The servers that HAProxy has now.
fn servers(machine: &Machine, questions: &[Question]) -> Vec<Heard> {
    let script = "python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.connect(\"/run/haproxy.sock\"); \
                  s.sendall(b\"show servers state\\n\"); \
                  print(b\"\".join(iter(lambda: s.recv(65536), b\"\")).decode())'";
    let state = machine.try_run(script).1;
    let mut found: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for line in state.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<_> = line.split(' ').collect();
        // The backend's name, the server's address and its port.
        let backend = words.get(1).and_then(|name| name.strip_prefix('b')?.parse::<usize>().ok());
        if let (Some(backend), Some(address), Some(port)) = (backend, words.get(4), words.get(18))
            && *address != "-"
        {
            let is_service = questions.get(backend).is_some_and(|q| q.rtype == "SRV");
            let place = if is_service { format!("{address} {port}") } else { (*address).to_owned() };
            found.entry(backend).or_default().insert(place);
        }
    }
    let of = |at: usize| found.remove(&at).map_or(Outcome::Nothing, Outcome::Data);
    let outcomes: Vec<_> = (0..questions.len()).map(of).collect();
    outcomes.into_iter().map(|outcome| Heard { outcome, took: Duration::ZERO }).collect()
}

/// What nginx finds for each question of addresses: those that it tried to connect to.
pub fn nginx(machine: &Machine, questions: &[Question]) -> Vec<Heard> {
    let server = |port: u16, resolver: &str| {
        format!(
            "server {{ listen 127.0.0.1:{port}; resolver 127.0.0.1 valid=1s {resolver}; resolver_timeout 6s;\n\
             location / {{ proxy_pass http://$arg_name:9; add_header X-Found $upstream_addr always; }} }}\n"
        )
    };
    let text = format!(
        "user root;\nworker_processes 1;\ndaemon off;\npid /run/nginx-matrix.pid;\nerror_log /t/nginx.log;\n\
         events {{}}\nhttp {{ access_log off;\n{}{}{} }}\n",
        server(8001, "ipv6=off"),
        server(8002, "ipv4=off"),
        server(8003, "ipv6=on")
    );
    fs::write(machine.shared().join("nginx.conf"), text).expect("a file");
    machine.try_run("systemctl stop nginx-matrix; systemctl reset-failed nginx-matrix");
    start_unit(machine, "nginx-matrix", "/usr/sbin/nginx -c /t/nginx.conf");
    eventually("nginx answers", || machine.try_run("curl -s -o /dev/null http://127.0.0.1:8001/").0);
    let heard = questions.iter().map(|question| ask_nginx(machine, question)).collect();
    machine.try_run("systemctl stop nginx-matrix");
    heard
}

fn ask_nginx(machine: &Machine, question: &Question) -> Heard {
    let port = match question.rtype {
        "A" => 8001,
        "AAAA" => 8002,
        "ADDR" => 8003,
        _ => return Heard { outcome: Outcome::NotAsked, took: Duration::ZERO },
    };
    let log = machine.shared().join("nginx.log");
    fs::write(&log, "").expect("a file");
    let url = format!("http://127.0.0.1:{port}/?name={}", question.name);
    let (_, text) =
        machine.try_run(&format!("curl -s -m 20 -o /dev/null -D - -w 'took %{{time_total}}' '{url}'"));
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let took = Duration::from_secs_f64(field("took ").parse().unwrap_or(0.0));
    let addresses = field("X-Found: ").split(", ").filter_map(|place| place.parse::<SocketAddr>().ok());
    let addresses: BTreeSet<_> = addresses.map(|place| place.ip().to_string()).collect();
    let errors = fs::read_to_string(&log).unwrap_or_default();
    let outcome = match addresses.is_empty() {
        false => Outcome::Data(addresses),
        true if errors.contains("Host not found") => Outcome::Nothing,
        true => Outcome::Failure(errors.lines().next().unwrap_or("no address").chars().take(160).collect()),
    };
    Heard { outcome, took }
}
