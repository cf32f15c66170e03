//! Signatures over the site's own RRsets, made when they are asked for, and kept.

use super::canonical::{self, RrSet};
use super::denial::{DenialKind, DenialProof, DenialProver};
use super::encloser_cache::SharedProofs;
use super::key_set::KeySet;
use super::key_state::KeyState;
use super::raw_rdata::raw_rdata;
use super::signing_key::SignError;
use super::unsigned_answer::{RrSetToSign, SigningRequest, UnsignedAnswer};
use crate::answer::{Answer, rrsets};
use arc_swap::ArcSwap;
use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use quick_cache::sync::Cache;
use ring::digest::{Context, SHA256};
use std::sync::Arc;

/// How far back a signature begins, in seconds, for validators whose clocks are slow; as in SkyDNS.
const INCEPTION_BACKDATE: u64 = 3 * 3600;
/// How long a signature is good for at least, in seconds.
const MIN_VALIDITY: u64 = 7 * 24 * 3600;
/// Up to so many seconds more, so that signatures made together are not renewed together.
const EXPIRATION_JITTER: u64 = 24 * 3600;
/// How long a signature may be good for because of a long TTL, in seconds: it is right for TTLs of a quarter of that.
const MAX_VALIDITY_FOR_TTL: u64 = 365 * 24 * 3600;

/// A signature could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The key refused.
    #[error(transparent)]
    Key(#[from] SignError),
    /// A record cannot be brought into canonical form.
    #[error("a record cannot be written: {0}")]
    Record(#[from] ProtoError),
    /// There is nothing to sign with.
    #[error("no key signs {0}")]
    NoKey(Name),
}

/// Signatures that were made, of any number of signers; shared so that they outlive a change of keys.
#[derive(Debug)]
pub struct SignatureCache {
    kept: Cache<[u8; 32], Arc<Signatures>>,
}

impl SignatureCache {
    /// A cache for the signatures of so many RRsets.
    pub fn new(rrsets: usize) -> Self {
        Self { kept: Cache::new(rrsets) }
    }

    /// RRsets whose signatures are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.len() == 0
    }
}

/// The signatures of one RRset: RDATA of its RRSIG records.
#[derive(Debug)]
pub(super) struct Signatures {
    /// From when to when they are served, in seconds of Unix time.
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) records: Vec<RData>,
}

impl Signatures {
    /// Whether they are good to serve. The clock may have been set: what lies ahead is as bad as what is over.
    fn hold(&self, now: u64) -> bool {
        (self.from..self.until).contains(&now)
    }
}

/// Signs the answers of one zone.
#[derive(Debug)]
pub struct Signer {
    /// The zone, absolute, in lower case.
    zone: Name,
    keys: KeySet,
    state: ArcSwap<KeyState>,
    cache: Arc<SignatureCache>,
    pub(super) prover: DenialProver,
}

impl Signer {
    /// A signer of a zone.
    pub fn new(zone: Name, keys: KeySet, denial: DenialKind, cache: Arc<SignatureCache>, now: u64) -> Self {
        let state = ArcSwap::from_pointee(keys.at(now, denial));
        let prover = DenialProver::new(zone.clone(), denial);
        Self { zone, keys, state, cache, prover }
    }

    /// The zone.
    pub fn zone(&self) -> &Name {
        &self.zone
    }

    /// Its keys.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// How absence is proven.
    pub fn denial(&self) -> DenialKind {
        self.prover.kind()
    }

    /// What the keys are used for now.
    pub fn state(&self, now: u64) -> Arc<KeyState> {
        let state = self.state.load();
        if state.covers(now) {
            return Arc::clone(&state);
        }
        let state = Arc::new(self.keys.at(now, self.denial()));
        self.state.store(Arc::clone(&state));
        state
    }

    /// Adds proofs of absence to an answer, and finds the signatures that are kept.
    ///
    /// `state` is the one that the answer was made with.
    ///
    /// # Errors
    /// A record that cannot be written.
    pub fn prepare(
        self: &Arc<Self>,
        mut answer: Answer,
        state: &Arc<KeyState>,
        asked: SigningRequest,
    ) -> Result<UnsignedAnswer, SigningError> {
        let DenialProof { records: denials, shared: common } =
            self.prover.prove(&answer, state, asked.now)?;
        if let SharedProofs::Cached(_) = common {
            answer.authorities.clear();
        }
        answer.denials.clear();
        if self.denial() == DenialKind::Compact && asked.rtype == RecordType::NSEC && !denials.is_empty() {
            // It was asked for, and here it is.
            answer.authorities.clear();
            answer.answers.extend(denials);
        } else {
            answer.authorities.extend(denials);
        }
        self.limit(&mut answer.additionals, state, asked.room);
        let sections = [&answer.answers, &answer.authorities, &answer.additionals];
        let sets = sections.into_iter().flat_map(|section| rrsets(section));
        let sets = sets.map(|rrset| self.wanted(rrset, state)).collect::<Result<Vec<_>, _>>()?;
        let mut missing = Vec::new();
        let mut signatures = Vec::with_capacity(sets.len());
        for (at, wanted) in sets.iter().enumerate() {
            let kept = wanted.as_ref().map(|wanted| self.kept(wanted, asked.now));
            if let Some(None) = kept {
                missing.push(at);
            }
            signatures.push(kept.flatten());
        }
        let (signer, state) = (Arc::clone(self), Arc::clone(state));
        Ok(UnsignedAnswer { signer, state, answer, asked, sets, signatures, missing, common })
    }

