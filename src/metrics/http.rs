//! The HTTP server of the metrics page, which Prometheus fetches.
//!
//! Owns its listener and connections; the text of the page is made elsewhere, for each request. Whoever opens connections and
//! says nothing does not keep others from the page: a new connection takes the place of such a one.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::unistd::{AccessFlags, eaccess};
use std::convert::Infallible;
use std::fmt;
use std::fs::Permissions;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Maximum number of connections at once: there is one scraper, or a few.
const MAX_CONNECTIONS: usize = 16;

/// Maximum duration of a connection, with all its requests.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time for the head of a request: a scraper sends it at once, in one packet.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause between two attempts to listen.
const LISTEN_RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Pause after a connection could not be accepted: the cause, such as too many open files, lasts for a while.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Where the page is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PagePlace {
    /// At a TCP port of all addresses of the host, as SkyDNS has it.
    AllAddresses(u16),
    /// At one address.
    Address(SocketAddr),
    /// At a Unix socket, which every user of the host may connect to.
    Socket(PathBuf),
}

impl fmt::Display for PagePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllAddresses(port) => write!(f, "port {port} of all addresses"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The listener of the page.
#[derive(Debug)]
pub enum PageListener {
    /// Of TCP.
    Tcp(TcpListener),
    /// Of a Unix socket.
    Unix(UnixListener),
}

/// A connection of either kind.
trait PageStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> PageStream for T {}

impl PageListener {
    async fn accept(&self) -> io::Result<Box<dyn PageStream>> {
        Ok(match self {
            Self::Tcp(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// Directories that the unit makes for the agent, when it starts.
const UNIT_DIRECTORIES: [&str; 2] = ["/run/skydns", "/var/lib/skydns"];

/// Maximum octets of the path of a Unix socket (unix(7): 108 with the octet that ends it).
const MAX_SOCKET_PATH: usize = 107;

/// Why there can be no page at a place, as far as files say; the address may come later.
pub fn place_problem(place: &PagePlace) -> Option<String> {
    let PagePlace::Socket(path) = place else { return None };
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        return Some(format!("the path of a Unix socket has at most {MAX_SOCKET_PATH} octets"));
    }
    if let Ok(about) = std::fs::symlink_metadata(path)
        && !about.file_type().is_socket()
    {
        return Some(NO_SOCKET.to_owned());
    }
    let directory = path.parent()?;
    if UNIT_DIRECTORIES.iter().any(|own| directory == Path::new(own)) {
        return None;
    }
    let error = eaccess(directory, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
    Some(format!("no socket can be made in {}: {}", directory.display(), error.desc()))
}

/// What is said of another file in the place of the socket.
const NO_SOCKET: &str = "there is a file of this name already, and it is no socket";

/// Listens at a place; tries again until it is free.
///
/// The first failure is logged; `note` is told each.
pub async fn listen(place: &PagePlace, note: impl Fn(&io::Error)) -> PageListener {
    let mut logged = false;
    loop {
        match bind(place).await {
            Ok(listener) => return listener,
            Err(error) => {
                note(&error);
                if !logged {
                    log::error!("metrics: cannot listen on {place}, trying again: {error}");
                }
                logged = true;
            }
        }
        tokio::time::sleep(LISTEN_RETRY_PAUSE).await;
    }
}

async fn bind(place: &PagePlace) -> io::Result<PageListener> {
    match place {
        PagePlace::AllAddresses(port) => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).await {
            Ok(listener) => Ok(PageListener::Tcp(listener)),
            // The host may have no IPv6.
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).await.map(PageListener::Tcp),
        },
        PagePlace::Address(address) => TcpListener::bind(address).await.map(PageListener::Tcp),
        PagePlace::Socket(path) => bind_socket(path).map(PageListener::Unix),
    }
}

/// Binds a Unix socket, in the place of one that an earlier process left.
fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(about) if about.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, NO_SOCKET)),
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Serves the page at a path, for ever; `page` makes its text for each request.
pub async fn serve(listener: PageListener, path: String, page: impl Fn() -> String + Send + Sync + 'static) {
    let (path, page) = (Arc::new(path), Arc::new(page));
    let mut connections = JoinSet::new();
    let mut open: Vec<OpenConnection> = Vec::new();
    loop {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                log::debug!("metrics: accepting: {error}");
                tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
                continue;
            }
        };
        make_room(&mut open);
        let (path, page, has_asked) =
            (Arc::clone(&path), Arc::clone(&page), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&has_asked);
        let task = connections.spawn(async move {
            let _ = timeout(CONNECTION_TIMEOUT, connection(stream, &path, &*page, &asked)).await;
        });
        open.push(OpenConnection { task, has_asked });
    }
}

/// A connection that is served.
struct OpenConnection {
    task: AbortHandle,
    /// Whether a request came in.
    has_asked: Arc<AtomicBool>,
}

/// Makes room for one more connection, of those in the order in which they were opened: the oldest one that said nothing goes,
/// else the oldest one, which does not read its page.
fn make_room(open: &mut Vec<OpenConnection>) {
    open.retain(|connection| !connection.task.is_finished());
    if open.len() >= MAX_CONNECTIONS {
        let silent = open.iter().position(|connection| !connection.has_asked.load(Relaxed));
        open.remove(silent.unwrap_or(0)).task.abort();
    }
}

/// Serves one connection until the client closes it.
async fn connection(
    stream: Box<dyn PageStream>,
    path: &str,
    page: &(impl Fn() -> String + Sync),
    has_asked: &AtomicBool,
) {
    let service = service_fn(|request: Request<Incoming>| async move {
        has_asked.store(true, Relaxed);
        Ok::<_, Infallible>(respond(&request, path, page))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn served() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        tokio::task::spawn_local(serve(PageListener::Tcp(listener), "/metrics".to_owned(), || {
            "the page\n".to_owned()
        }));
        address
    }

    /// All that comes back on a connection until it is closed.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut all = String::new();
        let _ = stream.read_to_string(&mut all).await;
        all
    }

    const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: skydns\r\nConnection: close\r\n\r\n";

    #[tokio::test]
    async fn the_oldest_silent_connection_goes_first() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let address = served().await;
                let connect = || async { TcpStream::connect(address).await.expect("a connection") };
                let mut kept = connect().await;
                kept.write_all(&REQUEST[..REQUEST.len() - 2]).await.expect("sent");
                let mut silent = Vec::new();
                for _ in 0..MAX_CONNECTIONS {
                    silent.push(connect().await);
                }
                for _ in 0..3 {
                    let mut scraper = connect().await;
                    scraper.write_all(REQUEST).await.expect("sent");
                    let page = rest(&mut scraper).await;
                    assert!(page.starts_with("HTTP/1.1 200 OK") && page.ends_with("the page\n"), "{page}");
                }
                assert_eq!(rest(&mut kept).await, "", "the first that did not ask in full");
                assert_eq!(rest(&mut silent[0]).await, "", "then the next");
            })
            .await;
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_to_an_end_has_little_time() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let mut slow = TcpStream::connect(served().await).await.expect("a connection");
                slow.write_all(&REQUEST[..20]).await.expect("sent");
                let begun = std::time::Instant::now();
                rest(&mut slow).await;
                assert!(begun.elapsed() < CONNECTION_TIMEOUT, "{:?}", begun.elapsed());
            })
            .await;
    }
}
