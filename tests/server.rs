//! The DNS server on the wire.

mod support;

use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, RecordType, rdata};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use support::upstream::{Upstream, add, reply_to};
use support::{Agent, Process, Setup, Stream, ask, exchange, free_port, query};

const QUICK: Duration = Duration::from_millis(300);

fn agent() -> Agent {
    let setup = Setup::new().record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    (0..60)
        .fold(setup, |setup, n| {
            setup.record(&format!("/skydns/local/skydns/big/s{n}"), &format!("{{\"host\":\"10.1.0.{n}\"}}"))
        })
        .start()
}

fn rcode(server: SocketAddr, packet: &[u8]) -> ResponseCode {
    let reply = exchange(server, packet, support::PATIENCE).expect("a reply");
    Message::from_vec(&reply).expect("a reply that can be read").metadata.response_code
}

#[test]
fn malformed_packets_are_handled_as_the_table_says() {
    let agent = agent();
    let server = agent.address();
    let good = query("a.skydns.local.", RecordType::A).to_vec().expect("a query");
    for len in 0..12 {
        assert_eq!(exchange(server, &good[..len], Duration::from_millis(20)), None, "{len} octets");
    }
    let mut response = good.clone();
    response[2] |= 0x80;
    assert_eq!(exchange(server, &response, QUICK), None, "a response gets silence");
    for opcode in [1u8, 2, 4, 5, 6, 15] {
        let mut packet = good.clone();
        packet[2] |= opcode << 3;
        assert_eq!(rcode(server, &packet), ResponseCode::NotImp, "opcode {opcode}");
    }
    for count in [0, 2, 255] {
        let mut packet = good.clone();
        packet[5] = count;
        assert_eq!(rcode(server, &packet), ResponseCode::FormErr, "QDCOUNT {count}");
    }
    for len in 12..good.len() {
        assert_eq!(rcode(server, &good[..len]), ResponseCode::FormErr, "cut at {len}");
    }
    let mut looped = good[..12].to_vec();
    looped.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
    assert_eq!(rcode(server, &looped), ResponseCode::FormErr, "a name that points at itself");
    let reply = exchange(server, &good, support::PATIENCE).expect("still alive");
    assert_eq!(Message::from_vec(&reply).expect("a reply").answers.len(), 1);
}

#[test]
fn classes_and_transfers_are_refused() {
    let agent = agent();
    for class in [DNSClass::HS, DNSClass::NONE, DNSClass::ANY] {
        let mut question = query("a.skydns.local.", RecordType::A);
        question.queries[0].set_query_class(class);
        assert_eq!(ask(agent.address(), &question).metadata.response_code, ResponseCode::Refused, "{class}");
    }
    assert_eq!(agent.ask("skydns.local.", RecordType::AXFR).metadata.response_code, ResponseCode::Refused);
    let any = agent.ask("a.skydns.local.", RecordType::ANY);
    assert_eq!(any.answers[0].record_type(), RecordType::HINFO);
}

#[test]
fn edns_is_answered_in_kind() {
    let agent = agent();
    let with = |version: u8, size: u16| {
        let mut question = query("big.skydns.local.", RecordType::A);
        let mut edns = Edns::new();
        edns.set_version(version).set_max_payload(size);
        question.set_edns(edns);
        ask(agent.address(), &question)
    };
    let plain = agent.ask("big.skydns.local.", RecordType::A);
    assert!(plain.metadata.truncation && plain.edns.is_none() && plain.answers.is_empty());
    let small = with(0, 512);
    assert!(small.metadata.truncation);
    assert_eq!(small.edns.map(|edns| edns.max_payload()), Some(1232));
    let large = with(0, 4096);
    assert_eq!((large.metadata.truncation, large.answers.len()), (false, 60));
    assert_eq!(u16::from(with(1, 4096).metadata.response_code), 16, "BADVERS");
    for (options, expected) in [
        // Client subnets (RFC 7871) of no family; half a client subnet.
        (&[0, 8, 0, 4, 0, 9, 99, 0][..], ResponseCode::NoError),
        (&[0, 8, 0, 9, 0, 1, 24, 0], ResponseCode::FormErr),
    ] {
        let mut packet = query("a.skydns.local.", RecordType::A).to_vec().expect("a query");
        packet[11] = 1;
        packet.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, u8::try_from(options.len()).expect("few")]);
        packet.extend_from_slice(options);
        for _ in 0..4 {
            let reply = exchange(agent.address(), &packet, support::PATIENCE).expect("a reply");
            let reply = Message::from_vec(&reply).expect("a reply that can be read");
            assert_eq!((reply.metadata.response_code, reply.edns.is_some()), (expected, true), "{options:?}");
        }
    }
    let tcp = Stream::connect(agent.address()).ask(&query("big.skydns.local.", RecordType::A));
    assert_eq!((tcp.metadata.truncation, tcp.answers.len()), (false, 60));
}

