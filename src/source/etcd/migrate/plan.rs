//! What is to be done so that v3 has what v2 has: a pure function of both.

use super::leases::LeaseTime;
use std::collections::{BTreeMap, HashMap};

/// Seconds that a copy outlives its key: who carries it may be late.
pub(super) const GRACE: u32 = 60;

/// A lease is renewed when so many seconds more than those of its keys are left of it, and not at each pass: a copy must not live
/// longer than its key because nobody renews that.
const RENEWED_AT: u32 = GRACE / 4 * 3;

/// A lease that was granted for so many times the seconds that its key needs is replaced by a shorter one.
const TOO_LONG: u32 = 3;

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
    pub(super) owner: Owner,
}

/// Who wrote a key of v3 last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Some writer.
    Other,
    /// This command, from the key of v2 that had this index.
    Us(u64),
    /// The same, and v2 lost the key when it was emptied or went back in time: it is not removed until v2 has had it again.
    Kept,
    /// This command, from v2 of another cluster, with this id.
    OfCluster(u64),
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
    /// The cluster that it was carried from before.
    pub(super) taken_from: Option<u64>,
}

/// A copy of which v2 has no key any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    pub(super) lease: i64,
    /// The revision that v3 has to have it with.
    pub(super) known: i64,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) writes: Vec<Write>,
    /// Copies to be deleted.
    pub(super) removals: Vec<Copy>,
    /// Copies to be kept from now on.
    pub(super) keeps: Vec<Copy>,
    /// Copies that are kept already, those of other clusters included.
    pub(super) kept: Vec<String>,
    /// Leases of copies that are as they should be.
    pub(super) renewals: Vec<i64>,
    /// Keys that v3 has as they should be.
    pub(super) same: usize,
    /// Keys that another writer has in v3.
    pub(super) native: usize,
    /// Of these, those with another value.
    pub(super) other_values: Vec<String>,
}

/// Whether v2 has an older state than before: the index of a key never falls otherwise.
pub(super) fn went_back(v2: &BTreeMap<String, V2Key>, v3: &BTreeMap<String, V3Key>) -> bool {
    let before = |key| match v3.get(key)?.owner {
        Owner::Us(index) => Some(index),
        _ => None,
    };
    v2.iter().any(|(key, now)| before(key).is_some_and(|index| now.index < index))
}

/// What is to be done. `leases` are those that are known, and `reads` says whether a key of v2 would have been seen. Copies of keys
/// that are gone are removed if `removes`, and else kept.
pub(super) fn plan(
    v2: &BTreeMap<String, V2Key>,
    v3: &BTreeMap<String, V3Key>,
    leases: &HashMap<i64, LeaseTime>,
    reads: impl Fn(&str) -> bool,
    removes: bool,
) -> Plan {
    let mut plan = Plan::default();
    for (key, wanted) in v2 {
        let present = v3.get(key);
        if let Some(present) = present.filter(|present| present.owner == Owner::Other) {
            plan.native += 1;
            if present.value != wanted.value.as_bytes() {
                plan.other_values.push(key.clone());
            }
            continue;
        }
        let lease = wanted.ttl.map(lease_seconds);
        if let Some(present) = present.filter(|present| is_same(present, wanted, leases)) {
            plan.same += 1;
            let is_due =
                |time: &&LeaseTime| time.left < wanted.ttl.unwrap_or_default().saturating_add(RENEWED_AT);
            plan.renewals.extend(leases.get(&present.lease).filter(is_due).map(|_| present.lease));
            continue;
        }
        plan.writes.push(Write {
            key: key.clone(),
            value: wanted.value.clone(),
            index: wanted.index,
            lease,
            known: present.map_or(0, |present| present.mod_revision),
            taken_from: present.and_then(|present| match present.owner {
                Owner::OfCluster(cluster) => Some(cluster),
                _ => None,
            }),
        });
    }
    plan.renewals.sort_unstable();
    plan.renewals.dedup();
    // What is kept is kept as a whole: nobody knows what was lost of keys that were not looked at.
    let is_gone = |(key, _): &(&String, _)| !v2.contains_key(*key) && (!removes || reads(key));
    for (key, V3Key { value, mod_revision, lease, owner }) in v3.iter().filter(is_gone) {
        let gone = match owner {
            Owner::Us(_) if removes => &mut plan.removals,
            Owner::Us(_) => &mut plan.keeps,
            Owner::Kept | Owner::OfCluster(_) => {
                plan.kept.push(key.clone());
                continue;
            }
            Owner::Other => continue,
        };
        gone.push(Copy { key: key.clone(), value: value.clone(), lease: *lease, known: *mod_revision });
    }
    plan
}

/// The seconds of the lease of a key that has so many left.
fn lease_seconds(ttl: u32) -> u32 {
    ttl.div_ceil(LEASE_STEP).saturating_mul(LEASE_STEP).saturating_add(GRACE)
}

