//! Questions with a forged source: nothing is forwarded for an address that cannot come from where its packet came in.
//!
//! The agent's host has a public interface, and one into a private network; the other host is on both, and has the forged
//! addresses as well.

use super::TURN;
use super::prober::packet;
use super::support::network::{self, Wire};
use super::support::plain_upstream::PlainUpstream;
use super::support::{Agent, Setup, eventually, exchange};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::PoisonError;
use std::time::Duration;

/// The interfaces of both hosts.
const PUBLIC: &str = "wire";
const PRIVATE: &str = "inside";

/// The agent's addresses.
const PUBLIC_4: &str = "198.51.100.1";
const PUBLIC_6: &str = "2001:db8:7::1";
const PRIVATE_4: &str = "10.66.0.1";
const PRIVATE_6: &str = "fd00:66::1";
/// One at which it does not listen.
const OTHER_6: &str = "2001:db8:66::1";

/// A source, the agent's address that is asked, and whether that is the way of a client of ours. All of them come by the
/// interface of the address that is asked.
const WAYS: [(&str, &str, bool); 8] = [
    ("10.66.0.2", PRIVATE_4, true),
    ("fd00:66::2", PRIVATE_6, true),
    ("198.51.100.2", PUBLIC_4, false),
    // Of the private network, in use there and not.
    ("10.66.0.2", PUBLIC_4, false),
    ("10.66.0.9", PUBLIC_4, false),
    ("fd00:66::9", PUBLIC_6, false),
    // The agent's own.
    (OTHER_6, PUBLIC_6, false),
    // Of the link itself.
    ("fe80::", PUBLIC_6, false),
];

/// Questions of each source.
const QUESTIONS: usize = 5;

struct Site {
    wire: Wire,
    _agent: Agent,
    upstream: PlainUpstream,
}

impl Site {
    fn new(listen: &str, allow: &str) -> Self {
        let wire = Wire::new(&["198.51.100"]);
        wire.add(PRIVATE);
        let addresses = [
            (1, PUBLIC, format!("{PUBLIC_6}/64")),
            (2, PUBLIC, "2001:db8:7::2/64".to_owned()),
            (1, PRIVATE, format!("{PRIVATE_4}/24")),
            (1, PRIVATE, format!("{PRIVATE_6}/64")),
            (1, PRIVATE, format!("{OTHER_6}/64")),
            (2, PRIVATE, "10.66.0.2/24".to_owned()),
            (2, PRIVATE, "fd00:66::2/64".to_owned()),
            (2, "lo", "10.66.0.9/32".to_owned()),
            (2, "lo", "fd00:66::9/128".to_owned()),
            (2, "lo", format!("{OTHER_6}/128")),
        ];
        for (host, interface, address) in &addresses {
            let no_detection = if address.contains(':') { &["nodad"][..] } else { &[] };
            wire.ip(*host, &[&["address", "add", address, "dev", interface], no_detection].concat());
        }
        // The kernel takes what comes from where it would not send to, as it does unless it is told otherwise.
        wire.on(1, || {
            for name in ["all", "default", PUBLIC, PRIVATE] {
                let filter = format!("/proc/sys/net/ipv4/conf/{name}/rp_filter");
                std::fs::write(filter, "0").expect("a setting");
            }
        });
        let (agent, upstream) = wire.on(1, || {
            let upstream = PlainUpstream::start();
            let agent = Setup::new()
                .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
                .without_address()
                .port(53)
                .args(&["-addr", listen, "-allow", allow, "-nameservers", &upstream.address.to_string()])
                .start();
            (agent, upstream)
        });
        Self { wire, _agent: agent, upstream }
    }

    /// A socket of the other host with a source.
    fn socket(&self, source: &str) -> UdpSocket {
        let source = match source {
            "fe80::" => self.link_local(),
            source => SocketAddr::new(source.parse().expect("an address"), 0),
        };
        self.wire.on(2, || UdpSocket::bind(source).expect("a socket"))
    }

