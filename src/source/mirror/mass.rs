//! Names that are served on for a while though they are gone, because a zone has lost many at once: one command, or one
//! restored backup, must not empty every host of a site.
//!
//! Deletions are still held back singly ([`hold`](super::hold)), which is why readers do not see the first ones of many go.

use super::losses::{Held, Hold, Loss, LostEntries, LostKey, Place, TakenBack, WINDOW};
use super::{Mirror, serial_now};
use crate::answer::{MassHold, Site};
use crate::clock::steady_time;
use crate::counted::counted;
use crate::service::Key;
use crate::source::id::SourceId;
use crate::source::served_key::ServedKey;
use crate::source::state::{HeldNames, LossCause};
use std::time::Instant;

/// Seconds after the end of a lease, as it is known, within which its keys are gone for that reason: the store counts in
/// whole seconds.
const LEASE_SLACK: u64 = 2;

impl Mirror {
    /// Notes that a key of a source is gone, and with it a name; returns whether the name is served on.
    pub(super) fn hold_loss(&mut self, id: SourceId, key: &Key, now: Instant) -> bool {
        if self.losses.is_held(id, key) {
            return true;
        }
        let lost = (id, key.clone());
        if self.losses.is_replaced(&lost) {
            return false;
        }
        let Some((place, hold)) = self.place_of(id, key) else { return false };
        let entries: LostEntries =
            self.tree.entries_at(key, id.layer()).iter().map(|present| present.entry.clone()).collect();
        let name = entries.first().and_then(|entry| self.name_with(key, entry));
        let is_replaced = self.is_replaced(&lost, name.as_ref(), now);
        let apex = place.apex.as_ref();
        let names = self.tree.names_of(apex).saturating_sub(self.losses.held_in(apex));
        let loss = Loss { place: &place, lost: &lost, name, is_replaced, entries, names };
        let held = self.losses.hold(&loss, now, hold.time);
        if held != Held::No {
            self.serve_on(&lost, &loss.entries);
        }
        let is_accepted = self.accepts_until.is_some_and(|until| now < until);
        if held == Held::AtOnce || is_accepted {
            return held != Held::No;
        }
        self.losses.note(loss, now);
        if !self.losses.exceed(&place, hold.percent) {
            return held != Held::No;
        }
        for (lost, entries) in self.losses.begin(&place, now, hold.time) {
            self.beat();
            self.serve_on(&lost, &entries);
        }
        self.mass_losses[place.cause as usize] += 1;
        self.tell_hold(&place, hold.percent, held == Held::Later);
        self.losses.is_held(id, key) || self.hold_loss(id, key, now)
    }

    /// The same for one spelling of a key: with the last one the name is gone.
    pub(super) fn hold_last(&mut self, id: SourceId, served: &ServedKey, now: Instant) -> bool {
        if self.losses.is_held(id, &served.key) {
            return true;
        }
        let Some(source) = self.sources.get(&id) else { return false };
        !source.spellings.has_others(&served.key, &served.spelling) && self.hold_loss(id, &served.key, now)
    }

    /// Where a loss of a key counts, and when losses are held back there; `None` if they are not, or if the name of the key has
    /// entries of other sources.
    fn place_of(&self, id: SourceId, key: &Key) -> Option<(Place, MassHold)> {
        let site = self.site.as_ref()?;
        let zone = site.zones.of(&key.name());
        // Names outside of all zones are treated as those of the first: reverse names are among them.
        let hold = zone.unwrap_or(site.zones.first()).hold_mass_deletion;
        let [.., last] = self.tree.entries_at(key, id.layer()) else { return None };
        let has_others =
            |other: &SourceId| *other != id && !self.tree.entries_at(key, other.layer()).is_empty();
        if hold.time.is_zero() || self.sources.keys().any(has_others) {
            return None;
        }
        let lease = last.entry.lease.as_ref().filter(|lease| !lease.is_held() && lease.end() > 0);
        let has_ended = lease.is_some_and(|lease| lease.end() <= steady_time() + LEASE_SLACK);
        let cause = if has_ended { LossCause::LeaseEnded } else { LossCause::Deleted };
        Some((Place { apex: zone.map(|zone| zone.apex().clone()), cause }, hold))
    }

    /// Has the tree serve the last entries of a key that is gone.
    fn serve_on(&mut self, (id, key): &LostKey, entries: &LostEntries) {
        if let Some(source) = self.sources.get_mut(id) {
            source.spellings.forget(key);
        }
        let held = entries.iter().map(|entry| entry.held(&self.held_lease)).collect();
        if self.tree.set(key, id.layer(), held) {
            self.tree.set_serial_of(key, serial_now());
        }
    }

    /// Makes room for a key that a source has again: what any source has lost on the key is replaced.
    pub(super) fn take_back(&mut self, key: &Key) {
        for id in SourceId::ALL {
            let taken = self.losses.came_back(id, key);
            self.taken_back((id, key.clone()), taken);
        }
    }

