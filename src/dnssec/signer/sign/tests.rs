//! Signed answers: how long signatures last, when they are taken from the cache, and what happens without keys.

use super::*;
use crate::answer::{Denial, Missing, Site, Zone};
use crate::dnssec::{Algorithm, DenialKind, KeyFiles, KeySet, NewKey, SignatureCache, Signers};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData};

/// A Monday in 2026.
const NOW: u64 = 1_795_000_000;
const DAY: u64 = 24 * 3600;

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn key() -> NewKey {
    NewKey::generate(&name("skydns.local."), Algorithm::Ed25519, 257, 0).expect("a key")
}

fn signer(cache: &Arc<SignatureCache>) -> Arc<Signer> {
    signer_with(&key(), cache)
}

fn signer_with(new: &NewKey, cache: &Arc<SignatureCache>) -> Arc<Signer> {
    let zone = name("skydns.local.");
    let (public, private) = (new.public.as_bytes(), new.private.as_bytes());
    let key = KeyFiles { base: &new.base, public, private }.read(&zone).expect("a key");
    Arc::new(Signer::new(zone, KeySet::new(vec![key]), DenialKind::Nsec3, Arc::clone(cache), NOW))
}

const REQUEST: SigningRequest =
    SigningRequest { rtype: RecordType::A, compact_ok: false, max_reply_octets: 4096 };

/// The keys of a site whose only zone a signer signs.
fn keys(signer: &Arc<Signer>, now: u64) -> AnswerKeys {
    let mut zone = Zone::new(signer.zone());
    zone.is_signed = true;
    let signers = Signers::new(vec![Some(Arc::clone(signer))], signer.denial());
    AnswerKeys::new(Arc::new(Site::new(zone)), Arc::new(signers), now)
}

fn unsigned(signer: &Arc<Signer>, answer: Answer, now: u64) -> UnsignedAnswer {
    keys(signer, now).prepare(answer, REQUEST).expect("an unsigned answer")
}

fn sign(signer: &Arc<Signer>, owner: &str, now: u64) -> Answer {
    unsigned(signer, answer(&[owner]), now).finish().expect("signed")
}

fn answer(owners: &[&str]) -> Answer {
    let mut answer = Answer::empty(ResponseCode::NoError);
    for owner in owners {
        answer.answers.push(Record::from_rdata(name(owner), 60, RData::A(A([10, 0, 0, 1].into()))));
    }
    answer
}

/// Inception and expiration of the first signature.
fn times(signed: &Answer) -> (u64, u64) {
    let RData::Unknown { rdata, .. } = &signed.answers[1].data else { panic!("{signed:?}") };
    let at = |from: usize| {
        u64::from(u32::from_be_bytes(rdata.anything[from..from + 4].try_into().expect("four octets")))
    };
    (at(12), at(8))
}

#[test]
fn signatures_are_cached_and_renewed_before_they_expire() {
    let cache = Arc::new(SignatureCache::new(100));
    let signer = signer(&cache);
    let sign = |now| sign(&signer, "a.skydns.local.", now);
    let first = sign(NOW);
    let (inception, expiration) = times(&first);
    assert!(inception + 3600 < NOW && expiration > NOW + 7 * DAY - 1);
    assert_eq!(sign(NOW + DAY), first, "cached");
    for days in 1..60 {
        let (inception, expiration) = times(&sign(NOW + days * DAY));
        let now = NOW + days * DAY;
        assert!(inception < now && expiration > now + DAY, "day {days}");
    }
    assert_eq!(cache.len(), 1, "new signatures replace the old ones");
}

#[test]
fn a_clock_that_is_set_leaves_no_bad_signature() {
    let cache = Arc::new(SignatureCache::new(100));
    let signer = signer(&cache);
    // A host without a battery begins in 1970; one with a bad one, anywhere.
    for wrong in [5, NOW - 400 * DAY, NOW + 4000 * DAY, NOW + 2 * DAY, NOW - 10] {
        sign(&signer, "a.skydns.local.", wrong);
        let right = sign(&signer, "a.skydns.local.", NOW);
        let (inception, expiration) = times(&right);
        assert!(inception < NOW && NOW < expiration, "{wrong}: {inception}..{expiration}");
    }
}

