//! The v3 store that keys are carried to: what it has, what of that is ours, and how it is written.

use super::super::connect::{EtcdSettings, Reads, end_of};
use super::super::error::EtcdError;
use super::super::rounds::reason;
use super::super::v2::is_before_v3;
use super::leases::Leases;
use super::marks::{Marks, Seen};
use super::origin::V2Store;
use super::plan::{Owner, V3Key};
use super::renewal::LOCK_RENEWAL;
use crate::service::Keyspace;
use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, GetOptions, KeyValue, LockOptions, ResponseHeader, Txn,
    TxnOp,
};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Time for the answer to one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Time to get the lock: another one that carries keys keeps it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// Seconds after which the lock of one that ended without a word is free.
const LOCK_SECONDS: i64 = 45;

/// Keys of a page of a listing.
const PAGE_KEYS: i64 = 4_096;

/// Maximum size of one answer in octets.
const MAX_ANSWER_OCTETS: usize = 64 << 20;

/// A connection to the store, with the lock.
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) endpoint: String,
    /// The cluster of v3.
    cluster: u64,
    keyspace: Keyspace,
    pub(super) marks: Marks,
    /// What the mark of the move says of v2.
    marked: Option<Seen>,
    /// The lease of the lock, and its key.
    pub(super) lock: Option<(i64, Vec<u8>)>,
    /// The lease of a lock that was lost, which may be there all the same: another server may have answered.
    former_lock: Option<i64>,
    pub(super) leases: Leases,
}

impl Target {
    /// Connects to the first endpoint that answers, for keys of a v2 cluster. If it is known of which cluster v3 has to be,
    /// endpoints of others are passed over.
    pub(super) async fn connect(
        settings: &EtcdSettings,
        keyspace: &Keyspace,
        v2: &V2Store,
        wanted: Option<u64>,
    ) -> Result<Self, EtcdError> {
        let mut errors = Vec::new();
        for endpoint in &settings.endpoints {
            let connected = Self::connect_to(endpoint, settings, keyspace, v2.cluster).await;
            match (connected, wanted) {
                (Ok(target), Some(ours)) if target.cluster != ours => {
                    let (endpoint, cluster, members) =
                        (endpoint.clone(), target.cluster, v2.endpoint.clone());
                    let error =
                        EtcdError::OtherCluster { endpoint: endpoint.clone(), cluster, ours, members };
                    errors.push((endpoint, error));
                }
                (Ok(target), _) => return Ok(target),
                (Err(error), _) if error.is_lost() && is_before_v3(settings, endpoint).await => {
                    errors.push((endpoint.clone(), EtcdError::NoV3 { endpoint: endpoint.clone() }));
                }
                (Err(error), _) => errors.push((endpoint.clone(), error)),
            }
        }
        Err(EtcdError::NoneAnswers(reason(settings, &errors)))
    }

    /// Connects to an endpoint, and asks it something: a server that is away is noticed only then.
    async fn connect_to(
        endpoint: &str,
        settings: &EtcdSettings,
        keyspace: &Keyspace,
        of_v2: u64,
    ) -> Result<Self, EtcdError> {
        let mut target = Self {
            client: settings.connect(endpoint, Reads::Current).await?,
            endpoint: endpoint.to_owned(),
            cluster: 0,
            keyspace: keyspace.clone(),
            marks: Marks::new(keyspace, of_v2),
            marked: None,
            lock: None,
            former_lock: None,
            leases: Leases::default(),
        };
        let mut kv = target.client.kv_client();
        let options = GetOptions::new().with_prefix().with_count_only();
        let asked = kv.get(target.marks.of_move(), Some(options));
        let answer = target.wait("looking for the marks of the move", asked).await?;
        target.cluster = answer.header().map_or(0, ResponseHeader::cluster_id);
        Ok(target)
    }

    /// The cluster of v3.
    pub(super) fn cluster(&self) -> u64 {
        self.cluster
    }

    /// Goes on with another connection to the same cluster: the lock and the leases are the store's, whichever member is asked.
    pub(super) fn replace_connection(&mut self, by: Self) {
        (self.client, self.endpoint) = (by.client, by.endpoint);
    }

    /// Takes the lock, so that one alone carries keys.
    pub(super) async fn lock(&mut self) -> Result<(), EtcdError> {
        const WHAT: &str = "taking the lock";
        if let Some(lease) = self.former_lock.take() {
            let _ = timeout(REQUEST_TIMEOUT, self.client.lease_client().revoke(lease)).await;
        }
        let lease = self.grant(LOCK_SECONDS).await?;
        let name = format!("{}-lock", self.keyspace.migration_root().trim_end_matches('/'));
        let mut client = self.client.lock_client();
        let options = LockOptions::new().with_lease(lease);
        match timeout(LOCK_TIMEOUT, client.lock(name, Some(options))).await {
            Ok(Ok(answer)) => {
                self.lock = Some((lease, answer.key().to_vec()));
                Ok(())
            }
            Ok(Err(error)) => {
                let _ = timeout(REQUEST_TIMEOUT, self.client.lease_client().revoke(lease)).await;
                Err(EtcdError::failed(&self.endpoint, WHAT, &error))
            }
            Err(_) => {
                let _ = timeout(REQUEST_TIMEOUT, self.client.lease_client().revoke(lease)).await;
                Err(EtcdError::Failed {
                    endpoint: self.endpoint.clone(),
                    cause: "another one carries keys to this store now: one is enough for a cluster"
                        .to_owned(),
                })
            }
        }
    }

