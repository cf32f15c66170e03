//! A reload: everything is read anew and checked, and counts only if all of it can be used.

use super::host::host;
use super::settings_follower::NewSettings;
use super::signer;
use super::sources::Sources;
use super::status::{StatusLine, StatusNotes};
use super::tasks::Tasks;
use crate::config::{Config, Spec};
use crate::source::Publisher;
use crate::systemd;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Reads flags, variables and the variables file again; the error is for a person.
pub type SettingsReader = Box<dyn Fn() -> Result<Spec, String> + Send + Sync>;

/// What a reload needs of the agent.
pub(super) struct Reload {
    /// The settings that count now.
    pub(super) spec: Spec,
    pub(super) reread: SettingsReader,
    pub(super) stage: Arc<Publisher>,
    pub(super) sources: Sources,
    /// To the follower of the configuration.
    pub(super) new_settings: mpsc::Sender<NewSettings>,
    pub(super) notes: StatusNotes,
    pub(super) line: StatusLine,
}

impl Reload {
    /// Reloads. Whatever cannot be used leaves all as it was, and is told.
    pub(super) async fn run(&mut self, tasks: &mut Tasks) {
        log::info!("reloading (SIGHUP)");
        systemd::reloading();
        match self.take(tasks).await {
            Ok(()) => {
                self.notes.set_reload(None);
                log::info!("reloaded");
            }
            Err(problem) => {
                log::error!("reload failed, what was before stays: {problem}");
                self.notes.set_reload(Some(&problem));
            }
        }
        systemd::ready(&self.line.text());
    }

    async fn take(&mut self, tasks: &mut Tasks) -> Result<(), String> {
        let spec = (self.reread)()?;
        // The host may have another name by now.
        let host = host();
        let config = Config::new(&spec, &host).map_err(|problem| problem.to_string())?;
        signer::check_keys(&config).map_err(|problem| problem.to_string())?;
        let next = self.sources.reload(&spec, &self.stage, tasks).await.map_err(|error| error.to_string())?;
        let (done, taken) = oneshot::channel();
        let new_settings = NewSettings { spec: spec.clone(), host, done };
        // The follower ends only with the program.
        self.new_settings.send(new_settings).await.map_err(|_| "the agent ends".to_owned())?;
        // A configuration in the store that cannot be used is told there, as at the start; keys that it names and that
        // cannot be read leave all as it was.
        if let Err(problem) = taken.await.unwrap_or(Ok(())) {
            next.iter().for_each(Sources::stop);
            return Err(problem);
        }
        if let Some(next) = next {
            self.sources.take(next, &self.stage);
        }
        if spec.log != self.spec.log {
            log::warn!("-log changed: it counts from the next start on");
        }
        if spec.state_dir != self.spec.state_dir {
            log::warn!("-state-dir changed: it counts from the next start on");
        }
        self.spec = spec;
        Ok(())
    }
}
