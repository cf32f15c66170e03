//! Precedence, spelling and errors of settings.

use super::spec::DEFAULT_MIN_TTL;
use super::*;

fn parse(args: &[&str], variables: &[(&str, &str)]) -> Result<Arguments, UsageError> {
    Arguments::parse(
        args.iter().map(|arg| (*arg).to_owned()),
        &of_process(variables),
        &ValuesBefore::default(),
    )
}

fn of_process(pairs: &[(&str, &str)]) -> Variables {
    let mut variables = Variables::default();
    pairs.iter().for_each(|(name, value)| variables.set(name, (*value).to_owned()));
    variables
}

fn spec(args: &[&str]) -> Spec {
    let parsed = parse(args, &[]).expect("arguments");
    assert_eq!((parsed.flag_problems, parsed.refused), (vec![], vec![]), "{args:?}");
    parsed.spec
}

/// Settings with a configuration of the store, all of which can be used.
fn stored(spec: &Spec, json: &[u8]) -> Result<StoreSettings, String> {
    let settings = spec.with_store("/skydns/config", json, StoreBefore::default());
    let problems: Vec<_> = settings.problems.iter().map(ToString::to_string).collect();
    if problems.is_empty() { Ok(settings) } else { Err(problems.join("; ")) }
}

fn host() -> HostIdentity {
    HostIdentity { hostname: "host7".into(), ..HostIdentity::default() }
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
    let denies = |spec: &Spec| Config::new(spec, &host()).map(|config| config.site.denies_home_arpa);
    assert_eq!((denies(&settings.spec), denies(&Spec::default())), (Ok(true), Ok(false)));
    assert_eq!(settings.unknown, ["x"]);
    let config = Config::new(&settings.spec, &host()).expect("a configuration");
    assert_eq!(config.site.zones.first().hostmaster.to_ascii(), "root.store.test.");
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
    let refused = parsed.refused[0].to_string();
    assert_eq!(
        refused,
        "variable SKYDNS_SYSTEMD: \"maybe\" is not a boolean (true or false); the default is used"
    );
    let problems: Vec<_> = parsed.flag_problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
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
        "field \"min_ttl\": -1 is not between 0 and 2147483647",
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
        assert!(settings.problems[0].to_string().contains("is not a JSON object"), "{json}");
        assert_eq!(settings.spec, Spec::default());
    }
    for (json, told) in
        [(" ", "it is empty"), ("[]", "it is an array"), ("{", "it ends too early, in line 1")]
    {
        let error = stored(&Spec::default(), json.as_bytes()).expect_err("wrong");
        assert!(error.contains(&format!("not a JSON object: {told}")), "{error}");
    }
}

#[test]
fn ranges_are_told_without_bounds_of_the_machine() {
    let machine = [i64::MIN.to_string(), i64::MAX.to_string(), u64::MAX.to_string(), u32::MAX.to_string()];
    for setting in flags() {
        for number in ["-99999999999999999999", "-1", "4294967296", "99999999999999999999"] {
            let mut spec = Spec::default();
            let input = super::input::SettingInput::Text(number);
            if let Err(error) = (setting.set)(&mut spec, input, &SettingOrigin::Default) {
                let text = error.to_string();
                assert!(!machine.iter().any(|bound| text.contains(&**bound)), "-{}: {text}", setting.name);
            }
        }
    }
    let problem = |setting: &str, number: &str| {
        parse(&[&format!("-{setting}={number}")], &[])
            .expect("arguments")
            .flag_problems
            .first()
            .map(ToString::to_string)
    };
    assert_eq!(
        problem("ndots", "128").as_deref(),
        Some("flag -ndots: \"128\" is more than 127, the most that is allowed")
    );
    assert_eq!(
        problem("ttl", "99999999999999999999").as_deref(),
        Some("flag -ttl: \"99999999999999999999\" is not between 0 and 2147483647")
    );
    assert_eq!(problem("rcache", "-99999999999999999999"), None, "less than 0 counts as 0");
    let json = br#"{"ndots":18446744073709551615}"#;
    let error = stored(&Spec::default(), json).expect_err("wrong");
    assert!(error.contains("18446744073709551615 is more than 127"), "{error}");
}

