//! The record tree: every service of the site by name, as one immutable value.
//!
//! A [`Tree`] is cheap to clone: clones share all nodes, and a change copies only the nodes between the root and the node
//! that changes. The writer owns one tree, changes it, and publishes clones; readers look up in a clone without a lock and
//! never see half a change.
//!
//! A [tracked](Tree::tracked) tree has a version for each name, and every change at or below the name raises the version: an
//! answer that depends on some names stays valid until the version of one of them changes.
//!
//! Which services make which records is not decided here, and no store is known: a source is a [`Layer`].

mod address_range;
mod addresses;
mod child_kinds;
mod children;
mod cluster;
mod data_kinds;
mod descents;
mod entry;
mod exact;
mod few;
mod label;
mod label_path;
mod layered_entries;
mod lookup;
mod node;
mod objects;
mod serials;
mod versions;
mod work;

pub use address_range::AddressRange;
pub use cluster::{
    Cluster, ClusterService, Endpoint, Namespace, Object, ObjectId, ObjectKind, Port, Protocol, Scope,
    ServiceNode, ServiceTarget, Slice,
};
pub use data_kinds::DataKinds;
pub use descents::{Descents, MAX_DESCENTS};
pub use entry::{Entry, Layer, Lease};
pub use exact::ExactName;
pub use few::FewService;
pub use label_path::LabelPath;
pub use layered_entries::LayeredEntry;
pub use lookup::{Extent, MadeOf, MatchedService, OtherNames, TreeLookup, TreePath};
pub use node::Node;
pub use versions::{VersionSlot, Versions};
pub use work::Work;

use crate::service::Key;
use addresses::{AddressIndex, address_of};
use serials::Serials;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The serial of a zone, behind the labels of its apex in the wire format of keys.
pub type ZoneSerial = (Box<[u8]>, u32);

/// All services of the site by name; see the module's text.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    root: Arc<Node>,
    names: usize,
    /// The number of names of each zone, by its number among the serials.
    names_of_zones: Arc<[usize]>,
    serials: Serials,
    /// The services by address, if they are looked up so.
    addresses: Option<AddressIndex>,
    /// Addresses whose names have changed since a serial was set.
    touched: Vec<IpAddr>,
    cluster: Cluster,
    versions: Option<Arc<Versions>>,
    version: u64,
}

impl Tree {
    /// An empty tree that keeps no versions.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty tree that keeps versions. Its clones share them, so only one of the clones may be changed.
    pub fn tracked() -> Self {
        Self { versions: Some(Arc::default()), ..Self::default() }
    }

    /// The versions of names; `None` if the tree is not tracked.
    pub fn versions(&self) -> Option<&Arc<Versions>> {
        self.versions.as_ref()
    }

    /// The version of this tree: the number of changes up to its last one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Puts an entry on a key, in the place of all entries of its layer there; `false` if that changes nothing.
    ///
    /// An equal entry changes no version, so answers that were made from it stay valid.
    pub fn put(&mut self, key: &Key, layer: Layer, entry: Entry) -> bool {
        self.set(key, layer, vec![entry])
    }

    /// Puts entries on a key, in the place of all entries of their layer there; `false` if that changes nothing.
    pub fn set(&mut self, key: &Key, layer: Layer, entries: Vec<Entry>) -> bool {
        if self.has_all(key, layer, &entries) {
            self.renew(key, layer, &entries);
            return false;
        }
        let before = self.addresses_at(key);
        let change = Arc::make_mut(&mut self.root).set(&mut key.labels(), layer, entries);
        self.count_names(key, change);
        self.raise_versions(key);
        self.reindex(key, &before);
        true
    }

    /// A copy with other entries of a layer on a key. It keeps no versions.
    pub fn with(&self, key: &Key, layer: Layer, entries: Vec<Entry>) -> Self {
        let mut copy = Self { versions: None, addresses: None, ..self.clone() };
        copy.set(key, layer, entries);
        copy
    }

    /// The kinds of data of a name: in exact mode those that belong to it, else those of its subtree.
    pub fn kinds_at(&self, name: &Key, extent: Extent<'_>, is_exact: bool, work: &Work) -> DataKinds {
        if !is_exact {
            return self.kinds_below(name, extent);
        }
        match self.find_exact(&TreePath::literal(&name.name()), extent, work) {
            ExactName::Exists(node) => node.kinds(extent, work),
            _ => DataKinds::NONE,
        }
    }

    /// Takes all entries of a layer off a key; `false` if the layer has none there.
    pub fn remove(&mut self, key: &Key, layer: Layer) -> bool {
        self.set(key, layer, Vec::new())
    }

