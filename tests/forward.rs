//! Forwarding, against scripted upstreams on loopback.

mod support;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{RData, RecordType, rdata};
use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::upstream::{Upstream, Via, add, failure, reply_to, soa};
use support::{Agent, Setup, Stream, ask, ask_with_edns, error_code, error_of, eventually, exchange, query};

const RECORD: (&str, &str) = ("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);

fn agent(upstreams: &[SocketAddr], args: &[&str]) -> Agent {
    let list: Vec<_> = upstreams.iter().map(ToString::to_string).collect();
    Setup::new().record(RECORD.0, RECORD.1).args(&["-nameservers", &list.join(",")]).args(args).start()
}

/// A port where nothing listens and nothing is refused: packets vanish.
fn black_hole() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

#[test]
fn the_whole_message_comes_back() {
    let upstream = Upstream::start(|query, _| {
        let mut reply = failure(query, ResponseCode::NXDomain);
        reply.add_authority(soa("example.org.", 300, 60));
        let mut edns = Edns::new();
        edns.set_dnssec_ok(true).set_max_payload(1400);
        edns.options_mut().insert(EdnsOption::Unknown(15, [&[0, 9], b"why".as_slice()].concat()));
        reply.set_edns(edns);
        reply.metadata.authentic_data = true;
        Some(reply)
    });
    let agent = agent(&[upstream.address], &[]);
    let mut question = query("No.Example.org.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true).set_max_payload(1400);
    question.set_edns(edns);
    question.metadata.checking_disabled = true;
    let reply = ask(agent.address(), &question);
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(reply.authorities.len(), 1);
    assert_eq!(reply.queries[0].name().to_ascii(), "No.Example.org.");
    assert!(!reply.metadata.authentic_data, "an upstream's AD is not trusted unless told so");
    assert!(reply.metadata.checking_disabled && reply.metadata.recursion_available);
    let edns = reply.edns.expect("OPT");
    assert!(edns.flags().dnssec_ok);
    let Some(EdnsOption::Unknown(15, error)) = edns.option(EdnsCode::Unknown(15)) else { panic!("an EDE") };
    assert_eq!(error, &[&[0, 9], b"why".as_slice()].concat());
    let (asked, _) = &upstream.seen()[0];
    assert!(asked.metadata.checking_disabled && asked.metadata.recursion_desired);
    assert!(asked.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok && edns.max_payload() == 1232));
}

#[test]
fn ids_and_ports_are_fresh_and_never_the_clients() {
    let upstream = Upstream::addresses([192, 0, 2, 1], 0);
    let agent = agent(&[upstream.address], &["-rcache", "0"]);
    let mut clients = Vec::new();
    for n in 0..40 {
        let question = query(&format!("n{n}.example.org."), RecordType::A);
        clients.push(question.metadata.id);
        ask(agent.address(), &question);
        // Questions of one moment leave from one port.
        std::thread::sleep(Duration::from_millis(60));
    }
    let seen = upstream.seen();
    let ids: HashSet<_> = seen.iter().map(|(message, _)| message.metadata.id).collect();
    let ports: HashSet<_> = seen.iter().map(|(_, peer)| peer.port()).collect();
    assert!(ids.len() > 35 && ports.len() > 35, "{} ids, {} ports", ids.len(), ports.len());
    let kept = seen.iter().zip(&clients).filter(|((message, _), id)| message.metadata.id == **id).count();
    assert!(kept < 3, "{kept} ids were the client's");
}

#[test]
fn replies_to_something_else_are_not_believed() {
    let upstream = Upstream::start(|query, via| {
        let mut wrong = reply_to(query);
        wrong.queries[0] = support::query("evil.example.org.", RecordType::A).queries[0].clone();
        add(&mut wrong, 60, RData::A(rdata::A([6, 6, 6, 6].into())));
        if via == Via::Udp && query.queries[0].name().to_ascii().starts_with("id") {
            wrong.queries = query.queries.clone();
            wrong.metadata.id = query.metadata.id.wrapping_add(1);
        }
        Some(wrong)
    });
    let good = Upstream::addresses([192, 0, 2, 1], 60);
    let agent = agent(&[upstream.address, good.address], &["-ns-policy=fastest"]);
    for name in ["question.example.org.", "id.example.org."] {
        assert_eq!(agent.data(name, RecordType::A), ["192.0.2.1"]);
    }
}

#[test]
fn a_connection_that_an_upstream_closed_is_made_anew() {
    let upstream = Upstream::closing(|query, via| {
        let mut reply = reply_to(query);
        reply.metadata.truncation = via == Via::Udp;
        if via == Via::Tcp {
            add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, 1].into())));
        }
        Some(reply)
    });
    let agent = agent(&[upstream.address], &[]);
    for n in 0..5 {
        assert_eq!(agent.data(&format!("n{n}.example.org."), RecordType::A), ["192.0.2.1"]);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn failures_say_whose_they_are() {
    let refusing = Upstream::start(|query, _| Some(failure(query, ResponseCode::Refused)));
    let asked = |upstream: SocketAddr| {
        let reply = ask_with_edns(agent(&[upstream], &["-rtimeout", "300ms"]).address(), "a.example.org.");
        (reply.metadata.response_code, error_of(&reply))
    };
    assert_eq!(asked(refusing.address), (ResponseCode::Refused, Some(22)), "as it came, with a word");
    let (hole, silent) = black_hole();
    assert_eq!(asked(silent), (ResponseCode::ServFail, Some(22)), "no reply");
    drop(hole);
    assert_eq!(asked(silent), (ResponseCode::ServFail, Some(23)), "nobody listens");
}

#[test]
fn a_stale_address_of_a_service_is_told() {
    let upstream = Upstream::start(|query, _| {
        let mut reply = reply_to(query);
        add(&mut reply, 1, RData::A(rdata::A([192, 0, 2, 1].into())));
        Some(reply)
    });
    let front = Arc::new(Mutex::new(true));
    let open = Arc::clone(&front);
    let inner = upstream.address;
    // Passes questions on until it is closed.
    let door =
        Upstream::start(
            move |query, _| {
                if *open.lock().expect("unpoisoned") { Some(ask(inner, query)) } else { None }
            },
        );
    let agent = Setup::new()
        .record("/skydns/local/skydns/ext", r#"{"host":"www.example.org"}"#)
        .args(&["-nameservers", &door.address.to_string(), "-rtimeout", "500ms"])
        .start();
    let fresh = ask_with_edns(agent.address(), "ext.skydns.local.");
    assert_eq!((fresh.answers.len(), error_of(&fresh)), (2, None));
    *front.lock().expect("unpoisoned") = false;
    std::thread::sleep(Duration::from_millis(1_200));
    let stale = ask_with_edns(agent.address(), "ext.skydns.local.");
    assert_eq!((stale.answers.len(), error_of(&stale)), (2, Some(3)));
}

#[test]
fn truncated_replies_are_fetched_over_tcp() {
    let upstream = Upstream::start(|query, via| {
        let mut reply = reply_to(query);
        if via == Via::Udp {
            reply.metadata.truncation = true;
        } else {
            for n in 0..200 {
                add(&mut reply, 60, RData::A(rdata::A([10, 9, 8, n].into())));
            }
        }
        Some(reply)
    });
    let agent = agent(&[upstream.address], &[]);
    let reply = Stream::connect(agent.address()).ask(&query("big.example.org.", RecordType::A));
    assert_eq!((reply.answers.len(), reply.metadata.truncation), (200, false));
    let reply = agent.ask("big.example.org.", RecordType::A);
    assert_eq!(
        (reply.answers.len(), reply.metadata.truncation),
        (0, true),
        "a UDP client is told to use TCP"
    );
}

#[test]
fn a_datagram_that_ends_within_a_record_is_fetched_over_tcp() {
    let upstream = Upstream::raw(|query, via| {
        let mut reply = reply_to(query);
        for n in 0..50 {
            add(&mut reply, 60, RData::A(rdata::A([10, 9, 8, n].into())));
        }
        let mut octets = reply.to_vec().expect("a reply");
        if via == Via::Udp {
            octets.truncate(512);
        }
        Some(octets)
    });
    let agent = agent(&[upstream.address], &[]);
    let mut over_udp = query("udp.example.org.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(1_232);
    over_udp.set_edns(edns);
    assert_eq!(ask(agent.address(), &over_udp).answers.len(), 50);
    let reply = Stream::connect(agent.address()).ask(&query("tcp.example.org.", RecordType::A));
    assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NoError, 50));
}

#[test]
fn names_that_fail_cost_other_names_no_signatures() {
    let upstream = Upstream::start(|query, _| {
        let name = query.queries[0].name().to_ascii();
        if name.starts_with("formerr") || name.starts_with("notimp") {
            let is_formerr = name.starts_with("formerr");
            let rcode = if is_formerr { ResponseCode::FormErr } else { ResponseCode::NotImp };
            let mut reply = failure(query, rcode);
            if name.contains("bare") {
                reply.queries.clear();
            }
            return Some(reply);
        }
        let mut reply = reply_to(query);
        add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, 1].into())));
        reply.edns.clone_from(&query.edns);
        Some(reply)
    });
    let agent = agent(&[upstream.address], &[]);
    assert_eq!(agent.data("first.example.org.", RecordType::A), ["192.0.2.1"]);
    for name in ["formerr", "notimp", "formerr-bare", "notimp-bare"] {
        for n in 0..5 {
            let reply = ask_with_edns(agent.address(), &format!("{name}-{n}.example.org."));
            assert_eq!((reply.metadata.response_code, error_of(&reply)), (ResponseCode::ServFail, Some(22)));
        }
    }
    let mut question = query("last.example.org.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    question.set_edns(edns);
    assert_eq!(ask(agent.address(), &question).answers.len(), 1);
    let seen = upstream.seen();
    let (last, _) = seen.last().expect("a question");
    assert!(last.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok), "{last:?}");
}

