//! The long polls of one root: each asks for the first change from an index on, and is asked anew when it was answered or was
//! idle for a while.
//!
//! A store knows the last thousand changes of all keys. A poll that was idle has shown that nothing of the root happened up to
//! the index at which it began, so the next one asks from there on; a root where nothing happens would else be forgotten. It
//! also bounds for how long a server, or a proxy before it, that has died is waited for.

use super::super::error::EtcdError;
use super::answer::{Answer, Said};
use super::client::{Client, Login};
use super::listed::read;
use super::node::{ApiEvent, Directories};
use super::root::{Concern, Root};
use super::session::HEAD_TIMEOUT;
use crate::service::Keyspace;
use crate::source::event::{Change, Event, News};
use crate::source::feed::Feed;
use rand::Rng;
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const WHAT: &str = "watching";

/// After which time an idle poll is given up, in seconds: at random, so that the hosts of a site do not ask all at once.
const IDLE_SECONDS: RangeInclusive<u64> = 30..=60;

/// Time for a change to come in, once it has begun to.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// After this time the head of a poll was followed by a change, if the store had one: it writes both at once.
const HISTORY_TIME: Duration = Duration::from_secs(2);

/// Changes that a poll which is cut may be behind: half of those that a store remembers.
const MAX_BEHIND: u64 = 500;

/// Pause after a poll that was cut at once.
const CUT_PAUSE: Duration = Duration::from_millis(100);

/// Polls that may be cut at once, one after the other, before another endpoint is taken.
const MAX_CUTS: u32 = 5;

/// The polls of one root.
pub(super) struct Watcher<'a> {
    pub(super) client: Client,
    pub(super) root: &'a Root,
    pub(super) keyspace: &'a Keyspace,
    pub(super) feed: &'a Feed,
    /// The index of the next change.
    pub(super) next: u64,
    pub(super) cluster: Option<u64>,
    pub(super) directories: Directories,
    /// Whether any key ends.
    pub(super) has_ends: &'a AtomicBool,
    /// Polls that were cut at once since one that was not.
    pub(super) cuts: u32,
}

