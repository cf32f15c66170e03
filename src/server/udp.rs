//! UDP: worker threads that receive, answer, and send.

use super::datagrams::{BATCH, Batch, Peer, Socket};
use super::fast_path::FastPath;
use super::handler::{Handled, Handler, Protocol};
use super::reach::Reach;
use super::slow_path::{PendingQueries, SlowPath};
use crate::clock::unix_time;
use crate::heartbeat::{Heartbeat, Heartbeats};
use crate::logging::RateLimitedLog;
use crate::metrics::SocketWork;
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

/// Octets that the cached replies of all workers take at most, as long as each has its least.
const CACHED_OCTETS: usize = 256 << 20;

/// The least and the most of one worker.
const CACHED_OCTETS_OF_WORKER: (usize, usize) = (2 << 20, 16 << 20);

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

/// Starts workers, so many for each socket, each with a slow path of its own.
///
/// # Errors
/// A socket cannot be set up, or a thread not be started.
pub fn spawn(
    sockets: Vec<UdpSocket>,
    workers: usize,
    handler: &Arc<Handler>,
    slow: Vec<SlowPath>,
    heartbeats: &Heartbeats,
) -> io::Result<UdpWorkers> {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut threads, mut wake) = (Vec::new(), Vec::new());
    let most = (CACHED_OCTETS / (workers * sockets.len()).max(1))
        .clamp(CACHED_OCTETS_OF_WORKER.0, CACHED_OCTETS_OF_WORKER.1);
    let mut slow = slow.into_iter();
    for socket in sockets {
        let local = socket.local_addr()?;
        let reach = Reach::of(&socket, local);
        let socket = Arc::new(Socket::new(socket, IDLE_PERIOD)?);
        for (number, slow) in slow.by_ref().take(workers).enumerate() {
            wake.push(reach);
            let (socket, handler) = (Arc::clone(&socket), Arc::clone(handler));
            let stop = Arc::clone(&stop);
            let heartbeat = heartbeats.monitor(format!("UDP worker {number} of {local}"));
            let worker = move || match socket.is_v4() {
                true => Worker::<SockaddrIn>::new(socket, &handler, &slow, most).work(&stop, &heartbeat),
                false => Worker::<SockaddrIn6>::new(socket, &handler, &slow, most).work(&stop, &heartbeat),
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
    slow: &'a SlowPath,
    batch: Batch<P>,
    fast: FastPath,
    /// Octets that its cached replies take at most.
    most: usize,
    /// What goes the slow path next.
    later: PendingQueries,
}

impl<'a, P: Peer> Worker<'a, P> {
    fn new(socket: Arc<Socket>, handler: &'a Handler, slow: &'a SlowPath, most: usize) -> Self {
        let fast = FastPath::new(handler, most);
        Self { handler, slow, batch: Batch::new(socket), fast, most, later: PendingQueries::new() }
    }

    fn work(mut self, stop: &AtomicBool, heartbeat: &Heartbeat) {
        let failures = RateLimitedLog::default();
        while !stop.load(Ordering::Relaxed) {
            heartbeat.beat();
            match self.batch.receive() {
                Ok(received) => self.contained(|worker| worker.answer(received, heartbeat)),
                // Without a query as well: an old tree is let go of.
                Err(Errno::EAGAIN | Errno::EINTR) => {
                    self.contained(|worker| worker.fast.begin(worker.handler, unix_time()));
                }
                Err(error) => {
                    // The network may provoke some of these, so they are nothing to end for.
                    log::log!(
                        failures.level(log::Level::Warn),
                        "receiving at {}: {error}",
                        self.batch.local()
                    );
                    self.handler.metrics().socket_failed(SocketWork::Receive, 1);
                    thread::sleep(REST);
                }
            }
        }
    }

    /// Does some of the work. A panic costs the replies of this batch, and what is cached; the worker goes on.
    fn contained(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            self.handler.metrics().panicked();
            log::error!("a fault in a UDP worker of {}", self.batch.local());
            self.fast = FastPath::new(self.handler, self.most);
            self.later.clear();
            self.batch.forget();
        }
    }

    /// Answers what is cached, and sends that before the rest takes its time.
    fn answer(&mut self, received: usize, heartbeat: &Heartbeat) {
        let begun = Instant::now();
        self.fast.begin(self.handler, unix_time());
        let mut unknown = [0; BATCH];
        let mut unknowns = 0;
        for at in 0..received {
            let client = self.batch.peer(at).ip();
            let (buffer, len) = self.batch.datagram(at);
            let fast = catch_unwind(AssertUnwindSafe(|| self.fast.answer(buffer, len, client)));
            match fast {
                Ok(Some(len)) => self.batch.replied(at, len),
                Ok(None) => {
                    unknown[unknowns] = at;
                    unknowns += 1;
                }
                // The query may be half overwritten by its reply. Whoever asked will ask again.
                Err(_) => {
                    self.handler.metrics().panicked();
                    log::error!("a fault in answering from a cached reply");
                    self.fast = FastPath::new(self.handler, self.most);
                    self.fast.begin(self.handler, unix_time());
                }
            }
        }
        if unknowns < received {
            self.fast.end(self.handler, begun.elapsed());
            self.send_replies();
        }
        let mut waiting = Instant::now();
        for at in &unknown[..unknowns] {
            heartbeat.beat();
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
            for (query, reply_to) in self.later.drain(..) {
                reply_to.send(&self.handler.overloaded(&query));
            }
        }
        self.send_replies();
    }

    fn send_replies(&mut self) {
        let failed = self.batch.send();
        if failed > 0 {
            self.handler.metrics().socket_failed(SocketWork::Send, failed);
        }
    }

    fn answer_in_full(&mut self, at: usize) {
        let peer = self.batch.peer(at);
        let (buffer, len) = self.batch.datagram(at);
        let packet = &buffer[..len];
        match self.handler.handle(packet, peer, Protocol::Udp) {
            Handled::Drop => {}
            Handled::Reply(reply, hint) => {
                if let Some(hint) = hint {
                    self.fast.offer(packet, &reply, hint);
                }
                self.batch.reply(at, &reply);
            }
            Handled::Pending(query) => self.later.push((query, self.batch.reply_to(at))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::handler::tests::{handler, packet};
    use super::super::slow_paths;
    use super::*;
    use crate::metrics::MetricNames;
    use crate::source::{Published, Status};
    use crate::tree::Tree;
    use hickory_proto::op::{Message, ResponseCode};

    #[test]
    fn a_panic_anywhere_costs_its_query_and_nothing_else() {
        let handler = Arc::new(handler());
        handler.published.store(Arc::new(Published { tree: Tree::tracked(), ..Published::default() }));
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let server = socket.local_addr().expect("an address");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (mut paths, mut tasks) = (Vec::new(), Vec::new());
        for (path, task) in slow_paths(&handler, 1) {
            paths.push(path);
            tasks.push(runtime.handle().clone().spawn(task));
        }
        let workers = spawn(vec![socket], 1, &handler, paths, &Heartbeats::default()).expect("workers");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        client.connect(server).expect("connected");
        client.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        let ask = |name: &str| {
            client.send(&packet(name)).expect("sent");
            let mut reply = [0; 512];
            let len = client.recv(&mut reply).ok()?;
            Some(Message::from_vec(&reply[..len]).expect("a reply").metadata.response_code)
        };
        let panics = || {
            let page = handler.metrics().page(&MetricNames::default(), &Status::default(), &[], 0);
            let line =
                page.lines().find(|line| line.starts_with("skydns_skydns_panics_total")).expect("a line");
            line.rsplit(' ').next().and_then(|count| count.parse::<u32>().ok()).expect("a count")
        };
        let (denied, failed) = (Some(ResponseCode::NXDomain), Some(ResponseCode::ServFail));
        assert_eq!(ask("fault-now.skydns.local."), failed);
        assert_eq!(ask("fault-later.example.org."), failed);
        assert_eq!(panics(), 2);
        let cached = ["fault-fast.skydns.local."; 4].map(ask);
        assert_eq!(cached[..2], [denied; 2], "as long as it is not cached");
        assert!(cached.contains(&None) && panics() > 2, "{cached:?}");
        assert_eq!(ask("a.skydns.local."), denied, "all that follows is answered");
        assert!(!workers.any_ended());
        workers.stop();
        runtime.block_on(async {
            for task in tasks {
                task.await.expect("the slow path ends in order");
            }
        });
    }
}
