//! The records that the NSEC3 denials of all names below one closest encloser share: the SOA, the NSEC3 that matches the
//! closest encloser, and the NSEC3 that covers its wildcard, each with signatures (RFC 5155 §7.2.2).
//!
//! What remains to be made for a name that was never asked for before is one NSEC3 with its signature.

use super::key_state::KeyState;
use crate::answer::SharedAuthority;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use quick_cache::sync::Cache;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Maximum number of closest enclosers in the cache. They are existing names, so questions alone cannot flood it.
const MAX_ENCLOSERS: usize = 1_024;

/// Signed records by the canonical octets of the closest encloser.
#[derive(Default)]
pub(super) struct EncloserCache {
    by_encloser: OnceLock<Cache<Vec<u8>, Arc<EncloserProofs>>>,
}

/// The signed records of one closest encloser.
pub(super) struct EncloserProofs {
    soa: Record,
    types: Vec<RecordType>,
    /// The keys of the signatures. States are compared by address, and holding this one keeps its address from being used
    /// for another.
    state: Arc<KeyState>,
    pub(super) shared_authority: Arc<SharedAuthority>,
    /// When the records may be served, in seconds of Unix time.
    pub(super) validity: Range<u64>,
}

/// Whether the authority section of an answer begins with records that other answers share.
pub(super) enum SharedProofs {
    /// It shares no records.
    None,
    /// The records are cached, with signatures; they are left out of the answer's own sections.
    Cached(Arc<EncloserProofs>),
    /// The records are part of the answer, and go into the cache once they are signed.
    ToCache(Box<ProofsToCache>),
}

/// A closest encloser whose records are about to be signed.
pub(super) struct ProofsToCache {
    /// Canonical octets of the closest encloser.
    pub(super) cache_key: Vec<u8>,
    pub(super) closest_encloser: Name,
    pub(super) soa: Record,
    pub(super) types: Vec<RecordType>,
    /// Owner of the NSEC3 that covers the next closer name: the only record that is not shared.
    pub(super) next_closer: Name,
}

impl EncloserCache {
    /// The cached records of a closest encloser, if they are made of the same SOA and types, signed with the same keys and
    /// valid now.
    pub(super) fn get(
        &self,
        closest_encloser: &[u8],
        (soa, types): (&Record, &[RecordType]),
        state: &Arc<KeyState>,
        now: u64,
    ) -> Option<Arc<EncloserProofs>> {
        self.cache().get(closest_encloser).filter(|cached| {
            Arc::ptr_eq(&cached.state, state)
                && cached.validity.contains(&now)
                && cached.types == types
                && is_same_soa(&cached.soa, soa)
        })
    }

    /// Caches the shared records of a signed authority section.
    pub(super) fn insert(
        &self,
        new: ProofsToCache,
        state: &Arc<KeyState>,
        authorities: &[Record],
        validity: Range<u64>,
    ) {
        let shared = authorities.iter().filter(|record| record.name != new.next_closer).cloned().collect();
        let proofs = EncloserProofs {
            soa: new.soa,
            types: new.types,
            state: Arc::clone(state),
            shared_authority: Arc::new(SharedAuthority::new(new.closest_encloser, shared)),
            validity,
        };
        self.cache().insert(new.cache_key, Arc::new(proofs));
    }

    fn cache(&self) -> &Cache<Vec<u8>, Arc<EncloserProofs>> {
        self.by_encloser.get_or_init(|| Cache::new(MAX_ENCLOSERS))
    }
}

/// Whether two records are SOA records that are the same in every octet, letter case included.
fn is_same_soa(a: &Record, b: &Record) -> bool {
    let (RData::SOA(x), RData::SOA(y)) = (&a.data, &b.data) else { return false };
    let is_same = |a: &Name, b: &Name| a.iter().eq(b.iter());
    (x.serial, x.refresh, x.retry, x.expire, x.minimum, a.ttl)
        == (y.serial, y.refresh, y.retry, y.expire, y.minimum, b.ttl)
        && is_same(&a.name, &b.name)
        && is_same(&x.mname, &y.mname)
        && is_same(&x.rname, &y.rname)
}

impl fmt::Debug for EncloserCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncloserCache({})", self.by_encloser.get().map_or(0, Cache::len))
    }
}

impl fmt::Debug for SharedProofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Cached(_) => "Cached",
            Self::ToCache(_) => "ToCache",
        })
    }
}
