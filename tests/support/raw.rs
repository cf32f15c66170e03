//! Messages octet by octet: what the library would not write, and cannot read.

use hickory_proto::op::{Edns, Message};
use hickory_proto::rr::RecordType;
use skydns::wire::{ReceivedReply, Section};

/// A compression pointer to the name of the question.
pub const QNAME: [u8; 2] = [0xc0, 12];

/// A record with an owner name in wire format.
pub fn record(owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).expect("a length").to_be_bytes();
    [owner, &rtype.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &len, data].concat()
}

/// A name in wire format.
pub fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let mut octets = labels
        .flat_map(|label| [&[u8::try_from(label.len()).expect("a length")], label.as_bytes()].concat())
        .collect::<Vec<_>>();
    octets.push(0);
    octets
}

/// A reply to a question, with flags (QR is set in any case) and the records of three sections.
pub fn reply(query: &Message, flags: [u8; 2], sections: [&[Vec<u8>]; 3]) -> Vec<u8> {
    let mut question = query.clone();
    question.edns = None;
    let mut octets = question.to_vec().expect("a message");
    (octets[2], octets[3]) = (0x80 | flags[0], flags[1]);
    for (at, records) in sections.iter().enumerate() {
        let count = u16::try_from(records.len()).expect("a count").to_be_bytes();
        octets[6 + 2 * at..8 + 2 * at].copy_from_slice(&count);
    }
    [octets, sections.map(<[_]>::concat).concat()].concat()
}

/// A question, with DO set or without EDNS, as octets.
pub fn question(name: &str, rtype: u16, dnssec_ok: bool) -> Vec<u8> {
    let mut message = super::query(name, RecordType::from(rtype));
    if dnssec_ok {
        let mut edns = Edns::new();
        edns.set_dnssec_ok(true).set_max_payload(1_232);
        message.set_edns(edns);
    }
    message.to_vec().expect("a message")
}

/// A record of a reply: its section, type, TTL, and data without compressed names.
pub type RawRecord = (Section, u16, u32, Vec<u8>);

/// The records of a reply.
pub fn records(reply: &[u8]) -> Vec<RawRecord> {
    let read = ReceivedReply::read(reply).expect("a reply that can be read");
    let records = read.reply.forwarded.expect("records");
    records.iter().map(|r| (r.section, r.rtype.into(), r.ttl, r.data.to_vec())).collect()
}

/// The response code in the header.
pub fn rcode(reply: &[u8]) -> u8 {
    reply[3] & 0x0f
}
