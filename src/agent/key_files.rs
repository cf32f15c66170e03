//! DNSSEC keys: from the names in the configuration to key files, and from the files to keys.
//!
//! A name is the base name of two files (`K<domain>+<algorithm>+<tag>`, as dnssec-keygen writes them) or a directory of
//! such files, either on disk or among the unit's credentials. What the files hold is checked in `dnssec`.

use crate::dnssec::{Key, KeyError, KeyFiles};
use crate::regular_file;
use crate::systemd;
use hickory_proto::rr::Name;
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why a key cannot be used; the text names the file and the cause.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// The file or directory cannot be read.
    #[error("{}: cannot be read: {source}{}", file.display(), regular_file::reader_hint(source))]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The two files are no key of the domain.
    #[error("{}", with_base(base, error))]
    Key {
        /// The base name of the two files.
        base: String,
        /// What is wrong.
        error: KeyError,
    },
    /// The zones below the domain are those of others.
    #[error("the domain \".\" cannot be signed: leave out -dnssec, or name another domain")]
    RootDomain,
    /// The directory has no keys of the domain.
    #[error("{directory}: there is no key of {domain} in the directory, such as K{domain}+013+12345.key")]
    Empty {
        /// The directory.
        directory: String,
        /// The domain.
        domain: String,
    },
}

/// All problems of the configured keys.
#[derive(Debug, thiserror::Error)]
pub struct KeysError(pub Vec<KeyProblem>);

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&problems.join("; "))
    }
}

/// The keys that the configuration names.
#[derive(Debug, Default)]
pub struct Keys {
    /// The keys that can be used.
    pub keys: Vec<Key>,
    /// Why the other keys cannot be used.
    pub problems: Vec<KeyProblem>,
    /// Warnings about the keys that can be used.
    pub notes: Vec<String>,
}

/// A directory of key files.
struct KeyDirectory {
    /// Name and path of each file.
    files: Vec<(String, PathBuf)>,
    /// Whether the directory is on disk, and not made of credentials.
    is_on_disk: bool,
}

/// The two files of a key.
struct KeyFilePair {
    /// Their name without ending, for messages.
    base: String,
    public: PathBuf,
    private: PathBuf,
}

impl Keys {
    /// Reads the keys of a domain. Each name is the base name of key files, or a directory of them.
    ///
    /// The base name of a key without a directory is looked for among the unit's credentials first, and then in the
    /// working directory; a directory without a path in the working directory first, unless that is `/`, as for the service.
    pub fn read(names: &[String], domain: &Name) -> Self {
        let mut keys = Self::default();
        if domain.is_root() && !names.is_empty() {
            keys.problems.push(KeyProblem::RootDomain);
            return keys;
        }
        for name in names {
            match find_pairs(name, domain) {
                Err(problem) => keys.problems.push(problem),
                Ok(Some(pairs)) if pairs.is_empty() => {
                    let (directory, domain) = (name.clone(), domain.to_ascii());
                    keys.problems.push(KeyProblem::Empty { directory, domain });
                }
                Ok(Some(pairs)) => pairs.iter().for_each(|pair| keys.read_pair(pair, domain)),
                Ok(None) => {
                    let file = |ending| systemd::credential(Path::new(&format!("{name}.{ending}")));
                    let (public, private) = (file("key"), file("private"));
                    keys.read_pair(&KeyFilePair { base: name.clone(), public, private }, domain);
                }
            }
        }
        keys
    }

    /// Reads the key of two files, and adds the key or the problem.
    fn read_pair(&mut self, pair: &KeyFilePair, domain: &Name) {
        let (public, private) = (self.content(&pair.public), self.content(&pair.private));
        let (Some(public), Some(private)) = (public, private) else { return };
        let base = pair.base.clone();
        match (KeyFiles { base: &base, public: &public, private: &private }).read(domain) {
            Ok(key) => self.keys.push(key),
            Err(error) => self.problems.push(KeyProblem::Key { base, error }),
        }
        let mode = std::fs::metadata(&pair.private).map_or(0, |meta| meta.permissions().mode());
        if mode & 0o004 != 0 {
            let file = pair.private.display();
            self.notes.push(format!("dnssec: {file}: every user of the host can read the private key"));
        }
    }

    /// Reads a file; if it cannot be read, that is a problem.
    fn content(&mut self, file: &Path) -> Option<Vec<u8>> {
        let read = regular_file::read(file);
        let add_problem =
            |source| self.problems.push(KeyProblem::Unreadable { file: file.to_owned(), source });
        read.map_err(add_problem).ok()
    }
}

/// Finds the key files of a domain in a directory; `None` if the name is the base name of a key.
fn find_pairs(name: &str, domain: &Name) -> Result<Option<Vec<KeyFilePair>>, KeyProblem> {
    let of_domain = format!("K{}+", domain.to_lowercase().to_ascii()).to_ascii_lowercase();
    let Some(KeyDirectory { files, is_on_disk }) = list_directory(name)? else { return Ok(None) };
    let mut pairs: Vec<KeyFilePair> = Vec::new();
    for (file, path) in files {
        // A file without the other makes a pair too, so that the missing file is reported.
        let base = file.strip_suffix(".key").or_else(|| file.strip_suffix(".private"));
        let Some(base) = base.filter(|base| base.to_ascii_lowercase().starts_with(&of_domain)) else {
            continue;
        };
        // The file of a credential has another name: messages use the name that the operator gave the file.
        let base = if is_on_disk { path.with_extension("").display().to_string() } else { base.to_owned() };
        if pairs.iter().all(|pair| pair.base != base) {
            let (public, private) = (path.with_extension("key"), path.with_extension("private"));
            pairs.push(KeyFilePair { base, public, private });
        }
    }
    pairs.sort_by(|a, b| a.base.cmp(&b.base));
    Ok(Some(pairs))
}

/// Lists the directory that has a name; `None` if the name is the base name of a key.
fn list_directory(name: &str) -> Result<Option<KeyDirectory>, KeyProblem> {
    let missing =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    let unreadable = |source| KeyProblem::Unreadable { file: name.into(), source };
    let is_of_service = || std::env::current_dir().is_ok_and(|dir| dir == Path::new("/"));
    let may_be_private = !name.contains('/') && !name.starts_with('K');
    if may_be_private
        && is_of_service()
        && let Ok(files) = systemd::credentials(name)
        && !files.is_empty()
    {
        return Ok(Some(KeyDirectory { files, is_on_disk: false }));
    }
    let error = match std::fs::read_dir(name) {
        Ok(entries) => {
            let named = entries.flatten().filter_map(|e| Some((e.file_name().into_string().ok()?, e.path())));
            return Ok(Some(KeyDirectory { files: named.collect(), is_on_disk: true }));
        }
        Err(error) => error,
    };
    if !may_be_private {
        return if missing(&error) { Ok(None) } else { Err(unreadable(error)) };
    }
    // The working directory may be unreadable to this user: then credentials of that name count all the same.
    match systemd::credentials(name) {
        Ok(files) if missing(&error) || !files.is_empty() => {
            Ok(Some(KeyDirectory { files, is_on_disk: false }))
        }
        Err(credentials) if missing(&error) => Err(unreadable(credentials)),
        Ok(_) | Err(_) => Err(unreadable(error)),
    }
}

/// The text of an error with the base name before it: the text begins with the ending of a file, or is about the name.
fn with_base(base: &str, error: &KeyError) -> String {
    let text = error.to_string();
    if text.starts_with('.') { format!("{base}{text}") } else { format!("{base}: {text}") }
}
