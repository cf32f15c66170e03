//! Direct answers are those of the full path, octet by octet.

use super::super::super::handler::Handled;
use super::super::FastPath;
use super::fixture::{CLIENT, SiteFixture, packet};
use super::{Arc, Lease, StdRng, asked, names, pick, value};
use crate::answer::Freshness;
use crate::dnssec::DenialKind;
use hickory_proto::rr::{DNSClass, RecordType};
use rand::{Rng, SeedableRng};

/// A value with an address, a text or nothing, so that its name is ordinary.
fn ordinary_value(rng: &mut StdRng) -> String {
    let host = match rng.random_range(0..5) {
        0 => format!("2001:db8::{}", rng.random_range(1..4)),
        1 => String::new(),
        _ => format!("10.0.0.{}", rng.random_range(1..4)),
    };
    let text = "t".repeat(*pick(rng, &[0, 0, 3, 255, 256, 600]));
    let (port, ttl) = (rng.random_range(0..3), pick(rng, &[0, 0, 0, 60]));
    let (weight, priority) = (pick(rng, &[0, 0, 7, 50]), pick(rng, &[0, 0, 5]));
    format!(
        r#"{{"host":"{host}","port":{port},"text":"{text}","ttl":{ttl},"weight":{weight},"priority":{priority}}}"#
    )
}

/// Puts random questions to a site that changes, and compares both replies wherever there is a direct one. Returns the share of
/// direct ones among the questions for names below the apex, in hundredths.
fn direct_answers_agree(seed: u64, denial: Option<DenialKind>, ordinary: bool) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut site = SiteFixture::new(denial, false).without_stub_zones();
    let names = names();
    let lease = Arc::new(Lease::new(1));
    lease.set_end(site.now + 500);
    let types = [1, 1, 1, 28, 28, 33, 33, 16, 16, 15, 65, 257, 2, 6, 5, 12, 43, 46, 48, 255, 128, 252, 9_999];
    let (mut direct, mut all) = (0, 0);
    for _ in 0..400 {
        let at = pick(&mut rng, &names).clone();
        let value = if ordinary { ordinary_value(&mut rng) } else { value(&mut rng, &names) };
        site.put(&at, &value, rng.random_bool(0.2).then(|| Arc::clone(&lease)));
        site.publish(if rng.random_bool(0.1) { Freshness::Stale } else { Freshness::Current });
        for _ in 0..6 {
            let asked = asked(&mut rng, &names);
            let rtype = RecordType::from(*pick(&mut rng, &types));
            let edns = rng.random_bool(0.5).then(|| (*pick(&mut rng, &[0, 512, 700, 1_232]), rng.random()));
            let packet = packet(&asked, rtype, DNSClass::IN, rng.random(), edns);
            let mut buffer = [&packet[..], &[0xaa; 5_000]].concat();
            site.now = crate::clock::unix_time();
            // Nothing is cached: what the fast path answers is direct.
            site.fast = FastPath::new(&site.handler, 1);
            site.fast.begin(&site.handler, site.now);
            let len = site.fast.answer(&mut buffer, packet.len(), &CLIENT);
            let full = site.handler.handle(&packet, &CLIENT);
            if crate::clock::unix_time() != site.now {
                // Leased TTLs change with every second.
                continue;
            }
            all += 1;
            let Some(len) = len else {
                assert_eq!(buffer[..packet.len()], packet, "{asked} {rtype}: the query is as it was");
                continue;
            };
            direct += 1;
            let Handled::Reply(full, _) = full else { panic!("{asked} {rtype}: {full:?}") };
            assert_eq!(buffer[..len], full, "seed {seed}: {asked} {rtype} {edns:?} {:?}", site.tree);
        }
    }
    100 * direct / all
}

#[test]
fn direct_answers_are_those_of_the_full_path() {
    for seed in 0..8 {
        for denial in [None, Some(DenialKind::Nsec3)] {
            let share = direct_answers_agree(seed, denial, true);
            assert!(share > if denial.is_some() { 8 } else { 15 }, "{share} % are direct");
            direct_answers_agree(seed, denial, false);
        }
    }
}

#[test]
fn ordinary_names_are_answered_directly() {
    let mut site = SiteFixture::new(None, false).without_stub_zones();
    site.put("a.east.skydns.local.", r#"{"host":"10.0.0.1","text":"t","port":80}"#, None);
    for n in 0..16 {
        site.put(&format!("{n}.b.east.skydns.local."), r#"{"host":"2001:db8::1"}"#, None);
    }
    site.publish(Freshness::Current);
    let mut is_direct = |asked: &str, rtype| {
        let packet = packet(asked, rtype, DNSClass::IN, 2, Some((1_232, true)));
        let mut buffer = [&packet[..], &[0xaa; 5_000]].concat();
        site.fast.begin(&site.handler, site.now);
        site.fast.answer(&mut buffer, packet.len(), &CLIENT).is_some()
    };
    use RecordType::{A, AAAA, MX, SRV, TXT};
    for rtype in [A, AAAA, SRV, TXT, MX] {
        for asked in ["a.east.skydns.local.", "B.east.skydns.local.", "no.a.east.skydns.local."] {
            assert!(is_direct(asked, rtype), "{asked} {rtype}");
        }
    }
    for (asked, rtype) in [
        ("skydns.local.", A),
        ("ns.dns.skydns.local.", A),
        ("*.east.skydns.local.", A),
        ("example.org.", A),
        ("hostmaster.skydns.local.", A),
        ("a.east.skydns.local.", RecordType::ANY),
    ] {
        assert!(!is_direct(asked, rtype), "{asked} {rtype}");
    }
}
