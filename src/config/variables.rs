//! Variables of the process and of files, merged: where several set the same variable, the last file wins.

use super::env_file::VariablesFile;
use super::odd::{statistics_without_partner, values_that_count_as_others};
use super::origin::{Place, SettingOrigin};
use super::refused::{Instead, RefusedSetting};
use super::unknown;
use crate::regular_file::reader_hint;
use crate::shown::quoted;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// Maximum number of lines of a file that are named because they set nothing: one may be no file of variables at all.
const MAX_PROBLEMS: usize = 5;

/// Maximum number of unknown names of a file that are named.
const MAX_NAMES: usize = 20;

/// Variables that are set, and what of their files is refused.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    by_name: BTreeMap<String, Variable>,
    refused: Vec<RefusedSetting>,
    /// Names in the files that mean nothing here, but are not refused.
    notices: Vec<String>,
    /// Whether a file could not be read: then it is not known what it sets.
    is_incomplete: bool,
    /// Variables that lines mean which set nothing, by a mistake in typing for example.
    meant: BTreeSet<&'static str>,
}

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The value; not empty.
    pub value: String,
    /// The line that sets the variable; `None` if it is one of the process.
    pub place: Option<Place>,
}

impl Variables {
    /// A variable; one that is set to nothing counts as not set.
    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.by_name.get(name).filter(|variable| !variable.value.is_empty())
    }

    /// Sets a variable of the process.
    pub fn set(&mut self, name: &str, value: String) {
        self.by_name.insert(name.to_owned(), Variable { value, place: None });
    }

    /// Sets the variables of a file. Lines and names that cannot be used are noted.
    pub fn add_file(&mut self, file: &Path, content: &VariablesFile) {
        let place = |line| Place { file: file.to_owned(), line };
        self.is_incomplete |= content.problems.iter().any(|problem| problem.ends_file);
        for problem in content.problems.iter().take(MAX_PROBLEMS) {
            self.meant.extend(problem.words.split_whitespace().find_map(unknown::meant));
            let origin = SettingOrigin::Line(place(problem.line));
            let reason = problem.reason.to_owned();
            self.refused.push(RefusedSetting { origin, reason, instead: Instead::Nothing });
        }
        if let Some(more) = content.problems.len().checked_sub(MAX_PROBLEMS).filter(|more| *more > 0) {
            let (origin, reason) =
                (SettingOrigin::File(file.to_owned()), format!("{more} more lines set nothing"));
            self.refused.push(RefusedSetting { origin, reason, instead: Instead::Nothing });
        }
        let (mut unknown_names, mut noticed) = (0, 0);
        for assignment in &content.assignments {
            let place = place(assignment.line);
            if unknown_names == MAX_NAMES {
                break;
            }
            match unknown::judge(&assignment.name) {
                unknown::Judgement::Known => {}
                unknown::Judgement::Refused => {
                    unknown_names += 1;
                    self.meant.extend(unknown::meant(&assignment.name));
                    let reason = unknown::reason(&assignment.name);
                    let origin =
                        SettingOrigin::Variable { name: assignment.name.clone(), place: Some(place.clone()) };
                    self.refused.push(RefusedSetting { origin, reason, instead: Instead::Nothing });
                }
                unknown::Judgement::Noticed if noticed == MAX_NAMES => {}
                unknown::Judgement::Noticed => {
                    noticed += 1;
                    let reason = unknown::reason(&assignment.name);
                    self.notices.push(format!("{place}: {}: {reason}", quoted(&assignment.name)));
                }
            }
        }
        let is_used = |name: &str| !unknown::NAMES_OF_FILES.contains(&name);
        for assignment in content.assignments.iter().filter(|assignment| is_used(&assignment.name)) {
            let place = Some(place(assignment.line));
            let variable = Variable { value: assignment.value.clone(), place };
            self.by_name.insert(assignment.name.clone(), variable);
        }
    }

    /// Notes a file that cannot be read. If it `is_passed` all the same, as systemd passes the variables of the unit's file to the
    /// process, nothing that it sets is missing.
    pub fn add_unreadable(&mut self, file: &Path, error: &io::Error, is_passed: bool) {
        let is_forbidden = error.kind() == io::ErrorKind::PermissionDenied;
        let hint = reader_hint(error);
        let (origin, reason) =
            (SettingOrigin::File(file.to_owned()), format!("cannot be read: {error}{hint}"));
        let instead = Instead::Told("the last good values of what it sets stay");
        self.refused.push(RefusedSetting { origin, reason, instead });
        self.is_incomplete |= !(is_forbidden && is_passed);
    }

    /// What of the files is not used.
    pub fn refused(&self) -> &[RefusedSetting] {
        &self.refused
    }

    /// Names in the files that mean nothing here, and variables of statistics that do nothing alone, each with its place.
    pub fn notices(&self) -> Vec<String> {
        [self.notices.clone(), statistics_without_partner(self), values_that_count_as_others(self)].concat()
    }

    /// Whether a variable that is not set may have been meant by a line that sets nothing: then its last good value counts.
    pub fn may_be_meant(&self, name: &str) -> bool {
        self.is_incomplete || self.meant.contains(name)
    }

    /// Whether a file could not be read.
    pub fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }
}

#[cfg(test)]
mod tests {
    use super::super::read_env_file;
    use super::*;

    #[test]
    fn the_last_file_wins_and_places_are_known() {
        let mut variables = Variables::default();
        variables.set("SKYDNS_TTL", "1".to_owned());
        variables.set("SKYDNS_NDOTS", "1".to_owned());
        variables.add_file(Path::new("/a"), &read_env_file("SKYDNS_TTL=2\nSKYDNS_NDOTS=\nexport\n"));
        variables
            .add_file(Path::new("/b"), &read_env_file("\nSKYDNS_TTL=3\nSKYDNS_TLT=4\nETCD_NAME=x\nTZ=UTC\n"));
        let ttl = variables.get("SKYDNS_TTL").expect("a variable");
        assert_eq!(
            (&*ttl.value, ttl.place.as_ref().map(ToString::to_string)),
            ("3", Some("/b:2".to_owned()))
        );
        assert_eq!(variables.get("SKYDNS_NDOTS"), None, "set to nothing");
        let refused: Vec<_> = variables.refused().iter().map(ToString::to_string).collect();
        assert_eq!(
            refused,
            [
                "/a:3: the line has no \"=\": it has to be NAME=value, or begin with \"#\"",
                "/b:3: SKYDNS_TLT: no setting has this name; SKYDNS_TTL is the nearest one"
            ]
        );
        assert_eq!(variables.notices(), ["/b:4: ETCD_NAME: the agent has no such setting"]);
    }
}
