//! Names of a cluster that is not followed: its servers are asked.

use super::check::checked;
use super::kubernetes::asked::said;
use super::kubernetes::cases::cases;
use super::kubernetes::server::ApiServer;
use super::support::upstream::{Upstream, Via, add, reply_to};
use super::support::{Setup, eventually, free_port};
use super::{SPECIFICATION, WEB, addresses, in_step, of_specification, service};
use hickory_proto::rr::{RData, RecordType, rdata};

#[test]
fn without_a_watch_the_servers_of_the_cluster_are_asked_and_not_missed_for_a_while() {
    let server = ApiServer::with_cases();
    let mut kube_dns = of_specification(&server, &[]);
    in_step(&kube_dns);
    let address = kube_dns.address().to_string();
    let zones = "cluster.local,10.96.0.0/16";
    let agent = Setup::new()
        .args(&["-kubernetes-forward", &format!("{address},127.0.0.1:1"), "-kubernetes-domain", zones])
        .args(&["-rcache-ttl", "1"])
        .record("/skydns/local/skydns/own", r#"{"host":"10.0.0.1"}"#)
        .start();
    for case in cases(SPECIFICATION, "cluster.local.") {
        if !case.answer.starts_with("FORWARD") && !case.name.ends_with("arpa.") {
            let answer = said(&agent, &case.name, case.rtype.parse().expect(case.rtype));
            assert_eq!(
                answer.trim_end_matches(" NODATA"),
                case.answer.trim_end_matches(" NODATA"),
                "{}",
                case.name
            );
        }
    }
    assert_eq!(agent.data("10.0.96.10.in-addr.arpa.", RecordType::PTR), ["web.shop.svc.cluster.local."]);
    assert_eq!(said(&agent, "web.skydns.local.", RecordType::A), "NXDOMAIN", "our own names are ours");
    assert_eq!(said(&agent, WEB, RecordType::AAAA), "NODATA");
    assert_eq!(said(&agent, "other._zone.db.shop.svc.cluster.local.", RecordType::A), "NXDOMAIN");
    // It restarts: what was known is answered meanwhile, and no question fails.
    kube_dns.process.signal("-KILL");
    kube_dns.process.wait();
    std::thread::sleep(std::time::Duration::from_secs(2));
    for _ in 0..5 {
        assert_eq!(addresses(&agent, WEB), ["10.96.0.10"]);
        // A search list goes on behind a denial, and ends at a failure.
        assert_eq!(said(&agent, "other._zone.db.shop.svc.cluster.local.", RecordType::A), "NXDOMAIN");
        assert_eq!(said(&agent, WEB, RecordType::AAAA), "NODATA");
    }
    let again = Setup::new()
        .args(&["-kubernetes", "-master", &server.url(), "-kubernetes-domain", "cluster.local", "-no-rec"])
        .port(kube_dns.port)
        .start();
    in_step(&again);
    server.put(&service("shop", "after", "10.96.6.1"));
    eventually("its server is asked again", || {
        addresses(&agent, "after.shop.svc.cluster.local.") == ["10.96.6.1"]
    });
}

#[test]
fn servers_of_a_cluster_are_asked_over_tcp_alone_and_equal_questions_once() {
    let upstream = Upstream::start(|query, via| {
        assert_eq!(via, Via::Tcp, "{query}");
        std::thread::sleep(std::time::Duration::from_millis(300));
        let mut reply = reply_to(query);
        add(&mut reply, 5, RData::A(rdata::A([10, 96, 0, 10].into())));
        Some(reply)
    });
    let agent = Setup::new().args(&["-kubernetes-forward", &upstream.address.to_string()]).start();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(addresses(&agent, WEB), ["10.96.0.10"]));
        }
    });
    assert_eq!(upstream.count(), 1, "equal questions are asked once");
    // Nothing else is set, and nothing else is needed.
    assert_eq!(said(&agent, "web.skydns.local.", RecordType::A), "NXDOMAIN");
    let told = format!("questions for names in cluster.local. go to {}", upstream.address);
    assert!(agent.log().contains(&told), "{}", agent.log());
}

#[test]
fn this_server_is_not_asked_for_the_names_of_a_cluster() {
    let port = free_port();
    let own = format!("127.0.0.1:{port}");
    let agent = Setup::new().port(port).args(&["-kubernetes-forward", &own]).start();
    let begun = std::time::Instant::now();
    assert_eq!(said(&agent, WEB, RecordType::A), "SERVFAIL");
    assert!(begun.elapsed() < std::time::Duration::from_secs(1), "nobody is waited for");
    let told = format!("kubernetes-forward: {own} is this server itself; it is left out");
    eventually("it is told", || agent.log().contains(&told));
    let (code, text) = checked(&["-addr", &own, "-kubernetes-forward", &own]);
    assert!(text.contains("is this server itself"), "{text}");
    assert_eq!(code, Some(78), "{text}");
}
