//! Clients that mean harm: what they do to others, and to memory and descriptors.

mod support;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType, rdata};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::plain_upstream::PlainUpstream;
use support::upstream::{Upstream, add, reply_to};
use support::{Agent, Process, Setup, Stream, ask_with_edns, eventually, query};

/// Descriptors that the agent may have: fewer than the connections that it is sent.
const FILES: u32 = 400;

/// Questions of others that are asked at least while connections are abused.
const ROUNDS: u64 = 25;

/// Abusive connections, at least: several times as many as the agent has descriptors.
const ABUSES: u64 = 2_000;

/// Ends the abuse with the test, however that ends.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn agent(setup: Setup) -> Agent {
    setup.record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#).start()
}

/// Memory of the agent in MiB.
fn memory(agent: &Agent) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.process.id())).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("memory");
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).expect("a number") / 1024.0
}

fn descriptors(agent: &Agent) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", agent.process.id())).expect("descriptors").count()
}

/// A connection of one of several bad kinds.
fn abuse(server: SocketAddr, kind: usize) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(2)).ok()?;
    let framed = framed("a.skydns.local.", RecordType::A);
    let bad = match kind % 7 {
        // Says nothing.
        0 => Vec::new(),
        // Half a length.
        1 => vec![0],
        // A length and no message.
        2 => vec![0xff, 0xff],
        // Half a message.
        3 => framed[..framed.len() / 2].to_vec(),
        // Garbage of all sizes.
        4 => (0..kind % 3_000).map(|n| u8::try_from((n * 7 + kind) % 256).expect("an octet")).collect(),
        // Many questions, and never a read.
        5 => framed.repeat(200),
        // Asks and closes its half.
        _ => framed,
    };
    let _ = stream.set_write_timeout(Some(Duration::from_millis(50)));
    let _ = stream.write_all(&bad);
    if kind % 7 == 6 {
        let _ = stream.shutdown(Shutdown::Write);
    }
    Some(stream)
}

#[test]
fn others_are_served_while_connections_are_abused() {
    let agent = agent(Setup::new().open_files(FILES));
    let (server, before) = (agent.address(), memory(&agent));
    let (stop, abused) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut asked, mut slowest, mut most_open) = (0, Duration::ZERO, 0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (stop, abused) = (&stop, &abused);
            scope.spawn(move || {
                let mut held = std::collections::VecDeque::new();
                for kind in 0.. {
                    held.extend(abuse(server, kind + thread));
                    abused.fetch_add(1, Ordering::Relaxed);
                    // What the agent closed makes room for more; the test has descriptors of its own to mind.
                    if held.len() > 200 {
                        held.pop_front();
                    }
                    // A thousand connections a second, for as long as the others ask.
                    std::thread::sleep(Duration::from_millis(4));
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        let _stop = Stop(&stop);
        // On a busy machine this takes longer: each question has its own deadline.
        while asked < ROUNDS || abused.load(Ordering::Relaxed) < ABUSES {
            let at = Instant::now();
            assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
            // Another client: one whose own connections take all places waits among them.
            let mut stream = Stream::connect_from(Ipv4Addr::new(127, 0, 0, 2), server);
            let reply = stream.ask(&query("a.skydns.local.", RecordType::A));
            assert_eq!(reply.answers.len(), 1);
            slowest = slowest.max(at.elapsed());
            most_open = most_open.max(descriptors(&agent));
            asked += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let grown = memory(&agent) - before;
    println!(
        "{asked} asked, {} abuses, slowest {slowest:?}, {most_open} descriptors, {grown:.1} MiB more",
        abused.load(Ordering::Relaxed)
    );
    assert!(most_open <= FILES as usize, "{most_open}");
    // Replies that wait to be written are bounded by 64 MiB, connections by their number.
    assert!(grown < 100.0, "{grown} MiB");
}

/// Runs an attack on some threads, again and again, while innocents ask.
fn under_attack(threads: usize, attack: impl Fn() + Sync, innocents: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    attack();
                }
            });
        }
        let _stop = Stop(&stop);
        innocents();
    });
}

