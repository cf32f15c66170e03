//! Which object of a cluster a name means: by version 1.1.0 of Kubernetes' specification "DNS-Based Service Discovery", its
//! extensions by CoreDNS, and SkyDNS's shorter names.

use super::{ClusterNames, PodNames};
use crate::answer::dependencies::Dependencies;
use crate::tree::{
    Cluster, Endpoint, Namespace, Port, Protocol, Scope, ServiceNode, ServiceTarget, Slice, VersionSlot, Work,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::answer) enum Found<D> {
    /// The cluster does not have it.
    Missing,
    /// It exists without data.
    Empty,
    /// It has data, which are made of this.
    Data(D),
}

/// What the data of a name are made of; `'q` is the life of the question.
#[derive(Clone, Debug)]
pub(in crate::answer) enum Data<'t, 'q> {
    /// The version of the specification.
    Version,
    /// An address of a pod.
    Pod(IpAddr),
    /// A service, or a part of it.
    Service(ServiceOf<'t>, Part<'q>),
}

/// A service with its namespace.
#[derive(Clone, Copy, Debug)]
pub(in crate::answer) struct ServiceOf<'t> {
    pub(super) namespace: &'t Namespace,
    pub(super) node: &'t ServiceNode,
}

/// Which part of a service.
#[derive(Clone, Debug)]
pub(in crate::answer) enum Part<'q> {
    /// All of it.
    Whole,
    /// The ports with a name and a protocol.
    Port(&'q [u8], Protocol),
    /// The endpoints with a label, in one of several clusters if the service is of these.
    Host(&'q [u8], Option<&'q [u8]>),
    /// The endpoints in a topology zone.
    Zone(String),
}

/// The label above the names of services, and that of the endpoints in a topology zone.
pub(super) const SVC: &[u8] = b"svc";
const ZONE: &[u8] = b"_zone";

/// The labels below an apex whose names are not those of services, though these may be called so.
const POD: &[u8] = b"pod";
const VERSION: &[u8] = b"dns-version";
const DNS: &[u8] = b"dns";

/// The labels below `dns` of names that SkyDNS gives to a zone itself.
const BELOW_DNS: [&[u8]; 3] = [b"ns", b"local", b"stub"];

/// The namespace of services that have a short name without it.
const DEFAULT: &[u8] = b"default";

/// Looks for the names of one zone in a cluster.
#[derive(Clone, Copy, Debug)]
pub(in crate::answer) struct Finder<'t, 'f> {
    pub(in crate::answer) cluster: &'t Cluster,
    pub(in crate::answer) names: &'f ClusterNames,
    pub(in crate::answer) work: &'f Work,
    /// What was looked at; `None` if that was noted before.
    pub(in crate::answer) dependencies: Option<&'f Dependencies>,
}

