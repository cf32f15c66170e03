//! Which replies of an upstream are answers, and what a client gets of one that is none.

use super::endpoint::Endpoint;
use super::message::{UpstreamQuestion, UpstreamReply};
use super::shape::shape;
use crate::answer::Ede;
use crate::wire::Reply;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;

/// Why a reply is no answer, so that another upstream may do better; the ones that say the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FailureKind {
    /// Without the question: the server read the header alone, or the reply is forged.
    HeaderOnly,
    /// The server names other servers to ask, and does not ask them itself (RFC 9499 §6, lame).
    Referral,
    /// Records that have nothing to do with the question, and no other.
    Unrelated,
    /// Truncated over TCP as well.
    Truncated,
    /// An rcode that says nothing of the name asked for, such as FORMERR or NOTIMP.
    Rcode,
    /// REFUSED.
    Refused,
    /// SERVFAIL.
    ServFail,
}

/// Leaves of a reply what the question is about ([`shape`]), and says why it is no answer; `None` if it is one.
///
/// What is left of an answer may be nothing: that is no denial, which would have to be one by itself.
pub(super) fn shaped_failure_kind(
    question: &UpstreamQuestion,
    received: &mut UpstreamReply,
) -> Option<FailureKind> {
    let had_answers = received.reply.has_answers();
    shape(question, &mut received.reply);
    let reply = &received.reply;
    let is_unrelated = had_answers && !reply.has_answers() && reply.rcode == ResponseCode::NoError;
    failure_kind(question, received).or_else(|| is_unrelated.then_some(FailureKind::Unrelated))
}

/// The same of a reply that has its shape.
fn failure_kind(question: &UpstreamQuestion, received: &UpstreamReply) -> Option<FailureKind> {
    let reply = &received.reply;
    match reply.rcode {
        _ if !received.repeats_question => Some(FailureKind::HeaderOnly),
        _ if reply.truncated => Some(FailureKind::Truncated),
        ResponseCode::ServFail => Some(FailureKind::ServFail),
        ResponseCode::Refused => Some(FailureKind::Refused),
        ResponseCode::NoError => {
            (question.recursion_desired && is_referral(reply)).then_some(FailureKind::Referral)
        }
        // YXDOMAIN: a DNAME makes too long a name (RFC 6672 §2.2).
        ResponseCode::NXDomain | ResponseCode::YXDomain => None,
        _ => Some(FailureKind::Rcode),
    }
}

/// Whether a reply without an error only names the servers of a zone (RFC 9499 §4).
fn is_referral(reply: &Reply) -> bool {
    !reply.recursion_available
        && !reply.authoritative
        && !reply.has_answers()
        && reply.has_authority(RecordType::NS)
        && !reply.has_authority(RecordType::SOA)
}

/// What a client gets if no upstream does better: SERVFAIL or REFUSED, with an extended error that names the upstream
/// unless the reply has one.
pub(super) fn explained(mut reply: Reply, kind: FailureKind, upstream: Endpoint) -> Reply {
    if reply.errors.is_empty() {
        let text = match kind {
            FailureKind::HeaderOnly => {
                format!("{upstream} said {}, without the question", rcode_name(reply.rcode))
            }
            FailureKind::Referral => format!("{upstream} only names other servers"),
            FailureKind::Unrelated => format!("{upstream} gave records of other names or types alone"),
            FailureKind::Truncated => format!("{upstream} gave a truncated reply, over TCP as well"),
            FailureKind::Rcode | FailureKind::Refused | FailureKind::ServFail => {
                format!("{upstream} said {}", rcode_name(reply.rcode))
            }
        };
        reply.errors.push(Ede::new(Ede::NO_REACHABLE_AUTHORITY, text));
    }
    match kind {
        FailureKind::Refused | FailureKind::ServFail => reply,
        // FORMERR and NOTIMP would tell the client to ask us in another way, TC that TCP is of use.
        _ => Reply { errors: reply.errors, ..Reply::empty(ResponseCode::ServFail) },
    }
}

