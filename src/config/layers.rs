//! All that flags and variables say at one time, from which the settings are made, more than once if need be.

use super::args::{Arguments, UsageError, ValuesBefore};
use super::command::MigrateOptions;
use super::origin::SettingOrigin;
use super::spec::Spec;
use super::variables::Variables;
use std::path::{Path, PathBuf};

/// The command line and the variables, as they were read.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The arguments, without the program's name.
    pub args: Vec<String>,
    /// The variables of the process and of files.
    pub variables: Variables,
    /// Where the names of files are looked for that flags and variables of the process give; `None`: in the working directory.
    ///
    /// A command that reads the service's settings works in the service's directory: there, names from the files of the unit
    /// mean what they mean to the service. Names on its own command line mean files where it was typed.
    pub typed_in: Option<PathBuf>,
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
        let settings = self.parse(before);
        let mut settings = settings.unwrap_or_else(|_| Arguments::of_variables(&self.variables, before));
        if let Some(dir) = &self.typed_in {
            find_typed(&mut settings, dir);
        }
        settings
    }
}

/// Replaces names of files that were typed by their paths.
fn find_typed(settings: &mut Arguments, dir: &Path) {
    let is_typed = |setting: &str| {
        let origin = settings.origins.get(setting);
        matches!(origin, Some(SettingOrigin::Flag(_) | SettingOrigin::Variable { place: None, .. }))
    };
    let typed = FILE_SETTINGS.map(is_typed);
    let Spec { records, ca_cert, tls_pem, tls_key, kubernetes, dnssec, .. } = &mut settings.spec;
    let paths = [records, ca_cert, tls_pem, tls_key, &mut kubernetes.kubeconfig];
    for (path, _) in paths.into_iter().zip(typed).filter(|(_, typed)| *typed) {
        if let Some(path) = path
            && let Some(found) = typed_path(path, dir, &[""])
        {
            *path = found;
        }
    }
    for name in dnssec.iter_mut().filter(|_| typed[5]) {
        // The base name of key files has two files and is none.
        if let Some(Ok(found)) = typed_path(Path::new(name), dir, &["", ".key", ".private"])
            .map(|path| path.into_os_string().into_string())
        {
            *name = found;
        }
    }
    if typed[6] {
        settings.spec.resolv_conf = dir.join(&settings.spec.resolv_conf);
    }
}

impl MigrateOptions {
    /// Replaces names of files that were typed by their paths, as for settings.
    pub fn find_typed(&mut self, dir: &Path) {
        let files = [&mut self.to_ca_cert, &mut self.to_cert, &mut self.to_key];
        for path in files.into_iter().flatten() {
            if let Some(found) = typed_path(path, dir, &[""]) {
                *path = found;
            }
        }
    }
}

/// The settings that name files, in the order in which [`find_typed`] knows them.
const FILE_SETTINGS: [&str; 7] =
    ["records", "ca-cert", "tls-pem", "tls-key", "kubeconfig", "dnssec", "resolv-conf"];

/// The path of a file in a directory; `None` for a bare name that the directory does not have: it may be that of a private file.
fn typed_path(path: &Path, dir: &Path, endings: &[&str]) -> Option<PathBuf> {
    let found = dir.join(path);
    let is_bare = path.components().count() == 1;
    let exists = |ending: &&str| {
        let mut file = found.clone().into_os_string();
        file.push(ending);
        Path::new(&file).exists()
    };
    (!is_bare || endings.iter().any(exists)).then_some(found)
}