#[test]
fn a_failure_is_kept_for_a_moment() {
    let (hole, silent) = black_hole();
    let failing = Upstream::start(|query, _| Some(failure(query, ResponseCode::ServFail)));
    let codes = |reply: &Message| -> Vec<u16> {
        let options = reply.edns.as_ref().map_or(&[][..], |edns| edns.options().as_ref());
        let code = |(_, option): &(EdnsCode, EdnsOption)| match option {
            EdnsOption::Unknown(15, data) => Some(u16::from_be_bytes([data[0], data[1]])),
            _ => None,
        };
        options.iter().filter_map(code).collect()
    };
    for upstream in [failing.address, silent] {
        let agent = agent(&[upstream], &["-rtimeout", "200ms"]);
        let reply = ask_with_edns(agent.address(), "first.example.org.");
        assert_eq!((reply.metadata.response_code, codes(&reply)), (ResponseCode::ServFail, vec![22]));
        eventually("the failure is given again, as one that is kept", || {
            let reply = ask_with_edns(agent.address(), "first.example.org.");
            assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
            codes(&reply) == [22, 13]
        });
        let other = ask_with_edns(agent.address(), "second.example.org.");
        assert_eq!(codes(&other), [22], "another question is asked");
    }
    drop(hole);
}

#[test]
fn a_stub_zone_with_other_servers_forgets_the_replies_of_those_before() {
    let servers = [1, 2].map(|n| Upstream::addresses([192, 0, 2, n], 3_600));
    let value = |server: &Upstream| format!("{{\"host\":\"127.0.0.1\",\"port\":{}}}", server.address.port());
    let agent = Setup::new().record(RECORD.0, RECORD.1).args(&["-stubzones", "-rcache-ttl", "3600"]).start();
    let data = || agent.data("www.example.org.", RecordType::A);
    for (server, address) in [(0, "192.0.2.1"), (1, "192.0.2.2"), (0, "192.0.2.1")] {
        agent.write("local/skydns/dns/stub/org/example/a", &value(&servers[server]));
        eventually("the present server is asked", || data() == [address]);
    }
}

