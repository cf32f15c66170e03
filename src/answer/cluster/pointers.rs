//! The names of addresses of a cluster: the targets of their PTR records.

use super::find::{SVC, ServiceOf};
use crate::answer::view::View;
use crate::answer::zone::Zone;
use crate::service::name_of;
use crate::tree::{AddressRange, Cluster, Scope, Work};
use hickory_proto::rr::Name;
use std::net::IpAddr;
use std::ops::ControlFlow;

/// Which names of an address come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// That of the service whose own address it is.
    Service,
    /// Those of endpoints of headless services.
    Headless,
    /// Those of endpoints of services that have an address of their own.
    Behind,
}

/// The names that a cluster gives to addresses, those of services first, with their TTL. None if no zone has names of it, or if
/// the work is spent.
pub(in crate::answer) fn names_of_addresses(addresses: AddressRange, view: &View<'_>) -> Vec<(Name, u32)> {
    let mut names = Vec::new();
    let _ = for_each(addresses, view, &mut |rank, name, ttl| {
        names.push((rank, name, ttl));
        ControlFlow::Continue(())
    });
    names.sort_by_key(|(rank, ..)| *rank);
    names.into_iter().map(|(_, name, ttl)| (name, ttl)).collect()
}

/// Whether a cluster gives any name to addresses. Nothing follows from it if the work is spent.
pub(in crate::answer) fn have_names(addresses: AddressRange, view: &View<'_>) -> bool {
    for_each(addresses, view, &mut |_, _, _| ControlFlow::Break(())).is_break()
}

fn for_each(
    addresses: AddressRange,
    view: &View<'_>,
    each: &mut dyn FnMut(Rank, Name, u32) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let names_in = |zone: &'_ Zone| zone.cluster.filter(|names| names.scope == Scope::Cluster);
    let Some((zone, names)) = view.site.zones.iter().find_map(|zone| Some((zone, names_in(zone)?))) else {
        return ControlFlow::Continue(());
    };
    let ttl = view.capped(names.ttl, zone);
    view.tree.cluster().at_addresses(addresses, &mut |address, namespace, node| {
        view.work.charge(2 * Work::SERVICE)?;
        // Whether it has names at all depends on more than who has the address.
        view.dependencies.add(Cluster::slot_of_namespace(namespace.name()));
        view.dependencies.add(Cluster::slot_of(Scope::Cluster, namespace.name(), node.name()));
        let service = ServiceOf { namespace, node };
        if !view.tree.cluster().has(namespace) || !names.has(node) {
            return ControlFlow::Continue(());
        }
        each_of_service(address, service, view.work, &mut |rank, label| {
            let apex = zone.apex().labels();
            let own = [SVC, namespace.name(), node.name()];
            let labels: Vec<_> = apex.chain(own).chain(label).collect();
            each(rank, name_of(&labels), ttl)
        })
    })
}

/// What is called with a name that a service gives an address: with the label of an endpoint, or without one.
type EachOfService<'f> = dyn FnMut(Rank, Option<&[u8]>) -> ControlFlow<()> + 'f;

/// Calls `each` for the names of an address that a service gives it.
fn each_of_service(
    address: IpAddr,
    service: ServiceOf<'_>,
    work: &Work,
    each: &mut EachOfService<'_>,
) -> ControlFlow<()> {
    if service.is_alias() {
        return ControlFlow::Continue(());
    }
    if service.node.own_addresses().contains(&address) {
        return each(Rank::Service, None);
    }
    let rank = if service.is_headless() { Rank::Headless } else { Rank::Behind };
    for (_, endpoint) in service.node.endpoints() {
        work.charge(1)?;
        if endpoint.address == address {
            each(rank, Some(endpoint.label().as_bytes()))?;
        }
    }
    ControlFlow::Continue(())
}
