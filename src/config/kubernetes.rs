//! The settings of Kubernetes, and which zones have its names.

use super::Route;
use super::input::SettingError;
use super::selector::is_label;
use super::spec::Spec;
use crate::answer::{ClusterNames, Mode, OwnServer, PodNames, Zone, Zones};
use crate::tree::Scope;
use hickory_proto::rr::Name;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// TTL of the specification's names by default, in seconds, as CoreDNS has it.
const DEFAULT_TTL: u32 = 5;

/// TTL of all names of a cluster in the zones of `-domain` by default, in seconds, as SkyDNS has it.
const DEFAULT_TTL_OF_DOMAIN: u32 = 30;

/// Of which services endpoints are watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KubernetesEndpoints {
    /// Of headless services.
    #[default]
    Headless,
    /// Of all services.
    All,
    /// Of none.
    None,
}

/// The settings of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an operator's switch of its own")]
pub struct KubernetesSpec {
    /// Whether a cluster is followed.
    pub is_on: bool,
    /// The URL of the API server.
    pub master: Option<String>,
    /// The file that says how the API server is reached, and who asks.
    pub kubeconfig: Option<PathBuf>,
    /// The zones that have names of the specification, and reverse zones; those of `-domain` if there are none.
    pub domains: Vec<Name>,
    /// The zones that have names of several clusters.
    pub multicluster: Vec<Name>,
    /// TTL of all names, in seconds.
    pub ttl: Option<u32>,
    /// Of which services endpoints are watched.
    pub endpoints: KubernetesEndpoints,
    /// Which pods have names.
    pub pods: PodNames,
    /// Whether the name of a pod is the label of an endpoint without a host name.
    pub endpoint_pod_names: bool,
    /// Whether a service without an endpoint that is ready has no name.
    pub ignore_empty_services: bool,
    /// Whether topology zones have names.
    pub zonal: bool,
    /// The namespaces that have names; all if there are none here.
    pub namespaces: Vec<String>,
    /// Which namespaces have names, by their labels.
    pub namespace_labels: Option<String>,
    /// Which services have names, by their labels.
    pub labels: Option<String>,
    /// The servers that have the names of the cluster, if no cluster is followed.
    pub forward: Vec<SocketAddr>,
}

impl KubernetesSpec {
    /// Whether the pod that the agent is in says which cluster is followed.
    pub fn is_of_pod(&self) -> bool {
        self.master.is_none() && self.kubeconfig.is_none()
    }

    /// The zones that there are beside those of `-domain`.
    pub(super) fn other_zones(&self) -> impl Iterator<Item = &Name> {
        let all = self.domains.iter().chain(&self.multicluster);
        all.filter(|_| self.is_on)
    }

    /// The zones whose questions go to the servers of the cluster.
    pub(super) fn routes(&self) -> Vec<Route> {
        if self.is_on || self.forward.is_empty() {
            return Vec::new();
        }
        let default = Name::from_labels([b"cluster".as_slice(), b"local"]).into_iter();
        // Reverse zones alone take nothing away.
        let default = default.filter(|_| self.domains.iter().all(is_reverse));
        let zones = default.chain(self.domains.iter().cloned());
        zones.map(|zone| Route { zone, servers: self.forward.clone() }).collect()
    }

    /// The flags of the settings that are others than these.
    pub(super) fn others(&self, after: &Self) -> impl Iterator<Item = &'static str> {
        let is_other = [
            ("kubernetes", self.is_on != after.is_on),
            ("master", self.master != after.master),
            ("kubeconfig", self.kubeconfig != after.kubeconfig),
            ("kubernetes-domain", self.domains != after.domains),
            ("kubernetes-multicluster", self.multicluster != after.multicluster),
            ("kubernetes-ttl", self.ttl != after.ttl),
            ("kubernetes-endpoints", self.endpoints != after.endpoints),
            ("kubernetes-pods", self.pods != after.pods),
            ("kubernetes-endpoint-pod-names", self.endpoint_pod_names != after.endpoint_pod_names),
            ("kubernetes-ignore-empty-services", self.ignore_empty_services != after.ignore_empty_services),
            ("kubernetes-zonal", self.zonal != after.zonal),
            ("kubernetes-namespaces", self.namespaces != after.namespaces),
            ("kubernetes-namespace-labels", self.namespace_labels != after.namespace_labels),
            ("kubernetes-labels", self.labels != after.labels),
            ("kubernetes-forward", self.forward != after.forward),
        ];
        is_other.into_iter().filter(|(_, is_other)| *is_other).map(|(flag, _)| flag)
    }

    /// Of which services endpoints have to be watched.
    pub fn watched_endpoints(&self) -> KubernetesEndpoints {
        match self.endpoints {
            // Without the endpoints all services would be empty.
            _ if self.ignore_empty_services => KubernetesEndpoints::All,
            endpoints => endpoints,
        }
    }
}

