//! The configuration, with its signers, that flags and variables give together with the store.
//!
//! What cannot be used costs itself: the last good value of a field of the store stays, or else flag, variable or default
//! counts. Some of that shows only here: a name that cannot be made on this host, and keys that cannot be read or are not
//! those of the domain. Something can always be derived.

use super::signer;
use crate::config::{
    Config, DnssecConfig, HostIdentity, Instead, RefusedSetting, SettingOrigin, SettingProblem, Spec,
    StoreBefore, StoreFields, StoreSettings,
};
use crate::dnssec::{SignatureCache, Signer, Signers};
use crate::service::Keyspace;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The setting that names DNSSEC keys.
const DNSSEC: &str = "dnssec";

/// The setting of the domain.
const DOMAIN: &str = "domain";

/// The settings that a configuration is derived from.
#[derive(Clone, Copy)]
pub(super) struct Basis<'a> {
    /// Flags, variables and defaults.
    pub(super) base: &'a Spec,
    pub(super) host: &'a HostIdentity,
    /// The store's configuration.
    pub(super) stored: Option<&'a [u8]>,
    /// Whether the stores are read that have to be: otherwise it is not known whether there is a configuration.
    pub(super) is_store_read: bool,
    /// The fields of the store's configuration that are in use.
    pub(super) last: &'a StoreFields,
    /// The cache of signatures, and how many RRsets it has room for.
    pub(super) signatures: (&'a Arc<SignatureCache>, usize),
    pub(super) keys: KeysBefore<'a>,
}

/// What stands in for DNSSEC keys that cannot be used.
#[derive(Clone, Copy)]
pub(super) struct KeysBefore<'a> {
    /// Where the setting of flags and variables comes from.
    pub(super) origin: &'a SettingOrigin,
    /// The signers in use.
    pub(super) signers: &'a Signers,
    /// Names of keys that signed before.
    pub(super) last_names: &'a [String],
    /// Whether a zone was served unsigned.
    pub(super) was_unsigned: &'a dyn Fn(&hickory_proto::rr::Name) -> bool,
}

/// What is derived.
pub(super) struct Derived {
    /// All settings, those of the store among them.
    pub(super) spec: Spec,
    pub(super) config: Config,
    pub(super) signatures: Arc<SignatureCache>,
    /// The fields of the store's configuration that are in use.
    pub(super) applied: StoreFields,
    /// Names of fields that mean nothing here.
    pub(super) unknown: Vec<String>,
    /// What of the store's configuration cannot be used.
    pub(super) store_refused: Vec<RefusedSetting>,
    /// Why keys, or the host's own name, cannot be used as flags and variables say.
    pub(super) refused: Vec<RefusedSetting>,
}