/// The mnemonic of an rcode (RFC 6895 §2.3).
pub(super) fn rcode_name(rcode: ResponseCode) -> String {
    match rcode {
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        other => format!("rcode {}", u16::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{NS, SOA};
    use hickory_proto::rr::{Name, RData, Record};

    fn received(rcode: ResponseCode) -> UpstreamReply {
        UpstreamReply { reply: Reply::empty(rcode), has_edns: true, repeats_question: true }
    }

    fn ns() -> Record {
        Record::from_rdata(Name::root(), 60, RData::NS(NS(Name::root())))
    }

    #[test]
    fn an_answer_has_an_rcode_about_the_name() {
        use ResponseCode::{
            BADVERS, FormErr, NXDomain, NoError, NotAuth, NotImp, Refused, ServFail, YXDomain,
        };
        let question = UpstreamQuestion::own(Name::root(), RecordType::A);
        let rows = [
            (NoError, None),
            (NXDomain, None),
            (YXDomain, None),
            (ServFail, Some(FailureKind::ServFail)),
            (Refused, Some(FailureKind::Refused)),
            (FormErr, Some(FailureKind::Rcode)),
            (NotImp, Some(FailureKind::Rcode)),
            (NotAuth, Some(FailureKind::Rcode)),
            (BADVERS, Some(FailureKind::Rcode)),
        ];
        for (rcode, kind) in rows {
            assert_eq!(failure_kind(&question, &received(rcode)), kind, "{rcode}");
            let header_only = UpstreamReply { repeats_question: false, ..received(rcode) };
            assert_eq!(failure_kind(&question, &header_only), Some(FailureKind::HeaderOnly));
        }
        let mut truncated = received(NoError);
        truncated.reply.truncated = true;
        assert_eq!(failure_kind(&question, &truncated), Some(FailureKind::Truncated));
    }

    #[test]
    fn a_referral_is_no_answer_to_a_question_for_recursion() {
        let question = UpstreamQuestion::own(Name::root(), RecordType::A);
        let mut referral = received(ResponseCode::NoError);
        referral.reply.recursion_available = false;
        assert_eq!(failure_kind(&question, &referral), None, "NODATA without SOA");
        referral.reply.authorities.push(ns());
        assert_eq!(failure_kind(&question, &referral), Some(FailureKind::Referral));
        let iterative = UpstreamQuestion { recursion_desired: false, ..question.clone() };
        assert_eq!(failure_kind(&iterative, &referral), None, "asked for");
        let with = |change: fn(&mut Reply)| {
            let mut reply = referral.reply.clone();
            change(&mut reply);
            failure_kind(&question, &UpstreamReply { reply, has_edns: true, repeats_question: true })
        };
        assert_eq!(with(|reply| reply.recursion_available = true), None);
        assert_eq!(with(|reply| reply.authoritative = true), None);
        assert_eq!(with(|reply| reply.answers.push(ns())), None);
        let denial = |reply: &mut Reply| {
            let soa = SOA::new(Name::root(), Name::root(), 1, 1, 1, 1, 1);
            reply.authorities.push(Record::from_rdata(Name::root(), 60, RData::SOA(soa)));
        };
        assert_eq!(with(denial), None);
    }

    #[test]
    fn an_answer_of_which_nothing_is_left_is_none() {
        let question = UpstreamQuestion::own(Name::from_ascii("a.example.").expect("a name"), RecordType::NS);
        let kind = |rcode, owner: &str| {
            let mut reply = Reply::empty(rcode);
            let owner = Name::from_ascii(owner).expect("a name");
            reply.answers.push(Record::from_rdata(owner, 60, RData::NS(NS(Name::root()))));
            let mut received = UpstreamReply { reply: reply.forwarded(), ..received(rcode) };
            let kind = shaped_failure_kind(&question, &mut received);
            (kind, received.reply.has_answers())
        };
        assert_eq!(kind(ResponseCode::NoError, "A.example."), (None, true));
        assert_eq!(kind(ResponseCode::NoError, "b.example."), (Some(FailureKind::Unrelated), false));
        assert_eq!(kind(ResponseCode::NXDomain, "b.example."), (None, false), "a denial all the same");
        let mut empty = received(ResponseCode::NoError);
        assert_eq!(shaped_failure_kind(&question, &mut empty), None, "NODATA");
    }

    #[test]
    fn a_client_gets_servfail_or_refused_with_the_reason() {
        use ResponseCode::{FormErr, Refused, ServFail};
        let upstream = Endpoint::classic(([192, 0, 2, 1], 53).into());
        let rows = [
            (FormErr, FailureKind::Rcode, ServFail, "192.0.2.1:53 said FORMERR"),
            (FormErr, FailureKind::HeaderOnly, ServFail, "192.0.2.1:53 said FORMERR, without the question"),
            (Refused, FailureKind::Refused, Refused, "192.0.2.1:53 said REFUSED"),
            (ServFail, FailureKind::ServFail, ServFail, "192.0.2.1:53 said SERVFAIL"),
            (ResponseCode::NoError, FailureKind::Referral, ServFail, "192.0.2.1:53 only names other servers"),
        ];
        for (rcode, kind, given, text) in rows {
            let reply = explained(Reply::empty(rcode), kind, upstream);
            assert_eq!(reply, Reply::failure(given, Ede::new(Ede::NO_REACHABLE_AUTHORITY, text)));
        }
        let own = Ede::new(Ede::OTHER, "own words");
        let reply = explained(Reply::failure(ServFail, own.clone()), FailureKind::ServFail, upstream);
        assert_eq!(reply.errors, [own]);
    }
}
