//! A TCP proxy that does to HTTP what proxies in the field do.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// The proxy; its threads end with the connections.
pub struct Cutter {
    pub port: u16,
    server: Arc<AtomicU16>,
}

/// What it does.
#[derive(Clone, Copy)]
pub enum Cut {
    /// Ends each connection after this time.
    After(Duration),
    /// Lets HTTP/1 pass alone, as a server without the v3 API does.
    Http2,
    /// Passes everything.
    Nothing,
}

impl Cutter {
    /// Stands before a port.
    pub fn start(server: u16, cut: Cut) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let server = Arc::new(AtomicU16::new(server));
        let to = Arc::clone(&server);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let to = to.load(Ordering::SeqCst);
                std::thread::spawn(move || drop(serve(client, to, cut)));
            }
        });
        Self { port, server }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sends connections from now on to another port.
    pub fn lead_to(&self, server: u16) {
        self.server.store(server, Ordering::SeqCst);
    }
}

fn serve(client: TcpStream, server: u16, cut: Cut) -> std::io::Result<()> {
    let mut first = [0; 12];
    if let Cut::Http2 = cut {
        let len = client.peek(&mut first)?;
        if first[..len].starts_with(b"GET /version") {
            let version = r#"{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            return answer(client, &format!("{head}Content-Length: {}\r\n\r\n{version}", version.len()));
        }
        if first[..len].starts_with(b"PRI") {
            return answer(client, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
    }
    let server = TcpStream::connect(("127.0.0.1", server))?;
    let (one, other) = (client.try_clone()?, server.try_clone()?);
    if let Cut::After(time) = cut {
        let ends = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            std::thread::sleep(time);
            let _ = (ends.0.shutdown(Shutdown::Both), ends.1.shutdown(Shutdown::Both));
        });
    }
    std::thread::spawn(move || pass(other, one));
    pass(client, server);
    Ok(())
}

/// Answers, and ends the connection when all of the request was read: what is left unread would take the answer with it.
fn answer(mut client: TcpStream, text: &str) -> std::io::Result<()> {
    client.write_all(text.as_bytes())?;
    client.shutdown(Shutdown::Write)?;
    let mut rest = [0; 1_024];
    while client.read(&mut rest).is_ok_and(|len| len > 0) {}
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 65_536];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}
