//! The services of a cluster with Kubernetes' own API server and etcd.

#[path = "support/kubernetes/mod.rs"]
mod kubernetes;
#[path = "support/kubernetes/real.rs"]
mod real;
mod support;

use hickory_proto::rr::RecordType;
use kubernetes::asked::{check, said};
use kubernetes::cases::{Case, cases};
use real::{ADMIN, Cluster, NOBODY};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::certificates::Certificates;
use support::etcd::Etcd;
use support::{Agent, Setup, eventually};

const WEB: &str = "web.shop.svc.cluster.local.";

fn agent(cluster: &Cluster, args: &[&str]) -> Agent {
    let config = cluster.kubeconfig(ADMIN);
    let of_cluster =
        ["-kubernetes", "-kubeconfig", &config, "-kubernetes-domain", "cluster.local", "-no-rec"];
    Setup::new().args(&of_cluster).args(args).start()
}

fn in_step(agent: &Agent) {
    let denied = || said(agent, "nothing.shop.svc.cluster.local.", RecordType::A) == "NXDOMAIN";
    eventually("the agent is in step", denied);
}

fn addresses(agent: &Agent, name: &str) -> Vec<String> {
    agent.data(name, RecordType::A)
}

fn service(name: &str, address: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name},
           "spec": {"clusterIP": address, "ports": [{"name": "http", "protocol": "TCP", "port": 80}]}})
}

/// Waits until a new service is followed.
fn follows(cluster: &Cluster, agent: &Agent, name: &str, address: &str) {
    cluster.create(&service(name, address));
    eventually("a new service is followed", || {
        addresses(agent, &format!("{name}.shop.svc.cluster.local.")) == [address]
    });
}

/// The cases without those of a service that the server does not take.
fn possible(cases: Vec<Case>) -> Vec<Case> {
    cases.into_iter().filter(|case| !case.name.starts_with("bare.")).collect()
}

#[test]
fn all_cases_are_answered_from_a_real_server() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    cluster.create_cases();
    let specification = agent(&cluster, &[]);
    in_step(&specification);
    check(&specification, &possible(cases(include_str!("kubernetes/specification.txt"), "cluster.local.")));
    let config = cluster.kubeconfig(ADMIN);
    let short = ["-kubernetes", "-kubeconfig", &config, "-domain", "kubernetes.local", "-no-rec"];
    let short = Setup::new().args(&short).start();
    eventually("it is in step", || said(&short, "nothing.kubernetes.local.", RecordType::A) == "NXDOMAIN");
    check(&short, &possible(cases(include_str!("kubernetes/short.txt"), "kubernetes.local.")));
    let of_all = ["-kubernetes-endpoints", "all", "-kubernetes-pods", "verified"];
    let more = ["-kubernetes-ignore-empty-services", "-kubernetes-zonal"];
    let extended = agent(&cluster, &[&of_all[..], &more].concat());
    in_step(&extended);
    check(&extended, &cases(include_str!("kubernetes/extensions.txt"), "cluster.local."));
    // By the labels of services and namespaces.
    let labels = json!({"metadata": {"labels": {"team": "shop"}}});
    assert_eq!(cluster.ask("PATCH", "/api/v1/namespaces/shop/services/web", Some(&labels)).0, 200);
    assert_eq!(cluster.ask("PATCH", "/api/v1/namespaces/shop", Some(&labels)).0, 200);
    let few = agent(
        &cluster,
        &["-kubernetes-labels", "team in (shop, other)", "-kubernetes-namespace-labels", "team=shop"],
    );
    in_step(&few);
    assert_eq!(addresses(&few, WEB), ["10.96.0.10"]);
    assert_eq!(said(&few, "dual.shop.svc.cluster.local.", RecordType::A), "NXDOMAIN");
    assert_eq!(said(&few, "default.svc.cluster.local.", RecordType::A), "NXDOMAIN");
}

