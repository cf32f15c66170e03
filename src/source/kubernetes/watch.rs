//! One watch: its events on their way to the mirror.

use super::access::ApiServer;
use super::client::{Answer, PIECE_TIMEOUT, get};
use super::decode::Decoded;
use super::error::KubernetesError;
use super::follow::Follower;
use super::list::count_newer;
use super::stream::Lines;
use super::watch_event::WatchEvent;
use crate::source::event::Event;
use crate::tree::{Object, ObjectId};
use hyper::body::Bytes;
use rand::Rng;
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// A watch on which nothing comes for so long has stalled: bookmarks come each minute, or two minutes after its begin.
const SILENCE: Duration = Duration::from_secs(150);

/// How long a watch lasts at most, in seconds: at random between half of it and all, so that the agents of a site do not come
/// back all at once.
const WATCH_SECONDS: u64 = 600;

/// How long nothing more has to come of a watch that goes on from a version of before, until it is in step, unless it reaches
/// the version that the store had before: what changes of other kinds has versions as well.
const QUIET: Duration = Duration::from_millis(50);

/// How long nothing is read after a change was handed on: what comes meanwhile is handed on, and published, together.
const PAUSE: Duration = Duration::from_millis(2);

/// The same at most, as long as several changes come in each pause: doubled each time.
const MAX_PAUSE: Duration = Duration::from_millis(16);

/// Pieces that are taken before what they bring is handed on.
const PIECES_AT_ONCE: usize = 64;

/// Objects of a list that are handed on together.
pub(super) const OBJECTS_PER_PART: usize = 500;

/// What an event of a watch says.
enum Step {
    /// An object is so now, or gone; with a reason if it gives no name and somebody should know why.
    Object(ObjectId, Option<Object>, Option<String>),
    /// All objects of the list have come.
    ListEnd,
    /// An error of the server.
    Error(KubernetesError),
}

/// What has come of a watch, and is not handed on yet.
#[derive(Default)]
struct Batch {
    objects: Vec<(ObjectId, Option<Object>)>,
    /// The version behind the last event.
    version: Option<Box<str>>,
    has_news: bool,
    /// How many pieces were taken one after the other.
    pieces: usize,
    /// How long nothing is read after they were handed on.
    pause: Duration,
}

impl Follower {
    /// Lists all objects as the begin of a watch, and goes on with the watch until it ends.
    pub(super) async fn watch_list(&mut self, server: &ApiServer) -> Result<(), KubernetesError> {
        let version = self.version.as_deref().unwrap_or_default();
        let query =
            format!("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion={version}");
        self.listed = Some(0);
        self.read_watch(server, &query).await
    }

    /// Watches from the last version on, until the watch ends as it was asked to.
    pub(super) async fn watch(&mut self, server: &ApiServer) -> Result<(), KubernetesError> {
        let version = self.version.as_deref().unwrap_or("0");
        let query = format!("resourceVersion={version}");
        self.read_watch(server, &query).await
    }

    async fn read_watch(&mut self, server: &ApiServer, query: &str) -> Result<(), KubernetesError> {
        let seconds = rand::rng().random_range(WATCH_SECONDS / 2..=WATCH_SECONDS);
        let path = self.settings.watched.path(self.kind);
        let path = format!("{path}watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&{query}");
        let mut answer = get(server, &path, self.kind, self.doing("watching")).await?;
        if self.listed.is_none() && self.has_caught_up() {
            self.note_in_step().await?;
        }
        let (mut lines, mut batch) = (Lines::default(), Batch::default());
        loop {
            let is_quiet_enough = self.in_step.is_none() && self.listed.is_none();
            let limit = match self.listed {
                Some(_) => PIECE_TIMEOUT,
                None if is_quiet_enough => QUIET,
                None => SILENCE,
            };
            let piece = match self.next_piece(&mut answer, limit, &mut batch).await? {
                Ok(Some(piece)) => piece,
                Ok(None) if self.listed.is_some() => {
                    return Err(answer.failed("the watch ended before all objects had come"));
                }
                Ok(None) => return Ok(()),
                Err(KubernetesError::Timeout { .. }) if is_quiet_enough => {
                    self.note_in_step().await?;
                    continue;
                }
                Err(KubernetesError::Timeout { .. }) if self.listed.is_none() => {
                    return Err(KubernetesError::Silent);
                }
                Err(error) => return Err(error),
            };
            self.take_piece(&piece, (&mut lines, &mut batch), &answer, server).await?;
        }
    }

