//! Names of our own: out of the directory of records, and out of the snapshot unless reading it ended a process.

use super::query::Query;
use super::settings::{self, OwnDomains};
use crate::agent::kubernetes_settings;
use crate::answer::{
    self, ANSWERED_TOP_LABELS, Dependencies, Ede, Externals, Made, Outcome, View, WORK_OF_ANSWER,
};
use crate::clock::steady_time;
use crate::config::{Config, Spec};
use crate::counted::counted;
use crate::guard::{self, ReadsSnapshot};
use crate::heartbeat::Heartbeats;
use crate::service::Keyspace;
use crate::source::etcd::{EtcdSettings, TlsFiles};
use crate::source::files::{Files, FilesSettings, LinkPolicy};
use crate::source::kubernetes::Access;
use crate::source::snapshot::{StoreIdentity, restore, restore_cluster};
use crate::source::{Event, Feed, Mirror, Publisher, SourceId, SourceState};
use crate::systemd;
use crate::tree::Work;
use crate::wire::{self, Reply, Request, Screened, Transport};
use crate::wire_name::labels;
use arc_swap::ArcSwap;
use hickory_proto::op::ResponseCode;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Octets of the smallest record that a reply holds.
const SMALLEST_RECORD: usize = 12;

/// Work for one answer: some 0.1 ms, during which the other queries of the socket wait.
const WORK_OVER_UDP: u32 = WORK_OF_ANSWER / 10;

/// The names of our own, and how they are answered.
#[derive(Debug)]
pub(super) struct OwnNames {
    publisher: Arc<Publisher>,
    config: ArcSwap<OwnConfig>,
    /// Whether there may be one, and whether it was read.
    has_snapshot: bool,
    is_snapshot_read: Arc<AtomicBool>,
}

/// The configuration that answers are made with.
#[derive(Debug)]
pub(super) struct OwnConfig {
    pub(super) config: Config,
    pub(super) domains: OwnDomains,
}

/// What becomes of a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OwnAnswer {
    Reply(Vec<u8>),
    /// A fault in this program.
    Failed,
    /// The name is none of ours.
    Forward,
}

impl OwnNames {
    /// Starts to read the names. What cannot be read is missing, and counts as such: it is never denied.
    ///
    /// `None` if the settings give no configuration.
    pub(super) fn start(spec: &Spec) -> Option<Arc<Self>> {
        let config = ArcSwap::from_pointee(settings::own_config(spec)?);
        let publisher = Publisher::new();
        publisher.set_site(&config.load().config.site);
        let keyspace = Keyspace::new(&spec.path_prefix);
        let records = spec.records.clone().or_else(|| spec.default_records.clone());
        let mut sources = BTreeMap::new();
        if spec.uses_etcd() {
            // What of them was read is in the snapshot; without one, names of either may be missing.
            let is_required = !spec.machines.is_empty() || records.is_none();
            let of_v3 = if spec.etcd_api.has_v3() { SourceId::Etcd } else { SourceId::EtcdV2 };
            sources.extend([(SourceId::EtcdV2, false), (of_v3, is_required)]);
        }
        if spec.kubernetes.is_on {
            sources.insert(SourceId::Kubernetes, true);
        }
        if records.is_some() {
            sources.insert(SourceId::Files, true);
        }
        let sources: Vec<_> = sources.into_iter().collect();
        let mirror = Mirror::new(keyspace.clone(), &sources, &publisher);
        let (feed, events) = Feed::channel();
        let heartbeats = Heartbeats::default();
        let heartbeat = heartbeats.monitor("the mirror");
        start_thread("mirror", move || mirror.run(events, heartbeat));
        if let Some(directory) = records {
            let links = if spec.records_links { LinkPolicy::Anywhere } else { LinkPolicy::Inside };
            let files = Files::new(FilesSettings { directory, links }, keyspace, feed(SourceId::Files));
            let heartbeat = heartbeats.monitor("files");
            start_thread("files", move || files.run(heartbeat));
        }
        let may_read = !guard::snapshot_was_fatal();
        let snapshot = snapshot_of(spec).filter(|_| may_read);
        let of_cluster = snapshot_of_cluster(spec).filter(|_| may_read);
        let has_snapshot = snapshot.is_some() || of_cluster.is_some();
        let is_snapshot_read = Arc::new(AtomicBool::new(false));
        if has_snapshot {
            let is_read = Arc::clone(&is_snapshot_read);
            start_thread("snapshot", move || {
                if let Some((file, access)) = of_cluster {
                    let of_cluster = load_cluster(&file, &access, &feed(SourceId::Kubernetes));
                    is_read.store(of_cluster, Ordering::Relaxed);
                }
                if let Some((file, store)) = snapshot {
                    is_read.fetch_or(load(&file, &store, feed), Ordering::Relaxed);
                }
            });
        }
        Some(Arc::new(Self { publisher, config, has_snapshot, is_snapshot_read }))
    }

