//! The files of DNSSEC keys: found, read, and told about.

use crate::clock::unix_time;
use crate::config::Config;
use crate::dnssec::{Key, KeyError, KeyFiles, KeySet, SignatureCache, Signer};
use crate::systemd;
use hickory_proto::rr::Name;
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// The signer that a configuration asks for, if any.
pub(super) fn signer(config: &Config, cache: &Arc<SignatureCache>) -> Result<Option<Arc<Signer>>, KeysError> {
    let dnssec = &config.dnssec;
    if dnssec.keys.is_empty() {
        return Ok(None);
    }
    let domain = config.zone.domain();
    let Keys { keys, problems, notes } = Keys::read(&dnssec.keys, domain);
    if !problems.is_empty() {
        return Err(KeysError(problems));
    }
    notes.iter().for_each(|note| log::warn!("{note}"));
    let keys = KeySet::new(keys).with_ttl(config.zone.ttl);
    Ok(Some(Arc::new(Signer::new(domain.clone(), keys, dnssec.denial, Arc::clone(cache), unix_time()))))
}

/// Whether the keys that a configuration asks for can be used.
pub(super) fn readable(config: &Config) -> Result<(), KeysError> {
    let problems = Keys::read(&config.dnssec.keys, config.zone.domain()).problems;
    if problems.is_empty() { Ok(()) } else { Err(KeysError(problems)) }
}

/// What signs now, for the log.
pub(super) fn description(signer: &Signer) -> String {
    let now = unix_time();
    let state = signer.state(now);
    let keys: Vec<_> = signer
        .keys()
        .keys()
        .iter()
        .map(|key| {
            let (public, times) = (&key.public, &key.times);
            let zsk = |other: &Key| other.public.algorithm == public.algorithm && !other.public.is_sep();
            let kind = match public.is_sep() {
                false => "ZSK",
                true if signer.keys().keys().iter().any(zsk) => "KSK",
                true => "CSK",
            };
            let phase = match (times.is_published(now), times.is_active(now)) {
                _ if times.is_revoked(now) => ", revoked",
                (true, true) => "",
                (true, false) => ", published only",
                (false, true) => ", signs before it is published",
                (false, false) => ", not in use",
            };
            format!("{} ({}, {kind}{phase})", public.tag(), public.algorithm.name())
        })
        .collect();
    let late =
        if state.is_out_of_time() { "; by their times none is active now, so all are used" } else { "" };
    format!("{} is signed with {}{late}", signer.zone(), keys.join(", "))
}

/// Says with what is signed, and what an operator should know of it.
pub(super) fn tell(signer: &Signer) {
    log::info!("dnssec: {}", description(signer));
    for key in signer.keys().keys().iter().filter(|key| key.public.algorithm.is_sha1()) {
        let (tag, name) = (key.public.tag(), key.public.algorithm.name());
        log::warn!(
            "dnssec: key {tag} uses {name}: SHA-1 is not to be used any more (RFC 9905), validators may refuse it"
        );
        if key.public.algorithm.number() == 5 && signer.denial() == crate::dnssec::DenialKind::Nsec3 {
            log::warn!(
                "dnssec: key {tag}: {name} (5) announces NSEC, absence is proven with NSEC3: use NSEC3RSASHA1 (7) or better"
            );
        }
    }
}
