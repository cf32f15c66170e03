//! The domain `.`: what the store has is ours, and all else is forwarded.
//!
//! No name is denied for its absence from the store. Of a name that the store has, other types are ours too if it has a
//! service of its own; a name that only has names below it may have other data elsewhere. Types of zone cuts always come
//! from upstream, since the zones are those of others.

use super::builder::AnswerBuilder;
use super::local_denial::{deny, has_few_labels, is_of_zone_cuts, not_ready};
use super::outcome::{Answer, Ede, Outcome};
use super::view::View;
use crate::tree::{DataKinds, TreePath};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

/// The outcome for a name that the store has, or may have; `None` for all other names.
pub(super) fn answer_in_root(query: &Query, tree_name: &Name, view: &View<'_>) -> Option<Outcome> {
    let rtype = query.query_type();
    if matches!(rtype, RecordType::AXFR | RecordType::IXFR) {
        return None;
    }
    let path = TreePath::new(tree_name);
    if tree_name.is_root() {
        return (!is_of_zone_cuts(rtype)).then(|| answer_from_tree(query, &path, view)).filter(has_data);
    }
    if !view.exists(query.name(), &path) {
        return view
            .freshness_of(view.site.zones.of(query.name()))
            .may_lack_names()
            .then(|| while_unknown(query, view));
    }
    if is_of_zone_cuts(rtype) {
        return Some(existing(view, || no_data(tree_name, view)));
    }
    let outcome = answer_from_tree(query, &path, view);
    if has_data(&outcome) || is_ours_alone(rtype, &path, view) {
        return Some(outcome);
    }
    Some(existing(view, || match outcome {
        Outcome::Answered(answer) => answer,
        _ => no_data(tree_name, view),
    }))
}

fn answer_from_tree(query: &Query, path: &TreePath, view: &View<'_>) -> Outcome {
    AnswerBuilder::new(query, view.site.zone_of(query.name()), view).answer_from(path)
}

/// The outcome for a name that the store may have once it is read.
fn while_unknown(query: &Query, view: &View<'_>) -> Outcome {
    if has_few_labels(query.name(), query.query_type(), view.site) {
        return Outcome::Answered(not_ready());
    }
    existing(view, not_ready)
}

/// Upstreams are asked, but they cannot deny the name; `otherwise` is the answer without them.
fn existing(view: &View<'_>, otherwise: impl FnOnce() -> Answer) -> Outcome {
    if view.may_forward() { Outcome::ForwardExisting } else { Outcome::Answered(otherwise()) }
}

fn no_data(name: &Name, view: &View<'_>) -> Answer {
    let zone = view.site.zone_of(name);
    deny(ResponseCode::NoError, name.clone(), view.capped(zone.min_ttl, zone))
}

/// Whether an outcome is anything but NODATA, or the failure in its place before the store is read.
fn has_data(outcome: &Outcome) -> bool {
    let Outcome::Answered(answer) = outcome else { return true };
    let is_unknown = answer.ede.as_ref().is_some_and(|ede| ede.code == Ede::NOT_READY);
    let is_no_data = answer.rcode == ResponseCode::NoError && answer.answers.is_empty() && !answer.too_large;
    !is_no_data && !is_unknown
}

/// Whether nobody else has data of a type at a name that the store has: the name has a service of its own, or it is a
/// wildcard, or its addresses are those of the services below it.
fn is_ours_alone(rtype: RecordType, path: &TreePath, view: &View<'_>) -> bool {
    use RecordType::{A, AAAA, HTTPS, SVCB};
    // The name is a wildcard if no node has it.
    view.exact(path).is_none_or(|node| {
        let has_addresses = node.visible().meets(DataKinds::HOST);
        node.entry().is_some() || (has_addresses && matches!(rtype, A | AAAA | HTTPS | SVCB))
    })
}