    /// Removes what was served on of a key that is lost no more.
    pub(super) fn taken_back(&mut self, (id, key): LostKey, TakenBack { was_held, ended }: TakenBack) {
        if was_held && self.tree.remove(&key, id.layer()) {
            self.tree.set_serial_of(&key, serial_now());
        }
        if let Some(place) = ended {
            log::info!(
                "{}: all names are back, or others took their places, that were served on",
                place_name(&place)
            );
        }
    }

    /// Lets everything go that is served on: the losses were meant, and so are those that follow at once.
    pub(super) fn accept(&mut self, now: Instant, by: &str) {
        if self.losses.holds().next().is_none() {
            log::info!(
                "{by}: no names are served on that are gone; what is lost within {} s goes",
                WINDOW.as_secs()
            );
        }
        self.let_go(|_, _| true, by);
        self.losses.forget_recent();
        self.accepts_until = Some(now + WINDOW);
    }

    /// Lets go what is served on in parts of the tree where that is not wanted any more.
    pub(super) fn let_unwanted_go(&mut self, site: &Site) {
        let wants = |place: &Place| {
            let zone = |apex: &Key| site.zones.iter().find(|zone| zone.apex() == apex);
            let zone = match &place.apex {
                Some(apex) => zone(apex),
                None => Some(site.zones.first()),
            };
            zone.is_some_and(|zone| !zone.hold_mass_deletion.time.is_zero())
        };
        self.let_go(|place, _| !wants(place), "the settings have changed");
    }

    /// Lets go what is due at a time.
    pub(super) fn let_due_go(&mut self, now: Instant) {
        self.losses.forget_old(now);
        self.let_go(|_, hold| hold.until <= now, "the time of -hold-mass-deletion is over");
        self.remove_due_configs(now);
    }

    /// Removes what is served on in some places.
    fn let_go(&mut self, goes: impl Fn(&Place, &Hold) -> bool, why: &str) {
        for (place, lost) in self.losses.end(goes) {
            for (id, key) in &lost {
                self.beat();
                self.tree.remove(key, id.layer());
                self.tree.set_serial_of(key, serial_now());
            }
            log::warn!("{}: {why}: {} served no more", place_name(&place), are(lost.len()));
        }
    }

    fn tell_hold(&self, place: &Place, percent: u8, is_more: bool) {
        let Some((_, hold)) = self.losses.holds().find(|(held, _)| *held == place) else { return };
        let cause = match place.cause {
            LossCause::Deleted => "were deleted",
            LossCause::LeaseEnded => "ended with their leases",
        };
        let what = if is_more {
            format!("{} are gone, and of those that were left many more {cause}", counted(hold.names, "name"))
        } else {
            format!("{} of {} names {cause}", hold.names, hold.of)
        };
        let time = hold.until.saturating_duration_since(Instant::now()).as_secs_f64().round();
        log::error!(
            "{}: {what} within {} s, which is more than {percent} %: they are served on for {time} s, and so are those that \
             follow (-hold-mass-deletion); if that was meant, \"skydns accept\" lets them go on this host, and a put of the \
             key {}accept on all",
            place_name(place),
            WINDOW.as_secs(),
            self.keyspace.root()
        );
    }

    /// What is served on, for the status.
    pub(super) fn held_names(&self) -> Vec<HeldNames> {
        let held = self.losses.holds().map(|(place, hold)| HeldNames {
            zone: place.apex.as_ref().map(|apex| apex.name().to_string()),
            cause: place.cause,
            names: hold.names,
            of: hold.of,
            until: hold.until_date,
        });
        let mut held: Vec<_> = held.collect();
        held.sort_by(|one, other| (&one.zone, one.cause).cmp(&(&other.zone, other.cause)));
        held
    }

    /// Takes over what a source has for the key `config`. Where losses are held back, its removal is one that waits: it would
    /// take the settings away by which the names are served.
    pub(super) fn set_config(&mut self, id: SourceId, config: Option<Vec<u8>>, now: Instant) {
        match config {
            Some(config) => {
                self.config_removals.remove(&id);
                self.configs.insert(id, config);
            }
            None if !self.configs.contains_key(&id) => {}
            None if self.holds_losses => {
                self.config_removals.entry(id).or_insert(now + WINDOW);
            }
            None => drop(self.configs.remove(&id)),
        }
    }

    /// Removes the configurations that are due, unless names are served on.
    fn remove_due_configs(&mut self, now: Instant) {
        if self.losses.holds().next().is_none() {
            let Self { config_removals, configs, .. } = self;
            config_removals.retain(|id, due| {
                let is_due = *due <= now;
                if is_due {
                    configs.remove(id);
                }
                !is_due
            });
        }
    }

    /// When something is due of what this file is about.
    pub(super) fn next_letting_go(&self) -> Option<Instant> {
        let is_held = self.losses.holds().next().is_some();
        let configs = self.config_removals.values().copied().filter(|_| !is_held);
        configs.chain(self.losses.next()).min()
    }
}

/// How logs name a place.
fn place_name(place: &Place) -> String {
    place.apex.as_ref().map_or("names outside of all domains".to_owned(), |apex| apex.name().to_string())
}

fn are(names: usize) -> String {
    format!("{} {}", counted(names, "name"), if names == 1 { "is" } else { "are" })
}
