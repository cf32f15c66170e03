//! Authoritative answers: a question and a tree in, records out.
//!
//! Owns what SkyDNS makes of services: addresses, SRV weights, CNAME chains, groups, negative answers.
//! It never waits: what has to be looked up upstream is named in [`Outcome::Lookup`], and the caller
//! asks again with the results. Time and chance come in as numbers, so an answer can be replayed.

mod arrange;
mod budget;
mod builder;
mod chaos;
mod externals;
mod flatten;
mod name_servers;
mod outcome;
mod reverse;
mod rng;
mod rrset;
mod select;
mod shared_authority;
mod side_lookups;
mod special_use;
mod type_cache;
mod view;
mod zone;

pub use externals::{Externals, Lookup, MAX_LOOKUPS};
pub use outcome::{Answer, Denial, Ede, Missing, Outcome};
pub use rng::Rng;
pub use rrset::{in_one_set, rrsets, same_name};
pub use shared_authority::SharedAuthority;
pub use type_cache::TypeCache;
pub use view::{Dependencies, DnssecView, Freshness, View};
pub use zone::{Identity, Zone};

use crate::tree::TreePath;
use builder::AnswerBuilder;
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};

/// Meta type in the type bit map of a name that does not exist; nothing to ask for (RFC 9824 §3.5).
pub const NXNAME: RecordType = RecordType::Unknown(128);

/// Answers a question, or says what else it takes.
pub fn answer(query: &Query, view: &View<'_>) -> Outcome {
    match query.query_class() {
        DNSClass::IN => {}
        DNSClass::CH => return Outcome::Answered(chaos::answer_chaos(query, view.zone)),
        _ => return Outcome::Answered(Answer::refused("only the classes IN and CH are served")),
    }
    let zone = view.zone;
    let name = zone.resolve_local(query.name());
    if let Some(answer) = reverse::answer_reverse(query, name, view) {
        return Outcome::Answered(answer);
    }
    if zone.contains(name) || zone.contains(query.name()) {
        return answer_in_domain(query, &TreePath::new(name), view);
    }
    match (special_use::answer_special_use(query), query.query_type()) {
        (Some(answer), _) => Outcome::Answered(answer),
        (None, RecordType::AXFR | RecordType::IXFR) => {
            Outcome::Answered(Answer::refused("zone transfers are not served"))
        }
        (None, _) => Outcome::Forward,
    }
}

/// Answers for a name of the site's domain.
fn answer_in_domain(query: &Query, path: &TreePath, view: &View<'_>) -> Outcome {
    if matches!(query.query_type(), RecordType::AXFR | RecordType::IXFR) {
        return Outcome::Answered(Answer::refused("zone transfers are not served"));
    }
    if query.query_type() == NXNAME {
        let why = "NXNAME is for denials only";
        return Outcome::Answered(Answer::failure(ResponseCode::FormErr, Ede::INVALID_QUERY_TYPE, why));
    }
    AnswerBuilder::new(query, view).answer_from(path)
}

#[cfg(test)]
mod tests;
