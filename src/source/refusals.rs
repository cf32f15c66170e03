//! Entries of the stores that are not served, with the reason for each.

use super::id::SourceId;
use crate::lock::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Maximum number of refusals in memory. Of further ones, those of tenants with many are not listed or counted.
const MAX_REFUSALS: usize = 10_000;

/// One entry that is not served, or not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The source of the entry.
    pub source: SourceId,
    /// The key of the store, or the path of a file, escaped for a terminal.
    pub key: String,
    /// Why the entry is not served, or is hard to ask for.
    pub reason: String,
    /// Whether the entry is served all the same.
    pub served: bool,
}

/// All refusals of the present state of the sources. The mirror writes them; metrics and `skydns check` read them.
#[derive(Debug, Default)]
pub struct Refusals {
    all: Mutex<RefusalMap>,
    /// Refusals that the log has no line about, since they were taken.
    unlogged: AtomicU64,
}

#[derive(Debug, Default)]
struct RefusalMap {
    /// Reasons by tenant, then by key: a tenant's keys lie together.
    by_key: BTreeMap<RefusedKey, RefusalReason>,
    /// How many each tenant has.
    counts: BTreeMap<Tenant, usize>,
    /// The same by number.
    by_count: BTreeSet<(usize, Tenant)>,
    /// The tenant that lost a refusal last: the next one to lose one is behind it.
    lost_last: Option<Tenant>,
}

/// The source of a key, and the part of the key that names the tenant.
type Tenant = (SourceId, Vec<u8>);

/// The tenant, and the key.
type RefusedKey = (Tenant, Vec<u8>);

/// Why an entry is refused, and whether it is served all the same.
#[derive(Debug)]
struct RefusalReason {
    text: String,
    served: bool,
}

impl Refusals {
    /// Notes a refusal; `true` if this reason is new for the key.
    pub(super) fn note(&self, source: SourceId, tenant: &[u8], key: &[u8], reason: RefusalText<'_>) -> bool {
        let mut all = self.lock();
        let tenant = (source, tenant.to_vec());
        let key = (tenant.clone(), key.to_vec());
        let before = all.by_key.get_mut(&key);
        let reason = RefusalReason { text: reason.text.to_owned(), served: reason.served };
        match before {
            Some(before) if before.text == reason.text => return false,
            Some(before) => *before = reason,
            None => {
                if all.by_key.len() < MAX_REFUSALS || all.make_room(&tenant) {
                    let count = all.counts.get(&tenant).copied().unwrap_or(0);
                    all.set_count(&tenant, count + 1);
                    all.by_key.insert(key, reason);
                }
            }
        }
        true
    }

    /// Forgets the refusal of a key: its entry is served now, or gone.
    pub(super) fn forget(&self, source: SourceId, tenant: &[u8], key: &[u8]) {
        let mut all = self.lock();
        if !all.by_key.is_empty() {
            all.remove(&((source, tenant.to_vec()), key.to_vec()));
        }
    }

    /// Tells the tenants apart in another way.
    pub(super) fn regroup(&self, tenant_of: impl Fn(&[u8]) -> &[u8]) {
        let mut all = self.lock();
        let before = std::mem::take(&mut *all);
        for (((source, _), key), reason) in before.by_key {
            let tenant = (source, tenant_of(&key).to_vec());
            let count = all.counts.get(&tenant).copied().unwrap_or(0);
            all.set_count(&tenant, count + 1);
            all.by_key.insert((tenant, key), reason);
        }
    }

    /// Forgets the refusals of a source whose keys are not in its new listing.
    pub(super) fn retain(&self, source: SourceId, is_listed: impl Fn(&[u8]) -> bool) {
        let mut all = self.lock();
        let is_gone = |((of, _), key): &&RefusedKey| *of == source && !is_listed(key);
        let gone: Vec<_> = all.by_key.keys().filter(is_gone).cloned().collect();
        gone.iter().for_each(|key| all.remove(key));
    }

    /// Counts a refusal that the log has no line about.
    pub(crate) fn count_unlogged(&self) {
        self.unlogged.fetch_add(1, Ordering::Relaxed);
    }

    /// How many refusals the log has no line about since the last call.
    pub fn take_unlogged(&self) -> u64 {
        self.unlogged.swap(0, Ordering::Relaxed)
    }

    /// Whether there are as many refusals as fit in memory, so that others may be missing.
    pub fn is_full(&self) -> bool {
        self.lock().by_key.len() >= MAX_REFUSALS
    }

    /// How many entries are not served, at most the number of refusals that fit in memory.
    pub fn count(&self) -> usize {
        self.lock().by_key.values().filter(|reason| !reason.served).count()
    }

    /// All refusals, by source and key.
    pub fn all(&self) -> Vec<Refusal> {
        let all = self.lock();
        let mut keys: Vec<_> =
            all.by_key.iter().map(|(((source, _), key), reason)| (*source, key, reason)).collect();
        keys.sort_by_key(|(source, key, _)| (*source, *key));
        let refusal = |(source, key, reason): (SourceId, &Vec<u8>, &RefusalReason)| Refusal {
            source,
            key: shown_key(key),
            reason: reason.text.clone(),
            served: reason.served,
        };
        keys.into_iter().map(refusal).collect()
    }

    fn lock(&self) -> MutexGuard<'_, RefusalMap> {
        lock(&self.all)
    }
}

