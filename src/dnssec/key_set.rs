//! The keys of a zone together: which of them are in the zone, and which sign what, at a time.

use super::denial::DenialKind;
use super::public_key::SEP;
use super::raw_rdata::raw_rdata;
use super::{DsDigest, Key, PublicKey, canonical};
use hickory_proto::rr::{RData, RecordType};
use ring::digest::{Context, SHA256};
use std::collections::BTreeSet;

/// All keys of a zone.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    /// TTL of the DNSKEY RRset, in seconds.
    ttl: u32,
}

/// What the keys are used for, from one time to another.
#[derive(Debug)]
pub struct KeyState {
    /// From when on, in seconds of Unix time.
    from: u64,
    /// Until when.
    until: u64,
    /// The apex's DNSKEY, CDS and CDNSKEY, and the NSEC3PARAM.
    apex: Vec<RData>,
    /// What signs the DNSKEY, CDS and CDNSKEY RRsets.
    pub(super) of_keys: ActiveKeys,
    /// What signs all else.
    pub(super) of_zone: ActiveKeys,
    /// Whether no key says of itself that it is active now.
    out_of_time: bool,
}

/// A key as it signs at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActiveKey {
    /// Where in the set.
    pub(super) at: usize,
    /// Its tag; another one once it is revoked.
    pub(super) tag: u16,
}

/// The keys that sign together.
#[derive(Debug)]
pub(super) struct ActiveKeys {
    pub(super) roles: Vec<ActiveKey>,
    /// A digest that tells them from all others.
    pub(super) identity: [u8; 32],
}

/// Keys that were made within so many seconds came together.
const SAME_TIME_SECS: u64 = 60;
/// Every cache knows a DNSKEY that has been in the zone for so many seconds, or for its TTL if that is longer.
const MIN_SETTLING_SECS: u64 = 24 * 3600;

/// NSEC3PARAM of what we deny with: SHA-1, no iterations, no salt (RFC 5155 §4, RFC 9276 §3.1).
const NSEC3PARAM_RDATA: [u8; 5] = [1, 0, 0, 0, 0];

impl KeySet {
    /// The keys, each once.
    pub fn new(keys: Vec<Key>) -> Self {
        let mut set: Vec<Key> = Vec::with_capacity(keys.len());
        for key in keys {
            if set.iter().all(|other| other.public != key.public) {
                set.push(key);
            }
        }
        Self { keys: set, ttl: 0 }
    }

    /// The same with the TTL that the DNSKEY RRset is served with, in seconds.
    pub fn with_ttl(self, ttl: u32) -> Self {
        Self { ttl, ..self }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// What the keys are used for at a time.
    ///
    /// A key signs from its activation on, and is in the zone from its publication on. Every algorithm in the
    /// zone signs (RFC 4035 §2.2), so a key of a new algorithm signs as soon as it is published. If no key is
    /// active, as before the clock of the host is right, all of them count: a signature that is out of time is
    /// no worse than none.
    pub fn at(&self, now: u64, denial: DenialKind) -> KeyState {
        let all: Vec<usize> = (0..self.keys.len()).collect();
        let which = |wanted: &dyn Fn(&Key) -> bool| -> Vec<usize> {
            all.iter().copied().filter(|at| wanted(&self.keys[*at])).collect()
        };
        let mut active = which(&|key| key.times.is_active(now) && !key.times.is_revoked(now));
        let mut published = which(&|key| key.times.is_published(now));
        let out_of_time = active.is_empty() && !all.is_empty();
        if out_of_time {
            (active, published) = (all.clone(), all);
        }
        let algorithms: BTreeSet<_> =
            active.iter().chain(&published).map(|at| self.keys[*at].public.algorithm).collect();
        let (mut of_zone, mut of_keys) = (Vec::new(), Vec::new());
        let mut times: Vec<u64> = self.keys.iter().flat_map(|key| key.times.changes()).collect();
        for algorithm in algorithms {
            let of = |keys: &[usize]| -> Vec<usize> {
                keys.iter().copied().filter(|at| self.keys[*at].public.algorithm == algorithm).collect()
            };
            let (active, published) = (of(&active), of(&published));
            let signing = if active.is_empty() { &published } else { &active };
            let (zone, settles) = self.of_zone(signing, now);
            of_zone.extend(zone);
            times.extend(settles);
            let in_zone: Vec<_> = signing.iter().copied().filter(|at| published.contains(at)).collect();
            of_keys.extend(self.prefer(if in_zone.is_empty() { &published } else { &in_zone }, true));
        }
        let revoked = published.iter().copied().filter(|at| self.keys[*at].times.is_revoked(now));
        of_keys.extend(revoked);
        of_keys.sort_unstable();
        of_keys.dedup();
        let role = |at: usize| ActiveKey { at, tag: self.public(at, now).tag() };
        KeyState {
            from: times.iter().copied().filter(|time| *time <= now).max().unwrap_or(0),
            until: times.iter().copied().filter(|time| *time > now).min().unwrap_or(u64::MAX),
            apex: self.apex(&published, now, denial),
            of_keys: self.roles(of_keys.into_iter().map(role).collect()),
            of_zone: self.roles(of_zone.into_iter().map(role).collect()),
            out_of_time,
        }
    }

    fn roles(&self, roles: Vec<ActiveKey>) -> ActiveKeys {
        let mut digest = Context::new(&SHA256);
        for role in &roles {
            let public = &self.keys[role.at].public;
            digest.update(&canonical::name_octets(&public.owner));
            digest.update(&public.rdata());
            digest.update(&role.tag.to_be_bytes());
        }
        let mut identity = [0; 32];
        identity.copy_from_slice(digest.finish().as_ref());
        ActiveKeys { roles, identity }
    }

    /// The keys that sign the zone: ZSKs if there are any.
    ///
    /// As long as caches may not know of a ZSK that came later, the keys before it go on signing; when that ends is told as
    /// well, before and after, for the clock may be set back.
    fn of_zone(&self, signing: &[usize], now: u64) -> (Vec<usize>, Option<u64>) {
        let zone = self.prefer(signing, false);
        let since = |at: &usize| {
            let times = &self.keys[*at].times;
            times.publish.or(times.activate).unwrap_or(0)
        };
        let (Some(oldest), Some(first)) = (zone.iter().map(since).min(), signing.iter().map(since).min())
        else {
            return (zone, None);
        };
        let settled = oldest.saturating_add(MIN_SETTLING_SECS.max(self.ttl.into()));
        if oldest <= first.saturating_add(SAME_TIME_SECS) {
            return (zone, None);
        }
        (if now < settled { signing.to_vec() } else { zone }, Some(settled))
    }

    /// Those that are made for a use: secure entry points for keys, the others for the zone; or all there are.
    fn prefer(&self, keys: &[usize], entry_points: bool) -> Vec<usize> {
        let fit = |at: &&usize| (self.keys[**at].public.flags & SEP != 0) == entry_points;
        let made: Vec<usize> = keys.iter().filter(fit).copied().collect();
        if made.is_empty() { keys.to_vec() } else { made }
    }

    /// The public half as it stands in the zone.
    fn public(&self, at: usize, now: u64) -> PublicKey {
        let key = &self.keys[at];
        if key.times.is_revoked(now) { key.public.revoked() } else { key.public.clone() }
    }

    fn apex(&self, published: &[usize], now: u64, denial: DenialKind) -> Vec<RData> {
        let mut records = Vec::new();
        if denial == DenialKind::Nsec3 {
            records.push(raw_rdata(RecordType::NSEC3PARAM, NSEC3PARAM_RDATA.to_vec()));
        }
        for at in published {
            records.push(raw_rdata(RecordType::DNSKEY, self.public(*at, now).rdata()));
        }
        // SkyDNS's own keys are one that signs everything, without the flag of an entry point.
        let any_sep = published.iter().any(|at| self.keys[*at].public.is_sep());
        let synced = published.iter().map(|at| &self.keys[*at]).filter(|key| {
            let by_state = key.times.is_active(now) && (key.public.is_sep() || !any_sep);
            key.times.is_in_cds(now).unwrap_or(by_state) && !key.times.is_revoked(now)
        });
        for key in synced {
            records.push(raw_rdata(RecordType::CDNSKEY, key.public.rdata()));
            for digest in [DsDigest::Sha256, DsDigest::Sha384] {
                records.push(raw_rdata(RecordType::CDS, key.public.ds(digest)));
            }
        }
        records
    }
}

impl KeyState {
    /// Whether this is still how it is at a time.
    pub fn holds(&self, now: u64) -> bool {
        (self.from..self.until).contains(&now)
    }

