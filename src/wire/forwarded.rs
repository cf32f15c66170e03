//! The records of an upstream's reply, as octets: what need not be understood is passed on as it came.
//!
//! Names are written out once, when the reply is read; then the octets never change, and clones share them. What differs
//! from one client to the next (TTLs, order, records that are left out) is in a small index beside them.

use super::message_reader::{MessageReader, ReadError};
use super::names_in_data::{NamesInData, SplitData, only_name};
use crate::answer::{Rng, has_free_order};
use crate::wire_name::{labels, same_name_octets};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, rdata};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Maximum number of octets of the names and data of a reply. Names that are written out take more than compressed ones,
/// up to 100 times as much in a message that was made for this; those of real messages of 64 KiB take less than this.
const MAX_OCTETS: usize = 256 << 10;

/// Maximum TTL, in seconds: 7 days. Larger ones are lowered to this, those above 2^31 − 1 as well (RFC 8767 §4).
const MAX_TTL: u32 = 7 * 24 * 60 * 60;

/// A section of a message behind the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// The answer section.
    Answer,
    /// The authority section.
    Authority,
    /// The additional section.
    Additional,
}

/// The records of a reply, section by section; the OPT record is not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedRecords {
    /// Owner names and data.
    octets: Arc<[u8]>,
    records: Vec<RecordAt>,
}

/// A record by the offsets of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RecordAt {
    section: Section,
    rtype: RecordType,
    class: DNSClass,
    ttl: u32,
    owner: u32,
    owner_len: u16,
    data: u32,
    data_len: u16,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardedRecord<'a> {
    /// Where it stands.
    pub section: Section,
    /// The owner name in wire format, not compressed (RFC 1035 §3.1).
    pub owner: &'a [u8],
    /// The type.
    pub rtype: RecordType,
    /// The class.
    pub class: DNSClass,
    /// The TTL in seconds.
    pub ttl: u32,
    /// The data, without compressed names.
    pub data: &'a [u8],
}

impl ForwardedRecords {
    /// All records.
    pub fn iter(&self) -> impl Iterator<Item = ForwardedRecord<'_>> {
        self.records.iter().map(|at| self.record(at))
    }

    /// The records of a section.
    pub fn section(&self, section: Section) -> impl Iterator<Item = ForwardedRecord<'_>> {
        self.iter().filter(move |record| record.section == section)
    }

    /// Keeps some records only.
    pub fn retain(&mut self, keep: impl Fn(&ForwardedRecord<'_>) -> bool) {
        let octets = &self.octets;
        self.records.retain(|at| keep(&at.in_octets(octets)));
    }

    /// Puts the answer section in another order: that of these positions in it. Records without a position are dropped.
    pub(super) fn reorder_answers(&mut self, positions: &[usize]) {
        let count = self.records.iter().take_while(|at| at.section == Section::Answer).count();
        let answers = positions.iter().filter_map(|at| self.records[..count].get(*at).copied());
        let answers: Vec<_> = answers.collect();
        self.records.splice(..count, answers);
    }

    /// Gives each record another TTL, in seconds.
    pub fn set_ttls(&mut self, ttl: impl Fn(u32) -> u32) {
        self.records.iter_mut().for_each(|at| at.ttl = ttl(at.ttl));
    }

    /// Gives the records of each RRset the lowest TTL among them (RFC 2181 §5.2).
    pub(super) fn unify_ttls(&mut self) {
        let octets = &self.octets;
        for set in self.records.chunk_by_mut(|a, b| a.is_in_set(b, octets)) {
            let least = set.iter().map(|at| at.ttl).min().unwrap_or_default();
            set.iter_mut().for_each(|at| at.ttl = least);
        }
    }

    /// Puts the records of each RRset of the answer section, and addresses of the additional section, into a random order;
    /// CNAMEs and PTRs stay.
    pub fn shuffle(&mut self, rng: &mut Rng) {
        let octets = &self.octets;
        for set in self.records.chunk_by_mut(|a, b| a.is_in_set(b, octets)) {
            let is_shuffled = match set[0].section {
                Section::Answer => has_free_order(set[0].rtype),
                Section::Authority => false,
                Section::Additional => matches!(set[0].rtype, RecordType::A | RecordType::AAAA),
            };
            if is_shuffled {
                rng.shuffle(set.len(), |a, b| set.swap(a, b));
            }
        }
    }

    /// Octets of memory that these records take.
    pub fn memory(&self) -> usize {
        self.octets.len() + self.records.len() * size_of::<RecordAt>()
    }

    fn record(&self, at: &RecordAt) -> ForwardedRecord<'_> {
        at.in_octets(&self.octets)
    }
}

