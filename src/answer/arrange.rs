//! The last touch on an answer: no record twice, one CNAME a name and first, one TTL an RRset, and
//! round robin.

use super::{Answer, Rng, in_one_set};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::collections::{HashMap, HashSet};

/// Brings the sections of an answer into the shape they are sent in; returns whether a CNAME was chosen at random.
pub(super) fn arrange(answer: &mut Answer, round_robin: bool, seed: u64) -> bool {
    let mut rng = Rng::new(seed);
    let mut chosen = false;
    for section in [&mut answer.answers, &mut answer.additionals] {
        if section.len() > 1 {
            let (arranged, chosen_at_random) =
                arranged(std::mem::take(section), round_robin.then_some(&mut rng));
            *section = arranged;
            chosen |= chosen_at_random;
        }
    }
    // Chains come first and in order: some stub resolvers give up on any other order.
    answer.answers.sort_by_key(|record| record.record_type() != RecordType::CNAME);
    if round_robin {
        shuffle_addresses(&mut answer.answers, &mut rng);
    }
    chosen
}

/// One record a datum, one CNAME a name, the records of an RRset together and with one TTL; and whether a CNAME was
/// chosen at random.
fn arranged(section: Vec<Record>, rng: Option<&mut Rng>) -> (Vec<Record>, bool) {
    let sets = RrSets::new(&section, rng);
    let mut placed: Vec<(usize, Record)> = Vec::with_capacity(section.len());
    let RrSets { of_record, kept, ttls, chosen_at_random } = sets;
    for (at, mut record) in section.into_iter().enumerate() {
        if kept[at] {
            record.ttl = ttls[of_record[at]];
            placed.push((of_record[at], record));
        }
    }
    placed.sort_by_key(|(set, _)| *set);
    (placed.into_iter().map(|(_, record)| record).collect(), chosen_at_random)
}

/// The RRsets of a section, numbered in the order of their first records.
#[derive(Default)]
struct RrSets {
    /// The RRset of each record.
    of_record: Vec<usize>,
    /// Which records stay.
    kept: Vec<bool>,
    /// The least TTL of each RRset (RFC 2181 §5.2).
    ttls: Vec<u32>,
    /// Whether a CNAME was chosen at random.
    chosen_at_random: bool,
}

impl RrSets {
    fn new(section: &[Record], rng: Option<&mut Rng>) -> Self {
        let mut numbers = HashMap::<(&Name, DNSClass, RecordType), usize>::with_capacity(section.len());
        let mut data = HashSet::<(usize, &RData)>::with_capacity(section.len());
        let mut sets = Self::default();
        for record in section {
            let key = (&record.name, record.dns_class, record.record_type());
            let next = numbers.len();
            let set = *numbers.entry(key).or_insert(next);
            sets.of_record.push(set);
            sets.kept.push(data.insert((set, &record.data)));
        }
        sets.choose_cnames(section, rng);
        sets.ttls = vec![u32::MAX; numbers.len()];
        for (at, record) in section.iter().enumerate().filter(|(at, _)| sets.kept[*at]) {
            let least = &mut sets.ttls[sets.of_record[at]];
            *least = (*least).min(record.ttl);
        }
        sets
    }

    /// Leaves one CNAME in each RRset of them: the first, or with `rng` any.
    fn choose_cnames(&mut self, section: &[Record], mut rng: Option<&mut Rng>) {
        let mut chosen = HashMap::<usize, (usize, u64)>::new();
        for (at, record) in section.iter().enumerate() {
            if !self.kept[at] || record.record_type() != RecordType::CNAME {
                continue;
            }
            let (choice, seen) = chosen.entry(self.of_record[at]).or_insert((at, 0));
            *seen += 1;
            self.chosen_at_random |= *seen > 1 && rng.is_some();
            // The n-th replaces the present choice with probability 1/n, so each is equally likely.
            if *seen > 1 && rng.as_mut().is_some_and(|rng| rng.below(*seen) == 0) {
                self.kept[*choice] = false;
                *choice = at;
            } else if *seen > 1 {
                self.kept[at] = false;
            }
        }
    }
}

/// Shuffles the addresses of each RRset.
fn shuffle_addresses(section: &mut [Record], rng: &mut Rng) {
    for rrset in section.chunk_by_mut(in_one_set) {
        if !matches!(rrset[0].record_type(), RecordType::A | RecordType::AAAA) {
            continue;
        }
        rng.shuffle(rrset.len(), |a, b| rrset.swap(a, b));
    }
}
