//! Settings of flags and variables, as far as they can be used on this host.
//!
//! What a setting names may be missing: a directory, a certificate, the machine id of the host. Such a setting costs
//! itself, like one that cannot be parsed: its last good value is used, or else the default. A directory that could be read
//! before, and certificates, stay as they are: they are tried again by what uses them.

use super::default_records::{self, DEFAULT_RECORDS, DefaultRecords, TRIED_AGAIN};
use super::source_settings;
use super::state_dir::{self, UnusableStateDir};
use super::statistics::Statistics;
use crate::config::{
    Arguments, Config, GivenTexts, HostIdentity, Instead, Layers, RefusedSetting, SettingOrigin, Spec,
    ValuesBefore,
};
use crate::regular_file::reader_hint;
use crate::source::etcd::EtcdError;
use std::collections::BTreeMap;
use std::path::Path;

/// Settings that can be used, and what was refused on the way to them.
#[derive(Debug)]
pub struct SettledSettings {
    /// The settings.
    pub spec: Spec,
    /// The settings of statistics.
    pub statistics: Statistics,
    /// What is not used, or cannot be used yet.
    pub refused: Vec<RefusedSetting>,
    /// The texts of the settings that are used, by name.
    pub used: GivenTexts,
    /// Where these values come from, by the name of the setting.
    pub origins: BTreeMap<String, SettingOrigin>,
    /// The text of what is refused until the directory of records can be read.
    pub awaits_records: Option<String>,
}

impl SettledSettings {
    /// Where the value of a setting comes from.
    pub fn origin(&self, setting: &str) -> SettingOrigin {
        self.origins.get(setting).cloned().unwrap_or_default()
    }
}

/// A setting whose value cannot be used on this host.
struct Unusable {
    setting: &'static str,
    reason: String,
    /// What happens if there is no other good value: the value stays and is tried again, or the default is used.
    stays: Option<&'static str>,
}

/// Makes the settings that can be used on this host, of a command line that can be parsed.
pub fn settle(layers: &Layers, last_good: &GivenTexts, host: &HostIdentity) -> SettledSettings {
    settle_with(layers, last_good, host, Path::new(DEFAULT_RECORDS))
}

/// The same with another default directory of records.
fn settle_with(
    layers: &Layers,
    last_good: &GivenTexts,
    host: &HostIdentity,
    default_records: &Path,
) -> SettledSettings {
    let mut before = ValuesBefore { last_good: last_good.clone(), ..ValuesBefore::default() };
    let (arguments, kept) = loop {
        let arguments = layers.settings(&before);
        let mut kept = Vec::new();
        let mut is_settled = true;
        for Unusable { setting, reason, stays } in unusable(&arguments.spec, host) {
            let text = arguments.used.get(setting).cloned().unwrap_or_default();
            let has_another = last_good.get(setting).is_some_and(|last| *last != text);
            let was_good = last_good.get(setting) == Some(&text);
            // The default in its place would be the same one.
            let is_default = Path::new(&text) == default_records;
            match stays {
                Some(told) if !has_another && (was_good || is_default || setting != RECORDS) => {
                    let origin = arguments.origin(setting);
                    kept.push(RefusedSetting { origin, reason, instead: Instead::Told(told) });
                }
                _ => {
                    if let Some((partner, text)) = partner(setting, &arguments.used, last_good) {
                        let reason = format!("it belongs to -{setting}, which cannot be used");
                        before.unusable.entry((partner.to_owned(), text)).or_insert(reason);
                    }
                    is_settled &= before.unusable.insert((setting.to_owned(), text), reason).is_some();
                }
            }
        }
        if is_settled {
            break (arguments, kept);
        }
    };
    let (statistics, of_statistics, used) = Statistics::read(&layers.variables, last_good);
    let origin = arguments.origin(RECORDS);
    let Arguments { mut spec, refused, used: mut all_used, origins, .. } = arguments;
    all_used.extend(used);
    let mut records_refused = kept.iter().find(|refused| refused.origin == origin).cloned();
    let mut of_default = None;
    if spec.records.is_none() {
        let DefaultRecords { directory, refused } = default_records::look(default_records, last_good);
        if let Some(directory) = &directory {
            all_used.insert(default_records::USED.to_owned(), directory.display().to_string());
        }
        spec.default_records = directory;
        of_default = refused;
        records_refused.clone_from(&of_default);
    }
    let awaits_records = records_refused.map(|refused| refused.to_string());
    let refused = [refused, kept, of_statistics, of_default.into_iter().collect()].concat();
    SettledSettings { spec, statistics, refused, used: all_used, origins, awaits_records }
}

/// What is given for the other one of certificate and private key, if it has another last good value: if one goes back to
/// its last good value, the other one has to.
fn partner(setting: &str, used: &GivenTexts, last_good: &GivenTexts) -> Option<(&'static str, String)> {
    let partner = match setting {
        "tls-pem" => "tls-key",
        "tls-key" => "tls-pem",
        _ => return None,
    };
    let text = used.get(partner)?;
    last_good.get(partner).filter(|last| *last != text)?;
    Some((partner, text.clone()))
}

/// The setting of the directory of records.
const RECORDS: &str = "records";

