//! Answers that take more work than others should wait for: who makes them, and that they say what others would say.

use super::*;
use crate::dnssec::{Algorithm, KeyFiles, NewKey, Signer, Signers};
use crate::server::costly_time::CostlyTime;
use tokio::task::JoinSet;

/// A client that is not ours, and may be somebody else.
const STRANGER: Origin = Origin {
    peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9)), 5353),
    ip: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9)),
    way: Way::Interface(u32::MAX),
};

const OVER_TCP: Origin = Origin { way: Way::Connection(0), ..CLIENT };

/// A question whose answer has three records, for which thousands of names are read.
const COSTLY: &str = "a.*.b.c.skydns.local.";

fn site(services: impl IntoIterator<Item = (String, String)>, costly_time: CostlyTime) -> Arc<Handler> {
    let mut tree = Tree::tracked();
    for (name, host) in services {
        let name = Name::from_ascii(format!("{name}.skydns.local.")).expect("a name");
        let service = Service::from_json(format!(r#"{{"host":"{host}"}}"#).as_bytes()).expect("a service");
        tree.put(&Key::from_name(&name), Layer(0), Entry::new(service));
    }
    let mut handler = handler();
    handler.costly_time = costly_time;
    handler.published.store(Arc::new(Published { tree, ..Published::default() }));
    Arc::new(handler)
}

fn costly_site(costly_time: CostlyTime) -> Arc<Handler> {
    let name = |n: usize| format!("{}.x{n}.b.c", if n < 3 { "a" } else { "z" });
    site((0..3_000).map(|n| (name(n), format!("10.0.{}.{}", n >> 8, n & 255))), costly_time)
}

async fn stop(threads: CostlyThreads) {
    tokio::task::spawn_blocking(|| threads.stop()).await.expect("stopped");
}

/// The answers of a reply, and whether it is truncated.
fn gist(reply: &[u8]) -> (usize, bool, ResponseCode) {
    let reply = Message::from_vec(reply).expect("a reply");
    (reply.answers.len(), reply.metadata.truncation, reply.metadata.response_code)
}

#[test]
fn a_worker_answers_while_it_has_time() {
    let site = || costly_site(CostlyTime::new());
    for client in [CLIENT, STRANGER] {
        // One question may take all the time on a busy machine.
        let handler = site();
        let Handled::Reply(reply, hint) = handler.handle(&packet(COSTLY), &client) else { panic!("a reply") };
        assert_eq!((gist(&reply), hint.is_some()), ((3, false, ResponseCode::NoError), true));
    }
    assert!(matches!(site().handle(&packet(COSTLY), &OVER_TCP), Handled::Pending(_)), "on the runtime");
}

#[tokio::test]
async fn without_time_others_answer_for_clients_of_ours() {
    let handler = costly_site(CostlyTime::spent());
    let threads = handler.start_costly_threads(&Heartbeats::default()).expect("threads");
    let Handled::Reply(reply, hint) = handler.handle(&packet(COSTLY), &STRANGER) else {
        panic!("done for whoever may be somebody else")
    };
    assert_eq!((gist(&reply), hint.is_some()), ((0, true, ResponseCode::NoError), false));
    assert_eq!(gist(&later(&handler, COSTLY, &CLIENT).await), (3, false, ResponseCode::NoError));
    let cheap = handler.handle(&packet("a.x1.b.c.skydns.local."), &STRANGER);
    assert!(matches!(cheap, Handled::Reply(_, Some(_))));
    stop(threads).await;
}

#[test]
fn ordinary_names_with_many_services_are_not_costly() {
    let mut services: Vec<_> =
        (0..360).map(|n| (format!("s{n}.wide"), format!("10.0.{}.{}", n >> 8, n & 255))).collect();
    services.extend((0..20).map(|n| (format!("s{n}.names"), format!("s{n}.wide.skydns.local"))));
    let handler = site(services, CostlyTime::spent());
    for (name, rtype) in [("wide", RecordType::A), ("wide", RecordType::SRV), ("names", RecordType::SRV)] {
        let packet = question(&format!("{name}.skydns.local."), rtype);
        for client in [CLIENT, STRANGER, OVER_TCP] {
            let handled = handler.handle(&packet, &client);
            assert!(matches!(handled, Handled::Reply(_, Some(_))), "{name} {rtype} {client:?}: {handled:?}");
        }
    }
}

async fn later(handler: &Arc<Handler>, name: &str, client: &Origin) -> Vec<u8> {
    let Handled::Pending(pending) = handler.handle(&packet(name), client) else { panic!("done at once") };
    handler.finish(pending).await
}

#[tokio::test(start_paused = true)]
async fn when_no_thread_is_free_the_client_is_told_to_ask_over_tcp() {
    let handler = costly_site(CostlyTime::spent());
    assert_eq!(gist(&later(&handler, COSTLY, &CLIENT).await), (0, true, ResponseCode::NoError));
    assert_eq!(gist(&later(&handler, COSTLY, &OVER_TCP).await), (0, false, ResponseCode::ServFail));
    let Handled::Pending(pending) = handler.handle(&packet(COSTLY), &CLIENT) else { panic!("done at once") };
    assert_eq!(gist(&handler.overloaded(&pending)), (0, true, ResponseCode::NoError));
}

/// An upstream of names outside, by their first letter: addresses, a CNAME to some, or none; it ends with the set.
async fn upstream(tasks: &mut JoinSet<()>) -> SocketAddr {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let address = socket.local_addr().expect("an address");
    tasks.spawn(async move {
        let mut buffer = [0; 1_500];
        while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
            let mut reply = Message::from_vec(&buffer[..len]).expect("a question");
            answer_outside(&mut reply);
            let _ = socket.send_to(&reply.to_vec().expect("octets"), client).await;
        }
    });
    address
}

fn answer_outside(reply: &mut Message) {
    use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};
    use hickory_proto::rr::{RData, Record};
    let (mut name, rtype) = (reply.queries[0].name().clone(), reply.queries[0].query_type());
    reply.metadata.message_type = MessageType::Response;
    reply.metadata.recursion_available = true;
    let number = u8::try_from(name.iter().next().map_or(0, <[u8]>::len)).unwrap_or(0);
    if name.to_ascii().starts_with('c') {
        let target = Name::from_ascii("target.example.org.").expect("a name");
        reply.add_answer(Record::from_rdata(name, 300, RData::CNAME(CNAME(target.clone()))));
        name = target;
    }
    let has_data = !name.to_ascii().starts_with('n');
    match rtype {
        RecordType::A if has_data => {
            reply.add_answer(Record::from_rdata(name, 300, RData::A(A([192, 0, 2, number].into()))));
        }
        RecordType::AAAA if has_data => {
            let address = [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)].into();
            reply.add_answer(Record::from_rdata(name, 300, RData::AAAA(AAAA(address))));
        }
        _ => {
            let zone = Name::from_ascii("example.org.").expect("a name");
            let soa = SOA::new(zone.clone(), zone.clone(), 1, 1, 1, 1, 300);
            reply.add_authority(Record::from_rdata(zone, 300, RData::SOA(soa)));
            reply.metadata.response_code =
                if has_data { ResponseCode::NoError } else { ResponseCode::NXDomain };
        }
    }
}

