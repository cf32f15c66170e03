//! The fast path and the full path give the same answers, whatever is asked and whatever changes in between.

mod direct;
mod fixture;

use super::super::handler::Handled;
use super::super::origin::{Origin, Way};
use super::*;
use crate::answer::{Freshness, Mode};
use crate::dnssec::DenialKind;
use crate::service::{Key, Service};
use crate::tree::{Entry, Layer, Lease};
use fixture::{CLIENT, SiteFixture, name, packet};
use hickory_proto::op::Message;
use hickory_proto::rr::{DNSClass, RecordType};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn pick<'a, T>(rng: &mut StdRng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

/// A value of any kind; hosts that are names lead about, or out.
fn value(rng: &mut StdRng, names: &[String]) -> String {
    let host = match rng.random_range(0..6) {
        0 => format!("2001:db8::{}", rng.random_range(1..9)),
        1 => pick(rng, names).trim_end_matches('.').to_owned(),
        2 => "www.example.org".to_owned(),
        _ => format!("10.0.0.{}", rng.random_range(1..9)),
    };
    let mail = rng.random_bool(0.2);
    let group = pick(rng, &["", "", "", "g1", "g2"]);
    let ttl = pick(rng, &[0, 0, 60]);
    let port = rng.random_range(0..3);
    let text = "t".repeat(rng.random_range(0..80));
    format!(
        r#"{{"host":"{host}","port":{port},"text":"{text}","mail":{mail},"group":"{group}","ttl":{ttl}}}"#
    )
}

fn names() -> Vec<String> {
    let mut names = Vec::new();
    for region in ["east", "west"] {
        for service in ["a", "b", "_c"] {
            names.push(format!("{service}.{region}.skydns.local."));
            names.push(format!("1.{service}.{region}.skydns.local."));
        }
    }
    names.extend(
        ["ns.dns.skydns.local.", "x.ns.dns.skydns.local.", "1.0.0.10.in-addr.arpa."].map(str::to_owned),
    );
    names
}

fn asked(rng: &mut StdRng, names: &[String]) -> String {
    let mut asked = pick(rng, names).clone();
    match rng.random_range(0..8) {
        0 => asked = asked.replacen("east", "*", 1),
        1 => asked.insert_str(0, "no."),
        2 => asked = asked.split_once('.').map(|(_, rest)| rest.to_owned()).unwrap_or_default(),
        3 => asked = "skydns.local.".to_owned(),
        4 => {
            let others = ["localhost.", "version.bind.", "www.example.org.", "a.b.Example.ORG.", "."];
            asked = (*pick(rng, &others)).to_owned();
        }
        5 => asked = "local.dns.skydns.local.".to_owned(),
        _ => {}
    }
    if rng.random_bool(0.3) { asked.to_uppercase() } else { asked }
}

/// The sections without regard to order, for addresses change theirs.
fn sorted(message: &Message) -> Message {
    let mut message = message.clone();
    for section in [&mut message.answers, &mut message.authorities, &mut message.additionals] {
        section.sort_by_key(|record| record.to_string().to_lowercase());
    }
    message
}

