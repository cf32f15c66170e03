//! Parsing of the command line, in the syntax of Go's package `flag`, and of environment variables.
//!
//! A command line that cannot be used is an error: the one who wrote it is there to read it. A variable that cannot be
//! used costs its own setting alone.

use super::command::{Command, CommandEntry};
use super::domains;
use super::endpoint::endpoint;
use super::input::{SettingError, SettingInput, SettingProblem};
use super::origin::SettingOrigin;
use super::refused::{Instead, RefusedSetting};
use super::settings::{Setting, flags};
use super::spec::Spec;
use super::variables::Variables;
use crate::shown::quoted;
use std::collections::BTreeMap;

/// The parsed command line and environment.
#[derive(Debug)]
pub struct Arguments {
    /// The command; [`Command::Run`] if none is given.
    pub command: Command,
    /// The settings from variables and flags, over the defaults.
    pub spec: Spec,
    /// Values of flags that cannot be used.
    pub flag_problems: Vec<SettingProblem>,
    /// Values of variables that are not used.
    pub refused: Vec<RefusedSetting>,
    /// The settings that are given and used: the text of each value, by the name of the setting.
    pub used: GivenTexts,
    /// Where each of these values comes from.
    pub origins: BTreeMap<String, SettingOrigin>,
}

/// Texts of settings by the setting's name.
pub type GivenTexts = BTreeMap<String, String>;

/// What was found out before about the values of settings; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct ValuesBefore {
    /// The values that were in use last.
    pub last_good: GivenTexts,
    /// Values that cannot be used for a reason that shows on this host only: the reason by setting and text.
    pub unusable: BTreeMap<(String, String), String>,
}

/// A command line that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// No such flag.
    #[error("flag -{} does not exist; see skydns --help", quoted(.0))]
    UnknownFlag(String),
    /// The last flag takes a value, and there is none.
    #[error("flag -{0} needs a value")]
    MissingValue(String),
    /// No such command.
    #[error("\"{}\" is no command; see skydns --help", quoted(.0))]
    UnknownCommand(String),
    /// The value of a flag that is no setting cannot be used.
    #[error("flag -{flag}: {reason}")]
    Switch {
        /// The flag without its dash.
        flag: &'static str,
        /// What is wrong with the value.
        reason: SettingError,
    },
    /// A word that the command before it does not take.
    #[error("\"{}\" is one word too many; see skydns --help", quoted(.0))]
    ExtraWord(String),
    /// The value of a switch is after a blank instead of `=`.
    #[error("\"{0}\" stands alone: a switch takes its value behind \"=\", as in -round-robin={0}")]
    StrayValue(String),
}

