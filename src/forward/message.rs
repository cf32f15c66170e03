//! Messages to and from upstreams.

use super::exchange_error::ExchangeError;
use super::stub::StubId;
use crate::wire::{OWN_UDP_SIZE, ReceivedReply, Reply, Request, STUB_MARKER};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RecordType};

/// A question to upstreams. Equal questions share one exchange and one cached reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct UpstreamQuestion {
    /// Name, type and class; names compare without regard to letter case.
    pub(super) query: Query,
    pub(super) dnssec_ok: bool,
    pub(super) checking_disabled: bool,
    pub(super) recursion_desired: bool,
    /// The stub zone to whose servers the question goes, with an option that says so.
    pub(super) stub: Option<StubId>,
}

impl UpstreamQuestion {
    /// The question of a client; with `stub` it goes to the servers of a stub zone.
    pub(super) fn of(request: &Request, stub: Option<StubId>) -> Self {
        Self {
            query: request.query.clone(),
            dnssec_ok: request.dnssec_ok(),
            checking_disabled: request.checking_disabled,
            recursion_desired: request.recursion_desired,
            stub,
        }
    }

    /// A question that no client asked: for a name that an answer needs, or to probe an upstream.
    pub(super) fn own(name: Name, rtype: RecordType) -> Self {
        Self {
            query: Query::query(name, rtype),
            dnssec_ok: false,
            checking_disabled: false,
            recursion_desired: true,
            stub: None,
        }
    }

    /// As a message, with an id that nobody can guess (RFC 5452 §4.3).
    pub(super) fn to_message(&self, with_edns: bool) -> Message {
        let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.checking_disabled = self.checking_disabled;
        // RFC 6840 §5.7: AD in a query asks for AD in the reply.
        message.metadata.authentic_data = true;
        message.add_query(self.query.clone());
        if with_edns {
            let mut edns = Edns::new();
            edns.set_max_payload(OWN_UDP_SIZE).set_version(0).set_dnssec_ok(self.dnssec_ok);
            if self.stub.is_some() {
                edns.options_mut().insert(EdnsOption::Unknown(STUB_MARKER.0, STUB_MARKER.1.to_vec()));
            }
            message.set_edns(edns);
        }
        message
    }
}

/// A reply of an upstream.
#[derive(Debug)]
pub(super) struct UpstreamReply {
    pub(super) reply: Reply,
    /// Whether it has an OPT record.
    pub(super) has_edns: bool,
    /// Whether it repeats the question; else it is an error.
    pub(super) repeats_question: bool,
}

impl UpstreamReply {
    /// Reads a reply to a question that was sent; that it is one was found out before (`pending_replies`).
    ///
    /// # Errors
    /// The reply ends within a record, or cannot be read otherwise.
    pub(super) fn read(octets: &[u8]) -> Result<Self, ExchangeError> {
        let ReceivedReply { reply, has_edns, has_question } = ReceivedReply::read(octets)?;
        Ok(Self { reply, has_edns, repeats_question: has_question })
    }

    /// Whether the server says that it cannot read the question.
    pub(super) fn is_not_understood(&self) -> bool {
        is_not_understood(self.reply.rcode)
    }
}

/// Whether a server says by an rcode that it cannot read a question.
fn is_not_understood(rcode: ResponseCode) -> bool {
    matches!(rcode, ResponseCode::FormErr | ResponseCode::NotImp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::HEADER;
    use hickory_proto::rr::rdata::{A, NS};
    use hickory_proto::rr::{RData, Record};

    /// A reply with compressed names, a section each.
    fn reply() -> Vec<u8> {
        let name = Name::from_ascii("www.example.org.").expect("a name");
        let question = UpstreamQuestion::own(name.clone(), RecordType::A);
        let mut message = question.to_message(true);
        message.metadata.message_type = MessageType::Response;
        let record = |rdata| Record::from_rdata(name.clone(), 60, rdata);
        message.add_answer(record(RData::A(A([192, 0, 2, 1].into()))));
        message.add_authority(record(RData::NS(NS(name.clone()))));
        message.to_vec().expect("octets")
    }

    #[test]
    fn a_reply_that_ends_early_is_cut_wherever_it_ends() {
        let reply = reply();
        assert!(UpstreamReply::read(&reply).is_ok());
        for len in HEADER..reply.len() {
            let read = UpstreamReply::read(&reply[..len]);
            assert!(matches!(read, Err(ExchangeError::Cut)), "{len} of {} octets: {read:?}", reply.len());
        }
    }

    #[test]
    fn a_reply_that_is_whole_and_cannot_be_read_is_not_cut() {
        let mut reply = reply();
        let owner = reply.windows(2).position(|octets| octets == [0xc0, 12]).expect("a pointer");
        reply[owner + 1] = 0xff;
        let read = UpstreamReply::read(&reply);
        assert!(matches!(read, Err(ExchangeError::Unreadable(_))), "{read:?}");
    }
}
