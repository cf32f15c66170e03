//! Settings of Kubernetes.

use super::{DefaultValue, Setting, TakesEffect, non_empty, path};
use crate::answer::PodNames;
use crate::config::domains;
use crate::config::input::{SettingError, SettingInput};
use crate::config::kubernetes::{KubernetesEndpoints, is_namespace, master};
use crate::config::selector::is_selector;

/// Greatest TTL, in seconds, as CoreDNS has it: what is gone is served by others for as long.
const MAX_TTL: i64 = 3_600;

pub(in crate::config) const KUBERNETES_SETTINGS: &[Setting] = &[
    Setting {
        name: "kubernetes",
        variables: &["SKYDNS_KUBERNETES"],
        keys: &[],
        takes: None,
        summary: "serve the services of a Kubernetes cluster",
        details: "The agent lists and watches services, the endpoints of headless ones, and namespaces at the API server, and answers \
                  from memory. Names are those of Kubernetes' DNS specification (`<service>.<namespace>.svc.<domain>`), and beside \
                  them in the domains of `-domain` those of SkyDNS (`<service>.<namespace>.<domain>`, and `<service>.<domain>` for \
                  the namespace `default`). With this flag, etcd is a source only if `-machines` or `-discover` is set.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.kubernetes.is_on = value),
    },
    Setting {
        name: "master",
        variables: &["SKYDNS_KUBERNETES_MASTER"],
        keys: &[],
        takes: Some("URL"),
        summary: "URL of the Kubernetes API server",
        details: "Without `-kubeconfig` the agent does not say who asks: that is for a server that lets everybody read, and for \
                  `kubectl proxy`. With neither, the agent uses the service account of the pod that it runs in.",
        default: DefaultValue::Unset("that of `-kubeconfig`, or of the pod"),
        example: "http://127.0.0.1:8080",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            let text = input.text()?;
            spec.kubernetes.master = non_empty(text).map(|text| master(&text)).transpose()?;
            Ok(())
        },
    },
    Setting {
        name: "kubeconfig",
        variables: &["SKYDNS_KUBERNETES_KUBECONFIG"],
        keys: &[],
        takes: Some("FILE"),
        summary: "how the API server is reached, and who asks",
        details: "The current context of the file counts. Client certificates, tokens and files of tokens can be used; programs that \
                  print a token (`exec`) cannot, and certificates are always verified. The file, and those that it names, are read \
                  for each connection. A file name without a slash is first looked for in `/etc/skydns/keys`; see Private files in \
                  skydns(5).",
        default: DefaultValue::Unset("none"),
        example: "kubeconfig",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.text().map(|text| spec.kubernetes.kubeconfig = path(text)),
    },
    Setting {
        name: "kubernetes-domain",
        variables: &["SKYDNS_KUBERNETES_DOMAIN"],
        keys: &[],
        takes: Some("NAME,…"),
        summary: "domains of the cluster, beside those of `-domain`",
        details: "They have the names of the specification; the domains of `-domain` then have no names of Kubernetes. An item may be a prefix of addresses, such as \
                  `10.96.0.0/16`, or a reverse zone: there addresses without a name are denied, and not forwarded. With \
                  `-kubernetes-forward` the default is `cluster.local`.",
        default: DefaultValue::Unset("the domains of `-domain`"),
        example: "cluster.local",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.kubernetes.domains = domains::zones(&input.list()?)?;
            Ok(())
        },
    },
    Setting {
        name: "kubernetes-ttl",
        variables: &["SKYDNS_KUBERNETES_TTL"],
        keys: &[],
        takes: Some("SECONDS"),
        summary: "TTL of the names of Kubernetes",
        details: "In the domains of `-kubernetes-domain` it is that of all records, denials too; `dns-version` always has 28800.",
        default: DefaultValue::Unset("5; 30 in the domains of `-domain`"),
        example: "5",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            let is_unset = input.text().is_ok_and(str::is_empty);
            let ttl = (!is_unset).then(|| input.integer(0, MAX_TTL)).transpose()?;
            spec.kubernetes.ttl = ttl.and_then(|ttl| u32::try_from(ttl).ok());
            Ok(())
        },
    },
    Setting {
        name: "kubernetes-endpoints",
        variables: &["SKYDNS_KUBERNETES_ENDPOINTS"],
        keys: &[],
        takes: Some("WHICH"),
        summary: "whose endpoints have names: `headless`, `all` or `none`",
        details: "`headless`: those of headless services, which is what the specification asks for. `all`: those of other services as \
                  well, which costs memory, and work at the API server. `none`: headless services have no names at all.",
        default: DefaultValue::Value("headless"),
        example: "all",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.kubernetes.endpoints = match input.text()? {
                "headless" => KubernetesEndpoints::Headless,
                "all" => KubernetesEndpoints::All,
                "none" => KubernetesEndpoints::None,
                found => return Err(choice(found, "headless, all or none")),
            };
            Ok(())
        },
    },
    Setting {
        name: "kubernetes-pods",
        variables: &["SKYDNS_KUBERNETES_PODS"],
        keys: &[],
        takes: Some("WHICH"),
        summary: "which pods have names: `disabled`, `insecure` or `verified`",
        details: "`insecure`: `10-0-0-1.<namespace>.pod.<domain>` is 10.0.0.1, whether there is such a pod or not. `verified`: only if a \
                  pod of the namespace has the address; all pods are watched for that.",
        default: DefaultValue::Value("disabled"),
        example: "verified",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.kubernetes.pods = match input.text()? {
                "disabled" => PodNames::Disabled,
                "insecure" => PodNames::Insecure,
                "verified" => PodNames::Verified,
                found => return Err(choice(found, "disabled, insecure or verified")),
            };
            Ok(())
        },
    },
    Setting {
        name: "kubernetes-endpoint-pod-names",
        variables: &["SKYDNS_KUBERNETES_ENDPOINT_POD_NAMES"],
        keys: &[],
        takes: None,
        summary: "name an endpoint without a host name by its pod",
        details: "Without this switch it is named by its address, with dashes.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.kubernetes.endpoint_pod_names = value),
    },
    Setting {
        name: "kubernetes-ignore-empty-services",
        variables: &["SKYDNS_KUBERNETES_IGNORE_EMPTY_SERVICES"],
        keys: &[],
        takes: None,
        summary: "deny services without an endpoint that is ready",
        details: "The endpoints of all services are watched for that.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.kubernetes.ignore_empty_services = value),
    },
    Setting {
        name: "kubernetes-namespaces",
        variables: &["SKYDNS_KUBERNETES_NAMESPACES"],
        keys: &[],
        takes: Some("NAME,…"),
        summary: "the namespaces that have names",
        details: "",
        default: DefaultValue::Unset("all"),
        example: "shop,kube-system",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            let names = input.list()?;
            match names.iter().find(|name| !is_namespace(name)) {
                Some(wrong) => Err(choice(wrong, "the name of a namespace, such as kube-system")),
                None => {
                    spec.kubernetes.namespaces = names.into_iter().map(str::to_owned).collect();
                    Ok(())
                }
            }
        },
    },
    Setting {
        name: "kubernetes-namespace-labels",
        variables: &["SKYDNS_KUBERNETES_NAMESPACE_LABELS"],
        keys: &[],
        takes: Some("SELECTOR"),
        summary: "the namespaces that have names, by their labels",
        details: "A selector as `kubectl -l` takes it.",
        default: DefaultValue::Unset("all"),
        example: "team=shop",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| selector(input).map(|text| spec.kubernetes.namespace_labels = text),
    },
    Setting {
        name: "kubernetes-labels",
        variables: &["SKYDNS_KUBERNETES_LABELS"],
        keys: &[],
        takes: Some("SELECTOR"),
        summary: "the services that have names, by their labels",
        details: "A selector as `kubectl -l` takes it.",
        default: DefaultValue::Unset("all"),
        example: "visibility!=internal",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| selector(input).map(|text| spec.kubernetes.labels = text),
    },
    Setting {
        name: "kubernetes-zonal",
        variables: &["SKYDNS_KUBERNETES_ZONAL"],
        keys: &[],
        takes: None,
        summary: "names for the endpoints of a headless service in one topology zone",
        details: "`<zone>.pin._zone.<service>.<namespace>.svc.<domain>` has the endpoints in the zone, and \
                  `<zone>.prefer._zone.…` all endpoints if none is in the zone.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.kubernetes.zonal = value),
    },
    Setting {
        name: "kubernetes-multicluster",
        variables: &["SKYDNS_KUBERNETES_MULTICLUSTER"],
        keys: &[],
        takes: Some("NAME,…"),
        summary: "domains of a set of clusters (ServiceImports)",
        details: "The objects are those of the Multi-Cluster Services API (`multicluster.x-k8s.io/v1alpha1`).",
        default: DefaultValue::Unset("none"),
        example: "clusterset.local",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.kubernetes.multicluster = domains::zones(&input.list()?)?;
            Ok(())
        },
    },
    Setting {
        name: "kubernetes-forward",
        variables: &["SKYDNS_KUBERNETES_FORWARD"],
        keys: &[],
        takes: Some("IP[:PORT],…"),
        summary: "ask the DNS servers of the cluster in the place of following it",
        details: "For clusters that do not want a watch from each node: questions for names in the domains of `-kubernetes-domain` \
                  (`cluster.local` without it) go to these servers, such as the address of the service `kube-dns`, over TCP connections \
                  that are kept. Answers are cached; while no server answers, those that were known are given, denials too. etcd is \
                  looked for, and not needed unless a setting names it. With `-kubernetes` this \
                  does nothing. The port is 53.",
        default: DefaultValue::Unset("none"),
        example: "10.96.0.10",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.kubernetes.forward = input.addresses(Some(53))?;
            Ok(())
        },
    },
];

fn selector(input: SettingInput<'_>) -> Result<Option<String>, SettingError> {
    let text = input.text()?;
    match text.is_empty() || is_selector(text) {
        true => Ok(non_empty(text)),
        false => Err(choice(text, "a label selector, such as app=shop,tier in (a, b)")),
    }
}

fn choice(found: &str, expected: &'static str) -> SettingError {
    SettingError::Choice { found: found.to_owned(), expected }
}
