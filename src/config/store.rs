//! The configuration in the store: the JSON object of `/skydns/config`, which overrides flags and variables.

use super::input::{SettingInput, SettingOrigin, SettingProblem};
use super::settings::Setting;
use super::spec::Spec;
use serde_json::Value;

/// Settings with the store's configuration applied.
#[derive(Debug)]
pub struct StoreSettings {
    /// The resulting settings.
    pub spec: Spec,
    /// Names of unknown fields, which are ignored as in SkyDNS.
    pub unknown: Vec<String>,
}

/// Why the store's configuration is not used, with all its problems.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreProblem {
    /// The value is not a JSON object.
    #[error("{key}: the value is not a JSON object: {reason}")]
    NotJson {
        /// The key in the store.
        key: String,
        /// The error of the JSON parser.
        reason: String,
    },
    /// Fields that cannot be used.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Fields(Vec<SettingProblem>),
}

impl Spec {
    /// Applies the store's configuration over these settings.
    ///
    /// Field names match in any letter case and with `-` for `_`. A field that is `null` leaves its setting as it is.
    ///
    /// # Errors
    /// The value is no JSON object, or any field cannot be used; then no field is applied.
    pub fn with_store(&self, key: &str, json: &[u8]) -> Result<StoreSettings, StoreProblem> {
        let not_json = |reason| StoreProblem::NotJson { key: key.to_owned(), reason };
        // Any other type than an object would be quoted by an error of the decoder, and may be a secret.
        let value = serde_json::from_slice(json).map_err(|error| not_json(error.to_string()))?;
        let Value::Object(fields) = value else { return Err(not_json("it is of another type".to_owned())) };
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