#[test]
fn the_next_upstream_is_asked_when_one_gives_no_answer() {
    use ResponseCode::{FormErr, NotImp, Refused, ServFail};
    for (rcode, given) in [(ServFail, ServFail), (Refused, Refused), (FormErr, ServFail), (NotImp, ServFail)]
    {
        let bad = Upstream::start(move |query, _| Some(failure(query, rcode)));
        let good = Upstream::addresses([192, 0, 2, 1], 60);
        let agent = agent(&[bad.address, good.address], &[]);
        for n in 0..20 {
            assert_eq!(agent.data(&format!("n{n}.example.org."), RecordType::A), ["192.0.2.1"]);
        }
        assert!(bad.count() > 0);
        let alone = self::agent(&[bad.address], &[]);
        assert_eq!(alone.ask("x.example.org.", RecordType::A).metadata.response_code, given);
    }
}

#[test]
fn a_dead_upstream_costs_no_query_its_timeout() {
    let (_hole, dead) = black_hole();
    let good = Upstream::addresses([192, 0, 2, 1], 60);
    let agent = agent(&[dead, good.address], &[]);
    let start = Instant::now();
    for n in 0..50 {
        assert_eq!(agent.data(&format!("n{n}.example.org."), RecordType::A), ["192.0.2.1"]);
    }
    assert!(start.elapsed() < Duration::from_secs(5), "50 questions took {:?}", start.elapsed());
    eventually("the dead one is told", || agent.log().contains(&format!("upstream {dead}: does not answer")));
}

#[test]
fn an_upstream_that_is_back_is_used_again() {
    let (hole, address) = black_hole();
    let agent = agent(&[address], &["-rtimeout", "200ms"]);
    for n in 0..3 {
        let reply = agent.ask(&format!("n{n}.example.org."), RecordType::A);
        assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    }
    eventually("doubt", || agent.log().contains("does not answer"));
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, peer)) = hole.recv_from(&mut buffer) {
            let query = Message::from_vec(&buffer[..len]).expect("a query");
            let _ = hole.send_to(&reply_to(&query).to_vec().expect("a reply"), peer);
        }
    });
    eventually("a probe is answered", || agent.log().contains("answers again"));
}

#[test]
fn without_any_upstream_there_is_an_answer_that_says_so() {
    let agent = Setup::new().record(RECORD.0, RECORD.1).start();
    let mut question = query("www.example.org.", RecordType::A);
    question.set_edns(Edns::new());
    let reply = ask(agent.address(), &question);
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(reply.edns.is_some_and(|edns| edns.option(EdnsCode::Unknown(15)).is_some()));
}

#[test]
fn equal_questions_are_asked_once() {
    let upstream = Upstream::start(|query, _| {
        std::thread::sleep(Duration::from_millis(300));
        let mut reply = reply_to(query);
        add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, 1].into())));
        Some(reply)
    });
    let agent = agent(&[upstream.address], &[]);
    let server = agent.address();
    let clients: Vec<_> = (0..30)
        .map(|_| {
            std::thread::spawn(move || ask(server, &query("same.example.org.", RecordType::A)).answers.len())
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().expect("a client"), 1);
    }
    // The upstream is slower than an upstream should be, so the exchange itself may resend once.
    assert!(upstream.count() <= 2, "{} questions", upstream.count());
}

#[test]
fn replies_are_kept_and_their_ttls_count_down() {
    let upstream = Upstream::addresses([192, 0, 2, 1], 30);
    let agent = agent(&[upstream.address], &[]);
    let ttl = |name: &str| agent.ask(name, RecordType::A).answers[0].ttl;
    assert_eq!(ttl("cached.example.org."), 30);
    std::thread::sleep(Duration::from_millis(2_100));
    let later = ttl("CACHED.example.org.");
    assert!((25..=28).contains(&later), "{later}");
    assert_eq!(upstream.count(), 1);
    let reply = agent.ask("CACHED.example.org.", RecordType::A);
    assert!(!reply.metadata.authoritative);
    assert_eq!(reply.answers[0].name.to_ascii(), "CACHED.example.org.", "letter case is the question's");
    let off = self::agent(&[upstream.address], &["-rcache=0"]);
    off.ask("x.example.org.", RecordType::A);
    off.ask("x.example.org.", RecordType::A);
    assert_eq!(upstream.count(), 3);
}

/// An upstream whose replies a test changes.
fn changing(first: Option<ResponseCode>, ttl: u32) -> (Upstream, Arc<Mutex<Option<ResponseCode>>>) {
    let now = Arc::new(Mutex::new(first));
    let shared = Arc::clone(&now);
    let upstream = Upstream::start(move |query, _| {
        let rcode = (*shared.lock().expect("a lock"))?;
        let mut reply = failure(query, rcode);
        if rcode == ResponseCode::NoError {
            add(&mut reply, ttl, RData::A(rdata::A([192, 0, 2, 1].into())));
        } else if rcode == ResponseCode::NXDomain {
            reply.add_authority(soa("example.org.", ttl, ttl));
        }
        Some(reply)
    });
    (upstream, now)
}

#[test]
fn an_answer_outlives_its_upstreams() {
    for fault in [None, Some(ResponseCode::ServFail), Some(ResponseCode::Refused)] {
        let (upstream, now) = changing(Some(ResponseCode::NoError), 1);
        let agent = agent(&[upstream.address], &[]);
        let ttl = |name: &str| agent.ask(name, RecordType::A).answers.first().map(|record| record.ttl);
        assert_eq!(ttl("a.example.org."), Some(1));
        *now.lock().expect("a lock") = fault;
        std::thread::sleep(Duration::from_millis(1_100));
        let begun = Instant::now();
        assert_eq!(ttl("a.example.org."), Some(30), "{fault:?}");
        assert!(begun.elapsed() < Duration::from_secs(4), "before the resolver of libc gives up");
        assert_eq!(error_code(agent.address(), "a.example.org."), Some(3));
        let asked = upstream.count();
        for _ in 0..20 {
            assert_eq!(ttl("a.example.org."), Some(30));
        }
        assert!(upstream.count() - asked < 20, "not asked for each of them");
        assert_eq!(
            agent.ask("b.example.org.", RecordType::A).metadata.response_code,
            fault.unwrap_or(ResponseCode::ServFail)
        );
        // What the upstream says as soon as it speaks again counts, a denial as well.
        *now.lock().expect("a lock") = Some(ResponseCode::NXDomain);
        let rcode = || agent.ask("a.example.org.", RecordType::A).metadata.response_code;
        eventually("the denial counts", || rcode() == ResponseCode::NXDomain);
        *now.lock().expect("a lock") = Some(ResponseCode::ServFail);
        eventually("a denial does not outlive its time", || rcode() == ResponseCode::ServFail);
    }
}

