//! The configuration in the store: `/skydns/config`, a JSON object over the flags.

use super::input::{SettingInput, SettingOrigin, SettingProblem};
use super::settings::Setting;
use super::spec::Spec;
use serde_json::Value;

/// What came of the store's configuration.
#[derive(Debug)]
pub struct StoreSettings {
    /// The settings over which the store's were laid.
    pub spec: Spec,
    /// Fields that mean nothing here; SkyDNS passed over such fields too.
    pub unknown: Vec<String>,
}

/// Why a configuration out of the store is not taken, with every problem in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreProblem {
    /// Not a JSON object.
    #[error("{key}: the value is not a JSON object: {reason}")]
    NotJson {
        /// The key in the store.
        key: String,
        /// The parser's text.
        reason: String,
    },
    /// Fields that cannot be used.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Fields(Vec<SettingProblem>),
}

impl Spec {
    /// These settings with those of the store's configuration over them.
    ///
    /// Fields match in any letter case and with `-` for `_`; `null` leaves a setting as it is.
    ///
    /// # Errors
    /// Anything in it cannot be used; then nothing of it is.
    pub fn with_store(&self, key: &str, json: &[u8]) -> Result<StoreSettings, StoreProblem> {
        let fields = serde_json::from_slice::<serde_json::Map<String, Value>>(json)
            .map_err(|error| StoreProblem::NotJson { key: key.to_owned(), reason: error.to_string() })?;
        let mut settings = StoreSettings { spec: self.clone(), unknown: Vec::new() };
        let mut problems = Vec::new();
        for (name, value) in &fields {
            let Some(setting) = Setting::by_key(name) else {
                settings.unknown.push(name.clone());
                continue;
            };
            if value.is_null() {
                continue;
            }
            let origin = SettingOrigin::Store { key: key.to_owned(), field: name.clone() };
            if let Err(reason) = (setting.set)(&mut settings.spec, SettingInput::Json(value), &origin) {
                problems.push(SettingProblem { origin, reason });
            }
        }
        if problems.is_empty() { Ok(settings) } else { Err(StoreProblem::Fields(problems)) }
    }
}
