//! The signer of a configuration: made of the keys that the configuration names, and described for the log.

use super::key_files::{Keys, KeysError};
use crate::clock::unix_time;
use crate::config::Config;
use crate::dnssec::{DenialKind, Key, KeySet, SignatureCache, Signer};
use std::sync::Arc;

/// Makes the signer that a configuration asks for; `None` if it names no keys.
///
/// # Errors
/// Keys cannot be used: then nothing is signed with the others either.
pub(super) fn new_signer(
    config: &Config,
    cache: &Arc<SignatureCache>,
) -> Result<Option<Arc<Signer>>, KeysError> {
    let dnssec = &config.dnssec;
    if dnssec.keys.is_empty() {
        return Ok(None);
    }
    let domain = config.site.zones.first().domain();
    let Keys { keys, problems, notes } = Keys::read(&dnssec.keys, domain);
    if !problems.is_empty() {
        return Err(KeysError(problems));
    }
    notes.iter().for_each(|note| log::warn!("{note}"));
    let keys = KeySet::new(keys).with_ttl(config.site.zones.first().ttl);
    Ok(Some(Arc::new(Signer::new(domain.clone(), keys, dnssec.denial, Arc::clone(cache), unix_time()))))
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
