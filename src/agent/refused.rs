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
    /// Upstreams that are this server.
    Upstreams,
}

/// Maximum number of refused settings of one place that are named: a status line or a report that is longer nobody reads.
const MAX_NAMED: usize = 100;

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
    pub(super) fn set(&self, by: RefusedBy, mut texts: Vec<String>) {
        if let Some(more) = texts.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
            texts.truncate(MAX_NAMED);
            texts.push(format!("{more} more settings; \"skydns check\" names all"));
        }
        self.put(&mut lock(&self.by), by, texts);
    }

    fn put(&self, all: &mut BTreeMap<RefusedBy, Vec<String>>, by: RefusedBy, texts: Vec<String>) {
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

    /// Ends one refusal of flags, variables and files: the agent has found out that it holds no more. `false` if it is not told.
    pub(super) fn end(&self, text: &str) -> bool {
        let mut all = lock(&self.by);
        let mut given = all.get(&RefusedBy::Given).cloned().unwrap_or_default();
        let told = given.len();
        given.retain(|other| other != text);
        let is_told = given.len() < told;
        if is_told {
            self.put(&mut all, RefusedBy::Given, given);
        }
        is_told
    }

    /// All that is refused.
    pub(super) fn all(&self) -> Vec<String> {
        lock(&self.by).values().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let refused = RefusedSettings::new(StatusNotes::default(), Arc::default());
        refused.set(RefusedBy::Given, (0..1_000).map(|line| format!("line {line}")).collect());
        let all = refused.all();
        assert_eq!(all.len(), MAX_NAMED + 1);
        assert_eq!(all.last().map(String::as_str), Some("900 more settings; \"skydns check\" names all"));
    }
}
