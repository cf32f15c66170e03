//! The settings in use while the agent runs, which follow the configuration in the store, reloads and the host's
//! resolv.conf.
//!
//! Owns the shared configuration and the shared signer: readers load them for each query, this module alone replaces
//! them. What cannot be used replaces nothing.

use super::error::AgentError;
use super::key_files::KeysError;
use super::signer;
use super::store_notices::StoreNotices;
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

/// Time from one reading of resolv.conf to the next: to read the file costs less than to watch all its links.
const RESOLV_CONF_POLL: Duration = Duration::from_secs(2);

/// The settings that a reload has read, which replace those in use.
pub(super) struct NewSettings {
    /// Flags, variables and defaults.
    pub(super) spec: Spec,
    pub(super) host: HostIdentity,
    /// Gets the result: that the settings are in use, or why they cannot be used.
    pub(super) done: oneshot::Sender<Result<(), String>>,
}

/// Keeps the shared configuration, signer and upstreams up to date.
pub(super) struct SettingsFollower {
    /// Flags, variables and defaults.
    base: Spec,
    host: HostIdentity,
    status: watch::Receiver<Status>,
    /// The store's configuration that was read last.
    stored: Option<(SourceId, Vec<u8>)>,
    /// The configuration in use, shared with all readers.
    config: Arc<ArcSwap<Config>>,
    /// The signer in use, if answers are signed, shared with all readers.
    signer: Arc<ArcSwapOption<Signer>>,
    /// The cache of signatures, which a new signer goes on with unless the size has changed.
    signatures: Arc<SignatureCache>,
    /// The description of the keys that was logged last.
    logged_keys: Option<String>,
    /// The addresses that the agent listens on.
    listening: Vec<SocketAddr>,
    upstreams: Upstreams,
    store_notices: StoreNotices,
}

impl SettingsFollower {
    /// Makes the first configuration. If the store's configuration cannot be used, that is logged and the settings alone
    /// count.
    ///
    /// # Errors
    /// The settings cannot be used on this host, or keys that are configured cannot be read.
    pub(super) fn new(
        base: Spec,
        host: HostIdentity,
        status: watch::Receiver<Status>,
        store_notices: StoreNotices,
    ) -> Result<Self, AgentError> {
        let config = Config::new(&base, &host)?;
        let signatures = Arc::new(SignatureCache::new(config.dnssec.cache_size));
        let mut follower = Self {
            base,
            host,
            status,
            stored: None,
            config: Arc::new(ArcSwap::from_pointee(config)),
            signer: Arc::default(),
            signatures,
            logged_keys: None,
            listening: Vec::new(),
            upstreams: Upstreams::default(),
            store_notices,
        };
        follower.stored = follower.status.borrow_and_update().config();
        let derived = match follower.derive() {
            Err(DeriveError::Config(problem)) => {
                log::error!("the configuration of the store is not taken: {problem}");
                let config = follower.config.load_full();
                let signer = signer::new_signer(&config, &follower.signatures)?;
                ((*config).clone(), signer)
            }
            Err(DeriveError::Keys(problem)) => return Err(problem.into()),
            Ok(derived) => derived,
        };
        follower.take(derived);
        Ok(follower)
    }

    /// The shared signer.
    pub(super) fn signer(&self) -> Arc<ArcSwapOption<Signer>> {
        Arc::clone(&self.signer)
    }

    /// The shared configuration.
    pub(super) fn config(&self) -> Arc<ArcSwap<Config>> {
        Arc::clone(&self.config)
    }

    /// Notes the addresses that the agent listens on, and logs them as SkyDNS did.
    pub(super) fn listens_on(&mut self, bound: &BoundSockets) {
        let config = self.config.load();
        let mut note = |protocol: &str, address: std::io::Result<SocketAddr>| {
            let Ok(address) = address else { return };
            let (domain, rcache) = (config.zone.domain(), config.forward.cache_size);
            log::info!("ready for queries on {domain} for {protocol}://{address} [rcache {rcache}]");
            if !self.listening.contains(&address) {
                self.listening.push(address);
            }
        };
        bound.tcp.iter().for_each(|socket| note("tcp", socket.local_addr()));
        bound.udp.iter().for_each(|socket| note("udp", socket.local_addr()));
    }

