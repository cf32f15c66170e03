//! The objects of a cluster in the tree.

use super::{Cluster, Object, ObjectId, ObjectKind, Tree};
use crate::service::Key;
use std::sync::Arc;

impl Tree {
    /// The objects of a cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Puts an object of the cluster in the place of one with the same id, or takes it away; `false` if that changes nothing.
    pub fn set_object(&mut self, id: &ObjectId, object: Option<Object>) -> bool {
        let Some(touched) = self.cluster.set(id, object) else { return false };
        touched.keys.iter().for_each(|key| self.raise_versions(key));
        for address in touched.addresses {
            self.raise_versions(&Key::of_address(address));
            self.touched.push(address);
        }
        true
    }

    /// Takes over the id of the cluster.
    pub fn set_cluster_identity(&mut self, identity: Option<Box<str>>) {
        self.cluster.set_identity(identity);
    }

    /// Sets whether the namespaces of the cluster cannot be read. All cached replies are void if that changes.
    pub fn derive_namespaces(&mut self, derives: bool) {
        if self.cluster.derive_namespaces(derives) {
            self.versions = self.versions.as_ref().map(|_| Arc::default());
            self.tick();
        }
    }

    /// Takes over the version of the cluster up to which its objects of a kind are known.
    pub fn set_object_version(&mut self, kind: ObjectKind, version: Option<Box<str>>) {
        self.cluster.set_version(kind, version);
    }
}