    /// Waits, with a limit, until the directory was read, and the snapshot if there is one.
    pub(super) async fn first_read(&self, limit: Duration) {
        let is_read = |id: &SourceId, state: &SourceState| match id {
            SourceId::Files => *state != SourceState::Waiting,
            _ => !self.has_snapshot || *state != SourceState::Waiting,
        };
        let mut status = self.publisher.status();
        let all = status.wait_for(|status| status.sources.iter().all(|(id, state)| is_read(id, state)));
        let _ = timeout(limit, all).await;
    }

    /// The configuration that a store holds, with its key's source.
    pub(super) fn stored_config(&self) -> Option<Vec<u8>> {
        self.publisher.status().borrow().config().map(|(_, json)| json)
    }

    pub(super) fn set_config(&self, config: OwnConfig) {
        self.publisher.set_site(&config.config.site);
        self.config.store(Arc::new(config));
    }

    /// What is known of the names, for a person.
    pub(super) fn status(&self) -> String {
        let names = self.publisher.status().borrow().names;
        let snapshot = if self.is_snapshot_read.load(Ordering::Relaxed) { " and the snapshot" } else { "" };
        let own = self.config.load();
        let signed = own.config.site.zones.iter().filter(|zone| zone.is_signed).count();
        let signed = match (signed, own.config.site.zones.iter().len()) {
            (0, _) => "",
            (all, zones) if all == zones => {
                "; the zone is signed, which only the agent does, so its names get SERVFAIL"
            }
            _ => "; some zones are signed, which only the agent does, so their names get SERVFAIL",
        };
        format!("{} from the records{snapshot}{signed}", counted(names, "name"))
    }

    /// Whether the name of a query may be answered here. All others are never looked at any further.
    pub(super) fn may_answer(&self, query: &Query<'_>) -> bool {
        let own = self.config.load();
        let labels = labels(query.name());
        let is_special = || {
            labels
                .clone()
                .last()
                .is_some_and(|top| ANSWERED_TOP_LABELS.iter().any(|label| top.eq_ignore_ascii_case(label)))
        };
        !query.is_internet()
            || own.domains.contain(query.name())
            || labels.clone().count() < usize::from(own.config.site.ndots)
            || is_special()
    }

    /// Answers a query, unless the name is none of ours. `max_reply` is the most octets over UDP, `None` over TCP.
    pub(super) fn answer(&self, packet: &[u8], may_forward: bool, max_reply: Option<u16>) -> OwnAnswer {
        catch_unwind(AssertUnwindSafe(|| match wire::screen(packet) {
            Screened::Drop => OwnAnswer::Failed,
            Screened::Reply(reply) => OwnAnswer::Reply(reply),
            Screened::Ask(request) => {
                let transport = match max_reply {
                    Some(most) => Transport::Udp { limit: request.udp_limit(most) },
                    None => Transport::Tcp,
                };
                self.answer_request(&request, may_forward, transport)
            }
        }))
        .unwrap_or(OwnAnswer::Failed)
    }

    fn answer_request(&self, request: &Request, may_forward: bool, transport: Transport) -> OwnAnswer {
        let own = self.config.load();
        let zone = own.config.site.zone_of(request.query.name());
        let encode = |reply: &Reply| OwnAnswer::Reply(wire::encode(request, reply, transport));
        let unsigned = || {
            let why = "the zone is signed, and the agent that signs it does not run";
            encode(&Reply::failure(ResponseCode::ServFail, Ede::new(Ede::RRSIGS_MISSING, why)))
        };
        if zone.is_signed && own.config.site.contains(request.query.name()) {
            return unsigned();
        }
        match self.outcome(request, &own.config, may_forward, transport) {
            // In the domain `.` only the answer shows that the name is ours.
            Outcome::Answered(_) if zone.is_signed && zone.is_root() => unsigned(),
            Outcome::Answered(answer) => encode(&Reply::from(answer)),
            // The name exists here, whatever upstreams say.
            Outcome::ForwardExisting => encode(&Reply::empty(ResponseCode::NoError)),
            Outcome::Forward => OwnAnswer::Forward,
            Outcome::Lookup(_) => OwnAnswer::Failed,
        }
    }