    /// Until when it is so, in seconds of Unix time.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// Data of the records that DNSSEC puts at the apex: DNSKEY, CDS, CDNSKEY, NSEC3PARAM.
    pub fn apex(&self) -> &[RData] {
        &self.apex
    }

    /// Whether no key is active by its own times, and all are used in their place.
    pub fn is_out_of_time(&self) -> bool {
        self.out_of_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::{Algorithm, KeyFiles, NewKey};
    use hickory_proto::rr::Name;

    const NOW: u64 = 1_795_000_000;
    const DAY: u64 = 24 * 3600;

    fn key(flags: u16, made: u64) -> Key {
        let zone = Name::from_ascii("skydns.local.").expect("a name");
        let new = NewKey::generate(&zone, Algorithm::Ed25519, flags, made).expect("a key");
        let (public, private) = (new.public.as_bytes(), new.private.as_bytes());
        KeyFiles { base: &new.base, public, private }.read(&zone).expect("a key")
    }

    fn count(state: &KeyState, rtype: RecordType) -> usize {
        state.apex().iter().filter(|data| data.record_type() == rtype).count()
    }

    #[test]
    fn a_lone_key_is_for_the_parent_whatever_its_flags() {
        for flags in [256, 257] {
            let state = KeySet::new(vec![key(flags, NOW)]).at(NOW, DenialKind::Nsec3);
            assert_eq!(count(&state, RecordType::CDS), 2, "{flags}");
            assert_eq!(count(&state, RecordType::CDNSKEY), 1, "{flags}");
        }
        let state = KeySet::new(vec![key(257, NOW), key(256, NOW)]).at(NOW, DenialKind::Nsec3);
        assert_eq!((count(&state, RecordType::DNSKEY), count(&state, RecordType::CDNSKEY)), (2, 1));
    }

    #[test]
    fn a_zone_key_that_came_later_signs_alone_once_every_cache_knows_it() {
        for (ttl, settled) in [(3600, DAY), (3 * 86_400, 3 * DAY)] {
            let set = KeySet::new(vec![key(257, NOW - 30 * DAY), key(256, NOW)]).with_ttl(ttl);
            let state = set.at(NOW + 60, DenialKind::Nsec3);
            assert_eq!(state.of_zone.roles.len(), 2);
            assert_eq!(state.until(), NOW + settled, "then it is looked at again");
            let state = set.at(NOW + settled, DenialKind::Nsec3);
            assert_eq!(state.of_zone.roles.len(), 1);
            assert!(!state.holds(NOW + settled - 1), "a clock that is set back");
        }
    }
}
