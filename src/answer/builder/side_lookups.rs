//! Which names have a CNAME in an answer that is signed, and where it leads.
//!
//! All of it is looked at quietly: it leaves no trace in the answer, and its bounds are its own.

use super::AnswerBuilder;
use crate::answer::select;
use crate::service::Host;
use crate::tree::{DataKinds, TreeLookup, TreePath};
use hickory_proto::rr::Name;
use std::collections::HashSet;
use std::sync::Arc;

/// Distinct hosts at one name, and names altogether, that are looked at to know what a name has. Beyond that a name is
/// taken to have addresses; the way a question comes in does not matter.
pub(super) const MAX_SIDE_NAMES: usize = 4_096;

impl AnswerBuilder<'_> {
    /// What something finds, without a trace in the answer; nothing if it is too much.
    pub(super) fn quietly<T>(&mut self, look: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let additionals = std::mem::take(&mut self.additionals);
        let lookups = std::mem::take(&mut self.lookups);
        let before = std::mem::take(&mut self.too_large);
        let outer = std::mem::replace(&mut self.quiet, true);
        let found = look(self);
        self.quiet = outer;
        (self.additionals, self.lookups) = (additionals, lookups);
        let too_large = std::mem::replace(&mut self.too_large, before);
        found.filter(|_| !too_large)
    }

    /// The CNAME of a name, with its TTL: there is one if none of the services there has an address.
    pub(super) fn single_cname(&mut self, path: &TreePath) -> Option<(Name, u32)> {
        self.quietly(|b| b.find_single_cname(path))
    }

    fn find_single_cname(&mut self, path: &TreePath) -> Option<(Name, u32)> {
        // At the apex a CNAME would hide the zone.
        let zone = self.view.zone;
        if zone.is_apex(path.name())
            || !self.has(path, DataKinds::NAME)
            || self.has(path, DataKinds::V4 | DataKinds::V6)
        {
            return None;
        }
        let (targets, alone) = self.targets(path)?;
        let count = u64::try_from(targets.len()).unwrap_or(1).max(1);
        let first = if zone.round_robin { usize::try_from(self.view.seed % count).unwrap_or(0) } else { 0 };
        if zone.round_robin && count > 1 {
            self.view.dependencies.note_random_choice();
        }
        let mut dead = HashSet::from([path.name().clone()]);
        for (target, ttl) in targets.iter().cycle().skip(first).take(targets.len()) {
            if self.leads_somewhere(target, &mut dead) {
                return Some((target.clone(), *ttl));
            }
        }
        // One service on this very name is a CNAME even if it leads nowhere.
        let (target, ttl) = targets.into_iter().next().filter(|_| alone)?;
        (!self.leads_in_a_circle(path.name(), &target)).then_some((target, ttl))
    }

    /// The names that services at a name have as their hosts, each once, with their TTLs; and whether that is one
    /// service on this very name.
    fn targets(&mut self, path: &TreePath) -> Option<(Vec<(Name, u32)>, bool)> {
        let found =
            self.grouped(path, DataKinds::NAME, |service| &service.host).filter(|_| !self.too_large)?;
        let own = self.view.leaf(path);
        let alone = found.len() == 1 && own.is_some_and(|own| Arc::ptr_eq(own, found[0].entry));
        let mut seen = HashSet::new();
        let mut targets = Vec::new();
        for m in &found {
            if let Host::Name(target) = &m.entry.service.host
                && !target.is_root()
                && seen.insert(target)
            {
                targets.push(((**target).clone(), self.view.ttl(m.entry)));
            }
        }
        Some((targets, alone))
    }

    /// Whether a name has addresses, or leads to one that has, or out of the domain.
    ///
    /// `dead` are names of which it is known that they do not; each name is looked at once.
    fn leads_somewhere(&mut self, target: &Name, dead: &mut HashSet<Name>) -> bool {
        let zone = self.view.zone;
        let mut open = vec![zone.resolve_local(target).to_lowercase()];
        while let Some(name) = open.pop() {
            if dead.len() >= MAX_SIDE_NAMES || self.quiet_budget.is_spent() {
                return false;
            }
            if name.is_root() || !dead.insert(name.clone()) {
                continue;
            }
            let path = TreePath::new(&name);
            if !zone.contains(&name) && !self.is_there(&name) {
                if name.iter().count() >= usize::from(zone.ndots) {
                    return true;
                }
            } else if self.has(&path, DataKinds::V4 | DataKinds::V6) {
                return true;
            } else if let Some((targets, _)) = self.targets(&path) {
                open.extend(targets.iter().map(|(next, _)| zone.resolve_local(next).to_lowercase()));
            }
        }
        false
    }

    /// Whether CNAMEs, each the one service of its name, lead round and round.
    fn leads_in_a_circle(&mut self, name: &Name, target: &Name) -> bool {
        let zone = self.view.zone;
        let mut seen = HashSet::from([name.clone()]);
        let mut next = zone.resolve_local(target).to_lowercase();
        while seen.insert(next.clone()) && seen.len() < MAX_SIDE_NAMES {
            match self.targets(&TreePath::new(&next)) {
                Some((targets, true)) if !targets.is_empty() => {
                    next = zone.resolve_local(&targets[0].0).to_lowercase();
                }
                _ => return false,
            }
        }
        true
    }

    /// Whether a service at a name, after grouping, is of a kind.
    pub(super) fn has(&mut self, path: &TreePath, kinds: DataKinds) -> bool {
        match self.view.services(path, kinds, |_| true) {
            TreeLookup::NoName => false,
            TreeLookup::TooMany => true,
            TreeLookup::Services(found) => {
                self.quiet_budget.spend(found.len());
                let found = select::distinct(found);
                let found = if kinds == DataKinds::MAIL { found } else { select::one_group(found) };
                found.iter().any(|m| DataKinds::of(m.entry).meets(kinds))
            }
        }
    }
}
