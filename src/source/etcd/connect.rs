//! How etcd is reached: endpoints, TLS, user.

use super::error::EtcdError;
use super::tls_files::TlsFiles;
use etcd_client::{Client, ConnectOptions, Error};
use std::time::Duration;
use tokio::time::timeout;

/// Time to reach an endpoint and to log in there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a server that sends nothing is pinged. etcd ends connections that ping more often than every five seconds
/// (its `--grpc-keepalive-min-time`).
const KEEP_ALIVE_PERIOD: Duration = Duration::from_secs(7);

/// Time for the answer to a ping. Together with [`KEEP_ALIVE_PERIOD`] this bounds how late a frozen server is noticed.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Endpoints where none are configured: where etcd listens on the local machine, now and in its first years.
const DEFAULT_ENDPOINTS: [&str; 2] = ["http://127.0.0.1:2379", "http://127.0.0.1:4001"];

/// Whether reads have to give the present state of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// They have to: a server without a quorum of the others cannot answer.
    Current,
    /// They need not: a server answers from what it has ("serializable").
    Stale,
}

/// How to reach etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdSettings {
    /// URLs without a slash at the end; at least one.
    pub endpoints: Vec<String>,
    /// Files for TLS.
    pub tls: TlsFiles,
    /// User name and password.
    pub user: Option<(String, String)>,
    /// Whether the endpoints follow the member list.
    pub discover: bool,
}

impl EtcdSettings {
    /// Settings with these endpoints; without any, etcd is looked for on the local machine.
    ///
    /// # Errors
    /// There is a client certificate without its key, or a key without its certificate.
    pub fn new(
        machines: &[String],
        tls: TlsFiles,
        user: Option<(String, String)>,
        discover: bool,
    ) -> Result<Self, EtcdError> {
        if tls.cert.is_some() != tls.key.is_some() {
            return Err(EtcdError::HalfIdentity);
        }
        let mut endpoints = machines.to_vec();
        if endpoints.is_empty() {
            endpoints.extend(DEFAULT_ENDPOINTS.map(str::to_owned));
        }
        Ok(Self { endpoints, tls, user, discover })
    }

    /// Whether no endpoint is set, so that etcd is looked for on the local machine.
    pub(super) fn are_default(&self) -> bool {
        self.endpoints == DEFAULT_ENDPOINTS
    }

    /// The endpoints of the member list, then the configured ones that are not among them.
    pub(super) fn merged(&self, members: Vec<String>) -> Vec<String> {
        let mut endpoints = members;
        let configured: Vec<_> = self.endpoints.iter().filter(|e| !endpoints.contains(e)).cloned().collect();
        endpoints.extend(configured);
        endpoints
    }

    /// The configured endpoints, then those of the member list: in stores of the v2 API it may have addresses that are meant
    /// for the members alone.
    pub(super) fn with_members(&self, members: Vec<String>) -> Vec<String> {
        let new = members.into_iter().filter(|member| !self.endpoints.contains(member));
        self.endpoints.iter().cloned().chain(new).collect()
    }

    /// Reads the TLS files, and returns what is wrong with each: it cannot be read, or holds no certificate or key.
    pub fn tls_problems(&self) -> Vec<EtcdError> {
        self.tls.problems()
    }

    /// Connects to one endpoint, and logs in if there is a user. With `Reads::Current`, the server refuses requests while it
    /// knows no leader, so that another server is asked.
    pub(super) async fn connect(&self, endpoint: &str, reads: Reads) -> Result<Client, EtcdError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(KEEP_ALIVE_PERIOD, KEEP_ALIVE_TIMEOUT)
            .with_keep_alive_while_idle(true)
            .with_require_leader(reads == Reads::Current)
            .with_auto_token_refresh(true);
        if endpoint.starts_with("https://") {
            options = options.with_tls(self.tls.options()?);
        }
        let anonymous = options.clone();
        if let Some((name, password)) = &self.user {
            options = options.with_user(name, password);
        }
        let open = |options| timeout(CONNECT_TIMEOUT, Client::connect([endpoint], Some(options)));
        let opened = match open(options).await {
            // A host may have the password before authentication is enabled in etcd. Once it is enabled, the requests on
            // this connection fail, and the next connection logs in.
            Ok(Err(error)) if self.user.is_some() && is_auth_off(&error) => open(anonymous).await,
            opened => opened,
        };
        match opened {
            Ok(client) => client.map_err(|error| EtcdError::failed(endpoint, "connecting", &error)),
            Err(_) => Err(EtcdError::Timeout {
                endpoint: endpoint.to_owned(),
                what: "connecting",
                limit: CONNECT_TIMEOUT,
            }),
        }
    }
}

/// Whether etcd refused the login because authentication is not enabled.
fn is_auth_off(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains("authentication is not enabled"))
}

/// The end of the range of all keys with a prefix: the prefix with its last octet one greater.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        // No overflow: prefixes are text.
        *last += 1;
    }
    end
}
