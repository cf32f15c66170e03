//! The configuration and the signer that flags and variables give together with the store.
//!
//! What cannot be used of the store's configuration costs itself: the last good value of a field stays, or else flag,
//! variable or default counts. Some of that shows only here: a name that cannot be made on this host, and keys that are not
//! those of the domain.

use super::key_files::KeysError;
use super::signer;
use crate::config::{
    Config, HostIdentity, Setting, SettingOrigin, SettingProblem, Spec, StoreBefore, StoreFields,
    StoreSettings,
};
use crate::dnssec::{SignatureCache, Signer};
use crate::service::Keyspace;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The setting that names DNSSEC keys.
const DNSSEC: &str = "dnssec";

/// The settings that a configuration is derived from.
#[derive(Clone, Copy)]
pub(super) struct Basis<'a> {
    /// Flags, variables and defaults.
    pub(super) base: &'a Spec,
    pub(super) host: &'a HostIdentity,
    /// The store's configuration.
    pub(super) stored: Option<&'a [u8]>,
    /// The fields of the store's configuration that are in use.
    pub(super) last: &'a StoreFields,
    /// The cache of signatures, and how many RRsets it has room for.
    pub(super) signatures: (&'a Arc<SignatureCache>, usize),
}

/// What is derived.
pub(super) struct Derived {
    /// All settings, those of the store among them.
    pub(super) spec: Spec,
    pub(super) config: Config,
    pub(super) signer: Option<Arc<Signer>>,
    pub(super) signatures: Arc<SignatureCache>,
    /// The fields of the store's configuration that are in use.
    pub(super) applied: StoreFields,
    /// Names of fields that mean nothing here.
    pub(super) unknown: Vec<String>,
    /// What of the store's configuration cannot be used.
    pub(super) problems: Vec<String>,
}

/// The cache of signatures, and the signer if the configuration names keys.
type Signing = (Arc<SignatureCache>, Option<Arc<Signer>>);

/// Why nothing can be derived.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeriveError {
    #[error(transparent)]
    Config(#[from] SettingProblem),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl<'a> Basis<'a> {
    /// The same without the store's configuration.
    pub(super) fn without_store(self) -> Self {
        Self { stored: None, ..self }
    }

    /// Derives the configuration.
    ///
    /// # Errors
    /// Flags and variables cannot be used, or the DNSSEC keys are not those of the domain whatever fields are left out.
    pub(super) fn derive(self) -> Result<Derived, DeriveError> {
        let mut last = self.last.clone();
        let (mut unusable, mut problems) = (BTreeSet::new(), Vec::new());
        loop {
            let settings = self.settings(StoreBefore { last: &last, unusable: &unusable });
            let error = match self.configure(&settings) {
                Ok((config, (signatures, signer))) => {
                    let StoreSettings { spec, applied, unknown, problems: of_fields } = settings;
                    problems.splice(0..0, of_fields.iter().map(ToString::to_string));
                    return Ok(Derived { spec, config, signer, signatures, applied, unknown, problems });
                }
                Err(error) => error,
            };
            match field_of(&error, &settings.applied) {
                Some(setting) if unusable.insert(setting) => problems.push(error.to_string()),
                // Without its last good keys a domain would be served unsigned.
                Some(setting) if setting != DNSSEC => last = last.without(setting),
                _ => return Err(error),
            }
        }
    }

    fn settings(self, before: StoreBefore<'_>) -> StoreSettings {
        match self.stored {
            Some(json) => {
                self.base.with_store(&Keyspace::new(&self.base.path_prefix).config_key(), json, before)
            }
            None => StoreSettings::of_base(self.base),
        }
    }

    /// Makes the configuration of settings, and the signer with its cache.
    fn configure(self, settings: &StoreSettings) -> Result<(Config, Signing), DeriveError> {
        let config = Config::new(&settings.spec, self.host)?;
        let (present, size) = self.signatures;
        let signatures = match config.dnssec.cache_size == size {
            true => Arc::clone(present),
            false => Arc::new(SignatureCache::new(config.dnssec.cache_size)),
        };
        let signer = signer::new_signer(&config, &signatures)?;
        Ok((config, (signatures, signer)))
    }
}

/// The setting whose field in the store an error comes from.
fn field_of(error: &DeriveError, applied: &StoreFields) -> Option<&'static str> {
    let setting = match error {
        DeriveError::Keys(_) => Setting::by_key(DNSSEC),
        DeriveError::Config(SettingProblem { origin: SettingOrigin::Store { field, .. }, .. }) => {
            Setting::by_key(field)
        }
        DeriveError::Config(_) => None,
    };
    setting.map(|setting| setting.name).filter(|name| applied.has(name))
}
