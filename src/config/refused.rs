//! Settings that cannot be used: each costs itself, and is told with its place and with what is used instead.

use super::origin::SettingOrigin;
use super::settings::flags;
use super::spec::source_flags;
use crate::shown::quoted;
use std::fmt;

/// A value that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSetting {
    /// Where the value comes from.
    pub origin: SettingOrigin,
    /// What is wrong with the value; it names the value and what is wanted.
    pub reason: String,
    /// What is used instead.
    pub instead: Instead,
}

/// What is used in the place of a refused value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// This value, which was in use before.
    LastGood(String),
    /// The default of the setting.
    Default,
    /// Nothing: what is refused sets nothing, such as a line without "=".
    Nothing,
    /// What this text says.
    Told(&'static str),
}

impl RefusedSetting {
    /// What is wrong, without what is used instead.
    pub fn problem(&self) -> String {
        format!("{}: {}", self.origin, self.reason)
    }

    /// Whether it decides where services come from.
    pub fn is_of_sources(&self) -> bool {
        match &self.origin {
            SettingOrigin::Flag(flag) => source_flags().any(|source| source == *flag),
            SettingOrigin::Variable { name, .. } => {
                let of_sources =
                    flags().filter(|setting| source_flags().any(|source| source == setting.name));
                of_sources.flat_map(|setting| setting.variables).any(|variable| variable == name)
            }
            _ => false,
        }
    }
}

impl fmt::Display for RefusedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem())?;
        match &self.instead {
            Instead::LastGood(value) => write!(f, "; {}, the last good value, stays", quoted(value)),
            Instead::Default => f.write_str("; the default is used"),
            Instead::Nothing => Ok(()),
            Instead::Told(text) => write!(f, "; {text}"),
        }
    }
}
