use super::*;
use crate::config::{HostIdentity, Spec};
use crate::wire::{Screened, screen};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use std::time::Duration;
use tokio::task::JoinSet;

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

#[tokio::test]
async fn a_question_that_joined_the_exchange_of_a_client_that_floods_is_not_given_up_with_it() {
    let config = crate::config::Config::new(&Spec::default(), &HostIdentity::default()).expect("settings");
    // So long that no question ends by its time, however slow the machine.
    let forwarder = Forwarder::new(ForwardConfig { timeout: Duration::from_secs(60), ..config.forward });
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    forwarder.set_upstreams(&[socket.local_addr().expect("an address")]);
    let (flooding, other) = (ClientId::of([192, 0, 2, 1].into()), ClientId::of([192, 0, 2, 2].into()));
    let ask = |n: usize, client| {
        let forwarder = Arc::clone(&forwarder);
        async move { forwarder.forward(&request(&format!("n{n}.example.org.")), client).await.rcode }
    };
    let (mut first, mut joined, mut flood) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    first.spawn(ask(0, flooding));
    tokio::task::yield_now().await;
    joined.spawn(ask(0, other));
    tokio::task::yield_now().await;
    // Until the first one of the client that floods is displaced.
    for n in 1.. {
        if let Some(rcode) = first.try_join_next() {
            assert_eq!(rcode.expect("no panic"), ResponseCode::ServFail);
            break;
        }
        flood.spawn(ask(n, flooding));
        if n > MAX_EXCHANGES {
            tokio::time::sleep(Duration::from_millis(10)).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
    flood.abort_all();
    let serve = async {
        let mut buffer = [0; 1_500];
        loop {
            let (len, peer) = socket.recv_from(&mut buffer).await.expect("a question");
            buffer[2] |= 0x80;
            buffer[3] = 3;
            let _ = socket.send_to(&buffer[..len], peer).await;
        }
    };
    tokio::select! {
        rcode = joined.join_next() => {
            assert_eq!(rcode.expect("a reply").expect("no panic"), ResponseCode::NXDomain);
        }
        () = serve => {}
    }
}
