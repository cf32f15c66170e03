//! Clients from elsewhere: what they may ask, and how much they are sent.

mod support;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{RData, RecordType, rdata};
use std::net::SocketAddr;
use std::time::Duration;
use support::network::{self, Wire};
use support::upstream::{Upstream, add, reply_to};
use support::{Agent, Setup, Stream, ask, eventually, exchange, query};

/// A site on the first of two hosts.
struct Site {
    wire: Wire,
    agent: Agent,
    _upstream: Upstream,
}

impl Site {
    /// `None` where no networks can be made.
    fn new(networks: &[&str], args: &[&str]) -> Option<Self> {
        if let Some(reason) = network::why_not() {
            println!("not run: {reason}");
            return None;
        }
        let wire = Wire::new(networks);
        let (agent, upstream) = wire.on(1, || {
            let upstream = Upstream::start(|query, _| {
                let mut reply = reply_to(query);
                add(&mut reply, 60, RData::A(rdata::A([192, 0, 2, 1].into())));
                add(&mut reply, 60, RData::A(rdata::A([10, 9, 9, 9].into())));
                Some(reply)
            });
            let agent = Setup::new()
                .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
                .record("/skydns/local/skydns/out", r#"{"host":"www.example.org"}"#)
                .without_address()
                .port(53)
                .args(&["-addr", "0.0.0.0:53", "-nameservers", &upstream.address.to_string()])
                .args(args)
                .start();
            (agent, upstream)
        });
        Some(Self { wire, agent, _upstream: upstream })
    }

    /// What the second host hears from the first at an address.
    fn ask(&self, server: &str, name: &str) -> Message {
        let server = SocketAddr::new(server.parse().expect("an address"), 53);
        let mut question = query(name, RecordType::A);
        question.set_edns(Edns::new());
        self.wire.on(2, || ask(server, &question))
    }
}

fn code(reply: &Message) -> Option<u16> {
    match reply.edns.as_ref()?.option(EdnsCode::Unknown(15))? {
        EdnsOption::Unknown(_, data) => Some(u16::from_be_bytes([data[0], data[1]])),
        _ => None,
    }
}

#[test]
fn forwarded_is_for_clients_of_ours_only() {
    let Some(site) = Site::new(&["198.51.100", "10.77.0"], &[]) else { return };
    let here = |name: &str| site.wire.on(1, || site.agent.ask(name, RecordType::A));
    // The host itself, and a client in a private network that it is in; from the cache and the fast path as well.
    for _ in 0..4 {
        assert_eq!(here("www.example.org.").answers.len(), 2);
        assert_eq!(site.ask("10.77.0.1", "www.example.org.").answers.len(), 2);
    }
    // Another gets none of it, not even out of the cache, and no names of upstreams in the refusal.
    for _ in 0..4 {
        let reply = site.ask("198.51.100.1", "www.example.org.");
        assert_eq!((reply.metadata.response_code, code(&reply)), (ResponseCode::Refused, Some(18)));
        assert!(reply.answers.is_empty() && !reply.metadata.recursion_available);
        assert_eq!(
            site.ask("198.51.100.1", "a.skydns.local.").answers.len(),
            1,
            "names of the site are for all"
        );
        assert_eq!(site.ask("198.51.100.1", "out.skydns.local.").answers.len(), 3, "with all they lead to");
    }
    let refused = site.wire.on(2, || {
        let mut stream = Stream::connect(SocketAddr::from(([198, 51, 100, 1], 53)));
        stream.ask(&query("www.example.org.", RecordType::A)).metadata.response_code
    });
    assert_eq!(refused, ResponseCode::Refused);
    assert_eq!(here("www.example.org.").answers.len(), 2);
}

#[test]
fn networks_that_are_named_are_ours() {
    for (allow, expected) in [
        ("198.51.100.0/24", [ResponseCode::NoError, ResponseCode::Refused]),
        ("local,198.51.100.2", [ResponseCode::NoError, ResponseCode::NoError]),
        ("host", [ResponseCode::Refused, ResponseCode::Refused]),
        ("any", [ResponseCode::NoError, ResponseCode::NoError]),
    ] {
        let Some(site) = Site::new(&["198.51.100", "10.77.0"], &["-allow", allow]) else { return };
        let rcodes = ["198.51.100.1", "10.77.0.1"]
            .map(|server| site.ask(server, "www.example.org.").metadata.response_code);
        assert_eq!(rcodes, expected, "{allow}");
    }
}

#[test]
fn a_network_that_comes_later_is_ours_at_once() {
    let Some(site) = Site::new(&["198.51.100"], &[]) else { return };
    assert_eq!(site.ask("198.51.100.1", "www.example.org.").metadata.response_code, ResponseCode::Refused);
    std::thread::sleep(Duration::from_millis(300));
    site.wire.join("10.78.0");
    assert_eq!(site.ask("10.78.0.1", "www.example.org.").metadata.response_code, ResponseCode::NoError);
}

#[test]
fn nobody_elsewhere_is_flooded() {
    let Some(site) = Site::new(&["198.51.100", "10.77.0"], &["-allow", "local,any"]) else { return };
    let mut question = query("a.skydns.local.", RecordType::A);
    question.set_edns(Edns::new());
    let packet = question.to_vec().expect("a packet");
    let count = |server: [u8; 4]| {
        let server = SocketAddr::from((server, 53));
        let replies = (0..400).filter_map(|_| {
            let reply = exchange(server, &packet, Duration::from_secs(2))?;
            let message = Message::from_vec(&reply).expect("a reply");
            assert!(!message.metadata.truncation || reply.len() <= packet.len(), "no larger than the query");
            Some(message.metadata.truncation)
        });
        replies.collect::<Vec<_>>()
    };
    let truncated = |replies: &[bool]| replies.iter().filter(|truncated| **truncated).count();
    let (outside, inside) = site.wire.on(2, || (count([198, 51, 100, 1]), count([10, 77, 0, 1])));
    assert_eq!((outside.len(), inside.len()), (400, 400), "each is answered");
    assert!(truncated(&outside) > 100, "{} of 400", truncated(&outside));
    assert_eq!(truncated(&inside), 0, "clients of ours have no limit");
    let over_tcp = site
        .wire
        .on(2, || Stream::connect(SocketAddr::from(([198, 51, 100, 1], 53))).ask(&question).answers.len());
    assert_eq!(over_tcp, 1);
    eventually("the budget comes back", || !site.ask("198.51.100.1", "a.skydns.local.").metadata.truncation);
}

#[test]
fn private_addresses_from_outside_are_taken_out_if_that_is_asked_for() {
    let Some(site) = Site::new(&["10.77.0"], &["-rebind-protection"]) else { return };
    for _ in 0..4 {
        let reply = site.ask("10.77.0.1", "www.example.org.");
        assert_eq!((reply.answers.len(), code(&reply)), (1, Some(15)));
    }
    assert_eq!(site.ask("10.77.0.1", "a.skydns.local.").answers.len(), 1, "the site's own stay");
    assert_eq!(site.ask("10.77.0.1", "out.skydns.local.").answers.len(), 3, "and what they lead to");
}
