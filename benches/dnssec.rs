//! Signed answers beside the crypto library alone.
//!
//! `cargo bench --bench dnssec` prints a table, medians of several rounds on one thread: signatures that the library
//! makes a second, signed answers for names that were never asked for, which take one fresh signature each, and signed
//! answers whose signatures are kept. Questions are whole packets, and so are replies.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair,
};
use skydns::answer::{Externals, Freshness, Grounds, KnownTypes, Outcome, Secure, View, Zone, answer};
use skydns::dnssec::{Algorithm, Asked, DenialKind, Draft, KeyFiles, KeySet, NewKey, SignatureCache, Signer};
use skydns::service::{Key, Service};
use skydns::tree::{Entry, Layer, Tree};
use skydns::wire::{Reply, Screened, Transport, encode, screen};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names in the tree.
const NAMES: usize = 10_000;
/// The time of all signatures.
const NOW: u64 = 1_795_000_000;

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// Calls a second: the median of rounds of at least 200 ms.
fn rate(mut work: impl FnMut(usize)) -> f64 {
    let mut calls = 0;
    let mut rounds: Vec<f64> = (0..7)
        .map(|_| {
            let (start, before) = (Instant::now(), calls);
            while start.elapsed() < Duration::from_millis(200) {
                for _ in 0..16 {
                    work(calls);
                    calls += 1;
                }
            }
            (calls - before) as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// What the library signs a second, a message of the size that an NSEC3 has.
fn raw(algorithm: Algorithm) -> f64 {
    let random = SystemRandom::new();
    let message = [7; 150];
    let ecdsa = |with: &'static EcdsaSigningAlgorithm| {
        let document = EcdsaKeyPair::generate_pkcs8(with, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(with, document.as_ref(), &random).expect("a key");
        rate(|_| {
            black_box(pair.sign(&random, &message).expect("a signature"));
        })
    };
    match algorithm {
        Algorithm::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
        _ => {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).expect("a key");
            rate(|_| {
                black_box(pair.sign(&message));
            })
        }
    }
}

/// A signed zone, asked as the server asks it.
struct Site {
    zone: Zone,
    tree: Tree,
    signer: Arc<Signer>,
    known: KnownTypes,
}

impl Site {
    fn new(algorithm: Algorithm, denial: DenialKind) -> Self {
        let zone = Zone::new(&name("skydns.local."));
        let mut tree = Tree::new();
        for n in 0..NAMES {
            let key = Key::from_name(&name(&format!("n{n}.skydns.local.")));
            let service = Service::from_json(br#"{"host":"10.0.0.1"}"#).expect("a service");
            tree.put(&key, Layer(0), Entry::new(service));
        }
        let new = NewKey::generate(zone.domain(), algorithm, 257, 0).expect("a key");
        let files =
            KeyFiles { base: &new.base, public: new.public.as_bytes(), private: new.private.as_bytes() };
        let keys = KeySet::new(vec![files.read(zone.domain()).expect("a key")]);
        let cache = Arc::new(SignatureCache::new(20_000));
        let signer = Arc::new(Signer::new(zone.domain().clone(), keys, denial, cache, NOW));
        Self { zone, tree, signer, known: KnownTypes::default() }
    }

    fn ask(&self, packet: &[u8]) -> Vec<u8> {
        let Screened::Ask(request) = screen(packet) else { panic!("no question") };
        let state = self.signer.state(NOW);
        let view = View {
            zone: &self.zone,
            tree: &self.tree,
            grounds: &Grounds::default(),
            freshness: Freshness::Current,
            now: NOW,
            seed: 1,
            externals: &Externals::new(),
            room: 340,
            secure: Some(Secure {
                apex: state.apex(),
                wanted: request.dnssec_ok(),
                compact: self.signer.denial() == DenialKind::Compact,
                known: &self.known,
            }),
        };
        let Outcome::Answered(answer) = answer(&request.query, &view) else { panic!("not answered") };
        let rtype = request.query.query_type();
        let asked = Asked { rtype, now: NOW, compact_ok: false, room: request.udp_limit() };
        let answer = match request.dnssec_ok() {
            true => self.signer.draft(answer, &state, asked).and_then(Draft::finish).expect("signed"),
            false => answer,
        };
        encode(&request, &Reply::from(answer), Transport::Udp { limit: request.udp_limit() })
    }
}

fn question(name: &str, dnssec: bool) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
    let mut edns = Edns::new();
    edns.set_dnssec_ok(dnssec).set_max_payload(1232);
    message.set_edns(edns);
    message.to_vec().expect("a packet")
}

fn main() {
    println!("| one thread, {NAMES} names       | a second | of the library |");
    println!("|----------------------------------|----------|----------------|");
    let line = |what: &str, rate: f64, raw: f64| {
        println!("| {what:<32} | {rate:>8.0} | {:>14.2} |", rate / raw);
    };
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519, Algorithm::EcdsaP384] {
        let raw = raw(algorithm);
        line(&format!("{} alone", algorithm.name()), raw, raw);
        for (kind, denial) in [("NSEC3", DenialKind::Nsec3), ("compact", DenialKind::Compact)] {
            let site = Site::new(algorithm, denial);
            let (mut packet, mut fresh) = (question("x00000000.skydns.local.", true), 0);
            let never_seen = rate(|_| {
                fresh += 1;
                // Another number behind the header, the length of the label, and the x.
                packet[14..22].copy_from_slice(format!("{fresh:08}").as_bytes());
                black_box(site.ask(&packet));
            });
            line(&format!("name never seen, {kind}"), never_seen, raw);
        }
        let site = Site::new(algorithm, DenialKind::Nsec3);
        let questions: Vec<_> = (0..NAMES).map(|n| question(&format!("n{n}.skydns.local."), true)).collect();
        questions.iter().for_each(|question| drop(site.ask(question)));
        let kept = rate(|n| drop(black_box(site.ask(&questions[n % NAMES]))));
        line("address, signature kept", kept, raw);
        let denied = question("nope.skydns.local.", true);
        let kept = rate(|_| drop(black_box(site.ask(&denied))));
        line("name that does not exist, kept", kept, raw);
        let plain = question("n1.skydns.local.", false);
        line("address, unsigned", rate(|_| drop(black_box(site.ask(&plain)))), raw);
    }
}
