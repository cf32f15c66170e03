//! The objects of a Kubernetes cluster that names are made of, beside the nodes of the tree.
//!
//! The names of a cluster are no keys: one object gives names in several zones, and names below its own. So the objects are
//! kept as they are, by namespace and name, and `answer` finds by the labels of a question which of them is meant. Clones
//! share all that did not change.

mod nodes;
mod object;

pub use nodes::{Namespace, ServiceNode};
pub use object::{
    ClusterService, Endpoint, Object, ObjectId, ObjectKind, Port, Protocol, Scope, ServiceTarget, Slice,
};

use super::address_range::AddressRange;
use super::addresses::AddressIndex;
use super::children::Children;
use super::versions::VersionSlot;
use crate::service::Key;
use nodes::{Named, ServiceNode as Service};
use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The objects of one cluster; see the module's text.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    namespaces: Children<Namespace>,
    /// The namespaces and names of services by their addresses, and those of their endpoints.
    addresses: AddressIndex,
    /// The namespaces of pods by their addresses.
    pods: AddressIndex,
    counts: [usize; ObjectKind::ALL.len()],
    /// The version of the store up to which the objects of each kind are known.
    versions: [Option<Box<str>>; ObjectKind::ALL.len()],
    /// Whether namespaces cannot be read, so that one exists as long as a service is in it.
    derives_namespaces: bool,
    /// The id of the cluster, if it is known.
    identity: Option<Box<str>>,
    /// How often an object has changed.
    changes: u64,
}

/// What answers depend on that has changed.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// See [`Cluster::slot_of`].
    pub(super) keys: BTreeSet<Key>,
    /// Addresses whose names have changed.
    pub(super) addresses: BTreeSet<IpAddr>,
}

/// The first labels of what answers depend on: no name begins so.
const SERVICES: &[u8] = b"\0service";
const SERVICES_OF_SET: &[u8] = b"\0import";
const NAMESPACES: &[u8] = b"\0namespace";
const PODS: &[u8] = b"\0pod";

impl Cluster {
    /// A namespace by its name in lower case. It may be objects in it alone: see [`has`](Self::has).
    pub fn namespace(&self, name: &[u8]) -> Option<&Namespace> {
        self.namespaces.find(name).map(|namespace| &**namespace)
    }

    /// Whether a namespace exists: the cluster has it, or, if namespaces cannot be read, a service is in it.
    pub fn has(&self, namespace: &Namespace) -> bool {
        let has_services =
            || namespace.has_services(Scope::Cluster) || namespace.has_services(Scope::ClusterSet);
        namespace.is_there() || self.derives_namespaces && has_services()
    }

    /// Sets whether namespaces cannot be read; `false` if that was known.
    pub(super) fn derive_namespaces(&mut self, derives: bool) -> bool {
        std::mem::replace(&mut self.derives_namespaces, derives) != derives
    }

    /// Whether namespaces cannot be read.
    pub fn derives_namespaces(&self) -> bool {
        self.derives_namespaces
    }

