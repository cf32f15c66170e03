//! What the denials of all names below one name have in common: the SOA, the NSEC3 that matches the closest encloser, and
//! the one that covers its wildcard, with their signatures. What is left of an answer to a name that was never asked for
//! is one NSEC3 and one signature.

use super::canonical;
use super::key_state::KeyState;
use crate::answer::{Answer, Missing, SharedAuthority};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use quick_cache::sync::Cache;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Closest enclosers that are kept; they exist, so there is no flood of them.
const MAX_ENCLOSERS: usize = 1_024;

/// Signed records of closest enclosers, by their canonical octets.
#[derive(Default)]
pub(super) struct EncloserCache {
    kept: OnceLock<Cache<Vec<u8>, Arc<EncloserProofs>>>,
}

/// What goes into the authority section of every denial below a name.
pub(super) struct EncloserProofs {
    inputs: ProofInputs,
    /// What it is signed with; that it is held on to keeps its address its own.
    state: Arc<KeyState>,
    pub(super) shared_authority: Arc<SharedAuthority>,
    /// From when to when they are served, in seconds of Unix time.
    pub(super) from: u64,
    pub(super) until: u64,
}

/// What the records are made of.
#[derive(Debug)]
struct ProofInputs {
    soa: Record,
    /// Types at the closest encloser.
    types: Vec<RecordType>,
}

/// What an answer has in common with others.
pub(super) enum SharedProofs {
    /// Nothing that is worth keeping.
    Nothing,
    /// This, which is signed already.
    Known(Arc<EncloserProofs>),
    /// What is about to be signed.
    New(Box<NewProofs>),
}

/// What there will be to keep once it is signed.
pub(super) struct NewProofs {
    octets: Vec<u8>,
    closest_encloser: Name,
    inputs: ProofInputs,
    /// The owner of the NSEC3 that covers the next closer name, which is no part of it.
    pub(super) next_closer: Option<Name>,
}

impl EncloserCache {
    /// What is known of an answer that denies one name with NSEC3, at a time.
    pub(super) fn of(&self, answer: &Answer, state: &Arc<KeyState>, now: u64) -> SharedProofs {
        let ([denial], [soa]) = (&answer.denials[..], &answer.authorities[..]) else {
            return SharedProofs::Nothing;
        };
        let Missing::Name { closest_encloser, types } = &denial.missing else { return SharedProofs::Nothing };
        // A question for the wildcard itself takes one proof less.
        if denial.name.iter().any(|label| label == b"*") {
            return SharedProofs::Nothing;
        }
        let octets = canonical::name_octets(closest_encloser);
        let kept = self.cache().get(octets.as_slice());
        let of_same = |known: &Arc<EncloserProofs>| {
            Arc::ptr_eq(&known.state, state)
                && (known.from..known.until).contains(&now)
                && known.inputs.types == *types
                && same_soa(&known.inputs.soa, soa)
        };
        match kept.filter(of_same) {
            Some(known) => SharedProofs::Known(known),
            None => {
                let inputs = ProofInputs { soa: soa.clone(), types: types.clone() };
                let closest_encloser = closest_encloser.clone();
                SharedProofs::New(Box::new(NewProofs { octets, closest_encloser, inputs, next_closer: None }))
            }
        }
    }

    /// Keeps what was signed: an authority section from one time to another, without what is of one name only.
    pub(super) fn keep(
        &self,
        new: NewProofs,
        state: &Arc<KeyState>,
        signed: &[Record],
        (from, until): (u64, u64),
    ) {
        let Some(next_closer) = new.next_closer else { return };
        let records = signed.iter().filter(|record| record.name != next_closer).cloned().collect();
        let shared_authority = Arc::new(SharedAuthority::new(new.closest_encloser, records));
        let encloser =
            EncloserProofs { inputs: new.inputs, state: Arc::clone(state), shared_authority, from, until };
        self.cache().insert(new.octets, Arc::new(encloser));
    }

    fn cache(&self) -> &Cache<Vec<u8>, Arc<EncloserProofs>> {
        self.kept.get_or_init(|| Cache::new(MAX_ENCLOSERS))
    }
}

/// Whether two SOA records are the same to the letter.
fn same_soa(a: &Record, b: &Record) -> bool {
    let (RData::SOA(x), RData::SOA(y)) = (&a.data, &b.data) else { return false };
    let same = |a: &Name, b: &Name| a.iter().eq(b.iter());
    (x.serial, x.refresh, x.retry, x.expire, x.minimum, a.ttl)
        == (y.serial, y.refresh, y.retry, y.expire, y.minimum, b.ttl)
        && same(&a.name, &b.name)
        && same(&x.mname, &y.mname)
        && same(&x.rname, &y.rname)
}

impl fmt::Debug for EncloserCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncloserCache({})", self.kept.get().map_or(0, Cache::len))
    }
}

impl fmt::Debug for SharedProofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Known(_) => "Known",
            Self::New(_) => "New",
        })
    }
}
