use super::*;
use crate::config::{HostIdentity, Spec};
use crate::wire::{Screened, screen};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};

fn request(name: &str) -> Request {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
    match screen(&message.to_vec().expect("octets")) {
        Screened::Ask(request) => request,
        _ => panic!("a question"),
    }
}

#[tokio::test]
async fn replies_of_upstreams_that_are_gone_are_fresh_no_more() {
    let config = crate::config::Config::new(&Spec::default(), &HostIdentity::default()).expect("settings");
    let forwarder = Forwarder::new(config.forward);
    let upstreams = |last: &[u8]| {
        let addresses: Vec<_> = last.iter().map(|last| SocketAddr::from(([192, 0, 2, *last], 53))).collect();
        forwarder.set_upstreams(&addresses);
    };
    upstreams(&[1, 2]);
    let (question, mut reply) = (request("www.example.org."), Reply::empty(ResponseCode::NoError));
    let data = RData::A(A([192, 0, 2, 80].into()));
    reply.answers.push(Record::from_rdata(question.query.name().clone(), 60, data));
    forwarder.remember(&question, &reply);
    let settings = forwarder.config();
    upstreams(&[2, 1]);
    assert!(forwarder.cached(&question, None).is_some() && forwarder.is_config(&settings), "the same ones");
    upstreams(&[1, 3]);
    assert!(forwarder.cached(&question, None).is_none());
    assert!(!forwarder.is_config(&settings), "workers drop cached replies");
    let known = |last: u8| forwarder.pool.knows(Endpoint::classic(([192, 0, 2, last], 53).into()));
    assert_eq!([1, 2, 3].map(known), [true, false, true]);
}
