//! The v3 store that keys are carried to: what it has, what of that is ours, and how it is written.

use super::super::connect::{EtcdSettings, Reads, end_of};
use super::super::error::EtcdError;
use super::super::rounds::reason;
use super::super::v2::is_before_v3;
use super::marks::{KEPT, Marks};
use super::origin::V2Store;
use super::plan::{Copy, Owner, Plan, V3Key, Write};
use crate::service::Keyspace;
use etcd_client::{
    Client, Compare, CompareOp, Error, GetOptions, KeyValue, LockOptions, PutOptions, Txn, TxnOp,
};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Time for the answer to one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Time to get the lock: another one that carries keys keeps it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// Seconds after which the lock of one that ended without a word is free.
const LOCK_SECONDS: i64 = 45;

/// How often the lock is renewed while much is written.
const LOCK_RENEWAL: Duration = Duration::from_secs(10);

/// Keys of a page of a listing.
const PAGE_KEYS: i64 = 4_096;

/// Maximum size of one answer in octets.
const MAX_ANSWER_OCTETS: usize = 64 << 20;

/// Keys that are written in one transaction: etcd takes 128 operations, and each key takes up to three.
const KEYS_PER_TXN: usize = 40;

/// A connection to the store, with the lock.
pub(super) struct Target {
    client: Client,
    endpoint: String,
    keyspace: Keyspace,
    marks: Marks,
    /// The index of v2 that the mark of the move has.
    marked_index: Option<u64>,
    /// The lease of the lock, and its key.
    lock: Option<(i64, Vec<u8>)>,
    /// Leases by the seconds that they were granted.
    leases: BTreeMap<u32, i64>,
    /// The seconds of all leases that are known.
    granted: HashMap<i64, u32>,
}

/// What came of writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) written: usize,
    pub(super) removed: usize,
    /// Keys that somebody else has written meanwhile.
    pub(super) lost: usize,
}

impl Target {
    /// Connects to the first endpoint that answers, for keys of a v2 cluster. If v2 is that of the same store, endpoints of
    /// other clusters are passed over.
    pub(super) async fn connect(
        settings: &EtcdSettings,
        keyspace: &Keyspace,
        v2: &V2Store,
        is_same_store: bool,
    ) -> Result<Self, EtcdError> {
        let mut errors = Vec::new();
        for endpoint in &settings.endpoints {
            match Self::connect_to(endpoint, settings, keyspace, v2.cluster).await {
                Ok((_, cluster)) if is_same_store && v2.cluster != 0 && cluster != v2.cluster => {
                    let error = EtcdError::OtherCluster {
                        endpoint: endpoint.clone(),
                        cluster,
                        ours: v2.cluster,
                        members: v2.endpoint.clone(),
                    };
                    errors.push((endpoint.clone(), error));
                }
                Ok((target, _)) => return Ok(target),
                Err(error) if error.is_lost() && is_before_v3(settings, endpoint).await => {
                    errors.push((endpoint.clone(), EtcdError::NoV3 { endpoint: endpoint.clone() }));
                }
                Err(error) => errors.push((endpoint.clone(), error)),
            }
        }
        Err(EtcdError::NoneAnswers(reason(settings, &errors)))
    }

    /// Connects to an endpoint, and asks it something: a server that is away is noticed only then. Returns its cluster as well.
    async fn connect_to(
        endpoint: &str,
        settings: &EtcdSettings,
        keyspace: &Keyspace,
        cluster: u64,
    ) -> Result<(Self, u64), EtcdError> {
        let target = Self {
            client: settings.connect(endpoint, Reads::Current).await?,
            endpoint: endpoint.to_owned(),
            keyspace: keyspace.clone(),
            marks: Marks::new(keyspace, cluster),
            marked_index: None,
            lock: None,
            leases: BTreeMap::new(),
            granted: HashMap::new(),
        };
        let mut kv = target.client.kv_client();
        let options = GetOptions::new().with_prefix().with_count_only();
        let asked = kv.get(target.marks.of_move(), Some(options));
        let answer = target.wait("looking for the marks of the move", asked).await?;
        let cluster = answer.header().map_or(0, etcd_client::ResponseHeader::cluster_id);
        Ok((target, cluster))
    }

    /// Goes on with another connection. The lock and the leases are those of the store, whichever member is asked.
    pub(super) fn replace_connection(&mut self, by: Self) {
        (self.client, self.endpoint) = (by.client, by.endpoint);
    }

