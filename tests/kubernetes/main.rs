//! The services of a Kubernetes cluster, with an API server of our own that has the faults of real ones.

#[path = "../support/kubernetes/mod.rs"]
mod kubernetes;
#[path = "../support/mod.rs"]
mod support;

mod check;
mod forward;
mod restarts;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use kubernetes::asked::{check, said};
use kubernetes::cases::cases;
use kubernetes::server::{ApiServer, Faults};
use serde_json::{Value, json};
use support::judge::{KeyRing, Unbound, ds};
use support::{Agent, Setup, error_of, eventually};

/// An agent that follows a server.
fn agent(server: &ApiServer, args: &[&str]) -> Agent {
    Setup::new().args(&["-kubernetes", "-master", &server.url()]).args(args).start()
}

/// Waits until the agent says that it is in step.
fn in_step(agent: &Agent) {
    eventually("the agent is in step", || {
        agent.ask("nothing.nowhere.svc.cluster.local.", RecordType::A).response_code == ResponseCode::NXDomain
    });
}

const SPECIFICATION: &str = include_str!("specification.txt");

/// A service with an address.
fn service(namespace: &str, name: &str, address: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
           "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"name": "http", "protocol": "TCP", "port": 80}]}})
}

const WEB: &str = "web.shop.svc.cluster.local.";

#[test]
fn all_cases_are_answered_however_the_answers_of_the_server_come_in() {
    for faults in [
        Faults::default(),
        Faults { piece: 7, ..Faults::default() },
        Faults { no_stream: Some(500), ..Faults::default() },
        Faults { no_stream: Some(422), page: Some(3), piece: 1_000, ..Faults::default() },
    ] {
        let server = ApiServer::with_cases();
        server.set(faults);
        let agent = agent(&server, &["-kubernetes-domain", "cluster.local", "-no-rec"]);
        in_step(&agent);
        check(&agent, &cases(SPECIFICATION, "cluster.local."));
    }
}

/// An agent with the names of the specification.
fn of_specification(server: &ApiServer, args: &[&str]) -> Agent {
    agent(server, &[&["-kubernetes-domain", "cluster.local", "-no-rec"], args].concat())
}

fn addresses(agent: &Agent, name: &str) -> Vec<String> {
    agent.data(name, RecordType::A)
}

#[test]
fn what_changes_is_answered_at_once_and_nothing_is_left_over() {
    let server = ApiServer::with_cases();
    let agent = of_specification(&server, &[]);
    in_step(&agent);
    let new = service("shop", "new", "10.96.9.1");
    for _ in 0..20 {
        assert_eq!(said(&agent, "new.shop.svc.cluster.local.", RecordType::A), "NXDOMAIN");
        server.put(&new);
        eventually("the service is there", || {
            addresses(&agent, "new.shop.svc.cluster.local.") == ["10.96.9.1"]
        });
        assert_eq!(agent.data("1.9.96.10.in-addr.arpa.", RecordType::PTR), ["new.shop.svc.cluster.local."]);
        server.delete(&new);
        eventually("the service is gone", || {
            said(&agent, "new.shop.svc.cluster.local.", RecordType::A) == "NXDOMAIN"
        });
        assert!(agent.data("1.9.96.10.in-addr.arpa.", RecordType::PTR).is_empty());
    }
    // A service becomes headless, and its namespace goes.
    server.put(&service("shop", "db", "10.96.9.2"));
    eventually("it has an address", || addresses(&agent, "db.shop.svc.cluster.local.") == ["10.96.9.2"]);
    server.delete(&json!({"kind": "Namespace", "metadata": {"name": "shop"}}));
    eventually("the namespace is gone", || said(&agent, WEB, RecordType::A) == "NXDOMAIN");
    assert_eq!(said(&agent, "shop.svc.cluster.local.", RecordType::A), "NXDOMAIN");
}

/// Waits until a new service is followed; returns how often lists were asked for meanwhile.
fn follows(server: &ApiServer, agent: &Agent, name: &str, address: &str) -> usize {
    server.put(&service("shop", name, address));
    eventually("a new service is followed", || {
        addresses(agent, &format!("{name}.shop.svc.cluster.local.")) == [address]
    });
    let is_list = |path: &&String| {
        path.contains("/services?") && (!path.contains("watch=") || path.contains("sendInitialEvents"))
    };
    server.take_requests().iter().filter(is_list).filter(|path| !path.contains("limit=1")).count()
}

