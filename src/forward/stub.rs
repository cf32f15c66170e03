//! Stub zones: services below `dns/stub/<zone>/` name the servers of a zone that is not ours.

use super::endpoint::Endpoint;
use super::pool::Pool;
use super::upstream::Upstream;
use crate::answer::{Dependencies, Zone};
use crate::service::{Host, Service};
use crate::tree::{DataKinds, Node, Tree, TreeLookup, TreePath, VersionSlot, Work};
use arc_swap::ArcSwap;
use hickory_proto::rr::Name;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

/// Work for reading all stub zones of a tree: about 20,000 servers.
const MAX_WORK: u32 = 100_000;

/// Maximum number of servers of one stub zone; further ones are not asked.
const MAX_SERVERS: usize = 64;

/// Maximum number of keys below `stub.dns.<domain>` that are remembered as left out.
const MAX_LEFT_OUT: usize = 100;

/// A zone and the servers that its questions go to.
#[derive(Debug)]
pub struct StubZone {
    /// The zone, absolute, in lower case.
    pub zone: Name,
    /// Its servers, in key order.
    pub servers: Vec<Endpoint>,
    /// Another one for each zone and set of servers: cached replies of other servers are not given.
    id: StubId,
    /// The servers with what is known of them, from the first question on. What is known is forgotten with the zone.
    upstreams: OnceLock<Arc<Vec<Arc<Upstream>>>>,
    /// Servers that other zones, or this one before a change, asked: what is known of them is not lost.
    known: Vec<Arc<Upstream>>,
}

/// Stands for a stub zone and its servers in a question to upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StubId(u64);

#[cfg(test)]
impl StubId {
    /// The one with a number.
    pub(super) fn of_test(number: u64) -> Self {
        Self(number)
    }
}

impl StubZone {
    fn new(zone: Name, servers: Vec<Endpoint>, before: &TreeStubZones, hasher: &RandomState) -> Self {
        let asked = before.zones.values().filter_map(|stub| stub.upstreams.get());
        let known = asked.flat_map(|upstreams| upstreams.iter());
        let known = known.filter(|upstream| servers.contains(&upstream.endpoint())).cloned().collect();
        let id = StubId(hasher.hash_one((&zone, &servers)));
        Self { zone, servers, id, upstreams: OnceLock::new(), known }
    }

    pub(super) fn id(&self) -> StubId {
        self.id
    }

    /// The servers, with what is known of them.
    pub(super) fn upstreams(&self, pool: &Pool) -> Arc<Vec<Arc<Upstream>>> {
        let upstream = |server: &Endpoint| {
            let known = self.known.iter().find(|upstream| upstream.endpoint() == *server);
            known.map_or_else(|| pool.upstream(*server), Arc::clone)
        };
        let upstreams = self.upstreams.get_or_init(|| Arc::new(self.servers.iter().map(upstream).collect()));
        Arc::clone(upstreams)
    }
}

/// The stub zones of the present tree. They are computed again only when their part of the tree changes.
#[derive(Debug, Default)]
pub struct StubTable {
    current: ArcSwap<TreeStubZones>,
    /// Makes numbers of stub zones that no writer of the store can foresee.
    hasher: RandomState,
}

/// The stub zones below one node of the tree.
#[derive(Debug, Default)]
struct TreeStubZones {
    /// The node: a node never changes, so the same node has the same stub zones.
    source: Option<Arc<Node>>,
    /// By zone, in lower case: a name has few names above it, and the store may have many stub zones.
    zones: HashMap<Name, Arc<StubZone>>,
}

impl StubTable {
    /// Forgets the stub zones, because they are not used.
    pub fn clear(&self) {
        if self.current.load().source.is_some() {
            self.current.store(Arc::default());
        }
    }

    /// The stub zone that a name is in, the closest of several. What was read of the tree is added to `dependencies`.
    pub fn find(
        &self,
        name: &Name,
        tree: &Tree,
        zone: &Zone,
        dependencies: &Dependencies,
    ) -> Option<Arc<StubZone>> {
        let root = stub_root(zone)?;
        dependencies.add(VersionSlot::of_name(&root));
        let node = tree.exact(&TreePath::new(&root));
        let mut current = self.current.load_full();
        let same = match (node, &current.source) {
            (Some(node), Some(source)) => Arc::ptr_eq(node, source),
            (None, None) => true,
            _ => false,
        };
        if !same {
            let servers = StubKeys::below(tree, zone, &root).zones;
            current = Arc::new(TreeStubZones {
                source: node.cloned(),
                zones: current.changed_to(servers, &self.hasher),
            });
            self.current.store(Arc::clone(&current));
        }
        if current.zones.is_empty() {
            return None;
        }
        // A stub zone that encloses our domain is not asked for names of our domain.
        let ours = |stub: &StubZone| zone.contains(name) && stub.zone.zone_of(zone.domain());
        let name_in_lower_case = name.to_lowercase();
        let labels = (1..=name.iter().count()).rev();
        let mut above = labels.filter_map(|labels| current.zones.get(&ancestor(&name_in_lower_case, labels)));
        above.find(|stub| !ours(stub)).cloned()
    }
}