/// Names with few and with many services of every mixture of these hosts.
fn mixed_services() -> Vec<(String, String)> {
    let mut services = vec![
        ("other.one".to_owned(), "10.1.0.1".to_owned()),
        ("other.two".to_owned(), "2001:db8::2".to_owned()),
        ("other.leads".to_owned(), "cname.example.org".to_owned()),
    ];
    let hosts = |kind: usize, n: usize| match kind {
        0 => format!("10.2.{}.{}", n >> 8, n & 255),
        1 => format!("2001:db8::1:{n:x}"),
        2 => ["one.other.skydns.local", "leads.other.skydns.local", "absent.skydns.local"][n % 3].to_owned(),
        _ => format!("{}.example.org", ["addresses", "cname", "none", "a.further", "b.further"][n % 5]),
    };
    for mixture in 1_usize..16 {
        for count in [1, 2, 3, 7, 250] {
            let kinds: Vec<_> = (0..4).filter(|kind| mixture >> kind & 1 == 1).collect();
            let name = |n: usize| format!("s{n}.m{mixture}x{count}");
            services.extend((0..count).map(|n| (name(n), hosts(kinds[n % kinds.len()], n))));
        }
    }
    services
}

fn question(name: &str, rtype: RecordType) -> Vec<u8> {
    let mut message = Message::from_vec(&packet(name)).expect("a question");
    message.queries[0].set_query_type(rtype);
    let mut edns = Edns::new();
    edns.set_max_payload(4_096);
    message.set_edns(edns);
    message.to_vec().expect("octets")
}

/// What a reply says, whatever its order and the TTLs that count down.
fn said(reply: &[u8]) -> (ResponseCode, bool, Option<Edns>, Vec<Vec<String>>) {
    let mut reply = Message::from_vec(reply).expect("a reply");
    let sections = [&mut reply.answers, &mut reply.authorities, &mut reply.additionals];
    let sections = sections.map(|section| {
        section.iter_mut().for_each(|record| record.ttl = 0);
        let mut section: Vec<_> = section.iter().map(ToString::to_string).collect();
        section.sort();
        section
    });
    (reply.metadata.response_code, reply.metadata.truncation, reply.edns, sections.into())
}

