//! Batches of datagrams: up to 32 are received with one system call, and their replies sent with another; on a wildcard socket
//! with one for each address that they leave from.

mod wildcard;

use super::origin::{Origin, Way, is_link_local};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, SockaddrIn6,
    SockaddrLike, SockaddrStorage, recvmmsg, sendmsg, setsockopt, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use rustix::net::sockopt::{self as rustix_option, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use std::array;
use std::fmt::Debug;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use wildcard::WildcardSender;

/// Maximum number of datagrams in a batch.
pub(super) const BATCH: usize = 32;

/// Octets from the start of one buffer to the next: the largest datagram fits, and the first cache lines of the buffers fall
/// into different sets of the processor's cache.
const BUFFER_STRIDE: usize = (64 << 10) + 64;

/// A socket that clients send queries to.
#[derive(Debug)]
pub(super) struct ServerSocket {
    socket: UdpSocket,
    local: SocketAddr,
    /// Whether replies have to name the address that they leave from.
    wildcard: bool,
    /// Whether only this host can send there, so that the kernel need not say where a datagram came in.
    loopback: bool,
    /// Whether it is bound to an IPv4 address, in whatever form.
    v4_address: bool,
}

/// The address of a peer as the kernel returns it, for sockets of one address family.
pub(super) trait PeerAddress: SockaddrLike + Copy + Debug {
    fn address(self) -> SocketAddr;
}

impl PeerAddress for SockaddrIn {
    fn address(self) -> SocketAddr {
        SocketAddrV4::from(self).into()
    }
}

impl PeerAddress for SockaddrIn6 {
    fn address(self) -> SocketAddr {
        SocketAddrV6::from(self).into()
    }
}

/// Where a reply goes, and from which of our addresses.
#[derive(Clone, Debug)]
pub(super) struct ReplyTo {
    socket: Arc<ServerSocket>,
    peer: SocketAddr,
    from: Option<SentTo>,
}

/// The address that a query was sent to; its reply must leave from the same.
#[derive(Clone, Copy, Debug)]
enum SentTo {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

/// A batch of datagrams and their replies, which are written over the queries.
#[derive(Debug)]
pub(super) struct Batch<P> {
    socket: Arc<ServerSocket>,
    headers: MultiHeaders<P>,
    buffers: Box<[u8]>,
    received: Vec<ReceivedDatagram<P>>,
    /// The numbers of buffers that hold replies, and the lengths of these.
    replies: Vec<(usize, usize)>,
    peers: Vec<SocketAddrAny>,
    /// For a wildcard socket, unless replies have to be sent one by one.
    wildcard: Option<WildcardSender<P>>,
}

#[derive(Clone, Copy, Debug)]
struct ReceivedDatagram<P> {
    len: usize,
    peer: P,
    from: Option<SentTo>,
    way: Way,
    /// Whether the packet was one of IPv4.
    is_v4: bool,
}

/// What the kernel says of a datagram's way here.
#[derive(Clone, Copy, Debug)]
struct PacketInfo {
    sent_to: SentTo,
    /// The number of the interface that it came in by.
    interface: u32,
    is_v4: bool,
}

impl ServerSocket {
    /// A socket that waits no longer than `timeout`, in milliseconds.
    pub(super) fn new(socket: UdpSocket, timeout: i64) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let wildcard = local.ip().is_unspecified();
        let address = local.ip().to_canonical();
        let (loopback, v4_address) = (address.is_loopback(), address.is_ipv4());
        socket.set_nonblocking(false)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(timeout))?;
        if let Err(error) = ignore_path_mtu(&socket, local.is_ipv4()) {
            log::warn!("forged ICMP messages may make the kernel fragment replies of {local}: {error}");
        }
        if !loopback {
            // On a socket of systemd; on our own it is set.
            super::listen::packet_info(&socket, local)?;
        }
        Ok(Self { socket, local, wildcard, loopback, v4_address })
    }

    pub(super) fn is_v4(&self) -> bool {
        self.local.is_ipv4()
    }

    fn received<P>(&self, len: usize, peer: P, info: Option<PacketInfo>) -> ReceivedDatagram<P> {
        let way = match info {
            _ if self.loopback => Way::Loopback,
            Some(info) => Way::Interface(info.interface),
            None => Way::Interface(0),
        };
        let is_v4 = info.map_or(self.v4_address, |info| info.is_v4);
        let from = info.filter(|_| self.wildcard).map(|info| info.sent_to);
        ReceivedDatagram { len, peer, from, way, is_v4 }
    }
}

