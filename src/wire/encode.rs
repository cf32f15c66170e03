//! Writing replies: header, sections, OPT and truncation (RFC 1035 §4, RFC 6891 §6, RFC 2181 §9).

use super::forwarded::{ForwardedRecords, Section};
use super::record::{WireRecord, belong_together};
use super::shared_authority::{self, EncodedAuthority};
use super::writer::Writer;
use super::{ClientEdns, HEADER, OWN_UDP_SIZE, Reply, Request, Transport};
use crate::answer::{Ede, SharedAuthority, has_free_order};
use hickory_proto::op::ResponseCode;

/// Octets of an OPT record without options (RFC 6891 §6.1.2).
pub(super) const OPT_OCTETS: usize = 11;

/// Option code of an extended DNS error (RFC 8914 §2).
const EDE_OPTION: u16 = 15;

/// Maximum length of an EXTRA-TEXT, in octets: a sentence for a person, and no amplifier.
const MAX_EXTRA_TEXT: usize = 200;

/// Maximum number of extended errors in a reply; an upstream may send any number.
const MAX_EXTENDED_ERRORS: usize = 3;

/// A reply without the question, to a packet whose question cannot be used: a header, and an OPT record if the packet had
/// one.
pub fn without_question(header: &[u8; HEADER], rcode: ResponseCode, edns: Option<ClientEdns>) -> Vec<u8> {
    let mut reply = vec![0; HEADER];
    reply[..2].copy_from_slice(&header[..2]);
    // QR, with the opcode and RD of the query.
    reply[2] = 0x80 | (header[2] & 0x79);
    reply[3] = rcode.low();
    if let Some(edns) = edns {
        reply[HEADER - 1] = 1;
        reply.extend(opt(&Reply::empty(rcode), edns.dnssec_ok, 0));
    }
    reply
}

/// Writes a reply to a request.
///
/// What does not fit is left out in whole RRsets: those of ADDITIONAL silently, any other with TC set (RFC 2181 §9). Over
/// TCP the client has no other transport to try, so an answer that does not fit becomes SERVFAIL.
pub fn encode(request: &Request, reply: &Reply, transport: Transport) -> Vec<u8> {
    let limit = transport.limit();
    let mut encoded = Encoder::new(request, limit).write(reply, MAX_EXTRA_TEXT);
    let records_move = !(encoded.is_short && encoded.is_larger);
    if !records_move {
        // That records can change places in a cached reply gives way first.
        encoded = Encoder { records_move, ..Encoder::new(request, limit) }.write(reply, MAX_EXTRA_TEXT);
    }
    if encoded.is_cut && !reply.errors.is_empty() {
        // Then texts of errors do (RFC 8914 §3).
        encoded = Encoder { records_move, ..Encoder::new(request, limit) }.write(reply, 0);
    }
    if transport == Transport::Tcp && (encoded.is_cut || reply.too_large) {
        let why = if reply.too_costly {
            "the answer takes more work than is allowed for one"
        } else {
            "the answer exceeds 65535 octets"
        };
        let error = Ede::new(Ede::OTHER, why);
        let failure = Reply::failure(ResponseCode::ServFail, error);
        return Encoder::new(request, limit).write(&failure, MAX_EXTRA_TEXT).octets;
    }
    encoded.octets
}

/// A reply as octets.
struct Encoded {
    octets: Vec<u8>,
    /// Whether answers or authorities were left out.
    is_cut: bool,
    /// Whether any records were left out.
    is_short: bool,
    /// Whether it might have been smaller if its records could not change places.
    is_larger: bool,
}

/// A reply that is being written.
struct Encoder<'a> {
    request: &'a Request,
    writer: Writer,
    /// Octets that header, question and sections may take; less than the limit by what OPT takes.
    max_octets: usize,
    /// Records in each section, the question first.
    counts: [u16; 4],
    /// Whether the data of the records of an answer's RRset are written so that they can change places.
    records_move: bool,
    is_cut: bool,
    is_short: bool,
}

/// The sections behind the question, as indices of the counts in the header.
const ANSWER: usize = 1;
const AUTHORITY: usize = 2;
const ADDITIONAL: usize = 3;

impl<'a> Encoder<'a> {
    fn new(request: &'a Request, limit: usize) -> Self {
        let (writer, counts) = (Writer::new(), [1, 0, 0, 0]);
        Self {
            request,
            writer,
            max_octets: limit,
            counts,
            records_move: true,
            is_cut: false,
            is_short: false,
        }
    }

    fn write(mut self, reply: &Reply, max_text: usize) -> Encoded {
        let opt = self.request.edns.map(|edns| opt(reply, edns.dnssec_ok, max_text));
        self.max_octets = self.max_octets.saturating_sub(opt.as_ref().map_or(0, Vec::len));
        self.question();
        self.is_cut = reply.too_large;
        self.section(ANSWER, &reply.answers);
        if let Some(shared) = &reply.shared_authority {
            self.shared_authority(shared);
        }
        self.section(AUTHORITY, &reply.authorities);
        self.section(ADDITIONAL, &reply.additionals);
        if let Some(forwarded) = &reply.forwarded {
            self.forwarded(forwarded);
        }
        if let Some(opt) = opt {
            self.writer.octets.extend_from_slice(&opt);
            self.counts[ADDITIONAL] += 1;
        }
        self.header(reply);
        Encoded {
            is_cut: self.is_cut,
            is_short: self.is_cut || self.is_short,
            is_larger: self.writer.is_larger,
            octets: self.writer.octets,
        }
    }