/// Sets a flag at its end.
struct Ends<'f>(&'f AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks for a service all the time while something is done; returns how many answers were right, and how many were not.
fn under_load(agent: &Agent, done: impl FnOnce()) -> (usize, usize) {
    let (ends, right, wrong) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                let is_right = addresses(agent, WEB) == ["10.96.0.10"]
                    && said(agent, "db-0.db.shop.svc.cluster.local.", RecordType::A) == "10.1.0.1"
                    && said(agent, "nothing.shop.svc.cluster.local.", RecordType::A) == "NXDOMAIN";
                if is_right { &right } else { &wrong }.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Also where what is done fails.
        let _end = Ends(&ends);
        done();
    });
    (right.into_inner(), wrong.into_inner())
}

#[test]
fn restarts_of_the_server_and_a_restored_etcd_change_no_answer() {
    let Some(mut cluster) = Cluster::start(&[]) else { return };
    cluster.create_cases();
    let agent = agent(&cluster, &[]);
    in_step(&agent);
    let (right, wrong) = under_load(&agent, || {
        for round in 0..2 {
            cluster.kill_api();
            cluster.start_api();
            follows(&cluster, &agent, &format!("after-{round}"), &format!("10.96.7.{round}"));
            // After the second restart the agent's version is one that the store has forgotten.
            cluster.etcd.compact();
        }
        let stopped = |cluster: &mut Cluster, what: fn(&Etcd)| {
            cluster.kill_api();
            cluster.etcd.kill();
            what(&cluster.etcd);
            cluster.etcd.run();
            cluster.start_api();
        };
        stopped(&mut cluster, Etcd::back_up);
        follows(&cluster, &agent, "lost", "10.96.7.9");
        // The store goes back to the backup, in which a service is missing.
        stopped(&mut cluster, Etcd::restore);
        eventually("what the backup lacks is gone", || {
            said(&agent, "lost.shop.svc.cluster.local.", RecordType::A) == "NXDOMAIN"
        });
        follows(&cluster, &agent, "found", "10.96.7.9");
    });
    assert!(right > 100 && wrong == 0, "{right} right, {wrong} wrong\n{}", agent.log());
}

#[test]
fn rights_that_are_missing_are_told_and_used_as_soon_as_they_are_given() {
    let Some(cluster) = Cluster::start(&["--authorization-mode=RBAC"]) else { return };
    cluster.create_cases();
    let config = cluster.kubeconfig(NOBODY);
    let args = ["-kubernetes", "-kubeconfig", &config, "-kubernetes-domain", "cluster.local", "-no-rec"];
    let agent = Setup::new().args(&args).start();
    eventually("it is told", || {
        agent.log().contains("the right to list and watch services is missing (403)")
    });
    assert_eq!(said(&agent, WEB, RecordType::A), "SERVFAIL");
    let rule = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]});
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let named = |kind: &str| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "skydns"}});
    let mut role = named("ClusterRole");
    role["rules"] =
        json!([rule("", &["services", "namespaces"]), rule("discovery.k8s.io", &["endpointslices"])]);
    let mut binding = named("ClusterRoleBinding");
    binding["roleRef"] =
        json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "skydns"});
    binding["subjects"] =
        json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody"}]);
    assert_eq!(cluster.ask("POST", &format!("{rbac}/clusterroles"), Some(&role)).0, 201);
    assert_eq!(cluster.ask("POST", &format!("{rbac}/clusterrolebindings"), Some(&binding)).0, 201);
    in_step(&agent);
    assert_eq!(addresses(&agent, WEB), ["10.96.0.10"]);
    assert!(!agent.log().contains(NOBODY), "{}", agent.log());
}

/// Copies files of one directory into another, under the same names.
fn copy(from: &Certificates, names: &[&str], to: &std::path::Path) {
    for name in names {
        std::fs::copy(from.path(name), to.join(name)).expect("a file");
    }
}

