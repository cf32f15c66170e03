//! The settings of the sources: which sources there are, and how their stores are reached.
//!
//! A reload compares them: only if they have changed, the sources are replaced.

use super::error::SourcesError;
use crate::answer::PodNames;
use crate::config::{EtcdApi, KubernetesEndpoints, KubernetesSpec, Spec};
use crate::regular_file;
use crate::service::Keyspace;
use crate::source::etcd::{EtcdError, EtcdSettings, TlsFiles};
use crate::source::files::{FilesSettings, LinkPolicy};
use crate::source::kubernetes::{Access, KubernetesSettings, Watched, WatchedEndpoints};
use crate::source::snapshot::StoreIdentity;
use crate::source::{Mirror, Publisher, SourceId};
use crate::systemd;
use std::path::PathBuf;
use std::sync::Arc;

/// All that determines the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceSettings {
    pub(super) keyspace: Keyspace,
    /// The directory of records.
    pub(super) records: Option<FilesSettings>,
    pub(super) etcd: Option<EtcdSettings>,
    /// Which of its APIs are read.
    pub(super) etcd_api: EtcdApi,
    /// Hidden keys of the v2 API that are read as well.
    pub(super) v2_also: Vec<String>,
    /// Whether the tree is incomplete without etcd: etcd is configured, or nothing else has names.
    pub(super) etcd_required: bool,
    /// The content of the files for TLS: a renewed certificate in the same file is a change too.
    tls: Vec<Option<Vec<u8>>>,
    pub(super) kubernetes: Option<KubernetesSettings>,
}

impl SourceSettings {
    /// Makes the settings of the sources out of the agent's.
    ///
    /// # Errors
    /// There is a client certificate without its key, or a key without its certificate.
    pub(super) fn new(spec: &Spec) -> Result<Self, SourcesError> {
        let records = spec.records.clone().or_else(|| spec.default_records.clone());
        // Unless a directory of records is configured, etcd on this host is tried, as SkyDNS does.
        let etcd = spec.uses_etcd().then(|| etcd_settings(spec)).transpose()?;
        let has_other = records.is_some() || !spec.kubernetes.forward.is_empty();
        let etcd_required = spec.uses_etcd() && (spec.names_etcd() || !has_other);
        let tls = etcd.iter().flat_map(|etcd| [&etcd.tls.ca_cert, &etcd.tls.cert, &etcd.tls.key]);
        let tls = tls.map(|file| file.as_ref().and_then(|file| regular_file::read(file).ok())).collect();
        let links = if spec.records_links { LinkPolicy::Anywhere } else { LinkPolicy::Inside };
        let records = records.map(|directory| FilesSettings { directory, links });
        let keyspace = Keyspace::new(&spec.path_prefix);
        let v2_also = spec.v2_also.iter().map(|path| in_full(&keyspace, path)).collect();
        let etcd_api = spec.etcd_api;
        let kubernetes = spec.kubernetes.is_on.then(|| kubernetes_settings(&spec.kubernetes));
        Ok(Self { keyspace, records, etcd, etcd_api, v2_also, etcd_required, tls, kubernetes })
    }

    /// The identity of the store that a snapshot is of; `None` without etcd.
    pub(super) fn origin(&self) -> Option<StoreIdentity> {
        let endpoints = self.etcd.as_ref()?.endpoints.iter().cloned().collect();
        Some(StoreIdentity { root: self.keyspace.root().to_owned(), endpoints })
    }

    /// The mirror of the sources, which publishes through `publisher`.
    pub(super) fn mirror(&self, publisher: &Arc<Publisher>) -> Mirror {
        let mut sources = Vec::new();
        if self.etcd.is_some() && self.etcd_api.has_v2() {
            // Where nobody has asked for v2, it is not missed before it is known to be needed.
            sources.push((SourceId::EtcdV2, self.etcd_required && self.etcd_api != EtcdApi::Auto));
        }
        if self.etcd.is_some() && self.etcd_api.has_v3() {
            sources.push((SourceId::Etcd, self.etcd_required));
        }
        if self.kubernetes.is_some() {
            sources.push((SourceId::Kubernetes, true));
        }
        if self.records.is_some() {
            sources.push((SourceId::Files, true));
        }
        Mirror::new(self.keyspace.clone(), &sources, publisher)
    }
}

/// How a cluster is followed.
pub fn kubernetes_settings(spec: &KubernetesSpec) -> KubernetesSettings {
    let access = match (&spec.kubeconfig, &spec.master) {
        (Some(file), url) => Access::Kubeconfig { file: systemd::credential(file), url: url.clone() },
        (None, Some(url)) => Access::Url(url.clone()),
        (None, None) => Access::Pod,
    };
    let endpoints = match spec.watched_endpoints() {
        KubernetesEndpoints::Headless => WatchedEndpoints::Headless,
        KubernetesEndpoints::All => WatchedEndpoints::All,
        KubernetesEndpoints::None => WatchedEndpoints::None,
    };
    let watched = Watched {
        endpoints,
        pods: spec.pods == PodNames::Verified,
        imports: !spec.multicluster.is_empty(),
        pod_names: spec.endpoint_pod_names,
        zones: spec.zonal,
        namespaces: spec.namespaces.clone(),
        namespace_labels: spec.namespace_labels.clone(),
        labels: spec.labels.clone(),
    };
    KubernetesSettings { access, watched }
}

/// Why nothing says how the API server of a cluster that is followed is reached, or who asks.
pub(super) fn access_problem(spec: &Spec) -> Option<String> {
    let settings = spec.kubernetes.is_on.then(|| kubernetes_settings(&spec.kubernetes))?;
    settings.access.problem().map(|error| error.to_string())
}

/// A path of the store with the prefix of all keys.
pub fn in_full(keyspace: &Keyspace, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}{path}", keyspace.root()) }
}

/// Reads the files for TLS, and returns what is wrong: a file cannot be read or is not what it has to be, or there is a client
/// certificate without its key, or a key without its certificate.
pub(super) fn tls_problems(spec: &Spec) -> Vec<EtcdError> {
    etcd_settings(spec).map_or_else(|error| vec![error], |etcd| etcd.tls_problems())
}

/// The settings of etcd.
///
/// # Errors
/// There is a client certificate without its key, or a key without its certificate.
pub fn etcd_settings(spec: &Spec) -> Result<EtcdSettings, EtcdError> {
    let file = |file: &Option<PathBuf>| file.as_deref().map(systemd::credential);
    let tls = TlsFiles { ca_cert: file(&spec.ca_cert), cert: file(&spec.tls_pem), key: file(&spec.tls_key) };
    let password = || spec.password.clone().unwrap_or_default();
    let user = spec.username.clone().map(|name| (name, password()));
    EtcdSettings::new(&spec.machines, tls, user, spec.discover)
}
