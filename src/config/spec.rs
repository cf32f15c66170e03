//! The settings as they are merged, before anything is made of them.

use super::allow::Allow;
use super::input::SettingOrigin;
use crate::dnssec::DenialKind;
use crate::service::MAX_TTL;
use hickory_proto::rr::Name;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Answers kept by default: a host talks to a few thousand names.
pub(super) const DEFAULT_RCACHE: usize = 10_000;

/// Longest that an answer is kept by default, in seconds (SkyDNS's).
pub(super) const DEFAULT_RCACHE_TTL: u32 = 60;

/// Signatures kept by default (SkyDNS's).
pub(super) const DEFAULT_SCACHE: usize = 10_000;

/// Default time for one exchange with an upstream or a store (SkyDNS's).
pub(super) const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Default of services without a TTL, in seconds (SkyDNS's).
pub(super) const DEFAULT_TTL: u32 = 3600;

/// Default TTL of negative answers, in seconds (SkyDNS's, as documented).
pub(super) const DEFAULT_MIN_TTL: u32 = 30;

/// Default SRV priority (SkyDNS's).
pub(super) const DEFAULT_PRIORITY: u16 = 10;

/// Default of labels that a name must have to be forwarded (SkyDNS's).
pub(super) const DEFAULT_NDOTS: u8 = 2;

/// Greatest TTL as a setting may give it.
pub(super) const MAX_TTL_SETTING: i64 = MAX_TTL as i64;

/// All settings, typed, each with its default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an operator's switch of its own")]
pub struct Spec {
    /// The domain we are authoritative for.
    pub domain: Name,
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// Take the sockets of systemd, and fail without any.
    pub systemd: bool,
    /// Upstreams, where any are set.
    pub nameservers: Option<Vec<SocketAddr>>,
    /// etcd endpoints, where any are set.
    pub machines: Vec<String>,
    /// Base names of DNSSEC key files.
    pub dnssec: Vec<String>,
    /// Template of the host's own name.
    pub local: Option<String>,
    /// Where the template stands.
    pub local_origin: SettingOrigin,
    /// Private key of the client certificate for etcd.
    pub tls_key: Option<PathBuf>,
    /// Client certificate for etcd.
    pub tls_pem: Option<PathBuf>,
    /// Certificate of the authority that signed etcd's.
    pub ca_cert: Option<PathBuf>,
    /// User name for etcd.
    pub username: Option<String>,
    /// Password for etcd.
    pub password: Option<String>,
    /// Time for one exchange with an upstream.
    pub read_timeout: Duration,
    /// Shuffle addresses.
    pub round_robin: bool,
    /// Spread questions over upstreams.
    pub ns_rotate: bool,
    /// Follow etcd's member list.
    pub discover: bool,
    /// Serve stub zones.
    pub stub_zones: bool,
    /// Log queries.
    pub verbose: bool,
    /// RNAME of the SOA; made from the domain if unset.
    pub hostmaster: Option<Name>,
    /// TTL of services without one, in seconds.
    pub ttl: u32,
    /// TTL of negative answers, in seconds.
    pub min_ttl: u32,
    /// Priority of services without one.
    pub priority: u16,
    /// Signatures kept.
    pub scache: usize,
    /// How absence is proven.
    pub denial: DenialKind,
    /// Answers kept.
    pub rcache: usize,
    /// Longest that an answer is kept, in seconds.
    pub rcache_ttl: u32,
    /// Labels that a name must have to be forwarded.
    pub ndots: u8,
    /// Never forward.
    pub no_rec: bool,
    /// Path prefix of all keys.
    pub path_prefix: String,
    /// Directory of records.
    pub records: Option<PathBuf>,
    /// Directory of the snapshot.
    pub state_dir: Option<PathBuf>,
    /// The file of variables that a reload reads again.
    pub env_file: Option<PathBuf>,
    /// Where the log goes.
    pub log: LogTarget,
    /// The file that names the upstreams when none are set.
    pub resolv_conf: PathBuf,
    /// Tell nothing under class CH.
    pub hide_identity: bool,
    /// Pass on an upstream's AD flag.
    pub trust_ad: bool,
    /// Which clients are forwarded for.
    pub allow: Allow,
    /// Take private addresses out of what upstreams say.
    pub rebind_protection: bool,
    /// UDP workers of each socket, where set.
    pub workers: Option<usize>,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard error, with priorities when that is the journal.
    #[default]
    Stderr,
    /// /dev/log, in the form of RFC 5424.
    Syslog,
}

impl Default for Spec {
    fn default() -> Self {
        let domain = Name::from_labels([b"skydns".as_slice(), b"local"]).unwrap_or_default();
        Self {
            domain,
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 53))],
            systemd: false,
            nameservers: None,
            machines: Vec::new(),
            dnssec: Vec::new(),
            local: None,
            local_origin: SettingOrigin::Default,
            tls_key: None,
            tls_pem: None,
            ca_cert: None,
            username: None,
            password: None,
            read_timeout: DEFAULT_READ_TIMEOUT,
            round_robin: true,
            ns_rotate: true,
            discover: false,
            stub_zones: false,
            verbose: false,
            hostmaster: None,
            ttl: DEFAULT_TTL,
            min_ttl: DEFAULT_MIN_TTL,
            priority: DEFAULT_PRIORITY,
            scache: DEFAULT_SCACHE,
            denial: DenialKind::default(),
            rcache: DEFAULT_RCACHE,
            rcache_ttl: DEFAULT_RCACHE_TTL,
            ndots: DEFAULT_NDOTS,
            no_rec: false,
            path_prefix: "skydns".to_owned(),
            records: None,
            state_dir: None,
            env_file: None,
            log: LogTarget::Stderr,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            hide_identity: false,
            trust_ad: false,
            allow: Allow::default(),
            rebind_protection: false,
            workers: None,
        }
    }
}