impl Watcher<'_> {
    /// Pushes changes until something fails.
    pub(super) async fn run(mut self) -> Result<Infallible, EtcdError> {
        loop {
            self.poll().await?;
        }
    }

    async fn poll(&mut self) -> Result<(), EtcdError> {
        let query = format!("?wait=true&recursive=true&waitIndex={}", self.next);
        let path = self.root.path(&query);
        let mut exchange = self.client.get(&path, Login::AsUser, HEAD_TIMEOUT, WHAT).await?;
        let answer = &mut exchange.answer;
        match answer.said().await? {
            Said::Success => {}
            Said::Error(error) => return Err(answer.api_error(&error)),
            Said::NoPage => return Err(EtcdError::NoV2 { endpoint: self.client.endpoint.clone() }),
        }
        let begun = Instant::now();
        let index = self.check(answer)?;
        let body = match read_poll(answer, begun).await {
            Polled::Body(body) if !body.trim_ascii().is_empty() => body,
            Polled::Body(_) => {
                self.client.give_back(exchange);
                return self.note_idle(begun, index).await;
            }
            Polled::CutShort(error) => return self.note_cut(begun, None, error).await,
            Polled::Cut(error) => return self.note_cut(begun, Some(index), error).await,
            Polled::Idle => {
                self.cuts = 0;
                self.next = self.next.max(index.saturating_add(1));
                return Ok(());
            }
        };
        let event: ApiEvent = serde_json::from_slice(&body)
            .map_err(|error| self.forgotten(format!("what it says of a change cannot be read: {error}")))?;
        self.client.give_back(exchange);
        // Old servers send changes once more that are over.
        if event.node.modified_index < self.next {
            self.cuts += 1;
            if self.cuts >= MAX_CUTS {
                return Err(self.forgotten("it answers with changes that are over".to_owned()));
            }
            sleep(CUT_PAUSE).await;
            return Ok(());
        }
        self.cuts = 0;
        self.next = event.node.modified_index.saturating_add(1);
        let changes = self.changes(event);
        if changes.is_empty() {
            return Ok(());
        }
        let revision = i64::try_from(self.next - 1).ok();
        Ok(self.feed.push(Event::Changed(changes, revision)).await?)
    }

    /// Checks that a poll is one of the store that was listed; returns the store's index when it began.
    fn check(&self, answer: &Answer) -> Result<u64, EtcdError> {
        if answer.cluster().zip(self.cluster).is_some_and(|(now, before)| now != before) {
            return Err(self.forgotten("it is of another cluster now".to_owned()));
        }
        let index = answer.index().ok_or_else(|| answer.failed("its answer has no X-Etcd-Index"))?;
        if index.saturating_add(1) < self.next {
            let reason =
                format!("its index was {} and is {index}: it has older data than before", self.next - 1);
            return Err(self.forgotten(reason));
        }
        Ok(index)
    }

    /// Notes that a poll ended without a change, and was not given up by us.
    async fn note_idle(&mut self, begun: Instant, index: u64) -> Result<(), EtcdError> {
        let cut = EtcdError::Failed {
            endpoint: self.client.endpoint.clone(),
            cause: "long polls end at once there, without an answer".to_owned(),
        };
        self.note_cut(begun, Some(index), cut).await
    }

    /// Notes that a poll was cut. It began at `index`, and nothing came; without it a part of a change came, which is asked for
    /// again.
    async fn note_cut(
        &mut self,
        begun: Instant,
        index: Option<u64>,
        error: EtcdError,
    ) -> Result<(), EtcdError> {
        if let Some(index) = index.filter(|_| begun.elapsed() >= HISTORY_TIME) {
            // A change that was lost on the way is asked for again, as long as the store remembers it for sure.
            if index.saturating_sub(self.next) > MAX_BEHIND {
                self.next = self.next.max(index.saturating_add(1));
            }
            self.cuts = 0;
            return Ok(());
        }
        self.cuts += 1;
        if self.cuts >= MAX_CUTS {
            return Err(error);
        }
        sleep(CUT_PAUSE).await;
        Ok(())
    }

    /// What a change means for the mirror.
    fn changes(&mut self, event: ApiEvent) -> Vec<Change> {
        let (concern, removes_directory) = (self.root.concern(&event), event.removes_directory());
        let ApiEvent { action, node, .. } = event;
        let below_gone = |key: &str| Change { key: key.into(), news: News::BelowGone };
        let gone = |key: &str| read(self.keyspace, key, None, None, node.modified_index);
        match concern {
            Concern::Nobody => Vec::new(),
            Concern::Above if action.is_removal() => {
                self.directories.forget(&node.key);
                // The root may be a single key.
                vec![below_gone(self.root.key()), gone(self.root.key())]
            }
            Concern::Above if node.dir || node.key != self.root.key() => {
                self.directories.note(&node.key, node.expiry());
                Vec::new()
            }
            _ if removes_directory => {
                self.directories.forget(&node.key);
                vec![below_gone(&node.key), gone(&node.key)]
            }
            _ if action.is_removal() => vec![gone(&node.key)],
            // A directory in the place of a key.
            _ if node.dir => {
                self.directories.note(&node.key, node.expiry());
                vec![gone(&node.key)]
            }
            _ => {
                let expiry = self.directories.expiry_of(&node.key, node.expiry());
                self.has_ends.fetch_or(expiry.is_some(), Ordering::Relaxed);
                vec![read(self.keyspace, &node.key, Some(node.value), expiry, node.modified_index)]
            }
        }
    }

    fn forgotten(&self, reason: String) -> EtcdError {
        EtcdError::Forgotten { endpoint: self.client.endpoint.clone(), reason }
    }
}

/// What came of a poll.
enum Polled {
    /// The whole body.
    Body(Vec<u8>),
    /// Nothing within the time for it.
    Idle,
    /// The connection ended, and nothing came.
    Cut(EtcdError),
    /// The connection ended, or stalled, in the middle of an answer.
    CutShort(EtcdError),
}

async fn read_poll(answer: &mut Answer, begun: Instant) -> Polled {
    let idle = Duration::from_secs(rand::rng().random_range(IDLE_SECONDS));
    let first = match answer.piece(idle).await {
        Ok(Some(first)) => first,
        Ok(None) => return Polled::Body(Vec::new()),
        Err(EtcdError::Timeout { .. }) if begun.elapsed() >= idle => return Polled::Idle,
        Err(error) => return Polled::Cut(error),
    };
    match timeout(BODY_TIMEOUT, answer.short_body()).await {
        Ok(Ok(rest)) => Polled::Body([first.as_ref(), &rest].concat()),
        Ok(Err(error)) => Polled::CutShort(error),
        Err(_) => Polled::CutShort(answer.failed("it does not come to the end of a change")),
    }
}
