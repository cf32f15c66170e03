//! What 50 zones cost a question more than one.
//!
//! `cargo bench --bench zones` prints, for each kind of question, the time of one answer with one zone and with 50, and the
//! median of the ratios of rounds that take turns.

use hickory_proto::op::Query;
use hickory_proto::rr::{Name, RecordType};
use skydns::answer::{
    Dependencies, Externals, Made, Outcome, Site, SiteFreshness, View, WORK_OF_ANSWER, Zone, Zones, answer,
};
use skydns::service::{Key, Service};
use skydns::tree::{Entry, Layer, Tree, Work};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const ROUNDS: usize = 101;
const CALLS: usize = 20_000;

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

/// A site of so many zones, the first of which is asked.
fn site(zones: usize) -> Arc<Site> {
    let apex = |n: usize| if n == 0 { "skydns.local.".to_owned() } else { format!("z{n}.example.") };
    let mut all = (0..zones).map(|n| Zone::new(&name(&apex(n))));
    let first = all.next().expect("a zone");
    Arc::new(Site { zones: Zones::new(first.clone(), all), ..Site::new(first) })
}

/// Nanoseconds of one answer.
fn round(site: &Arc<Site>, tree: &Tree, questions: &[Query]) -> f64 {
    let (externals, freshness) = (Externals::new(), SiteFreshness::default());
    let start = Instant::now();
    for call in 0..CALLS {
        let dependencies = Dependencies::default();
        let work = Work::new(WORK_OF_ANSWER);
        let view = View {
            site,
            tree,
            dependencies: &dependencies,
            freshness: &freshness,
            now: 1,
            seed: 7,
            externals: &externals,
            made: &Made::default(),
            max_records: 4_000,
            work: &work,
            forwards: true,
            dnssec: None,
        };
        let outcome = answer(black_box(&questions[call % questions.len()]), &view);
        assert!(matches!(black_box(outcome), Outcome::Answered(_)));
    }
    start.elapsed().as_secs_f64() * 1e9 / CALLS as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let mut tree = Tree::tracked();
    for n in 0..4_096 {
        let key = Key::from_name(&name(&format!("i{n}.web.skydns.local.")));
        let service = Service::from_json(br#"{"host":"10.0.0.1"}"#).expect("a service");
        tree.put(&key, Layer(0), Entry::new(service));
    }
    let (one, many) = (site(1), site(50));
    let questions = |prefix: &str| -> Vec<_> {
        let asked = (0..4_096).map(|n| name(&format!("{prefix}{n}.web.skydns.local.")));
        asked.map(|asked| Query::query(asked, RecordType::A)).collect()
    };
    println!("{:<20}{:>12}{:>12}{:>8}", "nanoseconds each", "one zone", "50 zones", "ratio");
    for (what, questions) in [("one address", questions("i")), ("NXDOMAIN", questions("no"))] {
        let rounds = (0..ROUNDS).map(|_| (round(&one, &tree, &questions), round(&many, &tree, &questions)));
        let (of_one, of_many): (Vec<_>, Vec<_>) = rounds.unzip();
        let ratio = median(of_one.iter().zip(&of_many).map(|(one, many)| many / one).collect());
        println!("{what:<20}{:>12.0}{:>12.0}{ratio:>8.3}", median(of_one), median(of_many));
    }
}
