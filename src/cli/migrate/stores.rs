//! The stores of a move, from the settings of the agent and the options of the command.

use crate::agent::{etcd_settings, in_full};
use crate::config::{MigrateOptions, Spec};
use crate::service::Keyspace;
use crate::source::etcd::migrate::MigrateError;
use crate::source::etcd::{EtcdSettings, TlsFiles};
use crate::systemd;
use std::path::PathBuf;

/// The stores, and what is carried.
pub(super) struct Stores {
    pub(super) from: EtcdSettings,
    pub(super) to: EtcdSettings,
    /// Whether `to` is another store, with files for TLS of its own.
    pub(super) is_other_store: bool,
    pub(super) keyspace: Keyspace,
    pub(super) also: Vec<String>,
}

impl Stores {
    /// Puts them together; the error is a text.
    pub(super) fn new(spec: &Spec, options: &MigrateOptions) -> Result<Self, String> {
        let from = etcd_settings(spec).map_err(|error| error.to_string())?;
        let MigrateOptions { to_machines, to_ca_cert, to_cert, to_key, .. } = options;
        let is_other_store = !to_machines.is_empty();
        let to = if is_other_store {
            let file = |file: &Option<PathBuf>| file.as_deref().map(systemd::credential);
            let tls = TlsFiles { ca_cert: file(to_ca_cert), cert: file(to_cert), key: file(to_key) };
            let to = EtcdSettings::new(to_machines, tls, from.user.clone(), false);
            let problem = |to: &EtcdSettings| to.tls_problems().into_iter().next();
            to.and_then(|to| problem(&to).map_or(Ok(to), Err))
                .map_err(|error| with_flags_of_other_store(&error.to_string()))?
        } else {
            from.clone()
        };
        let keyspace = Keyspace::new(&spec.path_prefix);
        let also = spec.v2_also.iter().map(|path| in_full(&keyspace, path)).collect();
        Ok(Self { from, to, is_other_store, keyspace, also })
    }
}

/// What an error says, with the flags that set the store which it is about.
pub(super) fn told(error: &MigrateError, is_other_store: bool) -> String {
    let mut text = error.to_string();
    if matches!(error, MigrateError::To(_)) {
        text = text.replace(
            "needs a role that may read all keys below -path-prefix",
            "needs a role that may read and write all keys that begin with /skydns/ and /skydns-migration, or so for -path-prefix",
        );
    }
    match error {
        MigrateError::To(_) if is_other_store => with_flags_of_other_store(&text),
        _ => text,
    }
}

/// A text about TLS that names the flags of the other store in place of the agent's settings.
fn with_flags_of_other_store(text: &str) -> String {
    let flags = [
        ("-ca-cert", " (ETCD_CACERT)", "-to-ca-cert"),
        ("-tls-pem", " (ETCD_TLSPEM)", "-to-cert"),
        ("-tls-key", " (ETCD_TLSKEY)", "-to-key"),
    ];
    let mut text = text.to_owned();
    for (flag, variable, own) in flags {
        // With its variable, or in front of the name of its file: names of files may have the same letters in them.
        text = text.replace(&format!("{flag}{variable}"), own);
        if let Some(rest) = text.strip_prefix(&format!("{flag}: ")) {
            text = format!("{own}: {rest}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::etcd::EtcdError;

    #[test]
    fn an_error_names_the_flags_of_its_store() {
        let half = || EtcdError::HalfIdentity;
        let told = |error, is_other_store| told(&error, is_other_store);
        let to = told(MigrateError::To(half()), true);
        assert_eq!(to, "v3: the client certificate needs both -to-cert and -to-key");
        let (setting, file) = ("ca-cert", PathBuf::from("/etc/my-ca-cert: x.pem"));
        let missing = EtcdError::TlsFile { setting, file, reason: "cannot be read".to_owned() };
        let told_of = with_flags_of_other_store(&missing.to_string());
        assert_eq!(told_of, "-to-ca-cert: /etc/my-ca-cert: x.pem: cannot be read");
        for (error, is_other_store) in [(MigrateError::To(half()), false), (MigrateError::From(half()), true)]
        {
            assert!(told(error, is_other_store).contains("-tls-pem (ETCD_TLSPEM)"));
        }
    }
}
