//! What the command does on a host.

use super::files::{self, ResolvConfFiles, Restored, remove, write};
use super::managers::{self, Manager};
use super::servers::{self, KnownServers};
use super::{ResolvConfError, Takeover, host_check};
use crate::cli::{complain, say};
use crate::host_resolver::{self, FILE_HEADER, STATE_FILE, TakeoverState, UPSTREAMS_DIR};
use crate::server;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long the check waits for an answer of the agent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The state of before, while `enable` changes it, below the root of the host.
const OLDER_STATE_FILE: &str = "etc/skydns/resolv-conf.state.older";

/// What the removal of the package wrote down for an installation after it: how to enable again. Below the root of the host.
const AGAIN_FILE: &str = "etc/skydns/resolv-conf.again";

/// The host that the command works on.
pub(super) struct Host<'a> {
    pub(super) root: &'a Path,
    pub(super) files: ResolvConfFiles,
}

impl Host<'_> {
    /// Enables, and takes it back if names cannot be looked up afterwards.
    pub(super) fn enable_and_check(&self, takeover: &Takeover) -> Result<ExitCode, ResolvConfError> {
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

    pub(super) fn enable(&self, takeover: &Takeover) -> Result<ExitCode, ResolvConfError> {
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
        let text = servers::text(&self.files.resolv);
        let is_ours = host_resolver::is_our_link(&self.files.resolv)
            && (text.is_empty() || text.starts_with(FILE_HEADER));
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
        // The only setting that holds addresses.
        let resolved = previous.managers.iter().filter(|word| *word == "resolved");
        for manager in resolved.filter_map(|word| managers::by_word(word)) {
            let servers = Takeover::of(previous).map(|takeover| takeover.servers()).unwrap_or_default();
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

    pub(super) fn disable(&self, is_forced: bool) -> Result<ExitCode, ResolvConfError> {
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

    pub(super) fn status(&self) -> Result<ExitCode, ResolvConfError> {
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