impl Arguments {
    /// Parses arguments (without the program's name) and variables.
    ///
    /// `-flag value`, `-flag=value` and `--flag value` mean the same. A switch takes a value only after `=`. A command
    /// may be anywhere between flags.
    ///
    /// # Errors
    /// An unknown flag or word, or a flag without its value.
    pub fn parse(
        args: impl IntoIterator<Item = String>,
        variables: &Variables,
        before: &ValuesBefore,
    ) -> Result<Self, UsageError> {
        let mut parsed = Self::of_variables(variables, before);
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some(flag) = arg.strip_prefix('-').filter(|flag| !flag.is_empty()) else {
                parsed.word(&arg, &mut args)?;
                continue;
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            let (flag, value) = match flag.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (flag, None),
            };
            parsed.flag(flag, value, &mut args, before)?;
        }
        Ok(parsed)
    }

    /// The settings of variables, without a command line.
    pub(super) fn of_variables(variables: &Variables, before: &ValuesBefore) -> Self {
        let mut parsed = Self {
            command: Command::Run,
            spec: Spec::default(),
            flag_problems: Vec::new(),
            refused: Vec::new(),
            used: GivenTexts::new(),
            origins: BTreeMap::new(),
        };
        parsed.read_variables(variables, before);
        parsed
    }

    /// Where the value of a setting comes from.
    pub fn origin(&self, setting: &str) -> SettingOrigin {
        self.origins.get(setting).cloned().unwrap_or_default()
    }

    fn read_variables(&mut self, variables: &Variables, before: &ValuesBefore) {
        for setting in flags() {
            match setting.variables.iter().find_map(|name| Some((name, variables.get(name)?))) {
                Some((name, variable)) => {
                    let (name, place) = ((*name).to_owned(), variable.place.clone());
                    self.give(setting, &variable.value, SettingOrigin::Variable { name, place }, before);
                }
                // It may be in a file that cannot be read, or in a line that cannot.
                None if setting.variables.iter().any(|name| variables.may_be_meant(name)) => {
                    if let Some(last) = before.last_good_of(setting.name, "") {
                        // It could be used before, perhaps by another version.
                        let _ = self.set(setting, last, &SettingOrigin::LastGood(setting.name));
                    }
                }
                None => {}
            }
        }
        self.refused.extend_from_slice(variables.refused());
    }

    fn word(&mut self, word: &str, rest: &mut impl Iterator<Item = String>) -> Result<(), UsageError> {
        if matches!(word, "true" | "false") {
            return Err(UsageError::StrayValue(word.to_owned()));
        }
        if let Command::Check(options) = &mut self.command
            && options.file.is_none()
        {
            options.file = Some(word.into());
            return Ok(());
        }
        let unknown = || UsageError::UnknownCommand(word.to_owned());
        self.command = match self.command {
            Command::Help(None) => Command::Help(Some(CommandEntry::by_word(word).ok_or_else(unknown)?)),
            Command::Run => Command::parse(word, rest).ok_or_else(unknown)?,
            _ => return Err(UsageError::ExtraWord(word.to_owned())),
        };
        Ok(())
    }

    /// Takes `-offline`, a flag of `check` alone.
    fn take_offline(&mut self, is_offline: bool) -> Result<(), UsageError> {
        let Command::Check(options) = &mut self.command else {
            return Err(UsageError::UnknownFlag("offline".to_owned()));
        };
        options.is_offline = is_offline;
        Ok(())
    }

    /// Takes an option of `migrate` alone; `false` if it is none.
    fn take_migrate(
        &mut self,
        flag: &str,
        value: Option<&str>,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<bool, UsageError> {
        let Command::Migrate(options) = &mut self.command else { return Ok(false) };
        match flag {
            "dry-run" => options.is_dry_run = is_on("dry-run", value)?,
            "follow" => options.follows = is_on("follow", value)?,
            "verify" => options.verifies = is_on("verify", value)?,
            "from" | "to" | "to-machines" | "to-ca-cert" | "to-cert" | "to-key" => {
                let value = value.map(str::to_owned).or_else(|| rest.next());
                let value = value.ok_or_else(|| UsageError::MissingValue(flag.to_owned()))?;
                match flag {
                    "from" => options.from = value,
                    "to" => options.to = value,
                    "to-machines" => {
                        let urls = SettingInput::Text(&value)
                            .list()
                            .and_then(|urls| urls.into_iter().map(endpoint).collect::<Result<Vec<_>, _>>());
                        let refused = |reason| UsageError::Switch { flag: "to-machines", reason };
                        options.to_machines = urls.map_err(refused)?;
                    }
                    "to-ca-cert" => options.to_ca_cert = Some(value.into()),
                    "to-cert" => options.to_cert = Some(value.into()),
                    _ => options.to_key = Some(value.into()),
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn flag(
        &mut self,
        flag: &str,
        value: Option<String>,
        rest: &mut impl Iterator<Item = String>,
        before: &ValuesBefore,
    ) -> Result<(), UsageError> {
        if self.take_migrate(flag, value.as_deref(), rest)? {
            return Ok(());
        }
        match (flag, value.as_deref()) {
            ("h" | "help", _) => self.command = self.command.help(),
            ("version", value) => {
                if is_on("version", value)? {
                    self.command = Command::Version;
                }
            }
            ("offline", value) => self.take_offline(is_on("offline", value)?)?,
            _ => {
                let setting =
                    Setting::by_flag(flag).ok_or_else(|| UsageError::UnknownFlag(flag.to_owned()))?;
                let value = match (value, setting.takes) {
                    (Some(value), _) => value,
                    (None, None) => "true".to_owned(),
                    (None, Some(_)) => {
                        rest.next().ok_or_else(|| UsageError::MissingValue(flag.to_owned()))?
                    }
                };
                self.give(setting, &value, SettingOrigin::Flag(setting.name), before);
            }
        }
        Ok(())
    }

    /// Takes a value; one that cannot be used is refused, and the last good one is used instead.
    fn give(&mut self, setting: &'static Setting, value: &str, origin: SettingOrigin, before: &ValuesBefore) {
        let reason = match before.unusable.get(&(setting.name.to_owned(), value.to_owned())) {
            Some(reason) => reason.clone(),
            None => match self.set(setting, value, &origin) {
                Ok(()) => return,
                Err(reason) if matches!(origin, SettingOrigin::Flag(_)) => {
                    return self.flag_problems.push(SettingProblem { origin, reason });
                }
                Err(reason) => reason.to_string(),
            },
        };
        let last = before.last_good_of(setting.name, value);
        let last =
            last.filter(|last| self.set(setting, last, &SettingOrigin::LastGood(setting.name)).is_ok());
        let (reason, instead) = match last {
            Some(last) => (reason, Instead::LastGood(last.to_owned())),
            None => match self.set_usable(setting, value, &origin) {
                Some(problems) => (problems, domains::REST_IS_SERVED),
                None => (reason, Instead::Default),
            },
        };
        self.refused.push(RefusedSetting { origin, reason, instead });
    }

    /// Sets the domains to those of a list that can be used; returns why the others cannot be.
    fn set_usable(
        &mut self,
        setting: &'static Setting,
        value: &str,
        origin: &SettingOrigin,
    ) -> Option<String> {
        let (usable, problems) = domains::usable(setting, SettingInput::Text(value))?;
        self.set(setting, &usable, origin).ok()?;
        // It is no last good value: of the next list those count that are right then.
        self.used.remove(setting.name);
        Some(problems)
    }

    /// Sets a setting; a value that cannot be used changes nothing.
    fn set(
        &mut self,
        setting: &'static Setting,
        value: &str,
        origin: &SettingOrigin,
    ) -> Result<(), SettingError> {
        let mut changed = self.spec.clone();
        (setting.set)(&mut changed, SettingInput::Text(value), origin)?;
        self.spec = changed;
        self.used.insert(setting.name.to_owned(), value.to_owned());
        self.origins.insert(setting.name.to_owned(), origin.clone());
        Ok(())
    }
}

/// The value of a switch that is no setting.
fn is_on(flag: &'static str, value: Option<&str>) -> Result<bool, UsageError> {
    let value = value.unwrap_or("true");
    SettingInput::Text(value).boolean().map_err(|reason| UsageError::Switch { flag, reason })
}

impl ValuesBefore {
    /// The last good text of a setting, unless it is the one that is refused or cannot be used either.
    fn last_good_of(&self, setting: &str, refused: &str) -> Option<&str> {
        let last = self.last_good.get(setting).filter(|last| *last != refused)?;
        (!self.unusable.contains_key(&(setting.to_owned(), last.clone()))).then_some(last)
    }
}
