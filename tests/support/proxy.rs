//! A TCP proxy that stops the client once the server has said something.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The proxy; its threads end with the connections.
pub struct Proxy {
    pub port: u16,
    held: Arc<AtomicBool>,
}

impl Proxy {
    /// Stands before a port; from the first time that the server sends `marker`, nothing of the client passes.
    pub fn start(server: u16, marker: &'static [u8]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let held = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&held);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let halves = (client.try_clone().expect("a stream"), server.try_clone().expect("a stream"));
                let (held, seen) = (Arc::clone(&gate), Arc::clone(&seen));
                std::thread::spawn(move || {
                    pass(server, client, |chunk| {
                        let found = chunk.windows(marker.len()).any(|window| window == marker);
                        if found && !seen.swap(true, Ordering::SeqCst) {
                            held.store(true, Ordering::SeqCst);
                        }
                    });
                });
                let held = Arc::clone(&gate);
                std::thread::spawn(move || {
                    pass(halves.0, halves.1, |_| {
                        while held.load(Ordering::SeqCst) {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    });
                });
            }
        });
        Self { port, held }
    }

    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    pub fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, look: impl Fn(&[u8])) {
    let mut buffer = [0; 65_536];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        look(&buffer[..len]);
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
}
