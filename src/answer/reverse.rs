//! Reverse names: PTR records of services whose keys are below `/arpa`.

use super::outcome::Answer;
use super::view::View;
use crate::service::Host;
use crate::tree::TreePath;
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// The answer for a reverse name that has a service on its key; `None` for all other names.
///
/// Types other than PTR have no data. AA stays clear, since this server is not authoritative for the reverse zone.
pub(super) fn answer_reverse(query: &Query, name: &Name, view: &View<'_>) -> Option<Answer> {
    if !is_reverse(name) {
        return None;
    }
    let entry = view.exact(&TreePath::new(name))?.entry()?;
    let Host::Name(target) = &entry.service.host else {
        return None;
    };
    let mut answer = Answer { authoritative: false, ..Answer::empty(ResponseCode::NoError) };
    if query.query_type() == RecordType::PTR {
        let ttl = view.ttl(entry);
        let ptr = RData::PTR(PTR((**target).clone()));
        answer.answers.push(Record::from_rdata(query.name().clone(), ttl, ptr));
    }
    Some(answer)
}

/// Whether a name is below `in-addr.arpa` or `ip6.arpa`.
fn is_reverse(name: &Name) -> bool {
    let mut labels = name.iter().rev();
    let top = labels.next().is_some_and(|label| label.eq_ignore_ascii_case(b"arpa"));
    top && labels
        .next()
        .is_some_and(|label| label.eq_ignore_ascii_case(b"in-addr") || label.eq_ignore_ascii_case(b"ip6"))
}