    /// Leaves out what cannot fit into ADDITIONAL together with its signatures.
    fn limit(&self, additionals: &mut Vec<Record>, state: &KeyState, room: usize) {
        let signatures: usize = state
            .for_zone_data
            .keys
            .iter()
            .map(|key| self.keys.keys()[key.index].signing.signature_len())
            .sum();
        // Two owner names as pointers, the heads of two records, and the data of a RRSIG without its signature.
        let least = 2 * 12 + 18 + signatures;
        let mut left = room / least;
        let mut keep = Vec::with_capacity(additionals.len());
        for rrset in rrsets(additionals) {
            // What is not signed costs nothing.
            let ours = self.zone.zone_of(&rrset[0].name);
            keep.extend(rrset.iter().map(|_| !ours || left > 0));
            left -= usize::from(ours && left > 0);
        }
        let mut keep = keep.into_iter();
        additionals.retain(|_| keep.next().unwrap_or(false));
    }

    /// What an RRset needs; nothing if it is not ours to sign.
    fn wanted(&self, rrset: &[Record], state: &KeyState) -> Result<Option<RrSetToSign>, SigningError> {
        if !rrset.first().is_some_and(|first| self.zone.zone_of(&first.name)) {
            return Ok(None);
        }
        let Some(set) = RrSet::new(rrset)? else { return Ok(None) };
        let mut digest = Context::new(&SHA256);
        digest.update(&state.keys_for(set.rtype).fingerprint);
        digest.update(&set.octets);
        let mut key = [0; 32];
        key.copy_from_slice(digest.finish().as_ref());
        Ok(Some(RrSetToSign { set, digest: key }))
    }

    /// How many keys sign an RRset of a type.
    pub(super) fn signers(&self, rtype: RecordType, state: &KeyState) -> usize {
        state.keys_for(rtype).keys.len()
    }

    /// The signatures of an RRset that are kept and good to serve.
    fn kept(&self, wanted: &RrSetToSign, now: u64) -> Option<Arc<Signatures>> {
        let kept = self.cache.kept.get(&wanted.digest)?;
        if kept.hold(now) {
            return Some(kept);
        }
        self.cache.kept.remove(&wanted.digest);
        None
    }

    /// NewProofs signatures of an RRset, which only one thread makes; where the clock was set meanwhile, each that sees it does.
    pub(super) fn fresh(
        &self,
        wanted: &RrSetToSign,
        state: &KeyState,
        now: u64,
    ) -> Result<Arc<Signatures>, SigningError> {
        let make = || self.make(wanted, state, now).map(Arc::new);
        let made = self.cache.kept.get_or_insert_with(&wanted.digest, make)?;
        if made.hold(now) {
            return Ok(made);
        }
        // Another thread made it by a clock that has been set since.
        let made = make()?;
        self.cache.kept.insert(wanted.digest, Arc::clone(&made));
        Ok(made)
    }

    fn make(&self, wanted: &RrSetToSign, state: &KeyState, now: u64) -> Result<Signatures, SigningError> {
        let set = &wanted.set;
        let spread = u64::from(u32::from_be_bytes([
            wanted.digest[0],
            wanted.digest[1],
            wanted.digest[2],
            wanted.digest[3],
        ]));
        let validity =
            MIN_VALIDITY.max(MAX_VALIDITY_FOR_TTL.min(4 * u64::from(set.ttl))) + spread % EXPIRATION_JITTER;
        let (inception, expiration) = (now.saturating_sub(INCEPTION_BACKDATE), now + validity);
        let mut records = Vec::new();
        for active in &state.keys_for(set.rtype).keys {
            let key = &self.keys.keys()[active.index];
            // 18 octets and the signer's name stand before the signature (RFC 4034 §3.1).
            let mut rdata = Vec::with_capacity(18 + 64 + key.signing.signature_len());
            rdata.extend_from_slice(&u16::from(set.rtype).to_be_bytes());
            rdata.extend([key.public.algorithm.number(), set.labels]);
            rdata.extend_from_slice(&set.ttl.to_be_bytes());
            // Times are serial numbers of 32 bits (RFC 4034 §3.1.5).
            rdata.extend_from_slice(&serial(expiration));
            rdata.extend_from_slice(&serial(inception));
            rdata.extend_from_slice(&active.tag.to_be_bytes());
            rdata.extend(canonical::name_octets(&self.zone));
            let message = [rdata.as_slice(), &set.octets].concat();
            rdata.extend(key.signing.sign(&message)?);
            records.push(raw_rdata(RecordType::RRSIG, rdata));
        }
        if records.is_empty() {
            return Err(SigningError::NoKey(self.zone.clone()));
        }
        // Renewed after three quarters of their time, so that what is served then is over in all caches before it expires,
        // and when the clock goes back to before they were made.
        Ok(Signatures {
            from: now.saturating_sub(INCEPTION_BACKDATE / 2),
            until: now + validity / 4 * 3,
            records,
        })
    }
}

fn serial(time: u64) -> [u8; 4] {
    let [.., a, b, c, d] = time.to_be_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests;
