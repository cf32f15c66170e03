//! Screening of packets: a packet is dropped, answered with an error for its form, or a request to answer.

use super::{HEADER, MAX_UDP_REPLY, OWN_UDP_SIZE, Reply, Transport, encode, header_only};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

/// Code and data of SkyDNS's loop marker for stub zones (RFC 6891 §9: for local use).
pub const STUB_MARKER: (u16, &[u8]) = (65_011, &[1]);

/// The flag "compact answers OK", among those behind DO (RFC 9824 §5.1).
const COMPACT_OK: u16 = 0x4000;

/// A question, and what its message said about the form of the reply.
#[derive(Clone, Debug)]
pub struct Request {
    /// The client's message id.
    pub id: u16,
    /// Recursion desired.
    pub recursion_desired: bool,
    /// Checking disabled.
    pub checking_disabled: bool,
    /// The client understands AD (RFC 6840 §5.7).
    pub authentic_data: bool,
    /// The question.
    pub query: Query,
    /// The client's OPT, if it sent one.
    pub edns: Option<ClientEdns>,
}

/// What a client's OPT record said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientEdns {
    /// Its UDP payload size, at least 512.
    pub udp_size: u16,
    /// DNSSEC OK.
    pub dnssec_ok: bool,
    /// Compact answers OK (RFC 9824 §5.1).
    pub compact_ok: bool,
    /// Whether SkyDNS's loop marker for stub zones is there.
    pub stub_marker: bool,
}

impl Request {
    /// Whether DNSSEC records are wanted.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether a name that does not exist may be denied with NXDOMAIN by one NSEC (RFC 9824 §5.1).
    pub fn compact_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.compact_ok)
    }

    /// The most octets that a reply over UDP may have.
    pub fn udp_limit(&self) -> usize {
        self.edns.map_or(512, |edns| usize::from(edns.udp_size.clamp(512, MAX_UDP_REPLY)))
    }
}

/// What has to be done with a packet.
#[derive(Debug)]
pub enum Screened {
    /// Nothing: the packet is too short for a header, or is a response.
    Drop,
    /// These octets have to be sent back.
    Reply(Vec<u8>),
    /// The request has to be answered.
    Ask(Request),
}

/// Screens a packet.
pub fn screen(packet: &[u8]) -> Screened {
    let Some(header) = packet.first_chunk::<HEADER>() else {
        return Screened::Drop;
    };
    // A response must not be answered, or two servers would never stop.
    if header[2] & 0x80 != 0 {
        return Screened::Drop;
    }
    if header[2] & 0x78 != 0 {
        return Screened::Reply(header_only(header, ResponseCode::NotImp));
    }
    if header[4..6] != [0, 1] {
        return Screened::Reply(header_only(header, ResponseCode::FormErr));
    }
    match Message::from_vec(packet) {
        Ok(message) => ask(header, message),
        Err(_) => Screened::Reply(header_only(header, ResponseCode::FormErr)),
    }
}

fn ask(header: &[u8; HEADER], mut message: Message) -> Screened {
    let Some(query) = message.queries.pop() else {
        return Screened::Reply(header_only(header, ResponseCode::FormErr));
    };
    let edns = message.edns.as_ref().map(|edns| {
        let marker = edns.option(EdnsCode::from(STUB_MARKER.0));
        ClientEdns {
            udp_size: edns.max_payload().max(512),
            dnssec_ok: edns.flags().dnssec_ok,
            compact_ok: edns.flags().z & COMPACT_OK != 0,
            stub_marker: matches!(marker, Some(EdnsOption::Unknown(_, data)) if data == STUB_MARKER.1),
        }
    });
    let request = Request {
        id: message.metadata.id,
        recursion_desired: message.metadata.recursion_desired,
        checking_disabled: message.metadata.checking_disabled,
        authentic_data: message.metadata.authentic_data,
        query,
        edns,
    };
    // RFC 6891 §6.1.3: a version of EDNS that we do not implement.
    if message.edns.is_some_and(|edns| edns.version() > 0) {
        let reply = Reply::empty(ResponseCode::BADVERS);
        return Screened::Reply(encode(
            &request,
            &reply,
            Transport::Udp { limit: usize::from(OWN_UDP_SIZE) },
        ));
    }
    Screened::Ask(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Edns, MessageType, OpCode};
    use hickory_proto::rr::{Name, RecordType};

    fn packet(change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii("a.Example.org.").expect("a name"), RecordType::A));
        change(&mut message);
        message.to_vec().expect("a message")
    }

    fn refusal(packet: &[u8]) -> Message {
        match screen(packet) {
            Screened::Reply(reply) => Message::from_vec(&reply).expect("a reply"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_question_keeps_its_letter_case_and_flags() {
        let Screened::Ask(request) = screen(&packet(|_| {})) else { panic!("a request") };
        assert_eq!(request.query.name().to_ascii(), "a.Example.org.");
        assert!(request.recursion_desired && !request.checking_disabled);
        assert_eq!((request.id, request.edns, request.udp_limit()), (0x1234, None, 512));
    }

    #[test]
    fn short_packets_and_responses_get_silence() {
        let query = packet(|_| {});
        for len in 0..HEADER {
            assert!(matches!(screen(&query[..len]), Screened::Drop));
        }
        let response = packet(|message| message.metadata.message_type = MessageType::Response);
        assert!(matches!(screen(&response), Screened::Drop));
    }

    #[test]
    fn other_opcodes_are_not_implemented() {
        let mut query = packet(|_| {});
        query[2] |= 5 << 3;
        let reply = refusal(&query);
        assert_eq!((reply.metadata.id, reply.metadata.response_code), (0x1234, ResponseCode::NotImp));
        assert_eq!(reply.metadata.op_code, OpCode::Update);
        assert!(reply.metadata.recursion_desired);
    }

    #[test]
    fn broken_messages_are_format_errors() {
        let query = packet(|_| {});
        for len in HEADER..query.len() {
            assert_eq!(refusal(&query[..len]).metadata.response_code, ResponseCode::FormErr, "{len}");
        }
        for count in [0, 2] {
            let mut query = query.clone();
            query[5] = count;
            assert_eq!(refusal(&query).metadata.response_code, ResponseCode::FormErr);
        }
        let mut looped = query[..HEADER].to_vec();
        looped.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        assert_eq!(refusal(&looped).metadata.response_code, ResponseCode::FormErr);
    }

    #[test]
    fn edns_versions_are_told_apart() {
        let with = |version: u8, size: u16| {
            packet(|message| {
                let mut edns = Edns::new();
                edns.set_version(version).set_dnssec_ok(true);
                edns.set_max_payload(size);
                edns.options_mut().insert(EdnsOption::Unknown(STUB_MARKER.0, STUB_MARKER.1.to_vec()));
                message.set_edns(edns);
            })
        };
        let Screened::Ask(request) = screen(&with(0, 4096)) else { panic!("a request") };
        assert_eq!(
            request.edns,
            Some(ClientEdns { udp_size: 4096, dnssec_ok: true, compact_ok: false, stub_marker: true })
        );
        let reply = refusal(&with(1, 4096));
        assert_eq!(u16::from(reply.metadata.response_code), u16::from(ResponseCode::BADVERS));
        assert_eq!(reply.edns.map(|edns| (edns.version(), edns.max_payload())), Some((0, OWN_UDP_SIZE)));
    }
}
