//! The programs that write resolv.conf on a host, and the setting of each that leaves it to the agent.
//!
//! Each has a file of its own: how it is found, what it would do to resolv.conf, and the setting that lasts. A setting is a
//! file of ours, or a marked block in a file that the manager has only one of.

mod dhclient;
mod dhcpcd;
mod network_manager;
mod openresolv;
mod resolvconf;
mod resolved;
mod setting;

use super::ResolvConfError;
use super::programs;
use crate::cli::complain;
use crate::regular_file;
use setting::Setting;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

pub(super) use resolved::is_stub_link;

/// One manager.
pub(super) struct Manager {
    /// The word of `--how`.
    pub(super) word: &'static str,
    /// Its name, for people.
    pub(super) name: &'static str,
    /// Whether it is at work on a host.
    is_here: fn(&Path) -> bool,
    /// What it does to resolv.conf by itself.
    pub(super) by_itself: &'static str,
    /// What it does from now on.
    from_now: &'static str,
    /// Whether it wrote the present resolv.conf, and how this host's upstreams follow it then. `None` for those that would
    /// write any resolv.conf: their leases count always.
    author: Option<Author>,
    /// Settings for the agent's addresses, and those of servers beside it.
    settings: fn(&[IpAddr]) -> Vec<Setting>,
    /// A program with arguments that has it read its settings.
    reload: &'static [&'static str],
}

/// A manager that writes resolv.conf under conditions: an operator's own file stays.
struct Author {
    /// Whether it wrote the present resolv.conf.
    is: fn(&Path) -> bool,
    /// Where the agent's upstreams come from if so, for people.
    upstreams: &'static str,
}

/// All of them. The first one that is here takes the others' servers, if it is systemd-resolved.
const MANAGERS: [&Manager; 6] = [
    &resolved::RESOLVED,
    &network_manager::NETWORK_MANAGER,
    &openresolv::OPENRESOLV,
    &resolvconf::RESOLVCONF,
    &dhcpcd::DHCPCD,
    &dhclient::DHCLIENT,
];

/// Where the programs of managers are.
const PROGRAM_DIRS: [&str; 4] = ["usr/sbin", "sbin", "usr/bin", "bin"];

/// Which managers are to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Those that are found.
    Auto,
    /// None: the link alone.
    Link,
    /// The one with this word.
    One(&'static str),
}

impl How {
    /// The words of `--how`.
    pub(super) const WORDS: &'static str =
        "auto, resolv, resolved, nm, dhclient, dhcpcd, openresolv or resolvconf";

    pub(super) fn read(word: &str) -> Option<Self> {
        match word {
            "auto" => Some(Self::Auto),
            "resolv" => Some(Self::Link),
            _ => by_word(word).map(|manager| Self::One(manager.word)),
        }
    }

    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Link => "resolv",
            Self::One(word) => word,
        }
    }

    /// The managers to set on a host.
    ///
    /// # Errors
    /// The one that is asked for is not there.
    pub(super) fn managers(&self, root: &Path) -> Result<Vec<&'static Manager>, ResolvConfError> {
        let found = found(root);
        match self {
            Self::Link => Ok(Vec::new()),
            Self::Auto if resolved::decides(root) => {
                Ok(found.into_iter().filter(|manager| manager.word == resolved::RESOLVED.word).collect())
            }
            Self::Auto => {
                Ok(found.into_iter().filter(|manager| manager.word != resolved::RESOLVED.word).collect())
            }
            Self::One(word) => match found.into_iter().find(|manager| manager.word == *word) {
                Some(manager) => Ok(vec![manager]),
                None => {
                    Err(ResolvConfError::NotHere { name: by_word(word).map_or(word, |manager| manager.name) })
                }
            },
        }
    }
}

/// The managers at work on a host.
pub(super) fn found(root: &Path) -> Vec<&'static Manager> {
    MANAGERS.into_iter().filter(|manager| (manager.is_here)(root)).collect()
}

