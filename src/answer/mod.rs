//! Authoritative answers: a question and a tree in, records out.
//!
//! Owns the rules by which services become records: addresses, SRV weights, CNAME chains, groups, negative answers.
//! Refuses to sign records, to encode messages, and to wait: questions for upstreams are returned in
//! [`Outcome::Lookup`], and the caller asks again with the results. Time and random numbers are arguments, so an answer
//! can be replayed.
//!
//! [`answer`] is the entry. `builder` collects the records of a name in the domain, `side_lookups` finds out what else
//! the name has, and both read the tree through [`View`] alone.

mod arrange;
mod builder;
mod chaos;
mod cluster;
mod dependencies;
mod direct;
mod externals;
mod flatten;
mod freshness;
mod local_denial;
mod name_servers;
mod outcome;
mod pointers;
mod reverse;
mod rng;
mod root_domain;
mod rrset;
mod select;
mod shared_authority;
mod side_lookups;
mod site;
mod soa;
mod special_use;
mod type_cache;
mod view;
mod zone;
mod zones;

pub use cluster::{ClusterNames, Made, PodNames};
pub use dependencies::Dependencies;
pub use direct::{DirectAnswer, DirectData, DirectPlan, DirectQuestion, DirectView};
pub use externals::{ExternalReply, Externals, Lookup, MAX_LOOKUPS, home_arpa_reply};
pub use flatten::Flatten;
pub use freshness::{Freshness, SiteFreshness};
pub use outcome::{Answer, Denial, Ede, Missing, Outcome};
pub use rng::Rng;
pub use rrset::{has_free_order, in_one_set, rrsets, same_name};
pub use shared_authority::SharedAuthority;
pub use site::{Identity, Site};
pub use type_cache::TypeCache;
pub use view::{DnssecView, View, WORK_OF_ANSWER, ZoneKeys};
pub use zone::{HOLD_DELETIONS, MassHold, Mode, OwnServer, Zone};
pub use zones::Zones;

use crate::tree::TreePath;
use builder::AnswerBuilder;
use chaos::answer_chaos;
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use local_denial::{deny_few_labels, filter_aaaa};
use reverse::answer_reverse;
use root_domain::answer_in_root;
use special_use::answer_special_use;

/// Meta type in the type bit map of a name that does not exist; no question may ask for it (RFC 9824 §3.5).
pub const NXNAME: RecordType = RecordType::Unknown(128);

/// Last labels of the names outside of the domain that are answered here: reverse names (`arpa`) and special-use names
/// (RFC 6761).
pub const ANSWERED_TOP_LABELS: [&[u8]; 5] = [b"alt", b"arpa", b"invalid", b"localhost", b"onion"];

/// Answers a question, or says which look-ups that takes, or that upstreams have to answer.
pub fn answer(query: &Query, view: &View<'_>) -> Outcome {
    match query.query_class() {
        DNSClass::IN => {}
        DNSClass::CH => return Outcome::Answered(answer_chaos(query, view.site)),
        _ => return Outcome::Answered(Answer::refused("only the classes IN and CH are served")),
    }
    let tree_name = view.site.resolve_local(query.name());
    let is_special = has_answered_top_label(tree_name);
    if is_special && let Some(outcome) = answer_reverse(query, tree_name, view) {
        return outcome;
    }
    match view.site.zones.of(query.name()) {
        Some(zone) if !zone.is_root() => return answer_in_zone(query, zone, tree_name, view),
        Some(_) => {
            if let Some(outcome) = answer_in_root(query, tree_name, view) {
                return outcome;
            }
        }
        None => {}
    }
    if is_special && let Some(outcome) = answer_special_use(query, view) {
        return outcome;
    }
    if matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR) {
        return Outcome::Answered(no_transfer());
    }
    let denied = deny_few_labels(query, view).or_else(|| filter_aaaa(query, view));
    denied.map_or(Outcome::Forward, Outcome::Answered)
}

fn has_answered_top_label(name: &Name) -> bool {
    let top = name.iter().next_back();
    top.is_some_and(|top| ANSWERED_TOP_LABELS.iter().any(|label| top.eq_ignore_ascii_case(label)))
}

/// Answers for a name of a zone; the tree is asked for `tree_name`.
fn answer_in_zone(query: &Query, zone: &Zone, tree_name: &Name, view: &View<'_>) -> Outcome {
    match query.query_type() {
        RecordType::AXFR | RecordType::IXFR => Outcome::Answered(no_transfer()),
        // The parent zone has the DS records of the apex (RFC 4035 §3.1.4.1).
        RecordType::DS if zone.is_apex(query.name()) => answer_ds(query, zone, tree_name, view),
        _ if zone.lacks_keys => Outcome::Answered(lacks_keys()),
        NXNAME => {
            let why = "NXNAME is for denials only";
            Outcome::Answered(Answer::failure(ResponseCode::FormErr, Ede::INVALID_QUERY_TYPE, why))
        }
        _ => match AnswerBuilder::new(query, zone, view).answer_from(&TreePath::new(tree_name)) {
            Outcome::Answered(answer) if zone.falls_through && answer.denies_name() => {
                if let Some(filtered) = filter_aaaa(query, view) {
                    return Outcome::Answered(filtered);
                }
                AnswerBuilder::new(query, zone, view).answer_from_outside().unwrap_or(Outcome::Forward)
            }
            outcome => outcome,
        },
    }
}

/// Answers for the DS records of a zone: out of the zone above it if that is ours, else upstreams have to answer. A server that
/// is not asked for others' names has to answer that it has none.
fn answer_ds(query: &Query, zone: &Zone, tree_name: &Name, view: &View<'_>) -> Outcome {
    match view.site.zones.parent_of(zone) {
        Some(parent) if parent.lacks_keys => Outcome::Answered(lacks_keys()),
        Some(parent) if !parent.is_root() => AnswerBuilder::new(query, parent, view).answer_ds(zone),
        _ if view.may_forward() => Outcome::ForwardExisting,
        _ if zone.lacks_keys => Outcome::Answered(lacks_keys()),
        _ => AnswerBuilder::new(query, zone, view).answer_from(&TreePath::new(tree_name)),
    }
}

/// In place of all answers of a zone whose keys cannot be used: whoever validates would take an unsigned one for forged.
fn lacks_keys() -> Answer {
    let why = "the DNSSEC keys of the domain cannot be used";
    Answer::failure(ResponseCode::ServFail, Ede::RRSIGS_MISSING, why)
}

fn no_transfer() -> Answer {
    Answer::refused("zone transfers are not served")
}

#[cfg(test)]
mod tests;
