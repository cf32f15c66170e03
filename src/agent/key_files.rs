//! DNSSEC keys: from the names in the configuration to key files, and from the files to keys.
//!
//! A name is the base name of two files (`K<domain>+<algorithm>+<tag>`, as dnssec-keygen writes them) or a directory of
//! such files, either on disk or among the unit's credentials. What the files hold is checked in `dnssec`.

use crate::dnssec::{Key, KeyError, KeyFiles, read_public};
use crate::regular_file;
use crate::systemd;
use hickory_proto::rr::Name;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Maximum number of other zones that one message names.
const MAX_NAMED: usize = 10;

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

/// Why the keys of a zone cannot be used, for a person.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct KeysError(pub(super) String);

impl KeysError {
    /// All problems in one text; `None` if there are none.
    pub(super) fn of<'p>(problems: impl Iterator<Item = &'p KeyProblem>) -> Option<Self> {
        let texts: Vec<_> = problems.map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| Self(texts.join("; ")))
    }
}

/// The keys that the configuration names.
#[derive(Debug, Default)]
pub struct SiteKeys {
    /// The keys of each zone, in the order of the zones.
    pub zones: Vec<ZoneKeyFiles>,
    /// What cannot be used, and may be of any zone.
    pub problems: Vec<KeyProblem>,
    /// Warnings about keys that can be used, and about keys of other zones.
    pub notes: Vec<String>,
}

/// The keys of one zone.
#[derive(Debug, Default)]
pub struct ZoneKeyFiles {
    /// The keys that can be used.
    pub keys: Vec<Key>,
    /// Why the other keys cannot be used.
    pub problems: Vec<KeyProblem>,
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

impl SiteKeys {
    /// Reads the keys of zones. Each name is the base name of key files, or a directory of them.
    ///
    /// The base name of a key without a directory is looked for among the unit's credentials first, and then in the
    /// working directory; a directory without a path in the working directory first, unless that is `/`, as for the service.
    /// Keys of other zones are not used, and noted.
    pub fn read(names: &[String], zones: &[Name]) -> Self {
        let mut keys =
            Self { zones: zones.iter().map(|_| ZoneKeyFiles::default()).collect(), ..Self::default() };
        if zones.iter().all(Name::is_root) && !names.is_empty() {
            keys.problems.push(KeyProblem::RootDomain);
            return keys;
        }
        let zones = &ZoneNames::new(zones);
        let mut foreign = Vec::new();
        for name in names {
            match list_directory(name) {
                Err(problem) => keys.problems.push(problem),
                Ok(Some(directory)) => keys.read_directory(name, &directory, zones),
                Ok(None) => foreign.extend(keys.read_base(name, zones)),
            }
        }
        for (pair, owner) in foreign {
            let base = &pair.base;
            keys.notes.push(format!(
                "dnssec: {base} is not used: it is a key of {owner}, and no domain of ours has that name"
            ));
        }
        keys
    }

    /// All problems.
    pub fn problems(&self) -> impl Iterator<Item = &KeyProblem> {
        self.zones.iter().flat_map(|zone| &zone.problems).chain(&self.problems)
    }

    /// All keys that can be used.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.zones.iter().flat_map(|zone| &zone.keys)
    }

    /// Reads the keys of a directory.
    fn read_directory(&mut self, name: &str, directory: &KeyDirectory, zones: &ZoneNames<'_>) {
        let mut others = BTreeSet::new();
        let mut has_own = false;
        for pair in directory.pairs() {
            match zones.number_in_base(&pair.base) {
                Some(zone) => {
                    has_own = true;
                    self.read_pair(&pair, zone, zones);
                }
                None => others.extend(zone_in_base(&pair.base)),
            }
        }
        if !has_own && others.is_empty() {
            let (directory, domain) = (name.to_owned(), zones.names[0].to_ascii());
            self.problems.push(KeyProblem::Empty { directory, domain });
        }
        if !others.is_empty() {
            let others = others.into_iter().take(MAX_NAMED).collect::<Vec<_>>().join(", ");
            self.notes.push(format!(
                "dnssec: {name}: keys of {others} are not used: no domain of ours has that name"
            ));
        }
    }

