//! The names that a zone has of a Kubernetes cluster.
//!
//! They are exact, whatever the mode of the zone: a name has what the cluster means for it, and no subtree. Where a name of the
//! cluster has data, keys of the tree with the same name are not served, but for those of a
//! [higher layer](crate::tree::Layer::CLUSTER).
//!
//! `find` tells which object a name means, `made` makes services of it, which the rest of the room answers with as with
//! those of the tree.

mod find;
mod made;
mod pointers;

pub use made::Made;

pub(super) use find::{Finder, Found};
pub(super) use made::Maker;
pub(super) use pointers::{have_names, names_of_addresses};

use super::zone::{OwnServer, Zone};
use crate::tree::{Cluster, OtherNames, Scope, ServiceNode, ServiceTarget, Work};

/// Which names a zone has of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterNames {
    /// The services: those of the cluster, below `svc`, or those that it shares with others.
    pub scope: Scope,
    /// Whether it has SkyDNS's names as well: `<service>.<namespace>`, and `<service>` for those of the namespace `default`.
    pub has_short_names: bool,
    /// Which pods have names, below `pod`.
    pub pods: PodNames,
    /// Whether a service whose endpoints are all not ready has no name.
    pub hides_empty: bool,
    /// Whether headless services have names for the topology zones of their endpoints, below `_zone`.
    pub has_zonal: bool,
    /// TTL in seconds.
    pub ttl: u32,
}

/// Which pods have names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PodNames {
    /// None.
    #[default]
    Disabled,
    /// Each address in a namespace that exists, whether a pod has it or not.
    Insecure,
    /// Those that the cluster has.
    Verified,
}

impl ClusterNames {
    /// All names of the specification, with a TTL of 5 s.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            has_short_names: false,
            pods: PodNames::default(),
            hides_empty: false,
            has_zonal: false,
            ttl: 5,
        }
    }

    /// Whether a service has names: it leads somewhere.
    fn has(&self, node: &ServiceNode) -> bool {
        node.service().is_some_and(|service| match service.target {
            ServiceTarget::Addresses(_) => !self.hides_empty || node.has_endpoints(),
            ServiceTarget::Endpoints => node.has_endpoints(),
            ServiceTarget::Alias(_) => true,
        })
    }

    /// Why a service of the cluster does not have its short name; `None` if it has it.
    pub fn gives_way(namespace: &str, service: &str) -> Option<&'static str> {
        find::gives_way(namespace.as_bytes(), service.as_bytes())
    }
}

/// The names that a zone has of a cluster, as names that exist though no key has them.
#[derive(Debug)]
pub(super) struct NamesOfCluster<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) zone: &'a Zone,
    pub(super) work: &'a Work,
}

impl OtherNames for NamesOfCluster<'_> {
    fn has(&self, labels: &[&[u8]]) -> bool {
        if self.zone.server.as_ref().is_some_and(|server| OwnName::of(server, labels).is_some()) {
            return true;
        }
        let Some(names) = &self.zone.cluster else { return false };
        // Whether a name exists is noted by the look-up of that name.
        let finder = Finder { cluster: self.cluster, names, work: self.work, dependencies: None };
        let below = labels.get(self.zone.apex().labels().count()..).unwrap_or_default();
        !matches!(finder.find(below), Found::Missing)
    }
}

/// What a name has to do with this agent as a name server.
pub(super) enum OwnName<'z> {
    /// It is that of the server.
    Server(&'z OwnServer),
    /// It is one above, below the apex.
    Above,
}

impl<'z> OwnName<'z> {
    /// What a name is whose labels, in lower case and root first, these are; `None` if it has nothing to do with the server.
    pub(super) fn of(server: &'z OwnServer, labels: &[&[u8]]) -> Option<Self> {
        let mut own = server.name.iter().rev();
        let is_at_or_above = labels.iter().all(|label| own.next() == Some(label));
        match own.len() {
            0 if is_at_or_above => Some(Self::Server(server)),
            // `ns.dns` is two labels below the apex.
            1 if is_at_or_above => Some(Self::Above),
            _ => None,
        }
    }
}