impl<P: PeerAddress> Batch<P> {
    pub(super) fn new(socket: Arc<ServerSocket>) -> Self {
        let wildcard = socket.wildcard.then(|| WildcardSender::new(socket.is_v4()));
        if let Some(Err(error)) = &wildcard {
            log::warn!("replies of {} are sent one by one: {error}", socket.local);
        }
        Self {
            wildcard: wildcard.and_then(Result::ok),
            headers: headers(&socket),
            socket,
            buffers: vec![0; BATCH * BUFFER_STRIDE].into(),
            received: Vec::with_capacity(BATCH),
            replies: Vec::with_capacity(BATCH),
            peers: Vec::with_capacity(BATCH),
        }
    }

    /// Where the socket is bound.
    pub(super) fn local(&self) -> SocketAddr {
        self.socket.local
    }

    /// Waits for datagrams (SO_RCVTIMEO), takes those that are there, and returns how many.
    pub(super) fn receive(&mut self) -> nix::Result<usize> {
        self.received.clear();
        self.replies.clear();
        let mut buffers = self.buffers.chunks_exact_mut(BUFFER_STRIDE);
        let mut slices: [_; BATCH] =
            array::from_fn(|_| [IoSliceMut::new(buffers.next().unwrap_or_default())]);
        let descriptor = self.socket.socket.as_raw_fd();
        let messages =
            recvmmsg(descriptor, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None)?;
        let mut whole = true;
        for message in messages {
            let info = if self.socket.loopback { None } else { packet_info(&message) };
            whole &= info.is_some() || self.socket.loopback;
            let peer = message.address.ok_or(Errno::EAFNOSUPPORT)?;
            self.received.push(self.socket.received(message.bytes, peer, info));
        }
        if !whole {
            // The library keeps the size of the last control message: after a datagram without one, the headers would have
            // no room for the next.
            self.headers = headers(&self.socket);
        }
        Ok(self.received.len())
    }

    /// The buffer of a datagram, and how many octets at its beginning are the datagram.
    pub(super) fn datagram(&mut self, number: usize) -> (&mut [u8], usize) {
        let len = self.received[number].len;
        (&mut self.buffers[number * BUFFER_STRIDE..(number + 1) * BUFFER_STRIDE], len)
    }

    /// Where a datagram came from.
    pub(super) fn origin(&self, number: usize) -> Origin {
        let ReceivedDatagram { peer, way, is_v4, .. } = self.received[number];
        Origin::of_datagram(peer.address(), way, is_v4)
    }

    /// Where the reply to a datagram goes, for a reply that is not sent with the batch.
    pub(super) fn reply_to(&self, number: usize) -> ReplyTo {
        let ReceivedDatagram { peer, from, .. } = self.received[number];
        ReplyTo { socket: Arc::clone(&self.socket), peer: peer.address(), from }
    }

    /// Notes that a buffer holds the reply to its datagram.
    pub(super) fn replied(&mut self, number: usize, len: usize) {
        // A port of 0 cannot be answered.
        if self.received[number].peer.address().port() != 0 {
            self.replies.push((number, len));
        }
    }

    /// Writes a reply into the buffer of its datagram.
    pub(super) fn reply(&mut self, number: usize, reply: &[u8]) {
        let (buffer, _) = self.datagram(number);
        if let Some(buffer) = buffer.get_mut(..reply.len()) {
            buffer.copy_from_slice(reply);
            self.replied(number, reply.len());
        }
    }

