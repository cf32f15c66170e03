//! The configuration, with its signers, that flags and variables give together with the store.
//!
//! What cannot be used costs itself: the last good value of a field of the store stays, or else flag, variable or default
//! counts. Some of that shows only here: a name that cannot be made on this host, and keys that cannot be read or are not
//! those of the domain. Something can always be derived.

use super::signer::{self, ZoneSigner};
use crate::answer::Site;
use crate::config::{
    Config, DnssecConfig, HostIdentity, Instead, RefusedSetting, SettingOrigin, SettingProblem, Spec,
    StoreBefore, StoreFields, StoreSettings,
};
use crate::dnssec::{SignatureCache, Signer, Signers};
use crate::service::Keyspace;
use hickory_proto::rr::Name;
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
    pub(super) was_unsigned: &'a dyn Fn(&Name) -> bool,
    /// Whether a zone was served signed.
    pub(super) was_signed: &'a dyn Fn(&Name) -> bool,
}

/// How a zone is served.
enum ServedAs {
    Signed(Arc<Signer>),
    Unsigned,
    /// Its keys cannot be used, and it must not be served without.
    Failure,
}

impl ServedAs {
    fn of(signer: Option<Arc<Signer>>) -> Self {
        signer.map_or(Self::Unsigned, Self::Signed)
    }

