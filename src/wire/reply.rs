//! Replies: sections, OPT and truncation.

use super::shared_authority::{self, EncodedAuthority};
use super::writer::Writer;
use super::{HEADER, OWN_UDP_SIZE, Request};
use crate::answer::{Answer, Ede, SharedAuthority, same_name};
use hickory_proto::ProtoError;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Record, RecordType};
use std::sync::Arc;

/// Option code of an extended DNS error (RFC 8914 §2).
const EDE_OPTION: u16 = 15;

/// Longest EXTRA-TEXT, in octets: a sentence for a person, and no amplifier.
const LONGEST_TEXT: usize = 200;

/// Most extended errors of a reply; an upstream may send any number.
const MOST_ERRORS: usize = 3;

/// How a reply travels, and what fits there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram of at most so many octets.
    Udp {
        /// The greatest size the client takes.
        limit: usize,
    },
    /// A stream: 65,535 octets, and no second way if that is too little.
    Tcp,
}

impl Transport {
    /// The most octets of a message.
    pub fn limit(self) -> usize {
        match self {
            Self::Udp { limit } => limit.min(usize::from(u16::MAX)),
            Self::Tcp => usize::from(u16::MAX),
        }
    }
}

/// What a reply says, whoever it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The response code, extended ones included.
    pub rcode: ResponseCode,
    /// AA.
    pub authoritative: bool,
    /// RA.
    pub recursion_available: bool,
    /// AD.
    pub authentic_data: bool,
    /// TC, where the reply came truncated.
    pub truncated: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// What the authority section begins with, if that is common to many replies.
    pub shared_authority: Option<Arc<SharedAuthority>>,
    /// The authority section, or its rest.
    pub authorities: Vec<Record>,
    /// The additional section, without OPT.
    pub additionals: Vec<Record>,
    /// Extended errors: INFO-CODE and EXTRA-TEXT.
    pub errors: Vec<Ede>,
    /// More than any message holds.
    pub too_large: bool,
    /// Absence is denied compactly, with NXDOMAIN because the client understands (RFC 9824 §5.1).
    pub compact: bool,
}

impl Reply {
    /// A reply without records.
    pub fn empty(rcode: ResponseCode) -> Self {
        Self {
            rcode,
            authoritative: false,
            recursion_available: true,
            authentic_data: false,
            truncated: false,
            answers: Vec::new(),
            shared_authority: None,
            authorities: Vec::new(),
            additionals: Vec::new(),
            errors: Vec::new(),
            too_large: false,
            compact: false,
        }
    }

    /// Whether it is given beyond its time (RFC 8767).
    pub fn is_stale(&self) -> bool {
        self.errors.first().is_some_and(|error| error.code == Ede::STALE)
    }

    /// A reply without records that says why.
    pub fn failure(rcode: ResponseCode, error: Ede) -> Self {
        Self { errors: vec![error], ..Self::empty(rcode) }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self {
            authoritative: answer.authoritative,
            answers: answer.answers,
            shared_authority: answer.shared_authority,
            authorities: answer.authorities,
            additionals: answer.additionals,
            errors: answer.ede.into_iter().collect(),
            too_large: answer.too_large,
            ..Self::empty(answer.rcode)
        }
    }
}

/// A reply of a header alone, to a packet whose question cannot be used.
pub fn header_only(header: &[u8; HEADER], rcode: ResponseCode) -> Vec<u8> {
    let mut reply = vec![0; HEADER];
    reply[..2].copy_from_slice(&header[..2]);
    // QR, with the opcode and RD of the query.
    reply[2] = 0x80 | (header[2] & 0x79);
    reply[3] = rcode.low();
    reply
}

/// Writes a reply to a request.
///
/// What does not fit is left out in whole RRsets: those of ADDITIONAL silently, any other with TC set
/// (RFC 2181 §9). A stream has no second way, so what does not fit there becomes SERVFAIL.
pub fn encode(request: &Request, reply: &Reply, transport: Transport) -> Vec<u8> {
    let limit = transport.limit();
    let mut written = write(request, reply, limit, LONGEST_TEXT);
    if written.cut && !reply.errors.is_empty() {
        // Texts of errors give way first (RFC 8914 §3).
        written = write(request, reply, limit, 0);
    }
    if transport == Transport::Tcp && (written.cut || reply.too_large) {
        let error = Ede::new(Ede::OTHER, "the answer exceeds 65535 octets");
        let failure = Reply::failure(ResponseCode::ServFail, error);
        return write(request, &failure, limit, LONGEST_TEXT).octets;
    }
    written.octets
}

