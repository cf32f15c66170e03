//! Carries the keys of etcd's v2 API to v3, for `skydns migrate`: once, or until it is stopped.
//!
//! Each pass reads both stores and writes the difference, so a pass that was cut short, or a change that was missed, is made
//! good by the next one. What v3 has of others is never touched: they have moved already.

mod follow;
mod leases;
mod marks;
mod origin;
mod plan;
mod renewal;
mod target;
mod write;

pub use origin::Uncarried;

use super::connect::EtcdSettings;
use super::error::EtcdError;
use crate::clock::unix_time;
use crate::service::Keyspace;
use origin::{Origin, V2Store};
use plan::{Owner, Plan, V3Key, plan, went_back};
use std::collections::BTreeMap;
use target::Target;
use write::Written;

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

/// Passes of a run that ends by itself, while others write the same keys.
const MAX_PASSES: u32 = 3;

/// More copies than these, and more than half of all, are not removed in one pass: v2 has lost their keys, and not deleted them.
const MAX_GONE: usize = 3;

/// What a pass found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Keys of v2 that can be carried.
    pub keys: usize,
    /// Of these, those that v3 had as they are.
    pub same: usize,
    /// Of these, those that other writers have in v3.
    pub native: usize,
    /// Of the native ones, those with another value than in v2.
    pub other_values: Vec<String>,
    /// Keys that were written, or would be.
    pub written: usize,
    /// Of these, copies from another cluster.
    pub taken_over: usize,
    /// Copies that were removed, or would be, because v2 has the keys no more.
    pub removed: usize,
    /// Keys that others wrote at the same moment; the next pass looks at them.
    pub lost: usize,
    /// Keys that cannot be carried.
    pub uncarried: Vec<Uncarried>,
    /// Whether not all directories could be looked into for hidden keys.
    pub is_half_searched: bool,
    /// Copies that are kept though v2 does not have them: it lost them when it was emptied, went back in time, or became another
    /// cluster.
    pub kept: Vec<String>,
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
        let mut target = self.connect(&store, None).await?;
        let present = target.read().await.map_err(MigrateError::To)?;
        let is_older = self.is_older(&store, &present, &target);
        let (plan, mut pass) = self.plan(&store, &present, &target, is_older);
        (pass.written, pass.removed) = (plan.writes.len(), plan.removals.len());
        pass.is_over = store.holds_nothing() && !is_older;
        self.add_hidden(&store, &mut pass).await;
        Ok(pass)
    }

    /// Carries all keys once. If v2 holds none, the marks of the move are removed.
    ///
    /// # Errors
    /// A store cannot be read or written, or another one carries keys now.
    pub async fn carry(&mut self, mut tell: impl FnMut(MigrateNews<'_>)) -> Result<Pass, MigrateError> {
        let mut store = self.read_v2().await?;
        let mut target = self.connect(&store, None).await?;
        target.lock().await.map_err(MigrateError::To)?;
        let mut passed = self.pass_anew(&mut store, &mut target, true, &mut tell).await;
        for _ in 1..MAX_PASSES {
            match &passed {
                Ok(pass) if pass.lost > 0 => {
                    let (written, removed) = (pass.written, pass.removed);
                    passed = self.pass_anew(&mut store, &mut target, true, &mut tell).await;
                    if let Ok(pass) = &mut passed {
                        (pass.written, pass.removed) = (pass.written + written, pass.removed + removed);
                    }
                }
                _ => break,
            }
        }
        let is_over = passed.as_ref().is_ok_and(|pass| pass.is_over);
        let removed = if is_over { target.remove_marks().await.map_err(MigrateError::To) } else { Ok(()) };
        target.unlock().await;
        let mut pass = passed?;
        removed?;
        self.add_hidden(&store, &mut pass).await;
        Ok(pass)
    }

    /// Reads v2, which may have changed before the lock was taken, and does a pass.
    async fn pass_anew(
        &mut self,
        store: &mut V2Store,
        target: &mut Target,
        is_last: bool,
        tell: &mut impl FnMut(MigrateNews<'_>),
    ) -> Result<Pass, MigrateError> {
        let now = self.read_v2().await?;
        if now.cluster != store.cluster {
            let cause = "it is of another cluster than at the beginning: end this, and begin anew".to_owned();
            return Err(MigrateError::From(EtcdError::Failed { endpoint: now.endpoint, cause }));
        }
        *store = now;
        self.pass(store, target, is_last, tell).await
    }

    /// Writes the difference of both stores. If it is the last pass and v2 holds nothing, the move is over.
    async fn pass(
        &mut self,
        store: &V2Store,
        target: &mut Target,
        is_last: bool,
        tell: &mut impl FnMut(MigrateNews<'_>),
    ) -> Result<Pass, MigrateError> {
        let present = target.read().await.map_err(MigrateError::To)?;
        let is_older = self.is_older(store, &present, target);
        let (mut plan, mut pass) = self.plan(store, &present, target, is_older);
        // A store that is empty because it went back in time may come back.
        pass.is_over = is_last && store.holds_nothing() && !is_older;
        if pass.is_over {
            // They belong to nobody from now on.
            plan.keeps.clear();
        }
        let before = self.seen.map(|(_, index)| index).into_iter().chain(target.marked_index());
        let highest = before.fold(store.index, u64::max);
        if self.seen.is_none() || is_older || !plan.writes.is_empty() {
            target.mark(mark_of(store, highest)).await.map_err(MigrateError::To)?;
        }
        let all = plan.writes.len();
        let written = target.write(&plan, |done| tell(MigrateNews::Progress(done, all))).await;
        let Written { written, removed, lost } = written.map_err(MigrateError::To)?;
        if is_older {
            // What it lost is marked now, one by one; what it loses later is gone.
            target.mark(mark_of(store, store.index)).await.map_err(MigrateError::To)?;
        }
        (pass.written, pass.removed, pass.lost) = (written, removed, lost);
        self.seen = Some((store.cluster, store.index));
        Ok(pass)
    }

    /// Whether v2 has an older state than before, such as that of a backup.
    fn is_older(&self, store: &V2Store, present: &BTreeMap<String, V3Key>, target: &Target) -> bool {
        let marked = target.marked_index().map(|index| (store.cluster, index));
        let seen = self.seen.or(marked);
        seen.is_some_and(|(cluster, index)| cluster == store.cluster && store.index < index)
            || went_back(&store.keys, present)
    }

    fn plan(
        &self,
        store: &V2Store,
        present: &BTreeMap<String, V3Key>,
        target: &Target,
        is_older: bool,
    ) -> (Plan, Pass) {
        let reads = |key: &str| self.origin.reads(key);
        let ours = || present.iter().filter(|(key, copy)| matches!(copy.owner, Owner::Us(_)) && reads(key));
        let (all, gone) = (ours().count(), ours().filter(|(key, _)| !store.keys.contains_key(*key)).count());
        // A store that lost all its keys, or most of them at once, says nothing of the services. The last key of all may go.
        let is_emptied = store.services(&self.keyspace) == 0 && !(all == 1 && self.seen.is_some())
            || gone > MAX_GONE && gone * 2 > all;
        let plan = plan(&store.keys, present, &target.leases.times(), reads, !is_older && !is_emptied);
        let pass = Pass {
            keys: store.keys.len(),
            same: plan.same,
            native: plan.native,
            other_values: plan.other_values.clone(),
            taken_over: plan.writes.iter().filter(|write| write.taken_from.is_some()).count(),
            kept: plan.kept.iter().chain(plan.keeps.iter().map(|copy| &copy.key)).cloned().collect(),
            uncarried: store.uncarried.clone(),
            ..Pass::default()
        };
        (plan, pass)
    }

    async fn read_v2(&mut self) -> Result<V2Store, MigrateError> {
        self.origin.read().await.map_err(MigrateError::From)
    }

    /// Connects to v3, which has to be of a cluster if one is given.
    async fn connect(&self, store: &V2Store, cluster: Option<u64>) -> Result<Target, MigrateError> {
        let of_v2 = Some(store.cluster).filter(|cluster| self.is_same_store && *cluster != 0);
        let connected = Target::connect(&self.to, &self.keyspace, store, cluster.or(of_v2));
        connected.await.map_err(MigrateError::To)
    }

    async fn add_hidden(&self, store: &V2Store, pass: &mut Pass) {
        let hidden = self.origin.hidden(store).await;
        let uncarried = |key| Uncarried { key, reason: "it is hidden: name it with -v2-also".to_owned() };
        pass.uncarried.extend(hidden.keys.into_iter().map(uncarried));
        pass.is_half_searched = !hidden.is_whole;
    }
}

/// The mark of a move.
fn mark_of(store: &V2Store, index: u64) -> String {
    serde_json::json!({ "from": store.endpoint, "index": index, "at": unix_time() }).to_string()
}
