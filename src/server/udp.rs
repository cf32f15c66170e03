//! UDP: worker threads that receive, answer, and send.

use super::datagrams::{BATCH, Batch, PeerAddress, ServerSocket};
use super::fast_path::{FastPath, Queries};
use super::handler::{Handled, Handler};
use super::origin::Origin;
use super::own_socket::OwnSocket;
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

/// How long a worker waits for a datagram until it beats and looks whether it should stop, in milliseconds.
pub(super) const RECEIVE_TIMEOUT: i64 = 200;

/// Maximum time that a reply waits for others to be sent with.
const MAX_SEND_DELAY: Duration = Duration::from_micros(200);

/// Time for a worker to take the datagram that wakes it, until another is sent.
const WAKE_PERIOD: Duration = Duration::from_millis(2);

/// Maximum number of datagrams that wake a worker: after that the worker is busy, and sees by itself that it should stop.
const MAX_WAKES: usize = 20;

/// Memory of the cached replies of all workers, in octets, as long as each worker may have its minimum.
const CACHED_OCTETS: usize = 256 << 20;

/// Minimum and maximum of one worker's share, in octets.
const CACHED_OCTETS_OF_WORKER: (usize, usize) = (2 << 20, 16 << 20);

/// Pause after an error of receiving that concerns the socket.
pub(super) const RECEIVE_RETRY_PAUSE: Duration = Duration::from_millis(10);

/// The workers of all UDP sockets.
#[derive(Debug)]
pub struct UdpWorkers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// The socket of each worker, where an empty datagram wakes it.
    sockets: Vec<OwnSocket>,
}

impl UdpWorkers {
    /// Whether a worker ended without being asked to.
    pub fn any_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends the workers once each has answered the batch that it received.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // A worker may take a datagram that was meant for another one of its socket, so they are woken until all have ended.
        for _ in 0..MAX_WAKES {
            let running = self.threads.iter().zip(&self.sockets).filter(|(thread, _)| !thread.is_finished());
            let addresses: Vec<_> = running.filter_map(|(_, socket)| socket.address()).collect();
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

/// Starts `workers` workers for each socket, each with a slow path of its own out of `slow_paths`.
///
/// # Errors
/// A socket cannot be set up, or a thread not be started.
pub fn spawn(
    sockets: Vec<UdpSocket>,
    workers: usize,
    handler: &Arc<Handler>,
    slow_paths: Vec<SlowPath>,
    heartbeats: &Heartbeats,
) -> io::Result<UdpWorkers> {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut threads, mut own_sockets) = (Vec::new(), Vec::new());
    let (least, most) = CACHED_OCTETS_OF_WORKER;
    let capacity = (CACHED_OCTETS / (workers * sockets.len()).max(1)).clamp(least, most);
    let mut slow_paths = slow_paths.into_iter();
    for socket in sockets {
        let local = socket.local_addr()?;
        let own_socket = OwnSocket::of(&socket, local);
        let socket = Arc::new(ServerSocket::new(socket, RECEIVE_TIMEOUT)?);
        for (number, slow_path) in slow_paths.by_ref().take(workers).enumerate() {
            own_sockets.push(own_socket);
            let (socket, handler) = (Arc::clone(&socket), Arc::clone(handler));
            let stop = Arc::clone(&stop);
            let heartbeat = heartbeats.monitor(format!("UDP worker {number} of {local}"));
            let worker =
                move || match socket.is_v4() {
                    true => Worker::<SockaddrIn>::new(socket, &handler, &slow_path, capacity)
                        .run(&stop, &heartbeat),
                    false => Worker::<SockaddrIn6>::new(socket, &handler, &slow_path, capacity)
                        .run(&stop, &heartbeat),
                };
            threads.push(thread::Builder::new().name(format!("udp-{number}")).spawn(worker)?);
        }
    }
    Ok(UdpWorkers { stop, threads, sockets: own_sockets })
}

/// Sends an empty datagram. A worker that waits takes it and sees that it should stop; if no worker takes it, the next
/// process drops it as too short for a query.
fn wake(address: SocketAddr) {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A worker that is not woken sees a little later that it should stop.
    let _ = UdpSocket::bind((any, 0)).and_then(|socket| socket.send_to(&[], address));
}

/// One thread that receives batches of datagrams, answers what it can without waiting, and sends the replies.
struct Worker<'a, P> {
    handler: &'a Handler,
    slow_path: &'a SlowPath,
    batch: Batch<P>,
    fast_path: FastPath,
    /// Datagrams of the batch that the fast path did not answer.
    unanswered: Vec<usize>,
    /// Queries to hand to the slow path with the next replies.
    pending: PendingQueries,
}

