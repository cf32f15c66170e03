//! Stub zones: services below `dns/stub/<zone>/` of our first zone name the servers of a zone that is not ours.

use super::endpoint::Endpoint;
use super::pool::Pool;
use super::upstream::Upstream;
use crate::answer::{Dependencies, Site};
use crate::lock::lock;
use crate::service::{Host, Service};
use crate::tree::{DataKinds, Extent, Node, Tree, TreeLookup, TreePath, VersionSlot, Work};
use arc_swap::ArcSwapOption;
use hickory_proto::rr::Name;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// Work for listing all stub zones of a tree: about 20,000 servers.
const MAX_WORK: u32 = 100_000;

/// Maximum number of names below `stub.dns.<domain>` of which it is remembered what they have; then the one that was not
/// looked at for the longest time is forgotten.
const MAX_READ_ZONES: usize = 20_000;

/// Maximum number of names right below a zone that are looked at for its servers, in key order: some 0.1 ms.
const MAX_NAMES_OF_ZONE: usize = 10_000;

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
    /// Servers that the zone had before a change: what is known of them is not lost.
    known: Vec<Arc<Upstream>>,
}

/// Stands for a stub zone and its servers in a question to upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StubId {
    number: u64,
    /// Whether denials of these servers may be served stale, as answers may.
    pub(super) keeps_denials: bool,
}

#[cfg(test)]
impl StubId {
    /// The one with a number.
    pub(super) fn of_test(number: u64) -> Self {
        Self { number, keeps_denials: false }
    }
}

impl StubZone {
    /// A zone that had other servers before, or none.
    pub(super) fn new(
        zone: Name,
        servers: Vec<Endpoint>,
        before: Option<&Self>,
        hasher: &RandomState,
    ) -> Self {
        let asked = before.and_then(|stub| stub.upstreams.get()).into_iter().flat_map(|all| all.iter());
        let known = asked.filter(|upstream| servers.contains(&upstream.endpoint())).cloned().collect();
        let id = StubId { number: hasher.hash_one((&zone, &servers)), keeps_denials: false };
        Self { zone, servers, id, upstreams: OnceLock::new(), known }
    }