    /// Whether the lock is ours.
    pub(super) fn has_lock(&self) -> bool {
        self.lock.is_some()
    }

    /// Gives the lock back.
    pub(super) async fn unlock(&mut self) {
        if let Some((lease, _)) = self.lock.take() {
            let _ = timeout(REQUEST_TIMEOUT, self.client.lease_client().revoke(lease)).await;
        }
    }

    /// What holds as long as the lock is ours: with it, nothing is written by one that has lost the lock without knowing.
    pub(super) fn fence(&self) -> Option<Compare> {
        self.lock.as_ref().map(|(_, key)| Compare::create_revision(key.clone(), CompareOp::Greater, 0))
    }

    /// The lock has ended: another one may have it now.
    pub(super) fn lock_lost(&mut self) -> EtcdError {
        self.former_lock = self.lock.take().map(|(lease, _)| lease).or(self.former_lock);
        // The host may have been asleep, and the leases have ended as well.
        self.leases = Leases::default();
        EtcdError::Failed {
            endpoint: self.endpoint.clone(),
            cause: "the lock was lost, because it was not renewed in time".to_owned(),
        }
    }

    /// Writes the mark of the move, which has agents read v2.
    pub(super) async fn mark(&mut self, text: String) -> Result<(), EtcdError> {
        let put = TxnOp::put(self.marks.of_move(), text, None);
        self.commit_fenced("marking the move", vec![put]).await
    }

    /// Removes all marks: what was carried belongs to nobody then.
    pub(super) async fn remove_marks(&mut self) -> Result<(), EtcdError> {
        let options = DeleteOptions::new().with_prefix();
        let removal = TxnOp::delete(self.marks.root(), Some(options));
        self.commit_fenced("removing the marks of the move", vec![removal]).await
    }

    /// Does something if the lock is there.
    pub(super) async fn commit_fenced(
        &mut self,
        what: &'static str,
        ops: Vec<TxnOp>,
    ) -> Result<(), EtcdError> {
        let txn = Txn::new().when(self.fence().into_iter().collect::<Vec<_>>()).and_then(ops);
        let mut kv = self.client.kv_client();
        match self.wait(what, kv.txn(txn)).await?.succeeded() {
            true => Ok(()),
            false => Err(self.lock_lost()),
        }
    }

    /// All keys below the path prefix.
    pub(super) async fn read(&mut self) -> Result<BTreeMap<String, V3Key>, EtcdError> {
        self.leases.begin_pass();
        let marks = self.list(self.marks.root().to_owned()).await?;
        let marks = self.marks.read(marks);
        self.marked = marks.of_move;
        let keys = self.list(self.keyspace.root().to_owned()).await?;
        let key = |kv: KeyValue| {
            let (mod_revision, lease) = (kv.mod_revision(), kv.lease());
            let owner = marks.owner(kv.key(), mod_revision);
            // A key that is no text is none of ours, and v2 cannot have it.
            let name = String::from_utf8(kv.key().to_vec()).ok()?;
            Some((name, V3Key { value: kv.value().to_vec(), mod_revision, lease, owner }))
        };
        let keys: BTreeMap<_, _> = keys.into_iter().filter_map(key).collect();
        let ours = keys.values().filter(|key| key.owner != Owner::Other && key.lease != 0);
        self.learn_leases(&ours.map(|key| key.lease).collect()).await?;
        Ok(keys)
    }

    /// What v2 was at the last pass, as the mark of the move has it.
    pub(super) fn marked(&self) -> Option<Seen> {
        self.marked
    }

    /// All keys with a prefix, at one revision.
    async fn list(&mut self, prefix: String) -> Result<Vec<KeyValue>, EtcdError> {
        let mut renewed = Instant::now();
        let end = end_of(prefix.as_bytes());
        let (mut start, mut revision, mut all) = (prefix.into_bytes(), 0, Vec::new());
        loop {
            let options =
                GetOptions::new().with_range(end.clone()).with_limit(PAGE_KEYS).with_revision(revision);
            let mut kv = self.client.kv_client().max_decoding_message_size(MAX_ANSWER_OCTETS);
            let from = start.clone();
            let page = async move { kv.get(from, Some(options)).await };
            let mut page = self.wait("reading all keys", page).await?;
            revision = page.header().map_or(0, etcd_client::ResponseHeader::revision);
            let has_more = page.more();
            all.extend(page.take_kvs());
            if renewed.elapsed() > LOCK_RENEWAL {
                self.renew_lock().await?;
                renewed = Instant::now();
            }
            match all.last() {
                Some(last) if has_more => start = [last.key(), b"\0"].concat(),
                _ => return Ok(all),
            }
        }
    }

    pub(super) async fn wait<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, EtcdError> {
        match timeout(REQUEST_TIMEOUT, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(EtcdError::failed(&self.endpoint, what, &error)),
            Err(_) => {
                Err(EtcdError::Timeout { endpoint: self.endpoint.clone(), what, limit: REQUEST_TIMEOUT })
            }
        }
    }
}
