//! The steps of signing one answer: prove what it denies, find or make the signatures of its RRsets, put them together.

use super::Signer;
use crate::answer::{Answer, in_one_set, rrsets};
use crate::dnssec::denial::{DenialKind, DenialProof};
use crate::dnssec::encloser_cache::SharedProofs;
use crate::dnssec::key_state::KeyState;
use crate::dnssec::signatures::{RrSetSigner, RrSetsToSign, SigningError};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Record, RecordType};
use std::ops::Range;
use std::sync::Arc;

/// What signing needs to know of a question.
#[derive(Clone, Copy, Debug)]
pub struct SigningRequest {
    /// The type asked for.
    pub rtype: RecordType,
    /// Unix time in seconds.
    pub now: u64,
    /// Compact answers OK: the client understands that a name which does not exist has the rcode NXDOMAIN in compact
    /// denial (RFC 9824 §5.1).
    pub compact_ok: bool,
    /// Maximum number of octets of the reply. RRsets of ADDITIONAL that cannot fit are left out instead of signed.
    pub max_reply_octets: usize,
}

/// What [`Signer::sign`] achieved.
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
    signer: Arc<Signer>,
    state: Arc<KeyState>,
    answer: Answer,
    request: SigningRequest,
    rrsets: RrSetsToSign,
    shared_proofs: SharedProofs,
}

impl Signer {
    /// Signs an answer. If more than `max_fresh` signatures are not cached, none is made, and the caller decides when to
    /// make them.
    ///
    /// `state` is the state that the answer was gathered with.
    ///
    /// # Errors
    /// A record cannot be written, or a signature cannot be made; the answer must not be sent.
    pub fn sign(
        self: &Arc<Self>,
        answer: Answer,
        state: &Arc<KeyState>,
        request: SigningRequest,
        max_fresh: usize,
    ) -> Result<SigningOutcome, SigningError> {
        let unsigned = self.prepare(answer, state, request, max_fresh)?;
        if unsigned.is_complete() {
            let (answer, until) = unsigned.into_signed();
            return Ok(SigningOutcome::Signed { answer, until });
        }
        Ok(SigningOutcome::Unfinished(Box::new(unsigned)))
    }

    /// Adds the proofs of absence, leaves out what cannot fit, and makes at most `max_fresh` signatures.
    fn prepare(
        self: &Arc<Self>,
        mut answer: Answer,
        state: &Arc<KeyState>,
        request: SigningRequest,
        max_fresh: usize,
    ) -> Result<UnsignedAnswer, SigningError> {
        let proof = self.prover.prove(&answer, state, request.now)?;
        let shared_proofs = self.add_proof(&mut answer, proof, request.rtype);
        self.limit_additionals(&mut answer.additionals, state, request.max_reply_octets);
        let sections = [&answer.answers[..], &answer.authorities, &answer.additionals];
        let rrsets = self.rrset_signer.sign(sections, state, request.now, max_fresh)?;
        let (signer, state) = (Arc::clone(self), Arc::clone(state));
        Ok(UnsignedAnswer { signer, state, answer, request, rrsets, shared_proofs })
    }

    /// Puts the proof of what an answer denies into the answer, in place of the denials.
    fn add_proof(&self, answer: &mut Answer, proof: DenialProof, rtype: RecordType) -> SharedProofs {
        answer.denials.clear();
        if let SharedProofs::Cached(_) = proof.shared {
            // The SOA is among the cached records.
            answer.authorities.clear();
        }
        let is_nsec_question = rtype == RecordType::NSEC && self.denial() == DenialKind::Compact;
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
    fn limit_additionals(&self, additionals: &mut Vec<Record>, state: &KeyState, max_reply_octets: usize) {
        if additionals.is_empty() {
            return;
        }
        // Two owner names as pointers, the heads of two records, and the data of an RRSIG without its signature.
        let least_octets = 2 * 12 + 18 + self.rrset_signer.signature_octets(state);
        let mut fitting = max_reply_octets / least_octets;
        let mut keep = Vec::with_capacity(additionals.len());
        for rrset in rrsets(additionals) {
            // An RRset of another zone takes no signature, so it does not count.
            let is_signed = self.zone().zone_of(&rrset[0].name);
            keep.extend(rrset.iter().map(|_| !is_signed || fitting > 0));
            fitting -= usize::from(is_signed && fitting > 0);
        }
        let mut keep = keep.into_iter();
        additionals.retain(|_| keep.next().unwrap_or(false));
    }
}

impl UnsignedAnswer {
    /// Whether absence is denied compactly.
    pub fn is_compact(&self) -> bool {
        self.signer.denial() == DenialKind::Compact
    }

    /// Number of signatures that are still to be made. An RRset takes several while keys are rolled over.
    pub fn missing(&self) -> usize {
        RrSetSigner::count_missing(&self.rrsets, &self.state)
    }

    /// Makes the signatures of one RRset; `false` if every RRset has them.
    ///
    /// # Errors
    /// A signature cannot be made; the answer must not be sent.
    pub fn sign_next(&mut self) -> Result<bool, SigningError> {
        self.signer.rrset_signer.sign_next(&mut self.rrsets, &self.state, self.request.now)
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
        self.rrsets.iter().flatten().all(|rrset| rrset.signatures.is_some())
    }

    /// When the records of the answer may be served, in seconds of Unix time.
    fn validity(&self) -> Range<u64> {
        let (mut from, mut until) = (0, self.state.until());
        let mut narrow = |validity: &Range<u64>| {
            from = from.max(validity.start);
            until = until.min(validity.end);
        };
        if let SharedProofs::Cached(proofs) = &self.shared_proofs {
            narrow(&proofs.validity);
        }
        let signatures = self.rrsets.iter().flatten().filter_map(|rrset| rrset.signatures.as_ref());
        signatures.for_each(|signatures| narrow(&signatures.validity));
        from..until
    }

    /// The complete answer, and until when it may be served.
    fn into_signed(self) -> (Answer, u64) {
        debug_assert!(self.is_complete(), "an answer without all signatures");
        let validity = self.validity();
        let until = validity.end;
        let Self { signer, state, mut answer, request, rrsets, shared_proofs } = self;
        let mut rrsets = rrsets.into_iter();
        for section in [&mut answer.answers, &mut answer.authorities, &mut answer.additionals] {
            *section = interleave(std::mem::take(section), &mut rrsets);
        }
        match shared_proofs {
            SharedProofs::None => {}
            SharedProofs::Cached(proofs) => {
                answer.shared_authority = Some(Arc::clone(&proofs.shared_authority));
            }
            SharedProofs::ToCache(proofs) => {
                signer.prover.enclosers.insert(*proofs, &state, &answer.authorities, validity);
            }
        }
        let is_compact = signer.denial() == DenialKind::Compact;
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
fn interleave(section: Vec<Record>, rrsets: &mut <RrSetsToSign as IntoIterator>::IntoIter) -> Vec<Record> {
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
