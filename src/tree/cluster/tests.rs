use super::*;

const WEB: (&str, &str) = ("shop", "web");

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn id(kind: ObjectKind, (namespace, name): (&str, &str)) -> ObjectId {
    ObjectId { kind, namespace: namespace.into(), name: name.into() }
}

fn service(addresses: &[&str]) -> Object {
    let target = match addresses {
        [] => ServiceTarget::Endpoints,
        addresses => ServiceTarget::Addresses(addresses.iter().map(|text| address(text)).collect()),
    };
    Object::Service(Arc::new(ClusterService { target, ports: Box::new([]) }))
}

fn slice(service: &str, addresses: &[&str]) -> Object {
    let endpoint = |text: &&str| Endpoint { address: address(text), hostname: None, zone: None };
    let endpoints = addresses.iter().map(endpoint).collect();
    Object::Slice(Arc::new(Slice { service: service.into(), cluster: None, ports: Arc::new([]), endpoints }))
}

/// The services at an address.
fn at(cluster: &Cluster, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let range = AddressRange::below(&Key::of_address(address(text)).name()).expect("a reverse name");
    let _ = cluster.at_addresses(range, &mut |_, namespace, service| {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        found.push(format!("{}/{}", text(namespace.name()), text(service.name())));
        ControlFlow::Continue(())
    });
    found
}

fn touched(touched: Option<Touched>) -> Vec<String> {
    touched.expect("a change").addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn objects_come_and_go() {
    let mut cluster = Cluster::default();
    let objects = [
        (id(ObjectKind::Namespace, ("shop", "shop")), Object::Namespace),
        (id(ObjectKind::Service, WEB), service(&["10.96.0.1"])),
        (id(ObjectKind::Slice, ("shop", "web-x")), slice("web", &["10.0.0.1"])),
        (id(ObjectKind::Import, WEB), service(&["10.97.0.1"])),
        (id(ObjectKind::ImportSlice, ("shop", "web-y")), slice("web", &["10.0.9.1"])),
        (id(ObjectKind::Pod, ("shop", &"p".repeat(253))), Object::Pod([address("10.0.0.1")].into())),
    ];
    for (id, object) in &objects {
        assert!(cluster.set(id, Some(object.clone())).is_some(), "{id:?}");
        assert!(cluster.set(id, Some(object.clone())).is_none(), "the same again changes nothing: {id:?}");
        assert_eq!(cluster.object(id).as_ref(), Some(object));
        assert_eq!((cluster.count(id.kind), cluster.ids(id.kind)), (1, vec![id.clone()]));
    }
    let namespace = cluster.namespace(b"shop").expect("the namespace");
    assert!(namespace.is_there() && namespace.has_services(Scope::Cluster));
    assert!(namespace.service(Scope::Cluster, b"web").is_some_and(ServiceNode::has_endpoints));
    assert!(cluster.has_pod(b"shop", address("10.0.0.1")) && !cluster.has_pod(b"other", address("10.0.0.1")));
    let before = cluster.clone();
    for (id, _) in &objects {
        assert!(cluster.set(id, None).is_some() && cluster.set(id, None).is_none(), "{id:?}");
        assert_eq!((cluster.object(id), cluster.count(id.kind)), (None, 0));
    }
    assert!(cluster.is_empty() && at(&cluster, "10.0.0.1").is_empty());
    assert!(!cluster.has_pod(b"shop", address("10.0.0.1")));
    assert_eq!(at(&before, "10.0.0.1"), ["shop/web"], "a clone does not change");
}

#[test]
fn services_are_found_by_their_addresses_and_those_of_their_endpoints() {
    let mut cluster = Cluster::default();
    let web = id(ObjectKind::Service, WEB);
    let (one, two) = (id(ObjectKind::Slice, ("shop", "web-1")), id(ObjectKind::Slice, ("shop", "web-2")));
    assert_eq!(
        touched(cluster.set(&web, Some(service(&["10.96.0.1", "fd00::1"])))),
        ["10.96.0.1", "fd00::1"]
    );
    assert_eq!(
        touched(cluster.set(&one, Some(slice("web", &["10.0.0.1", "10.0.0.2"])))),
        ["10.0.0.1", "10.0.0.2"]
    );
    cluster.set(&two, Some(slice("web", &["10.0.0.2", "10.0.0.3"])));
    for known in ["10.96.0.1", "fd00::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        assert_eq!(at(&cluster, known), ["shop/web"], "{known}");
    }
    // While another slice has the endpoint, it stays.
    assert_eq!(touched(cluster.set(&one, Some(slice("web", &["10.0.0.1"])))), Vec::<String>::new());
    assert_eq!(at(&cluster, "10.0.0.2"), ["shop/web"]);
    cluster.set(&two, None);
    assert_eq!((at(&cluster, "10.0.0.2"), at(&cluster, "10.0.0.3")), (vec![], vec![]));
    // Names of endpoints are others when the service is headless.
    assert_eq!(touched(cluster.set(&web, Some(service(&[])))), ["10.0.0.1", "10.96.0.1", "fd00::1"]);
    assert!(at(&cluster, "10.96.0.1").is_empty());
    // Services of a set of clusters have no names of addresses.
    let imported =
        cluster.set(&id(ObjectKind::ImportSlice, ("shop", "web-y")), Some(slice("web", &["10.0.9.1"])));
    assert!(touched(imported).is_empty() && at(&cluster, "10.0.9.1").is_empty());
}

#[test]
fn a_slice_can_come_to_belong_to_another_service() {
    let mut cluster = Cluster::default();
    let own = id(ObjectKind::Slice, ("shop", "x"));
    cluster.set(&own, Some(slice("web", &["10.0.0.1"])));
    let keys = cluster.set(&own, Some(slice("db", &["10.0.0.1"]))).expect("a change").keys;
    assert_eq!(keys.len(), 2, "answers for both change");
    assert_eq!(at(&cluster, "10.0.0.1"), ["shop/db"]);
    let namespace = cluster.namespace(b"shop").expect("the namespace");
    assert!(namespace.service(Scope::Cluster, b"web").is_none(), "nothing is left of it");
    assert!(!namespace.is_there());
}

#[test]
fn pods_of_any_name_are_found_by_their_address() {
    let mut cluster = Cluster::default();
    let pods: Vec<_> =
        (1..=200).map(|n| (format!("web-7d4b9c-{n}"), address(&format!("10.0.1.{n}")))).collect();
    for (name, address) in &pods {
        cluster.set(&id(ObjectKind::Pod, ("shop", name)), Some(Object::Pod(Arc::new([*address]))));
    }
    assert_eq!(pods.iter().find(|(_, address)| !cluster.has_pod(b"shop", *address)), None);
    for (name, _) in &pods {
        cluster.set(&id(ObjectKind::Pod, ("shop", name)), None);
    }
    assert_eq!(pods.iter().find(|(_, address)| cluster.has_pod(b"shop", *address)), None);
}