    fn signer(self) -> Option<Arc<Signer>> {
        match self {
            Self::Signed(signer) => Some(signer),
            Self::Unsigned | Self::Failure => None,
        }
    }
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

/// What the site serves as far as that is known before a store is read: by flags, variables, and the fields of the store's
/// configuration that were in use last.
pub(super) fn expected_site(base: &Spec, host: &HostIdentity, last: &StoreFields) -> Option<Arc<Site>> {
    let settings = base.with_last(&Keyspace::new(&base.path_prefix).config_key(), last);
    Config::new(&settings.spec, host).ok().map(|config| config.site)
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
                    let is_of_zones = origin == settings.spec.zones_origin;
                    if !matches!(origin, SettingOrigin::Store { .. }) {
                        // It could be used a moment ago: the host has changed.
                        if is_of_zones {
                            base.zones.clear();
                        } else {
                            base.local = None;
                        }
                        let (reason, instead) = (reason.to_string(), Instead::Default);
                        refused.push(RefusedSetting { origin, reason, instead });
                        continue;
                    }
                    (if is_of_zones { "zones" } else { "local" }, reason.to_string())
                }
                Ok(config) => {
                    let signatures = self.signatures_for(&config);
                    let signers = self.new_signers(&config, &signatures);
                    match self.field_to_blame((&config, &signers), &settings, &last, &unusable) {
                        Some(blamed) => blamed,
                        None => {
                            let config = self.with_signers(config, signers, &settings, &mut refused);
                            return Derived::new(settings, config, signatures, refused);
                        }
                    }
                }
            };
            if unusable.insert(setting, reason).is_some() {
                last = last.without(setting);
            }
        }
    }

    /// The field of the store without which all keys could be used, with the reason.
    fn field_to_blame(
        self,
        (config, signers): (&Config, &[ZoneSigner]),
        settings: &StoreSettings,
        last: &StoreFields,
        unusable: &BTreeMap<&'static str, String>,
    ) -> Option<(&'static str, String)> {
        let error = signers.iter().find_map(|signer| signer.as_ref().err());
        // Without other keys to fall back to, each zone is served with what stands in for its keys.
        let has_others = last.has(DNSSEC) || !self.base.dnssec.is_empty();
        if let Some(error) = error
            && settings.applied.has(DNSSEC)
            && !unusable.contains_key(DNSSEC)
            && has_others
        {
            return Some((DNSSEC, error.to_string()));
        }
        // Domains that the store names must not take the signed ones of flags and variables away.
        let signs_nothing = !signers.iter().any(|signer| matches!(signer, Ok(Some(_))));
        let is_domain = signs_nothing && self.takes_signed_away(&config.site, settings, last, unusable);
        let why = || match error {
            Some(error) => format!("its DNSSEC keys cannot be used: {error}"),
            None => "nothing would be signed: the keys of -dnssec are those of other domains".to_owned(),
        };
        is_domain.then(|| (DOMAIN, why()))
    }

    /// The configuration with the signers of its zones. A zone whose keys cannot be used is served with what stands in for
    /// them, and told.
    fn with_signers(
        self,
        mut config: Config,
        signers: Vec<ZoneSigner>,
        settings: &StoreSettings,
        refused: &mut Vec<RefusedSetting>,
    ) -> Config {
        let mut by_zone = Vec::with_capacity(signers.len());
        let is_one_of_many = signers.len() > 1;
        let zones: Vec<_> = config.site.zones.iter().map(|zone| zone.domain().clone()).collect();
        let mut last = None;
        for (zone, signer) in zones.iter().zip(signers) {
            by_zone.push(match signer {
                Ok(signer) => ServedAs::of(signer),
                Err(error) => {
                    let number = by_zone.len();
                    let mut of_last = || {
                        let last = last.get_or_insert_with(|| self.last_signers(&config));
                        last.get(number).cloned().flatten()
                    };
                    let (served, instead) = self.without_keys(zone, &mut of_last);
                    let reason = if is_one_of_many { format!("{zone}: {error}") } else { error.to_string() };
                    refused.push(RefusedSetting { origin: self.origin_of_keys(settings), reason, instead });
                    served
                }
            });
        }
        let site = Arc::make_mut(&mut config.site);
        for (zone, served) in site.zones.iter_mut().zip(&by_zone) {
            zone.is_signed = !matches!(served, ServedAs::Unsigned);
            zone.lacks_keys = matches!(served, ServedAs::Failure);
            if zone.is_signed && zone.falls_through {
                zone.falls_through = false;
                refused.push(signed_fallthrough(zone.domain(), &settings.spec));
            }
        }
        let fallthrough = site.zones.iter().filter(|zone| zone.falls_through);
        config.forward.fallthrough = fallthrough.map(|zone| zone.domain().clone()).collect();
        let signers = by_zone.into_iter().map(ServedAs::signer).collect();
        config.signers = Arc::new(Signers::new(signers, config.dnssec.denial));
        config
    }

    /// What serves a zone while its keys cannot be used: those in use, those that signed last, or no signatures for a zone
    /// that had none. The answers of a zone that was signed are never served unsigned.
    fn without_keys(
        self,
        zone: &Name,
        of_last: &mut dyn FnMut() -> Option<Arc<Signer>>,
    ) -> (ServedAs, Instead) {
        if let Some(signer) = self.keys.signers.iter().find(|signer| signer.zone() == zone) {
            return (ServedAs::Signed(Arc::clone(signer)), Instead::Told("the keys in use stay"));
        }
        if let Some(signer) = of_last() {
            return (ServedAs::Signed(signer), Instead::LastGood(self.keys.last_names.join(",")));
        }
        if (self.keys.was_unsigned)(zone) {
            return (ServedAs::Unsigned, Instead::Told("the domain stays unsigned"));
        }
        let told = "names of the domain are SERVFAIL until the keys can be used (systemctl reload skydns)";
        (ServedAs::Failure, Instead::Told(told))
    }

    /// The signers of the keys that signed last, in the order of the zones, if other keys are configured now.
    fn last_signers(self, config: &Config) -> Vec<Option<Arc<Signer>>> {
        let names = self.keys.last_names;
        if names.is_empty() || config.dnssec.keys == names {
            return Vec::new();
        }
        let last = DnssecConfig { keys: names.to_vec(), ..config.dnssec.clone() };
        let signers =
            self.new_signers(&Config { dnssec: last, ..config.clone() }, &self.signatures_for(config));
        signers.into_iter().map(|signer| signer.ok().flatten()).collect()
    }

    /// The signers of a configuration, with a cache of signatures.
    fn new_signers(self, config: &Config, signatures: &Arc<SignatureCache>) -> Vec<ZoneSigner> {
        let is_signed = |zone: &Name| self.keys.signers.iter().any(|signer| signer.zone() == zone);
        signer::new_signers(config, signatures, &|zone| is_signed(zone) || (self.keys.was_signed)(zone))
    }

    /// Whether the domains of the store leave out one of flags and variables that is signed.
    fn takes_signed_away(
        self,
        site: &Site,
        settings: &StoreSettings,
        last: &StoreFields,
        unusable: &BTreeMap<&'static str, String>,
    ) -> bool {
        let is_of_store = settings.spec.domains() != self.base.domains();
        if !is_of_store || unusable.contains_key(DOMAIN) || settings.spec.dnssec.is_empty() {
            return false;
        }
        let mut unusable = unusable.clone();
        unusable.insert(DOMAIN, String::new());
        let last = last.clone().without(DOMAIN);
        let without = self.settings(StoreBefore { last: &last, unusable: &unusable });
        let is_signed = |zone: &Name| {
            self.keys.signers.iter().any(|signer| signer.zone() == zone) || (self.keys.was_signed)(zone)
        };
        without.spec.domains().iter().any(|zone| is_signed(zone) && site.zones.apex(zone).is_none())
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

/// The refusal of a signed zone to fall through.
pub fn signed_fallthrough(zone: &Name, spec: &Spec) -> RefusedSetting {
    let is_own = spec.zones.get(zone).is_some_and(|own| own.fallthrough.is_some());
    let origin = if is_own { &spec.zones_origin } else { &spec.fallthrough_origin };
    let reason =
        format!("fallthrough of {zone}: the zone is signed, and what upstreams say of its names is not");
    RefusedSetting {
        origin: origin.clone(),
        reason,
        instead: Instead::Told("names that it lacks are denied"),
    }
}

impl Derived {
    fn new(
        settings: StoreSettings,
        config: Config,
        signatures: Arc<SignatureCache>,
        refused: Vec<RefusedSetting>,
    ) -> Self {
        let StoreSettings { spec, applied, unknown, problems: store_refused } = settings;
        Self { spec, config, signatures, applied, unknown, store_refused, refused }
    }
}
