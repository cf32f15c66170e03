//! The package's directory of records, which is used if no other one is configured.
//!
//! A directory that cannot be read, or that was in use and is gone, is no reason to do without it: its names would be denied.

use crate::config::{GivenTexts, Instead, RefusedSetting, SettingOrigin};
use crate::regular_file::reader_hint;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The directory.
pub(super) const DEFAULT_RECORDS: &str = "/etc/skydns/records";

/// The name by which it is kept among the settings in use that the directory was used. No flag has this name.
pub(super) const USED: &str = "default-records";

/// What is told of a directory of records that stays although it cannot be read.
pub(super) const TRIED_AGAIN: &str = "the agent tries it again";

/// Whether the directory is used, and why it cannot be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DefaultRecords {
    pub(super) directory: Option<PathBuf>,
    pub(super) refused: Option<RefusedSetting>,
}

/// Looks at the directory; `used` are the settings that were in use last.
pub(super) fn look(directory: &Path, used: &GivenTexts) -> DefaultRecords {
    let Err(error) = fs::read_dir(directory) else {
        return DefaultRecords { directory: Some(directory.to_owned()), refused: None };
    };
    let is_absent = error.kind() == io::ErrorKind::NotFound && !directory.is_symlink();
    if is_absent && !used.contains_key(USED) {
        return DefaultRecords::default();
    }
    let reason = match is_absent {
        true => "the directory of records, which was in use, is gone".to_owned(),
        false => format!("the directory of records cannot be read: {error}{}", reader_hint(&error)),
    };
    let (origin, instead) = (SettingOrigin::File(directory.to_owned()), Instead::Told(TRIED_AGAIN));
    let refused = Some(RefusedSetting { origin, reason, instead });
    DefaultRecords { directory: Some(directory.to_owned()), refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_was_used_or_cannot_be_read_is_not_done_without() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let (new, used) = (GivenTexts::new(), [(USED.to_owned(), String::new())].into());
        assert_eq!(look(&at("none"), &new), DefaultRecords::default(), "a host without it");
        std::os::unix::fs::symlink("nowhere", at("link")).expect("a link");
        fs::write(at("file"), "").expect("a file");
        fs::create_dir(at("records")).expect("a directory");
        for (name, used, told) in [
            ("records", &new, None),
            ("records", &used, None),
            (
                "none",
                &used,
                Some("the directory of records, which was in use, is gone; the agent tries it again"),
            ),
            ("link", &new, Some("cannot be read: No such file")),
            ("file", &new, Some("cannot be read: Not a directory")),
        ] {
            let DefaultRecords { directory, refused } = look(&at(name), used);
            assert_eq!(directory, Some(at(name)));
            let text = refused.map(|refused| refused.to_string());
            let begin = format!("{}: the directory of records", at(name).display());
            let is_told =
                |told| text.as_ref().is_some_and(|text| text.starts_with(&begin) && text.contains(told));
            assert!(told.map_or(text.is_none(), is_told), "{name}: {text:?}");
        }
    }
}
