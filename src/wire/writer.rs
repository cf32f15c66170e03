//! Writing names and records, with names compressed (RFC 1035 §4.1.4).

use super::HEADER;
use super::record::{WireRecord, belong_together};
use hickory_proto::ProtoError;
use hickory_proto::rr::Name;

/// The two bits that mark a compression pointer; the other 14 hold the offset.
const POINTER: u16 = 0xc000;

/// Maximum number of names and ends of names that are remembered for pointers: the first ones of a message, those of the
/// question and of the domain, serve nearly all.
const MAX_REMEMBERED_NAMES: usize = 64;

/// Maximum number of labels of a name that is compressed; reverse names of IPv6 addresses have 34.
const MAX_COMPRESSED_LABELS: usize = 40;

/// A message that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) octets: Vec<u8>,
    /// Hashes of names and of their ends, and the offsets at which they are stored.
    known: Vec<(u64, u16)>,
    /// Offsets of compression pointers, if these are collected.
    pointers: Option<Vec<usize>>,
    /// Whether the data that are being written may change places with those of other records: then no pointer leads to a
    /// name in them.
    data_may_move: bool,
    /// Whether the message is, or may become, larger because of that.
    pub(super) is_larger: bool,
}

/// A state of the writer to go back to.
#[derive(Clone, Copy, Debug)]
struct Mark {
    octets: usize,
    known: usize,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            octets: Vec::with_capacity(1_024),
            known: Vec::with_capacity(16),
            pointers: None,
            data_may_move: false,
            is_larger: false,
        }
    }

    /// Collects the offsets of compression pointers from now on.
    pub(super) fn collect_pointers(&mut self) {
        self.pointers = Some(Vec::new());
    }

    /// The offsets of the compression pointers that were collected.
    pub(super) fn collected_pointers(&self) -> &[usize] {
        self.pointers.as_deref().unwrap_or_default()
    }

    /// Writes a compression pointer.
    fn pointer(&mut self, pointer: u16) {
        let here = self.octets.len();
        self.pointers.iter_mut().for_each(|pointers| pointers.push(here));
        self.u16(pointer);
    }

    fn mark(&self) -> Mark {
        Mark { octets: self.octets.len(), known: self.known.len() }
    }

    /// Takes back what was written since a mark.
    fn back_to(&mut self, mark: Mark) {
        self.octets.truncate(mark.octets);
        self.known.truncate(mark.known);
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.octets.extend_from_slice(&number.to_be_bytes());
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.octets.extend_from_slice(&number.to_be_bytes());
    }

    /// The compression pointer to an offset; `None` if the offset does not fit a pointer.
    fn pointer_to(at: usize) -> Option<u16> {
        u16::try_from(at).ok().filter(|at| *at < !POINTER).map(|at| POINTER | at)
    }

    /// Writes a name by its labels. Its longest end that the message holds already, in any letter case, becomes a pointer.
    pub(super) fn name<'n>(&mut self, name: impl IntoIterator<Item = &'n [u8]>) {
        let mut rest = name.into_iter();
        let mut labels: [&[u8]; MAX_COMPRESSED_LABELS] = [&[]; MAX_COMPRESSED_LABELS];
        let mut count = 0;
        while let Some(label) = rest.next() {
            let Some(place) = labels.get_mut(count) else {
                return self.plain_name(labels.into_iter().chain([label]).chain(rest));
            };
            *place = label;
            count += 1;
        }
        let labels = &labels[..count];
        let mut hashes = [0; MAX_COMPRESSED_LABELS];
        let mut hash = 0;
        for (at, label) in labels.iter().enumerate().rev() {
            hash = with_label(hash, label);
            hashes[at] = hash;
        }
        for (at, label) in labels.iter().enumerate() {
            if let Some(pointer) = self.find(hashes[at], &labels[at..]) {
                self.pointer(pointer);
                return;
            }
            let here = self.octets.len();
            if here < 1 << 14
                && self.known.len() < MAX_REMEMBERED_NAMES
                && let Ok(here) = u16::try_from(here)
            {
                self.known.push((hashes[at], here));
            }
            self.label(label);
        }
        self.octets.push(0);
    }

    /// Writes a name that stands in the data of a record.
    pub(super) fn name_in_data<'n>(&mut self, name: impl IntoIterator<Item = &'n [u8]>) {
        let known = self.known.len();
        self.name(name);
        if self.data_may_move && self.known.len() > known {
            self.known.truncate(known);
            self.is_larger = true;
        }
    }

    /// Writes a label, or a character string (RFC 1035 §3.3).
    pub(super) fn label(&mut self, label: &[u8]) {
        self.octets.push(u8::try_from(label.len()).unwrap_or(0));
        self.octets.extend_from_slice(label);
    }

    /// Writes a name without compression.
    pub(super) fn plain_name<'n>(&mut self, name: impl IntoIterator<Item = &'n [u8]>) {
        name.into_iter().for_each(|label| self.label(label));
        self.octets.push(0);
    }

    fn find(&self, hash: u64, labels: &[&[u8]]) -> Option<u16> {
        let candidates = self.known.iter().filter(|(known, _)| *known == hash);
        candidates
            .map(|(_, at)| *at)
            .find(|at| self.stands_at(usize::from(*at), labels))
            .map(|at| POINTER | at)
    }

    /// Whether the name that is stored at an offset has these labels.
    fn stands_at(&self, mut at: usize, labels: &[&[u8]]) -> bool {
        for label in labels {
            at = self.behind_pointers(at);
            // The name that is being written now has no end yet.
            let Some(len) = self.octets.get(at).copied().map(usize::from) else { return false };
            let same =
                self.octets.get(at + 1..at + 1 + len).is_some_and(|here| here.eq_ignore_ascii_case(label));
            // The labels differ, or the stored name ends here.
            if !same || len == 0 {
                return false;
            }
            at += 1 + len;
        }
        self.octets.get(self.behind_pointers(at)) == Some(&0)
    }

    fn behind_pointers(&self, mut at: usize) -> usize {
        while let Some([high @ 0xc0..=0xff, low]) = self.octets.get(at..at + 2) {
            at = usize::from(u16::from_be_bytes([*high, *low]) & !POINTER);
        }
        at
    }

    /// Writes an RRset with its signatures; `false`, and nothing written, if it reaches beyond `max_octets` or cannot be
    /// written. The question's name, which is stored right behind the header, serves as owner name where it is the same.
    ///
    /// If `may_move` is set, the data of the records can change places in the message.
    pub(super) fn rrset<R: WireRecord>(
        &mut self,
        rrset: &[R],
        qname: &Name,
        max_octets: usize,
        may_move: bool,
    ) -> bool {
        let mark = self.mark();
        self.data_may_move = may_move;
        // The root is shorter than a pointer.
        let is_qname = rrset.first().is_some_and(|first| first.is_at(qname) && !qname.is_root());
        let mut owner = if is_qname { Self::pointer_to(HEADER) } else { None };
        let fits =
            rrset.iter().all(|record| self.record(record, &mut owner) && self.octets.len() <= max_octets);
        if !fits {
            self.back_to(mark);
        }
        self.data_may_move = false;
        fits
    }

    /// Writes records that belong to no question yet; `false` if one cannot be written.
    pub(super) fn records<R: WireRecord>(&mut self, records: &[R]) -> bool {
        let mut rrsets = records.chunk_by(belong_together);
        rrsets.all(|rrset| {
            let mut owner = None;
            rrset.iter().all(|record| self.record(record, &mut owner))
        })
    }

    /// Writes a record whose owner name is stored where `owner` points to, or else here, to which `owner` then points: only
    /// the first names of a message are remembered, so the records of an RRset refer to the first of them this way.
    fn record<R: WireRecord>(&mut self, record: &R, owner: &mut Option<u16>) -> bool {
        match owner {
            Some(pointer) => self.pointer(*pointer),
            None => {
                let start = self.octets.len();
                let is_root = record.write_owner(self);
                *owner = Self::pointer_to(start).filter(|_| !is_root);
            }
        }
        self.rest(record).is_ok()
    }

    /// Writes type, class, TTL and data of a record (RFC 1035 §3.2.1).
    ///
    /// # Errors
    /// Its data cannot be written.
    fn rest<R: WireRecord>(&mut self, record: &R) -> Result<(), ProtoError> {
        self.u16(record.rtype().into());
        self.u16(record.class());
        self.u32(record.ttl());
        let place = self.octets.len();
        self.u16(0);
        record.write_data(self)?;
        let len = self.octets.len() - place - 2;
        let len = u16::try_from(len).map_err(|_| ProtoError::from("more data than a record holds"))?;
        self.octets[place..place + 2].copy_from_slice(&len.to_be_bytes());
        Ok(())
    }
}

