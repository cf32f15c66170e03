//! A Kubernetes API server for the tests, and the objects of `tests/kubernetes/`.
#![allow(dead_code, unreachable_pub)]

pub mod asked;
pub mod cases;
pub mod server;

use cases::{CaseObject, CaseTarget};
use serde_json::{Value, json};

/// An object as an API server has it, without a version.
pub fn object(case: &CaseObject) -> Value {
    let (ports, metadata) =
        (ports(case), json!({"name": case.name, "namespace": case.namespace, "uid": uid(case)}));
    let labels = |pairs: &[(&str, &str)]| {
        let mut metadata = metadata.clone();
        metadata["labels"] = pairs.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        metadata
    };
    match case.kind {
        "namespace" => {
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": case.name, "uid": uid(case)}})
        }
        "service" => {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec(case, &ports)})
        }
        "slice" => {
            let headless: &[(&str, &str)] =
                if is_headless(case) { &[("service.kubernetes.io/headless", "")] } else { &[] };
            let own = [("kubernetes.io/service-name", case.service)];
            slice(case, &labels(&[&own, headless].concat()), &ports)
        }
        "import" => {
            let (kind, ips) = match &case.target {
                CaseTarget::Addresses(all) => ("ClusterSetIP", json!(all)),
                _ => ("Headless", Value::Null),
            };
            json!({"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport", "metadata": metadata,
                   "spec": {"type": kind, "ips": ips, "ports": ports}})
        }
        "import-slice" => {
            let own = [
                ("multicluster.kubernetes.io/service-name", case.service),
                ("multicluster.kubernetes.io/source-cluster", case.cluster.unwrap_or_default()),
            ];
            slice(case, &labels(&own), &ports)
        }
        "pod" => {
            let CaseTarget::Addresses(all) = &case.target else { panic!("a pod without addresses") };
            let ips: Vec<_> = all.iter().map(|ip| json!({"ip": ip})).collect();
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
                   "spec": {"containers": [{"name": "c", "image": "c"}]}, "status": {"phase": "Running", "podIPs": ips}})
        }
        kind => panic!("{kind}"),
    }
}

/// Whether the service of a slice is headless, or is none.
fn is_headless(slice: &CaseObject) -> bool {
    let of_slice = |case: &&CaseObject| {
        case.kind == "service" && (case.namespace, case.name) == (slice.namespace, slice.service)
    };
    cases::objects().iter().find(of_slice).is_none_or(|service| service.target == CaseTarget::Headless)
}

fn uid(case: &CaseObject) -> String {
    format!("{}-{}-{}", case.kind, case.namespace, case.name)
}

fn ports(case: &CaseObject) -> Value {
    let port = |port: &cases::CasePort| {
        let mut value = json!({"protocol": port.protocol.to_uppercase(), "port": port.number});
        if !port.name.is_empty() {
            value["name"] = json!(port.name);
        }
        value
    };
    if case.ports.is_empty() { Value::Null } else { case.ports.iter().map(port).collect() }
}

fn spec(case: &CaseObject, ports: &Value) -> Value {
    match &case.target {
        CaseTarget::Headless => {
            json!({"clusterIP": "None", "clusterIPs": ["None"], "type": "ClusterIP", "ports": ports})
        }
        CaseTarget::Alias(name) => {
            json!({"type": "ExternalName", "externalName": name.trim_end_matches('.')})
        }
        CaseTarget::Addresses(all) => {
            json!({"clusterIP": all[0], "clusterIPs": all, "type": "ClusterIP", "ports": ports})
        }
    }
}

fn slice(case: &CaseObject, metadata: &Value, ports: &Value) -> Value {
    let endpoint = |endpoint: &cases::CaseEndpoint| {
        let mut value = json!({"addresses": [endpoint.address], "conditions": {"ready": endpoint.is_ready}});
        if let Some(hostname) = endpoint.hostname {
            value["hostname"] = json!(hostname);
        }
        if let Some(zone) = endpoint.zone {
            value["zone"] = json!(zone);
        }
        value
    };
    let is_v6 = case.endpoints.iter().any(|endpoint| endpoint.address.contains(':'));
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "ports": ports,
           "addressType": if is_v6 { "IPv6" } else { "IPv4" },
           "endpoints": case.endpoints.iter().map(endpoint).collect::<Vec<_>>()})
}
