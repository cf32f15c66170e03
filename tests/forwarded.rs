//! Replies of upstreams as they go on to clients, octet by octet.

mod support;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use skydns::wire::Section;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::raw::{QNAME, name, question, rcode, record, records, reply};
use support::upstream::{Upstream, Via};
use support::{Agent, PATIENCE, Setup, Stream, eventually, exchange};

fn agent(upstreams: &[SocketAddr], args: &[&str]) -> Agent {
    let list: Vec<_> = upstreams.iter().map(ToString::to_string).collect();
    let setup = Setup::new().record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
    setup.args(&["-nameservers", &list.join(",")]).args(args).start()
}

/// The reply over UDP.
fn ask(agent: &Agent, packet: &[u8]) -> Vec<u8> {
    let reply = exchange(agent.address(), packet, PATIENCE).expect("a reply");
    assert_eq!(reply[..2], packet[..2], "the id");
    reply
}

/// Data that the field has and that hardly any library reads: type, data as an upstream sends them, and as a client gets
/// them if that differs. In messages here the name of the question is at offset 12, and `example.org.` where its first
/// label ends.
fn odd_data() -> Vec<(u16, Vec<u8>, Option<Vec<u8>>)> {
    let same = |rtype: u16, data: &[u8]| (rtype, data.to_vec(), None);
    let host = |before: &[u8], names: usize, behind: &[u8]| {
        let of = |name: &[u8]| [before, &[b"\x01x", name].concat().repeat(names), behind].concat();
        (of(&[0xc0, 12]), Some(of(&name("odd.example.org."))))
    };
    let names = |rtype: u16, before: &[u8], count: usize, behind: &[u8]| {
        let (sent, given) = host(before, count, behind);
        (rtype, sent, given)
    };
    vec![
        same(1, &[192, 0, 2]),
        names(2, b"", 1, b""),
        names(3, b"", 1, b""),
        names(4, b"", 1, b""),
        names(6, b"", 2, &[9; 20]),
        names(6, b"", 2, &[9; 24]),
        names(7, b"", 1, b""),
        names(8, b"", 1, b""),
        names(9, b"", 1, b""),
        same(10, b""),
        same(11, &[192, 0, 2, 1, 6]),
        names(12, b"", 1, b""),
        same(13, b"\x03CPU"),
        names(14, b"", 2, b""),
        names(15, b"\0\x0a", 1, b""),
        same(15, b""),
        same(16, b""),
        same(16, b"\x09cut"),
        names(17, b"", 2, b""),
        names(18, b"\0\x01", 1, b""),
        same(19, b"\x05311\xff0"),
        same(20, b"\x01"),
        names(21, b"\0\x01", 1, b""),
        names(24, &[9; 18], 1, b"signature"),
        same(25, b"\xff\xff\xff"),
        names(26, b"\0\x01", 2, b""),
        same(27, b"\x01x"),
        same(28, &[1; 15]),
        same(29, &[1; 16]),
        names(30, b"", 1, b"\x62\x01"),
        names(33, b"\0\x01\0\x02\0\x03", 1, b""),
        same(33, b"\0\x01\0\x02\0\x03\0"),
        names(35, b"\0\x01\0\x02\x01!\x00\x03!x!", 1, b""),
        names(36, b"\0\x01", 1, b""),
        same(37, b"\0\x01"),
        names(39, b"", 1, b""),
        same(42, b"\0\x01\xff\xff"),
        same(43, b"\0\x01\xff\x02\xc0\x0c"),
        same(44, b"\xff\xff"),
        same(48, b"\x01\0\x09\xff"),
        same(49, b""),
        same(52, b"\xff"),
        same(55, b"\xff\x02\xff\xff"),
        same(61, b""),
        same(62, b"\0\0\0\x01\0\xff\xff\x01\0"),
        same(64, b"\0\x01\x01x\0\0\x06\0\x01\xff\0\x04\0\x04\xc0\0\x02\x01"),
        same(65, b"\0\x01\0\0\x01\0\x03\x02h2\0\x01\0\x03\x02h3"),
        same(99, b""),
        same(104, b"\xff"),
        same(108, b"\x01\x02"),
        same(256, b"\0\x01\0\x02"),
        same(257, b"\x80\0letsencrypt.org"),
        same(257, b"\0"),
        same(32_768, b"\xc0\x0c\xc0\x0c"),
        same(65_280, &[0xc0; 300]),
        same(65_534, b""),
    ]
}