#[test]
fn a_field_that_cannot_be_used_leaves_its_last_value_and_the_others() {
    let base = Spec { ttl: 5, ndots: 3, ..Spec::default() };
    let unusable = std::collections::BTreeMap::new();
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
    let check = |is_offline, file: Option<&str>| {
        Ok(Command::Check(CheckOptions { is_offline, file: file.map(std::path::PathBuf::from) }))
    };
    assert_eq!(command(&["check", "-verbose"]), check(false, None));
    assert_eq!(command(&["-records", "check", "check"]), check(false, None));
    assert_eq!(command(&["check", "-offline", "-verbose", "x.conf"]), check(true, Some("x.conf")));
    assert_eq!(command(&["check", "x.conf", "y"]), Err(UsageError::ExtraWord("y".into())));
    assert_eq!(command(&["version", "keygen"]), Err(UsageError::ExtraWord("keygen".into())));
    assert_eq!(command(&["pass-keys", "run"]), Err(UsageError::ExtraWord("run".into())));
    assert_eq!(command(&["-offline"]), Err(UsageError::UnknownFlag("offline".into())));
    assert_eq!(command(&["--help"]), Ok(Command::Help(None)));
    let help = |word| Ok(Command::Help(CommandEntry::by_word(word)));
    for line in
        [&["check", "-h"][..], &["-help", "check"], &["help", "check"], &["-ttl", "5", "check", "--help"]]
    {
        assert_eq!(command(line), help("check"), "{line:?}");
    }
    assert_eq!(command(&["resolv-conf", "enable", "--help"]), help("resolv-conf"));
    assert_eq!(command(&["help", "nope"]), Err(UsageError::UnknownCommand("nope".to_owned())));
    assert_eq!(command(&["-version"]), Ok(Command::Version));
    assert_eq!(command(&["-version=T"]), Ok(Command::Version));
    assert_eq!(command(&["-version=0"]), Ok(Command::Run));
    assert_eq!(command(&["check", "-offline=1"]), check(true, None));
    assert_eq!(command(&["check", "-offline", "-offline=False"]), check(false, None));
    for line in [&["-version=maybe"][..], &["-version="], &["check", "-offline=maybe"]] {
        let error = command(line).expect_err("wrong").to_string();
        assert!(error.ends_with(" is not a boolean (true or false)"), "{error}");
    }
    assert_eq!(command(&["-x"]), Err(UsageError::UnknownFlag("x".into())));
    assert_eq!(command(&["-addr"]), Err(UsageError::MissingValue("addr".into())));
    assert_eq!(command(&["serve"]), Err(UsageError::UnknownCommand("serve".into())));
    assert_eq!(command(&["-"]), Err(UsageError::UnknownCommand("-".into())));
}

#[test]
fn the_hosts_own_name_is_filled_in_and_its_place_named() {
    let with = spec(&["-local", "{hostname}.hosts.skydns.local"]);
    let config = Config::new(&with, &host()).expect("a configuration");
    assert_eq!(
        config.site.zones.first().local.as_ref().map(Name::to_ascii),
        Some("host7.hosts.skydns.local.".into())
    );
    let problem = Config::new(&spec(&["-local", "{machine_id}.x"]), &host()).expect_err("no machine id");
    assert_eq!(
        problem.to_string(),
        "flag -local: \"{machine_id}\" cannot be filled in: /etc/machine-id cannot be read"
    );
}

#[test]
fn a_variable_that_cannot_be_used_costs_itself_and_a_flag_the_start() {
    let pairs =
        [("SKYDNS_TTL", "many"), ("SKYDNS_NDOTS", "3"), ("SKYDNS_PRIORITY", "x"), ("SKYDNS_LOCAL", "{x}")];
    let last_good = [("ttl", "600"), ("priority", "x"), ("min-ttl", "7")];
    let last_good = last_good.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let before = ValuesBefore { last_good, ..ValuesBefore::default() };
    let parsed = Arguments::parse([], &of_process(&pairs), &before).expect("arguments");
    assert_eq!((parsed.spec.ttl, parsed.spec.ndots, parsed.spec.priority), (600, 3, 10));
    assert_eq!(parsed.spec.min_ttl, DEFAULT_MIN_TTL, "what is not set any more is the default");
    let refused: Vec<_> = parsed.refused.iter().map(ToString::to_string).collect();
    assert_eq!(
        refused,
        [
            "variable SKYDNS_LOCAL: \"{x}\" is neither {hostname} nor {machine_id}; the default is used",
            "variable SKYDNS_TTL: \"many\" is not a whole number; 600, the last good value, stays",
            "variable SKYDNS_PRIORITY: \"x\" is not a whole number; the default is used",
        ]
    );
    let used: Vec<_> = parsed.used.iter().map(|(name, text)| format!("{name}={text}")).collect();
    assert_eq!(used, ["ndots=3", "ttl=600"]);

    let parsed = parse(&["-ttl", "many", "-machines", "ftp://x"], &[]).expect("arguments");
    let problems: Vec<_> = parsed.flag_problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems[0], "flag -ttl: \"many\" is not a whole number");
    assert!(problems[1].starts_with("flag -machines: \"ftp://x\" is not the URL of an etcd endpoint"));
}