    /// Takes over the ends of the leases of equal entries on a key.
    pub fn renew(&self, key: &Key, layer: Layer, entries: &[Entry]) {
        for (present, newer) in self.entries_at(key, layer).iter().zip(entries) {
            present.entry.renew(newer);
        }
    }

    /// Whether a layer has an equal entry on a key, and no other.
    pub fn has(&self, key: &Key, layer: Layer, entry: &Entry) -> bool {
        self.has_all(key, layer, std::slice::from_ref(entry))
    }

    /// The entries of a layer on a key, whether they are served or not.
    pub fn entries_at(&self, key: &Key, layer: Layer) -> &[LayeredEntry] {
        self.node(key.labels()).map_or(&[], |node| node.entries_of(layer))
    }

    /// Whether a layer has equal entries on a key, in the same order, and no other.
    fn has_all(&self, key: &Key, layer: Layer, entries: &[Entry]) -> bool {
        let present = self.entries_at(key, layer);
        let is_same = |(present, entry): (&LayeredEntry, &Entry)| present.entry.is_same(entry);
        present.len() == entries.len() && present.iter().zip(entries).all(is_same)
    }

    /// Whether a name has entries that are served, of a layer above another one.
    pub fn has_above(&self, path: &TreePath, layer: Layer) -> bool {
        self.exact(path).is_some_and(|node| node.is_above(layer))
    }

    /// Keeps the services by address as well, or no more. All cached replies are void then: the tree has other versions.
    pub fn index_addresses(&mut self, is_on: bool) {
        if self.addresses.is_some() == is_on {
            return;
        }
        self.versions = self.versions.as_ref().map(|_| Arc::default());
        self.tick();
        self.addresses = is_on.then(AddressIndex::default);
        let mut path = Vec::new();
        let mut index = self.addresses.take();
        if let Some(index) = &mut index {
            let _ = self.root.walk(&mut path, &mut |path, node| {
                for address in node.entries().filter_map(|entry| address_of(&entry.service.host)) {
                    index.insert(address, &Key::from_labels(path.iter().copied()));
                }
                ControlFlow::Continue(())
            });
        }
        self.addresses = index;
    }

