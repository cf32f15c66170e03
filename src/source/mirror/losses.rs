//! What zones have lost lately, and what is served on because it was too much.
//!
//! A part of the tree is a zone, or what is outside of all zones. Deletions and leases that end are counted apart: a site
//! whose services come and go with their leases loses names all day.

use crate::service::Key;
use crate::source::id::SourceId;
use crate::source::state::LossCause;
use crate::tree::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The time within which losses are counted together.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Fewer names than these are never held back.
pub(super) const MIN_LOST: usize = 20;

/// Maximum number of losses that are known. What was lost before them could not be brought back: memory is bounded.
const MAX_RECENT: usize = 1_000_000;

/// A part of the tree, by the apex of the zone, and why names are lost there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) apex: Option<Key>,
    pub(super) cause: LossCause,
}

/// A key of a source that had the only entries of its name.
pub(super) type LostKey = (SourceId, Key);

/// The entries of a key.
pub(super) type LostEntries = Vec<Arc<Entry>>;

/// The losses of all parts of the tree.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// What was lost within the window, and did not come back.
    recent: HashMap<LostKey, Recent>,
    windows: HashMap<Place, Window>,
    /// What is served on.
    held: HashMap<LostKey, Place>,
    holds: HashMap<Place, Hold>,
}

#[derive(Debug)]
struct Recent {
    place: Place,
    at: Instant,
    entries: LostEntries,
}

/// The losses of one place within the window.
#[derive(Debug, Default)]
struct Window {
    /// In their order, each with how many names the part of the tree had; those that came back are in here as well.
    losses: VecDeque<(Instant, LostKey, usize)>,
    /// How many did not come back.
    lost: usize,
    /// How many more there were than can be kept, and when the last of them was lost.
    unkept: Option<(usize, Instant)>,
}

/// What is served on in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) until: Instant,
    /// The same as a date.
    pub(super) until_date: SystemTime,
    /// Number of names that are served on.
    pub(super) names: usize,
    /// Number of names that the part of the tree had.
    pub(super) of: usize,
}

impl Losses {
    /// Notes that a part of the tree, which has a number of names, is about to lose one.
    pub(super) fn note(
        &mut self,
        place: &Place,
        lost: &LostKey,
        (entries, names): (LostEntries, usize),
        now: Instant,
    ) {
        if let Some(window) = self.windows.get_mut(place) {
            window.forget_old(place, &mut self.recent, now);
        }
        if self.recent.contains_key(lost) {
            return;
        }
        let window = self.windows.entry(place.clone()).or_default();
        if self.recent.len() >= MAX_RECENT {
            window.unkept = Some((window.unkept.map_or(0, |(unkept, _)| unkept) + 1, now));
            return;
        }
        self.recent.insert(lost.clone(), Recent { place: place.clone(), at: now, entries });
        window.losses.push_back((now, lost.clone(), names));
        window.lost += 1;
    }

    /// Whether a place has lost more than a share of its names, in percent.
    pub(super) fn exceed(&self, place: &Place, percent: u8) -> bool {
        self.windows.get(place).is_some_and(|window| {
            let lost = window.lost + window.unkept.map_or(0, |(unkept, _)| unkept);
            lost >= MIN_LOST && lost * 100 > usize::from(percent) * window.names_before()
        })
    }

    /// Begins to serve on what a place has lost within the window; returns that.
    pub(super) fn begin(
        &mut self,
        place: &Place,
        now: Instant,
        time: Duration,
    ) -> Vec<(LostKey, LostEntries)> {
        let Some(window) = self.windows.remove(place) else { return Vec::new() };
        let of = window.names_before();
        let mut lost = Vec::with_capacity(window.lost);
        for (_, key, _) in window.losses {
            // It may have come back, and be lost again elsewhere.
            if self.recent.get(&key).is_some_and(|recent| recent.place == *place)
                && let Some(Recent { entries, .. }) = self.recent.remove(&key)
            {
                self.held.insert(key.clone(), place.clone());
                lost.push((key, entries));
            }
        }
        self.holds.insert(
            place.clone(),
            Hold { until: now + time, until_date: SystemTime::now() + time, names: lost.len(), of },
        );
        lost
    }

    /// Serves one more name on, if a place serves on what it loses.
    pub(super) fn hold(&mut self, place: &Place, lost: &LostKey) -> bool {
        let Some(hold) = self.holds.get_mut(place) else { return false };
        if self.held.insert(lost.clone(), place.clone()).is_none() {
            hold.names += 1;
        }
        true
    }

