//! Precedence, spelling and errors of settings.

use super::spec::DEFAULT_MIN_TTL;
use super::*;

fn parse(args: &[&str], variables: &[(&str, &str)]) -> Result<Arguments, UsageError> {
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Arguments::parse(args.iter().map(|arg| (*arg).to_owned()), |name| {
        variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
    })
}

fn spec(args: &[&str]) -> Spec {
    let parsed = parse(args, &[]).expect("arguments");
    assert_eq!(parsed.problems, [], "{args:?}");
    parsed.spec
}

/// Settings with a configuration of the store, all of which can be used.
fn stored(spec: &Spec, json: &[u8]) -> Result<StoreSettings, String> {
    let settings = spec.with_store("/skydns/config", json, StoreBefore::default());
    let problems: Vec<_> = settings.problems.iter().map(ToString::to_string).collect();
    if problems.is_empty() { Ok(settings) } else { Err(problems.join("; ")) }
}

fn host() -> HostIdentity {
    HostIdentity { hostname: "host7".into(), machine_id: None }
}

#[test]
fn flags_are_spelled_as_in_go() {
    for args in [&["-local", "x.y"][..], &["--local", "x.y"], &["-local=x.y"], &["--local=x.y"]] {
        assert_eq!(spec(args).local.as_deref(), Some("x.y"));
    }
    assert!(!spec(&["-round-robin=false"]).round_robin);
    assert!(spec(&["-stubzones", "-round-robin"]).stub_zones);
    assert_eq!(spec(&["-rtimeout", "500ms"]).read_timeout, Duration::from_millis(500));
    assert_eq!(spec(&["-dnssec", "Kx. 005 1"]).dnssec, ["Kx.+005+1"]);
}

