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

/// What is refused in one place.
#[derive(Clone, Debug, Default)]
struct Refused {
    /// The first [`MAX_NAMED`].
    named: Vec<String>,
    /// How many there are besides.
    unnamed: usize,
}

/// All that is refused now. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct RefusedSettings {
    by: Arc<Mutex<BTreeMap<RefusedBy, Refused>>>,
    notes: StatusNotes,
    counters: Arc<Metrics>,
}

impl RefusedSettings {
    pub(super) fn new(notes: StatusNotes, counters: Arc<Metrics>) -> Self {
        Self { by: Arc::default(), notes, counters }
    }

    /// Replaces what is refused in one place. What is new is logged, and what is not refused any more.
    pub(super) fn set(&self, by: RefusedBy, mut named: Vec<String>) {
        let unnamed = named.len().saturating_sub(MAX_NAMED);
        named.truncate(MAX_NAMED);
        self.put(&mut lock(&self.by), by, Refused { named, unnamed });
    }

    fn put(&self, all: &mut BTreeMap<RefusedBy, Refused>, by: RefusedBy, refused: Refused) {
        let before = all.insert(by, refused).unwrap_or_default().texts();
        let after = all[&by].texts();
        for text in after.iter().filter(|text| !before.contains(text)) {
            log::error!("refused: {text}");
        }
        for text in before.iter().filter(|text| !after.contains(text)) {
            log::info!("not refused any more: {text}");
        }
        let number: usize = all.values().map(|refused| refused.named.len() + refused.unnamed).sum();
        self.counters.settings_refused(number as u64);
        self.notes.set_refused(texts(all));
    }

    /// Ends one refusal of flags, variables and files: the agent has found out that it holds no more. `false` if it is not told.
    pub(super) fn end(&self, text: &str) -> bool {
        let mut all = lock(&self.by);
        let mut given = all.get(&RefusedBy::Given).cloned().unwrap_or_default();
        let told = given.named.len();
        given.named.retain(|other| other != text);
        let is_told = given.named.len() < told;
        if is_told {
            self.put(&mut all, RefusedBy::Given, given);
        }
        is_told
    }

    /// All that is refused.
    pub(super) fn all(&self) -> Vec<String> {
        texts(&lock(&self.by))
    }
}

impl Refused {
    /// A line for each that is named, and one about the others.
    fn texts(&self) -> Vec<String> {
        let mut texts = self.named.clone();
        if self.unnamed > 0 {
            texts.push(format!("{} more settings; \"skydns check\" names all", self.unnamed));
        }
        texts
    }
}

/// The lines of all places.
fn texts(all: &BTreeMap<RefusedBy, Refused>) -> Vec<String> {
    all.values().flat_map(Refused::texts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::ForwardReport;
    use crate::metrics::MetricNames;
    use crate::source::Status;

    #[test]
    fn a_long_list_is_cut() {
        let counters: Arc<Metrics> = Arc::default();
        let refused = RefusedSettings::new(StatusNotes::default(), counters.clone());
        refused.set(RefusedBy::Given, (0..1_000).map(|line| format!("line {line}")).collect());
        let all = refused.all();
        assert_eq!(all.len(), MAX_NAMED + 1);
        assert_eq!(all.last().map(String::as_str), Some("900 more settings; \"skydns check\" names all"));
        let names = MetricNames::default();
        let page =
            crate::metrics::page(&counters, &names, &Status::default(), &ForwardReport::default(), (&[], 0));
        assert!(page.contains("settings_refused 1000\n"), "{page}");
    }
}