/// A question as octets of a stream.
fn framed(name: &str, rtype: RecordType) -> Vec<u8> {
    let question = query(name, rtype).to_vec().expect("a query");
    [&u16::try_from(question.len()).expect("short").to_be_bytes(), question.as_slice()].concat()
}

#[test]
fn costly_answers_do_not_stand_in_the_way_of_cheap_ones() {
    let upstream = Upstream::addresses([192, 0, 2, 1], 60);
    let setup = Setup::new().args(&["-nameservers", &upstream.address.to_string()]);
    let agent = agent((0..3_000).fold(setup, |setup, n| {
        let host = format!(r#"{{"host":"10.1.{}.{}"}}"#, n >> 8, n & 255);
        setup.record(&format!("/skydns/local/skydns/c/b/x{n}/a"), &host)
    }));
    let server = agent.address();
    eventually("the records are read", || agent.ask("a.skydns.local.", RecordType::A).answers.len() == 1);
    // One that takes all the work that an answer over TCP may take, eight connections with 32 under way each.
    let costly = framed("a.*.b.c.skydns.local.", RecordType::A).repeat(32);
    let attack = || {
        let Ok(mut stream) = TcpStream::connect(server) else { return };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let _ = stream.write_all(&costly);
        let _ = stream.read_exact(&mut vec![0; 1 << 20]);
    };
    let mut codes = Vec::new();
    under_attack(8, attack, || {
        let mut stream = Stream::connect_from(Ipv4Addr::new(127, 0, 0, 2), server);
        for n in 0..100 {
            let forwarded = query(&format!("n{n}.example.org."), RecordType::A);
            let reply =
                support::exchange(server, &forwarded.to_vec().expect("a query"), Duration::from_secs(5));
            let reply = reply.map(|reply| Message::from_vec(&reply).expect("a reply that can be read"));
            codes.push(reply.map(|reply| (reply.metadata.response_code, reply.answers.len())));
            assert_eq!(stream.ask(&query("a.skydns.local.", RecordType::A)).answers.len(), 1, "over TCP");
        }
    });
    assert_eq!(codes, [Some((ResponseCode::NoError, 1)); 100]);
}

#[test]
fn who_does_not_read_takes_no_room_of_others() {
    let text = "x".repeat(60_000);
    let agent = agent(Setup::new().record("/skydns/local/skydns/t", &format!("{{\"text\":\"{text}\"}}")));
    let server = agent.address();
    let many = framed("t.skydns.local.", RecordType::TXT).repeat(200);
    let never_reads = || {
        let stream = TcpStream::connect(server).expect("a connection");
        stream.set_nonblocking(true).expect("set");
        let _ = (&stream).write(&many);
        stream
    };
    let mut unread: Vec<_> = (0..200).map(|_| never_reads()).collect();
    for round in 0..20 {
        for (client, name, rtype) in [
            ([127, 0, 0, 2], "t", RecordType::TXT),
            ([127, 0, 0, 2], "a", RecordType::A),
            ([127, 0, 0, 1], "a", RecordType::A),
        ] {
            let mut stream = Stream::connect_from(client.into(), server);
            let reply = stream.ask(&query(&format!("{name}.skydns.local."), rtype));
            assert_eq!(reply.answers.len(), 1, "round {round}: {name} for {client:?}");
        }
        // Those that were closed come again.
        for stream in &mut unread {
            if (&*stream).write(&many).is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
                *stream = never_reads();
            }
        }
    }
}

