//! Replies of a wildcard socket: each leaves from the address that its query was sent to (PKTINFO), and those that leave from the
//! same address are sent with one system call.

use super::{BATCH, PeerAddress, SentTo};
use crate::server::listen::packet_info;
use nix::cmsg_space;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, recvmmsg, sendmmsg};
use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// Sends the replies of a wildcard socket.
#[derive(Debug)]
pub(super) struct WildcardSender<P> {
    headers: MultiHeaders<P>,
}

impl<P: PeerAddress> WildcardSender<P> {
    /// A sender for sockets of one address family.
    ///
    /// # Errors
    /// The family's loopback address cannot be used.
    pub(super) fn new(is_v4: bool) -> io::Result<Self> {
        let (space, loopback) = if is_v4 {
            (cmsg_space!(in_pktinfo), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        } else {
            (cmsg_space!(in6_pktinfo), SocketAddr::from((Ipv6Addr::LOCALHOST, 0)))
        };
        let mut headers = MultiHeaders::preallocate(BATCH, Some(space));
        receive_once(&mut headers, loopback)?;
        Ok(Self { headers })
    }

    /// Sends up to a batch of replies, all from one address, and returns how many could not be sent.
    pub(super) fn send<'a>(
        &mut self,
        socket: &UdpSocket,
        from: SentTo,
        replies: impl Iterator<Item = (P, &'a [u8])>,
    ) -> usize {
        let (mut slices, mut peers, mut len) = ([[IoSlice::new(&[])]; BATCH], [None; BATCH], 0);
        for ((slice, place), (peer, reply)) in slices.iter_mut().zip(&mut peers).zip(replies) {
            (*slice, *place, len) = ([IoSlice::new(reply)], Some(peer), len + 1);
        }
        let control = [match &from {
            SentTo::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            SentTo::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        }];
        let (mut done, mut failed) = (0, 0);
        while done < len {
            let (slices, peers) = (slices[done..len].iter(), &peers[done..len]);
            let sent = sendmmsg(
                socket.as_raw_fd(),
                &mut self.headers,
                slices,
                peers,
                control,
                MsgFlags::MSG_DONTWAIT,
            );
            match sent {
                Ok(sent) => done += sent.count().max(1),
                Err(error) => {
                    // Most errors are about the network or the peer, so the next reply may be sent.
                    log::debug!("sending a reply: {error}");
                    (done, failed) = (done + 1, failed + 1);
                }
            }
        }
        failed
    }
}

/// Receives a batch of datagrams of a socket's own with headers that are to be sent with.
///
/// The library says how many messages it sent by reading the addresses in the headers, which only receiving initializes. The
/// datagrams have the same control message as the replies, so that the headers keep room for it.
fn receive_once<P: PeerAddress>(headers: &mut MultiHeaders<P>, loopback: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(loopback)?;
    let address = socket.local_addr()?;
    packet_info(&socket, address)?;
    for _ in 0..BATCH {
        socket.send_to(&[], address)?;
    }
    let mut room = [[0; 1]; BATCH];
    let mut rooms = room.iter_mut();
    let mut slices: [_; BATCH] =
        array::from_fn(|_| [IoSliceMut::new(rooms.next().map_or(&mut [][..], |room| room))]);
    let flags = MsgFlags::MSG_DONTWAIT;
    let received = recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), flags, None)?;
    let are_whole = received.filter(|one| one.cmsgs().is_ok_and(|mut all| all.next().is_some())).count();
    if are_whole == BATCH {
        Ok(())
    } else {
        Err(io::Error::other("datagrams at the loopback address are lost"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{SockaddrIn, SockaddrIn6};
    use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
    use std::time::Duration;

    /// Sends replies, one of which has too many octets for any datagram, and gives the ones that came, and how many failed.
    fn sent<P: PeerAddress>(
        to: IpAddr,
        from: SentTo,
        peer: impl Fn(SocketAddr) -> P,
    ) -> (Vec<Vec<u8>>, usize) {
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let [server, client] = [any, to].map(|ip| UdpSocket::bind((ip, 0)).expect("a socket"));
        client.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        let peer = peer(client.local_addr().expect("an address"));
        let large = vec![0; 70_000];
        let replies: [&[u8]; 4] = [b"one", b"two", &large, b"three"];
        let mut sender = WildcardSender::new(to.is_ipv4()).expect("a sender");
        for _ in 0..3 {
            let failed = sender.send(&server, from, replies.iter().map(|reply| (peer, *reply)));
            assert_eq!(failed, 1);
        }
        let failed = sender.send(&server, from, replies.iter().map(|reply| (peer, *reply)));
        let mut all = Vec::new();
        let mut room = [0; 16];
        while let Ok((len, came_from)) = client.recv_from(&mut room) {
            assert_eq!(came_from.ip(), to, "from the address that was asked");
            all.push(room[..len].to_vec());
        }
        (all, failed)
    }

    #[test]
    fn nothing_is_lost_behind_a_reply_that_cannot_be_sent() {
        let expected =
            [&b"one"[..], b"two", b"three"].repeat(4).into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let octets = nix::libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 5]) };
        let v4 = SentTo::V4(in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: octets, ipi_addr: octets });
        let peer = |address| match address {
            SocketAddr::V4(v4) => SockaddrIn::from(v4),
            SocketAddr::V6(_) => SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
        };
        assert_eq!(sent(Ipv4Addr::new(127, 0, 0, 5).into(), v4, peer), (expected.clone(), 1));
        let octets = nix::libc::in6_addr { s6_addr: Ipv6Addr::LOCALHOST.octets() };
        let v6 = SentTo::V6(in6_pktinfo { ipi6_addr: octets, ipi6_ifindex: 0 });
        let peer = |address| match address {
            SocketAddr::V6(v6) => SockaddrIn6::from(v6),
            SocketAddr::V4(_) => SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0)),
        };
        if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            assert_eq!(sent(Ipv6Addr::LOCALHOST.into(), v6, peer), (expected, 1));
        }
    }
}
