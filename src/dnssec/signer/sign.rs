//! The steps of signing one answer: prove what it denies, find or make the signatures of its RRsets, put them together.

use super::Signer;
use crate::answer::{Answer, in_one_set, rrsets};
use crate::dnssec::denial::DenialProof;
use crate::dnssec::encloser_cache::SharedProofs;
use crate::dnssec::key_state::KeyState;
use crate::dnssec::signatures::{RrSetToSign, SigningError};
use crate::dnssec::signers::AnswerKeys;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Record, RecordType};
use std::ops::Range;
use std::sync::Arc;

/// What signing needs to know of a question.
#[derive(Clone, Copy, Debug)]
pub struct SigningRequest {
    /// The type asked for.
    pub rtype: RecordType,
    /// Compact answers OK: the client understands that a name which does not exist has the rcode NXDOMAIN in compact
    /// denial (RFC 9824 §5.1).
    pub compact_ok: bool,
    /// Maximum number of octets of the reply. RRsets of ADDITIONAL that cannot fit are left out instead of signed.
    pub max_reply_octets: usize,
}

/// What [`AnswerKeys::sign`] achieved.
#[derive(Debug)]
pub enum SigningOutcome {
    /// The answer has all its signatures.
    Signed {
        /// The signed answer.
        answer: Answer,
        /// Until when it may be served, in seconds of Unix time.
        until: u64,
    },
    /// More signatures have to be made than the caller wanted to wait for.
    Unfinished(Box<UnsignedAnswer>),
}

/// An answer with its proofs of absence, and with the signatures that are there so far.
#[derive(Debug)]
pub struct UnsignedAnswer {
    keys: AnswerKeys,
    answer: Answer,
    request: SigningRequest,
    rrsets: RrSetsToSign,
    /// The number of the zone that the answer denies something of, if that zone is signed.
    denial_zone: Option<usize>,
    shared_proofs: SharedProofs,
}

/// The RRsets of an answer in the order of its sections, each with the number of its zone; an RRset of a zone that is not
/// signed is `None`.
type RrSetsToSign = Vec<Option<(usize, RrSetToSign)>>;

impl AnswerKeys {
    /// Signs an answer. If more than `max_fresh` signatures are not cached, none is made, and the caller decides when to
    /// make them.
    ///
    /// The answer has to be the one that was gathered with these keys.
    ///
    /// # Errors
    /// A record cannot be written, or a signature cannot be made; the answer must not be sent.
    pub fn sign(
        self,
        answer: Answer,
        request: SigningRequest,
        max_fresh: usize,
    ) -> Result<SigningOutcome, SigningError> {
        let mut unsigned = self.prepare(answer, request)?;
        if unsigned.missing() <= max_fresh {
            while unsigned.sign_next()? {}
        }
        if unsigned.is_complete() {
            let (answer, until) = unsigned.into_signed();
            return Ok(SigningOutcome::Signed { answer, until });
        }
        Ok(SigningOutcome::Unfinished(Box::new(unsigned)))
    }

    /// Adds the proofs of absence, leaves out what cannot fit, and takes signatures from the cache.
    fn prepare(self, mut answer: Answer, request: SigningRequest) -> Result<UnsignedAnswer, SigningError> {
        let denial_zone = self.denial_zone(&answer);
        let mut shared_proofs = SharedProofs::None;
        if let Some((signer, state)) = denial_zone.and_then(|zone| self.signer(zone)) {
            let proof = signer.prover.prove(&answer, &state, self.now)?;
            shared_proofs = self.add_proof(&mut answer, proof, request.rtype);
        }
        answer.denials.clear();
        self.limit_additionals(&mut answer.additionals, request.max_reply_octets);
        let sections = [&answer.answers[..], &answer.authorities, &answer.additionals];
        let rrsets = sections.into_iter().flat_map(rrsets);
        let rrsets = rrsets.map(|rrset| self.rrset_to_sign(rrset, denial_zone)).collect::<Result<_, _>>()?;
        Ok(UnsignedAnswer { keys: self, answer, request, rrsets, denial_zone, shared_proofs })
    }

    /// The signer of a zone, and what its keys are used for.
    fn signer(&self, zone: usize) -> Option<(&Arc<Signer>, Arc<KeyState>)> {
        self.signers.by_number(zone).zip(self.state(zone))
    }

