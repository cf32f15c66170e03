//! Questions to a server beside the polls, which say nothing for as long as nothing happens: whether it is alive, and whether
//! it works with the others of its cluster.

use super::super::connect::EtcdSettings;
use super::super::error::EtcdError;
use super::answer::{Said, code};
use super::client::{Client, Login};
use super::root::{Root, path};
use super::session::HEAD_TIMEOUT;
use crate::service::Keyspace;
use rand::Rng;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::sleep;

/// Pause between two questions whether the server is alive, and the time for the answer: as those of the v3 API.
const ALIVE_PERIOD: Duration = Duration::from_secs(7);
const ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// How many of them to one read of what a majority has, where the answer does not say whether there was one.
const PER_QUORUM_READ: u32 = 6;

/// Asks until something fails.
pub(super) async fn run(client: &mut Client, root: &Root) -> EtcdError {
    // At random, so that the hosts of a site do not ask all at once.
    let mut count = rand::rng().random_range(0..PER_QUORUM_READ);
    let mut agreed = None;
    loop {
        match probe(client, root, &mut count, &mut agreed).await {
            Ok(()) => sleep(ALIVE_PERIOD).await,
            Err(error) => return error,
        }
    }
}

/// Asks whether the server is alive, and, if its members have agreed on nothing since the last time, for what a majority has.
///
/// Such a read costs all members a write. They agree on it, so one of many hosts asks for it, and the others see that.
async fn probe(
    client: &mut Client,
    root: &Root,
    count: &mut u32,
    agreed: &mut Option<u64>,
) -> Result<(), EtcdError> {
    let now = ask(client, &root.path(""), ALIVE_TIMEOUT, "asking whether it is alive").await?;
    *count += 1;
    let is_due = match now {
        Some(_) => now == *agreed,
        None => count.is_multiple_of(PER_QUORUM_READ),
    };
    *agreed = now;
    if is_due {
        let what = "asking for what a majority of the members has";
        *agreed = ask(client, &root.path("?quorum=true"), HEAD_TIMEOUT, what).await?;
    }
    Ok(())
}

/// Asks for a page of keys, and returns what the members have agreed on.
async fn ask(
    client: &mut Client,
    path: &str,
    limit: Duration,
    what: &'static str,
) -> Result<Option<u64>, EtcdError> {
    let mut exchange = client.get(path, Login::AsUser, limit, what).await?;
    let agreed = exchange.answer.raft_index();
    match exchange.answer.said().await? {
        // Nobody wants to know what is there; the connection is closed.
        Said::Success => Ok(agreed),
        Said::Error(error) if error.code == code::KEY_NOT_FOUND => Ok(agreed),
        Said::Error(error) => Err(exchange.answer.api_error(&error)),
        Said::NoPage => Err(EtcdError::NoV2 { endpoint: client.endpoint.clone() }),
    }
}

/// Whether a server holds any key in a root.
pub(super) async fn holds_keys(
    settings: &EtcdSettings,
    endpoint: &str,
    root: &Root,
) -> Result<bool, EtcdError> {
    let mut client = Client::new(settings, endpoint)?;
    let what = "looking for keys";
    let mut exchange = client.get(&root.path(""), Login::AsUser, HEAD_TIMEOUT, what).await?;
    if !matches!(exchange.answer.said().await?, Said::Success) {
        return Ok(false);
    }
    // An empty directory has no nodes.
    Ok(contains(&exchange.answer.short_body().await?, b"\"nodes\""))
}

/// The cluster that a server says it belongs to.
pub(in super::super) async fn cluster(
    settings: &EtcdSettings,
    endpoint: &str,
    keyspace: &Keyspace,
) -> Result<Option<u64>, EtcdError> {
    let mut client = Client::new(settings, endpoint)?;
    let path = path(keyspace.root(), "");
    let exchange = client.get(&path, Login::AsUser, HEAD_TIMEOUT, "asking for the cluster").await?;
    Ok(exchange.answer.cluster())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether the server says that it is etcd.
pub(super) async fn is_etcd(client: &mut Client) -> Result<bool, EtcdError> {
    #[derive(Deserialize)]
    struct Version {
        #[serde(rename = "etcdserver")]
        _server: String,
    }
    let mut exchange = client.get("/version", Login::AsUser, HEAD_TIMEOUT, "asking for the version").await?;
    Ok(match exchange.answer.said().await {
        Ok(Said::Success) => {
            let body = exchange.answer.short_body().await?;
            serde_json::from_slice::<Version>(&body).is_ok()
        }
        _ => false,
    })
}

/// Whether a server says that it is etcd of a time before the v3 API.
pub(in super::super) async fn is_before_v3(settings: &EtcdSettings, endpoint: &str) -> bool {
    /// The second field is that of etcd 2.0.
    #[derive(Deserialize)]
    struct Version {
        #[serde(alias = "releaseVersion")]
        etcdserver: String,
    }
    let version = async {
        let mut client = Client::new(settings, endpoint).ok()?;
        let what = "asking for the version";
        let mut exchange = client.get("/version", Login::Anonymous, HEAD_TIMEOUT, what).await.ok()?;
        let body = exchange.answer.short_body().await.ok()?;
        serde_json::from_slice::<Version>(&body).ok()
    };
    let is_old =
        |version: Version| version.etcdserver.starts_with("0.") || version.etcdserver.starts_with("2.");
    version.await.is_some_and(is_old)
}

/// Whether the v2 API lets everybody in, also who has no user name.
pub(super) async fn is_open(
    client: &mut Client,
    root: &Root,
    has_certificate: bool,
) -> Result<bool, EtcdError> {
    #[derive(Deserialize)]
    struct Auth {
        enabled: bool,
    }
    const WHAT: &str = "asking whether it wants a login";
    let mut exchange = client.get("/v2/auth/enable", Login::Anonymous, HEAD_TIMEOUT, WHAT).await?;
    if let Ok(Said::Success) = exchange.answer.said().await {
        let body = exchange.answer.short_body().await?;
        if serde_json::from_slice::<Auth>(&body).is_ok_and(|auth| !auth.enabled) {
            return Ok(true);
        }
    }
    // With a certificate nobody is anonymous.
    if has_certificate {
        return Ok(false);
    }
    let mut exchange = client.get(&root.path(""), Login::Anonymous, HEAD_TIMEOUT, WHAT).await?;
    Ok(match exchange.answer.said().await? {
        Said::Success => true,
        Said::Error(error) => error.code == code::KEY_NOT_FOUND,
        Said::NoPage => false,
    })
}
