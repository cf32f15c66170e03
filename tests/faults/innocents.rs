//! Clients that mean no harm, beside the prober: what they ask for is in no cache, or they keep a connection for later.

// As in the support of tests: a test is a crate of its own.
#![allow(unreachable_pub)]

use super::prober::{DEADLINE, packet};
use super::support::Stream;
use super::support::plain_upstream::ADDRESS;
use super::times::Times;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Time between two new names: 200 of them in the four seconds of the short form.
const PAUSE: Duration = Duration::from_millis(20);

/// Time between two questions on a connection. The agent closes one that is idle for ten seconds.
const CONNECTION_PAUSE: Duration = Duration::from_millis(1_500);

/// Failures that are told in full.
const TOLD: usize = 5;

/// Numbers of new names.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What came of some questions.
#[derive(Debug, Default)]
pub struct Heard {
    pub asked: u64,
    pub failed: u64,
    pub times: Times,
    pub told: Vec<String>,
}

impl Heard {
    fn fail(&mut self, what: String) {
        self.failed += 1;
        if self.told.len() < TOLD {
            self.told.push(what);
        }
    }

    /// Judges a reply, and whether it came in time.
    fn weigh(&mut self, name: &str, reply: Option<&[u8]>, took: Duration, data: &[u8]) {
        self.times.add(took);
        match reply {
            Some(reply) if took < DEADLINE && reply[3] & 0x0f == 0 && reply.ends_with(data) => {}
            Some(reply) => self.fail(format!("{name}: rcode {} after {took:?}", reply[3] & 0x0f)),
            None => self.fail(format!("{name}: nothing after {took:?}")),
        }
    }
}

/// Asks for names that are in no cache, until it is told to stop, and judges all replies.
pub fn ask_for_new_names(from: Ipv4Addr, server: SocketAddr, stop: &AtomicBool) -> Heard {
    let socket = UdpSocket::bind((from, 0)).expect("a socket");
    socket.connect(server).expect("connected");
    let mut heard = Heard::default();
    let mut waiting: HashMap<u16, (Instant, String)> = HashMap::new();
    let mut due = Instant::now();
    while !stop.load(Relaxed) || !waiting.is_empty() {
        if Instant::now() >= due && !stop.load(Relaxed) {
            due += PAUSE;
            let id = u16::try_from(heard.asked % 65_536).expect("an id");
            let name = format!("new{}.example.org", NEXT.fetch_add(1, Relaxed));
            let mut question = packet(&name, 1, false);
            question[..2].copy_from_slice(&id.to_be_bytes());
            socket.send(&question).expect("sent");
            waiting.insert(id, (Instant::now(), name));
            heard.asked += 1;
        }
        let mut buffer = [0; 1_500];
        socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a deadline");
        if let Ok(len @ 12..) = socket.recv(&mut buffer) {
            let id = u16::from_be_bytes([buffer[0], buffer[1]]);
            if let Some((at, name)) = waiting.remove(&id) {
                heard.weigh(&name, Some(&buffer[..len]), at.elapsed(), &ADDRESS);
            }
        }
        let overdue = |at: &Instant| at.elapsed() > DEADLINE;
        for (_, (at, name)) in waiting.extract_if(|_, (at, _)| overdue(at)) {
            heard.weigh(&name, None, at.elapsed(), &ADDRESS);
        }
    }
    heard
}

/// Connections that are kept: each is asked now and then.
pub struct Kept {
    from: Ipv4Addr,
    server: SocketAddr,
    streams: Vec<Stream>,
}

impl Kept {
    pub fn open(count: usize, from: Ipv4Addr, server: SocketAddr) -> Self {
        let streams = (0..count).map(|_| connect(from, server)).collect();
        Self { from, server, streams }
    }

    /// Asks on each connection and on a new one, again and again, until it is told to stop.
    pub fn ask(mut self, (name, data): (&str, &[u8]), stop: &AtomicBool) -> Heard {
        let mut heard = Heard::default();
        let question = packet(name, 1, false);
        while !stop.load(Relaxed) {
            std::thread::sleep(CONNECTION_PAUSE);
            let begun = Instant::now();
            let mut new = connect(self.from, self.server);
            let reply = new.exchange(&question);
            heard.weigh("a new connection", reply.as_deref(), begun.elapsed(), data);
            for stream in &mut self.streams {
                let begun = Instant::now();
                let reply = stream.exchange(&question);
                heard.weigh("a kept connection", reply.as_deref(), begun.elapsed(), data);
                if reply.is_none() {
                    *stream = connect(self.from, self.server);
                }
            }
            heard.asked += 1 + self.streams.len() as u64;
        }
        heard
    }
}

fn connect(from: Ipv4Addr, server: SocketAddr) -> Stream {
    let stream = Stream::connect_from(from, server);
    stream.0.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream
}
