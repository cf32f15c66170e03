//! systemd-resolved (resolved.conf(5)): it asks the agent for everything (`Domains=~.`), and goes on to collect the servers of
//! the host's connections, which are the agent's upstreams.

use super::super::ResolvConfError;
use super::super::files::{remove, write};
use super::super::programs;
use super::setting::Setting;
use super::{Author, Manager, leads_into, text};
use crate::cli::say;
use crate::host_resolver::{RESOLVED_STUBS, STATIC_UPSTREAMS_FILE, name_servers};
use crate::regular_file;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

pub(super) const RESOLVED: Manager = Manager {
    word: "resolved",
    name: "systemd-resolved",
    is_here: is_running,
    by_itself: "asks the servers of the host's connections, not the agent",
    from_now: "asks the agent for every name (DNS=, Domains=~.)",
    author: Some(Author {
        is: is_asked,
        upstreams: "the agent's upstreams are the servers of the connections",
    }),
    settings: |addresses| vec![Setting::file(DROP_IN, &drop_in(addresses))],
    reload: &["systemctl", "try-reload-or-restart", "systemd-resolved.service"],
};

/// Later than the files of most people: what was set before is replaced.
const DROP_IN: &str = "etc/systemd/resolved.conf.d/zz-skydns.conf";

/// Where resolved.conf and its drop-ins are, in the order in which they count.
const SETTINGS_DIRS: [&str; 4] = ["usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd"];

/// Whether programs ask it, or its stub by resolv.conf.
fn is_asked(root: &Path) -> bool {
    let named = name_servers(&text(root, "etc/resolv.conf"));
    let names_stub = named.iter().any(|server| RESOLVED_STUBS.iter().any(|stub| server == stub));
    names_stub || leads_into(root, "run/systemd/resolve") || decides(root)
}

pub(super) fn is_running(root: &Path) -> bool {
    root == Path::new("/")
        && root.join("run/systemd/resolve/stub-resolv.conf").exists()
        && programs::run("systemctl", &["is-active", "--quiet", "systemd-resolved.service"]).is_ok()
}

fn drop_in(addresses: &[IpAddr]) -> String {
    let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    format!("[Resolve]\nDNS=\nDNS={}\nDomains=~.\n", list.join(" "))
}

/// Whether the host's programs ask systemd-resolved.
pub(super) fn decides(root: &Path) -> bool {
    is_running(root) && (leads_into(root, "run/systemd/resolve") || is_asked_by_nsswitch(root))
}

/// Whether the C library asks systemd-resolved before it looks at resolv.conf (nss-resolve(8)).
pub(super) fn is_asked_by_nsswitch(root: &Path) -> bool {
    let text = regular_file::read(&root.join("etc/nsswitch.conf")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let hosts = text.lines().find_map(|line| line.trim_start().strip_prefix("hosts:")).unwrap_or_default();
    let mut words = hosts.split_whitespace().take_while(|word| !word.starts_with('#') && *word != "dns");
    words.any(|word| word == "resolve")
}

/// Whether resolv.conf names the stub of systemd-resolved alone, so that it can stay.
pub(in super::super) fn is_stub_link(root: &Path) -> bool {
    let target = fs::canonicalize(root.join("etc/resolv.conf"));
    target.is_ok_and(|target| target == root.join("run/systemd/resolve/stub-resolv.conf"))
}

/// Keeps the servers that resolved.conf names for the agent: our setting replaces them.
pub(super) fn keep_static_servers(root: &Path, addresses: &[IpAddr]) -> Result<(), ResolvConfError> {
    let servers = static_servers(root);
    let lines = servers.iter().filter(|server| !addresses.contains(server));
    let text: String = lines.map(|server| format!("nameserver {server}\n")).collect();
    let file = root.join(STATIC_UPSTREAMS_FILE);
    if text.is_empty() {
        return remove(&file);
    }
    say(&format!("{}: the servers that resolved.conf names, for the agent", file.display()));
    write(&file, &text)
}

pub(super) fn drop_static_servers(root: &Path) -> Result<(), ResolvConfError> {
    remove(&root.join(STATIC_UPSTREAMS_FILE))
}

/// The servers of `DNS=` in resolved.conf and its drop-ins, without ours.
fn static_servers(root: &Path) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for file in settings_files(root) {
        let text = regular_file::read(&file).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            let Some(("DNS", value)) = line.split_once('=').map(|(name, value)| (name.trim(), value.trim()))
            else {
                continue;
            };
            if value.is_empty() {
                servers.clear();
            }
            servers.extend(value.split_whitespace().filter_map(address));
        }
    }
    servers
}