    /// The number of the signed zone that an answer denies something of: the one whose SOA it has.
    fn denial_zone(&self, answer: &Answer) -> Option<usize> {
        let soa = answer.authorities.iter().find(|record| record.record_type() == RecordType::SOA)?;
        let zone = self.site.zones.apex(&soa.name)?;
        self.signers.of(zone).map(|_| zone.number())
    }

    /// An RRset that is to be signed, and the number of its zone; `None` if its zone is not signed.
    fn rrset_to_sign(
        &self,
        rrset: &[Record],
        denial_zone: Option<usize>,
    ) -> Result<Option<(usize, RrSetToSign)>, SigningError> {
        let Some(zone) = self.zone_to_sign(rrset, denial_zone)? else { return Ok(None) };
        let Some((signer, state)) = self.signer(zone) else { return Ok(None) };
        let to_sign = signer.rrset_signer.rrset_to_sign(rrset, &state, self.now)?;
        Ok(to_sign.map(|to_sign| (zone, to_sign)))
    }

    /// The number of the zone that signs an RRset; `None` if no zone does.
    ///
    /// At a zone cut both sides have records: the DS RRset and an NSEC that denies one are of the parent (RFC 4035 §2.4, §2.3).
    ///
    /// # Errors
    /// The zone has no keys, though it has to be signed.
    fn zone_to_sign(
        &self,
        rrset: &[Record],
        denial_zone: Option<usize>,
    ) -> Result<Option<usize>, SigningError> {
        let Some(first) = rrset.first() else { return Ok(None) };
        let zones = &self.site.zones;
        let zone = match first.record_type() {
            RecordType::DS => zones.of(&first.name.base_name()),
            RecordType::NSEC if denial_zone.is_some() => return Ok(denial_zone),
            _ => zones.of(&first.name),
        };
        let Some(zone) = zone.filter(|zone| !zone.is_root() && zone.is_signed) else { return Ok(None) };
        match self.signers.of(zone) {
            Some(_) => Ok(Some(zone.number())),
            None => Err(self.no_key(zone.number())),
        }
    }

    /// The error that a zone has no keys.
    fn no_key(&self, zone: usize) -> SigningError {
        let zone = self.site.zones.iter().nth(zone).unwrap_or(self.site.zones.first());
        SigningError::NoKey(zone.domain().clone())
    }

    /// Puts the proof of what an answer denies into the answer, in place of the denials.
    fn add_proof(&self, answer: &mut Answer, proof: DenialProof, rtype: RecordType) -> SharedProofs {
        if let SharedProofs::Cached(_) = proof.shared {
            // The SOA is among the cached records.
            answer.authorities.clear();
        }
        let is_nsec_question = rtype == RecordType::NSEC && self.is_compact();
        if is_nsec_question && !proof.records.is_empty() {
            // The NSEC that lists the types of the name is the very record that was asked for.
            answer.authorities.clear();
            answer.answers.extend(proof.records);
        } else {
            answer.authorities.extend(proof.records);
        }
        proof.shared
    }

    /// Leaves out RRsets of ADDITIONAL that cannot fit into a reply together with their signatures.
    fn limit_additionals(&self, additionals: &mut Vec<Record>, max_reply_octets: usize) {
        if additionals.is_empty() {
            return;
        }
        let mut left = max_reply_octets;
        let mut keep = Vec::with_capacity(additionals.len());
        for rrset in rrsets(additionals) {
            // An RRset that takes no signature does not count.
            let least = self.least_octets(rrset).unwrap_or(0);
            keep.extend(rrset.iter().map(|_| least <= left));
            left -= if least <= left { least } else { 0 };
        }
        let mut keep = keep.into_iter();
        additionals.retain(|_| keep.next().unwrap_or(false));
    }

    /// Octets of the smallest RRset with its signatures that a reply holds; `None` if the RRset is not signed.
    fn least_octets(&self, rrset: &[Record]) -> Option<usize> {
        let zone = self.zone_to_sign(rrset, None).ok().flatten()?;
        let (signer, state) = self.signer(zone)?;
        // Two owner names as pointers, the heads of two records, and the data of an RRSIG without its signature.
        Some(2 * 12 + 18 + signer.rrset_signer.signature_octets(&state))
    }
}

impl UnsignedAnswer {
    /// Whether absence is denied compactly.
    pub fn is_compact(&self) -> bool {
        self.keys.is_compact()
    }