    /// The next piece within a time. Where there is none yet, what the last ones brought is handed on first.
    async fn next_piece(
        &mut self,
        answer: &mut Answer,
        limit: Duration,
        batch: &mut Batch,
    ) -> Result<Result<Option<Bytes>, KubernetesError>, KubernetesError> {
        let is_full = batch.pieces == PIECES_AT_ONCE;
        let at_hand = if is_full { None } else { answer.piece_at_hand() };
        if let Some(Ok(Some(piece))) = at_hand {
            batch.pieces += 1;
            return Ok(Ok(Some(piece)));
        }
        batch.pieces = 0;
        // A part of a list is worth the way to the mirror when it is large.
        if self.listed.is_none() && batch.has_news {
            batch.pause =
                if batch.objects.len() > 1 { (batch.pause * 2).clamp(PAUSE, MAX_PAUSE) } else { PAUSE };
            self.hand_on(batch).await?;
            if self.has_caught_up() {
                self.note_in_step().await?;
            }
            if at_hand.is_none() && !is_full {
                // The thread is of this source alone, and what comes meanwhile does not wake it.
                thread::sleep(batch.pause);
            }
        }
        if is_full {
            tokio::task::yield_now().await;
        }
        match at_hand {
            Some(end) => Ok(end),
            None => Ok(answer.piece(limit).await),
        }
    }

    /// Takes what a piece of a watch brings.
    async fn take_piece(
        &mut self,
        piece: &[u8],
        (lines, batch): (&mut Lines, &mut Batch),
        answer: &Answer,
        server: &ApiServer,
    ) -> Result<(), KubernetesError> {
        let mut steps = Vec::new();
        let taken = lines.take(piece, |line| {
            steps.push(self.step(line, answer)?);
            Ok::<_, KubernetesError>(())
        });
        let taken = taken.map_err(|error| answer.failed(&error.to_string()))?;
        for (step, version) in steps {
            if let (Some(Step::Object(..)), Some(version)) = (&step, &version) {
                count_newer(&mut self.audited, version);
            }
            batch.version = version.or(batch.version.take());
            batch.has_news = true;
            match step {
                None => {}
                Some(Step::Object(id, object, reason)) => {
                    self.accept(&id).await?;
                    if let Some(reason) = reason {
                        self.refuse(id.clone(), reason).await?;
                    }
                    batch.objects.push((id, object));
                    if batch.objects.len() == OBJECTS_PER_PART {
                        self.hand_on(batch).await?;
                    }
                }
                Some(Step::ListEnd) => {
                    self.hand_on(batch).await?;
                    let (listed, version) = (self.listed.take().unwrap_or(0), batch.version.take());
                    self.end_list(server, listed, version.as_deref().unwrap_or_default()).await?;
                    self.note_in_step().await?;
                }
                Some(Step::Error(error)) => {
                    self.hand_on(batch).await?;
                    return Err(error);
                }
            }
        }
        if taken.is_err() && self.listed.is_none() {
            self.hand_on(batch).await?;
        }
        taken
    }

    /// Hands a batch on, as a part of a list or as changes.
    async fn hand_on(&mut self, batch: &mut Batch) -> Result<(), KubernetesError> {
        let objects = std::mem::take(&mut batch.objects);
        if let Some(listed) = &mut self.listed {
            *listed += objects.iter().filter(|(_, object)| object.is_some()).count();
            if !objects.is_empty() {
                self.feed.push(Event::ObjectsListed(objects)).await?;
            }
        } else if std::mem::take(&mut batch.has_news) {
            if let Some(version) = &batch.version {
                self.version = Some(version.clone());
            }
            self.feed.push(Event::ObjectsChanged(self.kind, objects, self.version.clone())).await?;
        }
        Ok(())
    }

    /// What a line of a watch says, if it is more than a version, and the version behind it.
    fn step(
        &self,
        line: &[u8],
        answer: &Answer,
    ) -> Result<(Option<Step>, Option<Box<str>>), KubernetesError> {
        let bad = |error: serde_json::Error| answer.failed(&format!("{}: {error}", self.doing("watching")));
        // Each of its texts would be checked on its own otherwise.
        let line = std::str::from_utf8(line).map_err(|error| bad(serde::de::Error::custom(error)))?;
        let (happened, object) = match serde_json::from_str(line).map_err(bad)? {
            WatchEvent::Object(happened, object) => (happened, object),
            WatchEvent::Error(status) => {
                let error = match status.code {
                    410 => KubernetesError::Expired,
                    _ => answer.refused(&status, None),
                };
                return Ok((Some(Step::Error(error)), None));
            }
        };
        let ends_list = object.ends_list();
        let Decoded { id, version, object } = object.decode(self.kind, &self.settings.watched);
        let version = Some(version).filter(|version| !version.is_empty());
        let step = match (&*happened.0, id) {
            ("BOOKMARK", _) if self.listed.is_some() && ends_list => Some(Step::ListEnd),
            ("BOOKMARK", _) | (_, None) => None,
            ("DELETED", Some(id)) => Some(Step::Object(id, None, None)),
            (_, Some(id)) => Some(match object {
                Ok(object) => Step::Object(id, Some(object), None),
                Err(reason) => Step::Object(id, None, reason),
            }),
        };
        Ok((step, version))
    }

    /// Notes that all objects are known, and each change will be.
    async fn note_in_step(&mut self) -> Result<(), KubernetesError> {
        if self.in_step.is_none() {
            self.in_step = Some(Instant::now());
            self.progress.in_step(self.kind).await?;
        }
        Ok(())
    }
}
