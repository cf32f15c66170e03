//! Environment variables: those of the process, and those of the files of `-env-file` and `-conf-dir`, which a reload reads
//! again.

use crate::agent;
use crate::config::{NAMES_OF_FILES, Spec, Variables, VariablesFile, read_env_file};
use crate::lock::lock;
use crate::regular_file;
use crate::systemd;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The files that the unit of the package names.
pub(super) const UNIT_ENV_FILE: &str = "/etc/default/skydns";
pub(super) const UNIT_CONF_DIR: &str = "/etc/skydns/skydns.conf.d";

/// The state directory of the unit.
const UNIT_STATE_DIR: &str = "/var/lib/skydns";

/// Where the unit of the package is, and one that an administrator made in its place.
const UNITS: [&str; 2] = ["/usr/lib/systemd/system/skydns.service", "/etc/systemd/system/skydns.service"];

/// Maximum number of files in the directory: a site has a few.
const MAX_FILES: usize = 1_000;

/// The files of variables.
#[derive(Debug, Default)]
pub(super) struct Environment {
    env_file: Option<PathBuf>,
    conf_dir: Option<PathBuf>,
    /// What each file held when it was read last.
    held: Mutex<BTreeMap<PathBuf, VariablesFile>>,
    /// The variables of `-env-file` at the start: systemd gave the same variables to the process.
    at_start: VariablesFile,
}

impl Environment {
    /// The files that settings name, which are read once.
    pub(super) fn of(spec: &Spec) -> Self {
        let mut environment =
            Self { env_file: spec.env_file.clone(), conf_dir: spec.conf_dir.clone(), ..Self::default() };
        if systemd::is_supervised() {
            let of_unit = read(Path::new(UNIT_ENV_FILE)).ok().flatten().unwrap_or_default();
            environment.restore_files_of_unit(&of_unit);
        }
        let at_start = environment.env_file.as_ref().and_then(|file| read(file).ok().flatten());
        environment.at_start = at_start.unwrap_or_default();
        environment
    }

    /// Replaces files that the unit's own file names: systemd has put them over those that the unit names.
    fn restore_files_of_unit(&mut self, content: &VariablesFile) {
        let [env_file, conf_dir] = NAMES_OF_FILES;
        let is_named = |name: &str, used: &Option<PathBuf>| {
            let last = content.assignments.iter().rfind(|assignment| assignment.name == name);
            last.is_some_and(|assignment| used.as_deref() == Some(Path::new(&assignment.value)))
        };
        if is_named(env_file, &self.env_file) {
            self.env_file = Some(UNIT_ENV_FILE.into());
        }
        if is_named(conf_dir, &self.conf_dir) {
            self.conf_dir = Some(UNIT_CONF_DIR.into());
        }
    }

    /// The same with the files of the unit, unless settings name others.
    pub(super) fn of_unit(spec: &Spec) -> Self {
        let mut spec = spec.clone();
        if spec.env_file.is_none() && spec.conf_dir.is_none() {
            spec.env_file = Some(UNIT_ENV_FILE.into());
            // On a host without the unit nothing names the directory, so it need not be there.
            let is_named = UNITS.iter().any(|unit| Path::new(unit).exists());
            spec.conf_dir = Some(PathBuf::from(UNIT_CONF_DIR)).filter(|dir| is_named || dir.exists());
        }
        Self::of(&spec)
    }

    /// The name by which a file is read, if it is one of these files.
    pub(super) fn name_of(&self, file: &Path) -> Option<PathBuf> {
        let wanted = file.canonicalize().ok()?;
        let in_dir = self.conf_dir.as_deref().map(files).and_then(Result::ok).unwrap_or_default();
        let mut all = self.env_file.iter().cloned().chain(in_dir);
        all.find(|name| name.canonicalize().is_ok_and(|name| name == wanted))
    }

