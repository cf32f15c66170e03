//! Waiting for sources to be read: at the start, and before a reload replaces sources.

use crate::source::{ServedFrom, SourceId, SourceState, Status};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

/// Maximum time that the start waits for the sources, whose configuration may say where to listen.
///
/// Queries that arrive meanwhile wait in the sockets.
const FIRST_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum time that the start waits for the snapshot: the disk may not respond at all.
const SNAPSHOT_LOAD_TIMEOUT: Duration = Duration::from_secs(4);

/// Up to this age a snapshot is as good as the store: the start does not wait for the store as well.
const MAX_YOUNG_SNAPSHOT_AGE: Duration = Duration::from_secs(60);

/// Maximum time that the start waits for the store when it has an older snapshot.
const OLD_SNAPSHOT_TIMEOUT: Duration = Duration::from_millis(300);

/// Waits, with a limit, until each source was read or has failed, or its snapshot is served.
///
/// `loading` is closed when the snapshot is served or cannot be.
pub(super) async fn wait_for_first_read(
    mut status: watch::Receiver<Status>,
    loading: Option<oneshot::Receiver<()>>,
) {
    if let Some(loading) = loading {
        wait_for_snapshot(&mut status, loading).await;
    }
    let all_tried = |status: &Status| !status.sources.values().any(|state| *state == SourceState::Waiting);
    if timeout(FIRST_READ_TIMEOUT, status.wait_for(all_tried)).await.is_err() {
        log::warn!(
            "not all stores were read within {} s; starting without waiting any longer",
            FIRST_READ_TIMEOUT.as_secs()
        );
    }
    // A store that can be reached has newer data than an old snapshot, and sends it soon.
    let none_is_old = |status: &Status| !status.sources.values().any(is_old_snapshot);
    let _ = timeout(OLD_SNAPSHOT_TIMEOUT, status.wait_for(none_is_old)).await;
}

/// Waits, with a limit, until the snapshot is loaded, or no source needs it because all are listed.
async fn wait_for_snapshot(status: &mut watch::Receiver<Status>, loading: oneshot::Receiver<()>) {
    let all_listed = |status: &Status| {
        status.sources.values().all(|state| matches!(state.served_from(), ServedFrom::Listing { .. }))
    };
    tokio::select! {
        _ = status.wait_for(all_listed) => {}
        loaded = timeout(SNAPSHOT_LOAD_TIMEOUT, loading) => if loaded.is_err() {
            let limit = SNAPSHOT_LOAD_TIMEOUT.as_secs();
            log::warn!("the snapshot was not read within {limit} s; starting without it");
        }
    }
}

fn is_old_snapshot(state: &SourceState) -> bool {
    match state {
        SourceState::Snapshot { as_of } => as_of.elapsed().is_ok_and(|age| age > MAX_YOUNG_SNAPSHOT_AGE),
        _ => false,
    }
}

/// Waits until the new sources are read as far as they have to be to replace the present ones, whose status is `before`.
///
/// # Errors
/// Some are still unread after `limit`; the text names each with its reason.
pub(super) async fn wait_until_replaceable(
    mut status: watch::Receiver<Status>,
    before: &Status,
    limit: Duration,
) -> Result<(), String> {
    let all_read = status.wait_for(|status| missing_sources(before, status).is_empty());
    if timeout(limit, all_read).await.is_ok_and(|read| read.is_ok()) {
        return Ok(());
    }
    let missing = missing_sources(before, &status.borrow());
    let reasons = missing.into_iter().map(|(id, state)| match state {
        SourceState::Unreachable { reason, .. } => format!("{}: {reason}", id.name()),
        _ => format!("{}: no answer within {} s", id.name(), limit.as_secs()),
    });
    Err(reasons.collect::<Vec<_>>().join("; "))
}

/// The new sources that have to be read before they replace those of `before`, and are not.
fn missing_sources(before: &Status, status: &Status) -> Vec<(SourceId, SourceState)> {
    // What was carried over is served while the store itself is read. Of what is not used there is nothing to be read.
    let is_unread = |state: &SourceState| match state {
        SourceState::Waiting | SourceState::Snapshot { .. } => true,
        SourceState::Unused { .. } => false,
        _ => !state.is_served(),
    };
    let unread = status.sources.iter().filter(|(_, state)| is_unread(state));
    let missing = unread.filter(|(id, _)| must_be_read(**id, before, status));
    missing.map(|(id, state)| (*id, state.clone())).collect()
}

/// Whether a new source has to be read before it replaces the one of `before`.
fn must_be_read(id: SourceId, before: &Status, status: &Status) -> bool {
    let was_read = before.sources.get(&id).is_some_and(SourceState::is_served);
    // A required source that was unread before may be unread still: nothing is lost by the reload.
    let was_required = before.sources.contains_key(&id) && is_required(id, before);
    was_read || (is_required(id, status) && !was_required)
}

/// Whether the tree is incomplete without a source.
fn is_required(id: SourceId, status: &Status) -> bool {
    !status.optional.contains(&id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn etcd(state: SourceState, is_required: bool) -> Status {
        let mut status = Status { sources: [(SourceId::Etcd, state)].into(), ..Status::default() };
        if !is_required {
            status.optional.insert(SourceId::Etcd);
        }
        status
    }

    #[test]
    fn a_reload_waits_for_sources_that_were_read_or_are_newly_required() {
        let synced = || SourceState::Synced { revision: None, changed: SystemTime::UNIX_EPOCH };
        let waits = |before: &Status| {
            [true, false].map(|required| {
                let unread = etcd(SourceState::Waiting, required);
                !missing_sources(before, &unread).is_empty()
            })
        };
        // Each pair: etcd is required by the new settings, and it is not.
        assert_eq!(waits(&etcd(synced(), true)), [true, true]);
        assert_eq!(waits(&etcd(synced(), false)), [true, true]);
        assert_eq!(waits(&etcd(SourceState::Waiting, true)), [false, false]);
        assert_eq!(waits(&etcd(SourceState::Waiting, false)), [true, false]);
        assert_eq!(waits(&Status::default()), [true, false]);
        assert!(missing_sources(&etcd(synced(), true), &etcd(synced(), true)).is_empty());
    }
}
