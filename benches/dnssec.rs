//! Signed answers beside the crypto library alone.
//!
//! `cargo bench --bench dnssec [-- WORDS]` prints a table, medians of several rounds on one thread: signatures that the
//! library makes a second, signed answers for names that were never asked for, which take one fresh signature each, and
//! signed answers whose signatures are kept. Questions are whole packets, and so are replies. Ratios are to the first row.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair,
};
use skydns::answer::{
    self, Dependencies, DnssecView, Externals, Made, Outcome, SiteFreshness, TypeCache, View, WORK_OF_ANSWER,
    Zone, answer,
};
use skydns::dnssec::{
    Algorithm, AnswerKeys, DenialKind, KeyFiles, KeySet, NewKey, SignatureCache, Signer, Signers,
    SigningOutcome, SigningRequest,
};
use skydns::service::{Key, Service};
use skydns::tree::{Entry, Layer, Tree, Work};
use skydns::wire::{MAX_UDP_REPLY, Reply, Screened, Transport, encode, screen};
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Times that each work is measured.
const ROUNDS: usize = 15;
/// Names in the tree.
const NAMES: usize = 10_000;
/// The time of all signatures.
const NOW: u64 = 1_795_000_000;

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// Something that is done again and again; it is told how often it was done before.
type Job = Box<dyn FnMut(usize)>;

/// Calls a second of each work, and how that compares with the first: medians of rounds in which they take turns.
fn rates(works: &mut [(String, Job)]) -> Vec<(f64, f64)> {
    let mut calls = vec![0; works.len()];
    let mut rounds = vec![Vec::new(); works.len()];
    for _ in 0..ROUNDS {
        for (at, (_, work)) in works.iter_mut().enumerate() {
            let (start, before) = (Instant::now(), calls[at]);
            while start.elapsed() < Duration::from_millis(100) {
                for _ in 0..16 {
                    work(calls[at]);
                    calls[at] += 1;
                }
            }
            rounds[at].push((calls[at] - before) as f64 / start.elapsed().as_secs_f64());
        }
    }
    let median = |mut numbers: Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    let ratios = rounds.iter().map(|of| of.iter().zip(&rounds[0]).map(|(one, first)| one / first).collect());
    rounds.iter().map(|of| median(of.clone())).zip(ratios.map(median)).collect()
}

/// The library signs a message of the size that an NSEC3 has.
fn raw(algorithm: Algorithm) -> Job {
    let random = SystemRandom::new();
    let message = [7; 150];
    let ecdsa = |with: &'static EcdsaSigningAlgorithm| -> Job {
        let document = EcdsaKeyPair::generate_pkcs8(with, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(with, document.as_ref(), &random).expect("a key");
        let random = random.clone();
        Box::new(move |_| {
            black_box(pair.sign(&random, &message).expect("a signature"));
        })
    };
    match algorithm {
        Algorithm::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
        _ => {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).expect("a key");
            Box::new(move |_| {
                black_box(pair.sign(&message));
            })
        }
    }
}

/// A signed zone, asked as the server asks it.
struct Site {
    served: Arc<answer::Site>,
    tree: Tree,
    signers: Arc<Signers>,
    known: TypeCache,
}

impl Site {
    fn new(algorithm: Algorithm, denial: DenialKind) -> Self {
        let mut zone = Zone::new(&name("skydns.local."));
        zone.is_signed = true;
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
        let signers = Arc::new(Signers::new(vec![Some(signer)], denial));
        Self { served: Arc::new(answer::Site::new(zone)), tree, signers, known: TypeCache::default() }
    }

    fn ask(&self, packet: &[u8]) -> Vec<u8> {
        let Screened::Ask(request) = screen(packet) else { panic!("no question") };
        let keys = AnswerKeys::new(Arc::clone(&self.served), Arc::clone(&self.signers), NOW);
        let view = View {
            site: &self.served,
            tree: &self.tree,
            dependencies: &Dependencies::default(),
            freshness: &SiteFreshness::default(),
            now: NOW,
            seed: 1,
            externals: &Externals::new(),
            made: &Made::default(),
            max_records: 340,
            work: &Work::new(WORK_OF_ANSWER),
            forwards: true,
            dnssec: Some(DnssecView {
                keys: &keys,
                dnssec_ok: request.dnssec_ok(),
                compact: keys.is_compact(),
                type_cache: &self.known,
            }),
        };
        let Outcome::Answered(answer) = answer(&request.query, &view) else { panic!("not answered") };
        let rtype = request.query.query_type();
        let asked =
            SigningRequest { rtype, compact_ok: false, max_reply_octets: request.udp_limit(MAX_UDP_REPLY) };
        let answer = match request.dnssec_ok() {
            true => match keys.sign(answer, asked, usize::MAX) {
                Ok(SigningOutcome::Signed { answer, .. }) => answer,
                other => panic!("not signed: {other:?}"),
            },
            false => answer,
        };
        encode(&request, &Reply::from(answer), Transport::Udp { limit: request.udp_limit(MAX_UDP_REPLY) })
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

/// Signed answers of a zone.
fn works(algorithm: Algorithm) -> Vec<(String, Job)> {
    let mut works = vec![(format!("{} alone", algorithm.name()), raw(algorithm))];
    for (kind, denial) in [("NSEC3", DenialKind::Nsec3), ("compact", DenialKind::Compact)] {
        let site = Site::new(algorithm, denial);
        let mut packet = question("x00000000.skydns.local.", true);
        let never_seen = move |n: usize| {
            // Another number behind the header, the length of the label, and the x.
            packet[14..22].copy_from_slice(format!("{n:08}").as_bytes());
            drop(black_box(site.ask(&packet)));
        };
        works.push((format!("name never seen, {kind}"), Box::new(never_seen)));
    }
    let site = Rc::new(Site::new(algorithm, DenialKind::Nsec3));
    let questions: Vec<_> = (0..NAMES).map(|n| question(&format!("n{n}.skydns.local."), true)).collect();
    questions.iter().for_each(|question| drop(site.ask(question)));
    let mut again = |what: &str, questions: Vec<Vec<u8>>| {
        let site = Rc::clone(&site);
        let ask = move |n: usize| drop(black_box(site.ask(&questions[n % questions.len()])));
        works.push((what.to_owned(), Box::new(ask)));
    };
    again("address, signature kept", questions);
    again("name that does not exist, kept", vec![question("nope.skydns.local.", true)]);
    again("address, unsigned", vec![question("n1.skydns.local.", false)]);
    works
}

fn main() {
    // For a profiler: only the kinds of work whose name has these words.
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    println!("| one thread, {NAMES} names       | a second | of the library |");
    println!("|----------------------------------|----------|----------------|");
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519, Algorithm::EcdsaP384] {
        let mut works = works(algorithm);
        works.retain(|(what, _)| only.as_ref().is_none_or(|only| what.contains(only)));
        let rates = rates(&mut works);
        for ((what, _), (rate, ratio)) in works.iter().zip(rates) {
            println!("| {what:<32} | {rate:>8.0} | {ratio:>14.2} |");
        }
    }
}
