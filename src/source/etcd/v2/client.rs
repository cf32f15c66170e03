//! HTTP/1.1 with one endpoint: requests one after the other, each with a deadline for the head of its answer.
//!
//! A connection is used again if the answer before was read to its end. One whose answer was given up is closed: an old server
//! would give what it had left of that answer to the next request.

use super::super::connect::EtcdSettings;
use super::super::error::EtcdError;
use super::answer::Answer;
use crate::source::http::{BackgroundConnection, Connection};
use data_encoding::BASE64;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Request, Uri};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Time to reach an endpoint.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether a request names the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    AsUser,
    Anonymous,
}

/// A client of one endpoint.
pub(super) struct Client {
    pub(super) endpoint: String,
    host: String,
    port: u16,
    authority: HeaderValue,
    tls: Option<TlsConnector>,
    login: Option<HeaderValue>,
    idle: Option<BackgroundConnection>,
}

impl Client {
    /// A client that connects when it is asked for something.
    pub(super) fn new(settings: &EtcdSettings, endpoint: &str) -> Result<Self, EtcdError> {
        let failed =
            |cause: &str| EtcdError::Failed { endpoint: endpoint.to_owned(), cause: cause.to_owned() };
        let uri: Uri = endpoint.parse().map_err(|_| failed("not a URL"))?;
        let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else {
            return Err(failed("a URL without a host"));
        };
        let is_tls = uri.scheme_str() == Some("https");
        let tls = is_tls.then(|| settings.tls.client_config()).transpose()?;
        let login = settings.user.as_ref().map(|(name, password)| {
            let encoded = BASE64.encode(format!("{name}:{password}").as_bytes());
            HeaderValue::try_from(format!("Basic {encoded}"))
        });
        Ok(Self {
            endpoint: endpoint.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            authority: HeaderValue::try_from(authority.as_str()).map_err(|_| failed("not a URL"))?,
            tls: tls.map(|config| TlsConnector::from(Arc::new(config))),
            login: login.transpose().map_err(|_| failed("not a user name"))?,
            idle: None,
        })
    }

    /// Another client of the same endpoint, with a connection of its own.
    pub(super) fn another(&self) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            host: self.host.clone(),
            port: self.port,
            authority: self.authority.clone(),
            tls: self.tls.clone(),
            login: self.login.clone(),
            idle: None,
        }
    }

    /// Sends a request, and returns its answer with the body still to come; `what` is done, as a gerund. The head of the answer
    /// has to come within `limit`.
    ///
    /// [`Client::give_back`] has to follow for the connection to be used again.
    pub(super) async fn get(
        &mut self,
        path: &str,
        login: Login,
        limit: Duration,
        what: &'static str,
    ) -> Result<Exchange, EtcdError> {
        let endpoint = self.endpoint.clone();
        let late = |limit| EtcdError::Timeout { endpoint: endpoint.clone(), what, limit };
        // The server may close a connection that is not in use at any time.
        let kept = self.idle.take().filter(|kept| !kept.sender.is_closed());
        if let Some(mut kept) = kept
            && timeout(limit, kept.sender.ready()).await.is_ok_and(|ready| ready.is_ok())
        {
            let sent = kept.sender.send_request(self.request(path, login)?);
            match timeout(limit, sent).await {
                Ok(Ok(response)) => return Ok(Exchange::new(&endpoint, what, response, kept)),
                Ok(Err(_)) => {}
                Err(_) => return Err(late(limit)),
            }
        }
        let open = Connection::open((&self.host, self.port), self.tls.as_ref().map(|tls| (tls, &*self.host)));
        let opened = timeout(CONNECT_TIMEOUT, open).await.map_err(|_| EtcdError::Timeout {
            endpoint: endpoint.clone(),
            what: "connecting",
            limit: CONNECT_TIMEOUT,
        })?;
        let mut connection = opened.map_err(|error| self.cannot_connect(&error))?.in_background();
        let sent = connection.sender.send_request(self.request(path, login)?);
        let response = timeout(limit, sent).await.map_err(|_| late(limit))?;
        let response = response.map_err(|error| self.failed(what, &error))?;
        Ok(Exchange::new(&endpoint, what, response, connection))
    }

    /// Takes the connection of an answer that was read to its end.
    pub(super) fn give_back(&mut self, exchange: Exchange) {
        self.idle = Some(exchange.connection);
    }

    fn request(&self, path: &str, login: Login) -> Result<Request<Empty<Bytes>>, EtcdError> {
        let mut request = Request::get(path).header(HOST, &self.authority);
        if let (Some(value), Login::AsUser) = (&self.login, login) {
            request = request.header(AUTHORIZATION, value);
        }
        let bad = |error: hyper::http::Error| EtcdError::Failed {
            endpoint: self.endpoint.clone(),
            cause: error.to_string(),
        };
        request.body(Empty::new()).map_err(bad)
    }

    fn cannot_connect(&self, error: &io::Error) -> EtcdError {
        let cause = super::super::cause::of_connecting(&self.endpoint, error);
        EtcdError::Failed { endpoint: self.endpoint.clone(), cause }
    }

    fn failed(&self, what: &'static str, error: &hyper::Error) -> EtcdError {
        let cause = super::super::cause::of_http(&self.endpoint, what, error);
        EtcdError::Failed { endpoint: self.endpoint.clone(), cause }
    }
}

/// A request whose answer is coming in.
pub(super) struct Exchange {
    pub(super) answer: Answer,
    connection: BackgroundConnection,
}

impl Exchange {
    fn new(
        endpoint: &str,
        what: &'static str,
        response: hyper::Response<hyper::body::Incoming>,
        connection: BackgroundConnection,
    ) -> Self {
        Self { answer: Answer::new(endpoint, what, response), connection }
    }
}
