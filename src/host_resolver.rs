//! What `skydns resolv-conf enable` leaves on the host, as the command, the agent and the forwarder read it.
//!
//! The agent cannot change these files: it only looks at them.

use crate::regular_file;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};

/// The agent's own file, as the symbolic link /etc/resolv.conf names it: relative to /etc.
pub(crate) const LINK_TARGET: &str = "skydns/resolv.conf";

/// The first line of the agent's own file.
pub(crate) const FILE_HEADER: &str =
    "# Written by \"skydns resolv-conf enable\"; \"skydns resolv-conf disable\" puts back what was there.\n";

/// What `enable` did, below the root of the host.
pub(crate) const STATE_FILE: &str = "etc/skydns/resolv-conf.state";

/// Servers that were set by hand in a setting that `enable` replaced, below the root of the host.
pub(crate) const STATIC_UPSTREAMS_FILE: &str = "etc/skydns/upstreams.conf";

/// The servers that systemd-resolved asks, below the root of the host.
pub(crate) const RESOLVED_FILE: &str = "run/systemd/resolve/resolv.conf";

/// Where managers keep the servers that they were given, below the root of the host, each with its word of `--how`.
pub(crate) const MANAGER_LISTS: [(&str, &str); 4] = [
    ("resolved", RESOLVED_FILE),
    ("nm", "run/NetworkManager/no-stub-resolv.conf"),
    ("nm", "run/NetworkManager/resolv.conf"),
    ("resolvconf", "run/resolvconf/resolv.conf"),
];

/// Where the agent writes the upstreams that it uses, an address a line, below the root of the host.
pub(crate) const KEPT_UPSTREAMS_FILE: &str = "var/lib/skydns/upstreams";

/// The addresses of systemd-resolved's stub resolver.
pub(crate) const RESOLVED_STUBS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 53), Ipv4Addr::new(127, 0, 0, 54)];

/// The resolv.conf that `enable` replaced, below the root of the host.
pub(crate) const BEFORE_FILE: &str = "etc/resolv.conf.before-skydns";

/// Where hooks of DHCP clients write the servers that they were given, a file for each interface, below the root of the
/// host. It belongs to root, and is empty after a boot.
pub(crate) const UPSTREAMS_DIR: &str = "run/skydns-upstreams";

/// Maximum number of files of [`UPSTREAMS_DIR`] that are read: one for each interface and client.
const MAX_UPSTREAM_FILES: usize = 64;

/// What `enable` did, as its file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TakeoverState {
    /// The words after `enable` with which the same is done again.
    pub(crate) words: Vec<String>,
    /// The managers whose settings were changed.
    pub(crate) managers: Vec<String>,
    /// Whether /etc/resolv.conf was made a link to the agent's own file.
    pub(crate) is_link: bool,
    /// The manager that had written /etc/resolv.conf, by its word of `--how`. Servers that other managers keep were not asked
    /// by this host.
    pub(crate) author: Option<String>,
}

impl TakeoverState {
    /// The state of the host; `None` if nothing is enabled.
    ///
    /// # Errors
    /// The file exists and cannot be read.
    pub(crate) fn read(root: &Path) -> io::Result<Option<Self>> {
        let text = match regular_file::read(&root.join(STATE_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let mut state = Self::default();
        for line in String::from_utf8_lossy(&text).lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("enable") => state.words = words.collect(),
                Some("manager") => state.managers.extend(words),
                Some("link") => state.is_link = true,
                Some("author") => state.author = words.next(),
                _ => {}
            }
        }
        Ok(Some(state))
    }

    /// The agent's addresses: the words before those of `--fallback`.
    pub(crate) fn own_addresses(&self) -> Vec<IpAddr> {
        let words = self.words.iter().take_while(|word| *word != "--fallback");
        words.filter_map(|word| word.parse().ok()).collect()
    }

    /// The text of the file.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from(FILE_HEADER);
        text.push_str(&format!("enable {}\n", self.words.join(" ")));
        if self.is_link {
            text.push_str("link\n");
        }
        for manager in &self.managers {
            text.push_str(&format!("manager {manager}\n"));
        }
        if let Some(author) = &self.author {
            text.push_str(&format!("author {author}\n"));
        }
        text
    }
}

/// Whether a path is the link to the agent's own file.
pub(crate) fn is_our_link(resolv_conf: &Path) -> bool {
    let target = fs::read_link(resolv_conf);
    target
        .is_ok_and(|target| target == Path::new(LINK_TARGET) || target == Path::new("/etc").join(LINK_TARGET))
}

/// Whether the text of a resolv.conf is that of the agent's own file.
pub(crate) fn is_our_text(text: &[u8]) -> bool {
    text.starts_with(FILE_HEADER.as_bytes())
}

