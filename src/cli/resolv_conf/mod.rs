//! `skydns resolv-conf`: has the host ask the agent, and restores exactly what was there.
//!
//! /etc/resolv.conf becomes a link to a file of the agent, unless systemd-resolved is told to ask the agent. The programs that
//! write resolv.conf get a setting with which they leave it alone, and write down the servers that they are given.

mod files;
mod host_check;
mod managers;
mod programs;

use super::{PERMISSION, SYSTEM, complain, fail, say};
use crate::host_resolver::{self, STATE_FILE, TakeoverState, UPSTREAMS_DIR};
use crate::server;
use crate::shown::quoted;
use files::{ResolvConfFiles, Restored, remove, write};
use managers::{How, Manager};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long the check waits for an answer of the agent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

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
        "usage: skydns resolv-conf enable [--force] [--how HOW] [ADDRESS]... [--fallback ADDRESS...] | disable | status \
         [--root=DIR]: {0}"
    )]
    Usage(String),
    #[error(
        "nothing answers at {address}, so nothing is changed: {source} (systemctl start skydns.socket; --force)"
    )]
    Silent { address: SocketAddr, source: io::Error },
    #[error(
        "names could be looked up before the change and not after it ({0}), so the change was undone (--force)"
    )]
    NoLookups(io::Error),
    #[error("{name} does not run on this host: leave out --how, and \"enable\" finds what does")]
    NotHere { name: &'static str },
    #[error("{}: another program wrote this file; remove or rename it first", path.display())]
    NotOurs { path: PathBuf },
    #[error(
        "another program has replaced {}, so it is left as it is; the file from before \"enable\" is {}",
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
            ResolvConfAction::Disable => host.disable(),
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

    /// All servers that the host asks, in this order.
    fn servers(&self) -> Vec<IpAddr> {
        [self.own.as_slice(), &self.fallbacks].concat()
    }
}

/// The host that the command works on.
struct Host<'a> {
    root: &'a Path,
    files: ResolvConfFiles,
}

