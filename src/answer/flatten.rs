//! The addresses of a name in a signed answer: those of its services, and those that hosts of its services lead to.

use super::select;
use super::view::View;
use crate::service::Host;
use crate::tree::{DataKinds, TreeLookup, TreePath};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::HashSet;

/// Maximum number of CNAMEs that are followed, one after the other.
pub(super) const MAX_CNAME_CHAIN: usize = 8;

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
pub(super) struct FlatAddresses {
    pub(super) records: Vec<Record>,
    /// Whether a name had more different hosts than are allowed; then records are missing.
    pub(super) too_many: bool,
}

/// The addresses of the services at a name, and of the services at the names that are their hosts, and so on.
///
/// All records get the owner name `owner`. Each name is visited once. Names outside of the tree are left out, since
/// records of upstreams must not be signed.
pub(super) fn flat_addresses(
    view: &View<'_>,
    owner: &Name,
    path: &TreePath,
    family: Family,
    max_different: usize,
) -> FlatAddresses {
    let mut flat = FlatAddresses { records: Vec::new(), too_many: false };
    let mut visited = HashSet::from([path.name().clone()]);
    // Names to visit, each with the lowest TTL on the way there and the number of names on that way.
    let mut to_visit = vec![(path.clone(), u32::MAX, 0)];
    while let Some((path, max_ttl, depth)) = to_visit.pop() {
        let found =
            match view.distinct_services(&path, family.kinds(), |service| &service.host, max_different) {
                TreeLookup::NoName => Vec::new(),
                TreeLookup::Services(found) => select::one_group(found),
                TreeLookup::TooMany => {
                    flat.too_many = true;
                    Vec::new()
                }
            };
        for m in found {
            let ttl = view.ttl(m.entry).min(max_ttl);
            if let Some(address) = family.address(&m.entry.service.host) {
                flat.records.push(Record::from_rdata(owner.clone(), ttl, address));
            } else if let Host::Name(target) = &m.entry.service.host {
                let target = view.zone.resolve_local(target).to_lowercase();
                let ends = depth >= MAX_CNAME_CHAIN || flat.too_many || target.is_root();
                if !ends && visited.insert(target.clone()) {
                    to_visit.push((TreePath::literal(&target), ttl, depth + 1));
                }
            }
        }
    }
    flat
}
