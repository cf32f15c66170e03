//! Look-ups beside an answer: which types a name has, and the single CNAME that a name may have in a signed answer.
//!
//! They have no access to the records that an answer collects, and a limit on the names at one place that does not depend
//! on the transport. So a name has the same types over UDP and TCP; if the work of the answer is spent, there is no answer.

use super::flatten::{Family, flat_addresses};
use super::name_servers::name_servers;
use super::select::{self, Announced, is_mail_exchanger};
use super::view::View;
use super::zone::Zone;
use crate::service::Host;
use crate::tree::{DataKinds, TreeLookup, TreePath};
use hickory_proto::rr::{Name, RecordType};
use std::collections::HashSet;
use std::sync::Arc;

/// Maximum number of different hosts at one name, and of names that CNAMEs lead to.
///
/// A name with more has no CNAME. The number does not depend on the size of the reply, so that a name has the same
/// types over UDP and TCP.
const MAX_SIDE_NAMES: usize = 4_096;

/// The types that services give a name: all types but RRSIG, and but those that DNSSEC adds to the apex.
pub(super) fn gather_types(view: &View<'_>, path: &TreePath, is_apex: bool) -> Vec<RecordType> {
    SideLookups::new(view).types(path, is_apex)
}

/// Look-ups beside an answer.
pub(super) struct SideLookups<'a> {
    view: &'a View<'a>,
}

impl<'a> SideLookups<'a> {
    pub(super) fn new(view: &'a View<'a>) -> Self {
        Self { view }
    }

    /// The CNAME of a name in a signed answer, as its target and TTL: a name has one if none of its services has an
    /// address.
    pub(super) fn single_cname(&mut self, path: &TreePath) -> Option<(Name, u32)> {
        // At the apex a CNAME would hide the SOA and the keys.
        let may_have_cname = !self.view.zone.is_apex(path.name())
            && self.has(path, DataKinds::NAME)
            && !self.has(path, DataKinds::V4 | DataKinds::V6);
        if !may_have_cname {
            return None;
        }
        let mut search = CnameSearch { side: self, too_many: false };
        let cname = search.find(path);
        cname.filter(|_| !search.too_many)
    }

    /// See [`gather_types`].
    fn types(&mut self, path: &TreePath, is_apex: bool) -> Vec<RecordType> {
        let mut types = Vec::new();
        if self.single_cname(path).is_some() {
            types.push(RecordType::CNAME);
        } else {
            let families =
                [(RecordType::A, DataKinds::V4, Family::V4), (RecordType::AAAA, DataKinds::V6, Family::V6)];
            for (rtype, kinds, family) in families {
                types.extend(
                    (self.has(path, kinds) || self.leads_to_addresses(path, family)).then_some(rtype),
                );
            }
        }
        types.extend(self.has(path, DataKinds::HOST).then_some(RecordType::SRV));
        types.extend(self.has(path, DataKinds::TEXT).then_some(RecordType::TXT));
        types.extend(self.has_mail_exchanger(path).then_some(RecordType::MX));
        if is_apex {
            types.push(RecordType::SOA);
            types.extend((!name_servers(self.view).is_empty()).then_some(RecordType::NS));
        }
        types
    }

    /// Whether one of the services at a name, reduced to one group, is of one of the kinds.
    fn has(&mut self, path: &TreePath, kinds: DataKinds) -> bool {
        match self.view.services(path, kinds, |_| true) {
            TreeLookup::NoName => false,
            TreeLookup::TooMany => true,
            TreeLookup::Services(found) => {
                let found = select::distinct(found);
                // Groups do not matter to MX.
                let found = if kinds == DataKinds::MAIL { found } else { select::one_group(found) };
                found.iter().any(|m| DataKinds::of(m.entry).meets(kinds))
            }
        }
    }

    /// Whether hosts of services at a name lead to addresses that count as the name's own.
    fn leads_to_addresses(&mut self, path: &TreePath, family: Family) -> bool {
        if !self.has(path, DataKinds::NAME) {
            return false;
        }
        if self.single_cname(path).is_some() {
            return false;
        }
        let flat = flat_addresses(self.view, path.name(), path, family, MAX_SIDE_NAMES);
        flat.too_many || !flat.records.is_empty()
    }

    /// Whether a service at a name is a mail exchanger; `true` as well if there are too many services to know.
    fn has_mail_exchanger(&mut self, path: &TreePath) -> bool {
        self.has(path, DataKinds::MAIL)
            && match self.view.distinct_services(path, DataKinds::MAIL, Announced, MAX_SIDE_NAMES) {
                TreeLookup::NoName => false,
                TreeLookup::TooMany => true,
                TreeLookup::Services(found) => found.iter().any(|m| is_mail_exchanger(&m.entry.service)),
            }
    }
}

