//! The upstreams of the host, from resolv.conf(5), without the addresses of this server.
//!
//! Where resolv.conf names a stub resolver on this host or this server, the files are read in which that stub resolver or
//! the manager of the network keeps the servers that it was given. Behind `skydns resolv-conf enable`, those of the resolv.conf
//! that it replaced come before lists of managers that did not write that resolv.conf.

use crate::host_resolver::{
    self, BEFORE_FILE, MANAGER_LISTS, RESOLVED_FILE, RESOLVED_STUBS, STATIC_UPSTREAMS_FILE, TakeoverState,
};
use crate::regular_file;
use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// Reads upstreams from a file; see the module's documentation.
#[derive(Clone, Debug)]
pub struct ResolvConf {
    file: PathBuf,
    /// Below it are the files of managers.
    root: PathBuf,
    own: HashSet<SocketAddr>,
}

/// What one file says.
#[derive(Debug, Default)]
struct Servers {
    /// Without this server and systemd-resolved's stub.
    real: Vec<SocketAddr>,
    stubs: Vec<SocketAddr>,
    /// Whether it names this server.
    names_us: bool,
    /// Whether `skydns resolv-conf enable` wrote it: its other servers are there for when the agent does not answer.
    is_ours: bool,
}

impl ResolvConf {
    /// A reader of `file` that never gives the addresses that are our own.
    pub fn new(file: PathBuf, own: HashSet<SocketAddr>) -> Self {
        Self { file, root: PathBuf::from("/"), own }
    }

    /// The upstreams; none if the file does not exist or names only this server.
    ///
    /// The address of systemd-resolved's stub is replaced by the servers of the first other file that has some, unless the
    /// stub asks this server. So is an empty list.
    ///
    /// # Errors
    /// A file exists and cannot be read, and no other file names an upstream.
    pub fn read(&self) -> io::Result<Vec<SocketAddr>> {
        let named = self.servers(&self.file)?;
        if named.stubs.is_empty() && !named.real.is_empty() && !named.is_ours {
            return Ok(named.real);
        }
        let (mut stubs, mut error) = (named.stubs.clone(), None);
        let mut stub_asks_us = false;
        for files in self.other_files(named.is_ours) {
            let mut found = Vec::new();
            for file in files {
                match self.servers(&file) {
                    Ok(servers) => {
                        stub_asks_us |= servers.names_us && file.ends_with(RESOLVED_FILE);
                        found.extend(servers.real);
                        stubs.extend(servers.stubs);
                    }
                    Err(unreadable) => error = Some(unreadable),
                }
            }
            if !found.is_empty() {
                let direct = if named.is_ours { Vec::new() } else { named.real };
                return Ok(without_repeats(direct.into_iter().chain(found)));
            }
        }
        if !named.real.is_empty() {
            return Ok(if named.is_ours {
                named.real
            } else {
                without_repeats(named.real.into_iter().chain(named.stubs))
            });
        }
        // A stub resolver as the upstream is better than none.
        match (stubs.is_empty() || stub_asks_us, error) {
            (false, _) => Ok(without_repeats(stubs)),
            (true, Some(error)) => Err(error),
            (true, None) => Ok(Vec::new()),
        }
    }

    /// The files that are read after resolv.conf, those of one kind together, in this order. Behind our own file those count
    /// first that this host asked before: leases, the manager that had written resolv.conf, and what it was.
    fn other_files(&self, is_ours: bool) -> Vec<Vec<PathBuf>> {
        let state = TakeoverState::read(&self.root).ok().flatten();
        let author = state.as_ref().and_then(|state| state.author.as_deref());
        let one = |file: &str| vec![self.root.join(file)];
        let lists = |of_author: bool| {
            let lists = MANAGER_LISTS.iter().filter(move |(word, _)| (author == Some(*word)) == of_author);
            lists.map(|(_, file)| one(file))
        };
        let mut files = Vec::new();
        if !is_ours || author == Some("resolved") {
            files.push(one(STATIC_UPSTREAMS_FILE));
        }
        files.push(host_resolver::hook_files(&self.root, author));
        files.extend(lists(true));
        if is_ours {
            files.extend([one(BEFORE_FILE), one(STATIC_UPSTREAMS_FILE)]);
        }
        files.extend(lists(false));
        if !is_ours {
            files.push(one(BEFORE_FILE));
        }
        files
    }

    fn servers(&self, file: &Path) -> io::Result<Servers> {
        let text = match regular_file::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Servers::default()),
            text => {
                text.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?
            }
        };
        let mut servers = parse(&String::from_utf8_lossy(&text));
        let all = servers.len();
        servers.retain(|server| !self.own.contains(server));
        let names_us = servers.len() < all;
        let (stubs, real) = servers.into_iter().partition(is_resolved);
        Ok(Servers { real, stubs, names_us, is_ours: host_resolver::is_our_text(&text) })
    }
}

fn without_repeats(servers: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = HashSet::new();
    servers.into_iter().filter(|server| seen.insert(*server)).collect()
}

fn is_resolved(server: &SocketAddr) -> bool {
    matches!(server.ip(), IpAddr::V4(v4) if RESOLVED_STUBS.contains(&v4))
}

