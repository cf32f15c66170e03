//! Packets from peers: whatever comes in, what goes out can be read, fits, and belongs to it.
#![no_main]

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use libfuzzer_sys::fuzz_target;
use skydns::answer::{Dependencies, Externals, Made, Outcome, Site, SiteFreshness, View, WORK_OF_ANSWER, Zone, answer};
use skydns::service::{Keyspace, KeyTarget, Service};
use skydns::tree::{Entry, Layer, Tree, Work};
use skydns::wire::{MAX_UDP_REPLY, Reply, Screened, Transport, encode, screen};
use std::sync::{Arc, LazyLock};

static SITE: LazyLock<(Arc<Site>, Tree)> = LazyLock::new(|| {
    let mut tree = Tree::new();
    let keyspace = Keyspace::new("skydns");
    for (key, value) in [
        ("/skydns/local/skydns/a/1", r#"{"host":"10.0.0.1","port":1}"#),
        ("/skydns/local/skydns/a/2", r#"{"host":"a.skydns.local","text":"x","mail":true}"#),
        ("/skydns/local/skydns/b", r#"{"host":"www.example.org","group":"g"}"#),
        ("/skydns/local/skydns/_c/d", r#"{"host":"2001:db8::1"}"#),
        ("/skydns/arpa/in-addr/10/0/0/1", r#"{"host":"rev.example.org"}"#),
    ] {
        let Ok(KeyTarget::Service { key, .. }) = keyspace.target_of(key.as_bytes()) else { unreachable!() };
        let service = Service::from_json(value.as_bytes()).expect("a service");
        tree.put(&key, Layer(0), Entry::new(service));
    }
    (Arc::new(Site::new(Zone::new(&Name::from_ascii("skydns.local.").expect("a name")))), tree)
});

fuzz_target!(|packet: &[u8]| {
    let request = match screen(packet) {
        Screened::Drop => return,
        Screened::Reply(reply) => return check(packet, &reply, 512),
        Screened::Ask(request) => request,
    };
    let (site, tree) = &*SITE;
    let externals = Externals::new();
    let view = View {
        site,
        tree,
        dependencies: &Dependencies::default(),
        freshness: &SiteFreshness::default(),
        now: 1,
        seed: 1,
        externals: &externals,
        made: &Made::default(),
        max_records: 4_000,
        work: &Work::new(WORK_OF_ANSWER),
        forwards: true,
        dnssec: None,
    };
    let reply = match answer(&request.query, &view) {
        Outcome::Answered(answer) => Reply::from(answer),
        Outcome::Lookup(_) | Outcome::Forward | Outcome::ForwardExisting => return,
    };
    let limit = request.udp_limit(MAX_UDP_REPLY);
    check(packet, &encode(&request, &reply, Transport::Udp { limit }), limit);
    check(packet, &encode(&request, &reply, Transport::Tcp), 65_535);
});

fn check(packet: &[u8], reply: &[u8], limit: usize) {
    assert!(reply.len() <= limit);
    assert_eq!(reply[..2], packet[..2], "the id");
    let message = Message::from_vec(reply).expect("a reply that can be read");
    if let Some(question) = message.queries.first() {
        let mut decoder = BinDecoder::new(packet);
        decoder.read_slice(12).expect("a header");
        assert_eq!(question, &Query::read(&mut decoder).expect("a question that was understood"));
    }
}