impl Basis<'_> {
    /// Derives the configuration.
    pub(super) fn derive(self) -> Derived {
        let mut last = self.last.clone();
        let mut unusable = BTreeMap::new();
        let mut base = self.base.clone();
        let mut refused = Vec::new();
        loop {
            let settings =
                Basis { base: &base, ..self }.settings(StoreBefore { last: &last, unusable: &unusable });
            let (setting, reason) = match Config::new(&settings.spec, self.host) {
                Err(SettingProblem { origin, reason }) => {
                    if !matches!(origin, SettingOrigin::Store { .. }) {
                        // It could be used a moment ago: the host has changed.
                        base.local = None;
                        let (reason, instead) = (reason.to_string(), Instead::Default);
                        refused.push(RefusedSetting { origin, reason, instead });
                        continue;
                    }
                    ("local", reason.to_string())
                }
                Ok(config) => {
                    let signatures = self.signatures_for(&config);
                    match signer::new_signer(&config, &signatures) {
                        Ok(signer) => {
                            return Derived::new(settings, config, (signatures, signer), refused);
                        }
                        Err(error) if settings.applied.has(DNSSEC) && !unusable.contains_key(DNSSEC) => {
                            (DNSSEC, error.to_string())
                        }
                        // A domain that the store names must not take the signed one away.
                        Err(error) if self.has_keys_without(DOMAIN, &settings, &last, &unusable) => {
                            (DOMAIN, format!("its DNSSEC keys cannot be used: {error}"))
                        }
                        Err(error) => {
                            let (config, signer, instead) = self.without_keys(config, &signatures);
                            let origin = self.origin_of_keys(&settings);
                            refused.push(RefusedSetting { origin, reason: error.to_string(), instead });
                            return Derived::new(settings, config, (signatures, signer), refused);
                        }
                    }
                }
            };
            if unusable.insert(setting, reason).is_some() {
                last = last.without(setting);
            }
        }
    }

    /// What serves the domain while its keys cannot be used: those in use, those that signed last, or no signatures for a zone
    /// that had none. The answers of a zone that was signed are never served unsigned.
    fn without_keys(
        self,
        mut config: Config,
        signatures: &Arc<SignatureCache>,
    ) -> (Config, Option<Arc<Signer>>, Instead) {
        let zone = config.site.zones.first().domain().clone();
        if let Some(signer) = self.keys.signers.iter().find(|signer| *signer.zone() == zone) {
            return (config, Some(Arc::clone(signer)), Instead::Told("the keys in use stay"));
        }
        if !self.keys.last_names.is_empty() && config.dnssec.keys != self.keys.last_names {
            let names = self.keys.last_names.to_vec();
            let last =
                Config { dnssec: DnssecConfig { keys: names, ..config.dnssec.clone() }, ..config.clone() };
            if let Ok(Some(signer)) = signer::new_signer(&last, signatures) {
                return (config, Some(signer), Instead::LastGood(self.keys.last_names.join(",")));
            }
        }
        if (self.keys.was_unsigned)(&zone) {
            Arc::make_mut(&mut config.site).zones.first_mut().is_signed = false;
            return (config, None, Instead::Told("the domain stays unsigned"));
        }
        Arc::make_mut(&mut config.site).zones.first_mut().lacks_keys = true;
        let told = "names of the domain are SERVFAIL until the keys can be used (systemctl reload skydns)";
        (config, None, Instead::Told(told))
    }

    /// Whether the keys could be used without a field of the store.
    fn has_keys_without(
        self,
        field: &'static str,
        settings: &StoreSettings,
        last: &StoreFields,
        unusable: &BTreeMap<&'static str, String>,
    ) -> bool {
        if !settings.applied.has(field) || unusable.contains_key(field) {
            return false;
        }
        let mut unusable = unusable.clone();
        unusable.insert(field, String::new());
        let without = self.settings(StoreBefore { last, unusable: &unusable });
        let config = Config::new(&without.spec, self.host);
        config.is_ok_and(|config| signer::new_signer(&config, &self.signatures_for(&config)).is_ok())
    }

    fn origin_of_keys(&self, settings: &StoreSettings) -> SettingOrigin {
        let of_store = || {
            let key = Keyspace::new(&self.base.path_prefix).config_key();
            SettingOrigin::Store { key, field: DNSSEC.to_owned() }
        };
        if settings.applied.has(DNSSEC) { of_store() } else { self.keys.origin.clone() }
    }

    fn settings(self, before: StoreBefore<'_>) -> StoreSettings {
        match self.stored {
            Some(json) => {
                self.base.with_store(&Keyspace::new(&self.base.path_prefix).config_key(), json, before)
            }
            None if !self.is_store_read => {
                self.base.with_last(&Keyspace::new(&self.base.path_prefix).config_key(), before.last)
            }
            None => StoreSettings::of_base(self.base),
        }
    }

    /// The cache of signatures; another one if its size has changed.
    fn signatures_for(self, config: &Config) -> Arc<SignatureCache> {
        let (present, size) = self.signatures;
        match config.dnssec.cache_size == size {
            true => Arc::clone(present),
            false => Arc::new(SignatureCache::new(config.dnssec.cache_size)),
        }
    }
}

impl Derived {
    fn new(
        settings: StoreSettings,
        mut config: Config,
        (signatures, signer): (Arc<SignatureCache>, Option<Arc<Signer>>),
        refused: Vec<RefusedSetting>,
    ) -> Self {
        let StoreSettings { spec, applied, unknown, problems: store_refused } = settings;
        config.signers = Arc::new(Signers::new(vec![signer], config.dnssec.denial));
        Self { spec, config, signatures, applied, unknown, store_refused, refused }
    }
}
