//! Where the value of a setting comes from, for messages.

use crate::shown::quoted;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where the value of a setting comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SettingOrigin {
    /// The built-in default.
    #[default]
    Default,
    /// The last good value of a setting, which stands in for one that is refused.
    LastGood(&'static str),
    /// An environment variable.
    Variable {
        /// Its name.
        name: String,
        /// The line that sets it; `None` if it is a variable of the process.
        place: Option<Place>,
    },
    /// A flag, without its dash.
    Flag(&'static str),
    /// A field of the store's configuration.
    Store {
        /// The key in the store.
        key: String,
        /// The name of the field, as it is spelled in the store.
        field: String,
    },
    /// The store's configuration as a whole; its key.
    StoreKey(String),
    /// A file as a whole.
    File(PathBuf),
    /// A line of a file that sets nothing.
    Line(Place),
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The number of the line; the first line is 1.
    pub line: usize,
}

impl SettingOrigin {
    /// The file that says so.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Variable { place: Some(place), .. } | Self::Line(place) => Some(&place.file),
            Self::File(file) => Some(file),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::LastGood(name) => write!(f, "-{name} (the last good value)"),
            Self::Variable { name, place: None } => write!(f, "variable {}", quoted(name)),
            Self::Variable { name, place: Some(place) } => write!(f, "{place}: {}", quoted(name)),
            Self::Flag(name) => write!(f, "flag -{name}"),
            Self::Store { key, field } => write!(f, "{key}: field \"{field}\""),
            Self::StoreKey(key) => f.write_str(key),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Line(place) => write!(f, "{place}"),
        }
    }
}
