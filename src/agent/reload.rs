//! A reload: all settings are read again and checked, and replace those in use only if all of them can be used.

use super::host::host;
use super::settings_follower::NewSettings;
use super::sources::Sources;
use super::status::{StatusLine, StatusNotes};
use super::tasks::Tasks;
use crate::config::{Config, Spec};
use crate::logging;
use crate::source::Publisher;
use crate::systemd;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Reads flags, variables and the variables file again. The error is a text for the operator.
pub type SettingsReader = Box<dyn Fn() -> Result<Spec, String> + Send + Sync>;

/// The parts of the agent that a reload reads or replaces.
pub(super) struct Reload {
    /// The settings in use: flags, variables and defaults.
    pub(super) spec: Spec,
    pub(super) reread: SettingsReader,
    pub(super) publisher: Arc<Publisher>,
    pub(super) sources: Sources,
    /// Passes settings to the follower of settings.
    pub(super) new_settings: mpsc::Sender<NewSettings>,
    pub(super) notes: StatusNotes,
    pub(super) line: StatusLine,
}

impl Reload {
    /// Reloads. If anything cannot be used, nothing changes, and the problem is logged and shown in the status line.
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

    /// Reads all settings and puts them in use; the error is a text for the operator.
    async fn take(&mut self, tasks: &mut Tasks) -> Result<(), String> {
        let spec = (self.reread)()?;
        // The host may have been renamed since the start.
        let host = host();
        Config::new(&spec, &host).map_err(|problem| problem.to_string())?;
        let next =
            self.sources.reload(&spec, &self.publisher, tasks).await.map_err(|error| error.to_string())?;
        let (done, taken) = oneshot::channel();
        let new_settings = NewSettings { spec: spec.clone(), host, done };
        // The follower ends only when the agent ends.
        self.new_settings.send(new_settings).await.map_err(|_| "the agent ends".to_owned())?;
        // If keys cannot be read or are not those of the domain, the follower returns an error, and nothing may change.
        if let Err(problem) = taken.await.unwrap_or(Ok(())) {
            next.iter().for_each(Sources::stop);
            return Err(problem);
        }
        if let Some(next) = next {
            self.sources.take(next, &self.publisher);
        }
        logging::set_level(spec.log_level);
        self.spec = spec;
        Ok(())
    }
}
