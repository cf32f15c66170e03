//! The signer of a zone: what the rest of the program signs answers with.

use super::denial::{DenialKind, DenialProver};
use super::key_set::KeySet;
use super::key_state::KeyState;
use super::signatures::{RrSetSigner, SignatureCache};
use arc_swap::ArcSwap;
use hickory_proto::rr::Name;
use std::sync::Arc;

pub(super) mod sign;

/// Signs and denies names of one zone. [`AnswerKeys::sign`](super::AnswerKeys::sign) is the way in.
#[derive(Debug)]
pub struct Signer {
    rrset_signer: RrSetSigner,
    prover: DenialProver,
    /// The state that was current at the last call of [`state`](Self::state).
    state: ArcSwap<KeyState>,
}

impl Signer {
    /// A signer of a zone, which is absolute and in lower case. `now` is Unix time in seconds.
    pub fn new(zone: Name, keys: KeySet, denial: DenialKind, cache: Arc<SignatureCache>, now: u64) -> Self {
        let state = ArcSwap::from_pointee(keys.at(now, denial));
        let prover = DenialProver::new(zone.clone(), denial);
        Self { rrset_signer: RrSetSigner::new(zone, keys, cache), prover, state }
    }

    /// The zone.
    pub fn zone(&self) -> &Name {
        &self.rrset_signer.zone
    }

    /// The keys of the zone.
    pub fn keys(&self) -> &KeySet {
        &self.rrset_signer.keys
    }

    /// How absence is proven.
    pub fn denial(&self) -> DenialKind {
        self.prover.kind()
    }

    /// Whether one signature takes up to some milliseconds.
    pub fn signs_slowly(&self) -> bool {
        self.rrset_signer.signs_slowly()
    }

    /// What the keys are used for at a time, in seconds of Unix time.
    pub fn state(&self, now: u64) -> Arc<KeyState> {
        let state = self.state.load();
        if state.covers(now) {
            return Arc::clone(&state);
        }
        let state = Arc::new(self.keys().at(now, self.denial()));
        self.state.store(Arc::clone(&state));
        state
    }
}
