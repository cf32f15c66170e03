//! What each endpoint is, for `skydns check`: the sources find that out as they need it.

use super::clusters::Clusters;
use super::connect::{EtcdSettings, Reads};
use super::error::EtcdError;
use super::v2;
use crate::service::Keyspace;
use etcd_client::{GetOptions, ResponseHeader};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::timeout;

/// Time for the answer of one endpoint.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

const WHAT: &str = "asking for the cluster";

impl EtcdSettings {
    /// Asks each endpoint, and returns what is wrong with it: it cannot be reached, or belongs to another cluster than the first
    /// one that answers.
    pub async fn survey(&self, keyspace: &Keyspace) -> Vec<EtcdError> {
        // Where etcd is looked for, it is at one of them.
        if self.are_default() {
            return Vec::new();
        }
        let asked =
            self.endpoints.iter().map(async |endpoint| match self.cluster_by_v3(endpoint, keyspace).await {
                Ok(cluster) => Ok(cluster),
                // It may have v2 alone.
                Err(error) => match v2::cluster(self, endpoint, keyspace).await {
                    Ok(Some(cluster)) => Ok(Some(cluster)),
                    _ => Err(error),
                },
            });
        let answers = join_all(asked).await;
        let mut clusters = Clusters::default();
        let check = |(endpoint, answer): (&String, Result<Option<u64>, EtcdError>)| {
            answer.and_then(|cluster| clusters.check(endpoint, cluster)).err()
        };
        self.endpoints.iter().zip(answers).filter_map(check).collect()
    }

    async fn cluster_by_v3(&self, endpoint: &str, keyspace: &Keyspace) -> Result<Option<u64>, EtcdError> {
        let client = self.connect(endpoint, Reads::Stale).await?;
        let options = GetOptions::new().with_limit(1).with_keys_only().with_serializable();
        let mut kv = client.kv_client();
        match timeout(ANSWER_TIMEOUT, kv.get(keyspace.root(), Some(options))).await {
            Ok(Ok(answer)) => Ok(answer.header().map(ResponseHeader::cluster_id)),
            Ok(Err(error)) => Err(EtcdError::failed(endpoint, WHAT, &error)),
            Err(_) => {
                Err(EtcdError::Timeout { endpoint: endpoint.to_owned(), what: WHAT, limit: ANSWER_TIMEOUT })
            }
        }
    }
}