#[test]
fn a_popular_answer_is_fetched_before_its_end() {
    let (upstream, _now) = changing(Some(ResponseCode::NoError), 10);
    let agent = agent(&[upstream.address], &[]);
    agent.ask("rare.example.org.", RecordType::A);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(12) {
        let reply = agent.ask("popular.example.org.", RecordType::A);
        assert!(reply.answers[0].ttl > 0, "never at its end");
        std::thread::sleep(Duration::from_millis(50));
    }
    let asked = |name: &str| {
        let of = |message: &Message| message.queries[0].name().to_ascii() == name;
        upstream.seen().iter().filter(|(message, _)| of(message)).count()
    };
    assert_eq!((asked("popular.example.org."), asked("rare.example.org.")), (2, 1));
}

#[test]
fn negative_replies_are_kept_as_long_as_their_soa_says() {
    let upstream = Upstream::start(|query, _| {
        let mut reply = failure(query, ResponseCode::NXDomain);
        if query.queries[0].name().to_ascii().starts_with("with") {
            reply.add_authority(soa("example.org.", 300, 60));
        }
        Some(reply)
    });
    let agent = agent(&[upstream.address], &[]);
    for _ in 0..3 {
        agent.ask("with.example.org.", RecordType::A);
    }
    assert_eq!(upstream.count(), 1);
    for _ in 0..3 {
        agent.ask("bare.example.org.", RecordType::A);
    }
    assert_eq!(upstream.count(), 4, "without a SOA nothing is kept (RFC 2308)");
}