impl RecordAt {
    fn in_octets<'a>(&self, octets: &'a [u8]) -> ForwardedRecord<'a> {
        let part = |at: u32, len: u16| {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            octets.get(at..at.saturating_add(usize::from(len))).unwrap_or_default()
        };
        ForwardedRecord {
            section: self.section,
            owner: part(self.owner, self.owner_len),
            rtype: self.rtype,
            class: self.class,
            ttl: self.ttl,
            data: part(self.data, self.data_len),
        }
    }

    /// Whether two neighbouring records are of one RRset. Signatures are of one RRset if they are for the same type.
    fn is_in_set(&self, other: &Self, octets: &[u8]) -> bool {
        if (self.section, self.rtype, self.class) != (other.section, other.rtype, other.class) {
            return false;
        }
        let (a, b) = (self.in_octets(octets), other.in_octets(octets));
        same_name_octets(a.owner, b.owner) && a.type_covered() == b.type_covered()
    }
}

impl<'a> ForwardedRecord<'a> {
    /// The target of a CNAME or DNAME, in wire format.
    pub fn target(&self) -> Option<&'a [u8]> {
        let leads_on = matches!(self.rtype, RecordType::CNAME | RecordType::DNAME);
        only_name(self.data).filter(|_| leads_on)
    }

    /// The MINIMUM of a SOA, in seconds.
    pub fn soa_minimum(&self) -> Option<u32> {
        let names = NamesInData::of(self.rtype).filter(|_| self.rtype == RecordType::SOA)?;
        let timers = names.split(self.data)?.behind;
        let minimum = timers.get(16..20).filter(|_| timers.len() == 20)?;
        minimum.first_chunk().map(|octets| u32::from_be_bytes(*octets))
    }

    /// The type that a signature is for.
    pub fn type_covered(&self) -> Option<RecordType> {
        let octets = self.data.first_chunk().filter(|_| self.rtype == RecordType::RRSIG)?;
        Some(u16::from_be_bytes(*octets).into())
    }

    /// The address of an A or AAAA record.
    pub fn address(&self) -> Option<IpAddr> {
        match self.rtype {
            RecordType::A => <[u8; 4]>::try_from(self.data).ok().map(|octets| Ipv4Addr::from(octets).into()),
            RecordType::AAAA => {
                <[u8; 16]>::try_from(self.data).ok().map(|octets| Ipv6Addr::from(octets).into())
            }
            _ => None,
        }
    }

    /// The record as a value, for answers of our own that need it. Data of other types than A, AAAA, CNAME and SOA stay
    /// octets; `None` if those do not have their form.
    pub fn to_record(&self) -> Option<Record> {
        let data = match (self.rtype, self.address()) {
            (_, Some(IpAddr::V4(ip))) => RData::A(rdata::A(ip)),
            (_, Some(IpAddr::V6(ip))) => RData::AAAA(rdata::AAAA(ip)),
            (RecordType::A | RecordType::AAAA, None) => return None,
            (RecordType::CNAME, None) => RData::CNAME(rdata::CNAME(name(self.target()?)?)),
            (RecordType::SOA, None) => RData::SOA(self.soa()?),
            (code, None) => RData::Unknown { code, rdata: rdata::NULL::with(self.data.to_vec()) },
        };
        let mut record = Record::from_rdata(name(self.owner)?, self.ttl, data);
        record.dns_class = self.class;
        Some(record)
    }

    fn soa(&self) -> Option<rdata::SOA> {
        let SplitData { names: [mname, rname], behind, .. } =
            NamesInData::of(self.rtype)?.split(self.data)?;
        let ([serial, refresh, retry, expire, minimum], []) = behind.as_chunks::<4>() else { return None };
        let timer = |octets: &[u8; 4]| i32::from_be_bytes(*octets);
        let (serial, minimum) = (u32::from_be_bytes(*serial), u32::from_be_bytes(*minimum));
        let names = (name(mname?)?, name(rname?)?);
        Some(rdata::SOA::new(names.0, names.1, serial, timer(refresh), timer(retry), timer(expire), minimum))
    }
}

