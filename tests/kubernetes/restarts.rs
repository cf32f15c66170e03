//! Starts with the snapshot of a cluster.

use super::kubernetes::asked::said;
use super::kubernetes::server::{ApiServer, Faults};
use super::support::{Agent, error_code, eventually};
use super::{WEB, addresses, follows, in_step, of_specification, service};
use hickory_proto::rr::RecordType;

#[test]
fn a_start_with_other_settings_reads_what_they_are_about() {
    let server = ApiServer::with_cases();
    let state = tempfile::tempdir().expect("a directory");
    let with_state = ["-state-dir", &state.path().display().to_string()];
    let start = |args: &[&str]| of_specification(&server, &[&with_state, args].concat());
    let stop = |mut agent: Agent| {
        agent.process.signal("-TERM");
        agent.process.wait();
    };
    let first = start(&[]);
    in_step(&first);
    stop(first);
    let second = start(&["-kubernetes-ignore-empty-services", "-kubernetes-endpoints", "all"]);
    in_step(&second);
    assert_eq!(
        addresses(&second, "kubernetes.default.svc.cluster.local."),
        ["10.96.0.1"],
        "its slice was not known"
    );
    stop(second);
    server.take_requests();
    let third = start(&["-kubernetes-ignore-empty-services", "-kubernetes-endpoints", "all"]);
    in_step(&third);
    let lists = server.take_requests().into_iter().filter(|path| path.contains("sendInitialEvents")).count();
    assert_eq!(lists, 0, "with the same settings it goes on from the snapshot");
    stop(third);
    // Without the server, what is not watched any more is not served.
    server.set(Faults { refuses: true, ..Faults::default() });
    let fourth = start(&["-kubernetes-endpoints", "none"]);
    assert_eq!(addresses(&fourth, WEB), ["10.96.0.10"]);
    assert_eq!(said(&fourth, "db-0.db.shop.svc.cluster.local.", RecordType::A), "SERVFAIL");
}

#[test]
fn a_start_without_the_server_answers_from_the_snapshot_of_that_cluster() {
    let server = ApiServer::with_cases();
    let state = tempfile::tempdir().expect("a directory");
    let with_state = ["-state-dir", &state.path().display().to_string()];
    let mut first = of_specification(&server, &with_state);
    in_step(&first);
    first.process.signal("-TERM");
    first.process.wait();
    server.take_requests();
    // Nobody answers: what was known is served, and the rest is not denied.
    server.set(Faults { refuses: true, ..Faults::default() });
    let agent = of_specification(&server, &with_state);
    assert_eq!(addresses(&agent, WEB), ["10.96.0.10"]);
    assert_eq!(addresses(&agent, "db-0.db.shop.svc.cluster.local."), ["10.1.0.1"]);
    assert_eq!(error_code(agent.address(), WEB), Some(3));
    assert!(agent.log().contains("services from the snapshot"), "{}", agent.log());
    for name in ["nothing.shop.svc.cluster.local.", "web.nowhere.svc.cluster.local."] {
        assert_eq!(said(&agent, name, RecordType::A), "SERVFAIL", "{name}");
    }
    assert_eq!(said(&agent, WEB, RecordType::AAAA), "NODATA", "the name is known");
    // What changed meanwhile comes by the watch, from the version of the snapshot on.
    server.delete(&service("shop", "web", "10.96.0.10"));
    server.set(Faults::default());
    assert_eq!(follows(&server, &agent, "later", "10.96.8.1"), 0, "no list is asked for");
    in_step(&agent);
    assert_eq!(said(&agent, WEB, RecordType::A), "NXDOMAIN");
    drop(agent);
    // Another cluster has taken its place: nothing of the snapshot is served any more, also if it cannot be listed.
    server.become_other("cluster-2", 500);
    server.set(Faults { status: Some((403, "/services", None)), ..Faults::default() });
    let agent = of_specification(&server, &with_state);
    eventually("the snapshot is given up", || {
        said(&agent, "dual.shop.svc.cluster.local.", RecordType::A) == "SERVFAIL"
    });
    assert!(agent.log().contains("it is of another cluster"), "{}", agent.log());
    server.set(Faults::default());
    in_step(&agent);
    assert_eq!(addresses(&agent, "dual.shop.svc.cluster.local."), ["10.96.0.11"]);
}
