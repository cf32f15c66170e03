//! The objects of a cluster as they are stored.

use crate::tree::{
    ClusterService, Endpoint, Object, ObjectId, ObjectKind, Port, Protocol, ServiceTarget, Slice,
};
use hickory_proto::rr::Name;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;

/// An object with its id.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredObject {
    kind: u8,
    namespace: Box<str>,
    name: Box<str>,
    content: StoredContent,
}

#[derive(Debug, Serialize, Deserialize)]
enum StoredContent {
    Nothing,
    Service {
        target: StoredTarget,
        ports: Vec<StoredPort>,
    },
    Slice {
        service: Box<str>,
        cluster: Option<Box<str>>,
        ports: Vec<StoredPort>,
        endpoints: Vec<StoredEndpoint>,
    },
    Addresses(Vec<IpAddr>),
}

#[derive(Debug, Serialize, Deserialize)]
enum StoredTarget {
    Addresses(Vec<IpAddr>),
    Endpoints,
    Alias(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredPort {
    name: Box<str>,
    protocol: u8,
    number: u16,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredEndpoint {
    address: IpAddr,
    hostname: Option<Box<str>>,
    zone: Option<Box<str>>,
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

/// The number of a kind in the file.
pub(super) fn number_of(kind: ObjectKind) -> u8 {
    ObjectKind::ALL
        .iter()
        .position(|one| *one == kind)
        .and_then(|at| u8::try_from(at).ok())
        .unwrap_or(u8::MAX)
}

/// The kind with a number.
pub(super) fn kind_of(number: u8) -> Option<ObjectKind> {
    ObjectKind::ALL.get(usize::from(number)).copied()
}

impl StoredObject {
    pub(super) fn new(id: &ObjectId, object: &Object) -> Self {
        let content = match object {
            Object::Namespace => StoredContent::Nothing,
            Object::Service(service) => StoredContent::Service {
                target: match &service.target {
                    ServiceTarget::Addresses(all) => StoredTarget::Addresses(all.to_vec()),
                    ServiceTarget::Endpoints => StoredTarget::Endpoints,
                    ServiceTarget::Alias(name) => StoredTarget::Alias(name.to_ascii()),
                },
                ports: service.ports.iter().map(StoredPort::new).collect(),
            },
            Object::Slice(slice) => StoredContent::Slice {
                service: slice.service.clone(),
                cluster: slice.cluster.clone(),
                ports: slice.ports.iter().map(StoredPort::new).collect(),
                endpoints: slice.endpoints.iter().map(StoredEndpoint::new).collect(),
            },
            Object::Pod(addresses) => StoredContent::Addresses(addresses.to_vec()),
        };
        Self { kind: number_of(id.kind), namespace: id.namespace.clone(), name: id.name.clone(), content }
    }

    /// The object; `None` if it is none.
    pub(super) fn read(self) -> Option<(ObjectId, Object)> {
        let kind = kind_of(self.kind)?;
        let object = match self.content {
            StoredContent::Nothing => Object::Namespace,
            StoredContent::Service { target, ports } => {
                let target = match target {
                    StoredTarget::Addresses(all) => ServiceTarget::Addresses(all.into()),
                    StoredTarget::Endpoints => ServiceTarget::Endpoints,
                    StoredTarget::Alias(name) => ServiceTarget::Alias(Name::from_ascii(name).ok()?),
                };
                let ports = ports.into_iter().map(StoredPort::read).collect::<Option<_>>()?;
                Object::Service(Arc::new(ClusterService { target, ports }))
            }
            StoredContent::Slice { service, cluster, ports, endpoints } => {
                let ports = ports.into_iter().map(StoredPort::read).collect::<Option<_>>()?;
                let endpoints = endpoints.into_iter().map(StoredEndpoint::read).collect();
                Object::Slice(Arc::new(Slice { service, cluster, ports, endpoints }))
            }
            StoredContent::Addresses(all) => Object::Pod(all.into()),
        };
        let is_of_kind = match kind {
            ObjectKind::Namespace => matches!(object, Object::Namespace),
            ObjectKind::Service | ObjectKind::Import => matches!(object, Object::Service(_)),
            ObjectKind::Slice | ObjectKind::ImportSlice => matches!(object, Object::Slice(_)),
            ObjectKind::Pod => matches!(object, Object::Pod(_)),
        };
        is_of_kind.then_some((ObjectId { kind, namespace: self.namespace, name: self.name }, object))
    }
}

impl StoredPort {
    fn new(port: &Port) -> Self {
        let protocol = PROTOCOLS.iter().position(|one| *one == port.protocol);
        let protocol = protocol.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX);
        Self { name: port.name.clone(), protocol, number: port.number }
    }

    fn read(self) -> Option<Port> {
        let protocol = *PROTOCOLS.get(usize::from(self.protocol))?;
        Some(Port { name: self.name, protocol, number: self.number })
    }
}

impl StoredEndpoint {
    fn new(endpoint: &Endpoint) -> Self {
        let zone = endpoint.zone.as_deref().map(Into::into);
        Self { address: endpoint.address, hostname: endpoint.hostname.clone(), zone }
    }

    fn read(self) -> Endpoint {
        Endpoint { address: self.address, hostname: self.hostname, zone: self.zone.map(Into::into) }
    }
}
