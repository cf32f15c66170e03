//! Keys that nothing is answered from: they are below the path prefix, and below no name that is served.

use super::state::Published;
use crate::answer::{Site, Zone};
use crate::service::Key;
use crate::tree::Node;
use hickory_proto::rr::Name;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Nodes of the tree that are visited at most: enough to see that something is wrong.
const MAX_VISITED: usize = 10_000;

/// The keys with services that nothing is answered from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnservedKeys {
    /// Their number, as far as they were counted.
    pub count: usize,
    /// Whether there may be more.
    pub is_more: bool,
    /// The first of them in key order.
    pub first: Key,
}

impl Published {
    /// The keys that are neither in a zone, nor below a name that `-local` leads to, nor reverse names; `None` if there are
    /// none.
    pub fn unserved(&self, site: &Site) -> Option<UnservedKeys> {
        let reverse = [Name::from_labels(["in-addr", "arpa"]), Name::from_labels(["ip6", "arpa"])];
        let of_zones = site.zones.iter().flat_map(|zone| [zone.domain()].into_iter().chain(&zone.local));
        let served = reverse.iter().flatten().chain(of_zones);
        let mut search = Search { served: served.map(Key::from_name).collect(), ..Search::default() };
        let root = self.tree.node(std::iter::empty())?;
        // The root of the name space as the domain serves everything.
        if site.zones.iter().any(Zone::is_root) {
            return None;
        }
        let is_more = search.enter(root, &mut Vec::new()).is_break();
        let Search { count, first, .. } = search;
        Some(UnservedKeys { count, is_more, first: first? })
    }
}

#[derive(Default)]
struct Search {
    /// Everything at and below these keys is served.
    served: HashSet<Key>,
    visited: usize,
    count: usize,
    first: Option<Key>,
}

impl Search {
    /// Searches a node that the labels in `path` lead to, root first. `Break` ends the search.
    fn enter<'t>(&mut self, node: &'t Node, path: &mut Vec<&'t [u8]>) -> ControlFlow<()> {
        if self.served.contains(&Key::from_labels(path.iter().copied())) {
            return ControlFlow::Continue(());
        }
        self.visited += 1;
        if self.visited > MAX_VISITED {
            return ControlFlow::Break(());
        }
        if node.entry().is_some() {
            self.count += 1;
            self.first.get_or_insert_with(|| Key::from_labels(path.iter().copied()));
        }
        node.for_each_child(&mut |child| {
            path.push(child.label());
            let flow = self.enter(child, path);
            path.pop();
            flow
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Service;
    use crate::tree::{Entry, Layer, Tree};
    use std::str::FromStr;

    fn name(text: &str) -> Name {
        Name::from_str(text).expect("a name")
    }

    fn unserved(names: &[&str], domain: &str, local: Option<&str>) -> Option<(usize, bool, String)> {
        let mut tree = Tree::new();
        for at in names {
            tree.put(&Key::from_name(&name(at)), Layer(0), Entry::new(Service::default()));
        }
        let mut zone = Zone::new(&name(domain));
        zone.local = local.map(name);
        let published = Published { tree, ..Published::default() };
        published
            .unserved(&Site::new(zone))
            .map(|keys| (keys.count, keys.is_more, format!("{:?}", keys.first)))
    }

    #[test]
    fn keys_outside_of_what_is_served_are_counted() {
        let served = ["skydns.local.", "a.b.skydns.local.", "1.0.0.10.in-addr.arpa.", "0.8.ip6.arpa."];
        assert_eq!(unserved(&served, "skydns.local.", None), None);
        assert_eq!(unserved(&[], "skydns.local.", None), None);
        let others = ["a.skydns.local.", "b.other.local.", "local.", "x.com.", "arpa.", "xskydns.local."];
        assert_eq!(unserved(&others, "skydns.local.", None), Some((5, false, "/arpa".to_owned())));
        let local = ["a.skydns.local.", "web.host7.example."];
        assert_eq!(unserved(&local, "skydns.local.", Some("host7.example.")), None);
        assert_eq!(unserved(&others, "other.", None).map(|(count, ..)| count), Some(6));
    }

    #[test]
    fn the_search_ends() {
        let names: Vec<_> = (0..MAX_VISITED + 5).map(|n| format!("n{n}.other.")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let Some((count, true, first)) = unserved(&names, "skydns.local.", None) else { panic!("more") };
        assert!(count > MAX_VISITED - 10);
        assert_eq!(first, "/other/n0");
    }
}