impl<'t> Finder<'t, '_> {
    /// What a name is whose labels below the apex, in lower case, these are, that next to the apex first. Nothing follows from
    /// it if the work is spent.
    pub(in crate::answer) fn find<'q>(&self, below: &[&'q [u8]]) -> Found<Data<'t, 'q>> {
        match below {
            [VERSION] => Found::Data(Data::Version),
            [SVC] => Found::Empty,
            [SVC, namespace] => self.namespace(namespace),
            [SVC, namespace, service, part @ ..] => match self.service(namespace, service) {
                Some(service) => self.part(service, part),
                None => Found::Missing,
            },
            [POD, rest @ ..] if self.has_pods() => self.pod(rest),
            [POD, ..] => Found::Missing,
            _ if self.names.has_short_names => self.short(below),
            _ => Found::Missing,
        }
    }

    /// What a name is that is none of the specification's.
    fn short<'q>(&self, below: &[&'q [u8]]) -> Found<Data<'t, 'q>> {
        match below {
            [DNS, name] if gives_way(DNS, name).is_some() => Found::Missing,
            [DNS] => self.namespace(DNS),
            [name] => match self.service(DEFAULT, name) {
                Some(service) => Found::Data(Data::Service(service, Part::Whole)),
                None => self.namespace(name),
            },
            [namespace, name] => match self.service(namespace, name) {
                Some(service) => Found::Data(Data::Service(service, Part::Whole)),
                None => Found::Missing,
            },
            _ => Found::Missing,
        }
    }

    fn has_pods(&self) -> bool {
        self.names.scope == Scope::Cluster && self.names.pods != PodNames::Disabled
    }

    /// What the name of a namespace is.
    fn namespace<D>(&self, name: &[u8]) -> Found<D> {
        if self.existing_namespace(name).is_some() { Found::Empty } else { Found::Missing }
    }

    fn existing_namespace(&self, name: &[u8]) -> Option<&'t Namespace> {
        let _ = self.work.charge(1);
        self.depend_on(|| Cluster::slot_of_namespace(name));
        self.cluster.namespace(name).filter(|namespace| self.cluster.has(namespace))
    }

    fn depend_on(&self, slot: impl FnOnce() -> VersionSlot) {
        if let Some(dependencies) = self.dependencies {
            dependencies.add(slot());
        }
    }

    /// A service that has names.
    fn service(&self, namespace: &[u8], name: &[u8]) -> Option<ServiceOf<'t>> {
        let scope = self.names.scope;
        self.depend_on(|| Cluster::slot_of(scope, namespace, name));
        let namespace = self.existing_namespace(namespace)?;
        let _ = self.work.charge(1);
        let node = namespace.service(scope, name)?;
        self.names.has(node).then_some(ServiceOf { namespace, node })
    }

    /// What a name at or below that of a service is.
    fn part<'q>(&self, service: ServiceOf<'t>, below: &[&'q [u8]]) -> Found<Data<'t, 'q>> {
        let found = |part| Found::Data(Data::Service(service, part));
        match below {
            [] => found(Part::Whole),
            _ if service.is_alias() => Found::Missing,
            [ZONE, zone @ ..] if self.names.has_zonal && service.is_headless() => self.zonal(service, zone),
            [[b'_', protocol @ ..], port @ ..] => self.port(service, protocol, port),
            _ => self.host(service, below),
        }
    }

    /// What a name is that may be that of endpoints: `<endpoint>.<service>`, and `<endpoint>.<cluster>.<service>` of several
    /// clusters.
    fn host<'q>(&self, service: ServiceOf<'t>, below: &[&'q [u8]]) -> Found<Data<'t, 'q>> {
        let (cluster, label) = match (self.names.scope, below) {
            (Scope::Cluster, [label]) => (None, Some(*label)),
            (Scope::ClusterSet, [cluster]) => (Some(*cluster), None),
            (Scope::ClusterSet, [cluster, label]) => (Some(*cluster), Some(*label)),
            _ => return Found::Missing,
        };
        let is_it = |slice: &Slice, endpoint: &Endpoint| {
            slice.is_in(cluster) && label.is_none_or(|label| endpoint.has_label(label))
        };
        match label {
            _ if !self.any_endpoint(service, is_it) => Found::Missing,
            Some(label) => Found::Data(Data::Service(service, Part::Host(label, cluster))),
            None => Found::Empty,
        }
    }

    /// Whether any endpoint of a service is the one that is meant.
    fn any_endpoint(&self, service: ServiceOf<'t>, is_it: impl Fn(&Slice, &Endpoint) -> bool) -> bool {
        let mut endpoints = service.node.endpoints();
        endpoints.any(|(slice, endpoint)| self.work.charge(1).is_continue() && is_it(slice, endpoint))
    }

    /// What a name below that of a service is whose label behind the underscore may be a protocol, and what is below that a
    /// port.
    fn port<'q>(&self, service: ServiceOf<'t>, protocol: &[u8], port: &[&'q [u8]]) -> Found<Data<'t, 'q>> {
        let Some(protocol) = Protocol::of_label(protocol) else { return Found::Missing };
        let mut named = service.ports().filter(|port| port.protocol == protocol && !port.name.is_empty());
        match port {
            [] if named.any(|_| self.work.charge(1).is_continue()) => Found::Empty,
            [[b'_', name @ ..]] => {
                let name: &'q [u8] = name;
                let is_it = |own: &Port| own.name.as_bytes() == name;
                match named.any(|own| self.work.charge(1).is_continue() && is_it(own)) {
                    true => Found::Data(Data::Service(service, Part::Port(name, protocol))),
                    false => Found::Missing,
                }
            }
            _ => Found::Missing,
        }
    }

    /// What a name below `_zone` is: `<topology zone>.pin` has the endpoints of the zone, `<topology zone>.prefer` all of them
    /// if the zone has none.
    fn zonal<'q>(&self, service: ServiceOf<'t>, below: &[&'q [u8]]) -> Found<Data<'t, 'q>> {
        let found = |part| Found::Data(Data::Service(service, part));
        match below {
            [] | [b"pin" | b"prefer"] => Found::Empty,
            [how @ (b"pin" | b"prefer"), zone @ ..] => {
                let labels: Vec<_> = zone.iter().rev().map(|label| String::from_utf8_lossy(label)).collect();
                let zone = labels.join(".");
                match self.any_endpoint(service, |_, endpoint| endpoint.is_in_zone(&zone)) {
                    true => found(Part::Zone(zone)),
                    false if *how == b"prefer" => found(Part::Whole),
                    false => Found::Empty,
                }
            }
            _ => Found::Missing,
        }
    }

    /// What a name at or below `pod` is.
    fn pod<'q>(&self, below: &[&'q [u8]]) -> Found<Data<'t, 'q>> {
        match below {
            [] => Found::Empty,
            [namespace] => self.namespace(namespace),
            [namespace, label] => {
                let Some(address) = address_of_label(label) else { return Found::Missing };
                let is_there = match self.names.pods {
                    PodNames::Disabled => false,
                    PodNames::Insecure => self.existing_namespace(namespace).is_some(),
                    PodNames::Verified => {
                        self.depend_on(|| Cluster::slot_of_pods(namespace));
                        self.existing_namespace(namespace).is_some()
                            && self.cluster.has_pod(namespace, address)
                    }
                };
                if is_there { Found::Data(Data::Pod(address)) } else { Found::Missing }
            }
            _ => Found::Missing,
        }
    }
}

