//! Which cluster is followed, and what of it.

use crate::tree::ObjectKind;
use std::path::PathBuf;

/// The settings of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSettings {
    /// How the API server is reached.
    pub access: Access,
    /// What is watched.
    pub watched: Watched,
}

/// How the API server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// By a URL, without saying who asks: `kubectl proxy`, or a server of old.
    Url(String),
    /// As a kubeconfig says, and by a URL in the place of the one there, if there is one.
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// The URL.
        url: Option<String>,
    },
    /// As the service account of the pod that this program runs in.
    Pod,
}

/// Of which services endpoints are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WatchedEndpoints {
    /// Of headless services: the others' names need none.
    #[default]
    Headless,
    /// Of all services.
    All,
    /// Of none: headless services have no names.
    None,
}

/// What of a cluster is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Of which services endpoints are watched.
    pub endpoints: WatchedEndpoints,
    /// Whether pods are watched.
    pub pods: bool,
    /// Whether services of several clusters are watched (ServiceImports), and their endpoints.
    pub imports: bool,
    /// Whether the name of a pod is the label of an endpoint without a host name.
    pub pod_names: bool,
    /// Whether the topology zones of endpoints matter.
    pub zones: bool,
    /// The namespaces that have names; all of them if there is none here.
    pub namespaces: Vec<String>,
    /// A label selector: only namespaces that it selects have names.
    pub namespace_labels: Option<String>,
    /// A label selector: only services that it selects have names.
    pub labels: Option<String>,
}

/// The label of slices that belong to services of several clusters.
const IMPORT_LABEL: &str = "multicluster.kubernetes.io/service-name";

/// The label of slices that belong to headless services.
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

/// Pods that have ended have no address any more.
const RUNNING_PODS: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown";

impl Watched {
    /// The kinds of objects that are watched.
    pub fn kinds(&self) -> Vec<ObjectKind> {
        let is_watched = |kind: &ObjectKind| match kind {
            ObjectKind::Namespace | ObjectKind::Service => true,
            ObjectKind::Slice => self.endpoints != WatchedEndpoints::None,
            ObjectKind::Pod => self.pods,
            ObjectKind::Import | ObjectKind::ImportSlice => self.imports,
        };
        ObjectKind::ALL.into_iter().filter(is_watched).collect()
    }

    /// All of it, as a text that is the same if and only if the same is watched.
    pub fn text(&self) -> String {
        let Self { pod_names, zones, namespaces, .. } = self;
        let paths: Vec<_> = self.kinds().into_iter().map(|kind| self.path(kind)).collect();
        format!("{} pod names: {pod_names} zones: {zones} of: {}", paths.join(" "), namespaces.join(","))
    }

    /// Whether objects of a namespace are wanted.
    pub(super) fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|own| own == namespace)
    }

    /// The path of the objects of a kind at the server, and how they are selected, as the beginning of a query.
    pub(super) fn path(&self, kind: ObjectKind) -> String {
        const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
        let selected = |by: &str, selector: &str| format!("{by}={}&", query_value(selector));
        let labels = |selector: Option<&str>| {
            selector.map_or_else(String::new, |selector| selected("labelSelector", selector))
        };
        match kind {
            ObjectKind::Namespace => {
                format!("/api/v1/namespaces?{}", labels(self.namespace_labels.as_deref()))
            }
            ObjectKind::Service => format!("/api/v1/services?{}", labels(self.labels.as_deref())),
            ObjectKind::Slice if self.endpoints == WatchedEndpoints::Headless => {
                format!("{SLICES}?{}", labels(Some(HEADLESS_LABEL)))
            }
            ObjectKind::Slice => format!("{SLICES}?{}", labels(Some("kubernetes.io/service-name"))),
            ObjectKind::Pod => format!("/api/v1/pods?{}", selected("fieldSelector", RUNNING_PODS)),
            ObjectKind::Import => "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports?".to_owned(),
            ObjectKind::ImportSlice => format!("{SLICES}?{}", labels(Some(IMPORT_LABEL))),
        }
    }
}

/// A text as a value in the query of a URL (RFC 3986 §2.1).
fn query_value(text: &str) -> String {
    let escaped = |octet: u8| match octet {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(octet).to_string(),
        _ => format!("%{octet:02X}"),
    };
    text.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_watched_is_asked_for() {
        let all = Watched {
            endpoints: WatchedEndpoints::All,
            pods: true,
            imports: true,
            labels: Some("app in (a, b),tier!=db".to_owned()),
            ..Watched::default()
        };
        assert_eq!(all.kinds(), ObjectKind::ALL);
        assert_eq!(
            all.path(ObjectKind::Service),
            "/api/v1/services?labelSelector=app%20in%20%28a%2C%20b%29%2Ctier%21%3Ddb&"
        );
        assert_eq!(all.text(), all.clone().text());
        for other in [
            Watched { zones: true, ..all.clone() },
            Watched { pod_names: true, ..all.clone() },
            Watched { pods: false, ..all.clone() },
            Watched { namespaces: vec!["a".to_owned()], ..all.clone() },
            Watched { labels: None, ..all.clone() },
        ] {
            assert_ne!(other.text(), all.text(), "{other:?}");
        }
        let few = Watched { endpoints: WatchedEndpoints::None, ..Watched::default() };
        assert_eq!(few.kinds(), [ObjectKind::Namespace, ObjectKind::Service]);
        assert_eq!(
            Watched::default().path(ObjectKind::Slice),
            "/apis/discovery.k8s.io/v1/endpointslices?labelSelector=service.kubernetes.io%2Fheadless&"
        );
    }
}
