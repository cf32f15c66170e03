//! A steady load on the agent of a machine, which counts every query that gets no answer.

use nix::sys::socket::{setsockopt, sockopt};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Names that are asked for: `n0.skydns.local` and on.
pub const NAMES: usize = 10_000;

/// Queries a second over UDP.
pub const RATE: u64 = 20_000;

/// How long the last answers are waited for, from the last one that came.
const LAST: Duration = Duration::from_secs(3);

/// What came of a load.
#[derive(Debug)]
pub struct Outcome {
    pub sent: u64,
    pub lost: u64,
    /// Answers that were not the address asked for.
    pub wrong: u64,
    /// Longest time without an answer.
    pub gap: Duration,
    /// Connections that were made over TCP, and queries that failed on three of them in a row.
    pub connections: u64,
    pub failed: u64,
    /// Where lost queries may have gone: which they were, and what the system counted meanwhile.
    pub trace: String,
}

/// A load that runs; it is to be started in the machine's network.
pub struct Load {
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
    sender: JoinHandle<(u64, String)>,
    others: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    wrong: AtomicU64,
    received: AtomicU64,
    overtaken: AtomicU64,
    gap: Mutex<Duration>,
    connections: AtomicU64,
    failed: AtomicU64,
    pending: Vec<AtomicBool>,
    refused: AtomicU64,
    /// Nothing more is sent: only now can the last answer be the last.
    all_sent: AtomicBool,
    after: Mutex<String>,
}

/// What the kernel counted so far of datagrams: in this network, and of packets dropped on the way there.
fn counters() -> String {
    let lines = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap_or_default();
    let udp: Vec<_> = lines.lines().filter(|line| line.starts_with("Udp:")).collect();
    let backlog = std::fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
    let dropped: Vec<_> = backlog.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    format!("{} | dropped on their way: {}", udp.join(" "), dropped.join(" "))
}

fn question(id: u16, number: usize) -> Vec<u8> {
    let label = format!("n{number}");
    let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet[..2].copy_from_slice(&id.to_be_bytes());
    for label in [label.as_bytes(), b"skydns", b"local"] {
        packet.push(u8::try_from(label.len()).expect("a label"));
        packet.extend_from_slice(label);
    }
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    packet
}

/// Whether a packet is an answer with one record.
fn is_answer(packet: &[u8]) -> bool {
    packet.len() > 12 && packet[2] & 0x80 != 0 && packet[3] & 0x0f == 0 && packet[7] == 1
}

impl Load {
    pub fn start(server: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pending = (0..=u16::MAX).map(|_| AtomicBool::new(false)).collect();
        let shared = Arc::new(Shared { pending, ..Shared::default() });
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        setsockopt(&socket, sockopt::RcvBufForce, &(32 << 20)).expect("a buffer");
        socket.connect(server).expect("connected");
        let receiving = socket.try_clone().expect("a socket");
        let (s, t) = (Arc::clone(&shared), Arc::clone(&stop));
        let sender = std::thread::spawn(move || send(&socket, &s, &t));
        let s = Arc::clone(&shared);
        let mut others = vec![std::thread::spawn(move || receive(&receiving, &s))];
        for client in 0..2 {
            let (s, t) = (Arc::clone(&shared), Arc::clone(&stop));
            others.push(std::thread::spawn(move || reconnect(server, client, &s, &t)));
        }
        Self { stop, shared, sender, others }
    }

    /// Ends the load and waits for the last answers.
    pub fn finish(self) -> Outcome {
        self.stop.store(true, Relaxed);
        let (sent, before) = self.sender.join().expect("the sender");
        self.others.into_iter().for_each(|thread| thread.join().expect("a client"));
        let shared = self.shared;
        let waiting: Vec<_> =
            (0..=u16::MAX).filter(|id| shared.pending[usize::from(*id)].load(Relaxed)).collect();
        let trace = format!(
            "no answer to {waiting:?} of {sent}, {} not sent\nbefore {before}\nafter  {}",
            shared.refused.load(Relaxed),
            shared.after.lock().expect("unpoisoned")
        );
        let waiting = waiting.len();
        let gap = *shared.gap.lock().expect("unpoisoned");
        Outcome {
            sent,
            lost: shared.overtaken.load(Relaxed) + u64::try_from(waiting).expect("a number"),
            wrong: shared.wrong.load(Relaxed),
            gap,
            connections: shared.connections.load(Relaxed),
            failed: shared.failed.load(Relaxed),
            trace,
        }
    }