#[test]
fn values_that_this_host_cannot_use_give_way_to_the_last_good_ones() {
    let parse = |unusable: &[&str]| {
        let reason = |text: &&str| (("records".to_owned(), (*text).to_owned()), "it is away".to_owned());
        let unusable = unusable.iter().map(reason).collect();
        let last_good = [("records".to_owned(), "/old".to_owned())].into();
        let before = ValuesBefore { last_good, unusable };
        Arguments::parse([], &of_process(&[("SKYDNS_RECORDS", "/new")]), &before).expect("arguments")
    };
    let records = |unusable: &[&str]| parse(unusable).spec.records.map(|dir| dir.display().to_string());
    assert_eq!(records(&[]).as_deref(), Some("/new"));
    assert_eq!(records(&["/new"]).as_deref(), Some("/old"));
    assert_eq!(records(&["/new", "/old"]), None);
    let refused = parse(&["/new"]).refused[0].to_string();
    assert_eq!(refused, "variable SKYDNS_RECORDS: it is away; /old, the last good value, stays");
}

#[test]
fn while_a_file_cannot_be_read_the_last_good_values_count() {
    let mut variables = of_process(&[("SKYDNS_NDOTS", "3")]);
    variables.add_unreadable(std::path::Path::new("/etc/x"), &std::io::Error::other("it is a pipe"), true);
    let last_good = [("ttl".to_owned(), "600".to_owned()), ("ndots".to_owned(), "1".to_owned())].into();
    let before = ValuesBefore { last_good, ..ValuesBefore::default() };
    let parsed = Arguments::parse([], &variables, &before).expect("arguments");
    assert_eq!((parsed.spec.ttl, parsed.spec.ndots), (600, 3));
    assert_eq!(
        parsed.refused[0].to_string(),
        "/etc/x: cannot be read: it is a pipe; the last good values of what it sets stay"
    );
}

#[test]
fn a_line_that_means_a_variable_and_sets_nothing_leaves_its_last_good_value() {
    let last_good = [("ttl".to_owned(), "600".to_owned()), ("dnssec".to_owned(), "keys".to_owned())];
    let before = ValuesBefore { last_good: last_good.into(), ..ValuesBefore::default() };
    let read = |text: &str| {
        let mut variables = Variables::default();
        variables.add_file(std::path::Path::new("/f"), &read_env_file(text));
        let spec = Arguments::parse([], &variables, &before).expect("arguments").spec;
        (spec.ttl, spec.dnssec.join(","))
    };
    assert_eq!(read(""), (3600, String::new()), "what is gone is gone");
    for typo in ["SKYDNS_DNSEC=keys", "SKYDNS_DNSSEC keys", "SKYDNS_DNSSEC", "export SKYDNS_DNSSEC=keys"] {
        assert_eq!(read(&format!("{typo}\n")), (3600, "keys".to_owned()), "{typo}");
    }
    assert_eq!(read("SKYDNS_TTL=\"7\nSKYDNS_DNSSEC=keys\n"), (600, "keys".to_owned()), "the rest is lost");
}

#[test]
fn a_domain_that_is_none_costs_itself_if_there_is_no_last_good_list() {
    let bad = "site.example,a..b,10.0.0.0/8,10.0.0.1/8";
    let problems = "\"a..b\" is not a domain name; \"10.0.0.1/8\"";
    let served = ["site.example.", "10.in-addr.arpa."];
    let shown = |spec: &Spec| spec.domains().iter().map(ToString::to_string).collect::<Vec<_>>();
    let variables = of_process(&[("SKYDNS_DOMAIN", bad)]);
    let parsed = Arguments::of_variables(&variables, &ValuesBefore::default());
    let [refused] = &parsed.refused[..] else { panic!("{:?}", parsed.refused) };
    assert!(refused.reason.starts_with(problems), "{refused}");
    assert!(refused.to_string().ends_with("; the other domains of the list are served"), "{refused}");
    assert_eq!(shown(&parsed.spec), served);
    let last_good = [("domain".to_owned(), "old.example".to_owned())].into();
    let before = ValuesBefore { last_good, ..ValuesBefore::default() };
    assert_eq!(shown(&Arguments::of_variables(&variables, &before).spec), ["old.example."]);
    let json = br#"{"domain": ["site.example", 5, "a..b", "10.0.0.0/8"]}"#;
    let settings = Spec::default().with_store("/skydns/config", json, StoreBefore::default());
    let [refused] = &settings.problems[..] else { panic!("{:?}", settings.problems) };
    assert!(refused.to_string().contains("\"a..b\" is not a domain name; the other domains"), "{refused}");
    assert_eq!(shown(&settings.spec), served);
    // Of the next list those count that are right then.
    assert!(!parsed.used.contains_key("domain") && !settings.applied.has("domain"));
    let none = Spec::default().with_store("/skydns/config", br#"{"domain": "a..b"}"#, StoreBefore::default());
    assert_eq!(shown(&none.spec), ["skydns.local."]);
}