struct Written {
    octets: Vec<u8>,
    /// Whether answers or authorities were left out.
    cut: bool,
}

fn write(request: &Request, reply: &Reply, limit: usize, longest_text: usize) -> Written {
    let opt = request.edns.map(|edns| opt(reply, edns.dnssec_ok, longest_text));
    let room = limit.saturating_sub(opt.as_ref().map_or(0, Vec::len));
    let mut writer = Writer::new();
    let mut counts = [1u16, 0, 0, 0];
    write_question(&mut writer, request);
    let question_end = writer.octets.len();
    let mut cut = reply.too_large;
    if !cut {
        let (count, all) = write_section(&mut writer, request, &reply.answers, room, true);
        (counts[1], cut) = (count, !all);
    }
    if let Some(shared_authority) = reply.shared_authority.as_ref().filter(|_| !cut) {
        let behind_question = writer.octets.len() == question_end;
        let (count, all) =
            write_shared_authority(&mut writer, request, shared_authority, (room, behind_question));
        (counts[2], cut) = (count, !all);
    }
    if !cut {
        let (count, all) = write_section(&mut writer, request, &reply.authorities, room, true);
        (counts[2], cut) = (counts[2].saturating_add(count), !all);
    }
    if !cut {
        counts[3] = write_section(&mut writer, request, &reply.additionals, room, false).0;
    }
    let mut octets = writer.octets;
    if let Some(opt) = opt {
        octets.extend_from_slice(&opt);
        counts[3] += 1;
    }
    fill_head(&mut octets, request, reply, counts, cut);
    Written { octets, cut }
}

/// Leaves room for the header and writes the question in the client's letter case.
fn write_question(writer: &mut Writer, request: &Request) {
    writer.octets.extend_from_slice(&[0; HEADER]);
    writer.name(request.query.name());
    writer.u16(request.query.query_type().into());
    writer.u16(request.query.query_class().into());
}

/// Writes a section RRset by RRset; says how many records it wrote and whether that is all.
///
/// `in_order` stops at the first that does not fit, otherwise smaller ones behind it get a chance.
fn write_section(
    writer: &mut Writer,
    request: &Request,
    records: &[Record],
    room: usize,
    in_order: bool,
) -> (u16, bool) {
    let mut written = 0u16;
    let mut all = true;
    for rrset in records.chunk_by(belong_together) {
        let mark = writer.mark();
        let mut owner = Owner::of(request, &rrset[0]);
        let fits = rrset.iter().all(|record| {
            owner.write(writer, record);
            writer.rest(record).is_ok() && writer.octets.len() <= room
        });
        match u16::try_from(rrset.len()).ok().and_then(|len| written.checked_add(len)) {
            Some(total) if fits => written = total,
            _ => {
                writer.back_to(mark);
                all = false;
                if in_order {
                    break;
                }
            }
        }
    }
    (written, all)
}

/// Writes what an authority section begins with, from its octets if they fit into the room and stand behind the question.
fn write_shared_authority(
    writer: &mut Writer,
    request: &Request,
    shared_authority: &SharedAuthority,
    (room, behind_question): (usize, bool),
) -> (u16, bool) {
    let at = writer.octets.len();
    if behind_question && shared_authority::serves(shared_authority, request.query.name()) {
        let written =
            EncodedAuthority::of(shared_authority).filter(|written| at + written.octets.len() <= room);
        if let Some(written) = written {
            writer.octets.resize(at + written.octets.len(), 0);
            if written.copy_into(&mut writer.octets, at).is_some() {
                return (u16::try_from(shared_authority.records().len()).unwrap_or(0), true);
            }
            writer.octets.truncate(at);
        }
    }
    write_section(writer, request, shared_authority.records(), room, true)
}

/// Writes records whose names nobody asked for.
pub(super) fn write_records(writer: &mut Writer, records: &[Record]) -> Result<(), ProtoError> {
    for rrset in records.chunk_by(belong_together) {
        let mut owner = Owner::Nowhere;
        for record in rrset {
            owner.write(writer, record);
            writer.rest(record)?;
        }
    }
    Ok(())
}

