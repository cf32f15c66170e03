//! The settings of one zone, and the names that follow from them.

use super::cluster::ClusterNames;
use super::rrset::same_name;
use crate::service::{Key, MAX_TTL, Service};
use crate::tree::Extent;
use hickory_proto::rr::Name;
use std::net::IpAddr;
use std::time::Duration;

/// How long a deletion waits by default that leaves a name or a type empty: programs that delete before they put take a few
/// milliseconds.
pub const HOLD_DELETIONS: Duration = Duration::from_millis(100);

/// When so many names of a zone are deleted at once that they are served on, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MassHold {
    /// The share of the names of the zone that may be deleted, 1 to 99 %.
    pub percent: u8,
    /// How long more than that are served on; 0: not at all.
    pub time: Duration,
}

/// This agent, as the name server of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnServer {
    /// Its name, in lower case.
    pub name: Name,
    /// Its addresses, at least one.
    pub addresses: Vec<IpAddr>,
}

/// Which keys are the data of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As in SkyDNS: its own key and all keys below it; `*` and `any` in a question match every label.
    #[default]
    Subtree,
    /// Its own key, leaf keys directly below it, and those whose `targetstrip` leads to it; `*` in a key is a wildcard.
    Exact,
}

/// The settings of one zone, ready for answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The apex, absolute, in lower case.
    domain: Name,
    /// The apex as a key.
    apex: Key,
    /// Number of labels of the apex.
    apex_labels: usize,
    /// Whether the zone has names of addresses.
    is_reverse: bool,
    /// `local.dns.<domain>`.
    local_name: Name,
    local_key: Key,
    /// `dns.<domain>`.
    dns_name: Name,
    /// `ns.dns.<domain>`.
    ns_name: Name,
    /// Which keys are the data of a name.
    pub mode: Mode,
    /// Which names it has of a cluster.
    pub cluster: Option<ClusterNames>,
    /// The name server that it has if no service is one.
    pub server: Option<OwnServer>,
    /// Whether upstreams are asked for names that the zone does not have.
    pub falls_through: bool,
    /// The name of this host, which `local.dns.<domain>` leads to.
    pub local: Option<Name>,
    /// Mail address of the person responsible, as a name (RFC 1035 §8).
    pub hostmaster: Name,
    /// Whether addresses of its services have PTR records that lead to them.
    pub auto_ptr: bool,
    /// How long a deletion waits that leaves a name or a type empty; 0: not at all.
    pub hold_deletions: Duration,
    /// When the deletion of many names is held back.
    pub hold_mass_deletion: MassHold,
    /// TTL of services that have none of their own, in seconds.
    pub ttl: u32,
    /// TTL of negative answers, in seconds (RFC 2308).
    pub min_ttl: u32,
    /// Whether answers are signed for clients that want it: then a name has either a CNAME or other data, and no data of
    /// upstreams.
    pub is_signed: bool,
    /// Whether the keys of a zone that has to be signed cannot be used: then nothing is answered for it.
    pub lacks_keys: bool,
    /// The number under which replies of the zone are counted; 0 if they are not.
    pub statistics: u16,
    /// Number of the zone among those of the site.
    pub(super) number: usize,
    /// The apexes of the zones that begin right below this one, in key order: this zone ends there.
    pub(super) cuts: Vec<Key>,
}

impl Zone {
    /// A zone with SkyDNS's defaults.
    ///
    /// A name below the domain that would exceed 255 octets is the domain itself instead.
    pub fn new(domain: &Name) -> Self {
        let mut domain = domain.to_lowercase();
        domain.set_fqdn(true);
        let below = |labels: &[&str]| {
            let name = Name::from_labels(labels.iter().map(|label| label.as_bytes()));
            name.and_then(|name| name.append_domain(&domain)).unwrap_or_else(|_| domain.clone())
        };
        Self {
            local_key: Key::from_name(&below(&["local", "dns"])),
            local_name: below(&["local", "dns"]),
            dns_name: below(&["dns"]),
            ns_name: below(&["ns", "dns"]),
            hostmaster: below(&["hostmaster"]),
            apex_labels: domain.iter().count(),
            is_reverse: is_reverse(&domain),
            apex: Key::from_name(&domain),
            domain,
            mode: Mode::Subtree,
            cluster: None,
            server: None,
            falls_through: false,
            auto_ptr: false,
            hold_deletions: HOLD_DELETIONS,
            hold_mass_deletion: MassHold::default(),
            local: None,
            ttl: 3600,
            min_ttl: 30,
            is_signed: false,
            lacks_keys: false,
            statistics: 0,
            number: 0,
            cuts: Vec::new(),
        }
    }