    /// The same, whose denials may be served stale: resolvers go through a search list by denials, and end at a failure.
    pub(super) fn keeping_denials(mut self) -> Self {
        self.id.keeps_denials = true;
        self
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

/// The stub zones that questions were in, or could have been: names below `stub.dns.<domain>`.
///
/// A zone is read from the tree when a name in it is asked for, and again only when the part of the tree below it has
/// changed. So a change of one of many zones costs the questions in that zone a moment, and no other.
#[derive(Debug, Default)]
pub struct StubTable {
    read: Mutex<ReadZones>,
    /// The node of `stub.dns.<domain>` that was used last.
    root: ArcSwapOption<Node>,
    /// How many zones are to be looked at again, because that node is another one now.
    unswept: AtomicUsize,
    /// Makes numbers of stub zones that no writer of the store can foresee.
    hasher: RandomState,
}

/// What was read of the tree.
#[derive(Debug, Default)]
struct ReadZones {
    /// By name, in lower case.
    zones: HashMap<Name, ReadZone>,
    /// The same names; the one that was looked at last is the last one.
    order: VecDeque<Name>,
}

/// A name below `stub.dns.<domain>`, as it was read.
#[derive(Debug)]
struct ReadZone {
    /// The node: a node never changes, so the same node has the same servers.
    source: Arc<Node>,
    /// `None` if the name has no servers, and may have zones below it.
    stub: Option<Arc<StubZone>>,
}

impl StubTable {
    /// Forgets the stub zones, because they are not used.
    pub fn clear(&self) {
        if self.root.load().is_some() {
            self.root.store(None);
            *lock(&self.read) = ReadZones::default();
        }
    }

    /// The stub zone that a name is in, the closest of several. What was read of the tree is added to `dependencies`.
    pub fn find(
        &self,
        name: &Name,
        tree: &Tree,
        site: &Site,
        dependencies: &Dependencies,
    ) -> Option<Arc<StubZone>> {
        // A stub zone that encloses a zone of ours is not asked for names of that zone.
        let own = site.zones.of(&name.to_lowercase()).filter(|zone| !zone.is_root());
        let encloses_own = |stub: &Name| own.is_some_and(|zone| stub.zone_of(zone.domain()));
        let is_asked = |stub: &Name| site.zones.apex(stub).is_none() && !encloses_own(stub);
        self.find_where(name, tree, site, dependencies, &is_asked)
    }

    /// The same for a name that a zone of ours leaves to upstreams: servers of that zone may be named.
    pub fn find_for_missing(
        &self,
        name: &Name,
        tree: &Tree,
        site: &Site,
        dependencies: &Dependencies,
    ) -> Option<Arc<StubZone>> {
        let is_asked = |stub: &Name| site.zones.apex(stub).is_none_or(|zone| zone.falls_through);
        self.find_where(name, tree, site, dependencies, &is_asked)
    }

    /// The closest of the stub zones that a name is in and that `is_asked` tells are asked.
    fn find_where(
        &self,
        name: &Name,
        tree: &Tree,
        site: &Site,
        dependencies: &Dependencies,
        is_asked: &dyn Fn(&Name) -> bool,
    ) -> Option<Arc<StubZone>> {
        let root = stub_root(site)?;
        let name = name.to_lowercase();
        let top = root.prepend_label(name.iter().next_back()?).ok()?;
        // All that matters is at this name or below it: changes of other zones do not.
        dependencies.add(VersionSlot::of_name(&top));
        let stubs = tree.node(root.iter().rev());
        self.sweep(stubs);
        let mut nodes = Vec::new();
        let mut node = stubs?;
        for label in name.iter().rev().take_while(|label| !is_hidden(label)) {
            let Some(child) = node.child(label) else { break };
            nodes.push(child);
            node = child;
        }
        let zones = (1..=nodes.len()).rev().map(|labels| (ancestor(&name, labels), nodes[labels - 1]));
        zones.filter(|(stub, _)| is_asked(stub)).find_map(|(stub, node)| self.read(stub, node))
    }

    /// The stub zone at a node.
    fn read(&self, name: Name, node: &Arc<Node>) -> Option<Arc<StubZone>> {
        if node.is_leaf() {
            return None;
        }
        let before = match lock(&self.read).zones.get(&name) {
            Some(read) if Arc::ptr_eq(&read.source, node) => return read.stub.clone(),
            read => read.and_then(|read| read.stub.clone()),
        };
        let servers = servers_at(node);
        let stub = match before {
            Some(before) if before.servers == servers => Some(before),
            _ if servers.is_empty() => None,
            before => Some(Arc::new(StubZone::new(name.clone(), servers, before.as_deref(), &self.hasher))),
        };
        lock(&self.read).insert(name, ReadZone { source: Arc::clone(node), stub: stub.clone() });
        stub
    }

    /// Looks at one of the zones again after their part of the tree has changed, so that servers which no zone has any more
    /// are forgotten though nobody asks for names in their zone.
    fn sweep(&self, stubs: Option<&Arc<Node>>) {
        let is_same = match (stubs, &*self.root.load()) {
            (Some(node), Some(root)) => Arc::ptr_eq(node, root),
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            self.root.store(stubs.cloned());
            self.unswept.store(lock(&self.read).order.len(), Ordering::Relaxed);
        }
        if self.unswept.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Some(name) = lock(&self.read).next() else { return };
        // Another thread may have looked at the last one meanwhile.
        let _ = self.unswept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let node = stubs.and_then(|stubs| name.iter().rev().try_fold(stubs, |node, label| node.child(label)));
        match node.filter(|node| !node.is_leaf()) {
            Some(node) => drop(self.read(name, node)),
            None => lock(&self.read).remove(&name),
        }
    }
}

impl ReadZones {
    fn insert(&mut self, name: Name, zone: ReadZone) {
        if self.zones.insert(name.clone(), zone).is_none() {
            self.order.push_back(name);
        }
        if self.order.len() > MAX_READ_ZONES
            && let Some(oldest) = self.order.pop_front()
        {
            self.zones.remove(&oldest);
        }
    }

    /// The zone that was not looked at for the longest time.
    fn next(&mut self) -> Option<Name> {
        self.order.rotate_left(1.min(self.order.len()));
        self.order.back().cloned()
    }

    /// Removes the zone that [`next`](Self::next) gave.
    fn remove(&mut self, name: &Name) {
        self.zones.remove(name);
        if let Some(at) = self.order.iter().rposition(|other| other == name) {
            self.order.remove(at);
        }
    }
}

/// The servers that the services right below a node name, in key order.
fn servers_at(node: &Node) -> Vec<Endpoint> {
    let (mut servers, mut children) = (Vec::new(), 0);
    let _ = node.for_each_child(&mut |child| {
        children += 1;
        if !is_hidden(child.label()) {
            child
                .entries()
                .filter_map(|entry| server(&entry.service).ok())
                .for_each(|server| add_server(&mut servers, server));
        }
        if servers.len() < MAX_SERVERS && children < MAX_NAMES_OF_ZONE {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    servers
}

/// Whether keys with a label are passed over.
fn is_hidden(label: &[u8]) -> bool {
    label.first() == Some(&b'_')
}

fn add_server(servers: &mut Vec<Endpoint>, server: Endpoint) {
    if servers.len() < MAX_SERVERS && !servers.contains(&server) {
        servers.push(server);
    }
}

/// The last labels of a name, as an absolute name.
fn ancestor(name: &Name, labels: usize) -> Name {
    let mut ancestor = name.trim_to(labels);
    ancestor.set_fqdn(true);
    ancestor
}

/// `stub.dns.<domain>`.
fn stub_root(site: &Site) -> Option<Name> {
    site.zones.first().dns_name().prepend_label("stub").ok()
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
    pub fn read(tree: &Tree, site: &Site) -> Self {
        stub_root(site).map_or_else(Self::default, |root| Self::below(tree, site, &root))
    }

    fn below(tree: &Tree, site: &Site, root: &Name) -> Self {
        let mut keys = Self::default();
        let work = Work::new(MAX_WORK);
        let TreeLookup::Services(found) =
            tree.services(&TreePath::new(root), Extent::default(), DataKinds::HOST, &work, |_| false)
        else {
            return keys;
        };
        for found in found {
            let key = found.name();
            match server(&found.entry.service).and_then(|server| Ok((server, stub_zone(&key, root, site)?))) {
                Ok((server, name)) => keys.add(name, server),
                Err(reason) if keys.left_out.len() < MAX_LEFT_OUT => keys.left_out.push((key, reason)),
                Err(_) => {}
            }
        }
        keys
    }

    fn add(&mut self, name: Name, server: Endpoint) {
        add_server(self.zones.entry(name).or_default(), server);
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
fn stub_zone(key: &Name, root: &Name, own: &Site) -> Result<Name, &'static str> {
    let labels = key.iter().count().saturating_sub(root.iter().count() + 1);
    let zone = key.iter().skip(1).take(labels);
    let zone = Name::from_labels(zone).ok().filter(|name| !name.is_root());
    let mut zone = zone.ok_or("it names no zone: the key of a server has one label more than its zone")?;
    zone.set_fqdn(true);
    if own.zones.apex(&zone).is_some_and(|zone| !zone.falls_through) {
        Err("it names our own domain")
    } else {
        Ok(zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Zone;
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
        let site = Site::new(Zone::new(&name("skydns.test.")));
        put(&mut tree, "a.example.org", r#"{"host":"192.0.2.1","port":5353}"#);
        put(&mut tree, "b.example.org", r#"{"host":"name.example.org"}"#);
        put(&mut tree, "a.skydns.test", r#"{"host":"192.0.2.1"}"#);
        put(&mut tree, "a", r#"{"host":"192.0.2.1"}"#);
        let keys = StubKeys::read(&tree, &site);
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
        let site = Site::new(Zone::new(&name("skydns.test.")));
        let find = |asked: &str, tree: &Tree| {
            table
                .find(&name(asked), tree, &site, &Dependencies::default())
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
        let (site, pool) = (Site::new(Zone::new(&name("skydns.test."))), Pool::new(Duration::from_secs(1)));
        let find = |asked: &str, tree: &Tree| {
            table.find(&name(asked), tree, &site, &Dependencies::default()).expect("a stub zone")
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

    #[test]
    fn servers_of_a_zone_that_is_gone_are_forgotten_though_nobody_asks_for_it() {
        let (mut tree, table) = (Tree::new(), StubTable::default());
        let (site, pool) = (Site::new(Zone::new(&name("skydns.test."))), Pool::new(Duration::from_secs(1)));
        let find = |asked: &str, tree: &Tree| table.find(&name(asked), tree, &site, &Dependencies::default());
        for n in 1..=9_u8 {
            put(&mut tree, &format!("a.z{n}.example"), &format!(r#"{{"host":"192.0.2.{n}"}}"#));
            find(&format!("www.z{n}.example."), &tree).expect("a stub zone").upstreams(&pool);
        }
        let known = |pool: &Pool| {
            (1..=9)
                .filter(|n| pool.knows(Endpoint::classic(([192, 0, 2, *n], 53).into())))
                .collect::<Vec<u8>>()
        };
        assert_eq!(known(&pool).len(), 9);
        tree.remove(&Key::from_name(&name("a.z3.example.stub.dns.skydns.test.")), Layer(0));
        put(&mut tree, "a.z5.example", r#"{"host":"192.0.2.55"}"#);
        for _ in 0..20 {
            assert!(find("www.skydns.test.", &tree).is_none());
        }
        assert_eq!(known(&pool), [1, 2, 4, 6, 7, 8, 9]);
        let read = lock(&table.read);
        assert_eq!(read.zones.len(), read.order.len());
    }

    #[test]
    fn a_change_of_one_zone_costs_the_names_of_others_nothing() {
        let (mut tree, table) = (Tree::tracked(), StubTable::default());
        let site = Site::new(Zone::new(&name("skydns.test.")));
        put(&mut tree, "a.one.example", r#"{"host":"192.0.2.1"}"#);
        put(&mut tree, "a.two.example", r#"{"host":"192.0.2.2"}"#);
        let slots = |asked: &str, tree: &Tree| {
            let dependencies = Dependencies::default();
            let found = table.find(&name(asked), tree, &site, &dependencies);
            (found, dependencies.into_slots().expect("few"))
        };
        let (none, own) = slots("www.skydns.test.", &tree);
        let (one, outer) = slots("www.one.example.", &tree);
        let (version, before) = (tree.version(), lock(&table.read).zones.len());
        assert!(none.is_none() && before == 1, "an own name reads no zone");
        put(&mut tree, "a.two.example", r#"{"host":"192.0.2.3"}"#);
        let versions = tree.versions().expect("tracked");
        assert!(own.iter().all(|slot| versions.unchanged(*slot, version)), "its cached answer stays");
        assert!(!outer.iter().all(|slot| versions.unchanged(*slot, version)));
        let again = slots("www.one.example.", &tree).0;
        assert!(Arc::ptr_eq(&one.expect("a stub zone"), &again.expect("a stub zone")));
        put(&mut tree, "a.test", r#"{"host":"192.0.2.3"}"#);
        let versions = tree.versions().expect("tracked");
        assert!(!own.iter().all(|slot| versions.unchanged(*slot, version)), "a zone above our own appears");
    }

    #[test]
    fn what_is_remembered_of_zones_is_bounded() {
        let mut read = ReadZones::default();
        let source = Arc::new(Node::default());
        for n in 0..MAX_READ_ZONES + 10 {
            let zone = ReadZone { source: Arc::clone(&source), stub: None };
            read.insert(name(&format!("z{n}.example.")), zone);
        }
        assert_eq!((read.zones.len(), read.order.len()), (MAX_READ_ZONES, MAX_READ_ZONES));
    }
}