    /// Writes the records of an upstream.
    fn forwarded(&mut self, forwarded: &ForwardedRecords) {
        let sections =
            [(Section::Answer, ANSWER), (Section::Authority, AUTHORITY), (Section::Additional, ADDITIONAL)];
        for (section, number) in sections {
            let records: Vec<_> = forwarded.section(section).collect();
            self.section(number, &records);
        }
    }

    /// Leaves room for the header and writes the question in the client's letter case.
    fn question(&mut self) {
        let query = &self.request.query;
        self.writer.octets.extend_from_slice(&[0; HEADER]);
        self.writer.name(query.name().iter());
        self.writer.u16(query.query_type().into());
        self.writer.u16(query.query_class().into());
    }

    /// Writes a section RRset by RRset, unless a section before it was cut.
    ///
    /// Answer and authority section are cut at the first RRset that does not fit; of the additional section, smaller RRsets
    /// behind it still get a chance, and nothing is cut.
    fn section<R: WireRecord>(&mut self, section: usize, records: &[R]) {
        if self.is_cut {
            return;
        }
        for rrset in records.chunk_by(belong_together) {
            let count = u16::try_from(rrset.len()).ok().and_then(|len| self.counts[section].checked_add(len));
            let moves = self.records_move && section == ANSWER && is_shuffled(rrset);
            match count {
                Some(count)
                    if self.writer.rrset(rrset, self.request.query.name(), self.max_octets, moves) =>
                {
                    self.counts[section] = count;
                }
                _ if section == ADDITIONAL => self.is_short = true,
                _ => {
                    self.is_cut = true;
                    return;
                }
            }
        }
    }

    /// Writes the shared beginning of the authority section: a copy of its octets, if there are no answers and they fit.
    fn shared_authority(&mut self, shared: &SharedAuthority) {
        if self.is_cut {
            return;
        }
        let at = self.writer.octets.len();
        if self.counts[ANSWER] == 0
            && shared_authority::serves(shared, self.request.query.name())
            && let Some(encoded) = EncodedAuthority::of(shared)
            && at + encoded.octets.len() <= self.max_octets
            && let Ok(count) = u16::try_from(shared.records().len())
        {
            self.writer.octets.resize(at + encoded.octets.len(), 0);
            if encoded.copy_into(&mut self.writer.octets, at).is_some() {
                self.counts[AUTHORITY] = count;
                return;
            }
            self.writer.octets.truncate(at);
        }
        self.section(AUTHORITY, shared.records());
    }

    fn header(&mut self, reply: &Reply) {
        let (request, octets) = (self.request, &mut self.writer.octets);
        octets[..2].copy_from_slice(&request.id.to_be_bytes());
        octets[2] = 0x80
            | bit(reply.authoritative, 0x04)
            | bit(self.is_cut || reply.truncated, 0x02)
            | bit(request.recursion_desired, 0x01);
        octets[3] = bit(reply.recursion_available, 0x80)
            | bit(reply.authentic_data, 0x20)
            | bit(request.checking_disabled, 0x10)
            | reply.rcode.low();
        for (at, count) in self.counts.iter().enumerate() {
            octets[4 + 2 * at..6 + 2 * at].copy_from_slice(&count.to_be_bytes());
        }
    }
}

/// Whether the records of an RRset may be shuffled each time that a cached reply is sent.
fn is_shuffled<R: WireRecord>(rrset: &[R]) -> bool {
    matches!(rrset, [first, second, ..] if first.rtype() == second.rtype() && has_free_order(first.rtype()))
}

fn bit(set: bool, mask: u8) -> u8 {
    if set { mask } else { 0 }
}

/// The OPT record of a reply (RFC 6891 §6.1.2).
fn opt(reply: &Reply, dnssec_ok: bool, max_text: usize) -> Vec<u8> {
    let mut options = Vec::new();
    for error in reply.errors.iter().take(MAX_EXTENDED_ERRORS) {
        let text = shorten(&error.text, max_text);
        // INFO-CODE, and a text of at most MAX_EXTRA_TEXT octets.
        let len = u16::try_from(2 + text.len()).unwrap_or(u16::MAX);
        options.extend_from_slice(&EDE_OPTION.to_be_bytes());
        options.extend_from_slice(&len.to_be_bytes());
        options.extend_from_slice(&error.code.to_be_bytes());
        options.extend_from_slice(text.as_bytes());
    }
    let mut opt = opt_without_options(dnssec_ok).to_vec();
    opt[5] = reply.rcode.high();
    opt[7] |= bit(reply.compact, 0x40);
    opt[9..].copy_from_slice(&u16::try_from(options.len()).unwrap_or(u16::MAX).to_be_bytes());
    opt.extend_from_slice(&options);
    opt
}

/// The OPT record of a reply without options.
pub(super) fn opt_without_options(dnssec_ok: bool) -> [u8; OPT_OCTETS] {
    let [high, low] = OWN_UDP_SIZE.to_be_bytes();
    [0, 0, 41, high, low, 0, 0, bit(dnssec_ok, 0x80), 0, 0, 0]
}

/// The beginning of a text, whole characters of at most `max` octets.
fn shorten(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
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
    use hickory_proto::rr::{Name, RData, Record, RecordType};

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
        assert_eq!(codes, MAX_EXTENDED_ERRORS);
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