    /// The outcome without look-ups of names outside, which count as failed.
    fn outcome(
        &self,
        request: &Request,
        config: &Config,
        may_forward: bool,
        transport: Transport,
    ) -> Outcome {
        let published = self.publisher.published().load_full();
        let work = if transport == Transport::Tcp { WORK_OF_ANSWER } else { WORK_OVER_UDP };
        let (mut externals, seed) = (Externals::new(), rand::random());
        let mut question = request.query.clone();
        question.set_name(question.name().to_lowercase());
        let answer = |externals: &Externals| {
            let view = View {
                site: &config.site,
                tree: &published.tree,
                dependencies: &Dependencies::default(),
                freshness: &published.freshness,
                now: steady_time(),
                seed,
                externals,
                made: &Made::default(),
                max_records: transport.limit() / SMALLEST_RECORD,
                work: &Work::new(work),
                forwards: may_forward && !config.forward.no_rec,
                dnssec: None,
            };
            answer::answer(&question, &view)
        };
        match answer(&externals) {
            Outcome::Lookup(lookups) => {
                lookups.into_iter().for_each(|lookup| externals.insert_failure(lookup));
                answer(&externals)
            }
            outcome => outcome,
        }
    }
}

/// The file of the snapshot, and the store that it has to be of; `None` without etcd.
fn snapshot_of(spec: &Spec) -> Option<(PathBuf, StoreIdentity)> {
    let dir = spec.state_dir.clone().or_else(systemd::state_directory)?;
    if !spec.uses_etcd() {
        return None;
    }
    let etcd = EtcdSettings::new(&spec.machines, TlsFiles::default(), None, false).ok()?;
    let root = Keyspace::new(&spec.path_prefix).root().to_owned();
    Some((dir.join("snapshot"), StoreIdentity { root, endpoints: etcd.endpoints.into_iter().collect() }))
}

/// Loads the snapshot into the tree, if it can be used. If the process ends meanwhile, the next one does without.
fn load(file: &Path, store: &StoreIdentity, feed: impl Fn(SourceId) -> Feed) -> bool {
    let reads = ReadsSnapshot::begin();
    let part = |id, part| {
        let _ = feed(id).push_blocking(Event::Restored(part));
    };
    let restored = restore(file, store, part);
    let is_read = restored.is_ok();
    match restored {
        Ok(snapshot) => {
            let snapshot = Arc::new(snapshot);
            for id in [SourceId::EtcdV2, SourceId::Etcd] {
                if !snapshot.header.sources.contains_key(&id) {
                    let _ = feed(id).push_blocking(not_asked());
                }
            }
            for id in snapshot.header.sources.keys() {
                let (visible, is_visible) = oneshot::channel();
                let end = Event::RestoreEnd { snapshot: Arc::clone(&snapshot), visible };
                if feed(*id).push_blocking(end).is_ok() {
                    let _ = is_visible.blocking_recv();
                }
            }
        }
        Err(error) => {
            log::warn!("the snapshot {} cannot be used: {error}", file.display());
            for id in [SourceId::EtcdV2, SourceId::Etcd] {
                let _ = feed(id).push_blocking(not_asked());
            }
        }
    }
    drop(reads);
    is_read
}

/// The file of the snapshot of a Kubernetes cluster, and how its server would be reached; `None` without a cluster.
fn snapshot_of_cluster(spec: &Spec) -> Option<(PathBuf, Access)> {
    let dir = spec.state_dir.clone().or_else(systemd::state_directory)?;
    let access = || kubernetes_settings(&spec.kubernetes).access;
    spec.kubernetes.is_on.then(|| (dir.join("snapshot-kubernetes"), access()))
}

/// The same as [`load`] for the snapshot of a cluster.
fn load_cluster(file: &Path, access: &Access, feed: &Feed) -> bool {
    let reads = ReadsSnapshot::begin();
    let restored = restore_cluster(file, access.url().as_deref());
    let is_read = restored.is_ok();
    match restored {
        Ok(cluster) => {
            let (visible, is_visible) = oneshot::channel();
            let restored = Event::ClusterRestored { cluster: Box::new(cluster), visible };
            if feed.push_blocking(restored).is_ok() {
                let _ = is_visible.blocking_recv();
            }
        }
        Err(error) => log::warn!("the snapshot {} cannot be used: {error}", file.display()),
    }
    let _ = feed.push_blocking(not_asked());
    drop(reads);
    is_read
}

fn not_asked() -> Event {
    Event::Unreachable("the rescue asks no store".to_owned())
}

/// Starts a thread that nobody waits for: without it the names that it would read are missing.
fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(work) {
        log::error!("starting a thread: {error}");
    }
}
