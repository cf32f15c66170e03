//! Configuration: flags, environment and `/skydns/config` become one checked [`Config`].
//!
//! Precedence, highest first: the store's `config` key, flags, environment, defaults. Every setting is
//! one row of a single table, whatever way it comes in. Nothing here reads a file or a socket.

mod allow;
mod args;
mod command;
mod input;
mod local;
mod settings;
mod spec;
mod store;
mod variables;

pub use allow::Allow;
pub use args::{Arguments, UsageError};
pub use command::{Command, command_usage, shown_commands};
pub use input::{SettingError, SettingOrigin, SettingProblem};
pub use local::{HostIdentity, TemplateError};
pub use settings::{
    Change, DefaultValue, SETTING_GROUPS, STATISTICS, Setting, SettingGroup, StatisticsVariable, flags,
};
pub use spec::{LogTarget, Spec};
pub use store::{StoreProblem, StoreSettings};
pub use variables::{LineProblem, Variables, read as read_variables};

use crate::answer::{Identity, Zone};
use crate::dnssec::DenialKind;
use std::net::SocketAddr;
use std::time::Duration;

/// Everything the serving parts need to know, checked; never changed, only replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the site serves.
    pub zone: Zone,
    /// Where to listen when systemd passes no sockets.
    pub listen: Vec<SocketAddr>,
    /// Whether systemd has to pass the sockets.
    pub systemd: bool,
    /// UDP workers of each socket; as many as there are cores if unset.
    pub workers: Option<usize>,
    /// How the rest is forwarded.
    pub forward: ForwardConfig,
    /// Which clients are forwarded for.
    pub allow: Allow,
    /// Whether every query is logged.
    pub verbose: bool,
    /// How answers are signed.
    pub dnssec: DnssecConfig,
}

/// How answers are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnssecConfig {
    /// Base names of key files, or directories of them; none: nothing is signed.
    pub keys: Vec<String>,
    /// How absence is proven.
    pub denial: DenialKind,
    /// RRsets whose signatures are kept.
    pub cache_size: usize,
}

/// How questions for other domains are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Upstreams; `None` takes those of resolv.conf.
    pub nameservers: Option<Vec<SocketAddr>>,
    /// Never forward.
    pub no_rec: bool,
    /// Spread questions over the upstreams that are well.
    pub ns_rotate: bool,
    /// Most time for one exchange with an upstream.
    pub timeout: Duration,
    /// Labels that a name must have to be forwarded.
    pub ndots: u8,
    /// Answers kept; 0 keeps none.
    pub cache_size: usize,
    /// Longest an answer is kept, in seconds.
    pub cache_ttl: u32,
    /// Whether `dns/stub/<zone>` keys name servers of other zones.
    pub stub_zones: bool,
    /// Whether an upstream's AD flag is passed on.
    pub trust_ad: bool,
    /// Whether private addresses are taken out of what upstreams say.
    pub rebind_protection: bool,
}

impl Config {
    /// Checks settings and adds what follows from them.
    ///
    /// # Errors
    /// The template of `local` makes no name on this host.
    pub fn new(spec: &Spec, host: &HostIdentity) -> Result<Self, SettingProblem> {
        let mut zone = Zone::new(&spec.domain);
        if let Some(hostmaster) = &spec.hostmaster {
            zone.hostmaster = hostmaster.clone();
        }
        zone.local = match &spec.local {
            None => None,
            Some(template) => Some(local::expand(template, host).map_err(|source| SettingProblem {
                origin: spec.local_origin.clone(),
                reason: SettingError::Template(source),
            })?),
        };
        zone.ttl = spec.ttl;
        zone.min_ttl = spec.min_ttl;
        zone.priority = spec.priority;
        zone.round_robin = spec.round_robin;
        zone.ndots = spec.ndots;
        zone.identity = (!spec.hide_identity)
            .then(|| Identity { version: crate::VERSION.to_owned(), hostname: host.hostname.clone() });
        Ok(Self {
            zone,
            listen: spec.listen.clone(),
            systemd: spec.systemd,
            workers: spec.workers,
            forward: ForwardConfig {
                nameservers: spec.nameservers.clone(),
                no_rec: spec.no_rec,
                ns_rotate: spec.ns_rotate,
                timeout: spec.read_timeout,
                ndots: spec.ndots,
                cache_size: spec.rcache,
                cache_ttl: spec.rcache_ttl,
                stub_zones: spec.stub_zones,
                trust_ad: spec.trust_ad,
                rebind_protection: spec.rebind_protection,
            },
            allow: spec.allow.clone(),
            verbose: spec.verbose,
            dnssec: DnssecConfig { keys: spec.dnssec.clone(), denial: spec.denial, cache_size: spec.scache },
        })
    }
}

#[cfg(test)]
mod tests;
