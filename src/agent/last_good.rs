//! The settings that were in use last, in the state directory: they stand in for settings that cannot be used after a
//! restart.
//!
//! No passwords, keys or other content of files are kept, but texts of settings, fields of the store's configuration, and
//! whether zones were signed.

use super::default_records;
use super::keeper::Keeper;
use super::state_dir;
use super::status::StatusNotes;
use crate::config::{GivenTexts, SettingOrigin, Spec, StoreFields};
use crate::regular_file;
use crate::replace_file::replace;
use hickory_proto::rr::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The present format of the file.
const FORMAT: u32 = 1;

/// Maximum number of zones that are remembered though they are not served now.
const MAX_OTHER_ZONES: usize = 16;

/// Settings with passwords and the like, none of which can be refused.
const SECRETS: [&str; 2] = ["password", "username"];

/// The setting of the state directory. It has no last good value: the one that this file is in holds what there is.
const STATE_DIR: &str = "state-dir";

/// What was in use last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastGood {
    format: u32,
    /// Texts of flags and variables, by the name of the setting or of the variable of statistics.
    pub given: GivenTexts,
    /// What of it only this process was told: other programs read the same files.
    pub told: ToldSettings,
    /// Fields of the store's configuration.
    pub store: StoreFields,
    /// The names of DNSSEC keys that signed last.
    pub keys: Vec<String>,
    /// Whether a zone was signed when it was served last.
    zones: BTreeMap<String, bool>,
}

/// Settings of the agent's command line and environment, which a drop-in for its unit may have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToldSettings {
    /// Texts of flags, by the name of the setting.
    pub flags: GivenTexts,
    /// Values of variables, by the name of the variable.
    pub variables: BTreeMap<String, String>,
}

impl LastGood {
    /// Whether a zone was served, and unsigned.
    pub fn is_unsigned(&self, zone: &Name) -> bool {
        self.zones.get(&zone.to_ascii()) == Some(&false)
    }

    /// Whether a zone was served, and signed.
    pub fn is_signed(&self, zone: &Name) -> bool {
        self.zones.get(&zone.to_ascii()) == Some(&true)
    }

    /// Notes of each zone that is served whether it is signed; `None` if it should be, and cannot be, so that what it was
    /// counts. A zone that is served no more may be unsigned when it comes again.
    pub(super) fn note_zones<'z>(&mut self, zones: impl Iterator<Item = (&'z Name, Option<bool>)>) {
        let served: BTreeMap<_, _> = zones.map(|(zone, is_signed)| (zone.to_ascii(), is_signed)).collect();
        self.zones.retain(|zone, was_signed| served.contains_key(zone) || !*was_signed);
        let mut others = self.zones.keys().filter(|zone| !served.contains_key(*zone)).count();
        self.zones.retain(|zone, _| {
            let is_too_many = !served.contains_key(zone) && others > MAX_OTHER_ZONES;
            others -= usize::from(is_too_many);
            !is_too_many
        });
        self.zones.extend(served.into_iter().filter_map(|(zone, is_signed)| Some((zone, is_signed?))));
    }

    /// Whether the default directory of records was used, without any value of a setting.
    pub fn directories(&self) -> GivenTexts {
        let used = self.given.get_key_value(default_records::USED);
        used.map(|(name, text)| (name.clone(), text.clone())).into_iter().collect()
    }

    /// Notes the texts of flags and variables, without secrets, and where they come from.
    pub(super) fn note_given(&mut self, given: &GivenTexts, origins: &BTreeMap<String, SettingOrigin>) {
        self.given.clone_from(given);
        self.given.retain(|setting, _| !SECRETS.contains(&&**setting));
        self.told = ToldSettings::default();
        for (setting, text) in &self.given {
            match origins.get(setting) {
                Some(SettingOrigin::Flag(_)) => {
                    self.told.flags.insert(setting.clone(), text.clone());
                }
                Some(SettingOrigin::Variable { name, place: None }) => {
                    self.told.variables.insert(name.clone(), text.clone());
                }
                _ => {}
            }
        }
        self.given.remove(STATE_DIR);
    }
}

/// The file of the last good settings, in the configured directory, else in systemd's; `None` if there is neither.
pub fn last_good_file(spec: &Spec) -> Option<PathBuf> {
    state_dir::file(spec, "settings")
}

/// Reads the last good settings; without the file, or if it is damaged, there are none.
///
/// # Errors
/// The file cannot be read, for the log.
pub fn read_last_good(file: &Path) -> Result<LastGood, String> {
    let content = match regular_file::read(file) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LastGood::default()),
        Err(error) => return Err(error.to_string()),
    };
    let last_good: LastGood = serde_json::from_slice(&content).map_err(|error| error.to_string())?;
    if last_good.format == FORMAT {
        Ok(last_good)
    } else {
        Err(format!("it has format {}", last_good.format))
    }
}

