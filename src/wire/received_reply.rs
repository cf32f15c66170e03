//! Reading the reply of an upstream: header, question, owner names, types and TTLs. Data of records are not judged: a
//! reply that a client may understand is passed on, whether we understand it or not.

use super::forwarded::{ReceivedOpt, RecordsBuilder, Section};
use super::message_reader::{MessageReader, ReadError};
use super::{HEADER, Reply};
use crate::answer::Ede;
use hickory_proto::op::ResponseCode;

/// Option code of an extended DNS error (RFC 8914 §2).
const EDE_OPTION: u16 = 15;

/// The reply of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedReply {
    /// What it says. Its records are in [`Reply::forwarded`].
    pub reply: Reply,
    /// Whether it has an OPT record.
    pub has_edns: bool,
    /// Whether it has a question section. Some servers leave it out of errors.
    pub has_question: bool,
}

impl ReceivedReply {
    /// Reads a message that is known to be a reply to a question of ours. Octets behind the message are ignored.
    ///
    /// A reply with TC is read as far as its header, if the rest is cut or cannot be read.
    ///
    /// # Errors
    /// The message is cut, or cannot be read.
    pub fn read(message: &[u8]) -> Result<Self, ReadError> {
        let header = message.first_chunk::<HEADER>().ok_or(ReadError::Cut)?;
        let [.., flags_high, flags_low] = *header.first_chunk::<4>().ok_or(ReadError::Cut)?;
        let mut read = Self {
            reply: Reply {
                authoritative: flags_high & 0x04 != 0,
                truncated: flags_high & 0x02 != 0,
                recursion_available: flags_low & 0x80 != 0,
                authentic_data: flags_low & 0x20 != 0,
                ..Reply::empty(ResponseCode::from(0, flags_low & 0x0f))
            },
            has_edns: false,
            has_question: header[4..6] != [0, 0],
        };
        match read.read_sections(header, MessageReader::new(message)) {
            Err(_) if read.reply.truncated => {}
            result => result?,
        }
        Ok(read)
    }

    fn read_sections(
        &mut self,
        header: &[u8; HEADER],
        mut message: MessageReader<'_>,
    ) -> Result<(), ReadError> {
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let mut question = Vec::new();
        for _ in 0..count(4) {
            question.clear();
            message.name(&mut question)?;
            message.take(4)?;
        }
        let mut records = RecordsBuilder::default();
        let sections = [(Section::Answer, 6), (Section::Authority, 8), (Section::Additional, 10)];
        for (section, at) in sections {
            for _ in 0..count(at) {
                if let Some(opt) = records.read(section, &mut message)? {
                    self.note_opt(opt);
                }
            }
        }
        self.reply.forwarded = Some(records.finish());
        Ok(())
    }

    /// Takes the rcode and the extended errors of an OPT record; only the first one counts.
    fn note_opt(&mut self, opt: ReceivedOpt<'_>) {
        if !std::mem::replace(&mut self.has_edns, true) {
            self.reply.rcode = ResponseCode::from(opt.rcode_high, self.reply.rcode.low());
            self.reply.errors =
                options(opt.options).filter(|(code, _)| *code == EDE_OPTION).filter_map(error).collect();
        }
    }
}

/// The options of an OPT record, as code and data; ends where they cannot be read.
fn options(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let ([code_high, code_low, len_high, len_low], rest) = octets.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([*len_high, *len_low]));
        let (data, rest) = rest.split_at_checked(len)?;
        octets = rest;
        Some((u16::from_be_bytes([*code_high, *code_low]), data))
    })
}

/// An extended error as it is in its option: two octets of code, then text (RFC 8914 §2).
fn error((_, data): (u16, &[u8])) -> Option<Ede> {
    let (code, text) = data.split_first_chunk::<2>()?;
    let text = String::from_utf8_lossy(text).trim_end_matches('\0').to_owned();
    Some(Ede::new(u16::from_be_bytes(*code), text))
}

