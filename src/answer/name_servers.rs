//! The name servers of a zone.

use super::select;
use super::view::View;
use super::zone::{Mode, OwnServer, Zone};
use crate::service::Host;
use crate::tree::{DataKinds, Entry, MatchedService, TreeLookup, TreePath, Work};
use hickory_proto::rr::Name;
use std::ops::ControlFlow;

/// The name servers, each with the name of its key.
///
/// They are the services at and below `ns.dns.<domain>`, and those on a name directly below `dns.<domain>`. A service
/// whose host is no address is no name server; nor, in exact mode, is one on a name directly below `dns.<domain>` that
/// `targetstrip` makes the data of another name.
pub(super) fn name_servers<'a>(view: &View<'a>, zone: &Zone) -> Vec<(Name, &'a Entry)> {
    let below_ns = view.services(&TreePath::new(zone.ns_name()), DataKinds::HOST, |_| false);
    let mut servers: Vec<(Name, &Entry)> = match below_ns {
        TreeLookup::Services(found) => {
            let found = select::one_group(select::distinct(found, view.dependencies));
            let name = |m: &MatchedService<'_>| match zone.mode {
                Mode::Subtree => m.name(),
                Mode::Exact => view.site.stripped(m.name(), m.entry.service.target_strip),
            };
            // What a wildcard gives `ns.dns.<domain>` is no name server.
            let is_below =
                |m: &&MatchedService<'_>| zone.mode == Mode::Subtree || zone.ns_name().zone_of(&m.name());
            found.iter().filter(is_below).map(|m| (name(m), m.entry)).collect()
        }
        TreeLookup::NoName | TreeLookup::TooMany => Vec::new(),
    };
    servers.extend(directly_below_dns(view, zone));
    servers.retain(|(_, entry)| matches!(entry.service.host, Host::V4(_) | Host::V6(_)));
    match &zone.server {
        Some(server) if servers.is_empty() => own_server(view, server),
        _ => servers,
    }
}

/// This agent as the name server, whose name may be in another zone.
fn own_server<'a>(view: &View<'a>, server: &OwnServer) -> Vec<(Name, &'a Entry)> {
    match view.services(&TreePath::literal(&server.name), DataKinds::HOST, |_| false) {
        TreeLookup::Services(found) => found.into_iter().map(|m| (server.name.clone(), m.entry)).collect(),
        TreeLookup::NoName | TreeLookup::TooMany => Vec::new(),
    }
}

/// Services on a name directly below `dns.<domain>`, such as `ns2.dns.<domain>`.
fn directly_below_dns<'a>(view: &View<'a>, zone: &Zone) -> Vec<(Name, &'a Entry)> {
    let dns = zone.dns_name();
    let Some(node) = view.exact(&TreePath::new(dns)) else {
        return Vec::new();
    };
    let mut servers = Vec::new();
    let _ = node.for_each_child(&mut |child| {
        view.work.charge(1)?;
        // `local` and `stub` mean something else, and `ns` is read apart.
        let is_other = matches!(child.label(), b"ns" | b"local" | b"stub") || child.label().starts_with(b"_");
        if let (Ok(name), false) = (dns.prepend_label(child.label()), is_other) {
            let is_own = |entry: &&Entry| zone.mode == Mode::Subtree || entry.service.target_strip == 0;
            for entry in child.entries().filter(is_own) {
                view.work.charge(Work::SERVICE)?;
                servers.push((name.clone(), entry));
            }
        }
        ControlFlow::Continue(())
    });
    servers
}
