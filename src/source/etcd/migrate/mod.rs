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
use marks::Seen;
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

impl Pass {
    /// Whether everything was looked at, and nothing is left that is not carried.
    fn shows_nothing_left(&self) -> bool {
        self.uncarried.is_empty() && !self.is_half_searched
    }
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
    /// What v2 was at the last pass.
    seen: Option<Seen>,
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
        self.add_hidden(&store, &mut pass).await;
        pass.is_over = self.is_over(&store, &present, &target) && !is_older && pass.shows_nothing_left();
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
        if let Ok(pass) = &mut passed {
            self.add_hidden(&store, pass).await;
            pass.is_over &= pass.shows_nothing_left();
            if pass.is_over
                && let Err(error) = target.remove_marks().await
            {
                passed = Err(MigrateError::To(error));
            }
        }
        target.unlock().await;
        passed
    }

    /// Reads v2, which may have changed before the lock was taken, and does a pass.
    async fn pass_anew(
        &mut self,
        store: &mut V2Store,
        target: &mut Target,
        is_last: bool,
        tell: &mut impl FnMut(MigrateNews<'_>),
    ) -> Result<Pass, MigrateError> {
        *store = target.holding(self.read_v2()).await.map_err(MigrateError::To)??;
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
        pass.is_over = is_last && self.is_over(store, &present, target) && !is_older;
        if pass.is_over {
            // They belong to nobody from now on.
            plan.keeps.clear();
        }
        let services = store.services(&self.keyspace);
        let now = Seen { index: store.index, services };
        let before = self.before(target);
        let highest = before.map_or(now, |before| Seen { index: before.index.max(now.index), services });
        let is_begun = before.is_some() || !store.holds_nothing();
        let is_news = self.seen.is_none()
            || target.marked().is_none_or(|marked| marked.services != services)
            || plan.writes.len() + plan.removals.len() > 0;
        if is_begun && (is_news || is_older) {
            target.mark(mark_of(store, highest)).await.map_err(MigrateError::To)?;
        }
        let all = plan.writes.len();
        let written = target.write(&plan, |done| tell(MigrateNews::Progress(done, all))).await;
        let Written { written, removed, lost } = written.map_err(MigrateError::To)?;
        if is_older {
            // What it lost is marked now, one by one; what it loses later is gone.
            target.mark(mark_of(store, now)).await.map_err(MigrateError::To)?;
        }
        (pass.written, pass.removed, pass.lost) = (written, removed, lost);
        self.seen = Some(now);
        Ok(pass)
    }

    /// Whether v2 has an older state than before, such as that of a backup.
    fn is_older(&self, store: &V2Store, present: &BTreeMap<String, V3Key>, target: &Target) -> bool {
        self.before(target).is_some_and(|before| store.index < before.index)
            || went_back(&store.keys, present)
    }

    /// What v2 was when this or another run read it last.
    fn before(&self, target: &Target) -> Option<Seen> {
        self.seen.into_iter().chain(target.marked()).max_by_key(|seen| seen.index)
    }

    /// Whether a move that was begun has nothing left to be carried, now or later.
    fn is_over(&self, store: &V2Store, present: &BTreeMap<String, V3Key>, target: &Target) -> bool {
        let is_unread = |(key, copy): (&String, &V3Key)| {
            matches!(copy.owner, Owner::Us(_) | Owner::Kept) && !self.origin.reads(key)
        };
        store.holds_nothing() && self.before(target).is_some() && !present.iter().any(is_unread)
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
        let (before, now) =
            (self.before(target).map_or(0, |before| before.services), store.services(&self.keyspace));
        let is_most = |gone: usize, of: usize| gone > MAX_GONE && gone * 2 > of;
        let is_last = before == 1 && self.seen.is_some();
        let is_emptied =
            now == 0 && !is_last || is_most(gone, all) || is_most(before.saturating_sub(now), before);
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
fn mark_of(store: &V2Store, seen: Seen) -> String {
    let Seen { index, services } = seen;
    serde_json::json!({ "from": store.endpoint, "index": index, "services": services, "at": unix_time() })
        .to_string()
}
