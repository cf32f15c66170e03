//! Entries of the stores that are not served, with the reason for each.

use super::id::SourceId;
use crate::lock::lock;
use std::collections::BTreeMap;
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
}

#[derive(Debug, Default)]
struct RefusalMap {
    /// Reasons by tenant, then by key: a tenant's keys lie together.
    by_key: BTreeMap<RefusedKey, RefusalReason>,
    /// How many each tenant has.
    counts: BTreeMap<Tenant, usize>,
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
                    *all.counts.entry(tenant).or_default() += 1;
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

    /// Forgets the refusals of a source whose keys are not in its new listing.
    pub(super) fn retain(&self, source: SourceId, is_listed: impl Fn(&[u8]) -> bool) {
        let mut all = self.lock();
        let is_gone = |((of, _), key): &&RefusedKey| *of == source && !is_listed(key);
        let gone: Vec<_> = all.by_key.keys().filter(is_gone).cloned().collect();
        gone.iter().for_each(|key| all.remove(key));
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
            key: key.escape_ascii().to_string(),
            reason: reason.text.clone(),
            served: reason.served,
        };
        keys.into_iter().map(refusal).collect()
    }

    fn lock(&self) -> MutexGuard<'_, RefusalMap> {
        lock(&self.all)
    }
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
            && let Some(count) = self.counts.get_mut(&key.0)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key.0);
            }
        }
    }

    /// Drops a refusal of the tenant that has most, if that is more than `tenant` has.
    fn make_room(&mut self, tenant: &Tenant) -> bool {
        let own = self.counts.get(tenant).copied().unwrap_or(0);
        let Some((most, count)) = self.counts.iter().max_by_key(|(_, count)| **count) else { return false };
        if *count <= own + 1 {
            return false;
        }
        let behind = (most.0, [&*most.1, b"\0"].concat());
        let keys = self.by_key.range((most.clone(), Vec::new())..(behind, Vec::new()));
        let last = keys.map(|(key, _)| key).next_back().cloned();
        last.iter().for_each(|key| self.remove(key));
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
    }
}
