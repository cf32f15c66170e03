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
use setting::Setting;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

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
    pub(super) from_now: &'static str,
    /// Settings for the agent's addresses, and those of servers beside it.
    settings: fn(&[IpAddr]) -> Vec<Setting>,
    /// A program with arguments that has it read its settings.
    reload: &'static [&'static str],
    /// Files with the servers that it was given, below the root, that it keeps up to date.
    given: &'static [&'static str],
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

    /// The servers that it was given, as resolv.conf names them.
    pub(super) fn given(&self, root: &Path) -> Vec<String> {
        let mut files: Vec<PathBuf> = self.given.iter().map(|file| root.join(file)).collect();
        if matches!(self.word, "dhclient" | "dhcpcd" | "openresolv") {
            files.extend(crate::host_resolver::hook_files(root));
        }
        let mut servers = Vec::new();
        for file in files {
            let text = crate::regular_file::read(&file).unwrap_or_default();
            let named = String::from_utf8_lossy(&text).into_owned();
            let words = named.lines().filter_map(|line| line.strip_prefix("nameserver ")).map(str::trim);
            for server in words {
                if !servers.iter().any(|known| known == server) {
                    servers.push(server.to_owned());
                }
            }
        }
        servers
    }
}

/// Whether a program is installed.
fn is_installed(root: &Path, program: &str) -> bool {
    ["usr/sbin", "sbin", "usr/bin"].iter().any(|dir| root.join(dir).join(program).exists())
}