fn both_paths_agree(seed: u64, denial: Option<DenialKind>, round_robin: bool) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut site = SiteFixture::new(denial, round_robin);
    if seed % 2 == 1 {
        site = site.with_zones([(); 2].map(|()| *pick(&mut rng, &[Mode::Subtree, Mode::Exact])));
    }
    if seed % 4 >= 2 {
        site = site.without_stub_zones();
    }
    let names = names();
    let lease = Arc::new(Lease::new(1));
    lease.set_end(site.now + 500);
    let mut outside = 0;
    let types = [
        RecordType::A,
        RecordType::AAAA,
        RecordType::SRV,
        RecordType::TXT,
        RecordType::MX,
        RecordType::NS,
        RecordType::SOA,
        RecordType::PTR,
        RecordType::CNAME,
        RecordType::ANY,
        RecordType::DNSKEY,
    ];
    let mut questions = Vec::new();
    for _ in 0..300 {
        for _ in 0..rng.random_range(0..4) {
            let at = pick(&mut rng, &names).clone();
            if rng.random_bool(0.3) {
                site.tree.remove(&Key::from_name(&name(&at)), Layer(0));
            } else {
                let lease = rng.random_bool(0.3).then(|| Arc::clone(&lease));
                let value = value(&mut rng, &names);
                site.put(&at, &value, lease);
            }
        }
        match rng.random_range(0..20) {
            0 => {
                site.config
                    .rcu(|config| {
                        let mut config = Config::clone(config);
                        Arc::make_mut(&mut config.site).zones.first_mut().ttl += 1;
                        config
                    })
                    .site
                    .zones
                    .first()
                    .ttl
            }
            1 => {
                site.publish(*pick(&mut rng, &[Freshness::Stale, Freshness::Incomplete]));
                0
            }
            _ => {
                site.publish(Freshness::Current);
                0
            }
        };
        // What was cached is asked again after a change.
        if questions.is_empty() || rng.random_bool(0.5) {
            questions = (0..4)
                .map(|_| {
                    let class = *pick(&mut rng, &[DNSClass::IN, DNSClass::IN, DNSClass::IN, DNSClass::CH]);
                    let edns = rng.random_bool(0.7).then(|| (0, rng.random_bool(0.6)));
                    (asked(&mut rng, &names), *pick(&mut rng, &types), class, rng.random::<u16>(), edns)
                })
                .collect();
        }
        for number in 0..16 {
            let (asked, rtype, class, id, edns) = &questions[number % questions.len()];
            let size = [512, 1232][rng.random_range(0..2)];
            let edns = &edns.map(|(_, dnssec_ok)| (size, dnssec_ok));
            // Spelled another way each time, but for flags that are part of the question.
            let asked = if number % 3 == 0 { asked.to_uppercase() } else { asked.clone() };
            let packet = packet(
                &asked,
                *rtype,
                *class,
                id.wrapping_add(10 * u16::try_from(number).expect("few")),
                *edns,
            );
            site.now = crate::clock::unix_time();
            site.remember(&packet);
            let (mut quick, mut full) = (site.ask(&packet), site.full(&packet));
            if let (Some(quick), Some(full), true) = (&mut quick, &mut full, is_outside(&asked)) {
                // One counts from the second in which it was cached, the other from when it came.
                for (a, b) in quick.answers.iter_mut().zip(&mut full.answers) {
                    assert!(a.ttl.abs_diff(b.ttl) <= 1, "{asked}: {} and {}", a.ttl, b.ttl);
                    (a.ttl, b.ttl) = (0, 0);
                }
                outside += 1;
            }
            if crate::clock::unix_time() != site.now {
                // Leased TTLs change with every second.
                continue;
            }
            let what = format!("seed {seed}: {asked} {class} {rtype} {edns:?}");
            match (quick, full) {
                (Some(quick), Some(full)) => {
                    // Which of several CNAMEs there is, is random as well.
                    let chosen = |message: &Message| {
                        message
                            .answers
                            .iter()
                            .chain(&message.additionals)
                            .any(|r| r.record_type() == RecordType::CNAME)
                    };
                    if !(round_robin && (chosen(&quick) || chosen(&full))) {
                        assert_eq!(sorted(&quick), sorted(&full), "{what}");
                    }
                    assert_eq!(quick.queries[0].name().to_ascii(), asked, "{what}");
                }
                // By chance there is another CNAME, which leads out of the domain.
                (None, _) | (_, None) if round_robin => {}
                (None, None) => {}
                (quick, full) => panic!("{what}: {quick:?}, {full:?}"),
            }
        }
    }
    assert!(outside > 20, "{outside} answers of upstreams");
    site.quick
}

fn is_outside(asked: &str) -> bool {
    asked.to_ascii_lowercase().ends_with("example.org.")
}

#[test]
fn the_fast_path_answers_as_the_full_path() {
    for seed in 0..4 {
        for denial in [None, Some(DenialKind::Nsec3), Some(DenialKind::Compact)] {
            for round_robin in [false, true] {
                let quick = both_paths_agree(seed, denial, round_robin);
                assert!(quick > 500, "{quick} of 4,800 on the fast path");
            }
        }
    }
}

/// Lets the slow path make what takes more than one signature.
fn settle(site: &SiteFixture, packet: &[u8]) {
    if let Handled::Pending(query) = site.handler.handle(packet, &CLIENT) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(site.handler.finish(query));
    }
}

