//! An upstream that one thread serves without a pause: it gives every name an address, and is silent about names that
//! begin with `dead`.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The address that every name has.
pub const ADDRESS: [u8; 4] = [192, 0, 2, 1];

/// TTL of an answer, in seconds.
const TTL: u8 = 2;

/// Length of a message's header.
const HEADER: usize = 12;

/// A pointer to the question's name, type A, class IN, the TTL, four octets.
const ANSWER: [u8; 12] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, TTL, 0, 4];

/// An OPT record that offers 1,232 octets.
const OPT: [u8; 11] = [0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0];

/// The server; it ends with this.
pub struct PlainUpstream {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    marked: Arc<Mutex<HashSet<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl PlainUpstream {
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let _ = nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &(32 << 20));
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a deadline");
        let address = socket.local_addr().expect("an address");
        let (stop, marked) = (Arc::<AtomicBool>::default(), Arc::<Mutex<HashSet<String>>>::default());
        let (stopped, marking) = (Arc::clone(&stop), Arc::clone(&marked));
        let thread = std::thread::spawn(move || serve(&socket, &stopped, &marking));
        Self { address, stop, marked, thread: Some(thread) }
    }

    /// Whether a name was asked for whose first label is this. Only labels that begin with `mark` are remembered.
    pub fn was_asked(&self, label: &str) -> bool {
        self.marked.lock().expect("unpoisoned").contains(label)
    }
}

impl Drop for PlainUpstream {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(socket: &UdpSocket, stop: &AtomicBool, marked: &Mutex<HashSet<String>>) {
    let mut buffer = [0; 4_096];
    while !stop.load(Relaxed) {
        let Ok((len, peer)) = socket.recv_from(&mut buffer) else { continue };
        let query = &buffer[..len];
        let Some(label) = first_label(query) else { continue };
        if label.starts_with("mark") {
            marked.lock().expect("unpoisoned").insert(label.clone());
        }
        if !label.starts_with("dead") {
            let _ = socket.send_to(&reply_to(query), peer);
        }
    }
}

fn first_label(query: &[u8]) -> Option<String> {
    let len = usize::from(*query.get(HEADER)?);
    let label = query.get(HEADER + 1..HEADER + 1 + len)?;
    Some(String::from_utf8_lossy(label).to_ascii_lowercase())
}

/// The address for a question of type A, else no data. EDNS is answered with EDNS.
fn reply_to(query: &[u8]) -> Vec<u8> {
    let mut end = HEADER;
    while query[end] != 0 {
        end += 1 + usize::from(query[end]);
    }
    let is_address = query[end + 1..end + 3] == [0, 1];
    let has_opt = query[11] != 0;
    let mut reply = query[..end + 5].to_vec();
    reply[2] |= 0x80;
    reply[3] = 0x80;
    reply[6..HEADER].copy_from_slice(&[0, u8::from(is_address), 0, 0, 0, u8::from(has_opt)]);
    if is_address {
        reply.extend(ANSWER);
        reply.extend(ADDRESS);
    }
    if has_opt {
        reply.extend(OPT);
    }
    reply
}
