//! Records as the writer of messages sees them: those of our own answers, and those of upstreams.

use super::forwarded::ForwardedRecord;
use super::names_in_data::NamesInData;
use super::writer::Writer;
use crate::answer::same_name;
use crate::wire_name::{labels, same_name_octets};
use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

/// A record that can be written.
pub(super) trait WireRecord {
    fn rtype(&self) -> RecordType;

    fn class(&self) -> u16;

    /// The TTL in seconds.
    fn ttl(&self) -> u32;

    /// Whether another record has the same owner name, in any letter case.
    fn has_owner_of(&self, other: &Self) -> bool;

    /// Whether the owner name is this one, in any letter case.
    fn is_at(&self, name: &Name) -> bool;

    /// Writes the owner name; returns whether it is the root's.
    fn write_owner(&self, writer: &mut Writer) -> bool;

    /// Writes the data. Names are compressed in data of the types of RFC 1035, and in no others (RFC 3597 §4).
    ///
    /// # Errors
    /// The data cannot be written.
    fn write_data(&self, writer: &mut Writer) -> Result<(), ProtoError>;
}

/// Whether two records that follow each other are of one RRset, or signatures behind the RRset that they are for
/// (RFC 4035 §3.1.1): one is of no use without the other.
pub(super) fn belong_together<R: WireRecord>(a: &R, b: &R) -> bool {
    (a.rtype() == b.rtype() || b.rtype() == RecordType::RRSIG) && a.has_owner_of(b)
}

impl WireRecord for Record {
    fn rtype(&self) -> RecordType {
        self.record_type()
    }

    fn class(&self) -> u16 {
        self.dns_class.into()
    }

    fn ttl(&self) -> u32 {
        self.ttl
    }

    fn has_owner_of(&self, other: &Self) -> bool {
        same_name(&self.name, &other.name)
    }

    fn is_at(&self, name: &Name) -> bool {
        same_name(&self.name, name)
    }

    fn write_owner(&self, writer: &mut Writer) -> bool {
        writer.name(self.name.iter());
        self.name.is_root()
    }

    fn write_data(&self, writer: &mut Writer) -> Result<(), ProtoError> {
        match &self.data {
            RData::A(address) => writer.octets.extend_from_slice(&address.octets()),
            RData::AAAA(address) => writer.octets.extend_from_slice(&address.octets()),
            RData::CNAME(name) => writer.name_in_data(name.iter()),
            RData::NS(name) => writer.name_in_data(name.iter()),
            RData::PTR(name) => writer.name_in_data(name.iter()),
            RData::MX(mx) => {
                writer.u16(mx.preference);
                writer.name_in_data(mx.exchange.iter());
            }
            RData::SRV(srv) => {
                [srv.priority, srv.weight, srv.port].into_iter().for_each(|number| writer.u16(number));
                writer.plain_name(srv.target.iter());
            }
            RData::SOA(soa) => {
                writer.name_in_data(soa.mname.iter());
                writer.name_in_data(soa.rname.iter());
                writer.u32(soa.serial);
                let timers = [soa.refresh, soa.retry, soa.expire];
                timers.into_iter().for_each(|timer| writer.octets.extend_from_slice(&timer.to_be_bytes()));
                writer.u32(soa.minimum);
            }
            RData::TXT(text) => text.txt_data.iter().for_each(|part| writer.label(part)),
            RData::Unknown { rdata, .. } => writer.octets.extend_from_slice(&rdata.anything),
            other => {
                let mut octets = Vec::new();
                let mut encoder = BinEncoder::new(&mut octets);
                encoder.set_name_encoding(NameEncoding::Uncompressed);
                other.emit(&mut encoder)?;
                writer.octets.extend_from_slice(&octets);
            }
        }
        Ok(())
    }
}

impl WireRecord for ForwardedRecord<'_> {
    fn rtype(&self) -> RecordType {
        self.rtype
    }

    fn class(&self) -> u16 {
        self.class.into()
    }

    fn ttl(&self) -> u32 {
        self.ttl
    }

    fn has_owner_of(&self, other: &Self) -> bool {
        same_name_octets(self.owner, other.owner)
    }

    fn is_at(&self, name: &Name) -> bool {
        let mut labels = labels(self.owner);
        let is_same = |label: &[u8]| labels.next().is_some_and(|own| own.eq_ignore_ascii_case(label));
        name.iter().all(is_same) && labels.next().is_none()
    }

    fn write_owner(&self, writer: &mut Writer) -> bool {
        writer.name(labels(self.owner));
        self.owner == [0]
    }

    fn write_data(&self, writer: &mut Writer) -> Result<(), ProtoError> {
        let names = NamesInData::of(self.rtype).filter(|names| names.may_be_compressed);
        let Some(split) = names.and_then(|names| names.split(self.data)) else {
            writer.octets.extend_from_slice(self.data);
            return Ok(());
        };
        writer.octets.extend_from_slice(split.before);
        split.names.into_iter().flatten().for_each(|name| writer.name_in_data(labels(name)));
        writer.octets.extend_from_slice(split.behind);
        Ok(())
    }
}