impl TreeStubZones {
    /// The zones that have these servers; those whose servers are the same stay.
    fn changed_to(
        &self,
        servers: HashMap<Name, Vec<Endpoint>>,
        hasher: &RandomState,
    ) -> HashMap<Name, Arc<StubZone>> {
        let stub_zone = |(name, servers): (Name, Vec<Endpoint>)| {
            let same = self.zones.get(&name).filter(|stub| stub.servers == servers);
            let stub =
                same.map_or_else(|| Arc::new(StubZone::new(name.clone(), servers, self, hasher)), Arc::clone);
            (name, stub)
        };
        servers.into_iter().map(stub_zone).collect()
    }
}

/// The last labels of a name, as an absolute name.
fn ancestor(name: &Name, labels: usize) -> Name {
    let mut ancestor = name.trim_to(labels);
    ancestor.set_fqdn(true);
    ancestor
}

/// `stub.dns.<domain>`.
fn stub_root(zone: &Zone) -> Option<Name> {
    zone.dns_name().prepend_label("stub").ok()
}

/// What the keys below `stub.dns.<domain>` give.
#[derive(Debug, Default)]
pub struct StubKeys {
    /// The servers of each stub zone, in key order, by its name in lower case.
    pub zones: HashMap<Name, Vec<Endpoint>>,
    /// The first keys that are left out, each as a name, with the reason.
    pub left_out: Vec<(Name, &'static str)>,
}

impl StubKeys {
    /// Reads the stub zones of a tree.
    pub fn read(tree: &Tree, zone: &Zone) -> Self {
        stub_root(zone).map_or_else(Self::default, |root| Self::below(tree, zone, &root))
    }

    fn below(tree: &Tree, zone: &Zone, root: &Name) -> Self {
        let mut keys = Self::default();
        let work = Work::new(MAX_WORK);
        let TreeLookup::Services(found) =
            tree.services(&TreePath::new(root), DataKinds::HOST, &work, |_| false)
        else {
            return keys;
        };
        for found in found {
            let key = found.name();
            match server(&found.entry.service).and_then(|server| Ok((server, stub_zone(&key, root, zone)?))) {
                Ok((server, name)) => keys.add(name, server),
                Err(reason) if keys.left_out.len() < MAX_LEFT_OUT => keys.left_out.push((key, reason)),
                Err(_) => {}
            }
        }
        keys
    }

    fn add(&mut self, name: Name, server: Endpoint) {
        let servers = self.zones.entry(name).or_default();
        if servers.len() < MAX_SERVERS && !servers.contains(&server) {
            servers.push(server);
        }
    }
}

/// The server that a service names.
fn server(service: &Service) -> Result<Endpoint, &'static str> {
    let port = if service.port == 0 { 53 } else { service.port };
    match service.host {
        Host::V4(v4) => Ok(Endpoint::classic(SocketAddr::from((v4, port)))),
        Host::V6(v6) => Ok(Endpoint::classic(SocketAddr::from((v6, port)))),
        Host::Name(_) | Host::None => Err("it names no IP address"),
    }
}