impl Host<'_> {
    /// Enables, and takes it back if names cannot be looked up afterwards.
    fn enable_and_check(&self, takeover: &Takeover) -> Result<ExitCode, ResolvConfError> {
        for ip in &takeover.own {
            let address = SocketAddr::new(*ip, 53);
            server::answers_at(address, ANSWER_TIMEOUT)
                .map_err(|source| ResolvConfError::Silent { address, source })?;
        }
        let before = takeover.own.first().map_or(Ok(()), |own| host_check::looks_up(*own));
        let done = self.enable(takeover)?;
        match before {
            Err(error) => {
                say(&format!(
                    "names outside of the site cannot be looked up, before the change and after it: {error}"
                ));
                Ok(done)
            }
            Ok(()) => match host_check::settles(self.root) {
                Ok(()) => Ok(done),
                Err(error) => {
                    self.disable()?;
                    Err(ResolvConfError::NoLookups(error))
                }
            },
        }
    }

    fn enable(&self, takeover: &Takeover) -> Result<ExitCode, ResolvConfError> {
        let managers = takeover.how.managers(self.root)?;
        let is_resolved_set = managers.iter().any(|manager| manager.word == "resolved");
        let is_link = !is_resolved_set || !managers::is_stub_link(self.root);
        if let Some(present) = self.state()? {
            self.unset(&present, &managers);
        }
        let words = managers.iter().map(|manager| manager.word.to_owned()).collect();
        let state = TakeoverState { words: takeover.words(), managers: words, is_link };
        if let Err(error) = self.set(takeover, &managers, &state) {
            self.unset(&state, &[]);
            return Err(error);
        }
        managers.iter().for_each(|manager| manager.reload(self.root));
        self.tell(&managers, &state);
        Ok(ExitCode::SUCCESS)
    }

    /// Writes the state, the managers' settings and resolv.conf.
    fn set(
        &self,
        takeover: &Takeover,
        managers: &[&'static Manager],
        state: &TakeoverState,
    ) -> Result<(), ResolvConfError> {
        // The settings are hooks that look for the state.
        write(&self.root.join(STATE_FILE), &state.text())?;
        managers.iter().try_for_each(|manager| manager.set(self.root, &takeover.servers()))?;
        if state.is_link { self.files.enable(&takeover.servers(), &takeover.own) } else { Ok(()) }
    }

    /// Removes the state and the settings of its managers, but for those that are set again. What cannot be removed is told.
    fn unset(&self, state: &TakeoverState, again: &[&'static Manager]) {
        for manager in state.managers.iter().filter_map(|word| managers::by_word(word)) {
            if let Err(error) = manager.unset(self.root) {
                complain(&error);
            }
            if !again.iter().any(|other| other.word == manager.word) {
                manager.reload(self.root);
            }
        }
        if let Err(error) = remove(&self.root.join(STATE_FILE)) {
            complain(&error);
        }
    }

    /// Says what was done, what each manager does from now on, and what an operator should do.
    fn tell(&self, managers: &[&'static Manager], state: &TakeoverState) {
        for manager in managers::found(self.root) {
            let is_set = managers.iter().any(|other| other.word == manager.word);
            say(&format!("{} {}", manager.name, if is_set { manager.from_now } else { manager.by_itself }));
        }
        let what =
            if state.is_link { "names the agent" } else { "names systemd-resolved, which asks the agent" };
        say(&format!(
            "{} {what} now; \"skydns resolv-conf disable\" undoes this",
            self.files.resolv.display()
        ));
        let is_resolved_set = managers.iter().any(|manager| manager.word == "resolved");
        host_check::notes(self.root, is_resolved_set).iter().for_each(|note| say(note));
    }

    fn disable(&self) -> Result<ExitCode, ResolvConfError> {
        let state = self.state()?;
        let managers: Vec<_> = state
            .iter()
            .flat_map(|state| &state.managers)
            .filter_map(|word| managers::by_word(word))
            .collect();
        let mut servers: Vec<String> = Vec::new();
        for manager in &managers {
            servers.extend(manager.given(self.root));
        }
        let restored = self.files.disable(&servers);
        // A manager that reads its settings again writes resolv.conf: it has to be there by then.
        if let Some(state) = &state {
            self.unset(state, &[]);
        }
        let _ = fs::remove_dir_all(self.root.join(UPSTREAMS_DIR));
        match restored? {
            Restored::Nothing if state.is_none() => {
                say(&format!("{} does not name the agent: nothing to undo", self.files.resolv.display()));
            }
            _ => say(&format!("{} is as it was before \"enable\"", self.files.resolv.display())),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn status(&self) -> Result<ExitCode, ResolvConfError> {
        let state = self.state()?;
        let is_ours = host_resolver::is_our_link(&self.files.resolv);
        let is_enabled = is_ours || state.as_ref().is_some_and(|state| !state.is_link);
        say(&format!(
            "{}: {}, {}",
            self.files.resolv.display(),
            if is_enabled { "enabled" } else { "disabled" },
            host_resolver::describe(&self.files.resolv)
        ));
        if let Some(state) = &state {
            say(&format!("enabled with: {}", state.words.join(" ")));
            for manager in state.managers.iter().filter_map(|word| managers::by_word(word)) {
                say(&format!("{} {}", manager.name, manager.from_now));
            }
        }
        let overwritten = host_resolver::overwritten(self.root);
        if let Some(reason) = &overwritten {
            say(&format!("{reason}; run \"skydns resolv-conf enable\" again"));
        }
        if fs::symlink_metadata(&self.files.before).is_ok() {
            say(&format!("{}: the file from before \"enable\"", self.files.before.display()));
        }
        Ok(if is_enabled && overwritten.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn state(&self) -> Result<Option<TakeoverState>, ResolvConfError> {
        TakeoverState::read(self.root).map_err(files::at(&self.root.join(STATE_FILE)))
    }
}

#[cfg(test)]
mod tests;
