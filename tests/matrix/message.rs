//! Questions and replies as octets: a reply of whatever data can be compared.

use crate::support::Stream;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Length of a message's header.
pub const HEADER: usize = 12;

/// The longest that a reply is waited for.
const PATIENCE: Duration = Duration::from_secs(12);

/// Types whose data hold names, with the octets before the first one and the number of names.
const NAMES_IN_DATA: [(u16, usize, usize); 7] =
    [(2, 0, 1), (5, 0, 1), (6, 0, 2), (12, 0, 1), (15, 2, 1), (33, 6, 1), (39, 0, 1)];

/// A reply, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub rcode: u8,
    /// Owner, type and data of the records in the answer section, without signatures.
    pub answers: BTreeSet<Record>,
    /// Whether it says that it was validated.
    pub is_validated: bool,
}

/// A record without its TTL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub owner: String,
    pub rtype: u16,
    /// Octets, and names in it written out.
    pub data: Vec<u8>,
}

/// The octets of a name with dots.
pub fn name_octets(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        octets.push(u8::try_from(label.len()).expect("a label"));
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets
}

/// A question with EDNS and AD, without DO: a resolver says whether it validated the answer (RFC 6840 §5.7).
pub fn question(name: &str, rtype: u16, id: u16) -> Vec<u8> {
    let mut packet = [&id.to_be_bytes()[..], &[1, 0x20, 0, 1, 0, 0, 0, 0, 0, 1]].concat();
    packet.extend(name_octets(name));
    packet.extend(rtype.to_be_bytes());
    packet.extend([0, 1]);
    packet.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    packet
}

/// Asks over UDP, and over TCP where the reply is truncated; the reply and how long it took.
pub fn ask(server: SocketAddr, name: &str, rtype: u16) -> (Option<Reply>, Duration) {
    let begun = Instant::now();
    let reply = ask_udp(server, &question(name, rtype, rand::random()));
    let reply = match reply {
        Some(octets) if octets[2] & 2 != 0 => ask_tcp(server, &question(name, rtype, rand::random())),
        reply => reply,
    };
    (reply.and_then(|octets| parse(&octets)), begun.elapsed())
}

/// Asks up to three times, as stub resolvers do.
fn ask_udp(server: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server).expect("connected");
    socket.set_read_timeout(Some(PATIENCE / 3)).expect("a deadline");
    let mut buffer = vec![0; 65_535];
    for _ in 0..3 {
        socket.send(question).ok()?;
        match socket.recv(&mut buffer) {
            Ok(len @ HEADER..) if buffer[..2] == question[..2] => return Some(buffer[..len].to_vec()),
            _ => {}
        }
    }
    None
}

fn ask_tcp(server: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let stream = std::net::TcpStream::connect(server).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Stream(stream).exchange(question)
}

/// Reads a reply; nothing if it cannot be read.
pub fn parse(octets: &[u8]) -> Option<Reply> {
    let count = |at: usize| Some(u16::from_be_bytes([*octets.get(at)?, *octets.get(at + 1)?]));
    let mut at = HEADER;
    for _ in 0..count(4)? {
        at = read_name(octets, at)?.1 + 4;
    }
    let mut answers = BTreeSet::new();
    for _ in 0..count(6)? {
        let (owner, fixed) = read_name(octets, at)?;
        let rtype = count(fixed)?;
        let (start, len) = (fixed + 10, usize::from(count(fixed + 8)?));
        at = start + len;
        octets.get(start..at)?;
        if rtype != 46 {
            answers.insert(Record {
                owner: dotted(&owner),
                rtype,
                data: read_data(octets, start, len, rtype)?,
            });
        }
    }
    Some(Reply { rcode: octets.get(3)? & 0x0f, answers, is_validated: octets[3] & 0x20 != 0 })
}

/// The data of a record, with its names in lower case and without compression.
fn read_data(octets: &[u8], start: usize, len: usize, rtype: u16) -> Option<Vec<u8>> {
    let Some((_, before, names)) = NAMES_IN_DATA.into_iter().find(|(with, ..)| *with == rtype) else {
        return Some(octets[start..start + len].to_vec());
    };
    let mut data = octets.get(start..start + before)?.to_vec();
    let mut at = start + before;
    for _ in 0..names {
        let (name, next) = read_name(octets, at)?;
        data.extend(name);
        at = next;
    }
    data.extend(octets.get(at..start + len)?);
    Some(data)
}

/// The name that begins somewhere, in lower case and without compression, and where the next thing begins.
pub fn read_name(octets: &[u8], start: usize) -> Option<(Vec<u8>, usize)> {
    let (mut name, mut at, mut end) = (Vec::new(), start, None);
    // More pointers than a name can have labels lead in a circle.
    for _ in 0..256 {
        let len = *octets.get(at)?;
        match len {
            0 => {
                name.push(0);
                return Some((name, end.unwrap_or(at + 1)));
            }
            1..=63 => {
                name.extend(octets.get(at..=at + usize::from(len))?.to_ascii_lowercase());
                at += 1 + usize::from(len);
            }
            _ => {
                end.get_or_insert(at + 2);
                at = usize::from(u16::from_be_bytes([len & 0x3f, *octets.get(at + 1)?]));
            }
        }
    }
    None
}

/// A name as text, without a dot at its end.
pub fn dotted(name: &[u8]) -> String {
    let (mut text, mut at) = (String::new(), 0);
    while let Some(len) = name.get(at).copied().filter(|len| *len > 0) {
        let label = &name[at + 1..=at + usize::from(len)];
        if at > 0 {
            text.push('.');
        }
        text.push_str(&String::from_utf8_lossy(label));
        at += 1 + usize::from(len);
    }
    text
}

impl Record {
    /// The data as clients show them.
    pub fn text(&self) -> String {
        let number = |at: usize| u16::from_be_bytes([self.data[at], self.data[at + 1]]);
        match (self.rtype, self.data.len()) {
            (1, 4) => {
                std::net::Ipv4Addr::from(<[u8; 4]>::try_from(&self.data[..]).expect("four")).to_string()
            }
            (28, 16) => {
                std::net::Ipv6Addr::from(<[u8; 16]>::try_from(&self.data[..]).expect("all")).to_string()
            }
            (2 | 5 | 12, _) => dotted(&self.data),
            (15, 3..) => format!("{} {}", number(0), dotted(&self.data[2..])),
            (33, 7..) => format!("{} {} {} {}", number(0), number(2), number(4), dotted(&self.data[6..])),
            (16, _) => self.strings(),
            _ => self.data.iter().fold(String::new(), |mut text, octet| {
                let _ = write!(text, "{octet:02x}");
                text
            }),
        }
    }

    /// The strings of a TXT record in one; what is not printable is left out.
    fn strings(&self) -> String {
        let (mut text, mut at) = (String::new(), 0);
        while let Some(len) = self.data.get(at).map(|len| usize::from(*len)) {
            text += &String::from_utf8_lossy(&self.data[at + 1..self.data.len().min(at + 1 + len)]);
            at += 1 + len;
        }
        text
    }
}
