//! What is refused of all settings now: for the log, the status line and the metrics.

use super::status::StatusNotes;
use crate::lock::lock;
use crate::metrics::Metrics;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Where a refused setting was found, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RefusedBy {
    /// Flags, variables and files.
    Given,
    /// Sources that cannot be read.
    Sources,
    /// Sockets of systemd.
    Sockets,
    /// The log.
    Log,
    /// The configuration in the store.
    Store,
    /// DNSSEC keys.
    Keys,
}

/// All that is refused now. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct RefusedSettings {
    by: Arc<Mutex<BTreeMap<RefusedBy, Vec<String>>>>,
    notes: StatusNotes,
    counters: Arc<Metrics>,
}

impl RefusedSettings {
    pub(super) fn new(notes: StatusNotes, counters: Arc<Metrics>) -> Self {
        Self { by: Arc::default(), notes, counters }
    }

    /// Replaces what is refused in one place. What is new is logged, and what is not refused any more.
    pub(super) fn set(&self, by: RefusedBy, texts: Vec<String>) {
        let mut all = lock(&self.by);
        let before = all.insert(by, texts).unwrap_or_default();
        let after = &all[&by];
        for text in after.iter().filter(|text| !before.contains(text)) {
            log::error!("refused: {text}");
        }
        for text in before.iter().filter(|text| !after.contains(text)) {
            log::info!("not refused any more: {text}");
        }
        let all: Vec<_> = all.values().flatten().cloned().collect();
        self.counters.settings_refused(all.len() as u64);
        self.notes.set_refused(all);
    }

    /// All that is refused.
    pub(super) fn all(&self) -> Vec<String> {
        lock(&self.by).values().flatten().cloned().collect()
    }
}