    /// Whether a key is served on.
    pub(super) fn is_held(&self, id: SourceId, key: &Key) -> bool {
        !self.held.is_empty() && self.held.contains_key(&(id, key.clone()))
    }

    /// Notes that a key has come back; returns whether it was served on, and the place if it was the last one there.
    pub(super) fn came_back(&mut self, id: SourceId, key: &Key) -> (bool, Option<Place>) {
        if self.recent.is_empty() && self.held.is_empty() {
            return (false, None);
        }
        let lost = (id, key.clone());
        if let Some(Recent { place, .. }) = self.recent.remove(&lost)
            && let Some(window) = self.windows.get_mut(&place)
        {
            window.lost -= 1;
        }
        let Some(place) = self.held.remove(&lost) else { return (false, None) };
        let Some(hold) = self.holds.get_mut(&place) else { return (true, None) };
        hold.names -= 1;
        let is_last = hold.names == 0;
        if is_last {
            self.holds.remove(&place);
        }
        (true, is_last.then_some(place))
    }

    /// Ends what some places serve on; returns these, each with its keys.
    pub(super) fn end(&mut self, ends: impl Fn(&Place, &Hold) -> bool) -> HashMap<Place, Vec<LostKey>> {
        let ended = self.holds.extract_if(|place, hold| ends(place, hold));
        let mut ended: HashMap<_, _> = ended.map(|(place, _)| (place, Vec::new())).collect();
        if !ended.is_empty() {
            self.held.retain(|lost, place| {
                let keys = ended.get_mut(place);
                let stays = keys.is_none();
                keys.into_iter().for_each(|keys| keys.push(lost.clone()));
                stays
            });
        }
        ended
    }

    /// How many names are served on in a part of the tree.
    pub(super) fn held_in(&self, apex: Option<&Key>) -> usize {
        let of_part = self.holds.iter().filter(|(place, _)| place.apex.as_ref() == apex);
        of_part.map(|(_, hold)| hold.names).sum()
    }

    /// The keys of a source that were lost within the window.
    pub(super) fn recent_of(&self, id: SourceId) -> Vec<Key> {
        let of_source = self.recent.keys().filter(|(of, _)| *of == id);
        of_source.map(|(_, key)| key.clone()).collect()
    }

    /// The places that serve something on.
    pub(super) fn holds(&self) -> impl Iterator<Item = (&Place, &Hold)> {
        self.holds.iter()
    }

    /// Forgets what was lost within the window: it was meant.
    pub(super) fn forget_recent(&mut self) {
        self.recent.clear();
        self.windows.clear();
    }

    /// Forgets what was lost before the window.
    pub(super) fn forget_old(&mut self, now: Instant) {
        for (place, window) in &mut self.windows {
            window.forget_old(place, &mut self.recent, now);
        }
        self.windows.retain(|_, window| !window.losses.is_empty() || window.unkept.is_some());
    }

    /// When all losses of a place have to be forgotten, or something is served on no more.
    pub(super) fn next(&self) -> Option<Instant> {
        let ends = self.holds.values().map(|hold| hold.until);
        let windows = self.windows.values().filter_map(Window::last);
        ends.chain(windows.map(|last| last + WINDOW)).min()
    }
}

impl Window {
    /// Forgets what was lost before the window, and did not come back.
    fn forget_old(&mut self, place: &Place, recent: &mut HashMap<LostKey, Recent>, now: Instant) {
        while let Some((at, key, _)) = self.losses.front().filter(|(at, ..)| *at + WINDOW <= now) {
            // It may have come back, and be lost again since then, or at the same time elsewhere.
            if recent.get(key).is_some_and(|recent| recent.at == *at && recent.place == *place) {
                recent.remove(key);
                self.lost -= 1;
            }
            self.losses.pop_front();
        }
        self.unkept = self.unkept.filter(|(_, last)| *last + WINDOW > now);
    }

    /// When something was lost last.
    fn last(&self) -> Option<Instant> {
        let kept = self.losses.back().map(|(at, ..)| *at);
        kept.max(self.unkept.map(|(_, last)| last))
    }

    /// How many names there were before the first loss, or before the last one if there were more then.
    fn names_before(&self) -> usize {
        let ends = self.losses.front().into_iter().chain(self.losses.back());
        ends.map(|(.., names)| *names).max().unwrap_or(0)
    }
}