    pub fn answered(&self) -> u64 {
        self.shared.received.load(Relaxed)
    }
}

fn send(socket: &UdpSocket, shared: &Shared, stop: &AtomicBool) -> (u64, String) {
    let before = counters();
    let begun = Instant::now();
    let mut sent = 0;
    while !stop.load(Relaxed) {
        let due = u64::try_from(begun.elapsed().as_micros()).expect("a time") * RATE / 1_000_000;
        // A sender that was kept waiting must not make up for it in one burst.
        let due = due.min(sent + RATE / 100);
        while sent < due {
            let id = u16::try_from(sent & 0xffff).expect("an id");
            // Three seconds later the id comes again: whoever has no answer by then has lost it.
            if shared.pending[usize::from(id)].swap(true, Relaxed) {
                shared.overtaken.fetch_add(1, Relaxed);
            }
            let number = usize::try_from(sent).expect("a number") * 7 % NAMES;
            // A socket that does not exist for a moment answers with ICMP: that is a lost query, seen above.
            if socket.send(&question(id, number)).is_err() {
                shared.refused.fetch_add(1, Relaxed);
            }
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    shared.all_sent.store(true, Release);
    (sent, before)
}

fn receive(socket: &UdpSocket, shared: &Shared) {
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let mut buffer = [0; 512];
    let mut last = Instant::now();
    // When the last answer came, or the last question was sent, whichever is later.
    let mut quiet_since = None;
    loop {
        let Ok(len @ 2..) = socket.recv(&mut buffer) else {
            // Nothing came for a moment: only then is there time to look for what is missing.
            if shared.all_sent.load(Acquire) {
                let quiet_since = *quiet_since.get_or_insert_with(Instant::now);
                let is_complete = shared.pending.iter().all(|pending| !pending.load(Relaxed));
                if is_complete || quiet_since.elapsed() > LAST {
                    *shared.after.lock().expect("unpoisoned") = counters();
                    return;
                }
            }
            continue;
        };
        quiet_since = None;
        let now = Instant::now();
        let mut gap = shared.gap.lock().expect("unpoisoned");
        *gap = gap.max(now - last);
        last = now;
        drop(gap);
        shared.pending[usize::from(u16::from_be_bytes([buffer[0], buffer[1]]))].store(false, Relaxed);
        shared.received.fetch_add(1, Relaxed);
        if !is_answer(&buffer[..len]) {
            shared.wrong.fetch_add(1, Relaxed);
        }
    }
}

/// A client that asks three times on a connection, and makes the next one.
fn reconnect(server: SocketAddr, client: usize, shared: &Shared, stop: &AtomicBool) {
    let mut number = client;
    while !stop.load(Relaxed) {
        number = (number + 13) % NAMES;
        // A client whose connection is closed asks again on another (RFC 7766 §6.2.4).
        let answered = (0..3).any(|_| {
            shared.connections.fetch_add(1, Relaxed);
            ask(server, number).is_ok()
        });
        if !answered {
            shared.failed.fetch_add(1, Relaxed);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn ask(server: SocketAddr, number: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, LAST)?;
    stream.set_read_timeout(Some(LAST))?;
    for id in 1..=3 {
        let packet = question(id, number);
        let len = u16::try_from(packet.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[&len.to_be_bytes(), packet.as_slice()].concat())?;
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let mut reply = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut reply)?;
        if !is_answer(&reply) {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
    }
    Ok(())
}