impl<'a, P: PeerAddress> Worker<'a, P> {
    fn new(
        socket: Arc<ServerSocket>,
        handler: &'a Handler,
        slow_path: &'a SlowPath,
        capacity: usize,
    ) -> Self {
        Self {
            handler,
            slow_path,
            batch: Batch::new(socket),
            fast_path: FastPath::new(handler, capacity),
            unanswered: Vec::with_capacity(BATCH),
            pending: PendingQueries::new(),
        }
    }

    fn run(mut self, stop: &AtomicBool, heartbeat: &Heartbeat) {
        let failures = RateLimitedLog::default();
        while !stop.load(Ordering::Relaxed) {
            heartbeat.beat();
            match self.batch.receive() {
                Ok(received) => self.contain(|worker| worker.answer(received, heartbeat)),
                // Even without a query the worker takes the present state, so that an old tree can be freed.
                Err(Errno::EAGAIN | Errno::EINTR) => {
                    self.contain(|worker| worker.fast_path.begin(worker.handler, unix_time()));
                }
                Err(error) => {
                    // The network may provoke some of these errors, so none ends the worker.
                    let level = failures.level(log::Level::Warn);
                    log::log!(level, "receiving at {}: {error}", self.batch.local());
                    self.handler.metrics().socket_failed(SocketWork::Receive, 1);
                    thread::sleep(RECEIVE_RETRY_PAUSE);
                }
            }
        }
    }

    /// Does a piece of work. A panic in it costs the replies of this batch and the cached replies; the worker goes on.
    fn contain(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            self.handler.metrics().panicked();
            log::error!("a fault in a UDP worker of {}", self.batch.local());
            self.fast_path.reset(self.handler);
            self.pending.clear();
            self.batch.forget();
        }
    }

    /// Answers a batch. Replies of the fast path are sent before the full path takes its time.
    fn answer(&mut self, received: usize, heartbeat: &Heartbeat) {
        self.unanswered.clear();
        let mut queries = BatchQueries { batch: &mut self.batch, unanswered: &mut self.unanswered };
        self.fast_path.answer_batch(self.handler, &mut queries, received);
        if self.unanswered.len() < received {
            self.send_replies();
        }
        let mut last_sent = Instant::now();
        for index in 0..self.unanswered.len() {
            heartbeat.beat();
            self.answer_in_full(self.unanswered[index]);
            if last_sent.elapsed() > MAX_SEND_DELAY {
                self.send();
                last_sent = Instant::now();
            }
        }
        self.send();
    }

    /// Hands pending queries to the slow path, and sends the replies that are ready.
    fn send(&mut self) {
        if !self.pending.is_empty() {
            self.slow_path.take(&mut self.pending);
            for (query, reply_to) in self.pending.drain(..) {
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

    fn answer_in_full(&mut self, number: usize) {
        let origin = self.batch.origin(number);
        let (buffer, len) = self.batch.datagram(number);
        let query = &buffer[..len];
        match self.handler.handle(query, &origin) {
            Handled::Drop => {}
            Handled::Reply(reply, hint) => {
                if let Some(hint) = hint {
                    self.fast_path.offer(query, &reply, hint);
                }
                self.batch.reply(number, &reply);
            }
            Handled::Pending(query) => self.pending.push((query, self.batch.reply_to(number))),
        }
    }
}

/// The datagrams of a batch; those that are not answered go the full path.
struct BatchQueries<'b, P> {
    batch: &'b mut Batch<P>,
    unanswered: &'b mut Vec<usize>,
}

impl<P: PeerAddress> Queries for BatchQueries<'_, P> {
    fn client(&self, number: usize) -> Origin {
        self.batch.origin(number)
    }

    fn query(&mut self, number: usize) -> (&mut [u8], usize) {
        self.batch.datagram(number)
    }

    fn answered(&mut self, number: usize, len: Option<usize>) {
        match len {
            Some(len) => self.batch.replied(number, len),
            None => self.unanswered.push(number),
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
            let page = crate::metrics::page(
                handler.metrics(),
                &MetricNames::default(),
                &Status::default(),
                &crate::forward::ForwardReport::default(),
                (&[], 0),
            );
            let line =
                page.lines().find(|line| line.starts_with("skydns_skydns_panics_total")).expect("a line");
            line.rsplit(' ').next().and_then(|count| count.parse::<u32>().ok()).expect("a count")
        };
        let (denied, failed) = (Some(ResponseCode::NXDomain), Some(ResponseCode::ServFail));
        assert_eq!(ask("fault-now.dns.skydns.local."), failed);
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
