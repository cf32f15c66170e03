//! Lists: all objects of one kind, as the begin of a watch or page by page, and what of them no watch had told.

use super::access::ApiServer;
use super::client::{Answer, PIECE_TIMEOUT, get};
use super::decode::{Decoded, decode};
use super::error::KubernetesError;
use super::follow::{Follower, number};
use super::stream::{ListHead, read_list};
use super::watch::OBJECTS_PER_PART;
use crate::source::event::Event;
use crate::source::feed::Closed;
use crate::source::pieces::PieceReader;
use crate::tree::ObjectKind;
use rand::Rng;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// A list takes the place of what is known after so long at most, though nothing is wrong: what was missed is found then.
const AUDIT: Duration = Duration::from_secs(3_600);

/// How long a server that cannot send a list as a watch is not asked for it again.
const NO_STREAM: Duration = Duration::from_secs(3_600);

/// Fewer objects than this may go at once without a question.
const FEW: usize = 10;

/// Pieces of a list that wait to be read.
const WAITING_PIECES: usize = 4;

impl Follower {
    /// Lists all objects, as a watch if the server can do that.
    pub(super) async fn list(&mut self, server: &ApiServer) -> Result<(), KubernetesError> {
        self.feed.push(Event::ObjectsBegin(self.kind)).await?;
        if Instant::now() >= self.streams_from {
            match self.watch_list(server).await {
                Err(error) if self.listed.is_some() && error.is_not_supported() => {
                    self.streams_from = Instant::now() + NO_STREAM;
                    self.feed.push(Event::ObjectsBegin(self.kind)).await?;
                }
                other => return other,
            }
        }
        self.listed = None;
        self.plain_list(server).await?;
        Ok(())
    }

    /// Takes a list whose objects were all handed on.
    pub(super) async fn end_list(
        &mut self,
        server: &ApiServer,
        listed: usize,
        version: &str,
    ) -> Result<(), KubernetesError> {
        let known = self.known();
        if !self.believes && known >= FEW && listed < known.div_ceil(2) {
            return Err(KubernetesError::Shrunk {
                server: server.url.clone(),
                kind: self.kind,
                listed,
                known,
            });
        }
        self.believes = false;
        self.has_told_without = false;
        if std::mem::take(&mut self.does_without) && self.kind == ObjectKind::Namespace {
            log::info!("kubernetes: namespaces are read again");
            self.feed.push(Event::NamespacesUnread(false)).await?;
        }
        self.audit = next_audit();
        self.version = (!version.is_empty()).then(|| version.into());
        self.present = number(version);
        let newer = self.audited.take().map(|(_, newer)| newer);
        self.feed.push(Event::ObjectsEnd { kind: self.kind, version: self.version.clone(), newer }).await?;
        Ok(())
    }

    /// Lists all objects at once; returns how many they are.
    pub(super) async fn plain_list(&mut self, server: &ApiServer) -> Result<usize, KubernetesError> {
        // One out of the server's memory is cheap, and may be old; never older than what is known here.
        let version = match &self.version {
            Some(version) => format!("resourceVersion={version}&resourceVersionMatch=NotOlderThan"),
            None if self.believes => "resourceVersion=".to_owned(),
            None => "resourceVersion=0".to_owned(),
        };
        let path = self.settings.watched.path(self.kind);
        let (mut listed, mut next) = (0, String::new());
        loop {
            let query = if next.is_empty() { version.clone() } else { format!("continue={next}") };
            let mut answer = get(server, &format!("{path}{query}"), self.kind, self.doing("listing")).await?;
            let (head, count) = self.read_list(&mut answer).await?;
            listed += count;
            if head.next.is_empty() {
                self.end_list(server, listed, &head.resource_version).await?;
                return Ok(listed);
            }
            next = head.next;
        }
    }

    /// Reads a list, on a thread that may wait, and hands its objects on; returns how many they are.
    async fn read_list(&mut self, answer: &mut Answer) -> Result<(ListHead, usize), KubernetesError> {
        let (pieces, waiting) = mpsc::channel(WAITING_PIECES);
        let (feed, kind, settings) = (self.feed.clone(), self.kind, Arc::clone(&self.settings));
        let mut audited = self.audited;
        let reading = spawn_blocking(move || {
            let (mut part, mut refused, mut count) = (Vec::new(), Vec::new(), 0);
            let closed = |_: Closed| "the tree is closed".to_owned();
            let head = read_list(PieceReader::new(waiting), &mut |item| {
                let decoded = decode(kind, item, &settings.watched).map_err(|error| error.to_string())?;
                let Decoded { id: Some(id), version, object } = decoded else { return Ok(()) };
                count += 1;
                count_newer(&mut audited, &version);
                match object {
                    Ok(object) => part.push((id, Some(object))),
                    Err(reason) => refused.extend(reason.map(|reason| (id, reason))),
                }
                if part.len() < OBJECTS_PER_PART {
                    return Ok(());
                }
                feed.push_blocking(Event::ObjectsListed(std::mem::take(&mut part))).map_err(closed)
            });
            let sent = feed.push_blocking(Event::ObjectsListed(part));
            ((head, refused, audited), count, sent)
        });
        let mut piece = Ok(None);
        while !pieces.is_closed() {
            piece = answer.piece(PIECE_TIMEOUT).await;
            let Ok(Some(octets)) = &mut piece else { break };
            if pieces.send(std::mem::take(octets)).await.is_err() {
                break;
            }
        }
        drop(pieces);
        let ((head, refused, audited), count, sent) = reading
            .await
            .map_err(|_| answer.failed("a fault of this program in reading a list; please report it"))?;
        piece?;
        sent?;
        self.audited = audited;
        let head = head.map_err(|error| answer.failed(&format!("{}: {error}", self.doing("listing"))))?;
        for (id, reason) in refused {
            self.refuse(id, reason).await?;
        }
        Ok((head, count))
    }

    /// The number of objects that are known now.
    pub(super) fn known(&self) -> usize {
        self.mirror.published().tree.cluster().count(self.kind)
    }
}

/// Counts an object of a list if it is newer than what the watch told last.
pub(super) fn count_newer(audited: &mut Option<(u64, usize)>, version: &str) {
    if let Some((told, newer)) = audited
        && number(version).is_some_and(|version| version > *told)
    {
        *newer += 1;
    }
}

/// When a list is due: not for all agents of a site at the same time.
pub(super) fn next_audit() -> Instant {
    Instant::now() + rand::rng().random_range(AUDIT / 2..=AUDIT)
}
