//! All settings with their types and defaults, before a [`Config`](super::Config) is made from them.

use super::allow::Allow;
use super::kubernetes::KubernetesSpec;
use super::origin::SettingOrigin;
use super::settings::KUBERNETES_SETTINGS;
use super::zones::{ZoneList, ZoneSpec};
use super::{EtcdApi, NsPolicy};
use crate::answer::{Flatten, HOLD_DELETIONS, MassHold};
use crate::dnssec::DenialKind;
use crate::service::MAX_TTL;
use hickory_proto::rr::Name;
use log::LevelFilter;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Default of `-rcache`: a host talks to a few thousand names.
pub(super) const DEFAULT_RCACHE: usize = 10_000;

/// Default of `-rcache-ttl`, in seconds (as in SkyDNS).
pub(super) const DEFAULT_RCACHE_TTL: u32 = 60;

/// Default of `-scache` (as in SkyDNS).
pub(super) const DEFAULT_SCACHE: usize = 10_000;

/// Default of `-rtimeout` (as in SkyDNS).
pub(super) const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Default of `-ttl`, in seconds (as in SkyDNS).
pub(super) const DEFAULT_TTL: u32 = 3600;

/// Default of `-min-ttl`, in seconds (as in SkyDNS's documents).
pub(super) const DEFAULT_MIN_TTL: u32 = 30;

/// Default of `-priority` (as in SkyDNS).
pub(super) const DEFAULT_PRIORITY: u16 = 10;

/// Default of `-ndots` (as in SkyDNS).
pub(super) const DEFAULT_NDOTS: u8 = 2;

/// Greatest number of seconds that a setting of a TTL takes (RFC 2181 §8).
pub(super) const MAX_TTL_SETTING: i64 = MAX_TTL as i64;

/// All settings, typed, each with its default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an operator's switch of its own")]
pub struct Spec {
    /// The first zone that the agent answers for: "the" domain where one is needed. In lower case.
    pub domain: Name,
    /// The other zones, in lower case, each once.
    pub other_domains: Vec<Name>,
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Take the sockets that systemd passes, and fail if there are none.
    pub systemd: bool,
    /// Upstreams, if any are set.
    pub nameservers: Option<Vec<SocketAddr>>,
    /// Endpoints of etcd; empty if none are set.
    pub machines: Vec<String>,
    /// Which APIs of etcd are read.
    pub etcd_api: EtcdApi,
    /// Hidden keys of the v2 API that are read as well: paths, in full or below the prefix.
    pub v2_also: Vec<String>,
    /// Base names of DNSSEC key files, or directories of them.
    pub dnssec: Vec<String>,
    /// Template of the host's own name.
    pub local: Option<String>,
    /// Where the template comes from, for errors.
    pub local_origin: SettingOrigin,
    /// Settings of single zones.
    pub zones: BTreeMap<Name, ZoneSpec>,
    /// Where they come from, for errors.
    pub zones_origin: SettingOrigin,
    /// Zones in which a name has only what is meant for it.
    pub exact: ZoneList,
    /// Zones that leave missing names to upstreams.
    pub fallthrough: ZoneList,
    /// Where that comes from, for errors.
    pub fallthrough_origin: SettingOrigin,
    /// Private key of the client certificate for etcd.
    pub tls_key: Option<PathBuf>,
    /// Client certificate for etcd.
    pub tls_pem: Option<PathBuf>,
    /// Certificate of the authority that signed etcd's certificate.
    pub ca_cert: Option<PathBuf>,
    /// User name for etcd.
    pub username: Option<String>,
    /// Password for etcd.
    pub password: Option<String>,
    /// Maximum time for one exchange with an upstream.
    pub read_timeout: Duration,
    /// Shuffle addresses.
    pub round_robin: bool,
    /// Which names have a CNAME.
    pub flatten: Flatten,
    /// Spread queries over the healthy upstreams.
    pub ns_rotate: bool,
    /// Which upstream is asked first; `ns_rotate` decides if `None`.
    pub ns_policy: Option<NsPolicy>,
    /// Follow etcd's member list.
    pub discover: bool,
    /// Forward the zones below `dns/stub` to the servers named there.
    pub stub_zones: bool,
    /// Log queries.
    pub verbose: bool,
    /// RNAME of the SOA record; `hostmaster.<domain>` if `None`.
    pub hostmaster: Option<Name>,
    /// TTL of services without one, in seconds.
    pub ttl: u32,
    /// TTL of negative answers, in seconds.
    pub min_ttl: u32,
    /// Zones whose services have PTR records at their addresses.
    pub auto_ptr: ZoneList,
    /// How long a deletion waits that leaves a name or a type empty.
    pub hold_deletions: Duration,
    /// When the deletion of many names is held back.
    pub hold_mass_deletion: MassHold,
    /// SRV priority and MX preference of services without one.
    pub priority: u16,
    /// Maximum number of RRsets whose signatures are cached.
    pub scache: usize,
    /// How signed answers prove that a name or type does not exist.
    pub denial: DenialKind,
    /// Maximum number of cached answers; 0 means no cache.
    pub rcache: usize,
    /// Maximum time that an answer is cached, in seconds.
    pub rcache_ttl: u32,
    /// Labels that a name must have to be forwarded.
    pub ndots: u8,
    /// Deny that names of others have IPv6 addresses.
    pub filter_aaaa: bool,
    /// Never forward.
    pub no_rec: bool,
    /// Path that all keys in the store begin with.
    pub path_prefix: String,
    /// Directory of records.
    pub records: Option<PathBuf>,
    /// The directory of records that is used if none is set; no setting names it.
    pub default_records: Option<PathBuf>,
    /// Whether links in the directory of records may lead anywhere.
    pub records_links: bool,
    /// Directory of the snapshot.
    pub state_dir: Option<PathBuf>,
    /// File of variables that a reload reads again.
    pub env_file: Option<PathBuf>,
    /// Directory of more files of variables.
    pub conf_dir: Option<PathBuf>,
    /// End the start, and refuse a reload, if anything of the settings is refused.
    pub strict: bool,
    /// Where the log goes.
    pub log: LogTarget,
    /// The least important lines that are logged.
    pub log_level: LevelFilter,
    /// File that names the upstreams if none are set.
    pub resolv_conf: PathBuf,
    /// Hide the version and the host name from queries of class CH.
    pub hide_identity: bool,
    /// Pass on the AD flag of upstreams.
    pub trust_ad: bool,
    /// The clients whose queries are forwarded.
    pub allow: Allow,
    /// Remove private addresses from answers of upstreams.
    pub rebind_protection: bool,
    /// Number of UDP workers of each socket, if set.
    pub workers: Option<usize>,
    /// The cluster that is followed, and which names it has.
    pub kubernetes: KubernetesSpec,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error, with priorities when that is the journal.
    #[default]
    Stderr,
    /// /dev/log, in the form of RFC 3164, as syslog(3) writes it.
    Syslog,
    /// /dev/log, in the form of RFC 5424.
    Syslog5424,
}

