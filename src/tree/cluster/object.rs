//! The objects of a Kubernetes cluster, cut down to what names are made of.

use hickory_proto::rr::Name;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A namespace.
    Namespace,
    /// A service.
    Service,
    /// An EndpointSlice of a service.
    Slice,
    /// A pod.
    Pod,
    /// A ServiceImport: a service of a set of clusters (KEP-1645).
    Import,
    /// An EndpointSlice of a ServiceImport.
    ImportSlice,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Namespace, Self::Service, Self::Slice, Self::Pod, Self::Import, Self::ImportSlice];

    /// Its name in the plural, as the cluster's API and messages have it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::Service => "services",
            Self::Slice | Self::ImportSlice => "endpointslices",
            Self::Pod => "pods",
            Self::Import => "serviceimports",
        }
    }

    /// Which services objects of this kind are, or belong to.
    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Import | Self::ImportSlice => Scope::ClusterSet,
            Self::Namespace | Self::Service | Self::Slice | Self::Pod => Scope::Cluster,
        }
    }
}

/// Whose services are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Those of the cluster.
    Cluster,
    /// Those that a set of clusters shares (KEP-1645).
    ClusterSet,
}

/// What tells an object from all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace; its own name if it is one.
    pub namespace: Box<str>,
    /// Its name in the namespace.
    pub name: Box<str>,
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A namespace.
    Namespace,
    /// A service, or a ServiceImport.
    Service(Arc<ClusterService>),
    /// An EndpointSlice.
    Slice(Arc<Slice>),
    /// The addresses of a pod.
    Pod(Arc<[IpAddr]>),
}

impl Object {
    /// The service, if it is one.
    pub fn into_service(self) -> Option<Arc<ClusterService>> {
        if let Self::Service(service) = self { Some(service) } else { None }
    }

    /// The slice, if it is one.
    pub fn into_slice(self) -> Option<Arc<Slice>> {
        if let Self::Slice(slice) = self { Some(slice) } else { None }
    }

    /// The addresses, if it is a pod.
    pub fn into_pod(self) -> Option<Arc<[IpAddr]>> {
        if let Self::Pod(addresses) = self { Some(addresses) } else { None }
    }
}

/// A service of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterService {
    /// Where it leads to.
    pub target: ServiceTarget,
    /// Its ports; none of them count if it is an alias.
    pub ports: Box<[Port]>,
}

/// Where a service leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceTarget {
    /// Addresses that stand for all endpoints (ClusterIP, NodePort, LoadBalancer).
    Addresses(Box<[IpAddr]>),
    /// Its endpoints (headless).
    Endpoints,
    /// Another name (ExternalName).
    Alias(Name),
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Port {
    /// Its name; empty if it has none.
    pub name: Box<str>,
    /// The protocol, in lower case.
    pub protocol: Protocol,
    /// The number.
    pub number: u16,
}

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The protocol of a label, in lower case and without the underscore.
    pub fn of_label(label: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.label() == label)
    }

    /// Its label behind the underscore, in lower case.
    pub fn label(self) -> &'static [u8] {
        match self {
            Self::Tcp => b"tcp",
            Self::Udp => b"udp",
            Self::Sctp => b"sctp",
        }
    }
}

/// Endpoints of a service: an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The service that they belong to.
    pub service: Box<str>,
    /// The cluster that they are in, if the service is one of several clusters.
    pub cluster: Option<Box<str>>,
    /// The ports of all of them.
    pub ports: Arc<[Port]>,
    /// Those that are ready.
    pub endpoints: Box<[Endpoint]>,
}

impl Slice {
    /// Whether its endpoints are in a cluster, or in the only one.
    pub fn is_in(&self, cluster: Option<&[u8]>) -> bool {
        self.cluster.as_ref().map(|own| own.as_bytes()) == cluster
    }
}

/// An address at which a service runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// Its label, in lower case, if that is not made of its address.
    pub hostname: Option<Box<str>>,
    /// The topology zone that it is in, if that matters.
    pub zone: Option<Arc<str>>,
}

impl Endpoint {
    /// Whether it is in a topology zone.
    pub fn is_in_zone(&self, zone: &str) -> bool {
        self.zone.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(zone))
    }

    /// The label of its name: the host name, or the address with dashes.
    pub fn label(&self) -> String {
        match &self.hostname {
            Some(hostname) => hostname.to_string(),
            None => address_label(self.address),
        }
    }

    /// Whether a label, in lower case, is its own.
    pub fn has_label(&self, label: &[u8]) -> bool {
        match &self.hostname {
            Some(hostname) => hostname.as_bytes() == label,
            None => address_label(self.address).as_bytes() == label,
        }
    }
}

/// An address as a label: with dashes in the place of dots and colons; none is the last character, since no label of a host
/// name ends in one (RFC 952).
fn address_label(address: IpAddr) -> String {
    let mut label = String::with_capacity(40);
    // Writing to a string does not fail.
    let _ = write!(label, "{address}");
    let mut label = label.replace(['.', ':'], "-");
    if label.ends_with('-') {
        label.push('0');
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_of_an_endpoint_is_its_host_name_or_its_address() {
        for (address, label) in [
            ("10.0.0.1", "10-0-0-1"),
            ("2001:db8::1", "2001-db8--1"),
            ("2001:db8::", "2001-db8--0"),
            ("fd00:1:2:3:4:5:6:7", "fd00-1-2-3-4-5-6-7"),
        ] {
            let address = address.parse().expect("an address");
            let endpoint = Endpoint { address, hostname: None, zone: None };
            assert_eq!(endpoint.label(), label);
            assert!(endpoint.has_label(label.as_bytes()) && !endpoint.has_label(b"web-0"));
            let named = Endpoint { hostname: Some("web-0".into()), ..endpoint };
            assert_eq!(named.label(), "web-0");
            assert!(named.has_label(b"web-0") && !named.has_label(label.as_bytes()));
        }
    }
}