#[test]
fn no_rec_refuses_but_external_targets_are_still_found() {
    let upstream = Upstream::addresses([192, 0, 2, 1], 60);
    let agent = Setup::new()
        .record("/skydns/local/skydns/ext", r#"{"host":"www.example.org"}"#)
        .args(&["-no-rec", "-nameservers", &upstream.address.to_string()])
        .start();
    assert_eq!(agent.ask("www.example.org.", RecordType::A).metadata.response_code, ResponseCode::Refused);
    assert_eq!(agent.data("ext.skydns.local.", RecordType::A), ["192.0.2.1", "www.example.org."]);
}

#[test]
fn addresses_of_short_names_are_not_forwarded() {
    let upstream = Upstream::addresses([192, 0, 2, 1], 60);
    let agent = agent(&[upstream.address], &["-ndots", "3"]);
    for rtype in [RecordType::A, RecordType::AAAA, RecordType::HTTPS, RecordType::SVCB] {
        for _ in 0..3 {
            let reply = agent.ask("Example.ORG.", rtype);
            assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
            assert!(reply.metadata.authoritative && reply.metadata.recursion_available);
            assert_eq!((reply.answers.len(), reply.authorities[0].name.to_ascii().as_str()), (0, "ORG."));
        }
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(agent.data("www.example.org.", RecordType::A), ["192.0.2.1"]);
    for (forwarded, name) in (2..).zip([".", "org.", "example.org."]) {
        assert_eq!(agent.ask(name, RecordType::NS).metadata.response_code, ResponseCode::NoError);
        assert_eq!(upstream.count(), forwarded, "{name}");
    }
}

#[test]
fn names_above_pointers_of_the_site_are_never_denied() {
    let upstream = Upstream::start(|query, _| {
        let mut reply = failure(query, ResponseCode::NXDomain);
        reply.add_authority(soa("in-addr.arpa.", 300, 300));
        Some(reply)
    });
    let agent = agent(&[upstream.address], &[]);
    let rcode = |name: &str, rtype| agent.ask(name, rtype).metadata.response_code;
    // Asked often enough to be answered from every cache.
    for _ in 0..4 {
        assert_eq!(rcode("20.172.in-addr.arpa.", RecordType::NS), ResponseCode::NXDomain);
    }
    agent.write("arpa/in-addr/172/20/0/1", r#"{"host":"one.example.org"}"#);
    eventually("the record is read", || !agent.data("1.0.20.172.in-addr.arpa.", RecordType::PTR).is_empty());
    for name in ["0.20.172.in-addr.arpa.", "20.172.in-addr.arpa.", "172.in-addr.arpa."] {
        for rtype in [RecordType::NS, RecordType::PTR, RecordType::NS] {
            let reply = agent.ask(name, rtype);
            assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NoError, 0));
            assert_eq!(reply.authorities[0].name.to_ascii(), name);
        }
    }
    assert_eq!(rcode("21.172.in-addr.arpa.", RecordType::NS), ResponseCode::NXDomain);
    assert_eq!(rcode("2.0.20.172.in-addr.arpa.", RecordType::PTR), ResponseCode::NXDomain);
}

#[test]
fn home_arpa_is_for_the_servers_of_the_local_network() {
    let upstream = Upstream::addresses([192, 0, 2, 1], 60);
    let denied = |agent: &Agent, name: &str| {
        agent.ask(name, RecordType::A).metadata.response_code == ResponseCode::NXDomain
    };
    let named = agent(&[upstream.address], &["-stubzones"]);
    assert!(denied(&named, "printer.home.arpa.") && denied(&named, "www.example.onion."));
    assert_eq!(upstream.count(), 0);
    named.ask("home.arpa.", RecordType::DS);
    assert_eq!(upstream.count(), 1, "the parent zone has the delegation");
    let stub = Upstream::addresses([192, 0, 2, 2], 60);
    let value = format!("{{\"host\":\"127.0.0.1\",\"port\":{}}}", stub.address.port());
    named.write("local/skydns/dns/stub/arpa/home/a", &value);
    eventually("the stub zone is asked", || named.data("printer.home.arpa.", RecordType::A) == ["192.0.2.2"]);
    let asked = stub.count();
    named.ask("home.arpa.", RecordType::DS);
    assert_eq!((stub.count(), upstream.count()), (asked, 2), "its DS is not its servers' to answer");
}

#[test]
fn the_domain_of_the_root_forwards_what_the_store_has_not() {
    let upstream = Upstream::start(|query, _| {
        let asked = &query.queries[0];
        let is_known = asked.name().to_ascii() == "www.example.com." && asked.query_type() == RecordType::A;
        if !is_known {
            let mut reply = failure(query, ResponseCode::NXDomain);
            reply.add_authority(soa("org.", 60, 60));
            return Some(reply);
        }
        let mut reply = reply_to(query);
        add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, 1].into())));
        Some(reply)
    });
    let agent = Setup::new()
        .record("/skydns/org/example/www", r#"{"host":"10.0.0.1"}"#)
        .record("/skydns/corp/alias", r#"{"host":"www.example.com"}"#)
        .args(&["-domain", ".", "-nameservers", &upstream.address.to_string()])
        .start();
    assert_eq!(agent.data("www.example.org.", RecordType::A), ["10.0.0.1"]);
    assert_eq!(agent.data("www.example.com.", RecordType::A), ["192.0.2.1"]);
    assert_eq!(agent.data("alias.corp.", RecordType::A), ["192.0.2.1", "www.example.com."]);
    for (name, rtype, rcode) in [
        ("nope.example.org.", RecordType::A, ResponseCode::NXDomain),
        ("www.example.org.", RecordType::TXT, ResponseCode::NoError),
        // What exists here is not denied.
        ("example.org.", RecordType::MX, ResponseCode::NoError),
        ("org.", RecordType::NS, ResponseCode::NoError),
        ("com.", RecordType::NS, ResponseCode::NXDomain),
    ] {
        for _ in 0..3 {
            assert_eq!(agent.ask(name, rtype).metadata.response_code, rcode, "{name} {rtype}");
        }
    }
    agent.write("org/example/nope", r#"{"host":"10.0.0.2"}"#);
    eventually("a name appears", || agent.data("nope.example.org.", RecordType::A) == ["10.0.0.2"]);
}

#[test]
fn ds_of_the_own_apex_is_asked_of_the_parent() {
    let upstream = Upstream::start(|query, _| {
        let mut reply = failure(query, ResponseCode::NXDomain);
        reply.add_authority(soa("local.", 60, 60));
        Some(reply)
    });
    let agent = agent(&[upstream.address], &["-stubzones"]);
    for _ in 0..3 {
        // The parent may not know that the domain exists, but it does.
        let reply = agent.ask("skydns.local.", RecordType::DS);
        assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NoError, 0));
        assert_eq!(reply.authorities[0].name.to_ascii(), "skydns.local.");
    }
    assert_eq!(upstream.count(), 1, "the denial is kept");
    let missing = agent.ask("x.skydns.local.", RecordType::DS).metadata.response_code;
    assert_eq!((missing, upstream.count()), (ResponseCode::NXDomain, 1));
    // A stub zone that encloses the domain is its parent.
    let parent = Upstream::addresses([192, 0, 2, 1], 60);
    let value = format!("{{\"host\":\"127.0.0.1\",\"port\":{}}}", parent.address.port());
    agent.write("local/skydns/dns/stub/local/a", &value);
    eventually("the stub zone is asked", || {
        agent.ask("skydns.local.", RecordType::DS);
        parent.count() == 1
    });
    assert_eq!(agent.ask("skydns.local.", RecordType::SOA).answers.len(), 1);
    // A stub zone is not asked for its own DS.
    assert_eq!(agent.ask("local.", RecordType::DS).metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(parent.count(), 1);
}

#[test]
fn external_targets_that_are_slow_do_not_hold_an_srv_answer_back() {
    let (_hole, dead) = black_hole();
    let agent = Setup::new()
        .record("/skydns/local/skydns/s/a", r#"{"host":"slow.example.org","port":1}"#)
        .record("/skydns/local/skydns/s/b", r#"{"host":"10.0.0.2","port":2}"#)
        .args(&["-rtimeout", "300ms", "-nameservers", &dead.to_string()])
        .start();
    let start = Instant::now();
    let reply = agent.ask("s.skydns.local.", RecordType::SRV);
    assert_eq!((reply.answers.len(), reply.additionals.len()), (2, 1));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn an_external_target_that_cannot_be_looked_up_is_no_denial() {
    let (_hole, dead) = black_hole();
    let setup = |upstream: SocketAddr| {
        Setup::new()
            .record("/skydns/local/skydns/ext", r#"{"host":"www.example.org"}"#)
            .args(&["-rtimeout", "300ms", "-nameservers", &upstream.to_string()])
            .start()
    };
    let reply = setup(dead).ask("ext.skydns.local.", RecordType::A);
    assert_eq!((reply.metadata.response_code, reply.authorities.len()), (ResponseCode::ServFail, 0));
    let denies = Upstream::start(|query, _| Some(failure(query, ResponseCode::NXDomain)));
    let reply = setup(denies.address).ask("ext.skydns.local.", RecordType::A);
    // RFC 6604: the CNAME, and the code of its target.
    assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NXDomain, 1));
}

#[test]
fn silent_upstreams_are_waited_for_once_by_an_answer_that_needs_a_name_of_others() {
    for policy in ["rotate", "order"] {
        let silent = || {
            Upstream::start(|query, _| {
                let is_probe = query.queries[0].name().is_root();
                is_probe.then(|| reply_to(query))
            })
        };
        let (one, two) = (silent(), silent());
        let agent = Setup::new()
            .record("/skydns/local/skydns/ext", r#"{"host":"www.example.org"}"#)
            .args(&["-rtimeout", "3s", "-ns-policy", policy])
            .args(&["-nameservers", &format!("{},{}", one.address, two.address)])
            .start();
        let ask = || {
            let start = Instant::now();
            let reply = agent.ask("ext.skydns.local.", RecordType::A);
            assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
            start.elapsed()
        };
        assert!(ask() >= Duration::from_millis(2_900), "the first one waits ({policy})");
        let again = ask();
        assert!(again < Duration::from_secs(2), "{again:?} with {policy}");
    }
}

#[test]
fn where_nobody_listens_nothing_waits_for_the_timeout() {
    let closed = [(); 2].map(|()| black_hole().1);
    for upstreams in [&closed[..1], &closed[..]] {
        let agent = agent(upstreams, &["-rtimeout", "10s"]);
        for n in 0..6 {
            let start = Instant::now();
            let reply = agent.ask(&format!("n{n}.example.org."), RecordType::A);
            assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
            assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        }
    }
}

#[test]
fn external_targets_have_their_signatures_for_clients_that_validate() {
    let of_a = [&[0, 1][..], &[8; 30]].concat();
    let signature = RData::Unknown { code: RecordType::RRSIG, rdata: rdata::NULL::with(of_a) };
    let upstream = Upstream::start(move |query, _| {
        let mut reply = reply_to(query);
        add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, 1].into())));
        if query.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok) {
            add(&mut reply, 60, signature.clone());
        }
        Some(reply)
    });
    let record = ("/skydns/local/skydns/out", r#"{"host":"www.example.org"}"#);
    let agent = Setup::new().record(record.0, record.1);
    let agent = agent.args(&["-nameservers", &upstream.address.to_string()]).start();
    let types = |dnssec_ok| {
        let mut question = query("out.skydns.local.", RecordType::A);
        let mut edns = Edns::new();
        edns.set_dnssec_ok(dnssec_ok);
        question.set_edns(edns);
        let reply = ask(agent.address(), &question);
        reply.answers.iter().map(hickory_proto::rr::Record::record_type).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        assert_eq!(types(true), [RecordType::CNAME, RecordType::A, RecordType::RRSIG]);
        assert_eq!(types(false), [RecordType::CNAME, RecordType::A]);
    }
}