/// Whether two records that follow each other are of one RRset, or signatures behind the RRset that they are for
/// (RFC 4035 §3.1.1): one is of no use without the other.
fn belong_together(a: &Record, b: &Record) -> bool {
    (a.record_type() == b.record_type() || b.record_type() == RecordType::RRSIG)
        && same_name(&a.name, &b.name)
}

/// Where the owner name of an RRset stands in the message already: names are looked for among the first ones only, so the
/// name asked for and the name of the record before are pointed at here.
enum Owner {
    At(u16),
    Nowhere,
}

impl Owner {
    fn of(request: &Request, record: &Record) -> Self {
        let asked = request.query.name();
        // The root is shorter than a pointer.
        let pointer =
            Writer::pointer_to(HEADER).filter(|_| same_name(&record.name, asked) && !asked.is_root());
        pointer.map_or(Self::Nowhere, Self::At)
    }

    fn write(&mut self, writer: &mut Writer, record: &Record) {
        match self {
            Self::At(pointer) => writer.pointer(*pointer),
            Self::Nowhere => {
                let start = writer.octets.len();
                writer.name(&record.name);
                if let Some(pointer) = Writer::pointer_to(start).filter(|_| !record.name.is_root()) {
                    *self = Self::At(pointer);
                }
            }
        }
    }
}

fn fill_head(octets: &mut Vec<u8>, request: &Request, reply: &Reply, counts: [u16; 4], cut: bool) {
    octets.resize(octets.len().max(HEADER), 0);
    octets[..2].copy_from_slice(&request.id.to_be_bytes());
    octets[2] = 0x80
        | bit(reply.authoritative, 0x04)
        | bit(cut || reply.truncated, 0x02)
        | bit(request.recursion_desired, 0x01);
    octets[3] = bit(reply.recursion_available, 0x80)
        | bit(reply.authentic_data, 0x20)
        | bit(request.checking_disabled, 0x10)
        | reply.rcode.low();
    for (at, count) in counts.iter().enumerate() {
        octets[4 + 2 * at..6 + 2 * at].copy_from_slice(&count.to_be_bytes());
    }
}

fn bit(set: bool, mask: u8) -> u8 {
    if set { mask } else { 0 }
}

/// The OPT record of a reply (RFC 6891 §6.1.2).
fn opt(reply: &Reply, dnssec_ok: bool, longest_text: usize) -> Vec<u8> {
    let mut options = Vec::new();
    for error in reply.errors.iter().take(MOST_ERRORS) {
        let text = shorten(&error.text, longest_text);
        let len = u16::try_from(2 + text.len()).unwrap_or(2);
        options.extend_from_slice(&EDE_OPTION.to_be_bytes());
        options.extend_from_slice(&len.to_be_bytes());
        options.extend_from_slice(&error.code.to_be_bytes());
        options.extend_from_slice(text.as_bytes());
    }
    let mut opt = vec![0, 0, 41];
    opt.extend_from_slice(&OWN_UDP_SIZE.to_be_bytes());
    opt.extend_from_slice(&[reply.rcode.high(), 0, bit(dnssec_ok, 0x80) | bit(reply.compact, 0x40), 0]);
    opt.extend_from_slice(&u16::try_from(options.len()).unwrap_or(0).to_be_bytes());
    opt.extend_from_slice(&options);
    opt
}