    /// The other host's address of the public link, once it is in use.
    fn link_local(&self) -> SocketAddr {
        let mut found = None;
        eventually("there is an address of the link", || {
            found = self.wire.on(2, || {
                let all = nix::ifaddrs::getifaddrs().expect("interfaces");
                let mut of_link = all.filter(|i| i.interface_name == PUBLIC).filter_map(|i| {
                    let address = *i.address?.as_sockaddr_in6()?;
                    (address.ip().segments()[0] == 0xfe80).then_some((address.ip(), address.scope_id()))
                });
                of_link.find_map(|(ip, scope): (Ipv6Addr, u32)| {
                    let address = SocketAddr::V6(SocketAddrV6::new(ip, 0, 0, scope));
                    UdpSocket::bind(address).is_ok().then_some(address)
                })
            });
            found.is_some()
        });
        found.expect("an address")
    }

    /// How many of a source's questions were forwarded.
    fn forwarded(&self, way: usize) -> usize {
        let (source, server, _) = WAYS[way];
        let server = SocketAddr::new(server.parse::<IpAddr>().expect("an address"), 53);
        let socket = self.socket(source);
        let label = |n: usize| format!("mark{way}x{n}");
        for n in 0..QUESTIONS {
            let question = packet(&format!("{}.example.org", label(n)), 1, true);
            let _ = socket.send_to(&question, server);
        }
        // What came before these is done with when they are answered, whichever worker took it.
        let known = if server.is_ipv4() { PUBLIC_4 } else { PUBLIC_6 };
        let known = SocketAddr::new(known.parse().expect("an address"), 53);
        let after = packet("a.skydns.local", 1, true);
        let settle = || (0..20).all(|_| exchange(known, &after, Duration::from_secs(2)).is_some());
        assert!(self.wire.on(2, settle), "the agent answers for its own names");
        (0..QUESTIONS).filter(|n| self.upstream.was_asked(&label(*n))).count()
    }

    /// Of each way, how many questions were forwarded, once enough were.
    fn table(&self, expected: impl Fn(usize) -> bool) -> Vec<(&'static str, &'static str, usize)> {
        let count = |way: usize| {
            let mut count = self.forwarded(way);
            if expected(way) {
                // A neighbour has to be found first.
                eventually("forwarded", || {
                    count = count.max(self.forwarded(way));
                    count == QUESTIONS
                });
            }
            (WAYS[way].0, WAYS[way].1, count)
        };
        (0..WAYS.len()).map(count).collect()
    }
}

/// Where the agent listens: at all addresses, and at each by itself.
const EVERYWHERE: &str = "0.0.0.0:53,[::]:53";

fn named() -> String {
    format!("{PUBLIC_4}:53,[{PUBLIC_6}]:53,{PRIVATE_4}:53,[{PRIVATE_6}]:53")
}

/// Checks which ways are those of clients of ours.
fn check(listen: &str, allow: &str, is_ours: impl Fn(usize) -> bool) {
    let site = Site::new(listen, allow);
    let count = |way| if is_ours(way) { QUESTIONS } else { 0 };
    let right: Vec<_> = (0..WAYS.len()).map(|way| (WAYS[way].0, WAYS[way].1, count(way))).collect();
    assert_eq!(site.table(&is_ours), right, "listening on {listen}, -allow {allow}");
}

#[test]
fn nothing_is_forwarded_for_a_forged_source() {
    if let Some(reason) = network::why_not() {
        println!("not run: {reason}");
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for listen in [EVERYWHERE, &named()] {
        check(listen, "local", |way| WAYS[way].2);
    }
    // What is refused above does arrive.
    check(EVERYWHERE, "any", |_| true);
    // Networks that are named are ours by every interface.
    check(EVERYWHERE, "10.66.0.0/24", |way| WAYS[way].0.starts_with("10.66."));
}
