//! Entries of the stores that are not served, with the reason for each.

use super::id::SourceId;
use crate::lock::lock;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// Maximum number of refusals in memory; further refusals are logged, but not listed or counted.
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
    by_key: Mutex<RefusalMap>,
}

/// Reasons by source and key.
type RefusalMap = BTreeMap<(SourceId, Vec<u8>), RefusalReason>;

/// Why an entry is refused, and whether it is served all the same.
#[derive(Debug)]
struct RefusalReason {
    text: String,
    served: bool,
}

impl Refusals {
    /// Notes a refusal; `true` if this reason is new for the key.
    pub(super) fn note(&self, source: SourceId, key: &[u8], reason: &str, served: bool) -> bool {
        let mut by_key = self.lock();
        let key = (source, key.to_vec());
        let is_new = by_key.get(&key).is_none_or(|before| before.text != reason);
        if is_new && (by_key.len() < MAX_REFUSALS || by_key.contains_key(&key)) {
            by_key.insert(key, RefusalReason { text: reason.to_owned(), served });
        }
        is_new
    }

    /// Forgets the refusal of a key: its entry is served now, or gone.
    pub(super) fn forget(&self, source: SourceId, key: &[u8]) {
        let mut by_key = self.lock();
        if !by_key.is_empty() {
            by_key.remove(&(source, key.to_vec()));
        }
    }

    /// Forgets the refusals of a source whose keys are not in its new listing.
    pub(super) fn retain(&self, source: SourceId, is_listed: impl Fn(&[u8]) -> bool) {
        self.lock().retain(|(of, key), _| *of != source || is_listed(key));
    }

    /// How many entries are not served, at most the number of refusals that fit in memory.
    pub fn count(&self) -> usize {
        self.lock().values().filter(|reason| !reason.served).count()
    }

    /// All refusals, by source and key.
    pub fn all(&self) -> Vec<Refusal> {
        let refusal = |((source, key), reason): (&(SourceId, Vec<u8>), &RefusalReason)| Refusal {
            source: *source,
            key: key.escape_ascii().to_string(),
            reason: reason.text.clone(),
            served: reason.served,
        };
        self.lock().iter().map(refusal).collect()
    }

    fn lock(&self) -> MutexGuard<'_, RefusalMap> {
        lock(&self.by_key)
    }
}
