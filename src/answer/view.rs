//! The inputs of an answer, and all reads of the tree.
//!
//! Each read notes what the answer depends on: that is what keeps a cached reply from being sent when it is no longer
//! true. So nothing else in this module reads the tree.

use super::cluster::{Finder, Found, Made, Maker, NamesOfCluster, OwnName};
use super::dependencies::Dependencies;
use super::externals::{External, Externals, Lookup, reply_without_upstreams};
use super::freshness::{Freshness, SiteFreshness};
use super::outcome::Missing;
use super::pointers::Pointers;
use super::rrset::same_name;
use super::select;
use super::site::Site;
use super::type_cache::{CachedTypes, NotGathered, TypeCache, TypeCacheKey};
use super::zone::{Mode, Zone};
use crate::service::Service;
use crate::tree::{DataKinds, Entry, ExactName, Extent, Layer, Node, Tree, TreeLookup, TreePath, Work};
use hickory_proto::rr::{Name, RData, RecordType};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The inputs of an answer, besides the question.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What the site serves.
    pub site: &'a Arc<Site>,
    /// The services.
    pub tree: &'a Tree,
    /// Collects what the answer depends on.
    pub dependencies: &'a Dependencies,
    /// How far the tree can be trusted.
    pub freshness: &'a SiteFreshness,
    /// Seconds of the clock by which leases end.
    pub now: u64,
    /// Any number; equal numbers give equal random choices and orders of records.
    pub seed: u64,
    /// The results of look-ups upstream that were made for this answer.
    pub externals: &'a Externals,
    /// Holds the services that are made for this answer.
    pub made: &'a Made,
    /// Maximum number of records that the reply can hold; an answer of more is not built.
    pub max_records: usize,
    /// What all look-ups for this answer may cost together; [`WORK_OF_ANSWER`] over UDP.
    pub work: &'a Work,
    /// Whether questions of this client may go to upstreams; `View::may_forward` reads this.
    pub forwards: bool,
    /// The settings of DNSSEC; `None` if they do not matter to the answer.
    pub dnssec: Option<DnssecView<'a>>,
}

/// The inputs of an answer that DNSSEC adds.
#[derive(Clone, Copy, Debug)]
pub struct DnssecView<'a> {
    /// The keys of all zones.
    pub keys: &'a dyn ZoneKeys,
    /// Whether the client wants DNSSEC records (DO).
    pub dnssec_ok: bool,
    /// Whether absence is proven without the closest encloser (RFC 9824).
    pub compact: bool,
    /// Types of names that were gathered before from the same tree.
    pub type_cache: &'a TypeCache,
}

/// The keys of the zones, as far as an answer depends on them.
pub trait ZoneKeys: fmt::Debug {
    /// Data of the records that DNSSEC puts at the apex of a zone, such as DNSKEY; none if the zone has no keys.
    fn apex(&self, zone: &Zone) -> Vec<RData>;

    /// Data of the DS records of a zone, for a zone of ours above it; none if the zone has no keys.
    fn ds(&self, zone: &Zone) -> Vec<RData>;
}

/// Work for one answer over UDP: at most 10 ms in a tree of any size, and about 1 ms in one of 100,000 names.
///
/// It is enough for an answer from 4,000 services, of which no reply over UDP holds more than a tenth.
pub const WORK_OF_ANSWER: u32 = 20_000;

/// Longest TTL of an answer from a stale tree, in seconds (RFC 8767 §4).
const STALE_TTL: u32 = 30;

impl<'a> View<'a> {
    /// Whether questions of this client may go to upstreams. An answer in place of theirs is not cached, since other
    /// clients get another.
    pub(super) fn may_forward(&self) -> bool {
        if !self.forwards {
            self.dependencies.client.set(true);
        }
        self.forwards
    }