#[cfg(test)]
impl Reply {
    /// The same reply as if an upstream had given it.
    pub(crate) fn forwarded(mut self) -> Self {
        use hickory_proto::op::{Message, MessageType, OpCode};
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.answers = std::mem::take(&mut self.answers);
        message.authorities = std::mem::take(&mut self.authorities);
        message.additionals = std::mem::take(&mut self.additionals);
        let octets = message.to_vec().expect("a message");
        let read = ReceivedReply::read(&octets).expect("a message that can be read");
        Self { forwarded: read.reply.forwarded, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::{DNSClass, RecordType};

    /// `a.bc.` in wire format, which is the question of each message here, at offset 12.
    const NAME: &[u8] = b"\x01a\x02bc\0";

    /// A record at `a.bc.` with TTL 60.
    fn record(rtype: u16, data: &[u8]) -> Vec<u8> {
        let len = u16::try_from(data.len()).expect("a length");
        let fixed = [&[0xc0, 12][..], &rtype.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &len.to_be_bytes()];
        [&fixed.concat(), data].concat()
    }

    /// A reply to the question for `a.bc.` A, with records in three sections.
    fn message(flags: [u8; 2], sections: [&[Vec<u8>]; 3]) -> Vec<u8> {
        let counts = sections.map(|records| [0, u8::try_from(records.len()).expect("few")]);
        let question = [NAME, &[0, 1, 0, 1]].concat();
        [
            &[0, 7, flags[0], flags[1], 0, 1][..],
            &counts.concat(),
            &question,
            &sections.map(<[_]>::concat).concat(),
        ]
        .concat()
    }

    fn read(message: &[u8]) -> ReceivedReply {
        ReceivedReply::read(message).expect("a reply")
    }

    fn data(received: &ReceivedReply) -> Vec<(Section, u16, Vec<u8>)> {
        let records = received.reply.forwarded.as_ref().expect("records");
        records.iter().map(|record| (record.section, record.rtype.into(), record.data.to_vec())).collect()
    }

    #[test]
    fn header_and_opt_are_read() {
        let opt = [
            &[0, 0, 41, 4, 0xd0, 0x01, 0, 0x80, 0, 0, 17][..],
            &[0, 8, 0, 1, 9],
            &[0, 15, 0, 4, 0, 9, b'w', 0],
            &[0, 15, 0, 9],
        ]
        .concat();
        let received = read(&message([0x87, 0xa3], [&[], &[], std::slice::from_ref(&opt)]));
        let reply = &received.reply;
        assert!(received.has_edns && received.has_question && reply.authoritative && reply.truncated);
        assert!(reply.recursion_available && reply.authentic_data);
        assert_eq!(u16::from(reply.rcode), 0x13, "with the upper bits out of OPT");
        assert_eq!(reply.errors, [Ede::new(9, "w")], "options that cannot be read are none");
        assert_eq!(data(&received), []);
        let plain = read(&message([0x80, 0], [&[], &[], &[]]));
        assert!(!plain.has_edns && !plain.reply.truncated && !plain.reply.recursion_available);
        let two =
            read(&message([0x80, 0], [&[], &[], &[opt.clone(), vec![0, 0, 41, 4, 0xd0, 9, 0, 0, 0, 0, 0]]]));
        assert_eq!((u16::from(two.reply.rcode), two.reply.errors.len()), (0x10, 1), "the first one counts");
    }

    #[test]
    fn data_are_not_judged() {
        let odd: [(u16, &[u8]); 8] = [
            (16, b""),
            (257, b"\x80\0"),
            (65, b"\0\x01\0\0\x04\0\x01\xff\0\x01\0\0"),
            (62, b"\0\0\0\x01\0\xff\x00\0"),
            (1, b"\x0a"),
            (29, b"\xff"),
            (65_280, b"\xc0\xff"),
            (15, b""),
        ];
        let records: Vec<_> = odd.iter().map(|(rtype, data)| record(*rtype, data)).collect();
        let received = read(&message([0x80, 0], [&records[..4], &records[4..5], &records[5..]]));
        let sections =
            [[Section::Answer; 4].as_slice(), &[Section::Authority], &[Section::Additional; 3]].concat();
        let expected =
            sections.iter().zip(odd).map(|(section, (rtype, data))| (*section, rtype, data.to_vec()));
        assert_eq!(data(&received), expected.collect::<Vec<_>>());
        let records = received.reply.forwarded.expect("records");
        assert!(records.iter().all(|r| r.owner == NAME && r.class == DNSClass::IN && r.ttl == 60));
    }

    #[test]
    fn names_in_data_are_written_out_where_they_may_be_compressed() {
        let cname = record(5, b"\x01b\xc0\x0e");
        let received = read(&message([0x80, 0], [&[cname], &[record(2, b"\xc0\x0c")], &[]]));
        let (cname, ns) = (b"\x01b\x02bc\0".to_vec(), NAME.to_vec());
        assert_eq!(data(&received), [(Section::Answer, 5, cname), (Section::Authority, 2, ns)]);
        assert!(ReceivedReply::read(&message([0x80, 0], [&[record(5, b"\xc0\x80")], &[], &[]])).is_err());
    }

    #[test]
    fn what_is_about_one_message_between_two_hosts_is_left_out() {
        let tsig = record(250, b"\xc0\x0c and a signature");
        let received = read(&message([0x80, 0], [&[], &[], &[record(1, &[192, 0, 2, 1]), tsig]]));
        assert_eq!(data(&received), [(Section::Additional, 1, vec![192, 0, 2, 1])]);
    }

    #[test]
    fn a_message_that_is_cut_anywhere_says_so_and_one_with_tc_is_truncated() {
        let records = [record(1, &[192, 0, 2, 1]), record(5, b"\x01b\xc0\x0e")];
        let whole = message([0x80, 0], [&records, &[], &[]]);
        for len in 0..whole.len() {
            assert_eq!(ReceivedReply::read(&whole[..len]), Err(ReadError::Cut), "{len} octets");
        }
        assert_eq!(data(&read(&[&whole[..], b"behind"].concat())), data(&read(&whole)));
        let truncated = message([0x82, 0], [&records, &[], &[]]);
        for len in HEADER..truncated.len() {
            let reply = read(&truncated[..len]).reply;
            assert!(reply.truncated && reply.forwarded.is_none(), "{len} octets");
        }
        assert!(read(&truncated).reply.forwarded.is_some());
    }

    #[test]
    fn ttls_are_at_most_seven_days_and_one_for_each_rrset() {
        let with_ttl = |ttl: u32, data: u8| {
            let mut record = record(1, &[192, 0, 2, data]);
            record[6..10].copy_from_slice(&ttl.to_be_bytes());
            record
        };
        let ttls = |records: &[Vec<u8>]| {
            let received = read(&message([0x80, 0], [records, &[], &[]]));
            let records = received.reply.forwarded.expect("records");
            records.iter().map(|record| record.ttl).collect::<Vec<_>>()
        };
        for ttl in [604_801, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
            assert_eq!(ttls(&[with_ttl(ttl, 1)]), [604_800], "{ttl}");
        }
        assert_eq!(ttls(&[with_ttl(60, 1), with_ttl(30, 2), with_ttl(90, 3)]), [30; 3]);
    }

    #[test]
    fn names_that_take_too_much_memory_are_refused() {
        // Long names in data, 127 times as long written out as compressed.
        let label = [&[63][..], &[b'x'; 63]].concat();
        let long = record(65_280, &[label.repeat(3), vec![0]].concat());
        let name = HEADER + NAME.len() + 4 + 12;
        let pointer = u16::try_from(0xc000 | name).expect("a pointer").to_be_bytes();
        let many = |count: usize| {
            let mut octets = message([0x80, 0], [std::slice::from_ref(&long), &[], &[]]);
            let count = u16::try_from(count + 1).expect("a count");
            octets[6..8].copy_from_slice(&count.to_be_bytes());
            octets.extend(record(12, &pointer).repeat(usize::from(count) - 1));
            octets
        };
        assert!(ReceivedReply::read(&many(1_000)).is_ok());
        assert_eq!(ReceivedReply::read(&many(2_000)), Err(ReadError::Malformed("the records are too large")));
    }

    #[test]
    fn a_record_as_a_value_is_what_it_was() {
        let records = [
            record(1, &[192, 0, 2, 1]),
            record(28, &[1; 16]),
            record(5, b"\x01b\xc0\x0e"),
            record(16, b"\x01x"),
            record(6, &[&b"\xc0\x0c\x01b\xc0\x0c"[..], &[0, 0, 0, 9].repeat(5)].concat()),
            record(1, b"\x01"),
            record(5, b""),
        ];
        let received = read(&message([0x80, 0], [&records, &[], &[]]));
        let records = received.reply.forwarded.expect("records");
        let values: Vec<_> =
            records.iter().filter_map(|record| record.to_record()).map(|r| r.to_string()).collect();
        assert_eq!(
            values,
            [
                "a.bc. 60 IN A 192.0.2.1",
                "a.bc. 60 IN AAAA 101:101:101:101:101:101:101:101",
                "a.bc. 60 IN CNAME b.bc.",
                "a.bc. 60 IN TXT AXg=",
                "a.bc. 60 IN SOA a.bc. b.a.bc. 9 9 9 9 9",
            ]
        );
        assert_eq!(
            records.iter().filter_map(|record| record.target()).collect::<Vec<_>>(),
            [b"\x01b\x02bc\0"],
            "but none of a CNAME that has none"
        );
        let soa = [&b"\xc0\x0c\xc0\x0c"[..], &[0; 16], &[0, 0, 1, 2]].concat();
        for (data, minimum) in
            [(soa.clone(), Some(258)), (soa[..23].to_vec(), None), ([soa, vec![0]].concat(), None)]
        {
            let received = read(&message([0x80, 0], [&[], &[record(6, &data)], &[]]));
            let records = received.reply.forwarded.expect("records");
            assert_eq!(records.iter().next().and_then(|soa| soa.soa_minimum()), minimum);
        }
        let signature = read(&message([0x80, 0], [&[record(46, &[0, 28, 9])], &[], &[]]))
            .reply
            .forwarded
            .expect("records");
        assert_eq!(signature.iter().next().and_then(|rrsig| rrsig.type_covered()), Some(RecordType::AAAA));
    }
}