#[test]
fn a_chain_may_lead_outside_and_back_and_outside_again() {
    let upstream = Upstream::start(|query, _| {
        let mut reply = reply_to(query);
        let name = |text: &str| hickory_proto::rr::Name::from_ascii(text).expect("a name");
        if query.queries[0].name() == &name("there.example.org.") {
            add(&mut reply, 60, RData::CNAME(rdata::CNAME(name("mid.skydns.local."))));
            reply.metadata.response_code = ResponseCode::NXDomain;
        } else {
            add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, 1].into())));
        }
        Some(reply)
    });
    let agent = Setup::new()
        .record("/skydns/local/skydns/out", r#"{"host":"there.example.org"}"#)
        .record("/skydns/local/skydns/mid", r#"{"host":"end.example.org"}"#)
        .args(&["-nameservers", &upstream.address.to_string()])
        .start();
    let expected = ["192.0.2.1", "end.example.org.", "mid.skydns.local.", "there.example.org."];
    assert_eq!(agent.data("out.skydns.local.", RecordType::A), expected);
}

#[test]
fn external_targets_of_our_names_follow_stub_zones() {
    let (_hole, dead) = black_hole();
    let server = Upstream::addresses([192, 0, 2, 8], 60);
    let (ip, port) = (server.address.ip(), server.address.port());
    let agent = Setup::new()
        .record("/skydns/local/skydns/ext", r#"{"host":"www.corp.example"}"#)
        .record(
            "/skydns/local/skydns/dns/stub/example/corp/a",
            &format!(r#"{{"host":"{ip}","port":{port}}}"#),
        )
        .record("/skydns/local/skydns/set/a", r#"{"host":"10.0.0.1"}"#)
        .record("/skydns/local/skydns/set/b", r#"{"host":"www.example.org"}"#)
        .args(&["-stubzones", "-rtimeout", "1s", "-nameservers", &dead.to_string()])
        .start();
    assert_eq!(agent.data("ext.skydns.local.", RecordType::A), ["192.0.2.8", "www.corp.example."]);
    // A set is answered with what is known, and nothing waits once the upstream is known to be dead.
    assert_eq!(agent.data("set.skydns.local.", RecordType::A), ["10.0.0.1"]);
    for n in 0..4 {
        let _ = agent.ask(&format!("n{n}.example.org."), RecordType::A);
    }
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(agent.data("set.skydns.local.", RecordType::A), ["10.0.0.1"]);
        let reply = agent.ask("set.skydns.local.", RecordType::AAAA);
        assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NoError, 0));
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?} for 40 answers", start.elapsed());
}

#[test]
fn rotate_spreads_and_fastest_prefers_the_fastest() {
    let fast = Upstream::addresses([192, 0, 2, 1], 0);
    let slow = Upstream::start(|query, _| {
        std::thread::sleep(Duration::from_millis(30));
        Some(reply_to(query))
    });
    let other = Upstream::addresses([192, 0, 2, 2], 0);
    let ask_many = |agent: &Agent| {
        for n in 0..60 {
            agent.ask(&format!("n{n}.example.org."), RecordType::A);
        }
    };
    ask_many(&agent(&[fast.address, other.address], &["-rcache=0"]));
    let (a, b) = (fast.count(), other.count());
    assert!(a >= 20 && b >= 20, "{a} and {b}");
    ask_many(&agent(&[slow.address, fast.address], &["-rcache=0", "-ns-policy=fastest"]));
    assert!(slow.count() <= 10, "{} questions to the slow one", slow.count());
}

/// An upstream that gives every name this address after a pause, while it is on; and its switch.
fn switched(address: [u8; 4], pause: Duration) -> (Upstream, Arc<AtomicBool>) {
    let is_on = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&is_on);
    let upstream = Upstream::start(move |query, _| {
        std::thread::sleep(pause);
        let mut reply = reply_to(query);
        add(&mut reply, 0, RData::A(rdata::A(address.into())));
        is_on.load(Ordering::SeqCst).then_some(reply)
    });
    (upstream, switch)
}

#[test]
fn the_order_of_upstreams_holds_and_a_first_one_that_is_back_is_first_again() {
    let (first, switch) = switched([192, 0, 2, 1], Duration::from_millis(60));
    let second = Upstream::addresses([192, 0, 2, 2], 0);
    let args = ["-ns-rotate=false", "-rtimeout", "5s"];
    let agent = agent(&[first.address, second.address], &args);
    for n in 0..70 {
        assert_eq!(agent.data(&format!("n{n}.example.org."), RecordType::A), ["192.0.2.1"]);
    }
    assert_eq!(second.count(), 0, "the first one is slower than the next one would be, but it answers");
    switch.store(false, Ordering::SeqCst);
    assert_eq!(agent.data("off.example.org.", RecordType::A), ["192.0.2.2"]);
    let down = format!("upstream {}: does not answer", first.address);
    eventually("the first one is known to be down", || agent.log().contains(&down));
    for n in 0..50 {
        assert_eq!(agent.data(&format!("down{n}.example.org."), RecordType::A), ["192.0.2.2"]);
    }
    let is_down = |query: &Message| query.queries[0].name().to_ascii().starts_with("down");
    assert!(!first.seen().iter().any(|(query, _)| is_down(query)), "the one that is down is asked last");
    switch.store(true, Ordering::SeqCst);
    let up = format!("upstream {}: answers again", first.address);
    eventually("a probe is answered", || agent.log().contains(&up));
    for n in 0..10 {
        assert_eq!(agent.data(&format!("up{n}.example.org."), RecordType::A), ["192.0.2.1"]);
    }
    assert_eq!((agent.log().matches(&down).count(), agent.log().matches(&up).count()), (1, 1));
}

#[test]
fn a_first_upstream_that_refuses_other_names_stays_the_first() {
    let internal = Upstream::start(|query, _| {
        let mut reply = reply_to(query);
        add(&mut reply, 0, RData::A(rdata::A([10, 0, 0, 1].into())));
        let is_internal = query.queries[0].name().to_ascii().ends_with(".corp.example.");
        Some(if is_internal { reply } else { failure(query, ResponseCode::Refused) })
    });
    let public = Upstream::start(|query, _| {
        let mut reply = reply_to(query);
        add(&mut reply, 0, RData::A(rdata::A([192, 0, 2, 1].into())));
        let is_internal = query.queries[0].name().to_ascii().ends_with(".corp.example.");
        Some(if is_internal { failure(query, ResponseCode::NXDomain) } else { reply })
    });
    let agent = agent(&[internal.address, public.address], &["-ns-policy", "order"]);
    for n in 0..20 {
        assert_eq!(agent.data(&format!("n{n}.example.org."), RecordType::A), ["192.0.2.1"]);
        assert_eq!(agent.data(&format!("n{n}.corp.example."), RecordType::A), ["10.0.0.1"]);
    }
}

#[test]
fn upstreams_follow_resolv_conf() {
    let agent = Setup::new().record(RECORD.0, RECORD.1).start();
    assert!(agent.log().contains("upstreams: none"));
    agent.set_resolv_conf("nameserver 192.0.2.53\nnameserver 192.0.2.54\n");
    eventually("the new upstreams are taken", || {
        agent.log().contains("upstreams: 192.0.2.53:53, 192.0.2.54:53")
    });
}

#[test]
fn a_resolv_conf_that_is_not_there_is_told_until_it_is() {
    let agent = Setup::new().record(RECORD.0, RECORD.1).start();
    agent.set_resolv_conf("nameserver 192.0.2.53\n");
    eventually("the upstream is taken", || agent.log().contains("upstreams: 192.0.2.53:53"));
    agent.remove_resolv_conf();
    let told =
        "cannot be read: No such file or directory (os error 2); /etc/resolv.conf is used until it can be";
    eventually("that it is gone", || {
        agent.log().contains("refused: resolv-conf: ") && agent.log().contains(told)
    });
    agent.set_resolv_conf("nameserver 192.0.2.54\n");
    eventually("the new upstream is taken", || agent.log().contains("upstreams: 192.0.2.54:53"));
    eventually("that it is there", || agent.log().contains("not refused any more: resolv-conf: "));
}

#[test]
fn we_never_forward_to_ourselves() {
    let port = support::free_port();
    let own = format!("127.0.0.1:{port}");
    let agent = Setup::new().port(port).record(RECORD.0, RECORD.1).args(&["-nameservers", &own]).start();
    let told = format!("refused: nameservers: {own} is this server itself, and no other server is named");
    assert!(agent.log().contains(&told), "{}", agent.log());
    // So those of resolv.conf count.
    agent.set_resolv_conf("nameserver 192.0.2.53\n");
    eventually("its upstream is taken", || agent.log().contains("upstreams: 192.0.2.53:53"));
}

#[test]
fn without_upstreams_forwarding_fails_at_once() {
    let agent = Setup::new().record(RECORD.0, RECORD.1).start();
    let start = Instant::now();
    assert_eq!(agent.ask("www.example.org.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn a_forwarding_loop_is_found_and_broken() {
    // An upstream that sends everything back to us.
    let port = support::free_port();
    let us: SocketAddr = ([127, 0, 0, 1], port).into();
    let mirror = Upstream::start(move |query, _| {
        let packet = query.to_vec().expect("a query");
        exchange(us, &packet, Duration::from_secs(5)).and_then(|reply| Message::from_vec(&reply).ok())
    });
    let args = ["-nameservers", &mirror.address.to_string()];
    let agent = Setup::new().port(port).record(RECORD.0, RECORD.1).args(&args).start();
    let start = Instant::now();
    assert_eq!(agent.ask("a.example.org.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    eventually("the loop is found", || agent.log().contains("forwards to this server"));
    let before = mirror.count();
    let start = Instant::now();
    assert_eq!(agent.ask("b.example.org.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    assert_eq!(mirror.count(), before, "the looping upstream is left alone");
    assert!(before < 20, "{before} questions went round");
}

#[test]
fn an_upstream_without_edns_is_asked_without() {
    let upstream = Upstream::start(|query, _| {
        if query.edns.is_some() {
            return Some(failure(query, ResponseCode::FormErr));
        }
        let mut reply = reply_to(query);
        add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, 1].into())));
        Some(reply)
    });
    assert_eq!(agent(&[upstream.address], &[]).data("old.example.org.", RecordType::A), ["192.0.2.1"]);
}

#[test]
fn an_upstream_that_chokes_on_edns_is_learned() {
    // As many do: a bare header for what they do not understand.
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let with_edns = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
            let query = Message::from_vec(&buffer[..len]).expect("a query");
            if query.queries[0].query_type() == RecordType::A {
                let name = query.queries[0].name().to_ascii();
                with_edns.lock().expect("unpoisoned").push((name, query.edns.is_some()));
            }
            let mut reply = reply_to(&query);
            if query.edns.is_some() {
                reply = failure(&query, ResponseCode::FormErr);
                reply.queries.clear();
            } else if query.queries[0].query_type() == RecordType::A {
                add(&mut reply, 0, RData::A(rdata::A([192, 0, 2, 1].into())));
            }
            let _ = socket.send_to(&reply.to_vec().expect("a reply"), peer);
        }
    });
    let agent = agent(&[address], &["-rtimeout", "300ms"]);
    for n in 0..5 {
        assert_eq!(agent.data(&format!("n{n}.example.org."), RecordType::A), ["192.0.2.1"]);
    }
    let seen = seen.lock().expect("unpoisoned");
    let with_edns: HashSet<_> =
        seen.iter().filter(|(_, with_edns)| *with_edns).map(|(name, _)| name).collect();
    assert_eq!(with_edns.len(), 3, "three questions in vain are enough: {with_edns:?}");
}

