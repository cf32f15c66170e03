//! Statistics that are sent to Graphite, InfluxDB and StatHat, under SkyDNS 2.0's names and variables.
//!
//! Every ten seconds the totals since the start of the program are sent. While a server cannot be reached nothing is
//! queued for it: the next totals include those that were not sent.

use super::counters::Metrics;
use super::labels::{AnsweredBy, ErrorCause};
use crate::clock::unix_time;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

/// Time from one sending to the next, as in SkyDNS.
const PUSH_PERIOD: Duration = Duration::from_secs(10);

/// Maximum time for one sending.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that statistics are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatisticsSink {
    /// `GRAPHITE_SERVER`, plain text protocol, names below `GRAPHITE_PREFIX`.
    Graphite {
        /// Host and port.
        server: String,
        /// What the names of statistics begin with, before a dot.
        prefix: String,
    },
    /// `INFLUX_SERVER`, the write request of InfluxDB 1.
    Influx {
        /// Host and port.
        server: String,
        /// `INFLUX_DATABASE`.
        database: String,
        /// `INFLUX_USER` and `INFLUX_PASSWORD`.
        user: Option<(String, String)>,
    },
    /// `STATHAT_USER`, the EZ interface.
    StatHat {
        /// Host and port.
        server: String,
        /// The EZ key.
        user: String,
    },
}

/// Host and port of StatHat; `STATHAT_SERVER` replaces them, by those of a relay for example.
const STATHAT_SERVER: &str = "api.stathat.com:80";

impl StatisticsSink {
    /// The sinks that SkyDNS's variables name.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Vec<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let graphite = variable("GRAPHITE_SERVER").map(|server| Self::Graphite {
            server,
            prefix: variable("GRAPHITE_PREFIX").unwrap_or_else(|| "skydns".to_owned()),
        });
        let influx = variable("INFLUX_SERVER").map(|server| Self::Influx {
            server,
            database: variable("INFLUX_DATABASE").unwrap_or_else(|| "skydns".to_owned()),
            user: variable("INFLUX_USER").map(|user| (user, variable("INFLUX_PASSWORD").unwrap_or_default())),
        });
        let stathat = variable("STATHAT_USER").map(|user| Self::StatHat {
            server: variable("STATHAT_SERVER").unwrap_or_else(|| STATHAT_SERVER.to_owned()),
            user,
        });
        graphite.into_iter().chain(influx).chain(stathat).collect()
    }

    /// The kind of server, for log messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Graphite { .. } => "graphite",
            Self::Influx { .. } => "influxdb",
            Self::StatHat { .. } => "stathat",
        }
    }

    /// Host and port.
    fn server(&self) -> &str {
        match self {
            Self::Graphite { server, .. } | Self::Influx { server, .. } | Self::StatHat { server, .. } => {
                server
            }
        }
    }

    /// Sends all totals once, in the form that the kind of server takes.
    async fn send(&self, totals: &[(&'static str, u64)]) -> io::Result<()> {
        match self {
            Self::Graphite { prefix, .. } => {
                let now = unix_time();
                let lines = totals.iter().fold(String::new(), |mut lines, (name, total)| {
                    // Writing to a String cannot fail.
                    let _ = writeln!(lines, "{prefix}.{name}.count {total} {now}");
                    lines
                });
                let mut stream = TcpStream::connect(self.server()).await?;
                stream.write_all(lines.as_bytes()).await?;
                stream.shutdown().await
            }
            Self::Influx { server, database, user } => {
                let mut path = format!("/write?db={}", escape(database));
                if let Some((user, password)) = user {
                    let _ = write!(path, "&u={}&p={}", escape(user), escape(password));
                }
                let lines: Vec<_> =
                    totals.iter().map(|(name, total)| format!("{name} count={total}i")).collect();
                post(server, &path, "text/plain", lines.join("\n")).await
            }
            Self::StatHat { server, user } => {
                for (name, total) in totals {
                    let form = format!("stat={name}&ezkey={}&count={total}", escape(user));
                    post(server, "/ez", "application/x-www-form-urlencoded", form).await?;
                }
                Ok(())
            }
        }
    }
}

/// Sends statistics to a sink, for ever. Of failures in a row the first is logged.
pub async fn push(sink: StatisticsSink, metrics: Arc<Metrics>) {
    let mut period = interval(PUSH_PERIOD);
    let mut succeeded = true;
    loop {
        period.tick().await;
        let result = match timeout(SEND_TIMEOUT, sink.send(&totals(&metrics))).await {
            Ok(result) => result,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match result {
            Ok(()) => succeeded = true,
            Err(error) if succeeded => {
                log::warn!("{}: sending statistics to {}: {error}", sink.name(), sink.server());
                succeeded = false;
            }
            Err(_) => {}
        }
    }
}

/// Sends a body in a request of its own, and returns an error unless the status says success.
async fn post(server: &str, path: &str, kind: &str, body: String) -> io::Result<()> {
    let stream = TcpStream::connect(server).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::post(path)
        .header("host", server)
        .header("content-type", kind)
        .header("connection", "close")
        .body(Full::new(Bytes::from(body)))
        .map_err(io::Error::other)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(io::Error::other(format!("the server says {status}"))),
        }
    };
    let (response, _) = tokio::join!(exchange, connection);
    response
}

/// Percent-encodes all octets that are not unreserved in a URL (RFC 3986 §2.1, §2.3).
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, octet| {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            escaped.push(char::from(octet));
        } else {
            let _ = write!(escaped, "%{octet:02X}");
        }
        escaped
    })
}

/// The totals that SkyDNS 2.0 sent, under its names.
fn totals(metrics: &Metrics) -> Vec<(&'static str, u64)> {
    let answerers = &metrics.answerers;
    let requests = |answerer: AnsweredBy| answerers[answerer as usize].requests.load(Relaxed);
    let all: u64 = answerers.iter().map(|counters| counters.requests.load(Relaxed)).sum();
    let errors = |cause: ErrorCause| answerers.iter().map(|c| c.errors[cause as usize].load(Relaxed)).sum();
    vec![
        ("skydns-requests", all),
        ("skydns-forward-requests", requests(AnsweredBy::Recursive)),
        ("skydns-stub-forward-requests", requests(AnsweredBy::Stub)),
        ("skydns-internal-lookups", metrics.lookups.load(Relaxed)),
        ("skydns-dnssecok-requests", metrics.dnssec_ok.load(Relaxed)),
        ("skydns-nameerror-responses", errors(ErrorCause::Nxdomain)),
        ("skydns-nodata-responses", metrics.nodata.load(Relaxed)),
    ]
}