    /// What is said to a look-up of a name outside of the tree, while `pending` others are not made yet: by upstreams, or
    /// here if upstreams are not asked for that name.
    pub(super) fn external(&self, lookup: &Lookup, pending: usize) -> External<'a> {
        if let Some(reply) = reply_without_upstreams(lookup, self.site) {
            return External::Reply(Cow::Owned(reply));
        }
        match self.externals.result(lookup) {
            External::Pending if !self.externals.allow_one_more(pending) => External::Failed,
            external => external,
        }
    }

    /// Whether the records of a name are ours to give, and not those of upstreams.
    pub fn is_ours(&self, name: &Name) -> bool {
        let exists = || self.exists(name, &TreePath::literal(self.site.resolve_local(name)));
        self.site.owns(name) || (self.site.falls_through(name) && exists())
    }

    /// Whether upstreams are asked for a name that is not in the tree. Before the sources were read it may be missing for
    /// that reason.
    pub(super) fn leaves_to_upstreams(&self, name: &Name) -> bool {
        match self.site.zones.of(name) {
            Some(zone) if zone.falls_through => !self.freshness.of(zone).may_lack_names(),
            Some(zone) => zone.is_root(),
            None => true,
        }
    }

    /// Whether a name is not in the tree, and upstreams are asked for it; `path` is the name after [`Site::resolve_local`].
    pub(super) fn is_outside(&self, name: &Name, path: &TreePath) -> bool {
        self.leaves_to_upstreams(name) && !self.exists(name, path)
    }

    /// Whether the answer is for a client that wants DNSSEC records, and a zone is signed.
    pub(super) fn wants_dnssec(&self, zone: &Zone) -> bool {
        zone.is_signed && self.dnssec.is_some_and(|dnssec| dnssec.dnssec_ok)
    }

    /// The TTL of a record of a zone that is made from an entry, in seconds.
    ///
    /// See [`Zone::ttl_of`]; of a zone that is not current it is no longer than others may rely on.
    pub(super) fn ttl(&self, entry: &Entry, zone: &Zone) -> u32 {
        let lease = entry.lease.as_ref().map(|lease| {
            let kind = if lease.is_held() { &self.dependencies.held } else { &self.dependencies.lease };
            kind.set(true);
            let left = lease.left(self.now);
            // Each different TTL takes a signature of its own.
            if self.wants_dnssec(zone) { rounded_down(left) } else { left }
        });
        self.capped(zone.ttl_of(&entry.service, lease), zone)
    }

    /// A TTL, or the longest one that the freshness of a zone allows.
    pub(super) fn capped(&self, ttl: u32, zone: &Zone) -> u32 {
        if self.freshness.of(zone) == Freshness::Current { ttl } else { ttl.min(STALE_TTL) }
    }

    /// How far the names of a zone can be trusted; without a zone, those outside of all zones.
    pub(super) fn freshness_of(&self, zone: Option<&Zone>) -> Freshness {
        zone.map_or(self.freshness.outside(), |zone| self.freshness.of(zone))
    }
}

/// Seconds rounded down to an eighth of their magnitude, so that a TTL that counts down takes few different values.
fn rounded_down(seconds: u32) -> u32 {
    let shift = (u32::BITS - seconds.leading_zeros()).saturating_sub(4);
    seconds >> shift << shift
}

/// A name of a zone, and the path by which it is looked up.
#[derive(Clone, Copy)]
pub(super) struct NameInZone<'n> {
    pub(super) path: &'n TreePath,
    pub(super) zone: &'n Zone,
    /// Whether the name is the apex of the zone.
    pub(super) is_apex: bool,
}

impl<'n> NameInZone<'n> {
    /// A name of a zone; `path` is the name after [`Site::resolve_local`].
    pub(super) fn new(name: &Name, path: &'n TreePath, zone: &'n Zone) -> Self {
        Self { path, zone, is_apex: zone.is_apex(name) }
    }
}

/// Gathers the types that services give a name.
pub(super) type GatherTypes = fn(&View<'_>, NameInZone<'_>) -> Vec<RecordType>;

