//! The table of settings: one row for each, with every way it can be given.

use super::allow::Allow;
use super::input::{SettingError, SettingInput, SettingOrigin};
use super::spec::{
    DEFAULT_MIN_TTL, DEFAULT_NDOTS, DEFAULT_PRIORITY, DEFAULT_RCACHE_TTL, DEFAULT_READ_TIMEOUT,
    DEFAULT_SCACHE, DEFAULT_TTL, LogTarget, MAX_TTL_SETTING, Spec,
};
use crate::dnssec::DenialKind;
use std::path::PathBuf;

/// One setting.
pub(super) struct Setting {
    /// Flag without its dash; `None` if it has no flag.
    pub(super) flag: Option<&'static str>,
    /// Environment variables, the first that is set counts.
    pub(super) variables: &'static [&'static str],
    /// Fields of `/skydns/config`, in lower case, with `_` for `-`.
    pub(super) keys: &'static [&'static str],
    /// What the flag takes; `None` for a switch.
    pub(super) takes: Option<&'static str>,
    /// One line for `--help`, with the default.
    pub(super) help: &'static str,
    /// Sets it.
    pub(super) set: fn(&mut Spec, SettingInput<'_>, &SettingOrigin) -> Result<(), SettingError>,
}

impl Setting {
    /// The setting of a flag.
    pub(super) fn by_flag(flag: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.flag == Some(flag))
    }

    /// The setting of a key of `/skydns/config`, in any letter case, `-` or `_`.
    pub(super) fn by_key(key: &str) -> Option<&'static Self> {
        let key = key.to_ascii_lowercase().replace('-', "_");
        SETTINGS.iter().find(|setting| setting.keys.contains(&key.as_str()))
    }
}

/// Shorthand for a row.
const fn setting(
    flag: Option<&'static str>,
    variables: &'static [&'static str],
    keys: &'static [&'static str],
    (takes, help): (Option<&'static str>, &'static str),
    set: fn(&mut Spec, SettingInput<'_>, &SettingOrigin) -> Result<(), SettingError>,
) -> Setting {
    Setting { flag, variables, keys, takes, help, set }
}

