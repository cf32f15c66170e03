//! What other programs write in SkyDNS's layout: external-dns, registrator, kube2sky. In exact mode each name answers what its
//! writer meant; in SkyDNS's mode it answers as it always did.

mod support;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use serde_json::Value;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::etcd::Etcd;
use support::{Agent, Setup, ask, eventually, query, run};

const DATA: &str = include_str!("vectors/writers.json");

/// The keys and values of all writers.
fn pairs() -> Vec<(String, String)> {
    let data: Value = serde_json::from_str(DATA).expect("JSON");
    let writers = data.as_object().expect("writers").values();
    let pairs = writers.flat_map(|writer| writer.as_array().expect("pairs").clone());
    let text = |pair: &Value, at: usize| pair[at].as_str().expect("a text").to_owned();
    pairs.map(|pair| (text(&pair, 0), text(&pair, 1))).collect()
}

fn start(etcd: &Etcd, args: &[&str]) -> Agent {
    let domains = ["-domain", "site.example,2.0.192.in-addr.arpa,2001:db8::/32"];
    let agent = Setup::new().args(&["-machines", &etcd.endpoint()]).args(&domains).args(args).start();
    eventually("synced", || !agent.short(&["parent.site.example"]).is_empty());
    agent
}

#[test]
fn in_exact_mode_each_name_answers_what_its_writer_meant() {
    let etcd = Etcd::start();
    etcd.put_many(&pairs());
    let agent = start(&etcd, &["-exact", "all"]);
    let domain = "site.example";
    for (asked, rtype, expected) in [
        // external-dns
        ("www", "A", vec!["192.0.2.10", "192.0.2.11"]),
        ("www", "AAAA", vec!["2001:db8::10"]),
        ("www", "TXT", vec![]),
        ("parent", "A", vec!["192.0.2.20"]),
        ("child.parent", "A", vec!["192.0.2.21"]),
        ("px", "CNAME", vec!["proxy.cdn.example.net."]),
        ("kid.px", "A", vec!["192.0.2.31"]),
        ("x.apps", "A", vec!["192.0.2.40"]),
        ("y.x.apps", "A", vec!["192.0.2.40"]),
        ("apps", "A", vec![]),
        ("dns", "A", vec!["192.0.2.53"]),
        ("a.grp", "A", vec!["192.0.2.71"]),
        ("b.grp", "A", vec!["192.0.2.72"]),
        ("grp", "A", vec![]),
        ("d.sub.grp", "A", vec!["192.0.2.74"]),
        ("note", "TXT", vec![r#""\"quoted\" & <tag>, a=b; back\\slash""#]),
        (
            "a-www",
            "TXT",
            vec![
                r#""\"heritage=external-dns,external-dns/owner=default,external-dns/resource=ingress/default/www\"""#,
            ],
        ),
        // registrator
        ("redis", "A", vec!["192.0.2.101"]),
        ("nginx-80", "A", vec!["192.0.2.101", "192.0.2.102"]),
        ("nginx-443", "A", vec!["192.0.2.101"]),
        (r"billing\.v2", "A", vec!["172.17.0.5"]),
        // kube2sky
        ("web.default.svc", "A", vec!["10.0.183.39"]),
        ("default.svc", "A", vec![]),
        ("db.default.svc", "A", vec!["10.244.1.5", "10.244.2.7"]),
        ("9e51737e.db.default.svc", "A", vec!["10.244.1.5"]),
        (
            "_mysql._tcp.db.default.svc",
            "SRV",
            vec![
                "10 50 3306 9e51737e.db.default.svc.site.example.",
                "10 50 3306 c89ee3.db.default.svc.site.example.",
            ],
        ),
        (
            "_https._tcp.kubernetes.default.svc",
            "SRV",
            vec!["10 100 443 kubernetes.default.svc.site.example."],
        ),
        ("kubernetes.default.svc", "A", vec!["10.0.0.1"]),
        ("10-244-1-5.default.pod", "A", vec!["10.244.1.5"]),
    ] {
        assert_eq!(agent.short(&[&format!("{asked}.{domain}"), rtype]), expected, "{asked} {rtype}");
    }
    assert_eq!(agent.short(&[domain, "A"]), ["192.0.2.1"]);
    let spf = r#""v=spf1 ip4:192.0.2.0/24 include:_spf.mail.example -all""#;
    assert_eq!(agent.short(&[domain, "TXT"]), [spf], "one text, which is that of the apex");
    assert!(agent.short(&[domain, "NS"]).is_empty(), "the app dns.site.example is no name server");
    assert_eq!(agent.short(&["-x", "192.0.2.10"]), ["www.site.example."]);
    assert_eq!(agent.short(&["-x", "2001:db8::10"]), ["www.site.example."]);
    // The keys of external-dns are no names.
    for missing in ["4d658221.www", "x.4d658221.www", "1a02070f", "nope", "x.parent", "*.parent", "any"] {
        let answer = agent.ask(&format!("{missing}.{domain}."), RecordType::A);
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "{missing}");
    }
    let long: usize = agent.short(&["k1._domainkey.site.example", "TXT"]).iter().map(String::len).sum();
    assert!(long > 400, "a text of several strings");
}

#[test]
fn in_the_mode_of_skydns_a_name_answers_with_all_below_it() {
    let etcd = Etcd::start();
    etcd.put_many(&pairs());
    let agent = start(&etcd, &[]);
    for (asked, rtype, expected) in [
        ("www", "A", vec!["192.0.2.10", "192.0.2.11"]),
        ("parent", "A", vec!["192.0.2.20", "192.0.2.21"]),
        ("child.parent", "A", vec!["192.0.2.21"]),
        ("kid.px", "A", vec!["192.0.2.31"]),
        ("grp", "A", vec!["192.0.2.71", "192.0.2.72"]),
        ("4d658221.www", "A", vec!["192.0.2.10"]),
        ("db.default.svc", "A", vec!["10.244.1.5", "10.244.2.7"]),
        ("nginx-80", "A", vec!["192.0.2.101", "192.0.2.102"]),
        ("apps", "A", vec!["192.0.2.40"]),
    ] {
        assert_eq!(agent.short(&[&format!("{asked}.site.example"), rtype]), expected, "{asked} {rtype}");
    }
    assert!(agent.short(&["+tcp", "site.example", "TXT"]).len() > 10, "the texts of all names");
}

/// In a network of its own, where the agent has port 53 and the host's resolv.conf names it, a C library reads lines of type,
/// name and address (tests/matrix/clients/libc.c).
const WITH_LIBRARY: &str = r#"
ip link set lo up
echo nameserver 127.0.0.1 >resolv.conf && mount --bind resolv.conf /etc/resolv.conf
: >none
$SKYDNS -addr 127.0.0.1:53 -resolv-conf none -records records -domain site.example,2.0.192.in-addr.arpa $MODE 2>log &
agent=$!
for _ in $(seq 600); do grep -q ready: log && break; sleep 0.1; done
./client getaddrinfo <questions
kill $agent
"#;

#[test]
fn c_libraries_find_what_was_meant() {
    let dir = tempfile::tempdir().expect("a directory");
    for (key, value) in pairs() {
        let file = dir.path().join("records").join(key.trim_start_matches("/skydns/"));
        std::fs::create_dir_all(file.parent().expect("a parent")).expect("directories");
        std::fs::write(file, value).expect("a file");
    }
    // Each with the answer in exact mode, and in SkyDNS's.
    let questions = [
        ("A www.site.example -", "192.0.2.10|192.0.2.11", "192.0.2.10|192.0.2.11"),
        (
            "ADDR www.site.example -",
            "192.0.2.10|192.0.2.11|2001:db8::10",
            "192.0.2.10|192.0.2.11|2001:db8::10",
        ),
        ("A parent.site.example -", "192.0.2.20", "192.0.2.20|192.0.2.21"),
        ("A child.parent.site.example -", "192.0.2.21", "192.0.2.21"),
        ("ADDR kid.px.site.example -", "192.0.2.31", "192.0.2.31"),
        ("ADDR apps.site.example -", "nothing", "192.0.2.40"),
        ("ADDR x.apps.site.example -", "192.0.2.40", "nothing"),
        ("A grp.site.example -", "nothing", "192.0.2.71|192.0.2.72"),
        ("ADDR db.default.svc.site.example -", "10.244.1.5|10.244.2.7", "10.244.1.5|10.244.2.7"),
        ("A nope.site.example -", "nothing", "nothing"),
        ("PTR - 192.0.2.10", "www.site.example", "www.site.example"),
    ];
    let lines: String = questions.iter().map(|(question, ..)| format!("{question}\n")).collect();
    std::fs::write(dir.path().join("questions"), lines).expect("a file");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/matrix/clients/libc.c");
    for (library, compiler) in [("glibc", &["cc"][..]), ("musl", &["musl-gcc", "-static"])] {
        let mut compile = Command::new(compiler[0]);
        run(compile.args(&compiler[1..]).arg("-o").arg(dir.path().join("client")).arg(source));
        for (mode, is_exact) in [("-exact all", true), ("", false)] {
            let mut command = Command::new("unshare");
            command
                .args(["--user", "--map-root-user", "--net", "--mount", "sh", "-ec", WITH_LIBRARY])
                .current_dir(dir.path());
            let told = run(command.env("SKYDNS", env!("CARGO_BIN_EXE_skydns")).env("MODE", mode));
            let told: Vec<_> = told.lines().collect();
            assert_eq!(told.len(), questions.len(), "{library} {mode}: {told:?}");
            for ((question, exact, subtree), told) in questions.iter().zip(told) {
                let (_, outcome) = told.split_once(' ').expect("a time and an outcome");
                let mut found: Vec<_> = outcome.trim_start_matches("data ").split('|').collect();
                found.sort_unstable();
                let expected = if is_exact { exact } else { subtree };
                assert_eq!(found.join("|"), *expected, "{library} {mode}: {question}");
            }
        }
    }
}

/// Asks for a name all the time; gives the number of answers, and of those without data.
fn probe(agent: &Agent, name: &str, work: impl FnOnce()) -> (u32, u32) {
    let (server, is_over) = (agent.address(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let ask_for = |rtype| {
            let (is_over, question) = (&is_over, query(name, rtype));
            scope.spawn(move || {
                let (mut answers, mut empty) = (0, 0);
                while !is_over.load(Ordering::Relaxed) {
                    answers += 1;
                    empty += u32::from(ask(server, &question).answers.is_empty());
                }
                (answers, empty)
            })
        };
        let probes = [ask_for(RecordType::A), ask_for(RecordType::AAAA)];
        work();
        is_over.store(true, Ordering::Relaxed);
        let counts = probes.map(|probe| probe.join().expect("a prober"));
        counts.into_iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    })
}

#[test]
fn a_writer_that_deletes_before_it_puts_leaves_no_gap() {
    const CHANGES: u32 = 1_000;
    let etcd = Etcd::start();
    let key = |family: &str, n: u32| format!("/skydns/example/site/u/{family}{n:07x}");
    let v4 = |n: u32| format!(r#"{{"host":"10.0.{}.{}","targetstrip":1}}"#, n >> 8, n & 255);
    let v6 = |n: u32| format!(r#"{{"host":"2001:db8::{n:x}","targetstrip":1}}"#);
    etcd.put_many(&[(key("a", 0), v4(0)), (key("b", 0), v6(0))]);
    // Longer than this test may have to wait for a core.
    let hold = ["-domain", "site.example", "-hold-deletions", "5s", "-machines", &etcd.endpoint()];
    let agents = [&[][..], &["-exact", "all"]].map(|mode| Setup::new().args(&hold).args(mode).start());
    for agent in &agents {
        eventually("synced", || agent.data("u.site.example.", RecordType::A) == ["10.0.0.0"]);
    }
    let change = |range: std::ops::Range<u32>| {
        for n in range {
            etcd.delete(&key("a", n));
            etcd.put(&key("a", n + 1), &v4(n + 1));
            etcd.delete(&key("b", n));
            etcd.put(&key("b", n + 1), &v6(n + 1));
        }
    };
    for (agent, half) in agents.iter().zip([0..CHANGES / 2, CHANGES / 2..CHANGES]) {
        let last = half.end;
        let (answers, empty) = probe(agent, "u.site.example.", || change(half));
        assert!(answers > 100 && empty == 0, "{empty} of {answers} answers are denials");
        let expected = format!("10.0.{}.{}", last >> 8, last & 255);
        eventually("the last one alone is left", || {
            agent.data("u.site.example.", RecordType::A) == [expected.as_str()]
        });
    }
    // What nobody puts again goes after a while.
    let brief = Setup::new().args(&["-domain", "site.example", "-machines", &etcd.endpoint()]).start();
    eventually("synced", || !brief.data("u.site.example.", RecordType::A).is_empty());
    etcd.delete(&key("a", CHANGES));
    eventually("it is gone", || brief.data("u.site.example.", RecordType::A).is_empty());
    assert!(!brief.data("u.site.example.", RecordType::AAAA).is_empty());
}

#[test]
fn files_that_are_replaced_faster_than_they_are_looked_at_leave_no_gap() {
    const CHANGES: u32 = 200;
    let dir = tempfile::tempdir().expect("a directory");
    let name = dir.path().join("example/site/u");
    std::fs::create_dir_all(&name).expect("a directory");
    let put = |file: &str, host: &str| {
        let new = dir.path().join(".new");
        std::fs::write(&new, format!(r#"{{"host":"{host}","targetstrip":1}}"#)).expect("a file");
        std::fs::rename(new, name.join(file)).expect("renamed");
    };
    put("a0", "10.0.0.0");
    put("b", "2001:db8::1");
    let records = dir.path().to_str().expect("a path");
    for mode in [&[][..], &["-exact", "all"]] {
        let hold = ["-domain", "site.example", "-hold-deletions", "200ms", "-records", records];
        let agent = Setup::new().args(&hold).args(mode).start();
        eventually("read", || agent.data("u.site.example.", RecordType::A) == ["10.0.0.0"]);
        let mut longest = Duration::ZERO;
        let (answers, empty) = probe(&agent, "u.site.example.", || {
            for n in 0..CHANGES {
                let begin = Instant::now();
                std::fs::remove_file(name.join(format!("a{n}"))).expect("removed");
                std::thread::sleep(Duration::from_millis(9));
                put(&format!("a{}", n + 1), &format!("10.0.0.{}", n + 1));
                longest = longest.max(begin.elapsed());
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        // On a machine where everything stands still at times, the name may really be without a file for so long.
        let is_slow = longest > Duration::from_millis(150);
        assert!(answers > 100 && (empty == 0 || is_slow), "{empty} of {answers} answers are denials");
        eventually("the last one alone is left", || {
            agent.data("u.site.example.", RecordType::A) == ["10.0.0.200"]
        });
        std::fs::remove_file(name.join("a200")).expect("removed");
        put("a0", "10.0.0.0");
    }
}
