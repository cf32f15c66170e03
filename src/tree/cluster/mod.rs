//! The objects of a Kubernetes cluster that names are made of.

mod object;

pub use object::{
    ClusterService, Endpoint, Object, ObjectId, ObjectKind, Port, Protocol, Scope, ServiceTarget, Slice,
};