#[test]
fn the_policy_of_upstreams_follows_ns_rotate_unless_it_is_set() {
    let policy = |args: &[&str]| spec(args).ns_policy();
    assert_eq!(policy(&[]), NsPolicy::Rotate);
    assert_eq!(policy(&["-ns-rotate=false"]), NsPolicy::Order);
    assert_eq!(policy(&["-ns-rotate=false", "-ns-policy", "fastest"]), NsPolicy::Fastest);
    assert_eq!(policy(&["-ns-policy", "order"]), NsPolicy::Order);
    let store = |json: &[u8]| stored(&Spec::default(), json).map(|read| read.spec.ns_policy());
    assert_eq!(store(br#"{"ns_rotate": false}"#).expect("a setting"), NsPolicy::Order);
    assert_eq!(store(br#"{"ns_policy": "fastest"}"#).expect("a setting"), NsPolicy::Fastest);
    assert!(store(br#"{"ns_policy": "first"}"#).is_err());
}

#[test]
fn every_flag_of_skydns_is_known() {
    let flags_2_0 = "domain addr nameservers machines dnssec local tls-key tls-pem ca-cert rtimeout round-robin \
                     discover verbose systemd kubernetes hostmaster scache rcache rcache-ttl";
    let flags_2_5 = "domain addr nameservers no-rec machines dnssec local tls-key tls-pem ca-cert username \
                     password rtimeout round-robin ns-rotate stubzones verbose systemd hostmaster scache rcache \
                     rcache-ttl ndots path-prefix etcd3";
    for flag in flags_2_0.split_whitespace().chain(flags_2_5.split_whitespace()) {
        assert!(flags().any(|setting| setting.name == flag), "{flag}");
    }
    let variables = "SKYDNS_DOMAIN SKYDNS_ADDR SKYDNS_NAMESERVERS SKYDNS_SYSTEMD SKYDNS_NDOTS SKYDNS_PATH_PREFIX \
                     ETCD_MACHINES ETCD_TLSKEY ETCD_TLSPEM ETCD_CACERT ETCD_USERNAME ETCD_PASSWORD";
    for variable in variables.split_whitespace() {
        assert!(flags().any(|setting| setting.variables.contains(&variable)), "{variable}");
    }
    let keys = "dns_addr systemd domain local hostmaster dnssec round_robin ns_rotate nameservers no_rec \
                read_timeout priority ttl min_ttl scache rcache rcache_ttl ndot ndots";
    for key in keys.split_whitespace() {
        let json = format!("{{\"{key}\": null}}");
        let settings = stored(&Spec::default(), json.as_bytes()).expect(key);
        assert!(settings.unknown.is_empty(), "{key}");
    }
}

#[test]
fn the_store_beats_flags_and_flags_beat_variables() {
    let variables = [("SKYDNS_DOMAIN", "env.test"), ("SKYDNS_NDOTS", "5"), ("SKYDNS_ADDR", "")];
    let parsed = parse(&["-domain", "Flag.test"], &variables).expect("arguments");
    assert_eq!((parsed.spec.domain.to_ascii().as_str(), parsed.spec.ndots), ("flag.test.", 5));
    assert_eq!(parsed.spec.listen[0].to_string(), "127.0.0.1:53");
    let json =
        br#"{"Domain": "store.test", "NDOT": 1, "read_timeout": 3000000000, "nameservers": ["8.8.8.8:53"],
                    "hostmaster": "root@store.test", "x": 1}"#;
    let settings = stored(&parsed.spec, json).expect("settings");
    assert_eq!(settings.spec.domain.to_ascii(), "store.test.");
    assert_eq!(settings.spec.ndots, 1);
    assert_eq!(settings.spec.read_timeout, Duration::from_secs(3));
    assert_eq!(settings.spec.nameservers.as_ref().map(Vec::len), Some(1));
    // Servers that were named are not those of the local network, which may have names in home.arpa.
    let denies = |spec: &Spec| Config::new(spec, &host()).map(|config| config.zone.denies_home_arpa);
    assert_eq!((denies(&settings.spec), denies(&Spec::default())), (Ok(true), Ok(false)));
    assert_eq!(settings.unknown, ["x"]);
    let config = Config::new(&settings.spec, &host()).expect("a configuration");
    assert_eq!(config.zone.hostmaster.to_ascii(), "root.store.test.");
}

#[test]
fn zeros_mean_the_default_but_for_the_cache() {
    let json = br#"{"ttl":0,"min_ttl":0,"priority":0,"read_timeout":0,"rcache_ttl":0,"ndots":0,"rcache":0}"#;
    let spec = stored(&Spec::default(), json).expect("settings").spec;
    assert_eq!(spec, Spec { rcache: 0, ..Spec::default() });
}

#[test]
fn wrong_settings_are_all_named_with_their_place() {
    let parsed =
        parse(&["-addr", "localhost:53", "-ndots=x"], &[("SKYDNS_SYSTEMD", "maybe")]).expect("arguments");
    let problems: Vec<_> = parsed.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "variable SKYDNS_SYSTEMD: \"maybe\" is not a boolean (true or false)",
            "flag -addr: \"localhost:53\" is not an IP address and port, such as 127.0.0.1:53 or [::1]:53",
            "flag -ndots: \"x\" is not a whole number",
        ]
    );
    let json = br#"{"ttl":"60","round_robin":1,"dns_addr":"x","min_ttl":-1,"nameservers":[1]}"#;
    let error = stored(&Spec::default(), json).expect_err("wrong");
    for part in [
        "/skydns/config: field \"ttl\": \"60\" is not a whole number",
        "field \"round_robin\": 1 is not a boolean",
        "field \"dns_addr\": \"x\" is not an IP address and port",
        "field \"min_ttl\": -1 is not in 0..=2147483647",
        "field \"nameservers\": 1 is not a string",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
    for json in ["\"s3cret\"", "s3cret", "12345"] {
        let error = stored(&Spec::default(), json.as_bytes()).expect_err("wrong");
        assert!(error.starts_with("/skydns/config: the value is not a JSON object: "), "{error}");
        assert!(!error.contains("s3cret") && !error.contains("12345"), "{error}");
    }
    for json in ["", "[]", "{", "{} {}", "null"] {
        let settings = Spec::default().with_store("/skydns/config", json.as_bytes(), StoreBefore::default());
        assert!(matches!(*settings.problems, [StoreProblem::NotJson { .. }]), "{json}");
        assert_eq!(settings.spec, Spec::default());
    }
}

#[test]
fn a_field_that_cannot_be_used_leaves_its_last_value_and_the_others() {
    let base = Spec { ttl: 5, ndots: 3, ..Spec::default() };
    let unusable = std::collections::BTreeSet::new();
    let mut last = StoreFields::default();
    let mut take = |json: &str| {
        let before = StoreBefore { last: &last, unusable: &unusable };
        let settings = base.with_store("/skydns/config", json.as_bytes(), before);
        last = settings.applied;
        (settings.spec.ttl, settings.spec.min_ttl, settings.spec.ndots, settings.problems.len())
    };
    assert_eq!(take(r#"{"ttl":"x","min_ttl":7}"#), (5, 7, 3, 1), "at first the flag counts");
    assert_eq!(take(r#"{"ttl":60,"NDOTS":1}"#), (60, DEFAULT_MIN_TTL, 1, 0), "a field that is gone is gone");
    assert_eq!(take(r#"{"ttl":"x","min_ttl":8,"ndot":[]}"#), (60, 8, 1, 2));
    assert_eq!(take("{"), (60, 8, 1, 1), "all last values stay");
    assert_eq!(take("[]"), (60, 8, 1, 1));
    assert_eq!(take(r#"{"ttl":null,"ndots":9}"#), (5, DEFAULT_MIN_TTL, 9, 0));
    assert_eq!(take("{}"), (5, DEFAULT_MIN_TTL, 3, 0));
}

#[test]
fn every_setting_that_needs_a_restart_is_compared() {
    let before = Spec::default();
    for setting in flags() {
        let mut after = before.clone();
        let set = (setting.set)(
            &mut after,
            super::input::SettingInput::Text(setting.example),
            &SettingOrigin::Default,
        );
        let changed = before.changed_until_restart(&after);
        match setting.takes_effect {
            TakesEffect::Restart if set.is_ok() && after != before => assert_eq!(changed, [setting.name]),
            _ => assert_eq!(changed, [""; 0], "{}", setting.name),
        }
    }
}

#[test]
fn commands_and_usage_errors() {
    let command = |args: &[&str]| parse(args, &[]).map(|parsed| parsed.command);
    assert_eq!(command(&[]), Ok(Command::Run));
    assert_eq!(command(&["check", "-verbose"]), Ok(Command::Check));
    assert_eq!(command(&["-records", "check", "check"]), Ok(Command::Check));
    assert_eq!(command(&["--help"]), Ok(Command::Help));
    assert_eq!(command(&["-version"]), Ok(Command::Version));
    assert_eq!(command(&["-x"]), Err(UsageError::UnknownFlag("x".into())));
    assert_eq!(command(&["-addr"]), Err(UsageError::MissingValue("addr".into())));
    assert_eq!(command(&["serve"]), Err(UsageError::UnknownCommand("serve".into())));
    assert_eq!(command(&["-"]), Err(UsageError::UnknownCommand("-".into())));
}

#[test]
fn the_hosts_own_name_is_filled_in_and_its_place_named() {
    let with = spec(&["-local", "{hostname}.hosts.skydns.local"]);
    let config = Config::new(&with, &host()).expect("a configuration");
    assert_eq!(config.zone.local.map(|name| name.to_ascii()), Some("host7.hosts.skydns.local.".into()));
    let problem = Config::new(&spec(&["-local", "{machine_id}.x"]), &host()).expect_err("no machine id");
    assert_eq!(
        problem.to_string(),
        "flag -local: \"{machine_id}\" cannot be filled in: /etc/machine-id cannot be read"
    );
}
