//! The member list of the cluster, read again and again with `-discover`.

use super::{REQUEST_TIMEOUT, Session};
use crate::source::etcd::error::EtcdError;
use etcd_client::Client;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

/// A request for the member list that is under way.
pub(super) type MemberRequest = BoxFuture<'static, Result<Vec<String>, String>>;

impl Session<'_> {
    /// Takes the members' endpoints; after an error those known before stay.
    pub(super) fn take_members(&mut self, found: Result<Vec<String>, String>) {
        match found {
            Ok(urls) if self.members.as_ref() != Some(&urls) => {
                log::info!("etcd: members at {}", urls.join(", "));
                self.members = Some(urls);
            }
            Ok(_) => {}
            Err(reason) => log::warn!("etcd: {reason}; the endpoints known before stay"),
        }
    }
}

/// Reads the members' endpoints. A member that did not start yet has none.
pub(super) async fn read_members(mut client: Client, endpoint: String) -> Result<Vec<String>, String> {
    const WHAT: &str = "reading the list of members";
    let answer = match timeout(REQUEST_TIMEOUT, client.member_list()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(EtcdError::failed(&endpoint, WHAT, &error).to_string()),
        Err(_) => return Err(EtcdError::Timeout { endpoint, what: WHAT, limit: REQUEST_TIMEOUT }.to_string()),
    };
    let urls = answer.members().iter().flat_map(|member| member.client_urls().to_vec());
    Ok(urls.map(|url| url.trim_end_matches('/').to_owned()).collect())
}

/// Waits for the answer to a request; for ever, while there is no request.
pub(super) async fn answer_of(request: &mut Option<MemberRequest>) -> Result<Vec<String>, String> {
    match request {
        Some(request) => request.await,
        None => std::future::pending().await,
    }
}