    /// Whether the records of the zone may be others with other settings, from the same keys. Signatures and the keys of
    /// zones, which are known only some time after a start, do not count.
    pub(crate) fn differs_in_data(&self, other: &Self) -> bool {
        let Self { hold_deletions, hold_mass_deletion, statistics, number, .. } = *self;
        let Self { is_signed, lacks_keys, falls_through, .. } = *self;
        let same = Self { hold_deletions, hold_mass_deletion, statistics, number, ..other.clone() };
        *self != Self { is_signed, lacks_keys, falls_through, ..same }
    }

    /// Whether the PTR records of the addresses of its services may be others with other settings.
    pub(crate) fn differs_in_pointers(&self, other: &Self) -> bool {
        let of = |zone: &Self| (zone.auto_ptr, zone.mode, zone.ttl);
        of(self) != of(other) || self.auto_ptr && self.cuts != other.cuts
    }

    /// The apex, absolute, in lower case.
    pub fn domain(&self) -> &Name {
        &self.domain
    }

    /// The apex as a key.
    pub fn apex(&self) -> &Key {
        &self.apex
    }

    /// Number of labels of the apex.
    pub fn apex_labels(&self) -> usize {
        self.apex_labels
    }

    /// `dns.<domain>`, below which SkyDNS keeps its own data.
    pub fn dns_name(&self) -> &Name {
        &self.dns_name
    }

    /// `ns.dns.<domain>`, at and below which services are name servers.
    pub fn ns_name(&self) -> &Name {
        &self.ns_name
    }

    /// The primary name server (MNAME of the SOA).
    pub fn primary(&self) -> &Name {
        self.server.as_ref().map_or(&self.ns_name, |server| &server.name)
    }

    /// `local.dns.<domain>`.
    pub fn local_name(&self) -> &Name {
        &self.local_name
    }

    /// Whether the zone is `.`.
    pub fn is_root(&self) -> bool {
        self.domain.is_root()
    }

    /// Whether the zone has names of addresses.
    pub fn is_reverse(&self) -> bool {
        self.is_reverse
    }

    /// Whether a name of this zone is one of addresses, which has PTR records, and of other data texts alone. Names of the zone's servers,
    /// below `dns.<domain>`, are like others.
    pub(super) fn has_pointers_alone(&self, name: &Name) -> bool {
        self.is_reverse() && !self.dns_name.zone_of(name)
    }

    /// Whether a name is the apex.
    pub fn is_apex(&self, name: &Name) -> bool {
        same_name(&self.domain, name)
    }

    /// Number of the zone among those of the site.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The apexes of the zones that begin right below this one, in key order: this zone ends there.
    pub fn cuts(&self) -> &[Key] {
        &self.cuts
    }

    /// The part of the tree that the zone has.
    pub fn extent(&self) -> Extent<'_> {
        let also = self.local.is_some().then_some(&self.local_key);
        Extent { cuts: &self.cuts, apex_labels: self.apex_labels, also, others: None }
    }

    /// Whether another zone begins at a name of this zone or below it, so that the name exists.
    pub(super) fn leads_to_cut(&self, name: &Name) -> bool {
        !self.cuts.is_empty() && {
            let key = Key::from_name(name);
            let at_or_below = |cut: &Key| {
                let mut labels = cut.labels();
                key.labels().all(|label| labels.next() == Some(label))
            };
            let first = self.cuts.partition_point(|cut| *cut < key);
            self.cuts.get(first).is_some_and(at_or_below)
        }
    }

    /// The TTL of a record that is made from a service, in seconds: the lesser of the service's own TTL and what is left of its
    /// lease; the zone's TTL if the service has neither.
    pub(super) fn ttl_of(&self, service: &Service, lease: Option<u32>) -> u32 {
        let own = match service.ttl {
            0 => None,
            ttl => Some(ttl.min(MAX_TTL)),
        };
        own.into_iter().chain(lease).min().unwrap_or(self.ttl)
    }

    /// The name to look up instead of a name: for `local.dns.<domain>` the one that it leads to, else the name itself.
    pub(super) fn resolve_local<'n>(&'n self, name: &'n Name) -> &'n Name {
        match &self.local {
            Some(local) if same_name(name, &self.local_name) => local,
            _ => name,
        }
    }
}

/// Whether an apex in lower case has names of addresses at and below it.
fn is_reverse(apex: &Name) -> bool {
    let mut labels = apex.iter().rev();
    labels.next() == Some(b"arpa") && matches!(labels.next(), Some(b"in-addr" | b"ip6"))
}
