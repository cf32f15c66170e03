//! A load and a responder that do as little as they can, so that the server between them is what is measured.

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt, sockopt};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use std::array;
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// Datagrams of one call.
const BATCH: usize = 32;
const SOCKETS: usize = 8;
/// How long a socket waits for any reply before its questions count as lost.
const GIVEN_UP: Duration = Duration::from_millis(500);
const ROOM: usize = 4_096;

/// What a load came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Answers a second.
    pub(crate) rate: f64,
    pub(crate) answers: u64,
    pub(crate) lost: u64,
    /// Mean octets of a reply.
    pub(crate) octets: u64,
    /// Of all replies, those with rcode 0 or 3.
    pub(crate) good: u64,
    /// Latencies in microseconds: median, of 99 %, of 99.9 %.
    pub(crate) latencies: [f64; 3],
}

/// Puts questions to a server for some seconds, with a bounded number of them under way; at most `rate` a second if that is
/// not 0, and no more than so many in all. `question` writes the question of a number behind the header.
pub(crate) fn load(
    server: SocketAddr,
    (seconds, rate, questions): (f64, u64, u64),
    edns: Option<bool>,
    mut question: impl FnMut(u64, &mut Vec<u8>),
) -> Outcome {
    let sockets: Vec<UdpSocket> = (0..SOCKETS).map(|_| connected(server)).collect();
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut packets: Vec<Vec<u8>> = vec![Vec::new(); BATCH];
    let mut room = vec![[0; ROOM]; BATCH];
    let mut sent_at = vec![vec![Instant::now(); 1 << 16]; SOCKETS];
    let (mut ids, mut open) = ([0u16; SOCKETS], [0usize; SOCKETS]);
    let mut last = [Instant::now(); SOCKETS];
    let (mut outcome, mut octets, mut number) = (Outcome::default(), 0, 0u64);
    let mut latencies: Vec<u32> = Vec::with_capacity(1 << 20);
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < seconds && (number < questions || open.iter().any(|open| *open > 0))
    {
        for (at, socket) in sockets.iter().enumerate() {
            let due = if rate == 0 { u64::MAX } else { (begun.elapsed().as_secs_f64() * rate as f64) as u64 };
            let due = due.min(questions);
            let count = (BATCH - open[at]).min(usize::try_from(due.saturating_sub(number)).unwrap_or(BATCH));
            let now = Instant::now();
            for packet in &mut packets[..count] {
                ids[at] = ids[at].wrapping_add(1);
                sent_at[at][usize::from(ids[at])] = now;
                header(packet, ids[at], edns);
                question(number, packet);
                options(packet, edns);
                number += 1;
            }
            if open[at] == 0 {
                last[at] = now;
            }
            open[at] += send(socket, &packets[..count]);
        }
        let mut idle = true;
        for (at, socket) in sockets.iter().enumerate() {
            if open[at] == 0 {
                continue;
            }
            let mut slices: [_; BATCH] = {
                let mut rooms = room.iter_mut();
                array::from_fn(|_| [IoSliceMut::new(rooms.next().map_or(&mut [][..], |room| &mut room[..]))])
            };
            let received =
                recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
            let lens: Vec<usize> = received.map(|all| all.map(|one| one.bytes).collect()).unwrap_or_default();
            let now = Instant::now();
            if lens.is_empty() {
                if now.duration_since(last[at]) > GIVEN_UP {
                    outcome.lost += open[at] as u64;
                    open[at] = 0;
                }
                continue;
            }
            idle = false;
            last[at] = now;
            for (len, reply) in lens.iter().zip(&room) {
                outcome.answers += 1;
                octets += *len as u64;
                outcome.good += u64::from(matches!(reply[3] & 0x0f, 0 | 3) && reply[2] & 2 == 0);
                let id = usize::from(u16::from_be_bytes([reply[0], reply[1]]));
                let took = now.duration_since(sent_at[at][id]).as_nanos();
                latencies.push(u32::try_from(took).unwrap_or(u32::MAX));
            }
            open[at] = open[at].saturating_sub(lens.len());
        }
        if idle && rate == 0 {
            // One question that a slow server dropped must not keep the others waiting.
            let mut fds: Vec<_> = sockets.iter().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)).collect();
            let _ = poll(&mut fds, 1u8);
        }
        if rate > 0 {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    outcome.rate = outcome.answers as f64 / begun.elapsed().as_secs_f64();
    outcome.octets = octets / outcome.answers.max(1);
    latencies.sort_unstable();
    let of = |part: f64| {
        let at = (latencies.len().saturating_sub(1)) as f64 * part;
        latencies.get(at as usize).map_or(0.0, |nanoseconds| f64::from(*nanoseconds) / 1000.0)
    };
    outcome.latencies = [of(0.5), of(0.99), of(0.999)];
    outcome
}