impl Spec {
    /// All zones that the agent answers for.
    pub fn domains(&self) -> Vec<Name> {
        let mut zones = vec![self.domain.clone()];
        for zone in self.zones_beside_the_first() {
            if !zones.contains(zone) {
                zones.push(zone.clone());
            }
        }
        zones
    }

    /// All zones but the first one; a zone may be among them twice.
    pub(super) fn zones_beside_the_first(&self) -> impl Iterator<Item = &Name> {
        self.other_domains.iter().chain(self.kubernetes.other_zones())
    }

    /// Whether etcd is a source: it is asked for, or nothing else is.
    pub fn uses_etcd(&self) -> bool {
        let is_asked_for = !self.machines.is_empty() || self.discover && self.kubernetes.is_on;
        is_asked_for || self.records.is_none() && !self.kubernetes.is_on
    }

    /// Whether a setting says where etcd is, or how it is read.
    pub fn names_etcd(&self) -> bool {
        let is_read_otherwise = self.etcd_api != Self::default().etcd_api;
        !self.machines.is_empty() || self.discover || self.username.is_some() || is_read_otherwise
    }

    /// Which upstream is asked first, as set or as `ns_rotate` decides.
    pub(super) fn ns_policy(&self) -> NsPolicy {
        let unset = if self.ns_rotate { NsPolicy::Rotate } else { NsPolicy::Order };
        self.ns_policy.unwrap_or(unset)
    }
}

/// The flags of the settings of the sources, but for those of Kubernetes.
const SOURCES: [&str; 12] = [
    "machines",
    "etcd-api",
    "v2-also",
    "records",
    "records-links",
    "path-prefix",
    "discover",
    "ca-cert",
    "tls-pem",
    "tls-key",
    "username",
    "password",
];

/// The flags of the settings that decide where services come from.
pub fn source_flags() -> impl Iterator<Item = &'static str> {
    SOURCES.into_iter().chain(KUBERNETES_SETTINGS.iter().map(|setting| setting.name))
}

