//! Records that are not served, with the reason for each.

use super::id::SourceId;
use crate::lock::lock;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// Most refusals whose reasons are kept; more are only counted.
const MOST_KEPT: usize = 10_000;

/// One record that is not served as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The source it is in.
    pub source: SourceId,
    /// Its key, or the path of a file, escaped for a terminal.
    pub key: String,
    /// Why.
    pub reason: String,
    /// Whether it is served all the same.
    pub served: bool,
}

/// All refusals of the present state of the sources.
#[derive(Debug, Default)]
pub struct Refusals {
    kept: Mutex<Kept>,
}

/// Reasons, and whether the record is served all the same, by source and key.
type Kept = BTreeMap<(SourceId, Vec<u8>), Reason>;

#[derive(Debug)]
struct Reason {
    text: String,
    served: bool,
}

impl Refusals {
    /// Notes a refusal; `true` if it is news.
    pub(super) fn note(&self, source: SourceId, key: &[u8], reason: &str, served: bool) -> bool {
        let mut kept = self.lock();
        let place = (source, key.to_vec());
        let news = kept.get(&place).is_none_or(|before| before.text != reason);
        if news && (kept.len() < MOST_KEPT || kept.contains_key(&place)) {
            kept.insert(place, Reason { text: reason.to_owned(), served });
        }
        news
    }

    /// Forgets a key: it is well, or gone.
    pub(super) fn forget(&self, source: SourceId, key: &[u8]) {
        let mut kept = self.lock();
        if !kept.is_empty() {
            kept.remove(&(source, key.to_vec()));
        }
    }

    /// Forgets all of a source whose listing did not bring them up again.
    pub(super) fn retain(&self, source: SourceId, seen: impl Fn(&[u8]) -> bool) {
        self.lock().retain(|(of, key), _| *of != source || seen(key));
    }

    /// How many records are not served, up to the number that is kept.
    pub fn count(&self) -> usize {
        self.lock().values().filter(|reason| !reason.served).count()
    }

    /// All refusals, by source and key.
    pub fn all(&self) -> Vec<Refusal> {
        let refusal = |((source, key), reason): (&(SourceId, Vec<u8>), &Reason)| Refusal {
            source: *source,
            key: key.escape_ascii().to_string(),
            reason: reason.text.clone(),
            served: reason.served,
        };
        self.lock().iter().map(refusal).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}