fn connected(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server).expect("connected");
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20));
    socket
}

fn header(packet: &mut Vec<u8>, id: u16, edns: Option<bool>) {
    packet.clear();
    packet.extend(id.to_be_bytes());
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
}

fn options(packet: &mut Vec<u8>, edns: Option<bool>) {
    if let Some(dnssec_ok) = edns {
        packet.extend([0, 0, 41, 0x04, 0xd0, 0, 0, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
    }
}

fn send(socket: &UdpSocket, packets: &[Vec<u8>]) -> usize {
    let slices: Vec<_> = packets.iter().map(|packet| [IoSlice::new(packet)]).collect();
    let mut controls: Vec<_> = packets.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut messages: Vec<_> =
        slices.iter().zip(&mut controls).map(|(slice, control)| MMsgHdr::new(slice, control)).collect();
    sendmmsg(socket.as_fd(), &mut messages, SendFlags::empty()).unwrap_or(0)
}

/// Answers for ever: the question comes back with one A record, or with so many octets behind it that the reply has as many
/// as asked for. No server can do less. So many threads share the socket.
pub(crate) fn echo(address: SocketAddr, octets: usize, workers: usize) {
    let socket = UdpSocket::bind(address).expect("a socket");
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| echo_one(&socket, octets));
        }
    });
}

fn echo_one(socket: &UdpSocket, octets: usize) {
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut buffers = vec![[0u8; ROOM]; BATCH];
    let mut peers: Vec<SocketAddrAny> = Vec::with_capacity(BATCH);
    let mut lens: Vec<usize> = Vec::with_capacity(BATCH);
    loop {
        peers.clear();
        lens.clear();
        {
            let mut rooms = buffers.iter_mut();
            let mut slices: [_; BATCH] =
                array::from_fn(|_| [IoSliceMut::new(rooms.next().map_or(&mut [][..], |room| &mut room[..]))]);
            let flags = MsgFlags::MSG_WAITFORONE;
            let Ok(all) = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None) else {
                continue;
            };
            for one in all {
                let Some(peer) = one.address else { continue };
                peers.push(SocketAddrAny::from(SocketAddrV4::from(peer)));
                lens.push(one.bytes);
            }
        }
        for (buffer, len) in buffers.iter_mut().zip(&mut lens) {
            let mut end = 12;
            while buffer[end] != 0 {
                end += usize::from(buffer[end]) + 1;
            }
            end += 5;
            buffer[2] |= 0x84;
            buffer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
            buffer[end..end + 16].copy_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 10, 0, 0, 1]);
            *len = (end + 16).max(octets).min(ROOM);
        }
        let slices: Vec<_> =
            buffers.iter().zip(&lens).map(|(buffer, len)| [IoSlice::new(&buffer[..*len])]).collect();
        let mut controls: [_; BATCH] = array::from_fn(|_| SendAncillaryBuffer::default());
        let parts = peers.iter().zip(&slices).zip(&mut controls);
        let mut messages: Vec<_> =
            parts.map(|((peer, slice), control)| MMsgHdr::new_with_addr(peer, slice, control)).collect();
        let _ = sendmmsg(socket.as_fd(), &mut messages, SendFlags::empty());
    }
}
