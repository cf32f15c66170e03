//! What zones have lost lately, and what is served on because it was too much.
//!
//! A part of the tree is a zone, or what is outside of all zones. Deletions and leases that end are counted apart: a site
//! whose services come and go with their leases loses names all day.

use super::replaced::Replacements;
use crate::service::Key;
use crate::source::id::SourceId;
use crate::source::state::LossCause;
use crate::tree::Entry;
use std::collections::{HashMap, VecDeque};
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
pub(super) type LostEntries = Vec<Entry>;

/// The losses of all parts of the tree.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// What was lost within the window, and did not come back.
    recent: HashMap<LostKey, Recent>,
    windows: HashMap<Place, Window>,
    /// What is served on.
    held: HashMap<LostKey, Place>,
    holds: HashMap<Place, Hold>,
    replacements: Replacements,
}

#[derive(Debug)]
struct Recent {
    place: Place,
    at: Instant,
    entries: LostEntries,
    /// Whether another key took its place, so that it does not count.
    is_replaced: bool,
}

/// A key that a part of the tree is about to lose.
#[derive(Debug)]
pub(super) struct Loss<'a> {
    pub(super) place: &'a Place,
    pub(super) lost: &'a LostKey,
    /// The name that the key shares with others.
    pub(super) name: Option<Key>,
    /// Whether another key took its place before.
    pub(super) is_replaced: bool,
    pub(super) entries: LostEntries,
    /// How many names the part of the tree has.
    pub(super) names: usize,
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
    /// When too much was lost last.
    begun: Instant,
    pub(super) until: Instant,
    /// The same as a date.
    pub(super) until_date: SystemTime,
    /// Number of names that are served on.
    pub(super) names: usize,
    /// Number of names that the part of the tree had.
    pub(super) of: usize,
}

/// Whether a loss is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    No,
    /// As a part of those that were too many.
    AtOnce,
    /// As one that followed: of these there may be too many again.
    Later,
}

/// A key that is lost no more.
#[derive(Debug, Default)]
pub(super) struct TakenBack {
    /// Whether it was served on.
    pub(super) was_held: bool,
    /// Where it was the last one that was.
    pub(super) ended: Option<Place>,
}

impl Hold {
    fn begin(now: Instant, time: Duration) -> Self {
        Self { begun: now, until: now + time, until_date: SystemTime::now() + time, names: 0, of: 0 }
    }
}

impl Losses {
    /// Notes a loss.
    pub(super) fn note(&mut self, loss: Loss<'_>, now: Instant) {
        let Loss { place, lost, name, is_replaced, entries, names } = loss;
        self.forget_old_of(place, now);
        if self.recent.contains_key(lost) {
            return;
        }
        let window = self.windows.entry(place.clone()).or_default();
        if self.recent.len() >= MAX_RECENT {
            window.unkept = Some((window.unkept.map_or(0, |(unkept, _)| unkept) + 1, now));
            return;
        }
        self.recent.insert(lost.clone(), Recent { place: place.clone(), at: now, entries, is_replaced });
        window.losses.push_back((now, lost.clone(), names));
        if !is_replaced {
            window.lost += 1;
            name.iter().for_each(|name| self.replacements.lose(lost, name));
        }
    }

    /// Whether a key is lost, or about to be.
    pub(super) fn is_lost(&self, lost: &LostKey) -> bool {
        self.recent.contains_key(lost) || self.held.contains_key(lost)
    }

    /// Whether a key is lost and another took its place.
    pub(super) fn is_replaced(&self, lost: &LostKey) -> bool {
        self.recent.get(lost).is_some_and(|recent| recent.is_replaced)
    }

    /// Whether a key of any source is lost, and no other took its place.
    pub(super) fn is_lost_anywhere(&self, key: &Key) -> bool {
        let is_lost = |id| {
            let lost = (id, key.clone());
            self.is_lost(&lost) && !self.is_replaced(&lost)
        };
        !self.are_none() && SourceId::ALL.into_iter().any(is_lost)
    }

    /// Has a new key take the place of a lost one; returns whether that was served on.
    pub(super) fn replace(&mut self, lost: &LostKey) -> TakenBack {
        self.replacements.forget(lost);
        if let Some(recent) = self.recent.get_mut(lost)
            && !std::mem::replace(&mut recent.is_replaced, true)
            && let Some(window) = self.windows.get_mut(&recent.place)
        {
            window.lost -= 1;
        }
        self.take_held(lost)
    }

    /// Whether nothing was lost.
    pub(super) fn are_none(&self) -> bool {
        self.recent.is_empty() && self.held.is_empty()
    }

    /// New keys that may take the place of others.
    pub(super) fn new_keys(&mut self) -> &mut Replacements {
        &mut self.replacements
    }

    /// Whether a place has lost more than a share of its names, in percent.
    pub(super) fn exceed(&self, place: &Place, percent: u8) -> bool {
        self.windows.get(place).is_some_and(|window| {
            let lost = window.lost + window.unkept.map_or(0, |(unkept, _)| unkept);
            lost >= MIN_LOST && lost * 100 > usize::from(percent) * window.names_before()
        })
    }

