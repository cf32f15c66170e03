//! Names without a CNAME whose services lead to other names: their addresses are those that the other names have.

use super::externals::{External, Lookup, chain_from, leads_back_to};
use super::select;
use super::view::View;
use super::zone::Zone;
use crate::service::Host;
use crate::tree::{DataKinds, TreeLookup, TreePath};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::HashSet;

/// Maximum number of CNAMEs that are followed, one after the other.
pub(super) const MAX_CNAME_CHAIN: usize = 8;

/// Which names have a CNAME, if services lead to other names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Flatten {
    /// A name whose only host is a name has a CNAME; all others have addresses, also those of the names that they lead to.
    #[default]
    Auto,
    /// No name has a CNAME.
    Always,
    /// As in SkyDNS: names have one CNAME beside their addresses.
    Never,
}

/// The types of addresses that are asked for.
#[derive(Clone, Copy)]
pub(super) enum Family {
    V4,
    V6,
    /// Both types, for ADDITIONAL.
    Both,
}

impl Family {
    /// The family of a question for A or AAAA.
    pub(super) fn of(rtype: RecordType) -> Self {
        if rtype == RecordType::A { Self::V4 } else { Self::V6 }
    }

    /// The data kinds of services that have addresses of this family, or a name that may lead to some.
    pub(super) fn kinds(self) -> DataKinds {
        match self {
            Self::V4 => DataKinds::V4 | DataKinds::NAME,
            Self::V6 => DataKinds::V6 | DataKinds::NAME,
            Self::Both => DataKinds::HOST,
        }
    }

    /// The type to ask an upstream for; it is A for both, as in SkyDNS.
    pub(super) fn external_type(self) -> RecordType {
        match self {
            Self::V4 | Self::Both => RecordType::A,
            Self::V6 => RecordType::AAAA,
        }
    }

    /// The record data of a host that is an address of this family.
    pub(super) fn address(self, host: &Host) -> Option<RData> {
        match (host, self) {
            (Host::V4(v4), Self::V4 | Self::Both) => Some(RData::A(A(*v4))),
            (Host::V6(v6), Self::V6 | Self::Both) => Some(RData::AAAA(AAAA(*v6))),
            _ => None,
        }
    }
}

/// The addresses of a name.
#[derive(Default)]
pub(super) struct FlatAddresses {
    pub(super) records: Vec<Record>,
    /// Whether a name had more different hosts than are allowed; then records are missing.
    pub(super) too_many: bool,
    /// Look-ups upstream that are not made yet.
    pub(super) lookups: Vec<Lookup>,
    /// Whether upstreams said of a name that it exists.
    pub(super) any_known: bool,
    /// Whether a look-up failed, or could not be made; then records may be missing.
    pub(super) failed: bool,
}

/// A name whose addresses are gathered.
struct ToVisit {
    path: TreePath,
    /// Lowest TTL on the way there, in seconds.
    max_ttl: u32,
    /// Number of names on the way there.
    depth: usize,
}

/// The addresses of the services at a name, and of the services at the names that are their hosts, and so on.
///
/// All records get the owner name `owner`, and the lowest TTL on the way to the address. Each name is visited once, and at
/// most `max_different` different hosts are taken of it. Names outside of the tree are looked up upstream, unless the owner's
/// zone is signed: what upstreams say must not be signed.
pub(super) fn flat_addresses(
    view: &View<'_>,
    (owner, zone): (&Name, &Zone),
    path: &TreePath,
    family: Family,
    max_different: usize,
) -> FlatAddresses {
    let mut flat = FlatAddresses::default();
    let mut visited = HashSet::from([path.name().clone()]);
    let mut to_visit = vec![ToVisit { path: path.clone(), max_ttl: u32::MAX, depth: 0 }];
    while let Some(ToVisit { path, max_ttl, depth }) = to_visit.pop() {
        let found =
            match view.distinct_services(&path, family.kinds(), |service| &service.host, max_different) {
                TreeLookup::NoName => {
                    let is_outside = depth > 0 && view.leaves_to_upstreams(path.name()) && !zone.is_signed;
                    if is_outside
                        && let Some((target, ttl)) =
                            flat.add_external(view, owner, path.name(), (family, max_ttl))
                    {
                        let path = TreePath::literal(view.site.resolve_local(&target));
                        if depth < MAX_CNAME_CHAIN && visited.insert(path.name().clone()) {
                            to_visit.push(ToVisit { path, max_ttl: ttl, depth: depth + 1 });
                        }
                    }
                    continue;
                }
                TreeLookup::Services(found) => select::one_group(found),
                TreeLookup::TooMany => {
                    flat.too_many = true;
                    continue;
                }
            };
        let mut targets = Vec::new();
        let zone = if depth == 0 { zone } else { view.site.zone_of(path.name()) };
        for m in found {
            let ttl = view.ttl(m.entry, zone).min(max_ttl);
            if let Some(address) = family.address(&m.entry.service.host) {
                flat.records.push(Record::from_rdata(owner.clone(), ttl, address));
            } else if let Host::Name(target) = &m.entry.service.host {
                let path = TreePath::literal(view.site.resolve_local(target));
                let ends = depth >= MAX_CNAME_CHAIN || target.is_root();
                if !ends && visited.insert(path.name().clone()) {
                    targets.push(ToVisit { path, max_ttl: ttl, depth: depth + 1 });
                }
            }
        }
        // The last one is visited first.
        to_visit.extend(targets.into_iter().rev());
    }
    flat
}

impl FlatAddresses {
    /// Adds the addresses that upstreams know of a name; gives the name of ours that their CNAMEs lead back to, and the lowest
    /// TTL on the way there.
    fn add_external(
        &mut self,
        view: &View<'_>,
        owner: &Name,
        name: &Name,
        (family, max_ttl): (Family, u32),
    ) -> Option<(Name, u32)> {
        let lookup = Lookup { name: name.clone(), rtype: family.external_type() };
        match view.external(&lookup, self.lookups.len()) {
            External::Pending => self.lookups.push(lookup),
            External::Failed => self.failed = true,
            External::Reply(reply) => {
                let chain = chain_from(&reply.records, name, lookup.rtype, view);
                let ttl = chain.iter().map(|record| record.ttl).fold(max_ttl, u32::min);
                if let Some(target) = leads_back_to(&chain, view) {
                    return Some((target.clone(), ttl));
                }
                self.any_known |= !reply.is_denied;
                let addresses = chain.into_iter().filter(|record| record.record_type() == lookup.rtype);
                self.records
                    .extend(addresses.map(|record| Record::from_rdata(owner.clone(), ttl, record.data)));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
