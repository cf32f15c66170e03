//! The watch of a session: every change from the listed revision on.

use super::members::{MemberRequest, answer_of, read_members};
use super::{MAX_ANSWER_OCTETS, REQUEST_TIMEOUT, Session};
use crate::source::etcd::error::EtcdError;
use crate::source::event::Event;
use crate::source::layout;
use etcd_client::{Client, EventType, ResponseHeader, WatchOptions, WatchResponse, WatchStream};
use futures_util::FutureExt;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{interval, timeout};

/// How often the member list is read with `-discover`.
const DISCOVER_PERIOD: Duration = Duration::from_secs(30);

impl Session<'_> {
    /// Pushes changes from a listed revision on, and keeps leases and members up to date, until something fails.
    pub(super) async fn watch(
        &mut self,
        client: &mut Client,
        revision: i64,
    ) -> Result<Infallible, EtcdError> {
        let mut stream = self.start_watch(client, revision).await?;
        let leases = client.lease_client();
        let mut discover = interval(DISCOVER_PERIOD);
        let mut request: Option<MemberRequest> = None;
        loop {
            tokio::select! {
                biased;
                message = stream.message() => match message {
                    Ok(Some(message)) => self.push_changes(&message).await?,
                    Ok(None) => return Err(self.cancelled("the server closed it".to_owned())),
                    Err(error) => return Err(EtcdError::failed(self.endpoint, "watching", &error)),
                },
                error = self.carried_over.leases.follow(&leases) => {
                    return Err(EtcdError::failed(self.endpoint, "asking for a lease", &error));
                }
                found = answer_of(&mut request) => {
                    request = None;
                    self.take_members(found);
                }
                _ = discover.tick(), if self.settings.discover && request.is_none() => {
                    request = Some(read_members(client.clone(), self.endpoint.to_owned()).boxed());
                }
            }
        }
    }

    /// Starts the watch at a listed revision.
    ///
    /// The changes of the listed revision itself come once more, which changes nothing. A watch that starts at the
    /// next revision would lose a deletion that was made and compacted away since the listing: a compaction keeps the
    /// values at its revision but not the deletions, and yet etcd lets a watch start at that revision.
    async fn start_watch(&mut self, client: &mut Client, revision: i64) -> Result<WatchStream, EtcdError> {
        let options = WatchOptions::new().with_prefix().with_start_revision(revision).with_progress_notify();
        let mut watch = client.watch_client().max_decoding_message_size(MAX_ANSWER_OCTETS);
        match timeout(REQUEST_TIMEOUT, watch.watch(self.keyspace.root(), Some(options))).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(EtcdError::failed(self.endpoint, "watching", &error)),
            Err(_) => Err(self.timed_out("watching")),
        }
    }

    /// Pushes the changes of one message of the watch.
    async fn push_changes(&mut self, message: &WatchResponse) -> Result<(), EtcdError> {
        if message.canceled() {
            let reason = match message.compact_revision() {
                0 => message.cancel_reason().to_owned(),
                revision => format!("the store was compacted up to revision {revision}"),
            };
            return Err(self.cancelled(reason));
        }
        let changes: Vec<_> = message
            .events()
            .iter()
            .filter_map(|event| {
                let kv = event.kv()?;
                Some(match event.event_type() {
                    EventType::Put => self.put(kv),
                    EventType::Delete => layout::read(self.keyspace, kv.key(), None, None),
                })
            })
            .collect();
        // A progress notification has no changes.
        if changes.is_empty() {
            return Ok(());
        }
        let revision = message.header().map(ResponseHeader::revision);
        Ok(self.feed.push(Event::Changed(changes, revision)).await?)
    }

    fn cancelled(&self, reason: String) -> EtcdError {
        EtcdError::Cancelled { endpoint: self.endpoint.to_owned(), reason }
    }
}