    /// Begins to serve on what a place has lost within the window, and returns that; what the place serves on already, it
    /// does for as long from now.
    pub(super) fn begin(
        &mut self,
        place: &Place,
        now: Instant,
        time: Duration,
    ) -> Vec<(LostKey, LostEntries)> {
        let Some(window) = self.windows.remove(place) else { return Vec::new() };
        let of = window.names_before();
        let mut lost = Vec::with_capacity(window.lost);
        for (at, key, names) in window.losses {
            // It may have come back, and be lost again elsewhere.
            match self.recent.get(&key) {
                Some(recent) if recent.place != *place || recent.at != at => {}
                Some(recent) if recent.is_replaced => {
                    self.windows.entry(place.clone()).or_default().losses.push_back((at, key, names));
                }
                Some(_) => {
                    let entries = self.recent.remove(&key).map(|recent| recent.entries).unwrap_or_default();
                    // It may be served on as one of another place, since its lease has ended after it was deleted.
                    if !self.held.contains_key(&key) {
                        self.held.insert(key.clone(), place.clone());
                        lost.push((key, entries));
                    }
                }
                None => {}
            }
        }
        let begun = Hold::begin(now, time);
        let hold = self.holds.entry(place.clone()).or_insert(begun);
        *hold = Hold { names: hold.names + lost.len(), of: hold.of.max(of), ..begun };
        lost
    }

    /// Serves one more name on, if a place serves on what it loses.
    ///
    /// What is lost within the window after the beginning belongs to it, and has the full time; what is lost later is counted
    /// anew.
    pub(super) fn hold(&mut self, loss: &Loss<'_>, now: Instant, time: Duration) -> Held {
        let Loss { place, lost, name, .. } = loss;
        let Some(hold) = self.holds.get_mut(place).filter(|_| !loss.is_replaced) else { return Held::No };
        if self.held.insert((*lost).clone(), (*place).clone()).is_none() {
            hold.names += 1;
        }
        name.iter().for_each(|name| self.replacements.lose(lost, name));
        if hold.begun + WINDOW <= now {
            return Held::Later;
        }
        *hold = Hold { begun: hold.begun, names: hold.names, of: hold.of, ..Hold::begin(now, time) };
        Held::AtOnce
    }

    /// Whether a key is served on.
    pub(super) fn is_held(&self, id: SourceId, key: &Key) -> bool {
        !self.held.is_empty() && self.held.contains_key(&(id, key.clone()))
    }

    /// Notes that a key has come back.
    pub(super) fn came_back(&mut self, id: SourceId, key: &Key) -> TakenBack {
        if self.are_none() {
            return TakenBack::default();
        }
        let lost = (id, key.clone());
        self.replacements.forget(&lost);
        if let Some(recent) = self.recent.remove(&lost)
            && !recent.is_replaced
            && let Some(window) = self.windows.get_mut(&recent.place)
        {
            window.lost -= 1;
        }
        self.take_held(&lost)
    }

    /// Has a key be served on no more.
    fn take_held(&mut self, lost: &LostKey) -> TakenBack {
        let Some(place) = self.held.remove(lost) else { return TakenBack::default() };
        let hold = self.holds.get_mut(&place);
        let is_last = hold.is_some_and(|hold| {
            hold.names -= 1;
            hold.names == 0
        });
        if is_last {
            self.holds.remove(&place);
        }
        TakenBack { was_held: true, ended: is_last.then_some(place) }
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
        let keys = ended.values().flatten().filter(|lost| !self.recent.contains_key(lost));
        keys.for_each(|lost| self.replacements.forget(lost));
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
        self.replacements = Replacements::default();
    }

    /// Forgets what was lost before the window.
    pub(super) fn forget_old(&mut self, now: Instant) {
        for place in self.windows.keys().cloned().collect::<Vec<_>>() {
            self.forget_old_of(&place, now);
        }
        self.windows.retain(|_, window| !window.losses.is_empty() || window.unkept.is_some());
        self.replacements.forget_old(now);
    }

    /// Forgets what a place lost before the window, and did not come back.
    fn forget_old_of(&mut self, place: &Place, now: Instant) {
        let Some(window) = self.windows.get_mut(place) else { return };
        while window.losses.front().is_some_and(|(at, ..)| *at + WINDOW <= now) {
            let Some((at, key, _)) = window.losses.pop_front() else { break };
            // It may have come back, and be lost again since then, or at the same time elsewhere.
            if self.recent.get(&key).is_none_or(|recent| recent.at != at || recent.place != *place) {
                continue;
            }
            window.lost -= usize::from(!self.recent.remove(&key).is_some_and(|recent| recent.is_replaced));
            if !self.held.contains_key(&key) {
                self.replacements.forget(&key);
            }
        }
        window.unkept = window.unkept.filter(|(_, last)| *last + WINDOW > now);
    }

    /// When losses of a place or new keys have to be forgotten, or something is served on no more.
    pub(super) fn next(&self) -> Option<Instant> {
        let ends = self.holds.values().map(|hold| hold.until);
        let windows = self.windows.values().filter_map(Window::last);
        ends.chain(windows.map(|last| last + WINDOW)).chain(self.replacements.next()).min()
    }
}

impl Window {
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
