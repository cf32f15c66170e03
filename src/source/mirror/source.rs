//! The state of one source, and what of the source is not in the tree.

use super::listing::Listing;
use super::spellings::Spellings;
use crate::answer::Zone;
use crate::service::Key;
use crate::source::id::SourceId;
use crate::source::snapshot::RestoredService;
use crate::source::state::{ServedFrom, SourceState, StoreState};
use std::collections::HashSet;
use std::time::{Duration, SystemTime};

/// Maximum number of reasons for which a source is unreachable that are logged until the source is in sync again.
const MAX_LOGGED_REASONS: usize = 16;

/// What the mirror knows of one source, beside the services in the tree.
#[derive(Debug, Default)]
pub(super) struct MirroredSource {
    /// Whether no name may be denied before the source was read.
    pub(super) is_required: bool,
    /// Whether what is served of it is all that is left of a store that is [not used](SourceState::Unused) any more.
    pub(super) is_left_over: bool,
    /// The apexes of the zones that the source has names of; any zones, and names outside, if `None`.
    pub(super) feeds: Option<HashSet<Key>>,
    /// Whether it has names outside of all zones though `feeds` names some: those of addresses.
    pub(super) feeds_outside: bool,
    pub(super) state: SourceState,
    /// How often the source came to each state, in the order of [`SourceState::NAMES`].
    pub(super) state_counts: [u64; SourceState::NAMES.len()],
    /// The reasons that were logged since the source was in sync.
    logged_reasons: HashSet<String>,
    /// The listing that is on its way in.
    pub(super) listing: Option<Listing>,
    /// The services of a snapshot that is on its way in.
    pub(super) restored: Vec<RestoredService>,
    /// The revision of the snapshot that is served, or was served last.
    pub(super) restored_revision: Option<i64>,
    /// The id of the store's cluster, if it is known: that of the last listing, or of the snapshot.
    pub(super) cluster: Option<u64>,
    /// The revision of the last listing.
    pub(super) listed_revision: Option<i64>,
    /// The entries of keys that the store spells otherwise than the tree.
    pub(super) spellings: Spellings,
}

impl MirroredSource {
    /// A source that was never read.
    pub(super) fn new(is_required: bool) -> Self {
        Self { is_required, ..Self::default() }
    }

    /// Whether the source may have names of a zone.
    pub(super) fn may_feed(&self, zone: &Zone) -> bool {
        self.feeds.as_ref().is_none_or(|zones| zones.contains(zone.apex()))
    }

    /// Whether the tree has what the source has now, or need not have it.
    pub(super) fn is_current(&self) -> bool {
        !self.is_stale() && !self.is_missing()
    }

    /// What tells this store and its states from others: the id of its cluster, and the revision of the snapshot that is served.
    pub(super) fn identity(&self) -> StoreState {
        StoreState { cluster: self.cluster, restored_revision: self.restored_revision }
    }

    /// Whether nobody misses the source if it cannot be reached.
    pub(super) fn is_optional(&self) -> bool {
        !self.is_required || matches!(self.state, SourceState::Unused { .. })
    }

    /// Whether names that are not in the tree may exist all the same, because the source was not read.
    pub(super) fn is_missing(&self) -> bool {
        let is_unread = !self.state.is_served() && !matches!(self.state, SourceState::Unused { .. });
        self.is_required && is_unread
    }

    /// Whether the services in the tree may be out of date.
    pub(super) fn is_stale(&self) -> bool {
        self.state.is_served() && !matches!(self.state, SourceState::Synced { .. })
    }

    /// Notes that a listing is in the tree.
    pub(super) fn listed(&mut self, spellings: Spellings) {
        self.spellings = spellings;
        self.restored = Vec::new();
    }

    /// Notes that the tree has what the source has.
    pub(super) fn synced(&mut self, revision: Option<i64>) {
        self.logged_reasons.clear();
        self.is_left_over = false;
        self.set_state(SourceState::Synced { revision, changed: SystemTime::now() });
    }

    /// Notes a change. A source that is not in sync stays so: its configuration may come ahead of its listing.
    pub(super) fn changed(&mut self, revision: Option<i64>) {
        if let SourceState::Synced { .. } = self.state {
            self.state = SourceState::Synced { revision, changed: SystemTime::now() };
        }
    }

    /// The same for a source without revisions, unless there was a change shortly before.
    pub(super) fn changed_lately(&mut self, same: Duration) {
        if let SourceState::Synced { changed, .. } = &self.state
            && changed.elapsed().is_ok_and(|since| since < same)
        {
            return;
        }
        self.changed(None);
    }

    /// Notes that a snapshot is served, if nothing else of the source is; returns whether it is.
    pub(super) fn restore(&mut self, as_of: SystemTime) -> bool {
        let state = match &self.state {
            SourceState::Waiting => SourceState::Snapshot { as_of },
            SourceState::Unreachable { reason, served_from: ServedFrom::Nothing, since } => {
                let (reason, served_from) = (reason.clone(), ServedFrom::Snapshot(as_of));
                SourceState::Unreachable { reason, served_from, since: *since }
            }
            _ => return false,
        };
        self.set_state(state);
        true
    }

    /// Notes that the tree has what the source had once, as its listing says.
    pub(super) fn listed_stale(&mut self, revision: Option<i64>, reason: String) {
        let since = match &self.state {
            SourceState::Unreachable { since, .. } => *since,
            _ => SystemTime::now(),
        };
        let served_from = ServedFrom::Listing { revision };
        self.set_state(SourceState::Unreachable { reason, served_from, since });
    }

    /// Notes, and logs, that the source cannot be reached. A listing on its way in is void.
    pub(super) fn unreachable(&mut self, id: SourceId, reason: String) {
        self.listing = None;
        let served_from = self.state.served_from();
        let since = match &self.state {
            SourceState::Unreachable { reason: same, .. } if *same == reason => return,
            // Nobody waits for it, whether it can be reached or not.
            SourceState::Unused { .. } => return,
            SourceState::Unreachable { since, .. } => *since,
            _ => SystemTime::now(),
        };
        // Endpoints fail in turn, each for its own reason, and go on failing.
        if self.logged_reasons.len() < MAX_LOGGED_REASONS && self.logged_reasons.insert(reason.clone()) {
            let is_missed = self.is_required || served_from != ServedFrom::Nothing;
            let level = if is_missed { log::Level::Warn } else { log::Level::Info };
            log::log!(level, "{}: {reason}", id.name());
        }
        self.set_state(SourceState::Unreachable { reason, served_from, since });
    }

    /// Notes that the source is not used, and nothing of it is served.
    pub(super) fn unused(&mut self, id: SourceId, reason: String, is_refused: bool) {
        self.is_left_over = false;
        let is_new = !matches!(&self.state, SourceState::Unused { reason: same, .. } if *same == reason);
        if is_new
            && self.logged_reasons.len() < MAX_LOGGED_REASONS
            && self.logged_reasons.insert(reason.clone())
        {
            log::info!("{}: not used: {reason}", id.name());
        }
        self.set_state(SourceState::Unused { reason, is_refused });
    }

    fn set_state(&mut self, state: SourceState) {
        let index = state.index();
        self.state_counts[index] += u64::from(self.state.index() != index);
        self.state = state;
    }
}
