//! Ten questions a millisecond, over all kinds of names, and a judgement of every answer. Some come with EDNS: there an
//! answer that is given beyond its time has to say so, and no other may. Some come over TCP.

// As in the support of tests: a test is a crate of its own.
#![allow(unreachable_pub)]

use super::support::{Stream, error_of};
use super::times::Times;
use hickory_proto::op::Message;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Questions a second, unless a test wants another rate.
pub const RATE: u64 = 10_000;

/// An answer that comes later has failed. The resolver of libc waits twice as long.
pub const DEADLINE: Duration = Duration::from_millis(2_500);

/// Wrong and failed answers that are told in full.
const TOLD: usize = 5;

/// What is right.
#[derive(Clone, Debug)]
pub enum Truth {
    /// The last record's data end with this, and there are so many answers.
    Ends(u8, Vec<u8>),
    /// The name does not exist.
    Absent,
    /// An address that ends with a number: one that was written, and none that is older than one seen before.
    Number(usize),
}

/// A question, and what is right.
pub struct Question {
    pub name: String,
    pub rtype: u16,
    pub truth: Truth,
    /// Whether it comes with EDNS.
    pub edns: bool,
    /// Whether the name is the site's own.
    pub own: bool,
}

/// TTL of the site's records, and the most that one beyond its time has.
const TTL: u32 = 3_600;
const STALE_TTL: u32 = 30;

/// After so long without a question those that were due are not asked: all at once, they would fill any socket's buffer.
const STANDSTILL: Duration = Duration::from_millis(300);

/// Time between two questions over TCP.
const TCP_PAUSE: Duration = Duration::from_millis(10);

/// A name whose address changes.
#[derive(Default)]
pub struct Changing {
    pub written: AtomicU32,
    pub seen: AtomicU32,
    /// Its number may go back now.
    pub free: AtomicBool,
}

/// What came of the questions of a while.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub asked: u64,
    pub wrong: u64,
    pub failed: u64,
    pub times: Times,
    /// Answers that said they are given beyond their time.
    pub stale: u64,
    pub told: Vec<String>,
}

struct Shared {
    questions: Vec<Question>,
    packets: Vec<Vec<u8>>,
    changing: Vec<Changing>,
    begun: Instant,
    stop: AtomicBool,
    /// Questions a second.
    rate: u64,
    /// Whether the site's names may be missing now.
    may_miss: AtomicBool,
    /// By id: when it was sent in microseconds (upper 48 bits), and which question it is, counted from 1.
    flying: Vec<AtomicU64>,
    /// By id: the number that was seen when it was sent.
    floors: Vec<AtomicU32>,
    asked: AtomicU64,
    outcome: Mutex<Outcome>,
}

/// The prober while it runs; it is to be started in the agent's network.
pub struct Prober {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// The octets of a question, with the id 0.
pub fn packet(name: &str, rtype: u16, edns: bool) -> Vec<u8> {
    let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)];
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).expect("a label"));
        packet.extend(label.as_bytes());
    }
    packet.push(0);
    packet.extend(rtype.to_be_bytes());
    packet.extend([0, 1]);
    if edns {
        packet.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
    }
    packet
}

impl Prober {
    pub fn start(server: SocketAddr, questions: Vec<Question>, changing: usize) -> Self {
        Self::start_at_rate(RATE, server, questions, changing)
    }