#[test]
fn data_that_nobody_understands_are_passed_on() {
    for (number, (rtype, sent, given)) in odd_data().into_iter().enumerate() {
        let given = given.unwrap_or_else(|| sent.clone());
        let via_udp = sent.len() < 400 && number % 3 > 0;
        let upstream = Upstream::raw(move |query: &Message, via| {
            if via == Via::Udp && !via_udp {
                return Some(reply(query, [0x02, 0x80], [&[], &[], &[]]));
            }
            let odd = record(&QNAME, rtype, 300, &sent);
            let opt = [&[0][..], &[0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0]].concat();
            let one = std::slice::from_ref(&odd);
            Some(reply(query, [0, 0x80], [one, one, &[opt, odd.clone()]]))
        });
        let agent = agent(&[upstream.address], &[]);
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        let check = |what: &str, octets: &[u8]| {
            assert_eq!(rcode(octets), 0, "type {rtype} {what}");
            let got = records(octets);
            let expected = sections.map(|section| (section, rtype, given.clone()));
            assert_eq!(
                got.iter().map(|r| (r.0, r.1, r.3.clone())).collect::<Vec<_>>(),
                expected,
                "type {rtype} {what}"
            );
            assert!(got.iter().all(|r| (290..=300).contains(&r.2)), "type {rtype} {what}: {got:?}");
        };
        for dnssec_ok in [false, true] {
            let packet = question("odd.example.org.", rtype, dnssec_ok);
            if given.len() < 100 {
                for turn in 0..4 {
                    check(&format!("over UDP, turn {turn}, DO {dnssec_ok}"), &ask(&agent, &packet));
                }
            }
            let mut stream = Stream::connect(agent.address());
            for turn in 0..2 {
                let octets = stream.exchange(&packet).expect("a reply");
                check(&format!("over TCP, turn {turn}, DO {dnssec_ok}"), &octets);
            }
        }
        assert_eq!(upstream.count(), if via_udp { 2 } else { 4 }, "type {rtype} is cached");
        assert!(!agent.log().contains("does not answer"), "type {rtype} does not count against the upstream");
    }
}

/// The flag AA without RA, as an authority gives it.
const AUTHORITATIVE: [u8; 2] = [0x04, 0];

fn is_authoritative(octets: &[u8]) -> bool {
    octets[2] & 0x04 != 0
}

