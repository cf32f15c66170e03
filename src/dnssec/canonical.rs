//! The canonical form of names and RRsets (RFC 4034 §6): the octets that are signed and hashed.

use crate::wire_name::push_label;
use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

/// A name in wire format, in lower case, without compression (RFC 4034 §6.2).
pub(super) fn name_octets(name: &Name) -> Vec<u8> {
    let mut octets = Vec::with_capacity(64);
    push_name(&mut octets, name);
    octets
}

fn push_name(octets: &mut Vec<u8>, name: &Name) {
    let start = octets.len();
    name.iter().for_each(|label| push_label(octets, label));
    octets.push(0);
    // Octets of lengths are below those of letters.
    octets[start..].make_ascii_lowercase();
}

/// An RRset in canonical form.
#[derive(Debug)]
pub(super) struct CanonicalRrSet {
    pub(super) rtype: RecordType,
    /// The TTL that is served, in seconds: the original TTL of the RRSIG.
    pub(super) ttl: u32,
    /// Labels of the owner name as RRSIG counts them: neither the root nor a leading `*` (RFC 4034 §3.1.3).
    pub(super) labels: u8,
    /// The records in canonical order (RFC 4034 §6.3), each with owner, type, class, TTL, RDATA length and RDATA.
    pub(super) octets: Vec<u8>,
}

impl CanonicalRrSet {
    /// The canonical form of records that have the same owner, type and TTL; `None` of no records.
    ///
    /// # Errors
    /// RDATA that cannot be written.
    pub(super) fn new(records: &[Record]) -> Result<Option<Self>, ProtoError> {
        let Some(first) = records.first() else { return Ok(None) };
        let mut octets = Vec::with_capacity(128 * records.len());
        push_name(&mut octets, &first.name);
        octets.extend_from_slice(&u16::from(first.record_type()).to_be_bytes());
        octets.extend_from_slice(&u16::from(first.dns_class).to_be_bytes());
        octets.extend_from_slice(&first.ttl.to_be_bytes());
        if records.len() == 1 {
            push_rdata(&mut octets, &first.data)?;
        } else {
            push_sorted(&mut octets, records)?;
        }
        let (rtype, ttl, labels) = (first.record_type(), first.ttl, first.name.num_labels());
        Ok(Some(Self { rtype, ttl, labels, octets }))
    }
}

/// Completes several records in canonical order. `octets` ends with what each of them begins with: owner, type, class, TTL.
fn push_sorted(octets: &mut Vec<u8>, records: &[Record]) -> Result<(), ProtoError> {
    let mut rdatas = Vec::with_capacity(records.len());
    for record in records {
        let mut octets = Vec::with_capacity(64);
        push_rdata(&mut octets, &record.data)?;
        rdatas.push(octets);
    }
    // The order is that of the RDATA, without the length before it.
    rdatas.sort_unstable_by(|a, b| a[2..].cmp(&b[2..]));
    rdatas.dedup();
    let beginning = octets.clone();
    for (index, rdata) in rdatas.iter().enumerate() {
        if index > 0 {
            octets.extend_from_slice(&beginning);
        }
        octets.extend_from_slice(rdata);
    }
    Ok(())
}

/// Appends the length of a record's RDATA and the RDATA, with names in lower case and without compression (RFC 4034 §6.2).
fn push_rdata(octets: &mut Vec<u8>, data: &RData) -> Result<(), ProtoError> {
    let start = octets.len();
    octets.extend_from_slice(&[0, 0]);
    match data {
        RData::Unknown { rdata, .. } => octets.extend_from_slice(&rdata.anything),
        RData::A(address) => octets.extend_from_slice(&address.octets()),
        data => {
            let mut written = Vec::with_capacity(64);
            let mut encoder = BinEncoder::new(&mut written);
            encoder.set_canonical_form(true);
            data.emit(&mut encoder)?;
            octets.append(&mut written);
        }
    }
    let len = u16::try_from(octets.len() - start - 2);
    let len = len.map_err(|_| ProtoError::from("RDATA of more than 65,535 octets"))?;
    octets[start..start + 2].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{A, MX};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    #[test]
    fn an_rrset_is_sorted_and_in_lower_case() {
        let address = |n| Record::from_rdata(name("A.Example."), 60, RData::A(A([10, 0, 0, n].into())));
        let set =
            CanonicalRrSet::new(&[address(9), address(1), address(9)]).expect("written").expect("records");
        let head = b"\x01a\x07example\0\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0";
        assert_eq!(set.octets, [&head[..], &[1], &head[..], &[9]].concat());
        assert_eq!((set.labels, set.ttl, set.rtype), (2, 60, RecordType::A));
        let mx = Record::from_rdata(name("*.Example."), 60, RData::MX(MX::new(7, name("Mail.Example."))));
        let set = CanonicalRrSet::new(&[mx]).expect("written").expect("records");
        assert!(set.octets.ends_with(b"\0\x10\0\x07\x04mail\x07example\0"));
        assert_eq!(set.labels, 1, "a leading wildcard does not count");
        assert!(CanonicalRrSet::new(&[]).expect("written").is_none());
    }
}
