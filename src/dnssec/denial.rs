//! Proofs that a name or a type does not exist, made for each question: NSEC3 white lies (RFC 5155 §7.2, RFC 7129
//! appendix B), or one NSEC (RFC 9824).
//!
//! No NSEC3 chain is stored: each record covers or matches one hash, and says nothing of any other name.

use super::encloser_cache::{EncloserCache, ProofsToCache, SharedProofs};
use super::key_state::KeyState;
use super::raw_rdata::raw_rdata;
use super::{bitmap, canonical, compact};
use crate::answer::{Answer, Denial, Missing};
use data_encoding::BASE32HEX_NOPAD;
use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, Record, RecordType};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use std::sync::Arc;

/// Octets of a SHA-1 hash.
const SHA1_OCTETS: usize = 20;

/// The label `*` in wire format.
const WILDCARD: &[u8] = b"\x01*";

/// How absence is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DenialKind {
    /// NSEC3 records that cover as little as possible.
    #[default]
    Nsec3,
    /// One NSEC that says the name exists without data, and by NXNAME that it does not (RFC 9824).
    Compact,
}

/// Proves what answers of one zone deny.
#[derive(Debug)]
pub(super) struct DenialProver {
    zone: Name,
    kind: DenialKind,
    pub(super) enclosers: EncloserCache,
}

/// The proof of what one answer denies.
pub(super) struct DenialProof {
    /// NSEC3 or NSEC records of the answer, without signatures and without the records that are cached.
    pub(super) records: Vec<Record>,
    pub(super) shared: SharedProofs,
}

impl DenialProver {
    pub(super) fn new(zone: Name, kind: DenialKind) -> Self {
        Self { zone, kind, enclosers: EncloserCache::default() }
    }

    /// How absence is proven.
    pub(super) fn kind(&self) -> DenialKind {
        self.kind
    }

    /// The records that prove what an answer denies, with the TTL of its SOA (RFC 9077 §3).
    ///
    /// # Errors
    /// The name of the zone is so long that no NSEC3 can have an owner name.
    pub(super) fn prove(
        &self,
        answer: &Answer,
        state: &Arc<KeyState>,
        now: u64,
    ) -> Result<DenialProof, ProtoError> {
        let soa = answer.authorities.iter().find(|record| record.record_type() == RecordType::SOA);
        let ttl = soa.map_or(0, |soa| soa.ttl);
        if self.kind == DenialKind::Nsec3
            && let Some(denial) = shareable(answer)
        {
            return self.prove_shared(&denial, ttl, state, now);
        }
        let mut records = Vec::new();
        for denial in &answer.denials {
            match self.kind {
                DenialKind::Nsec3 => records.extend(self.nsec3s(denial, ttl)?),
                DenialKind::Compact => records.push(compact::nsec(denial, ttl)),
            }
        }
        Ok(DenialProof { records, shared: SharedProofs::None })
    }

    /// The proof that a name does not exist, without the records that are cached for its closest encloser.
    fn prove_shared(
        &self,
        denial: &ShareableDenial<'_>,
        ttl: u32,
        state: &Arc<KeyState>,
        now: u64,
    ) -> Result<DenialProof, ProtoError> {
        let missing = MissingName::new(denial.name, denial.closest_encloser);
        let next_closer = covering(hash(&[missing.next_closer()]), &self.zone, ttl)?;
        let made_of = (denial.soa, denial.types);
        if let Some(cached) = self.enclosers.get(missing.closest_encloser(), made_of, state, now) {
            return Ok(DenialProof { records: vec![next_closer], shared: SharedProofs::Cached(cached) });
        }
        let to_cache = ProofsToCache {
            cache_key: missing.closest_encloser().to_vec(),
            closest_encloser: denial.closest_encloser.clone(),
            soa: denial.soa.clone(),
            types: denial.types.to_vec(),
            next_closer: next_closer.name.clone(),
        };
        let records = self.name_error(&missing, next_closer, denial.types, ttl)?;
        Ok(DenialProof { records, shared: SharedProofs::ToCache(Box::new(to_cache)) })
    }

    /// The NSEC3 records for one denial.
    fn nsec3s(&self, denial: &Denial, ttl: u32) -> Result<Vec<Record>, ProtoError> {
        match &denial.missing {
            Missing::Data(types) => {
                let octets = canonical::name_octets(&denial.name);
                Ok(vec![matching(hash(&[&octets]), types, &self.zone, ttl)?])
            }
            Missing::Name { closest_encloser, types } => {
                let missing = MissingName::new(&denial.name, closest_encloser);
                let next_closer = covering(hash(&[missing.next_closer()]), &self.zone, ttl)?;
                self.name_error(&missing, next_closer, types, ttl)
            }
        }
    }

    /// The proof that a name does not exist (RFC 5155 §7.2.2): an NSEC3 that matches the closest encloser, the one that
    /// covers the next closer name, and one that covers the wildcard, unless that is the next closer name.
    fn name_error(
        &self,
        missing: &MissingName,
        next_closer: Record,
        types: &[RecordType],
        ttl: u32,
    ) -> Result<Vec<Record>, ProtoError> {
        let closest_encloser = missing.closest_encloser();
        let mut records = Vec::with_capacity(3);
        records.push(matching(hash(&[closest_encloser]), types, &self.zone, ttl)?);
        records.push(next_closer);
        if !missing.next_closer().starts_with(WILDCARD) {
            records.push(covering(hash(&[WILDCARD, closest_encloser]), &self.zone, ttl)?);
        }
        Ok(records)
    }
}

