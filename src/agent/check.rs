//! One reading of all sources, for `skydns check`.

use super::error::SourcesError;
use super::source_settings::SourceSettings;
use super::tasks::spawn_thread;
use crate::config::Spec;
use crate::heartbeat::Heartbeats;
use crate::source::etcd::Etcd;
use crate::source::files::Files;
use crate::source::{Feed, Publisher, SourceId};
use std::sync::Arc;

/// Reads every source once; for `skydns check`.
///
/// # Errors
/// A source cannot be set up. The rest of the result are what cannot be read though it should, and
/// what cannot be read and need not be.
pub async fn check_sources(spec: &Spec) -> Result<(Arc<Publisher>, Vec<String>, Vec<String>), SourcesError> {
    let asked = SourceSettings::new(spec)?;
    let stage = Publisher::new();
    let (feed, events) = Feed::channel();
    let mirror = asked.mirror(&stage);
    let heartbeat = Heartbeats::default().monitor("the mirror");
    let mirror =
        spawn_thread("mirror", move || mirror.run(events, heartbeat)).map_err(SourcesError::Thread)?;
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    if let Some(dir) = asked.records {
        let files = Files::new(dir, asked.keyspace.clone(), feed(SourceId::Files));
        let read = spawn_thread("files", move || files.read_once()).map_err(SourcesError::Thread)?;
        let _ = tokio::task::spawn_blocking(move || read.join()).await;
    }
    if let Some(settings) = asked.etcd {
        let etcd = Etcd::new(settings, asked.keyspace, feed(SourceId::Etcd));
        match etcd.list_once().await {
            Err(error) if asked.etcd_required => problems.push(format!("etcd: {error}")),
            Err(error) => notes.push(format!("etcd: {error}; nothing asks for it")),
            Ok(()) => {}
        }
    }
    // The mirror ends when the last feed is dropped.
    drop(feed);
    let _ = tokio::task::spawn_blocking(move || mirror.join()).await;
    Ok((stage, problems, notes))
}