#[test]
fn a_watch_that_is_lost_goes_on_from_where_it_was() {
    let server = ApiServer::with_cases();
    let agent = of_specification(&server, &[]);
    in_step(&agent);
    server.take_requests();
    for round in 0..5 {
        server.cut();
        let (name, address) = (format!("again-{round}"), format!("10.96.8.{round}"));
        assert_eq!(follows(&server, &agent, &name, &address), 0, "no list is asked for");
    }
    in_step(&agent);
}

#[test]
fn a_version_that_is_forgotten_is_listed_anew() {
    for gone_as_status in [false, true] {
        let server = ApiServer::with_cases();
        server.set(Faults { gone_as_status, ..Faults::default() });
        let agent = of_specification(&server, &[]);
        in_step(&agent);
        server.take_requests();
        server.set(Faults { refuses: true, gone_as_status, ..Faults::default() });
        server.cut();
        server.delete(&service("shop", "web", "10.96.0.10"));
        server.compact();
        assert_eq!(addresses(&agent, WEB), ["10.96.0.10"], "what is known is answered meanwhile");
        server.set(Faults { gone_as_status, ..Faults::default() });
        assert_eq!(follows(&server, &agent, "later", "10.96.8.1"), 1);
        assert_eq!(said(&agent, WEB, RecordType::A), "NXDOMAIN", "what is gone is gone");
    }
}

#[test]
fn another_cluster_and_one_that_has_gone_back_are_read_anew() {
    for (uid, version) in [("cluster-2", 90), ("cluster-2", 100_000), ("cluster-1", 90)] {
        let server = ApiServer::with_cases();
        let agent = of_specification(&server, &[]);
        in_step(&agent);
        server.set(Faults { refuses: true, ..Faults::default() });
        server.cut();
        server.delete(&service("shop", "web", "10.96.0.10"));
        server.become_other(uid, version);
        server.set(Faults::default());
        follows(&server, &agent, "later", "10.96.8.1");
        assert_eq!(said(&agent, WEB, RecordType::A), "NXDOMAIN", "{uid} {version}");
    }
}

#[test]
fn one_wrong_empty_list_is_not_believed() {
    for no_stream in [None, Some(500)] {
        let server = ApiServer::with_cases();
        server.set(Faults { no_stream, ..Faults::default() });
        let agent = of_specification(&server, &[]);
        in_step(&agent);
        server.set(Faults { refuses: true, ..Faults::default() });
        server.cut();
        server.compact();
        server.put(&service("shop", "later", "10.96.8.1"));
        server.compact();
        server.set(Faults { empty_lists: 1, no_stream, ..Faults::default() });
        eventually("it is read again", || {
            assert_eq!(addresses(&agent, WEB), ["10.96.0.10"], "{}", agent.log());
            addresses(&agent, "later.shop.svc.cluster.local.") == ["10.96.8.1"]
        });
        // Who says so twice is believed.
        server.set(Faults { refuses: true, ..Faults::default() });
        server.cut();
        for case in kubernetes::cases::objects().iter().filter(|case| case.kind == "service") {
            server.delete(&kubernetes::object(case));
        }
        server.compact();
        server.set(Faults { no_stream, ..Faults::default() });
        eventually("all services are gone", || said(&agent, WEB, RecordType::A) == "NXDOMAIN");
        assert!(agent.log().contains("services, so it is asked for once more"), "{}", agent.log());
    }
}

#[test]
fn a_server_that_is_away_changes_no_answer_and_is_followed_soon_after() {
    let server = ApiServer::with_cases();
    let agent = of_specification(&server, &[]);
    in_step(&agent);
    server.set(Faults { refuses: true, ..Faults::default() });
    server.cut();
    eventually("the loss is noticed", || support::error_code(agent.address(), WEB) == Some(3));
    assert_eq!(addresses(&agent, WEB), ["10.96.0.10"]);
    let unknown = agent.ask("nothing.shop.svc.cluster.local.", RecordType::A);
    assert_eq!((unknown.response_code, error_of(&unknown)), (ResponseCode::NXDomain, None));
    std::thread::sleep(std::time::Duration::from_secs(2));
    server.set(Faults::default());
    follows(&server, &agent, "later", "10.96.8.1");
    eventually("it is fresh again", || support::error_code(agent.address(), WEB).is_none());
}

