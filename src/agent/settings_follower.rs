//! The settings in use while the agent runs, which follow the configuration in the store, reloads and the host's
//! resolv.conf.
//!
//! Owns the shared configuration, signers included: readers load it for each query, this module alone replaces it. What
//! cannot be used replaces nothing.

use super::derive::{Basis, Derived, KeysBefore};
use super::host::host;
use super::keeper::Keeper;
use super::last_good::LastGood;
use super::refused::{RefusedBy, RefusedSettings};
use super::settled::SettledSettings;
use super::signer;
use super::status::StatusNotes;
use super::store_notices::{StoreNotices, domains_text};
use super::upstreams::Upstreams;
use crate::answer::{Site, Zone};
use crate::config::{Config, HostIdentity, KubernetesSpec, RefusedSetting, SettingOrigin, Spec, StoreFields};
use crate::dnssec::{SignatureCache, Signer};
use crate::forward::Forwarder;
use crate::metrics::Metrics;
use crate::server::{BoundSockets, ClientPolicy, own_addresses};
use crate::service::Keyspace;
use crate::shown::quoted;
use crate::source::{Publisher, SourceId, SourceState, Status};
use arc_swap::ArcSwap;
use hickory_proto::rr::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
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
    /// Where the setting of DNSSEC keys comes from.
    pub(super) keys_origin: SettingOrigin,
    pub(super) host: HostIdentity,
    /// What is refused until the directory of records can be read.
    pub(super) awaits_records: Option<String>,
    /// Gets a message when the settings are in use.
    pub(super) done: oneshot::Sender<()>,
}

/// Where the follower tells what it cannot use, and keeps what it uses.
#[derive(Clone)]
pub(super) struct FollowerNotes {
    pub(super) status: StatusNotes,
    pub(super) refused: RefusedSettings,
    pub(super) last_good: Arc<Keeper<LastGood>>,
    pub(super) counters: Arc<Metrics>,
}

/// Keeps the shared configuration and the upstreams up to date.
pub(super) struct SettingsFollower {
    /// Flags, variables and defaults.
    base: Spec,
    keys_origin: SettingOrigin,
    host: HostIdentity,
    /// What is refused until the directory of records can be read.
    awaits_records: Option<String>,
    status: watch::Receiver<Status>,
    /// The store's configuration that was read last.
    stored: Option<(SourceId, Vec<u8>)>,
    /// Whether the stores were read that have to be, when that was looked at last.
    was_store_read: bool,
    /// The fields of the store's configuration that are in use.
    applied: StoreFields,
    /// All settings, those of the store among them.
    spec: Spec,
    /// The settings when the agent began to listen: some count until its end.
    started: Option<Spec>,
    /// The configuration in use, shared with all readers.
    config: Arc<ArcSwap<Config>>,
    /// The cache of signatures, which a new signer goes on with unless the size has changed.
    signatures: Arc<SignatureCache>,
    /// The descriptions of the keys of each signed zone that were logged last.
    logged_keys: BTreeMap<Name, String>,
    /// The addresses that the agent listens on.
    listening: Vec<SocketAddr>,
    upstreams: Upstreams,
    store_notices: StoreNotices,
    publisher: Arc<Publisher>,
    notes: FollowerNotes,
}

impl SettingsFollower {
    /// Makes the first configuration.
    pub(super) fn new(
        settled: &SettledSettings,
        host: HostIdentity,
        publisher: &Arc<Publisher>,
        notes: FollowerNotes,
    ) -> Self {
        let base = settled.spec.clone();
        let signatures = Arc::new(SignatureCache::new(base.scache));
        let mut follower = Self {
            spec: base.clone(),
            started: None,
            keys_origin: settled.origin("dnssec"),
            host,
            awaits_records: settled.awaits_records.clone(),
            status: publisher.status(),
            stored: None,
            was_store_read: false,
            applied: notes.last_good.present().store,
            // It is replaced before anything is served.
            config: Arc::new(ArcSwap::from_pointee(Config::without_host(&base))),
            base,
            signatures,
            logged_keys: BTreeMap::new(),
            listening: Vec::new(),
            upstreams: Upstreams::default(),
            store_notices: StoreNotices::new(Arc::clone(publisher), notes.status.clone()),
            publisher: Arc::clone(publisher),
            notes,
        };
        follower.stored = follower.status.borrow_and_update().config();
        follower.was_store_read = follower.is_store_read();
        follower.take(follower.derive());
        follower
    }

    /// The shared configuration.
    pub(super) fn config(&self) -> Arc<ArcSwap<Config>> {
        Arc::clone(&self.config)
    }

