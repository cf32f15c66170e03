//! Objects as the server writes them in JSON, cut down to what names are made of.
//!
//! What is not named here is passed over.

use super::settings::Watched;
use crate::service::Host;
use crate::tree::{
    ClusterService, Endpoint, Object, ObjectId, ObjectKind, Port, Protocol, ServiceTarget, Slice,
};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What the JSON of an object is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// Its id; `None` if it is none of those that are wanted.
    pub(super) id: Option<ObjectId>,
    /// The version of the store in which it is so.
    pub(super) version: Box<str>,
    /// The object; none if it gives no name, for this reason if it is worth telling.
    pub(super) object: Result<Object, Option<String>>,
}

/// A text that is borrowed where it has no escapes, also within a list.
#[derive(Clone, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// The number of octets that a label has at most (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// An object as its JSON has it.
#[derive(Deserialize)]
pub(super) struct RawObject<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
    #[serde(default, borrow)]
    spec: Option<Spec<'a>>,
    #[serde(default, borrow)]
    status: Option<Status<'a>>,
    #[serde(default, borrow)]
    endpoints: Option<Vec<RawEndpoint<'a>>>,
    #[serde(default, borrow)]
    ports: Option<Vec<RawPort<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(default, borrow)]
    name: Cow<'a, str>,
    #[serde(default, borrow)]
    namespace: Cow<'a, str>,
    #[serde(default, borrow)]
    resource_version: Cow<'a, str>,
    #[serde(default, borrow)]
    labels: Option<Labels<'a>>,
    #[serde(default, borrow)]
    annotations: Option<Annotations<'a>>,
}

#[derive(Deserialize)]
struct Annotations<'a> {
    /// `true` at the bookmark that ends the objects of a list which comes as a watch.
    #[serde(rename = "k8s.io/initial-events-end", borrow, default)]
    ends_list: Option<Cow<'a, str>>,
}

/// The labels that say whose endpoints a slice has.
#[derive(Default)]
struct Labels<'a> {
    service: Option<Cow<'a, str>>,
    import: Option<Cow<'a, str>>,
    cluster: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(default, rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(default, rename = "clusterIP", borrow)]
    cluster_ip: Option<Cow<'a, str>>,
    #[serde(default, rename = "clusterIPs", borrow)]
    cluster_ips: Option<Vec<Text<'a>>>,
    #[serde(default, borrow)]
    external_name: Option<Cow<'a, str>>,
    /// The addresses of a ServiceImport.
    #[serde(default, borrow)]
    ips: Option<Vec<Text<'a>>>,
    #[serde(default, borrow)]
    ports: Option<Vec<RawPort<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(default, rename = "podIPs", borrow)]
    pod_ips: Option<Vec<PodIp<'a>>>,
}

#[derive(Deserialize)]
struct PodIp<'a> {
    #[serde(default, borrow)]
    ip: Cow<'a, str>,
}

#[derive(Deserialize)]
struct RawPort<'a> {
    #[serde(default, borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    protocol: Option<Cow<'a, str>>,
    #[serde(default)]
    port: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEndpoint<'a> {
    #[serde(default, borrow)]
    addresses: Option<Vec<Text<'a>>>,
    #[serde(default)]
    conditions: Option<Conditions>,
    #[serde(default, borrow)]
    hostname: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    zone: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    target_ref: Option<TargetRef<'a>>,
}

#[derive(Deserialize)]
struct Conditions {
    #[serde(default)]
    ready: Option<bool>,
}

#[derive(Deserialize)]
struct TargetRef<'a> {
    #[serde(default, borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    name: Option<Cow<'a, str>>,
}

/// Reads an object of a kind.
///
/// # Errors
/// The text is no object of the kind: something else than an API server has written it.
pub(super) fn decode(kind: ObjectKind, json: &str, watched: &Watched) -> Result<Decoded, serde_json::Error> {
    serde_json::from_str::<RawObject<'_>>(json).map(|raw| raw.decode(kind, watched))
}

