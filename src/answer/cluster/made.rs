//! Services that are made for one answer, from the objects of a cluster.

use super::find::{Data, Part, SVC, ServiceOf};
use crate::answer::zone::Zone;
use crate::service::{Host, Service};
use crate::tree::{
    DataKinds, Endpoint, Entry, MadeOf, MatchedService, Port, Scope, ServiceTarget, Slice, Work,
};
use std::fmt;
use std::net::IpAddr;
use std::ops::ControlFlow;
use typed_arena::Arena;

/// The version of the specification that the names are of, and that of names of several clusters (KEP-1645).
const VERSION: &str = "1.1.0";
const VERSION_OF_SET: &str = "1.0.0";

/// TTL of the version, in seconds.
const VERSION_TTL: u32 = 28_800;

/// What was made for one answer; it lives as long as the services of the tree are looked at.
pub struct Made {
    entries: Arena<Entry>,
    labels: Arena<u8>,
}

impl Default for Made {
    /// Most answers need nothing of this: no memory is taken yet.
    fn default() -> Self {
        Self { entries: Arena::with_capacity(0), labels: Arena::with_capacity(0) }
    }
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Made").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Made {
    /// A service for an address of this agent, as the name server of a zone.
    pub(in crate::answer) fn server<'a>(
        &'a self,
        address: IpAddr,
        zone: &Zone,
        owner: &[&[u8]],
    ) -> impl Iterator<Item = MatchedService<'a>> + use<'a> {
        let ttl = zone.cluster.map_or(zone.ttl, |names| names.ttl);
        let entry = Entry::new(Service { host: host(address), ttl, ..Service::default() });
        let entry: &'a Entry = self.entries.alloc(entry);
        let labels: Box<[&'a [u8]]> = owner.iter().map(|label| self.label(label)).collect();
        std::iter::once(MatchedService::made(entry, labels, MadeOf::Other))
    }

    fn label(&self, label: &[u8]) -> &[u8] {
        self.labels.alloc_extend(label.iter().copied())
    }
}

fn host(address: IpAddr) -> Host {
    match address {
        IpAddr::V4(v4) => Host::V4(v4),
        IpAddr::V6(v6) => Host::V6(v6),
    }
}

/// Makes services of what a name was found to be.
pub(in crate::answer) struct Maker<'a, 'f> {
    pub(in crate::answer) made: &'a Made,
    pub(in crate::answer) zone: &'a Zone,
    /// The labels of the name, root first.
    pub(in crate::answer) owner: &'f [&'f [u8]],
    pub(in crate::answer) wanted: DataKinds,
    pub(in crate::answer) work: &'f Work,
    /// See [`Tree::services`](crate::tree::Tree::services).
    pub(in crate::answer) is_too_much: &'f mut dyn FnMut(&'a Entry) -> bool,
    pub(in crate::answer) found: Vec<MatchedService<'a>>,
}

