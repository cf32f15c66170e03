//! Look-ups beside an answer: which types a name has, and whether it has a CNAME.
//!
//! They have no access to the records that an answer collects, and a limit on the names at one place that does not depend
//! on the transport. So a name has the same types over UDP and TCP; if the work of the answer is spent, there is no answer.

use super::externals::{Lookup, reply_without_upstreams};
use super::flatten::{Family, Flatten, flat_addresses};
use super::name_servers::name_servers;
use super::pointers::Pointers;
use super::select;
use super::view::{NameInZone, View};
use super::zone::Zone;
use crate::service::Host;
use crate::tree::{DataKinds, Entry, MatchedService, TreeLookup, TreePath};
use hickory_proto::rr::{Name, RecordType};
use std::collections::HashSet;

/// Maximum number of different hosts at one name, and of names that CNAMEs lead to.
///
/// A name with more has no CNAME. The number does not depend on the size of the reply, so that a name has the same
/// types over UDP and TCP.
const MAX_SIDE_NAMES: usize = 4_096;

/// The types that services give a name: all types but RRSIG, and but those that DNSSEC adds to the apex.
pub(super) fn gather_types(view: &View<'_>, name: NameInZone<'_>) -> Vec<RecordType> {
    SideLookups::new(view).types(name)
}

/// Look-ups beside an answer.
pub(super) struct SideLookups<'a> {
    view: &'a View<'a>,
}

impl<'a> SideLookups<'a> {
    pub(super) fn new(view: &'a View<'a>) -> Self {
        Self { view }
    }

    /// Whether a service at a name has an address.
    pub(super) fn has_addresses(&self, path: &TreePath) -> bool {
        self.has(path, DataKinds::V4 | DataKinds::V6)
    }

    /// The CNAME of a name of a zone, as its target and TTL; see [`Flatten`] for which names have one.
    ///
    /// In a signed zone, a name without addresses in the tree has a CNAME as well if one of its services leads to a name
    /// outside, whose addresses must not be signed as ours: the first such service decides.
    pub(super) fn cname(&self, path: &TreePath, zone: &Zone) -> Option<(Name, u32)> {
        let (site, is_signed) = (self.view.site, zone.is_signed);
        if zone.has_pointers_alone(path.name()) {
            return None;
        }
        let has_cname_beside_data = site.flatten == Flatten::Never && !is_signed;
        // At an apex a CNAME would hide the SOA and the keys.
        if !has_cname_beside_data && site.zones.apex(path.name()).is_some() {
            return None;
        }
        let only = self.only_target(path, zone).filter(|_| site.flatten != Flatten::Always);
        if only.is_some() {
            only
        } else if has_cname_beside_data {
            self.first_target(path, zone)
        } else if is_signed && !self.has_addresses(path) {
            self.first_outside(path, zone)
        } else {
            None
        }
    }

    /// The host of a name all whose services have the same one, if that is a name which does not lead back to this name.
    fn only_target(&self, path: &TreePath, zone: &Zone) -> Option<(Name, u32)> {
        let (target, ttl) = self.only_host(path, zone)?;
        (!self.leads_in_a_circle(path, &target)).then_some((target, ttl))
    }

