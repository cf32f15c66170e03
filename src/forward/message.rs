//! Messages to and from upstreams.

use super::exchange_error::ExchangeError;
use crate::answer::Ede;
use crate::wire::{HEADER, OWN_UDP_SIZE, Reply, Request, STUB_MARKER};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RecordType};

/// Option code of an extended DNS error (RFC 8914 §2).
const EDE_OPTION: u16 = 15;

/// A question to upstreams. Equal questions share one exchange and one cached reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct UpstreamQuestion {
    /// Name, type and class; names compare without regard to letter case.
    pub(super) query: Query,
    pub(super) dnssec_ok: bool,
    pub(super) checking_disabled: bool,
    pub(super) recursion_desired: bool,
    /// Whether the question goes to the servers of a stub zone, with an option that says so.
    pub(super) stub: bool,
}

impl UpstreamQuestion {
    /// The question of a client; `stub` says whether it goes to the servers of a stub zone.
    pub(super) fn of(request: &Request, stub: bool) -> Self {
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
            stub: false,
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
            if self.stub {
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
        let message = match Message::from_vec(octets) {
            Ok(message) => message,
            Err(_) if is_cut(octets) => return Err(ExchangeError::Cut),
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            has_edns: message.edns.is_some(),
            repeats_question: !message.queries.is_empty(),
            reply: reply_of(message),
        })
    }

    /// Whether the server says that it cannot read the question.
    pub(super) fn is_not_understood(&self) -> bool {
        is_not_understood(self.reply.rcode)
    }
}

/// Whether a message ends before its last record does, as when a datagram was cut on its way (RFC 2181 §9).
fn is_cut(octets: &[u8]) -> bool {
    let count = |at: usize| octets.get(at..at + 2).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]));
    let records = [6, 8, 10].map(|at| usize::from(count(at))).iter().sum();
    let mut rest = octets.get(HEADER..);
    for _ in 0..count(4) {
        // Type and class.
        rest = rest.and_then(behind_name).and_then(|rest| rest.get(4..));
    }
    for _ in 0..records {
        // Type, class and TTL, then the length of the data.
        rest = rest.and_then(behind_name).and_then(|rest| {
            let (len, rest) = rest.get(8..)?.split_first_chunk::<2>()?;
            rest.get(usize::from(u16::from_be_bytes(*len))..)
        });
    }
    rest.is_none()
}

/// The octets behind the name that they begin with, compressed or not; `None` if they end within it.
fn behind_name(mut octets: &[u8]) -> Option<&[u8]> {
    loop {
        let (&len, rest) = octets.split_first()?;
        match len {
            0 => return Some(rest),
            1..=0x3f => octets = rest.get(usize::from(len)..)?,
            // A compression pointer has two octets. What is neither has no length, and is no sign of a cut.
            _ => return if len < 0xc0 { Some(rest) } else { rest.get(1..) },
        }
    }
}

/// Whether a message is a reply to the question. The transport has checked the id.
pub fn is_reply_to(query: &Query, message: &Message) -> bool {
    let repeated = match message.queries.as_slice() {
        [only] => only == query,
        [] => is_not_understood(message.metadata.response_code),
        _ => false,
    };
    message.metadata.message_type == MessageType::Response
        && message.metadata.op_code == OpCode::Query
        && repeated
}

/// Whether a server says by an rcode that it cannot read a question.
fn is_not_understood(rcode: ResponseCode) -> bool {
    matches!(rcode, ResponseCode::FormErr | ResponseCode::NotImp)
}

/// The reply in a message of an upstream; options other than extended errors (RFC 8914) are left out.
pub fn reply_of(message: Message) -> Reply {
    let errors =
        message.edns.iter().flat_map(|edns| edns.options().as_ref()).filter_map(|(_, option)| match option {
            EdnsOption::Unknown(EDE_OPTION, data) => error(data),
            _ => None,
        });
    Reply {
        rcode: message.metadata.response_code,
        authoritative: message.metadata.authoritative,
        recursion_available: message.metadata.recursion_available,
        authentic_data: message.metadata.authentic_data,
        truncated: message.metadata.truncation,
        errors: errors.collect(),
        answers: message.answers,
        shared_authority: None,
        authorities: message.authorities,
        additionals: message.additionals,
        forwarded: None,
        too_large: false,
        too_costly: false,
        compact: false,
    }
}

/// An extended error as it is in its option: two octets of code, then text (RFC 8914 §2).
fn error(data: &[u8]) -> Option<Ede> {
    let (code, text) = data.split_first_chunk::<2>()?;
    let text = String::from_utf8_lossy(text).trim_end_matches('\0').to_owned();
    Some(Ede::new(u16::from_be_bytes(*code), text))
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let data = reply.windows(4).position(|octets| octets == [192, 0, 2, 1]).expect("the address");
        // A pointer in place of the length of the data leads nowhere.
        reply[data - 1] = 3;
        reply.remove(data);
        let read = UpstreamReply::read(&reply);
        assert!(matches!(read, Err(ExchangeError::Unreadable(_))), "{read:?}");
    }
}
