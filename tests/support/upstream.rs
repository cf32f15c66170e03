//! Scripted upstreams.

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Script = dyn Fn(&Message, Via) -> Option<Vec<u8>> + Send + Sync;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Udp,
    Tcp,
}

/// A server that answers as its script says, over UDP and TCP; `None` is silence.
pub struct Upstream {
    pub address: SocketAddr,
    pub questions: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<(Message, SocketAddr)>>>,
}

impl Upstream {
    pub fn start(script: impl Fn(&Message, Via) -> Option<Message> + Send + Sync + 'static) -> Self {
        Self::serve(listen(), octets_of(script), false)
    }

    /// The same with replies as octets.
    pub fn raw(script: impl Fn(&Message, Via) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::serve(listen(), script, false)
    }

    /// The same, and a TCP connection is closed behind each reply.
    pub fn closing(script: impl Fn(&Message, Via) -> Option<Message> + Send + Sync + 'static) -> Self {
        Self::serve(listen(), octets_of(script), true)
    }

    /// The same at an address of choice.
    pub fn start_at(
        address: SocketAddr,
        script: impl Fn(&Message, Via) -> Option<Message> + Send + Sync + 'static,
    ) -> Self {
        let tcp = TcpListener::bind(address).expect("a listener");
        Self::serve((address, tcp, UdpSocket::bind(address).expect("a socket")), octets_of(script), false)
    }

    fn serve(
        (address, tcp, udp): (SocketAddr, TcpListener, UdpSocket),
        script: impl Fn(&Message, Via) -> Option<Vec<u8>> + Send + Sync + 'static,
        closes: bool,
    ) -> Self {
        let script: Arc<Script> = Arc::new(script);
        let questions = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let counters = (Arc::clone(&questions), Arc::clone(&seen));
        let udp_script = Arc::clone(&script);
        std::thread::spawn(move || serve_udp(&udp, &udp_script, &counters));
        let counters = (Arc::clone(&questions), Arc::clone(&seen));
        std::thread::spawn(move || serve_tcp(&tcp, &script, &counters, closes));
        Self { address, questions, seen }
    }

    /// Answers every A question with an address and a TTL, anything else with no data.
    pub fn addresses(address: [u8; 4], ttl: u32) -> Self {
        Self::start(move |query, _| {
            let mut reply = reply_to(query);
            if query.queries[0].query_type() == RecordType::A {
                add(&mut reply, ttl, RData::A(rdata::A(address.into())));
            }
            Some(reply)
        })
    }

    pub fn count(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    /// The questions that came, and from where.
    pub fn seen(&self) -> Vec<(Message, SocketAddr)> {
        self.seen.lock().expect("unpoisoned").clone()
    }
}

/// A script whose replies are messages, as one whose replies are octets.
fn octets_of(
    script: impl Fn(&Message, Via) -> Option<Message> + Send + Sync + 'static,
) -> impl Fn(&Message, Via) -> Option<Vec<u8>> + Send + Sync + 'static {
    move |query, via| {
        let reply = script(query, via)?;
        let mut octets = reply.to_vec().expect("a reply");
        if via == Via::Udp && reply.metadata.op_code == OpCode::Status {
            // What a script marks so is garbage from the counts on.
            octets[4..].fill(0xff);
            octets[2] = 0x81;
        }
        Some(octets)
    }
}

/// A port that is held for both protocols before anyone else can take it.
fn listen() -> (SocketAddr, TcpListener, UdpSocket) {
    for _ in 0..100 {
        let address = SocketAddr::from(([127, 0, 0, 1], super::free_port()));
        if let (Ok(tcp), Ok(udp)) = (TcpListener::bind(address), UdpSocket::bind(address)) {
            return (address, tcp, udp);
        }
    }
    panic!("no free port");
}

type Counters = (Arc<AtomicUsize>, Arc<Mutex<Vec<(Message, SocketAddr)>>>);

fn note(counters: &Counters, query: &Message, peer: SocketAddr) {
    counters.1.lock().expect("unpoisoned").push((query.clone(), peer));
    counters.0.fetch_add(1, Ordering::SeqCst);
}

fn serve_udp(socket: &UdpSocket, script: &Arc<Script>, counters: &Counters) {
    let mut buffer = vec![0; 65_535];
    while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
        let Ok(query) = Message::from_vec(&buffer[..len]) else { continue };
        note(counters, &query, peer);
        let (socket, script) = (socket.try_clone().expect("a socket"), Arc::clone(script));
        // Scripts may sleep.
        std::thread::spawn(move || {
            if let Some(octets) = script(&query, Via::Udp) {
                let _ = socket.send_to(&octets, peer);
            }
        });
    }
}

fn serve_tcp(listener: &TcpListener, script: &Arc<Script>, counters: &Counters, closes: bool) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let (script, counters) = (Arc::clone(script), counters.clone());
        std::thread::spawn(move || {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
            let peer = stream.peer_addr().expect("a peer");
            let mut len = [0; 2];
            while stream.read_exact(&mut len).is_ok() {
                let mut packet = vec![0; usize::from(u16::from_be_bytes(len))];
                if stream.read_exact(&mut packet).is_err() {
                    return;
                }
                let query = Message::from_vec(&packet).expect("a query");
                note(&counters, &query, peer);
                if let Some(packet) = script(&query, Via::Tcp) {
                    let len = u16::try_from(packet.len()).expect("a length").to_be_bytes();
                    let _ = stream.write_all(&[&len, packet.as_slice()].concat());
                }
                if closes {
                    return;
                }
            }
        });
    }
}

/// A reply without records.
pub fn reply_to(query: &Message) -> Message {
    let mut reply = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.queries = query.queries.clone();
    reply
}

pub fn failure(query: &Message, rcode: ResponseCode) -> Message {
    let mut reply = reply_to(query);
    reply.metadata.response_code = rcode;
    reply
}

/// Adds a record of the name asked for.
pub fn add(reply: &mut Message, ttl: u32, rdata: RData) {
    let owner = reply.queries[0].name().clone();
    reply.add_answer(Record::from_rdata(owner, ttl, rdata));
}

/// A SOA for negative answers.
pub fn soa(zone: &str, ttl: u32, minimum: u32) -> Record {
    let name = |text: &str| Name::from_ascii(text).expect("a name");
    let soa = rdata::SOA::new(name("ns.example.org."), name("root.example.org."), 1, 2, 3, 4, minimum);
    Record::from_rdata(name(zone), ttl, RData::SOA(soa))
}
