//! The keys of a zone together: which of them are in the zone, and which keys sign which RRsets, at a time.
//!
//! Owns the rules of key roll-over (RFC 6781 §4.1, RFC 7583): they follow from the times in the keys' files alone, so every
//! host of a site that has the same files and the same clock signs with the same keys.

use super::algorithm::Algorithm;
use super::canonical;
use super::denial::DenialKind;
use super::key_file::Key;
use super::key_state::{ActiveKey, ActiveKeys, KeyState};
use super::public_key::{DsDigest, PublicKey};
use super::raw_rdata::raw_rdata;
use hickory_proto::rr::{RData, RecordType};
use ring::digest::{Context, SHA256};
use std::collections::BTreeSet;

/// All keys of a zone, each once.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    /// TTL of the DNSKEY RRset, in seconds.
    ttl: u32,
}

/// Keys that were published within so many seconds of each other count as made together: none replaces the others.
const MADE_TOGETHER_SECS: u64 = 60;
/// Seconds after which every cache knows a DNSKEY that was added to the zone; the RRset's TTL, if that is longer.
const MIN_SETTLING_SECS: u64 = 24 * 3600;

/// RDATA of the NSEC3PARAM that fits the NSEC3 records here: SHA-1, no flags, no iterations, no salt (RFC 5155 §4, RFC 9276
/// §3.1).
const NSEC3PARAM_RDATA: [u8; 5] = [1, 0, 0, 0, 0];

/// The keys that are in use at a time, as indexes in the set in ascending order.
struct KeysInUse {
    /// Keys that sign by their times, and are not revoked.
    active: Vec<usize>,
    /// Keys whose DNSKEY is in the zone.
    published: Vec<usize>,
    /// Whether no key is active by its times, so that all keys count as active and published.
    out_of_time: bool,
}

/// The keys of one algorithm that sign, as indexes in the set.
struct AlgorithmSigners {
    /// For the DNSKEY, CDS and CDNSKEY RRsets.
    key_rrsets: Vec<usize>,
    /// For all other RRsets.
    zone_data: Vec<usize>,
    /// When the newer ZSKs begin to sign alone, in seconds of Unix time; `None` if all ZSKs were made together.
    zsks_settle: Option<u64>,
}

impl KeySet {
    /// A set of keys. Of keys with the same public half the first one is taken.
    pub fn new(keys: Vec<Key>) -> Self {
        let mut set: Vec<Key> = Vec::with_capacity(keys.len());
        for key in keys {
            if set.iter().all(|other| other.public != key.public) {
                set.push(key);
            }
        }
        Self { keys: set, ttl: 0 }
    }

    /// The same keys with the TTL that the DNSKEY RRset is served with, in seconds.
    pub fn with_ttl(self, ttl: u32) -> Self {
        Self { ttl, ..self }
    }

    /// Whether the set has no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// What the keys are used for at a time (Unix time in seconds).
    ///
    /// A key signs from its activation on, and its DNSKEY is in the zone from its publication on. Every algorithm in the zone
    /// signs (RFC 4035 §2.2), so a key of a new algorithm signs as soon as it is published. If no key is active, as before
    /// the clock of the host is right, all keys are used: a signature that is out of time is no worse than none.
    pub fn at(&self, now: u64, denial: DenialKind) -> KeyState {
        let in_use = self.in_use(now);
        let (mut for_key_rrsets, mut for_zone_data) = (Vec::new(), Vec::new());
        let mut changes: Vec<u64> = self.keys.iter().flat_map(|key| key.times.changes()).collect();
        for algorithm in self.algorithms(&in_use) {
            let signers = self.signers(algorithm, &in_use, now);
            for_key_rrsets.extend(signers.key_rrsets);
            for_zone_data.extend(signers.zone_data);
            changes.extend(signers.zsks_settle);
        }
        // A revoked key proves by its signature that its owner revoked it (RFC 5011 §2.1).
        let revoked = |index: &usize| self.keys[*index].times.is_revoked(now);
        for_key_rrsets.extend(in_use.published.iter().copied().filter(revoked));
        for_key_rrsets.sort_unstable();
        for_key_rrsets.dedup();
        let from = changes.iter().copied().filter(|time| *time <= now).max().unwrap_or(0);
        let until = changes.iter().copied().filter(|time| *time > now).min().unwrap_or(u64::MAX);
        KeyState {
            period: from..until,
            apex: self.apex(&in_use.published, now, denial),
            for_key_rrsets: self.active_keys(&for_key_rrsets, now),
            for_zone_data: self.active_keys(&for_zone_data, now),
            out_of_time: in_use.out_of_time,
        }
    }

    fn in_use(&self, now: u64) -> KeysInUse {
        let all = || (0..self.keys.len()).collect::<Vec<_>>();
        let which = |used: &dyn Fn(&Key) -> bool| {
            all().into_iter().filter(|index| used(&self.keys[*index])).collect::<Vec<_>>()
        };
        let active = which(&|key| key.times.is_active(now) && !key.times.is_revoked(now));
        if active.is_empty() && !self.keys.is_empty() {
            return KeysInUse { active: all(), published: all(), out_of_time: true };
        }
        let published = which(&|key| key.times.is_published(now));
        KeysInUse { active, published, out_of_time: false }
    }

    /// The algorithms of all keys in use, in ascending order.
    fn algorithms(&self, in_use: &KeysInUse) -> BTreeSet<Algorithm> {
        in_use
            .active
            .iter()
            .chain(&in_use.published)
            .map(|index| self.keys[*index].public.algorithm)
            .collect()
    }

