//! The snapshot of a Kubernetes cluster.

use super::*;
use crate::source::snapshot::{ClusterHeader, ClusterOrigin, restore_cluster, save_cluster};
use crate::tree::{
    ClusterService, Endpoint, Object, ObjectId, ObjectKind, Port, Protocol, ServiceTarget, Slice,
};
use hickory_proto::rr::Name;
use std::fs;

const SERVER: &str = "https://192.0.2.1:6443";

fn origin() -> ClusterOrigin {
    ClusterOrigin { server: SERVER.to_owned(), watched: "services".to_owned() }
}

/// A tree with objects of all kinds.
fn tree() -> Tree {
    let mut tree = Tree::new();
    let ports = || [Port { name: "http".into(), protocol: Protocol::Sctp, number: 80 }];
    let service = |target| Object::Service(Arc::new(ClusterService { target, ports: ports().into() }));
    let endpoint = |text: &str, hostname: Option<&str>| Endpoint {
        address: text.parse().expect("an address"),
        hostname: hostname.map(Into::into),
        zone: hostname.map(Into::into),
    };
    let slice = |cluster: Option<&str>| {
        let endpoints = [endpoint("10.0.0.1", Some("a-0")), endpoint("fd00::1", None)].into();
        let cluster = cluster.map(Into::into);
        Object::Slice(Arc::new(Slice { service: "a".into(), cluster, ports: ports().into(), endpoints }))
    };
    let alias = ServiceTarget::Alias(Name::from_ascii("www.example.org.").expect("a name"));
    let addresses = ServiceTarget::Addresses(["10.96.0.1".parse().expect("an address")].into());
    for (kind, name, object) in [
        (ObjectKind::Namespace, "shop", Object::Namespace),
        (ObjectKind::Service, "a", service(ServiceTarget::Endpoints)),
        (ObjectKind::Service, "b", service(alias)),
        (ObjectKind::Slice, "a-x", slice(None)),
        (ObjectKind::Pod, "p.q", Object::Pod(["10.0.0.1".parse().expect("an address")].into())),
        (ObjectKind::Import, "c", service(addresses)),
        (ObjectKind::ImportSlice, "c-x", slice(Some("east"))),
    ] {
        let id = ObjectId { kind, namespace: "shop".into(), name: name.into() };
        assert!(tree.set_object(&id, Some(object)), "{name}");
        tree.set_object_version(kind, Some(format!("{}0", name.len()).into()));
    }
    tree.set_cluster_identity(Some("uid".into()));
    tree.set_serial(77);
    tree
}

fn objects(tree: &Tree) -> Vec<(ObjectId, Object)> {
    let ids = ObjectKind::ALL.into_iter().flat_map(|kind| tree.cluster().ids(kind));
    ids.map(|id| (id.clone(), tree.cluster().object(&id).expect("an object"))).collect()
}

#[test]
fn a_cluster_is_restored_as_it_was_saved() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, tree) = (dir.path().join("snapshot-kubernetes"), tree());
    let header = ClusterHeader::new(&origin(), tree.serial(), tree.zone_serials(), tree.cluster());
    let as_of = SystemTime::now() - Duration::from_secs(100);
    let saved = save_cluster(&file, &header, tree.cluster(), as_of).expect("saved");
    assert_eq!(saved.services, 2);
    let restored = restore_cluster(&file, Some(SERVER)).expect("restored");
    assert_eq!((&restored.header, restored.objects), (&header, objects(&tree)));
    assert_eq!(restored.header.identity.as_deref(), Some("uid"));
    assert!(restored.header.versions().any(|of| of == (ObjectKind::Service, "10")));
    assert!(restored.as_of.elapsed().is_ok_and(|age| age.as_secs() >= 100));
    assert!(restore_cluster(&file, None).is_ok(), "whose server nobody can tell");
    let mut other = restore_cluster(&file, Some(SERVER)).expect("restored");
    other.keep_for_other_settings(&[ObjectKind::Namespace, ObjectKind::Service]);
    assert_eq!(other.header.versions().count(), 0, "all is to be listed anew");
    assert!(other.objects.iter().any(|(id, _)| id.kind == ObjectKind::Service));
    assert!(!other.objects.iter().any(|(id, _)| id.kind == ObjectKind::Slice));
}

#[test]
fn what_cannot_be_trusted_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, tree) = (dir.path().join("snapshot-kubernetes"), tree());
    let header = ClusterHeader::new(&origin(), 1, Vec::new(), tree.cluster());
    save_cluster(&file, &header, tree.cluster(), SystemTime::now()).expect("saved");
    let refused = |file: &Path| restore_cluster(file, Some(SERVER)).expect_err("refused").to_string();
    let other = restore_cluster(&file, Some("https://other")).expect_err("refused").to_string();
    assert_eq!(other, format!("it is of the cluster at {SERVER}, not of that at https://other"));
    let whole = fs::read(&file).expect("the file");
    for len in (0..whole.len()).step_by(7) {
        fs::write(&file, &whole[..len]).expect("a file");
        assert!(refused(&file).contains("snapshot") || refused(&file).contains("checksum"), "{len}");
    }
    let mut changed = whole.clone();
    for at in (0..whole.len()).step_by(5) {
        changed[at] ^= 1;
        fs::write(&file, &changed).expect("a file");
        assert!(!refused(&file).is_empty(), "{at}");
        changed[at] ^= 1;
    }
    // That of etcd is another one.
    fs::write(&file, [b"skydns\0S".as_slice(), &whole[8..]].concat()).expect("a file");
    assert_eq!(refused(&file), "it is not a snapshot");
}
