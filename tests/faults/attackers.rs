//! Clients that mean harm.

// As in the support of tests: a test is a crate of its own.
#![allow(unreachable_pub)]

use super::prober::packet;
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::support::Stream;

/// How long a client waits for the reply before it asks the next time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a question's OPT record without options has its size, from the end.
const SIZE_FROM_END: usize = 8;

/// How long the share of the machine is measured.
const MEASURED: Duration = Duration::from_millis(300);

/// An attack under way.
pub struct Attack {
    pub stop: AtomicBool,
    pub sent: AtomicU64,
    /// The part of the time of a core that a thread of the test gets: steady rates are so much of those that are asked for.
    share: f64,
}

/// Where an attacker comes from, and whom it attacks.
#[derive(Clone, Copy)]
pub struct Way {
    pub from: Ipv4Addr,
    pub server: SocketAddr,
}

impl Attack {
    /// An attack at the rates that leave as much of this machine to the agent as on a quiet one.
    pub fn new() -> Self {
        Self { stop: AtomicBool::new(false), sent: AtomicU64::new(0), share: share_of_a_core() }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    /// Some clients that ask one question after the other over UDP, each as soon as the last one is answered. All have EDNS.
    pub fn repeat(&self, way: Way, clients: usize, questions: &[Vec<u8>]) {
        let client = || {
            let socket = udp(way, PATIENCE);
            for question in questions.iter().cycle() {
                let _ = socket.send(&self.uncached(question));
                let _ = socket.recv(&mut [0; 4_096]);
                if !self.goes_on() {
                    return;
                }
            }
        };
        std::thread::scope(|scope| (0..clients).for_each(|_| drop(scope.spawn(client))));
    }

    /// A question with a size in its OPT record that the last thousands did not have, so that no cached reply is for it.
    fn uncached(&self, question: &[u8]) -> Vec<u8> {
        let mut question = question.to_vec();
        let size = 512 + u16::try_from(self.sent.fetch_add(1, Relaxed) % 3_500).expect("a size");
        let at = question.len() - SIZE_FROM_END;
        question[at..at + 2].copy_from_slice(&size.to_be_bytes());
        question
    }

    /// Questions for addresses at a steady rate over UDP, each for the name with its number, whatever comes back.
    pub fn flood(&self, way: Way, rate: u64, name: impl Fn(u64) -> String) {
        let socket = udp(way, Duration::from_millis(1));
        socket.set_nonblocking(true).expect("a socket that does not wait");
        self.at_rate(rate, |number| {
            let _ = socket.send(&numbered(number, &name(number)));
            while socket.recv(&mut [0; 1_500]).is_ok() {}
        });
    }

    /// The same, each from another network of 20.0.0.0/8; the host has all its addresses.
    pub fn flood_from_everywhere(&self, server: SocketAddr, rate: u64, name: impl Fn(u64) -> String) {
        self.at_rate(rate, |number| {
            let [.., high, low] = number.to_be_bytes();
            let socket = UdpSocket::bind((Ipv4Addr::new(20, high, low, 9), 0)).expect("a socket");
            let _ = socket.send_to(&numbered(number, &name(number)), server);
        });
    }

    /// Does something at a steady rate, with a number that never comes again.
    fn at_rate(&self, rate: u64, ask: impl Fn(u64)) {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rate"
        )]
        let rate = (rate as f64 * self.share).max(1.0) as u64;
        let (begun, mut sent) = (Instant::now(), 0);
        while self.goes_on() {
            let due = u64::try_from(begun.elapsed().as_micros()).expect("a time") * rate / 1_000_000;
            // What was missed is not made up for in one burst.
            sent = sent.max(due.saturating_sub(rate / 50));
            while sent < due {
                ask(sent);
                self.sent.fetch_add(1, Relaxed);
                sent += 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Connections that ask at a steady rate, all together, and read the replies.
    pub fn stream(&self, way: Way, connections: u32, rate: u32, questions: &[Vec<u8>]) {
        let pause = Duration::from_secs(1) * connections / rate;
        let client = || {
            let mut stream = connect(way);
            for question in questions.iter().cycle() {
                if self.ask(&mut stream, question) == Written::Closed {
                    stream = connect(way);
                }
                while matches!(stream.read(&mut [0; 65_536]), Ok(1..)) {}
                std::thread::sleep(pause);
                if !self.goes_on() {
                    return;
                }
            }
        };
        std::thread::scope(|scope| (0..connections).for_each(|_| drop(scope.spawn(client))));
    }

    /// Connections that ask for much, and never read a reply. Those that are closed are opened again, some at a time.
    pub fn never_read(&self, way: Way, connections: usize, question: &[u8]) {
        let connect = || {
            let stream = connect(way);
            // Replies shall wait with the agent, not here.
            let _ = setsockopt(&stream, sockopt::RcvBuf, &4_096);
            stream
        };
        let mut open: Vec<_> = (0..connections).map(|_| connect()).collect();
        while self.goes_on() {
            let mut reopened = 0;
            for stream in &mut open {
                match (0..4).map(|_| self.ask(stream, question)).find(|written| *written != Written::Whole) {
                    Some(Written::Closed) if reopened < 20 => {
                        *stream = connect();
                        reopened += 1;
                    }
                    _ => {}
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask(&self, stream: &mut TcpStream, question: &[u8]) -> Written {
        let written = write(stream, question);
        self.sent.fetch_add(u64::from(written == Written::Whole), Relaxed);
        written
    }
}

/// The part of the time of a core that one thread gets which never waits: about one half beside a busy loop on each core.
fn share_of_a_core() -> f64 {
    let used = || {
        // The first number is how long the thread ran, in nanoseconds.
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        text.split(' ').next().and_then(|ran| ran.parse().ok()).map(Duration::from_nanos)
    };
    let (begun, before) = (Instant::now(), used());
    while begun.elapsed() < MEASURED {
        std::hint::spin_loop();
    }
    let (Some(before), Some(after)) = (before, used()) else { return 1.0 };
    (after.saturating_sub(before).as_secs_f64() / begun.elapsed().as_secs_f64()).clamp(0.1, 1.0)
}

/// A question for the addresses of a name, with an id.
fn numbered(number: u64, name: &str) -> Vec<u8> {
    let mut question = packet(name, 1, false);
    question[..2].copy_from_slice(&u16::try_from(number % 65_536).expect("an id").to_be_bytes());
    question
}

fn udp(way: Way, patience: Duration) -> UdpSocket {
    let socket = UdpSocket::bind((way.from, 0)).expect("a socket");
    socket.connect(way.server).expect("connected");
    socket.set_read_timeout(Some(patience)).expect("a deadline");
    socket
}

fn connect(way: Way) -> TcpStream {
    let stream = Stream::connect_from(way.from, way.server).0;
    stream.set_nonblocking(true).expect("a socket that does not wait");
    stream
}

/// What became of a question on a connection that does not wait.
#[derive(PartialEq)]
enum Written {
    Whole,
    Waits,
    Closed,
}

fn write(stream: &mut TcpStream, question: &[u8]) -> Written {
    let len = u16::try_from(question.len()).expect("a length").to_be_bytes();
    match stream.write(&[&len, question].concat()) {
        Ok(written) if written == question.len() + 2 => Written::Whole,
        Err(error) if error.kind() == ErrorKind::WouldBlock => Written::Waits,
        // After a part of a question the rest would be read as another.
        Ok(_) | Err(_) => Written::Closed,
    }
}
