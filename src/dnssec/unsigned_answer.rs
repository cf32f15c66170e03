//! Answers on their way to be signed.

use super::canonical::RrSet;
use super::denial::DenialKind;
use super::encloser_cache::SharedProofs;
use super::key_state::KeyState;
use super::signer::{Signatures, Signer, SigningError};
use crate::answer::{Answer, in_one_set};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Record, RecordType};
use std::sync::Arc;

/// What was asked, as far as it matters to signing.
#[derive(Clone, Copy, Debug)]
pub struct SigningRequest {
    /// The type.
    pub rtype: RecordType,
    /// Unix time in seconds.
    pub now: u64,
    /// Compact answers OK: the client understands that a name which does not exist has the rcode NXDOMAIN in compact
    /// denial (RFC 9824 §5.1).
    pub compact_ok: bool,
    /// The most octets of the reply; ADDITIONAL beyond that is not signed.
    pub room: usize,
}

/// An answer on its way to be signed: what it takes is known, and made one after the other.
#[derive(Debug)]
pub struct UnsignedAnswer {
    pub(super) signer: Arc<Signer>,
    pub(super) state: Arc<KeyState>,
    pub(super) answer: Answer,
    pub(super) asked: SigningRequest,
    /// What each RRset of the three sections needs, and what was found or made for it.
    pub(super) sets: Vec<Option<RrSetToSign>>,
    pub(super) signatures: Vec<Option<Arc<Signatures>>>,
    /// Places in `sets` that are still without signatures.
    pub(super) missing: Vec<usize>,
    /// What is known of the authority section already.
    pub(super) common: SharedProofs,
}

/// An RRset that needs signatures, and where they are kept.
#[derive(Debug)]
pub(super) struct RrSetToSign {
    pub(super) set: RrSet,
    pub(super) digest: [u8; 32],
}

impl UnsignedAnswer {
    /// Whether absence is denied compactly.
    pub fn is_compact(&self) -> bool {
        self.signer.denial() == DenialKind::Compact
    }

    /// Signatures that have to be made anew. An RRset takes several while keys are rolled over.
    pub fn missing(&self) -> usize {
        let sets = self.missing.iter().filter_map(|at| self.sets[*at].as_ref());
        sets.map(|wanted| self.signer.signers(wanted.set.rtype, &self.state)).sum()
    }

    /// Until when the signatures so far may be served, in seconds of Unix time.
    pub fn until(&self) -> u64 {
        self.holds().1
    }

    /// From when to when its parts may be served.
    fn holds(&self) -> (u64, u64) {
        let (mut from, mut until) = match &self.common {
            SharedProofs::Cached(known) => (known.validity.start, known.validity.end.min(self.state.until())),
            _ => (0, self.state.until()),
        };
        for signatures in self.signatures.iter().flatten() {
            from = from.max(signatures.from);
            until = until.min(signatures.until);
        }
        (from, until)
    }

    /// Signs one RRset; `false` if none is left to sign.
    ///
    /// # Errors
    /// The signature cannot be made; the answer must not go out.
    pub fn sign_next(&mut self) -> Result<bool, SigningError> {
        let Some(at) = self.missing.last().copied() else { return Ok(false) };
        if let Some(wanted) = &self.sets[at] {
            self.signatures[at] = Some(self.signer.fresh(wanted, &self.state, self.asked.now)?);
        }
        self.missing.pop();
        Ok(true)
    }

    /// The answer with all its signatures; those that are still missing are made.
    ///
    /// # Errors
    /// A signature cannot be made.
    pub fn finish(mut self) -> Result<Answer, SigningError> {
        while self.sign_next()? {}
        let holds = self.holds();
        let (mut answer, mut signatures) = (self.answer, self.signatures.into_iter());
        for section in [&mut answer.answers, &mut answer.authorities, &mut answer.additionals] {
            *section = interleaved(std::mem::take(section), &mut signatures);
        }
        match self.common {
            SharedProofs::None => {}
            SharedProofs::Cached(known) => {
                answer.shared_authority = Some(Arc::clone(&known.shared_authority))
            }
            SharedProofs::ToCache(new) => {
                self.signer.prover.enclosers.insert(*new, &self.state, &answer.authorities, holds.0..holds.1)
            }
        }
        if self.signer.denial() == DenialKind::Compact
            && answer.rcode == ResponseCode::NXDomain
            && !self.asked.compact_ok
        {
            answer.rcode = ResponseCode::NoError;
        }
        if self.asked.rtype == RecordType::RRSIG {
            answer.answers.retain(|record| record.record_type() == RecordType::RRSIG);
        }
        Ok(answer)
    }
}

/// A section with the signatures behind each RRset.
fn interleaved(
    section: Vec<Record>,
    signatures: &mut impl Iterator<Item = Option<Arc<Signatures>>>,
) -> Vec<Record> {
    let mut signed = Vec::with_capacity(section.len() * 2);
    let mut records = section.into_iter().peekable();
    while let Some(record) = records.next() {
        let last = records.peek().is_none_or(|next| !in_one_set(&record, next));
        let signatures = if last { signatures.next().flatten() } else { None };
        let (owner, ttl) = (signatures.is_some().then(|| record.name.clone()), record.ttl);
        signed.push(record);
        if let (Some(signatures), Some(owner)) = (signatures, owner) {
            let of_set = signatures.records.iter();
            signed.extend(of_set.map(|rrsig| Record::from_rdata(owner.clone(), ttl, rrsig.clone())));
        }
    }
    signed
}
