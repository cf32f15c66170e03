//! One reading of all sources, for `skydns check`.

use super::check_etcd::check_etcd;
use super::error::SourcesError;
use super::source_settings::{SourceSettings, access_problem};
use super::tasks::spawn_thread;
use crate::config::{Config, Route, Spec};
use crate::forward::check_server;
use crate::heartbeat::Heartbeats;
use crate::source::files::Files;
use crate::source::kubernetes::{Kubernetes, KubernetesError, ListedOnce};
use crate::source::{Feed, Publisher, SourceId};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What one reading of all sources found.
#[derive(Debug)]
pub struct CheckedSources {
    /// The tree and the refused records.
    pub publisher: Arc<Publisher>,
    /// What is wrong with files that settings name.
    pub unusable: Vec<String>,
    /// Why required sources cannot be read.
    pub problems: Vec<String>,
    /// Why sources that no setting names cannot be read.
    pub notes: Vec<String>,
}

/// Reads every source once; those over the network only if that is asked for.
///
/// # Errors
/// A source cannot be set up.
pub async fn check_sources(spec: &Spec, network: bool) -> Result<CheckedSources, SourcesError> {
    let settings = SourceSettings::new(spec)?;
    let publisher = Publisher::new();
    publisher.set_site(&Config::without_host(spec).site);
    let (feed, events) = Feed::channel();
    let mirror = settings.mirror(&publisher);
    let handle = mirror.handle();
    let heartbeat = Heartbeats::default().monitor("the mirror");
    let mirror =
        spawn_thread("mirror", move || mirror.run(events, heartbeat)).map_err(SourcesError::Thread)?;
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    if let Some(dir) = &settings.records {
        let files = Files::new(dir.clone(), settings.keyspace.clone(), feed(SourceId::Files));
        let read = spawn_thread("files", move || files.read_once()).map_err(SourcesError::Thread)?;
        let _ = tokio::task::spawn_blocking(move || read.join()).await;
    }
    if let Some(etcd) = settings.etcd.as_ref().filter(|_| network) {
        let found = check_etcd(etcd, &settings.keyspace, settings.etcd_api, &settings.v2_also, &feed).await;
        let not_needed = |error| format!("{error}; no setting names it, so it is not needed");
        match settings.etcd_required {
            true => problems.extend(found.problems),
            false => notes.extend(found.problems.into_iter().map(not_needed)),
        }
        notes.extend(found.notes);
    }
    // In which pod the agent will be, and with what -strict is refused, is not judged here.
    let problem = access_problem(spec).filter(|_| network || !spec.kubernetes.is_of_pod());
    let unusable: Vec<_> = problem.iter().filter(|_| !spec.strict).cloned().collect();
    let followed = settings.kubernetes.as_ref().filter(|_| network && problem.is_none());
    let mut listed_namespaces = false;
    if let Some(kubernetes) = followed {
        let id = SourceId::Kubernetes;
        let source = Kubernetes::new(kubernetes.clone(), feed(id), handle.clone());
        let ListedOnce { counts, has_namespaces, problems: refused, not_needed } = source.list_once().await;
        listed_namespaces = has_namespaces;
        let named = |error: KubernetesError| format!("{}: {error}", id.name());
        problems.extend(refused.into_iter().map(named));
        notes.extend(not_needed.into_iter().map(named));
        if !counts.is_empty() {
            notes.push(format!("{}: {}", id.name(), counts.join(", ")));
        }
    }
    if network {
        let routes = check_routes(&Config::without_host(spec).forward.routes).await;
        problems.extend(routes.problems);
        notes.extend(routes.notes);
    }
    // The mirror ends when the last feed is dropped.
    drop(feed);
    let _ = tokio::task::spawn_blocking(move || mirror.join()).await;
    let published = publisher.published().load_full();
    let cluster = published.tree.cluster();
    let is_missing = |name: &&String| !cluster.namespace(name.as_bytes()).is_some_and(|it| cluster.has(it));
    let namespaces =
        followed.filter(|_| listed_namespaces).map_or(&[][..], |settings| &settings.watched.namespaces);
    notes.extend(namespaces.iter().filter(is_missing).map(|name| {
        format!("kubernetes-namespaces: the cluster has no namespace {name} (or its labels are not selected)")
    }));
    Ok(CheckedSources { publisher, unusable, problems, notes })
}

/// What came of asking the servers of zones that are forwarded.
#[derive(Debug, Default)]
struct CheckedRoutes {
    /// Of zones that no server answers for.
    problems: BTreeSet<String>,
    /// Of zones that others answer for.
    notes: BTreeSet<String>,
}

/// Asks each server of each route once, all at the same time.
async fn check_routes(routes: &[Route]) -> CheckedRoutes {
    let mut checked = CheckedRoutes::default();
    let ask = |route: &Route| {
        let Route { zone, servers } = route.clone();
        async move {
            let each = servers.iter().map(|server| check_server(&zone, *server));
            let results = join_all(each).await.into_iter().zip(servers);
            results.map(|(result, server)| (result, format!("{server} for {zone}"))).collect::<Vec<_>>()
        }
    };
    for results in join_all(routes.iter().map(ask)).await {
        let is_answered = results.iter().any(|(result, _)| result.is_ok());
        let told = if is_answered { &mut checked.notes } else { &mut checked.problems };
        let failed = results.into_iter().filter_map(|(result, server)| Some((result.err()?, server)));
        told.extend(failed.map(|(error, server)| format!("kubernetes-forward: {server}: {error}")));
    }
    checked
}