#[test]
fn aa_of_an_upstream_is_not_passed_on_out_of_the_cache_and_ra_is_ours() {
    let is_up = Arc::new(AtomicBool::new(true));
    let up = Arc::clone(&is_up);
    let upstream = Upstream::raw(move |query: &Message, _| {
        let address = record(&QNAME, 1, 1, &[192, 0, 2, 1]);
        let whole = reply(query, AUTHORITATIVE, [&[address], &[], &[]]);
        let fails = reply(query, [0x04, 0x02], [&[], &[], &[]]);
        Some(if up.load(Ordering::SeqCst) { whole } else { fails })
    });
    let stub = format!(r#"{{"host":"127.0.0.1","port":{}}}"#, upstream.address.port());
    let agent = |args: &[&str]| {
        let setup = Setup::new().record("/skydns/local/skydns/dns/stub/org/example/a", &stub);
        setup.args(&["-nameservers", &upstream.address.to_string()]).args(args).start()
    };
    for args in [&[][..], &["-stubzones"], &["-stubzones", "-no-rec"]] {
        is_up.store(true, Ordering::SeqCst);
        let agent = agent(args);
        let packet = question("a.example.org.", 1, false);
        let check = |what: &str, octets: &[u8], code: u8| {
            assert!(!is_authoritative(octets), "{what} {args:?}");
            assert_eq!((rcode(octets), octets[3] & 0x80), (code, 0x80), "{what} {args:?}");
        };
        // As in SkyDNS; with `-no-rec` only stub zones are asked.
        let fresh = ask(&agent, &packet);
        assert!(is_authoritative(&fresh), "straight from the upstream {args:?}");
        assert_eq!(fresh[3] & 0x80, 0x80, "RA {args:?}");
        for _ in 0..4 {
            check("cached", &ask(&agent, &packet), 0);
            check(
                "cached, over TCP",
                &Stream::connect(agent.address()).exchange(&packet).expect("a reply"),
                0,
            );
        }
        is_up.store(false, Ordering::SeqCst);
        eventually("the answer is stale", || {
            let octets = ask(&agent, &packet);
            check("fresh or stale", &octets, 0);
            records(&octets)[0].2 == 30
        });
        assert_eq!(rcode(&ask(&agent, &question("b.example.org.", 1, false))), 2);
    }
}

#[test]
fn a_chain_goes_out_in_its_order_and_alone() {
    let upstream = Upstream::raw(|query: &Message, _| {
        let names = ["b", "c", "bank"].map(|label| name(&format!("{label}.example.org.")));
        let [b, c, bank] = &names;
        let answers = [
            record(c, 1, 60, &[192, 0, 2, 1]),
            record(bank, 1, 60, &[192, 0, 2, 66]),
            record(c, 46, 60, b"\0\x01 signs c"),
            record(b, 5, 60, c),
            record(&QNAME, 16, 60, b"\x05extra"),
            record(c, 1, 60, &[192, 0, 2, 2]),
            record(&QNAME, 5, 60, b),
            record(&QNAME, 46, 60, b"\0\x05 signs a"),
        ];
        Some(reply(query, [0, 0x80], [&answers, &[], &[record(bank, 1, 60, &[192, 0, 2, 66])]]))
    });
    let agent = agent(&[upstream.address], &["-round-robin=false"]);
    for (dnssec_ok, types) in [(false, &[5, 5, 1, 1, 1][..]), (true, &[5, 46, 5, 1, 1, 46, 1])] {
        let packet = question("a.example.org.", 1, dnssec_ok);
        for turn in 0..4 {
            let octets = ask(&agent, &packet);
            let got = records(&octets);
            assert_eq!(got.iter().map(|r| r.1).collect::<Vec<_>>(), types, "turn {turn}");
            let answers: Vec<_> = got.iter().filter(|r| r.0 == Section::Answer && r.1 != 46).collect();
            assert_eq!(answers[0].3, name("b.example.org."));
            assert_eq!(answers[1].3, name("c.example.org."));
            assert!(answers[2..].iter().all(|r| r.3 != [192, 0, 2, 66]), "{answers:?}");
        }
    }
    assert_eq!(agent.data("a.example.org.", RecordType::ANY).len(), 3, "each record of the name");
    assert_eq!(agent.short(&["a.example.org"]).len(), 4, "dig follows it");
}

#[test]
fn what_upstreams_deny_is_kept_with_the_soa_of_its_zone_only() {
    let upstream = Upstream::raw(|query: &Message, _| {
        let asked = query.queries[0].name().to_ascii();
        let (alias, rest) = (asked.starts_with("alias"), asked.contains("nx"));
        let soa = |zone: &str| {
            let data = [name("ns.example.org."), name("root.example.org."), [0, 0, 0, 60].repeat(5)].concat();
            vec![record(&name(zone), 6, 60, &data)]
        };
        let authority = match asked.split('.').next().and_then(|label| label.split('-').nth(1)) {
            Some("right") if alias => soa("example.net."),
            Some("right") => soa("example.org."),
            Some("other") => soa("other.example."),
            _ => Vec::new(),
        };
        let cname = record(&QNAME, 5, 60, &name("target.example.net."));
        let answer = if alias { vec![cname] } else { Vec::new() };
        Some(reply(query, [0, if rest { 0x83 } else { 0x80 }], [&answer, &authority, &[]]))
    });
    let agent = agent(&[upstream.address], &[]);
    let mut before = 0;
    for (label, is_kept) in [
        ("alias-none", false),
        ("alias-other", false),
        ("alias-right", true),
        ("nx-none", false),
        ("nx-other", false),
        ("nx-right", true),
        ("alias-other-nx", false),
        ("alias-right-nx", true),
        ("no-other", false),
        ("no-right", true),
    ] {
        let packet = question(&format!("{label}.example.org."), 1, false);
        for _ in 0..5 {
            let octets = ask(&agent, &packet);
            assert_eq!(rcode(&octets), if label.contains("nx") { 3 } else { 0 }, "{label}");
        }
        assert_eq!(upstream.count() - before, if is_kept { 1 } else { 5 }, "{label}");
        before = upstream.count();
    }
}

#[test]
fn a_ttl_of_more_than_31_bits_is_a_long_one() {
    for ttl in [604_801, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        let upstream = Upstream::raw(move |query: &Message, _| {
            Some(reply(query, [0, 0x80], [&[record(&QNAME, 1, ttl, &[192, 0, 2, 1])], &[], &[]]))
        });
        let agent = agent(&[upstream.address], &[]);
        let packet = question("a.example.org.", 1, false);
        for _ in 0..4 {
            let got = records(&ask(&agent, &packet));
            assert!((604_700..=604_800).contains(&got[0].2), "{ttl}: {got:?}");
        }
        assert_eq!(upstream.count(), 1, "{ttl} is kept");
    }
}

#[test]
fn dnssec_records_go_to_those_who_ask_for_them() {
    let upstream = Upstream::raw(|query: &Message, _| {
        let signature = record(&QNAME, 46, 60, b"\0\x01 a signature");
        let (nsec, nsec3) = (record(&QNAME, 47, 60, b"\0"), record(&name("hash.example.org."), 50, 60, b"x"));
        let answer = [record(&QNAME, 1, 60, &[192, 0, 2, 1]), record(&QNAME, 47, 60, b"\0"), signature];
        Some(reply(query, [0, 0x80], [&answer, &[nsec, nsec3], &[]]))
    });
    let agent = agent(&[upstream.address], &[]);
    let types = |rtype: u16, dnssec_ok: bool| -> Vec<u16> {
        let packet = question(&format!("t{rtype}.example.org."), rtype, dnssec_ok);
        let ask = || records(&ask(&agent, &packet)).iter().map(|r| r.1).collect::<Vec<_>>();
        let fresh = ask();
        assert_eq!((ask(), ask()), (fresh.clone(), fresh.clone()), "out of the caches");
        fresh
    };
    assert_eq!(types(1, false), [1]);
    assert_eq!(types(1, true), [1, 46, 47, 50]);
    assert_eq!(types(46, false), [46]);
    assert_eq!(types(47, false), [47, 47], "asked for");
    assert_eq!(types(255, false), [1, 47, 46, 47, 50]);
}

/// The orders in which an agent gives the data of an answer, with how often each came in so many queries.
fn orders(agent: &Agent, name: &str, rtype: u16, queries: usize) -> HashMap<Vec<Vec<u8>>, usize> {
    let packet = question(name, rtype, false);
    let mut orders = HashMap::new();
    for _ in 0..queries {
        let answers = records(&ask(agent, &packet)).into_iter().filter(|r| r.0 == Section::Answer);
        let (first, set): (Vec<_>, Vec<_>) = answers.partition(|r| r.1 == 5 && rtype != 5);
        assert!(
            first.len() <= 1 && set.iter().all(|r| r.1 == rtype),
            "a CNAME comes first: {first:?} {set:?}"
        );
        *orders.entry(set.into_iter().map(|r| r.3).collect()).or_default() += 1;
    }
    orders
}

/// Checks that all orders of three records came, each about equally often.
fn check_orders(what: &str, orders: &HashMap<Vec<Vec<u8>>, usize>) {
    let queries: usize = orders.values().sum();
    let expected = queries as f64 / 6.0;
    let chi: f64 = orders.values().map(|n| (*n as f64 - expected).powi(2) / expected).sum();
    // 5 degrees of freedom: more than 35 comes by chance once in 700,000 times.
    assert!(orders.len() == 6 && chi < 35.0, "{what}: {} orders, {chi}: {orders:?}", orders.len());
}

#[test]
fn every_order_of_a_forwarded_set_is_equally_likely() {
    let upstream = Upstream::raw(|query: &Message, _| {
        let rtype = u16::from(query.queries[0].query_type());
        let hosts = ["a.example.org.", "bb.example.org.", "ccc.other.example."].map(name);
        let is_alias = query.queries[0].name().to_ascii().starts_with("alias");
        let owner = if is_alias { name("real.example.org.") } else { QNAME.to_vec() };
        let data = |at: usize| match rtype {
            1 => vec![192, 0, 2, u8::try_from(at).expect("small")],
            28 => [vec![0x20, 1, 0xd, 0xb8], vec![u8::try_from(at).expect("small"); 12]].concat(),
            15 => [vec![0, 10], hosts[at].clone()].concat(),
            33 => [vec![0; 6], hosts[at].clone()].concat(),
            2 | 12 => hosts[at].clone(),
            _ => [vec![u8::try_from(at).expect("small")], vec![b'x'; at]].concat(),
        };
        let alias = is_alias.then(|| record(&QNAME, 5, 300, &owner));
        let set = (0..3).map(|at| record(&owner, rtype, 300, &data(at)));
        let answers: Vec<_> = set.chain(alias).collect();
        let glue = record(&hosts[1], 1, 300, &[192, 0, 2, 9]);
        Some(reply(query, [0, 0x80], [&answers, &[], &[glue]]))
    });
    let shuffled = agent(&[upstream.address], &[]);
    let kept = agent(&[upstream.address], &["-round-robin=false"]);
    for rtype in [1, 28, 2, 15, 16, 33, 257, 65_280] {
        for name in ["set.example.org.", "alias.example.org."] {
            let orders_of = |agent: &Agent| orders(agent, name, rtype, 400);
            check_orders(&format!("{name} {rtype}"), &orders_of(&shuffled));
            assert_eq!(orders_of(&kept).len(), 1, "{name} {rtype} without round robin");
        }
    }
    assert_eq!(orders(&shuffled, "ptr.example.org.", 12, 100).len(), 1, "PTR stays");
    assert_eq!(upstream.count(), 2 * 8 * 2 + 1, "all of them out of the cache");
    // Over TCP nothing is cached as octets.
    let packet = question("set.example.org.", 33, false);
    let mut stream = Stream::connect(shuffled.address());
    let mut over_tcp = HashMap::new();
    for _ in 0..400 {
        let octets = stream.exchange(&packet).expect("a reply");
        let set: Vec<_> = records(&octets).into_iter().filter(|r| r.1 == 33).map(|r| r.3).collect();
        *over_tcp.entry(set).or_default() += 1;
    }
    check_orders("over TCP", &over_tcp);
}