impl<'a> Maker<'a, '_> {
    /// Makes the services with data of a wanted kind; `Break` if they are too many.
    pub(in crate::answer) fn make(&mut self, data: &Data<'a, '_>) -> ControlFlow<()> {
        match data {
            Data::Version => {
                let is_of_set = self.zone.cluster.is_some_and(|names| names.scope == Scope::ClusterSet);
                let text = if is_of_set { VERSION_OF_SET } else { VERSION };
                let service = Service { text: Some(text.into()), ttl: VERSION_TTL, ..Service::default() };
                self.add(service, self.owner_labels(), MadeOf::Other)
            }
            Data::Pod(address) => self.add(self.service(*address, None), self.owner_labels(), MadeOf::Other),
            Data::Service(service, part) => self.make_service(*service, part),
        }
    }

    fn make_service(&mut self, service: ServiceOf<'a>, part: &Part<'_>) -> ControlFlow<()> {
        match (service.target(), part) {
            (None, _) => ControlFlow::Continue(()),
            (Some(ServiceTarget::Alias(name)), _) => {
                let host = Host::Name(Box::new(name.clone()));
                let ttl = self.ttl();
                self.add(Service { host, ttl, ..Service::default() }, self.owner_labels(), MadeOf::Other)
            }
            (Some(ServiceTarget::Addresses(addresses)), Part::Whole | Part::Port(..)) => {
                let ports = service.node.service().map_or(&[][..], |service| &service.ports);
                let target = match part {
                    Part::Whole => self.owner_labels(),
                    _ => self.labels_of(service),
                };
                addresses.iter().try_for_each(|address| self.add_ports(*address, ports, part, &target))
            }
            _ => self.make_endpoints(service, part),
        }
    }

    /// Makes services of the endpoints of a service.
    fn make_endpoints(&mut self, service: ServiceOf<'a>, part: &Part<'_>) -> ControlFlow<()> {
        let of_service = self.labels_of(service);
        for (slice, endpoint) in service.node.endpoints() {
            self.work.charge(1)?;
            if !is_meant(slice, endpoint, part) || !kind_of(endpoint.address).meets(self.wanted) {
                continue;
            }
            let label: &'a [u8] = match &endpoint.hostname {
                Some(hostname) => hostname.as_bytes(),
                None => self.made.labels.alloc_extend(endpoint.label().into_bytes()),
            };
            let cluster = slice.cluster.as_ref().map(|cluster| cluster.as_bytes());
            let target: Vec<_> = of_service.iter().copied().chain(cluster).chain([label]).collect();
            self.add_ports(endpoint.address, &slice.ports, part, &target)?;
        }
        ControlFlow::Continue(())
    }

    /// Adds an address with each of the ports that are meant, or without one.
    fn add_ports(
        &mut self,
        address: IpAddr,
        ports: &'a [Port],
        part: &Part<'_>,
        target: &[&'a [u8]],
    ) -> ControlFlow<()> {
        if !kind_of(address).meets(self.wanted) {
            return ControlFlow::Continue(());
        }
        let is_port = |port: &&Port| match part {
            Part::Port(name, protocol) => port.protocol == *protocol && port.name.as_bytes() == *name,
            _ => true,
        };
        let mut ports = ports.iter().filter(is_port).peekable();
        if ports.peek().is_none() && !matches!(part, Part::Port(..)) {
            return self.add(self.service(address, None), target.to_vec(), MadeOf::Other);
        }
        ports.try_for_each(|port| {
            self.add(self.service(address, Some(port)), target.to_vec(), MadeOf::HostAndPort)
        })
    }

    /// Adds a service to those that are found, if it has data of a wanted kind.
    fn add(&mut self, service: Service, labels: Vec<&'a [u8]>, made: MadeOf) -> ControlFlow<()> {
        let entry = Entry::new(service);
        if !DataKinds::of(&entry).meets(self.wanted) {
            return ControlFlow::Continue(());
        }
        self.work.charge(Work::SERVICE)?;
        let entry: &'a Entry = self.made.entries.alloc(entry);
        if (self.is_too_much)(entry) {
            return ControlFlow::Break(());
        }
        self.found.push(MatchedService::made(entry, labels.into(), made));
        ControlFlow::Continue(())
    }

    fn service(&self, address: IpAddr, port: Option<&Port>) -> Service {
        Service {
            host: host(address),
            port: port.map_or(0, |port| port.number),
            ttl: self.ttl(),
            ..Service::default()
        }
    }

    fn ttl(&self) -> u32 {
        self.zone.cluster.map_or(self.zone.ttl, |names| names.ttl)
    }

    /// The labels of the name itself.
    fn owner_labels(&self) -> Vec<&'a [u8]> {
        self.owner.iter().map(|label| self.made.label(label)).collect()
    }

    /// The labels of the full name of a service, root first.
    fn labels_of(&self, service: ServiceOf<'a>) -> Vec<&'a [u8]> {
        let apex = self.zone.apex().labels();
        apex.chain([SVC, service.namespace.name(), service.node.name()]).collect()
    }
}

/// Whether an endpoint is one of a part of its service.
fn is_meant(slice: &Slice, endpoint: &Endpoint, part: &Part<'_>) -> bool {
    match part {
        Part::Whole | Part::Port(..) => true,
        Part::Host(label, cluster) => slice.is_in(*cluster) && endpoint.has_label(label),
        Part::Zone(zone) => endpoint.is_in_zone(zone),
    }
}

fn kind_of(address: IpAddr) -> DataKinds {
    if address.is_ipv4() { DataKinds::V4 } else { DataKinds::V6 }
}