/// A name in wire format as a value.
fn name(octets: &[u8]) -> Option<Name> {
    let mut name = Name::from_labels(labels(octets)).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// Collects the records of a message while it is read.
#[derive(Debug, Default)]
pub(super) struct RecordsBuilder {
    octets: Vec<u8>,
    records: Vec<RecordAt>,
}

/// The fields of an OPT record that matter in a reply (RFC 6891 §6.1.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceivedOpt<'a> {
    /// The upper eight bits of the rcode.
    pub(super) rcode_high: u8,
    pub(super) options: &'a [u8],
}

impl RecordsBuilder {
    /// Reads the next record of a message; returns it if it is an OPT record.
    ///
    /// OPT and TSIG are about one message between two hosts, and are not collected.
    pub(super) fn read<'a>(
        &mut self,
        section: Section,
        message: &mut MessageReader<'a>,
    ) -> Result<Option<ReceivedOpt<'a>>, ReadError> {
        let begun = self.octets.len();
        message.name(&mut self.octets)?;
        let (rtype, class) = (RecordType::from(message.u16()?), DNSClass::from(message.u16()?));
        let (ttl, len) = (message.u32()?, message.u16()?);
        let mut data = message.part(usize::from(len))?;
        if matches!(rtype, RecordType::OPT | RecordType::TSIG) {
            self.octets.truncate(begun);
            let [rcode_high, ..] = ttl.to_be_bytes();
            let opt = ReceivedOpt { rcode_high, options: data.rest() };
            return Ok(Some(opt).filter(|_| rtype == RecordType::OPT));
        }
        let (owner, owner_len) = self.owner(begun);
        let data_at = self.octets.len();
        match NamesInData::of(rtype) {
            Some(names) => names.write_out(&data, &mut self.octets)?,
            None => self.octets.extend_from_slice(data.rest()),
        }
        let too_much = || ReadError::Malformed("the records are too large");
        let data_len = u16::try_from(self.octets.len() - data_at).map_err(|_| too_much())?;
        if self.octets.len() > MAX_OCTETS {
            return Err(too_much());
        }
        let (owner, data) = (offset(owner), offset(data_at));
        let ttl = ttl.min(MAX_TTL);
        self.records.push(RecordAt { section, rtype, class, ttl, owner, owner_len, data, data_len });
        Ok(None)
    }

    /// Where the owner name that was just read is stored, and its length: if it is that of the record before, there.
    fn owner(&mut self, begun: usize) -> (usize, u16) {
        let last = self.records.last().map(|at| (usize::try_from(at.owner).unwrap_or(0), at.owner_len));
        if let Some((at, len)) = last
            && self.octets[begun..] == self.octets[at..at + usize::from(len)]
        {
            self.octets.truncate(begun);
            return (at, len);
        }
        (begun, u16::try_from(self.octets.len() - begun).unwrap_or(0))
    }

    pub(super) fn finish(self) -> ForwardedRecords {
        let mut records = ForwardedRecords { octets: self.octets.into(), records: self.records };
        records.unify_ttls();
        records
    }
}

/// An offset below [`MAX_OCTETS`], or little above it.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
