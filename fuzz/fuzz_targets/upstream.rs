//! Messages of upstreams: whatever they hold, what goes on to the client can be read, fits, and says the same.
#![no_main]

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use libfuzzer_sys::fuzz_target;
use skydns::answer::Rng;
use skydns::forward::read_reply;
use skydns::wire::{
    CachedReply, ForwardedRecords, MAX_QUESTION_KEY, Reply, Request, Screened, Transport, Validity, encode,
    question_key, screen,
};

/// The records of a reply, in any order and letter case. TTLs are left out: those of records that come to stand together
/// when another one is dropped are lowered to the least of them.
fn sorted(records: &ForwardedRecords) -> Vec<(u16, u16, Vec<u8>, Vec<u8>)> {
    let record = |r: skydns::wire::ForwardedRecord<'_>| {
        (r.rtype.into(), r.class.into(), r.owner.to_ascii_lowercase(), r.data.to_ascii_lowercase())
    };
    let mut records: Vec<_> = records.iter().map(record).collect();
    records.sort();
    records
}

/// Reads a reply that was sent to a client, and compares it with the one that it was made of.
fn compare(query: &Query, octets: &[u8], reply: &Reply, transport: Transport) {
    assert!(octets.len() <= transport.limit());
    let read = read_reply(query, true, octets).expect("a reply that can be read");
    let is_cut = octets[2] & 2 != 0 || octets[3] & 15 != reply.rcode.low();
    if let (Some(was), Some(is), Transport::Tcp, false) = (&reply.forwarded, &read.forwarded, transport, is_cut) {
        let (was, is) = (sorted(was), sorted(is));
        assert!(is.iter().all(|record| was.contains(record)), "{was:?} became {is:?}");
    }
}

/// Sends a reply again as a worker does.
fn send_again(packet: &[u8], query: &Query, octets: &[u8], reply: &Reply) {
    let mut key = [0; MAX_QUESTION_KEY];
    let Some(question) = question_key(packet, 4_096, &mut key) else { return };
    let validity = Validity { rotates: true, ages: true, until: 10, ..Validity::default() };
    let key = &key[..question.len];
    let Some(cached) = CachedReply::new(key, octets, question.question_end, validity, ()) else { return };
    let mut buffer = [packet, &[0xaa; 5_000]].concat();
    for seed in 0..4 {
        buffer[..packet.len()].copy_from_slice(packet);
        if let Some(len) = cached.write(&mut buffer, question.question_end, 0, &mut Rng::new(seed)) {
            assert_eq!(len, octets.len());
            compare(query, &buffer[..len], reply, Transport::Tcp);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    // The first octets say what was asked for.
    let Some(([rtype_high, rtype_low, flags], message)) = data.split_first_chunk::<3>() else { return };
    let name = Name::from_ascii("www.example.org.").expect("a name");
    let mut query = Query::query(name, RecordType::from(u16::from_be_bytes([*rtype_high, *rtype_low])));
    query.set_query_class(if flags & 2 != 0 { DNSClass::ANY } else { DNSClass::IN });
    let Ok(reply) = read_reply(&query, flags & 1 != 0, message) else { return };
    let mut asked = Message::new(7, MessageType::Query, OpCode::Query);
    asked.add_query(query.clone());
    let Ok(packet) = asked.to_vec() else { return };
    let Screened::Ask(request): Screened = screen(&packet) else { return };
    let request: Request = request;
    for transport in [Transport::Udp { limit: 512 }, Transport::Udp { limit: 4_096 }, Transport::Tcp] {
        let octets = encode(&request, &reply, transport);
        compare(&query, &octets, &reply, transport);
        if octets.len() <= 4_096 {
            send_again(&packet, &query, &octets, &reply);
        }
    }
});