    /// Takes the lock, so that one alone carries keys.
    pub(super) async fn lock(&mut self) -> Result<(), EtcdError> {
        const WHAT: &str = "taking the lock";
        let lease = self.grant(LOCK_SECONDS).await?;
        let name = format!("{}-lock", self.keyspace.migration_root().trim_end_matches('/'));
        let mut client = self.client.lock_client();
        let options = LockOptions::new().with_lease(lease);
        match timeout(LOCK_TIMEOUT, client.lock(name, Some(options))).await {
            Ok(Ok(answer)) => {
                self.lock = Some((lease, answer.key().to_vec()));
                Ok(())
            }
            Ok(Err(error)) => Err(EtcdError::failed(&self.endpoint, WHAT, &error)),
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

    /// Writes the mark of the move, which has agents read v2.
    pub(super) async fn mark(&mut self, text: String) -> Result<(), EtcdError> {
        let mut kv = self.client.kv_client();
        self.wait("marking the move", kv.put(self.marks.of_move(), text, None)).await.map(drop)
    }

    /// Removes the marks of the move: what was carried belongs to nobody then.
    pub(super) async fn remove_marks(&mut self) -> Result<(), EtcdError> {
        let options = etcd_client::DeleteOptions::new().with_prefix();
        let mut kv = self.client.kv_client();
        let removed = kv.delete(self.marks.of_move(), Some(options));
        self.wait("removing the marks of the move", removed).await.map(drop)
    }

    /// All keys below the path prefix.
    pub(super) async fn read(&mut self) -> Result<BTreeMap<String, V3Key>, EtcdError> {
        // Those of the pass before may have ended since.
        self.leases.clear();
        let marks = self.marks.read(self.list(self.marks.root().to_owned()).await?);
        self.marked_index = marks.index;
        let keys = self.list(self.keyspace.root().to_owned()).await?;
        let key = |kv: KeyValue| {
            let (mod_revision, lease) = (kv.mod_revision(), kv.lease());
            let owner = marks.owner(kv.key(), mod_revision);
            // A key that is no text is none of ours, and v2 cannot have it.
            let name = String::from_utf8(kv.key().to_vec()).ok()?;
            Some((name, V3Key { value: kv.value().to_vec(), mod_revision, lease, owner }))
        };
        let keys: BTreeMap<_, _> = keys.into_iter().filter_map(key).collect();
        self.learn_leases(&keys).await?;
        Ok(keys)
    }

    /// The index of v2 at the last pass, as the mark of the move has it.
    pub(super) fn marked_index(&self) -> Option<u64> {
        self.marked_index
    }

    /// The seconds of the leases that are known.
    pub(super) fn granted(&self) -> &HashMap<i64, u32> {
        &self.granted
    }

    /// Asks for the leases of our keys that are not known.
    async fn learn_leases(&mut self, keys: &BTreeMap<String, V3Key>) -> Result<(), EtcdError> {
        let ours: HashSet<_> = keys
            .values()
            .filter(|key| key.owner != Owner::Other && key.lease != 0)
            .map(|key| key.lease)
            .collect();
        self.granted.retain(|lease, _| ours.contains(lease));
        for lease in ours {
            if self.granted.contains_key(&lease) {
                continue;
            }
            let mut client = self.client.lease_client();
            let asked = async move { client.time_to_live(lease, None).await };
            let answer = self.wait("asking for a lease", asked).await?;
            if let Ok(granted) = u32::try_from(answer.granted_ttl())
                && answer.ttl() > 0
            {
                self.granted.insert(lease, granted);
            }
        }
        Ok(())
    }

    /// Renews leases, and that of the lock; those that are gone are not known any more.
    pub(super) async fn renew(&mut self, leases: &[i64]) -> Result<(), EtcdError> {
        let of_lock = self.lock.as_ref().map(|(lease, _)| *lease);
        for lease in of_lock.into_iter().chain(leases.iter().copied()) {
            let mut client = self.client.lease_client();
            let renewed = async move {
                let (mut keeper, mut answers) = client.keep_alive(lease).await?;
                keeper.keep_alive().await?;
                answers.message().await
            };
            match self.wait("renewing a lease", renewed).await {
                Ok(Some(answer)) if answer.ttl() > 0 => {}
                Ok(_) if of_lock == Some(lease) => return Err(self.lock_lost()),
                Ok(_) => self.forget_lease(lease),
                Err(error) if error.to_string().contains("lease not found") && of_lock != Some(lease) => {
                    self.forget_lease(lease);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The lock has ended: another one may have it now.
    fn lock_lost(&mut self) -> EtcdError {
        self.lock = None;
        EtcdError::Failed {
            endpoint: self.endpoint.clone(),
            cause: "the lock was lost, because it was not renewed in time".to_owned(),
        }
    }

    fn forget_lease(&mut self, lease: i64) {
        self.granted.remove(&lease);
        self.leases.retain(|_, id| *id != lease);
    }

    /// Does what a plan says, as far as nobody else writes the same keys; tells how many keys are done.
    pub(super) async fn write(
        &mut self,
        plan: &Plan,
        mut tell: impl FnMut(usize),
    ) -> Result<Written, EtcdError> {
        let (mut done, mut renewed) = (Written::default(), Instant::now());
        // Nothing is written without the lock.
        self.renew(&[]).await?;
        for part in plan.writes.chunks(KEYS_PER_TXN) {
            let mut ops = Vec::new();
            for write in part {
                ops.push(self.put_ops(write).await?);
            }
            let known = |n: usize| (part[n].key.as_str(), part[n].known);
            let count = self.commit(&ops, known).await?;
            done.written += count;
            done.lost += part.len() - count;
            tell(done.written + done.lost);
            if renewed.elapsed() > LOCK_RENEWAL {
                renewed = Instant::now();
                self.renew(&[]).await?;
            }
        }
        for part in plan.removals.chunks(KEYS_PER_TXN) {
            let ops: Vec<_> = part.iter().map(|copy| self.removal_ops(copy)).collect();
            let count = self.commit(&ops, |n| (part[n].key.as_str(), part[n].known)).await?;
            done.removed += count;
            done.lost += part.len() - count;
        }
        for part in plan.keeps.chunks(KEYS_PER_TXN) {
            let ops: Vec<_> = part.iter().map(|copy| self.keep_ops(copy)).collect();
            let count = self.commit(&ops, |n| (part[n].key.as_str(), part[n].known)).await?;
            done.lost += part.len() - count;
        }
        Ok(done)
    }

    /// Commits the operations of several keys, all at once or, if somebody else has written one of them, one by one; returns how
    /// many keys were written.
    async fn commit<'k>(
        &self,
        ops: &[Vec<TxnOp>],
        known: impl Fn(usize) -> (&'k str, i64),
    ) -> Result<usize, EtcdError> {
        let all: Vec<_> = (0..ops.len()).collect();
        if self.commit_some(ops, &all, &known).await? {
            return Ok(ops.len());
        }
        let mut count = 0;
        for n in all {
            count += usize::from(self.commit_some(ops, &[n], &known).await?);
        }
        Ok(count)
    }

    async fn commit_some<'k>(
        &self,
        ops: &[Vec<TxnOp>],
        which: &[usize],
        known: &impl Fn(usize) -> (&'k str, i64),
    ) -> Result<bool, EtcdError> {
        let compare = |n: &usize| {
            let (key, revision) = known(*n);
            Compare::mod_revision(key, CompareOp::Equal, revision)
        };
        let compares: Vec<_> = which.iter().map(compare).collect();
        let ops: Vec<_> = which.iter().flat_map(|n| ops[*n].clone()).collect();
        let mut kv = self.client.kv_client();
        let txn = async move { kv.txn(Txn::new().when(compares).and_then(ops)).await };
        Ok(self.wait("writing keys", txn).await?.succeeded())
    }

    async fn put_ops(&mut self, write: &Write) -> Result<Vec<TxnOp>, EtcdError> {
        let lease = match write.lease {
            Some(seconds) => self.lease(seconds).await?,
            None => 0,
        };
        let options = || Some(PutOptions::new().with_lease(lease));
        let mut ops = vec![
            TxnOp::put(write.key.as_str(), write.value.as_str(), options()),
            TxnOp::put(self.marks.of_key(&write.key), write.index.to_string(), options()),
        ];
        ops.extend(
            write.taken_from.map(|cluster| TxnOp::delete(self.marks.of_copy(cluster, &write.key), None)),
        );
        Ok(ops)
    }

    fn removal_ops(&self, copy: &Copy) -> Vec<TxnOp> {
        vec![TxnOp::delete(copy.key.as_str(), None), TxnOp::delete(self.marks.of_key(&copy.key), None)]
    }

    /// Writes a copy as it is, so that its mark has its revision once more.
    fn keep_ops(&self, copy: &Copy) -> Vec<TxnOp> {
        let options = || Some(PutOptions::new().with_lease(copy.lease));
        vec![
            TxnOp::put(copy.key.as_str(), copy.value.clone(), options()),
            TxnOp::put(self.marks.of_key(&copy.key), KEPT, options()),
        ]
    }

    /// A lease for so many seconds.
    async fn lease(&mut self, seconds: u32) -> Result<i64, EtcdError> {
        if let Some(lease) = self.leases.get(&seconds) {
            return Ok(*lease);
        }
        let lease = self.grant(seconds.into()).await?;
        self.leases.insert(seconds, lease);
        self.granted.insert(lease, seconds);
        Ok(lease)
    }

    async fn grant(&self, seconds: i64) -> Result<i64, EtcdError> {
        let mut client = self.client.lease_client();
        let granted = async move { client.grant(seconds, None).await };
        Ok(self.wait("asking for a lease", granted).await?.id())
    }

    /// All keys with a prefix, at one revision.
    async fn list(&self, prefix: String) -> Result<Vec<KeyValue>, EtcdError> {
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
            match all.last() {
                Some(last) if has_more => start = [last.key(), b"\0"].concat(),
                _ => return Ok(all),
            }
        }
    }

    async fn wait<T>(
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
