//! A query as octets: what has to be known of it to pass it on, and replies without records.
//!
//! Only header and question are looked at (RFC 1035 §4.1.1, §4.1.2); nothing behind them is read.

use crate::wire::HEADER;
use crate::wire_name::name_len;

/// OPT of a reply: 1,232 octets, EDNS version 0, no flags (RFC 6891 §6.1.2).
const OPT: [u8; 11] = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];

/// SERVFAIL, NXDOMAIN and the like, as four bits (RFC 1035 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NotImp = 4,
    Refused = 5,
}

/// A query with one question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a> {
    packet: &'a [u8],
    question_end: usize,
}

/// What has to be done with a packet that is no such query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoQuery {
    /// Nothing: the packet is too short for a header, or is a reply.
    Drop,
    /// These octets have to be sent back.
    Reply(Vec<u8>),
}

impl<'a> Query<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// It is no query with one question.
    pub(super) fn read(packet: &'a [u8]) -> Result<Self, NoQuery> {
        let Some(header) = packet.first_chunk::<HEADER>() else { return Err(NoQuery::Drop) };
        // A reply must not be answered, or two servers would never stop.
        if header[2] & 0x80 != 0 {
            return Err(NoQuery::Drop);
        }
        let refuse = |rcode| Err(NoQuery::Reply(reply(header, &[], rcode, false)));
        if header[2] & 0x78 != 0 {
            return refuse(Rcode::NotImp);
        }
        match question_end(packet) {
            Some(question_end) if header[4..10] == [0, 1, 0, 0, 0, 0] => Ok(Self { packet, question_end }),
            _ => refuse(Rcode::FormErr),
        }
    }

    /// The name, in wire format.
    pub(super) fn name(&self) -> &'a [u8] {
        &self.packet[HEADER..self.question_end - 4]
    }

    /// Whether the class is IN.
    pub(super) fn is_internet(&self) -> bool {
        self.packet[self.question_end - 2..self.question_end] == [0, 1]
    }

    /// The packet with another id, for an upstream.
    pub(super) fn with_id(&self, id: u16) -> Vec<u8> {
        let mut packet = self.packet.to_vec();
        packet[..2].copy_from_slice(&id.to_be_bytes());
        packet
    }

    /// Turns an upstream's reply to the query, which had this id, into the client's. `None` if it is none.
    pub(super) fn client_reply(&self, id: u16, mut reply: Vec<u8>) -> Option<Vec<u8>> {
        let header = reply.first_chunk::<HEADER>()?;
        let is_reply = header[..2] == id.to_be_bytes() && header[2] & 0x80 != 0;
        // Only an error may come without the question.
        let is_error = header[4..6] == [0, 0] && header[3] & 0x0f != 0;
        let question = &self.packet[HEADER..self.question_end];
        let has_question = header[4..6] == [0, 1]
            && reply.get(HEADER..self.question_end).is_some_and(|other| other.eq_ignore_ascii_case(question));
        if !is_reply || !(has_question || is_error) {
            return None;
        }
        reply[..2].copy_from_slice(&self.packet[..2]);
        Some(reply)
    }

    /// A reply without records.
    pub(super) fn reply(&self, rcode: Rcode) -> Vec<u8> {
        self.reply_with(rcode, false)
    }

    /// The reply that has the client ask over TCP.
    pub(super) fn ask_over_tcp(&self) -> Vec<u8> {
        self.reply_with(Rcode::NoError, true)
    }

    fn reply_with(&self, rcode: Rcode, truncated: bool) -> Vec<u8> {
        let header = self.packet.first_chunk().unwrap_or(&[0; HEADER]);
        let mut octets = reply(header, &self.packet[HEADER..self.question_end], rcode, truncated);
        if self.packet[self.question_end..].starts_with(&OPT[..3]) {
            octets[11] = 1;
            octets.extend_from_slice(&OPT);
        }
        octets
    }
}

/// Whether an upstream's reply says nothing of the name, so that another upstream is asked.
pub(super) fn is_failure(reply: &[u8]) -> bool {
    let rcode = reply.get(3).map_or(2, |flags| flags & 0x0f);
    !matches!(rcode, 0 | 3)
}