#[test]
fn idle_innocents_stay_while_one_client_opens_more_and_more() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port where nobody answers");
    let upstream = silent.local_addr().expect("an address").to_string();
    let agent = agent(Setup::new().open_files(FILES).args(&["-nameservers", &upstream, "-rtimeout", "5s"]));
    let innocent = Ipv4Addr::new(127, 0, 0, 2);
    let mut idle: Vec<_> = (0..20).map(|_| Stream::connect_from(innocent, agent.address())).collect();
    let question = query("a.skydns.local.", RecordType::A);
    idle.iter_mut().for_each(|stream| assert_eq!(stream.ask(&question).answers.len(), 1));
    let slow = framed("slow.example.org.", RecordType::A);
    let held: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(agent.address()).expect("a connection");
            let _ = stream.write_all(&slow);
            // Each has its question under way before the next one comes.
            std::thread::sleep(Duration::from_millis(5));
            stream
        })
        .collect();
    for stream in &mut idle {
        assert_eq!(stream.ask(&question).answers.len(), 1);
    }
    drop(held);
}

#[test]
fn the_metrics_page_is_there_while_connections_say_nothing() {
    let port = support::free_port();
    let agent = agent(Setup::new().variable("PROMETHEUS_PORT", &port.to_string()));
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    eventually("the page is there", || TcpStream::connect(address).is_ok());
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.extend((0..20).map(|_| TcpStream::connect(address).expect("a connection")));
        let mut scraper = TcpStream::connect(address).expect("a connection");
        // As long as Prometheus waits for a page.
        scraper.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        scraper.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sent");
        let mut page = String::new();
        scraper.read_to_string(&mut page).expect("a page");
        assert!(page.contains("skydns_skydns_dns_request_count_total"), "{page}");
    }
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
}

/// The pipe that standard error is, the queue of lines, and what the thread of the log has taken, are all full.
#[test]
fn a_log_that_nobody_reads_holds_no_query_up() {
    let setup = Setup::new().record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#).args(&["-verbose"]);
    let (mut command, port, _dir) = setup.command();
    let mut process = Process::spawn(command.stderr(Stdio::piped()));
    let (_, unread) = process.output();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(("127.0.0.1", port)).expect("connected");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let packet = query("a.skydns.local.", RecordType::A).to_vec().expect("a query");
    let ask = || socket.send(&packet).is_ok() && socket.recv(&mut [0; 512]).is_ok();
    support::eventually("the agent answers", ask);
    socket.set_read_timeout(Some(support::PATIENCE)).expect("a timeout");
    assert!((0..40_000).all(|_| ask()), "each is answered");
    process.signal("-TERM");
    assert_eq!(process.wait().code(), Some(0), "and the end is in order");
    let mut log = String::new();
    unread.expect("a pipe").read_to_string(&mut log).expect("text");
    assert!(log.contains("query a.skydns.local. IN A from 127.0.0.1:"), "{log}");
}

#[test]
fn a_log_that_is_read_late_says_how_much_is_missing() {
    let setup = Setup::new().record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#).args(&["-verbose"]);
    let (mut command, port, _dir) = setup.command();
    let mut process = Process::spawn(command.stderr(Stdio::piped()));
    let (_, log) = process.output();
    let server = ([127, 0, 0, 1], port).into();
    let question = query("a.skydns.local.", RecordType::A);
    support::eventually("the agent answers", || {
        support::exchange(server, &question.to_vec().expect("a query"), Duration::from_millis(200)).is_some()
    });
    flood(server, &["skydns", "local"], 0..40_000);
    let mut lines = BufReader::new(log.expect("a pipe")).lines();
    let is_count = |line: &String| line.contains("log lines were lost, because nobody read the log in time");
    assert!(lines.by_ref().map_while(Result::ok).any(|line| is_count(&line)));
    support::ask(server, &query("late.skydns.local.", RecordType::A));
    assert!(
        lines.map_while(Result::ok).any(|line| line.contains("query late.skydns.local.")),
        "and it goes on"
    );
}