impl Spec {
    /// A zone that has the names of several clusters, and not those of one that it is given as well.
    pub(super) fn named_for_two_scopes(&self) -> Option<&Name> {
        let KubernetesSpec { is_on, domains, multicluster, .. } = &self.kubernetes;
        let of_domain = std::iter::once(&self.domain).chain(&self.other_domains);
        let of_domain = of_domain.filter(|_| domains.iter().all(is_reverse));
        of_domain.chain(domains).find(|domain| *is_on && multicluster.contains(domain))
    }

    /// Gives a zone the names of the cluster that the settings give it.
    pub(super) fn name_cluster(&self, zone: &mut Zone) {
        let of = &self.kubernetes;
        let is_in = |zones: &[Name]| zones.contains(zone.domain());
        let names = match &of.domains[..] {
            _ if !of.is_on || zone.is_reverse() || zone.is_root() => None,
            _ if is_in(&of.multicluster) => Some((Scope::ClusterSet, false, DEFAULT_TTL)),
            // Reverse zones alone take no names away from those of -domain.
            domains if domains.iter().all(is_reverse) => Some((Scope::Cluster, true, DEFAULT_TTL_OF_DOMAIN)),
            domains if is_in(domains) => Some((Scope::Cluster, false, DEFAULT_TTL)),
            _ => None,
        };
        let is_own = is_in(&of.domains) || is_in(&of.multicluster);
        if of.is_on && is_own {
            // Names of a cluster are exact, and its zones have nothing else.
            let ttl = of.ttl.unwrap_or(DEFAULT_TTL);
            (zone.ttl, zone.min_ttl) = (ttl, ttl);
            if self.zone(zone.domain()).mode.is_none() {
                zone.mode = Mode::Exact;
            }
        }
        zone.cluster = names.map(|(scope, has_short_names, default_ttl)| ClusterNames {
            scope,
            has_short_names,
            pods: of.pods,
            hides_empty: of.ignore_empty_services,
            has_zonal: of.zonal,
            ttl: of.ttl.unwrap_or(default_ttl),
        });
    }
}

impl Spec {
    /// Makes this agent, at the addresses at which it is asked, the name server of the zones of the cluster, by its name in the first
    /// of them.
    pub(super) fn serve_cluster(&self, zones: &mut Zones, addresses: &[IpAddr]) {
        let is_forward = |zone: &&Zone| zone.cluster.is_some_and(|names| names.scope == Scope::Cluster);
        let Some(name) = zones.iter().find(is_forward).map(|zone| zone.ns_name().clone()) else { return };
        let others = &self.kubernetes;
        let server = OwnServer { name, addresses: addresses.to_vec() };
        for zone in zones.iter_mut().filter(|_| !addresses.is_empty()) {
            let is_of_cluster = zone.cluster.is_some() || others.domains.contains(zone.domain());
            zone.server = is_of_cluster.then(|| server.clone());
        }
    }
}

fn is_reverse(zone: &Name) -> bool {
    Zone::new(zone).is_reverse()
}

/// The URL of an API server, with a scheme and without a slash at the end.
///
/// # Errors
/// The text is no URL of http or https, or has a user name.
pub(super) fn master(text: &str) -> Result<String, SettingError> {
    let bad = || SettingError::ApiServer(text.to_owned());
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = url.trim_end_matches('/').to_owned();
    let parsed: hyper::Uri = url.parse().map_err(|_| bad())?;
    let is_known = matches!(parsed.scheme_str(), Some("http" | "https"));
    let is_plain = parsed.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let has_host = parsed.host().is_some_and(|host| !host.is_empty());
    if is_known && is_plain && has_host && parsed.query().is_none() { Ok(url) } else { Err(bad()) }
}

/// Whether a text can be the name of a namespace: a label in lower case (RFC 1123 §2.1).
pub(super) fn is_namespace(text: &str) -> bool {
    text.len() <= 63 && is_label(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::input::SettingInput;
    use crate::config::origin::SettingOrigin;
    use crate::config::settings::KUBERNETES_SETTINGS;

    #[test]
    fn masters_are_urls() {
        let of = |text| master(text).ok();
        assert_eq!(of("http://127.0.0.1:8080").as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(of("127.0.0.1:8080/").as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(of("https://rancher.example/k8s/c/").as_deref(), Some("https://rancher.example/k8s/c"));
        for wrong in ["ftp://x", "http://", "http://me:secret@x", "a b", "", "http://x/?a=b"] {
            assert!(of(wrong).is_none(), "{wrong}");
        }
    }
    #[test]
    fn namespaces_are_labels_in_lower_case() {
        assert!(["shop", "kube-system", "7"].into_iter().all(is_namespace));
        assert!(!["", "Shop", "a.b", "-a", "a-", "a_b", &"a".repeat(64)].into_iter().any(is_namespace));
    }

    #[test]
    fn each_setting_is_one_that_sources_depend_on() {
        for setting in KUBERNETES_SETTINGS {
            let mut spec = Spec::default();
            let input = SettingInput::Text(setting.example);
            (setting.set)(&mut spec, input, &SettingOrigin::Default).expect(setting.name);
            assert_eq!(Spec::default().other_sources(&spec), [setting.name]);
        }
    }
}