/// The files in the order in which they count: the main file, then drop-ins by name, whatever directory they are in.
fn settings_files(root: &Path) -> Vec<PathBuf> {
    let main =
        SETTINGS_DIRS.iter().rev().map(|dir| root.join(dir).join("resolved.conf")).find(|file| file.exists());
    let mut drop_ins: Vec<PathBuf> = Vec::new();
    for dir in SETTINGS_DIRS {
        let entries = fs::read_dir(root.join(dir).join("resolved.conf.d")).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let is_setting = path.extension().is_some_and(|extension| extension == "conf");
            if is_setting && path != root.join(DROP_IN) {
                drop_ins.retain(|other| other.file_name() != path.file_name());
                drop_ins.push(path);
            }
        }
    }
    drop_ins.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    main.into_iter().chain(drop_ins).collect()
}

/// The address of a server as `DNS=` has it: `ADDRESS[:PORT][%INTERFACE][#NAME]`. Another port than 53 and an interface have
/// no place in the agent's file.
fn address(word: &str) -> Option<IpAddr> {
    let word = word.split('#').next()?;
    let line = |text: &str| name_servers(&format!("nameserver {text}")).first().copied();
    line(word)
        .or_else(|| line(word.strip_prefix('[')?.strip_suffix("]:53")?))
        .or_else(|| line(word.strip_suffix(":53")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_of_resolved_conf_are_found() {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in [
            ("etc/systemd/resolved.conf", "[Resolve]\n#DNS=192.0.2.9\nDNS=192.0.2.1\n"),
            ("usr/lib/systemd/resolved.conf.d/b.conf", "[Resolve]\nDNS=192.0.2.8\n"),
            (
                "etc/systemd/resolved.conf.d/b.conf",
                "[Resolve]\nDNS=192.0.2.2:53#dns.example.org [2001:db8::1]:53\n",
            ),
            (
                "etc/systemd/resolved.conf.d/c.conf",
                "[Resolve]\nDNS = 192.0.2.3:853 fe80::1%eth0 2001:db8::2\n",
            ),
            (DROP_IN, "[Resolve]\nDNS=\nDNS=127.0.0.1\n"),
        ] {
            write(&root.path().join(path), text).expect("written");
        }
        let found: Vec<_> = static_servers(root.path()).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]);
        write(&root.path().join("run/systemd/resolved.conf.d/d.conf"), "[Resolve]\nDNS=\n").expect("written");
        assert_eq!(static_servers(root.path()), [] as [IpAddr; 0]);
    }

    #[test]
    fn nsswitch_conf_is_read_as_the_c_library_reads_it() {
        let root = tempfile::tempdir().expect("a directory");
        for (hosts, is_asked) in [
            ("hosts: files resolve [!UNAVAIL=return] dns", true),
            ("hosts:\tfiles myhostname resolve", true),
            ("hosts: files dns resolve", false),
            ("hosts: files dns # resolve", false),
            ("networks: resolve", false),
        ] {
            write(&root.path().join("etc/nsswitch.conf"), &format!("passwd: files\n{hosts}\n"))
                .expect("written");
            assert_eq!(is_asked_by_nsswitch(root.path()), is_asked, "{hosts}");
        }
    }
}