#[test]
fn without_the_server_nothing_is_denied() {
    let server = ApiServer::with_cases();
    server.set(Faults { refuses: true, ..Faults::default() });
    let agent = of_specification(&server, &[]);
    assert_eq!(said(&agent, WEB, RecordType::A), "SERVFAIL");
    assert_eq!(support::error_code(agent.address(), WEB), Some(14));
    assert_eq!(
        said(&agent, "web.skydns.local.", RecordType::A),
        "NXDOMAIN",
        "other zones do not wait for it"
    );
    assert_eq!(said(&agent, "10.0.96.10.in-addr.arpa.", RecordType::PTR), "SERVFAIL");
    server.set(Faults::default());
    eventually("the server is read", || addresses(&agent, WEB) == ["10.96.0.10"]);
    in_step(&agent);
}

#[test]
fn refusals_are_told_with_what_to_do_and_end_by_themselves() {
    for (status, text, retry_after, told) in [
        (403, "/services", None, "the right to list and watch services is missing (403)"),
        (403, "/endpointslices", None, "the right to list and watch endpointslices is missing (403)"),
        (429, "/", Some(1), "the server is busy (429)"),
        (503, "/", None, "the server refuses to give"),
    ] {
        let server = ApiServer::with_cases();
        server.set(Faults { status: Some((status, text, retry_after)), ..Faults::default() });
        let agent = of_specification(&server, &[]);
        eventually("it is told", || agent.log().contains(told));
        assert_eq!(said(&agent, "nothing.shop.svc.cluster.local.", RecordType::A), "SERVFAIL", "{status}");
        server.set(Faults::default());
        in_step(&agent);
        assert_eq!(addresses(&agent, WEB), ["10.96.0.10"]);
        eventually("it is told", || agent.log().contains("kubernetes: in sync, 27 services"));
    }
}

#[test]
fn without_the_right_to_namespaces_services_tell_which_exist() {
    let server = ApiServer::with_cases();
    server.set(Faults { status: Some((403, "/namespaces?", None)), ..Faults::default() });
    let agent = of_specification(&server, &[]);
    in_step(&agent);
    assert_eq!(addresses(&agent, WEB), ["10.96.0.10"]);
    assert_eq!(said(&agent, "shop.svc.cluster.local.", RecordType::A), "NODATA");
    assert_eq!(said(&agent, "empty.svc.cluster.local.", RecordType::A), "NXDOMAIN");
    assert_eq!(addresses(&agent, "web.gone.svc.cluster.local."), ["10.96.1.9"]);
    assert!(agent.log().contains("the right to list and watch namespaces is missing"), "{}", agent.log());
}