    /// Drops the replies that were not sent.
    pub(super) fn forget(&mut self) {
        self.replies.clear();
    }

    /// Sends all replies and returns how many could not be sent: clients treat such a reply like one that the network lost.
    pub(super) fn send(&mut self) -> usize {
        if self.socket.wildcard {
            let failed = self.send_from_many();
            self.replies.clear();
            return failed;
        }
        if self.replies.is_empty() {
            return 0;
        }
        let replies = self.replies.iter().map(|(number, len)| {
            let peer = self.received[*number].peer.address();
            (peer, &self.buffers[number * BUFFER_STRIDE..number * BUFFER_STRIDE + len])
        });
        let failed = send_batch(&self.socket.socket, replies, &mut self.peers);
        self.replies.clear();
        failed
    }
}

/// Replies of a wildcard socket.
impl<P: PeerAddress> Batch<P> {
    /// Sends all replies, each from the address that its query was sent to, and returns how many could not be sent.
    fn send_from_many(&mut self) -> usize {
        let (mut left, mut failed) = (self.replies.clone(), 0);
        while let Some((first, len)) = left.first().copied() {
            let from = self.received[first].from;
            let (Some(from), Some(sender)) = (from, &mut self.wildcard) else {
                let reply = &self.buffers[first * BUFFER_STRIDE..first * BUFFER_STRIDE + len];
                failed += usize::from(!self.reply_to(first).send(reply));
                left.remove(0);
                continue;
            };
            let is_same = |number: usize| self.received[number].from.is_some_and(|other| other.is_same(from));
            let group = left.iter().filter(|(number, _)| is_same(*number)).map(|(number, len)| {
                let at = number * BUFFER_STRIDE;
                (self.received[*number].peer, &self.buffers[at..at + len])
            });
            failed += sender.send(&self.socket.socket, from, group);
            left.retain(|(number, _)| !is_same(*number));
        }
        failed
    }
}

impl SentTo {
    /// Whether replies leave from the same address by the same interface.
    fn is_same(self, other: Self) -> bool {
        match (self, other) {
            (Self::V4(a), Self::V4(b)) => a.ipi_spec_dst.s_addr == b.ipi_spec_dst.s_addr,
            (Self::V6(a), Self::V6(b)) => {
                (a.ipi6_addr.s6_addr, a.ipi6_ifindex) == (b.ipi6_addr.s6_addr, b.ipi6_ifindex)
            }
            _ => false,
        }
    }
}

/// Sends up to a batch of replies with as few system calls as possible, and returns how many could not be sent. `addresses` is
/// memory for the addresses, to be used again.
fn send_batch<'a>(
    socket: &UdpSocket,
    replies: impl Iterator<Item = (SocketAddr, &'a [u8])>,
    addresses: &mut Vec<SocketAddrAny>,
) -> usize {
    addresses.clear();
    let mut slices = [[IoSlice::new(&[])]; BATCH];
    for (slice, (peer, reply)) in slices.iter_mut().zip(replies) {
        *slice = [IoSlice::new(reply)];
        addresses.push(peer.into());
    }
    let mut controls: [_; BATCH] = array::from_fn(|_| SendAncillaryBuffer::default());
    let parts = addresses.iter().zip(&slices).zip(&mut controls);
    let mut messages: Vec<_> =
        parts.map(|((peer, slice), control)| MMsgHdr::new_with_addr(peer, slice, control)).collect();
    let (mut done, mut failed) = (0, 0);
    while done < messages.len() {
        match sendmmsg(socket.as_fd(), &mut messages[done..], SendFlags::DONTWAIT) {
            Ok(more) => done += more.max(1),
            Err(error) => {
                // Most errors are about the network or the peer, so the next reply may be sent.
                log::debug!("sending a reply: {error}");
                (done, failed) = (done + 1, failed + 1);
            }
        }
    }
    failed
}