/// A key of a store for people: letters and digits as they are, other characters beyond ASCII and controls escaped, since
/// they may make a terminal show something else.
pub(super) fn shown_key(key: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(key) else { return key.escape_ascii().to_string() };
    let is_plain = |c: char| c.is_alphanumeric() || c.is_ascii_graphic() && c != '\\';
    text.chars().flat_map(|c| if is_plain(c) { vec![c] } else { c.escape_default().collect() }).collect()
}

/// Why an entry is refused, as it is noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefusalText<'t> {
    pub(super) text: &'t str,
    /// Whether the entry is served all the same.
    pub(super) served: bool,
}

impl RefusalMap {
    fn remove(&mut self, key: &RefusedKey) {
        if self.by_key.remove(key).is_some()
            && let Some(count) = self.counts.get(&key.0).copied()
        {
            self.set_count(&key.0, count - 1);
        }
    }

    /// Sets how many refusals a tenant has.
    fn set_count(&mut self, tenant: &Tenant, count: usize) {
        if let Some(before) = self.counts.remove(tenant) {
            self.by_count.remove(&(before, tenant.clone()));
        }
        if count > 0 {
            self.counts.insert(tenant.clone(), count);
            self.by_count.insert((count, tenant.clone()));
        }
    }

    /// Drops a refusal of a tenant that has most, if that is more than `tenant` has, or if `tenant` has none; of several
    /// tenants that have most each loses one in turn, so that the latest refusals stay.
    fn make_room(&mut self, tenant: &Tenant) -> bool {
        let own = self.counts.get(tenant).copied().unwrap_or(0);
        let Some(most) = self.by_count.last().map(|(count, _)| *count) else { return false };
        if own > 0 && most <= own + 1 {
            return false;
        }
        let first = (most, (SourceId::ALL[0], Vec::new()));
        let from = self.lost_last.take().map_or_else(|| first.clone(), |tenant| (most, tenant));
        let mut behind = self.by_count.range((Bound::Excluded(&from), Bound::Unbounded));
        let Some((_, loser)) = behind.next().or_else(|| self.by_count.range(first..).next()).cloned() else {
            return false;
        };
        let end = (loser.0, [&*loser.1, b"\0"].concat());
        let keys = self.by_key.range((loser.clone(), Vec::new())..(end, Vec::new()));
        let last = keys.map(|(key, _)| key).next_back().cloned();
        last.iter().for_each(|key| self.remove(key));
        self.lost_last = Some(loser);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(refusals: &Refusals, tenant: &str, key: usize) -> bool {
        let key = format!("{tenant}/{key:05}");
        let reason = RefusalText { text: "wrong", served: false };
        refusals.note(SourceId::Etcd, tenant.as_bytes(), key.as_bytes(), reason)
    }

    #[test]
    fn keys_are_shown_as_they_are_written_and_deceive_no_terminal() {
        assert_eq!(shown_key("/skydns/local/bücher/日本".as_bytes()), "/skydns/local/bücher/日本");
        assert_eq!(shown_key(b"/skydns/a\nb"), "/skydns/a\\nb");
        assert_eq!(shown_key("/skydns/a\u{202e}b\u{1b}".as_bytes()), "/skydns/a\\u{202e}b\\u{1b}");
        assert_eq!(shown_key(b"/skydns/\xff"), "/skydns/\\xff");
    }

    #[test]
    fn a_tenant_with_many_refusals_hides_none_of_others() {
        let refusals = Refusals::default();
        for key in 0..2 * MAX_REFUSALS {
            assert!(note(&refusals, "/s/many", key));
        }
        assert_eq!(refusals.count(), MAX_REFUSALS);
        for key in 0..50 {
            assert!(note(&refusals, "/s/few", key) && !note(&refusals, "/s/few", key));
        }
        let all = refusals.all();
        assert_eq!(all.len(), MAX_REFUSALS);
        assert_eq!(all.iter().filter(|refusal| refusal.key.starts_with("/s/few/")).count(), 50);
        assert!(all.is_sorted_by(|a, b| a.key < b.key));
        for key in 0..50 {
            refusals.forget(SourceId::Etcd, b"/s/few", format!("/s/few/{key:05}").as_bytes());
        }
        refusals.retain(SourceId::Etcd, |key| key < &b"/s/many/00010"[..]);
        assert_eq!(refusals.count(), 10);
        let counts: Vec<_> = refusals.lock().counts.values().copied().collect();
        assert_eq!(counts, [10]);
        assert_eq!(refusals.lock().by_count.len(), 1);
    }

    #[test]
    fn many_tenants_with_one_refusal_each_do_not_keep_another_out() {
        let refusals = Refusals::default();
        let fill = |from: usize, to: usize| {
            for tenant in from..to {
                assert!(note(&refusals, &format!("/s/bad{tenant:05}"), 0));
            }
        };
        let is_listed = || refusals.all().iter().any(|refusal| refusal.key.starts_with("/s/team/"));
        fill(0, MAX_REFUSALS);
        assert!(refusals.is_full());
        assert!(note(&refusals, "/s/team", 0));
        assert!(is_listed());
        fill(MAX_REFUSALS, MAX_REFUSALS + 5_000);
        assert!(is_listed(), "others lose theirs before");
        assert_eq!(refusals.count(), MAX_REFUSALS);
    }
}
