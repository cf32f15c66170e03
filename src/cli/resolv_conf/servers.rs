//! The servers that a host names when it does not ask the agent.

use crate::host_resolver::{
    self, FILE_HEADER, KEPT_UPSTREAMS_FILE, MANAGER_LISTS, TakeoverState, name_server_words, server_address,
};
use crate::regular_file;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Servers other than the agent, as resolv.conf names them.
pub(super) struct KnownServers {
    /// Those that programs gave since `enable` that would have written them into resolv.conf.
    pub(super) since_enable: Vec<String>,
    /// The same; if there are none, those that the agent asked last, else those of any manager.
    pub(super) any: Vec<String>,
}

impl KnownServers {
    pub(super) fn of(root: &Path, state: Option<&TakeoverState>) -> Self {
        let own = state.map(TakeoverState::own_addresses).unwrap_or_default();
        let own = [own.as_slice(), &[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]].concat();
        let author = state.and_then(|state| state.author.as_deref());
        let since_enable = since_enable(root, author, &own);
        let any = if since_enable.is_empty() { others(root, &own) } else { since_enable.clone() };
        Self { since_enable, any }
    }
}

/// What was written through the link; else leases; else the list of the manager that had written resolv.conf.
fn since_enable(root: &Path, author: Option<&str>, own: &[IpAddr]) -> Vec<String> {
    let resolv_conf = root.join("etc/resolv.conf");
    let through_link = host_resolver::is_our_link(&resolv_conf).then(|| text(&resolv_conf));
    let through_link = through_link.filter(|text| !text.starts_with(FILE_HEADER)).unwrap_or_default();
    let hooks = host_resolver::hook_files(root, author);
    // systemd-resolved writes no resolv.conf of /etc.
    let lists = MANAGER_LISTS.iter().filter(|(word, _)| *word != "resolved" && author == Some(word));
    let lists = lists.map(|(_, file)| text(&root.join(file)));
    let texts = [through_link, hooks.iter().map(|file| text(file)).collect()].into_iter().chain(lists);
    texts.map(|text| named(&text, own)).find(|servers| !servers.is_empty()).unwrap_or_default()
}

fn others(root: &Path, own: &[IpAddr]) -> Vec<String> {
    let kept = text(&root.join(KEPT_UPSTREAMS_FILE));
    let kept = kept.lines().map(|line| format!("nameserver {line}\n")).collect::<String>();
    let lists = MANAGER_LISTS.iter().map(|(_, file)| text(&root.join(file)));
    let mut servers = [kept].into_iter().chain(lists).map(|text| named(&text, own));
    servers.find(|servers| !servers.is_empty()).unwrap_or_default()
}

/// The servers of a text in the form of resolv.conf, each once, without the agent.
pub(super) fn named(text: &str, own: &[IpAddr]) -> Vec<String> {
    let mut servers: Vec<String> = Vec::new();
    for word in name_server_words(text) {
        let is_other = server_address(&word).is_some_and(|server| !own.contains(&server.ip()));
        if is_other && !servers.contains(&word) {
            servers.push(word);
        }
    }
    servers
}

/// The text of a file; empty if it cannot be read.
pub(super) fn text(file: &Path) -> String {
    String::from_utf8_lossy(&regular_file::read(file).unwrap_or_default()).into_owned()
}