/// All settings, in the order of `--help`.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        Some("addr"),
        &["SKYDNS_ADDR"],
        &["dns_addr"],
        (Some("IP:PORT,…"), "addresses to listen on, UDP and TCP (127.0.0.1:53)"),
        |spec, input, _| {
            let listen = input.addresses(None)?;
            set_unless_empty(&mut spec.listen, listen);
            Ok(())
        },
    ),
    setting(
        Some("systemd"),
        &["SKYDNS_SYSTEMD"],
        &["systemd"],
        (None, "take the sockets systemd passes, ignore -addr"),
        |spec, input, _| input.boolean().map(|value| spec.systemd = value),
    ),
    setting(
        Some("domain"),
        &["SKYDNS_DOMAIN"],
        &["domain"],
        (Some("NAME"), "domain to answer for (skydns.local.)"),
        |spec, input, _| {
            spec.domain = input.name()?.unwrap_or_else(|| Spec::default().domain).to_lowercase();
            Ok(())
        },
    ),
    setting(
        Some("records"),
        &["SKYDNS_RECORDS"],
        &[],
        (Some("DIR"), "directory of records: its paths are the keys, its files the values"),
        |spec, input, _| input.text().map(|text| spec.records = path(text)),
    ),
    setting(
        Some("state-dir"),
        &["SKYDNS_STATE_DIR"],
        &[],
        (Some("DIR"), "directory of the snapshot of etcd (systemd's STATE_DIRECTORY)"),
        |spec, input, _| input.text().map(|text| spec.state_dir = path(text)),
    ),
    setting(
        Some("machines"),
        &["ETCD_MACHINES"],
        &[],
        (
            Some("URL,…"),
            "etcd endpoints (without any, and without -records: http://127.0.0.1:2379, then :4001)",
        ),
        |spec, input, _| {
            spec.machines = input.list()?.into_iter().map(str::to_owned).collect();
            Ok(())
        },
    ),
    setting(
        Some("discover"),
        &["SKYDNS_DISCOVER"],
        &[],
        (None, "follow the member list of etcd"),
        |spec, input, _| input.boolean().map(|value| spec.discover = value),
    ),
    setting(
        Some("ca-cert"),
        // SkyDNS 2.0 had the second spelling.
        &["ETCD_CACERT", "ECTD_CACERT"],
        &[],
        (Some("FILE"), "certificate of the authority that signed etcd's certificate"),
        |spec, input, _| input.text().map(|text| spec.ca_cert = path(text)),
    ),
    setting(
        Some("tls-pem"),
        &["ETCD_TLSPEM"],
        &[],
        (Some("FILE"), "client certificate for etcd"),
        |spec, input, _| input.text().map(|text| spec.tls_pem = path(text)),
    ),
    setting(
        Some("tls-key"),
        &["ETCD_TLSKEY"],
        &[],
        (Some("FILE"), "private key of the client certificate"),
        |spec, input, _| input.text().map(|text| spec.tls_key = path(text)),
    ),
    setting(
        Some("username"),
        &["ETCD_USERNAME"],
        &[],
        (Some("NAME"), "user name for etcd"),
        |spec, input, _| input.text().map(|text| spec.username = some(text)),
    ),
    setting(
        Some("password"),
        &["ETCD_PASSWORD"],
        &[],
        (Some("TEXT"), "password for etcd; better given as ETCD_PASSWORD"),
        |spec, input, _| input.text().map(|text| spec.password = some(text)),
    ),
    setting(
        Some("path-prefix"),
        &["SKYDNS_PATH_PREFIX"],
        &[],
        (Some("PATH"), "path that all keys begin with (skydns)"),
        |spec, input, _| input.text().map(|text| spec.path_prefix = text.to_owned()),
    ),
    setting(
        Some("local"),
        &["SKYDNS_LOCAL"],
        &["local"],
        (Some("NAME"), "what local.dns.<domain> stands for here; may hold {hostname} and {machine_id}"),
        |spec, input, origin| {
            spec.local = some(input.text()?);
            spec.local_origin = origin.clone();
            Ok(())
        },
    ),
    setting(
        Some("nameservers"),
        &["SKYDNS_NAMESERVERS"],
        &["nameservers"],
        (Some("IP:PORT,…"), "upstreams for all other names (those of resolv.conf)"),
        |spec, input, _| {
            let nameservers = input.addresses(Some(53))?;
            spec.nameservers = (!nameservers.is_empty()).then_some(nameservers);
            Ok(())
        },
    ),
    setting(
        Some("resolv-conf"),
        &["SKYDNS_RESOLV_CONF"],
        &[],
        (Some("FILE"), "file that names the upstreams when none are given (/etc/resolv.conf)"),
        |spec, input, _| {
            spec.resolv_conf = path(input.text()?).unwrap_or_else(|| Spec::default().resolv_conf);
            Ok(())
        },
    ),
    setting(Some("no-rec"), &["SKYDNS_NO_REC"], &["no_rec"], (None, "never forward"), |spec, input, _| {
        input.boolean().map(|value| spec.no_rec = value)
    }),
    setting(
        Some("ns-rotate"),
        &["SKYDNS_NS_ROTATE"],
        &["ns_rotate"],
        (None, "spread questions over the upstreams that are well (true)"),
        |spec, input, _| input.boolean().map(|value| spec.ns_rotate = value),
    ),
    setting(
        Some("ndots"),
        &["SKYDNS_NDOTS"],
        &["ndot", "ndots"],
        (Some("N"), "labels a name must have to be forwarded (2)"),
        |spec, input, _| {
            spec.ndots = positive(input.integer(i64::MIN, 127)?, DEFAULT_NDOTS);
            Ok(())
        },
    ),
    setting(
        Some("rtimeout"),
        &["SKYDNS_RTIMEOUT"],
        &["read_timeout"],
        (Some("TIME"), "most time for one exchange with an upstream (2s)"),
        |spec, input, _| {
            let timeout = input.duration()?;
            spec.read_timeout = if timeout.is_zero() { DEFAULT_READ_TIMEOUT } else { timeout };
            Ok(())
        },
    ),
    setting(
        Some("stubzones"),
        &["SKYDNS_STUBZONES"],
        &[],
        (None, "forward the zones below dns/stub to the servers named there"),
        |spec, input, _| input.boolean().map(|value| spec.stub_zones = value),
    ),
    setting(
        Some("workers"),
        &["SKYDNS_WORKERS"],
        &[],
        (Some("N"), "UDP workers of each socket (as many as there are cores)"),
        |spec, input, _| {
            spec.workers = usize::try_from(input.integer(1, 1024)?).ok();
            Ok(())
        },
    ),
    setting(
        Some("rcache"),
        &["SKYDNS_RCACHE"],
        &["rcache"],
        (Some("N"), "answers of upstreams to keep, 0 for none (10000)"),
        |spec, input, _| {
            spec.rcache = usize::try_from(input.integer(i64::MIN, 100_000_000)?).unwrap_or(0);
            Ok(())
        },
    ),
    setting(
        Some("rcache-ttl"),
        &["SKYDNS_RCACHE_TTL"],
        &["rcache_ttl"],
        (Some("SECONDS"), "longest to keep them (60)"),
        |spec, input, _| {
            spec.rcache_ttl = positive(input.integer(0, MAX_TTL_SETTING)?, DEFAULT_RCACHE_TTL);
            Ok(())
        },
    ),
    setting(
        Some("round-robin"),
        &["SKYDNS_ROUND_ROBIN"],
        &["round_robin"],
        (None, "shuffle addresses (true)"),
        |spec, input, _| input.boolean().map(|value| spec.round_robin = value),
    ),
    setting(
        Some("ttl"),
        &["SKYDNS_TTL"],
        &["ttl"],
        (Some("SECONDS"), "TTL of services that give none (3600)"),
        |spec, input, _| {
            spec.ttl = positive(input.integer(0, MAX_TTL_SETTING)?, DEFAULT_TTL);
            Ok(())
        },
    ),
    setting(
        Some("min-ttl"),
        &["SKYDNS_MIN_TTL"],
        &["min_ttl"],
        (Some("SECONDS"), "TTL of negative answers (30)"),
        |spec, input, _| {
            spec.min_ttl = positive(input.integer(0, MAX_TTL_SETTING)?, DEFAULT_MIN_TTL);
            Ok(())
        },
    ),
    setting(
        Some("priority"),
        &["SKYDNS_PRIORITY"],
        &["priority"],
        (Some("N"), "SRV priority of services that give none (10)"),
        |spec, input, _| {
            spec.priority = positive(input.integer(0, 65_535)?, DEFAULT_PRIORITY);
            Ok(())
        },
    ),
    setting(
        Some("hostmaster"),
        &["SKYDNS_HOSTMASTER"],
        &["hostmaster"],
        (Some("MAIL"), "mail address in the SOA (hostmaster.<domain>)"),
        |spec, input, _| {
            // An address cannot hold an @ in the SOA.
            let mail = input.text()?.replace('@', ".");
            spec.hostmaster = SettingInput::Text(&mail).name()?;
            Ok(())
        },
    ),
    setting(
        Some("dnssec"),
        &["SKYDNS_DNSSEC"],
        &["dnssec"],
        (
            Some("KEY,…"),
            "DNSSEC keys: base names of key files, such as Kskydns.local.+013+12345, or directories",
        ),
        |spec, input, _| {
            // The + may arrive as a blank.
            spec.dnssec = input.list()?.into_iter().map(|name| name.replace(' ', "+")).collect();
            Ok(())
        },
    ),
    setting(
        Some("scache"),
        &["SKYDNS_SCACHE"],
        &["scache"],
        (Some("N"), "RRsets whose signatures are kept (10000)"),
        |spec, input, _| {
            let capacity = usize::try_from(input.integer(i64::MIN, 100_000_000)?).unwrap_or(0);
            spec.scache = if capacity == 0 { DEFAULT_SCACHE } else { capacity };
            Ok(())
        },
    ),
    setting(
        Some("denial"),
        &["SKYDNS_DENIAL"],
        &["denial"],
        (Some("KIND"), "how absence is proven: nsec3, or compact (RFC 9824) (nsec3)"),
        |spec, input, _| {
            spec.denial = match input.text()? {
                "nsec3" => DenialKind::Nsec3,
                "compact" => DenialKind::Compact,
                found => {
                    return Err(SettingError::Choice {
                        found: found.to_owned(),
                        expected: "nsec3 or compact",
                    });
                }
            };
            Ok(())
        },
    ),
    setting(
        Some("allow"),
        &["SKYDNS_ALLOW"],
        &["allow"],
        (Some("NET,…"), "clients to forward for: networks, host, local, any (local)"),
        |spec, input, _| Allow::parse(&input.list()?).map(|allow| spec.allow = allow),
    ),
    setting(
        Some("rebind-protection"),
        &["SKYDNS_REBIND_PROTECTION"],
        &["rebind_protection"],
        (None, "take private addresses out of what upstreams say"),
        |spec, input, _| input.boolean().map(|value| spec.rebind_protection = value),
    ),
    setting(
        Some("trust-ad"),
        &["SKYDNS_TRUST_AD"],
        &["trust_ad"],
        (None, "pass on the AD flag of upstreams"),
        |spec, input, _| input.boolean().map(|value| spec.trust_ad = value),
    ),
    setting(
        Some("hide-identity"),
        &["SKYDNS_HIDE_IDENTITY"],
        &["hide_identity"],
        (None, "tell no version and no host name under class CH"),
        |spec, input, _| input.boolean().map(|value| spec.hide_identity = value),
    ),
    setting(
        Some("env-file"),
        &["SKYDNS_ENV_FILE"],
        &[],
        (Some("FILE"), "file of variables; a reload reads it again"),
        |spec, input, _| input.text().map(|text| spec.env_file = path(text)),
    ),
    setting(
        Some("log"),
        &["SKYDNS_LOG"],
        &[],
        (Some("WHERE"), "stderr or syslog (stderr)"),
        |spec, input, _| {
            spec.log = match input.text()? {
                "stderr" => LogTarget::Stderr,
                "syslog" => LogTarget::Syslog,
                found => {
                    return Err(SettingError::Choice {
                        found: found.to_owned(),
                        expected: "stderr or syslog",
                    });
                }
            };
            Ok(())
        },
    ),
    setting(Some("verbose"), &["SKYDNS_VERBOSE"], &[], (None, "log queries"), |spec, input, _| {
        input.boolean().map(|value| spec.verbose = value)
    }),
    setting(
        Some("etcd3"),
        &[],
        &[],
        (None, "accepted for SkyDNS's sake: etcd is always v3"),
        |_, input, _| input.boolean().map(|_| ()),
    ),
    setting(
        Some("kubernetes"),
        &[],
        &[],
        (None, "of SkyDNS 2.0; refused, as this version reads no Kubernetes master"),
        |_, input, _| match input.boolean()? {
            true => Err(SettingError::Unsupported("this version reads no Kubernetes master")),
            false => Ok(()),
        },
    ),
    setting(
        Some("netlookup"),
        &[],
        &[],
        (None, "of SkyDNS 2.0; refused, as this version does not look into /etc/hosts"),
        |_, input, _| match input.boolean()? {
            true => Err(SettingError::Unsupported("this version does not look into /etc/hosts")),
            false => Ok(()),
        },
    ),
];

fn set_unless_empty<T>(place: &mut Vec<T>, values: Vec<T>) {
    if !values.is_empty() {
        *place = values;
    }
}

/// A number that falls back to its default unless it is positive, as in SkyDNS.
fn positive<T: TryFrom<i64> + PartialOrd + Default>(number: i64, default: T) -> T {
    T::try_from(number).ok().filter(|number| *number > T::default()).unwrap_or(default)
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn path(text: &str) -> Option<PathBuf> {
    some(text).map(PathBuf::from)
}