#[test]
fn an_upstream_that_always_refuses_is_asked_last() {
    let bad = Upstream::start(|query, _| Some(failure(query, ResponseCode::Refused)));
    let good = Upstream::start(|query, _| {
        std::thread::sleep(Duration::from_millis(5));
        let mut reply = reply_to(query);
        add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, 1].into())));
        Some(reply)
    });
    let agent = agent(&[bad.address, good.address], &["-ns-policy=fastest"]);
    for n in 0..60 {
        assert_eq!(agent.data(&format!("n{n}.example.org."), RecordType::A), ["192.0.2.1"]);
    }
    assert!(bad.count() < 30, "{} of 60 questions went to the one that refuses", bad.count());
}

#[test]
fn one_answer_asks_for_a_bounded_number_of_names() {
    let upstream = Upstream::addresses([192, 0, 2, 1], 60);
    let setup = Setup::new().args(&["-nameservers", &upstream.address.to_string()]);
    let agent = (0..300)
        .fold(setup, |setup, n| {
            setup.record(
                &format!("/skydns/local/skydns/many/s{n}"),
                &format!("{{\"host\":\"h{n}.example.org\"}}"),
            )
        })
        .start();
    let reply = Stream::connect(agent.address()).ask(&query("many.skydns.local.", RecordType::SRV));
    assert_eq!(reply.answers.len(), 300);
    assert!(upstream.count() <= 64, "{} questions", upstream.count());
}