    /// Number of signatures that are still to be made. An RRset takes several while keys are rolled over.
    pub fn missing(&self) -> usize {
        let unsigned = self.rrsets.iter().flatten().filter(|(_, rrset)| rrset.signatures.is_none());
        unsigned.map(|(_, rrset)| rrset.signature_count).sum()
    }

    /// Makes the signatures of the last RRset that has none; `false` if every RRset has them.
    ///
    /// # Errors
    /// A signature cannot be made; the answer must not be sent.
    pub fn sign_next(&mut self) -> Result<bool, SigningError> {
        let mut unsigned = self.rrsets.iter_mut().flatten().rev();
        let Some((zone, rrset)) = unsigned.find(|(_, rrset)| rrset.signatures.is_none()) else {
            return Ok(false);
        };
        let (signer, state) = self.keys.signer(*zone).ok_or_else(|| self.keys.no_key(*zone))?;
        rrset.signatures = Some(signer.rrset_signer.fresh(rrset, &state, self.keys.now)?);
        Ok(true)
    }

    /// The answer with all its signatures; signatures that are still missing are made.
    ///
    /// # Errors
    /// A signature cannot be made; the answer must not be sent.
    pub fn finish(mut self) -> Result<Answer, SigningError> {
        while self.sign_next()? {}
        Ok(self.into_signed().0)
    }

    /// Whether every RRset has its signatures.
    fn is_complete(&self) -> bool {
        self.rrsets.iter().flatten().all(|(_, rrset)| rrset.signatures.is_some())
    }

    /// When the records of the answer may be served, in seconds of Unix time.
    fn validity(&self) -> Range<u64> {
        let (mut from, mut until) = (0, self.keys.until());
        let mut narrow = |validity: &Range<u64>| {
            from = from.max(validity.start);
            until = until.min(validity.end);
        };
        if let SharedProofs::Cached(proofs) = &self.shared_proofs {
            narrow(&proofs.validity);
        }
        let signatures = self.rrsets.iter().flatten().filter_map(|(_, rrset)| rrset.signatures.as_ref());
        signatures.for_each(|signatures| narrow(&signatures.validity));
        from..until
    }

    /// The complete answer, and until when it may be served.
    fn into_signed(self) -> (Answer, u64) {
        debug_assert!(self.is_complete(), "an answer without all signatures");
        let validity = self.validity();
        let until = validity.end;
        let Self { keys, mut answer, request, rrsets, denial_zone, shared_proofs } = self;
        let mut rrsets = rrsets.into_iter().map(|rrset| rrset.map(|(_, rrset)| rrset));
        for section in [&mut answer.answers, &mut answer.authorities, &mut answer.additionals] {
            *section = interleave(std::mem::take(section), &mut rrsets);
        }
        match shared_proofs {
            SharedProofs::None => {}
            SharedProofs::Cached(proofs) => {
                answer.shared_authority = Some(Arc::clone(&proofs.shared_authority));
            }
            SharedProofs::ToCache(proofs) => {
                if let Some((signer, state)) = denial_zone.and_then(|zone| keys.signer(zone)) {
                    signer.prover.enclosers.insert(*proofs, &state, &answer.authorities, validity);
                }
            }
        }
        let is_compact = denial_zone.is_some() && keys.is_compact();
        if is_compact && answer.rcode == ResponseCode::NXDomain && !request.compact_ok {
            answer.rcode = ResponseCode::NoError;
        }
        if request.rtype == RecordType::RRSIG {
            answer.answers.retain(|record| record.record_type() == RecordType::RRSIG);
        }
        (answer, until)
    }
}

/// A section with the signatures of each RRset behind its records. `rrsets` yields an item for each RRset.
fn interleave(section: Vec<Record>, rrsets: &mut impl Iterator<Item = Option<RrSetToSign>>) -> Vec<Record> {
    let mut signed = Vec::with_capacity(section.len() * 2);
    let mut records = section.into_iter().peekable();
    while let Some(record) = records.next() {
        let is_last = records.peek().is_none_or(|next| !in_one_set(&record, next));
        let rrset = if is_last { rrsets.next().flatten() } else { None };
        let Some(signatures) = rrset.and_then(|rrset| rrset.signatures) else {
            signed.push(record);
            continue;
        };
        let (owner, ttl) = (record.name.clone(), record.ttl);
        signed.push(record);
        let rrsigs = signatures.rrsigs.iter();
        signed.extend(rrsigs.map(|rrsig| Record::from_rdata(owner.clone(), ttl, rrsig.clone())));
    }
    signed
}

#[cfg(test)]
mod tests;
