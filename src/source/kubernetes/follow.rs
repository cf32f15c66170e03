//! Following the objects of one kind: a list, and a watch from its version on, again and again.
//!
//! | what happens | what follows |
//! |---|---|
//! | the watch ends as it was asked to | it goes on from the last version |
//! | the connection is lost, or nothing comes for 150 s | it goes on from the last version, if the server is of the same cluster and has not gone back |
//! | the server has forgotten that version (410), or is another cluster | a list takes the place of what was known |
//! | a list has less than half of what was known | it is asked for once more before it is believed |
//! | 401, 429, 5xx, no connection | the next try after a pause, at most [`MAX_PAUSE`] or what the server asks for |
//!
//! A list comes as a watch where the server can do that (`sendInitialEvents`), so that neither side holds all of it at once.

use super::access::ApiServer;
use super::client::get;
use super::error::KubernetesError;
use super::list::next_audit;
use super::progress::Progress;
use super::settings::KubernetesSettings;
use super::stream::ListHead;
use crate::source::event::{Change, Event, News};
use crate::source::feed::{Closed, Feed};
use crate::source::publisher::MirrorHandle;
use crate::tree::{ObjectId, ObjectKind};
use rand::Rng;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The pause after a first failure at most; doubled each time, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause of our own between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Longest pause that a server can ask for.
const MAX_ASKED_PAUSE: Duration = Duration::from_secs(30);

/// How long a session has to be in step for the pause after it to be short again.
const STEADY: Duration = Duration::from_secs(10);

/// The next try after one that failed.
const AUDIT_AGAIN: Duration = Duration::from_secs(60);

/// How long nobody is asked for what there is no right to, and which is not needed.
const WITHOUT_RIGHT: Duration = Duration::from_secs(60);

/// How long a server has to refuse what was allowed before until that is told: one that has just begun does not know its rules yet.
const RULES_TIME: Duration = Duration::from_secs(20);

/// Follows the objects of one kind.
pub(super) struct Follower {
    pub(super) kind: ObjectKind,
    pub(super) settings: Arc<KubernetesSettings>,
    pub(super) feed: Feed,
    pub(super) progress: Arc<Progress>,
    pub(super) mirror: MirrorHandle,
    /// The version up to which the objects are known, if they are.
    pub(super) version: Option<Box<str>>,
    /// How many objects have come of a list that comes as a watch, until all have.
    pub(super) listed: Option<usize>,
    /// The id of the cluster that they are of.
    cluster: Option<String>,
    /// From when on the server may know how to send a list as a watch.
    pub(super) streams_from: Instant,
    /// Whether a list with far fewer objects is believed.
    pub(super) believes: bool,
    /// When a list is due.
    pub(super) audit: Instant,
    /// While such a list is read: what the watch told last, and how many of the objects listed are newer.
    pub(super) audited: Option<(u64, usize)>,
    /// Objects that give no name for a reason that was told.
    refused: HashSet<ObjectId>,
    /// Whether these objects cannot be had, and it goes without them.
    pub(super) does_without: bool,
    /// Whether that was told; of a snapshot it was not.
    pub(super) has_told_without: bool,
    /// The version that the store had when the present session began, or that a list has shown since.
    pub(super) present: Option<u64>,
    /// Since when the server refuses what it allowed before.
    forbidden_since: Option<Instant>,
    /// When the present session came to be in step.
    pub(super) in_step: Option<Instant>,
}

impl Follower {
    pub(super) fn new(
        kind: ObjectKind,
        settings: Arc<KubernetesSettings>,
        (feed, progress): (Feed, Arc<Progress>),
        mirror: MirrorHandle,
    ) -> Self {
        Self {
            kind,
            settings,
            feed,
            progress,
            mirror,
            version: None,
            listed: None,
            cluster: None,
            streams_from: Instant::now(),
            believes: false,
            audit: next_audit(),
            audited: None,
            refused: HashSet::new(),
            does_without: false,
            has_told_without: false,
            present: None,
            forbidden_since: None,
            in_step: None,
        }
    }

