//! Requests to the API server: each over a connection of its own, with a deadline for its head and for each piece of its body.

use super::access::ApiServer;
use super::error::KubernetesError;
use crate::source::http::{Connection, with_causes};
use crate::tree::ObjectKind;
use futures_util::FutureExt;
use http_body_util::Empty;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use std::borrow::Cow;
use std::error::Error as _;
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// Time to reach the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Time for the head of an answer.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for each piece of an answer that is no watch.
pub(super) const PIECE_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a body that is kept as a whole, in octets.
const MAX_SHORT_OCTETS: usize = 4 << 20;

/// Who this program says that it is.
const AGENT: &str = concat!("skydns/", env!("CARGO_PKG_VERSION"));

/// The body of an error, also of one within a stream.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Status<'a> {
    #[serde(default)]
    pub(super) code: u16,
    #[serde(default, borrow)]
    pub(super) message: Cow<'a, str>,
    #[serde(default)]
    details: Option<Details>,
}

#[derive(Debug, Deserialize)]
struct Details {
    #[serde(default, rename = "retryAfterSeconds")]
    retry_after_seconds: Option<u64>,
}

/// An answer whose body is still to come.
pub(super) struct Answer {
    server: String,
    kind: ObjectKind,
    what: String,
    body: Incoming,
    /// The body comes over it.
    connection: Connection,
}

/// Asks the server for a path, for objects of a kind; `what` is done, as a gerund.
pub(super) async fn get(
    server: &ApiServer,
    path: &str,
    kind: ObjectKind,
    what: String,
) -> Result<Answer, KubernetesError> {
    let late = |limit| KubernetesError::Timeout { server: server.url.clone(), what: what.clone(), limit };
    let tls = server.tls.as_ref().map(|(tls, name)| (tls, name.as_str()));
    let open = Connection::open((&server.host, server.port), tls);
    let opened = timeout(CONNECT_TIMEOUT, open).await.map_err(|_| late(CONNECT_TIMEOUT))?;
    let mut connection = opened.map_err(|error| failed(server, &of_connecting(&error)))?;
    let mut request = Request::get(format!("{}{path}", server.base))
        .header(HOST, &server.authority)
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, AGENT);
    if let Some(value) = &server.authorization {
        request = request.header(AUTHORIZATION, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(server, &error.to_string()))?;
    let sent = timeout(HEAD_TIMEOUT, connection.send(request)).await;
    let response =
        sent.map_err(|_| late(HEAD_TIMEOUT))?.map_err(|error| failed(server, &of_http(&what, &error)))?;
    let (status, retry_after) = (response.status(), retry_after(&response));
    let mut answer =
        Answer { server: server.url.clone(), kind, what, body: response.into_body(), connection };
    if status == StatusCode::OK {
        return Ok(answer);
    }
    let body = answer.whole().await?;
    // What stands before the server says why in its own words.
    let in_words = || Status { message: String::from_utf8_lossy(body.trim_ascii()), ..Status::default() };
    let said = serde_json::from_slice::<Status<'_>>(&body).unwrap_or_else(|_| in_words());
    Err(match status {
        StatusCode::GONE => KubernetesError::Expired,
        _ => answer.refused(&Status { code: status.as_u16(), ..said }, retry_after),
    })
}

impl Answer {
    /// The next piece of the body within a time; `None` at its end.
    pub(super) async fn piece(&mut self, limit: Duration) -> Result<Option<Bytes>, KubernetesError> {
        loop {
            match timeout(limit, self.connection.frame(&mut self.body)).await {
                Ok(None) => return Ok(None),
                Ok(Some(frame)) => {
                    if let Some(data) = self.data_of(frame)? {
                        return Ok(Some(data));
                    }
                }
                Err(_) => {
                    let (server, what) = (self.server.clone(), self.what.clone());
                    return Err(KubernetesError::Timeout { server, what, limit });
                }
            }
        }
    }

    /// The next piece of the body, or its end, if it has come already.
    pub(super) fn piece_at_hand(&mut self) -> Option<Result<Option<Bytes>, KubernetesError>> {
        loop {
            match self.connection.frame(&mut self.body).now_or_never()? {
                None => return Some(Ok(None)),
                Some(frame) => {
                    if let Some(data) = self.data_of(frame).transpose() {
                        return Some(data.map(Some));
                    }
                }
            }
        }
    }

    /// The octets of a frame; none if it has none.
    fn data_of(&self, frame: hyper::Result<Frame<Bytes>>) -> Result<Option<Bytes>, KubernetesError> {
        let frame = frame.map_err(|error| self.failed(&of_http(&self.what, &error)))?;
        Ok(frame.into_data().ok().filter(|data| !data.is_empty()))
    }

    /// The whole body, which is short.
    pub(super) async fn whole(&mut self) -> Result<Vec<u8>, KubernetesError> {
        let mut octets = Vec::new();
        while let Some(piece) = self.piece(PIECE_TIMEOUT).await? {
            if octets.len() + piece.len() > MAX_SHORT_OCTETS {
                return Err(self.failed("its answer is too large"));
            }
            octets.extend_from_slice(&piece);
        }
        Ok(octets)
    }

    /// An error of the server, as a status or within a stream.
    pub(super) fn refused(&self, said: &Status<'_>, retry_after: Option<Duration>) -> KubernetesError {
        let of_details = said.details.as_ref().and_then(|details| details.retry_after_seconds);
        KubernetesError::Refused {
            server: self.server.clone(),
            kind: self.kind,
            code: said.code,
            message: said.message.clone().into_owned(),
            retry_after: retry_after.or(of_details.map(Duration::from_secs)),
        }
    }

    pub(super) fn failed(&self, cause: &str) -> KubernetesError {
        KubernetesError::Failed { server: self.server.clone(), cause: cause.to_owned() }
    }
}

fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn failed(server: &ApiServer, cause: &str) -> KubernetesError {
    KubernetesError::Failed { server: server.url.clone(), cause: cause.to_owned() }
}

/// Why there is no connection.
fn of_connecting(error: &io::Error) -> String {
    let text = with_causes(error.to_string(), error.get_ref().and_then(|inner| inner.source()));
    let hint = match &*text {
        // An authority that was renewed may bear the name of the one before.
        text if text.contains("UnknownIssuer") || text.contains("BadSignature") => {
            ": -kubeconfig has to name the authority that signed the server's certificate (certificate-authority)"
        }
        text if text.contains("not valid for name") => {
            ": the server's certificate has other names (tls-server-name of the kubeconfig)"
        }
        text if text.contains("InvalidContentType") || text.contains("tls handshake eof") => {
            ": the server there does not speak TLS"
        }
        _ => "",
    };
    format!("cannot connect: {text}{hint}")
}

/// What happened to a request; `what` is a gerund.
fn of_http(what: &str, error: &hyper::Error) -> String {
    if error.is_parse() {
        return "the server there does not speak HTTP/1.1 (https:// instead of http://?)".to_owned();
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() || ended_early(error) {
        return format!("the connection was lost while {what}");
    }
    format!("{what}: {}", with_causes(error.to_string(), error.source()))
}

/// Whether the server has ended the connection before its answer: with TLS that is an error of its own.
fn ended_early(error: &hyper::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| {
            matches!(io.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
        }) {
            return true;
        }
        cause = error.source();
    }
    false
}
