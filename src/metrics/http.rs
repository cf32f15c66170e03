//! The page that Prometheus fetches.

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

/// Connections at once: one scraper or a few.
const MOST_CONNECTIONS: usize = 16;

/// Time for one whole connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between two attempts to listen.
const REST: Duration = Duration::from_secs(5);

/// Listens on a port of all addresses, as SkyDNS does; tries until it can.
pub async fn listen(port: u16) -> TcpListener {
    let mut told = false;
    loop {
        match bind(port).await {
            Ok(listener) => return listener,
            Err(error) if !told => {
                log::error!("PROMETHEUS_PORT: cannot listen on port {port}, which is tried again: {error}");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(REST).await;
    }
}

async fn bind(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        // A host without IPv6.
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

/// Serves the page under a path, for ever.
pub async fn serve(listener: TcpListener, path: String, page: impl Fn() -> String + Send + Sync + 'static) {
    let (path, page) = (Arc::new(path), Arc::new(page));
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::debug!("metrics: accepting: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
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