/// The reply of one thread that does all work itself, and waits for all look-ups.
async fn made_in_one_piece(handler: &Arc<Handler>, packet: &[u8], client: &Origin) -> Vec<u8> {
    let Screened::Ask(request) = wire::screen(packet) else { panic!("a question") };
    let config = handler.config.load_full();
    let class = handler.client_policy.class_of(client, &config.allow);
    let transport = match client.protocol() {
        Protocol::Udp => Transport::Udp { limit: request.udp_limit(class.max_udp_reply()) },
        Protocol::Tcp => Transport::Tcp,
    };
    let query = ClientQuery {
        request,
        transport,
        client: class,
        id: ClientId::of(client.ip),
        received: Instant::now(),
        logged: None,
    };
    let published = handler.published.load_full();
    let effort = Effort { work: 1_000_000, fresh_signatures: 0 };
    let mut externals = crate::answer::Externals::new();
    loop {
        let inputs = AnswerInputs::new(&config, &published, effort);
        match inputs.answer(&query, None, &externals) {
            crate::answer::Outcome::Answered(answer) => {
                return wire::encode(&query.request, &Reply::from(answer), transport);
            }
            crate::answer::Outcome::Lookup(lookups) => {
                externals = handler.look_up(lookups, &query).await;
            }
            _ => panic!("a name of the site"),
        }
    }
}

#[tokio::test]
async fn whoever_makes_an_answer_says_the_same() {
    let mut tasks = JoinSet::new();
    let upstream = upstream(&mut tasks).await;
    for has_time in [true, false] {
        let costly_time = || if has_time { CostlyTime::new() } else { CostlyTime::spent() };
        let handler = site(mixed_services(), costly_time());
        handler.forwarder.set_upstreams(&[upstream]);
        let threads = handler.start_costly_threads(&Heartbeats::default()).expect("threads");
        for client in [CLIENT, OVER_TCP] {
            for (mixture, count) in (1..16).flat_map(|m| [1, 2, 3, 7, 250].map(|count| (m, count))) {
                for rtype in [RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::TXT] {
                    let packet = question(&format!("m{mixture}x{count}.skydns.local."), rtype);
                    let reply = match handler.handle(&packet, &client) {
                        Handled::Reply(reply, _) => reply,
                        Handled::Pending(pending) => handler.finish(pending).await,
                        Handled::Drop => panic!("a reply"),
                    };
                    let expected = made_in_one_piece(&handler, &packet, &client).await;
                    let case = format!("{mixture} x {count} {rtype} by {client:?}, time: {has_time}");
                    assert_eq!(said(&reply), said(&expected), "{case}");
                }
            }
        }
        stop(threads).await;
    }
}

/// A handler of a signed zone with one name.
fn signed_site(files: &KeyFiles<'_>, costly_time: CostlyTime) -> Handler {
    let zone = Name::from_ascii("skydns.test.").expect("a name");
    let key = files.read(&zone).expect("a key");
    let spec = Spec { domain: zone.clone(), ..Spec::default() };
    let mut config = Config::new(&spec, &HostIdentity::default()).expect("a configuration");
    Arc::make_mut(&mut config.site).zones.first_mut().is_signed = true;
    let mut tree = Tree::tracked();
    let service = Service::from_json(br#"{"host":"10.0.0.1"}"#).expect("a service");
    let name = Name::from_ascii("a.skydns.test.").expect("a name");
    tree.put(&Key::from_name(&name), Layer(0), Entry::new(service));
    let (cache, keys) = (Arc::new(SignatureCache::new(10)), KeySet::new(vec![key]));
    let signer = Signer::new(zone, keys, DenialKind::Nsec3, cache, unix_time());
    let mut handler = handler();
    handler.costly_time = costly_time;
    config.signers = Arc::new(Signers::new(vec![Some(Arc::new(signer))], DenialKind::Nsec3));
    handler.config.store(Arc::new(config));
    handler.published.store(Arc::new(Published { tree, ..Published::default() }));
    handler
}

#[test]
fn workers_make_signatures_of_rsa_only_while_they_have_time() {
    let mut message = Message::from_vec(&packet("a.skydns.test.")).expect("a question");
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true).set_max_payload(1_232);
    message.set_edns(edns);
    let packet = message.to_vec().expect("octets");
    let is_done = |files: &KeyFiles<'_>, time| match signed_site(files, time).handle(&packet, &CLIENT) {
        Handled::Reply(reply, _) => gist(&reply) == (2, false, ResponseCode::NoError),
        _ => false,
    };
    let rsa = KeyFiles {
        base: "Kskydns.test.+005+51945",
        public: include_bytes!("../../../../tests/vectors/dnssec-key/Kskydns.test.+005+51945.key"),
        private: include_bytes!("../../../../tests/vectors/dnssec-key/Kskydns.test.+005+51945.private"),
    };
    assert!(is_done(&rsa, CostlyTime::new()) && !is_done(&rsa, CostlyTime::spent()));
    let zone = Name::from_ascii("skydns.test.").expect("a name");
    for algorithm in [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::Ed25519] {
        let new = NewKey::generate(&zone, algorithm, 257, 0).expect("a key");
        let files =
            KeyFiles { base: &new.base, public: new.public.as_bytes(), private: new.private.as_bytes() };
        assert!(is_done(&files, CostlyTime::spent()), "{algorithm:?}");
    }
}
