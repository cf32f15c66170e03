//! Signatures over the RRsets of a zone: made when they are needed, cached, and renewed before they expire.

use super::canonical::{self, CanonicalRrSet};
use super::key_set::KeySet;
use super::key_state::KeyState;
use super::raw_rdata::raw_rdata;
use super::signing_key::SignError;
use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use quick_cache::sync::Cache;
use ring::digest::{Context, SHA256};
use std::ops::Range;
use std::sync::Arc;

/// How far back a signature begins, in seconds, for validators whose clocks are slow; as in SkyDNS.
const INCEPTION_BACKDATE: u64 = 3 * 3600;
/// Octets of the longest signature that takes tens of µs: that of ECDSA with P-384. Those of RSA have 128 or more.
const LONGEST_OF_CURVES: usize = 96;
/// Minimum number of seconds for which a signature is valid.
const MIN_VALIDITY: u64 = 7 * 24 * 3600;
/// Up to so many seconds are added, so that signatures made together are not renewed together.
const EXPIRATION_JITTER: u64 = 24 * 3600;
/// Maximum number of seconds for which a signature is valid because of a long TTL. A validity of four times the TTL is
/// enough, so this is right for TTLs of up to a quarter of it.
const MAX_VALIDITY_FOR_TTL: u64 = 365 * 24 * 3600;