    /// The one different host of the services at a name, if it is a name, and the lowest TTL.
    fn only_host(&self, path: &TreePath, zone: &Zone) -> Option<(Name, u32)> {
        let view = self.view;
        let mut only = None;
        // A second name ends the look-up.
        let is_too_much = |entry: &'a Entry| match &entry.service.host {
            Host::Name(target) => only.get_or_insert(target) != &target,
            _ => false,
        };
        // Most names lead to no other name, which this look-up finds out without reading their services.
        let TreeLookup::Services(found) = view.services(path, DataKinds::NAME, is_too_much) else {
            return None;
        };
        let found = select::distinct(found, view.dependencies);
        let found = select::one_group(found);
        let mut hosts = found.iter().filter(|m| m.entry.service.host != Host::None);
        let first = hosts.next()?;
        let Host::Name(target) = &first.entry.service.host else { return None };
        let mut ttl = view.ttl(first.entry, zone);
        let is_only = hosts.all(|m| {
            ttl = ttl.min(view.ttl(m.entry, zone));
            m.entry.service.host == first.entry.service.host
        });
        (is_only && !target.is_root() && !self.has_addresses(path)).then(|| ((**target).clone(), ttl))
    }

    /// Whether CNAMEs lead from `target` back to a name before, where each name on the way has one host.
    fn leads_in_a_circle(&self, path: &TreePath, target: &Name) -> bool {
        let site = self.view.site;
        let mut visited = HashSet::from([path.name().clone()]);
        let mut next = TreePath::literal(site.resolve_local(target));
        while visited.insert(next.name().clone()) {
            match self.only_host(&next, site.zone_of(next.name())) {
                Some((target, _)) if visited.len() <= MAX_SIDE_NAMES => {
                    next = TreePath::literal(site.resolve_local(&target));
                }
                _ => return false,
            }
        }
        true
    }

    /// The first of the hosts at a name that leads to addresses, or outside.
    fn first_target(&self, path: &TreePath, zone: &Zone) -> Option<(Name, u32)> {
        let mut visited = HashSet::from([path.name().clone()]);
        let mut leads = |target: &Name| self.leads_to(target, &mut visited);
        let mut targets = self.targets(path, zone)?.into_iter();
        targets.find(|(target, _)| leads(target).is_some_and(|to| to != LeadsTo::Nothing))
    }

    /// The first of the hosts at a name that leads outside, if none leads to addresses in the tree.
    fn first_outside(&self, path: &TreePath, zone: &Zone) -> Option<(Name, u32)> {
        let mut visited = HashSet::from([path.name().clone()]);
        let mut first = None;
        for (target, ttl) in self.targets(path, zone)? {
            match self.leads_to(&target, &mut visited)? {
                LeadsTo::Addresses => return None,
                LeadsTo::Outside if first.is_none() => first = Some((target, ttl)),
                LeadsTo::Outside | LeadsTo::Nothing => {}
            }
        }
        first
    }

    /// The names that are hosts of the services at a name, of one group, each once with the TTL of its CNAME; `None` if
    /// they are too many.
    fn targets(&self, path: &TreePath, zone: &Zone) -> Option<Vec<(Name, u32)>> {
        let view = self.view;
        let found =
            match view.distinct_services(path, DataKinds::NAME, |service| &service.host, MAX_SIDE_NAMES) {
                TreeLookup::NoName => Vec::new(),
                TreeLookup::Services(found) => select::one_group(found),
                TreeLookup::TooMany => return None,
            };
        let mut different = HashSet::new();
        let mut names = Vec::new();
        for m in &found {
            if let Host::Name(target) = &m.entry.service.host
                && !target.is_root()
                && different.insert(target)
            {
                names.push(((**target).clone(), view.ttl(m.entry, zone)));
            }
        }
        Some(names)
    }

    /// What a target leads to; `None` if it leads to too many names.
    ///
    /// `visited` are the names that were read before for the same purpose; each name is read once.
    fn leads_to(&self, target: &Name, visited: &mut HashSet<Name>) -> Option<LeadsTo> {
        let view = self.view;
        let mut leads = LeadsTo::Nothing;
        let mut to_visit = vec![TreePath::literal(view.site.resolve_local(target))];
        while let Some(path) = to_visit.pop() {
            let name = path.name();
            if visited.len() >= MAX_SIDE_NAMES || view.work.is_spent() {
                return None;
            }
            if name.is_root() || !visited.insert(name.clone()) {
                continue;
            }
            if view.is_outside(name, &path) {
                let lookup = Lookup { name: name.clone(), rtype: RecordType::A };
                if reply_without_upstreams(&lookup, view.site).is_none() {
                    leads = LeadsTo::Outside;
                }
            } else if self.has_addresses(&path) {
                return Some(LeadsTo::Addresses);
            } else {
                let next = self.targets(&path, view.site.zone_of(path.name()))?;
                to_visit
                    .extend(next.iter().map(|(next, _)| TreePath::literal(view.site.resolve_local(next))));
            }
        }
        Some(leads)
    }

    /// See [`gather_types`].
    fn types(&self, name: NameInZone<'_>) -> Vec<RecordType> {
        let NameInZone { path, zone, .. } = name;
        let mut types = Vec::new();
        if zone.has_pointers_alone(path.name()) {
            let has_targets = !Pointers::of(path.name(), self.view).targets.is_empty();
            types.extend(has_targets.then_some(RecordType::PTR));
            types.extend(self.has(path, DataKinds::TEXT).then_some(RecordType::TXT));
            types.extend(self.types_of_apex(name));
            return types;
        }
        if self.cname(path, zone).is_some() {
            types.push(RecordType::CNAME);
        } else {
            let families =
                [(RecordType::A, DataKinds::V4, Family::V4), (RecordType::AAAA, DataKinds::V6, Family::V6)];
            for (rtype, kinds, family) in families {
                types.extend(
                    (self.has(path, kinds) || self.leads_to_addresses(name, family)).then_some(rtype),
                );
            }
        }
        types.extend(self.has_srv(path, zone).then_some(RecordType::SRV));
        types.extend(self.has(path, DataKinds::TEXT).then_some(RecordType::TXT));
        types.extend(self.has(path, DataKinds::MAIL).then_some(RecordType::MX));
        types.extend(self.types_of_apex(name));
        types
    }

    /// The types that a name has if it is the apex.
    fn types_of_apex(&self, name: NameInZone<'_>) -> Vec<RecordType> {
        if !name.is_apex {
            return Vec::new();
        }
        let has_servers = !name_servers(self.view, name.zone).is_empty();
        [RecordType::SOA].into_iter().chain(has_servers.then_some(RecordType::NS)).collect()
    }

    /// Whether one of the services at a name, reduced to one group, is of one of the kinds.
    fn has(&self, path: &TreePath, kinds: DataKinds) -> bool {
        match self.view.services(path, kinds, |_| true) {
            TreeLookup::NoName => false,
            TreeLookup::TooMany => true,
            TreeLookup::Services(found) => {
                let found = select::distinct(found, self.view.dependencies);
                // Groups do not matter to MX.
                let found = if kinds == DataKinds::MAIL { found } else { select::one_group(found) };
                found.iter().any(|m| DataKinds::of(m.entry).meets(kinds))
            }
        }
    }

    /// Whether a name of a zone has SRV records.
    fn has_srv(&self, path: &TreePath, zone: &Zone) -> bool {
        if zone.cluster.is_none() {
            return self.has(path, DataKinds::HOST);
        }
        match self.view.services(path, DataKinds::HOST, |_| false) {
            TreeLookup::NoName => false,
            TreeLookup::TooMany => true,
            TreeLookup::Services(found) => found.iter().any(MatchedService::has_srv),
        }
    }

    /// Whether hosts of services at a name lead to addresses that count as the name's own.
    fn leads_to_addresses(&self, name: NameInZone<'_>, family: Family) -> bool {
        let NameInZone { path, zone, .. } = name;
        if !self.has(path, DataKinds::NAME) {
            return false;
        }
        let flat = flat_addresses(self.view, (path.name(), zone), path, family, MAX_SIDE_NAMES);
        flat.too_many || !flat.records.is_empty()
    }
}

/// What the services at a name lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeadsTo {
    /// No name with data.
    Nothing,
    /// A name outside of the domain and of the tree.
    Outside,
    /// A name with addresses in the tree.
    Addresses,
}