/// A message "fragmentation needed" with a forged source must not have our replies fragmented.
#[test]
fn replies_are_not_fragmented_because_icmp_says_so() {
    use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
    use rustix::net::sockopt::{ip_mtu_discover, ipv6_mtu_discover};
    let (v4, v6) =
        (UdpSocket::bind("127.0.0.1:0").expect("a socket"), UdpSocket::bind("[::]:0").expect("a socket"));
    let setup = Setup::new().record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#).without_address();
    let (command, _, _dir) = setup.command();
    let passed = [&v4, &v6].map(|socket| socket.try_clone().expect("a socket").into());
    let _agent = Process::spawn_with_sockets(&command, passed);
    for socket in [&v4, &v6] {
        let mut server = socket.local_addr().expect("an address");
        if server.ip().is_unspecified() {
            server.set_ip("::1".parse().expect("an address"));
        }
        assert_eq!(ask(server, &query("a.skydns.local.", RecordType::A)).answers.len(), 1, "{server}");
        assert_eq!(ip_mtu_discover(socket).expect("an option"), Ipv4PathMtuDiscovery::OMIT, "{server}");
    }
    assert_eq!(ipv6_mtu_discover(&v6).expect("an option"), Ipv6PathMtuDiscovery::OMIT);
}

#[test]
fn names_are_compressed_and_letter_case_is_echoed() {
    let agent = agent();
    let packet = query("BIG.skydns.LOCAL.", RecordType::A).to_vec().expect("a query");
    let mut stream = TcpStream::connect(agent.address()).expect("a connection");
    let len = u16::try_from(packet.len()).expect("a length").to_be_bytes();
    stream.write_all(&[&len, packet.as_slice()].concat()).expect("sent");
    let mut len = [0; 2];
    stream.read_exact(&mut len).expect("a length");
    // Header, question, and 16 octets for each record whose owner is a pointer.
    assert_eq!(u16::from_be_bytes(len), 12 + 18 + 4 + 60 * 16);
    let reply = agent.ask("A.skydns.LOCAL.", RecordType::A);
    assert_eq!(reply.answers[0].name.to_ascii(), "A.skydns.LOCAL.");
}

#[test]
fn many_addresses_and_both_families_are_served() {
    let (first, second) = (free_port(), free_port());
    let list = format!("127.0.0.1:{first},[::1]:{first},127.0.0.9:{second}");
    let _agent = Setup::new()
        .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
        .without_address()
        .args(&["-addr", &list])
        .start();
    for server in list.split(',') {
        let server: SocketAddr = server.parse().expect("an address");
        assert_eq!(ask(server, &query("a.skydns.local.", RecordType::A)).answers.len(), 1, "{server}");
        let tcp = Stream::connect(server).ask(&query("a.skydns.local.", RecordType::A));
        assert_eq!(tcp.answers.len(), 1, "{server} over TCP");
    }
}

#[test]
fn wildcard_listeners_reply_from_the_address_asked() {
    let port = free_port();
    let _agent = Setup::new()
        .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
        .without_address()
        .args(&["-addr", &format!("0.0.0.0:{port},[::]:{port}")])
        .start();
    for server in ["127.0.0.1", "127.0.0.77", "::1"] {
        let server = SocketAddr::new(server.parse().expect("an address"), port);
        // A connected socket takes packets from that address only.
        let reply = ask(server, &query("a.skydns.local.", RecordType::A));
        assert_eq!(reply.answers.len(), 1, "{server}");
    }
}

