//! The configuration in the store: the JSON object of `/skydns/config`, which overrides flags and variables.
//!
//! A field that cannot be used costs itself: the last value of the field that could be used stays, or else flag, variable
//! or default counts.

use super::input::{SettingInput, SettingOrigin, SettingProblem};
use super::settings::Setting;
use super::spec::Spec;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Fields of the store's configuration that could be used: the spelling of the name, and the value, by the setting's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreFields(BTreeMap<&'static str, (String, Value)>);

/// What was found out before about the store's configuration; nothing by default.
#[derive(Clone, Copy, Debug)]
pub struct StoreBefore<'a> {
    /// The fields that were applied last.
    pub last: &'a StoreFields,
    /// Settings whose fields cannot be used, which only shows beside other settings or on this host.
    pub unusable: &'a BTreeSet<&'static str>,
}

impl Default for StoreBefore<'_> {
    fn default() -> Self {
        static NONE: StoreFields = StoreFields(BTreeMap::new());
        Self { last: &NONE, unusable: const { &BTreeSet::new() } }
    }
}

/// Settings with the store's configuration applied.
#[derive(Debug)]
pub struct StoreSettings {
    /// The resulting settings.
    pub spec: Spec,
    /// The fields that were applied: of this configuration, or of one before.
    pub applied: StoreFields,
    /// Names of unknown fields, which are ignored as in SkyDNS.
    pub unknown: Vec<String>,
    /// What cannot be used.
    pub problems: Vec<StoreProblem>,
}

/// What of the store's configuration cannot be used.
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
    /// A field that cannot be used.
    #[error(transparent)]
    Field(#[from] SettingProblem),
}

impl Spec {
    /// Applies the store's configuration over these settings.
    ///
    /// Field names match in any letter case and with `-` for `_`. A field that is `null` leaves its setting as it is. A field
    /// that cannot be used leaves its last value in force, and a value that is no JSON object leaves all of them.
    pub fn with_store(&self, key: &str, json: &[u8], before: StoreBefore<'_>) -> StoreSettings {
        let mut settings = StoreSettings::of_base(self);
        match fields(json) {
            Ok(fields) => {
                for (name, value) in fields {
                    settings.apply(key, name, value, before);
                }
            }
            Err(reason) => {
                settings.problems.push(StoreProblem::NotJson { key: key.to_owned(), reason });
                for setting in before.last.0.keys() {
                    settings.apply_last(key, setting, before.last);
                }
            }
        }
        settings
    }
}

/// The fields of a JSON object.
fn fields(json: &[u8]) -> Result<serde_json::Map<String, Value>, String> {
    match serde_json::from_slice(json) {
        Ok(Value::Object(fields)) => Ok(fields),
        // An error of the decoder would quote a value of any other type, which may be a secret.
        Ok(_) => Err("it is of another type".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl StoreSettings {
    /// Settings without a configuration in the store.
    pub fn of_base(base: &Spec) -> Self {
        Self {
            spec: base.clone(),
            applied: StoreFields::default(),
            unknown: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Applies a field, or the last value of its setting if the field cannot be used.
    fn apply(&mut self, key: &str, name: String, value: Value, before: StoreBefore<'_>) {
        let Some(setting) = Setting::by_key(&name) else {
            self.unknown.push(name);
            return;
        };
        if value.is_null() {
            return;
        }
        if before.unusable.contains(setting.name) {
            return self.apply_last(key, setting.name, before.last);
        }
        match set(&mut self.spec, setting, key, &name, &value) {
            Ok(()) => drop(self.applied.0.insert(setting.name, (name, value))),
            Err(problem) => {
                self.problems.push(problem.into());
                self.apply_last(key, setting.name, before.last);
            }
        }
    }

    /// Applies the last value of a setting, if there is one.
    fn apply_last(&mut self, key: &str, setting: &str, last: &StoreFields) {
        let (Some(setting), Some((name, value))) = (Setting::by_flag(setting), last.0.get(setting)) else {
            return;
        };
        // It could be used before.
        if set(&mut self.spec, setting, key, name, value).is_ok() {
            self.applied.0.insert(setting.name, (name.clone(), value.clone()));
        }
    }
}

/// Sets a setting from a field; a field that cannot be used changes nothing.
fn set(
    spec: &mut Spec,
    setting: &'static Setting,
    key: &str,
    name: &str,
    value: &Value,
) -> Result<(), SettingProblem> {
    let origin = SettingOrigin::Store { key: key.to_owned(), field: name.to_owned() };
    let mut changed = spec.clone();
    let set = (setting.set)(&mut changed, SettingInput::Json(value), &origin);
    set.map(|()| *spec = changed).map_err(|reason| SettingProblem { origin, reason })
}

impl StoreFields {
    /// Whether there is a field of a setting.
    pub fn has(&self, setting: &str) -> bool {
        self.0.contains_key(setting)
    }

    /// The same fields without that of a setting.
    pub fn without(mut self, setting: &str) -> Self {
        self.0.remove(setting);
        self
    }
}
