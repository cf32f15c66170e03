//! Connections for HTTP/1.1, with or without TLS, as sources use them.

use futures_util::FutureExt;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::error::Error;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Octets that are read at once: a record of TLS has as many.
const READ_OCTETS: usize = 16 << 10;

/// A connection to a server. It is closed when this is dropped.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Empty<Bytes>>,
    /// The one task that moves its octets.
    _driver: JoinSet<()>,
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

    async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> io::Result<Self> {
        let mut builder = http1::Builder::new();
        // After a large list each read would take half a megabyte for an event of a kilobyte.
        let builder = builder.read_buf_exact_size(Some(READ_OCTETS));
        let connected = builder.handshake(TokioIo::new(stream)).await;
        let (sender, driver) = connected.map_err(io::Error::other)?;
        // An error of the connection is one of the request as well.
        let mut task = JoinSet::new();
        task.spawn(driver.map(drop));
        Ok(Self { sender, _driver: task })
    }
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
