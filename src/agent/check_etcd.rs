//! One reading of the APIs of etcd, for `skydns check`: as the agent would decide at its start, as far as that can be seen
//! without its snapshot.

use crate::config::EtcdApi;
use crate::counted::counted;
use crate::service::Keyspace;
use crate::source::etcd::{Etcd, EtcdError, EtcdSettings, EtcdV2};
use crate::source::{Feed, SourceId};

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct CheckedEtcd {
    /// Why what is needed cannot be read.
    pub(super) problems: Vec<String>,
    /// What else there is to know.
    pub(super) notes: Vec<String>,
}

/// Reads the APIs once that the agent would read.
pub(super) async fn check_etcd(
    etcd: &EtcdSettings,
    keyspace: &Keyspace,
    api: EtcdApi,
    also: &[String],
    feed: &impl Fn(SourceId) -> Feed,
) -> CheckedEtcd {
    let mut found = CheckedEtcd::default();
    let v2 = EtcdV2::new(etcd.clone(), keyspace.clone(), also, feed(SourceId::EtcdV2));
    let v2 = if api == EtcdApi::Auto { v2.refusing_open() } else { v2 };
    let v3 = Etcd::new(etcd.clone(), keyspace.clone(), feed(SourceId::Etcd));
    let v3 = if api.has_v3() { Some(v3.list_once().await) } else { None };
    let wants_v2 = match (&v3, api) {
        (_, EtcdApi::V3) | (Some(Ok(false)), EtcdApi::Auto) => false,
        // Nothing is known before v3 was read.
        (Some(Err(error)), EtcdApi::Auto) => matches!(error, EtcdError::NoV3 { .. }),
        _ => true,
    };
    let v2 = if wants_v2 { Some(v2.list_once().await) } else { found.note_unread(&v2, keyspace).await };
    let has_v2 = matches!(v2, Some(Ok(_)));
    let v2_name = SourceId::EtcdV2.name();
    match v2 {
        Some(Ok(0)) | None => {}
        Some(Ok(keys)) => {
            found.notes.push(format!("{v2_name}: {} below {}", counted(keys, "key"), keyspace.root()));
        }
        // With auto, what is not there is not needed.
        Some(Err(EtcdError::NoV2 { .. })) if api == EtcdApi::Auto => {}
        Some(Err(error @ EtcdError::NoV2 { .. })) if api == EtcdApi::Both => {
            found.notes.push(format!("{v2_name}: {error}"));
        }
        Some(Err(error)) => found.problems.push(format!("{v2_name}: {error}")),
    }
    if let Some(Err(error)) = v3 {
        let is_missed = !(has_v2 && matches!(error, EtcdError::NoV3 { .. }));
        let found = if is_missed { &mut found.problems } else { &mut found.notes };
        found.push(format!("{}: {error}", SourceId::Etcd.name()));
    }
    // Where one endpoint is enough, those that nobody asked may be wrong all the same.
    if etcd.endpoints.len() > 1 && found.problems.is_empty() {
        let wrong = etcd.survey(keyspace).await;
        found.notes.extend(wrong.iter().map(|error| format!("{}: {error}", SourceId::Etcd.name())));
    }
    found
}

impl CheckedEtcd {
    /// Notes that v2 holds keys which are not read.
    async fn note_unread(&mut self, v2: &EtcdV2, keyspace: &Keyspace) -> Option<Result<usize, EtcdError>> {
        if let Some(endpoint) = v2.endpoint_with_keys().await {
            self.notes.push(format!(
                "{}: {endpoint} holds keys below {} which are not read (-etcd-api)",
                SourceId::EtcdV2.name(),
                keyspace.root()
            ));
        }
        None
    }
}