/// Reads of the tree; each adds the name to the dependencies.
impl<'a> View<'a> {
    /// See [`Tree::services`]. A name that a cluster has is answered for by the cluster alone.
    pub(super) fn services(
        &self,
        path: &TreePath,
        wanted: DataKinds,
        mut is_too_much: impl FnMut(&'a Entry) -> bool,
    ) -> TreeLookup<'a> {
        let zone = self.site.zones.of(path.name());
        let of_cluster = zone
            .map_or(Found::Missing, |zone| self.services_of_cluster(path, zone, wanted, &mut is_too_much));
        if let Found::Data(found) = of_cluster {
            return found;
        }
        match self.services_of_tree(path, zone, wanted, is_too_much) {
            TreeLookup::NoName if matches!(of_cluster, Found::Empty) => TreeLookup::Services(Vec::new()),
            found => found,
        }
    }

    /// What a zone has of a cluster at a name.
    fn services_of_cluster(
        &self,
        path: &TreePath,
        zone: &'a Zone,
        wanted: DataKinds,
        is_too_much: &mut dyn FnMut(&'a Entry) -> bool,
    ) -> Found<TreeLookup<'a>> {
        let owner = path.labels();
        let own_name = zone.server.as_ref().and_then(|server| OwnName::of(server, &owner));
        if let Some(found) = own_name.filter(|_| !self.has_key_at_server(zone)) {
            let OwnName::Server(server) = found else { return Found::Empty };
            let mut services = Vec::new();
            for address in &server.addresses {
                services.extend(
                    self.made.server(*address, zone, &owner).filter(|m| DataKinds::of(m.entry).meets(wanted)),
                );
            }
            return Found::Data(TreeLookup::Services(services));
        }
        let Some(names) = &zone.cluster else { return Found::Missing };
        let finder = Finder {
            cluster: self.tree.cluster(),
            names,
            work: self.work,
            dependencies: Some(self.dependencies),
        };
        let data = match finder.find(&owner[zone.apex().labels().count().min(owner.len())..]) {
            _ if self.work.is_spent() => return Found::Data(TreeLookup::TooMany),
            Found::Missing => return Found::Missing,
            Found::Empty => return Found::Empty,
            Found::Data(data) => data,
        };
        self.dependencies.add(path.slot_above(owner.len()));
        if self.tree.has_above(path, Layer::CLUSTER) {
            return Found::Empty;
        }
        let found = Vec::new();
        let (made, work) = (self.made, self.work);
        let mut maker = Maker { made, zone, owner: &owner, wanted, work, is_too_much, found };
        Found::Data(match maker.make(&data) {
            ControlFlow::Continue(()) => TreeLookup::Services(maker.found),
            ControlFlow::Break(()) => TreeLookup::TooMany,
        })
    }

    /// Whether keys of the tree say who the name servers of a zone are.
    fn has_key_at_server(&self, zone: &Zone) -> bool {
        self.exact(&TreePath::literal(zone.ns_name())).is_some()
    }

    /// What the keys of the tree give a name.
    fn services_of_tree(
        &self,
        path: &TreePath,
        zone: Option<&'a Zone>,
        wanted: DataKinds,
        is_too_much: impl FnMut(&'a Entry) -> bool,
    ) -> TreeLookup<'a> {
        let extent = zone.map_or_else(Extent::default, Zone::extent);
        if let Some(zone) = zone.filter(|zone| zone.mode == Mode::Exact) {
            let names = NamesOfCluster { cluster: self.tree.cluster(), zone, work: self.work };
            let has_others = zone.cluster.is_some() || zone.server.is_some();
            let extent = Extent { others: has_others.then_some(&names), ..extent };
            return self.exact_services(path, extent, wanted, is_too_much);
        }
        self.dependencies.add(path.slot());
        self.tree.services(path, extent, wanted, self.work, is_too_much)
    }

