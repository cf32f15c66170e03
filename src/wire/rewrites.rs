//! What of a cached reply is written anew each time it is sent: TTLs that count down, and the order of records.

use super::Validity;
use super::names_in_data::NamesInData;
use super::rotation::{Rotation, Rotations};
use crate::answer::has_free_order;
use hickory_proto::rr::RecordType;
use std::ops::Range;

/// The type code of OPT, whose TTL field is no TTL (RFC 6891 §6.1.3).
const OPT: u16 = 41;

/// Where a reply differs from one sending to the next, as offsets from the end of the question.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rewrites {
    /// TTLs to count down.
    pub(super) ttls: Box<[u16]>,
    /// Records to shuffle, for each RRset of at least two.
    pub(super) rotations: Box<[Rotation]>,
}

/// The parts of a record that matter here, as offsets in the reply.
pub(super) struct RecordAt {
    /// Where the owner name is stored: at the record, or where its compression pointers lead.
    pub(super) owner: usize,
    pub(super) rtype: u16,
    pub(super) class: u16,
    ttl: usize,
    pub(super) data: Range<usize>,
}

impl Rewrites {
    /// The rewrites of a reply whose question ends at `question_end`; `None` if its records cannot be walked, or if some
    /// have to be shuffled and cannot.
    pub(super) fn of(reply: &[u8], question_end: usize, validity: &Validity) -> Option<Self> {
        if !validity.ages && !validity.rotates {
            return Some(Self::default());
        }
        let count = |at: usize| Some(usize::from(u16::from_be_bytes([*reply.get(at)?, *reply.get(at + 1)?])));
        let answers = count(6)?;
        let additional = answers + count(8)?;
        let records = additional + count(10)?;
        let (mut ttls, mut rotations, mut pointers) = (Vec::new(), Rotations::default(), Vec::new());
        let mut at = question_end;
        for number in 0..records {
            let record = RecordAt::read(reply, at, &mut pointers)?;
            if validity.ages && record.rtype != OPT {
                ttls.push(u16::try_from(record.ttl - question_end).ok()?);
            }
            let rtype = RecordType::from(record.rtype);
            // In ADDITIONAL only addresses are chosen from by their order.
            let has_free_order = has_free_order(rtype) && number < answers
                || number >= additional && matches!(rtype, RecordType::A | RecordType::AAAA);
            if validity.rotates && has_free_order {
                rotations.add(&record);
            }
            at = record.data.end;
        }
        let rotations = rotations.finish(reply, question_end, &pointers)?;
        (at == reply.len()).then(|| Self { ttls: ttls.into(), rotations })
    }

    /// Octets of memory that these take behind the struct.
    pub(super) fn memory(&self) -> usize {
        2 * self.ttls.len() + self.rotations.iter().map(Rotation::memory).sum::<usize>()
    }
}

impl RecordAt {
    /// The record that begins at an offset (RFC 1035 §3.2.1); adds where the pointers in it lead.
    fn read(reply: &[u8], at: usize, pointers: &mut Vec<usize>) -> Option<Self> {
        let fixed = name_end(reply, at, pointers)?;
        let octets = reply.get(fixed..fixed + 10)?;
        let [rtype, class] = [0, 2].map(|at| u16::from_be_bytes([octets[at], octets[at + 1]]));
        let begin = fixed + 10;
        let end = begin + usize::from(u16::from_be_bytes([octets[8], octets[9]]));
        let names = NamesInData::of(RecordType::from(rtype)).filter(|names| names.may_be_compressed);
        if let Some(names) = names {
            // Data of another form than their type's hold no names, nor pointers.
            let data = reply.get(..end)?;
            let _ = names.each_name(begin, |name| name_end(data, name, pointers));
        }
        Some(Self { owner: owner_offset(reply, at)?, rtype, class, ttl: fixed + 4, data: begin..end })
    }
}

/// The offset behind a name, which may end in a compression pointer (RFC 1035 §4.1.4); adds where that leads.
fn name_end(reply: &[u8], mut at: usize, pointers: &mut Vec<usize>) -> Option<usize> {
    loop {
        match usize::from(*reply.get(at)?) {
            0 => return Some(at + 1),
            len @ 1..=63 => at += 1 + len,
            high @ 192.. => {
                pointers.push((high & 0x3f) << 8 | usize::from(*reply.get(at + 1)?));
                return Some(at + 2);
            }
            _ => return None,
        }
    }
}

/// The offset at which the labels of a name are stored: its own, or where its pointers lead. In our replies the owner names
/// of an RRset all lead to the same offset.
fn owner_offset(reply: &[u8], mut at: usize) -> Option<usize> {
    while let high @ 192.. = *reply.get(at)? {
        let target = usize::from(u16::from_be_bytes([high & 0x3f, *reply.get(at + 1)?]));
        // Pointers lead back, so this ends.
        at = Some(target).filter(|target| *target < at)?;
    }
    Some(at)
}