/// Why a signature could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The signing key failed.
    #[error(transparent)]
    Key(#[from] SignError),
    /// A record has no canonical form.
    #[error("a record cannot be written: {0}")]
    Record(#[from] ProtoError),
    /// The zone has no key.
    #[error("no key signs {0}")]
    NoKey(Name),
}

/// Cached signatures of any number of signers. It is shared between them, so that signatures outlive a change of keys.
#[derive(Debug)]
pub struct SignatureCache {
    pub(super) by_rrset: Cache<[u8; 32], Arc<Signatures>>,
}

impl SignatureCache {
    /// A cache for the signatures of at most so many RRsets.
    pub fn new(max_rrsets: usize) -> Self {
        Self { by_rrset: Cache::new(max_rrsets) }
    }

    /// Number of RRsets whose signatures are cached.
    pub fn len(&self) -> usize {
        self.by_rrset.len()
    }

    /// Whether no signatures are cached.
    pub fn is_empty(&self) -> bool {
        self.by_rrset.len() == 0
    }

    /// The cached signatures of an RRset, if they may be served now; signatures that may not are dropped.
    fn get(&self, key: &[u8; 32], now: u64) -> Option<Arc<Signatures>> {
        let cached = self.by_rrset.get(key)?;
        if cached.validity.contains(&now) {
            return Some(cached);
        }
        self.by_rrset.remove(key);
        None
    }
}

/// The signatures of one RRset, one for each key.
#[derive(Debug)]
pub(super) struct Signatures {
    /// When they may be served, in seconds of Unix time. The clock may be set back, so the beginning counts as well.
    pub(super) validity: Range<u64>,
    /// RDATA of the RRSIG records.
    pub(super) rrsigs: Vec<RData>,
}

/// An RRset that needs signatures.
#[derive(Debug)]
pub(super) struct RrSetToSign {
    rrset: CanonicalRrSet,
    /// How many signatures that takes: several while keys are rolled over.
    pub(super) signature_count: usize,
    /// SHA-256 over the keys and the canonical form: the same records signed with the same keys have the same signatures.
    cache_key: [u8; 32],
    /// `None` while they are still to be made.
    pub(super) signatures: Option<Arc<Signatures>>,
}

/// Signs the RRsets of one zone.
#[derive(Debug)]
pub(super) struct RrSetSigner {
    /// The zone, absolute, in lower case.
    pub(super) zone: Name,
    /// The zone in canonical form: the signer's name of each RRSIG.
    signer_name: Vec<u8>,
    pub(super) keys: KeySet,
    pub(super) cache: Arc<SignatureCache>,
}

impl RrSetSigner {
    pub(super) fn new(zone: Name, keys: KeySet, cache: Arc<SignatureCache>) -> Self {
        Self { signer_name: canonical::name_octets(&zone), zone, keys, cache }
    }

    /// Octets of the signatures of one RRset of the zone's data.
    pub(super) fn signature_octets(&self, state: &KeyState) -> usize {
        let keys = state.for_zone_data.keys.iter().map(|active| &self.keys.keys()[active.index]);
        keys.map(|key| key.signing.signature_len()).sum()
    }

    /// See [`Signer::signs_slowly`](super::Signer::signs_slowly).
    pub(super) fn signs_slowly(&self) -> bool {
        self.keys.keys().iter().any(|key| key.signing.signature_len() > LONGEST_OF_CURVES)
    }

    /// An RRset of the zone with the signatures that are cached; `None` if it has no record.
    ///
    /// # Errors
    /// A record has no canonical form.
    pub(super) fn rrset_to_sign(
        &self,
        rrset: &[Record],
        state: &KeyState,
        now: u64,
    ) -> Result<Option<RrSetToSign>, SigningError> {
        let Some(rrset) = CanonicalRrSet::new(rrset)? else { return Ok(None) };
        let mut digest = Context::new(&SHA256);
        let keys = state.keys_for(rrset.rtype);
        digest.update(&keys.fingerprint);
        digest.update(&rrset.octets);
        let mut cache_key = [0; 32];
        cache_key.copy_from_slice(digest.finish().as_ref());
        let signatures = self.cache.get(&cache_key, now);
        let signature_count = keys.keys.len();
        Ok(Some(RrSetToSign { rrset, signature_count, cache_key, signatures }))
    }

    /// New signatures of an RRset. Of threads that need the same ones, one makes them and the others wait for it.
    ///
    /// # Errors
    /// A signature cannot be made.
    pub(super) fn fresh(
        &self,
        to_sign: &RrSetToSign,
        state: &KeyState,
        now: u64,
    ) -> Result<Arc<Signatures>, SigningError> {
        let make = || self.make(to_sign, state, now).map(Arc::new);
        let signatures = self.cache.by_rrset.get_or_insert_with(&to_sign.cache_key, make)?;
        if signatures.validity.contains(&now) {
            return Ok(signatures);
        }
        // Another thread made these by a clock that has been set since.
        let signatures = make()?;
        self.cache.by_rrset.insert(to_sign.cache_key, Arc::clone(&signatures));
        Ok(signatures)
    }

    fn make(&self, to_sign: &RrSetToSign, state: &KeyState, now: u64) -> Result<Signatures, SigningError> {
        let rrset = &to_sign.rrset;
        let [a, b, c, d, ..] = to_sign.cache_key;
        let jitter = u64::from(u32::from_be_bytes([a, b, c, d])) % EXPIRATION_JITTER;
        let validity = MIN_VALIDITY.max(MAX_VALIDITY_FOR_TTL.min(4 * u64::from(rrset.ttl))) + jitter;
        let (inception, expiration) = (now.saturating_sub(INCEPTION_BACKDATE), now + validity);
        let mut rrsigs = Vec::new();
        for active in &state.keys_for(rrset.rtype).keys {
            let key = &self.keys.keys()[active.index];
            // 18 octets and the signer's name stand before the signature (RFC 4034 §3.1).
            let mut rdata = Vec::with_capacity(18 + 64 + key.signing.signature_len());
            rdata.extend_from_slice(&u16::from(rrset.rtype).to_be_bytes());
            rdata.extend([key.public.algorithm.number(), rrset.labels]);
            rdata.extend_from_slice(&rrset.ttl.to_be_bytes());
            rdata.extend_from_slice(&serial_time(expiration));
            rdata.extend_from_slice(&serial_time(inception));
            rdata.extend_from_slice(&active.tag.to_be_bytes());
            rdata.extend_from_slice(&self.signer_name);
            let message = [rdata.as_slice(), &rrset.octets].concat();
            rdata.extend(key.signing.sign(&message)?);
            rrsigs.push(raw_rdata(RecordType::RRSIG, rdata));
        }
        if rrsigs.is_empty() {
            return Err(SigningError::NoKey(self.zone.clone()));
        }
        // Signatures are replaced after three quarters of their validity: a reply with the old ones has left every cache
        // before they expire. They are replaced as well if the clock is set back to before they were made.
        let served = now.saturating_sub(INCEPTION_BACKDATE / 2)..now + validity / 4 * 3;
        Ok(Signatures { validity: served, rrsigs })
    }
}

/// The low 32 bits of a Unix time, as RRSIG has times: serial numbers (RFC 4034 §3.1.5).
fn serial_time(time: u64) -> [u8; 4] {
    let [.., a, b, c, d] = time.to_be_bytes();
    [a, b, c, d]
}
