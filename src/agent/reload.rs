//! A reload: all settings are read again, and replace those in use. What cannot be used costs itself: the value in use stays.

use super::default_records;
use super::host::host;
use super::keeper::Keeper;
use super::last_good::LastGood;
use super::refused::{RefusedBy, RefusedSettings};
use super::reload_report::ReloadReporter;
use super::settings_follower::NewSettings;
use super::settled::{SettledSettings, settle};
use super::sources::Sources;
use super::status::{StatusLine, StatusNotes};
use super::tasks::Tasks;
use crate::config::{GivenTexts, Instead, Layers, RefusedSetting, STATISTICS, SettingOrigin, Spec};
use crate::logging;
use crate::source::Publisher;
use crate::systemd;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Reads flags, variables and the files of variables again.
pub type SettingsReader = Box<dyn Fn() -> Layers + Send + Sync>;

/// The parts of the agent that a reload reads or replaces.
pub(super) struct Reload {
    /// The settings in use: flags, variables and defaults.
    pub(super) spec: Spec,
    /// The texts of these settings.
    pub(super) used: GivenTexts,
    pub(super) reread: SettingsReader,
    pub(super) reporter: ReloadReporter,
    /// What was logged of names in the files of variables that mean nothing here.
    pub(super) noticed: Vec<String>,
    /// The variables of statistics at the start, and when they were read last.
    pub(super) statistics: (Vec<Option<String>>, Vec<Option<String>>),
    pub(super) publisher: Arc<Publisher>,
    pub(super) sources: Sources,
    /// Passes settings to the follower of settings.
    pub(super) new_settings: mpsc::Sender<NewSettings>,
    pub(super) notes: StatusNotes,
    pub(super) refused: RefusedSettings,
    pub(super) last_good: Arc<Keeper<LastGood>>,
    pub(super) line: StatusLine,
}

impl Reload {
    /// Reloads. What cannot be used is logged and shown in the status line.
    pub(super) async fn run(&mut self, tasks: &mut Tasks) {
        log::info!("reloading (SIGHUP)");
        self.reporter.begin();
        systemd::reloading();
        let mut problems = Vec::new();
        match self.take(tasks).await {
            Ok(()) => {
                self.notes.set_reload(None);
                match self.refused.all().len() {
                    0 => log::info!("reloaded"),
                    1 => log::error!("reloaded, but 1 setting is refused"),
                    refused => log::error!("reloaded, but {refused} settings are refused"),
                }
            }
            Err(problem) => {
                log::error!("reload failed, the settings before it stay in use: {problem}");
                self.notes.set_reload(Some(&problem));
                problems.push(problem);
            }
        }
        systemd::ready(&self.line.text());
        problems.extend(self.refused.all());
        self.reporter.end(problems);
    }

    /// Reads all settings and puts them in use.
    ///
    /// # Errors
    /// `-strict` is set, and a setting is refused. The text is for the operator.
    async fn take(&mut self, tasks: &mut Tasks) -> Result<(), String> {
        let layers = (self.reread)();
        let notices = layers.variables.notices();
        notices
            .iter()
            .filter(|notice| !self.noticed.contains(notice))
            .for_each(|notice| log::warn!("{notice}"));
        self.noticed = notices;
        // The host may have been renamed since the start.
        let host = host();
        let settled = settle(&layers, &self.used, &host);
        let keys_origin = settled.origin("dnssec");
        let SettledSettings { mut spec, mut refused, mut used, origins, awaits_records, .. } = settled;
        if spec.strict && !refused.is_empty() {
            let problems: Vec<_> = refused.iter().map(RefusedSetting::problem).collect();
            return Err(problems.join("; "));
        }
        let mut unread = Vec::new();
        let next = match self.sources.reload(&spec, &self.publisher, tasks).await {
            Ok(next) => next,
            Err(error) if spec.strict => return Err(error.to_string()),
            Err(error) => {
                let text = error.to_string();
                unread.extend(blame(&text, &self.spec.other_sources(&spec), &origins, &mut refused));
                self.keep_sources(&mut spec, &mut used);
                None
            }
        };
        let (done, taken) = oneshot::channel();
        let new_settings = NewSettings { spec: spec.clone(), keys_origin, host, awaits_records, done };
        // The follower ends only when the agent ends.
        self.new_settings.send(new_settings).await.map_err(|_| "the agent ends".to_owned())?;
        let _ = taken.await;
        if let Some(next) = next {
            self.sources.take(next, &self.publisher);
        }
        logging::set_level(spec.log_level);
        self.tell_statistics(&layers);
        self.refused.set(RefusedBy::Given, refused.iter().map(ToString::to_string).collect());
        self.refused.set(RefusedBy::Sources, unread);
        self.last_good.note(|last_good| last_good.note_given(&used, &origins));
        (self.spec, self.used) = (spec, used);
        Ok(())
    }