#[test]
fn certificates_that_are_renewed_are_used() {
    let (old, new) = (Certificates::new(), Certificates::new());
    let of_server = ["ca.pem", "server.pem", "server.key"];
    let server = tempfile::tempdir().expect("a directory");
    copy(&old, &of_server, server.path());
    let args = [
        ("client-ca-file", "ca.pem"),
        ("tls-cert-file", "server.pem"),
        ("tls-private-key-file", "server.key"),
    ];
    let args = args.map(|(flag, name)| format!("--{flag}={}", server.path().join(name).display()));
    let Some(mut cluster) = Cluster::start(&args.each_ref().map(String::as_str)) else { return };
    cluster.create_cases();
    let own = tempfile::tempdir().expect("a directory");
    copy(&old, &["ca.pem", "client.pem", "client.key"], own.path());
    let config = own.path().join("kubeconfig");
    let text = format!(
        "{{current-context: a, contexts: [{{name: a, context: {{cluster: c, user: u}}}}], clusters: [{{name: c, cluster: \
         {{server: '{}', certificate-authority: ca.pem}}}}], users: [{{name: u, user: {{client-certificate: client.pem, \
         client-key: client.key}}}}]}}",
        cluster.url()
    );
    std::fs::write(&config, text).expect("a file");
    let config = config.display().to_string();
    let args = ["-kubernetes", "-kubeconfig", &config, "-kubernetes-domain", "cluster.local", "-no-rec"];
    let agent = Setup::new().args(&args).start();
    in_step(&agent);
    let told = |what: &str| eventually(what, || agent.log().contains(what));
    let (right, wrong) = under_load(&agent, || {
        cluster.kill_api();
        copy(&new, &of_server, server.path());
        cluster.start_api();
        told("-kubeconfig has to name the authority");
        copy(&new, &["ca.pem"], own.path());
        told("(401)");
        copy(&new, &["client.pem", "client.key"], own.path());
        let begun = std::time::Instant::now();
        follows(&cluster, &agent, "renewed", "10.96.7.1");
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    });
    assert!(right > 100 && wrong == 0, "{right} right, {wrong} wrong\n{}", agent.log());
    assert!(agent.log().contains("the connection was lost while watching services"), "{}", agent.log());
}

#[test]
fn the_examples_are_taken_and_their_rights_suffice() {
    let Some(cluster) = Cluster::start(&["--authorization-mode=RBAC"]) else { return };
    cluster.create_cases();
    let rbac = include_str!("../systemd/examples/kubernetes-rbac.yaml");
    let daemonset = include_str!("../systemd/examples/kubernetes-daemonset.yaml");
    let documents = |text: &'static str| text.split("\n---\n").filter(|part| part.contains("kind:"));
    for document in documents(rbac) {
        let (status, answer) = cluster.create_yaml(document, false);
        assert_eq!(status, 201, "{document}\n{answer}");
    }
    for document in documents(daemonset) {
        let (status, answer) = cluster.create_yaml(document, true);
        assert_eq!(status, 201, "{document}\n{answer}");
    }
    let wrong = daemonset.replacen("maxUnavailable", "unknownField", 1);
    assert_eq!(cluster.create_yaml(&wrong, true).0, 400, "unknown fields are errors");
    let path = "/api/v1/namespaces/kube-system/serviceaccounts/skydns/token";
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let (status, answer) = cluster.ask("POST", path, Some(&request));
    assert_eq!(status, 201, "{answer}");
    let config = cluster.kubeconfig(answer["status"]["token"].as_str().expect("a token"));
    let args = ["-kubernetes", "-kubeconfig", &config, "-kubernetes-domain", "cluster.local", "-no-rec"];
    let agent = Setup::new().args(&args).start();
    in_step(&agent);
    assert_eq!(addresses(&agent, WEB), ["10.96.0.10"]);
    assert!(!agent.log().contains("403"), "{}", agent.log());
}