    /// Follows the objects until the mirror has ended.
    pub(super) async fn run(mut self) -> Closed {
        let mut max_pause = FIRST_PAUSE;
        self.take_snapshot();
        loop {
            (self.in_step, self.listed, self.audited) = (None, None, None);
            let Err(error) = self.session().await;
            if let KubernetesError::Closed(closed) = error {
                return closed;
            }
            if self.in_step.is_some_and(|since| since.elapsed() > STEADY) {
                (max_pause, self.forbidden_since) = (FIRST_PAUSE, None);
            }
            let asked = match &error {
                KubernetesError::Refused { retry_after, .. } => *retry_after,
                _ => None,
            };
            match &error {
                KubernetesError::Expired => self.version = None,
                // Servers without bookmarks are as silent as a watch that has stalled: only if the next one fails is
                // anything wrong.
                KubernetesError::Silent => {}
                _ if self.may_not_know_its_rules(&error) => {}
                _ if self.can_do_without(&error) => {
                    if let Err(closed) = self.do_without().await {
                        return closed;
                    }
                    sleep(WITHOUT_RIGHT).await;
                    continue;
                }
                KubernetesError::Shrunk { .. } => {
                    log::warn!("kubernetes: {error}");
                    self.believes = true;
                    self.audit = Instant::now();
                }
                _ => {
                    let failed = self.progress.failed(self.kind, error.to_string());
                    if let Err(closed) = failed.await {
                        return closed;
                    }
                }
            }
            let own = rand::rng().random_range(max_pause / 2..=max_pause);
            sleep(asked.map_or(own, |asked| own + asked.min(MAX_ASKED_PAUSE))).await;
            max_pause = (max_pause * 2).min(MAX_PAUSE);
        }
    }

    /// Goes on from where a snapshot is.
    fn take_snapshot(&mut self) {
        let published = self.mirror.published();
        let cluster = published.tree.cluster();
        self.version = cluster.version(self.kind).map(Into::into);
        self.cluster = cluster.identity().map(str::to_owned);
        self.does_without = self.kind == ObjectKind::Namespace && cluster.derives_namespaces();
    }

    /// Whether a right seems to be missing only because the server has just begun.
    fn may_not_know_its_rules(&mut self, error: &KubernetesError) -> bool {
        if !error.is_forbidden() || self.version.is_none() {
            self.forbidden_since = None;
            return false;
        }
        self.forbidden_since.get_or_insert_with(Instant::now).elapsed() < RULES_TIME
    }

    /// Whether what is missing is the right to namespaces, which services name as well, or all that imports are made of.
    pub(super) fn can_do_without(&self, error: &KubernetesError) -> bool {
        let is_selected = self.settings.watched.namespace_labels.is_some();
        match self.kind {
            ObjectKind::Namespace => error.is_forbidden() && !is_selected,
            ObjectKind::Import => matches!(error, KubernetesError::Refused { code: 404, .. }),
            _ => false,
        }
    }

    /// Goes on without namespaces, of which one exists as long as a service is in it, or without imports.
    async fn do_without(&mut self) -> Result<(), Closed> {
        let is_new = !std::mem::replace(&mut self.has_told_without, true);
        self.does_without = true;
        // When they can be had again, all are listed.
        self.version = None;
        match self.kind {
            ObjectKind::Namespace if is_new => {
                log::warn!(
                    "kubernetes: the right to list and watch namespaces is missing: a namespace is taken to exist while it has \
                     a service"
                );
                self.feed.push(Event::NamespacesUnread(true)).await?;
            }
            kind if is_new => {
                log::warn!("kubernetes: the server has no {} (-kubernetes-multicluster)", kind.plural());
            }
            // A server that has just begun may not know its own definitions yet; a minute later it does.
            kind @ ObjectKind::Import if self.known() > 0 => {
                self.feed.push(Event::ObjectsBegin(kind)).await?;
                self.feed.push(Event::ObjectsEnd { kind, version: None, newer: None }).await?;
            }
            _ => {}
        }
        self.progress.in_step(self.kind).await
    }

    /// Lists and watches until something is wrong.
    async fn session(&mut self) -> Result<std::convert::Infallible, KubernetesError> {
        let server = self.settings.access.open()?;
        self.check_cluster(&server).await?;
        if self.version.is_none() {
            self.list(&server).await?;
        }
        loop {
            // Not behind a watch alone: where something cuts them, none may ever end as it was asked to.
            if Instant::now() >= self.audit {
                // If it fails, following goes on first.
                self.audit = Instant::now() + AUDIT_AGAIN;
                // After an outage there is much that no watch could tell.
                let told = self.version.as_deref().and_then(number).filter(|_| self.in_step.is_some());
                self.audited = told.map(|version| (version, 0));
                self.list(&server).await?;
            }
            self.watch(&server).await?;
        }
    }