    /// Reads the variables of the process and of all files.
    ///
    /// A variable of the process does not count if it came from the file at the start and is not in the file any more. Of a
    /// file that cannot be read, the lines that it had before count. A directory that is not there cannot be read either: it was
    /// misspelt, or is not mounted.
    pub(super) fn read(&self) -> Variables {
        let mut variables = Variables::default();
        let is_from_file = |name: &str, value: &str| {
            let last = self.at_start.assignments.iter().rfind(|assignment| assignment.name == name);
            last.is_some_and(|assignment| assignment.value == value)
        };
        for (name, value) in std::env::vars_os() {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            if !is_from_file(&name, &value) {
                variables.set(&name, value.into_owned());
            }
        }
        self.env_file.iter().for_each(|file| self.add(file, &mut variables));
        let Some(dir) = &self.conf_dir else { return variables };
        match files(dir) {
            Ok(files) => {
                // What a file held that is gone does not stand in for another one of its name.
                lock(&self.held)
                    .retain(|held, _| files.contains(held) || self.env_file.as_ref() == Some(held));
                files.iter().for_each(|file| self.add(file, &mut variables));
            }
            Err(error) => {
                for (file, content) in lock(&self.held).iter_mut().filter(|(file, _)| file.starts_with(dir)) {
                    if let Ok(Some(present)) = read(file) {
                        *content = present;
                    }
                    variables.add_file(file, content);
                }
                variables.add_unreadable(dir, &error, false);
            }
        }
        variables
    }

    /// Adds the variables of a file.
    fn add(&self, file: &Path, variables: &mut Variables) {
        let mut held = lock(&self.held);
        let is_named = self.env_file.as_deref() == Some(file) && !may_be_absent(file);
        let content = match read(file) {
            Ok(None) if is_named => Err(absent(file, "-env-file (SKYDNS_ENV_FILE) names it")),
            content => content,
        };
        match content {
            Ok(Some(content)) => {
                variables.add_file(file, &content);
                held.insert(file.to_owned(), content);
            }
            Ok(None) => drop(held.remove(file)),
            Err(error) => {
                if let Some(before) = held.get(file) {
                    variables.add_file(file, before);
                }
                let is_passed = self.env_file.as_deref() == Some(file) && systemd::is_supervised();
                variables.add_unreadable(file, &error, is_passed);
            }
        }
    }
}

/// Reads a file; `None` if there is none, as with `EnvironmentFile=-`.
fn read(file: &Path) -> io::Result<Option<VariablesFile>> {
    match regular_file::read(file) {
        // What is no UTF-8 becomes a value that its setting refuses.
        Ok(octets) => Ok(Some(read_env_file(&String::from_utf8_lossy(&octets)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match file.is_symlink() {
            true => Err(absent(file, "")),
            false => Ok(None),
        },
        Err(error) => Err(error),
    }
}

/// Whether a file that a setting names may be absent: the unit names its own one for those who want it.
pub(super) fn may_be_absent(file: &Path) -> bool {
    file == Path::new(UNIT_ENV_FILE)
}

/// The file of the last good settings of the service.
pub(super) fn last_good_file(spec: &Spec) -> PathBuf {
    agent::last_good_file(spec).unwrap_or_else(|| Path::new(UNIT_STATE_DIR).join("settings"))
}

/// The error of a file or directory that is not there; `named` says what names it.
fn absent(path: &Path, named: &str) -> io::Error {
    match path.is_symlink() {
        true => io::Error::other("it is a link that leads nowhere"),
        false => io::Error::new(io::ErrorKind::NotFound, format!("it does not exist, and {named}")),
    }
}

/// The files of a directory that are read, in the order of their names.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => absent(dir, "-conf-dir (SKYDNS_CONF_DIR) names it"),
        _ => error,
    })?;
    let mut files: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_read(path)).collect();
    if files.len() > MAX_FILES {
        return Err(io::Error::other(format!("it has more than {MAX_FILES} files")));
    }
    files.sort();
    Ok(files)
}