    /// Notes the addresses that the agent listens on, and logs them as SkyDNS did.
    pub(super) fn listens_on(&mut self, bound: &BoundSockets) {
        let config = self.config.load();
        let domains = domains_text(&config.site, "and");
        let mut note = |protocol: &str, address: std::io::Result<SocketAddr>| {
            let Ok(address) = address else { return };
            let rcache = config.forward.cache_size;
            log::info!("ready for queries on {domains} for {protocol}://{address} [rcache {rcache}]");
            if !self.listening.contains(&address) {
                self.listening.push(address);
            }
        };
        bound.tcp.iter().for_each(|socket| note("tcp", socket.local_addr()));
        bound.udp.iter().for_each(|socket| note("udp", socket.local_addr()));
        self.host.addresses = self.addresses();
        let KubernetesSpec { is_on, forward, .. } = &self.base.kubernetes;
        if *is_on || !forward.is_empty() {
            self.take(self.derive());
        }
        self.config.load().forward.routes.iter().for_each(|route| log::info!("{route}"));
        self.started = Some(self.spec.clone());
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
                    self.look_at_records();
                    let is_routed_otherwise =
                        self.upstreams.has_other_addresses(&self.listening) && self.take(self.derive());
                    if self.read_host() || is_routed_otherwise {
                        self.pass_on(&forwarder, &client_policy);
                    }
                }
                Some(NewSettings { spec, keys_origin, host, awaits_records, done }) = new_settings.recv() => {
                    (self.base, self.keys_origin) = (spec, keys_origin);
                    self.host = HostIdentity { addresses: self.addresses(), ..host };
                    self.awaits_records = awaits_records;
                    self.take_settings();
                    self.pass_on(&forwarder, &client_policy);
                    // The reload is given up when the agent ends: then nobody receives this.
                    let _ = done.send(());
                }
            }
        }
    }

    /// Takes the store's configuration if it changed; `true` if that changed the configuration in use.
    fn read_store(&mut self) -> bool {
        let stored = self.status.borrow_and_update().config();
        let was_read = std::mem::replace(&mut self.was_store_read, false);
        let is_new = stored != self.stored;
        self.stored = stored;
        self.was_store_read = self.is_store_read();
        if is_new || was_read != self.was_store_read { self.take(self.derive()) } else { false }
    }

    /// The addresses that the agent is asked at, if anything is said of them: only zones of a cluster have it as their name server.
    fn addresses(&self) -> Vec<IpAddr> {
        if self.base.kubernetes.is_on { asked_at(&self.listening) } else { Vec::new() }
    }

    /// Follows a new name of the host; `true` if that changed the configuration in use.
    fn read_host(&mut self) -> bool {
        let host = HostIdentity { addresses: self.addresses(), ..host() };
        if host == self.host {
            return false;
        }
        if host.hostname != self.host.hostname {
            log::info!("the host is called {} now, and was called {}", host.hostname, self.host.hostname);
        }
        self.host = host;
        self.take(self.derive())
    }

    /// Takes the settings of a reload.
    fn take_settings(&mut self) {
        self.stored = self.status.borrow_and_update().config();
        self.take(self.derive());
        self.upstreams.forget();
    }

    /// Passes the configuration in use to the parts that derive a state of their own from it.
    fn pass_on(&mut self, forwarder: &Forwarder, client_policy: &ClientPolicy) {
        client_policy.refresh(&self.config.load().allow);
        forwarder.configure(self.config.load().forward.clone());
        self.refresh_upstreams(forwarder);
    }

    /// Derives the configuration from what is given now.
    fn derive(&self) -> Derived {
        let (config, last_good) = (self.config.load(), self.notes.last_good.present());
        let is_served_unsigned = |zone: &Name| {
            let served = config.site.zones.apex(zone);
            self.started.is_some() && served.is_some_and(|zone| !zone.is_signed && !zone.lacks_keys)
        };
        let keys = KeysBefore {
            origin: &self.keys_origin,
            signers: &config.signers,
            last_names: &last_good.keys,
            was_unsigned: &|zone| is_served_unsigned(zone) || last_good.is_unsigned(zone),
            was_signed: &|zone| last_good.is_signed(zone),
        };
        let basis = Basis {
            base: &self.base,
            host: &self.host,
            stored: self.stored.as_ref().map(|(_, json)| &**json),
            is_store_read: self.is_store_read(),
            last: &self.applied,
            signatures: (&self.signatures, config.dnssec.cache_size),
            keys,
        };
        basis.derive()
    }

    /// Tells what cannot be used.
    fn tell_refused(&self, of_store: &[RefusedSetting], of_keys: &[RefusedSetting]) {
        let source = self.stored.as_ref().map_or("store", |(source, _)| source.name());
        let of_store = of_store.iter().map(|refused| format!("{source}: {refused}")).collect();
        self.notes.refused.set(RefusedBy::Store, of_store);
        self.notes.refused.set(RefusedBy::Keys, of_keys.iter().map(ToString::to_string).collect());
    }

    /// Whether all sources are read, or served from a snapshot, that have to be.
    fn is_store_read(&self) -> bool {
        let status = self.status.borrow();
        self.stored.is_some()
            || status.sources.iter().all(|(id, state)| state.is_served() || status.optional.contains(id))
    }

    /// Keeps what is used, for the case that it cannot be read after a restart.
    fn keep(&self, config: &Config, are_keys_good: bool) {
        let (zones, keys) = (&config.site.zones, &config.dnssec.keys);
        // What an unread store says of the domain is not known.
        if !self.is_store_read() {
            return;
        }
        self.notes.last_good.note(|last_good| {
            last_good.store.clone_from(&self.applied);
            let is_signed = |zone: &Zone| (!zone.lacks_keys).then_some(zone.is_signed);
            last_good.note_zones(zones.iter().map(|zone| (zone.domain(), is_signed(zone))));
            if are_keys_good {
                last_good.keys.clone_from(keys);
            }
        });
    }

    /// Replaces the configuration in use; `true` if the configuration is another.
    fn take(&mut self, derived: Derived) -> bool {
        let Derived { spec, mut config, signatures, applied, unknown, store_refused, refused } = derived;
        for zone in Arc::make_mut(&mut config.site).zones.iter_mut() {
            zone.statistics = self.notes.counters.zone_number(zone.domain());
        }
        self.upstreams.leave_out_own(&mut config.forward.routes, &self.listening);
        self.tell_refused(&store_refused, &refused);
        self.log_unknown(&unknown);
        (self.applied, self.signatures) = (applied, signatures);
        self.keep(&config, refused.is_empty());
        let before = std::mem::replace(&mut self.spec, spec);
        let (odd, told) = (self.spec.oddities(), before.oddities());
        for text in odd.iter().filter(|text| self.listening.is_empty() || !told.contains(text)) {
            log::warn!("{text}");
        }
        let present = self.config.load_full();
        // Keys that were read again are others, whether or not their files have changed.
        let has_changed = *present != Config { signers: Arc::clone(&present.signers), ..config.clone() };
        if let Some(started) = &self.started {
            for (level, line) in changes_until_restart(started, &before, &self.spec) {
                log::log!(level, "{line}");
            }
            let differences = before.differences(&self.spec);
            if !differences.is_empty() {
                log::info!("settings changed: {}", differences.join(", "));
            } else if has_changed && differ_in_data(&present.site, &config.site) {
                log::info!("settings changed: those with the name of the host in them");
            }
        }
        if *present != config {
            self.publisher.set_site(&config.site);
            self.config.store(Arc::new(config));
        }
        if has_changed {
            self.store_notices.forget();
        }
        self.log_keys();
        has_changed
    }

    /// Logs the names of unknown fields.
    fn log_unknown(&self, unknown: &[String]) {
        /// Names in one line.
        const MAX_NAMES: usize = 10;
        let Some((source, _)) = self.stored.as_ref().filter(|_| !unknown.is_empty()) else { return };
        let key = Keyspace::new(&self.base.path_prefix).config_key();
        let named: Vec<_> =
            unknown.iter().take(MAX_NAMES).map(|name| format!("\"{}\"", quoted(name))).collect();
        let more = if unknown.len() > MAX_NAMES { ", …" } else { "" };
        let (source, named) = (source.name(), named.join(", "));
        log::warn!("{source}: {key}: unknown fields, which are ignored: {named}{more}");
    }

    /// Logs which keys sign, if that changed since it was logged last.
    fn log_keys(&mut self) {
        let signers = Arc::clone(&self.config.load().signers);
        let describe = |signer: &Arc<Signer>| (signer.zone().clone(), signer::describe(signer));
        let keys: BTreeMap<_, _> = signers.iter().map(describe).collect();
        for signer in
            signers.iter().filter(|signer| self.logged_keys.get(signer.zone()) != keys.get(signer.zone()))
        {
            signer::log_signer(signer);
        }
        for zone in self.logged_keys.keys().filter(|zone| !keys.contains_key(zone)) {
            log::info!("dnssec: {zone} is not signed any more");
        }
        self.logged_keys = keys;
    }

    /// Tells what is noticeable in the store.
    fn look_at_store(&mut self) {
        self.store_notices.look(&self.config.load(), &Keyspace::new(&self.base.path_prefix));
    }

    /// Ends the refusal of the directory of records once the directory is read again.
    fn look_at_records(&mut self) {
        let is_read =
            matches!(self.status.borrow().sources.get(&SourceId::Files), Some(SourceState::Synced { .. }));
        // A reload tells it only after its settings are in use.
        self.awaits_records.take_if(|text| is_read && self.notes.refused.end(text));
    }

    /// Replaces the forwarder's upstreams if resolv.conf or the configuration names others.
    pub(super) fn refresh_upstreams(&mut self, forwarder: &Forwarder) {
        self.upstreams.refresh(&self.base, &self.config.load(), &self.listening, forwarder);
        self.notes.refused.set(RefusedBy::Upstreams, self.upstreams.refused());
        self.notes.status.set_resolv_conf(self.upstreams.look_at_host(Path::new("/")));
    }
}

