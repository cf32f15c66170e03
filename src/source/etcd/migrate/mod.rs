//! Carries the keys of etcd's v2 API to v3, for `skydns migrate`: once, or until it is stopped.
//!
//! Each pass reads both stores and writes the difference, so a pass that was cut short, or a change that was missed, is made
//! good by the next one. What v3 has of others is never touched: they have moved already.

mod follow;
mod origin;
mod plan;
mod target;

pub use origin::Uncarried;

use super::connect::EtcdSettings;
use super::error::EtcdError;
use crate::clock::unix_time;
use crate::service::Keyspace;
use origin::{Origin, V2Store};
use plan::{Plan, V3Key, plan};
use std::collections::BTreeMap;
use target::{Target, Written};

/// Which store failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// That of v2.
    #[error("v2: {0}")]
    From(EtcdError),
    /// That of v3.
    #[error("v3: {0}")]
    To(EtcdError),
}

/// What a pass found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Keys of v2 that can be carried.
    pub keys: usize,
    /// Of these, those that v3 had as they are.
    pub same: usize,
    /// Of these, those that other writers have in v3.
    pub native: usize,
    /// Keys that were written, or would be.
    pub written: usize,
    /// Copies that were removed, or would be, because v2 has the keys no more.
    pub removed: usize,
    /// Keys that others wrote at the same moment; the next pass looks at them.
    pub lost: usize,
    /// Keys that cannot be carried.
    pub uncarried: Vec<Uncarried>,
    /// Copies that are kept though v2 has nothing of them: the whole store is empty, or older than before.
    pub kept: usize,
    /// Whether v2 holds nothing any more, and the marks of the move were removed.
    pub is_over: bool,
}

/// What happens, for an operator.
#[derive(Debug)]
pub enum MigrateNews<'a> {
    /// So many of so many keys are done.
    Progress(usize, usize),
    /// A pass has ended; the first is told always, later ones if they changed anything.
    Pass(&'a Pass),
    /// A pass failed, and is tried again.
    Failed(&'a MigrateError),
}

/// A move from the v2 API of one store to the v3 API of the same or another one.
#[derive(Debug)]
pub struct Migration {
    origin: Origin,
    to: EtcdSettings,
    /// Whether v3 is that of the store of v2.
    is_same_store: bool,
    keyspace: Keyspace,
    /// The cluster and index of v2 when it was read last.
    seen: Option<(u64, u64)>,
}

impl Migration {
    /// A move of the keys below a path prefix, and of hidden ones that are named.
    pub fn new(from: EtcdSettings, to: EtcdSettings, keyspace: Keyspace, also: &[String]) -> Self {
        let is_same_store = from.endpoints == to.endpoints;
        Self { origin: Origin::new(from, keyspace.clone(), also), to, is_same_store, keyspace, seen: None }
    }

    /// Finds out what a pass would do.
    ///
    /// # Errors
    /// A store cannot be read.
    pub async fn look(&mut self) -> Result<Pass, MigrateError> {
        let store = self.read_v2().await?;
        let mut target = self.connect(&store).await?;
        let present = target.read().await.map_err(MigrateError::To)?;
        let (plan, mut pass) = self.plan(&store, &present, &target);
        (pass.written, pass.removed) = (plan.writes.len(), plan.removals.len());
        self.add_hidden(&store, &mut pass).await;
        Ok(pass)
    }

    /// Carries all keys once. If v2 holds none, the marks of the move are removed.
    ///
    /// # Errors
    /// A store cannot be read or written, or another one carries keys now.
    pub async fn carry(&mut self, mut tell: impl FnMut(MigrateNews<'_>)) -> Result<Pass, MigrateError> {
        let store = self.read_v2().await?;
        let mut target = self.connect(&store).await?;
        target.lock().await.map_err(MigrateError::To)?;
        let passed = self.pass(&store, &mut target, &mut tell).await;
        // A store that is empty because it went back in time may come back.
        let is_older = target.marked_index().is_some_and(|marked| store.index < marked);
        let is_over = store.keys.is_empty() && store.uncarried.is_empty() && !is_older;
        let removed = if is_over { target.remove_marks().await.map_err(MigrateError::To) } else { Ok(()) };
        target.unlock().await;
        let mut pass = passed?;
        removed?;
        pass.is_over = is_over;
        self.add_hidden(&store, &mut pass).await;
        Ok(pass)
    }

    async fn pass(
        &mut self,
        store: &V2Store,
        target: &mut Target,
        tell: &mut impl FnMut(MigrateNews<'_>),
    ) -> Result<Pass, MigrateError> {
        let present = target.read().await.map_err(MigrateError::To)?;
        let (plan, mut pass) = self.plan(store, &present, target);
        let seen = self.seen.map(|(_, index)| index).into_iter().chain(target.marked_index());
        // The highest one: a store that went back in time is the older one until it has passed that.
        let index = seen.fold(store.index, u64::max);
        if self.seen.is_none() || !plan.writes.is_empty() {
            let mark = serde_json::json!({ "from": store.endpoint, "index": index, "at": unix_time() });
            target.mark(mark.to_string()).await.map_err(MigrateError::To)?;
        }
        let all = plan.writes.len();
        let written = target.write(&plan, |done| tell(MigrateNews::Progress(done, all))).await;
        let Written { written, removed, lost } = written.map_err(MigrateError::To)?;
        target.renew(&plan.renewals).await.map_err(MigrateError::To)?;
        (pass.written, pass.removed, pass.lost) = (written, removed, lost);
        self.seen = Some((store.cluster, index));
        Ok(pass)
    }

    fn plan(&self, store: &V2Store, present: &BTreeMap<String, V3Key>, target: &Target) -> (Plan, Pass) {
        // A store that lost all its keys, or went back in time, says nothing of the services.
        let marked = target.marked_index().map(|index| (store.cluster, index));
        let is_older = self
            .seen
            .or(marked)
            .is_some_and(|(cluster, index)| cluster == store.cluster && store.index < index);
        // The last key of all may go; more of them at once are a store that was emptied.
        let ours = present.values().filter(|copy| copy.is_ours).count();
        let removes = !is_older && (!store.keys.is_empty() || ours == 1 && self.seen.is_some());
        let plan = plan(&store.keys, present, target.granted(), removes);
        let is_kept = |(key, copy): &(&String, &V3Key)| copy.is_ours && !store.keys.contains_key(*key);
        let kept = if removes { 0 } else { present.iter().filter(is_kept).count() };
        let (keys, same, native) = (store.keys.len(), plan.same, plan.native);
        let uncarried = store.uncarried.clone();
        (plan, Pass { keys, same, native, kept, uncarried, ..Pass::default() })
    }

    async fn read_v2(&mut self) -> Result<V2Store, MigrateError> {
        self.origin.read().await.map_err(MigrateError::From)
    }

    async fn connect(&self, store: &V2Store) -> Result<Target, MigrateError> {
        let connected = Target::connect(&self.to, &self.keyspace, store, self.is_same_store);
        connected.await.map_err(MigrateError::To)
    }

    async fn add_hidden(&self, store: &V2Store, pass: &mut Pass) {
        let hidden = self.origin.hidden(store).await;
        let uncarried = |key| Uncarried { key, reason: "it is hidden: name it with -v2-also".to_owned() };
        pass.uncarried.extend(hidden.into_iter().map(uncarried));
    }
}
