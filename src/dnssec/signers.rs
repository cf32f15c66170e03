//! The signers of all zones of a site, and the keys that one answer is made and signed with.

use super::denial::DenialKind;
use super::key_state::KeyState;
use super::signer::Signer;
use crate::answer::{Site, Zone, ZoneKeys};
use hickory_proto::rr::RData;
use std::cell::RefCell;
use std::sync::Arc;

/// The signers of the zones of a site.
#[derive(Debug, Default)]
pub struct Signers {
    /// By the number of the zone; zones without a signer are not signed.
    by_zone: Box<[Option<Arc<Signer>>]>,
    denial: DenialKind,
    sign_slowly: bool,
}

/// Equal if they are the very same signers.
impl PartialEq for Signers {
    fn eq(&self, other: &Self) -> bool {
        let (own, others) = (self.by_zone.iter(), other.by_zone.iter());
        let is_same = |(own, other): (&Option<Arc<Signer>>, &Option<Arc<Signer>>)| match (own, other) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            _ => false,
        };
        own.len() == others.len() && own.zip(others).all(is_same)
    }
}

impl Eq for Signers {}

impl Signers {
    /// The signers by the number of their zone; all of them prove absence in the same way.
    pub fn new(by_zone: Vec<Option<Arc<Signer>>>, denial: DenialKind) -> Self {
        let sign_slowly = by_zone.iter().flatten().any(|signer| signer.signs_slowly());
        Self { by_zone: by_zone.into(), denial, sign_slowly }
    }

    /// The signer of a zone; `None` if the zone is not signed.
    pub fn of(&self, zone: &Zone) -> Option<&Arc<Signer>> {
        self.by_number(zone.number())
    }

    /// All signers, in the order of the zones.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Signer>> {
        self.by_zone.iter().flatten()
    }

    /// Whether no zone is signed.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Whether one signature may take up to some milliseconds.
    pub fn sign_slowly(&self) -> bool {
        self.sign_slowly
    }

    pub(super) fn by_number(&self, zone: usize) -> Option<&Arc<Signer>> {
        self.by_zone.get(zone)?.as_ref()
    }
}

/// The keys that an answer is made and signed with, whatever changes meanwhile.
///
/// What the keys of a zone are used for is looked up at their first use, and stays the same until the answer is signed.
#[derive(Debug)]
pub struct AnswerKeys {
    pub(super) site: Arc<Site>,
    pub(super) signers: Arc<Signers>,
    /// Unix time in seconds.
    pub(super) now: u64,
    /// By the number of the zone; an answer goes through few zones.
    states: RefCell<Vec<(usize, Arc<KeyState>)>>,
}

impl AnswerKeys {
    /// The keys of a site at a time, in seconds of Unix time.
    pub fn new(site: Arc<Site>, signers: Arc<Signers>, now: u64) -> Self {
        Self { site, signers, now, states: RefCell::default() }
    }

    /// Whether absence is denied compactly.
    pub fn is_compact(&self) -> bool {
        self.signers.denial == DenialKind::Compact
    }

    /// See [`Signers::sign_slowly`].
    pub fn sign_slowly(&self) -> bool {
        self.signers.sign_slowly()
    }

    /// Until when the keys are used as they were for this answer so far, in seconds of Unix time.
    pub fn until(&self) -> u64 {
        self.states.borrow().iter().map(|(_, state)| state.until()).min().unwrap_or(u64::MAX)
    }

    /// What the keys of a zone, given by its number, are used for; `None` if the zone is not signed.
    pub(super) fn state(&self, zone: usize) -> Option<Arc<KeyState>> {
        let mut states = self.states.borrow_mut();
        if let Some((_, state)) = states.iter().find(|(number, _)| *number == zone) {
            return Some(Arc::clone(state));
        }
        let state = self.signers.by_number(zone)?.state(self.now);
        states.push((zone, Arc::clone(&state)));
        Some(state)
    }
}

impl ZoneKeys for AnswerKeys {
    fn apex(&self, zone: &Zone) -> Vec<RData> {
        self.state(zone.number()).map_or_else(Vec::new, |state| state.apex().to_vec())
    }

    fn ds(&self, zone: &Zone) -> Vec<RData> {
        self.state(zone.number()).map_or_else(Vec::new, |state| state.ds())
    }
}