#[test]
fn nothing_goes_out_half_signed() {
    let cache = Arc::new(SignatureCache::new(100));
    let signer = signer(&cache);
    let mut wanted = answer(&["a.skydns.local.", "b.skydns.local.", "c.example.org."]);
    let missing = Missing::Data(vec![RecordType::A]);
    wanted.denials.push(Denial { name: name("b.skydns.local."), missing });
    wanted.authorities.push(soa(7, 30));
    let unsigned_again = unsigned;
    let mut unsigned = unsigned(&signer, wanted.clone(), NOW);
    assert_eq!(unsigned.missing(), 4, "two addresses, the SOA and an NSEC3");
    for made in 1..=4 {
        assert!(unsigned.sign_next().expect("signed"));
        assert_eq!(cache.len(), made, "one signature at a time");
    }
    assert!(!unsigned.sign_next().expect("signed"));
    let signed = unsigned.finish().expect("signed");
    assert_eq!(unsigned_again(&signer, wanted, NOW).missing(), 0, "cached");
    let types: Vec<_> = signed.answers.iter().map(Record::record_type).collect();
    use RecordType::{A, NSEC3, RRSIG, SOA};
    assert_eq!(types, [A, RRSIG, A, RRSIG, A], "a record of another zone is not signed");
    let types: Vec<_> = signed.authorities.iter().map(Record::record_type).collect();
    assert_eq!(types, [SOA, RRSIG, NSEC3, RRSIG]);
}

fn soa(serial: u32, ttl: u32) -> Record {
    let zone = name("skydns.local.");
    let soa = SOA::new(name("ns.dns.skydns.local."), zone.clone(), serial, 1, 1, 1, 30);
    Record::from_rdata(zone, ttl, RData::SOA(soa))
}

/// An answer that denies a name below the apex. The types are those at the apex; serial and TTL are those of the SOA.
fn missing(owner: &str, types: &[RecordType], serial: u32, ttl: u32) -> Answer {
    let mut answer = Answer::empty(ResponseCode::NXDomain);
    answer.authorities.push(soa(serial, ttl));
    let missing = Missing::Name { closest_encloser: name("skydns.local."), types: types.to_vec() };
    answer.denials.push(Denial { name: name(owner), missing });
    answer
}

#[test]
fn records_that_denials_share_are_signed_once_and_are_the_same() {
    let (cache, key) = (Arc::new(SignatureCache::new(100)), key());
    let used = signer_with(&key, &cache);
    let soa_only = [RecordType::SOA];
    let with_mx = [RecordType::SOA, RecordType::MX];
    let day = |days| NOW + days * DAY;
    let asked = [
        ("a.skydns.local.", &soa_only[..], 1, 60, NOW),
        ("b.skydns.local.", &soa_only, 1, 60, NOW),
        ("x.b.skydns.local.", &soa_only, 1, 60, day(1)),
        ("*.skydns.local.", &soa_only, 1, 60, NOW),
        ("c.skydns.local.", &soa_only, 2, 60, NOW),
        ("c.skydns.local.", &soa_only, 2, 30, NOW),
        ("d.skydns.local.", &with_mx, 2, 30, NOW),
        ("e.skydns.local.", &with_mx, 2, 30, day(20)),
        ("f.skydns.local.", &with_mx, 2, 30, NOW),
    ];
    for (owner, types, serial, ttl, now) in asked {
        let denied = unsigned(&used, missing(owner, types, serial, ttl), now).finish().expect("signed");
        // The same signature cache, and an empty cache of enclosers.
        let other = signer_with(&key, &cache);
        let anew = unsigned(&other, missing(owner, types, serial, ttl), now).finish().expect("signed");
        let text = |answer: &Answer| {
            let shared_authority =
                answer.shared_authority.iter().flat_map(|shared_authority| shared_authority.records());
            let mut text: Vec<_> =
                shared_authority.chain(&answer.authorities).map(ToString::to_string).collect();
            text.sort();
            text
        };
        assert_eq!(text(&denied), text(&anew), "{owner} {types:?} {serial} {ttl} {now}");
    }
    let again = unsigned(&used, missing("g.skydns.local.", &with_mx, 2, 30), NOW);
    assert_eq!((again.rrsets.len(), again.missing()), (1, 1), "all RRsets but one are cached");
}

#[test]
fn the_cache_stays_within_its_bounds() {
    let cache = Arc::new(SignatureCache::new(50));
    let signer = signer(&cache);
    for n in 0..500 {
        sign(&signer, &format!("n{n}.skydns.local."), NOW);
    }
    assert!(cache.len() <= 50);
}

#[test]
fn without_a_key_nothing_is_signed() {
    let cache = Arc::new(SignatureCache::new(50));
    let zone = name("skydns.local.");
    let signer = Arc::new(Signer::new(zone, KeySet::default(), DenialKind::Nsec3, cache, NOW));
    let refused = keys(&signer, NOW).sign(answer(&["a.skydns.local."]), REQUEST, 1);
    assert!(matches!(refused, Err(SigningError::NoKey(_))));
}

