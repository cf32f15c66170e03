//! What is to be done so that v3 has what v2 has: a pure function of both.

use std::collections::{BTreeMap, HashMap};

/// Seconds that a copy outlives its key: who carries it may be late.
pub(super) const GRACE: u32 = 60;

/// Leases are for so many seconds or a multiple of it, so that they are few.
const LEASE_STEP: u32 = 5;

/// A key of v2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct V2Key {
    pub(super) value: String,
    /// Seconds that are left of it, or of a directory above it.
    pub(super) ttl: Option<u32>,
    /// The index of its last change.
    pub(super) index: u64,
}

/// A key of v3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct V3Key {
    pub(super) value: Vec<u8>,
    pub(super) mod_revision: i64,
    pub(super) lease: i64,
    /// Whether it was written by this command, and by nobody since then.
    pub(super) is_ours: bool,
}

/// A key to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) index: u64,
    /// Seconds of its lease, if it has one.
    pub(super) lease: Option<u32>,
    /// The revision that v3 has to have it with; 0 if it must not have it.
    pub(super) known: i64,
}

/// A key to be deleted, with the revision that v3 has to have it with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Removal {
    pub(super) key: String,
    pub(super) known: i64,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) writes: Vec<Write>,
    pub(super) removals: Vec<Removal>,
    /// Leases of copies that are as they should be.
    pub(super) renewals: Vec<i64>,
    /// Keys that v3 has as they should be.
    pub(super) same: usize,
    /// Keys that another writer has in v3.
    pub(super) native: usize,
}

/// What is to be done. `granted` has the seconds of leases that are known. Nothing is removed unless `removes`.
pub(super) fn plan(
    v2: &BTreeMap<String, V2Key>,
    v3: &BTreeMap<String, V3Key>,
    granted: &HashMap<i64, u32>,
    removes: bool,
) -> Plan {
    let mut plan = Plan::default();
    for (key, wanted) in v2 {
        let present = v3.get(key);
        if present.is_some_and(|present| !present.is_ours) {
            plan.native += 1;
            continue;
        }
        let lease = wanted.ttl.map(lease_seconds);
        if let Some(present) = present.filter(|present| is_same(present, wanted, granted)) {
            plan.same += 1;
            plan.renewals.extend((present.lease != 0).then_some(present.lease));
            continue;
        }
        plan.writes.push(Write {
            key: key.clone(),
            value: wanted.value.clone(),
            index: wanted.index,
            lease,
            known: present.map_or(0, |present| present.mod_revision),
        });
    }
    plan.renewals.sort_unstable();
    plan.renewals.dedup();
    let gone = v3.iter().filter(|(key, present)| removes && present.is_ours && !v2.contains_key(*key));
    plan.removals
        .extend(gone.map(|(key, present)| Removal { key: key.clone(), known: present.mod_revision }));
    plan
}

/// The seconds of the lease of a key that has so many left.
fn lease_seconds(ttl: u32) -> u32 {
    ttl.div_ceil(LEASE_STEP).saturating_mul(LEASE_STEP).saturating_add(GRACE)
}

/// Whether a copy need not be written again.
fn is_same(present: &V3Key, wanted: &V2Key, granted: &HashMap<i64, u32>) -> bool {
    let is_bound = match wanted.ttl {
        None => present.lease == 0,
        Some(ttl) => granted.get(&present.lease).is_some_and(|granted| *granted >= ttl),
    };
    present.value == wanted.value.as_bytes() && is_bound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(keys: &[(&str, &str, Option<u32>)]) -> BTreeMap<String, V2Key> {
        let key = |(key, value, ttl): &(&str, &str, Option<u32>)| {
            ((*key).to_owned(), V2Key { value: (*value).to_owned(), ttl: *ttl, index: 5 })
        };
        keys.iter().map(key).collect()
    }

    fn v3(keys: &[(&str, &str, i64, bool)]) -> BTreeMap<String, V3Key> {
        let key = |(key, value, lease, is_ours): &(&str, &str, i64, bool)| {
            let (value, is_ours) = (value.as_bytes().to_vec(), *is_ours);
            ((*key).to_owned(), V3Key { value, mod_revision: 9, lease: *lease, is_ours })
        };
        keys.iter().map(key).collect()
    }

    #[test]
    fn native_keys_are_never_touched() {
        let plan = plan(
            &v2(&[("/a", "1", None)]),
            &v3(&[("/a", "2", 0, false), ("/b", "3", 0, false)]),
            &HashMap::new(),
            true,
        );
        assert_eq!(plan, Plan { native: 1, ..Plan::default() });
    }

    #[test]
    fn what_differs_is_written_and_what_is_gone_is_removed() {
        let wanted = v2(&[("/new", "1", Some(7)), ("/changed", "2", None), ("/same", "3", None)]);
        let present = v3(&[("/changed", "0", 0, true), ("/same", "3", 0, true), ("/gone", "4", 0, true)]);
        let plan = plan(&wanted, &present, &HashMap::new(), true);
        let written: Vec<_> = plan.writes.iter().map(|w| (w.key.as_str(), w.lease, w.known)).collect();
        assert_eq!(written, [("/changed", None, 9), ("/new", Some(70), 0)]);
        assert_eq!(plan.removals, [Removal { key: "/gone".to_owned(), known: 9 }]);
        assert_eq!(plan.same, 1);
        assert!(super::plan(&wanted, &present, &HashMap::new(), false).removals.is_empty());
    }

    #[test]
    fn leases_follow_the_time_to_live() {
        let granted = HashMap::from([(7, 90)]);
        let of =
            |ttl, lease| plan(&v2(&[("/a", "1", ttl)]), &v3(&[("/a", "1", lease, true)]), &granted, true);
        assert_eq!(of(Some(30), 7).renewals, [7]);
        assert_eq!(of(Some(91), 7).writes[0].lease, Some(155), "it lives longer than its lease");
        assert_eq!(of(Some(30), 8).writes.len(), 1, "nothing is known of its lease");
        assert_eq!(of(Some(30), 0).writes.len(), 1, "it has none");
        assert_eq!(of(None, 7).writes[0].lease, None, "it lives for ever now");
        assert_eq!(of(None, 0).same, 1);
    }
}
