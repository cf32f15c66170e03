//! The names that an address has: the targets of its PTR records.
//!
//! Hand-made ones are services on keys below `/arpa` whose host is a name. With `auto_ptr` a zone gives each of its services
//! with an address one more: the name that is the target of its SRV record. A cluster gives names to the addresses of its
//! services and endpoints.

use super::cluster::{have_names, names_of_addresses};
use super::view::View;
use super::zone::Zone;
use crate::service::{Host, Key};
use crate::tree::{AddressRange, DataKinds, Node, TreePath, Work};
use hickory_proto::rr::Name;
use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Maximum number of names of one address, unless more of them are hand-made: programs that read PTR records take one.
const MAX_POINTERS: usize = 16;

/// The targets of the PTR records of a name.
#[derive(Debug, Default)]
pub(super) struct Pointers {
    /// Hand-made ones first, each part in key order.
    pub(super) targets: Vec<Name>,
    /// The lowest TTL of their services: all records of an RRset have one (RFC 2181 §5.2).
    pub(super) ttl: u32,
}

impl Pointers {
    /// The targets that a reverse name has. None if the work is spent.
    ///
    /// A name may have any number of hand-made ones: one for each spelling of its key in upper and lower case.
    pub(super) fn of(name: &Name, view: &View<'_>) -> Self {
        let mut pointers = Self { targets: Vec::new(), ttl: u32::MAX };
        let mut different = HashSet::new();
        let node = view.exact(&TreePath::literal(name));
        let zone = view.site.zone_of(name);
        for entry in node.into_iter().flat_map(|node| node.entries()) {
            if view.work.charge(Work::SERVICE).is_break() {
                return Self::default();
            }
            if let Host::Name(target) = &entry.service.host {
                pointers.ttl = pointers.ttl.min(view.ttl(entry, zone));
                if different.insert((**target).clone()) {
                    pointers.targets.push((**target).clone());
                }
            }
        }
        let addresses = AddressRange::below(name).filter(|addresses| addresses.is_one());
        let flow = addresses.map(|addresses| {
            view.tree.at_addresses(addresses, &mut |address, key| {
                view.work.charge(2 * Work::SERVICE)?;
                for (target, ttl) in names_of(address, key, view) {
                    if pointers.targets.len() >= MAX_POINTERS {
                        return ControlFlow::Break(());
                    }
                    if different.insert(target.clone()) {
                        pointers.targets.push(target);
                    }
                    pointers.ttl = pointers.ttl.min(ttl);
                }
                ControlFlow::Continue(())
            })
        });
        let _ = flow;
        let of_cluster = addresses.map_or_else(Vec::new, |addresses| names_of_addresses(addresses, view));
        for (target, ttl) in of_cluster.into_iter().take(MAX_POINTERS) {
            pointers.ttl = pointers.ttl.min(ttl);
            if different.insert(target.clone()) {
                pointers.targets.push(target);
            }
        }
        if view.work.is_spent() { Self::default() } else { pointers }
    }

    /// Whether a reverse name has targets, or a name below it has. Nothing follows from it if the work is spent.
    pub(super) fn are_at_or_below(name: &Name, view: &View<'_>) -> bool {
        let is_hand_made = |node: &Arc<Node>| node.visible().meets(DataKinds::NAME);
        if view.exact(&TreePath::literal(name)).is_some_and(is_hand_made) {
            return true;
        }
        let Some(addresses) = AddressRange::below(name) else { return false };
        if have_names(addresses, view) {
            return true;
        }
        let flow = view.tree.at_addresses(addresses, &mut |address, key| {
            view.work.charge(2 * Work::SERVICE)?;
            if names_of(address, key, view).is_empty() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        flow.is_break()
    }
}

/// The names that the services on a key give to an address, with their TTLs; none if the zone gives none.
fn names_of(address: IpAddr, key: &[u8], view: &View<'_>) -> Vec<(Name, u32)> {
    let Some(key) = Key::from_wire(key) else { return Vec::new() };
    let name = key.name();
    let Some(zone) = view.site.zones.of(&name).filter(|zone| zone.auto_ptr && gives_names(zone, &key)) else {
        return Vec::new();
    };
    let node = view.tree.node(key.labels());
    let entries = node.into_iter().flat_map(|node| node.entries());
    let is_at = |host: &Host| match host {
        Host::V4(v4) => address == IpAddr::V4(*v4),
        Host::V6(v6) => address == IpAddr::V6(*v6),
        Host::Name(_) | Host::None => false,
    };
    let of_address = entries.filter(|entry| is_at(&entry.service.host));
    of_address
        .map(|entry| (view.site.stripped(name.clone(), entry.service.target_strip), view.ttl(entry, zone)))
        .collect()
}

/// Whether services on a key are hosts of a zone: neither servers of stub zones nor wildcards.
fn gives_names(zone: &Zone, key: &Key) -> bool {
    let mut below = key.labels().skip(zone.apex().labels().count());
    let is_stub = below.next() == Some(b"dns") && below.next() == Some(b"stub");
    !is_stub && key.labels().all(|label| label != b"*")
}