fn shorten(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ClientEdns;
    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn request(edns: Option<u16>) -> Request {
        Request {
            id: 7,
            recursion_desired: true,
            checking_disabled: false,
            authentic_data: false,
            query: Query::query(name("Many.Example.org."), RecordType::A),
            edns: edns.map(|udp_size| ClientEdns {
                udp_size,
                dnssec_ok: false,
                compact_ok: false,
                stub_marker: false,
            }),
        }
    }

    fn addresses(owner: &str, count: u8) -> impl Iterator<Item = Record> {
        let owner = name(owner);
        (0..count).map(move |n| Record::from_rdata(owner.clone(), 60, RData::A(A([10, 0, 0, n].into()))))
    }

    fn sent(request: &Request, reply: &Reply, transport: Transport) -> (usize, Message) {
        let octets = encode(request, reply, transport);
        (octets.len(), Message::from_vec(&octets).expect("a reply"))
    }

    #[test]
    fn a_reply_of_exactly_the_limit_is_whole() {
        let mut reply = Reply::empty(ResponseCode::NoError);
        reply.answers.extend(addresses("Many.Example.org.", 60));
        let (full, _) = sent(&request(Some(4096)), &reply, Transport::Udp { limit: 4096 });
        for (limit, whole) in [(full, true), (full - 1, false)] {
            let (len, message) = sent(&request(Some(4096)), &reply, Transport::Udp { limit });
            assert!(len <= limit);
            assert_eq!(message.metadata.truncation, !whole);
            assert_eq!(message.answers.len(), if whole { 60 } else { 0 });
            assert!(message.edns.is_some(), "OPT stays");
        }
    }

    #[test]
    fn additional_goes_first_and_without_tc() {
        let mut reply = Reply::empty(ResponseCode::NoError);
        reply.answers.extend(addresses("Many.Example.org.", 20));
        reply.additionals.extend(addresses("big.Example.org.", 30).chain(addresses("small.Example.org.", 1)));
        let (len, message) = sent(&request(None), &reply, Transport::Udp { limit: 512 });
        assert!(len <= 512);
        assert!(!message.metadata.truncation);
        assert_eq!((message.answers.len(), message.additionals.len()), (20, 1));
        assert!(message.edns.is_none(), "no OPT in, no OPT out");
    }

    #[test]
    fn a_stream_that_cannot_hold_the_answer_fails_with_a_reason() {
        let mut reply = Reply::empty(ResponseCode::NoError);
        for block in 0..20 {
            reply.answers.extend(addresses(&format!("n{block}.Example.org."), 255));
        }
        let (_, message) = sent(&request(Some(512)), &reply, Transport::Tcp);
        assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
        assert!(message.answers.is_empty() && !message.metadata.truncation);
        assert!(message.edns.is_some_and(|edns| !edns.options().as_ref().is_empty()));
        let (_, message) = sent(&request(Some(512)), &reply, Transport::Udp { limit: 512 });
        assert!(message.metadata.truncation);
    }

    #[test]
    fn owner_names_are_pointers_however_many_there_are() {
        let mut reply = Reply::empty(ResponseCode::NoError);
        for block in 0..16 {
            let owner = name("Many.Example.org.");
            let block = (0..=255).map(|n| RData::A(A([10, 1, block, n].into())));
            reply.answers.extend(block.take(250).map(|data| Record::from_rdata(owner.clone(), 60, data)));
        }
        let (len, message) = sent(&request(None), &reply, Transport::Tcp);
        assert_eq!((len, message.answers.len()), (HEADER + 18 + 4 + 4_000 * 16, 4_000));
        reply.answers.iter_mut().for_each(|record| record.name = name("alias.Example.org."));
        let (len, _) = sent(&request(None), &reply, Transport::Tcp);
        // The first owner name in full: its label and a pointer to the rest.
        assert_eq!(len, HEADER + 18 + 4 + 4_000 * 16 + 6);
    }

    #[test]
    fn an_answer_that_is_too_large_still_has_its_question() {
        let reply = Reply { too_large: true, ..Reply::empty(ResponseCode::NoError) };
        let (_, message) = sent(&request(Some(1232)), &reply, Transport::Udp { limit: 1232 });
        assert!(message.metadata.truncation && message.edns.is_some());
        assert_eq!(message.queries.len(), 1);
        let (_, message) = sent(&request(Some(1232)), &reply, Transport::Tcp);
        assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    }

    #[test]
    fn texts_of_errors_give_way_to_answers() {
        let mut reply = Reply::failure(ResponseCode::NoError, Ede::new(3, "x".repeat(500)));
        reply.errors.extend((0..9).map(|_| Ede::new(3, "y".repeat(500))));
        reply.answers.extend(addresses("Many.Example.org.", 25));
        let (len, message) = sent(&request(Some(512)), &reply, Transport::Udp { limit: 512 });
        assert!(len <= 512 && !message.metadata.truncation);
        assert_eq!(message.answers.len(), 25);
        let codes = message.edns.expect("OPT").options().as_ref().len();
        assert_eq!(codes, MOST_ERRORS);
    }

    #[test]
    fn the_question_is_echoed_and_flags_are_ours() {
        let (_, message) = sent(&request(None), &Reply::empty(ResponseCode::Refused), Transport::Tcp);
        assert_eq!(message.queries[0].name().to_ascii(), "Many.Example.org.");
        assert_eq!(message.metadata.response_code, ResponseCode::Refused);
        assert!(message.metadata.recursion_desired && message.metadata.recursion_available);
        assert!(!message.metadata.authoritative && !message.metadata.authentic_data);
    }
}