#[test]
fn without_the_api_of_several_clusters_all_other_names_are_answered_and_denied() {
    let server = ApiServer::with_cases();
    server.set(Faults { status: Some((404, "/serviceimports", None)), ..Faults::default() });
    let of_clusters = ["-kubernetes-multicluster", "clusterset.local"];
    let agent = of_specification(&server, &of_clusters);
    in_step(&agent);
    assert_eq!(addresses(&agent, WEB), ["10.96.0.10"]);
    assert_eq!(said(&agent, "web.shop.svc.clusterset.local.", RecordType::A), "NXDOMAIN");
    assert!(agent.log().contains("the server has no serviceimports"), "{}", agent.log());
    let url = server.url();
    let (code, text) = check::checked(&[&["-kubernetes", "-master", &url], &of_clusters[..]].concat());
    assert!(
        text.contains("note: kubernetes: ") && text.contains("the server has no serviceimports"),
        "{text}"
    );
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_token_that_is_renewed_is_used_and_never_logged() {
    let server = ApiServer::with_cases();
    server.set(Faults { token: Some("secret-1".to_owned()), ..Faults::default() });
    let dir = tempfile::tempdir().expect("a directory");
    let (token, config) = (dir.path().join("token"), dir.path().join("config"));
    std::fs::write(&token, "secret-1").expect("a file");
    let text = format!(
        "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: '{}'}}}}]\nusers: [{{name: u, user: {{tokenFile: token}}}}]\n",
        server.url()
    );
    std::fs::write(&config, text).expect("a file");
    let args =
        ["-kubernetes", "-kubeconfig", &config.display().to_string(), "-kubernetes-domain", "cluster.local"];
    let agent = Setup::new().args(&args).args(&["-log-level", "debug"]).start();
    in_step(&agent);
    server.set(Faults { token: Some("secret-2".to_owned()), ..Faults::default() });
    server.cut();
    eventually("it is told", || agent.log().contains("the server does not know who asks (401)"));
    assert_eq!(addresses(&agent, WEB), ["10.96.0.10"]);
    std::fs::write(&token, "secret-2").expect("a file");
    follows(&server, &agent, "later", "10.96.8.1");
    assert!(!agent.log().contains("secret"), "{}", agent.log());
}

#[test]
fn names_of_skydns_stand_in_the_domain_and_write_nothing() {
    let server = ApiServer::with_cases();
    let agent = agent(&server, &["-domain", "kubernetes.local.", "-no-rec"]);
    eventually("the agent is in step", || {
        said(&agent, "nothing.kubernetes.local.", RecordType::A) == "NXDOMAIN"
    });
    check(&agent, &cases(include_str!("short.txt"), "kubernetes.local."));
    let log = agent.log();
    assert!(!log.contains("etcd"), "etcd is no source: {log}");
    for told in ["default/dns: its shortest name", "svc/web: its short name"] {
        assert!(log.contains(told), "{log}");
    }
}

#[test]
fn options_add_names_and_leave_others_out() {
    let server = ApiServer::with_cases();
    let of_all = ["-kubernetes-endpoints", "all", "-kubernetes-pods", "verified"];
    let more = ["-kubernetes-ignore-empty-services", "-kubernetes-zonal"];
    let agent = of_specification(&server, &[&of_all[..], &more].concat());
    in_step(&agent);
    check(&agent, &cases(include_str!("extensions.txt"), "cluster.local."));
    let agent =
        of_specification(&server, &["-kubernetes-pods", "insecure", "-kubernetes-namespaces", "shop,empty"]);
    in_step(&agent);
    check(&agent, &cases(include_str!("insecure-pods.txt"), "cluster.local."));
    assert_eq!(said(&agent, "kubernetes.default.svc.cluster.local.", RecordType::A), "NXDOMAIN");
    let agent = of_specification(&server, &["-kubernetes-multicluster", "clusterset.local"]);
    in_step(&agent);
    check(&agent, &cases(include_str!("clusterset.txt"), "clusterset.local."));
    let agent = of_specification(&server, &["-kubernetes-endpoints", "none"]);
    in_step(&agent);
    assert_eq!(said(&agent, "db.shop.svc.cluster.local.", RecordType::A), "NXDOMAIN");
}

#[test]
fn reverse_zones_alone_take_no_names_away() {
    let server = ApiServer::with_cases();
    let domains = ["-domain", "kubernetes.local", "-kubernetes-domain", "10.96.0.0/16", "-no-rec"];
    let agent = agent(&server, &domains);
    eventually("the agent is in step", || addresses(&agent, "web.shop.kubernetes.local.") == ["10.96.0.10"]);
    let pointer = "10.0.96.10.in-addr.arpa.";
    assert_eq!(agent.data(pointer, RecordType::PTR), ["web.shop.svc.kubernetes.local."]);
    assert_eq!(said(&agent, "99.0.96.10.in-addr.arpa.", RecordType::PTR), "NXDOMAIN");
}

#[test]
fn a_domain_that_is_to_have_names_of_both_kinds_is_told() {
    let server = ApiServer::with_cases();
    let agent = of_specification(&server, &["-kubernetes-multicluster", "cluster.local"]);
    let told = "names cluster.local., a domain of its own";
    assert!(agent.log().contains(told), "{}", agent.log());
}

#[test]
fn a_reload_changes_no_name_server() {
    let server = ApiServer::with_cases();
    let agent = of_specification(&server, &[]);
    in_step(&agent);
    for round in 1..=3 {
        agent.process.signal("-HUP");
        eventually("it is reloaded", || agent.log().matches("reloaded").count() >= round);
        for _ in 0..20 {
            assert_eq!(agent.data("cluster.local.", RecordType::NS), ["ns.dns.cluster.local."]);
        }
    }
    assert!(!agent.log().contains("settings changed"), "{}", agent.log());
}

#[test]
fn a_right_that_is_missing_for_a_moment_is_not_told() {
    let server = ApiServer::with_cases();
    let agent = of_specification(&server, &[]);
    in_step(&agent);
    // As a server that has just begun, and has not read its rules.
    server.set(Faults { status: Some((403, "/", None)), ..Faults::default() });
    server.cut();
    std::thread::sleep(std::time::Duration::from_secs(1));
    server.set(Faults::default());
    follows(&server, &agent, "later", "10.96.8.1");
    assert!(!agent.log().contains("is missing"), "{}", agent.log());
    assert_eq!(
        said(&agent, "empty.svc.cluster.local.", RecordType::A),
        "NODATA",
        "namespaces are those of the cluster"
    );
}

#[test]
fn a_right_that_stays_missing_is_told_after_a_while() {
    let server = ApiServer::with_cases();
    let agent = of_specification(&server, &[]);
    in_step(&agent);
    server.set(Faults { status: Some((403, "/services", None)), ..Faults::default() });
    server.cut();
    let begun = std::time::Instant::now();
    let is_told = || agent.log().contains("the right to list and watch services is missing (403)");
    while !is_told() {
        assert!(begun.elapsed().as_secs() < 60, "{}", agent.log());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(begun.elapsed().as_secs() >= 15, "a server that has just begun is waited for");
    assert_eq!(addresses(&agent, WEB), ["10.96.0.10"]);
    assert_eq!(support::error_code(agent.address(), WEB), Some(3));
    server.set(Faults::default());
    follows(&server, &agent, "later", "10.96.8.1");
}

#[test]
fn the_name_of_an_address_goes_and_comes_with_that_of_its_service() {
    let server = ApiServer::with_cases();
    let hides = ["-kubernetes-ignore-empty-services", "-kubernetes-domain", "cluster.local,10.96.0.0/16"];
    let agent = agent(&server, &[&hides[..], &["-no-rec"]].concat());
    in_step(&agent);
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": "shop", "name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["10.1.8.1"], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "protocol": "TCP", "port": 80}]});
    let pointer = "10.0.96.10.in-addr.arpa.";
    for _ in 0..2 {
        // Asked more than once, it is answered from the cache.
        (0..3).for_each(|_| assert_eq!(said(&agent, pointer, RecordType::PTR), "NXDOMAIN"));
        server.put(&slice);
        eventually("it has a name", || said(&agent, WEB, RecordType::A) == "10.96.0.10");
        (0..3).for_each(|_| assert_eq!(agent.data(pointer, RecordType::PTR), [WEB]));
        server.delete(&slice);
        eventually("it has none", || said(&agent, WEB, RecordType::A) == "NXDOMAIN");
    }
}

