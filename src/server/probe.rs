//! Probes of our own sockets: a question that goes through the kernel, as a client's does.

use super::handler::Protocol;
use super::listen::BoundSockets;
use super::own_socket::OwnSocket;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How soon a question over UDP is sent again.
const UDP_RETRY_PERIOD: Duration = Duration::from_millis(50);

/// The sockets to ask, and what to ask them.
#[derive(Clone, Debug)]
pub struct Probe {
    name: Name,
    targets: Vec<(Protocol, OwnSocket)>,
}

/// A socket that gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("{protocol} {address} does not answer: {source}")]
pub struct NoReply {
    protocol: &'static str,
    address: SocketAddr,
    source: io::Error,
}

impl Probe {
    /// A probe of all sockets, with the handler's [name](super::Handler::probe).
    pub fn new(bound: &BoundSockets, name: Name) -> Self {
        let udp = bound.udp.iter().map(|socket| (Protocol::Udp, socket.local_addr(), socket.as_fd()));
        let tcp = bound.tcp.iter().map(|socket| (Protocol::Tcp, socket.local_addr(), socket.as_fd()));
        let targets = udp
            .chain(tcp)
            .filter_map(|(protocol, local, socket)| Some((protocol, OwnSocket::of(&socket, local.ok()?))));
        Self { name, targets: targets.collect() }
    }

    /// The sockets that cannot be probed now: the host has no such address, or the socket is bound to one device.
    pub fn unreachable(&self) -> Vec<SocketAddr> {
        let targets = self.targets.iter().filter(|(_, socket)| socket.address().is_none());
        targets.map(|(_, socket)| socket.local()).collect()
    }

    /// Asks each socket that can be reached and waits for the replies, whatever they say.
    ///
    /// # Errors
    /// The first socket that does not reply in time.
    pub fn ask(&self, timeout: Duration) -> Result<(), NoReply> {
        let end = Instant::now() + timeout;
        for (protocol, socket) in &self.targets {
            let Some(address) = socket.address() else { continue };
            let left = end.saturating_duration_since(Instant::now()).max(UDP_RETRY_PERIOD);
            let asked = question(self.name.clone()).and_then(|packet| match protocol {
                Protocol::Udp => udp(address, &packet, left),
                Protocol::Tcp => tcp(address, &packet, left),
            });
            asked.map_err(|source| {
                let protocol = match protocol {
                    Protocol::Udp => "udp",
                    Protocol::Tcp => "tcp",
                };
                NoReply { protocol, address, source: plain(source) }
            })?;
        }
        Ok(())
    }
}

/// A packet that asks for a TXT record of class CH.
fn question(name: Name) -> io::Result<Vec<u8>> {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    let mut query = Query::query(name, RecordType::TXT);
    query.set_query_class(DNSClass::CH);
    message.add_query(query);
    message.to_vec().map_err(io::Error::other)
}

/// Asks whatever listens at an address over UDP for its version, and waits for a reply, whatever it says.
///
/// # Errors
/// None came in time.
pub fn answers_at(address: SocketAddr, timeout: Duration) -> io::Result<()> {
    let name = Name::from_ascii("version.bind.").map_err(io::Error::other)?;
    udp(address, &question(name)?, timeout).map_err(plain)
}

/// Asks a server over UDP for the addresses of a name, and gives the rcode of the reply.
///
/// # Errors
/// None came in time.
pub fn rcode_at(address: SocketAddr, name: &str, timeout: Duration) -> io::Result<u8> {
    let name = Name::from_ascii(name).map_err(io::Error::other)?;
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, RecordType::A));
    let packet = message.to_vec().map_err(io::Error::other)?;
    let reply = udp_reply(address, &packet, timeout).map_err(plain)?;
    Ok(reply.get(3).copied().unwrap_or_default() & 0x0f)
}

/// The error for a person: the system reports a time-out as EAGAIN.
fn plain(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// Sends a question until a reply comes: a socket whose buffer a flood has filled loses most datagrams.
fn udp(server: SocketAddr, packet: &[u8], timeout: Duration) -> io::Result<()> {
    udp_reply(server, packet, timeout).map(drop)
}

/// The first octets of the reply.
fn udp_reply(server: SocketAddr, packet: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(UDP_RETRY_PERIOD))?;
    let end = Instant::now() + timeout;
    loop {
        socket.send(packet)?;
        let mut reply = [0; 512];
        match socket.recv(&mut reply) {
            Ok(len) => return answers(&reply[..len], packet).map(|()| reply[..len].to_vec()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock || Instant::now() >= end => {
                return Err(error);
            }
            Err(_) => {}
        }
    }
}

fn tcp(server: SocketAddr, packet: &[u8], timeout: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let len = u16::try_from(packet.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), packet].concat())?;
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut reply)?;
    answers(&reply, packet)
}

/// Whether a reply belongs to the question: same id, QR set.
fn answers(reply: &[u8], packet: &[u8]) -> io::Result<()> {
    let same = reply.len() >= 12 && reply[..2] == packet[..2] && reply[2] & 0x80 != 0;
    if same {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the reply is to another question"))
    }
}