/// A search for the CNAME of one name.
struct CnameSearch<'s, 'a> {
    side: &'s mut SideLookups<'a>,
    /// Whether any name that was read had too many different hosts; then the search finds no CNAME.
    too_many: bool,
}

/// The hosts of the services at a name that are names.
struct Targets {
    /// Each name once, with the TTL of its CNAME.
    names: Vec<(Name, u32)>,
    /// Whether there is one service only, and its key is the name itself.
    of_own_service: bool,
}

impl CnameSearch<'_, '_> {
    /// The first target that leads to an address or out of the domain; with round robin the search begins at a random
    /// one.
    fn find(&mut self, path: &TreePath) -> Option<(Name, u32)> {
        let targets = self.targets(path)?;
        let first = self.first_target(targets.names.len());
        let mut visited = HashSet::from([path.name().clone()]);
        for (target, ttl) in targets.names.iter().cycle().skip(first).take(targets.names.len()) {
            if self.leads_somewhere(target, &mut visited) {
                return Some((target.clone(), *ttl));
            }
        }
        self.dangling_cname(path, targets)
    }

    /// The position of the target to begin with, of `count`.
    fn first_target(&self, count: usize) -> usize {
        let view = self.side.view;
        if !view.zone.round_robin || count < 2 {
            return 0;
        }
        view.dependencies.note_random_choice();
        // The remainder is less than `count`, so it fits.
        usize::try_from(view.seed % count as u64).unwrap_or(0)
    }

    /// The CNAME of a name whose targets all lead nowhere: only a single service with this name as its key makes one.
    fn dangling_cname(&mut self, path: &TreePath, targets: Targets) -> Option<(Name, u32)> {
        let (target, ttl) = targets.names.into_iter().next().filter(|_| targets.of_own_service)?;
        (!self.leads_in_a_circle(path.name(), &target)).then_some((target, ttl))
    }

    /// The targets at a name, of the services of one group; `None` if this or an earlier name had too many.
    fn targets(&mut self, path: &TreePath) -> Option<Targets> {
        let view = self.side.view;
        let found =
            match view.distinct_services(path, DataKinds::NAME, |service| &service.host, MAX_SIDE_NAMES) {
                TreeLookup::NoName => Vec::new(),
                TreeLookup::Services(found) => select::one_group(found),
                TreeLookup::TooMany => {
                    self.too_many = true;
                    Vec::new()
                }
            };
        if self.too_many {
            return None;
        }
        let own_entry = view.leaf(path);
        let of_own_service =
            found.len() == 1 && own_entry.is_some_and(|entry| Arc::ptr_eq(entry, found[0].entry));
        let mut different = HashSet::new();
        let mut names = Vec::new();
        for m in &found {
            if let Host::Name(target) = &m.entry.service.host
                && !target.is_root()
                && different.insert(target)
            {
                names.push(((**target).clone(), view.ttl(m.entry)));
            }
        }
        Some(Targets { names, of_own_service })
    }

    /// Whether a target has addresses, or leads to a name with addresses, or leads out of the domain.
    ///
    /// `visited` are the names that were read before in this search; each name is read once.
    fn leads_somewhere(&mut self, target: &Name, visited: &mut HashSet<Name>) -> bool {
        let view = self.side.view;
        let mut to_visit = vec![as_looked_up(view.zone, target)];
        while let Some(name) = to_visit.pop() {
            if visited.len() >= MAX_SIDE_NAMES || view.work.is_spent() {
                return false;
            }
            if name.is_root() || !visited.insert(name.clone()) {
                continue;
            }
            let path = TreePath::literal(&name);
            if !view.zone.contains(&name) && !view.exists(&name, &path) {
                // Upstreams are asked for names of `ndots` labels at least.
                if name.iter().count() >= usize::from(view.zone.ndots) {
                    return true;
                }
            } else if self.side.has(&path, DataKinds::V4 | DataKinds::V6) {
                return true;
            } else if let Some(targets) = self.targets(&path) {
                to_visit.extend(targets.names.iter().map(|(next, _)| as_looked_up(view.zone, next)));
            }
        }
        false
    }

    /// Whether CNAMEs lead from `target` back to a name before, where each name on the way has a single service.
    fn leads_in_a_circle(&mut self, name: &Name, target: &Name) -> bool {
        let zone = self.side.view.zone;
        let mut visited = HashSet::from([name.clone()]);
        let mut next = as_looked_up(zone, target);
        while visited.insert(next.clone()) && visited.len() < MAX_SIDE_NAMES {
            match self.targets(&TreePath::literal(&next)) {
                Some(Targets { names, of_own_service: true }) if !names.is_empty() => {
                    next = as_looked_up(zone, &names[0].0);
                }
                _ => return false,
            }
        }
        true
    }
}

/// The name to look up for a target.
fn as_looked_up(zone: &Zone, target: &Name) -> Name {
    zone.resolve_local(target).to_lowercase()
}
