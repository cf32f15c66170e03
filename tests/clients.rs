//! Clients from elsewhere: what they may ask, and how much they are sent.

mod support;

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{RData, RecordType, rdata};
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};
use support::network::{self, Wire};
use support::upstream::{Upstream, add, reply_to};
use support::{Agent, PATIENCE, Setup, Stream, ask, eventually, exchange, query};

/// A site on the first of two hosts.
struct Site {
    wire: Wire,
    agent: Agent,
    upstream: Upstream,
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
            let setup = (0..100).fold(Setup::new(), |setup, n| {
                let host = format!(r#"{{"host":"10.1.0.{n}"}}"#);
                setup.record(&format!("/skydns/local/skydns/big/s{n}"), &host)
            });
            let agent = setup
                .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
                .record("/skydns/local/skydns/out", r#"{"host":"www.example.org"}"#)
                .without_address()
                .port(53)
                .args(&["-addr", "0.0.0.0:53,[::]:53", "-nameservers", &upstream.address.to_string()])
                .args(args)
                .start();
            (agent, upstream)
        });
        Some(Self { wire, agent, upstream })
    }

    /// What the second host hears from the first at an address.
    fn ask(&self, server: &str, name: &str) -> Message {
        let server = SocketAddr::new(server.parse().expect("an address"), 53);
        let mut question = query(name, RecordType::A);
        question.set_edns(Edns::new());
        self.wire.on(2, || ask(server, &question))
    }
}

/// Packets with forged source addresses: on the second host, which gives itself the addresses.
impl Site {
    /// Sends a question for a name to the first host, and waits until the agent has it.
    fn forge(&self, from: &str, to: &str, name: &str) {
        let bits = if from.contains(':') { 128 } else { 32 };
        let nodad: &[&str] = if bits == 128 { &["nodad"] } else { &[] };
        self.wire.ip(2, &[&["address", "replace", &format!("{from}/{bits}"), "dev", "lo"], nodad].concat());
        let packet = query(name, RecordType::A).to_vec().expect("a query");
        let send = || {
            let address = |ip: &str, port| SocketAddr::new(ip.parse().expect("an address"), port);
            let socket = UdpSocket::bind(address(from, 0)).expect("an address of this host");
            socket.send_to(&packet, address(to, 53)).expect("sent");
        };
        eventually(&format!("a packet from {from} gets to {to}"), || {
            self.wire.on(2, send);
            self.agent.log().contains(name)
        });
    }

