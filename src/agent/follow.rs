//! Settings that change while the agent runs: the store's configuration and the host's upstreams.

use super::AgentError;
use super::keys::{self, KeysError};
use crate::config::{Config, Host, Spec};
use crate::dnssec::{SignatureCache, Signer};
use crate::forward::{Forwarder, ResolvConf};
use crate::server::{self, Bound, Gate};
use crate::service::Keyspace;
use crate::source::{SourceId, Status};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::interval;

/// How often resolv.conf is looked at: reading it costs less than watching all its links.
const LOOK: Duration = Duration::from_secs(2);

/// Other settings to go by, from a reload.
pub(super) struct Rebase {
    /// Flags, variables and defaults.
    pub(super) spec: Spec,
    pub(super) host: Host,
    /// Hears that it is done.
    pub(super) done: oneshot::Sender<()>,
}

/// Keeps the shared configuration up to date.
pub(super) struct Follower {
    /// Flags, variables and defaults.
    base: Spec,
    host: Host,
    status: watch::Receiver<Status>,
    /// The store's configuration that was looked at last.
    seen: Option<(SourceId, Vec<u8>)>,
    /// The configuration as all see it.
    config: Arc<ArcSwap<Config>>,
    /// What signs, as all see it.
    signer: Arc<ArcSwapOption<Signer>>,
    signatures: Arc<SignatureCache>,
    /// What was said of the keys last.
    keys_told: Option<String>,
    listening: Vec<SocketAddr>,
    upstreams: Option<Vec<SocketAddr>>,
    own_named: bool,
}

impl Follower {
    /// Makes the first configuration. The store's counts if it can be used, else it is told.
    ///
    /// # Errors
    /// The settings cannot be used on this host, or keys that are configured cannot be read.
    pub(super) fn new(base: Spec, host: Host, status: watch::Receiver<Status>) -> Result<Self, AgentError> {
        let config = Config::new(&base, &host)?;
        let signatures = Arc::new(SignatureCache::new(config.dnssec.cache_size));
        let mut follower = Self {
            base,
            host,
            status,
            seen: None,
            config: Arc::new(ArcSwap::from_pointee(config)),
            signer: Arc::default(),
            signatures,
            keys_told: None,
            listening: Vec::new(),
            upstreams: None,
            own_named: false,
        };
        follower.seen = follower.status.borrow_and_update().config();
        let made = match follower.made() {
            Err(NotMade::Config(problem)) => {
                log::error!("the configuration of the store is not taken: {problem}");
                let config = follower.config.load_full();
                let signer = keys::signer(&config, &follower.signatures)?;
                ((*config).clone(), signer)
            }
            Err(NotMade::Keys(problem)) => return Err(problem.into()),
            Ok(made) => made,
        };
        follower.take(made);
        Ok(follower)
    }

    /// What signs, if anything does.
    pub(super) fn signer(&self) -> Arc<ArcSwapOption<Signer>> {
        Arc::clone(&self.signer)
    }

    pub(super) fn config(&self) -> Arc<ArcSwap<Config>> {
        Arc::clone(&self.config)
    }

    /// Notes where we listen, and says so as SkyDNS did.
    pub(super) fn listens_on(&mut self, bound: &Bound) {
        let config = self.config.load();
        let mut say = |protocol: &str, address: std::io::Result<SocketAddr>| {
            let Ok(address) = address else { return };
            let (domain, rcache) = (config.zone.domain(), config.forward.cache_size);
            log::info!("ready for queries on {domain} for {protocol}://{address} [rcache {rcache}]");
            if !self.listening.contains(&address) {
                self.listening.push(address);
            }
        };
        bound.tcp.iter().for_each(|socket| say("tcp", socket.local_addr()));
        bound.udp.iter().for_each(|socket| say("udp", socket.local_addr()));
    }

