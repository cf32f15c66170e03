//! `skydns check` where names come from a cluster.

use super::kubernetes::server::{ApiServer, Faults};
use super::support::Setup;
use super::support::upstream::{Upstream, reply_to};
use hickory_proto::op::ResponseCode;
use std::process::Stdio;

/// The exit code of `skydns check` and what it prints.
pub(super) fn checked(args: &[&str]) -> (Option<i32>, String) {
    printed(&[args, &["check"]].concat())
}

/// The exit code of the program, and what it prints.
fn printed(args: &[&str]) -> (Option<i32>, String) {
    let (mut command, _, _files) = Setup::new().args(args).without_address().command();
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("skydns");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn check_lists_the_cluster_once_and_says_what_is_missing() {
    let server = ApiServer::with_cases();
    let url = server.url();
    let args = ["-kubernetes", "-master", &url, "-domain", "kubernetes.local"];
    let (code, text) = checked(&args);
    assert!(text.contains("kubernetes: 7 namespaces, 27 services, 11 endpointslices"), "{text}");
    assert!(text.contains("default/dns: its shortest name is that of the domain's own data"), "{text}");
    assert_eq!(code, Some(0), "{text}");
    server.set(Faults { status: Some((403, "/endpointslices", None)), ..Faults::default() });
    let (code, text) = checked(&args);
    assert!(text.contains("the right to list and watch endpointslices is missing (403)"), "{text}");
    assert_eq!(code, Some(69), "{text}");
    server.set(Faults { status: Some((403, "/services?watch=true", None)), ..Faults::default() });
    let (code, text) = checked(&args);
    assert!(text.contains("the right to list and watch services is missing (403)"), "{text}");
    assert_eq!(code, Some(69), "{text}");
    server.set(Faults { token: Some("other".to_owned()), ..Faults::default() });
    let (_, text) = checked(&args);
    assert_eq!(text.matches("the server does not know who asks (401)").count(), 1, "{text}");
    let (_, text) = checked(&[&args[..], &["-kubernetes-namespaces", "shop"]].concat());
    assert!(!text.contains("no namespace"), "nothing was listed: {text}");
    let (code, text) = checked(&["-kubernetes-labels", "app in shop"]);
    assert!(text.contains("\"app in shop\" is not a label selector"), "{text}");
    assert_eq!(code, Some(64), "{text}");
    server.set(Faults::default());
    let (code, text) = checked(&[&args[..], &["-kubernetes-namespaces", "shop,shopp"]].concat());
    assert!(text.contains("note: kubernetes-namespaces: the cluster has no namespace shopp"), "{text}");
    assert!(!text.contains("no namespace shop "), "{text}");
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_the_fault_of_a_setting() {
    let args = ["-kubernetes", "-kubeconfig", "/nowhere/config"];
    for offline in [&[][..], &["-offline"]] {
        let (code, text) = printed(&[&args[..], &["check"], offline].concat());
        assert!(text.contains("problem: /nowhere/config: cannot be read"), "{text}");
        assert_eq!(code, Some(78), "{text}");
    }
    // In which pod the agent will be is not known where its settings are judged.
    let (code, text) = printed(&["-kubernetes", "check", "-offline"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = checked(&[&args[..], &["-strict"]].concat());
    assert_eq!((code, text.matches("cannot be read").count()), (Some(78), 1), "{text}");
    let (code, text) = printed(&[&args[..], &["-strict"]].concat());
    assert!(text.contains("flag -kubeconfig: /nowhere/config: cannot be read"), "{text}");
    assert_eq!(code, Some(78), "{text}");
}

#[test]
fn check_asks_the_servers_of_a_cluster_that_is_not_followed() {
    let upstream = Upstream::start(|query, _| {
        let mut reply = reply_to(query);
        if query.queries[0].name().to_string() != "cluster.local." {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
        Some(reply)
    });
    let servers = format!("127.0.0.1:1,{}", upstream.address);
    let forward = ["-kubernetes-forward", &servers];
    let (code, text) = checked(&forward);
    assert!(
        text.contains(&format!("questions for names in cluster.local. go to {}", servers.replace(',', ", "))),
        "{text}"
    );
    assert!(text.contains("note: kubernetes-forward: 127.0.0.1:1 for cluster.local.: "), "{text}");
    assert_eq!(code, Some(0), "{text}");
    let (code, text) =
        checked(&[&forward[..], &["-kubernetes-domain", "cluster.local,10.96.0.0/16"]].concat());
    let denied = format!(
        "problem: kubernetes-forward: {} for 96.10.in-addr.arpa.: it answers NXDOMAIN",
        upstream.address
    );
    assert!(text.contains(&denied), "{text}");
    assert_eq!(code, Some(69), "{text}");
}

#[test]
fn check_reads_a_kubeconfig_where_it_was_typed() {
    let server = ApiServer::with_cases();
    let (mut command, _, files) = Setup::new()
        .args(&["-kubernetes", "-kubeconfig", "./config"])
        .args(&["check"])
        .without_address()
        .command();
    let config = format!(
        "{{clusters: [{{name: c, cluster: {{server: '{}'}}}}], contexts: [{{name: x, context: {{cluster: c}}}}], current-context: x}}",
        server.url()
    );
    std::fs::write(files.path().join("config"), config).expect("a file");
    let output = command.current_dir(files.path()).output().expect("skydns");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("7 namespaces"), "{text}");
}