    /// Reads the key of a base name; returns its files and owner if it is none of our zones'.
    fn read_base(&mut self, name: &str, zones: &ZoneNames<'_>) -> Option<(KeyFilePair, Name)> {
        let file = |ending| systemd::credential(Path::new(&format!("{name}.{ending}")));
        let pair = KeyFilePair { base: name.to_owned(), public: file("key"), private: file("private") };
        let owner = || {
            let content = regular_file::read(&pair.public).ok()?;
            Some(read_public(&content).ok()?.owner)
        };
        if let Some(owner) = owner() {
            match zones.number(&owner.to_ascii()) {
                Some(zone) => self.read_pair(&pair, zone, zones),
                None => return Some((pair, owner)),
            }
        } else {
            // The problem is that of a zone if the name tells which.
            let zone = zones.number_in_base(name).or((zones.names.len() == 1).then_some(0));
            match zone {
                Some(zone) => self.read_pair(&pair, zone, zones),
                None => {
                    let mut keys = Self { zones: vec![ZoneKeyFiles::default()], ..Self::default() };
                    keys.read_pair(&pair, 0, zones);
                    self.problems.extend(keys.zones.into_iter().flat_map(|zone| zone.problems));
                }
            }
        }
        None
    }

    /// Reads the key of two files, and adds the key or the problem to a zone.
    fn read_pair(&mut self, pair: &KeyFilePair, zone: usize, zones: &ZoneNames<'_>) {
        let keys = &mut self.zones[zone];
        let (public, private) = (keys.content(&pair.public), keys.content(&pair.private));
        let (Some(public), Some(private)) = (public, private) else { return };
        let base = pair.base.clone();
        match (KeyFiles { base: &base, public: &public, private: &private }).read(&zones.names[zone]) {
            Ok(key) => keys.keys.push(key),
            Err(error) => keys.problems.push(KeyProblem::Key { base, error }),
        }
        let mode = std::fs::metadata(&pair.private).map_or(0, |meta| meta.permissions().mode());
        if mode & 0o004 != 0 {
            let file = pair.private.display();
            self.notes.push(format!("dnssec: {file}: every user of the host can read the private key"));
        }
    }
}

impl ZoneKeyFiles {
    /// Reads a file; if it cannot be read, that is a problem.
    fn content(&mut self, file: &Path) -> Option<Vec<u8>> {
        let read = regular_file::read(file);
        let add_problem =
            |source| self.problems.push(KeyProblem::Unreadable { file: file.to_owned(), source });
        read.map_err(add_problem).ok()
    }
}

impl KeyDirectory {
    /// The files that belong together, in the order of their names.
    fn pairs(&self) -> Vec<KeyFilePair> {
        let mut pairs = BTreeMap::new();
        for (file, path) in &self.files {
            // A file without the other makes a pair too, so that the missing file is reported.
            let base = file.strip_suffix(".key").or_else(|| file.strip_suffix(".private"));
            let Some(base) = base.filter(|base| zone_in_base(base).is_some()) else { continue };
            // The file of a credential has another name: messages use the name that the operator gave the file.
            let base =
                if self.is_on_disk { path.with_extension("").display().to_string() } else { base.to_owned() };
            let (public, private) = (path.with_extension("key"), path.with_extension("private"));
            pairs.entry(base.clone()).or_insert(KeyFilePair { base, public, private });
        }
        pairs.into_values().collect()
    }
}

/// The zone that the base name of key files names, in lower case: `K<zone>+<algorithm>+<tag>`.
fn zone_in_base(base: &str) -> Option<String> {
    let file = base.rsplit('/').next()?;
    let (zone, _) = file.strip_prefix(['K', 'k'])?.split_once('+')?;
    Some(zone.to_ascii_lowercase())
}

/// The names of the zones, with the number of each.
struct ZoneNames<'n> {
    names: &'n [Name],
    numbers: HashMap<String, usize>,
}

impl<'n> ZoneNames<'n> {
    fn new(names: &'n [Name]) -> Self {
        let numbers = names.iter().map(|name| name.to_ascii().to_ascii_lowercase()).zip(0..).collect();
        Self { names, numbers }
    }

    /// The number of the zone with a name.
    fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(&name.to_ascii_lowercase()).copied()
    }

    /// The number of the zone that the base name of key files names.
    fn number_in_base(&self, base: &str) -> Option<usize> {
        self.number(&zone_in_base(base)?)
    }
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