/// Whether a copy need not be written again.
fn is_same(present: &V3Key, wanted: &V2Key, leases: &HashMap<i64, LeaseTime>) -> bool {
    let is_bound = match wanted.ttl {
        None => present.lease == 0,
        Some(ttl) => leases.get(&present.lease).is_some_and(|time| {
            let longest = lease_seconds(ttl).saturating_mul(TOO_LONG);
            (ttl.saturating_add(GRACE / 2)..=longest).contains(&time.granted)
        }),
    };
    let is_marked = matches!(present.owner, Owner::Us(index) if index <= wanted.index);
    is_marked && present.value == wanted.value.as_bytes() && is_bound
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

    fn v3(keys: &[(&str, &str, i64, Owner)]) -> BTreeMap<String, V3Key> {
        let key = |(key, value, lease, owner): &(&str, &str, i64, Owner)| {
            let (value, owner) = (value.as_bytes().to_vec(), *owner);
            ((*key).to_owned(), V3Key { value, mod_revision: 9, lease: *lease, owner })
        };
        keys.iter().map(key).collect()
    }

    fn keys(copies: &[Copy]) -> Vec<&str> {
        copies.iter().map(|copy| copy.key.as_str()).collect()
    }

    #[test]
    fn native_keys_are_never_touched() {
        let wanted = v2(&[("/a", "1", None), ("/c", "3", None)]);
        let present =
            v3(&[("/a", "2", 0, Owner::Other), ("/b", "3", 0, Owner::Other), ("/c", "3", 0, Owner::Other)]);
        let plan = plan(&wanted, &present, &HashMap::new(), |_| true, true);
        assert_eq!(plan, Plan { native: 2, other_values: vec!["/a".to_owned()], ..Plan::default() });
    }

    #[test]
    fn what_differs_is_written_and_what_is_gone_is_removed() {
        let wanted = v2(&[("/new", "1", Some(7)), ("/changed", "2", None), ("/same", "3", None)]);
        let ours = Owner::Us(4);
        let present = v3(&[("/changed", "0", 0, ours), ("/same", "3", 0, ours), ("/gone", "4", 0, ours)]);
        let plan = plan(&wanted, &present, &HashMap::new(), |_| true, true);
        let written: Vec<_> = plan.writes.iter().map(|w| (w.key.as_str(), w.lease, w.known)).collect();
        assert_eq!(written, [("/changed", None, 9), ("/new", Some(70), 0)]);
        assert_eq!((keys(&plan.removals), keys(&plan.keeps), plan.same), (vec!["/gone"], vec![], 1));
        let plan = super::plan(&wanted, &present, &HashMap::new(), |_| true, false);
        assert_eq!((keys(&plan.removals), keys(&plan.keeps)), (vec![], vec!["/gone"]));
    }

    #[test]
    fn what_is_kept_is_removed_only_after_v2_has_had_it_again() {
        let present = v3(&[("/a", "1", 0, Owner::Kept), ("/b", "1", 0, Owner::Kept)]);
        let plan = plan(&v2(&[("/a", "1", None)]), &present, &HashMap::new(), |_| true, true);
        // Written once more, which marks it as one like others.
        assert_eq!((plan.writes.len(), plan.removals.len(), plan.kept), (1, 0, vec!["/b".to_owned()]));
    }

    #[test]
    fn copies_of_another_cluster_are_taken_over_and_never_removed() {
        let present = v3(&[("/a", "1", 0, Owner::OfCluster(7)), ("/b", "1", 0, Owner::OfCluster(7))]);
        let plan = plan(&v2(&[("/a", "2", None)]), &present, &HashMap::new(), |_| true, true);
        assert_eq!((plan.writes[0].taken_from, plan.writes[0].known), (Some(7), 9));
        assert_eq!((plan.removals.len(), plan.keeps.len(), plan.kept.len()), (0, 0, 1));
    }

    #[test]
    fn copies_of_keys_that_are_not_looked_at_stay() {
        let present = v3(&[("/a", "1", 0, Owner::Us(4)), ("/_b", "1", 0, Owner::Us(4))]);
        let plan = plan(&v2(&[]), &present, &HashMap::new(), |key| !key.contains('_'), true);
        assert_eq!((keys(&plan.removals), plan.kept.len()), (vec!["/a"], 0));
    }

    #[test]
    fn an_index_that_falls_is_an_older_state() {
        let (older, present) = (v2(&[("/a", "1", None)]), |index| v3(&[("/a", "1", 0, Owner::Us(index))]));
        assert!(went_back(&older, &present(6)) && !went_back(&older, &present(5)));
        // It is written again, so that the next pass finds nothing.
        assert_eq!(plan(&older, &present(6), &HashMap::new(), |_| true, false).writes[0].index, 5);
    }

    #[test]
    fn leases_follow_the_time_to_live() {
        let leases = HashMap::from([(7, LeaseTime { granted: 90, left: 74 })]);
        let of = |ttl, lease| {
            plan(&v2(&[("/a", "1", ttl)]), &v3(&[("/a", "1", lease, Owner::Us(5))]), &leases, |_| true, true)
        };
        assert_eq!(of(Some(30), 7).renewals, [7]);
        assert_eq!((of(Some(29), 7).renewals, of(Some(29), 7).same), (vec![], 1), "enough is left");
        assert_eq!(of(Some(61), 7).writes[0].lease, Some(125), "it lives longer than its lease");
        let leases = HashMap::from([(7, LeaseTime { granted: 1_000, left: 900 })]);
        let present = v3(&[("/a", "1", 7, Owner::Us(5))]);
        let long = |ttl| plan(&v2(&[("/a", "1", Some(ttl))]), &present, &leases, |_| true, true);
        assert_eq!((long(300).same, long(60).writes[0].lease), (1, Some(120)), "its lease is far longer");
        assert_eq!(of(Some(30), 8).writes.len(), 1, "nothing is known of its lease");
        assert_eq!(of(Some(30), 0).writes.len(), 1, "it has none");
        assert_eq!(of(None, 7).writes[0].lease, None, "it lives for ever now");
        assert_eq!(of(None, 0).same, 1);
    }
}
