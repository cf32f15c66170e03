//! The last touch on an answer: no record twice, one CNAME a name and first, one TTL an RRset, and
//! round robin.

use super::Answer;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::collections::{HashMap, HashSet};

/// Brings the sections of an answer into the shape they are sent in.
pub(super) fn tidy(answer: &mut Answer, round_robin: bool, seed: u64) {
    let mut chance = Chance::new(seed);
    for section in [&mut answer.answers, &mut answer.additionals] {
        if section.len() > 1 {
            *section = tidied(std::mem::take(section), round_robin.then_some(&mut chance));
        }
    }
    // Chains come first and in order: some stub resolvers give up on any other order.
    answer.answers.sort_by_key(|record| record.record_type() != RecordType::CNAME);
    if round_robin {
        shuffle_addresses(&mut answer.answers, &mut chance);
    }
}

/// One record a datum, one CNAME a name, the records of an RRset together and with one TTL.
fn tidied(section: Vec<Record>, chance: Option<&mut Chance>) -> Vec<Record> {
    let sets = RrSets::new(&section, chance);
    let mut placed: Vec<(usize, Record)> = Vec::with_capacity(section.len());
    let RrSets { of_record, kept, ttls } = sets;
    for (at, mut record) in section.into_iter().enumerate() {
        if kept[at] {
            record.ttl = ttls[of_record[at]];
            placed.push((of_record[at], record));
        }
    }
    placed.sort_by_key(|(set, _)| *set);
    placed.into_iter().map(|(_, record)| record).collect()
}

/// The RRsets of a section, numbered in the order of their first records.
struct RrSets {
    /// The RRset of each record.
    of_record: Vec<usize>,
    /// Which records stay.
    kept: Vec<bool>,
    /// The least TTL of each RRset (RFC 2181 §5.2).
    ttls: Vec<u32>,
}

impl RrSets {
    fn new(section: &[Record], chance: Option<&mut Chance>) -> Self {
        let mut numbers = HashMap::<(&Name, DNSClass, RecordType), usize>::with_capacity(section.len());
        let mut data = HashSet::<(usize, &RData)>::with_capacity(section.len());
        let mut sets = Self { of_record: Vec::new(), kept: Vec::new(), ttls: Vec::new() };
        for record in section {
            let key = (&record.name, record.dns_class, record.record_type());
            let next = numbers.len();
            let set = *numbers.entry(key).or_insert(next);
            sets.of_record.push(set);
            sets.kept.push(data.insert((set, &record.data)));
        }
        sets.choose_cnames(section, chance);
        sets.ttls = vec![u32::MAX; numbers.len()];
        for (at, record) in section.iter().enumerate().filter(|(at, _)| sets.kept[*at]) {
            let least = &mut sets.ttls[sets.of_record[at]];
            *least = (*least).min(record.ttl);
        }
        sets
    }

    /// Leaves one CNAME in each RRset of them: the first, or with chance any.
    fn choose_cnames(&mut self, section: &[Record], mut chance: Option<&mut Chance>) {
        let mut chosen = HashMap::<usize, (usize, u64)>::new();
        for (at, record) in section.iter().enumerate() {
            if !self.kept[at] || record.record_type() != RecordType::CNAME {
                continue;
            }
            let (choice, seen) = chosen.entry(self.of_record[at]).or_insert((at, 0));
            *seen += 1;
            // The n-th replaces the present choice with probability 1/n, so each is equally likely.
            if *seen > 1 && chance.as_mut().is_some_and(|chance| chance.below(*seen) == 0) {
                self.kept[*choice] = false;
                *choice = at;
            } else if *seen > 1 {
                self.kept[at] = false;
            }
        }
    }
}

/// Shuffles the addresses of each RRset, every order equally likely (Fisher and Yates).
fn shuffle_addresses(section: &mut [Record], chance: &mut Chance) {
    let same = |a: &Record, b: &Record| a.record_type() == b.record_type() && a.name == b.name;
    for rrset in section.chunk_by_mut(same) {
        if !matches!(rrset[0].record_type(), RecordType::A | RecordType::AAAA) {
            continue;
        }
        for last in (1..rrset.len()).rev() {
            let other = usize::try_from(chance.below(last as u64 + 1)).unwrap_or(0);
            rrset.swap(last, other);
        }
    }
}

/// Numbers by chance from a seed (SplitMix64); for orders, not for secrets.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, each as likely as any other to within 2^-48.
    fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }
}