/// The manager that wrote the present resolv.conf.
pub(super) fn author(root: &Path) -> Option<&'static str> {
    let is_author = |manager: &&Manager| manager.author.as_ref().is_some_and(|author| (author.is)(root));
    found(root).into_iter().find(is_author).map(|manager| manager.word)
}

/// The manager of a word of `--how`, or of the state.
pub(super) fn by_word(word: &str) -> Option<&'static Manager> {
    MANAGERS.into_iter().find(|manager| manager.word == word)
}

/// Whether systemd-resolved is asked first, whatever resolv.conf says.
pub(super) fn is_resolved_asked_first(root: &Path) -> bool {
    resolved::is_asked_by_nsswitch(root) && (resolved::RESOLVED.is_here)(root)
}

impl Manager {
    /// Writes the settings.
    pub(super) fn set(&self, root: &Path, addresses: &[IpAddr]) -> Result<(), ResolvConfError> {
        if self.word == resolved::RESOLVED.word {
            resolved::keep_static_servers(root, addresses)?;
        }
        (self.settings)(addresses).iter().try_for_each(|setting| setting.write(root))
    }

    /// Removes the settings.
    pub(super) fn unset(&self, root: &Path) -> Result<(), ResolvConfError> {
        if self.word == resolved::RESOLVED.word {
            resolved::drop_static_servers(root)?;
        }
        (self.settings)(&[]).iter().try_for_each(|setting| setting.remove(root))
    }

    /// Has the manager read its settings. A manager that does not run reads them at its start.
    pub(super) fn reload(&self, root: &Path) {
        let (Some((program, words)), true) = (self.reload.split_first(), root == Path::new("/")) else {
            return;
        };
        if let Err(error) = programs::run(program, words) {
            complain(&format!(
                "{} has to read its settings again: {} {}: {error}",
                self.name,
                program,
                words.join(" ")
            ));
        }
    }

    /// What it does from now on, for people, where this manager had written resolv.conf.
    pub(super) fn tells(&self, author: Option<&str>) -> String {
        let upstreams = match &self.author {
            None => String::new(),
            Some(this) if author == Some(self.word) => format!("; {}", this.upstreams),
            Some(_) => {
                "; it had not written /etc/resolv.conf, whose servers stay the agent's upstreams".to_owned()
            }
        };
        format!("{} {}{upstreams}", self.name, self.from_now)
    }
}

/// Whether resolv.conf is a link to a file of a directory, which may not be there now.
fn leads_into(root: &Path, dir: &str) -> bool {
    let resolv_conf = root.join("etc/resolv.conf");
    let is_inside = fs::canonicalize(&resolv_conf).is_ok_and(|target| target.starts_with(root.join(dir)));
    is_inside
        || fs::read_link(resolv_conf)
            .is_ok_and(|target| target.to_string_lossy().contains(&format!("{dir}/")))
}

/// Whether the first line of resolv.conf says that a program wrote it.
fn is_generated_by(root: &Path, program: &str) -> bool {
    text(root, "etc/resolv.conf").starts_with(&format!("# Generated by {program}\n"))
}

/// The text of a file; empty if it cannot be read.
fn text(root: &Path, file: &str) -> String {
    let text = regular_file::read(&root.join(file)).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// Whether there is a resolvconf that writes resolv.conf. The one of systemd-resolved is a link to resolvectl, and gives its
/// servers to systemd-resolved.
fn has_resolvconf(root: &Path) -> bool {
    is_installed(root, "resolvconf") && !is_resolvectl(root)
}

/// Whether the resolvconf of this host is the one of systemd-resolved.
fn is_resolvectl(root: &Path) -> bool {
    PROGRAM_DIRS.iter().any(|dir| {
        let target = fs::read_link(root.join(dir).join("resolvconf"));
        target.is_ok_and(|target| target.file_name().is_some_and(|name| name == "resolvectl"))
    })
}

/// Whether a program is installed.
fn is_installed(root: &Path, program: &str) -> bool {
    PROGRAM_DIRS.iter().any(|dir| fs::symlink_metadata(root.join(dir).join(program)).is_ok())
}
