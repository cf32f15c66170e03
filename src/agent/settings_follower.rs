//! Settings that change while the agent runs: the store's configuration and the host's upstreams.

use super::error::AgentError;
use super::key_files::KeysError;
use super::signer;
use super::upstreams::Upstreams;
use crate::config::{Config, HostIdentity, Spec};
use crate::dnssec::{SignatureCache, Signer};
use crate::forward::Forwarder;
use crate::server::{BoundSockets, ClientPolicy};
use crate::service::Keyspace;
use crate::source::{SourceId, Status};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::interval;

/// How often resolv.conf is looked at: reading it costs less than watching all its links.
const LOOK: Duration = Duration::from_secs(2);

/// Other settings to go by, from a reload.
pub(super) struct NewSettings {
    /// Flags, variables and defaults.
    pub(super) spec: Spec,
    pub(super) host: HostIdentity,
    /// Hears that it is done, or why not.
    pub(super) done: oneshot::Sender<Result<(), String>>,
}

/// Keeps the shared configuration up to date.
pub(super) struct SettingsFollower {
    /// Flags, variables and defaults.
    base: Spec,
    host: HostIdentity,
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
    upstreams: Upstreams,
}

impl SettingsFollower {
    /// Makes the first configuration. The store's counts if it can be used, else it is told.
    ///
    /// # Errors
    /// The settings cannot be used on this host, or keys that are configured cannot be read.
    pub(super) fn new(
        base: Spec,
        host: HostIdentity,
        status: watch::Receiver<Status>,
    ) -> Result<Self, AgentError> {
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
            upstreams: Upstreams::default(),
        };
        follower.seen = follower.status.borrow_and_update().config();
        let made = match follower.made() {
            Err(NotMade::Config(problem)) => {
                log::error!("the configuration of the store is not taken: {problem}");
                let config = follower.config.load_full();
                let signer = signer::new_signer(&config, &follower.signatures)?;
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
    pub(super) fn listens_on(&mut self, bound: &BoundSockets) {
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
        client_policy: Arc<ClientPolicy>,
        mut new_settings: mpsc::Receiver<NewSettings>,
    ) {
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                changed = self.status.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if self.read_store() {
                        client_policy.refresh(&self.config.load().allow);
                        forwarder.configure(self.config.load().forward.clone());
                        self.refresh_upstreams(&forwarder);
                    }
                }
                _ = look.tick() => {
                    client_policy.refresh(&self.config.load().allow);
                    self.refresh_upstreams(&forwarder);
                    self.tell_keys();
                }
                Some(NewSettings { spec, host, done }) = new_settings.recv() => {
                    let before = (std::mem::replace(&mut self.base, spec), std::mem::replace(&mut self.host, host));
                    let taken = self.read_anew();
                    match taken {
                        Ok(()) => self.upstreams.forget(),
                        Err(_) => (self.base, self.host) = before,
                    }
                    client_policy.refresh(&self.config.load().allow);
                    forwarder.configure(self.config.load().forward.clone());
                    self.refresh_upstreams(&forwarder);
                    // Nobody left to hear it is no error.
                    let _ = done.send(taken);
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
    ///
    /// # Errors
    /// Nothing can be made of them; the last good one stays.
    fn read_anew(&mut self) -> Result<(), String> {
        self.seen = self.status.borrow_and_update().config();
        let made = self.made().or_else(|problem| match problem {
            NotMade::Config(problem) => {
                log::error!(
                    "the configuration of the store is not taken, flags and variables count: {problem}"
                );
                let config = Config::new(&self.base, &self.host);
                let config = config.map_err(|problem| NotMade::Config(problem.to_string()))?;
                let signer = signer::new_signer(&config, &self.signatures)?;
                Ok((config, signer))
            }
            keys @ NotMade::Keys(_) => Err(keys),
        });
        self.take(made.map_err(|problem| problem.to_string())?);
        Ok(())
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
        let signer = signer::new_signer(&config, &self.signatures)?;
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
        let told = signer.as_ref().map(|signer| signer::describe(signer));
        if told != self.keys_told {
            match &signer {
                Some(signer) => signer::log_signer(signer),
                None => log::info!("dnssec: answers are not signed any more"),
            }
            self.keys_told = told;
        }
    }

    /// Brings the forwarder's upstreams up to date.
    pub(super) fn refresh_upstreams(&mut self, forwarder: &Forwarder) {
        self.upstreams.refresh(&self.base, &self.config.load(), &self.listening, forwarder);
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
