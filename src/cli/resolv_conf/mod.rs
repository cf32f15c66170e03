//! `skydns resolv-conf`: has the host ask the agent, and restores exactly what was there.
//!
//! /etc/resolv.conf becomes a link to a file of the agent, unless systemd-resolved is told to ask the agent. The programs that
//! write resolv.conf get a setting with which they leave it alone, and write down the servers that they are given.

mod files;
mod host_check;
mod managers;
mod programs;
mod servers;

use super::{PERMISSION, SYSTEM, complain, fail, say};
use crate::host_resolver::{self, FILE_HEADER, STATE_FILE, TakeoverState, UPSTREAMS_DIR};
use crate::server;
use crate::shown::quoted;
use files::{ResolvConfFiles, Restored, remove, write};
use managers::{How, Manager};
use servers::KnownServers;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long the check waits for an answer of the agent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The state of before, while `enable` changes it, below the root of the host.
const OLDER_STATE_FILE: &str = "etc/skydns/resolv-conf.state.older";

/// What the removal of the package wrote down for an installation after it: how to enable again. Below the root of the host.
const AGAIN_FILE: &str = "etc/skydns/resolv-conf.again";

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
        // What the host asks may be silent where the agent is not.
        let own: Vec<_> = takeover.own.iter().map(|own| SocketAddr::new(*own, 53)).take(1).collect();
        let before =
            host_check::looks_up(&host_check::asked(self.root)).or_else(|_| host_check::looks_up(&own));
        let done = self.enable(takeover)?;
        match before {
            Err(error) => {
                say(&format!(
                    "names outside of the site could not be looked up before the change ({error}), so it was not checked \
                     whether they are now"
                ));
                Ok(done)
            }
            Ok(()) => match host_check::settles(self.root) {
                Ok(()) => Ok(done),
                Err(error) => {
                    self.disable(false)?;
                    Err(ResolvConfError::NoLookups(error))
                }
            },
        }
    }

    fn enable(&self, takeover: &Takeover) -> Result<ExitCode, ResolvConfError> {
        let managers = takeover.how.managers(self.root)?;
        let is_resolved_set = managers.iter().any(|manager| manager.word == "resolved");
        let is_link = !is_resolved_set || !managers::is_stub_link(self.root);
        let previous = self.state()?;
        let state = TakeoverState {
            words: takeover.words(),
            managers: managers.iter().map(|manager| manager.word.to_owned()).collect(),
            is_link,
            author: self.author(previous.as_ref()),
        };
        let older = self.keep_state(previous.as_ref())?;
        if let Err(error) = self.set(takeover, &managers, &state) {
            self.put_back(&state, previous.as_ref());
            return Err(error);
        }
        remove(&older)?;
        if let Some(previous) = &previous {
            self.unset(previous, &state.managers);
        }
        // A removal of the package wrote down another way, maybe long ago.
        remove(&self.root.join(AGAIN_FILE))?;
        managers.iter().for_each(|manager| manager.reload(self.root));
        self.tell(&managers, &state);
        Ok(ExitCode::SUCCESS)
    }

    /// The manager that wrote the resolv.conf from before.
    fn author(&self, previous: Option<&TakeoverState>) -> Option<String> {
        let is_ours = host_resolver::is_our_link(&self.files.resolv)
            && servers::text(&self.files.resolv).starts_with(FILE_HEADER);
        match previous {
            Some(previous) if is_ours => previous.author.clone(),
            _ => managers::author(self.root).map(str::to_owned),
        }
    }

    /// Gives the state a second name, under which it is until the change is made: a full disk has no place for a copy.
    fn keep_state(&self, previous: Option<&TakeoverState>) -> Result<PathBuf, ResolvConfError> {
        let (state, older) = (self.root.join(STATE_FILE), self.root.join(OLDER_STATE_FILE));
        remove(&older)?;
        if previous.is_some() {
            fs::hard_link(&state, &older).map_err(files::at(&older))?;
        }
        Ok(older)
    }

    /// After a change that failed: the settings and the state of before, if there were any.
    fn put_back(&self, state: &TakeoverState, previous: Option<&TakeoverState>) {
        self.unset(state, previous.map_or(&[], |previous| &previous.managers));
        let state_file = self.root.join(STATE_FILE);
        let Some(previous) = previous else {
            remove(&state_file).unwrap_or_else(|error| complain(&error));
            return;
        };
        let servers = Takeover::of(previous).map(|takeover| takeover.servers()).unwrap_or_default();
        for manager in previous.managers.iter().filter_map(|word| managers::by_word(word)) {
            manager.set(self.root, &servers).unwrap_or_else(|error| complain(&error));
        }
        let older = self.root.join(OLDER_STATE_FILE);
        if let Err(error) = fs::rename(&older, &state_file) {
            complain(&files::at(&state_file)(error));
        }
        // Two names of one file, if the state was not replaced: then rename(2) does nothing.
        remove(&older).unwrap_or_else(|error| complain(&error));
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

    /// Removes the settings of a state's managers, but for those that are set again. What cannot be removed is told.
    fn unset(&self, state: &TakeoverState, again: &[String]) {
        let gone = state.managers.iter().filter(|word| !again.contains(word));
        for manager in gone.filter_map(|word| managers::by_word(word)) {
            manager.unset(self.root).unwrap_or_else(|error| complain(&error));
            manager.reload(self.root);
        }
    }

    /// Says what was done, what each manager does from now on, and what an operator should do.
    fn tell(&self, managers: &[&'static Manager], state: &TakeoverState) {
        for manager in managers::found(self.root) {
            let is_set = managers.iter().any(|other| other.word == manager.word);
            say(&if is_set {
                manager.tells(state.author.as_deref())
            } else {
                format!("{} {}", manager.name, manager.by_itself)
            });
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

    fn disable(&self, is_forced: bool) -> Result<ExitCode, ResolvConfError> {
        let state = self.state()?;
        let restored = self.files.disable(&KnownServers::of(self.root, state.as_ref()))?;
        remove(&self.root.join(AGAIN_FILE))?;
        // A manager that reads its settings again writes resolv.conf: it has to be there by then.
        if let Some(state) = &state {
            remove(&self.root.join(STATE_FILE))?;
            self.unset(state, &[]);
        }
        let _ = fs::remove_dir_all(self.root.join(UPSTREAMS_DIR));
        self.tell_restored(restored, state.is_some(), is_forced)
    }

    fn tell_restored(
        &self,
        restored: Restored,
        was_enabled: bool,
        is_forced: bool,
    ) -> Result<ExitCode, ResolvConfError> {
        let (resolv, before) = (self.files.resolv.display(), self.files.before.display());
        say(&match restored {
            Restored::Replaced if is_forced => {
                remove(&self.files.before)?;
                format!("{resolv} stays as another program wrote it, and {before} is removed")
            }
            Restored::Replaced if was_enabled => {
                let (resolv, before) = (self.files.resolv.clone(), self.files.before.clone());
                return Err(ResolvConfError::Replaced { resolv, before });
            }
            Restored::Replaced => format!(
                "{resolv} does not name the agent: nothing to undo; {before} is a file from before \"enable\" (disable \
                 --force removes it)"
            ),
            Restored::Nothing if !was_enabled => {
                format!("{resolv} does not name the agent: nothing to undo")
            }
            Restored::Nothing | Restored::Before => format!("{resolv} is as it was before \"enable\""),
            Restored::Refreshed => {
                format!(
                    "{resolv} is as it was before \"enable\", but for its servers: they are those of today"
                )
            }
            Restored::Gone => format!("there is no {resolv} now, and no server is known that it could name"),
            Restored::Known => format!(
                "{resolv} is a file with the servers that the agent asked: what was there before \"enable\" names none now"
            ),
        });
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
                say(&manager.tells(state.author.as_deref()));
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