#[test]
fn questions_that_wait_for_upstreams_take_no_room_of_others() {
    let answers = Arc::new(AtomicBool::new(false));
    let may_answer = Arc::clone(&answers);
    let upstream = Upstream::start(move |query, _| {
        let mut reply = reply_to(query);
        add(&mut reply, 0, RData::A(rdata::A([192, 0, 2, 1].into())));
        may_answer.load(Ordering::Relaxed).then_some(reply)
    });
    let address = upstream.address.to_string();
    // Longer than this takes on any machine.
    let agent = agent(Setup::new().args(&["-nameservers", &address, "-rtimeout", "60s"]));
    // Fewer questions than one client may have under way.
    let mut slow: Vec<Stream> = (0..200).map(|_| Stream::connect(agent.address())).collect();
    for (at, stream) in slow.iter_mut().enumerate() {
        for n in 0..6 {
            stream.send(&query(&format!("n{at}-{n}.example.org."), RecordType::A));
        }
    }
    for stream in &mut slow[..100] {
        let question = query("a.skydns.local.", RecordType::A);
        stream.send(&question);
        // One client with so many questions hears at once that some are too many.
        let reply =
            std::iter::from_fn(|| stream.receive()).find(|reply| reply.metadata.id == question.metadata.id);
        assert_eq!(reply.expect("a reply").answers.len(), 1, "on the same connection");
    }
    let reply = Stream::connect(agent.address()).ask(&query("a.skydns.local.", RecordType::A));
    assert_eq!(reply.answers.len(), 1);
    // The agent sends each question again now and then.
    answers.store(true, Ordering::Relaxed);
    let mut code = |stream: &mut Stream| stream.receive().expect("a reply").metadata.response_code;
    let codes: Vec<_> = slow[..20].iter_mut().map(&mut code).collect();
    assert_eq!(codes, vec![ResponseCode::NoError; 20], "and hear what the upstream says");
}

/// Questions for names that never resolve, of one client: more than may wait for upstreams.
const FLOOD: u64 = 6_000;

#[test]
fn names_that_never_resolve_take_no_room_of_others() {
    let upstream = PlainUpstream::start();
    // Each question waits for so long that a flood of few questions a second takes all places, whatever the machine does.
    let setup = Setup::new().args(&["-nameservers", &upstream.address.to_string(), "-rtimeout", "10s"]);
    let agent = agent(setup);
    let server = agent.address();
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            let socket = UdpSocket::bind("127.0.0.2:0").expect("another client");
            while !stop.load(Ordering::Relaxed) {
                let n = sent.fetch_add(1, Ordering::Relaxed);
                let question = query(&format!("dead{n}.example.org."), RecordType::A);
                socket.send_to(&question.to_vec().expect("a query"), server).expect("sent");
                // At first more than the agent has places for, then some hundred a second.
                let pause = if n < FLOOD { n % 16 / 15 } else { 3 };
                std::thread::sleep(Duration::from_millis(pause));
            }
        });
        // Every place that it may have is taken.
        eventually("the flood is great", || sent.load(Ordering::Relaxed) > FLOOD);
        for n in 0..200 {
            let name = format!("n{n}.example.org.");
            let reply = ask_with_edns(server, &name);
            assert_eq!(reply.answers.len(), 1, "question {n}: {reply:?}\n{}", agent.log());
        }
    });
    assert!(!agent.log().contains("does not answer"), "the upstream answers others:\n{}", agent.log());
}

