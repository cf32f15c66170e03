//! The upstream of the agent: it answers for `odd.example` what no server would, and passes all else on to a real resolver.

use super::message::{HEADER, dotted, name_octets, read_name};
use super::world::{ODD_DATA, RECURSOR};
use crate::support::Stream;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// TTL of its records, in seconds.
const TTL: u32 = 60;

/// How long the resolver may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A record to be written: owner, type and data.
type Written = (String, u16, Vec<u8>);

/// Serves for as long as the process lives.
pub fn start(address: SocketAddr) {
    let udp = Arc::new(UdpSocket::bind(address).expect("a socket"));
    let tcp = TcpListener::bind(address).expect("a listener");
    std::thread::spawn(move || serve_udp(&udp));
    std::thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            std::thread::spawn(move || serve_tcp(stream));
        }
    });
}

fn serve_udp(socket: &Arc<UdpSocket>) {
    let mut buffer = [0; 4_096];
    while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
        let (query, socket) = (buffer[..len].to_vec(), Arc::clone(socket));
        std::thread::spawn(move || {
            if let Some(reply) = scripted(&query).or_else(|| pass_on_udp(&query)) {
                let _ = socket.send_to(&reply, peer);
            }
        });
    }
}

fn pass_on_udp(query: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
    socket.connect(RECURSOR).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.send(query).ok()?;
    let mut buffer = vec![0; 65_535];
    let len = socket.recv(&mut buffer).ok()?;
    buffer.truncate(len);
    Some(buffer)
}

fn serve_tcp(mut stream: TcpStream) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let mut len = [0; 2];
    loop {
        stream.read_exact(&mut len).ok()?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut query).ok()?;
        let reply = scripted(&query).or_else(|| {
            let stream = TcpStream::connect(RECURSOR).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            Stream(stream).exchange(&query)
        })?;
        let len = u16::try_from(reply.len()).ok()?.to_be_bytes();
        stream.write_all(&[&len, reply.as_slice()].concat()).ok()?;
    }
}

/// The reply for a name at or below `odd.example`; the DS there is its parent's.
fn scripted(query: &[u8]) -> Option<Vec<u8>> {
    let (name, end) = read_name(query, HEADER)?;
    let rtype = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
    let name = dotted(&name);
    let label = match name.strip_suffix("odd.example")? {
        "" if rtype == 43 => return None,
        "" => "",
        labels => labels.strip_suffix('.')?,
    };
    let apex = || "odd.example".to_owned();
    let soa = (apex(), 6, soa());
    let (rcode, answers) = match (label, rtype) {
        ("", 6) => (0, vec![soa.clone()]),
        ("", 2) => (0, vec![(apex(), 2, name_octets("ns.example"))]),
        ("", _) => (0, Vec::new()),
        ("servfail", _) => (2, Vec::new()),
        _ => records(label, rtype),
    };
    let is_answered = answers.iter().any(|(_, of_type, _)| *of_type == rtype);
    let authority = if is_answered || rcode == 2 { Vec::new() } else { vec![soa] };
    Some(reply(&query[..end + 4], query[11] != 0, rcode, &answers, &authority))
}

fn soa() -> Vec<u8> {
    let mut data = [name_octets("ns.example"), name_octets("root.example")].concat();
    [1u32, 3_600, 600, 86_400, TTL].iter().for_each(|number| data.extend(number.to_be_bytes()));
    data
}

/// Chains of aliases: each name leads to the next one, and the last one has an address.
const CHAINS: [[&str; 3]; 2] = [["forwards", "f2", "f3"], ["backwards", "b2", "b3"]];

/// The rcode for a name, and the records of the answer.
fn records(label: &str, rtype: u16) -> (u8, Vec<Written>) {
    let name = |label: &str| format!("{label}.odd.example");
    let address = |label: &str| {
        let record = (name(label), 1, vec![192, 0, 2, 90]);
        if rtype == 1 { vec![record] } else { Vec::new() }
    };
    for chain in CHAINS {
        let Some(at) = chain.iter().position(|of_chain| *of_chain == label) else { continue };
        let links = chain[at..].windows(2).map(|link| (name(link[0]), 5, name_octets(&name(link[1]))));
        let mut answers: Vec<_> = links.collect();
        answers.truncate(if rtype == 5 { 1 } else { answers.len() });
        if rtype != 5 {
            answers.extend(address(chain[2]));
        }
        if label.starts_with('b') {
            // The address first, then each alias before the one that leads to it.
            answers.reverse();
        }
        return (0, answers);
    }
    if label == "beside" {
        return (0, [address("bank"), address("beside")].concat());
    }
    match ODD_DATA.iter().find(|(of_label, ..)| *of_label == label) {
        None => (3, Vec::new()),
        Some((_, _, (of_type, _))) if *of_type != rtype => (0, Vec::new()),
        Some((_, _, (_, data))) => (0, vec![(name(label), rtype, data.to_vec())]),
    }
}

/// A reply to a question.
fn reply(question: &[u8], has_opt: bool, rcode: u8, answers: &[Written], authority: &[Written]) -> Vec<u8> {
    let mut reply = question.to_vec();
    let count = |records: &[Written]| u16::try_from(records.len()).expect("few").to_be_bytes();
    reply[2..4].copy_from_slice(&[0x85, 0x80 | rcode]);
    reply[6..8].copy_from_slice(&count(answers));
    reply[8..10].copy_from_slice(&count(authority));
    reply[10..HEADER].copy_from_slice(&[0, u8::from(has_opt)]);
    for (owner, rtype, data) in answers.iter().chain(authority) {
        reply.extend(name_octets(owner));
        reply.extend(rtype.to_be_bytes());
        reply.extend([0, 1]);
        reply.extend(TTL.to_be_bytes());
        reply.extend(u16::try_from(data.len()).expect("a length").to_be_bytes());
        reply.extend(data);
    }
    if has_opt {
        reply.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    }
    reply
}