impl RawObject<'_> {
    /// What it is as an object of a kind.
    pub(super) fn decode(&self, kind: ObjectKind, watched: &Watched) -> Decoded {
        let Metadata { name, namespace, resource_version, .. } = &self.metadata;
        let namespace = if kind == ObjectKind::Namespace { name } else { namespace };
        let version = (**resource_version).into();
        if !watched.has_namespace(namespace) {
            return Decoded { id: None, version, object: Err(None) };
        }
        let id = ObjectId { kind, namespace: (**namespace).into(), name: (**name).into() };
        let object = match kind {
            _ if !is_label(namespace) => Err(Some("its namespace is no label of a name".to_owned())),
            ObjectKind::Namespace => Ok(Object::Namespace),
            ObjectKind::Service | ObjectKind::Import if !is_label(name) => {
                Err(Some("it is no label of a name".to_owned()))
            }
            ObjectKind::Service => service(self.spec.as_ref()),
            ObjectKind::Import => import(self.spec.as_ref()),
            ObjectKind::Slice | ObjectKind::ImportSlice => slice(self, kind, watched),
            ObjectKind::Pod => {
                let addresses = self.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
                let addresses: Arc<[_]> = addresses.filter_map(|one| one.ip.parse().ok()).collect();
                if addresses.is_empty() { Err(None) } else { Ok(Object::Pod(addresses)) }
            }
        };
        Decoded { id: Some(id), version, object }
    }

    /// Whether it is the bookmark that ends the objects of a list which comes as a watch.
    pub(super) fn ends_list(&self) -> bool {
        let annotations = self.metadata.annotations.as_ref();
        annotations.and_then(|annotations| annotations.ends_list.as_deref()) == Some("true")
    }
}