#[test]
fn only_what_fits_into_additional_is_signed() {
    let cache = Arc::new(SignatureCache::new(5_000));
    let signer = signer(&cache);
    let mut wanted = answer(&["a.skydns.local."]);
    let owners: Vec<_> = (0..1_000).map(|n| format!("n{n}.skydns.local.")).collect();
    let owners: Vec<_> = owners.iter().map(String::as_str).collect();
    wanted.additionals = answer(&owners).answers;
    wanted.additionals.extend(answer(&["out.example.org."]).answers);
    let unsigned = unsigned(&signer, wanted, NOW);
    assert!((30..60).contains(&unsigned.missing()), "{} of 1,001 for 4,096 octets", unsigned.missing());
    let last = unsigned.answer.additionals.last().map(|record| record.name.to_ascii());
    assert_eq!(last.as_deref(), Some("out.example.org."), "a record of another zone stays");
}

#[test]
fn the_last_reply_leaves_all_caches_before_its_signature_expires() {
    let cache = Arc::new(SignatureCache::new(100));
    let signer = signer(&cache);
    for days in [1, 2, 10, 90] {
        let ttl = days * DAY;
        let mut wanted = answer(&["a.skydns.local."]);
        wanted.answers[0].ttl = u32::try_from(ttl).expect("a TTL");
        let unsigned = unsigned(&signer, wanted, NOW);
        let (inception, expiration) = times(&unsigned.finish().expect("signed"));
        let cached = &signer.rrset_signer.cache.by_rrset;
        let served_until = cached.iter().map(|(_, cached)| cached.validity.end).max().expect("cached");
        assert!(inception < NOW && expiration >= served_until + ttl, "{days} days");
        cached.clear();
    }
}

#[test]
fn one_of_many_threads_signs() {
    let cache = Arc::new(SignatureCache::new(100));
    let signer = signer_with(
        &NewKey::generate(&name("skydns.local."), Algorithm::EcdsaP256, 257, 0).expect("a key"),
        &cache,
    );
    let start = std::sync::Barrier::new(8);
    let signed: Vec<Answer> = std::thread::scope(|scope| {
        let one = || {
            start.wait();
            (0..50).map(|n| sign(&signer, &format!("n{n}.skydns.local."), NOW)).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("signed")).collect()
    });
    // ECDSA signatures have a random part: two signatures of one RRset would differ.
    for (at, one) in signed.iter().enumerate() {
        assert_eq!(one, &signed[at % 50]);
    }
}

#[test]
fn signatures_made_by_a_clock_that_was_set_meanwhile_are_made_anew() {
    let cache = Arc::new(SignatureCache::new(100));
    let signer = signer(&cache);
    let unsigned = unsigned(&signer, answer(&["a.skydns.local."]), NOW);
    // Another thread signs by another clock.
    sign(&signer, "a.skydns.local.", NOW + 4000 * DAY);
    let (inception, expiration) = times(&unsigned.finish().expect("signed"));
    assert!(inception < NOW && NOW < expiration, "{inception}..{expiration}");
}

#[test]
fn an_answer_is_signed_at_once_or_not_at_all() {
    let cache = Arc::new(SignatureCache::new(100));
    let signer = signer(&cache);
    let sign = |owners, max_fresh| {
        keys(&signer, NOW).sign(answer(owners), REQUEST, max_fresh).expect("signed or unfinished")
    };
    let owners = ["a.skydns.local.", "b.skydns.local."];
    let SigningOutcome::Unfinished(unsigned) = sign(&owners, 1) else { panic!("two signatures are missing") };
    assert_eq!((unsigned.missing(), cache.len()), (2, 0), "none is made");
    let SigningOutcome::Signed { answer, until } = sign(&owners[..1], 1) else { panic!("one is missing") };
    assert_eq!((answer.answers.len(), cache.len()), (2, 1));
    assert!((NOW + 5 * DAY..NOW + 7 * DAY).contains(&until), "three quarters of the validity");
    assert!(matches!(sign(&owners[..1], 0), SigningOutcome::Signed { .. }), "the signature is cached");
}

#[test]
fn each_key_counts_for_what_may_be_signed_on_the_spot() {
    let cache = Arc::new(SignatureCache::new(100));
    let zone = name("skydns.local.");
    let keys = [key(), key()].map(|new| {
        let (public, private) = (new.public.as_bytes(), new.private.as_bytes());
        KeyFiles { base: &new.base, public, private }.read(&zone).expect("a key")
    });
    let signer = Signer::new(zone, KeySet::new(keys.into()), DenialKind::Nsec3, cache, NOW);
    assert_eq!(unsigned(&Arc::new(signer), answer(&["a.skydns.local."]), NOW).missing(), 2);
}