/// Starts to keep the last good settings, if there is a file; `notes` is told when it cannot be written.
///
/// # Errors
/// The system has no thread to give.
pub(super) fn keep_last_good(
    last_good: LastGood,
    file: Option<PathBuf>,
    notes: StatusNotes,
) -> io::Result<Keeper<LastGood>> {
    let present = LastGood { format: FORMAT, ..last_good };
    let Some(file) = file else { return Ok(Keeper::without_file(present)) };
    let told = file.display().to_string();
    let mut last = None;
    let report = move |problem: Option<String>| {
        match &problem {
            _ if problem == last => {}
            Some(error) => log::warn!("the last good settings cannot be kept in {told}: {error}"),
            None => log::info!("the last good settings are kept again"),
        }
        notes.set_unkept(problem.as_deref());
        last = problem;
    };
    Keeper::start("settings", present, move |last_good| write(&file, last_good), report)
}

/// Replaces the file.
fn write(file: &Path, last_good: &LastGood) -> io::Result<()> {
    replace(file, &serde_json::to_vec(last_good)?, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_secrets_are_not_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("settings");
        let zone = Name::from_ascii("site.example.").expect("a name");
        let mut last_good = LastGood { format: FORMAT, ..LastGood::default() };
        let given = [
            ("ttl", "600"),
            ("password", "secret"),
            ("ndots", "1"),
            ("domain", "site.example"),
            ("state-dir", "/a"),
        ];
        let given = given.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        let variable = |name: &str| SettingOrigin::Variable { name: name.into(), place: None };
        let origins = [
            ("ttl".to_owned(), SettingOrigin::Flag("ttl")),
            ("password".to_owned(), SettingOrigin::Flag("password")),
            ("state-dir".to_owned(), variable("SKYDNS_STATE_DIR")),
            ("ndots".to_owned(), variable("SKYDNS_NDOTS")),
            ("domain".to_owned(), SettingOrigin::LastGood("domain")),
        ];
        last_good.note_given(&given, &origins.into());
        assert_eq!(last_good.told.flags, [("ttl".to_owned(), "600".to_owned())].into());
        let told = [("SKYDNS_NDOTS", "1"), ("SKYDNS_STATE_DIR", "/a")];
        let told = told.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(last_good.told.variables, told.into());
        assert!(!last_good.given.contains_key(STATE_DIR));
        last_good.note_zones([(&zone, Some(false))].into_iter());
        write(&file, &last_good).expect("written");
        let text = std::fs::read_to_string(&file).expect("a text");
        assert!(!text.contains("secret"), "{text}");
        let read = read_last_good(&file).expect("read");
        assert_eq!(read, last_good);
        assert!(read.is_unsigned(&zone) && !read.is_unsigned(&Name::root()));
    }

    #[test]
    fn a_disk_that_takes_nothing_is_told_until_it_takes_them_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("settings");
        std::fs::create_dir(&file).expect("a directory in the way");
        let notes = StatusNotes::default();
        let keeper =
            keep_last_good(LastGood::default(), Some(file.clone()), notes.clone()).expect("a keeper");
        let wait_until = |what: &str, is_so: &dyn Fn() -> bool| {
            let begun = std::time::Instant::now();
            while !is_so() {
                assert!(begun.elapsed().as_secs() < 60, "{what}: {:?}", notes.texts());
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        };
        keeper.note(|last_good| last_good.keys = vec!["a".to_owned()]);
        wait_until("told", &|| notes.texts().iter().any(|text| text.contains("cannot be kept: ")));
        std::fs::remove_dir(&file).expect("removed");
        keeper.note(|last_good| last_good.keys = vec!["b".to_owned()]);
        wait_until("its end", &|| notes.texts().is_empty());
        assert_eq!(read_last_good(&file).map(|read| read.keys), Ok(vec!["b".to_owned()]));
    }

    #[test]
    fn a_file_that_is_damaged_or_not_there_is_no_error_of_the_start() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("settings");
        assert_eq!(read_last_good(&file), Ok(LastGood::default()));
        for damaged in ["", "{", "[]", "{\"format\":2,\"given\":{},\"store\":{},\"keys\":[],\"zones\":{}}"] {
            std::fs::write(&file, damaged).expect("a file");
            assert!(read_last_good(&file).is_err(), "{damaged}");
        }
    }
}