/// Whether a file of the directory is read, by its name.
fn is_read(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.ends_with(".conf") && !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_directory_are_read_in_order_and_a_broken_one_costs_itself() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
        write("env", "SKYDNS_TTL=1\nSKYDNS_NDOTS=1\nSKYDNS_PRIORITY=1\n");
        write("20-b.conf", "SKYDNS_TTL=3\n");
        write("10-a.conf", "SKYDNS_TTL=2\nSKYDNS_NDOTS=2\n");
        for ignored in ["30.conf.dpkg-old", ".40.conf", "README"] {
            write(ignored, "SKYDNS_TTL=9\n");
        }
        let (env_file, conf_dir) = (Some(dir.path().join("env")), Some(dir.path().to_owned()));
        let environment = Environment::of(&Spec { env_file, conf_dir, ..Spec::default() });
        let values = |variables: &Variables| {
            let value =
                |name| variables.get(name).map_or_else(String::new, |variable| variable.value.clone());
            ["SKYDNS_TTL", "SKYDNS_NDOTS", "SKYDNS_PRIORITY"].map(value)
        };
        let variables = environment.read();
        assert_eq!(values(&variables), ["3", "2", "1"]);
        assert!(variables.refused().is_empty());

        std::fs::remove_file(dir.path().join("10-a.conf")).expect("removed");
        std::fs::create_dir(dir.path().join("10-a.conf")).expect("a directory");
        let variables = environment.read();
        assert_eq!(values(&variables), ["3", "2", "1"], "what could not be read any more stays");
        assert!(variables.refused()[0].to_string().contains("10-a.conf: cannot be read: "));
        std::fs::remove_dir(dir.path().join("10-a.conf")).expect("removed");
        let variables = environment.read();
        assert_eq!(values(&variables), ["3", "1", "1"], "what is gone is gone");
        assert!(variables.refused().is_empty());
        std::fs::create_dir(dir.path().join("10-a.conf")).expect("a directory");
        assert_eq!(values(&environment.read()), ["3", "1", "1"]);

        std::fs::remove_file(dir.path().join("20-b.conf")).expect("removed");
        std::os::unix::fs::symlink("/nonexistent", dir.path().join("20-b.conf")).expect("a link");
        let variables = environment.read();
        assert_eq!(values(&variables), ["3", "1", "1"], "a link that leads nowhere is no removal");
        let refused: Vec<_> = variables.refused().iter().map(ToString::to_string).collect();
        assert!(
            refused.iter().any(|text| text.contains("20-b.conf: cannot be read: it is a link")),
            "{refused:?}"
        );
    }

    #[test]
    fn what_a_setting_names_and_is_not_there_costs_no_setting() {
        let dir = tempfile::tempdir().expect("a directory");
        let (env_file, conf_dir) = (dir.path().join("env"), dir.path().join("conf.d"));
        std::fs::create_dir(&conf_dir).expect("a directory");
        std::fs::write(&env_file, "SKYDNS_TTL=1\n").expect("a file");
        std::fs::write(conf_dir.join("a.conf"), "SKYDNS_NDOTS=2\n").expect("a file");
        let spec =
            Spec { env_file: Some(env_file.clone()), conf_dir: Some(conf_dir.clone()), ..Spec::default() };
        let environment = Environment::of(&spec);
        assert!(environment.read().refused().is_empty());
        std::fs::remove_file(&env_file).expect("removed");
        std::fs::rename(&conf_dir, dir.path().join("away")).expect("moved");
        // At the next start it is not known what they set.
        for (environment, is_known) in [(&environment, true), (&Environment::of(&spec), false)] {
            let variables = environment.read();
            for name in ["SKYDNS_TTL", "SKYDNS_NDOTS"] {
                assert_eq!(variables.get(name).is_some(), is_known, "{name}");
            }
            assert!(variables.is_incomplete());
            let refused: Vec<_> = variables.refused().iter().map(ToString::to_string).collect();
            let told = |path: &Path, named| {
                let (path, stays) = (path.display(), "the last good values of what it sets stay");
                format!("{path}: cannot be read: it does not exist, and {named} names it; {stays}")
            };
            let env_file = told(&env_file, "-env-file (SKYDNS_ENV_FILE)");
            assert_eq!(refused, [env_file, told(&conf_dir, "-conf-dir (SKYDNS_CONF_DIR)")]);
        }
        std::fs::write(&env_file, "").expect("a file");
        std::fs::rename(dir.path().join("away"), &conf_dir).expect("moved");
        let variables = environment.read();
        assert!(variables.refused().is_empty() && variables.get("SKYDNS_NDOTS").is_some());
        assert!(may_be_absent(Path::new(UNIT_ENV_FILE)) && !may_be_absent(&env_file));
    }

    #[test]
    fn the_file_of_the_unit_names_no_other_files() {
        let content = read_env_file("SKYDNS_ENV_FILE=/a\nSKYDNS_CONF_DIR=/b\n");
        for (env_file, conf_dir, used_file, used_dir) in
            [("/a", "/b", UNIT_ENV_FILE, UNIT_CONF_DIR), ("/flag", "/flag.d", "/flag", "/flag.d")]
        {
            let (env_file, conf_dir) = (Some(env_file.into()), Some(conf_dir.into()));
            let mut environment = Environment { env_file, conf_dir, ..Environment::default() };
            environment.restore_files_of_unit(&content);
            assert_eq!(environment.env_file.as_deref(), Some(Path::new(used_file)));
            assert_eq!(environment.conf_dir.as_deref(), Some(Path::new(used_dir)));
        }
    }
}