/// Whether zones have other data, for other reasons than their keys.
fn differ_in_data(before: &Site, after: &Site) -> bool {
    before.zones.iter().zip(after.zones.iter()).any(|(before, after)| before.differs_in_data(after))
}

/// The addresses at which the agent is asked that listens on some: in the place of a wildcard those of the host that others can
/// reach.
fn asked_at(listening: &[SocketAddr]) -> Vec<IpAddr> {
    let own = own_addresses().unwrap_or_default();
    let is_reached = |ip: &&IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    let mut asked = BTreeSet::new();
    for address in listening {
        match address.ip() {
            IpAddr::V4(v4) if v4.is_unspecified() => {
                asked.extend(own.iter().filter(is_reached).filter(|ip| ip.is_ipv4()));
            }
            IpAddr::V6(v6) if v6.is_unspecified() => asked.extend(own.iter().filter(is_reached)),
            ip => drop(asked.insert(ip)),
        }
    }
    asked.into_iter().collect()
}

/// Which settings have changed and count from the next start on, and which are again those in use, as lines of the log.
fn changes_until_restart(started: &Spec, before: &Spec, after: &Spec) -> Vec<(log::Level, String)> {
    let pending = started.changed_until_restart(after);
    let line = |flag: &str| {
        if pending.contains(&flag) {
            (log::Level::Warn, format!("-{flag} changed: a restart makes it take effect"))
        } else {
            (log::Level::Info, format!("-{flag} is again as it was at the start"))
        }
    };
    before.changed_until_restart(after).into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::last_good::keep_last_good;
    use crate::agent::settled::settle;
    use crate::config::{GivenTexts, Layers};
    use crate::heartbeat::Heartbeats;
    use crate::source::{Change, Event, Feed, Mirror, News};

    /// A store whose only key is the configuration, and the follower of it, which follows only when it is told to.
    struct FollowerFixture {
        feed: Feed,
        publisher: Arc<Publisher>,
        follower: SettingsFollower,
    }

    impl FollowerFixture {
        fn new(json: &str) -> Self {
            let publisher = Publisher::new();
            let (feed, events) = Feed::channel();
            let mirror = Mirror::new(Keyspace::new("skydns"), &[(SourceId::Files, true)], &publisher);
            let heartbeat = Heartbeats::default().monitor("the mirror");
            std::thread::spawn(move || mirror.run(events, heartbeat));
            let feed = feed(SourceId::Files);
            put(&feed, &publisher, json);
            let (status, counters) = (StatusNotes::default(), Arc::default());
            let refused = RefusedSettings::new(status.clone(), counters);
            let last_good = keep_last_good(LastGood::default(), None, status.clone()).expect("a keeper");
            let notes =
                FollowerNotes { status, refused, last_good: Arc::new(last_good), counters: Arc::default() };
            let settled = settle(&Layers::default(), &GivenTexts::new(), &HostIdentity::default());
            let settled = SettledSettings { spec: Spec { ttl: 5, ..Spec::default() }, ..settled };
            let follower = SettingsFollower::new(&settled, HostIdentity::default(), &publisher, notes);
            Self { feed, publisher, follower }
        }

        /// Puts a configuration into the store, and waits until it is published.
        fn put(&self, json: &str) {
            put(&self.feed, &self.publisher, json);
        }

        fn values(&self) -> (u32, u32, String) {
            let config = self.follower.config.load();
            (
                config.site.zones.first().ttl,
                config.site.zones.first().min_ttl,
                self.follower.notes.refused.all().join("; "),
            )
        }

        /// Reloads with other flags and variables.
        fn reload(&mut self, spec: Spec) {
            self.follower.base = spec;
            self.follower.take_settings();
        }
    }

    fn put(feed: &Feed, publisher: &Publisher, json: &str) {
        let news = News::Config(Some(json.as_bytes().to_vec()));
        let change = Change { key: b"/skydns/config".to_vec(), news };
        feed.push_blocking(Event::Changed(vec![change], None)).expect("pushed");
        while publisher.status().borrow().config().map(|(_, json)| json) != Some(json.as_bytes().to_vec()) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_setting_that_is_again_the_one_in_use_needs_no_restart() {
        let spec = |workers| Spec { workers: Some(workers), ..Spec::default() };
        let lines = |before, after| changes_until_restart(&spec(1), &spec(before), &spec(after));
        let changed = "-workers changed: a restart makes it take effect".to_owned();
        assert_eq!(lines(1, 1), []);
        assert_eq!(lines(1, 2), [(log::Level::Warn, changed.clone())]);
        assert_eq!(lines(2, 3), [(log::Level::Warn, changed)]);
        assert_eq!(lines(3, 3), [], "told once");
        assert_eq!(lines(3, 1), [(log::Level::Info, "-workers is again as it was at the start".to_owned())]);
    }

    #[test]
    fn what_cannot_be_used_of_the_store_costs_itself() {
        let mut fixture = FollowerFixture::new(r#"{"ttl":"x","min_ttl":7}"#);
        let problem = "files: /skydns/config: field \"ttl\": \"x\" is not a whole number; ";
        let base = format!("{problem}the value of a flag or variable, else the default, is used");
        assert_eq!(fixture.values(), (5, 7, base), "at first the flag counts");
        fixture.put(r#"{"ttl":60,"min_ttl":7}"#);
        assert!(fixture.follower.read_store());
        assert_eq!(fixture.values(), (60, 7, String::new()));
        fixture.put(r#"{"ttl":"x","min_ttl":8}"#);
        assert!(fixture.follower.read_store());
        assert_eq!(fixture.values(), (60, 8, format!("{problem}60, the last good value, stays")));
        fixture.put("{");
        assert!(!fixture.follower.read_store());
        // The last good values stay over a reload, whose flags count beside them.
        fixture.reload(Spec { priority: 3, ..Spec::default() });
        assert_eq!((fixture.values().0, fixture.values().1), (60, 8));
        assert_eq!(fixture.follower.config.load().site.priority, 3);
        assert!(fixture.values().2.ends_with("; the last good fields stay"), "{}", fixture.values().2);
        // After a restart, too.
        let last_good = fixture.follower.notes.last_good.present();
        assert!(last_good.store.has("ttl") && last_good.store.has("min-ttl"));
    }

    #[test]
    fn what_shows_on_this_host_alone_costs_itself_too() {
        let mut fixture = FollowerFixture::new(r#"{"ttl":60,"local":"{machine_id}.x"}"#);
        assert_eq!(fixture.follower.config.load().site.zones.first().local, None);
        assert_eq!(fixture.values().0, 60);
        fixture.put(r#"{"ttl":61,"dnssec":["/no/Kx.+013+00001"]}"#);
        fixture.follower.read_store();
        assert_eq!(fixture.values().0, 61);
        assert!(fixture.values().2.contains("field \"dnssec\": /no/Kx.+013+00001"), "{}", fixture.values().2);
    }

    #[test]
    fn a_domain_without_its_keys_stays_unsigned_only_if_it_was_served_so() {
        let bad_keys = || Spec { dnssec: vec!["/no/Kx.+013+00001".to_owned()], ..Spec::default() };
        let zone = |fixture: &FollowerFixture| {
            let config = fixture.follower.config.load();
            (config.site.zones.first().is_signed, config.site.zones.first().lacks_keys)
        };
        let mut fixture = FollowerFixture::new(r#"{"ttl":60}"#);
        fixture.put(r#"{"ttl":61}"#);
        fixture.reload(bad_keys());
        assert_eq!(zone(&fixture), (false, false));
        assert_eq!(fixture.values().0, 61, "everything else is taken");
        assert!(fixture.values().2.ends_with("; the domain stays unsigned"), "{}", fixture.values().2);
        // Of another domain nobody knows.
        fixture.reload(Spec { domain: Name::from_ascii("other.example.").expect("a name"), ..bad_keys() });
        assert_eq!(zone(&fixture), (true, true));
        assert!(fixture.values().2.contains("; names of the domain are SERVFAIL"), "{}", fixture.values().2);
        fixture.reload(Spec::default());
        assert_eq!((zone(&fixture), fixture.values().2), ((false, false), String::new()));
    }
}