#[test]
fn over_tcp_proofs_and_signatures_are_made_elsewhere() {
    let mut site = SiteFixture::new(Some(DenialKind::Nsec3), false);
    site.put("a.east.skydns.local.", r#"{"host":"10.0.0.1"}"#, None);
    site.publish(Freshness::Current);
    let packet = packet("no.a.east.skydns.local.", RecordType::A, DNSClass::IN, 2, Some((1232, true)));
    let over_tcp = Origin { way: Way::Connection(0), ..CLIENT };
    let Handled::Pending(query) = site.handler.handle(&packet, &over_tcp) else {
        panic!("made on the runtime")
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let reply = Message::from_vec(&runtime.block_on(site.handler.finish(query))).expect("a reply");
    assert_eq!(reply.metadata.response_code, hickory_proto::op::ResponseCode::NXDomain);
    assert_eq!(reply.authorities.len(), 8, "SOA, three NSEC3, and a signature of each: {reply}");
    assert!(matches!(site.handler.handle(&packet, &over_tcp), Handled::Reply(..)), "now all is cached");
}

/// Asks until the reply is cached, changes a record, and asks again.
fn follows(site: &mut SiteFixture, asked: &str, rtype: RecordType, changed: &str, value: &str) {
    let packet = packet(asked, rtype, DNSClass::IN, 2, Some((1232, true)));
    settle(site, &packet);
    for _ in 0..4 {
        site.ask(&packet);
    }
    let (before, quick) = (site.ask(&packet).expect("a reply"), site.quick);
    assert!(quick > 0, "{asked} {rtype} is not cached");
    // Within a second the serial stays.
    let service = Service::from_json(value.as_bytes()).expect(value);
    assert!(site.tree.put(&Key::from_name(&name(changed)), Layer(0), Entry::new(service)));
    site.publish(Freshness::Current);
    settle(site, &packet);
    let (after, full) = (site.ask(&packet).expect("a reply"), site.full(&packet).expect("a reply"));
    assert_eq!(sorted(&after), sorted(&full), "{asked} {rtype}");
    assert_ne!(sorted(&after), sorted(&before), "{asked} {rtype}");
    site.quick = 0;
}

#[test]
fn what_is_cached_follows_what_a_name_leads_to() {
    let mut site = SiteFixture::new(Some(DenialKind::Nsec3), false);
    site.put("1.x.skydns.local.", r#"{"host":"10.0.0.1"}"#, None);
    site.put("2.x.skydns.local.", r#"{"host":"y.skydns.local"}"#, None);
    site.put("y.skydns.local.", r#"{"host":"10.0.0.2"}"#, None);
    site.put("1.0.0.10.in-addr.arpa.", r#"{"host":"y.skydns.local"}"#, None);
    site.publish(Freshness::Current);
    follows(
        &mut site,
        "1.0.0.10.in-addr.arpa.",
        RecordType::PTR,
        "1.0.0.10.in-addr.arpa.",
        r#"{"host":"z.a"}"#,
    );
    follows(&mut site, "x.skydns.local.", RecordType::A, "y.skydns.local.", r#"{"host":"10.0.0.3"}"#);
    follows(&mut site, "x.skydns.local.", RecordType::MX, "y.skydns.local.", r#"{"host":"2001:db8::3"}"#);
    follows(&mut site, "no.x.skydns.local.", RecordType::A, "no.x.skydns.local.", r#"{"host":"10.0.0.4"}"#);
    follows(&mut site, "skydns.local.", RecordType::NS, "ns1.dns.skydns.local.", r#"{"host":"10.0.0.5"}"#);
    follows(&mut site, "*.skydns.local.", RecordType::SRV, "new.skydns.local.", r#"{"host":"10.0.0.6"}"#);
}

/// Replies of different sizes are different replies.
#[test]
fn a_small_client_gets_a_small_reply() {
    let mut site = SiteFixture::new(None, false);
    for n in 0..40 {
        site.put(&format!("{n}.x.skydns.local."), &format!(r#"{{"host":"10.0.0.{n}"}}"#), None);
    }
    site.publish(Freshness::Current);
    for size in [4096, 512, 1232, 600].into_iter().cycle().take(16) {
        let packet = packet("x.skydns.local.", RecordType::A, DNSClass::IN, 2, Some((size, false)));
        let reply = site.ask(&packet).expect("a reply");
        assert_eq!(
            (reply.metadata.truncation, reply.answers.len()),
            if size < 1000 { (true, 0) } else { (false, 40) }
        );
    }
    assert!(site.quick > 0);
}

#[test]
fn leased_ttls_count_down_second_by_second() {
    let mut site = SiteFixture::new(None, true);
    let lease = Arc::new(Lease::new(1));
    lease.set_end(site.now + 100);
    site.put("a.skydns.local.", r#"{"host":"10.0.0.1"}"#, Some(Arc::clone(&lease)));
    site.publish(Freshness::Current);
    let packet = packet("a.skydns.local.", RecordType::A, DNSClass::IN, 2, None);
    // Whichever second it is: several may pass.
    for _ in 0..50 {
        let (quick, full) = (site.ask(&packet).expect("a reply"), site.full(&packet).expect("a reply"));
        assert!(quick.answers[0].ttl.abs_diff(full.answers[0].ttl) <= 1);
    }
    assert!(site.quick >= 1);
    let quick = site.quick;
    site.now += 3_600;
    site.ask(&packet);
    assert_eq!(site.quick, quick, "made anew for the next second");
}

#[test]
fn what_is_logged_goes_the_full_path() {
    let mut site = SiteFixture::new(None, true);
    site.config.rcu(|config| Config { verbose: true, ..Config::clone(config) });
    let packet = packet("a.skydns.local.", RecordType::A, DNSClass::IN, 2, None);
    (0..5).for_each(|_| assert!(site.ask(&packet).is_some()));
    assert_eq!(site.quick, 0);
}

#[test]
fn fast_replies_are_counted() {
    let mut site = SiteFixture::new(None, true);
    let packet = packet("a.skydns.local.", RecordType::A, DNSClass::IN, 2, None);
    (0..5).for_each(|_| assert!(site.ask(&packet).is_some()));
    assert_eq!((site.quick, site.handler.metrics().activity()), (3, 2));
    site.fast.count_sent(&site.handler, Duration::ZERO);
    site.fast.count_sent(&site.handler, Duration::ZERO);
    assert_eq!(site.handler.metrics().activity(), 5);
}