    /// Lists the objects once, and finds out whether they can be watched; returns how many they are.
    pub(super) async fn list_once(&mut self) -> Result<usize, KubernetesError> {
        let server = self.settings.access.open()?;
        self.feed.push(Event::ObjectsBegin(self.kind)).await?;
        let listed = self.plain_list(&server).await?;
        let (path, version) = (self.settings.watched.path(self.kind), self.version.as_deref().unwrap_or("0"));
        let path = format!("{path}watch=true&timeoutSeconds=1&resourceVersion={version}");
        // The right to watch is another one, and given as soon as anything is answered.
        match get(&server, &path, self.kind, self.doing("watching")).await {
            // Another server behind the same address may not have come to that version yet.
            Ok(_) | Err(KubernetesError::Expired | KubernetesError::Refused { code: 504, .. }) => Ok(listed),
            Err(error) => Err(error),
        }
    }

    /// Forgets the version of another cluster, or one that the cluster does not have any more: it was restored.
    async fn check_cluster(&mut self, server: &ApiServer) -> Result<(), KubernetesError> {
        let cluster = match identity(server).await {
            Ok(cluster) => cluster,
            Err(error) if error.is_forbidden() || error.is_not_supported() => None,
            Err(error) => return Err(error),
        };
        if let Some(cluster) = cluster {
            if self.cluster.as_ref() != Some(&cluster) {
                self.feed.push(Event::ClusterIdentity(cluster.as_str().into())).await?;
            }
            if self.cluster.replace(cluster.clone()).is_some_and(|before| before != cluster) {
                self.version = None;
            }
        }
        let Some(version) = self.version.as_deref().and_then(number) else { return Ok(()) };
        let path = format!("{}limit=1", self.settings.watched.path(self.kind));
        let what = format!("asking for the version of its {}", self.kind.plural());
        let body = get(server, &path, self.kind, what).await?.whole().await?;
        let head = serde_json::from_slice::<OnlyHead>(&body).ok().map(|list| list.metadata);
        self.present = head.as_ref().and_then(|head| number(&head.resource_version));
        // A watch from a version of the future brings nothing, and no error.
        if self.present.is_some_and(|present| present < version) {
            log::warn!("kubernetes: the cluster has gone back to an earlier state: it is read anew");
            self.version = None;
        }
        Ok(())
    }

    /// Whether all is known that the store had when the session began.
    pub(super) fn has_caught_up(&self) -> bool {
        let known = self.version.as_deref().and_then(number);
        self.present.zip(known).is_some_and(|(present, known)| known >= present)
    }

    pub(super) fn doing(&self, what: &str) -> String {
        format!("{what} {}", self.kind.plural())
    }

    /// Tells why an object gives no name.
    pub(super) async fn refuse(&mut self, id: ObjectId, reason: String) -> Result<(), Closed> {
        let key = format!("{}/{}", id.namespace, id.name).into_bytes();
        self.refused.insert(id);
        let news = News::Refused { served: None, reason };
        self.feed.push(Event::Changed(vec![Change { key, news }], None)).await
    }

    /// Notes that an object is as it should be, or gone.
    pub(super) async fn accept(&mut self, id: &ObjectId) -> Result<(), Closed> {
        if self.refused.remove(id) {
            let key = format!("{}/{}", id.namespace, id.name).into_bytes();
            self.feed.push(Event::Changed(vec![Change { key, news: News::Gone(None) }], None)).await?;
        }
        Ok(())
    }
}

/// A list of which only the version is wanted.
#[derive(serde::Deserialize)]
struct OnlyHead {
    metadata: ListHead,
}

/// The id of the cluster: that of its namespace `kube-system`, which is as old as the cluster.
async fn identity(server: &ApiServer) -> Result<Option<String>, KubernetesError> {
    #[derive(serde::Deserialize)]
    struct WithUid {
        metadata: Uid,
    }
    #[derive(serde::Deserialize)]
    struct Uid {
        uid: Option<String>,
    }
    let what = "asking which cluster it is".to_owned();
    let path = "/api/v1/namespaces/kube-system";
    let body = get(server, path, ObjectKind::Namespace, what).await?.whole().await?;
    Ok(serde_json::from_slice::<WithUid>(&body).ok().and_then(|namespace| namespace.metadata.uid))
}

/// A version as a number, which all servers of today write; it is compared with others alone.
pub(super) fn number(version: &str) -> Option<u64> {
    version.parse().ok()
}