    pub fn start_at_rate(rate: u64, server: SocketAddr, questions: Vec<Question>, changing: usize) -> Self {
        let shared = Arc::new(Shared {
            packets: questions.iter().map(|q| packet(&q.name, q.rtype, q.edns)).collect(),
            questions,
            changing: (0..changing).map(|_| Changing::default()).collect(),
            begun: Instant::now(),
            stop: AtomicBool::new(false),
            rate,
            may_miss: AtomicBool::new(false),
            flying: (0..=u16::MAX).map(|_| AtomicU64::new(0)).collect(),
            floors: (0..=u16::MAX).map(|_| AtomicU32::new(0)).collect(),
            asked: AtomicU64::new(0),
            outcome: Mutex::default(),
        });
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let _ = nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &(32 << 20));
        socket.connect(server).expect("connected");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a deadline");
        let receiving = socket.try_clone().expect("a socket");
        let (sender, receiver, streamer) = (Arc::clone(&shared), Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            std::thread::spawn(move || streamer.stream(server)),
            std::thread::spawn(move || sender.send(&socket)),
            std::thread::spawn(move || receiver.receive(&receiving)),
        ];
        Self { shared, threads }
    }

    /// Whether the site's names may be missing from now on.
    pub fn may_miss(&self, may: bool) {
        self.shared.may_miss.store(may, Relaxed);
    }

    pub fn changing(&self, number: usize) -> &Changing {
        &self.shared.changing[number]
    }

    /// What came of the questions since the last time, once the last of them is judged.
    pub fn outcome(&self) -> Outcome {
        std::thread::sleep(DEADLINE + Duration::from_millis(200));
        let mut outcome = std::mem::take(&mut *self.shared.outcome.lock().expect("unpoisoned"));
        outcome.asked = self.shared.asked.swap(0, Relaxed);
        outcome
    }

    pub fn finish(self) {
        self.shared.stop.store(true, Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
    }
}