/// The addresses of the `nameserver` lines.
fn parse(text: &str) -> Vec<SocketAddr> {
    let words = host_resolver::name_server_words(text);
    without_repeats(words.iter().filter_map(|word| host_resolver::server_address(word)))
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_resolver::FILE_HEADER;
    use std::fs;

    const OWN: &str = "127.0.0.1:53";
    const OURS: &str = "etc/resolv.conf";
    const NM: &str = "run/NetworkManager/no-stub-resolv.conf";

    /// The upstreams of a host with these files; each has one `nameserver` line for a word of its text.
    fn read(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        let own = [OWN.parse().expect("an address")].into();
        let reader =
            ResolvConf { root: root.path().to_owned(), ..ResolvConf::new(root.path().join(OURS), own) };
        reader.read().expect("readable").iter().map(ToString::to_string).collect()
    }

    fn lines(servers: &[&str]) -> String {
        servers.iter().map(|server| format!("nameserver {server}\n")).collect()
    }

    fn ours(servers: &[&str]) -> String {
        FILE_HEADER.to_owned() + &lines(servers)
    }

    #[test]
    fn nameservers_are_read_leniently() {
        let text = "# comment\nsearch a b\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # x\nnameserver\n\
                    nameserver bad\nnameserver 192.0.2.1\noptions edns0\n";
        assert_eq!(read(&[(OURS, text)]), ["192.0.2.1:53", "[2001:db8::1]:53"]);
        assert_eq!(read(&[]), [""; 0]);
    }

    #[test]
    fn this_server_is_never_its_own_upstream() {
        assert_eq!(read(&[(OURS, &lines(&["127.0.0.1", "192.0.2.1"]))]), ["192.0.2.1:53"]);
        assert_eq!(read(&[(OURS, &lines(&["127.0.0.1"])), (NM, &lines(&["192.0.2.7"]))]), ["192.0.2.7:53"]);
        assert_eq!(read(&[(OURS, &lines(&["127.0.0.1"]))]), [""; 0]);
    }

    #[test]
    fn the_upstreams_of_a_stub_resolver_take_its_place() {
        let stub = lines(&["127.0.0.53"]);
        let asked = |servers: &[&str]| read(&[(OURS, &stub), (RESOLVED_FILE, &lines(servers))]);
        assert_eq!(asked(&["192.0.2.7"]), ["192.0.2.7:53"]);
        assert_eq!(read(&[(OURS, &stub)]), ["127.0.0.53:53"]);
        assert_eq!(read(&[(OURS, &lines(&["127.0.0.1"])), (NM, &stub)]), ["127.0.0.53:53"]);
        assert_eq!(asked(&["127.0.0.1", "192.0.2.7"]), ["192.0.2.7:53"]);
        assert_eq!(asked(&["127.0.0.1"]), [""; 0], "the stub asks this server");
        assert_eq!(
            read(&[
                (OURS, &stub),
                (RESOLVED_FILE, &lines(&["127.0.0.1", "192.0.2.7"])),
                (STATIC_UPSTREAMS_FILE, &lines(&["192.0.2.1"]))
            ]),
            ["192.0.2.1:53"]
        );
    }

    #[test]
    fn what_enable_keeps_as_a_second_server_is_the_last_choice() {
        let (first, second) = ("run/skydns-upstreams/eth0.dhclient", "run/skydns-upstreams/eth1.dhcpcd");
        let file = ours(&["127.0.0.1", "192.0.2.9"]);
        let before = ("etc/resolv.conf.before-skydns", lines(&["192.0.2.1"]));
        assert_eq!(read(&[(OURS, &file)]), ["192.0.2.9:53"]);
        assert_eq!(read(&[(OURS, &file), (before.0, &before.1)]), ["192.0.2.1:53"]);
        let (one, two) = (lines(&["192.0.2.2"]), lines(&["192.0.2.3", "192.0.2.2"]));
        let files = [(OURS, file.as_str()), (before.0, &before.1), (first, &one), (second, &two)];
        assert_eq!(read(&files), ["192.0.2.2:53", "192.0.2.3:53"], "all interfaces");
        let openresolv = ("run/skydns-upstreams/openresolv", lines(&["192.0.2.4"]));
        let files = [(OURS, file.as_str()), (before.0, &before.1), (openresolv.0, &openresolv.1)];
        assert_eq!(read(&files), ["192.0.2.1:53"], "it was not the author");
        let half =
            [(OURS, file.as_str()), (before.0, &before.1), ("run/skydns-upstreams/eth0.dhclient.new", &one)];
        assert_eq!(read(&half), ["192.0.2.1:53"], "it is being written");
    }

    #[test]
    fn lists_of_managers_count_if_they_wrote_the_file_from_before() {
        let (file, before) = (ours(&["127.0.0.1"]), lines(&["192.0.2.1"]));
        let given = lines(&["192.0.2.7"]);
        let resolvconf = "run/resolvconf/resolv.conf";
        for (author, list) in [("nm", NM), ("resolved", RESOLVED_FILE), ("resolvconf", resolvconf)] {
            let state = format!("link\nauthor {author}\n");
            let read_with = |state: &str| {
                let state = (host_resolver::STATE_FILE, state);
                read(&[(OURS, file.as_str()), (BEFORE_FILE, before.as_str()), (list, given.as_str()), state])
            };
            assert_eq!(read_with("link\n"), ["192.0.2.1:53"], "{list}");
            assert_eq!(read_with(&state), ["192.0.2.7:53"], "{list}");
            assert_eq!(read(&[(OURS, &file), (list, &given)]), ["192.0.2.7:53"], "the only one known");
        }
    }
}