/// The zone in a key's name: without its first label and without the root of all stub zones.
fn stub_zone(key: &Name, root: &Name, own: &Zone) -> Result<Name, &'static str> {
    let labels = key.iter().count().saturating_sub(root.iter().count() + 1);
    let zone = key.iter().skip(1).take(labels);
    let zone = Name::from_labels(zone).ok().filter(|name| !name.is_root());
    let mut zone = zone.ok_or("it names no zone: the key of a server has one label more than its zone")?;
    zone.set_fqdn(true);
    if own.is_apex(&zone) { Err("it names our own domain") } else { Ok(zone) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Key, Service};
    use crate::tree::{Entry, Layer};
    use std::time::Duration;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn put(tree: &mut Tree, at: &str, json: &str) {
        let service = Service::from_json(json.as_bytes()).expect("a service");
        tree.put(
            &Key::from_name(&name(&format!("{at}.stub.dns.skydns.test."))),
            Layer(0),
            Entry::new(service),
        );
    }

    #[test]
    fn keys_that_are_left_out_have_a_reason() {
        let mut tree = Tree::new();
        let zone = Zone::new(&name("skydns.test."));
        put(&mut tree, "a.example.org", r#"{"host":"192.0.2.1","port":5353}"#);
        put(&mut tree, "b.example.org", r#"{"host":"name.example.org"}"#);
        put(&mut tree, "a.skydns.test", r#"{"host":"192.0.2.1"}"#);
        put(&mut tree, "a", r#"{"host":"192.0.2.1"}"#);
        let keys = StubKeys::read(&tree, &zone);
        assert_eq!(keys.zones[&name("example.org.")][0].to_string(), "192.0.2.1:5353");
        assert_eq!(keys.zones.len(), 1);
        let left_out: Vec<_> =
            keys.left_out.iter().map(|(key, reason)| format!("{key} {reason:.23}")).collect();
        assert_eq!(
            left_out,
            [
                "a.stub.dns.skydns.test. it names no zone: the k",
                "b.example.org.stub.dns.skydns.test. it names no IP address",
                "a.skydns.test.stub.dns.skydns.test. it names our own domain",
            ]
        );
    }

    #[test]
    fn zones_follow_the_tree() {
        let (mut tree, table) = (Tree::new(), StubTable::default());
        let zone = Zone::new(&name("skydns.test."));
        let find = |asked: &str, tree: &Tree| {
            table
                .find(&name(asked), tree, &zone, &Dependencies::default())
                .map(|stub| (stub.zone.to_ascii(), stub.servers.len()))
        };
        assert_eq!(find("www.example.org.", &tree), None);
        put(&mut tree, "a.example.org", r#"{"host":"192.0.2.1"}"#);
        put(&mut tree, "b.example.org", r#"{"host":"192.0.2.2","port":5353}"#);
        // The same server in two zones counts in both.
        put(&mut tree, "a.sub.example.org", r#"{"host":"192.0.2.1"}"#);
        put(&mut tree, "c.example.org", r#"{"host":"name.example.org"}"#);
        put(&mut tree, "a.skydns.test", r#"{"host":"192.0.2.1"}"#);
        put(&mut tree, "a", r#"{"host":"192.0.2.1"}"#);
        assert_eq!(find("www.EXAMPLE.org.", &tree), Some(("example.org.".into(), 2)));
        assert_eq!(find("example.org.", &tree), Some(("example.org.".into(), 2)));
        assert_eq!(find("x.sub.example.org.", &tree), Some(("sub.example.org.".into(), 1)));
        assert_eq!(find("notexample.org.", &tree), None);
        assert_eq!(find("a.skydns.test.", &tree), None);
        put(&mut tree, "above.test", r#"{"host":"192.0.2.1"}"#);
        assert_eq!(find("a.skydns.test.", &tree), None, "a zone above ours leaves our names alone");
        assert_eq!(find("other.test.", &tree), Some(("test.".into(), 1)));
        tree.remove(&Key::from_name(&name("b.example.org.stub.dns.skydns.test.")), Layer(0));
        assert_eq!(find("example.org.", &tree), Some(("example.org.".into(), 1)));
    }

    #[test]
    fn what_is_known_of_a_server_lives_as_long_as_a_zone_has_it() {
        let (mut tree, table) = (Tree::new(), StubTable::default());
        let (zone, pool) = (Zone::new(&name("skydns.test.")), Pool::new(Duration::from_secs(1)));
        let find = |asked: &str, tree: &Tree| {
            table.find(&name(asked), tree, &zone, &Dependencies::default()).expect("a stub zone")
        };
        let server = |last: u8| Endpoint::classic(([192, 0, 2, last], 53).into());
        put(&mut tree, "a.example.org", r#"{"host":"192.0.2.1"}"#);
        put(&mut tree, "b.example.org", r#"{"host":"192.0.2.2"}"#);
        put(&mut tree, "a.example.net", r#"{"host":"192.0.2.3"}"#);
        let (org, net) = (find("example.org.", &tree), find("example.net.", &tree));
        let before = org.upstreams(&pool);
        net.upstreams(&pool);
        put(&mut tree, "b.example.org", r#"{"host":"192.0.2.9"}"#);
        let changed = find("example.org.", &tree);
        assert_ne!(org.id(), changed.id(), "cached replies of the servers before are not given");
        assert!(Arc::ptr_eq(&net, &find("example.net.", &tree)), "a zone that did not change stays");
        assert!(Arc::ptr_eq(&before[0], &changed.upstreams(&pool)[0]), "192.0.2.1 stays");
        drop((org, before));
        assert!(!pool.knows(server(2)) && pool.knows(server(1)) && pool.knows(server(3)));
        table.clear();
        drop((changed, net));
        assert!(![1, 3, 9].into_iter().any(|last| pool.knows(server(last))), "no zone is left");
    }
}
