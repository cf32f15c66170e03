//! The upstreams of the host, from resolv.conf(5), without the addresses of this server.
//!
//! Where resolv.conf names a stub resolver on this host, the file in which that stub keeps its own upstreams is read.

use crate::regular_file;
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Files in which stub resolvers of this host keep their upstreams.
///
/// The last one is the resolv.conf that `skydns resolv-conf enable` replaced.
const STUB_UPSTREAM_FILES: [&str; 4] = [
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
    "/run/NetworkManager/resolv.conf",
    "/etc/resolv.conf.before-skydns",
];

/// The addresses of systemd-resolved's stub resolver.
const RESOLVED_STUBS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 53), Ipv4Addr::new(127, 0, 0, 54)];

/// Reads upstreams from a file; see the module's documentation.
#[derive(Clone, Debug)]
pub struct ResolvConf {
    file: PathBuf,
    fallbacks: Vec<PathBuf>,
    own: HashSet<SocketAddr>,
}

impl ResolvConf {
    /// A reader of `file` that never gives the addresses that are our own.
    pub fn new(file: PathBuf, own: HashSet<SocketAddr>) -> Self {
        Self { file, fallbacks: STUB_UPSTREAM_FILES.map(PathBuf::from).to_vec(), own }
    }

    /// The upstreams; none if the file does not exist or names only this server.
    ///
    /// The address of systemd-resolved's stub is replaced by the upstreams of a stub resolver. So is an empty list.
    ///
    /// # Errors
    /// A file exists and cannot be read, and no other file names an upstream.
    pub fn read(&self) -> io::Result<Vec<SocketAddr>> {
        let named = self.servers(&self.file)?;
        let direct: Vec<_> = named.iter().filter(|server| !is_resolved(server)).copied().collect();
        if named.len() == direct.len() && !direct.is_empty() {
            return Ok(direct);
        }
        let (mut fallbacks, mut error) = (Vec::new(), None);
        for file in &self.fallbacks {
            match self.servers(file) {
                Ok(servers) => fallbacks.push(servers),
                Err(unreadable) => error = Some(unreadable),
            }
        }
        let real = |servers: &&Vec<SocketAddr>| servers.iter().any(|server| !is_resolved(server));
        Ok(match fallbacks.iter().find(real) {
            Some(servers) => {
                let more = servers.iter().filter(|server| !is_resolved(server) && !direct.contains(server));
                direct.iter().chain(more).copied().collect()
            }
            // A stub resolver as the upstream is better than none.
            None if named.is_empty() => {
                let stub = fallbacks.into_iter().find(|servers| !servers.is_empty());
                stub.map_or_else(|| error.map_or(Ok(Vec::new()), Err), Ok)?
            }
            None => named,
        })
    }

    fn servers(&self, file: &Path) -> io::Result<Vec<SocketAddr>> {
        let text = match regular_file::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => {
                text.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?
            }
        };
        let mut servers = parse(&String::from_utf8_lossy(&text));
        servers.retain(|server| !self.own.contains(server));
        Ok(servers)
    }
}

fn is_resolved(server: &SocketAddr) -> bool {
    matches!(server.ip(), IpAddr::V4(v4) if RESOLVED_STUBS.contains(&v4))
}

/// The addresses of the `nameserver` lines; `%` and the interface may follow a link-local address.
fn parse(text: &str) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let server = words.next().and_then(|word| match word.split_once('%') {
            Some((address, scope)) => scoped(address, scope),
            None => word.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53)),
        });
        servers.extend(server.filter(|server| !servers.contains(server)));
    }
    servers
}

fn scoped(address: &str, scope: &str) -> Option<SocketAddr> {
    let index = scope.parse().ok().or_else(|| nix::net::if_::if_nametoindex(scope).ok())?;
    let address = address.parse().ok()?;
    Some(SocketAddr::V6(std::net::SocketAddrV6::new(address, 53, 0, index)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(resolv_conf: &str, behind: Option<&str>, own: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, stub) = (dir.path().join("resolv.conf"), dir.path().join("behind"));
        fs::write(&file, resolv_conf).expect("a file");
        if let Some(text) = behind {
            fs::write(&stub, text).expect("a file");
        }
        let own = own.iter().map(|own| own.parse().expect("an address")).collect();
        let reader = ResolvConf { fallbacks: vec![stub], ..ResolvConf::new(file, own) };
        reader.read().expect("readable").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nameservers_are_read_leniently() {
        let text = "# comment\nsearch a b\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # x\nnameserver\n\
                    nameserver bad\nnameserver 192.0.2.1\noptions edns0\n";
        assert_eq!(read(text, None, &[]), ["192.0.2.1:53", "[2001:db8::1]:53"]);
        assert_eq!(read("", None, &[]), [""; 0]);
    }

    #[test]
    fn this_server_is_never_its_own_upstream() {
        let text = "nameserver 127.0.0.1\nnameserver 192.0.2.1\n";
        assert_eq!(read(text, None, &["127.0.0.1:53"]), ["192.0.2.1:53"]);
        assert_eq!(
            read("nameserver 127.0.0.1\n", Some("nameserver 192.0.2.7\n"), &["127.0.0.1:53"]),
            ["192.0.2.7:53"]
        );
        assert_eq!(read("nameserver 127.0.0.1\n", None, &["127.0.0.1:53"]), [""; 0]);
    }

    #[test]
    fn the_upstreams_of_a_stub_resolver_take_its_place() {
        let behind = Some("nameserver 192.0.2.7\n");
        assert_eq!(read("nameserver 127.0.0.53\n", behind, &[]), ["192.0.2.7:53"]);
        assert_eq!(read("nameserver 127.0.0.53\n", None, &[]), ["127.0.0.53:53"]);
        let own = &["127.0.0.1:53"];
        let stub = Some("nameserver 127.0.0.53\n");
        assert_eq!(read("nameserver 127.0.0.1\n", stub, own), ["127.0.0.53:53"]);
    }
}
