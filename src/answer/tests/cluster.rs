//! Names of a Kubernetes cluster: the cases of `tests/kubernetes/`.

use super::{SiteFixture, name};
use crate::answer::{Answer, ClusterNames, Mode, Outcome, PodNames, Zone, Zones};
use crate::service::{Key, Service};
use crate::tree::{
    ClusterService, Endpoint, Entry, Layer, Object, ObjectId, ObjectKind, Port, Protocol, Scope,
    ServiceTarget, Slice,
};
use cases::{Case, CaseObject, CasePort, CaseTarget, cases, objects};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{DNSClass, RData, RecordType};
use std::net::IpAddr;
use std::sync::Arc;

#[allow(unreachable_pub)]
#[path = "../../../tests/support/kubernetes/cases.rs"]
mod cases;

/// Which slices are watched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Endpoints {
    Headless,
    All,
}

fn address(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn ports(ports: &[CasePort]) -> Vec<Port> {
    let protocol = |port: &CasePort| Protocol::of_label(port.protocol.as_bytes()).expect("a protocol");
    ports
        .iter()
        .map(|port| Port { name: port.name.into(), protocol: protocol(port), number: port.number })
        .collect()
}

/// The object of a line, as a source has it.
fn object(case: &CaseObject) -> (ObjectKind, Object) {
    let service = || {
        let target = match &case.target {
            CaseTarget::Headless => ServiceTarget::Endpoints,
            CaseTarget::Alias(target) => ServiceTarget::Alias(name(target)),
            CaseTarget::Addresses(all) => {
                ServiceTarget::Addresses(all.iter().map(|one| address(one)).collect())
            }
        };
        Object::Service(Arc::new(ClusterService { target, ports: ports(&case.ports).into() }))
    };
    let slice = || {
        let ready = case.endpoints.iter().filter(|endpoint| endpoint.is_ready);
        let endpoints = ready.map(|endpoint| Endpoint {
            address: address(endpoint.address),
            hostname: endpoint.hostname.map(Into::into),
            zone: endpoint.zone.map(Into::into),
        });
        Object::Slice(Arc::new(Slice {
            service: case.service.into(),
            cluster: case.cluster.map(Into::into),
            ports: ports(&case.ports).into(),
            endpoints: endpoints.collect(),
        }))
    };
    match (case.kind, &case.target) {
        ("namespace", _) => (ObjectKind::Namespace, Object::Namespace),
        ("service", _) => (ObjectKind::Service, service()),
        ("import", _) => (ObjectKind::Import, service()),
        ("slice", _) => (ObjectKind::Slice, slice()),
        ("import-slice", _) => (ObjectKind::ImportSlice, slice()),
        ("pod", CaseTarget::Addresses(all)) => {
            (ObjectKind::Pod, Object::Pod(all.iter().map(|one| address(one)).collect()))
        }
        (kind, _) => panic!("{kind}"),
    }
}

/// A site with all objects, and names of them below a domain.
fn site(domain: &str, names: ClusterNames, endpoints: Endpoints) -> SiteFixture {
    let mut site = SiteFixture::new(&[]);
    let all = objects();
    let is_headless = |slice: &CaseObject| {
        let of_slice = |case: &&CaseObject| {
            case.kind == "service" && (case.namespace, case.name) == (slice.namespace, slice.service)
        };
        all.iter().find(of_slice).is_none_or(|service| service.target == CaseTarget::Headless)
    };
    for case in &all {
        if case.kind == "slice" && endpoints == Endpoints::Headless && !is_headless(case) {
            continue;
        }
        let (kind, object) = object(case);
        let id = ObjectId { kind, namespace: case.namespace.into(), name: case.name.into() };
        site.tree.set_object(&id, Some(object));
    }
    let mut zone = Zone::new(&name(domain));
    (zone.cluster, zone.ttl, zone.min_ttl) = (Some(names), names.ttl, names.ttl);
    site.served.zones = Zones::new(zone, []);
    site
}

/// What a case says of an answer.
fn said(answer: &Answer) -> String {
    let mut data: Vec<_> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    let is_chain = answer.answers.first().is_some_and(|record| matches!(record.data, RData::CNAME(_)));
    let is_end = answer.answers.last().is_none_or(|record| matches!(record.data, RData::CNAME(_)));
    if !is_chain {
        data.sort_unstable();
    }
    let mut said = data.join(" | ");
    if answer.rcode != ResponseCode::NoError || is_end && !answer.authorities.is_empty() {
        let end = match answer.rcode {
            ResponseCode::NoError => "NODATA",
            ResponseCode::NXDomain => "NXDOMAIN",
            rcode => panic!("{rcode}"),
        };
        said = format!("{said} {end}");
    }
    said.trim_start().to_owned()
}

fn check(site: &SiteFixture, text: &'static str) {
    let zone = site.served.zones.first();
    check_cases(site, zone.ttl, &cases(text, &zone.domain().to_ascii()));
}

fn check_cases(site: &SiteFixture, ttl: u32, cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let rtype: RecordType = case.rtype.parse().expect(case.rtype);
        let found = match site.outcome(&case.name, rtype, DNSClass::IN) {
            Outcome::Answered(answer) => {
                for record in &answer.answers {
                    let ttl = if record.record_type() == RecordType::TXT { 28_800 } else { ttl };
                    assert_eq!(record.ttl, ttl, "{} {}", case.name, case.rtype);
                }
                said(&answer)
            }
            Outcome::Forward => "FORWARD".to_owned(),
            Outcome::ForwardExisting => "FORWARD EXISTING".to_owned(),
            other @ Outcome::Lookup(_) => panic!("{}: {other:?}", case.name),
        };
        if found != case.answer {
            wrong.push(format!("{} {}: {found}, and not {}", case.name, case.rtype, case.answer));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_those_of_the_specification() {
    let names = ClusterNames::new(Scope::Cluster);
    let site = site("cluster.local.", names, Endpoints::Headless);
    check(&site, include_str!("../../../tests/kubernetes/specification.txt"));
}

#[test]
fn names_of_skydns_stand_beside_those_of_the_specification_in_both_modes() {
    let names = ClusterNames { has_short_names: true, ttl: 30, ..ClusterNames::new(Scope::Cluster) };
    let mut site = site("kubernetes.local.", names, Endpoints::Headless);
    for mode in [Mode::Subtree, Mode::Exact] {
        site.served.zones.first_mut().mode = mode;
        check(&site, include_str!("../../../tests/kubernetes/short.txt"));
    }
}

#[test]
fn options_add_names() {
    let names = ClusterNames { hides_empty: true, has_zonal: true, ..ClusterNames::new(Scope::Cluster) };
    let verified = ClusterNames { pods: PodNames::Verified, ..names };
    let extended = site("cluster.local.", verified, Endpoints::All);
    check(&extended, include_str!("../../../tests/kubernetes/extensions.txt"));
    let insecure = ClusterNames { pods: PodNames::Insecure, ..names };
    let insecure = site("cluster.local.", insecure, Endpoints::All);
    check(&insecure, include_str!("../../../tests/kubernetes/insecure-pods.txt"));
}

#[test]
fn services_of_several_clusters_have_names_of_their_own() {
    let names = ClusterNames::new(Scope::ClusterSet);
    let site = site("clusterset.local.", names, Endpoints::Headless);
    check(&site, include_str!("../../../tests/kubernetes/clusterset.txt"));
}

#[test]
fn keys_of_a_store_stand_beside_names_of_a_cluster() {
    let names = ClusterNames { has_short_names: true, ttl: 30, ..ClusterNames::new(Scope::Cluster) };
    let mut site = site("kubernetes.local.", names, Endpoints::Headless);
    for (layer, key, host) in [
        // Below a namespace, a name of its own, and a wildcard.
        (Layer(1), "a.pool.shop.kubernetes.local.", "10.2.0.1"),
        (Layer(1), "b.pool.shop.kubernetes.local.", "10.2.0.2"),
        (Layer(1), "*.kubernetes.local.", "10.2.0.3"),
        // The name of a service, below it, and as a file.
        (Layer(1), "web.shop.kubernetes.local.", "10.2.0.4"),
        (Layer(1), "x.web.shop.kubernetes.local.", "10.2.0.5"),
        (Layer(3), "dual.shop.kubernetes.local.", "10.2.0.6"),
    ] {
        let service = Service::from_json(format!(r#"{{"host":"{host}","ttl":30}}"#).as_bytes()).expect(host);
        site.tree.put(&Key::from_name(&name(key)), layer, Entry::new(service));
    }
    let both = "pool.shop  A  10.2.0.1 | 10.2.0.2
        a.pool.shop    A  10.2.0.1
        web.shop       A  10.96.0.10
        x.web.shop     A  10.2.0.5
        dual.shop      A  10.2.0.6
        nothing.shop   A  NXDOMAIN";
    check(&site, both);
    check(&site, "shop  A  10.2.0.1 | 10.2.0.2 | 10.2.0.4 | 10.2.0.5 | 10.2.0.6");
    site.served.zones.first_mut().mode = Mode::Exact;
    check(&site, both);
    // A leaf key gives its data to the name above, as ever. The wildcard is for names next to it, and not for those below a namespace, which exists (RFC 4592 §2.2.1).
    check(&site, "shop  A  10.2.0.6\n nothing  A  10.2.0.3\n a.b  A  10.2.0.3");
}
