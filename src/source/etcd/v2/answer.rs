//! Answers of the v2 API: their heads, their errors, and short bodies.

use super::super::error::EtcdError;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use hyper::{Response, StatusCode};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;

/// Maximum size of a body that is kept as a whole, in octets: one event has a value and the one before it.
const MAX_SHORT_OCTETS: usize = 16 << 20;

/// Time for each piece of a body.
pub(super) const PIECE_TIMEOUT: Duration = Duration::from_secs(5);

/// Codes of errors of the v2 API.
pub(super) mod code {
    pub(in super::super) const KEY_NOT_FOUND: u32 = 100;
    pub(super) const UNAUTHORIZED: u32 = 110;
    pub(super) const RAFT: [u32; 2] = [300, 301];
    /// The watcher was cleared; the events that would come next are forgotten.
    pub(super) const FORGOTTEN: [u32; 2] = [400, 401];
}

/// The body of an error.
#[derive(Debug, Deserialize)]
pub(super) struct ApiError {
    #[serde(rename = "errorCode")]
    pub(super) code: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    cause: String,
    /// The store's index.
    #[serde(default)]
    pub(super) index: u64,
}

/// An answer whose body is still to come.
pub(super) struct Answer {
    endpoint: String,
    what: &'static str,
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
}

/// What an answer says.
pub(super) enum Said {
    /// The body follows.
    Success,
    /// An error of the API.
    Error(ApiError),
    /// The server has no such page.
    NoPage,
}

impl Answer {
    pub(super) fn new(endpoint: &str, what: &'static str, response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self { endpoint: endpoint.to_owned(), what, status: head.status, headers: head.headers, body }
    }

    /// The index of the store; for a poll, that when the server began to wait.
    pub(super) fn index(&self) -> Option<u64> {
        self.header("x-etcd-index")?.parse().ok()
    }

    /// The id of the cluster.
    pub(super) fn cluster(&self) -> Option<u64> {
        u64::from_str_radix(self.header("x-etcd-cluster-id")?, 16).ok()
    }

    /// The number of what the members have agreed on up to now, writes and reads of a majority; an error has none.
    pub(super) fn raft_index(&self) -> Option<u64> {
        self.header("x-raft-index")?.parse().ok()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn is_json(&self) -> bool {
        self.header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/json"))
    }

    /// Reads the body unless it is that of a success.
    pub(super) async fn said(&mut self) -> Result<Said, EtcdError> {
        if self.status == StatusCode::OK {
            return Ok(Said::Success);
        }
        if self.status.is_redirection() {
            let to = self.header(LOCATION.as_str()).unwrap_or("nowhere").to_owned();
            return Err(self.failed(&format!("it wants {to} to be asked: name that one in -machines")));
        }
        let body = self.short_body().await?;
        if self.is_json()
            && let Ok(error) = serde_json::from_slice::<ApiError>(&body)
        {
            return Ok(Said::Error(error));
        }
        if self.status == StatusCode::NOT_FOUND && body.trim_ascii() == b"404 page not found" {
            return Ok(Said::NoPage);
        }
        Err(self.failed(&format!("HTTP {}, which is no answer of etcd", self.status)))
    }

    /// The whole body, if it is short.
    pub(super) async fn short_body(&mut self) -> Result<Vec<u8>, EtcdError> {
        let mut octets = Vec::new();
        while let Some(piece) = self.piece(PIECE_TIMEOUT).await? {
            if octets.len() + piece.len() > MAX_SHORT_OCTETS {
                return Err(self.failed("its answer is too large"));
            }
            octets.extend_from_slice(&piece);
        }
        Ok(octets)
    }

    /// The next piece of the body within a time; `None` at its end.
    pub(super) async fn piece(&mut self, limit: Duration) -> Result<Option<Bytes>, EtcdError> {
        loop {
            match timeout(limit, self.body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    _ => {}
                },
                Ok(Some(Err(error))) => {
                    let cause = super::super::cause::of_http(&self.endpoint, self.what, &error);
                    return Err(EtcdError::Failed { endpoint: self.endpoint.clone(), cause });
                }
                Err(_) => return Err(self.timed_out(limit)),
            }
        }
    }

    /// An error of the API, in words for operators.
    pub(super) fn api_error(&self, error: &ApiError) -> EtcdError {
        let ApiError { code, message, cause, .. } = error;
        let said = if cause.is_empty() { message.clone() } else { format!("{message} ({cause})") };
        let said = crate::shown::quoted(&said);
        match *code {
            code if code::FORGOTTEN.contains(&code) => EtcdError::Forgotten {
                endpoint: self.endpoint.clone(),
                reason: format!("etcd has forgotten changes since the last one seen: {said}"),
            },
            code::UNAUTHORIZED => self.failed(&format!(
                "etcd refuses {}: {said} (the v2 API has users of its own: -username (ETCD_USERNAME), -password \
                 (ETCD_PASSWORD); their role has to allow reading the path prefix and \"/*\" behind it)",
                self.what
            )),
            code if code::RAFT.contains(&code) => self.failed(&format!(
                "etcd refuses {}: {said} (fewer than half of its members work together)",
                self.what
            )),
            _ => self.failed(&format!("etcd refuses {}: {said}", self.what)),
        }
    }

    pub(super) fn failed(&self, cause: &str) -> EtcdError {
        EtcdError::Failed { endpoint: self.endpoint.clone(), cause: cause.to_owned() }
    }

    fn timed_out(&self, limit: Duration) -> EtcdError {
        EtcdError::Timeout { endpoint: self.endpoint.clone(), what: self.what, limit }
    }
}
