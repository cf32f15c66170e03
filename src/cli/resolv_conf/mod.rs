//! `skydns resolv-conf`: has the host ask the agent, and restores exactly what was there.
//!
//! /etc/resolv.conf becomes a link to a file of the agent, unless systemd-resolved is told to ask the agent. The programs that
//! write resolv.conf get a setting with which they leave it alone, and write down the servers that they are given.

mod files;
mod host;
mod host_check;
mod managers;
mod programs;
mod servers;

use super::{PERMISSION, SYSTEM, fail};
use crate::host_resolver::TakeoverState;
use crate::shown::quoted;
use files::ResolvConfFiles;
use host::Host;
use managers::How;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

/// What the command does.
#[derive(Debug, PartialEq, Eq)]
enum ResolvConfAction {
    Enable(Takeover),
    Disable,
    Status,
}

/// How the host is to ask the agent.
#[derive(Debug, PartialEq, Eq)]
struct Takeover {
    how: How,
    /// The agent's addresses.
    own: Vec<IpAddr>,
    /// Servers that the host asks when the agent does not answer.
    fallbacks: Vec<IpAddr>,
}

/// The parsed words after `resolv-conf`.
#[derive(Debug, PartialEq, Eq)]
struct ResolvConfCommand {
    action: ResolvConfAction,
    force: bool,
    root: PathBuf,
}

/// Why resolv.conf was not changed.
#[derive(Debug, thiserror::Error)]
enum ResolvConfError {
    #[error(
        "usage: skydns resolv-conf enable [--how HOW] [ADDRESS]... [--fallback ADDRESS...] | disable | status [--force] \
         [--root=DIR]: {0}"
    )]
    Usage(String),
    #[error(
        "nothing answers at {address}, so nothing is changed: {source} (systemctl start skydns.socket; --force)"
    )]
    Silent { address: SocketAddr, source: io::Error },
    #[error(
        "names could be looked up before the change and not after it ({0}), so the change was undone: the host does not ask \
         the agent (--force)"
    )]
    NoLookups(io::Error),
    #[error("{name} does not run on this host: leave out --how, and \"enable\" finds what does")]
    NotHere { name: &'static str },
    #[error("{}: another program wrote this file; remove or rename it first", path.display())]
    NotOurs { path: PathBuf },
    #[error(
        "another program has replaced {}, so it is left as it is; the file from before \"enable\" is {} (disable --force \
         removes that file)",
        resolv.display(),
        before.display()
    )]
    Replaced { resolv: PathBuf, before: PathBuf },
    #[error("{}: {source}{}", path.display(), hint(source))]
    Io { path: PathBuf, source: io::Error },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::CrossesDevices | io::ErrorKind::ResourceBusy => {
            " (it is mounted there, as in a container: what mounts it has to be changed)"
        }
        io::ErrorKind::PermissionDenied => {
            " (only root may do this; if you are root, lsattr shows whether the file is immutable)"
        }
        _ => "",
    }
}

/// Runs the command with the words after it.
pub(super) fn run(words: &[String]) -> ExitCode {
    let result = ResolvConfCommand::read(words).and_then(|command| command.run());
    match result {
        Ok(code) => code,
        Err(error @ ResolvConfError::Usage(_)) => fail(super::USAGE, &error),
        Err(ResolvConfError::Io { path, source }) if source.kind() == io::ErrorKind::PermissionDenied => {
            fail(PERMISSION, &ResolvConfError::Io { path, source })
        }
        Err(error) => fail(SYSTEM, &error),
    }
}

impl ResolvConfCommand {
    fn read(words: &[String]) -> Result<Self, ResolvConfError> {
        let (mut force, mut root, mut how, mut fallbacks) = (false, PathBuf::from("/"), How::Auto, None);
        let mut operands = Vec::new();
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word.split_once('=') {
                Some(("--root", dir)) => root = PathBuf::from(dir),
                Some(("--how", word)) => how = read_how(Some(word))?,
                Some(("--fallback", list)) => {
                    let list = list.split(',').map(read_address).collect::<Result<Vec<_>, _>>()?;
                    fallbacks.get_or_insert_with(Vec::new).extend(list);
                }
                _ if word == "--how" => how = read_how(words.next())?,
                _ if word == "--fallback" => drop(fallbacks.get_or_insert_with(Vec::new)),
                _ if word == "--force" => force = true,
                _ if word.starts_with('-') => {
                    return Err(ResolvConfError::Usage(format!("no option {}", quoted(word))));
                }
                _ => match &mut fallbacks {
                    Some(fallbacks) => fallbacks.push(read_address(word)?),
                    None => operands.push(word),
                },
            }
        }
        let fallbacks = fallbacks.unwrap_or_default();
        Ok(Self { action: ResolvConfAction::read(&operands, how, fallbacks)?, force, root })
    }

    fn run(&self) -> Result<ExitCode, ResolvConfError> {
        let host = Host { root: &self.root, files: ResolvConfFiles::below(&self.root) };
        match &self.action {
            ResolvConfAction::Enable(takeover) if self.force => host.enable(takeover),
            ResolvConfAction::Enable(takeover) => host.enable_and_check(takeover),
            ResolvConfAction::Disable => host.disable(self.force),
            ResolvConfAction::Status => host.status(),
        }
    }
}

impl ResolvConfAction {
    fn read(operands: &[&str], how: How, fallbacks: Vec<IpAddr>) -> Result<Self, ResolvConfError> {
        match operands {
            ["enable", addresses @ ..] => {
                let mut own = addresses.iter().copied().map(read_address).collect::<Result<Vec<_>, _>>()?;
                if own.is_empty() {
                    own.push(Ipv4Addr::LOCALHOST.into());
                }
                Ok(Self::Enable(Takeover { how, own, fallbacks }))
            }
            ["disable"] => Ok(Self::Disable),
            ["status"] => Ok(Self::Status),
            [] => Err(ResolvConfError::Usage("it takes one of enable, disable and status".to_owned())),
            words => {
                let words = quoted(&words.join(" "));
                Err(ResolvConfError::Usage(format!("\"{words}\" is none of enable, disable and status")))
            }
        }
    }
}

fn read_how(word: Option<&str>) -> Result<How, ResolvConfError> {
    let how = word.and_then(How::read);
    how.ok_or_else(|| ResolvConfError::Usage(format!("--how takes {}", How::WORDS)))
}

fn read_address(word: &str) -> Result<IpAddr, ResolvConfError> {
    word.parse().map_err(|_| ResolvConfError::Usage(format!("\"{}\" is not an IP address", quoted(word))))
}

impl Takeover {
    /// The words after `enable` that do the same again.
    fn words(&self) -> Vec<String> {
        let mut words = vec!["--how".to_owned(), self.how.word().to_owned()];
        words.extend(self.own.iter().map(ToString::to_string));
        if !self.fallbacks.is_empty() {
            words.push("--fallback".to_owned());
            words.extend(self.fallbacks.iter().map(ToString::to_string));
        }
        words
    }

    /// What was done once.
    fn of(state: &TakeoverState) -> Option<Self> {
        let words: Vec<_> = ["enable".to_owned()].into_iter().chain(state.words.iter().cloned()).collect();
        match ResolvConfCommand::read(&words).ok()?.action {
            ResolvConfAction::Enable(takeover) => Some(takeover),
            _ => None,
        }
    }

    /// All servers that the host asks, in this order.
    fn servers(&self) -> Vec<IpAddr> {
        [self.own.as_slice(), &self.fallbacks].concat()
    }
}

#[cfg(test)]
mod tests;
