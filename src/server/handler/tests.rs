//! A fault in one query, and what is counted.

mod costly;

use super::*;
use crate::clock::unix_time;
use crate::config::{HostIdentity, Spec};
use crate::dnssec::{DenialKind, KeySet, SignatureCache, Signer, Signers};
use crate::metrics::{self, MetricNames};
use crate::server::origin::Way;
use crate::service::{Key, Service};
use crate::source::Status;
use crate::tree::{Entry, Layer, Tree};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RecordType};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(in crate::server) fn handler() -> Handler {
    let config = Config::new(&Spec::default(), &HostIdentity::default()).expect("a configuration");
    let forwarder = Forwarder::new(config.forward.clone());
    Handler::new(Arc::default(), Arc::new(ArcSwap::from_pointee(config)), forwarder, Arc::default())
}

pub(in crate::server) fn packet(name: &str) -> Vec<u8> {
    let mut message = Message::new(9, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
    message.to_vec().expect("a message")
}

/// A client on this host, over UDP.
const CLIENT: Origin = Origin {
    peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5353),
    ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
    way: Way::Loopback,
};

#[test]
fn a_panic_is_one_querys_servfail() {
    let handler = handler();
    let faulty = packet("fault-now.skydns.local.");
    let Handled::Reply(reply, _) = handler.handle(&faulty, &CLIENT) else { panic!("a reply") };
    let reply = Message::from_vec(&reply).expect("a reply");
    assert_eq!((reply.metadata.id, reply.metadata.response_code), (9, ResponseCode::ServFail));
    assert_eq!(reply.queries[0].name().to_ascii(), "fault-now.skydns.local.");
    let query = packet("a.skydns.local.");
    assert!(matches!(handler.handle(&query, &CLIENT), Handled::Reply(..)), "the next query is answered");
    let page = metrics::page(
        handler.metrics(),
        &MetricNames::default(),
        &Status::default(),
        &crate::forward::ForwardReport::default(),
        (&[], 0),
    );
    assert!(page.contains("skydns_skydns_panics_total 1\n"));
}

#[test]
fn replies_are_counted_by_who_gave_them() {
    let handler = handler();
    for name in ["a.skydns.local.", "localhost."] {
        assert!(matches!(handler.handle(&packet(name), &CLIENT), Handled::Reply(..)));
    }
    assert!(matches!(
        handler.handle(&packet("www.example.org."), &Origin { way: Way::Connection(0), ..CLIENT }),
        Handled::Pending(_)
    ));
    assert!(matches!(handler.handle(b"short", &CLIENT), Handled::Drop));
    let page = metrics::page(
        handler.metrics(),
        &MetricNames::default(),
        &Status::default(),
        &crate::forward::ForwardReport::default(),
        (&[], 0),
    );
    for line in [
        "skydns_skydns_dns_request_count_total{system=\"auth\"} 2",
        "skydns_skydns_dns_error_count_total{system=\"auth\",cause=\"nxdomain\"} 1",
        "skydns_skydns_dns_cachemiss_count_total{cache=\"response\"} 1",
        "skydns_skydns_dropped_packets_total 1",
    ] {
        assert!(page.contains(&format!("{line}\n")), "{line}\n{page}");
    }
}

#[test]
fn an_answer_that_cannot_be_signed_does_not_go_out() {
    let handler = handler();
    let mut config = Config::clone(&handler.config.load());
    let zone = Arc::make_mut(&mut config.site).zones.first_mut();
    zone.is_signed = true;
    let (zone, cache) = (zone.domain().clone(), Arc::new(SignatureCache::new(10)));
    let signer = Signer::new(zone, KeySet::default(), DenialKind::Nsec3, cache, unix_time());
    config.signers = Arc::new(Signers::new(vec![Some(Arc::new(signer))], DenialKind::Nsec3));
    handler.config.store(Arc::new(config));
    let mut message = Message::from_vec(&packet("a.skydns.local.")).expect("a query");
    let plain = message.to_vec().expect("octets");
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    message.set_edns(edns);
    let secure = message.to_vec().expect("octets");
    let ask = |packet: &[u8]| match handler.handle(packet, &CLIENT) {
        Handled::Reply(reply, hint) => (Message::from_vec(&reply).expect("a reply"), hint.is_some()),
        _ => panic!("a reply"),
    };
    let (reply, cacheable) = ask(&secure);
    assert_eq!((reply.metadata.response_code, cacheable), (ResponseCode::ServFail, false));
    assert!(reply.answers.is_empty() && reply.authorities.is_empty());
    let edns = reply.edns.expect("OPT");
    let Some(EdnsOption::Unknown(15, error)) = edns.option(EdnsCode::Unknown(15)) else { panic!("an EDE") };
    assert_eq!(error[..2], [0, 10], "RRSIGs Missing");
    assert_eq!(ask(&plain).0.metadata.response_code, ResponseCode::NXDomain, "others do not care");
    let page = metrics::page(
        handler.metrics(),
        &MetricNames::default(),
        &Status::default(),
        &crate::forward::ForwardReport::default(),
        (&[], 0),
    );
    assert!(page.contains("skydns_skydns_unsigned_total 1\n"));
}

#[test]
fn our_own_probe_is_answered_and_not_counted() {
    let handler = handler();
    let mut message = Message::new(9, MessageType::Query, OpCode::Query);
    let mut query = Query::query(handler.probe().clone(), RecordType::TXT);
    query.set_query_class(DNSClass::CH);
    message.add_query(query);
    let packet = message.to_vec().expect("a message");
    let Handled::Reply(reply, _) = handler.handle(&packet, &CLIENT) else { panic!("a reply") };
    assert_eq!(Message::from_vec(&reply).expect("a reply").metadata.id, 9);
    let page = metrics::page(
        handler.metrics(),
        &MetricNames::default(),
        &Status::default(),
        &crate::forward::ForwardReport::default(),
        (&[], 0),
    );
    assert!(page.contains("skydns_skydns_dns_request_count_total{system=\"auth\"} 0\n"), "{page}");
}
