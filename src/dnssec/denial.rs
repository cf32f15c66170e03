//! Proofs that a name or a type does not exist, made on the spot: NSEC3 white lies (RFC 5155 §7.2, RFC 7129
//! appendix B), or one NSEC (RFC 9824).

use super::raw_rdata::raw_rdata;
use super::{bitmap, canonical};
use crate::answer::{Denial, Missing, NXNAME};
use crate::wire_name::{MAX_LABEL_OCTETS, MAX_NAME_OCTETS, push_label, split_label};
use data_encoding::BASE32HEX_NOPAD;
use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, Record, RecordType};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

/// Octets of a SHA-1 hash.
const SHA1_OCTETS: usize = 20;

/// How absence is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DenialKind {
    /// NSEC3 records that cover as little as possible.
    #[default]
    Nsec3,
    /// One NSEC that says the name exists without data, and by NXNAME that it does not (RFC 9824).
    Compact,
}

/// The records that prove an absence in a zone.
pub(super) fn records(
    kind: DenialKind,
    denial: &Denial,
    zone: &Name,
    ttl: u32,
) -> Result<Vec<Record>, ProtoError> {
    match kind {
        DenialKind::Nsec3 => nsec3(denial, zone, ttl),
        DenialKind::Compact => Ok(vec![nsec(denial, ttl)]),
    }
}

/// Where among the records for a missing name the one that covers the next closer name is.
pub(super) const NEXT_CLOSER: usize = 1;

/// The NSEC3 that covers the next closer name of a name that does not exist: all else is common to its siblings.
pub(super) fn next_closer(denial: &Denial, zone: &Name, ttl: u32) -> Result<Option<Record>, ProtoError> {
    let Missing::Name { closest_encloser, .. } = &denial.missing else { return Ok(None) };
    let octets = canonical::name_octets(&denial.name);
    let (next_closer, _) = split(&octets, closest_encloser.iter().count());
    covering(hash(&[next_closer]), zone, ttl).map(Some)
}

fn nsec3(denial: &Denial, zone: &Name, ttl: u32) -> Result<Vec<Record>, ProtoError> {
    let octets = canonical::name_octets(&denial.name);
    match &denial.missing {
        Missing::Data(types) => Ok(vec![matching(hash(&[&octets]), types, zone, ttl)?]),
        Missing::Name { closest_encloser, types } => {
            let (next_closer, closest_encloser) = split(&octets, closest_encloser.iter().count());
            let mut records = Vec::with_capacity(3);
            records.push(matching(hash(&[closest_encloser]), types, zone, ttl)?);
            records.push(covering(hash(&[next_closer]), zone, ttl)?);
            if !next_closer.starts_with(WILDCARD) {
                records.push(covering(hash(&[WILDCARD, closest_encloser]), zone, ttl)?);
            }
            Ok(records)
        }
    }
}

/// The label `*` as octets.
const WILDCARD: &[u8] = b"\x01*";

/// The next closer name and the closest encloser, which has so many labels, as the ends of a name's octets.
fn split(octets: &[u8], labels: usize) -> (&[u8], &[u8]) {
    let (mut next_closer, mut rest) = (octets, octets);
    let mut starts = Vec::with_capacity(8);
    while let Some((&len, behind)) = rest.split_first().filter(|(len, _)| **len > 0) {
        starts.push(rest);
        rest = behind.get(usize::from(len)..).unwrap_or_default();
    }
    let at = starts.len().saturating_sub(labels);
    if let Some(before) = at.checked_sub(1).and_then(|before| starts.get(before)) {
        next_closer = before;
    }
    (next_closer, starts.get(at).copied().unwrap_or(rest))
}

/// An NSEC3 whose owner is the hash of a name, and which tells the types there.
fn matching(
    hash: [u8; SHA1_OCTETS],
    types: &[RecordType],
    zone: &Name,
    ttl: u32,
) -> Result<Record, ProtoError> {
    let signed = (!types.is_empty()).then_some(RecordType::RRSIG);
    let bits = bitmap::octets(types.iter().copied().chain(signed));
    nsec3_record(hash, successor(hash), &bits, zone, ttl)
}

/// An NSEC3 that covers one hash and nothing else.
fn covering(hash: [u8; SHA1_OCTETS], zone: &Name, ttl: u32) -> Result<Record, ProtoError> {
    nsec3_record(predecessor(hash), successor(hash), &[], zone, ttl)
}

fn nsec3_record(
    owner: [u8; SHA1_OCTETS],
    next: [u8; SHA1_OCTETS],
    bits: &[u8],
    zone: &Name,
    ttl: u32,
) -> Result<Record, ProtoError> {
    let label = BASE32HEX_NOPAD.encode(&owner).to_ascii_lowercase();
    // SHA-1, no opt-out, no iterations, no salt (RFC 5155 §3.2, RFC 9276 §3.1).
    let mut rdata = vec![1, 0, 0, 0, 0, 20];
    rdata.extend_from_slice(&next);
    rdata.extend_from_slice(bits);
    Ok(Record::from_rdata(zone.prepend_label(label.as_bytes())?, ttl, raw_rdata(RecordType::NSEC3, rdata)))
}

