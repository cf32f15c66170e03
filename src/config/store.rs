//! The configuration in the store: the JSON object of `/skydns/config`, which overrides flags and variables.
//!
//! A field that cannot be used costs itself: the last value of the field that could be used stays, or else flag, variable
//! or default counts.

use super::domains;
use super::input::{SettingError, SettingInput};
use super::origin::SettingOrigin;
use super::refused::{Instead, RefusedSetting};
use super::settings::Setting;
use super::spec::Spec;
use super::zones::{self, ZoneProblem};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Fields of the store's configuration that could be used: the spelling of the name, and the value, by the setting's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreFields(BTreeMap<String, (String, Value)>);

/// What was found out before about the store's configuration; nothing by default.
#[derive(Clone, Copy, Debug)]
pub struct StoreBefore<'a> {
    /// The fields that were applied last.
    pub last: &'a StoreFields,
    /// Settings whose fields cannot be used, which only shows beside other settings or on this host, and why.
    pub unusable: &'a BTreeMap<&'static str, String>,
}

impl Default for StoreBefore<'_> {
    fn default() -> Self {
        static NONE: StoreFields = StoreFields(BTreeMap::new());
        Self { last: &NONE, unusable: const { &BTreeMap::new() } }
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
    pub problems: Vec<RefusedSetting>,
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
                let reason = format!("the value is not a JSON object: {reason}");
                let instead = match before.last.0.is_empty() {
                    true => Instead::Told("flags, variables and defaults count"),
                    false => Instead::Told("the last good fields stay"),
                };
                let origin = SettingOrigin::StoreKey(key.to_owned());
                settings.problems.push(RefusedSetting { origin, reason, instead });
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
        Ok(other) => Err(format!("it is {}", type_text(&other))),
        Err(_) if json.trim_ascii().is_empty() => Err("it is empty".to_owned()),
        Err(error) if error.is_eof() => Err(format!("it ends too early, in line {}", error.line())),
        Err(error) => Err(error.to_string()),
    }
}

/// The type of a value, for a person.
fn type_text(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl Spec {
    /// Applies the last fields of the store's configuration over these settings, while the store is not read.
    pub fn with_last(&self, key: &str, last: &StoreFields) -> StoreSettings {
        let mut settings = StoreSettings::of_base(self);
        for setting in last.0.keys() {
            settings.apply_last(key, setting, last);
        }
        settings
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
        let value =
            if setting.name == zones::ZONES { self.repair_zones(key, &name, value, before) } else { value };
        let origin = SettingOrigin::Store { key: key.to_owned(), field: name.clone() };
        let unusable = before.unusable.get(setting.name);
        let reason = match unusable {
            Some(reason) => reason.clone(),
            None => match set(&mut self.spec, setting, &origin, &value) {
                Ok(()) => return drop(self.applied.0.insert(setting.name.to_owned(), (name, value))),
                Err(reason) => reason.to_string(),
            },
        };
        let (reason, instead) = match self.apply_last(key, setting.name, before.last) {
            Some(last) => (reason, last),
            None => match unusable.is_none().then(|| self.apply_usable(setting, &value, &origin)).flatten() {
                Some(problems) => (problems, domains::REST_IS_SERVED),
                None => (reason, Instead::Told("the value of a flag or variable, else the default, is used")),
            },
        };
        self.problems.push(RefusedSetting { origin, reason, instead });
    }

    /// Applies the domains of a list that can be used; returns why the others cannot be. That is no last good value: of the
    /// next list those count that are right then.
    fn apply_usable(
        &mut self,
        setting: &'static Setting,
        value: &Value,
        origin: &SettingOrigin,
    ) -> Option<String> {
        let (usable, problems) = domains::usable(setting, SettingInput::Json(value))?;
        set(&mut self.spec, setting, origin, &Value::String(usable)).ok()?;
        Some(problems)
    }

    /// The settings of zones without those that cannot be used: each costs itself.
    fn repair_zones(&mut self, key: &str, name: &str, value: Value, before: StoreBefore<'_>) -> Value {
        let last = before.last.0.get(zones::ZONES).map(|(_, value)| value);
        let (value, problems) = zones::repaired(value, last);
        for ZoneProblem { reason, instead } in problems {
            let origin = SettingOrigin::Store { key: key.to_owned(), field: name.to_owned() };
            let of_site = Instead::Told("the setting of the site counts");
            let instead = instead.map_or(of_site, Instead::LastGood);
            self.problems.push(RefusedSetting { origin, reason, instead });
        }
        value
    }

    /// Applies the last value of a setting, if there is one; returns what is used.
    fn apply_last(&mut self, key: &str, setting: &str, last: &StoreFields) -> Option<Instead> {
        let (setting, (name, value)) = (Setting::by_flag(setting)?, last.0.get(setting)?);
        let origin = SettingOrigin::Store { key: key.to_owned(), field: name.clone() };
        // It could be used before, perhaps by another version.
        set(&mut self.spec, setting, &origin, value).ok()?;
        self.applied.0.insert(setting.name.to_owned(), (name.clone(), value.clone()));
        Some(Instead::LastGood(value.to_string()))
    }
}

/// Sets a setting from a field; a field that cannot be used changes nothing.
fn set(
    spec: &mut Spec,
    setting: &'static Setting,
    origin: &SettingOrigin,
    value: &Value,
) -> Result<(), SettingError> {
    let mut changed = spec.clone();
    (setting.set)(&mut changed, SettingInput::Json(value), origin).map(|()| *spec = changed)
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