#[test]
fn without_descriptors_the_host_keeps_its_dns() {
    let upstream = Upstream::start(|query, _| {
        // Most names are never answered, so their ports stay open.
        let slow = query.queries[0].name().to_ascii().starts_with("slow");
        let mut reply = reply_to(query);
        add(&mut reply, 0, RData::A(rdata::A([192, 0, 2, 1].into())));
        (!slow).then_some(reply)
    });
    let agent = agent(Setup::new().open_files(28).args(&[
        "-nameservers",
        &upstream.address.to_string(),
        "-rcache",
        "0",
    ]));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(agent.address()).expect("connected");
    let mut held: Vec<TcpStream> = Vec::new();
    let (begun, mut most, mut asked) = (Instant::now(), 0, 0);
    while begun.elapsed() < Duration::from_secs(5) {
        for _ in 0..8 {
            let question = query(&format!("slow{asked}.example.org."), RecordType::A);
            socket.send(&question.to_vec().expect("a query")).expect("sent");
            asked += 1;
        }
        held.extend(TcpStream::connect(agent.address()));
        assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
        assert_eq!(agent.data(&format!("n{asked}.example.org."), RecordType::A), ["192.0.2.1"]);
        most = most.max(descriptors(&agent));
        std::thread::sleep(Duration::from_millis(60));
    }
    assert!(most >= 26, "{most} of 28 descriptors: it was not put to the test");
    drop(held);
    let reply = Stream::connect(agent.address()).ask(&query("a.skydns.local.", RecordType::A));
    assert_eq!(reply.answers.len(), 1);
}

#[test]
fn a_connection_that_is_closed_at_once_leaves_nothing() {
    let agent = agent(Setup::new());
    for _ in 0..50 {
        drop(TcpStream::connect(agent.address()));
    }
    let before = descriptors(&agent);
    for kind in 0..500 {
        if let Some(mut stream) = abuse(agent.address(), kind) {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
            let _ = stream.read(&mut [0; 16]);
        }
    }
    support::eventually("descriptors are given back", || descriptors(&agent) <= before + 2);
}

/// Sends questions for names that never come again, `n<number>.<zone>`, and takes what comes back.
fn flood(server: SocketAddr, zone: &[&str], names: std::ops::Range<u64>) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server).expect("connected");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a deadline");
    let (mut buffer, mut replies) = ([0; 1_500], 0);
    let mut at = names.start;
    while at < names.end {
        let burst = at..names.end.min(at + 64);
        at = burst.end;
        let mut waiting = burst.end - burst.start;
        for number in burst {
            let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            packet[..2].copy_from_slice(&u16::try_from(number % 65_536).expect("an id").to_be_bytes());
            for label in [format!("n{number}").as_str()].iter().chain(zone) {
                packet.push(u8::try_from(label.len()).expect("a label"));
                packet.extend(label.as_bytes());
            }
            packet.extend([0, 0, 1, 0, 1]);
            let _ = socket.send(&packet);
        }
        while waiting > 0 && socket.recv(&mut buffer).is_ok() {
            waiting -= 1;
            replies += 1;
        }
    }
    replies
}

/// `SKYDNS_FLOOD=10000000` in the environment floods for longer.
#[test]
fn names_that_never_come_again_take_no_memory() {
    let names = std::env::var("SKYDNS_FLOOD").ok().and_then(|names| names.parse().ok()).unwrap_or(200_000u64);
    // An upstream that says nothing: each question waits for as long as it may.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let upstream = silent.local_addr().expect("an address").to_string();
    let agent = agent(Setup::new().args(&["-nameservers", &upstream, "-rtimeout", "200ms"]));
    let server = agent.address();
    let settled = flood(server, &["skydns", "local"], 0..names / 2);
    let early = memory(&agent);
    let replies = settled + flood(server, &["skydns", "local"], names / 2..names);
    let late = memory(&agent);
    println!("{replies} of {names} names of the site: {early:.1} MiB, then {late:.1} MiB");
    assert!(replies > names * 9 / 10, "{replies} of {names}");
    assert!(late - early < 16.0, "{early} MiB, then {late} MiB");
    let elsewhere = (names / 100).max(1_000);
    flood(server, &["example", "org"], 0..elsewhere);
    let early = memory(&agent);
    flood(server, &["example", "org"], elsewhere..2 * elsewhere);
    let late = memory(&agent);
    println!("{} names elsewhere: {early:.1} MiB, then {late:.1} MiB", 2 * elsewhere);
    assert!(late - early < 32.0, "{early} MiB, then {late} MiB");
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
}