/// The hash of a name, from the hash of its parent and its first label; the letter case makes no difference.
///
/// Takes eight octets at a time. Names with equal hashes are compared, so the hash may fold octets that are no letters.
fn with_label(parent: u64, label: &[u8]) -> u64 {
    let mut hash = parent ^ label.len() as u64;
    for part in label.chunks(8) {
        let mut octets = [0; 8];
        octets[..part.len()].copy_from_slice(part);
        let folded = u64::from_le_bytes(octets) | 0x2020_2020_2020_2020;
        hash = (hash ^ folded).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 29;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{MX, SOA, SRV, TXT};
    use hickory_proto::rr::{RData, Record};
    use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    #[test]
    fn names_point_at_what_stands_before() {
        let mut writer = Writer::new();
        for text in ["a.Bc.", "x.bC.", "A.bc.", ".", "bc.", "c.", "y.x.bc."] {
            writer.name(name(text).iter());
        }
        let expected: Vec<u8> = [
            &b"\x01a\x02Bc\0"[..],
            b"\x01x\xc0\x02",
            b"\xc0\0",
            b"\0",
            b"\xc0\x02",
            b"\x01c\0",
            b"\x01y\xc0\x06",
        ]
        .concat();
        assert_eq!(writer.octets, expected);
    }

    #[test]
    fn nothing_points_at_what_was_taken_back() {
        let mut writer = Writer::new();
        writer.name(name("a.b.").iter());
        let mark = writer.mark();
        writer.name(name("c.d.").iter());
        writer.back_to(mark);
        writer.name(name("e.d.").iter());
        assert_eq!(writer.octets, b"\x01a\x01b\0\x01e\x01d\0");
    }

    #[test]
    fn a_name_that_is_half_written_is_no_match() {
        let mut writer = Writer::new();
        writer.label(b"a");
        for labels in [&[&b"a"[..]][..], &[b"a", b"a"], &[b"a", b"a", b"a"]] {
            assert!(!writer.stands_at(0, labels));
        }
    }

    #[test]
    fn data_is_what_the_library_reads() {
        let data = [
            RData::MX(MX::new(10, name("mail.skydns.local."))),
            RData::SRV(SRV::new(1, 2, 3, name("a.skydns.local."))),
            RData::SOA(SOA::new(name("ns.skydns.local."), name("h.skydns.local."), 1, -2, 3, 4, 5)),
            RData::TXT(TXT::new(vec!["one".to_owned(), String::new(), "t".repeat(255)])),
            RData::HINFO(hickory_proto::rr::rdata::HINFO::new("RFC8482".to_owned(), String::new())),
        ];
        let mut writer = Writer::new();
        let mut ends = Vec::new();
        for data in &data {
            writer.name(name("skydns.local.").iter());
            writer.rest(&Record::from_rdata(name("skydns.local."), 60, data.clone())).expect("written");
            ends.push(writer.octets.len());
        }
        let mut decoder = BinDecoder::new(&writer.octets);
        for (data, end) in data.iter().zip(ends) {
            let record = Record::read(&mut decoder).expect("a record");
            assert_eq!((&record.data, record.ttl, decoder.index()), (data, 60, end));
        }
    }

    proptest! {
        #[test]
        fn names_are_read_as_they_were(texts in prop::collection::vec("([a-cA-C]{1,3}\\.){1,6}", 1..200)) {
            let names: Vec<Name> = texts.iter().map(|text| name(text)).collect();
            let mut writer = Writer::new();
            names.iter().for_each(|name| writer.name(name.iter()));
            let mut decoder = BinDecoder::new(&writer.octets);
            for name in &names {
                prop_assert_eq!(&Name::read(&mut decoder).expect("a name"), name);
            }
            let plain: usize = names.iter().map(|name| name.len() + 1).sum();
            prop_assert!(writer.octets.len() <= plain);
        }

        #[test]
        fn long_names_are_read_as_they_were(counts in prop::collection::vec(30usize..127, 1..5)) {
            let names: Vec<Name> = counts.iter().map(|count| name(&"x.".repeat(*count))).collect();
            let mut writer = Writer::new();
            names.iter().for_each(|name| writer.name(name.iter()));
            let mut decoder = BinDecoder::new(&writer.octets);
            for name in &names {
                prop_assert_eq!(&Name::read(&mut decoder).expect("a name"), name);
            }
        }
    }
}
