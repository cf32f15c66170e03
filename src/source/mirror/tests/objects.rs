//! The objects of a cluster.

use super::*;
use crate::answer::ClusterNames;
use crate::tree::{ClusterService, Namespace, Object, ObjectId, ObjectKind, Scope, ServiceTarget};

fn id(kind: ObjectKind, namespace: &str, name: &str) -> ObjectId {
    ObjectId { kind, namespace: namespace.into(), name: name.into() }
}

fn namespace(name: &str) -> (ObjectId, Option<Object>) {
    (id(ObjectKind::Namespace, name, name), Some(Object::Namespace))
}

fn service(namespace: &str, name: &str, address: [u8; 4]) -> (ObjectId, Option<Object>) {
    let target = ServiceTarget::Addresses([address.into()].into());
    let object = Object::Service(Arc::new(ClusterService { target, ports: Box::new([]) }));
    (id(ObjectKind::Service, namespace, name), Some(object))
}

fn of_cluster() -> Mirror {
    let sources = [(SourceId::Etcd, true), (SourceId::Kubernetes, true)];
    let mut mirror = Mirror::new(Keyspace::new("skydns"), &sources, &Publisher::new());
    let mut site = (*site(&["a.test.", "cluster.local.", "10.in-addr.arpa."])).clone();
    let names = ClusterNames { has_short_names: true, ..ClusterNames::new(Scope::Cluster) };
    for zone in site.zones.iter_mut().filter(|zone| zone.domain().to_ascii() == "cluster.local.") {
        zone.cluster = Some(names);
    }
    set_zones(&mut mirror, &Arc::new(site));
    mirror
}

fn list(mirror: &mut Mirror, kind: ObjectKind, objects: Vec<(ObjectId, Option<Object>)>, version: &str) {
    mirror.apply_event(SourceId::Kubernetes, Event::ObjectsBegin(kind));
    mirror.apply_event(SourceId::Kubernetes, Event::ObjectsListed(objects));
    mirror.apply_event(SourceId::Kubernetes, listed(kind, version, None));
    mirror.publish();
}

fn listed(kind: ObjectKind, version: &str, newer: Option<usize>) -> Event {
    Event::ObjectsEnd { kind, version: Some(version.into()), newer }
}

fn services(mirror: &Mirror) -> Vec<String> {
    let published = mirror.handle().published();
    let ids = published.tree.cluster().ids(ObjectKind::Service);
    ids.iter().map(|id| format!("{}/{}", id.namespace, id.name)).collect()
}

fn freshness(mirror: &Mirror) -> Vec<Freshness> {
    let freshness = mirror.handle().published().freshness.clone();
    let zones = mirror.site.as_ref().expect("a site").zones.iter();
    zones.map(|zone| freshness.of(zone)).chain([freshness.outside()]).collect()
}

#[test]
fn a_listing_takes_the_place_of_what_was_known_of_its_kind() {
    let mut mirror = of_cluster();
    list(&mut mirror, ObjectKind::Namespace, vec![namespace("shop")], "1");
    let (web, db) = (service("shop", "web", [10, 0, 0, 1]), service("shop", "db", [10, 0, 0, 2]));
    list(&mut mirror, ObjectKind::Service, vec![web.clone(), db.clone()], "2");
    assert_eq!(services(&mirror), ["shop/db", "shop/web"]);
    let version = mirror.tree.version();
    list(&mut mirror, ObjectKind::Service, vec![web.clone(), db], "3");
    assert_eq!(mirror.tree.version(), version, "what is as before is no change");
    assert_eq!(mirror.tree.cluster().version(ObjectKind::Service), Some("3"));
    list(&mut mirror, ObjectKind::Service, vec![web.clone()], "4");
    assert_eq!(services(&mirror), ["shop/web"]);
    // One that ends half-way is void.
    mirror.apply_event(SourceId::Kubernetes, Event::ObjectsBegin(ObjectKind::Service));
    mirror.apply_event(SourceId::Kubernetes, Event::ObjectsListed(vec![service("shop", "x", [10, 0, 0, 3])]));
    list(&mut mirror, ObjectKind::Service, vec![web.clone()], "5");
    assert_eq!(services(&mirror), ["shop/web"]);
    let gone = Event::ObjectsChanged(ObjectKind::Service, vec![(web.0, None)], Some("6".into()));
    mirror.apply_event(SourceId::Kubernetes, gone);
    mirror.publish();
    assert_eq!(services(&mirror), Vec::<String>::new());
    assert!(mirror.tree.cluster().namespace(b"shop").is_some_and(Namespace::is_there));
}

