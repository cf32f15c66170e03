//! Keys in the life of a zone: mistakes, reloads, roll-overs, a clock that is set.

mod support;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::judge::{KeyRing, Unbound, ZONE, dnssec_query, ds};
use support::{Agent, Setup, ask, eventually, run};

fn setup(keys: &str) -> Setup {
    Setup::new().record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#).args(&["-dnssec", keys])
}

fn signed_by(agent: &Agent) -> Vec<u16> {
    let answer = ask(agent.address(), &dnssec_query("a.skydns.local.", RecordType::A));
    tags(&answer, RecordType::RRSIG)
}

/// The key tags that RRSIG records name.
fn tags(answer: &Message, rtype: RecordType) -> Vec<u16> {
    let of_type = answer.answers.iter().filter(|record| record.record_type() == rtype);
    of_type
        .map(|record| match &record.data {
            RData::Unknown { rdata, .. } => u16::from_be_bytes([rdata.anything[16], rdata.anything[17]]),
            other => panic!("{other}"),
        })
        .collect()
}

fn tag(key: &Path) -> u16 {
    let name = key.display().to_string();
    name.rsplit('+').next().and_then(|tag| tag.parse().ok()).expect("a tag")
}

#[test]
fn keys_that_cannot_be_used_are_told_and_fatal_if_that_is_asked_for() {
    let keys = KeyRing::new();
    let key = keys.own(&[]);
    let other = keys.own(&[]);
    let (base, second) = (key.display().to_string(), other.display().to_string());
    let fails = |dnssec: &str| {
        let (mut command, _, _dir) = setup(dnssec).args(&["-strict"]).command();
        let output = command.stdin(Stdio::null()).output().expect("the agent");
        assert_eq!(output.status.code(), Some(78), "{dnssec}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(
        fails("/no/Kskydns.local.+013+00001")
            .contains("flag -dnssec: /no/Kskydns.local.+013+00001.key: cannot be read: No such file")
    );
    let empty = tempfile::tempdir().expect("a directory");
    let empty = empty.path().display().to_string();
    assert!(
        fails(&empty)
            .contains(&format!("flag -dnssec: {empty}: there is no key of skydns.local. in the directory"))
    );
    let bare = fails("nowhere");
    assert!(bare.contains("flag -dnssec: nowhere: cannot be read: No such file"), "{bare}");
    fs::rename(format!("{base}.private"), format!("{base}.hidden")).expect("moved");
    assert!(fails(&base).contains(&format!("flag -dnssec: {base}.private: cannot be read: No such file")));
    fs::copy(format!("{second}.private"), format!("{base}.private")).expect("copied");
    assert!(
        fails(&base)
            .contains(&format!("flag -dnssec: {base}.private: it does not belong to .key, or is damaged"))
    );
    let damaged = fs::read_to_string(format!("{base}.hidden"))
        .expect("a file")
        .replace("PrivateKey: ", "PrivateKey: *");
    fs::write(format!("{base}.private"), damaged).expect("written");
    assert!(fails(&base).contains(&format!("flag -dnssec: {base}.private: field PrivateKey is not base64")));
    fs::rename(format!("{base}.hidden"), format!("{base}.private")).expect("moved");
    assert!(fails(&format!("{base},/no/Kx.+013+00001")).contains("/no/Kx.+013+00001"));
}

#[test]
fn a_domain_without_its_keys_is_not_served_unless_it_was_unsigned() {
    let (keys, state) = (KeyRing::new(), tempfile::tempdir().expect("a directory"));
    let key = keys.own(&[]).display().to_string();
    let state = state.path().to_str().expect("a path");
    let start = |args: &[&str]| {
        let setup = Setup::new().record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#);
        setup.args(&["-state-dir", state]).args(args).start()
    };
    let end = |mut agent: Agent| {
        agent.process.signal("-TERM");
        assert!(agent.process.wait().success());
    };
    let rcode = |agent: &Agent| agent.ask("a.skydns.local.", RecordType::A).metadata.response_code;
    let bad = ["-dnssec", "/no/Kskydns.local.+013+00001"];

    // Nobody knows how it was served.
    let agent = start(&bad);
    assert_eq!(rcode(&agent), ResponseCode::ServFail);
    assert_eq!(support::error_code(agent.address(), "a.skydns.local."), Some(10));
    assert_eq!(rcode(&start(&[])), ResponseCode::NoError);
    // As soon as it was served unsigned it goes on so, over a restart as well.
    let kept = std::path::Path::new(state).join("settings");
    eventually("it is kept", || fs::read_to_string(&kept).is_ok_and(|text| text.contains("false")));
    let agent = start(&bad);
    assert_eq!((rcode(&agent), signed_by(&agent).len()), (ResponseCode::NoError, 0));
    assert!(agent.log().contains("; the domain stays unsigned"), "{}", agent.log());
    end(agent);
    // Once it was signed, it is signed: with the keys that signed last.
    let agent = start(&["-dnssec", &key]);
    let tags = signed_by(&agent);
    assert_eq!(tags.len(), 1);
    eventually("it is kept", || fs::read_to_string(&kept).is_ok_and(|text| text.contains("true")));
    end(agent);
    let agent = start(&bad);
    assert_eq!(signed_by(&agent), tags, "{}", agent.log());
    end(agent);
    fs::remove_file(format!("{key}.private")).expect("removed");
    assert_eq!(rcode(&start(&bad)), ResponseCode::ServFail);
    assert_eq!(rcode(&start(&["-dnssec", &key])), ResponseCode::ServFail);
}

#[test]
fn a_private_key_for_everybody_is_told() {
    let keys = KeyRing::new();
    let base = keys.own(&[]).display().to_string();
    let file = format!("{base}.private");
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a mode");
    let agent = setup(&base).start();
    assert!(
        agent.log().contains(&format!("dnssec: {file}: every user of the host can read the private key"))
    );
}

#[test]
fn a_reload_takes_other_keys_and_keeps_the_old_ones_if_they_are_bad() {
    let keys = KeyRing::new();
    let first = keys.own(&[]);
    let agent = setup(&keys.path().display().to_string()).start();
    assert_eq!(signed_by(&agent), [tag(&first)]);
    let second = keys.own(&["-a", "ED25519"]);
    agent.process.signal("-HUP");
    eventually("both keys sign", || signed_by(&agent).len() == 2);
    fs::write(format!("{}.private", first.display()), "nonsense").expect("written");
    agent.process.signal("-HUP");
    eventually("the keys are refused", || agent.log().contains("; the keys in use stay"));
    assert_eq!(signed_by(&agent).len(), 2);
    for ending in ["key", "private"] {
        fs::remove_file(format!("{}.{ending}", first.display())).expect("removed");
    }
    agent.process.signal("-HUP");
    eventually("the second key signs alone", || signed_by(&agent) == [tag(&second)]);
    assert!(agent.log().contains(&format!("skydns.local. is signed with {} (ED25519", tag(&second))));
}

#[test]
fn the_store_names_keys_too() {
    let keys = KeyRing::new();
    let key = keys.own(&[]);
    let agent = Setup::new().record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#).start();
    assert!(signed_by(&agent).is_empty());
    agent.write("config", &format!(r#"{{"dnssec":["{}"],"ttl":77}}"#, key.display()));
    eventually("it is signed", || signed_by(&agent) == [tag(&key)]);
    agent.write("config", r#"{"dnssec":["/no/Kx.+013+00001"],"ttl":78}"#);
    eventually("the error is told", || {
        agent.log().contains("refused: files: /skydns/config: field \"dnssec\": /no/Kx.+013+00001.key")
    });
    assert_eq!(signed_by(&agent), [tag(&key)]);
    agent.write("config", "{}");
    eventually("it is signed no more", || signed_by(&agent).is_empty());
}

#[test]
fn the_apex_and_ds_tell_the_parent_the_same() {
    let keys = KeyRing::new();
    let key = keys.bind("ECDSAP256SHA256", &["-f", "KSK"]);
    keys.bind("ECDSAP256SHA256", &[]);
    let agent = setup(&keys.path().display().to_string()).start();
    let skydns = |args: &[&str]| run(Command::new(env!("CARGO_BIN_EXE_skydns")).args(args));
    let printed = skydns(&["ds", &key.display().to_string()]);
    let of_directory = skydns(&["-dnssec", &keys.path().display().to_string(), "ds"]);
    assert_eq!(printed, of_directory, "the KSK alone");
    // Of the same opinion: dnssec-dsfromkey.
    let bind = run(Command::new("dnssec-dsfromkey").args(["-2", &format!("{}.key", key.display())]));
    let digest = |text: &str| text.split_whitespace().skip(6).collect::<String>();
    assert!(printed.lines().any(|line| digest(line) == digest(&bind)), "{printed}\n{bind}");
    for rtype in ["CDS", "CDNSKEY"] {
        let mut served: Vec<_> =
            agent.short(&[ZONE, rtype]).iter().map(|line| line.replace(' ', "")).collect();
        let of_type = printed.lines().filter(|line| line.split_whitespace().nth(2) == Some(rtype));
        let mut told: Vec<_> =
            of_type.map(|line| line.split_whitespace().skip(3).collect::<String>()).collect();
        served.sort();
        told.sort();
        assert_eq!(served, told, "{rtype}");
    }
    assert_eq!(agent.short(&[ZONE, "DNSKEY"]).len(), 2);
}

/// One roll-over: keys with their times, and who trusts what from when to when, in seconds.
struct RollOver {
    begun: Instant,
    agent: Agent,
    _keys: KeyRing,
    judges: Vec<(Unbound, Duration, Duration)>,
}

impl RollOver {
    /// `make` gives the DS records with the seconds between which they are at the parent.
    fn start(make: impl FnOnce(&KeyRing) -> Vec<(String, u64, u64)>) -> Self {
        let begun = Instant::now();
        let keys = KeyRing::new();
        let anchors = make(&keys);
        let agent = Setup::new()
            .args(&["-dnssec", &keys.path().display().to_string(), "-ttl", "1", "-min-ttl", "1"])
            .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
            .start();
        let judge = |(anchors, from, to): &(String, u64, u64)| {
            let unbound = Unbound::start(agent.address(), anchors, "aggressive-nsec: yes");
            (unbound, Duration::from_secs(*from), Duration::from_secs(*to))
        };
        let judges = anchors.iter().map(judge).collect();
        Self { begun, agent, _keys: keys, judges }
    }

    /// Asks all the time, until the last judge is done; gives the numbers of signatures one after the other.
    fn run(&self) -> Vec<usize> {
        let mut seen: Vec<Vec<u16>> = Vec::new();
        let end = self.judges.iter().map(|(_, _, to)| *to).max().expect("a judge");
        let mut n = 0;
        while self.begun.elapsed() < end {
            for (unbound, from, to) in &self.judges {
                if (*from..*to).contains(&self.begun.elapsed()) {
                    n += 1;
                    let new = format!("n{n}.skydns.local.");
                    for (name, rtype) in [
                        ("a.skydns.local.", RecordType::A),
                        (&new, RecordType::A),
                        ("skydns.local.", RecordType::DNSKEY),
                    ] {
                        let judged = unbound.judges(name, rtype);
                        // On a busy machine the answer may come when its time is long over.
                        if self.begun.elapsed() < *to + Duration::from_secs(1) {
                            judged.unwrap_or_else(|doubt| panic!("{doubt}"));
                        }
                    }
                }
            }
            let now = signed_by(&self.agent);
            if seen.last() != Some(&now) {
                seen.push(now);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        seen.iter().map(Vec::len).collect()
    }
}

/// A ZSK, pre-published (RFC 6781 §4.1.1.1).
fn zsk(keys: &KeyRing) -> Vec<(String, u64, u64)> {
    let ksk = keys.bind("ECDSAP256SHA256", &["-f", "KSK"]);
    keys.bind("ECDSAP256SHA256", &["-I", "+10", "-D", "+14"]);
    keys.bind("ECDSAP256SHA256", &["-P", "+5", "-A", "+10"]);
    vec![(ds(&[&ksk]), 0, 18)]
}

/// A KSK, both signing for a while (RFC 6781 §4.1.2).
fn ksk(keys: &KeyRing) -> Vec<(String, u64, u64)> {
    let old = keys.bind("ECDSAP256SHA256", &["-f", "KSK", "-I", "+15", "-D", "+15"]);
    let new = keys.bind("ECDSAP256SHA256", &["-f", "KSK", "-P", "+5", "-A", "+5"]);
    keys.bind("ECDSAP256SHA256", &[]);
    vec![(ds(&[&old]), 0, 13), (ds(&[&old, &new]), 10, 18), (ds(&[&new]), 11, 20)]
}

/// An algorithm: signatures come first and go last (RFC 6781 §4.1.4).
fn algorithm(keys: &KeyRing) -> Vec<(String, u64, u64)> {
    let old = keys.bind("RSASHA256", &["-b", "2048", "-f", "KSK", "-D", "+14", "-I", "+17"]);
    let new = keys.bind("ED25519", &["-f", "KSK", "-A", "+5", "-P", "+8"]);
    vec![(ds(&[&old]), 0, 12), (ds(&[&new]), 12, 21)]
}

#[test]
fn roll_overs_are_never_bogus() {
    std::thread::scope(|scope| {
        let zsk = scope.spawn(|| RollOver::start(zsk).run());
        let ksk = scope.spawn(|| RollOver::start(ksk).run());
        let algorithm = scope.spawn(|| RollOver::start(algorithm).run());
        assert_eq!(zsk.join().expect("believed"), [1, 1], "one ZSK after the other");
        assert_eq!(ksk.join().expect("believed"), [1], "the ZSK all the time");
        assert_eq!(algorithm.join().expect("believed"), [1, 2, 1], "the old, both, the new");
    });
}

#[test]
fn a_revoked_key_signs_the_keys_alone() {
    let keys = KeyRing::new();
    keys.bind("ECDSAP256SHA256", &["-f", "KSK"]);
    let zsk = keys.bind("ECDSAP256SHA256", &[]);
    let old = keys.bind("ECDSAP256SHA256", &["-f", "KSK"]);
    run(Command::new("dnssec-revoke").args(["-r"]).arg(format!("{}.private", old.display())));
    let agent = setup(&keys.path().display().to_string()).start();
    assert_eq!(signed_by(&agent), [tag(&zsk)]);
    let keys = agent.ask("skydns.local.", RecordType::DNSKEY);
    let flags = |flags: u16| {
        let of_flags = |record: &&hickory_proto::rr::Record| match &record.data {
            RData::Unknown { rdata, .. } => rdata.anything[..2] == flags.to_be_bytes(),
            _ => false,
        };
        keys.answers.iter().filter(of_flags).count()
    };
    assert_eq!((flags(256), flags(257), flags(385)), (1, 1, 1));
    let signatures = ask(agent.address(), &dnssec_query("skydns.local.", RecordType::DNSKEY));
    assert_eq!(tags(&signatures, RecordType::RRSIG).len(), 2, "the KSK and the revoked one");
}

/// Those who know the DNSKEY records of before have to believe what is signed after.
#[test]
fn a_zsk_that_comes_later_does_not_sign_alone_at_once() {
    let keys = KeyRing::new();
    let csk = keys.bind("ECDSAP256SHA256", &["-f", "KSK", "-P", "-1h", "-A", "-1h"]);
    let agent = setup(&keys.path().display().to_string()).start();
    let unbound = Unbound::start(agent.address(), &ds(&[&csk]), "");
    unbound.believes("skydns.local.", RecordType::DNSKEY);
    keys.own(&["-z"]);
    agent.process.signal("-HUP");
    eventually("both sign", || signed_by(&agent).len() == 2);
    unbound.believes("a.skydns.local.", RecordType::A);
    unbound.believes("nope.skydns.local.", RecordType::A);
}

#[test]
fn a_domain_without_keys_is_refused() {
    let keys = KeyRing::new();
    let key = keys.own(&[]);
    let agent = setup(&key.display().to_string()).start();
    agent.write("config", r#"{"domain":"other.local"}"#);
    eventually("the configuration is refused", || {
        agent.log().contains("nothing would be signed: the keys of -dnssec are those of other domains")
    });
    let answer = ask(agent.address(), &dnssec_query("a.skydns.local.", RecordType::A));
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert_eq!(signed_by(&agent), [tag(&key)], "the last good domain stays");
}

#[test]
fn keys_of_other_domains_alone_leave_a_domain_unsigned_and_one_that_was_signed_as_it_was() {
    let (keys, state) = (KeyRing::new(), tempfile::tempdir().expect("a directory"));
    keys.own_for("site.example", &[]);
    let directory = keys.path().display().to_string();
    let state = state.path().to_str().expect("a path");
    let agent = Setup::new()
        .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
        .record("/skydns/example/site/a", r#"{"host":"10.0.0.2"}"#)
        .record("/skydns/example/new/a", r#"{"host":"10.0.0.3"}"#)
        .record("/skydns/config", "{}")
        .args(&["-state-dir", state, "-dnssec", &directory])
        .start();
    let signatures = |name: &str| {
        let answer = ask(agent.address(), &dnssec_query(name, RecordType::A));
        let is_signature = |record: &&Record| record.record_type() == RecordType::RRSIG;
        (answer.metadata.response_code, answer.answers.iter().filter(is_signature).count())
    };
    let (unsigned, signed) = ((ResponseCode::NoError, 0), (ResponseCode::NoError, 1));
    assert_eq!(signatures("a.skydns.local."), unsigned);
    assert!(agent.log().contains("keys of site.example. are not used"), "{}", agent.log());
    // Zones come and go, the only one that is signed as well.
    for _ in 0..2 {
        agent.write("config", r#"{"domain":["skydns.local","site.example"]}"#);
        eventually("it is there", || signatures("a.site.example.") == signed);
        assert_eq!(signatures("a.skydns.local."), unsigned);
        agent.write("config", r#"{"domain":["skydns.local","new.example"]}"#);
        eventually("it is another", || signatures("a.new.example.") == unsigned);
        assert_eq!(signatures("a.skydns.local."), unsigned);
    }
    // It is not served unsigned because its keys are gone, until it was none of the domains.
    agent.write("config", r#"{"domain":["skydns.local","site.example"]}"#);
    eventually("it is there", || signatures("a.site.example.") == signed);
    for file in fs::read_dir(keys.path()).expect("files") {
        fs::remove_file(file.expect("a file").path()).expect("removed");
    }
    keys.own_for("other.example", &[]);
    agent.process.signal("-HUP");
    eventually("told", || agent.log().contains("there is no key of site.example., which was signed before"));
    assert_eq!(signatures("a.site.example."), signed);
    agent.write("config", r#"{"domain":["skydns.local"]}"#);
    eventually("it is gone", || signatures("a.site.example.").0 != ResponseCode::NoError);
    agent.write("config", r#"{"domain":["skydns.local","site.example"]}"#);
    eventually("it is there", || signatures("a.site.example.") == unsigned);
}

#[test]
fn keys_of_the_store_that_cannot_be_used_at_a_first_start_leave_nothing_unsigned() {
    let agent = Setup::new()
        .record("/skydns/local/skydns/a", r#"{"host":"10.0.0.1"}"#)
        .record("/skydns/config", r#"{"dnssec":["/no/Kskydns.local.+013+00001"]}"#)
        .start();
    let rcode = || agent.ask("a.skydns.local.", RecordType::A).metadata.response_code;
    eventually("nobody knows how it was served", || rcode() == ResponseCode::ServFail);
    assert!(agent.log().contains("names of the domain are SERVFAIL"), "{}", agent.log());
    agent.write("config", "{}");
    eventually("no keys are wanted", || rcode() == ResponseCode::NoError);
}

#[test]
fn check_finds_what_the_agent_refuses_of_signed_domains() {
    let (keys, [state, records]) =
        (KeyRing::new(), [(); 2].map(|()| tempfile::tempdir().expect("a directory")));
    let files = ["skydns.local", "site.example"].map(|zone| keys.own_for(zone, &[]));
    let directory = keys.path().display().to_string();
    let domains = ["-domain", "skydns.local,site.example", "-fallthrough", "site.example"];
    let settings = &state.path().join("settings");
    let state = ["-state-dir", state.path().to_str().expect("a path")];
    let args = [&domains[..], &state, &["-dnssec", &directory]].concat();
    let agent = Setup::new().record("/skydns/example/site/a", r#"{"host":"10.0.0.2"}"#).args(&args).start();
    eventually("it is kept that the domain is signed", || {
        fs::read_to_string(settings).is_ok_and(|text| text.contains(r#""site.example.":true"#))
    });
    drop(agent);
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skydns"));
        let records = records.path().to_str().expect("a path");
        let records = ["check", "-records", records, "-nameservers", "192.0.2.1"];
        let output = command.env_clear().args(records).args(&args).output().expect("an output");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, text) = check();
    let refused = "flag -fallthrough: fallthrough of site.example.: the zone is signed";
    assert!(code == Some(78) && text.contains(refused), "{code:?} {text}");
    for ending in ["key", "private"] {
        fs::remove_file(format!("{}.{ending}", files[1].display())).expect("removed");
    }
    let (code, text) = check();
    let missing = "flag -dnssec: there is no key of site.example., which was signed before";
    assert!(code == Some(78) && text.contains(missing) && !text.contains(refused), "{code:?} {text}");
}
