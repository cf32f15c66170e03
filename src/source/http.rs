//! Connections for HTTP/1.1, with or without TLS, as sources use them.

use futures_util::FutureExt;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Octets that are read at once: a record of TLS has as many.
const READ_OCTETS: usize = 16 << 10;

/// A connection to a server. It is closed when this is dropped.
pub(super) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    /// What moves its octets, until the connection is closed.
    driver: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

impl Connection {
    /// Connects to a host, which is a name or an address without brackets; with TLS, the certificate there has to have a name.
    pub(super) async fn open(
        (host, port): (&str, u16),
        tls: Option<(&TlsConnector, &str)>,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let Some((tls, name)) = tls else { return Self::over(stream).await };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        Self::over(tls.connect(name, stream).await?).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static) -> io::Result<Self> {
        let mut builder = http1::Builder::new();
        // After a large list each read would take half a megabyte for an event of a kilobyte.
        let builder = builder.read_buf_exact_size(Some(READ_OCTETS));
        let connected = builder.handshake(TokioIo::new(stream)).await;
        let (sender, driver) = connected.map_err(io::Error::other)?;
        // An error of the connection is one of the request as well.
        Ok(Self { sender, driver: Some(Box::pin(driver.map(drop))) })
    }

    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
        let sent = self.sender.send_request(request);
        drive(&mut self.driver, sent).await
    }

    /// The next frame of the body of an answer that comes over this connection; `None` at its end.
    pub(super) async fn frame(&mut self, body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
        drive(&mut self.driver, body.frame()).await
    }

    /// Leaves the connection to a task of its own, for who reads an answer apart from it.
    pub(super) fn in_background(self) -> BackgroundConnection {
        let mut task = JoinSet::new();
        if let Some(driver) = self.driver {
            task.spawn(driver);
        }
        BackgroundConnection { sender: self.sender, _driver: task }
    }
}

/// Moves the octets of a connection until something has come of them. In the task that waits, that wakes nobody else.
async fn drive<T>(
    driver: &mut Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    waited_for: impl Future<Output = T>,
) -> T {
    let mut waited_for = pin!(waited_for);
    poll_fn(|context| {
        if let Poll::Ready(come) = waited_for.as_mut().poll(context) {
            return Poll::Ready(come);
        }
        if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(context).is_ready()) {
            *driver = None;
        }
        waited_for.as_mut().poll(context)
    })
    .await
}

/// A connection whose octets a task moves. It is closed when this is dropped.
pub(super) struct BackgroundConnection {
    pub(super) sender: SendRequest<Empty<Bytes>>,
    /// The one task that does.
    _driver: JoinSet<()>,
}

/// A text with the causes that it does not have yet.
pub(super) fn with_causes(mut text: String, mut cause: Option<&(dyn Error + 'static)>) -> String {
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}
