//! Configuration: flags, environment and `/skydns/config` become one checked [`Config`]. The commands and the exit codes of the
//! program are tables here too.
//!
//! Precedence, highest first: the key `/skydns/config` of the store, flags, environment variables, defaults. Each
//! setting is one row of one table (`settings`), wherever its value comes from. Nothing here reads a file or a socket.

mod allow;
mod args;
mod command;
mod command_table;
mod differences;
mod domains;
mod endpoint;
mod env_file;
mod exit_code;
mod input;
mod kubernetes;
mod layers;
mod local;
mod odd;
mod origin;
mod refused;
mod selector;
mod settings;
mod spec;
mod store;
mod unknown;
mod variables;
mod zones;

pub use allow::Allow;
pub use args::{Arguments, GivenTexts, UsageError, ValuesBefore};
pub use command::{
    CheckOptions, Command, CommandEntry, CommandOperand, MigrateOptions, all_commands, command_usage,
};
pub use env_file::{Assignment, LineProblem, VariablesFile, read as read_env_file};
pub use exit_code::{
    CONFIG, DATA, EXIT_CODES, ExitCodeEntry, NO, PERMISSION, SOFTWARE, SUCCESS, SYSTEM, UNAVAILABLE, USAGE,
};
pub use input::{SettingError, SettingProblem, without_user};
pub use kubernetes::{KubernetesEndpoints, KubernetesSpec};
pub use layers::Layers;
pub use local::{HostIdentity, TemplateError};
pub use origin::{Place, SettingOrigin};
pub use refused::{Instead, RefusedSetting};
pub use settings::{
    DefaultValue, SETTING_GROUPS, STATISTICS, Setting, SettingGroup, StatisticsVariable, TakesEffect, flags,
};
pub use spec::{LogTarget, Spec, source_flags};
pub use store::{StoreBefore, StoreFields, StoreSettings};
pub use unknown::{NAMES_OF_FILES, is_variable};
pub use variables::{Variable, Variables};
pub use zones::{ZoneList, ZoneSpec};

use crate::answer::{Identity, Site, Zone, Zones};
use crate::dnssec::{DenialKind, Signers};
use hickory_proto::rr::Name;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The checked configuration of everything that serves. It is never changed, only replaced as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the site serves, and how its answers are made.
    pub site: Arc<Site>,
    /// Addresses to listen on if systemd passes no sockets.
    pub listen: Vec<SocketAddr>,
    /// Whether systemd has to pass the sockets.
    pub systemd: bool,
    /// Number of UDP workers of each socket; one for each CPU core if `None`.
    pub workers: Option<usize>,
    /// How queries for names outside the domain are forwarded.
    pub forward: ForwardConfig,
    /// The clients whose queries are forwarded.
    pub allow: Allow,
    /// Whether every query is logged.
    pub verbose: bool,
    /// How answers for the domain are signed.
    pub dnssec: DnssecConfig,
    /// What signs the zones; empty until keys are read.
    pub signers: Arc<Signers>,
}

/// How answers are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnssecConfig {
    /// Base names of key files, or directories of them; if empty, nothing is signed.
    pub keys: Vec<String>,
    /// How signed answers prove that a name or type does not exist.
    pub denial: DenialKind,
    /// Maximum number of RRsets whose signatures are cached.
    pub cache_size: usize,
}

/// Which APIs of etcd are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EtcdApi {
    /// That of v3, and that of v2 if it is needed.
    #[default]
    Auto,
    /// That of v2 alone.
    V2,
    /// That of v3 alone.
    V3,
    /// Both; on one key v3 wins.
    Both,
}

impl EtcdApi {
    /// Whether the v3 API is read.
    pub fn has_v3(self) -> bool {
        self != Self::V2
    }

    /// Whether the v2 API is read, or may turn out to be needed.
    pub fn has_v2(self) -> bool {
        self != Self::V3
    }
}

/// Which upstream is asked first, and when the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NsPolicy {
    /// Each in its turn, of those that are about as fast as the fastest one.
    Rotate,
    /// The first of the list, and the next one only if that fails.
    Order,
    /// The fastest one.
    Fastest,
}

/// How queries for names outside the domain are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Upstreams; if `None`, those of resolv.conf.
    pub nameservers: Option<Vec<SocketAddr>>,
    /// Never forward.
    pub no_rec: bool,
    /// Which upstream is asked first.
    pub ns_policy: NsPolicy,
    /// Maximum time for one exchange with an upstream.
    pub timeout: Duration,
    /// Maximum number of cached answers; 0 means no cache.
    pub cache_size: usize,
    /// Maximum time that an answer is cached, in seconds.
    pub cache_ttl: u32,
    /// Zones whose servers the settings name.
    pub routes: Arc<[Route]>,
    /// Whether services below `dns/stub/<zone>` are the upstreams of that zone.
    pub stub_zones: bool,
    /// Whether an upstream's AD flag is passed on.
    pub trust_ad: bool,
    /// Whether private addresses are removed from answers of upstreams.
    pub rebind_protection: bool,
    /// Zones of ours that leave missing names to upstreams, which may give addresses of the site there.
    pub fallthrough: Vec<Name>,
    /// Whether the records of each RRset of an answer are shuffled.
    pub round_robin: bool,
}