/// Sends replies of one socket that are ready together, and returns how many could not be sent.
pub(super) fn send_all(replies: &[(ReplyTo, Vec<u8>)]) -> usize {
    let Some((ReplyTo { socket, .. }, _)) = replies.first() else { return 0 };
    if socket.wildcard {
        return replies.iter().filter(|(to, reply)| !to.send(reply)).count();
    }
    let mut addresses = Vec::with_capacity(BATCH);
    let mut send = |batch: &[(ReplyTo, Vec<u8>)]| {
        let batch = batch.iter().filter(|(to, _)| to.peer.port() != 0);
        send_batch(&socket.socket, batch.map(|(to, reply)| (to.peer, reply.as_slice())), &mut addresses)
    };
    replies.chunks(BATCH).map(&mut send).sum()
}

/// Has the kernel send replies whole, as the interface takes them, whatever ICMP messages say: these can be forged to have
/// replies fragmented, whose parts can be replaced (RFC 8900 §3.7).
fn ignore_path_mtu(socket: &UdpSocket, is_v4: bool) -> io::Result<()> {
    if !is_v4 {
        rustix_option::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::OMIT)?;
    }
    // A socket for IPv6 may send to IPv4 clients as well.
    rustix_option::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::OMIT)?;
    Ok(())
}

/// Headers with room for the control message that says how a datagram came.
fn headers<P: PeerAddress>(socket: &ServerSocket) -> MultiHeaders<P> {
    let space = match (socket.loopback, socket.is_v4()) {
        (true, _) => None,
        (false, true) => Some(cmsg_space!(in_pktinfo)),
        (false, false) => Some(cmsg_space!(in6_pktinfo)),
    };
    MultiHeaders::preallocate(BATCH, space)
}

/// How a datagram came; the address that it was sent to is in the form in which its reply is sent from there.
fn packet_info<P: PeerAddress>(message: &RecvMsg<'_, '_, P>) -> Option<PacketInfo> {
    let needs_interface = message.address.is_some_and(|peer| is_link_local(peer.address().ip()));
    message.cmsgs().ok()?.find_map(|info| match info {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let interface = u32::try_from(info.ipi_ifindex).unwrap_or(0);
            // The route decides about the interface of the reply.
            let sent_to = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: info.ipi_addr, ..info };
            Some(PacketInfo { sent_to: SentTo::V4(sent_to), interface, is_v4: true })
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            // Only a link-local address needs its interface.
            let reply_by = if needs_interface { info.ipi6_ifindex } else { 0 };
            let sent_to = in6_pktinfo { ipi6_ifindex: reply_by, ..info };
            // IPv4 packets at a socket for both families have IPv4 addresses in this form (RFC 3493 §3.7).
            let is_v4 = Ipv6Addr::from(info.ipi6_addr.s6_addr).to_ipv4_mapped().is_some();
            Some(PacketInfo { sent_to: SentTo::V6(sent_to), interface: info.ipi6_ifindex, is_v4 })
        }
        _ => None,
    })
}

impl ReplyTo {
    /// Sends a reply; `false` if it could not be sent.
    pub(super) fn send(&self, reply: &[u8]) -> bool {
        if self.peer.port() == 0 {
            return true;
        }
        let slices = [IoSlice::new(reply)];
        let control = match &self.from {
            Some(SentTo::V4(info)) => Some(ControlMessage::Ipv4PacketInfo(info)),
            Some(SentTo::V6(info)) => Some(ControlMessage::Ipv6PacketInfo(info)),
            None => None,
        };
        let peer = SockaddrStorage::from(self.peer);
        let descriptor = self.socket.socket.as_raw_fd();
        let sent = sendmsg(descriptor, &slices, control.as_slice(), MsgFlags::MSG_DONTWAIT, Some(&peer));
        if let Err(error) = sent {
            log::debug!("sending to {}: {error}", self.peer);
        }
        sent.is_ok()
    }
}
