//! The members of the cluster, read again and again with `-discover`.

use super::super::connect::EtcdSettings;
use super::super::error::EtcdError;
use super::answer::Said;
use super::client::{Client, Login};
use super::session::HEAD_TIMEOUT;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::sleep;

/// How often the members are read.
const DISCOVER_PERIOD: Duration = Duration::from_secs(30);

const WHAT: &str = "reading the list of members";

#[derive(Deserialize)]
struct Members {
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    /// A member that did not start yet has none.
    #[serde(rename = "clientURLs", default)]
    urls: Option<Vec<String>>,
}

/// Keeps the members' endpoints up to date, for ever; after an error those known before stay.
pub(super) async fn follow(settings: &EtcdSettings, endpoint: &str, known: &mut Option<Vec<String>>) {
    if !settings.discover {
        return std::future::pending().await;
    }
    loop {
        match read(settings, endpoint).await {
            Ok(urls) if known.as_ref() != Some(&urls) => {
                log::info!("etcd-v2: members at {}", urls.join(", "));
                *known = Some(urls);
            }
            Ok(_) => {}
            Err(error) => log::warn!("etcd-v2: {error}; the endpoints known before stay"),
        }
        sleep(DISCOVER_PERIOD).await;
    }
}

async fn read(settings: &EtcdSettings, endpoint: &str) -> Result<Vec<String>, EtcdError> {
    let mut client = Client::new(settings, endpoint)?;
    let text = match page(&mut client, "/v2/members").await? {
        Some(body) => return urls_of_members(&body).map_err(|error| unreadable(endpoint, &error)),
        // Servers before 2.0 have this one alone.
        None => page(&mut client, "/v2/machines").await?.unwrap_or_default(),
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(text.split(',').filter_map(url).collect())
}

/// A page, if the server has it.
async fn page(client: &mut Client, path: &str) -> Result<Option<Vec<u8>>, EtcdError> {
    let mut exchange = client.get(path, Login::AsUser, HEAD_TIMEOUT, WHAT).await?;
    match exchange.answer.said().await? {
        Said::Success => Ok(Some(exchange.answer.short_body().await?)),
        Said::Error(error) => Err(exchange.answer.api_error(&error)),
        Said::NoPage => Ok(None),
    }
}

fn urls_of_members(body: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let members: Members = serde_json::from_slice(body)?;
    Ok(members
        .members
        .into_iter()
        .filter_map(|member| member.urls)
        .flatten()
        .filter_map(|text| url(&text))
        .collect())
}

/// A URL of an endpoint, if it is one.
fn url(text: &str) -> Option<String> {
    let text = text.trim().trim_end_matches('/');
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    is_url.then(|| text.to_owned())
}

fn unreadable(endpoint: &str, error: &serde_json::Error) -> EtcdError {
    EtcdError::Failed { endpoint: endpoint.to_owned(), cause: format!("{WHAT}: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_their_urls() {
        let text = r#"{"members":[{"id":"1","name":"a","clientURLs":["http://10.0.0.1:2379/","http://10.0.0.1:4001"]},
            {"id":"2","name":"","clientURLs":[]},{"id":"3","clientURLs":null},{"id":"4","clientURLs":["unix://x"]}]}"#;
        let urls = urls_of_members(text.as_bytes()).expect("members");
        assert_eq!(urls, ["http://10.0.0.1:2379", "http://10.0.0.1:4001"]);
    }
}
