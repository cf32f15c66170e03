//! Messages of upstreams: whatever they hold, what goes on to the client can be read and fits.
#![no_main]

use hickory_proto::op::{Message, MessageType, OpCode};
use libfuzzer_sys::fuzz_target;
use skydns::forward::{is_reply_to, reply_of};
use skydns::wire::{Screened, Transport, encode, screen};

fuzz_target!(|data: &[u8]| {
    let Ok(message) = Message::from_vec(data) else { return };
    // Some records hickory reads in one form and refuses in the one it writes; those say nothing about us.
    if !message.to_vec().is_ok_and(|octets| Message::from_vec(&octets).is_ok()) {
        return;
    }
    let Some(query) = message.queries.first().cloned() else { return };
    // What is no reply to the question goes no further; in an update, say, hickory reads records without data.
    if !is_reply_to(&query, &message) {
        return;
    }
    let mut asked = Message::new(7, MessageType::Query, OpCode::Query);
    asked.add_query(query);
    let Ok(packet) = asked.to_vec() else { return };
    let Screened::Ask(request) = screen(&packet) else { return };
    let reply = reply_of(message);
    for transport in [Transport::Udp { limit: 512 }, Transport::Udp { limit: 1232 }, Transport::Tcp] {
        let octets = encode(&request, &reply, transport);
        assert!(octets.len() <= transport.limit());
        let read = Message::from_vec(&octets).expect("a reply that can be read");
        assert_eq!((read.metadata.id, read.queries.len()), (7, 1));
    }
});
