//! Answers of ordinary names, straight from the tree: no record is made, and nothing is allocated.
//!
//! A name is ordinary if it has addresses, ports and texts alone, few of them, on its own key or right below it, in a zone that
//! has nothing but services. Whatever is out of the ordinary is left to [`answer`](super::answer), which would give the very same
//! answers to these questions as well: the two share the rules by which services count, and a test compares what they say.

use super::freshness::{Freshness, SiteFreshness};
use super::select::{Announced, share};
use super::shared_authority::SharedAuthority;
use super::site::Site;
use super::soa::soa;
use super::zone::{Mode, Zone};
use crate::service::Host;
use crate::tree::{DataKinds, Entry, FewService, LabelPath, Node, Tree, VersionSlot};
use hickory_proto::rr::RecordType;
use smallvec::SmallVec;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What a direct answer is made from, besides the question.
#[derive(Clone, Copy, Debug)]
pub struct DirectView<'a> {
    /// What the site serves.
    pub site: &'a Site,
    /// The services.
    pub tree: &'a Tree,
    /// How far the tree can be trusted.
    pub freshness: &'a SiteFreshness,
    /// Seconds of the clock by which leases end.
    pub now: u64,
}

/// A question of class IN.
#[derive(Clone, Copy, Debug)]
pub struct DirectQuestion<'q> {
    /// The labels of the name.
    pub labels: &'q LabelPath<'q>,
    /// The type.
    pub rtype: RecordType,
    /// Whether DNSSEC records are wanted.
    pub dnssec_ok: bool,
}

/// How a question is answered whose name may be ordinary.
#[derive(Clone, Copy, Debug)]
pub struct DirectPlan<'a> {
    view: DirectView<'a>,
    wanted: DataKinds,
    zone: &'a Zone,
}

/// Maximum number of services of an answer.
const MAX_SERVICES: usize = 16;

/// An answer for an ordinary name.
#[derive(Debug)]
pub struct DirectAnswer<'a> {
    /// The zone that the name is in.
    pub zone: &'a Zone,
    /// The services whose data it is; none for a denial.
    pub services: SmallVec<[FewService<'a>; MAX_SERVICES]>,
    /// The TTL of the records in the answer section, in seconds.
    pub ttl: u32,
    /// Whether the name does not exist.
    pub denies_name: bool,
    /// Whether a TTL counts down, because a service ends with its lease.
    pub has_lease: bool,
    /// Whether a service of it is only in the layer that is [leaving](crate::tree::Layer::LEAVING).
    pub has_leaving: bool,
    view: DirectView<'a>,
    /// Sums of the weights of SRV records, by priority.
    weights: Weights,
}

/// The data of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectData<'a> {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Priority, weight and port; the target is the name of the service's key.
    Srv(u16, u16, u16),
    /// A text of any length.
    Txt(&'a str),
}

/// Maximum number of different priorities of SRV records.
const MAX_PRIORITIES: usize = 4;

/// Priorities, and the sums of weights of each.
#[derive(Debug, Default)]
struct Weights([(u16, u128); MAX_PRIORITIES], usize);

/// The kinds of data that make a name something else than ordinary.
const EXTRAORDINARY: [DataKinds; 2] = [DataKinds::NAME, DataKinds::GROUP];

impl<'a> DirectPlan<'a> {
    /// The way to answer a question, if its name may be ordinary.
    pub fn new(question: DirectQuestion<'_>, view: DirectView<'a>) -> Option<Self> {
        let wanted = wanted(question.rtype)?;
        Some(Self { view, wanted, zone: ordinary_zone(question, view)? })
    }

    /// The zone that the name is in.
    pub fn zone(&self) -> &'a Zone {
        self.zone
    }

    /// Answers the question, whose name has this node, and gives what `finish` makes of the answer, which stays where it was made;
    /// `None` if the name is not ordinary.
    pub fn answer<R>(
        self,
        question: DirectQuestion<'_>,
        node: Option<&'a Node>,
        finish: impl FnOnce(&mut DirectAnswer<'a>) -> Option<R>,
    ) -> Option<R> {
        let Self { view, wanted, zone } = self;
        let mut answer = DirectAnswer {
            zone,
            services: SmallVec::new(),
            ttl: u32::MAX,
            denies_name: false,
            has_lease: false,
            has_leaving: false,
            view,
            weights: Weights::default(),
        };
        match node {
            None => answer.denies_name = true,
            Some(node) => {
                let kinds = node.visible();
                if EXTRAORDINARY.into_iter().any(|kind| kinds.meets(kind))
                    || question.rtype == RecordType::MX && kinds.meets(DataKinds::MAIL)
                {
                    return None;
                }
                node.few(wanted, |service| answer.add(service, question.rtype))?;
            }
        }
        if answer.is_denial() && !answer.can_deny(question) {
            return None;
        }
        finish(&mut answer)
    }
}

/// The kinds of data that records of a type are made of; `None` for the types that are more than that.
fn wanted(rtype: RecordType) -> Option<DataKinds> {
    match rtype {
        RecordType::A => Some(DataKinds::V4),
        RecordType::AAAA => Some(DataKinds::V6),
        RecordType::SRV => Some(DataKinds::HOST),
        RecordType::TXT => Some(DataKinds::TEXT),
        RecordType::MX | RecordType::HTTPS | RecordType::SVCB | RecordType::CAA | RecordType::NAPTR => {
            Some(DataKinds::NONE)
        }
        _ => None,
    }
}

