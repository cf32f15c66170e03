//! What `enable` looks at beside resolv.conf: the next boot, nsswitch.conf, and whether names are looked up afterwards.

use super::managers;
use super::{programs, servers};
use crate::cli::say;
use crate::host_resolver::{RESOLVED_STUBS, name_server_words, server_address};
use crate::server;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one look-up may take: the agent asks its upstreams again within it.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// What is known after the change only from then on: the agent reads the files of its upstreams every 2 s.
const SETTLE_PAUSE: Duration = Duration::from_millis(2500);

/// How long look-ups may fail after that: the agent takes upstreams that were just named for well, and asks them in turn.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many servers of resolv.conf the C library asks (`MAXNS` of resolv.h).
const MAX_SERVERS: usize = 3;

/// Rcodes that tell something of the name, and two that do not (RFC 1035 §4.1.1).
const NOERROR: u8 = 0;
const NXDOMAIN: u8 = 3;
const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;

/// What an operator should know before the next boot.
pub(super) fn notes(root: &Path, is_resolved_set: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let is_here = root == Path::new("/");
    if is_here && root.join("run/systemd/system").is_dir() {
        for unit in ["skydns.socket", "skydns.service"] {
            if programs::run("systemctl", &["is-enabled", "--quiet", unit]).is_err() {
                notes.push(format!("after the next boot nothing would answer: systemctl enable {unit}"));
            }
        }
    }
    if !is_resolved_set && managers::is_resolved_asked_first(root) {
        notes.push(
            "nsswitch.conf has the C library ask systemd-resolved, not resolv.conf: enable with --how resolved".to_owned(),
        );
    }
    notes
}

/// The servers that programs of this host ask, in this order.
pub(super) fn asked(root: &Path) -> Vec<SocketAddr> {
    let text = servers::text(&root.join("etc/resolv.conf"));
    let words = name_server_words(&text);
    let mut named: Vec<_> = words.iter().filter_map(|word| server_address(word)).take(MAX_SERVERS).collect();
    if named.is_empty() {
        named.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
    }
    if managers::is_resolved_asked_first(root) {
        named.insert(0, SocketAddr::new(RESOLVED_STUBS[0].into(), 53));
    }
    named
}

/// Whether the first server that answers knows a name outside of the site: one that nobody has asked for yet. A server that
/// refuses, or says that it failed, is passed over, as the C library does.
pub(super) fn looks_up(servers: &[SocketAddr]) -> io::Result<()> {
    let name = format!("skydns-{:08x}.example.com.", rand::random::<u32>());
    let mut last = io::Error::other("resolv.conf names no server");
    for server in servers {
        last = match server::rcode_at(*server, &name, LOOKUP_TIMEOUT) {
            Ok(NOERROR | NXDOMAIN) => return Ok(()),
            Ok(SERVFAIL) => io::Error::other(format!("{server} says SERVFAIL")),
            Ok(REFUSED) => io::Error::other(format!("{server} says REFUSED")),
            Ok(rcode) => io::Error::other(format!("{server} says rcode {rcode}")),
            Err(error) => io::Error::new(error.kind(), format!("{server}: {error}")),
        };
    }
    Err(last)
}

/// Waits until the host's own way looks names up again. Servers after the agent are asked if the agent never does.
///
/// # Errors
/// None does.
pub(super) fn settles(root: &Path) -> io::Result<()> {
    std::thread::sleep(SETTLE_PAUSE);
    let end = Instant::now() + SETTLE_TIMEOUT;
    loop {
        let servers = asked(root);
        let (first, others) = servers.split_at(servers.len().min(1));
        match looks_up(first) {
            Ok(()) => return Ok(()),
            // An answer that comes at once would be asked for again at once.
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(200)),
            Err(error) if looks_up(others).is_err() => return Err(error),
            Err(error) => {
                say(&format!("names outside of the site are looked up by the second server only: {error}"));
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    /// A server that says this to each question, until the process ends.
    fn server(rcode: u8) -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let address = socket.local_addr().expect("an address");
        std::thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((len, client)) = socket.recv_from(&mut packet) {
                packet[2] |= 0x80;
                packet[3] = rcode;
                let _ = socket.send_to(&packet[..len], client);
            }
        });
        address
    }

    #[test]
    fn a_server_that_refuses_looks_nothing_up() {
        assert!(looks_up(&[server(NOERROR)]).is_ok() && looks_up(&[server(NXDOMAIN)]).is_ok());
        for (rcode, said) in [(SERVFAIL, "SERVFAIL"), (REFUSED, "REFUSED"), (4, "rcode 4")] {
            let error = looks_up(&[server(rcode)]).expect_err("an error").to_string();
            assert!(error.ends_with(&format!("says {said}")), "{error}");
            assert!(looks_up(&[server(rcode), server(NXDOMAIN)]).is_ok(), "the next one is asked");
        }
        assert!(looks_up(&[]).is_err());
    }

    #[test]
    fn the_host_asks_what_resolv_conf_names() {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(root.path().join("etc")).expect("a directory");
        let asked = || asked(root.path()).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(asked(), ["127.0.0.1:53"], "resolv.conf(5)");
        let text = "nameserver 192.0.2.1\nnameserver fe80::1%1\nnameserver x\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        std::fs::write(root.path().join("etc/resolv.conf"), text).expect("written");
        assert_eq!(asked(), ["192.0.2.1:53", "[fe80::1%1]:53", "192.0.2.2:53"]);
    }
}
