//! Credentials: files that systemd passes to this unit alone (`LoadCredential=`, systemd.exec(5)).

use std::io;
use std::path::{Component, Path, PathBuf};

/// The directory that the unit's `LoadCredential=keys:` names.
const CREDENTIALS_ORIGIN: &str = "/etc/skydns/keys";

/// The path of a configured file: a bare name means the unit's credential of that name, if there is one.
///
/// `LoadCredential=keys:/etc/skydns/keys` makes a credential `keys_NAME` of each file in that directory. Without
/// systemd, as in `skydns check`, the file is looked for in the directory itself.
pub fn credential(file: &Path) -> PathBuf {
    let directory =
        std::env::var_os("CREDENTIALS_DIRECTORY").map_or_else(|| CREDENTIALS_ORIGIN.into(), PathBuf::from);
    find(&directory, file).unwrap_or_else(|| file.to_owned())
}

/// The files of a directory of credentials: with `LoadCredential=keys:/etc/skydns/keys` those of `keys`.
///
/// Each path comes with the file's name in the directory. Without systemd the files are those of the directory `name`
/// in `/etc/skydns`.
///
/// # Errors
/// The directory cannot be read.
pub fn credentials(name: &str) -> io::Result<Vec<(String, PathBuf)>> {
    match std::env::var_os("CREDENTIALS_DIRECTORY") {
        Some(directory) => files(Path::new(&directory), &format!("{name}_")),
        None => files(&Path::new(CREDENTIALS_ORIGIN).with_file_name(name), ""),
    }
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
