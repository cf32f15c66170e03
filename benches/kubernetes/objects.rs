//! The objects of a large cluster: 10,000 services, of which half are headless and have a slice with ten endpoints each.

use super::real::Cluster;
use super::writer::Writer;
use serde_json::{Value, json};
use std::thread;

pub(crate) const SERVICES: usize = 10_000;
pub(crate) const HEADLESS: usize = SERVICES / 2;
const NAMESPACES: usize = 20;
const ENDPOINTS: usize = 10;

/// Connections that write at once.
pub(crate) const WRITERS: usize = 4;

pub(crate) fn namespace(service: usize) -> String {
    format!("ns-{}", service % NAMESPACES)
}

fn service(number: usize) -> Value {
    let mut spec = json!({"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]});
    if number < HEADLESS {
        spec["clusterIP"] = json!("None");
    }
    let metadata = json!({"name": format!("svc-{number}"), "namespace": namespace(number)});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
}

/// The slice of a service, with an address that changes.
fn slice(number: usize, changing: [u8; 4]) -> Value {
    let service = format!("svc-{number}");
    let endpoints: Vec<_> = (0..ENDPOINTS)
        .map(|at| {
            let id = number * ENDPOINTS + at;
            let [a, b, c, d] = if at == 3 {
                changing
            } else {
                [10, 1 + (id / 62_500) as u8, (id / 250 % 250) as u8, (id % 250 + 1) as u8]
            };
            json!({"addresses": [format!("{a}.{b}.{c}.{d}")], "hostname": format!("h-{at}"), "conditions": {"ready": true},
                   "nodeName": format!("node-{at}"),
                   "targetRef": {"kind": "Pod", "namespace": namespace(number), "name": format!("{service}-{at}")}})
        })
        .collect();
    let labels = json!({"kubernetes.io/service-name": service, "service.kubernetes.io/headless": ""});
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
           "metadata": {"name": format!("{service}-x"), "namespace": namespace(number), "labels": labels},
           "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints})
}

/// Changes an address of a slice.
pub(crate) fn change(writer: &mut Writer, number: usize, address: [u8; 4]) {
    let path =
        format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices/svc-{number}-x", namespace(number));
    let status = writer.send("PUT", &path, &slice(number, address));
    assert_eq!(status, 200, "{path}");
}

/// Creates all objects.
pub(crate) fn create(cluster: &Cluster) {
    let mut writer = Writer::connect(cluster);
    for number in 0..NAMESPACES {
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace(number)}});
        assert_eq!(writer.send("POST", "/api/v1/namespaces", &object), 201);
    }
    thread::scope(|scope| {
        for at in 0..WRITERS {
            scope.spawn(move || {
                let mut writer = Writer::connect(cluster);
                for number in (at..SERVICES).step_by(WRITERS) {
                    let namespace = namespace(number);
                    let path = format!("/api/v1/namespaces/{namespace}/services");
                    assert_eq!(writer.send("POST", &path, &service(number)), 201, "{path}");
                    if number < HEADLESS {
                        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
                        let slice = slice(number, [10, 9, 9, 9]);
                        assert_eq!(writer.send("POST", &path, &slice), 201, "{path}");
                    }
                }
            });
        }
    });
}
