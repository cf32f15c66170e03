//! What of a cached reply is written anew each time it is sent: TTLs that count down, and the order of addresses.

use super::Validity;

/// The type code of OPT, whose TTL field is no TTL (RFC 6891 §6.1.3).
const OPT: u16 = 41;

/// Where a reply differs from one sending to the next, as offsets from the end of the question.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rewrites {
    /// TTLs to count down.
    pub(super) ttls: Box<[u16]>,
    /// Addresses to shuffle, for each RRset of at least two.
    pub(super) rotations: Box<[AddressRotation]>,
}

/// The addresses of one RRset, to be put into a random order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AddressRotation {
    /// Octets of each address: 4 or 16.
    pub(super) len: usize,
    /// Where they stand.
    pub(super) offsets: Box<[u16]>,
}

/// The parts of a record that matter here, as offsets in the reply.
struct RecordAt {
    /// Where the owner name is stored: at the record, or where its compression pointers lead.
    owner: usize,
    rtype: u16,
    ttl: usize,
    data: usize,
    len: usize,
}

impl Rewrites {
    /// The rewrites of a reply whose question ends at `question_end`; `None` if its records cannot be walked.
    pub(super) fn of(reply: &[u8], question_end: usize, validity: &Validity) -> Option<Self> {
        if !validity.ages && !validity.rotates {
            return Some(Self::default());
        }
        let count = |at: usize| Some(usize::from(u16::from_be_bytes([*reply.get(at)?, *reply.get(at + 1)?])));
        let answers = count(6)?;
        let records = answers + count(8)? + count(10)?;
        let (mut ttls, mut rotations) = (Vec::new(), Rotations::default());
        let mut at = question_end;
        for number in 0..records {
            let record = RecordAt::read(reply, at)?;
            if validity.ages && record.rtype != OPT {
                ttls.push(u16::try_from(record.ttl - question_end).ok()?);
            }
            if validity.rotates && number < answers {
                rotations.add(&record, u16::try_from(record.data - question_end).ok()?);
            }
            at = record.data + record.len;
        }
        (at == reply.len()).then(|| Self { ttls: ttls.into(), rotations: rotations.finish() })
    }
}

/// Collects the addresses of the RRsets of an answer section, whose records stand together.
#[derive(Default)]
struct Rotations {
    sets: Vec<(usize, Vec<u16>)>,
    /// Owner and type of the record before.
    last: Option<(usize, u16)>,
}

impl Rotations {
    fn add(&mut self, record: &RecordAt, offset: u16) {
        let set = Some((record.owner, record.rtype));
        if matches!((record.rtype, record.len), (1, 4) | (28, 16)) {
            match self.sets.last_mut().filter(|_| self.last == set) {
                Some((_, offsets)) => offsets.push(offset),
                None => self.sets.push((record.len, vec![offset])),
            }
        }
        self.last = set;
    }

    fn finish(self) -> Box<[AddressRotation]> {
        let several = self.sets.into_iter().filter(|(_, offsets)| offsets.len() > 1);
        several.map(|(len, offsets)| AddressRotation { len, offsets: offsets.into() }).collect()
    }
}

impl RecordAt {
    /// The record that begins at an offset (RFC 1035 §3.2.1).
    fn read(reply: &[u8], at: usize) -> Option<Self> {
        let fixed = name_end(reply, at)?;
        let octets = reply.get(fixed..fixed + 10)?;
        Some(Self {
            owner: owner_offset(reply, at)?,
            rtype: u16::from_be_bytes([octets[0], octets[1]]),
            ttl: fixed + 4,
            data: fixed + 10,
            len: usize::from(u16::from_be_bytes([octets[8], octets[9]])),
        })
    }
}

/// The offset behind a name, which may end in a compression pointer (RFC 1035 §4.1.4).
fn name_end(reply: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*reply.get(at)?) {
            0 => return Some(at + 1),
            len @ 1..=63 => at += 1 + len,
            192.. => return Some(at + 2),
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