/// The denial of a name, whose proof shares records with the denials of all other names below the closest encloser.
struct ShareableDenial<'a> {
    name: &'a Name,
    closest_encloser: &'a Name,
    /// Types at the closest encloser.
    types: &'a [RecordType],
    soa: &'a Record,
}

/// The denial of an answer, if it is the only one and shares records with others.
fn shareable(answer: &Answer) -> Option<ShareableDenial<'_>> {
    let ([Denial { name, missing }], [soa]) = (&answer.denials[..], &answer.authorities[..]) else {
        return None;
    };
    let Missing::Name { closest_encloser, types } = missing else { return None };
    // A question for the wildcard itself takes an NSEC3 less.
    let is_wildcard = name.iter().any(|label| label == b"*");
    (!is_wildcard).then_some(ShareableDenial { name, closest_encloser, types, soa })
}

/// A name that does not exist in canonical form. Its closest encloser and next closer name (RFC 5155 §1.3) are ends of it.
struct MissingName {
    octets: Vec<u8>,
    /// Where the next closer name begins.
    next_closer: usize,
    /// Where the closest encloser begins.
    closest_encloser: usize,
}

impl MissingName {
    fn new(name: &Name, closest_encloser: &Name) -> Self {
        debug_assert!(closest_encloser.zone_of(name), "{closest_encloser} is not above {name}");
        let octets = canonical::name_octets(name);
        let labels_below = name.iter().count().saturating_sub(closest_encloser.iter().count());
        let (mut next_closer, mut closest_encloser) = (0, 0);
        for label in name.iter().take(labels_below) {
            next_closer = closest_encloser;
            closest_encloser += 1 + label.len();
        }
        Self { octets, next_closer, closest_encloser }
    }

    fn next_closer(&self) -> &[u8] {
        &self.octets[self.next_closer..]
    }

    fn closest_encloser(&self) -> &[u8] {
        &self.octets[self.closest_encloser..]
    }
}

/// An NSEC3 that matches a hash: its owner is the hash, and it lists the types of the name that was hashed.
fn matching(
    hash: [u8; SHA1_OCTETS],
    types: &[RecordType],
    zone: &Name,
    ttl: u32,
) -> Result<Record, ProtoError> {
    // At a zone cut nothing is signed but a DS RRset (RFC 5155 §7.1).
    let has_signed = !types.is_empty() && types != [RecordType::NS];
    let signed = has_signed.then_some(RecordType::RRSIG);
    let bits = bitmap::octets(types.iter().copied().chain(signed));
    nsec3_record(hash, successor(hash), &bits, zone, ttl)
}

/// An NSEC3 that covers one hash and no other: it reaches from the hash before to the hash behind.
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

/// SHA-1 over the canonical octets of a name, without salt and further iterations (RFC 5155 §5, RFC 9276 §3.1). The octets
/// may come in parts.
fn hash(parts: &[&[u8]]) -> [u8; SHA1_OCTETS] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; SHA1_OCTETS];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The hash behind, in the order of NSEC3 owners; the least behind the greatest.
fn successor(mut hash: [u8; SHA1_OCTETS]) -> [u8; SHA1_OCTETS] {
    for octet in hash.iter_mut().rev() {
        *octet = octet.wrapping_add(1);
        if *octet != 0 {
            break;
        }
    }
    hash
}

/// The hash before, in the order of NSEC3 owners; the greatest before the least.
fn predecessor(mut hash: [u8; SHA1_OCTETS]) -> [u8; SHA1_OCTETS] {
    for octet in hash.iter_mut().rev() {
        *octet = octet.wrapping_sub(1);
        if *octet != 0xff {
            break;
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    #[test]
    fn names_are_hashed_in_lower_case() {
        // An NSEC3 of SkyDNS's own test tables: H(skydns.test.).
        let hash = hash(&[&canonical::name_octets(&name("SkyDNS.Test."))]);
        assert_eq!(BASE32HEX_NOPAD.encode(&hash), "AH4V7G5QOIRI26ARMRB3BLDQI1SNG6A2");
        assert_eq!(predecessor(successor([0xff; SHA1_OCTETS])), [0xff; SHA1_OCTETS]);
        assert_eq!(successor([0xff; SHA1_OCTETS]), [0; SHA1_OCTETS]);
        assert_eq!(predecessor(successor(hash)), hash);
    }

    #[test]
    fn a_name_is_split_at_its_closest_encloser() {
        let split = |missing: &str, closest_encloser: &str| {
            let missing = MissingName::new(&name(missing), &name(closest_encloser));
            (missing.next_closer().to_vec(), missing.closest_encloser().to_vec())
        };
        let (next_closer, closest_encloser) = split("a.bb.CCC.example.", "Example.");
        assert_eq!(next_closer, b"\x03ccc\x07example\0");
        assert_eq!(closest_encloser, b"\x07example\0");
        assert_eq!(split("a.bb.ccc.example.", "bb.ccc.example.").0, b"\x01a\x02bb\x03ccc\x07example\0");
        assert_eq!(split("a.example.", "."), (b"\x07example\0".to_vec(), b"\0".to_vec()));
        assert_eq!(split(".", "."), (b"\0".to_vec(), b"\0".to_vec()));
    }
}