/// The hash of the canonical octets of a name, in parts, without salt and further iterations (RFC 5155 §5).
fn hash(parts: &[&[u8]]) -> [u8; SHA1_OCTETS] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; SHA1_OCTETS];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn successor(mut hash: [u8; SHA1_OCTETS]) -> [u8; SHA1_OCTETS] {
    for octet in hash.iter_mut().rev() {
        *octet = octet.wrapping_add(1);
        if *octet != 0 {
            break;
        }
    }
    hash
}

fn predecessor(mut hash: [u8; SHA1_OCTETS]) -> [u8; SHA1_OCTETS] {
    for octet in hash.iter_mut().rev() {
        *octet = octet.wrapping_sub(1);
        if *octet != 0xff {
            break;
        }
    }
    hash
}

/// The one NSEC of RFC 9824, from a name to the next there can be.
fn nsec(denial: &Denial, ttl: u32) -> Record {
    let (types, missing) = match &denial.missing {
        Missing::Data(types) => (types.as_slice(), None),
        Missing::Name { .. } => (&[][..], Some(NXNAME)),
    };
    let own = [RecordType::RRSIG, RecordType::NSEC];
    let mut rdata = next_name(&denial.name);
    rdata.extend(bitmap::octets(types.iter().copied().chain(own).chain(missing)));
    Record::from_rdata(denial.name.clone(), ttl, raw_rdata(RecordType::NSEC, rdata))
}

/// The octets of the name that follows at once in canonical order (RFC 4471 §3.1.2, RFC 9824 §3.1).
fn next_name(name: &Name) -> Vec<u8> {
    let octets = canonical::name_octets(name);
    if octets.len() + 2 <= MAX_NAME_OCTETS {
        return with_first_label(&[0], &octets);
    }
    match split_label(&octets) {
        Some((label, rest)) if octets.len() < MAX_NAME_OCTETS && label.len() < MAX_LABEL_OCTETS => {
            with_first_label(&[label, &[0]].concat(), rest)
        }
        _ => next_sibling(&octets),
    }
}

/// The next name in canonical order that is neither the name with these octets nor below it; the root at the end.
fn next_sibling(octets: &[u8]) -> Vec<u8> {
    let Some((label, rest)) = split_label(octets) else { return octets.to_vec() };
    // The last octet that is not the greatest yet is raised, and the octets behind it are left out.
    let Some(last) = label.iter().rposition(|octet| *octet != 0xff) else { return next_sibling(rest) };
    let mut label = label[..=last].to_vec();
    // Capital letters sort as small ones, so they are left out.
    label[last] = if label[last] == b'@' { b'[' } else { label[last] + 1 };
    with_first_label(&label, rest)
}

/// The octets of a label, and of the name that it is the first label of.
fn with_first_label(label: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(1 + label.len() + rest.len());
    push_label(&mut octets, label);
    octets.extend_from_slice(rest);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    #[test]
    fn names_are_hashed_in_small_letters() {
        // An NSEC3 of SkyDNS's own tables: H(skydns.test.).
        let hash = hash(&[&canonical::name_octets(&name("SkyDNS.Test."))]);
        assert_eq!(BASE32HEX_NOPAD.encode(&hash), "AH4V7G5QOIRI26ARMRB3BLDQI1SNG6A2");
        assert_eq!(predecessor(successor([0xff; SHA1_OCTETS])), [0xff; SHA1_OCTETS]);
        assert_eq!(successor([0xff; SHA1_OCTETS]), [0; SHA1_OCTETS]);
        assert_eq!(predecessor(successor(hash)), hash);
    }

    #[test]
    fn a_name_is_split_at_its_closest_encloser() {
        let octets = canonical::name_octets(&name("a.bb.ccc.example."));
        assert_eq!(split(&octets, 1), (&b"\x03ccc\x07example\0"[..], &b"\x07example\0"[..]));
        assert_eq!(split(&octets, 3).0, &octets[..]);
        assert_eq!(split(&octets, 0), (&b"\x07example\0"[..], &b"\0"[..]));
        assert_eq!(split(b"\0", 0), (&b"\0"[..], &b"\0"[..]));
    }

    #[test]
    fn the_next_name_always_fits() {
        assert_eq!(next_name(&name("a.example.")), b"\x01\0\x01a\x07example\0");
        let label = "x".repeat(63);
        let long = |first: &str| name(&format!("{first}.{label}.{label}.{label}."));
        // 1 + 3 * 64 octets, and those of the first label.
        for len in 58..=61 {
            let full = long(&"y".repeat(len));
            let octets = next_name(&full);
            assert!(octets.len() <= 255, "{len}");
            // One more label, one more octet in the label, or a greater octet in its place.
            let label = &octets[1..=usize::from(octets[0])];
            assert!(label == [0] || *label > *"y".repeat(len).as_bytes(), "{len}");
        }
        let labels = [&[0xff; 61][..], label.as_bytes(), label.as_bytes(), label.as_bytes()];
        let last = next_name(&Name::from_labels(labels).expect("a name"));
        assert_eq!(last[..2], [63, b'x'], "the label that cannot grow falls away");
    }
}
