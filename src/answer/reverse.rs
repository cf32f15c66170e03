//! Reverse names outside of our zones: PTR records of the site in zones of others.
//!
//! A service here is one name in a reverse zone that belongs to others. So names without a service are forwarded; but
//! those above a service exist (RFC 8020), whatever upstreams say of them.

use super::local_denial::{deny, is_of_zone_cuts, not_ready};
use super::outcome::{Answer, Ede, Outcome};
use super::pointers::Pointers;
use super::view::View;
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// Labels of the reverse zone that a host's address is in, as sites have them: three octets in `in-addr.arpa` (a /24), or 16
/// digits in `ip6.arpa` (a /64).
const V4_ZONE_LABELS: u8 = 2 + 3;
const V6_ZONE_LABELS: u8 = 2 + 16;

/// The outcome for a reverse name that has a service on its key or below it, or that may have one; `None` for all other
/// names.
///
/// AA stays clear, since this server is not authoritative for the reverse zone.
pub(super) fn answer_reverse(query: &Query, name: &Name, view: &View<'_>) -> Option<Outcome> {
    // In a reverse zone of our own a name is answered as in any zone.
    if view.site.contains(query.name()) {
        return None;
    }
    let reverse = ReverseName::of(name)?;
    let pointers = Pointers::of(name, view);
    if view.work.is_spent() {
        return Some(Outcome::Answered(Answer::too_costly()));
    }
    let is_answered = matches!(query.query_type(), RecordType::PTR | RecordType::ANY);
    if !pointers.targets.is_empty() && is_answered {
        return Some(Outcome::Answered(with_pointers(query.name(), &pointers, view)));
    }
    if !pointers.targets.is_empty() {
        return Some(Outcome::Answered(no_data(name, view)));
    }
    let exists = Pointers::are_at_or_below(name, view);
    let may_be_missing = view.freshness.outside().may_lack_names() && reverse.may_be_of_site(view);
    if view.work.is_spent() {
        return Some(Outcome::Answered(Answer::too_costly()));
    }
    if may_be_missing && !is_of_zone_cuts(query.query_type()) {
        return Some(Outcome::Answered(not_ready()));
    }
    if !exists && !may_be_missing {
        return None;
    }
    Some(match view.may_forward() {
        true => Outcome::ForwardExisting,
        false if exists => Outcome::Answered(no_data(name, view)),
        false => Outcome::Answered(not_ready()),
    })
}

fn with_pointers(owner: &Name, pointers: &Pointers, view: &View<'_>) -> Answer {
    if pointers.targets.len() > view.max_records {
        return Answer { authoritative: false, too_large: true, ..Answer::empty(ResponseCode::NoError) };
    }
    let data = pointers.targets.iter().map(|target| RData::PTR(PTR(target.clone())));
    let answers = data.map(|data| Record::from_rdata(owner.clone(), pointers.ttl, data)).collect();
    let stale = match view.freshness.outside() {
        _ if view.dependencies.held.get() => Some(Ede::held()),
        freshness if freshness.is_stale() => Some(Ede::new(Ede::STALE, "the store cannot be reached")),
        _ => None,
    };
    Answer { authoritative: false, answers, ede: stale, ..Answer::empty(ResponseCode::NoError) }
}

/// NODATA. The SOA is that of the name alone, so that it says nothing about other names of the reverse zone.
fn no_data(name: &Name, view: &View<'_>) -> Answer {
    let denial = deny(ResponseCode::NoError, name.clone(), {
        let zone = view.site.zone_of(name);
        view.capped(zone.min_ttl, zone)
    });
    Answer { authoritative: false, ..denial }
}

/// A name below `in-addr.arpa` or `ip6.arpa`.
struct ReverseName<'n> {
    name: &'n Name,
    /// The labels before `in-addr.arpa` or `ip6.arpa`, the last one first.
    labels: Vec<&'n [u8]>,
    is_v4: bool,
}

impl<'n> ReverseName<'n> {
    fn of(name: &'n Name) -> Option<Self> {
        let mut labels = name.iter().rev();
        let is_arpa = labels.next()?.eq_ignore_ascii_case(b"arpa");
        let family = labels.next().filter(|_| is_arpa)?;
        let is_v4 = family.eq_ignore_ascii_case(b"in-addr");
        (is_v4 || family.eq_ignore_ascii_case(b"ip6")).then(|| Self { name, labels: labels.collect(), is_v4 })
    }

    /// Whether the site may have a PTR record of this name: the addresses are private, or the site has PTR records in
    /// the same reverse zone.
    fn may_be_of_site(&self, view: &View<'_>) -> bool {
        let zone_labels = if self.is_v4 { V4_ZONE_LABELS } else { V6_ZONE_LABELS };
        self.is_private()
            || (self.name.iter().count() >= usize::from(zone_labels) && {
                let zone = self.name.trim_to(usize::from(zone_labels));
                Pointers::are_at_or_below(&zone, view)
            })
    }

    /// Whether all addresses below the name are private: RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291 §2.5.6.
    fn is_private(&self) -> bool {
        let text = |at: usize| self.labels.get(at).and_then(|label| std::str::from_utf8(label).ok());
        if self.is_v4 {
            let octet = |at| text(at).and_then(|label| label.parse::<u8>().ok());
            match (octet(0), octet(1)) {
                (Some(10), _) | (Some(192), Some(168)) | (Some(169), Some(254)) => true,
                (Some(172), Some(second)) => (16..=31).contains(&second),
                (Some(100), Some(second)) => (64..=127).contains(&second),
                _ => false,
            }
        } else {
            let digit = |at| text(at).and_then(|label| u8::from_str_radix(label, 16).ok());
            match (digit(0), digit(1), digit(2)) {
                (Some(0xf), Some(0xc | 0xd), _) => true,
                (Some(0xf), Some(0xe), Some(third)) => (0x8..=0xb).contains(&third),
                _ => false,
            }
        }
    }
}
