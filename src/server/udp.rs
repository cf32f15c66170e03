//! UDP: worker threads that receive, answer, and send.

use super::datagrams::{BATCH, Batch, Peer, Socket};
use super::fast::FastWay;
use super::handler::{Handler, Now, Via};
use super::reach::Reach;
use super::sign::now;
use super::slow::{Jobs, SlowWay};
use crate::pulse::{Beat, Pulse};
use nix::errno::Errno;
use nix::sys::socket::{SockaddrIn, SockaddrIn6};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a worker without work beats, in milliseconds, and looks whether it should stop.
const IDLE_PERIOD: i64 = 200;

/// How long a reply that is ready waits for others to be sent with.
const LONGEST_WAIT: Duration = Duration::from_micros(200);

/// Time for a worker to take the datagram that wakes it, until it is sent another.
const WAKE_PERIOD: Duration = Duration::from_millis(2);

/// Times that a worker is woken: then it is busy, and sees by itself that it should stop.
const MOST_WAKES: usize = 20;

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
        // One worker may take what was meant for several, so they are woken until the last one is.
        for _ in 0..MOST_WAKES {
            let waiting = self.threads.iter().zip(&self.wake).filter(|(thread, _)| !thread.is_finished());
            let addresses: Vec<_> = waiting.filter_map(|(_, reach)| reach.address()).collect();
            if addresses.is_empty() {
                break;
            }
            addresses.into_iter().for_each(wake);
            thread::sleep(WAKE_PERIOD);
        }
        for thread in self.threads {
            if thread.join().is_err() {
                log::error!("a UDP worker ended by a fault");
            }
        }
    }
}

/// Starts workers, so many for each socket, each with a slow way of its own.
///
/// # Errors
/// A socket cannot be set up, or a thread not be started.
pub fn spawn(
    sockets: Vec<UdpSocket>,
    workers: usize,
    handler: &Arc<Handler>,
    slow: Vec<SlowWay>,
    pulse: &Pulse,
) -> io::Result<UdpWorkers> {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut threads, mut wake) = (Vec::new(), Vec::new());
    let mut slow = slow.into_iter();
    for socket in sockets {
        let local = socket.local_addr()?;
        let reach = Reach::of(&socket, local);
        let socket = Arc::new(Socket::new(socket, IDLE_PERIOD)?);
        for (number, slow) in slow.by_ref().take(workers).enumerate() {
            wake.push(reach);
            let (socket, handler) = (Arc::clone(&socket), Arc::clone(handler));
            let stop = Arc::clone(&stop);
            let beat = pulse.part(format!("UDP worker {number} of {local}"));
            let worker = move || match socket.is_v4() {
                true => Worker::<SockaddrIn>::new(socket, &handler, &slow).work(&stop, &beat),
                false => Worker::<SockaddrIn6>::new(socket, &handler, &slow).work(&stop, &beat),
            };
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

/// One thread's way with packets: it receives a batch, answers what it can, and sends the replies.
struct Worker<'a, P> {
    handler: &'a Handler,
    slow: &'a SlowWay,
    batch: Batch<P>,
    fast: FastWay,
    /// What goes the slow way next.
    later: Jobs,
}

impl<'a, P: Peer> Worker<'a, P> {
    fn new(socket: Arc<Socket>, handler: &'a Handler, slow: &'a SlowWay) -> Self {
        Self { handler, slow, batch: Batch::new(socket), fast: FastWay::new(handler), later: Jobs::new() }
    }

    fn work(mut self, stop: &AtomicBool, beat: &Beat) {
        while !stop.load(Ordering::Relaxed) {
            beat.beat();
            match self.batch.receive() {
                Ok(received) => self.answer(received, beat),
                // Without a query as well: an old tree is let go of.
                Err(Errno::EAGAIN | Errno::EINTR) => self.fast.begin(self.handler, now()),
                Err(error) => {
                    // The network may provoke some of these, so they are nothing to end for.
                    log::debug!("receiving: {error}");
                    thread::sleep(REST);
                }
            }
        }
    }

    /// Answers what is prepared, and sends that before the rest takes its time.
    fn answer(&mut self, received: usize, beat: &Beat) {
        let begun = Instant::now();
        self.fast.begin(self.handler, now());
        let mut unknown = [0; BATCH];
        let mut unknowns = 0;
        for at in 0..received {
            let client = self.batch.peer(at).ip();
            let (buffer, len) = self.batch.datagram(at);
            let fast = catch_unwind(AssertUnwindSafe(|| self.fast.answer(buffer, len, client)));
            if let Ok(Some(len)) = fast {
                self.batch.replied(at, len);
                continue;
            }
            if fast.is_err() {
                self.fast = FastWay::new(self.handler);
            }
            unknown[unknowns] = at;
            unknowns += 1;
        }
        if unknowns < received {
            self.fast.end(self.handler, begun.elapsed());
            self.batch.send();
        }
        let mut waiting = Instant::now();
        for at in &unknown[..unknowns] {
            beat.beat();
            self.answer_in_full(*at);
            if waiting.elapsed() > LONGEST_WAIT {
                self.send();
                waiting = Instant::now();
            }
        }
        self.send();
    }

    /// Sends the replies there are, and hands over what takes waiting.
    fn send(&mut self) {
        if !self.later.is_empty() {
            self.slow.take(&mut self.later);
            for (job, reply_to) in self.later.drain(..) {
                reply_to.send(&self.handler.overloaded(&job));
            }
        }
        self.batch.send();
    }

    fn answer_in_full(&mut self, at: usize) {
        let peer = self.batch.peer(at);
        let (buffer, len) = self.batch.datagram(at);
        let packet = &buffer[..len];
        match self.handler.now(packet, peer, Via::Udp) {
            Now::Drop => {}
            Now::Reply(reply, again) => {
                if let Some(again) = again {
                    self.fast.keep(packet, &reply, again);
                }
                self.batch.reply(at, &reply);
            }
            Now::Later(job) => self.later.push((job, self.batch.reply_to(at))),
        }
    }
}
