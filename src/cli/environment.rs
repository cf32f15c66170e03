//! Environment variables: those of the process, and those of the file of `-env-file`, which a reload reads again.

use crate::config::{LineProblem, Variables, read_variables};
use crate::regular_file;
use std::io;
use std::path::{Path, PathBuf};

/// Variables by name. The file wins over the process.
#[derive(Debug, Default)]
pub(super) struct Environment {
    file: Variables,
    /// The variables of the file at the start; systemd gave the same variables to the process.
    at_start: Variables,
    problems: Vec<String>,
}

/// A file of variables that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("-env-file (SKYDNS_ENV_FILE): {}: {reason}", file.display())]
pub(super) struct FileProblem {
    file: PathBuf,
    reason: String,
}

impl Environment {
    /// Reads a file. A file that does not exist has no variables, as with `EnvironmentFile=-`.
    pub(super) fn read(file: &Path) -> Result<Self, FileProblem> {
        let (file, problems) = read(file)?;
        Ok(Self { at_start: file.clone(), file, problems })
    }

    /// Reads the file again, for a reload.
    pub(super) fn reread(&self, file: &Path) -> Result<Self, FileProblem> {
        let (file, problems) = read(file)?;
        Ok(Self { file, at_start: self.at_start.clone(), problems })
    }

    /// The lines of the file that are ignored, and why.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The value of a variable.
    ///
    /// A variable of the process does not count if it came from the file at the start and is not in the file any more.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.file.get(name).cloned().or_else(|| {
            let value = std::env::var(name).ok()?;
            (self.at_start.get(name) != Some(&value)).then_some(value)
        })
    }
}

fn read(file: &Path) -> Result<(Variables, Vec<String>), FileProblem> {
    let problem = |reason| FileProblem { file: file.to_owned(), reason };
    match regular_file::read(file) {
        Ok(octets) => {
            let text = String::from_utf8(octets).map_err(|_| problem("it is not UTF-8".to_owned()))?;
            let (variables, problems) = read_variables(&text);
            let message = |problem: &LineProblem| format!("{}: {problem}; it is passed over", file.display());
            Ok((variables, problems.iter().map(message).collect()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((Variables::new(), Vec::new())),
        Err(error) => Err(problem(format!("cannot be read: {error}"))),
    }
}