#[test]
fn an_upstreams_ad_is_passed_on_when_it_is_trusted() {
    let upstream = Upstream::start(|query, _| {
        let mut reply = reply_to(query);
        reply.metadata.authentic_data = true;
        add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, 1].into())));
        Some(reply)
    });
    let agent = agent(&[upstream.address], &["-trust-ad"]);
    let mut question = query("ad.example.org.", RecordType::A);
    assert!(!ask(agent.address(), &question).metadata.authentic_data, "only to who asks for it (RFC 6840)");
    question.metadata.authentic_data = true;
    assert!(ask(agent.address(), &question).metadata.authentic_data);
}

#[test]
fn special_names_never_leave_the_host() {
    let upstream = Upstream::addresses([192, 0, 2, 1], 60);
    let agent = agent(&[upstream.address], &[]);
    assert_eq!(agent.data("localhost.", RecordType::A), ["127.0.0.1"]);
    assert_eq!(agent.ask("x.invalid.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(agent.data("1.0.0.127.in-addr.arpa.", RecordType::PTR), ["localhost."]);
    assert_eq!(upstream.count(), 0);
}

/// Names outside belong to an answer, whichever thread makes it: those over TCP, and those that take much work.
#[test]
fn names_outside_are_found_for_names_with_many_services() {
    let upstream = Upstream::addresses([192, 0, 2, 1], 60);
    let mut setup = Setup::new().args(&["-nameservers", &upstream.address.to_string()]);
    for n in 0..600 {
        let host = format!(r#"{{"host":"10.8.{}.{}"}}"#, n >> 8, n & 255);
        setup = setup.record(&format!("/skydns/local/skydns/big/r{n}"), &host);
    }
    setup = setup.record("/skydns/local/skydns/big/ext", r#"{"host":"ext.example.org"}"#);
    for n in 0..300 {
        let host = format!(r#"{{"host":"n{n}.example.org"}}"#);
        setup = setup.record(&format!("/skydns/local/skydns/out/r{n}"), &host);
    }
    let agent = setup.start();
    let over_tcp = |name: &str| {
        let reply = Stream::connect(agent.address()).ask(&query(name, RecordType::A));
        (reply.metadata.response_code, reply.answers.len())
    };
    eventually("in sync", || agent.data("ext.big.skydns.local.", RecordType::A).len() == 2);
    assert_eq!(over_tcp("big.skydns.local."), (ResponseCode::NoError, 601));
    // All lead to one address.
    assert_eq!(over_tcp("out.skydns.local."), (ResponseCode::NoError, 1));
    let mut question = query("out.skydns.local.", RecordType::A);
    question.set_edns(Edns::new().set_max_payload(4_096).clone());
    let over_udp = ask(agent.address(), &question);
    assert_eq!((over_udp.metadata.response_code, over_udp.answers.len()), (ResponseCode::NoError, 1));
}
