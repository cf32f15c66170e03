//! The files of DNSSEC keys: found and read.

use crate::dnssec::{Key, KeyError, KeyFiles};
use crate::systemd;
use hickory_proto::rr::Name;
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A key that cannot be used; the text names the file and the cause.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// A file that cannot be read.
    #[error("dnssec: {}: cannot be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Files that make no key of the domain.
    #[error("dnssec: {}", at(base, error))]
    Key {
        /// The base name of the two.
        base: String,
        /// What is wrong.
        error: KeyError,
    },
    /// A directory without keys of the domain.
    #[error(
        "dnssec: {directory}: there is no key of {domain} in the directory, such as K{domain}+013+12345.key"
    )]
    Empty {
        /// The directory.
        directory: String,
        /// The domain.
        domain: String,
    },
}

/// All that is wrong with the keys.
#[derive(Debug, thiserror::Error)]
pub struct KeysError(pub Vec<KeyProblem>);

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&problems.join("; "))
    }
}

/// What the configured names of keys lead to.
#[derive(Debug, Default)]
pub struct Keys {
    /// The keys that can be used.
    pub keys: Vec<Key>,
    /// What is wrong with the others.
    pub problems: Vec<KeyProblem>,
    /// What to tell about those that can.
    pub notes: Vec<String>,
}

/// A directory of keys.
struct Directory {
    files: Vec<(String, PathBuf)>,
    /// Whether it has the name itself, and is not one of credentials.
    own: bool,
}

/// The two files of a key.
struct Pair {
    base: String,
    public: PathBuf,
    private: PathBuf,
}

impl Keys {
    /// Reads the keys of a domain: base names of key files, or directories of them.
    ///
    /// A bare name of a key is looked for among the unit's credentials first; one of a directory that the working
    /// directory does not have, there as well.
    pub fn read(names: &[String], domain: &Name) -> Self {
        let mut keys = Self::default();
        for name in names {
            match pairs(name, domain) {
                Err(problem) => keys.problems.push(problem),
                Ok(Some(pairs)) if pairs.is_empty() => {
                    let (directory, domain) = (name.clone(), domain.to_ascii());
                    keys.problems.push(KeyProblem::Empty { directory, domain });
                }
                Ok(Some(pairs)) => pairs.iter().for_each(|pair| keys.read_pair(pair, domain)),
                Ok(None) => {
                    let file = |ending| systemd::credential(Path::new(&format!("{name}.{ending}")));
                    let (public, private) = (file("key"), file("private"));
                    keys.read_pair(&Pair { base: name.clone(), public, private }, domain);
                }
            }
        }
        keys
    }

    fn read_pair(&mut self, pair: &Pair, domain: &Name) {
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

    fn content(&mut self, file: &Path) -> Option<Vec<u8>> {
        let read = std::fs::read(file);
        let told = |source| self.problems.push(KeyProblem::Unreadable { file: file.to_owned(), source });
        read.map_err(told).ok()
    }
}

/// The keys of a domain in a directory; nothing if the name is that of a key.
fn pairs(name: &str, domain: &Name) -> Result<Option<Vec<Pair>>, KeyProblem> {
    let of_domain = format!("K{}+", domain.to_lowercase().to_ascii()).to_ascii_lowercase();
    let Some(Directory { files, own }) = directory(name)? else { return Ok(None) };
    let mut pairs: Vec<Pair> = Vec::new();
    for (file, path) in files {
        // One half makes a pair of which the other is missed.
        let base = file.strip_suffix(".key").or_else(|| file.strip_suffix(".private"));
        let Some(base) = base.filter(|base| base.to_ascii_lowercase().starts_with(&of_domain)) else {
            continue;
        };
        // Credentials have other names than the files they are made of.
        let base = if own { path.with_extension("").display().to_string() } else { base.to_owned() };
        if pairs.iter().all(|pair| pair.base != base) {
            let (public, private) = (path.with_extension("key"), path.with_extension("private"));
            pairs.push(Pair { base, public, private });
        }
    }
    pairs.sort_by(|a, b| a.base.cmp(&b.base));
    Ok(Some(pairs))
}

/// The directory of a name; nothing if the name is that of a key.
fn directory(name: &str) -> Result<Option<Directory>, KeyProblem> {
    let missing =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    let unreadable = |source| KeyProblem::Unreadable { file: name.into(), source };
    let error = match std::fs::read_dir(name) {
        Ok(entries) => {
            let named = entries.flatten().filter_map(|e| Some((e.file_name().into_string().ok()?, e.path())));
            return Ok(Some(Directory { files: named.collect(), own: true }));
        }
        Err(error) => error,
    };
    if name.contains('/') || name.starts_with('K') {
        return if missing(&error) { Ok(None) } else { Err(unreadable(error)) };
    }
    // Whatever the working directory is, it may be one that nobody can look into.
    match systemd::credentials(name) {
        Ok(files) if missing(&error) || !files.is_empty() => Ok(Some(Directory { files, own: false })),
        Err(credentials) if missing(&error) => Err(unreadable(credentials)),
        Ok(_) | Err(_) => Err(unreadable(error)),
    }
}

/// An error behind a base name: it begins with the ending of the file, or is about the name itself.
fn at(base: &str, error: &KeyError) -> String {
    let text = error.to_string();
    if text.starts_with('.') { format!("{base}{text}") } else { format!("{base}: {text}") }
}