    /// Follows, for ever.
    pub(super) async fn follow(
        mut self,
        forwarder: Arc<Forwarder>,
        gate: Arc<Gate>,
        mut rebases: mpsc::Receiver<Rebase>,
    ) {
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                changed = self.status.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if self.read_store() {
                        gate.refresh(&self.config.load().allow);
                        forwarder.configure(self.config.load().forward.clone());
                        self.refresh_upstreams(&forwarder);
                    }
                }
                _ = look.tick() => {
                    gate.refresh(&self.config.load().allow);
                    self.refresh_upstreams(&forwarder);
                    self.tell_keys();
                }
                Some(Rebase { spec, host, done }) = rebases.recv() => {
                    (self.base, self.host) = (spec, host);
                    self.upstreams = None;
                    self.read_anew();
                    gate.refresh(&self.config.load().allow);
                    forwarder.configure(self.config.load().forward.clone());
                    self.refresh_upstreams(&forwarder);
                    // Nobody left to hear it is no error.
                    let _ = done.send(());
                }
            }
        }
    }

    /// Takes the store's configuration if it is another; `true` if the settings changed.
    fn read_store(&mut self) -> bool {
        let stored = self.status.borrow_and_update().config();
        if stored == self.seen {
            return false;
        }
        self.seen = stored;
        match self.made() {
            Ok(made) => self.take(made),
            Err(problem) => {
                log::error!(
                    "the configuration of the store is not taken, the last good one stays: {problem}"
                );
                false
            }
        }
    }

    /// Makes the configuration anew, of the settings alone if the store's cannot be used, as at the start.
    fn read_anew(&mut self) {
        self.seen = self.status.borrow_and_update().config();
        let made = self.made().or_else(|problem| match problem {
            NotMade::Config(problem) => {
                log::error!(
                    "the configuration of the store is not taken, flags and variables count: {problem}"
                );
                let config = Config::new(&self.base, &self.host);
                let config = config.map_err(|problem| NotMade::Config(problem.to_string()))?;
                let signer = keys::signer(&config, &self.signatures)?;
                Ok((config, signer))
            }
            keys @ NotMade::Keys(_) => Err(keys),
        });
        match made {
            Ok(made) => drop(self.take(made)),
            Err(problem) => log::error!("the last good configuration stays: {problem}"),
        }
    }

    /// The configuration that the settings and the store's make together.
    fn made(&mut self) -> Result<(Config, Option<Arc<Signer>>), NotMade> {
        let key = Keyspace::new(&self.base.path_prefix).config_key();
        let stored = match &self.seen {
            None => None,
            Some((source, json)) => {
                let settings = self.base.with_store(&key, json);
                let settings = settings.map_err(|problem| NotMade::Config(problem.to_string()))?;
                for field in &settings.unknown {
                    log::warn!("{}: {key}: field \"{field}\" means nothing here", source.name());
                }
                Some(settings.spec)
            }
        };
        let spec = stored.as_ref().unwrap_or(&self.base);
        let config = Config::new(spec, &self.host);
        let config = config.map_err(|problem| NotMade::Config(problem.to_string()))?;
        if config.dnssec.cache_size != self.config.load().dnssec.cache_size {
            self.signatures = Arc::new(SignatureCache::new(config.dnssec.cache_size));
        }
        let signer = keys::signer(&config, &self.signatures)?;
        Ok((config, signer))
    }

    fn take(&mut self, (config, signer): (Config, Option<Arc<Signer>>)) -> bool {
        // The signer first: what is signed for a domain that is not served yet harms nobody.
        self.signer.store(signer);
        self.tell_keys();
        let before = self.config.load_full();
        if *before == config {
            return false;
        }
        if !self.listening.is_empty() {
            for (changed, setting) in [
                (before.listen != config.listen, "dns_addr (-addr)"),
                (before.systemd != config.systemd, "systemd"),
            ] {
                if changed {
                    log::warn!("{setting} changed: it counts from the next start on");
                }
            }
            log::info!("the configuration changed");
        }
        self.config.store(Arc::new(config));
        true
    }

    /// Says with which keys is signed, whenever that changes.
    fn tell_keys(&mut self) {
        let signer = self.signer.load_full();
        let told = signer.as_ref().map(|signer| keys::description(signer));
        if told != self.keys_told {
            match &signer {
                Some(signer) => keys::tell(signer),
                None => log::info!("dnssec: answers are not signed any more"),
            }
            self.keys_told = told;
        }
    }

    /// Brings the forwarder's upstreams up to date.
    pub(super) fn refresh_upstreams(&mut self, forwarder: &Forwarder) {
        let own = own_addresses(&self.listening);
        let upstreams = match &self.config.load().forward.nameservers {
            Some(named) => {
                let (ours, others): (Vec<_>, Vec<_>) = named.iter().copied().partition(|a| own.contains(a));
                if !ours.is_empty() && !self.own_named {
                    log::error!("nameservers: {} is this server itself; it is left out", ours[0]);
                }
                self.own_named = !ours.is_empty();
                others
            }
            None => ResolvConf::new(self.base.resolv_conf.clone(), own).read(),
        };
        if self.upstreams.as_ref() == Some(&upstreams) {
            return;
        }
        let list: Vec<_> = upstreams.iter().map(ToString::to_string).collect();
        log::info!("upstreams: {}", if list.is_empty() { "none".to_owned() } else { list.join(", ") });
        forwarder.set_upstreams(&upstreams);
        self.upstreams = Some(upstreams);
    }
}

/// Why no configuration could be made.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// All addresses at which a question would come back to us.
fn own_addresses(listening: &[SocketAddr]) -> HashSet<SocketAddr> {
    let mut own: HashSet<SocketAddr> = listening.iter().copied().collect();
    let wildcards: Vec<_> = listening.iter().filter(|address| address.ip().is_unspecified()).collect();
    if wildcards.is_empty() {
        return own;
    }
    for ip in server::own_addresses() {
        let of = wildcards.iter().filter(|wildcard| wildcard.is_ipv6() || ip.is_ipv4());
        own.extend(of.map(|wildcard| SocketAddr::new(ip, wildcard.port())));
    }
    own
}