    /// The keys of one algorithm that sign at a time.
    fn signers(&self, algorithm: Algorithm, in_use: &KeysInUse, now: u64) -> AlgorithmSigners {
        let of_algorithm = |indexes: &[usize]| {
            let of_algorithm = |index: &usize| self.keys[*index].public.algorithm == algorithm;
            indexes.iter().copied().filter(of_algorithm).collect::<Vec<_>>()
        };
        let (active, published) = (of_algorithm(&in_use.active), of_algorithm(&in_use.published));
        let signing = if active.is_empty() { &published } else { &active };
        let (zone_data, zsks_settle) = self.zone_data_signers(signing, now);
        // What signs the DNSKEY RRset should be in it; while no signing key is, the keys that are in it sign.
        let in_zone: Vec<_> = signing.iter().copied().filter(|index| published.contains(index)).collect();
        let key_rrsets = self.prefer(if in_zone.is_empty() { &published } else { &in_zone }, KeyRole::Ksk);
        AlgorithmSigners { key_rrsets, zone_data, zsks_settle }
    }

    /// Those of the keys of one algorithm that sign the data of the zone: the ZSKs if there are any.
    ///
    /// A ZSK that was published later than the other keys is not yet known to every cache, so all keys go on signing until
    /// every cache knows it (pre-publication, RFC 6781 §4.1.1.1). That time is returned before and after it is reached,
    /// since the clock may be set back.
    fn zone_data_signers(&self, signing: &[usize], now: u64) -> (Vec<usize>, Option<u64>) {
        let zsks = self.prefer(signing, KeyRole::Zsk);
        let published = |index: &usize| {
            let times = &self.keys[*index].times;
            times.publish.or(times.activate).unwrap_or(0)
        };
        let first_zsk = zsks.iter().map(published).min();
        let first_key = signing.iter().map(published).min();
        let (Some(first_zsk), Some(first_key)) = (first_zsk, first_key) else { return (zsks, None) };
        if first_zsk <= first_key.saturating_add(MADE_TOGETHER_SECS) {
            return (zsks, None);
        }
        let settled = first_zsk.saturating_add(MIN_SETTLING_SECS.max(self.ttl.into()));
        (if now < settled { signing.to_vec() } else { zsks }, Some(settled))
    }

    /// Those of the keys that are made for a role; all of them if none is.
    fn prefer(&self, indexes: &[usize], role: KeyRole) -> Vec<usize> {
        let fits = |index: &usize| self.keys[*index].public.is_sep() == (role == KeyRole::Ksk);
        let preferred: Vec<usize> = indexes.iter().copied().filter(fits).collect();
        if preferred.is_empty() { indexes.to_vec() } else { preferred }
    }

    /// The public half as the zone has it at a time: with the REVOKE flag from the revocation on.
    fn public(&self, index: usize, now: u64) -> PublicKey {
        let key = &self.keys[index];
        if key.times.is_revoked(now) { key.public.revoked() } else { key.public.clone() }
    }

    fn active_keys(&self, indexes: &[usize], now: u64) -> ActiveKeys {
        let mut digest = Context::new(&SHA256);
        let mut keys = Vec::with_capacity(indexes.len());
        for &index in indexes {
            let (public, tag) = (&self.keys[index].public, self.public(index, now).tag());
            digest.update(&canonical::name_octets(&public.owner));
            digest.update(&public.rdata());
            digest.update(&tag.to_be_bytes());
            keys.push(ActiveKey { index, tag });
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest.finish().as_ref());
        ActiveKeys { keys, fingerprint }
    }

    /// RDATA of the records that DNSSEC puts at the apex.
    fn apex(&self, published: &[usize], now: u64, denial: DenialKind) -> Vec<RData> {
        let mut records = Vec::new();
        if denial == DenialKind::Nsec3 {
            records.push(raw_rdata(RecordType::NSEC3PARAM, NSEC3PARAM_RDATA.to_vec()));
        }
        for index in published {
            records.push(raw_rdata(RecordType::DNSKEY, self.public(*index, now).rdata()));
        }
        // SkyDNS's own keys are each one key that signs everything, without the flag of an entry point.
        let any_sep = published.iter().any(|index| self.keys[*index].public.is_sep());
        let for_parent = published.iter().map(|index| &self.keys[*index]).filter(|key| {
            let by_role = key.times.is_active(now) && (key.public.is_sep() || !any_sep);
            key.times.is_in_cds(now).unwrap_or(by_role) && !key.times.is_revoked(now)
        });
        for key in for_parent {
            records.push(raw_rdata(RecordType::CDNSKEY, key.public.rdata()));
            for digest in [DsDigest::Sha256, DsDigest::Sha384] {
                records.push(raw_rdata(RecordType::CDS, key.public.ds(digest)));
            }
        }
        records
    }
}

/// What a key is made for, by its SEP flag (RFC 4034 §2.1.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyRole {
    /// Key-signing key, or a key for both uses: has the flag.
    Ksk,
    /// Zone-signing key: does not have the flag.
    Zsk,
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
            assert_eq!(state.for_zone_data.keys.len(), 2);
            assert_eq!(state.until(), NOW + settled, "the end of the period");
            let state = set.at(NOW + settled, DenialKind::Nsec3);
            assert_eq!(state.for_zone_data.keys.len(), 1);
            assert!(!state.covers(NOW + settled - 1), "a clock that is set back");
        }
    }
}