#[test]
fn every_zone_has_this_agent_as_its_name_server() {
    let server = ApiServer::with_cases();
    let zones = "cluster.local,second.example,10.96.0.0/16";
    let agent = agent(
        &server,
        &[
            "-kubernetes-domain",
            zones,
            "-kubernetes-multicluster",
            "clusterset.local",
            "-kubernetes-ttl",
            "7",
            "-no-rec",
        ],
    );
    in_step(&agent);
    for zone in ["cluster.local.", "second.example.", "clusterset.local.", "96.10.in-addr.arpa."] {
        let answer = agent.ask(zone, RecordType::NS);
        assert_eq!(answer.answers.len(), 1, "{answer}");
        let record = &answer.answers[0];
        assert_eq!((record.ttl, record.data.to_string()), (7, "ns.dns.cluster.local.".to_owned()), "{zone}");
        assert_eq!(answer.additionals.len(), 1, "its address: {answer}");
        let soa = agent.ask(zone, RecordType::SOA);
        assert_eq!(soa.answers[0].ttl, 7, "{soa}");
        assert!(soa.answers[0].data.to_string().starts_with("ns.dns.cluster.local. "), "{soa}");
    }
    assert_eq!(addresses(&agent, "ns.dns.cluster.local."), ["127.0.0.1"]);
    assert_eq!(said(&agent, "ns.dns.cluster.local.", RecordType::AAAA), "NODATA");
    assert_eq!(said(&agent, "dns.cluster.local.", RecordType::A), "NODATA");
    assert_eq!(said(&agent, "other.dns.cluster.local.", RecordType::A), "NXDOMAIN");
    assert_eq!(said(&agent, "web.skydns.local.", RecordType::NS), "NXDOMAIN");
    // Both zones have the names of the cluster, and reverse names lead to the first one.
    assert_eq!(addresses(&agent, "web.shop.svc.second.example."), ["10.96.0.10"]);
    assert_eq!(agent.data("10.0.96.10.in-addr.arpa.", RecordType::PTR), ["web.shop.svc.cluster.local."]);
    let unknown = agent.ask("99.0.96.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(unknown.response_code, ResponseCode::NXDomain);
    assert_eq!((unknown.authorities[0].ttl, unknown.authorities.len()), (7, 1), "{unknown}");
}

#[test]
fn the_name_server_has_each_address_that_the_agent_is_asked_at_and_a_ttl_may_be_0() {
    let (server, port) = (ApiServer::with_cases(), support::free_port());
    let addresses_of_agent = format!("127.0.0.1:{port},[::1]:{port}");
    let args = ["-kubernetes", "-master", &server.url(), "-kubernetes-domain", "cluster.local", "-no-rec"];
    let agent = Setup::new()
        .port(port)
        .args(&args)
        .args(&["-addr", &addresses_of_agent, "-kubernetes-ttl", "0"])
        .start();
    in_step(&agent);
    for (rtype, address) in [(RecordType::A, "127.0.0.1"), (RecordType::AAAA, "::1")] {
        assert_eq!(agent.data("ns.dns.cluster.local.", rtype), [address]);
    }
    for (name, rtype) in [
        (WEB, RecordType::A),
        (WEB, RecordType::AAAA),
        ("cluster.local.", RecordType::NS),
        ("no.svc.cluster.local.", RecordType::A),
    ] {
        for _ in 0..2 {
            let answer = agent.ask(name, rtype);
            let ttls: Vec<_> =
                answer.answers.iter().chain(&answer.authorities).map(|record| record.ttl).collect();
            assert_eq!(ttls, [0], "{answer}");
        }
    }
}

#[test]
fn a_name_server_of_the_store_comes_before_this_agent() {
    let server = ApiServer::with_cases();
    let agent = Setup::new()
        .args(&["-kubernetes", "-master", &server.url(), "-domain", "kubernetes.local", "-no-rec"])
        .record("/skydns/local/kubernetes/dns/ns/a", r#"{"host":"10.0.0.53"}"#)
        .start();
    eventually("the agent is in step", || {
        said(&agent, "nothing.kubernetes.local.", RecordType::A) == "NXDOMAIN"
    });
    assert_eq!(agent.data("kubernetes.local.", RecordType::NS), ["a.ns.dns.kubernetes.local."]);
    assert_eq!(addresses(&agent, "ns.dns.kubernetes.local."), ["10.0.0.53"]);
}

#[test]
fn signed_names_of_a_cluster_are_believed() {
    let keys = KeyRing::new();
    let key = keys.own_for("cluster.local", &[]);
    for denial in ["nsec3", "compact"] {
        let server = ApiServer::with_cases();
        let path = keys.path().display().to_string();
        let agent = of_specification(&server, &["-dnssec", &path, "-denial", denial]);
        in_step(&agent);
        let unbound =
            Unbound::start_for(&["cluster.local"], agent.address(), &ds(&[&key]), "qname-minimisation: yes");
        for case in cases(SPECIFICATION, "cluster.local.") {
            if case.name.ends_with("arpa.")
                || case.name.starts_with("outside.")
                || case.name.starts_with("alias.")
            {
                continue;
            }
            let answer = unbound.believes(&case.name, case.rtype.parse().expect(case.rtype));
            let is_denied = matches!(case.answer, "NODATA" | "NXDOMAIN");
            let data = answer.answers.iter().filter(|record| record.record_type() != RecordType::RRSIG);
            let expected = if is_denied { 0 } else { case.answer.split(" | ").count() };
            assert!(
                case.answer.contains(" N") || data.count() == expected,
                "{} {}\n{answer}",
                case.name,
                case.rtype
            );
        }
    }
}

#[test]
fn what_does_nothing_is_told_once_and_all_domains_are_named() {
    let server = ApiServer::with_cases();
    let agent = of_specification(&server, &["-kubernetes-forward", "127.0.0.1:1"]);
    let log = agent.log();
    assert_eq!(
        log.matches("-kubernetes-forward (SKYDNS_KUBERNETES_FORWARD) does nothing").count(),
        1,
        "{log}"
    );
    assert!(log.contains("ready for queries on skydns.local. and cluster.local. for udp://"), "{log}");
}