/// A zone whose questions go to servers of its own, over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The zone, absolute, in lower case.
    pub zone: Name,
    /// Its servers.
    pub servers: Vec<SocketAddr>,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(ToString::to_string).collect();
        write!(f, "questions for names in {} go to {}", self.zone, servers.join(", "))
    }
}

impl ForwardConfig {
    /// Whether a name is in a zone of ours that leaves missing names to upstreams.
    pub fn is_of_site(&self, name: &Name) -> bool {
        self.fallthrough.iter().any(|zone| zone.zone_of(name))
    }
}

impl Config {
    /// The configuration of settings without what depends on the host.
    pub fn without_host(spec: &Spec) -> Self {
        let zone = |apex: &Name| {
            let mut zone = Zone::new(apex);
            spec.name_cluster(&mut zone);
            zone
        };
        let zones = Zones::new(zone(&spec.domain), spec.zones_beside_the_first().map(zone));
        Self::with_zones(zones, spec, &HostIdentity::default())
    }

    /// Makes the configuration of a host from its settings.
    ///
    /// # Errors
    /// The template of `local` gives no domain name on this host.
    pub fn new(spec: &Spec, host: &HostIdentity) -> Result<Self, SettingProblem> {
        let zone = |apex: &Name| {
            let ZoneSpec {
                mode,
                fallthrough,
                auto_ptr,
                ttl,
                min_ttl,
                hostmaster,
                local,
                hold_deletions,
                hold_mass_deletion,
            } = spec.zone(apex);
            let is_own = spec.zones.get(apex).is_some_and(|own| own.local.is_some());
            let mut zone = Zone::new(apex);
            zone.local =
                local.map(|template| local::expand(&template, host)).transpose().map_err(|source| {
                    let origin = if is_own { &spec.zones_origin } else { &spec.local_origin };
                    SettingProblem { origin: origin.clone(), reason: SettingError::Template(source) }
                })?;
            zone.hostmaster = hostmaster.unwrap_or_else(|| zone.hostmaster.clone());
            zone.mode = mode.unwrap_or_default();
            zone.falls_through = fallthrough.unwrap_or_default() && !apex.is_root();
            zone.auto_ptr = auto_ptr.unwrap_or_default();
            zone.hold_deletions = hold_deletions.unwrap_or(spec.hold_deletions);
            zone.hold_mass_deletion = hold_mass_deletion.unwrap_or(spec.hold_mass_deletion);
            zone.ttl = ttl.unwrap_or(spec.ttl);
            zone.min_ttl = min_ttl.unwrap_or(spec.min_ttl);
            zone.is_signed = !spec.dnssec.is_empty();
            spec.name_cluster(&mut zone);
            Ok(zone)
        };
        let others = spec.zones_beside_the_first().map(zone).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::with_zones(Zones::new(zone(&spec.domain)?, others), spec, host))
    }

    fn with_zones(mut zones: Zones, spec: &Spec, host: &HostIdentity) -> Self {
        spec.serve_cluster(&mut zones, &host.addresses);
        let fallthrough = zones.iter().filter(|zone| zone.falls_through);
        let fallthrough = fallthrough.map(|zone| zone.domain().clone()).collect();
        let identity = (!spec.hide_identity)
            .then(|| Identity { version: crate::VERSION.to_owned(), hostname: host.hostname.clone() });
        Self {
            site: Arc::new(Site {
                zones,
                priority: spec.priority,
                round_robin: spec.round_robin,
                flatten: spec.flatten,
                ndots: spec.ndots,
                filters_aaaa: spec.filter_aaaa,
                denies_home_arpa: spec.nameservers.is_some(),
                identity,
            }),
            listen: spec.listen.clone(),
            systemd: spec.systemd,
            workers: spec.workers,
            forward: ForwardConfig {
                nameservers: spec.nameservers.clone(),
                no_rec: spec.no_rec,
                ns_policy: spec.ns_policy(),
                timeout: spec.read_timeout,
                cache_size: spec.rcache,
                cache_ttl: spec.rcache_ttl,
                routes: spec.kubernetes.routes().into(),
                stub_zones: spec.stub_zones,
                trust_ad: spec.trust_ad,
                rebind_protection: spec.rebind_protection,
                fallthrough,
                round_robin: spec.round_robin,
            },
            allow: spec.allow.clone(),
            verbose: spec.verbose,
            dnssec: DnssecConfig { keys: spec.dnssec.clone(), denial: spec.denial, cache_size: spec.scache },
            signers: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests;