impl Shared {
    fn send(&self, socket: &UdpSocket) {
        let (begun, mut sent) = (Instant::now(), 0u64);
        while !self.stop.load(Relaxed) {
            let due = u64::try_from(begun.elapsed().as_micros()).expect("a time") * self.rate / 1_000_000;
            let late = Duration::from_micros((due - sent) * 1_000_000 / self.rate);
            if late > STANDSTILL {
                println!("the prober stood still for {} ms", late.as_millis());
                sent = due;
            }
            for number in sent..due {
                let id = u16::try_from(number % 65_536).expect("an id");
                // Each question in turn, with a stride that is a stranger to their number.
                let at = usize::try_from(number * 7_919 % self.packets.len() as u64).expect("a place");
                let mut packet = self.packets[at].clone();
                packet[..2].copy_from_slice(&id.to_be_bytes());
                self.floors[usize::from(id)].store(self.floor(at), Relaxed);
                let flight = self.now() << 16 | (at as u64 + 1);
                if self.flying[usize::from(id)].swap(flight, Relaxed) != 0 {
                    self.fail(at, "was never answered");
                }
                let _ = socket.send(&packet);
                self.asked.fetch_add(1, Relaxed);
            }
            sent = due;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The least number that may be seen from now on.
    fn floor(&self, at: usize) -> u32 {
        let Truth::Number(which) = self.questions[at].truth else { return 0 };
        let changing = &self.changing[which];
        if changing.free.load(Relaxed) { 0 } else { changing.seen.load(Relaxed) }
    }

    /// Asks over TCP, one question after the other.
    fn stream(&self, server: SocketAddr) {
        let mut stream = Stream::connect(server);
        let mut turn = 0;
        while !self.stop.load(Relaxed) {
            turn += 1;
            let at = turn * 31 % self.packets.len();
            let (floor, begun) = (self.floor(at), Instant::now());
            self.asked.fetch_add(1, Relaxed);
            match stream.exchange(&self.packets[at]) {
                Some(reply) if begun.elapsed() < DEADLINE => self.weigh(at, &reply, begun.elapsed(), floor),
                _ => {
                    self.fail(at, "was not answered over TCP in time");
                    stream = Stream::connect(server);
                }
            }
            std::thread::sleep(TCP_PAUSE);
        }
    }

    fn receive(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4_096];
        let mut swept = Instant::now();
        while !self.stop.load(Relaxed) {
            if let Ok(len) = socket.recv(&mut buffer) {
                self.judge(&buffer[..len]);
            }
            if swept.elapsed() > Duration::from_millis(100) {
                self.sweep();
                swept = Instant::now();
            }
        }
    }

    /// Microseconds since the beginning.
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).expect("a time")
    }

    /// Gives up what is overdue.
    fn sweep(&self) {
        let deadline = u64::try_from(DEADLINE.as_micros()).expect("a time");
        for flying in &self.flying {
            let flight = flying.load(Relaxed);
            let overdue = flight != 0 && self.now().saturating_sub(flight >> 16) > deadline;
            if overdue && flying.compare_exchange(flight, 0, Relaxed, Relaxed).is_ok() {
                self.outcome.lock().expect("unpoisoned").times.add(DEADLINE);
                self.fail(usize::try_from(flight & 0xffff).expect("a place") - 1, "was not answered in time");
            }
        }
    }

    fn judge(&self, reply: &[u8]) {
        let Some(id) = reply.first_chunk::<2>().map(|id| usize::from(u16::from_be_bytes(*id))) else {
            return;
        };
        let flight = self.flying[id].swap(0, Relaxed);
        if flight == 0 {
            return;
        }
        let at = usize::try_from(flight & 0xffff).expect("a place") - 1;
        let took = Duration::from_micros(self.now().saturating_sub(flight >> 16));
        self.weigh(at, reply, took, self.floors[id].load(Relaxed));
    }

    /// Judges the reply to a question.
    fn weigh(&self, at: usize, reply: &[u8], took: Duration, floor: u32) {
        {
            let mut outcome = self.outcome.lock().expect("unpoisoned");
            outcome.times.add(took);
        }
        let question = &self.questions[at];
        let (rcode, answers) = (reply[3] & 0x0f, reply[7]);
        let shown = || format!("rcode {rcode}, {answers} answers, ends with {:?}", &reply[reply.len() - 4..]);
        if rcode == 2 || rcode == 5 {
            return self.fail(at, &shown());
        }
        if question.own && rcode == 3 && self.may_miss.load(Relaxed) {
            return;
        }
        let right = match &question.truth {
            _ if question.edns && !self.is_honest(question, reply) => false,
            Truth::Ends(count, end) if question.edns => {
                rcode == 0 && answers == *count && reply.windows(end.len()).any(|part| part == end)
            }
            Truth::Ends(count, end) => rcode == 0 && answers == *count && reply.ends_with(end),
            Truth::Absent => rcode == 3 && answers == 0,
            Truth::Number(which) => {
                let number = reply.last_chunk::<2>().map_or(0, |end| u32::from(u16::from_be_bytes(*end)));
                let changing = &self.changing[*which];
                let known = (floor..=changing.written.load(Relaxed)).contains(&number);
                if known && !changing.free.load(Relaxed) {
                    changing.seen.fetch_max(number, Relaxed);
                }
                rcode == 0 && answers == 1 && known
            }
        };
        if !right {
            let mut outcome = self.outcome.lock().expect("unpoisoned");
            outcome.wrong += 1;
            self.tell(&mut outcome, at, &shown());
        }
    }

    /// Whether an answer beyond its time says so, and no other does.
    fn is_honest(&self, question: &Question, reply: &[u8]) -> bool {
        let Ok(message) = Message::from_vec(reply) else { return false };
        let is_stale = error_of(&message) == Some(3);
        self.outcome.lock().expect("unpoisoned").stale += u64::from(is_stale);
        let ttl = message.answers.first().map(|record| record.ttl);
        match ttl.filter(|_| question.own) {
            Some(ttl) => ttl == if is_stale { STALE_TTL } else { TTL },
            None => true,
        }
    }

    fn fail(&self, at: usize, why: &str) {
        let mut outcome = self.outcome.lock().expect("unpoisoned");
        outcome.failed += 1;
        self.tell(&mut outcome, at, why);
    }

    fn tell(&self, outcome: &mut Outcome, at: usize, what: &str) {
        if outcome.told.len() < TOLD {
            let Question { name, rtype, truth, .. } = &self.questions[at];
            outcome.told.push(format!("{name} {rtype} ({truth:?}): {what}"));
        }
    }
}
