//! What `enable` looks at beside resolv.conf: the next boot, nsswitch.conf, and whether names are looked up afterwards.

use super::managers;
use super::programs;
use crate::host_resolver::name_servers;
use crate::regular_file;
use crate::server;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one look-up may take: the agent asks its upstreams again within it.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// What is known after the change only from then on: the agent reads the files of its upstreams every 2 s.
const SETTLE_PAUSE: Duration = Duration::from_millis(2500);

/// How long look-ups may fail after that: the agent takes upstreams that were just named for well, and asks them in turn.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// A rcode that tells nothing of the name: the upstreams do not answer (RFC 1035 §4.1.1).
const SERVFAIL: u8 = 2;

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

/// Whether a name outside of the site is looked up by the agent: one that nobody has asked for yet.
pub(super) fn looks_up(server: IpAddr) -> io::Result<()> {
    let name = format!("skydns-{:08x}.example.com.", rand::random::<u32>());
    match server::rcode_at(SocketAddr::new(server, 53), &name, LOOKUP_TIMEOUT)? {
        SERVFAIL => Err(io::Error::other("SERVFAIL")),
        _ => Ok(()),
    }
}

/// Waits until the host's own way looks names up again.
///
/// # Errors
/// It never does.
pub(super) fn settles(root: &Path) -> io::Result<()> {
    let text = regular_file::read(&root.join("etc/resolv.conf"))?;
    let servers = name_servers(&String::from_utf8_lossy(&text));
    let server = *servers.first().ok_or_else(|| io::Error::other("resolv.conf names no server"))?;
    std::thread::sleep(SETTLE_PAUSE);
    let end = Instant::now() + SETTLE_TIMEOUT;
    loop {
        match looks_up(server) {
            Err(error) if Instant::now() >= end => return Err(error),
            // An answer that comes at once would be asked for again at once.
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
            Ok(()) => return Ok(()),
        }
    }
}
