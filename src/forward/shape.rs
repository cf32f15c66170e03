//! What of an upstream's reply is cached and passed on: the records that the question is about.

use super::message::UpstreamQuestion;
use crate::wire::{ReadError, ReceivedReply, Reply};
use crate::wire_name::push_label;
use hickory_proto::op::Query;
use hickory_proto::rr::{DNSClass, Name, RecordType};

/// Drops records of other classes, records of DNSSEC that were not asked for (RFC 4035 §3.2.1), and answers that are not in
/// the chain from the question's name; what is left of the answer stands in chain order.
pub(super) fn shape(question: &UpstreamQuestion, reply: &mut Reply) {
    let Some(records) = &mut reply.forwarded else { return };
    let (rtype, class) = (question.query.query_type(), question.query.query_class());
    let is_dnssec = |rtype| matches!(rtype, RecordType::RRSIG | RecordType::NSEC | RecordType::NSEC3);
    records.retain(|record| {
        (record.class == class || class == DNSClass::ANY)
            && (question.dnssec_ok
                || !is_dnssec(record.rtype)
                || matches!(rtype, RecordType::ANY)
                || record.rtype == rtype)
    });
    records.follow_chain(&name_octets(question.query.name()), rtype);
}

/// A name in wire format.
pub(super) fn name_octets(name: &Name) -> Vec<u8> {
    let mut octets = Vec::with_capacity(name.len() + 1);
    name.iter().for_each(|label| push_label(&mut octets, label));
    octets.push(0);
    octets
}

/// The reply in a message of an upstream, as the client gets it; for the fuzzer alone.
///
/// # Errors
/// The message cannot be read.
pub fn read_reply(query: &Query, dnssec_ok: bool, message: &[u8]) -> Result<Reply, ReadError> {
    let ReceivedReply { mut reply, .. } = ReceivedReply::read(message)?;
    let own = UpstreamQuestion::own(query.name().clone(), query.query_type());
    shape(&UpstreamQuestion { query: query.clone(), dnssec_ok, ..own }, &mut reply);
    Ok(reply)
}