impl Spec {
    /// Takes the settings of the sources from other settings; returns their flags.
    pub fn keep_sources(&mut self, from: &Self) -> impl Iterator<Item = &'static str> {
        self.machines.clone_from(&from.machines);
        self.etcd_api = from.etcd_api;
        self.v2_also.clone_from(&from.v2_also);
        self.records.clone_from(&from.records);
        self.default_records.clone_from(&from.default_records);
        self.records_links = from.records_links;
        self.path_prefix.clone_from(&from.path_prefix);
        self.discover = from.discover;
        self.ca_cert.clone_from(&from.ca_cert);
        self.tls_pem.clone_from(&from.tls_pem);
        self.tls_key.clone_from(&from.tls_key);
        self.username.clone_from(&from.username);
        self.password.clone_from(&from.password);
        self.kubernetes.clone_from(&from.kubernetes);
        source_flags()
    }

    /// The flags of the settings of the sources that are others than these.
    pub fn other_sources(&self, after: &Self) -> Vec<&'static str> {
        let is_other = [
            self.machines != after.machines,
            self.etcd_api != after.etcd_api,
            self.v2_also != after.v2_also,
            self.records != after.records,
            self.records_links != after.records_links,
            self.path_prefix != after.path_prefix,
            self.discover != after.discover,
            self.ca_cert != after.ca_cert,
            self.tls_pem != after.tls_pem,
            self.tls_key != after.tls_key,
            self.username != after.username,
            self.password != after.password,
        ];
        let others = SOURCES.into_iter().zip(is_other).filter(|(_, is_other)| *is_other);
        others.map(|(flag, _)| flag).chain(self.kubernetes.others(&after.kubernetes)).collect()
    }

    /// The flags of the settings that are others than these and count from the next start on.
    pub fn changed_until_restart(&self, after: &Self) -> Vec<&'static str> {
        let changed = [
            ("addr", self.listen != after.listen),
            ("systemd", self.systemd != after.systemd),
            ("workers", self.workers != after.workers),
            ("state-dir", self.state_dir != after.state_dir),
            ("env-file", self.env_file != after.env_file),
            ("conf-dir", self.conf_dir != after.conf_dir),
            ("log", self.log != after.log),
        ];
        changed.iter().filter(|(_, is_changed)| *is_changed).map(|(flag, _)| *flag).collect()
    }
}

impl Default for Spec {
    fn default() -> Self {
        let domain = Name::from_labels([b"skydns".as_slice(), b"local"]).unwrap_or_default();
        Self {
            domain,
            other_domains: Vec::new(),
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 53))],
            systemd: false,
            nameservers: None,
            machines: Vec::new(),
            etcd_api: EtcdApi::default(),
            v2_also: Vec::new(),
            dnssec: Vec::new(),
            local: None,
            local_origin: SettingOrigin::Default,
            zones: BTreeMap::new(),
            zones_origin: SettingOrigin::Default,
            exact: ZoneList::default(),
            fallthrough: ZoneList::default(),
            fallthrough_origin: SettingOrigin::Default,
            tls_key: None,
            tls_pem: None,
            ca_cert: None,
            username: None,
            password: None,
            read_timeout: DEFAULT_READ_TIMEOUT,
            round_robin: true,
            flatten: Flatten::default(),
            ns_rotate: true,
            ns_policy: None,
            discover: false,
            stub_zones: false,
            verbose: false,
            hostmaster: None,
            ttl: DEFAULT_TTL,
            min_ttl: DEFAULT_MIN_TTL,
            auto_ptr: ZoneList::default(),
            hold_deletions: HOLD_DELETIONS,
            hold_mass_deletion: MassHold::default(),
            priority: DEFAULT_PRIORITY,
            scache: DEFAULT_SCACHE,
            denial: DenialKind::default(),
            rcache: DEFAULT_RCACHE,
            rcache_ttl: DEFAULT_RCACHE_TTL,
            ndots: DEFAULT_NDOTS,
            filter_aaaa: false,
            no_rec: false,
            path_prefix: "skydns".to_owned(),
            records: None,
            default_records: None,
            records_links: false,
            state_dir: None,
            env_file: None,
            conf_dir: None,
            strict: false,
            log: LogTarget::Stderr,
            log_level: LevelFilter::Info,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            hide_identity: false,
            trust_ad: false,
            allow: Allow::default(),
            rebind_protection: false,
            workers: None,
            kubernetes: KubernetesSpec::default(),
        }
    }
}
