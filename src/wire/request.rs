//! Screening of packets: a packet is dropped, answered with an error for its form, or a request to answer.

use super::client_edns::{ClientEdns, QueryRecords};
use super::{HEADER, OWN_UDP_SIZE, Reply, Transport, encode, without_question};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// Code and data of SkyDNS's loop marker for stub zones (RFC 6891 §9: for local use).
pub const STUB_MARKER: (u16, &[u8]) = (65_011, &[1]);

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

impl Request {
    /// Whether DNSSEC records are wanted.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Whether a name that does not exist may be denied with NXDOMAIN by one NSEC (RFC 9824 §5.1).
    pub fn compact_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.compact_ok)
    }

    /// The most octets that a reply over UDP may have; `max` is what we send to the client at most.
    pub fn udp_limit(&self, max: u16) -> usize {
        self.edns.map_or(512, |edns| usize::from(edns.udp_size.clamp(512, max)))
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

/// Screens a packet. A reply to a query with an OPT record has one too, whatever is wrong with the query (RFC 6891 §6.1.1).
pub fn screen(packet: &[u8]) -> Screened {
    let Some(header) = packet.first_chunk::<HEADER>() else {
        return Screened::Drop;
    };
    // A response must not be answered, or two servers would never stop.
    if header[2] & 0x80 != 0 {
        return Screened::Drop;
    }
    let QueryRecords { opt, are_well_formed } = QueryRecords::read(packet);
    let edns = opt.map(|opt| opt.edns);
    let refuse = |rcode| Screened::Reply(without_question(header, rcode, edns));
    if header[2] & 0x78 != 0 {
        return refuse(ResponseCode::NotImp);
    }
    let query = question(packet).filter(|_| are_well_formed && header[4..6] == [0, 1]);
    let Some(query) = query else { return refuse(ResponseCode::FormErr) };
    let request = Request {
        id: u16::from_be_bytes([header[0], header[1]]),
        recursion_desired: header[2] & 0x01 != 0,
        checking_disabled: header[3] & 0x10 != 0,
        authentic_data: header[3] & 0x20 != 0,
        query,
        edns,
    };
    match opt {
        // RFC 6891 §6.1.3: a version of EDNS that we do not implement, whose options may have any form.
        Some(opt) if opt.version > 0 => {
            let limit = usize::from(OWN_UDP_SIZE);
            Screened::Reply(encode(&request, &Reply::empty(ResponseCode::BADVERS), Transport::Udp { limit }))
        }
        Some(opt) if !opt.has_whole_options => refuse(ResponseCode::FormErr),
        _ => Screened::Ask(request),
    }
}

/// The first question of a packet.
fn question(packet: &[u8]) -> Option<Query> {
    let mut decoder = BinDecoder::new(packet);
    decoder.read_slice(HEADER).ok()?;
    Query::read(&mut decoder).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Edns, Message, MessageType, OpCode};
    use hickory_proto::rr::rdata::opt::EdnsOption;
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
        assert_eq!((request.id, request.edns, request.udp_limit(4_096)), (0x1234, None, 512));
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

    /// An OPT record of a version with these options.
    fn opt(version: u8, options: &[u8]) -> Vec<u8> {
        let len = u8::try_from(options.len()).expect("few");
        [&[0, 0, 41, 0x10, 0, 0, version, 0x80, 0, 0, len], options].concat()
    }

    /// The query of [`packet`] with records in ADDITIONAL.
    fn with_additionals(records: &[Vec<u8>]) -> Vec<u8> {
        let mut query = packet(|_| {});
        query[11] = u8::try_from(records.len()).expect("few");
        [query, records.concat()].concat()
    }

    /// The rcode of the reply that a packet is refused with, and whether it has an OPT record.
    fn refused(packet: &[u8]) -> (u16, bool) {
        let reply = refusal(packet);
        (reply.metadata.response_code.into(), reply.edns.is_some_and(|edns| edns.flags().dnssec_ok))
    }

    #[test]
    fn options_that_are_unknown_or_malformed_change_nothing() {
        let options: [&[u8]; 7] = [
            &[0xff, 0, 0, 3, 1, 2, 3],
            // A client subnet (RFC 7871) of no family, with a prefix that its address does not have, and without anything.
            &[0, 8, 0, 4, 0, 9, 99, 0],
            &[0, 8, 0, 5, 0, 1, 24, 0, 10],
            &[0, 8, 0, 0],
            // A cookie (RFC 7873) of 3 octets.
            &[0, 10, 0, 3, 1, 2, 3],
            // DAU, edns-tcp-keepalive and a chain query with data that they cannot have.
            &[0, 5, 0, 1, 0, 0, 11, 0, 1, 0],
            &[0, 13, 0, 2, 0xc0, 0xff],
        ];
        for options in options {
            let Screened::Ask(request) = screen(&with_additionals(&[opt(0, options)])) else {
                panic!("{options:?}")
            };
            let edns = ClientEdns { udp_size: 4096, dnssec_ok: true, compact_ok: false, stub_marker: false };
            assert_eq!(request.edns, Some(edns), "{options:?}");
        }
    }

    #[test]
    fn half_an_option_is_a_format_error_unless_the_version_is_not_ours() {
        let bad_version = u16::from(ResponseCode::BADVERS);
        for options in [&[0, 8, 0, 5, 0, 1, 24][..], &[0, 10, 0], &[0, 3, 0, 0, 0], &[0, 3, 0xff, 0xff]] {
            assert_eq!(refused(&with_additionals(&[opt(0, options)])), (1, true), "{options:?}");
            assert_eq!(refused(&with_additionals(&[opt(1, options)])), (bad_version, true), "{options:?}");
        }
    }

    #[test]
    fn an_opt_record_is_answered_with_one_whatever_is_wrong() {
        let good = with_additionals(&[opt(0, &[])]);
        let changed = |at: usize, octet: u8| {
            let mut query = good.clone();
            query[at] = octet;
            query
        };
        assert_eq!(refused(&changed(2, 5 << 3)), (4, true), "an update");
        assert_eq!(refused(&changed(2, 4 << 3)), (4, true), "a notification");
        assert_eq!(refused(&changed(11, 2)), (1, true), "a record is missing");
        assert_eq!(refused(&with_additionals(&[opt(0, &[]), opt(0, &[])])), (1, true), "two of them");
        let named = [vec![1, b'a'], opt(0, &[])].concat();
        assert_eq!(refused(&with_additionals(&[named])), (1, true), "one that is not at the root");
        let mut in_answer = good.clone();
        (in_answer[7], in_answer[11]) = (1, 0);
        assert_eq!(refused(&in_answer), (1, true), "one in the answer section");
        let end = good.len() - opt(0, &[]).len();
        for len in end..good.len() {
            assert_eq!(refused(&good[..len]), (1, false), "{len} octets");
        }
        let mut without_question = [&good[..HEADER], &opt(0, &[])].concat();
        without_question[5] = 0;
        assert_eq!(refused(&without_question), (1, true), "no question");
        let mut two_questions = [&good[..end], &good[HEADER..]].concat();
        two_questions[5] = 2;
        assert_eq!(refused(&two_questions), (1, true), "two questions");
    }

    #[test]
    fn other_records_are_no_concern() {
        let signature = [&[0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 3][..], &[1, 2, 3]].concat();
        let pointer = vec![0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 9];
        let query = with_additionals(&[pointer, opt(0, &[]), signature]);
        assert!(matches!(screen(&query), Screened::Ask(request) if request.edns.is_some()));
    }
}
