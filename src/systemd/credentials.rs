//! Private files: those that `skydns pass-keys` passes to the unit, and credentials (`LoadCredential=`, systemd.exec(5)).

use super::state::keys_directory;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The directory of files that only root reads, and that the unit passes to the agent.
pub const PRIVATE_FILES: &str = "/etc/skydns/keys";

/// The path of a configured file: a bare name means the private file of that name, if there is one.
///
/// In the unit that is a credential, or a file that `skydns pass-keys` has passed. Without systemd, as in `skydns check`, the
/// file is looked for in [`PRIVATE_FILES`] itself.
pub fn credential(file: &Path) -> PathBuf {
    directories().iter().find_map(|directory| find(directory, file)).unwrap_or_else(|| file.to_owned())
}

/// The files of a directory of private files, each with its name in the directory. The directory `keys` is
/// [`PRIVATE_FILES`].
///
/// # Errors
/// The directory cannot be read.
pub fn credentials(name: &str) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Ok(Vec::new());
    if let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") {
        found = files(Path::new(&directory), &format!("{name}_"));
        if found.as_ref().is_ok_and(|files| !files.is_empty()) {
            return found;
        }
    }
    match keys_directory() {
        Some(directory) if PRIVATE_FILES.ends_with(&format!("/{name}")) => files(&directory, ""),
        Some(_) => found,
        None if std::env::var_os("CREDENTIALS_DIRECTORY").is_some() => found,
        None => files(&Path::new(PRIVATE_FILES).with_file_name(name), ""),
    }
}

/// The directories of private files, of which the first that has a file counts.
fn directories() -> Vec<PathBuf> {
    let of_unit = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let of_unit: Vec<_> = of_unit.into_iter().chain(keys_directory()).collect();
    if of_unit.is_empty() { vec![PRIVATE_FILES.into()] } else { of_unit }
}

/// The files of a directory whose names begin with a prefix, sorted, with the rest of their names.
fn files(directory: &Path, prefix: &str) -> io::Result<Vec<(String, PathBuf)>> {
    let named = std::fs::read_dir(directory)?.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name.strip_prefix(prefix)?.to_owned(), entry.path()))
    });
    let mut files: Vec<_> = named.collect();
    files.sort();
    Ok(files)
}

/// The file of a credential directory that a bare name means.
fn find(directory: &Path, file: &Path) -> Option<PathBuf> {
    let mut parts = file.components();
    let (Some(Component::Normal(name)), None) = (parts.next(), parts.next()) else { return None };
    let name = name.to_str()?;
    let candidates = [directory.join(name), directory.join(format!("keys_{name}"))];
    candidates.into_iter().find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_directory_have_its_name_as_prefix() {
        let dir = tempfile::tempdir().expect("a directory");
        for file in ["keys_b", "keys_a", "others_c"] {
            std::fs::write(dir.path().join(file), "").expect("a file");
        }
        let names = |prefix| {
            let files = files(dir.path(), prefix).expect("readable");
            files.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names("keys_"), ["a", "b"]);
        assert_eq!(names("").len(), 3);
        let error = files(&dir.path().join("none"), "").expect_err("there is none");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_bare_names_are_credentials() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("keys_a.pem"), "").expect("a file");
        std::fs::write(dir.path().join("b.pem"), "").expect("a file");
        let found = |file: &str| find(dir.path(), Path::new(file));
        assert_eq!(found("a.pem"), Some(dir.path().join("keys_a.pem")));
        assert_eq!(found("b.pem"), Some(dir.path().join("b.pem")));
        for elsewhere in ["c.pem", "/b.pem", "x/b.pem", "../b.pem", ""] {
            assert_eq!(found(elsewhere), None, "{elsewhere}");
        }
    }
}
