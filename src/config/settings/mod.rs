//! The table of settings: one row for each, with every way to give it and with what documents say about it.
//!
//! Help, man pages, the table of settings in the guides and the file of variables are written from these rows. In
//! their texts, a name that a user types or sees is between grave accents (`-addr`).

mod answers;
mod dnssec;
mod forward;
mod kubernetes;
mod listen;
mod operate;
mod skydns2;
mod sources;
mod statistics;

pub(super) use answers::mailbox;
pub use statistics::{STATISTICS, StatisticsVariable};

use super::input::{SettingError, SettingInput};
use super::origin::SettingOrigin;
use super::spec::Spec;
use std::path::PathBuf;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The flag without its dash.
    pub name: &'static str,
    /// Environment variables; the first that is set counts.
    pub variables: &'static [&'static str],
    /// Keys of the JSON object in `/skydns/config`, in lower case, with `_` for `-`.
    pub keys: &'static [&'static str],
    /// What the flag takes; `None` for a switch.
    pub takes: Option<&'static str>,
    /// What the setting is, in one line that begins with a small letter and has no full stop.
    pub summary: &'static str,
    /// What else there is to know, in sentences.
    pub details: &'static str,
    /// What counts when the setting is not given.
    pub default: DefaultValue,
    /// A value as a user may give it.
    pub example: &'static str,
    /// When a changed value counts.
    pub takes_effect: TakesEffect,
    /// Reads a value and writes it to the settings.
    pub(in crate::config) set: SetSpec,
}

/// Reads a value and writes it to the settings; the origin is that of the value.
type SetSpec = fn(&mut Spec, SettingInput<'_>, &SettingOrigin) -> Result<(), SettingError>;

/// What counts when a setting is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// This value, as a user would give it.
    Value(&'static str),
    /// No value; the text says what the agent does without one.
    Unset(&'static str),
}

/// When a changed setting counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesEffect {
    /// After a reload; in `/skydns/config` at once.
    Reload,
    /// After a restart.
    Restart,
}

/// Settings for one purpose, which documents show together.
#[derive(Debug)]
pub struct SettingGroup {
    /// The heading.
    pub title: &'static str,
    /// The settings, in the order of the documents.
    pub settings: &'static [Setting],
}

pub(super) use kubernetes::KUBERNETES_SETTINGS;

/// All settings, in the order of help and documents.
pub const SETTING_GROUPS: [SettingGroup; 8] = [
    SettingGroup { title: "Listening", settings: listen::LISTEN_SETTINGS },
    SettingGroup { title: "Answers", settings: answers::ANSWER_SETTINGS },
    SettingGroup { title: "Stores of services", settings: sources::SOURCE_SETTINGS },
    SettingGroup { title: "Kubernetes", settings: KUBERNETES_SETTINGS },
    SettingGroup { title: "Forwarding", settings: forward::FORWARD_SETTINGS },
    SettingGroup { title: "DNSSEC", settings: dnssec::DNSSEC_SETTINGS },
    SettingGroup { title: "Operation", settings: operate::OPERATION_SETTINGS },
    SettingGroup { title: "Flags of SkyDNS 2", settings: skydns2::SKYDNS2_SETTINGS },
];

/// All settings, in the order of help and documents.
pub fn flags() -> impl Iterator<Item = &'static Setting> {
    SETTING_GROUPS.iter().flat_map(|group| group.settings)
}

impl Setting {
    /// The setting of a flag.
    pub(super) fn by_flag(flag: &str) -> Option<&'static Self> {
        flags().find(|setting| setting.name == flag)
    }

    /// The setting of a key of `/skydns/config`, in any letter case, `-` or `_`.
    pub fn by_key(key: &str) -> Option<&'static Self> {
        let key = key.to_ascii_lowercase().replace('-', "_");
        flags().find(|setting| setting.keys.contains(&key.as_str()))
    }
}

/// A number that falls back to its default unless it is positive, as in SkyDNS.
pub(super) fn positive<T: TryFrom<i64> + PartialOrd + Default>(number: i64, default: T) -> T {
    T::try_from(number).ok().filter(|number| *number > T::default()).unwrap_or(default)
}

/// A text, unless it is empty.
fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A path, unless it is empty.
fn path(text: &str) -> Option<PathBuf> {
    non_empty(text).map(PathBuf::from)
}

#[cfg(test)]
mod tests;