    /// Keeps the settings of the sources in use.
    fn keep_sources(&self, spec: &mut Spec, used: &mut GivenTexts) {
        for setting in spec.keep_sources(&self.spec).chain([default_records::USED]) {
            match self.used.get(setting) {
                Some(text) => drop(used.insert(setting.to_owned(), text.clone())),
                None => drop(used.remove(setting)),
            }
        }
    }

    /// Logs which variables of statistics have changed: they are read at the start alone.
    fn tell_statistics(&mut self, layers: &Layers) {
        let read = statistics_variables(layers);
        let (started, before) = &self.statistics;
        for (index, variable) in STATISTICS.iter().enumerate() {
            if read[index] != before[index] && read[index] != started[index] {
                log::warn!("{} changed: a restart makes it take effect", variable.name);
            }
        }
        self.statistics.1 = read;
    }
}

/// Settings of files whose content may have changed.
const FILES: [&str; 3] = ["ca-cert", "tls-pem", "tls-key"];

/// Tells why new sources do not replace those in use, with the places of the settings that have changed. Where one of these, or
/// a file, is refused already, that says why.
fn blame(
    text: &str,
    changed: &[&str],
    origins: &BTreeMap<String, SettingOrigin>,
    refused: &mut [RefusedSetting],
) -> Option<String> {
    let place = |setting: &&str| origins.get(*setting);
    let places: Vec<_> = changed.iter().filter_map(place).collect();
    let may_be_told: Vec<_> = changed.iter().chain(&FILES).filter_map(place).collect();
    let mut is_told = false;
    for refused in refused.iter_mut().filter(|refused| may_be_told.contains(&&refused.origin)) {
        refused.instead = Instead::Told("the sources in use stay");
        is_told = true;
    }
    let places: Vec<_> = places.into_iter().map(ToString::to_string).collect();
    match (is_told, places.is_empty()) {
        (true, _) => None,
        (false, true) => Some(text.to_owned()),
        (false, false) => Some(format!("{}: {text}", places.join(", "))),
    }
}

/// The values of the variables of statistics.
pub(super) fn statistics_variables(layers: &Layers) -> Vec<Option<String>> {
    let value = |name| layers.variables.get(name).map(|variable| variable.value.clone());
    STATISTICS.iter().map(|variable| value(variable.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;

    #[test]
    fn new_sources_that_cannot_be_read_name_the_lines_that_want_them() {
        let origin = |name: &str, line| SettingOrigin::Variable {
            name: name.to_owned(),
            place: Some(Place { file: "/f".into(), line }),
        };
        let origins = [
            ("machines".to_owned(), origin("ETCD_MACHINES", 1)),
            ("ca-cert".to_owned(), origin("ETCD_CACERT", 2)),
        ];
        let mut refused = [RefusedSetting {
            origin: origin("ETCD_CACERT", 2),
            reason: "/none: cannot be read".to_owned(),
            instead: Instead::Nothing,
        }];
        let told = |changed: &[&str], refused: &mut [RefusedSetting]| {
            blame("x", changed, &origins.clone().into(), refused)
        };
        assert_eq!(told(&["machines"], &mut []).as_deref(), Some("/f:1: ETCD_MACHINES: x"));
        assert_eq!(
            told(&["discover"], &mut []).as_deref(),
            Some("x"),
            "what is not set any more has no place"
        );
        assert_eq!(told(&["machines", "ca-cert"], &mut refused), None, "one refusal counts once");
        assert_eq!(
            refused[0].to_string(),
            "/f:2: ETCD_CACERT: /none: cannot be read; the sources in use stay"
        );
    }
}