/// Why the host does not ask the agent any more although it was enabled; `None` if all is well or nothing is enabled.
pub(crate) fn overwritten(root: &Path) -> Option<String> {
    let state = TakeoverState::read(root).ok()??;
    let resolv_conf = root.join("etc/resolv.conf");
    if !state.is_link {
        // systemd-resolved lists the servers that it asks.
        let asked = regular_file::read(&root.join(RESOLVED_FILE)).ok()?;
        let own = state.words.iter().filter_map(|word| word.parse::<IpAddr>().ok()).collect::<Vec<_>>();
        let servers = name_servers(&String::from_utf8_lossy(&asked));
        return (!servers.iter().any(|server| own.contains(server)))
            .then(|| "systemd-resolved does not ask the agent any more".to_owned());
    }
    if !is_our_link(&resolv_conf) {
        return Some(format!(
            "/etc/resolv.conf does not name the agent any more: it is {}",
            describe(&resolv_conf)
        ));
    }
    match regular_file::read(&resolv_conf) {
        Ok(text) if is_our_text(&text) => None,
        Ok(text) => Some(format!("/etc/{LINK_TARGET} was overwritten{}", author(&text))),
        Err(error) => Some(format!("/etc/{LINK_TARGET}: {error}")),
    }
}

/// What stands in the place of resolv.conf.
pub(crate) fn describe(resolv_conf: &Path) -> String {
    if let Ok(target) = fs::read_link(resolv_conf) {
        return format!("a link to {}", target.display());
    }
    match regular_file::read(resolv_conf) {
        Ok(text) => format!("a file{}", author(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "not there".to_owned(),
        Err(error) => format!("a file that cannot be read: {error}"),
    }
}

/// Programs say in the first line that they wrote the file.
fn author(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().next().unwrap_or_default();
    let line: String = line.chars().filter(|char| !char.is_control()).take(80).collect();
    if line.starts_with(['#', ';']) { format!(" (\"{line}\")") } else { String::new() }
}

/// The words after `nameserver`, as they are: an address may have `%` and an interface.
pub(crate) fn name_server_words(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next().map(str::to_owned))?
    });
    lines.collect()
}

/// The address of a word after `nameserver`; `%` and the interface may follow a link-local address.
pub(crate) fn server_address(word: &str) -> Option<SocketAddr> {
    let Some((address, scope)) = word.split_once('%') else {
        return word.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53));
    };
    let index = scope.parse().ok().or_else(|| nix::net::if_::if_nametoindex(scope).ok())?;
    Some(SocketAddr::V6(SocketAddrV6::new(address.parse().ok()?, 53, 0, index)))
}

/// The addresses of `nameserver` lines.
pub(crate) fn name_servers(text: &str) -> Vec<IpAddr> {
    name_server_words(text).iter().filter_map(|word| word.parse().ok()).collect()
}

/// The files that hooks wrote since `enable`, in the order of their names: those of DHCP clients, which would have written
/// resolv.conf, and that of openresolv if it was the author of resolv.conf.
pub(crate) fn hook_files(root: &Path, author: Option<&str>) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join(UPSTREAMS_DIR)).into_iter().flatten().flatten();
    // A hook writes another name first.
    let is_whole = |path: &PathBuf| !path.to_string_lossy().ends_with(".new");
    let counts = |path: &PathBuf| !path.ends_with("openresolv") || author == Some("openresolv");
    let mut files: Vec<_> =
        entries.take(MAX_UPSTREAM_FILES).map(|entry| entry.path()).filter(is_whole).filter(counts).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        root
    }

    fn state(is_link: bool) -> String {
        let words = ["--how", "auto", "127.0.0.1"].map(str::to_owned).to_vec();
        let author = Some("nm".to_owned());
        TakeoverState { words, managers: vec!["nm".to_owned()], is_link, author }.text()
    }

    #[test]
    fn the_state_is_read_as_it_was_written() {
        let root = host(&[(STATE_FILE, &state(true))]);
        let read = TakeoverState::read(root.path()).expect("readable").expect("enabled");
        assert_eq!((read.text(), read.is_link), (state(true), true));
        assert_eq!(TakeoverState::read(&root.path().join("etc")).expect("readable"), None);
    }

    #[test]
    fn who_overwrote_the_file_is_named() {
        let root = host(&[(STATE_FILE, &state(true)), ("etc/skydns/resolv.conf", FILE_HEADER)]);
        let resolv_conf = root.path().join("etc/resolv.conf");
        symlink(LINK_TARGET, &resolv_conf).expect("a link");
        assert_eq!(overwritten(root.path()), None);
        fs::write(&resolv_conf, "# Generated by\u{7} dhcpcd\nnameserver 192.0.2.1\n").expect("written");
        let text = overwritten(root.path()).expect("overwritten");
        assert_eq!(text, "/etc/skydns/resolv.conf was overwritten (\"# Generated by dhcpcd\")");
        fs::remove_file(&resolv_conf).expect("removed");
        fs::write(&resolv_conf, "# Generated by NetworkManager\n").expect("written");
        let text = overwritten(root.path()).expect("overwritten");
        assert!(text.ends_with("any more: it is a file (\"# Generated by NetworkManager\")"), "{text}");
        fs::remove_file(root.path().join(STATE_FILE)).expect("removed");
        assert_eq!(overwritten(root.path()), None);
    }

    #[test]
    fn resolved_has_to_ask_the_agent() {
        let asked = RESOLVED_FILE;
        let root =
            host(&[(STATE_FILE, &state(false)), (asked, "nameserver 127.0.0.1\nnameserver 192.0.2.1\n")]);
        assert_eq!(overwritten(root.path()), None);
        fs::write(root.path().join(asked), "nameserver 192.0.2.1\n").expect("written");
        assert!(overwritten(root.path()).expect("a text").starts_with("systemd-resolved does not"));
    }
}