    /// See [`Tree::find_exact`].
    fn exact_services(
        &self,
        path: &TreePath,
        extent: Extent<'_>,
        wanted: DataKinds,
        is_too_much: impl FnMut(&'a Entry) -> bool,
    ) -> TreeLookup<'a> {
        let labels = path.name().iter().count();
        let depend_on = |labels| self.dependencies.add(path.slot_above(labels));
        let node = match self.tree.find_exact(path, extent, self.work) {
            ExactName::TooMuch => return TreeLookup::TooMany,
            ExactName::Exists(node) => {
                depend_on(labels);
                node
            }
            ExactName::Empty => {
                depend_on(labels);
                return TreeLookup::Services(Vec::new());
            }
            // Nothing is at the next closer name or below it. While the wildcard exists, the closest encloser does.
            ExactName::Wildcard { source, encloser } => {
                depend_on(encloser + 1);
                self.dependencies.add(path.wildcard_slot(encloser));
                source
            }
            // If the closest encloser went, another wildcard would count; the apex never goes.
            ExactName::Missing { encloser } => {
                depend_on(encloser + 1);
                let is_apex = encloser <= extent.apex_labels;
                self.dependencies.add(if is_apex {
                    path.wildcard_slot(encloser)
                } else {
                    path.slot_above(encloser)
                });
                return TreeLookup::NoName;
            }
        };
        node.services(extent, wanted, self.work, is_too_much)
    }

