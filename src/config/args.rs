//! Parsing of the command line, in the syntax of Go's package `flag`, and of environment variables.

use super::command::Command;
use super::input::{SettingInput, SettingOrigin, SettingProblem};
use super::settings::{Setting, flags};
use super::spec::Spec;

/// The parsed command line and environment.
#[derive(Debug)]
pub struct Arguments {
    /// The command; [`Command::Run`] if none is given.
    pub command: Command,
    /// The settings from variables and flags, over the defaults.
    pub spec: Spec,
    /// Values that cannot be used; their settings keep the value that they had.
    pub problems: Vec<SettingProblem>,
}

/// A command line that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// No such flag.
    #[error("flag -{0} does not exist; see skydns --help")]
    UnknownFlag(String),
    /// The last flag takes a value, and there is none.
    #[error("flag -{0} needs a value")]
    MissingValue(String),
    /// No such command.
    #[error("\"{0}\" is no command; see skydns --help")]
    UnknownCommand(String),
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
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, UsageError> {
        let mut parsed = Self { command: Command::Run, spec: Spec::default(), problems: Vec::new() };
        parsed.read_variables(variable);
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
            parsed.flag(flag, value, &mut args)?;
        }
        Ok(parsed)
    }

    fn read_variables(&mut self, variable: impl Fn(&str) -> Option<String>) {
        for setting in flags() {
            let found = setting.variables.iter().find_map(|name| {
                let value = variable(name).filter(|value| !value.is_empty())?;
                Some((*name, value))
            });
            if let Some((name, value)) = found {
                self.set(setting, &value, &SettingOrigin::Variable(name));
            }
        }
    }

    fn word(&mut self, word: &str, rest: &mut impl Iterator<Item = String>) -> Result<(), UsageError> {
        if matches!(word, "true" | "false") {
            return Err(UsageError::StrayValue(word.to_owned()));
        }
        self.command =
            Command::parse(word, rest).ok_or_else(|| UsageError::UnknownCommand(word.to_owned()))?;
        Ok(())
    }

    fn flag(
        &mut self,
        flag: &str,
        value: Option<String>,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<(), UsageError> {
        match (flag, value.as_deref()) {
            ("h" | "help", _) => self.command = Command::Help,
            ("version", None | Some("true")) => self.command = Command::Version,
            ("version", _) => {}
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
                self.set(setting, &value, &SettingOrigin::Flag(setting.name));
            }
        }
        Ok(())
    }

    fn set(&mut self, setting: &Setting, value: &str, origin: &SettingOrigin) {
        if let Err(reason) = (setting.set)(&mut self.spec, SettingInput::Text(value), origin) {
            self.problems.push(SettingProblem { origin: origin.clone(), reason });
        }
    }
}