#[test]
fn what_a_list_has_otherwise_than_the_watch_is_counted() {
    let mut mirror = of_cluster();
    let web = |address| service("shop", "web", [10, 0, 0, address]);
    let mut audit = |objects: Vec<_>, newer: Option<usize>| {
        mirror.apply_event(SourceId::Kubernetes, Event::ObjectsBegin(ObjectKind::Service));
        mirror.apply_event(SourceId::Kubernetes, Event::ObjectsListed(objects));
        mirror.apply_event(SourceId::Kubernetes, listed(ObjectKind::Service, "1", newer));
        mirror.audit_differences
    };
    assert_eq!(audit(vec![web(1), service("shop", "db", [10, 0, 0, 9])], None), 0, "a first list");
    assert_eq!(audit(vec![web(1), service("shop", "db", [10, 0, 0, 9])], Some(0)), 0, "all as before");
    assert_eq!(
        audit(vec![web(2), service("shop", "db", [10, 0, 0, 9])], Some(1)),
        0,
        "a change after the watch"
    );
    assert_eq!(audit(vec![web(3)], Some(0)), 2, "one changed, one gone");
    assert_eq!(audit(vec![web(4)], None), 2, "the watch had not gone on");
}

#[test]
fn a_namespace_that_cannot_be_read_exists_while_it_has_services() {
    let mut mirror = of_cluster();
    let exists = |mirror: &Mirror, name: &str| {
        let cluster = mirror.tree.cluster();
        cluster.namespace(name.as_bytes()).is_some_and(|namespace| cluster.has(namespace))
    };
    list(&mut mirror, ObjectKind::Service, vec![service("shop", "web", [10, 0, 0, 1])], "1");
    assert!(!exists(&mirror, "shop"), "its namespace may come later");
    mirror.apply_event(SourceId::Kubernetes, Event::NamespacesUnread(true));
    assert!(exists(&mirror, "shop") && !exists(&mirror, "other"));
    list(&mut mirror, ObjectKind::Service, vec![], "2");
    assert!(!exists(&mirror, "shop"));
}

#[test]
fn zones_with_names_of_a_cluster_and_names_of_addresses_are_as_fresh_as_it_is() {
    use Freshness::{Current, Incomplete, Stale};
    let mut mirror = of_cluster();
    listing(&mut mirror, SourceId::Etcd, vec![]);
    assert_eq!(freshness(&mirror), [Current, Incomplete, Incomplete, Incomplete]);
    list(&mut mirror, ObjectKind::Service, vec![service("shop", "web", [10, 0, 0, 1])], "1");
    assert_eq!(freshness(&mirror)[1], Incomplete, "other kinds are not listed yet");
    mirror.apply_event(SourceId::Kubernetes, Event::InStep);
    mirror.publish();
    assert_eq!(freshness(&mirror), [Current; 4]);
    mirror.apply_event(SourceId::Kubernetes, Event::Unreachable("refused".into()));
    mirror.publish();
    assert_eq!(freshness(&mirror), [Current, Stale, Stale, Stale]);
    list(&mut mirror, ObjectKind::Service, vec![], "2");
    mirror.apply_event(SourceId::Kubernetes, Event::InStep);
    mirror.publish();
    assert_eq!(freshness(&mirror), [Current; 4]);
}

#[test]
fn a_change_of_a_cluster_gives_its_zones_another_serial() {
    let mut mirror = of_cluster();
    let site = mirror.site.clone().expect("a site");
    let serials = |mirror: &Mirror| -> Vec<_> {
        site.zones.iter().map(|zone| mirror.tree.serial_of(zone.apex()) > 1_000).collect()
    };
    mirror.tree.set_serial(1_000);
    list(&mut mirror, ObjectKind::Service, vec![service("shop", "web", [10, 0, 0, 1])], "1");
    assert_eq!(serials(&mirror), [false, true, true]);
    let mut mirror = of_cluster();
    mirror.apply_event(SourceId::Kubernetes, Event::InStep);
    assert_eq!(serials(&mirror), [false, true, false], "an empty cluster has one as well");
}

#[test]
fn services_whose_short_names_are_those_of_others_are_told() {
    let mut mirror = of_cluster();
    let mut told = vec![service("default", "dns", [10, 0, 0, 1]), service("svc", "web", [10, 0, 0, 2])];
    told.push(service("default", "web", [10, 0, 0, 3]));
    list(&mut mirror, ObjectKind::Service, told, "1");
    let noted = |mirror: &Mirror| {
        let all = mirror.writer.refusals().all();
        all.into_iter().map(|refusal| refusal.key).collect::<Vec<_>>()
    };
    assert_eq!(noted(&mirror), ["default/dns", "svc/web"]);
    list(&mut mirror, ObjectKind::Service, vec![service("svc", "web", [10, 0, 0, 2])], "2");
    assert_eq!(noted(&mirror), ["svc/web"]);
    set_zones(&mut mirror, &site(&["a.test."]));
    assert_eq!(noted(&mirror), Vec::<String>::new(), "no zone has short names any more");
}