    /// See [`Tree::services`]; of several equal services only the first is returned.
    ///
    /// `datum` returns the part of a service that its record consists of. If there are more than `max` different data, the
    /// result is [`TreeLookup::TooMany`].
    pub(super) fn distinct_services<D: Eq + Hash>(
        &self,
        path: &TreePath,
        wanted: DataKinds,
        datum: impl Fn(&'a Service) -> D,
        max: usize,
    ) -> TreeLookup<'a> {
        let mut data = HashSet::new();
        let is_too_much = |entry: &'a Entry| {
            data.insert(datum(&entry.service));
            data.len() > max
        };
        match self.services(path, wanted, is_too_much) {
            TreeLookup::Services(found) => TreeLookup::Services(select::distinct(found, self.dependencies)),
            found => found,
        }
    }

    /// Whether a name exists; `path` is the name after [`Site::resolve_local`].
    pub(super) fn exists(&self, name: &Name, path: &TreePath) -> bool {
        let found = self.services(path, DataKinds::NONE, |_| false);
        !matches!(found, TreeLookup::NoName) || self.exists_without_services(name, path)
    }

    /// Whether a name exists all the same, if the tree has nothing at `path` (RFC 8020).
    ///
    /// The apex of each zone does, and so do the names above it in another zone, and names of addresses that services have. If `-local` is set, so does `dns.<domain>`,
    /// because `local.dns.<domain>` is below it, and `local.dns.<domain>` does if the tree has names below it, even if the
    /// name that it leads to does not exist.
    pub(super) fn exists_without_services(&self, name: &Name, path: &TreePath) -> bool {
        let is_exact = self.site.zones.of(path.name()).is_some_and(|zone| zone.mode == Mode::Exact);
        let fixed = if is_exact { path.name().clone() } else { path.before_wildcards() };
        let zone_of_fixed = self.site.zones.of(&fixed);
        if zone_of_fixed.is_some_and(|zone| zone.is_apex(&fixed) || zone.leads_to_cut(&fixed)) {
            return true;
        }
        if zone_of_fixed.is_some_and(Zone::is_reverse) && Pointers::are_at_or_below(&fixed, self) {
            return true;
        }
        if zone_of_fixed.is_some_and(|zone| zone.local.is_some() && same_name(zone.dns_name(), &fixed)) {
            return true;
        }
        let Some(zone) = self.site.zones.of(name) else { return false };
        let (Some(local), local_name) = (&zone.local, zone.local_name()) else { return false };
        // Where `path` is a name that CNAMEs of `name` lead to, names below `local.dns.<domain>` do not matter.
        same_name(local_name, name)
            && same_name(path.name(), local)
            && self.exact(&TreePath::new(local_name)).is_some_and(|node| !node.is_leaf())
    }

    /// The proof that a name of a zone which does not exist takes: the closest encloser and the types there. `as_path` is how
    /// names are looked up: those of a question, or those that a service has as its host.
    pub(super) fn missing_name(
        &self,
        name: &Name,
        zone: &Zone,
        as_path: fn(&Name) -> TreePath,
        gather: GatherTypes,
    ) -> Missing {
        let closest_encloser = self.closest_encloser(name, zone, as_path);
        let types = if self.dnssec.is_some_and(|dnssec| dnssec.compact) {
            Vec::new()
        } else {
            let path = as_path(self.site.resolve_local(&closest_encloser));
            let encloser = NameInZone::new(&closest_encloser, &path, zone);
            self.types_at(encloser, gather).unwrap_or_else(|| possible_types(encloser.is_apex))
        };
        Missing::Name { closest_encloser, types }
    }

    /// The longest name of a zone above a name of the zone that exists (RFC 5155 §1.3).
    fn closest_encloser(&self, name: &Name, zone: &Zone, as_path: fn(&Name) -> TreePath) -> Name {
        let mut encloser = parent(name);
        while !zone.is_apex(&encloser)
            && !self.exists(&encloser, &as_path(self.site.resolve_local(&encloser)))
        {
            if encloser.is_root() {
                return zone.domain().clone();
            }
            encloser = parent(&encloser);
        }
        encloser
    }

    /// The types that a name has, RRSIG apart: those that services give it, from the cache or from `gather`, and those
    /// that DNSSEC adds to the apex. `None` if that takes more than [`WORK_OF_ANSWER`].
    ///
    /// The work is not that of this answer, because its result is cached for others.
    pub(super) fn types_at(&self, name: NameInZone<'_>, gather: GatherTypes) -> Option<Vec<RecordType>> {
        let Some(dnssec) = self.dnssec else { return Some(Vec::new()) };
        let key = TypeCacheKey::new(name, self.site);
        let units = self.work.units().min(WORK_OF_ANSWER);
        let cached = dnssec.type_cache.get_or_gather(&key, || {
            // The cached types must depend on nothing that this answer has read before.
            let (dependencies, work) = (Dependencies::default(), Work::new(units));
            let view = View { dependencies: &dependencies, work: &work, ..*self };
            let types = gather(&view, name);
            if work.is_spent() && units < WORK_OF_ANSWER {
                return Err(NotGathered);
            }
            let types = (!work.is_spent()).then(|| types.into());
            Ok(CachedTypes { types, slots: dependencies.slots() })
        });
        let Ok(cached) = cached else {
            // The thread may not do so much work: another one makes the answer.
            let _ = self.work.charge(u32::MAX);
            return None;
        };
        self.dependencies.add_all(cached.slots.as_deref());
        let mut types = cached.types.as_ref()?.to_vec();
        if name.is_apex {
            types.extend(dnssec.keys.apex(name.zone).iter().map(RData::record_type));
        }
        Some(types)
    }

    /// See [`Tree::exact`]; wildcards in the path are labels like any other.
    pub(super) fn exact(&self, path: &TreePath) -> Option<&'a Arc<Node>> {
        self.dependencies.add(path.slot());
        self.work.charge(path.cost()).is_continue().then(|| self.tree.exact(path)).flatten()
    }

    /// See [`Tree::serial_of`]. The answer depends on all serials: a change in another zone costs its reply once a second.
    pub(super) fn serial(&self, zone: &Zone) -> u32 {
        self.dependencies.serial.set(true);
        self.tree.serial_of(zone.apex())
    }
}

/// All types that services may give a name, for a denial of another name: there, types too many cost no more than
/// questions that a cache could have answered itself (RFC 8198 §5.2).
fn possible_types(is_apex: bool) -> Vec<RecordType> {
    let of_services = [RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::TXT, RecordType::MX];
    let of_apex = [RecordType::SOA, RecordType::NS];
    of_services.into_iter().chain(of_apex.into_iter().filter(|_| is_apex)).collect()
}

/// The name without its first label.
fn parent(name: &Name) -> Name {
    let mut parent = name.base_name();
    parent.set_fqdn(true);
    parent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttls_that_are_signed_pass_few_values() {
        assert_eq!(
            [1, 7, 15, 16, 17, 31, 59, 60, 3_600].map(rounded_down),
            [1, 7, 15, 16, 16, 30, 56, 60, 3_584]
        );
        assert_eq!(rounded_down(u32::MAX), 0xf000_0000);
    }
}
