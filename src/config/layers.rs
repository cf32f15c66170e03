//! All that flags and variables say at one time, from which the settings are made, more than once if need be.

use super::args::{Arguments, UsageError, ValuesBefore};
use super::variables::Variables;

/// The command line and the variables, as they were read.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The arguments, without the program's name.
    pub args: Vec<String>,
    /// The variables of the process and of files.
    pub variables: Variables,
}

impl Layers {
    /// Parses them; what was found out before decides about values that cannot be used.
    ///
    /// # Errors
    /// The command line cannot be parsed.
    pub fn parse(&self, before: &ValuesBefore) -> Result<Arguments, UsageError> {
        Arguments::parse(self.args.iter().cloned(), &self.variables, before)
    }

    /// Parses them once more; of a command line that cannot be parsed nothing counts.
    pub fn settings(&self, before: &ValuesBefore) -> Arguments {
        self.parse(before).unwrap_or_else(|_| Arguments::of_variables(&self.variables, before))
    }
}
