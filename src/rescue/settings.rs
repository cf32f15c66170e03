//! What changes while the rescue runs: upstreams, interfaces, and the configuration in the store.

use super::own::OwnConfig;
use super::serve::Rescue;
use super::status;
use crate::agent::{host, last_good_file, read_last_good};
use crate::config::{Config, HostIdentity, Spec, StoreBefore};
use crate::forward::ResolvConf;
use crate::server;
use crate::service::Keyspace;
use crate::systemd;
use crate::wire_name::{is_in_zone, push_label};
use hickory_proto::rr::Name;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Time from one look to the next.
const PERIOD: Duration = Duration::from_secs(2);

/// The settings of the start, and who uses them.
pub(super) struct Settings {
    spec: Spec,
    listening: Vec<SocketAddr>,
    rescue: Arc<Rescue>,
}

impl Settings {
    pub(super) fn new(spec: Spec, listening: Vec<SocketAddr>, rescue: Arc<Rescue>) -> Self {
        Self { spec, listening, rescue }
    }

    /// Looks at everything once.
    pub(super) fn refresh(&self) {
        self.rescue.policy.refresh();
        let mut spec = self.spec.clone();
        if let Some(own) = &self.rescue.own {
            spec = with_stored(&spec, own.stored_config().as_deref());
            own_config(&spec).into_iter().for_each(|config| own.set_config(config));
        }
        if let Some(upstreams) = self.upstreams(&spec)
            && self.rescue.relay.set_upstreams(upstreams)
        {
            log::info!("upstreams: {}", self.rescue.relay.upstreams_text());
        }
    }

    /// Looks at everything from time to time, for ever.
    pub(super) fn follow(self) {
        let follow = move || {
            let mut told = String::new();
            loop {
                let status = status(&self.rescue);
                if status != told {
                    systemd::status(&status);
                    told = status;
                }
                thread::sleep(PERIOD);
                self.refresh();
            }
        };
        if let Err(error) = thread::Builder::new().name("settings".to_owned()).spawn(follow) {
            log::error!("upstreams stay as they are: starting a thread: {error}");
        }
    }

    /// The upstreams; `None` if they cannot be read, so that those before stay.
    fn upstreams(&self, spec: &Spec) -> Option<Vec<SocketAddr>> {
        if spec.no_rec {
            return Some(Vec::new());
        }
        let own = self.own_addresses();
        match &spec.nameservers {
            Some(named) => Some(named.iter().copied().filter(|address| !own.contains(address)).collect()),
            None => {
                let found = ResolvConf::new(spec.resolv_conf.clone(), own).read().ok()?;
                // resolv.conf may have been read while a program was writing it.
                (!found.is_empty()).then_some(found)
            }
        }
    }

    /// All addresses at which a query would come back here.
    fn own_addresses(&self) -> HashSet<SocketAddr> {
        let mut own: HashSet<_> = self.listening.iter().copied().collect();
        let wildcards: Vec<_> =
            self.listening.iter().filter(|address| address.ip().is_unspecified()).collect();
        if !wildcards.is_empty() {
            for ip in server::own_addresses().unwrap_or_default() {
                own.extend(wildcards.iter().map(|wildcard| SocketAddr::new(ip, wildcard.port())));
            }
        }
        own
    }
}

/// The settings with the store's configuration applied, as far as it can be used.
fn with_stored(spec: &Spec, json: Option<&[u8]>) -> Spec {
    let Some(json) = json else { return spec.clone() };
    let key = Keyspace::new(&spec.path_prefix).config_key();
    spec.with_store(&key, json, StoreBefore::default()).spec
}

/// The configuration of answers; a template of `local` that cannot be used costs that name.
pub(super) fn own_config(spec: &Spec) -> Option<OwnConfig> {
    let config = Config::new(spec, &host()).or_else(|problem| {
        log::error!("{problem}");
        Config::new(&Spec { local: None, ..spec.clone() }, &HostIdentity::default())
    });
    let mut config = config.ok()?;
    leave_unsigned(&mut config, spec);
    Some(OwnConfig { config, domains: OwnDomains::of(spec) })
}

/// Has the zones answered that the agent served without signatures last: it alone reads keys.
fn leave_unsigned(config: &mut Config, spec: &Spec) {
    // With one zone, its keys are those that are named.
    if config.dnssec.keys.is_empty() || config.site.zones.iter().len() == 1 {
        return;
    }
    let last_good = last_good_file(spec).and_then(|file| read_last_good(&file).ok()).unwrap_or_default();
    for zone in Arc::make_mut(&mut config.site).zones.iter_mut() {
        zone.is_signed = !last_good.is_unsigned(zone.domain());
    }
}

/// The domains of settings, in wire format.
#[derive(Debug)]
pub(super) struct OwnDomains(Vec<Vec<u8>>);

impl OwnDomains {
    pub(super) fn of(spec: &Spec) -> Self {
        let wire = |domain: Name| {
            let mut octets = Vec::new();
            domain.iter().for_each(|label| push_label(&mut octets, label));
            octets.push(0);
            octets
        };
        Self(spec.domains().into_iter().map(wire).collect())
    }

    /// Whether a name in wire format is in one of them.
    pub(super) fn contain(&self, name: &[u8]) -> bool {
        self.0.iter().any(|domain| is_in_zone(name, domain))
    }
}
