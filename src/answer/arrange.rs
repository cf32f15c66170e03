//! The order of the records of an answer, and what is left out: no record comes twice, a name has one CNAME, an RRset has
//! one TTL, and round robin shuffles each RRset.

use super::outcome::Answer;
use super::rng::Rng;
use super::rrset::{has_free_order, in_one_set};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::collections::{HashMap, HashSet};

/// Arranges the answer and additional sections.
pub(super) fn arrange(answer: &mut Answer, round_robin: bool, seed: u64) {
    for section in [&mut answer.answers, &mut answer.additionals] {
        if section.len() > 1 {
            *section = arranged(std::mem::take(section));
        }
    }
    // CNAMEs come first, in the order in which they are followed: some stub resolvers give up on any other order.
    answer.answers.sort_by_key(|record| record.record_type() != RecordType::CNAME);
    if round_robin {
        let mut rng = Rng::new(seed);
        shuffle(&mut answer.answers, &mut rng);
        shuffle(&mut answer.additionals, &mut rng);
    }
}

/// A section without equal records, with one CNAME for each name and the records of each RRset side by side.
fn arranged(section: Vec<Record>) -> Vec<Record> {
    let sets = RrSets::new(&section);
    let mut records: Vec<(usize, Record)> = Vec::with_capacity(section.len());
    let RrSets { of_record, stays, ttls } = sets;
    for (at, mut record) in section.into_iter().enumerate() {
        if stays[at] {
            record.ttl = ttls[of_record[at]];
            records.push((of_record[at], record));
        }
    }
    records.sort_by_key(|(set, _)| *set);
    records.into_iter().map(|(_, record)| record).collect()
}

/// The RRsets of a section, numbered in the order of their first records.
#[derive(Default)]
struct RrSets {
    /// The RRset of each record.
    of_record: Vec<usize>,
    /// Whether each record stays.
    stays: Vec<bool>,
    /// The lowest TTL of each RRset, which all its records get (RFC 2181 §5.2).
    ttls: Vec<u32>,
}

impl RrSets {
    fn new(section: &[Record]) -> Self {
        let mut numbers = HashMap::<(&Name, DNSClass, RecordType), usize>::with_capacity(section.len());
        let mut data = HashSet::<(usize, &RData)>::with_capacity(section.len());
        let mut sets = Self::default();
        for record in section {
            let key = (&record.name, record.dns_class, record.record_type());
            let next = numbers.len();
            let set = *numbers.entry(key).or_insert(next);
            sets.of_record.push(set);
            // A name has one CNAME at most (RFC 2181 §10.1): the first.
            let is_second_cname = record.record_type() == RecordType::CNAME && set < next;
            sets.stays.push(data.insert((set, &record.data)) && !is_second_cname);
        }
        sets.ttls = vec![u32::MAX; numbers.len()];
        for (at, record) in section.iter().enumerate().filter(|(at, _)| sets.stays[*at]) {
            let least = &mut sets.ttls[sets.of_record[at]];
            *least = (*least).min(record.ttl);
        }
        sets
    }
}

/// Shuffles the records of each RRset.
fn shuffle(section: &mut [Record], rng: &mut Rng) {
    for rrset in section.chunk_by_mut(in_one_set) {
        if has_free_order(rrset[0].record_type()) {
            rng.shuffle(rrset.len(), |a, b| rrset.swap(a, b));
        }
    }
}