#[test]
fn tcp_queries_are_pipelined_and_answered_as_they_are_ready() {
    let upstream = Upstream::start(|query, _| {
        std::thread::sleep(Duration::from_millis(300));
        let mut reply = reply_to(query);
        add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, 1].into())));
        Some(reply)
    });
    let agent = Setup::new()
        .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
        .args(&["-nameservers", &upstream.address.to_string()])
        .start();
    let mut stream = Stream::connect(agent.address());
    let slow = query("slow.example.org.", RecordType::A);
    stream.send(&slow);
    let quick: Vec<_> = (0..100).map(|_| query("a.skydns.local.", RecordType::A)).collect();
    quick.iter().for_each(|question| stream.send(question));
    let ids: Vec<_> = (0..=100).map(|_| stream.receive().expect("a reply").metadata.id).collect();
    assert_eq!(ids.last(), Some(&slow.metadata.id), "the slow one comes last");
    assert_eq!(ids[..100], quick.iter().map(|q| q.metadata.id).collect::<Vec<_>>());
}

#[test]
fn a_client_may_close_its_half_and_still_get_replies() {
    let upstream = Upstream::start(|query, _| {
        std::thread::sleep(Duration::from_millis(200));
        Some(reply_to(query))
    });
    let agent = Setup::new()
        .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
        .args(&["-nameservers", &upstream.address.to_string()])
        .start();
    let mut stream = Stream::connect(agent.address());
    stream.send(&query("slow.example.org.", RecordType::A));
    stream.0.shutdown(Shutdown::Write).expect("half closed");
    assert!(stream.receive().is_some());
    assert!(stream.receive().is_none(), "and then the end");
}

#[test]
fn idle_and_slow_connections_are_closed() {
    let agent = agent();
    let start = Instant::now();
    let mut idle = Stream::connect(agent.address());
    let mut slow = Stream::connect(agent.address());
    slow.0.write_all(&[0, 40, 1, 2, 3]).expect("sent");
    assert!(slow.receive().is_none());
    assert!((4..8).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert!(idle.receive().is_none());
    assert!((9..15).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[test]
fn clients_that_do_not_read_take_a_bounded_amount_of_memory() {
    let text = "x".repeat(60_000);
    let agent = Setup::new().record("/skydns/local/skydns/t", &format!("{{\"text\":\"{text}\"}}")).start();
    let packet = query("t.skydns.local.", RecordType::TXT).to_vec().expect("a query");
    let len = u16::try_from(packet.len()).expect("a length").to_be_bytes();
    let framed = [&len, packet.as_slice()].concat().repeat(200);
    let streams: Vec<_> = (0..200)
        .map(|_| {
            let stream = Stream::connect(agent.address());
            stream.0.set_nonblocking(true).expect("set");
            let _ = (&stream.0).write(&framed);
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_secs(2));
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.process.id())).expect("a status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kilobytes < 250_000, "{kilobytes} kB for {} connections", streams.len());
    assert_eq!(agent.ask("t.skydns.local.", RecordType::A).metadata.response_code, ResponseCode::NoError);
}

#[test]
fn more_connections_than_allowed_push_out_the_idle_ones() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raised");
    let agent = agent();
    let question = query("a.skydns.local.", RecordType::A);
    let mut first = Stream::connect(agent.address());
    first.ask(&question);
    let mut streams: Vec<_> = (0..1_100).map(|_| Stream::connect(agent.address())).collect();
    assert_eq!(streams.last_mut().expect("a stream").ask(&question).answers.len(), 1);
    assert!(first.receive().is_none(), "the one idle for the longest had to go");
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"], "UDP does not care");
}

#[test]
fn random_packets_do_no_harm() {
    let agent = agent();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(agent.address()).expect("connected");
    let good = query("a.skydns.local.", RecordType::A).to_vec().expect("a query");
    for n in 0..20_000 {
        let packet = if n % 2 == 0 {
            let len = usize::from(rand::random::<u16>()) % 600;
            (0..len).map(|_| rand::random()).collect()
        } else {
            let mut packet = good.clone();
            for _ in 0..=n % 4 {
                let at = usize::from(rand::random::<u16>()) % packet.len();
                packet[at] = rand::random();
            }
            packet
        };
        let _ = socket.send(&packet);
        if n % 500 == 0 {
            assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
        }
    }
    let _ = Stream::connect(agent.address()).0.write_all(&vec![0xff; 100_000]);
    assert_eq!(agent.data("a.skydns.local.", RecordType::A), ["10.0.0.1"]);
    assert!(!agent.log().contains("fault"), "{}", agent.log());
    assert!(agent.log().lines().count() < 20, "a peer does not fill the log:\n{}", agent.log());
    let mut notify = query("a.skydns.local.", RecordType::A);
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(ask(agent.address(), &notify).metadata.response_code, ResponseCode::NotImp);
}
