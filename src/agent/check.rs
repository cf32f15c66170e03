//! One reading of all sources, for `skydns check`.

use super::error::SourcesError;
use super::source_settings::SourceSettings;
use super::tasks::spawn_thread;
use crate::config::{Config, Spec};
use crate::heartbeat::Heartbeats;
use crate::source::etcd::Etcd;
use crate::source::files::Files;
use crate::source::{Feed, Publisher, SourceId};
use std::sync::Arc;

/// What one reading of all sources found.
#[derive(Debug)]
pub struct CheckedSources {
    /// The tree and the refused records.
    pub publisher: Arc<Publisher>,
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
    let heartbeat = Heartbeats::default().monitor("the mirror");
    let mirror =
        spawn_thread("mirror", move || mirror.run(events, heartbeat)).map_err(SourcesError::Thread)?;
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    if let Some(dir) = settings.records {
        let files = Files::new(dir, settings.keyspace.clone(), feed(SourceId::Files));
        let read = spawn_thread("files", move || files.read_once()).map_err(SourcesError::Thread)?;
        let _ = tokio::task::spawn_blocking(move || read.join()).await;
    }
    if let Some(etcd) = settings.etcd.filter(|_| network) {
        let etcd = Etcd::new(etcd, settings.keyspace, feed(SourceId::Etcd));
        match etcd.list_once().await {
            Err(error) if settings.etcd_required => problems.push(format!("etcd: {error}")),
            Err(error) => notes.push(format!("etcd: {error}; no setting names it, so it is not needed")),
            Ok(()) => {}
        }
    }
    // The mirror ends when the last feed is dropped.
    drop(feed);
    let _ = tokio::task::spawn_blocking(move || mirror.join()).await;
    Ok(CheckedSources { publisher, problems, notes })
}
