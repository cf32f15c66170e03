//! The HTTP server of the metrics page, which Prometheus fetches.
//!
//! Owns its listener and connections; the text of the page is made elsewhere, for each request.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Maximum number of connections at once: there is one scraper, or a few.
const MAX_CONNECTIONS: usize = 16;

/// Maximum duration of a connection, with all its requests.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two attempts to listen.
const LISTEN_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Pause after a connection could not be accepted: the cause, such as too many open files, lasts for a while.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Listens on a TCP port of all addresses, as SkyDNS does; tries again until the port is free.
///
/// The first failure is logged.
pub async fn listen(port: u16) -> TcpListener {
    let mut logged = false;
    loop {
        match bind(port).await {
            Ok(listener) => return listener,
            Err(error) if !logged => {
                log::error!("PROMETHEUS_PORT: cannot listen on port {port}, which is tried again: {error}");
                logged = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(LISTEN_RETRY_PAUSE).await;
    }
}

/// Binds a port for IPv6 and IPv4.
async fn bind(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        // The host may have no IPv6.
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

/// Serves the page at a path, for ever; `page` makes its text for each request.
pub async fn serve(listener: TcpListener, path: String, page: impl Fn() -> String + Send + Sync + 'static) {
    let (path, page) = (Arc::new(path), Arc::new(page));
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::debug!("metrics: accepting: {error}");
                tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
                continue;
            }
        };
        let (path, page) = (Arc::clone(&path), Arc::clone(&page));
        connections.spawn(async move {
            let _permit = permit;
            let _ = timeout(CONNECTION_TIMEOUT, connection(stream, &path, &*page)).await;
        });
    }
}

/// Serves one connection until the client closes it.
async fn connection(stream: TcpStream, path: &str, page: &(impl Fn() -> String + Sync)) {
    let service =
        service_fn(
            |request: Request<Incoming>| async move { Ok::<_, Infallible>(respond(&request, path, page)) },
        );
    let served =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        log::debug!("metrics: {error}");
    }
}

/// Responds to one request: with the page, or 404 or 405.
fn respond(request: &Request<Incoming>, path: &str, page: &impl Fn() -> String) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, asked) if asked == path => (StatusCode::OK, page()),
        (&Method::GET | &Method::HEAD, _) => (StatusCode::NOT_FOUND, format!("the metrics are at {path}\n")),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