/// The settings that cannot be used on this host.
fn unusable(spec: &Spec, host: &HostIdentity) -> Vec<Unusable> {
    let mut found = Vec::new();
    if let Err(problem) = Config::new(spec, host) {
        found.push(Unusable { setting: "local", reason: problem.reason.to_string(), stays: None });
    }
    if let Some(dir) = &spec.records
        && let Err(error) = std::fs::read_dir(dir)
    {
        let hint = reader_hint(&error);
        let reason = format!("the directory {} cannot be read: {error}{hint}", dir.display());
        found.push(Unusable { setting: RECORDS, reason, stays: Some(TRIED_AGAIN) });
    }
    if let Some(UnusableStateDir { reason, is_readable }) =
        spec.state_dir.as_deref().and_then(state_dir::problem)
    {
        let stays = is_readable.then_some("what it holds is read, and nothing new is kept");
        found.push(Unusable { setting: "state-dir", reason, stays });
    }
    // It is read again for each connection, so that without -strict nothing is refused for good.
    if spec.strict
        && let Some(reason) = source_settings::access_problem(spec)
    {
        let setting = if spec.kubernetes.is_of_pod() { "kubernetes" } else { "kubeconfig" };
        found.push(Unusable { setting, reason, stays: Some("it is read again for each connection") });
    }
    let of_tls = source_settings::tls_problems(spec);
    found.extend(of_tls.into_iter().filter_map(|error| unusable_tls(spec, error)));
    found
}

/// The setting of TLS that an error is about.
fn unusable_tls(spec: &Spec, error: EtcdError) -> Option<Unusable> {
    let (setting, reason, stays) = match error {
        EtcdError::HalfIdentity => {
            let setting = if spec.tls_pem.is_some() { "tls-pem" } else { "tls-key" };
            (setting, error.to_string(), None)
        }
        EtcdError::TlsFile { setting, file, reason } => {
            let stays =
                "there is no other one that was good: once it is mended, systemctl reload skydns has it used";
            (setting, format!("{}: {reason}", file.display()), Some(stays))
        }
        _ => return None,
    };
    Some(Unusable { setting, reason, stays })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> GivenTexts {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn each_file_for_tls_is_told_and_certificate_and_key_go_back_together() {
        let dir = tempfile::tempdir().expect("a directory");
        let key = dir.path().join("new.key").display().to_string();
        let pem = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
        std::fs::write(&key, pem).expect("a file");
        let given = ["-tls-pem", "/none/new.pem", "-tls-key", &key, "-ca-cert", "/none/new-ca.pem"];
        let layers = Layers { args: given.map(str::to_owned).into(), ..Layers::default() };
        let last_good = texts(&[
            ("tls-pem", "/none/old.pem"),
            ("tls-key", "/none/old.key"),
            ("ca-cert", "/none/old-ca.pem"),
        ]);
        let settled = settle(&layers, &last_good, &HostIdentity::default());
        for setting in ["tls-pem", "tls-key", "ca-cert"] {
            assert_eq!(settled.used.get(setting), last_good.get(setting), "{setting}");
        }
        let told: Vec<_> = settled.refused.iter().map(ToString::to_string).collect();
        let told = told.join("\n");
        for (setting, reason) in [
            ("-tls-pem", "/none/new.pem: cannot be read"),
            ("-tls-key", "it belongs to -tls-pem, which cannot be used"),
            ("-ca-cert", "/none/new-ca.pem: cannot be read"),
        ] {
            assert!(told.lines().any(|line| line.contains(setting) && line.contains(reason)), "{told}");
        }
    }

    #[test]
    fn the_default_directory_of_records_stays_in_use_while_it_is_away() {
        let dir = tempfile::tempdir().expect("a directory");
        let records = dir.path().join("records");
        let settle_now = |layers: &Layers, used: &GivenTexts| {
            settle_with(layers, used, &HostIdentity::default(), &records)
        };
        let unset = Layers::default();
        let settled = settle_now(&unset, &GivenTexts::new());
        assert_eq!((settled.spec.default_records, settled.refused), (None, Vec::new()));
        std::fs::create_dir(&records).expect("a directory");
        let served = settle_now(&unset, &settled.used);
        assert_eq!(served.spec.default_records, Some(records.clone()));
        std::fs::remove_dir(&records).expect("removed");
        // What is used is kept, so the next process knows it as well.
        let mut used = served.used;
        for _ in 0..2 {
            let settled = settle_now(&unset, &used);
            assert_eq!(settled.spec.default_records, Some(records.clone()));
            let told: Vec<_> = settled.refused.iter().map(ToString::to_string).collect();
            assert!(told.len() == 1 && told[0].contains("which was in use, is gone"), "{told:?}");
            assert_eq!(settled.awaits_records, told.into_iter().next());
            used = settled.used;
        }
        // Another one that is configured is used in its place.
        let dir = dir.path().display().to_string();
        let configured = Layers { args: vec!["-records".to_owned(), dir], ..Layers::default() };
        let settled = settle_now(&configured, &used);
        assert_eq!((settled.spec.default_records, settled.refused), (None, Vec::new()));
        assert!(!settled.used.contains_key(default_records::USED));
        // The default one by its name is refused once.
        let args = vec!["-records".to_owned(), records.display().to_string()];
        let settled = settle_now(&Layers { args, ..Layers::default() }, &used);
        assert_eq!((settled.spec.records, settled.refused.len()), (Some(records.clone()), 1));
    }
}
