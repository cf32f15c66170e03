//! Writes to the v3 store: each key with its mark, and only as far as nobody else has written the key since it was read.

use super::super::error::EtcdError;
use super::marks::KEPT;
use super::plan::{Copy, GRACE, Plan, Write};
use super::renewal::LOCK_RENEWAL;
use super::target::Target;
use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use tokio::time::Instant;

/// Keys that are written in one transaction: etcd takes 128 operations, and each key takes up to three.
const KEYS_PER_TXN: usize = 40;

/// Octets of keys and values that are written in one transaction: etcd takes 1.5 MiB.
const OCTETS_PER_TXN: usize = 512 << 10;

/// What came of writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) written: usize,
    pub(super) removed: usize,
    /// Keys that somebody else has written meanwhile.
    pub(super) lost: usize,
}

/// What one key takes: its name, the revision that v3 has to have it with, and the operations.
struct KeyOps<'p> {
    key: &'p str,
    known: i64,
    ops: Vec<TxnOp>,
}

impl Target {
    /// Does what a plan says, as far as nobody else writes the same keys; tells how many keys are done.
    pub(super) async fn write(
        &mut self,
        plan: &Plan,
        mut tell: impl FnMut(usize),
    ) -> Result<Written, EtcdError> {
        let (mut done, mut renewed) = (Written::default(), Instant::now());
        // Nothing is written without the lock.
        self.renew(&plan.renewals).await?;
        for part in parts(&plan.writes, |write| write.key.len() + write.value.len()) {
            let mut keys = Vec::new();
            for Write { key, value, index, lease, known, taken_from } in part {
                let lease = match lease {
                    Some(seconds) => self.lease(*seconds).await?,
                    None => 0,
                };
                let mut ops = self.put_ops(key, value.as_str(), &index.to_string(), lease);
                let mark = |cluster: &u64| TxnOp::delete(self.marks.of_copy(*cluster, key), None);
                ops.extend(taken_from.as_ref().map(mark));
                keys.push(KeyOps { key, known: *known, ops });
            }
            let count = self.commit(&keys).await?;
            done.written += count;
            done.lost += part.len() - count;
            tell(done.written + done.lost);
            self.keep_up(plan, &mut renewed).await?;
        }
        for part in parts(&plan.removals, |copy| copy.key.len()) {
            let removal = |copy: &Copy| {
                let mark = TxnOp::delete(self.marks.of_key(&copy.key), None);
                vec![TxnOp::delete(copy.key.as_str(), None), mark]
            };
            let keys: Vec<_> = part.iter().map(|copy| copy.with(removal(copy))).collect();
            let count = self.commit(&keys).await?;
            done.removed += count;
            done.lost += part.len() - count;
            self.keep_up(plan, &mut renewed).await?;
        }
        for part in parts(&plan.keeps, |copy| copy.key.len() + copy.value.len()) {
            // As it is, so that its mark has its revision once more.
            let keep = |copy: &Copy| self.put_ops(&copy.key, copy.value.clone(), KEPT, copy.lease);
            let keys: Vec<_> = part.iter().map(|copy| copy.with(keep(copy))).collect();
            done.lost += part.len() - self.commit(&keys).await?;
            self.keep_up(plan, &mut renewed).await?;
        }
        Ok(done)
    }

    /// Renews what must not end while much is written.
    async fn keep_up(&mut self, plan: &Plan, renewed: &mut Instant) -> Result<(), EtcdError> {
        if renewed.elapsed() <= LOCK_RENEWAL {
            return Ok(());
        }
        *renewed = Instant::now();
        let mut leases = self.leases.of_pass();
        leases.extend(&plan.renewals);
        leases.extend(self.leases.ending_within(GRACE));
        leases.sort_unstable();
        leases.dedup();
        self.renew(&leases).await
    }

    /// Writes the operations of several keys, all at once or, if somebody else has written one of them, one by one; returns how
    /// many keys were written.
    async fn commit(&mut self, keys: &[KeyOps<'_>]) -> Result<usize, EtcdError> {
        if self.commit_some(keys).await? {
            return Ok(keys.len());
        }
        // Unless it is the lock that has ended.
        self.commit_fenced("looking for the lock", Vec::new()).await?;
        let mut count = 0;
        for key in keys {
            count += usize::from(self.commit_some(std::slice::from_ref(key)).await?);
        }
        Ok(count)
    }

    async fn commit_some(&self, keys: &[KeyOps<'_>]) -> Result<bool, EtcdError> {
        let is_known = |key: &KeyOps<'_>| Compare::mod_revision(key.key, CompareOp::Equal, key.known);
        let compares: Vec<_> = keys.iter().map(is_known).chain(self.fence()).collect();
        let ops: Vec<_> = keys.iter().flat_map(|key| key.ops.clone()).collect();
        let mut kv = self.client.kv_client();
        let txn = async move { kv.txn(Txn::new().when(compares).and_then(ops)).await };
        Ok(self.wait("writing keys", txn).await?.succeeded())
    }

    /// Puts a copy and its mark.
    fn put_ops(&self, key: &str, value: impl Into<Vec<u8>>, mark: &str, lease: i64) -> Vec<TxnOp> {
        let options = || Some(PutOptions::new().with_lease(lease));
        vec![TxnOp::put(key, value, options()), TxnOp::put(self.marks.of_key(key), mark, options())]
    }
}

impl Copy {
    fn with(&self, ops: Vec<TxnOp>) -> KeyOps<'_> {
        KeyOps { key: &self.key, known: self.known, ops }
    }
}

/// Parts of a list, of which each makes one transaction.
fn parts<T>(mut list: &[T], octets: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut parts = Vec::new();
    while !list.is_empty() {
        let mut sum = 0;
        let fits = list.iter().take(KEYS_PER_TXN).take_while(|item| {
            sum += octets(item);
            sum <= OCTETS_PER_TXN
        });
        let (part, rest) = list.split_at(fits.count().max(1));
        parts.push(part);
        list = rest;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_has_so_many_keys_and_octets() {
        let lengths =
            |list: &[usize]| parts(list, |octets| *octets).iter().map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&[]), [0_usize; 0]);
        assert_eq!(lengths(&[1; 100]), [40, 40, 20]);
        assert_eq!(lengths(&[200 << 10; 5]), [2, 2, 1]);
        assert_eq!(lengths(&[1, 9 << 20, 1]), [1, 1, 1]);
    }
}