    /// Whether upstreams were asked for a name that a client asked for before.
    fn is_forwarded(&self, name: &str) -> bool {
        // What the agent was asked later went upstream meanwhile.
        let later = format!("later-than-{name}");
        self.wire.on(1, || self.agent.ask(&later, RecordType::A));
        let seen = self.upstream.seen();
        let was_seen =
            |name: &str| seen.iter().any(|(question, _)| question.queries[0].name().to_ascii() == name);
        assert!(was_seen(&later), "{later}");
        was_seen(name)
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
fn who_is_ours_is_judged_by_where_a_packet_came_in() {
    let Some(site) = Site::new(&["198.51.100"], &["-verbose", "-allow", "local,203.0.113.0/24"]) else {
        return;
    };
    let here = |args: &[&str]| site.wire.ip(1, args);
    // A private network that the first host is in, on another wire; the replies to forged packets leave there.
    here(&["link", "add", "inside", "type", "veth", "peer", "name", "outlet"]);
    for interface in ["inside", "outlet"] {
        here(&["link", "set", interface, "up"]);
    }
    here(&["address", "add", "10.88.0.1/24", "dev", "inside"]);
    here(&["address", "add", "fd00:88::1/64", "dev", "inside", "nodad"]);
    for (host, address) in [(1, "2001:db8:1::1"), (1, "2001:db8:1::9"), (2, "2001:db8:1::2")] {
        site.wire.ip(host, &["address", "add", &format!("{address}/64"), "dev", "wire", "nodad"]);
    }
    site.wire.ip(2, &["route", "add", "10.88.0.1", "via", "198.51.100.1"]);
    // The agent has to find out by itself, not the kernel for it.
    site.wire.on(1, || {
        for interface in ["all", "wire", "default"] {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/rp_filter"), "0").expect("a setting");
        }
    });
    std::thread::sleep(Duration::from_millis(300));
    let global = site.ask("2001:db8:1::9", "stranger.example.org.");
    assert_eq!(global.metadata.response_code, ResponseCode::Refused, "a stranger who does not forge");
    for (number, (from, to)) in [
        ("10.88.0.2", "198.51.100.1"),
        ("10.88.0.2", "10.88.0.1"),
        ("fd00:88::2", "2001:db8:1::1"),
        ("2001:db8:1::1", "2001:db8:1::9"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("forged{number}.example.org.");
        site.forge(from, to, &name);
        assert!(!site.is_forwarded(&name), "from {from} to {to}");
    }
    site.forge("203.0.113.5", "198.51.100.1", "named.example.org.");
    assert!(site.is_forwarded("named.example.org."), "networks that are named count by every interface");
    // A private network on the public wire is one of ours by that wire.
    site.wire.join("10.77.0");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(site.ask("198.51.100.1", "www.example.org.").metadata.response_code, ResponseCode::Refused);
    assert_eq!(site.ask("10.77.0.1", "www.example.org.").metadata.response_code, ResponseCode::NoError);
}

#[test]
fn this_host_may_ask_itself_at_each_of_its_addresses() {
    let Some(site) = Site::new(&["198.51.100", "10.77.0"], &[]) else { return };
    site.wire.ip(1, &["address", "add", "2001:db8:1::1/64", "dev", "wire", "nodad"]);
    std::thread::sleep(Duration::from_millis(300));
    let asked = |server: &str| {
        let server = SocketAddr::new(server.parse().expect("an address"), 53);
        let question = query("www.example.org.", RecordType::A);
        site.wire.on(1, || {
            let reply = ask(server, &question);
            // From elsewhere a packet may have this source, too: over TCP the host shows that it is its own.
            if reply.metadata.truncation {
                (true, Stream::connect(server).ask(&question))
            } else {
                (false, reply)
            }
        })
    };
    for (server, over_tcp) in [
        ("127.0.0.1", false),
        ("::1", false),
        ("198.51.100.1", false),
        ("10.77.0.1", false),
        ("2001:db8:1::1", true),
    ] {
        for _ in 0..3 {
            let (was_truncated, reply) = asked(server);
            assert_eq!((was_truncated, reply.answers.len()), (over_tcp, 2), "{server}");
        }
    }
}

#[test]
fn link_local_clients_are_ours_on_links_that_are_not_public() {
    let Some(site) = Site::new(&["198.51.100"], &[]) else { return };
    // Both ends have theirs.
    site.wire.link_local(2);
    let (link_local, scope) = (site.wire.link_local(1), site.wire.interface(2));
    let asked = |over_tcp: bool| {
        let server = SocketAddr::V6(SocketAddrV6::new(link_local, 53, 0, scope));
        let question = query("www.example.org.", RecordType::A);
        let reply = site
            .wire
            .on(2, || if over_tcp { Stream::connect(server).ask(&question) } else { ask(server, &question) });
        reply.metadata.response_code
    };
    assert_eq!([false, true].map(asked), [ResponseCode::Refused; 2], "the wire is public");
    site.wire.join("10.77.0");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!([false, true].map(asked), [ResponseCode::NoError; 2], "it is in a private network as well");
}

#[test]
fn replies_to_other_hosts_cross_every_network_whole() {
    let Some(site) = Site::new(&["198.51.100", "10.77.0"], &[]) else { return };
    let mut question = query("big.skydns.local.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    question.set_edns(edns);
    let packet = question.to_vec().expect("a packet");
    let asked = |host: usize, server: [u8; 4]| {
        let reply = site.wire.on(host, || exchange((server, 53).into(), &packet, PATIENCE)).expect("a reply");
        let message = Message::from_vec(&reply).expect("a reply that can be read");
        (reply.len() > 1_232, message.metadata.truncation, message.answers.len())
    };
    // In turn, so that no reply for one is sent to another out of the cache.
    for _ in 0..4 {
        for server in [[127, 0, 0, 1], [198, 51, 100, 1], [10, 77, 0, 1]] {
            assert_eq!(asked(1, server), (true, false, 100), "{server:?} on the host");
        }
        for server in [[198, 51, 100, 1], [10, 77, 0, 1]] {
            assert_eq!(asked(2, server), (false, true, 0), "{server:?} from another host");
        }
    }
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
fn unknown_clients_have_a_rate_over_tcp_as_well() {
    const QUERIES: u32 = 900;
    let Some(site) = Site::new(&["198.51.100", "10.77.0"], &[]) else { return };
    let ask_many = |server: [u8; 4]| {
        site.wire.on(2, || {
            let (begun, question) = (Instant::now(), query("a.skydns.local.", RecordType::A));
            let mut stream = Stream::connect((server, 53).into());
            (0..QUERIES).for_each(|_| stream.send(&question));
            let answered =
                (0..QUERIES).filter(|_| stream.receive().is_some_and(|reply| reply.answers.len() == 1));
            (answered.count(), begun.elapsed())
        })
    };
    let (answered, took) = ask_many([198, 51, 100, 1]);
    assert_eq!(answered, QUERIES as usize, "they wait, and are answered");
    // 500 at once, and then 200 a second.
    assert!(took > Duration::from_millis(1_500), "{took:?}");
    assert_eq!(ask_many([10, 77, 0, 1]).0, QUERIES as usize);
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
