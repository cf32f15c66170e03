//! Where the objects of a cluster are stored: namespaces, and below them services, slices and pods by their names.

use super::object::{ClusterService, Endpoint, Object, ObjectKind, Scope, Slice};
use crate::tree::child_kinds::ChildKinds;
use crate::tree::children::{Child, Children};
use crate::tree::label::Label;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A namespace and all in it.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    label: Label,
    /// Whether the cluster has it: objects may come ahead of their namespace.
    pub(super) is_there: bool,
    of_cluster: ServicesOfScope,
    of_set: ServicesOfScope,
    pub(super) pods: Children<Named<Arc<[IpAddr]>>>,
}

/// The services of one scope, and their slices.
#[derive(Clone, Debug, Default)]
pub(super) struct ServicesOfScope {
    pub(super) services: Children<ServiceNode>,
    pub(super) slices: Children<Named<Arc<Slice>>>,
}

impl Namespace {
    /// Its name, in lower case.
    pub fn name(&self) -> &[u8] {
        self.label.as_bytes()
    }

    /// Whether the cluster has it.
    pub fn is_there(&self) -> bool {
        self.is_there
    }

    /// A service, with its endpoints, by its name in lower case. It may be endpoints alone.
    pub fn service(&self, scope: Scope, name: &[u8]) -> Option<&ServiceNode> {
        self.scope(scope).services.find(name).map(|node| &**node)
    }

    /// Whether there is any service.
    pub fn has_services(&self, scope: Scope) -> bool {
        let flow = self.scope(scope).services.for_each(&mut |node| match node.service {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        });
        flow.is_break()
    }

    pub(super) fn scope(&self, scope: Scope) -> &ServicesOfScope {
        match scope {
            Scope::Cluster => &self.of_cluster,
            Scope::ClusterSet => &self.of_set,
        }
    }

    pub(super) fn scope_mut(&mut self, scope: Scope) -> &mut ServicesOfScope {
        match scope {
            Scope::Cluster => &mut self.of_cluster,
            Scope::ClusterSet => &mut self.of_set,
        }
    }

    /// The object of a kind with a name.
    pub(super) fn object(&self, kind: ObjectKind, name: &[u8]) -> Option<Object> {
        let of_scope = self.scope(kind.scope());
        match kind {
            ObjectKind::Namespace => self.is_there.then_some(Object::Namespace),
            ObjectKind::Service | ObjectKind::Import => {
                let service = of_scope.services.find(name)?.service.as_ref()?;
                Some(Object::Service(Arc::clone(service)))
            }
            ObjectKind::Slice | ObjectKind::ImportSlice => {
                Some(Object::Slice(Arc::clone(of_scope.slices.find(name)?.value.as_ref()?)))
            }
            ObjectKind::Pod => Some(Object::Pod(Arc::clone(self.pods.find(name)?.value.as_ref()?))),
        }
    }

    /// Calls `each` with the name of each object of a kind, in their order, until it breaks.
    pub(super) fn for_each_of<'t>(
        &'t self,
        kind: ObjectKind,
        each: &mut dyn FnMut(&'t [u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let of_scope = self.scope(kind.scope());
        match kind {
            ObjectKind::Namespace if self.is_there => each(self.name()),
            ObjectKind::Namespace => ControlFlow::Continue(()),
            ObjectKind::Service | ObjectKind::Import => {
                of_scope.services.for_each(&mut |node| match node.service {
                    Some(_) => each(node.label()),
                    None => ControlFlow::Continue(()),
                })
            }
            ObjectKind::Slice | ObjectKind::ImportSlice => {
                of_scope.slices.for_each(&mut |node| each(node.label()))
            }
            ObjectKind::Pod => self.pods.for_each(&mut |pod| each(pod.label())),
        }
    }
}

/// A service and its endpoints.
#[derive(Clone, Debug, Default)]
pub struct ServiceNode {
    label: Label,
    /// The service itself.
    pub(super) service: Option<Arc<ClusterService>>,
    /// The slices, each with its name.
    pub(super) slices: Vec<(Arc<str>, Arc<Slice>)>,
}

impl ServiceNode {
    /// Its name, in lower case.
    pub fn name(&self) -> &[u8] {
        self.label.as_bytes()
    }

    /// The service itself; none if there are endpoints alone.
    pub fn service(&self) -> Option<&ClusterService> {
        self.service.as_deref()
    }

    /// Its slices.
    pub fn slices(&self) -> impl Iterator<Item = &Slice> {
        self.slices.iter().map(|(_, slice)| &**slice)
    }

    /// Its endpoints, each with its slice. For a while after a change one endpoint may be in two slices.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Slice, &Endpoint)> {
        self.slices().flat_map(|slice| slice.endpoints.iter().map(move |endpoint| (slice, endpoint)))
    }

    /// Whether any endpoint is ready.
    pub fn has_endpoints(&self) -> bool {
        self.slices().any(|slice| !slice.endpoints.is_empty())
    }

    /// Whether an address is that of the service or of an endpoint.
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.own_addresses().contains(&address) || self.endpoints().any(|(_, own)| own.address == address)
    }

    /// The addresses of the service itself.
    pub fn own_addresses(&self) -> &[IpAddr] {
        self.service().map_or(&[], addresses_of)
    }
}

/// The addresses of a service itself.
pub(super) fn addresses_of(service: &ClusterService) -> &[IpAddr] {
    match &service.target {
        super::object::ServiceTarget::Addresses(addresses) => addresses,
        _ => &[],
    }
}

/// What is known of an object without objects of its own, by its name.
#[derive(Clone, Debug)]
pub(super) struct Named<T> {
    label: Label,
    pub(super) value: Option<T>,
}

impl Child for Namespace {
    fn new(label: &[u8]) -> Self {
        Self { label: Label::new(label), ..Self::default() }
    }

    fn label(&self) -> &[u8] {
        self.label.as_bytes()
    }

    fn kinds_for_parent(&self) -> ChildKinds {
        ChildKinds::default()
    }

    fn is_vacant(&self) -> bool {
        let is_empty =
            |of_scope: &ServicesOfScope| of_scope.services.is_empty() && of_scope.slices.is_empty();
        !self.is_there && is_empty(&self.of_cluster) && is_empty(&self.of_set) && self.pods.is_empty()
    }
}

impl Child for ServiceNode {
    fn new(label: &[u8]) -> Self {
        Self { label: Label::new(label), ..Self::default() }
    }

    fn label(&self) -> &[u8] {
        self.label.as_bytes()
    }

    fn kinds_for_parent(&self) -> ChildKinds {
        ChildKinds::default()
    }

    fn is_vacant(&self) -> bool {
        self.service.is_none() && self.slices.is_empty()
    }
}

impl<T: Clone> Child for Named<T> {
    fn new(label: &[u8]) -> Self {
        Self { label: Label::new(label), value: None }
    }

    fn label(&self) -> &[u8] {
        self.label.as_bytes()
    }

    fn kinds_for_parent(&self) -> ChildKinds {
        ChildKinds::default()
    }

    fn is_vacant(&self) -> bool {
        self.value.is_none()
    }
}