/// Whether a text is one label, in lower case: what the server allows is one.
fn is_label(text: &str) -> bool {
    let is_allowed = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
    (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(is_allowed)
}

fn service(spec: Option<&Spec<'_>>) -> Result<Object, Option<String>> {
    let spec = spec.ok_or(None)?;
    if spec.kind.as_deref() == Some("ExternalName") {
        let text = spec.external_name.as_deref().unwrap_or_default();
        let reason = match Host::parse(text) {
            Ok(Host::Name(name)) if !name.is_root() => {
                return Ok(Object::Service(Arc::new(ClusterService {
                    target: ServiceTarget::Alias(*name),
                    ports: Box::new([]),
                })));
            }
            Ok(Host::V4(_) | Host::V6(_)) => "it is an address, which no CNAME leads to".to_owned(),
            Ok(_) => "it is empty".to_owned(),
            Err(error) => error.to_string(),
        };
        let text = crate::shown::quoted(text);
        return Err(Some(format!("externalName \"{text}\" is no name of a host: {reason}")));
    }
    let single: Vec<_> = spec.cluster_ip.clone().into_iter().map(Text).collect();
    let addresses = spec.cluster_ips.as_ref().filter(|all| !all.is_empty()).unwrap_or(&single);
    if addresses.iter().any(|Text(address)| address == "None") {
        return Ok(with_ports(ServiceTarget::Endpoints, spec));
    }
    let addresses: Box<[IpAddr]> = addresses.iter().filter_map(|Text(text)| text.parse().ok()).collect();
    // It has none yet.
    if addresses.is_empty() { Err(None) } else { Ok(with_ports(ServiceTarget::Addresses(addresses), spec)) }
}

fn import(spec: Option<&Spec<'_>>) -> Result<Object, Option<String>> {
    let spec = spec.ok_or(None)?;
    if spec.kind.as_deref() == Some("Headless") {
        return Ok(with_ports(ServiceTarget::Endpoints, spec));
    }
    let addresses: Box<[IpAddr]> =
        spec.ips.iter().flatten().filter_map(|Text(text)| text.parse().ok()).collect();
    if addresses.is_empty() { Err(None) } else { Ok(with_ports(ServiceTarget::Addresses(addresses), spec)) }
}

fn with_ports(target: ServiceTarget, spec: &Spec<'_>) -> Object {
    let ports = spec.ports.iter().flatten().filter_map(port).collect();
    Object::Service(Arc::new(ClusterService { target, ports }))
}

/// A port; none if it stands for all ports, or its protocol has no name.
fn port(raw: &RawPort<'_>) -> Option<Port> {
    let protocol = match raw.protocol.as_deref() {
        None | Some("TCP" | "") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(_) => return None,
    };
    let number = raw.port.and_then(|port| u16::try_from(port).ok())?;
    let name = raw.name.as_deref().unwrap_or_default().to_ascii_lowercase();
    Some(Port { name: name.into(), protocol, number })
}

fn slice(raw: &RawObject<'_>, kind: ObjectKind, watched: &Watched) -> Result<Object, Option<String>> {
    let labels = raw.metadata.labels.as_ref().ok_or(None)?;
    let (service, cluster) = match kind {
        ObjectKind::ImportSlice => (labels.import.as_deref(), labels.cluster.as_deref().map(Into::into)),
        _ => (labels.service.as_deref(), None),
    };
    let service = service.filter(|service| is_label(service)).ok_or(None)?;
    let is_ready = |endpoint: &&RawEndpoint<'_>| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    };
    let ready = raw.endpoints.iter().flatten().filter(is_ready);
    let endpoints = ready.flat_map(|raw| endpoints(raw, watched)).collect();
    let ports = raw.ports.iter().flatten().filter_map(port).collect();
    Ok(Object::Slice(Arc::new(Slice { service: service.into(), cluster, ports, endpoints })))
}

/// The endpoints of one entry of a slice: one for each address.
fn endpoints<'r>(raw: &'r RawEndpoint<'_>, watched: &Watched) -> impl Iterator<Item = Endpoint> + use<'r> {
    let of_pod = raw.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    let pod_name = of_pod.and_then(|target| target.name.as_deref()).filter(|_| watched.pod_names);
    let hostname = raw.hostname.as_deref().filter(|hostname| !hostname.is_empty()).or(pod_name);
    let hostname = hostname.map(str::to_ascii_lowercase).filter(|hostname| is_label(hostname));
    let zone: Option<Arc<str>> = raw.zone.as_deref().filter(|_| watched.zones).map(Into::into);
    raw.addresses.iter().flatten().filter_map(|Text(text)| text.parse().ok()).map(move |address| Endpoint {
        address,
        hostname: hostname.as_deref().map(Into::into),
        zone: zone.clone(),
    })
}

impl<'de: 'a, 'a> Deserialize<'de> for Labels<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OwnLabels;

        impl<'de> Visitor<'de> for OwnLabels {
            type Value = Labels<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut labels = Labels::default();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    let label = match &*key.0 {
                        "kubernetes.io/service-name" => &mut labels.service,
                        "multicluster.kubernetes.io/service-name" => &mut labels.import,
                        "multicluster.kubernetes.io/source-cluster" => &mut labels.cluster,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    *label = Some(map.next_value::<Text<'de>>()?.0);
                }
                Ok(labels)
            }
        }

        deserializer.deserialize_map(OwnLabels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(kind: ObjectKind, json: &str) -> Decoded {
        decode(kind, json, &Watched::default()).expect(json)
    }

    fn target(spec: &str) -> Result<ServiceTarget, Option<String>> {
        let json = format!(r#"{{"metadata":{{"name":"web","namespace":"shop"}},"spec":{spec}}}"#);
        let object = decoded(ObjectKind::Service, &json).object?;
        Ok(object.into_service().expect("a service").target.clone())
    }

    #[test]
    fn services_lead_to_addresses_endpoints_or_names() {
        let addresses = |all: &[&str]| {
            Ok(ServiceTarget::Addresses(all.iter().map(|one| one.parse().expect("an address")).collect()))
        };
        assert_eq!(target(r#"{"clusterIP":"10.96.0.1"}"#), addresses(&["10.96.0.1"]));
        assert_eq!(
            target(r#"{"type":"LoadBalancer","clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1","fd00::1"]}"#),
            addresses(&["10.96.0.1", "fd00::1"])
        );
        assert_eq!(target(r#"{"clusterIP":"None","clusterIPs":["None"]}"#), Ok(ServiceTarget::Endpoints));
        assert!(matches!(
            target(r#"{"type":"ExternalName","externalName":"www.example.org"}"#),
            Ok(ServiceTarget::Alias(name)) if name.to_ascii() == "www.example.org."
        ));
        for unassigned in [r#"{"clusterIP":""}"#, "{}", r#"{"clusterIPs":null}"#, "null"] {
            assert_eq!(target(unassigned), Err(None), "{unassigned}");
        }
        for (wrong, reason) in [
            (r#"{"type":"ExternalName","externalName":"192.0.2.1"}"#, "it is an address"),
            (r#"{"type":"ExternalName"}"#, "it is empty"),
            (r#"{"type":"ExternalName","externalName":"a b"}"#, "it has a blank"),
        ] {
            let error = target(wrong).expect_err(wrong).expect("a reason");
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn ports_have_names_protocols_and_numbers() {
        let json = r#"{"metadata":{"name":"web","namespace":"shop"},"spec":{"clusterIP":"10.0.0.1","ports":[
            {"name":"http","protocol":"TCP","port":80},{"port":53,"protocol":"UDP"},{"name":"s","protocol":"SCTP","port":9},
            {"name":"all","port":null},{"name":"odd","protocol":"DCCP","port":1},{"name":"large","port":65536}]}}"#;
        let service = decoded(ObjectKind::Service, json).object.ok().and_then(Object::into_service);
        let ports: Vec<_> = service.iter().flat_map(|service| &service.ports).collect();
        let shown: Vec<_> = ports.iter().map(|p| (&*p.name, p.protocol, p.number)).collect();
        assert_eq!(shown, [("http", Protocol::Tcp, 80), ("", Protocol::Udp, 53), ("s", Protocol::Sctp, 9)]);
    }

    #[test]
    fn slices_have_those_endpoints_that_are_ready() {
        let json = r#"{"metadata":{"name":"db.x","namespace":"shop","resourceVersion":"7","managedFields":[{"a":1}],
            "labels":{"kubernetes.io/service-name":"db","service.kubernetes.io/headless":""}},"addressType":"IPv4",
            "ports":[{"name":"sql","port":5432,"protocol":"TCP"}],"endpoints":[
            {"addresses":["10.0.0.1"],"hostname":"DB-0","conditions":{"ready":true},"zone":"eu-1"},
            {"addresses":["10.0.0.2"],"conditions":{}},{"addresses":["10.0.0.3"],"conditions":{"ready":false}},
            {"addresses":["10.0.0.4","10.0.0.5"],"targetRef":{"kind":"Pod","name":"db-4"}},{"addresses":null},{}]}"#;
        let labels = |watched: &Watched| {
            let decoded = decode(ObjectKind::Slice, json, watched).expect("a slice");
            assert_eq!(&*decoded.version, "7");
            let slice = decoded.object.ok().and_then(Object::into_slice).expect("a slice");
            assert_eq!(&*slice.service, "db");
            let label = |endpoint: &Endpoint| {
                format!("{}@{}", endpoint.label(), endpoint.zone.as_deref().unwrap_or(""))
            };
            slice.endpoints.iter().map(label).collect::<Vec<_>>()
        };
        assert_eq!(labels(&Watched::default()), ["db-0@", "10-0-0-2@", "10-0-0-4@", "10-0-0-5@"]);
        let more = Watched { pod_names: true, zones: true, ..Watched::default() };
        assert_eq!(labels(&more), ["db-0@eu-1", "10-0-0-2@", "db-4@", "db-4@"]);
    }

    #[test]
    fn empty_lists_are_null_as_the_server_writes_them() {
        let json = r#"{"metadata":{"resourceVersion":"9"},"addressType":"","endpoints":null,"ports":null}"#;
        let bookmark = decoded(ObjectKind::Slice, json);
        assert_eq!(
            (&*bookmark.version, bookmark.object),
            ("9", Err(Some("its namespace is no label of a name".into())))
        );
        assert!(decode(ObjectKind::Slice, r#"{"metadata":7}"#, &Watched::default()).is_err());
    }

    #[test]
    fn objects_of_other_namespaces_and_without_a_name_are_left_out() {
        let watched = Watched { namespaces: vec!["shop".to_owned()], ..Watched::default() };
        let id =
            |kind, json: &str| decode(kind, json, &watched).expect(json).id.map(|id| id.name.to_string());
        assert_eq!(id(ObjectKind::Namespace, r#"{"metadata":{"name":"shop"}}"#).as_deref(), Some("shop"));
        assert_eq!(id(ObjectKind::Namespace, r#"{"metadata":{"name":"other"}}"#), None);
        assert_eq!(id(ObjectKind::Service, r#"{"metadata":{"name":"web","namespace":"other"}}"#), None);
        let long = format!(r#"{{"metadata":{{"name":"{}","namespace":"shop"}}}}"#, "x".repeat(64));
        assert!(decoded(ObjectKind::Service, &long).object.is_err());
        assert!(decoded(ObjectKind::Namespace, r#"{"metadata":{"name":"A.b"}}"#).object.is_err());
    }

    #[test]
    fn pods_and_imports_have_addresses() {
        let pod = r#"{"metadata":{"name":"a.b","namespace":"shop"},"status":{"podIPs":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}]}}"#;
        let addresses = decoded(ObjectKind::Pod, pod).object.ok().and_then(Object::into_pod);
        assert_eq!(addresses.map(|all| all.len()), Some(2));
        let import = |spec: &str| {
            let json = format!(r#"{{"metadata":{{"name":"web","namespace":"shop"}},"spec":{spec}}}"#);
            decoded(ObjectKind::Import, &json).object.ok().and_then(Object::into_service)
        };
        assert!(import(r#"{"type":"Headless"}"#).is_some_and(|s| s.target == ServiceTarget::Endpoints));
        assert!(import(r#"{"type":"ClusterSetIP","ips":["10.98.0.1"]}"#).is_some());
        assert!(import(r#"{"type":"ClusterSetIP","ips":[]}"#).is_none());
    }
}
