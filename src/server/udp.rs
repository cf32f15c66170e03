//! UDP: worker threads that receive, answer, and send.

use super::handler::{Handler, Now, Via};
use super::reach::Reach;
use super::slow::SlowWay;
use crate::pulse::{Beat, Pulse};
use nix::errno::Errno;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrLike, SockaddrStorage, recvmsg, sendmsg,
    setsockopt, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Largest datagram there is.
const LARGEST: usize = 65_535;

/// How often a worker without work beats, in milliseconds, and looks whether it should stop.
const IDLE_PERIOD: i64 = 200;

/// Rest after an error that is not a packet's.
const REST: Duration = Duration::from_millis(10);

/// The workers of all UDP sockets.
#[derive(Debug)]
pub struct UdpWorkers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Where an empty datagram wakes a worker; one for each.
    wake: Vec<Reach>,
}

impl UdpWorkers {
    /// Whether a worker ended without being asked to.
    pub fn any_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends the workers once each has answered what it holds.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.wake.iter().filter_map(Reach::address).for_each(wake);
        for thread in self.threads {
            if thread.join().is_err() {
                log::error!("a UDP worker ended by a fault");
            }
        }
    }
}

/// Starts workers, so many for each socket.
///
/// # Errors
/// A socket cannot be set up, or a thread not be started.
pub fn spawn(
    sockets: Vec<UdpSocket>,
    workers: usize,
    handler: &Arc<Handler>,
    slow: &SlowWay,
    pulse: &Pulse,
) -> io::Result<UdpWorkers> {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut threads, mut wake) = (Vec::new(), Vec::new());
    for socket in sockets {
        let local = socket.local_addr()?;
        let reach = Reach::of(&socket, local);
        let socket = Arc::new(Socket::new(socket)?);
        for number in 0..workers {
            wake.push(reach);
            let (socket, handler) = (Arc::clone(&socket), Arc::clone(handler));
            let (slow, stop) = (slow.clone(), Arc::clone(&stop));
            let beat = pulse.part(format!("UDP worker {number} of {local}"));
            let worker = move || work(&socket, &handler, &slow, &stop, &beat);
            threads.push(thread::Builder::new().name(format!("udp-{number}")).spawn(worker)?);
        }
    }
    Ok(UdpWorkers { stop, threads, wake })
}

/// Sends an empty datagram. A worker that waits takes it and sees that it should stop; one that nobody
/// takes is nothing to the next program.
fn wake(address: SocketAddr) {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A worker that is not woken sees it a little later.
    let _ = UdpSocket::bind((any, 0)).and_then(|socket| socket.send_to(&[], address));
}

/// A socket, and whether replies have to name the address they leave from.
#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    wildcard: bool,
}

/// Where a reply goes, and from which of our addresses.
#[derive(Clone, Debug)]
pub(super) struct ReplyTo {
    socket: Arc<Socket>,
    peer: SocketAddr,
    from: Option<From>,
}

/// The address a packet was sent to.
#[derive(Clone, Copy, Debug)]
enum From {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

impl Socket {
    fn new(socket: UdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        let wildcard = local.ip().is_unspecified();
        socket.set_nonblocking(false)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(IDLE_PERIOD))?;
        if wildcard {
            match local {
                SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
                SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            }
        }
        Ok(Self { socket, wildcard })
    }

    fn receive(&self, buffer: &mut [u8]) -> nix::Result<(usize, SocketAddr, Option<From>)> {
        let mut control = nix::cmsg_space!(in_pktinfo, in6_pktinfo);
        let mut slices = [IoSliceMut::new(buffer)];
        let control = self.wildcard.then_some(control.as_mut_slice());
        let message =
            recvmsg::<SockaddrStorage>(self.socket.as_raw_fd(), &mut slices, control, MsgFlags::empty())?;
        let peer = message.address.as_ref().and_then(address).ok_or(Errno::EAFNOSUPPORT)?;
        let from = match message.cmsgs() {
            Ok(mut infos) if self.wildcard => infos.find_map(|info| match info {
                ControlMessageOwned::Ipv4PacketInfo(info) => Some(From::V4(in_pktinfo {
                    // The interface is the route's business, the address is ours.
                    ipi_ifindex: 0,
                    ipi_spec_dst: info.ipi_addr,
                    ..info
                })),
                ControlMessageOwned::Ipv6PacketInfo(info) => Some(From::V6(in6_pktinfo {
                    // Only a link-local address needs its interface.
                    ipi6_ifindex: if is_link_local(peer) { info.ipi6_ifindex } else { 0 },
                    ..info
                })),
                _ => None,
            }),
            _ => None,
        };
        Ok((message.bytes, peer, from))
    }
}

impl ReplyTo {
    /// Sends a reply; one that cannot be sent is like one that is lost on its way.
    pub(super) fn send(&self, reply: &[u8]) {
        let slices = [IoSlice::new(reply)];
        let control = match &self.from {
            Some(From::V4(info)) => Some(ControlMessage::Ipv4PacketInfo(info)),
            Some(From::V6(info)) => Some(ControlMessage::Ipv6PacketInfo(info)),
            None => None,
        };
        let peer = SockaddrStorage::from(self.peer);
        let sent = sendmsg(
            self.socket.socket.as_raw_fd(),
            &slices,
            control.as_slice(),
            MsgFlags::MSG_DONTWAIT,
            Some(&peer),
        );
        if let Err(error) = sent {
            log::debug!("sending to {}: {error}", self.peer);
        }
    }
}

fn work(socket: &Arc<Socket>, handler: &Handler, slow: &SlowWay, stop: &AtomicBool, beat: &Beat) {
    let mut buffer = vec![0; LARGEST];
    while !stop.load(Ordering::Relaxed) {
        beat.beat();
        let (len, peer, from) = match socket.receive(&mut buffer) {
            Ok(received) => received,
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            // From a port that cannot be answered: a peer must not make the worker rest.
            Err(Errno::EAFNOSUPPORT) => continue,
            Err(error) => {
                // The network may provoke some of these, so they are nothing to end for.
                log::debug!("receiving: {error}");
                thread::sleep(REST);
                continue;
            }
        };
        let reply_to = ReplyTo { socket: Arc::clone(socket), peer, from };
        match handler.now(&buffer[..len], peer, Via::Udp) {
            Now::Drop => {}
            Now::Reply(reply) => reply_to.send(&reply),
            Now::Later(job) => {
                if let Err(back) = slow.take(job, reply_to) {
                    let (job, reply_to) = *back;
                    reply_to.send(&handler.overloaded(&job));
                }
            }
        }
    }
}

fn is_link_local(peer: SocketAddr) -> bool {
    matches!(peer, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local())
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    // A port of 0 cannot be answered.
    let address = match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
        (Some(v4), _) => SocketAddr::from((v4.ip(), v4.port())),
        (None, Some(v6)) => {
            let ip: Ipv6Addr = v6.ip();
            SocketAddr::V6(SocketAddrV6::new(ip, v6.port(), v6.flowinfo(), v6.scope_id()))
        }
        (None, None) => return None,
    };
    (address.port() != 0 && storage.len() > 0).then_some(address)
}
