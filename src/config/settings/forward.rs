//! Settings of forwarding: the upstreams, what is asked of them, for whom, and the cache.

use super::{DefaultValue, Setting, TakesEffect, path, positive};
use crate::config::NsPolicy;
use crate::config::allow::Allow;
use crate::config::input::SettingError;
use crate::config::spec::{DEFAULT_NDOTS, DEFAULT_RCACHE_TTL, DEFAULT_READ_TIMEOUT, MAX_TTL_SETTING, Spec};

pub(super) const FORWARD_SETTINGS: &[Setting] = &[
    Setting {
        name: "nameservers",
        variables: &["SKYDNS_NAMESERVERS"],
        keys: &["nameservers"],
        takes: Some("IP:PORT,…"),
        summary: "upstreams for all names outside the domain",
        details: "The port may be left out; it is 53 then. The agent never uses its own addresses as upstreams; if all are, \
                  those of `-resolv-conf` are used.",
        default: DefaultValue::Unset("those of `-resolv-conf`"),
        example: "192.0.2.1:53,[2001:db8::1]:53",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            let nameservers = input.addresses(Some(53))?;
            if let Some(of_none) = nameservers.iter().find(|address| address.ip().is_unspecified()) {
                return Err(SettingError::Choice {
                    found: of_none.to_string(),
                    expected: "the address of a server",
                });
            }
            spec.nameservers = (!nameservers.is_empty()).then_some(nameservers);
            Ok(())
        },
    },
    Setting {
        name: "resolv-conf",
        variables: &["SKYDNS_RESOLV_CONF"],
        keys: &[],
        takes: Some("FILE"),
        summary: "file that names the upstreams if `-nameservers` names none",
        details: "The agent follows changes of the file. See RESOLV.CONF in skydns(5).",
        default: DefaultValue::Value("/etc/resolv.conf"),
        example: "/run/systemd/resolve/resolv.conf",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.resolv_conf = path(input.text()?).unwrap_or_else(|| Spec::default().resolv_conf);
            Ok(())
        },
    },
    Setting {
        name: "no-rec",
        variables: &["SKYDNS_NO_REC"],
        keys: &["no_rec"],
        takes: None,
        summary: "never forward",
        details: "Queries for names outside the domain get the answer REFUSED. Names that the site's own services lead to \
                  are still looked up.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.no_rec = value),
    },
    Setting {
        name: "ns-rotate",
        variables: &["SKYDNS_NS_ROTATE"],
        keys: &["ns_rotate"],
        takes: None,
        summary: "spread queries over the healthy upstreams that are about equally fast",
        details: "If this is switched off, the agent asks the upstreams in their order. `-ns-policy` counts more.",
        default: DefaultValue::Value("true"),
        example: "false",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.ns_rotate = value),
    },
    Setting {
        name: "ns-policy",
        variables: &["SKYDNS_NS_POLICY"],
        keys: &["ns_policy"],
        takes: Some("POLICY"),
        summary: "the first upstream: `rotate`, `order`, or `fastest`",
        details: "`rotate` spreads queries over the healthy upstreams that are about equally fast. `order` asks the first \
                  upstream of the list, and the next one only if that gives no answer; a first one that is down is asked \
                  again as soon as it replies to a probe. `fastest` asks the fastest upstream.",
        default: DefaultValue::Unset("`rotate` with `-ns-rotate`, else `order`"),
        example: "order",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.ns_policy = match input.text()? {
                "" => None,
                "rotate" => Some(NsPolicy::Rotate),
                "order" => Some(NsPolicy::Order),
                "fastest" => Some(NsPolicy::Fastest),
                found => {
                    return Err(SettingError::Choice {
                        found: found.to_owned(),
                        expected: "rotate, order or fastest",
                    });
                }
            };
            Ok(())
        },
    },
    Setting {
        name: "ndots",
        variables: &["SKYDNS_NDOTS"],
        keys: &["ndots", "ndot"],
        takes: Some("N"),
        summary: "labels that a name must have for its addresses to be asked of upstreams",
        details: "The number is at most 127; 0 and less mean the default. This holds for A, AAAA, HTTPS and SVCB: a name with fewer labels has none of these. All other types, and the root, are always forwarded.",
        default: DefaultValue::Value("2"),
        example: "1",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.ndots = positive(input.integer(i64::MIN, 127)?, DEFAULT_NDOTS);
            Ok(())
        },
    },
    Setting {
        name: "filter-aaaa",
        variables: &["SKYDNS_FILTER_AAAA"],
        keys: &["filter_aaaa"],
        takes: None,
        summary: "deny that names of others have IPv6 addresses",
        details: "For hosts, and clusters, without IPv6: half of all questions are for addresses that nobody can use. The answer is that the \
                  name has none (NODATA), and no upstream is asked. Names of our own, and of stub zones, keep theirs.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.filter_aaaa = value),
    },
    Setting {
        name: "rtimeout",
        variables: &["SKYDNS_RTIMEOUT"],
        keys: &["read_timeout"],
        takes: Some("TIME"),
        summary: "maximum time for one exchange with an upstream",
        details: "A time of 0s means the default.",
        default: DefaultValue::Value("2s"),
        example: "1500ms",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            let timeout = input.duration()?;
            spec.read_timeout = if timeout.is_zero() { DEFAULT_READ_TIMEOUT } else { timeout };
            Ok(())
        },
    },
    Setting {
        name: "stubzones",
        variables: &["SKYDNS_STUBZONES"],
        keys: &[],
        takes: None,
        summary: "forward the zones below `dns/stub` to the servers named there",
        details: "See SERVICES in skydns(5).",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.stub_zones = value),
    },
    Setting {
        name: "rcache",
        variables: &["SKYDNS_RCACHE"],
        keys: &["rcache"],
        takes: Some("N"),
        summary: "maximum number of answers of upstreams in the cache; 0 switches the cache off",
        details: "The number is at most 100000000; less than 0 counts as 0. The agent fetches popular answers again before they \
                  expire. While upstreams fail or take longer than 1.8 seconds, the agent uses answers for up to one \
                  day after they expired (RFC 8767), with a TTL of 30 seconds and extended error 3. It does not use \
                  expired negative answers.",
        default: DefaultValue::Value("10000"),
        example: "50000",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.rcache = usize::try_from(input.integer(i64::MIN, 100_000_000)?).unwrap_or(0);
            Ok(())
        },
    },
    Setting {
        name: "rcache-ttl",
        variables: &["SKYDNS_RCACHE_TTL"],
        keys: &["rcache_ttl"],
        takes: Some("SECONDS"),
        summary: "maximum time that an answer stays in the cache, in seconds",
        details: "An answer with a shorter TTL expires earlier. 0 means the default.",
        default: DefaultValue::Value("60"),
        example: "300",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| {
            spec.rcache_ttl = positive(input.integer(0, MAX_TTL_SETTING)?, DEFAULT_RCACHE_TTL);
            Ok(())
        },
    },
    Setting {
        name: "allow",
        variables: &["SKYDNS_ALLOW"],
        keys: &["allow"],
        takes: Some("NET,…"),
        summary: "clients whose queries are forwarded: networks, addresses, `host`, `local`, `any`",
        details: "Queries of this host are always forwarded. `host` adds no other client. `local` adds the private \
                  networks that this host is directly connected to; the agent follows changes of the interfaces. \
                  `any` adds everybody. A network is written as in `192.0.2.0/24`. All other clients get answers for \
                  the domain, and REFUSED for other names. Clients that only `any` allows, or that nothing allows, get \
                  at most 50 UDP replies a second for each /24 or /56 network; beyond that, replies tell them to use TCP.",
        default: DefaultValue::Value("local"),
        example: "local,192.0.2.0/24",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| Allow::parse(&input.list()?).map(|allow| spec.allow = allow),
    },
    Setting {
        name: "rebind-protection",
        variables: &["SKYDNS_REBIND_PROTECTION"],
        keys: &["rebind_protection"],
        takes: None,
        summary: "remove private addresses from the answers of upstreams",
        details: "Answers of stub zones stay as they are, and so do addresses of names that services of the domain lead to.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.rebind_protection = value),
    },
    Setting {
        name: "trust-ad",
        variables: &["SKYDNS_TRUST_AD"],
        keys: &["trust_ad"],
        takes: None,
        summary: "pass on the AD flag of upstreams",
        details: "Use this only if the upstreams validate DNSSEC and the network between them and this host is safe.",
        default: DefaultValue::Value("false"),
        example: "true",
        takes_effect: TakesEffect::Reload,
        set: |spec, input, _| input.boolean().map(|value| spec.trust_ad = value),
    },
];
