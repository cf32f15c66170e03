//! The signers of a configuration: made of the keys that the configuration names, and described for the log.

use super::key_files::{KeysError, SiteKeys, ZoneKeyFiles};
use crate::answer::Zone;
use crate::clock::unix_time;
use crate::config::Config;
use crate::dnssec::{DenialKind, Key, KeySet, SignatureCache, Signer};
use hickory_proto::rr::Name;
use std::sync::Arc;

/// The signer of one zone; `None` if the zone has no keys.
pub(super) type ZoneSigner = Result<Option<Arc<Signer>>, KeysError>;

/// Makes the signers of the zones that a configuration names keys for, in the order of the zones.
///
/// A zone that `was_signed` is not left unsigned because its keys are missing: that is an error, as it is an error if one of
/// its keys cannot be used, since nothing is signed with the others either.
pub(super) fn new_signers(
    config: &Config,
    cache: &Arc<SignatureCache>,
    was_signed: &dyn Fn(&Name) -> bool,
) -> Vec<ZoneSigner> {
    let (dnssec, zones) = (&config.dnssec, &config.site.zones);
    if dnssec.keys.is_empty() {
        return zones.iter().map(|_| Ok(None)).collect();
    }
    let names: Vec<_> = zones.iter().map(|zone| zone.domain().clone()).collect();
    let SiteKeys { zones: keys, problems, notes } = SiteKeys::read(&dnssec.keys, &names);
    notes.iter().for_each(|note| log::warn!("{note}"));
    let signer = |(zone, ZoneKeyFiles { keys, problems: own }): (&Zone, ZoneKeyFiles)| {
        let domain = zone.domain().clone();
        if let Some(error) = KeysError::of(own.iter().chain(&problems)) {
            return Err(error);
        }
        if keys.is_empty() {
            let missing = || KeysError(missing_key_text(&domain));
            return if was_signed(&domain) { Err(missing()) } else { Ok(None) };
        }
        let keys = KeySet::new(keys).with_ttl(zone.ttl);
        Ok(Some(Arc::new(Signer::new(domain, keys, dnssec.denial, Arc::clone(cache), unix_time()))))
    };
    zones.iter().zip(keys).map(signer).collect()
}

/// What is wrong with a zone that was signed and has no key.
pub fn missing_key_text(zone: &Name) -> String {
    format!("there is no key of {zone}, which was signed before")
}

/// Names the zone that a signer signs and the keys that it signs with now, for the log.
pub(super) fn describe(signer: &Signer) -> String {
    let now = unix_time();
    let all = signer.keys().keys();
    let keys: Vec<_> = all.iter().map(|key| describe_key(key, all, now)).collect();
    let late = if signer.state(now).is_out_of_time() {
        "; by their times none is active now, so all are used"
    } else {
        ""
    };
    format!("{} is signed with {}{late}", signer.zone(), keys.join(", "))
}

/// Names a key of a zone, its algorithm, its role beside the zone's other keys, and what is unusual about its times.
fn describe_key(key: &Key, all: &[Key], now: u64) -> String {
    let (public, times) = (&key.public, &key.times);
    let is_zsk = |other: &Key| other.public.algorithm == public.algorithm && !other.public.is_sep();
    let role = match public.is_sep() {
        false => "ZSK",
        true if all.iter().any(is_zsk) => "KSK",
        true => "CSK",
    };
    let phase = match (times.is_published(now), times.is_active(now)) {
        _ if times.is_revoked(now) => ", revoked",
        (true, true) => "",
        (true, false) => ", published only",
        (false, true) => ", signs before it is published",
        (false, false) => ", not in use",
    };
    format!("{} ({}, {role}{phase})", public.tag(), public.algorithm.name())
}

/// Logs the keys that are used now, and warns of algorithms that are out of date.
pub(super) fn log_signer(signer: &Signer) {
    log::info!("dnssec: {}", describe(signer));
    for key in signer.keys().keys().iter().filter(|key| key.public.algorithm.is_sha1()) {
        let (tag, name) = (key.public.tag(), key.public.algorithm.name());
        log::warn!(
            "dnssec: key {tag} uses {name}: SHA-1 is not to be used any more (RFC 9905), validators may refuse it"
        );
        if key.public.algorithm.number() == 5 && signer.denial() == DenialKind::Nsec3 {
            log::warn!(
                "dnssec: key {tag}: {name} (5) announces NSEC, absence is proven with NSEC3: use NSEC3RSASHA1 (7) or better"
            );
        }
    }
}