impl<'t> ServiceOf<'t> {
    pub(super) fn target(&self) -> Option<&'t ServiceTarget> {
        self.node.service().map(|service| &service.target)
    }

    pub(super) fn is_alias(&self) -> bool {
        matches!(self.target(), Some(ServiceTarget::Alias(_)))
    }

    pub(super) fn is_headless(&self) -> bool {
        matches!(self.target(), Some(ServiceTarget::Endpoints))
    }

    /// Its ports: those of its endpoints if it is headless, which may listen at others than the service says.
    fn ports(&self) -> impl Iterator<Item = &'t Port> + use<'t> {
        let own = self.node.service().filter(|_| !self.is_headless());
        let with_endpoints = self.node.slices().filter(|slice| !slice.endpoints.is_empty());
        let of_slices = self.is_headless().then(|| with_endpoints.flat_map(|slice| slice.ports.iter()));
        own.into_iter().flat_map(|service| &service.ports).chain(of_slices.into_iter().flatten())
    }
}

/// Why a service does not have its short name; `None` if it has it.
pub(super) fn gives_way(namespace: &[u8], service: &[u8]) -> Option<&'static str> {
    match (namespace, service) {
        (SVC | POD, _) => Some("its short name is below one of the DNS specification's, which wins"),
        (DEFAULT, SVC | POD | VERSION) => {
            Some("its shortest name is one of the DNS specification's, which wins")
        }
        (DEFAULT, DNS) => Some("its shortest name is that of the domain's own data, which wins"),
        (DNS, service) if BELOW_DNS.contains(&service) => {
            Some("its short name is that of the domain's own data, which wins")
        }
        _ => None,
    }
}

/// The address that the label of a pod's name is made of: dots, or colons, are dashes there.
fn address_of_label(label: &[u8]) -> Option<IpAddr> {
    let label = std::str::from_utf8(label).ok()?;
    let is_v4 = label.matches('-').count() == 3 && !label.contains("--");
    if is_v4 {
        label.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    } else {
        label.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    }
}