/// A header that answers another one, and a question.
fn reply(header: &[u8; HEADER], question: &[u8], rcode: Rcode, truncated: bool) -> Vec<u8> {
    let mut octets = vec![0; HEADER];
    octets[..2].copy_from_slice(&header[..2]);
    // QR; opcode and RD as they came.
    octets[2] = 0x80 | header[2] & 0x79 | u8::from(truncated) << 1;
    // RA; CD as it came.
    octets[3] = 0x80 | header[3] & 0x10 | rcode as u8;
    octets[5] = u8::from(!question.is_empty());
    octets.extend_from_slice(question);
    octets
}

/// Where the first question ends.
fn question_end(packet: &[u8]) -> Option<usize> {
    let end = HEADER + name_len(packet.get(HEADER..)?)? + 4;
    (end <= packet.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};

    fn packet(change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Question::query(Name::from_ascii("a.Example.").expect("a name"), RecordType::A));
        change(&mut message);
        message.to_vec().expect("a message")
    }

    #[test]
    fn only_queries_with_one_question_are_taken() {
        let plain = packet(|_| ());
        let query = Query::read(&plain).expect("a query");
        assert_eq!(query.name(), b"\x01a\x07Example\0");
        assert!(query.is_internet());
        let refused = |packet: &[u8]| match Query::read(packet) {
            Err(NoQuery::Reply(reply)) => Message::from_vec(&reply).expect("a reply").metadata.response_code,
            other => panic!("{other:?}"),
        };
        let two = packet(|message| {
            message.add_query(Question::query(Name::root(), RecordType::A));
        });
        assert_eq!(refused(&two), ResponseCode::FormErr);
        assert_eq!(refused(&plain[..plain.len() - 1]), ResponseCode::FormErr);
        assert_eq!(
            refused(&packet(|message| message.metadata.op_code = OpCode::Notify)),
            ResponseCode::NotImp
        );
        let mut pointer = plain.clone();
        pointer[HEADER] = 0xc0;
        assert_eq!(refused(&pointer), ResponseCode::FormErr);
        let response = packet(|message| message.metadata.message_type = MessageType::Response);
        assert_eq!(Query::read(&response).expect_err("a reply"), NoQuery::Drop);
        assert_eq!(Query::read(&plain[..11]).expect_err("too short"), NoQuery::Drop);
    }

    #[test]
    fn replies_are_well_formed() {
        let octets = packet(|message| message.edns = Some(Edns::new()));
        let query = Query::read(&octets).expect("a query");
        let reply = Message::from_vec(&query.reply(Rcode::ServFail)).expect("a reply");
        assert_eq!((reply.metadata.id, reply.metadata.response_code), (0x1234, ResponseCode::ServFail));
        assert!(reply.edns.is_some() && reply.queries.len() == 1 && reply.metadata.recursion_available);
        let truncated = Message::from_vec(&query.ask_over_tcp()).expect("a reply");
        assert!(truncated.metadata.truncation);
        let plain = packet(|_| ());
        let reply = Query::read(&plain).expect("a query").reply(Rcode::Refused);
        assert!(Message::from_vec(&reply).expect("a reply").edns.is_none());
    }

    #[test]
    fn only_the_reply_to_the_question_is_passed_on() {
        let octets = packet(|_| ());
        let query = Query::read(&octets).expect("a query");
        let sent = query.with_id(7);
        let answer = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut reply = sent.clone();
            reply[2] |= 0x80;
            change(&mut reply);
            query.client_reply(7, reply)
        };
        let good = answer(&|_| ()).expect("the reply");
        assert_eq!(good[..2], [0x12, 0x34], "the client's id");
        assert!(answer(&|reply| reply[14] = b'x').is_none(), "another question");
        assert!(answer(&|reply| reply[15] = b'e').is_some(), "another letter case");
        assert!(answer(&|reply| reply[1] = 8).is_none(), "another id");
        assert!(answer(&|reply| reply[2] &= 0x7f).is_none(), "a query");
        assert!(answer(&|reply| reply[5] = 0).is_none(), "no question");
        assert!(answer(&|reply| (reply[3], reply[5]) = (1, 0)).is_some(), "an error without the question");
        assert!(answer(&|reply| reply.truncate(20)).is_none(), "cut short");
    }
}
