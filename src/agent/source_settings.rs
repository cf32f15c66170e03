//! The settings of the sources: which there are, and where their stores are.

use super::error::SourcesError;
use crate::config::Spec;
use crate::service::Keyspace;
use crate::source::etcd::{EtcdSettings, TlsFiles};
use crate::source::snapshot::StoreIdentity;
use crate::source::{Mirror, Publisher, SourceId};
use crate::systemd;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the package keeps records; used, if it is there, when no other directory is configured.
const DEFAULT_RECORDS: &str = "/etc/skydns/records";

/// What the sources were made from: when it changes, others have to take their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceSettings {
    pub(super) keyspace: Keyspace,
    pub(super) records: Option<PathBuf>,
    pub(super) etcd: Option<EtcdSettings>,
    pub(super) etcd_required: bool,
    /// What the files for TLS hold: a renewed certificate is another setting.
    tls: Vec<Option<Vec<u8>>>,
}

impl SourceSettings {
    pub(super) fn new(spec: &Spec) -> Result<Self, SourcesError> {
        let default = || Some(PathBuf::from(DEFAULT_RECORDS)).filter(|dir| dir.is_dir());
        let records = spec.records.clone().or_else(default);
        // The default directory may come later; one that was named is a mistake.
        if let Some(dir) = &spec.records {
            std::fs::read_dir(dir).map_err(|source| SourcesError::Records { dir: dir.clone(), source })?;
        }
        // Looked for where nothing else is asked for, as SkyDNS did.
        let wanted = !spec.machines.is_empty() || spec.records.is_none();
        let etcd = wanted.then(|| etcd_settings(spec)).transpose()?;
        let etcd_required = !spec.machines.is_empty() || records.is_none();
        let tls = etcd.iter().flat_map(|etcd| [&etcd.tls.ca_cert, &etcd.tls.cert, &etcd.tls.key]);
        let tls = tls.map(|file| file.as_ref().and_then(|file| std::fs::read(file).ok())).collect();
        Ok(Self { keyspace: Keyspace::new(&spec.path_prefix), records, etcd, etcd_required, tls })
    }

    /// What a snapshot of etcd is of; `None` without etcd.
    pub(super) fn origin(&self) -> Option<StoreIdentity> {
        let endpoints = self.etcd.as_ref()?.endpoints.iter().cloned().collect();
        Some(StoreIdentity { root: self.keyspace.root().to_owned(), endpoints })
    }

    pub(super) fn mirror(&self, stage: &Arc<Publisher>) -> Mirror {
        let mut sources = Vec::new();
        if self.etcd.is_some() {
            sources.push((SourceId::Etcd, self.etcd_required));
        }
        if self.records.is_some() {
            sources.push((SourceId::Files, true));
        }
        Mirror::new(self.keyspace.clone(), &sources, stage)
    }
}

fn etcd_settings(spec: &Spec) -> Result<EtcdSettings, SourcesError> {
    let file = |file: &Option<PathBuf>| file.as_deref().map(systemd::credential);
    let tls = TlsFiles { ca_cert: file(&spec.ca_cert), cert: file(&spec.tls_pem), key: file(&spec.tls_key) };
    let password = || spec.password.clone().unwrap_or_default();
    let user = spec.username.clone().map(|name| (name, password()));
    let settings = EtcdSettings::new(&spec.machines, tls, user, spec.discover)?;
    settings.check_tls()?;
    Ok(settings)
}
