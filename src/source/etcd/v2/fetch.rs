//! All keys of a root, read as they come in.

use super::super::connect::Reads;
use super::super::error::EtcdError;
use super::answer::{Answer, PIECE_TIMEOUT, Said, code};
use super::client::{Client, Login};
use super::list::{Sink, read_list};
use super::node::Directories;
use super::probe;
use super::root::Root;
use crate::source::pieces::PieceReader;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

const WHAT: &str = "reading all keys";

/// Time for the head of a listing: etcd writes the whole of it first.
const LIST_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for a whole listing: that of a million keys over a slow line.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Pieces of a listing that wait to be read.
const WAITING_PIECES: usize = 4;

/// What a listing says beside its keys.
#[derive(Debug)]
pub(in super::super) struct ListHead {
    /// The index of the store.
    pub(in super::super) index: u64,
    pub(in super::super) cluster: Option<u64>,
    /// The directories that end.
    pub(super) directories: Directories,
}

/// Reads all keys of a root into a sink; there are none if the root is missing. `has_v2` is set if the server shows that it has
/// the API.
pub(super) async fn fetch<S: Sink + Send + 'static>(
    client: &mut Client,
    root: &Root,
    reads: Reads,
    mut sink: S,
    has_v2: &mut bool,
) -> Result<(S, ListHead), EtcdError> {
    let query = if reads == Reads::Current { "?recursive=true&quorum=true" } else { "?recursive=true" };
    let mut exchange = client.get(&root.path(query), Login::AsUser, LIST_TIMEOUT, WHAT).await?;
    let answer = &mut exchange.answer;
    let said = answer.said().await?;
    *has_v2 |= !matches!(said, Said::NoPage);
    let cluster = answer.cluster();
    let mut directories = Directories::default();
    let index = match said {
        Said::NoPage => return Err(no_v2(client).await),
        Said::Error(error) if error.code == code::KEY_NOT_FOUND => answer.index().unwrap_or(error.index),
        Said::Error(error) => return Err(answer.api_error(&error)),
        Said::Success => {
            let index = answer.index().ok_or_else(|| answer.failed("its answer has no X-Etcd-Index"))?;
            (sink, directories) = read_body(answer, sink).await?;
            index
        }
    };
    client.give_back(exchange);
    Ok((sink, ListHead { index, cluster, directories }))
}

/// Reads the body of a listing, on a thread that may wait.
async fn read_body<S: Sink + Send + 'static>(
    answer: &mut Answer,
    mut sink: S,
) -> Result<(S, Directories), EtcdError> {
    let (pieces, waiting) = mpsc::channel(WAITING_PIECES);
    let reading = spawn_blocking(move || {
        let read = read_list(PieceReader::new(waiting), &mut sink);
        (read, sink)
    });
    let mut piece = Ok(None);
    let end = Instant::now() + WHOLE_TIMEOUT;
    // The reader ends before the body does if something is wrong with it.
    while !pieces.is_closed() {
        piece = answer.piece(PIECE_TIMEOUT).await;
        if Instant::now() > end {
            piece = Err(answer.failed(&format!("{WHAT}: it takes more than {} s", WHOLE_TIMEOUT.as_secs())));
        }
        let Ok(Some(octets)) = &mut piece else { break };
        if pieces.send(std::mem::take(octets)).await.is_err() {
            break;
        }
    }
    drop(pieces);
    let (read, sink) = reading
        .await
        .map_err(|_| answer.failed("a fault of this program in reading it; please report it"))?;
    piece?;
    match read {
        Ok(directories) => Ok((sink, directories)),
        Err(_) if sink.is_closed() => Err(EtcdError::Closed(crate::source::feed::Closed)),
        Err(error) => Err(answer.failed(&format!("{WHAT}: {error}"))),
    }
}

/// What it means that a server has no page of keys: that it has no v2 API, if it is etcd.
pub(super) async fn no_v2(client: &mut Client) -> EtcdError {
    let endpoint = client.endpoint.clone();
    match probe::is_etcd(client).await {
        Ok(true) => EtcdError::NoV2 { endpoint },
        Ok(false) => EtcdError::Failed { endpoint, cause: "the server there is not etcd".to_owned() },
        Err(error) => error,
    }
}