/// The zone of a name, if its answers are those of services alone.
fn ordinary_zone<'a>(question: DirectQuestion<'_>, view: DirectView<'a>) -> Option<&'a Zone> {
    let labels = question.labels;
    let zone = view.site.zones.of_labels(labels.iter())?;
    let is_plain = zone.mode == Mode::Subtree
        && !zone.is_root()
        && !zone.lacks_keys
        && !zone.falls_through
        && zone.cluster.is_none()
        && zone.cuts().is_empty()
        && !(zone.is_signed && question.dnssec_ok)
        && !zone.is_reverse()
        && view.freshness.of(zone) == Freshness::Current;
    // The apex has records of its own, and so have the names below `dns.<domain>`.
    let below_apex = labels.get(zone.apex_labels())?;
    let has_wildcard = || labels.iter().any(|label| matches!(label, b"*" | b"any"));
    (is_plain && below_apex != b"dns" && !has_wildcard()).then_some(zone)
}

impl<'a> DirectAnswer<'a> {
    /// Takes a service unless an equal one was taken before; `None` if there is too much about it, such as services of two layers,
    /// of which one is leaving.
    fn add(&mut self, service: FewService<'a>, rtype: RecordType) -> Option<()> {
        if self.services.is_empty() {
            self.has_leaving = service.is_leaving;
        } else if self.has_leaving != service.is_leaving || self.services.len() == MAX_SERVICES {
            return None;
        }
        let announced = Announced(&service.entry.service);
        if self.services.iter().any(|other| Announced(&other.entry.service) == announced) {
            return Some(());
        }
        if rtype == RecordType::SRV {
            let priority = self.view.site.priority_of(&service.entry.service);
            self.weights.add(priority, service.entry.service.effective_weight())?;
            if service.entry.service.target_strip > 0 {
                return None;
            }
        } else {
            let data = self.data(service.entry, rtype);
            if self.services.iter().any(|other| self.data(other.entry, rtype) == data) {
                return Some(());
            }
        }
        self.ttl = self.ttl.min(self.ttl_of(service.entry)?);
        self.has_lease |= service.entry.lease.is_some();
        self.services.push(service);
        Some(())
    }

    /// The TTL that a record of one service alone has, in seconds; `None` if the service is about to go.
    pub fn ttl_of(&self, entry: &Entry) -> Option<u32> {
        let lease = match &entry.lease {
            Some(lease) if lease.is_held() => return None,
            Some(lease) => Some(lease.left(self.view.now)),
            None => None,
        };
        Some(self.zone.ttl_of(&entry.service, lease))
    }

    /// The data of the record of a type that a service has.
    pub fn data(&self, entry: &'a Entry, rtype: RecordType) -> Option<DirectData<'a>> {
        let service = &entry.service;
        match (rtype, &service.host) {
            (RecordType::A, Host::V4(address)) => Some(DirectData::A(*address)),
            (RecordType::AAAA, Host::V6(address)) => Some(DirectData::Aaaa(*address)),
            (RecordType::TXT, _) => service.text.as_deref().map(DirectData::Txt),
            (RecordType::SRV, _) => {
                let priority = self.view.site.priority_of(service);
                let weight = share(service.effective_weight(), self.weights.of(priority));
                Some(DirectData::Srv(priority, weight, service.port))
            }
            _ => None,
        }
    }

    /// Whether the SOA of a denial is written in one way only.
    fn can_deny(&self, question: DirectQuestion<'_>) -> bool {
        let apex = self.zone.apex_labels();
        let of_hostmaster = self.zone.hostmaster.iter().rev().nth(apex);
        // Below a name that the SOA holds, more of that is compressed.
        of_hostmaster != question.labels.get(apex)
    }

    /// Whether it has no data.
    pub fn is_denial(&self) -> bool {
        self.services.is_empty()
    }

    /// The serial of the zone, which a denial holds.
    pub fn serial(&self) -> u32 {
        self.view.tree.serial_of(self.zone.apex())
    }

    /// The authority section of a denial in the zone.
    pub fn authority(&self) -> SharedAuthority {
        let apex = self.zone.domain();
        let soa = soa(self.zone, apex.clone(), self.serial(), self.zone.min_ttl);
        SharedAuthority::new(apex.clone(), vec![soa])
    }

    /// The version slot that the answer depends on: that of its name.
    pub fn slot(question: DirectQuestion<'_>) -> VersionSlot {
        VersionSlot::of(question.labels.iter())
    }
}

impl Weights {
    fn add(&mut self, priority: u16, weight: u64) -> Option<()> {
        let Self(sums, len) = self;
        let at = sums[..*len].iter().position(|(other, _)| *other == priority).unwrap_or(*len);
        let (of, sum) = sums.get_mut(at)?;
        (*of, *sum) = (priority, *sum + u128::from(weight));
        *len = (*len).max(at + 1);
        Some(())
    }

    fn of(&self, priority: u16) -> u128 {
        let Self(sums, len) = self;
        sums[..*len].iter().find(|(of, _)| *of == priority).map_or(0, |(_, sum)| *sum)
    }
}