    /// Follows the store, reloads and resolv.conf, for ever.
    pub(super) async fn follow(
        mut self,
        forwarder: Arc<Forwarder>,
        client_policy: Arc<ClientPolicy>,
        mut new_settings: mpsc::Receiver<NewSettings>,
    ) {
        let mut poll = interval(RESOLV_CONF_POLL);
        loop {
            tokio::select! {
                changed = self.status.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if self.read_store() {
                        self.pass_on(&forwarder, &client_policy);
                    }
                }
                _ = poll.tick() => {
                    client_policy.refresh(&self.config.load().allow);
                    self.refresh_upstreams(&forwarder);
                    self.log_keys();
                    self.look_at_store();
                }
                Some(NewSettings { spec, host, done }) = new_settings.recv() => {
                    let taken = self.take_settings(spec, host);
                    self.pass_on(&forwarder, &client_policy);
                    // The reload is given up when the agent ends: then nobody receives this.
                    let _ = done.send(taken);
                }
            }
        }
    }

    /// Takes the store's configuration if it changed; `true` if that changed the configuration in use.
    fn read_store(&mut self) -> bool {
        let stored = self.status.borrow_and_update().config();
        if stored == self.stored {
            return false;
        }
        self.stored = stored;
        match self.derive() {
            Ok(derived) => self.take(derived),
            Err(problem) => {
                log::error!(
                    "the configuration of the store is not taken, the last good one stays: {problem}"
                );
                false
            }
        }
    }

    /// Replaces the settings; those in use stay if the new ones cannot be used.
    fn take_settings(&mut self, spec: Spec, host: HostIdentity) -> Result<(), String> {
        let before = (std::mem::replace(&mut self.base, spec), std::mem::replace(&mut self.host, host));
        let taken = self.read_anew();
        match taken {
            Ok(()) => self.upstreams.forget(),
            Err(_) => (self.base, self.host) = before,
        }
        taken
    }

    /// Passes the configuration in use to the parts that derive a state of their own from it.
    fn pass_on(&mut self, forwarder: &Forwarder, client_policy: &ClientPolicy) {
        client_policy.refresh(&self.config.load().allow);
        forwarder.configure(self.config.load().forward.clone());
        self.refresh_upstreams(forwarder);
    }

    /// Derives the configuration again; of the settings alone, as at the start, if the store's cannot be used.
    ///
    /// # Errors
    /// The settings or the keys cannot be used; the configuration in use stays.
    fn read_anew(&mut self) -> Result<(), String> {
        self.stored = self.status.borrow_and_update().config();
        let derived = self.derive().or_else(|problem| match problem {
            DeriveError::Config(problem) => {
                log::error!(
                    "the configuration of the store is not taken, flags and variables count: {problem}"
                );
                let config = Config::new(&self.base, &self.host);
                let config = config.map_err(|problem| DeriveError::Config(problem.to_string()))?;
                let signer = signer::new_signer(&config, &self.signatures)?;
                Ok((config, signer))
            }
            keys @ DeriveError::Keys(_) => Err(keys),
        });
        self.take(derived.map_err(|problem| problem.to_string())?);
        Ok(())
    }

    /// Derives configuration and signer from the settings, with those of the store over them.
    fn derive(&mut self) -> Result<(Config, Option<Arc<Signer>>), DeriveError> {
        let key = Keyspace::new(&self.base.path_prefix).config_key();
        let stored = match &self.stored {
            None => None,
            Some((source, json)) => {
                let settings = self.base.with_store(&key, json);
                let settings = settings.map_err(|problem| DeriveError::Config(problem.to_string()))?;
                for field in &settings.unknown {
                    log::warn!("{}: {key}: field \"{field}\" means nothing here", source.name());
                }
                Some(settings.spec)
            }
        };
        let spec = stored.as_ref().unwrap_or(&self.base);
        let config = Config::new(spec, &self.host);
        let config = config.map_err(|problem| DeriveError::Config(problem.to_string()))?;
        if config.dnssec.cache_size != self.config.load().dnssec.cache_size {
            self.signatures = Arc::new(SignatureCache::new(config.dnssec.cache_size));
        }
        let signer = signer::new_signer(&config, &self.signatures)?;
        Ok((config, signer))
    }

    /// Replaces configuration and signer in use; `true` if the configuration is another.
    fn take(&mut self, (config, signer): (Config, Option<Arc<Signer>>)) -> bool {
        // The signer first: a signer for a domain that is not served yet has nothing to sign.
        self.signer.store(signer);
        self.log_keys();
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
        self.store_notices.forget();
        true
    }

    /// Logs which keys sign, if that changed since it was logged last.
    fn log_keys(&mut self) {
        let signer = self.signer.load_full();
        let keys = signer.as_ref().map(|signer| signer::describe(signer));
        if keys != self.logged_keys {
            match &signer {
                Some(signer) => signer::log_signer(signer),
                None => log::info!("dnssec: answers are not signed any more"),
            }
            self.logged_keys = keys;
        }
    }

    /// Tells what is noticeable in the store.
    fn look_at_store(&mut self) {
        self.store_notices.look(&self.config.load(), &Keyspace::new(&self.base.path_prefix));
    }

    /// Replaces the forwarder's upstreams if resolv.conf or the configuration names others.
    pub(super) fn refresh_upstreams(&mut self, forwarder: &Forwarder) {
        self.upstreams.refresh(&self.base, &self.config.load(), &self.listening, forwarder);
    }
}

/// Why no configuration can be derived.
#[derive(Debug, thiserror::Error)]
enum DeriveError {
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Keys(#[from] KeysError),
}
