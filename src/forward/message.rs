//! Messages to and from upstreams.

use crate::answer::Ede;
use crate::wire::{HEADER, OWN_UDP_SIZE, Reply, Request, STUB_MARKER};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;

/// Option code of an extended DNS error (RFC 8914 §2).
const EDE_OPTION: u16 = 15;

/// What makes two questions to an upstream the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct UpstreamQuestion {
    /// Name, type and class; names compare without regard to letter case.
    pub(super) query: Query,
    pub(super) dnssec_ok: bool,
    pub(super) checking_disabled: bool,
    pub(super) recursion_desired: bool,
    /// Whether it goes to a stub zone's servers, marked.
    pub(super) stub: bool,
}

impl UpstreamQuestion {
    pub(super) fn of(request: &Request, stub: bool) -> Self {
        Self {
            query: request.query.clone(),
            dnssec_ok: request.dnssec_ok(),
            checking_disabled: request.checking_disabled,
            recursion_desired: request.recursion_desired,
            stub,
        }
    }
}

/// A question to an upstream, with an id that nobody can guess (RFC 5452 §4.3).
pub(super) fn query(question: &UpstreamQuestion, with_edns: bool) -> Message {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = question.recursion_desired;
    message.metadata.checking_disabled = question.checking_disabled;
    // RFC 6840 §5.7: AD in a query asks for AD in the reply.
    message.metadata.authentic_data = true;
    message.add_query(question.query.clone());
    if with_edns {
        let mut edns = Edns::new();
        edns.set_max_payload(OWN_UDP_SIZE).set_version(0).set_dnssec_ok(question.dnssec_ok);
        if question.stub {
            edns.options_mut().insert(EdnsOption::Unknown(STUB_MARKER.0, STUB_MARKER.1.to_vec()));
        }
        message.set_edns(edns);
    }
    message
}

/// The one question of a message of ours, as octets.
pub(super) fn question(octets: &[u8]) -> &[u8] {
    let behind = octets.get(HEADER..).unwrap_or_default();
    let mut end = 0;
    while let Some(label) = behind.get(end).filter(|label| **label != 0) {
        end += 1 + usize::from(*label);
    }
    behind.get(..end + 5).unwrap_or_default()
}

/// Whether a message is a response that repeats a question, in any letter case.
///
/// A server that understood nothing may leave the question out when it says so (RFC 6891 §7).
pub(super) fn repeats(question: &[u8], response: &[u8]) -> bool {
    let Some((header, behind)) = response.split_first_chunk::<HEADER>() else { return false };
    let understood_nothing = matches!(header[3] & 0x0f, 1 | 4);
    let same = |repeated: &[u8]| {
        let ends = question.len().saturating_sub(4);
        repeated[..ends].eq_ignore_ascii_case(&question[..ends]) && repeated[ends..] == question[ends..]
    };
    header[2] & 0x80 != 0
        && match header[4..6] {
            [0, 1] => behind.get(..question.len()).is_some_and(same),
            [0, 0] => understood_nothing,
            _ => false,
        }
}

/// Whether a message is a reply to the question. The id was checked by the exchange.
pub fn answers(query: &Query, message: &Message) -> bool {
    let repeated = match message.queries.as_slice() {
        [only] => only == query,
        [] => understood_nothing(message),
        _ => false,
    };
    message.metadata.message_type == MessageType::Response
        && message.metadata.op_code == OpCode::Query
        && repeated
}

/// Whether a message says that a server cannot read the question.
pub(super) fn understood_nothing(message: &Message) -> bool {
    matches!(message.metadata.response_code, ResponseCode::FormErr | ResponseCode::NotImp)
}

/// The reply that a message of an upstream holds.
pub fn reply(message: Message) -> Reply {
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
        too_large: false,
        compact: false,
    }
}

fn error(data: &[u8]) -> Option<Ede> {
    let (code, text) = data.split_first_chunk::<2>()?;
    let text = String::from_utf8_lossy(text).trim_end_matches('\0').to_owned();
    Some(Ede::new(u16::from_be_bytes(*code), text))
}