    /// The id of the cluster, if it is known.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    pub(super) fn set_identity(&mut self, identity: Option<Box<str>>) {
        self.identity = identity;
    }

    /// How often an object has changed.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The number of objects of a kind.
    pub fn count(&self, kind: ObjectKind) -> usize {
        self.counts[kind as usize]
    }

    /// The version of the store up to which the objects of a kind are known, if it is.
    pub fn version(&self, kind: ObjectKind) -> Option<&str> {
        self.versions[kind as usize].as_deref()
    }

    /// Takes over the version of the store up to which the objects of a kind are known.
    pub(super) fn set_version(&mut self, kind: ObjectKind, version: Option<Box<str>>) {
        self.versions[kind as usize] = version;
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// An object.
    pub fn object(&self, id: &ObjectId) -> Option<Object> {
        self.namespace(id.namespace.as_bytes())?.object(id.kind, id.name.as_bytes())
    }

    /// The ids of all objects of a kind, ordered by namespace and name.
    pub fn ids(&self, kind: ObjectKind) -> Vec<ObjectId> {
        let mut ids = Vec::with_capacity(self.count(kind));
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into();
        let _ = self.namespaces.for_each(&mut |namespace| {
            namespace.for_each_of(kind, &mut |name| {
                ids.push(ObjectId { kind, namespace: text(namespace.name()), name: text(name) });
                ControlFlow::Continue(())
            })
        });
        ids
    }

    /// Calls `each` for the services that have an address of a range, or an endpoint with one, ordered by address, until it
    /// breaks.
    pub fn at_addresses<'t>(
        &'t self,
        addresses: AddressRange,
        each: &mut dyn FnMut(IpAddr, &'t Namespace, &'t ServiceNode) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut each = |address, key: &[u8]| {
            let Some(key) = Key::from_wire(key) else { return ControlFlow::Continue(()) };
            let mut labels = key.labels();
            let namespace = labels.next().and_then(|namespace| self.namespace(namespace));
            let service = labels.next().and_then(|name| namespace?.service(Scope::Cluster, name));
            namespace
                .zip(service)
                .map_or(ControlFlow::Continue(()), |(namespace, service)| each(address, namespace, service))
        };
        match addresses {
            AddressRange::V4(first, last) => self.addresses.for_each_v4((first, last), &mut each),
            AddressRange::V6(first, last) => self.addresses.for_each_v6((first, last), &mut each),
        }
    }

    /// Whether a pod of a namespace has an address.
    pub fn has_pod(&self, namespace: &[u8], address: IpAddr) -> bool {
        let mut each = |_, key: &[u8]| {
            let is_there = Key::from_wire(key).is_some_and(|key| key.labels().next() == Some(namespace));
            if is_there { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let flow = match address {
            IpAddr::V4(v4) => self.pods.for_each_v4((v4, v4), &mut each),
            IpAddr::V6(v6) => self.pods.for_each_v6((v6, v6), &mut each),
        };
        flow.is_break()
    }

    /// What an answer depends on that was made from a service and its endpoints, or says that there is none.
    pub fn slot_of(scope: Scope, namespace: &[u8], service: &[u8]) -> VersionSlot {
        VersionSlot::of([of_scope(scope), namespace, service].into_iter())
    }

    /// What an answer depends on that says that a namespace exists, or not.
    pub fn slot_of_namespace(namespace: &[u8]) -> VersionSlot {
        VersionSlot::of([NAMESPACES, namespace].into_iter())
    }

    /// What an answer depends on that says that there are services in a namespace, or not.
    pub fn slot_of_services(scope: Scope, namespace: &[u8]) -> VersionSlot {
        VersionSlot::of([of_scope(scope), namespace].into_iter())
    }

    /// What an answer depends on that was made from the pods of a namespace.
    pub fn slot_of_pods(namespace: &[u8]) -> VersionSlot {
        VersionSlot::of([PODS, namespace].into_iter())
    }

    /// Puts an object in the place of one with the same id, or takes it away; returns what that changes, or `None` if it
    /// changes nothing.
    pub(super) fn set(&mut self, id: &ObjectId, object: Option<Object>) -> Option<Touched> {
        let before = self.object(id);
        if before == object {
            return None;
        }
        match (before.is_some(), object.is_some()) {
            (false, true) => self.counts[id.kind as usize] += 1,
            (true, false) => self.counts[id.kind as usize] -= 1,
            _ => {}
        }
        self.changes += 1;
        let mut touched = Touched::default();
        match id.kind {
            ObjectKind::Namespace => {
                touched.keys.insert(key([NAMESPACES, id.namespace.as_bytes()]));
                self.change_namespace(id, |namespace| namespace.is_there = object.is_some());
            }
            ObjectKind::Service | ObjectKind::Import => {
                self.set_service(id, object.and_then(Object::into_service), &mut touched);
            }
            ObjectKind::Slice | ObjectKind::ImportSlice => {
                let (before, after) =
                    (before.and_then(Object::into_slice), object.and_then(Object::into_slice));
                self.set_slice(id, before.as_ref(), after.as_ref(), &mut touched);
            }
            ObjectKind::Pod => {
                let (before, after) = (before.and_then(Object::into_pod), object.and_then(Object::into_pod));
                self.set_pod(id, before.as_deref(), after, &mut touched);
            }
        }
        Some(touched)
    }

    fn change_namespace<R>(&mut self, id: &ObjectId, change: impl FnOnce(&mut Namespace) -> R) -> R {
        self.namespaces.change(id.namespace.as_bytes(), change)
    }

    fn set_service(&mut self, id: &ObjectId, service: Option<Arc<ClusterService>>, touched: &mut Touched) {
        let scope = id.kind.scope();
        let name = id.name.as_bytes();
        touched.keys.insert(key([of_scope(scope), id.namespace.as_bytes(), name]));
        if self.derives_namespaces {
            touched.keys.insert(key([NAMESPACES, id.namespace.as_bytes()]));
        }
        let changed = self.change_namespace(id, |namespace| {
            namespace.scope_mut(scope).services.change(name, |node: &mut Service| {
                let before = node.own_addresses().to_vec();
                node.service = service;
                let after = node.own_addresses().to_vec();
                // The names of its endpoints change as well if it was headless, or is now.
                let all: Vec<_> = node.endpoints().map(|(_, endpoint)| endpoint.address).collect();
                touched.addresses.extend(all);
                let gone =
                    before.into_iter().filter(|address| !node.has_address(*address)).collect::<Vec<_>>();
                (gone, after)
            })
        });
        self.reindex(id, name, changed, touched);
    }

    fn set_slice(
        &mut self,
        id: &ObjectId,
        before: Option<&Arc<Slice>>,
        after: Option<&Arc<Slice>>,
        touched: &mut Touched,
    ) {
        let scope = id.kind.scope();
        self.change_namespace(id, |namespace| {
            let slices = &mut namespace.scope_mut(scope).slices;
            slices.change(id.name.as_bytes(), |slice: &mut Named<_>| slice.value = after.cloned());
        });
        // A slice may come to belong to another service.
        let owners: BTreeSet<&str> = before.into_iter().chain(after).map(|slice| &*slice.service).collect();
        for owner in owners {
            let owner = owner.as_bytes();
            touched.keys.insert(key([of_scope(scope), id.namespace.as_bytes(), owner]));
            let of_owner = |slice: &&Arc<Slice>| slice.service.as_bytes() == owner;
            let changed = self.change_namespace(id, |namespace| {
                namespace.scope_mut(scope).services.change(owner, |node: &mut Service| {
                    node.slices.retain(|(name, _)| **name != *id.name);
                    if let Some(slice) = after.filter(of_owner) {
                        node.slices.push((Arc::from(&*id.name), Arc::clone(slice)));
                    }
                    let (before, after) = (before.filter(of_owner), after.filter(of_owner));
                    let gone = addresses_not_in(before, after).filter(|address| !node.has_address(*address));
                    (gone.collect(), addresses_not_in(after, before).collect())
                })
            });
            self.reindex(id, owner, changed, touched);
        }
    }

    fn set_pod(
        &mut self,
        id: &ObjectId,
        before: Option<&[IpAddr]>,
        after: Option<Arc<[IpAddr]>>,
        touched: &mut Touched,
    ) {
        touched.keys.insert(key([PODS, id.namespace.as_bytes()]));
        // The name of a pod may be longer than a label; in digits, as a key has no capital letters.
        let mut hash = DefaultHasher::new();
        hash.write(id.name.as_bytes());
        let own = key([id.namespace.as_bytes(), format!("{:016x}", hash.finish()).as_bytes()]);
        for address in before.into_iter().flatten() {
            self.pods.remove(*address, &own);
        }
        for address in after.iter().flat_map(|addresses| addresses.iter()) {
            self.pods.insert(*address, &own);
        }
        self.change_namespace(id, |namespace| {
            namespace.pods.change(id.name.as_bytes(), |pod: &mut Named<_>| pod.value = after);
        });
    }

    /// Brings the services by address up to date: those addresses of a service that are gone, and those that it has.
    fn reindex(
        &mut self,
        id: &ObjectId,
        service: &[u8],
        (gone, here): (Vec<IpAddr>, Vec<IpAddr>),
        touched: &mut Touched,
    ) {
        if id.kind.scope() == Scope::ClusterSet {
            touched.addresses.clear();
            return;
        }
        let own = key([id.namespace.as_bytes(), service]);
        for address in &gone {
            self.addresses.remove(*address, &own);
        }
        for address in &here {
            self.addresses.insert(*address, &own);
        }
        touched.addresses.extend(gone.into_iter().chain(here));
    }
}

/// The addresses of the endpoints of a slice that another one has not.
///
/// Nearly all of them stay where they are when one changes, so only the others are looked for.
fn addresses_not_in<'s>(
    slice: Option<&'s Arc<Slice>>,
    other: Option<&'s Arc<Slice>>,
) -> impl Iterator<Item = IpAddr> + 's {
    let others = other.map_or(&[][..], |other| &other.endpoints);
    let all = slice.into_iter().flat_map(|slice| slice.endpoints.iter().enumerate());
    let moved = all.filter(move |(at, endpoint)| others.get(*at) != Some(*endpoint));
    let mut set = None;
    let mut is_new = move |endpoint: &Endpoint| match others.len() {
        0..=FEW => !others.contains(endpoint),
        _ => !set.get_or_insert_with(|| others.iter().collect::<HashSet<_>>()).contains(endpoint),
    };
    moved
        .map(|(_, endpoint)| endpoint)
        .filter(move |endpoint| is_new(endpoint))
        .map(|endpoint| endpoint.address)
}

/// So many endpoints are looked through one after the other.
const FEW: usize = 32;

fn of_scope(scope: Scope) -> &'static [u8] {
    match scope {
        Scope::Cluster => SERVICES,
        Scope::ClusterSet => SERVICES_OF_SET,
    }
}

fn key<const N: usize>(labels: [&[u8]; N]) -> Key {
    Key::from_labels(labels.into_iter())
}

#[cfg(test)]
mod tests;