    /// Calls `each` for the keys of services whose addresses have names at or below a reverse name, ordered by address and key,
    /// until it breaks. There are none unless [they are kept](Self::index_addresses).
    pub fn at_addresses(
        &self,
        addresses: AddressRange,
        each: &mut dyn FnMut(IpAddr, &[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match (&self.addresses, addresses) {
            (None, _) => ControlFlow::Continue(()),
            (Some(index), AddressRange::V4(first, last)) => index.for_each_v4((first, last), each),
            (Some(index), AddressRange::V6(first, last)) => index.for_each_v6((first, last), each),
        }
    }

    /// The addresses of the services that are served on a key, if they are kept.
    fn addresses_at(&self, key: &Key) -> Vec<IpAddr> {
        if self.addresses.is_none() {
            return Vec::new();
        }
        let node = self.node(key.labels());
        let entries = node.into_iter().flat_map(|node| node.entries());
        entries.filter_map(|entry| address_of(&entry.service.host)).collect()
    }

    /// Brings the services by address up to date after a change of a key, which had addresses before.
    fn reindex(&mut self, key: &Key, before: &[IpAddr]) {
        let after = self.addresses_at(key);
        let Some(index) = &mut self.addresses else { return };
        for address in before.iter().filter(|address| !after.contains(address)) {
            index.remove(*address, key);
        }
        for address in after.iter().filter(|address| !before.contains(address)) {
            index.insert(*address, key);
        }
        for address in before.iter().chain(after.iter().filter(|address| !before.contains(address))) {
            self.raise_versions(&Key::of_address(*address));
            self.touched.push(*address);
        }
    }

    /// Raises the versions of a key and of all names above it.
    fn raise_versions(&mut self, key: &Key) {
        self.version = self.versions.as_ref().map_or(0, |versions| versions.note_change(key));
    }

    /// Calls `each` for the keys that have entries of a layer, in key order, until it breaks.
    pub fn entries(&self, layer: Layer, each: impl FnMut(Key, &[LayeredEntry]) -> ControlFlow<()>) {
        self.entries_from(&Key::from_labels([].into_iter()), layer, each);
    }

    /// Whether a layer has any entry.
    pub fn has_entries(&self, layer: Layer) -> bool {
        let mut has_any = false;
        self.entries(layer, |_, _| {
            has_any = true;
            ControlFlow::Break(())
        });
        has_any
    }

    /// [`entries`](Self::entries) for one key and those below it.
    pub fn entries_from(
        &self,
        top: &Key,
        layer: Layer,
        mut each: impl FnMut(Key, &[LayeredEntry]) -> ControlFlow<()>,
    ) {
        let Some(node) = self.node(top.labels()) else { return };
        let mut path: Vec<_> = top.labels().collect();
        let _ = node.walk(&mut path, &mut |path, node| match node.entries_of(layer) {
            [] => ControlFlow::Continue(()),
            entries => each(Key::from_labels(path.iter().copied()), entries),
        });
    }

    /// The number of keys with a service.
    pub fn names(&self) -> usize {
        self.names
    }

    /// The number of keys with a service in a zone, or, without one, outside of all zones that were
    /// [set](Self::set_zones). A zone ends where another one begins.
    pub fn names_of(&self, apex: Option<&Key>) -> usize {
        match apex {
            Some(apex) => self.serials.number_of(apex).map_or(0, |zone| self.names_of_zones[zone]),
            None => self.names - self.names_of_zones.iter().sum::<usize>(),
        }
    }

    /// Notes that there are more or fewer names, now that a key has changed.
    fn count_names(&mut self, key: &Key, change: isize) {
        self.names = self.names.saturating_add_signed(change);
        if change != 0
            && let Some(zone) = self.serials.zone_of(key)
        {
            let names = &mut Arc::make_mut(&mut self.names_of_zones)[zone];
            *names = names.saturating_add_signed(change);
        }
    }

    /// Unix time of the last change of data.
    pub fn serial(&self) -> u32 {
        self.serials.latest()
    }

    /// Unix time of the last change of the data of a zone, the serial of its SOA: that of the tree if the zone was not
    /// [set](Self::set_zones).
    pub fn serial_of(&self, apex: &Key) -> u32 {
        self.serials.of(apex)
    }

    /// How often a serial has changed, of a zone or of the tree: what holds one is valid while this is the same.
    pub fn serial_changes(&self) -> u64 {
        self.serials.changes()
    }

    /// Sets the apexes of the zones whose serials and names are told apart.
    pub fn set_zones<'k>(&mut self, apexes: &(impl ExactSizeIterator<Item = &'k Key> + Clone)) {
        if self.serials.has_zones(apexes.clone()) {
            return;
        }
        self.serials.set_zones(apexes.clone());
        let mut names = vec![0; apexes.len()];
        let _ = self.root.walk(&mut Vec::new(), &mut |path, node| {
            if node.entries().next().is_some()
                && let Some(zone) = self.serials.zone_of(&Key::from_labels(path.iter().copied()))
            {
                names[zone] += 1;
            }
            ControlFlow::Continue(())
        });
        self.names_of_zones = names.into();
    }

    /// Sets the time of the last change of all zones, in seconds of Unix time. An earlier time than before is ignored:
    /// secondaries and caches take a serial that goes back for an old one (RFC 1982).
    pub fn set_serial(&mut self, serial: u32) {
        self.touched.clear();
        if self.serials.raise_all(serial) {
            self.tick();
        }
    }

    /// Takes over [serials of zones](Self::zone_serials) that were saved, and `latest` for all other zones.
    pub fn restore_serials(&mut self, latest: u32, of_zones: &[ZoneSerial]) {
        self.touched.clear();
        if self.serials.restore(latest, of_zones.iter().cloned().collect()) {
            self.tick();
        }
    }

    /// The serial of each zone.
    pub fn zone_serials(&self) -> Vec<ZoneSerial> {
        self.serials.all().map(|(apex, serial)| (apex.into(), serial)).collect()
    }

    /// Sets the time of the last change of the zone that a key is in; see [`set_serial`](Self::set_serial).
    pub fn set_serial_of(&mut self, key: &Key, serial: u32) {
        let mut is_news = self.serials.raise(key, serial);
        for address in std::mem::take(&mut self.touched) {
            is_news |= self.serials.raise(&Key::of_address(address), serial);
        }
        if is_news {
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.version = self.versions.as_ref().map_or(0, |versions| versions.tick());
    }

    /// The node that labels lead to, root first, whether or not it has a service.
    pub fn node<'l>(&self, labels: impl Iterator<Item = &'l [u8]>) -> Option<&Arc<Node>> {
        let mut node = &self.root;
        for label in labels {
            node = node.child(label)?;
        }
        Some(node)
    }
}

#[cfg(test)]
mod tests;
